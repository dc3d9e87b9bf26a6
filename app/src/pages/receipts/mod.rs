//! Receipts: the explorer and one of them.

mod fields;
mod list;
mod range;
mod show;
mod verify;

pub use list::ReceiptsPage;
pub use show::{Fields, Proofs, ReceiptPage};
