//! Receipts: the explorer and one of them.

mod fields;
mod list;
mod names;
mod range;
mod show;
mod verify;

pub use list::ReceiptsPage;
#[cfg(feature = "hydrate")]
pub(crate) use range::browser as range_work;
pub use show::{Fields, Proofs, ReceiptPage};
