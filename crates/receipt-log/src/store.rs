//! The port [`Store`]: what a log needs of a disk.

use std::sync::Arc;

use async_trait::async_trait;
use model::{Digest, ReleaseId};
use receipts::Payload;
use tlog::{Hash, NodeId};

/// A log's state as committed last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Receipts.
    pub size: u64,
    /// The signed checkpoint over them, as text; `None` for a log that has none yet.
    pub checkpoint: Option<String>,
}

/// An entry as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its place.
    pub index: u64,
    /// The entry's bytes.
    pub entry: Arc<[u8]>,
    /// The leaf hash stored beside it.
    pub leaf: Hash,
}

/// An entry to store.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// Its place.
    pub index: u64,
    /// Idempotency key, unique.
    pub key: String,
    /// What the key stands for: see [`Known::digest`].
    pub digest: [u8; 32],
    /// RFC 6962 hash of `entry`.
    pub leaf: Hash,
    /// The entry's bytes.
    pub entry: Arc<[u8]>,
    /// What the entry states, for projections.
    pub payload: Payload,
}

/// What a key was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Index of the entry.
    pub index: u64,
    /// SHA-256 of the canonical payload without time and energy.
    pub digest: [u8; 32],
}

/// One group commit: all of it or nothing.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The head that this batch was made from. Another head stored now means another writer: nothing is written.
    pub expected: Head,
    /// At least one, with consecutive indices from `expected.size` on.
    pub entries: Vec<NewEntry>,
    /// The complete subtrees above the leaves (level 1 and up) that these entries complete.
    pub nodes: Vec<(NodeId, Hash)>,
    /// The signed checkpoint over all entries up to the last of these.
    pub checkpoint: String,
}

/// A checkpoint that was once committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Its tree size.
    pub size: u64,
    /// The note's text.
    pub note: String,
}

/// Why a store did not do it.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// Another head than expected is stored: somebody else writes to this log.
    #[error("the log has {found} receipts where {expected} were written last: somebody else writes to it")]
    Conflict {
        /// Size expected.
        expected: u64,
        /// Size found.
        found: u64,
    },
    /// What is stored is not what was written.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// No room is left.
    #[error("the disk is full: {0}")]
    Full(String),
    /// It failed; after a failed commit nobody knows what is on the disk.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Keeps a log. A [`ReceiptLog`](crate::ReceiptLog) is its only writer.
///
/// `commit` answers `Ok` only when all of the batch is durable; after any error the caller must assume nothing, stop,
/// and read again in a new process. Everything read was committed.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The head as committed last.
    async fn head(&self) -> Result<Head, StoreError>;
    /// What these keys were used for, in their order.
    async fn known(&self, keys: &[String]) -> Result<Vec<Option<Known>>, StoreError>;
    /// Writes a batch if the head is still the expected one.
    async fn commit(&self, batch: Batch) -> Result<(), StoreError>;
    /// Up to `limit` entries with an index of at least `from`, in order. Stops early at a gap only in a damaged store.
    async fn entries(&self, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError>;
    /// Up to `limit` entries of a release with an index of at least `from`, in order.
    async fn of_release(&self, release: &ReleaseId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError>;
    /// Hashes of complete subtrees, in the order asked; level 0 is the stored leaf hashes. A missing one is damage.
    async fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, StoreError>;
    /// Hashes of consecutive nodes of one level, for tiles: as many as there are from `first` on, at most `count`.
    async fn level(&self, level: u8, first: u64, count: u32) -> Result<Vec<Hash>, StoreError>;
    /// Committed checkpoints over at least `from` receipts, oldest first, at most `limit`.
    async fn checkpoints(&self, from: u64, limit: u32) -> Result<Vec<StoredCheckpoint>, StoreError>;
    /// Keeps bytes under their digest; durable when it answers.
    async fn put_segment(&self, digest: &Digest, bytes: &[u8]) -> Result<(), StoreError>;
    /// The bytes under a digest, recomputed: other bytes are damage.
    async fn segment(&self, digest: &Digest) -> Result<Option<Vec<u8>>, StoreError>;
}
