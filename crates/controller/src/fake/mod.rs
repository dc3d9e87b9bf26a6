//! In-memory stand-ins for every port, for tests of this crate and of those who use it (feature `conformance`).
//!
//! They keep their contracts, pass the conformance suites, and can be told to lie, lag and fail. Time is tokio's, so that
//! tests run with it paused.

mod counters;
mod log;
mod metrics;
mod runtime;
mod samples;

pub use counters::{CounterFaults, FakeCounters};
pub use log::{LogFault, MemoryLog};
pub use metrics::{FakeMetrics, Scripted};
pub use runtime::{Call, FakeRuntime, Faults, Profile};
pub use samples::{FakeMigrations, MemorySamples};

use model::Timestamp;
use receipt_log::Clock;
use tokio::time::Instant;

/// A clock that moves with tokio's time, which tests pause.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    base: Timestamp,
    start: Instant,
}

impl TokioClock {
    /// A clock that shows `base` now.
    pub fn new(base: Timestamp) -> Self {
        Self { base, start: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.base.plus_millis(i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

/// A lock whose poisoning is ignored: a test that panicked has failed already.
pub(crate) fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
