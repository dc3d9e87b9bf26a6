//! A log in memory that can be cut off at any append.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Mutex,
};

use async_trait::async_trait;
use model::{Digest, ReleaseId};
use receipt_log::{AppendError, Draft, Log, LoggedReceipt};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::lock;

/// Where the log is cut off, as by a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFault {
    /// From this index on nothing is written.
    Before(u64),
    /// The receipt with this index is written but not acknowledged, and nothing after it.
    Unacknowledged(u64),
}

/// A log in memory. Entries are the payloads' JSON; nothing is signed.
#[derive(Debug)]
pub struct MemoryLog {
    inner: Mutex<Inner>,
    size: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<LoggedReceipt>,
    keys: HashMap<String, u64>,
    segments: BTreeMap<Digest, Vec<u8>>,
    fault: Option<LogFault>,
    attempts: u64,
    delay: std::time::Duration,
    stopped: bool,
    damaged: BTreeSet<u64>,
}

impl Inner {
    fn read(&self, receipts: Vec<LoggedReceipt>) -> Result<Vec<LoggedReceipt>, AppendError> {
        match receipts.iter().find(|receipt| self.damaged.contains(&receipt.index)) {
            Some(LoggedReceipt { index, .. }) => {
                Err(AppendError::Unreadable(format!("receipt {index} is damaged: a byte is another")))
            }
            None => Ok(receipts),
        }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self { inner: Mutex::default(), size: watch::channel(0).0 }
    }
}

impl MemoryLog {
    /// Cuts the log off at a point, or mends it.
    pub fn fault(&self, fault: Option<LogFault>) {
        let mut inner = lock(&self.inner);
        inner.fault = fault;
        inner.stopped = false;
    }

    /// As if a byte of this receipt had changed on the disk: whoever reads it is told so.
    pub fn damage(&self, index: u64) {
        lock(&self.inner).damaged.insert(index);
    }

    /// As if the log had been put back from a copy.
    pub fn mend(&self) {
        lock(&self.inner).damaged.clear();
    }

    /// Every append takes so long, as a disk would.
    pub fn delay(&self, delay: std::time::Duration) {
        lock(&self.inner).delay = delay;
    }

    /// Everything in it.
    pub fn all(&self) -> Vec<LoggedReceipt> {
        lock(&self.inner).entries.clone()
    }

    /// Number of receipts.
    pub fn len(&self) -> usize {
        lock(&self.inner).entries.len()
    }

    /// True when nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The receipts of a release.
    pub fn of(&self, release: &ReleaseId) -> Vec<LoggedReceipt> {
        lock(&self.inner).entries.iter().filter(|e| e.payload.release.as_ref() == Some(release)).cloned().collect()
    }

    /// The idempotency keys in the order of their receipts.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = lock(&self.inner).keys.iter().map(|(k, i)| (*i, k.clone())).collect();
        keys.sort();
        keys.into_iter().map(|(_, k)| k).collect()
    }

    /// How often an append was tried, repeated keys included.
    pub fn attempts(&self) -> u64 {
        lock(&self.inner).attempts
    }
}

fn same(a: &receipts::Payload, b: &receipts::Payload) -> bool {
    a.kind == b.kind && a.release == b.release && a.actor == b.actor && a.cite == b.cite && a.facts == b.facts
}

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, draft: Draft) -> Result<u64, AppendError> {
        // A real append waits for the disk: give others their turn.
        let delay = lock(&self.inner).delay;
        if delay.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(delay).await;
        }
        let mut inner = lock(&self.inner);
        inner.attempts += 1;
        if inner.stopped {
            return Err(AppendError::Stopped("cut off".to_owned()));
        }
        if let Some(&index) = inner.keys.get(&draft.key) {
            let known = inner.entries.get(index as usize).is_some_and(|e| same(&e.payload, &draft.payload));
            return if known { Ok(index) } else { Err(AppendError::KeyReused(draft.key)) };
        }
        let index = inner.entries.len() as u64;
        if matches!(inner.fault, Some(LogFault::Before(at)) if index >= at) {
            inner.stopped = true;
            return Err(AppendError::Stopped("cut off".to_owned()));
        }
        let entry = serde_json::to_vec(&draft.payload).map_err(|e| AppendError::NotCanonical(e.to_string()))?;
        if entry.len() > receipts::MAX_ENTRY {
            return Err(AppendError::TooLarge(entry.len()));
        }
        inner.entries.push(LoggedReceipt { index, payload: draft.payload, entry: entry.into() });
        inner.keys.insert(draft.key, index);
        self.size.send_replace(index + 1);
        if matches!(inner.fault, Some(LogFault::Unacknowledged(at)) if index >= at) {
            inner.stopped = true;
            return Err(AppendError::Stopped("cut off".to_owned()));
        }
        Ok(index)
    }

    async fn find(&self, key: &str) -> Result<Option<u64>, AppendError> {
        Ok(lock(&self.inner).keys.get(key).copied())
    }

    async fn of_release(&self, release: &ReleaseId) -> Result<Vec<LoggedReceipt>, AppendError> {
        let found = self.of(release);
        lock(&self.inner).read(found)
    }

    async fn has_release(&self, release: &ReleaseId) -> Result<bool, AppendError> {
        Ok(!self.of(release).is_empty())
    }

    async fn range(&self, from: u64, limit: u32) -> Result<Vec<LoggedReceipt>, AppendError> {
        let inner = lock(&self.inner);
        inner.read(inner.entries.iter().skip(from as usize).take(limit as usize).cloned().collect())
    }

    fn size(&self) -> watch::Receiver<u64> {
        self.size.subscribe()
    }

    async fn put_segment(&self, bytes: Vec<u8>) -> Result<Digest, AppendError> {
        let hash: [u8; 32] = Sha256::digest(&bytes).into();
        let digest = Digest::from_sha256(&hash);
        lock(&self.inner).segments.insert(digest.clone(), bytes);
        Ok(digest)
    }

    async fn segment(&self, digest: &Digest) -> Result<Option<Vec<u8>>, AppendError> {
        Ok(lock(&self.inner).segments.get(digest).cloned())
    }
}
