//! A store in memory: for tests and for what need not outlive the process. Nothing here is durable.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use model::{Digest, ReleaseId};
use sha2::{Digest as _, Sha256};
use tlog::{Hash, NodeId};

use crate::store::{Batch, Head, Known, Store, StoreError, StoredCheckpoint, StoredEntry};

/// Keeps a log in memory.
#[derive(Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Default)]
struct State {
    head: Head,
    entries: Vec<(Arc<[u8]>, Option<ReleaseId>)>,
    keys: HashMap<String, Known>,
    nodes: BTreeMap<NodeId, Hash>,
    checkpoints: Vec<StoredCheckpoint>,
    segments: HashMap<Digest, Vec<u8>>,
    failure: Option<StoreError>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on every write fails with this error and writes nothing; `None` heals it. For tests of what happens then.
    pub fn fail_writes(&self, error: Option<StoreError>) {
        self.lock().failure = error;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No method leaves the state half changed, so a panic elsewhere did not either.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn entry(&self, index: u64) -> Option<StoredEntry> {
        let (entry, _) = self.entries.get(usize::try_from(index).ok()?)?;
        let leaf = *self.nodes.get(&NodeId { level: 0, index })?;
        Some(StoredEntry { index, entry: entry.clone(), leaf })
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.lock().head.clone())
    }

    async fn known(&self, keys: &[String]) -> Result<Vec<Option<Known>>, StoreError> {
        let state = self.lock();
        Ok(keys.iter().map(|key| state.keys.get(key).copied()).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut state = self.lock();
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        if state.head != batch.expected {
            return Err(StoreError::Conflict { expected: batch.expected.size, found: state.head.size });
        }
        let reused = batch.entries.iter().find(|entry| state.keys.contains_key(&entry.key));
        if let Some(entry) = reused {
            return Err(StoreError::Failed(format!("the key {:?} is there already", entry.key)));
        }
        for entry in batch.entries {
            state.nodes.insert(NodeId { level: 0, index: entry.index }, entry.leaf);
            state.keys.insert(entry.key, Known { index: entry.index, digest: entry.digest });
            state.entries.push((entry.entry, entry.payload.release));
        }
        state.nodes.extend(batch.nodes);
        let size = state.entries.len() as u64;
        state.checkpoints.push(StoredCheckpoint { size, note: batch.checkpoint.clone() });
        state.head = Head { size, checkpoint: Some(batch.checkpoint) };
        Ok(())
    }

    async fn entries(&self, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let state = self.lock();
        Ok((from..from.saturating_add(limit.into())).map_while(|index| state.entry(index)).collect())
    }

    async fn of_release(&self, release: &ReleaseId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        let state = self.lock();
        let ours = state.entries.iter().enumerate().filter(|(_, (_, of))| of.as_ref() == Some(release));
        let indices = ours.map(|(index, _)| index as u64).filter(|index| *index >= from);
        Ok(indices.take(limit as usize).filter_map(|index| state.entry(index)).collect())
    }

    async fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, StoreError> {
        let state = self.lock();
        let node = |id: &NodeId| state.nodes.get(id).copied();
        ids.iter().map(|id| node(id).ok_or_else(|| StoreError::Damaged(format!("node {id:?} is missing")))).collect()
    }

    async fn level(&self, level: u8, first: u64, count: u32) -> Result<Vec<Hash>, StoreError> {
        let state = self.lock();
        let indices = first..first.saturating_add(count.into());
        Ok(indices.map_while(|index| state.nodes.get(&NodeId { level, index }).copied()).collect())
    }

    async fn checkpoints(&self, from: u64, limit: u32) -> Result<Vec<StoredCheckpoint>, StoreError> {
        let state = self.lock();
        Ok(state.checkpoints.iter().filter(|stored| stored.size >= from).take(limit as usize).cloned().collect())
    }

    async fn put_segment(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let mut state = self.lock();
        if let Some(error) = &state.failure {
            return Err(error.clone());
        }
        state.segments.insert(digest.clone(), bytes.to_vec());
        Ok(())
    }

    async fn segment(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = self.lock().segments.get(digest).cloned() else { return Ok(None) };
        if Digest::from_sha256(&Sha256::digest(&bytes).into()) == *digest {
            Ok(Some(bytes))
        } else {
            Err(StoreError::Damaged(format!("segment {digest} holds other bytes")))
        }
    }
}
