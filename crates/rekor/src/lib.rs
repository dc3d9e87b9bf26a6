//! A transparency log of signatures, in the form of Rekor v2 (C2SP tlog-tiles below, `TransparencyLogEntry` above).
//!
//! [`SignatureLog`] is the handle: an entry's body in, its place with an inclusion proof under a signed checkpoint out. Which bodies are
//! entries is not decided here: whoever appends has verified the signature in them (`attest::log_entry`).
//!
//! It is a second log beside the receipts: its own origin, key and tree. Each of its entries is noted by a receipt
//! ([`model::Kind::SignatureLogged`]), so that the main log covers it too: a second history of this log would have to contradict receipts.
//!
//! # Invariants
//! - One writer; a commit names the head it was made from. Entries, nodes and checkpoint of a batch are one transaction.
//! - Answered means: durable, under a checkpoint, and noted. A note that a crash prevented is written when the log opens.
//! - The same body is logged once: it is answered with the place that it has.
//! - Doubt about a write is fatal: the log stops, nothing more is answered.
//! - The origin is a host's name without a path: verifiers derive the name of the checkpoint's key from the trusted root's `baseUrl`
//!   (sigstore-go takes its host).

mod audit;
#[cfg(any(test, feature = "conformance"))]
#[allow(clippy::unwrap_used, clippy::expect_used, missing_docs)] // test machinery: a panic is its way to say no
pub mod conformance;
mod log;
mod memory;
mod note;
mod store;
pub mod tiles;
mod trusted_root;
mod writer;

pub use audit::{Audit, audit};
pub use log::{AppendError, Logged, MAX_BODY, MAX_QUEUE, OpenError, SignatureLog, default_origin};
pub use memory::MemoryTree;
pub use store::{Batch, Entry, Head, TreeStore};
pub use trusted_root::{is_origin, key_of, trusted_root};
