//! Joules of an operation: measured by powercap or modelled from CPU time.
//!
//! A [`Probe`] is made once: it finds the machine's counters and the coefficient of its processor. [`Probe::start`] and
//! [`Meter::finish`] stand around an operation and give a [`model::Energy`]; [`Probe::measure`] does the same for a
//! future, counting only the CPU time of its own polls.
//!
//! # Methods, best first
//! 1. **RAPL package share** ([`powercap`], [`share`]): the packages' energy counters and the kernel's CPU times are
//!    read at start and end, never in between. The active part of the energy is shared out by CPU time, as Kepler does;
//!    the idle part is reported apart. Not used for operations so short that the kernel's tick cannot tell shares, nor
//!    for ones so long that a counter may have wrapped twice.
//! 2. **CPU-time model** ([`coefficient`]): the operation's own CPU time, times the published marginal power of a busy
//!    hardware thread of this processor. An unknown processor gets the widest span of all known ones.
//!
//! # Invariants
//! - No number without its method, its bounds and what it covers; `low <= joules <= high`.
//! - Overlapping zones are never summed: packages alone count, each once (see [`powercap`]).
//! - What cannot be read is left out with a reason ([`Probe::skipped`]); it is never a zero.
//! - Only CPU (and what the package counter holds): no memory, disk, network, cooling.
//!
//! ```
//! use energy::{CpuClock, Probe};
//!
//! let meter = Probe::system().start(CpuClock::Thread)?;
//! let digest: u64 = (0..10_000).map(|n: u64| n.rotate_left(7)).fold(0, |a, b| a ^ b);
//! let energy = meter.finish()?;
//! assert!(energy.low <= energy.joules && energy.joules <= energy.high, "{digest}");
//! # Ok::<(), energy::MeterError>(())
//! ```

pub mod coefficient;
mod cpu;
mod meter;
pub mod powercap;
pub mod share;

pub use coefficient::Coefficient;
pub use cpu::{CpuClock, cpu_time_of};
pub use meter::{Meter, MeterError, Probe, sum};
pub use powercap::{Powercap, SkipReason, SkippedZone};
