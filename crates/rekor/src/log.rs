//! [`SignatureLog`]: the handle over a store, a signer and the main log, and how it is opened.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Actor, Timestamp};
use receipt_log::{AppendError as NoteError, Clock, Log, Signer, StoreError};
use serde_json::{Value, json};
use tlog::{
    Checkpoint, CheckpointError, Frontier, Hash, NoteError as CheckpointNoteError, ProofPlan, SignedNote, VerifyingKey,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Entry, Head, TreeStore, note,
    trusted_root::{is_origin, log_id, trusted_root},
    writer::{Job, Writer, checkpoint},
};

/// Appends that may wait: beyond it callers are told [`AppendError::Busy`] at once instead of waiting without end.
pub const MAX_QUEUE: usize = 256;
/// Longest body of an entry: a certificate of 20 kB in base64 and a signature of 1 kB. The tiles' own limit is 65,535 bytes.
pub const MAX_BODY: usize = 48 * 1024;

/// The log. A clone is another handle; one writer task serves them all, and ends with the last handle.
#[derive(Clone)]
pub struct SignatureLog {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn TreeStore>,
    notes: Arc<dyn Log>,
    vkey: VerifyingKey,
    begun: Timestamp,
    queue: mpsc::Sender<Job>,
    stopped: watch::Receiver<Option<String>>,
}

/// An entry with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The entry.
    pub entry: Entry,
    /// Index of the receipt that notes it.
    pub receipt: u64,
    /// Size of the tree of the proof.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// The inclusion proof.
    pub proof: Vec<Hash>,
    /// The signed checkpoint over that tree.
    pub checkpoint: String,
    log_id: [u8; 32],
}

/// Why an entry was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The body is longer than an entry may be.
    #[error("the entry has {0} bytes, {max} are allowed", max = MAX_BODY)]
    TooLarge(usize),
    /// Too many appends wait: try again.
    #[error("the signature log is busy: {0} appends are waiting")]
    Busy(usize),
    /// No checkpoint could be signed. Nothing was written.
    #[error("the checkpoint could not be signed: {0}")]
    Signing(String),
    /// The store could not be read.
    #[error("the signature log could not be read: {0}")]
    Unreadable(String),
    /// The entry is in the log, and its receipt is not yet: hand the same in again.
    #[error("entry {index} stands, but no receipt notes it yet: {why}")]
    NotNoted {
        /// Its place.
        index: u64,
        /// Why.
        why: String,
    },
    /// The log has stopped: a write was in doubt.
    #[error("the signature log has stopped: {0}")]
    Stopped(String),
}

/// Why a log does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read or written.
    #[error("the signature log's store failed")]
    Store(#[from] StoreError),
    /// Not a name.
    #[error("{0:?} is not a name for a signature log: the name of a host, as rekor.example.com")]
    Origin(String),
    /// The log has another name than the configuration says.
    #[error("this signature log is named {found:?}, the configuration says {configured:?}: a log keeps its name")]
    OtherOrigin {
        /// From the configuration.
        configured: String,
        /// From the stored checkpoint.
        found: String,
    },
    /// The log was signed by a key that is not ours.
    #[error(
        "this signature log was signed by another key than the one given ({0}): restore the key file that belongs to it"
    )]
    OtherKey(String),
    /// The stored checkpoint or tree is not what was written.
    #[error("the signature log is damaged: {0}")]
    Damaged(String),
    /// A note that a crash prevented could not be written.
    #[error("a receipt for an entry of the signature log could not be written")]
    Note(#[source] NoteError),
}

/// The name of a log with this key that was given none.
pub fn default_origin(public_key: &[u8; 32]) -> String {
    let (head, _) = public_key.split_at(8);
    format!("rekor-{}.deliveryos.local", hex::encode(head))
}

impl SignatureLog {
    /// Opens the log in `store`, or begins it. `origin` is its name; `None` takes the name that it has, or for a new one
    /// [`default_origin`]. Writes the notes that are missing in `notes`. Spawns the writer on the current runtime.
    pub async fn open(
        store: Arc<dyn TreeStore>,
        signer: Arc<dyn Signer>,
        notes: Arc<dyn Log>,
        clock: &dyn Clock,
        origin: Option<&str>,
    ) -> Result<Self, OpenError> {
        if let Some(bad) = origin.filter(|origin| !is_origin(origin)) {
            return Err(OpenError::Origin(bad.to_owned()));
        }
        let public_key = signer.public_key();
        let mut head = store.head().await?;
        if head.checkpoint.is_none() {
            head = begin(&*store, &*signer, &head, clock.now(), origin).await?;
        }
        let (vkey, frontier) = restore(&*store, &head, &public_key, origin).await?;
        let begun = head.begun.ok_or_else(|| OpenError::Damaged("it does not say when it was begun".to_owned()))?;
        let (queue, jobs) = mpsc::channel(MAX_QUEUE);
        let size = head.size;
        let (writer, stopped) = Writer::new(store.clone(), signer, vkey.clone(), head, frontier, jobs);
        tokio::spawn(writer.run());
        let log = Self { shared: Arc::new(Shared { store, notes, vkey, begun, queue, stopped }) };
        log.note_missing(size).await?;
        Ok(log)
    }

    /// The log's public key under its name.
    pub fn vkey(&self) -> &VerifyingKey {
        &self.shared.vkey
    }

    /// The store, for tiles ([`crate::tiles`]).
    pub fn store(&self) -> &Arc<dyn TreeStore> {
        &self.shared.store
    }

    /// The `trusted_root.json` by which others believe this log.
    pub fn trusted_root(&self) -> Value {
        trusted_root(&self.shared.vkey, self.shared.begun)
    }

    /// Resolves with the reason once the log has stopped. Never resolves in a healthy log.
    pub async fn stopped(&self) -> String {
        let mut stopped = self.shared.stopped.clone();
        let reason = stopped.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "the writer has ended".to_owned())
    }

    /// Appends an entry that was verified, and answers with its proof once it is durable and noted.
    pub async fn append(&self, body: Vec<u8>, by: Actor, at: Timestamp) -> Result<Logged, AppendError> {
        if body.len() > MAX_BODY {
            return Err(AppendError::TooLarge(body.len()));
        }
        if self.shared.stopped.borrow().is_some() {
            return Err(self.stop_reason());
        }
        let (answer, answered) = oneshot::channel();
        let job = Job { body: body.into(), by, at, answer };
        self.shared.queue.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::Busy(MAX_QUEUE),
            mpsc::error::TrySendError::Closed(_) => self.stop_reason(),
        })?;
        let (index, head) = answered.await.unwrap_or_else(|_| Err(self.stop_reason()))?;
        self.proved(index, &head).await
    }

    /// The entry at this place, proved under the newest checkpoint; `None` when there is none.
    pub async fn get(&self, index: u64) -> Result<Option<Logged>, AppendError> {
        let head = self.shared.store.head().await.map_err(unreadable)?;
        if index >= head.size { Ok(None) } else { self.proved(index, &head).await.map(Some) }
    }

    async fn proved(&self, index: u64, head: &Head) -> Result<Logged, AppendError> {
        let store = &self.shared.store;
        let entry = store.entries(index, 1).await.map_err(unreadable)?.into_iter().find(|entry| entry.index == index);
        let entry = entry.ok_or_else(|| AppendError::Unreadable(format!("entry {index} is missing")))?;
        let noted = note::write(&*self.shared.notes, self.shared.vkey.name(), &entry).await;
        let receipt = noted.map_err(|error| AppendError::NotNoted { index, why: error.to_string() })?;
        let broken = |why: String| AppendError::Unreadable(why);
        let plan = ProofPlan::inclusion(index, head.size).map_err(|error| broken(error.to_string()))?;
        let hashes = store.nodes(plan.nodes()).await.map_err(unreadable)?;
        let proof = plan.assemble(&hashes).map_err(|error| broken(error.to_string()))?;
        let text = head.checkpoint.clone().ok_or_else(|| broken("there is no checkpoint".to_owned()))?;
        let parsed: Checkpoint = SignedNote::parse(text.as_bytes())
            .map_err(|error| broken(error.to_string()))?
            .text()
            .parse()
            .map_err(|error: CheckpointError| broken(error.to_string()))?;
        let log_id = log_id(&self.shared.vkey);
        Ok(Logged { entry, receipt, size: parsed.size, root: parsed.root, proof, checkpoint: text, log_id })
    }

    /// Writes the notes that a crash prevented: back from the end to the last that is there.
    async fn note_missing(&self, size: u64) -> Result<(), OpenError> {
        let notes = &self.shared.notes;
        let mut first = size;
        while first > 0 && notes.find(&note::key(first - 1)).await.map_err(OpenError::Note)?.is_none() {
            first -= 1;
        }
        for index in first..size {
            let entry = self.shared.store.entries(index, 1).await?.into_iter().find(|entry| entry.index == index);
            let entry = entry.ok_or_else(|| OpenError::Damaged(format!("entry {index} is missing")))?;
            note::write(&**notes, self.shared.vkey.name(), &entry).await.map_err(OpenError::Note)?;
        }
        Ok(())
    }

    fn stop_reason(&self) -> AppendError {
        let reason = self.shared.stopped.borrow().clone();
        AppendError::Stopped(reason.unwrap_or_else(|| "the writer has ended".to_owned()))
    }
}

impl Logged {
    /// As Rekor v2 answers it: `TransparencyLogEntry` in protobuf's JSON form. No time and no promise: Rekor v2 signs neither.
    pub fn to_json(&self) -> Value {
        let body: Value = serde_json::from_slice(&self.entry.body).unwrap_or_default();
        let kind = json!({ "kind": body.get("kind"), "version": body.get("apiVersion") });
        let hashes: Vec<String> = self.proof.iter().map(|hash| STANDARD.encode(hash.0)).collect();
        json!({
            "logIndex": self.entry.index.to_string(),
            "logId": { "keyId": STANDARD.encode(self.log_id) },
            "kindVersion": kind,
            "integratedTime": "0",
            "inclusionPromise": null,
            "inclusionProof": {
                "logIndex": self.entry.index.to_string(),
                "rootHash": STANDARD.encode(self.root.0),
                "treeSize": self.size.to_string(),
                "hashes": hashes,
                "checkpoint": { "envelope": self.checkpoint },
            },
            "canonicalizedBody": STANDARD.encode(&self.entry.body),
        })
    }
}

/// The checkpoint of an empty tree: the log's name and key are fixed with it.
async fn begin(
    store: &dyn TreeStore,
    signer: &dyn Signer,
    head: &Head,
    now: Timestamp,
    origin: Option<&str>,
) -> Result<Head, OpenError> {
    if head.size > 0 {
        return Err(OpenError::Damaged(format!("{} entries, but no checkpoint", head.size)));
    }
    let public_key = signer.public_key();
    let origin = origin.map_or_else(|| default_origin(&public_key), str::to_owned);
    let vkey = VerifyingKey::new(&origin, &public_key).map_err(|_| OpenError::Origin(origin))?;
    let note = checkpoint(signer, &vkey, &Frontier::new()).await.map_err(OpenError::Damaged)?;
    let batch = crate::Batch {
        expected: head.clone(),
        entries: Vec::new(),
        nodes: Vec::new(),
        checkpoint: note.clone(),
        begun: Some(now),
    };
    store.commit(batch).await?;
    Ok(Head { size: 0, checkpoint: Some(note), begun: Some(now) })
}

/// Key and tree, checked against the checkpoint.
async fn restore(
    store: &dyn TreeStore,
    head: &Head,
    public_key: &[u8; 32],
    origin: Option<&str>,
) -> Result<(VerifyingKey, Frontier), OpenError> {
    let damaged = |why: String| OpenError::Damaged(why);
    let text = head.checkpoint.as_deref().ok_or_else(|| damaged("it has no checkpoint".to_owned()))?;
    let note = SignedNote::parse(text.as_bytes()).map_err(|e| damaged(format!("its checkpoint is not a note: {e}")))?;
    let checkpoint: Checkpoint = note.text().parse().map_err(|e| damaged(format!("its checkpoint is not one: {e}")))?;
    if let Some(configured) = origin.filter(|origin| *origin != checkpoint.origin) {
        return Err(OpenError::OtherOrigin { configured: configured.to_owned(), found: checkpoint.origin });
    }
    let vkey =
        VerifyingKey::new(&checkpoint.origin, public_key).map_err(|_| OpenError::Origin(checkpoint.origin.clone()))?;
    match Checkpoint::open(&note, &checkpoint.origin, std::slice::from_ref(&vkey)) {
        Ok(_) => {}
        Err(CheckpointError::Note(CheckpointNoteError::NoKnownKey)) => {
            return Err(OpenError::OtherKey(vkey.to_string()));
        }
        Err(error) => return Err(damaged(format!("its checkpoint is refused: {error}"))),
    }
    if checkpoint.size != head.size {
        return Err(damaged(format!("its checkpoint speaks of {} entries, stored are {}", checkpoint.size, head.size)));
    }
    let hashes = store.nodes(&Frontier::nodes_of(head.size)).await?;
    let frontier = Frontier::restore(head.size, hashes).map_err(|error| damaged(error.to_string()))?;
    if frontier.root() != checkpoint.root {
        return Err(damaged("its tree has another root than its checkpoint".to_owned()));
    }
    Ok((vkey, frontier))
}

fn unreadable(error: StoreError) -> AppendError {
    AppendError::Unreadable(error.to_string())
}
