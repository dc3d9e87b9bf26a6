//! The port [`TreeStore`]: what this log needs of a disk.

use std::sync::Arc;

use async_trait::async_trait;
use model::{Actor, Timestamp};
use receipt_log::StoreError;
use tlog::{Hash, NodeId};

/// The log's state as committed last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Entries.
    pub size: u64,
    /// The signed checkpoint over them; `None` for a log that was not begun.
    pub checkpoint: Option<String>,
    /// When the log was begun: from then on its key is in force.
    pub begun: Option<Timestamp>,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub index: u64,
    /// RFC 6962 hash of `body`.
    pub leaf: Hash,
    /// Its bytes, as they are hashed and served.
    pub body: Arc<[u8]>,
    /// Who handed it in.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
}

/// One commit: all of it or nothing.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The head that it was made from. Another head stored now means another writer: nothing is written.
    pub expected: Head,
    /// Entries with consecutive indices from `expected.size` on; none when the log is begun.
    pub entries: Vec<Entry>,
    /// The complete subtrees above the leaves (level 1 and up) that these entries complete.
    pub nodes: Vec<(NodeId, Hash)>,
    /// The signed checkpoint over all entries up to the last of these.
    pub checkpoint: String,
    /// Set when the log is begun.
    pub begun: Option<Timestamp>,
}

/// Keeps the tree. A [`crate::SignatureLog`] is its only writer.
///
/// `commit` answers `Ok` only when all of the batch is durable. Everything read was committed.
#[async_trait]
pub trait TreeStore: Send + Sync + 'static {
    /// The head as committed last.
    async fn head(&self) -> Result<Head, StoreError>;
    /// Index of the entry with this leaf hash.
    async fn find(&self, leaf: &Hash) -> Result<Option<u64>, StoreError>;
    /// Writes a batch if the head is still the expected one; else [`StoreError::Conflict`].
    async fn commit(&self, batch: Batch) -> Result<(), StoreError>;
    /// Up to `limit` entries with an index of at least `from`, in order.
    async fn entries(&self, from: u64, limit: u32) -> Result<Vec<Entry>, StoreError>;
    /// Hashes of complete subtrees, in the order asked; level 0 is the leaf hashes. A missing one is damage.
    async fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, StoreError>;
    /// Hashes of consecutive nodes of one level: as many as there are from `first` on, at most `count`.
    async fn level(&self, level: u8, first: u64, count: u32) -> Result<Vec<Hash>, StoreError>;
}
