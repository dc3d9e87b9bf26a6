//! The loop: observe → plan → execute → record, under an epoch.
//!
//! The controller decides nothing by itself: `rollout::plan` says what to do, a [`Runtime`] does it, the log keeps it.

pub mod ports;
pub mod service;

#[cfg(any(test, feature = "conformance"))]
#[allow(clippy::expect_used, clippy::panic)] // suites are tests
pub mod conformance;
#[cfg(any(test, feature = "conformance"))]
pub mod fake;

pub use ports::*;
pub use service::{CommandError, Delivery, StartError, StartRequest};
