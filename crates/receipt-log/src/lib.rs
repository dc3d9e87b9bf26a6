//! The append-only log: sign, sequence, integrate, checkpoint, follow.
//!
//! [`ReceiptLog`] is the handle that everybody appends to. An index returned means durable.
//!
//! # How an append goes
//! The appender's own task brings the payload into canonical form, signs it and hashes the entry; a bounded queue leads to
//! one writer, which takes everything that queued during the last commit, gives indices, extends the tree, signs a
//! checkpoint over it, and commits entries, tree nodes, keys and checkpoint in **one** transaction. Only then it answers.
//!
//! # Invariants
//! - One writer. A commit names the head it was made from; another head stored is a second writer, and refused.
//! - A key is used once: the same receipt again is answered with the index of the first, another is
//!   [`AppendError::KeyReused`]. Time and energy are of the attempt and do not count.
//! - Any doubt about a write is fatal: nothing is acknowledged any more, [`ReceiptLog::stopped`] resolves, the process
//!   ends, and a new one recovers by reading. A commit that failed is never tried again: after a failed fsync the system
//!   may report as clean what never reached the disk.
//! - A log that opens has a checkpoint signed by our key whose root is that of the stored tree.
//! - The first entry of a log is `delivery.key.rotated`. One Ed25519 key signs receipts and checkpoints; the two cannot be
//!   taken for each other (see [`receipts::ReceiptKey::from_vkey`]).

mod clock;
pub mod conformance;
mod key_file;
mod log;
mod memory;
pub mod offline;
pub mod proofs;
mod receipt_log;
mod signer;
mod store;
pub mod tiles;
mod writer;

pub use clock::{Clock, ManualClock, SystemClock};
pub use key_file::{KeyFile, KeyFileError, Passphrase};
pub use log::{AppendError, Draft, Log, LoggedReceipt, MAX_KEY, MAX_SEGMENT};
pub use memory::MemoryStore;
pub use receipt_log::{MAX_QUEUE, OpenError, ReceiptLog, intact, read};
pub use signer::{MemorySigner, NoRandomness, SignError, Signer, default_origin};
pub use store::{Batch, Head, Known, NewEntry, Store, StoreError, StoredCheckpoint, StoredEntry};
