//! The two clocks of the data plane.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::control::Stamp;

/// Converts between `Instant`, the machine's monotonic µs and wall time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    base: Instant,
    base_mono_us: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        // The monotonic clock counts from boot and is never negative.
        let base_mono_us = time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1_000;
        Self { base: Instant::now(), base_mono_us }
    }

    /// µs of the monotonic clock at an instant.
    pub(crate) fn mono_us(&self, at: Instant) -> u64 {
        self.base_mono_us + micros(at.saturating_duration_since(self.base))
    }

    /// Now on both clocks.
    pub(crate) fn now(&self) -> Stamp {
        Stamp { mono_us: self.mono_us(Instant::now()), wall_us: wall_us() }
    }

    /// An earlier instant of the monotonic clock on both clocks, by the wall clock of now.
    pub(crate) fn stamp(&self, mono_us: u64) -> Stamp {
        let now = self.now();
        let ago = i64::try_from(now.mono_us.saturating_sub(mono_us)).unwrap_or(i64::MAX);
        Stamp { mono_us, wall_us: now.wall_us.saturating_sub(ago) }
    }
}

/// µs since 1970.
pub(crate) fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Whole µs of a duration.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
