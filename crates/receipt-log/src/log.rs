//! The handle that everybody appends to. (The writer behind it: `sequence`, `integrate`, `checkpoint`.)

use std::sync::Arc;

use async_trait::async_trait;
use model::{Digest, ReleaseId};
use receipts::Payload;

/// What to append.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Idempotency key, unique in the log, at most [`MAX_KEY`] characters: the same key again is answered with the index
    /// of the first. Time and energy may differ then (they tell of the attempt); anything else is [`AppendError::KeyReused`].
    pub key: String,
    /// What to state. Signed as it is.
    pub payload: Payload,
}

/// An entry as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedReceipt {
    /// Its place.
    pub index: u64,
    /// What it states.
    pub payload: Payload,
    /// The entry's bytes.
    pub entry: Arc<[u8]>,
}

/// Longest idempotency key in characters: a release id, an operation and a UUID.
pub const MAX_KEY: usize = 200;

/// Why an append was not acknowledged, or the log not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The entry would be longer than a log entry may be: put the large part into a segment.
    #[error("the receipt has {0} bytes, {max} are allowed", max = receipts::MAX_ENTRY)]
    TooLarge(usize),
    /// The same idempotency key was used for another payload.
    #[error("the idempotency key {0:?} was used for another receipt")]
    KeyReused(String),
    /// Not an idempotency key.
    #[error("an idempotency key has 1 to {max} characters without control characters", max = MAX_KEY)]
    BadKey,
    /// The payload cannot be brought into canonical form.
    #[error("the receipt has no canonical form: {0}")]
    NotCanonical(String),
    /// Too many appends wait: try again.
    #[error("the log is busy: {0} appends are waiting")]
    Busy(usize),
    /// The receipt could not be signed. Nothing was written.
    #[error("the receipt could not be signed: {0}")]
    Signing(String),
    /// The log could not be read, or what it holds is damaged.
    #[error("the log could not be read: {0}")]
    Unreadable(String),
    /// The log has stopped: a write was in doubt. The process must end and recover by reading.
    #[error("the log has stopped: {0}")]
    Stopped(String),
}

/// What the controller and the server need of the log. Implemented by `ReceiptLog`, and in memory for tests.
#[async_trait]
pub trait Log: Send + Sync {
    /// Appends one receipt; the index is answered only once it is durable.
    async fn append(&self, draft: Draft) -> Result<u64, AppendError>;
    /// Index of the receipt with this idempotency key, if there is one.
    async fn find(&self, key: &str) -> Result<Option<u64>, AppendError>;
    /// All receipts of one release in order, durable ones only.
    async fn of_release(&self, release: &ReleaseId) -> Result<Vec<LoggedReceipt>, AppendError>;
    /// True when there is a receipt of this release, whether it can be read or not.
    async fn has_release(&self, release: &ReleaseId) -> Result<bool, AppendError>;
    /// Up to `limit` receipts with an index of at least `from`, in order.
    async fn range(&self, from: u64, limit: u32) -> Result<Vec<LoggedReceipt>, AppendError>;
    /// Number of durable receipts; changes are seen on the receiver.
    fn size(&self) -> tokio::sync::watch::Receiver<u64>;
    /// Keeps bytes under their digest, durable when it answers. At most [`MAX_SEGMENT`] bytes.
    async fn put_segment(&self, bytes: Vec<u8>) -> Result<Digest, AppendError>;
    /// The bytes kept under a digest.
    async fn segment(&self, digest: &Digest) -> Result<Option<Vec<u8>>, AppendError>;
}

/// Largest segment: an hour of ticks of two versions with their histograms.
pub const MAX_SEGMENT: usize = 16 * 1024 * 1024;
