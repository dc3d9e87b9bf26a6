//! The one writer: takes what queued during the last commit, gives places, extends the tree, signs a checkpoint, commits, answers.

use std::{collections::HashMap, sync::Arc};

use model::{Actor, Timestamp};
use receipt_log::Signer;
use tlog::{Checkpoint, Frontier, Hash, SignedNote, VerifyingKey, leaf_hash};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::error;

use crate::{AppendError, Batch, Entry, Head, TreeStore};

/// Entries of one commit: all that can wait, at 2 kB each.
const MAX_BATCH: usize = crate::MAX_QUEUE;

type Answer = oneshot::Sender<Result<(u64, Head), AppendError>>;

/// What is to be appended.
pub(crate) struct Job {
    pub(crate) body: Arc<[u8]>,
    pub(crate) by: Actor,
    pub(crate) at: Timestamp,
    /// Told the place, and the head that covers it, only when durable.
    pub(crate) answer: Answer,
}

pub(crate) struct Writer {
    store: Arc<dyn TreeStore>,
    signer: Arc<dyn Signer>,
    vkey: VerifyingKey,
    head: Head,
    frontier: Frontier,
    jobs: mpsc::Receiver<Job>,
    stopped: watch::Sender<Option<String>>,
}

impl Writer {
    pub(crate) fn new(
        store: Arc<dyn TreeStore>,
        signer: Arc<dyn Signer>,
        vkey: VerifyingKey,
        head: Head,
        frontier: Frontier,
        jobs: mpsc::Receiver<Job>,
    ) -> (Self, watch::Receiver<Option<String>>) {
        let (stopped, watch_stopped) = watch::channel(None);
        (Self { store, signer, vkey, head, frontier, jobs, stopped }, watch_stopped)
    }

    /// Serves until the last handle is gone or a write is in doubt.
    pub(crate) async fn run(mut self) {
        while let Some(first) = self.jobs.recv().await {
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH
                && let Ok(job) = self.jobs.try_recv()
            {
                batch.push(job);
            }
            if let Err((why, waiting)) = self.commit(batch).await {
                return self.stop(why, waiting).await;
            }
        }
    }

    /// Commits a batch and answers it. An error is doubt: what stands nobody knows.
    async fn commit(&mut self, jobs: Vec<Job>) -> Result<(), (String, Vec<Answer>)> {
        let mut frontier = self.frontier.clone();
        let mut fresh: HashMap<Hash, u64> = HashMap::new();
        let mut waiting = Vec::with_capacity(jobs.len());
        let mut places = Vec::with_capacity(jobs.len());
        let (mut entries, mut nodes) = (Vec::new(), Vec::new());
        for Job { body, by, at, answer } in jobs {
            waiting.push(answer);
            let leaf = leaf_hash(&body);
            let known = match fresh.get(&leaf) {
                Some(index) => Some(*index),
                None => match self.store.find(&leaf).await {
                    Ok(found) => found,
                    Err(error) => return Err((error.to_string(), waiting)),
                },
            };
            let index = known.unwrap_or_else(|| {
                let index = frontier.size();
                frontier.append(leaf, |id, hash| {
                    if id.level > 0 {
                        nodes.push((id, hash));
                    }
                });
                fresh.insert(leaf, index);
                entries.push(Entry { index, leaf, body, by, at });
                index
            });
            places.push(index);
        }
        if !entries.is_empty() {
            let note = match checkpoint(&*self.signer, &self.vkey, &frontier).await {
                Ok(note) => note,
                Err(why) => {
                    for answer in waiting {
                        // Who does not listen any more has gone.
                        let _ = answer.send(Err(AppendError::Signing(why.clone())));
                    }
                    return Ok(());
                }
            };
            let batch = Batch { expected: self.head.clone(), entries, nodes, checkpoint: note.clone(), begun: None };
            if let Err(error) = self.store.commit(batch).await {
                return Err((error.to_string(), waiting));
            }
            self.head = Head { size: frontier.size(), checkpoint: Some(note), begun: self.head.begun };
            self.frontier = frontier;
        }
        for (answer, index) in waiting.into_iter().zip(places) {
            let _ = answer.send(Ok((index, self.head.clone())));
        }
        Ok(())
    }

    /// No acknowledgement from here on, whatever is queued.
    async fn stop(mut self, why: String, waiting: Vec<Answer>) {
        error!(reason = why, size = self.head.size, "a write to the signature log is in doubt: it stops");
        self.stopped.send_replace(Some(why.clone()));
        self.jobs.close();
        let stopped = || Err(AppendError::Stopped(why.clone()));
        for answer in waiting {
            let _ = answer.send(stopped());
        }
        while let Some(job) = self.jobs.recv().await {
            let _ = job.answer.send(stopped());
        }
    }
}

/// The signed checkpoint over a tree; its signature is verified before it is used.
pub(crate) async fn checkpoint(
    signer: &dyn Signer,
    vkey: &VerifyingKey,
    frontier: &Frontier,
) -> Result<String, String> {
    let checkpoint = Checkpoint::new(vkey.name(), frontier.size(), frontier.root()).map_err(|e| e.to_string())?;
    let text = checkpoint.to_string();
    let signature = signer.sign(text.as_bytes()).await.map_err(|error| error.to_string())?;
    let note = SignedNote::assemble(text, vkey, &signature).map_err(|error| error.to_string())?;
    Ok(note.to_string())
}
