//! The append-only log: sign, sequence, integrate, checkpoint, follow.
//!
//! [`ReceiptLog`] is the handle that everybody appends to. An index returned means durable.

mod clock;
mod log;

pub use clock::{Clock, ManualClock, SystemClock};
pub use log::{AppendError, Draft, Log, LoggedReceipt, MAX_SEGMENT};
