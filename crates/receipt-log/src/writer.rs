//! The one writer: takes what queued during the last commit, sequences and integrates it, signs a checkpoint, commits.
//!
//! *Sequenced*: an entry has an index in the batch that is being made; nobody is told. *Integrated*: its leaf is in the
//! tree whose checkpoint is signed. *Published*: batch, tree nodes and checkpoint are committed in one transaction, readers
//! see them, and only now the appender is answered. A crash before that leaves nothing of the batch.

use std::{collections::HashMap, sync::Arc};

use tlog::{Checkpoint, Frontier, NodeId, SignedNote, VerifyingKey};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, warn};

use crate::{
    AppendError, Draft, Signer, Store,
    receipt_log::Prepared,
    store::{Batch, Head, Known, NewEntry},
};

/// Entries of one commit: the rate hardly grows beyond 64 a commit, and 512 keep it within some 20 ms.
const MAX_BATCH: usize = 512;

/// Bytes of one commit: 512 usual receipts have less than 1 MB; only very large ones meet this.
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// What the writer is asked.
pub(crate) enum Job {
    /// To append.
    Append {
        /// Key and payload.
        draft: Box<Draft>,
        /// Signed and hashed.
        prepared: Prepared,
        /// Told only when durable, or when it will not be.
        answer: oneshot::Sender<Result<u64, AppendError>>,
    },
    /// To say when everything before is answered.
    Drain(oneshot::Sender<()>),
}

type Answer = oneshot::Sender<Result<u64, AppendError>>;
type Waiting = (Box<Draft>, Prepared, Answer);

pub(crate) struct Writer {
    store: Arc<dyn Store>,
    signer: Arc<dyn Signer>,
    vkey: VerifyingKey,
    head: Head,
    frontier: Frontier,
    jobs: mpsc::Receiver<Job>,
    size: watch::Sender<u64>,
    stopped: watch::Sender<Option<String>>,
}

/// What became of a batch.
enum Outcome {
    /// For each job its answer, to be told now.
    Answers(Vec<Result<u64, AppendError>>),
    /// Nothing was written, nothing is in doubt.
    Unsigned(String),
    /// A write is in doubt.
    Doubt(String),
}

impl Writer {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        signer: Arc<dyn Signer>,
        vkey: VerifyingKey,
        head: Head,
        frontier: Frontier,
        jobs: mpsc::Receiver<Job>,
    ) -> (Self, watch::Receiver<u64>, watch::Receiver<Option<String>>) {
        let (size, watch_size) = watch::channel(head.size);
        let (stopped, watch_stopped) = watch::channel(None);
        (Self { store, signer, vkey, head, frontier, jobs, size, stopped }, watch_size, watch_stopped)
    }

    /// Serves until the last handle is gone or a write is in doubt.
    pub(crate) async fn run(mut self) {
        while let Some(first) = self.jobs.recv().await {
            let (batch, drained) = self.collect(first);
            let (work, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|(draft, prepared, answer)| ((draft, prepared), answer)).unzip();
            let outcome = if work.is_empty() { Outcome::Answers(Vec::new()) } else { self.commit(work).await };
            match outcome {
                Outcome::Answers(results) => tell(answers, results),
                Outcome::Unsigned(why) => {
                    warn!(reason = why, "a checkpoint could not be signed, nothing was written");
                    let results = answers.iter().map(|_| Err(AppendError::Signing(why.clone()))).collect();
                    tell(answers, results);
                }
                Outcome::Doubt(why) => return self.stop(why, answers).await,
            }
            for done in drained {
                let _ = done.send(());
            }
        }
    }

    /// The job and all that queued meanwhile, up to the limits.
    fn collect(&mut self, first: Job) -> (Vec<Waiting>, Vec<oneshot::Sender<()>>) {
        let (mut batch, mut drained, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Append { draft, prepared, answer } => {
                    bytes += prepared.entry.len();
                    batch.push((draft, prepared, answer));
                }
                Job::Drain(done) => drained.push(done),
            }
            let full = batch.len() >= MAX_BATCH || bytes >= MAX_BATCH_BYTES || !drained.is_empty();
            next = if full { None } else { self.jobs.try_recv().ok() };
        }
        (batch, drained)
    }

    async fn commit(&mut self, work: Vec<(Box<Draft>, Prepared)>) -> Outcome {
        let keys: Vec<String> = work.iter().map(|(draft, _)| draft.key.clone()).collect();
        // Read outside of the commit's transaction, and as good as inside: the commit is refused when the head moved.
        let known = match self.store.known(&keys).await {
            Ok(known) if known.len() == keys.len() => known,
            Ok(_) => return Outcome::Doubt("the store answered for other keys than were asked".to_owned()),
            Err(error) => return Outcome::Doubt(error.to_string()),
        };
        let mut frontier = self.frontier.clone();
        let mut fresh: HashMap<String, Known> = HashMap::new();
        let mut answers = Vec::with_capacity(work.len());
        let mut batch = Batch {
            expected: self.head.clone(),
            entries: Vec::with_capacity(work.len()),
            nodes: Vec::with_capacity(work.len()),
            checkpoint: String::new(),
        };
        for ((draft, prepared), known) in work.into_iter().zip(known) {
            let Draft { key, payload } = *draft;
            let Prepared { digest, leaf, entry } = prepared;
            if let Some(known) = known.or_else(|| fresh.get(&key).copied()) {
                answers.push(if known.digest == digest { Ok(known.index) } else { Err(AppendError::KeyReused(key)) });
                continue;
            }
            let index = frontier.size();
            frontier.append(leaf, |id: NodeId, hash| {
                if id.level > 0 {
                    batch.nodes.push((id, hash));
                }
            });
            fresh.insert(key.clone(), Known { index, digest });
            answers.push(Ok(index));
            batch.entries.push(NewEntry { index, key, digest, leaf, entry, payload });
        }
        if batch.entries.is_empty() {
            return Outcome::Answers(answers);
        }
        batch.checkpoint = match self.checkpoint(&frontier).await {
            Ok(note) => note,
            Err(why) => return Outcome::Unsigned(why),
        };
        let head = Head { size: frontier.size(), checkpoint: Some(batch.checkpoint.clone()) };
        if let Err(error) = self.store.commit(batch).await {
            return Outcome::Doubt(error.to_string());
        }
        self.frontier = frontier;
        self.head = head;
        // Followers may know before the appender does: both after it is durable.
        self.size.send_replace(self.head.size);
        Outcome::Answers(answers)
    }

    async fn checkpoint(&self, frontier: &Frontier) -> Result<String, String> {
        let checkpoint =
            Checkpoint::new(self.vkey.name(), frontier.size(), frontier.root()).map_err(|e| e.to_string())?;
        let text = checkpoint.to_string();
        let signature = self.signer.sign(text.as_bytes()).await.map_err(|error| error.to_string())?;
        // Verifies the signature before the note is stored.
        let note = SignedNote::assemble(text, &self.vkey, &signature).map_err(|error| error.to_string())?;
        Ok(note.to_string())
    }

    /// No acknowledgement from here on, whatever is queued.
    async fn stop(mut self, why: String, waiting: Vec<Answer>) {
        error!(reason = why, size = self.head.size, "a write to the log is in doubt: the log stops");
        self.stopped.send_replace(Some(why.clone()));
        self.jobs.close();
        let stopped = || Err(AppendError::Stopped(why.clone()));
        for answer in waiting {
            let _ = answer.send(stopped());
        }
        while let Some(job) = self.jobs.recv().await {
            if let Job::Append { answer, .. } = job {
                let _ = answer.send(stopped());
            }
        }
    }
}

/// Who does not listen any more has dropped the receiver: the receipt stands all the same.
fn tell(answers: Vec<Answer>, results: Vec<Result<u64, AppendError>>) {
    for (answer, result) in answers.into_iter().zip(results) {
        let _ = answer.send(result);
    }
}
