//! [`ReceiptLog`]: the handle over a store and a signer, and how a log is opened.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use futures::Stream;
use model::{Actor, Digest, Kind, ReleaseId};
use receipts::{
    Envelope, EnvelopeSignature, KeyRotated, MAX_ENTRY, PAYLOAD_TYPE, Payload, ReceiptKey, canonical_bytes, pae,
};
use sha2::{Digest as _, Sha256};
use tlog::{Checkpoint, CheckpointError, Frontier, Hash, NoteError, SignedNote, VerifyingKey, leaf_hash};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    AppendError, Clock, Draft, Known, Log, LoggedReceipt, MAX_KEY, MAX_SEGMENT, Signer, Store, StoreError, StoredEntry,
    signer::default_origin,
    writer::{Job, Writer},
};

/// Appends that may wait: at 5,000 a second less than a second's worth, and some 10 MB. Beyond it callers are told
/// [`AppendError::Busy`] at once instead of waiting without end.
pub const MAX_QUEUE: usize = 4096;

/// Receipts read at once by loops over many: some 300 kB.
const PAGE: u32 = 256;

/// Receipts of one release that are read at once. A release of a day with a step a minute and an analysis a minute has
/// 3,000; ten times that is a loop gone wrong, and is refused rather than filling the memory.
const MAX_OF_RELEASE: usize = 30_000;

/// The log. A clone is another handle to the same log; one writer task serves them all, and ends with the last handle.
#[derive(Clone)]
pub struct ReceiptLog {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    signer: Arc<dyn Signer>,
    keyid: String,
    vkey: VerifyingKey,
    queue: mpsc::Sender<Job>,
    size: watch::Receiver<u64>,
    stopped: watch::Receiver<Option<String>>,
}

/// Why a log does not open. None of these is repaired by trying again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read.
    #[error("the log's store cannot be read")]
    Store(#[from] StoreError),
    /// The log has another name than the configuration says.
    #[error("this log is named {found:?}, the configuration says {configured:?}: a log keeps its name")]
    OtherOrigin {
        /// From the configuration.
        configured: String,
        /// From the stored checkpoint.
        found: String,
    },
    /// The log was signed by a key that is not ours.
    #[error("this log was signed by another key than the one given ({0}): restore the key file that belongs to it")]
    OtherKey(String),
    /// Not a name for a log.
    #[error("{0:?} is not a name for a log: 1 to 255 characters without space, plus or control character")]
    Origin(String),
    /// The stored checkpoint or tree is not what was written: find out what happened before anything is appended.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// The first entry of a new log could not be appended.
    #[error("the log's first entry could not be appended")]
    First(#[from] AppendError),
}

impl ReceiptLog {
    /// Opens the log in `store`, or begins it: its first entry states the key.
    ///
    /// `origin` is the log's name, the first line of its checkpoints; `None` takes the name that it has, or for a new log
    /// [`default_origin`]. Spawns the writer on the current tokio runtime.
    pub async fn open(
        store: Arc<dyn Store>,
        signer: Arc<dyn Signer>,
        clock: &dyn Clock,
        origin: Option<&str>,
    ) -> Result<Self, OpenError> {
        let head = store.head().await?;
        let public_key = signer.public_key();
        let (vkey, frontier) = match &head.checkpoint {
            Some(note) => restore(&*store, head.size, note, &public_key, origin).await?,
            None if head.size == 0 => {
                let origin = origin.map_or_else(|| default_origin(&public_key), str::to_owned);
                let vkey = VerifyingKey::new(&origin, &public_key).map_err(|_| OpenError::Origin(origin))?;
                (vkey, Frontier::new())
            }
            None => return Err(OpenError::Damaged(format!("{} receipts, but no checkpoint", head.size))),
        };
        let key = ReceiptKey::from_vkey(&vkey).map_err(|error| OpenError::Damaged(error.to_string()))?;
        let (queue, jobs) = mpsc::channel(MAX_QUEUE);
        let (writer, size, stopped) =
            Writer::new(store.clone(), signer.clone(), vkey.clone(), head.clone(), frontier, jobs);
        tokio::spawn(writer.run());
        let log = Self {
            shared: Arc::new(Shared { store, signer, keyid: key.keyid().to_owned(), vkey, queue, size, stopped }),
        };
        if head.size == 0 {
            log.state_key(clock).await?;
        }
        Ok(log)
    }

    /// The log's public key under its name: what a verifier pins.
    pub fn vkey(&self) -> &VerifyingKey {
        &self.shared.vkey
    }

    /// The key's id in the envelopes.
    pub fn keyid(&self) -> &str {
        &self.shared.keyid
    }

    /// The store, for reading proofs and tiles ([`crate::proofs`], [`crate::tiles`]).
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Resolves with the reason once the log has stopped: the process must then end with an error, and recover by reading
    /// in a new one. Never resolves in a healthy log.
    pub async fn stopped(&self) -> String {
        let mut stopped = self.shared.stopped.clone();
        let reason = stopped.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        reason.unwrap_or_else(|| "the writer has ended".to_owned())
    }

    /// Waits until everything that is queued now is answered. For an orderly end of the process.
    pub async fn drain(&self) {
        let (done, answered) = oneshot::channel();
        if self.shared.queue.send(Job::Drain(done)).await.is_ok() {
            // An error means that the writer has ended: nothing is queued any more.
            let _ = answered.await;
        }
    }

    /// Every receipt from `from` on, in order, then those to come, as they become durable. Ends with the log.
    pub fn follow(&self, from: u64) -> impl Stream<Item = Result<LoggedReceipt, AppendError>> + Send + use<> {
        struct State {
            log: ReceiptLog,
            size: watch::Receiver<u64>,
            next: u64,
            page: VecDeque<LoggedReceipt>,
        }
        let start = State { log: self.clone(), size: self.size(), next: from, page: VecDeque::new() };
        futures::stream::try_unfold(start, |mut state| async move {
            loop {
                if let Some(receipt) = state.page.pop_front() {
                    state.next = receipt.index + 1;
                    return Ok(Some((receipt, state)));
                }
                let next = state.next;
                if state.size.wait_for(|size| *size > next).await.is_err() {
                    return Ok(None);
                }
                state.page = state.log.range(next, PAGE).await?.into();
                if state.page.is_empty() {
                    return Err(AppendError::Unreadable(format!("receipt {next} is missing")));
                }
            }
        })
    }

    /// The first entry of a log: the key that signs it.
    async fn state_key(&self, clock: &dyn Clock) -> Result<(), OpenError> {
        let facts = KeyRotated {
            algorithm: "ed25519".to_owned(),
            origin: self.vkey().name().to_owned(),
            vkey: self.vkey().to_string(),
            keyid: self.keyid().to_owned(),
            previous: None,
            reason: "the log was begun".to_owned(),
        };
        let payload = "log".parse::<Actor>().map_err(|error| error.to_string()).and_then(|actor| {
            Payload::new(Kind::KeyRotated, clock.now(), actor, &facts).map_err(|error| error.to_string())
        });
        let payload = payload.map_err(AppendError::NotCanonical)?.cite([
            "C2SP signed-note",
            "C2SP tlog-checkpoint",
            "RFC 6962",
            "RFC 8785",
            "DSSE 1.0.2",
        ]);
        self.append(Draft { key: "log/first-key".to_owned(), payload }).await?;
        Ok(())
    }

    /// Brings the payload into its form, signs it, and finds what its key stands for.
    async fn prepare(&self, draft: Draft) -> Result<(Prepared, Draft), AppendError> {
        let Draft { key, payload } = draft;
        if key.is_empty() || key.chars().count() > MAX_KEY || key.contains(char::is_control) {
            return Err(AppendError::BadKey);
        }
        let canonical =
            |payload: &Payload| canonical_bytes(payload).map_err(|e| AppendError::NotCanonical(e.to_string()));
        let bytes = canonical(&payload)?;
        let digest = meaning(&payload).map_err(AppendError::NotCanonical)?;
        let message = pae(PAYLOAD_TYPE, &bytes);
        let sig = self.shared.signer.sign(&message).await.map_err(|error| AppendError::Signing(error.to_string()))?;
        let envelope = Envelope {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: bytes,
            signatures: vec![EnvelopeSignature { keyid: self.shared.keyid.clone(), sig: sig.to_vec() }],
        };
        let entry: Arc<[u8]> = envelope.to_bytes().into();
        if entry.len() > MAX_ENTRY {
            return Err(AppendError::TooLarge(entry.len()));
        }
        Ok((Prepared { digest, leaf: leaf_hash(&entry), entry }, Draft { key, payload }))
    }

    fn read(&self, stored: StoredEntry) -> Result<LoggedReceipt, AppendError> {
        read(stored).map_err(|(index, why)| AppendError::Unreadable(format!("receipt {index} is damaged: {why}")))
    }

    fn stop_reason(&self) -> AppendError {
        let reason = self.shared.stopped.borrow().clone();
        AppendError::Stopped(reason.unwrap_or_else(|| "the writer has ended".to_owned()))
    }
}

/// An entry that is ready to be sequenced.
pub(crate) struct Prepared {
    pub(crate) digest: [u8; 32],
    pub(crate) leaf: Hash,
    pub(crate) entry: Arc<[u8]>,
}

#[async_trait]
impl Log for ReceiptLog {
    async fn append(&self, draft: Draft) -> Result<u64, AppendError> {
        if self.shared.stopped.borrow().is_some() {
            return Err(self.stop_reason());
        }
        let (prepared, draft) = self.prepare(draft).await?;
        let (answer, answered) = oneshot::channel();
        self.shared.queue.try_send(Job::Append { draft: Box::new(draft), prepared, answer }).map_err(|error| {
            match error {
                mpsc::error::TrySendError::Full(_) => AppendError::Busy(MAX_QUEUE),
                mpsc::error::TrySendError::Closed(_) => self.stop_reason(),
            }
        })?;
        answered.await.unwrap_or_else(|_| Err(self.stop_reason()))
    }

    async fn find(&self, key: &str) -> Result<Option<u64>, AppendError> {
        let known = self.shared.store.known(&[key.to_owned()]).await.map_err(unreadable)?;
        Ok(known.first().copied().flatten().map(|known: Known| known.index))
    }

    async fn of_release(&self, release: &ReleaseId) -> Result<Vec<LoggedReceipt>, AppendError> {
        let mut receipts: Vec<LoggedReceipt> = Vec::new();
        loop {
            let from = receipts.last().map_or(0, |receipt| receipt.index + 1);
            let page = self.shared.store.of_release(release, from, PAGE).await.map_err(unreadable)?;
            let last = page.len() < PAGE as usize;
            for stored in page {
                receipts.push(self.read(stored)?);
            }
            if last {
                return Ok(receipts);
            }
            if receipts.len() > MAX_OF_RELEASE {
                return Err(AppendError::Unreadable(format!("{release} has more than {MAX_OF_RELEASE} receipts")));
            }
        }
    }

    async fn has_release(&self, release: &ReleaseId) -> Result<bool, AppendError> {
        Ok(!self.shared.store.of_release(release, 0, 1).await.map_err(unreadable)?.is_empty())
    }

    async fn range(&self, from: u64, limit: u32) -> Result<Vec<LoggedReceipt>, AppendError> {
        let entries = self.shared.store.entries(from, limit).await.map_err(unreadable)?;
        entries.into_iter().map(|stored| self.read(stored)).collect()
    }

    fn size(&self) -> watch::Receiver<u64> {
        self.shared.size.clone()
    }

    async fn put_segment(&self, bytes: Vec<u8>) -> Result<Digest, AppendError> {
        if bytes.len() > MAX_SEGMENT {
            return Err(AppendError::TooLarge(bytes.len()));
        }
        if self.shared.stopped.borrow().is_some() {
            return Err(self.stop_reason());
        }
        let digest = Digest::from_sha256(&Sha256::digest(&bytes).into());
        let put = self.shared.store.put_segment(&digest, &bytes).await;
        put.map_err(|error| AppendError::Stopped(error.to_string()))?;
        Ok(digest)
    }

    async fn segment(&self, digest: &Digest) -> Result<Option<Vec<u8>>, AppendError> {
        self.shared.store.segment(digest).await.map_err(unreadable)
    }
}

/// Whether a stored entry's bytes are those that were hashed into the tree. If not, its index and why.
pub fn intact(stored: &StoredEntry) -> Result<(), (u64, String)> {
    if leaf_hash(&stored.entry) == stored.leaf {
        Ok(())
    } else {
        Err((stored.index, "its bytes are not those that were hashed into the tree".to_owned()))
    }
}

/// A stored entry as a receipt: its bytes must be those that were hashed into the tree. On failure its index and why.
pub fn read(stored: StoredEntry) -> Result<LoggedReceipt, (u64, String)> {
    intact(&stored)?;
    let StoredEntry { index, entry, .. } = stored;
    let payload = receipts::read_unverified(&entry).map_err(|refused| (index, refused.to_string()))?;
    Ok(LoggedReceipt { index, payload, entry })
}

/// SHA-256 of what a payload states apart from when it was tried and what that cost: equal for an attempt and its repetition.
fn meaning(payload: &Payload) -> Result<[u8; 32], String> {
    let timeless = Payload { time: model::Timestamp::default(), joules: None, energy: None, ..payload.clone() };
    canonical_bytes(&timeless).map(|bytes| Sha256::digest(bytes).into()).map_err(|error| error.to_string())
}

/// Key and tree of a log that is there, checked against its checkpoint.
async fn restore(
    store: &dyn Store,
    size: u64,
    note: &str,
    public_key: &[u8; 32],
    origin: Option<&str>,
) -> Result<(VerifyingKey, Frontier), OpenError> {
    let damaged = |why: String| OpenError::Damaged(why);
    let note = SignedNote::parse(note.as_bytes()).map_err(|e| damaged(format!("its checkpoint is not a note: {e}")))?;
    let checkpoint: Checkpoint = note.text().parse().map_err(|e| damaged(format!("its checkpoint is not one: {e}")))?;
    if let Some(configured) = origin.filter(|origin| *origin != checkpoint.origin) {
        return Err(OpenError::OtherOrigin { configured: configured.to_owned(), found: checkpoint.origin });
    }
    let vkey =
        VerifyingKey::new(&checkpoint.origin, public_key).map_err(|_| OpenError::Origin(checkpoint.origin.clone()))?;
    match Checkpoint::open(&note, &checkpoint.origin, std::slice::from_ref(&vkey)) {
        Ok(_) => {}
        Err(CheckpointError::Note(NoteError::NoKnownKey)) => return Err(OpenError::OtherKey(vkey.to_string())),
        Err(error) => return Err(damaged(format!("its checkpoint is refused: {error}"))),
    }
    if checkpoint.size != size {
        return Err(damaged(format!("its checkpoint speaks of {} receipts, stored are {size}", checkpoint.size)));
    }
    let nodes = store.nodes(&Frontier::nodes_of(size)).await?;
    let frontier = Frontier::restore(size, nodes).map_err(|error| damaged(error.to_string()))?;
    if frontier.root() != checkpoint.root {
        return Err(damaged(format!("its tree has root {}, its checkpoint says {}", frontier.root(), checkpoint.root)));
    }
    Ok((vkey, frontier))
}

fn unreadable(error: StoreError) -> AppendError {
    AppendError::Unreadable(error.to_string())
}
