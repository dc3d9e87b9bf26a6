//! The embedded store: log, projections, samples and access in one SQLite file.
//!
//! [`SqliteStore`] implements `receipt_log::Store`, `rekor::TreeStore` (through [`RekorTree`]), `projections::ReadModel`, `controller::SampleStore` and
//! `access::AccessStore` over `<data-dir>/deliveryos.db`.
//!
//! # Invariants
//! - SQLite is at least 3.51.3, checked when it is opened. WAL, `synchronous=FULL`: an answered write is on the disk.
//! - **One** connection writes, in `BEGIN IMMEDIATE` transactions, and it alone checkpoints. Readers have a small pool of
//!   read-only connections. An operating system lock on `<data-dir>/lock` keeps a second server out.
//! - Entries, tree nodes, keys, checkpoint and projections of a batch are one transaction.
//! - After a failed commit or checkpoint nothing is written any more (an fsync that failed once may report success the
//!   next time without the data being on the disk): every write is refused until a new process reads again.
//! - Tables named `p_…` are folded from `entry` by `projections` and nothing else; [`SqliteStore::rebuild`] makes the very
//!   same rows again.

mod access_store;
mod error;
mod fold;
mod lists;
mod log_store;
mod open;
mod read_model;
mod rekor_tree;
mod samples;
mod tick_codec;
mod writer;

pub use error::OpenError;
pub use open::{DATABASE_FILE, LOCK_FILE, SqliteStore};
pub use rekor_tree::RekorTree;
