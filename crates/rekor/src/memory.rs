//! A tree in memory, for tests.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use receipt_log::StoreError;
use tlog::{Hash, NodeId};

use crate::{Batch, Entry, Head, TreeStore};

/// A tree in memory.
#[derive(Debug, Default)]
pub struct MemoryTree(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    head: Head,
    entries: Vec<Entry>,
    nodes: HashMap<NodeId, Hash>,
}

impl MemoryTree {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn node(&self, id: NodeId) -> Option<Hash> {
        if id.level == 0 {
            return self.entries.get(usize::try_from(id.index).ok()?).map(|entry| entry.leaf);
        }
        self.nodes.get(&id).copied()
    }
}

#[async_trait]
impl TreeStore for MemoryTree {
    async fn head(&self) -> Result<Head, StoreError> {
        Ok(self.with(|inner| inner.head.clone()))
    }
    async fn find(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        Ok(self.with(|inner| inner.entries.iter().find(|entry| entry.leaf == *leaf).map(|entry| entry.index)))
    }
    async fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.with(|inner| {
            if inner.head != batch.expected {
                return Err(StoreError::Conflict { expected: batch.expected.size, found: inner.head.size });
            }
            inner.entries.extend(batch.entries);
            inner.nodes.extend(batch.nodes);
            inner.head.size = inner.entries.len() as u64;
            inner.head.checkpoint = Some(batch.checkpoint);
            inner.head.begun = batch.begun.or(inner.head.begun);
            Ok(())
        })
    }
    async fn entries(&self, from: u64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let wanted = |entry: &&Entry| entry.index >= from;
        Ok(self.with(|inner| inner.entries.iter().filter(wanted).take(limit as usize).cloned().collect()))
    }
    async fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, StoreError> {
        let missing = |id: &NodeId| StoreError::Damaged(format!("{id:?} is missing"));
        self.with(|inner| ids.iter().map(|id| inner.node(*id).ok_or_else(|| missing(id))).collect())
    }
    async fn level(&self, level: u8, first: u64, count: u32) -> Result<Vec<Hash>, StoreError> {
        Ok(self.with(|inner| {
            let ids = (first..first.saturating_add(u64::from(count))).map(|index| NodeId { level, index });
            ids.map_while(|id| inner.node(id)).collect()
        }))
    }
}
