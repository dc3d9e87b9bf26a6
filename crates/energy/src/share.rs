//! Sharing a package's energy out by CPU time, as Kepler does.
//!
//! ```text
//! active   = package energy × (busy CPU time ÷ all CPU time of the machine)
//! operation = active × (its CPU time ÷ busy CPU time of the machine)
//! idle     = package energy − active
//! ```
//! The kernel counts the machine's CPU times in ticks of 10 ms.

use std::time::Duration;

/// Shortest operation whose share the kernel's ticks can tell: ten of them, so that one tick is a tenth.
pub const SHORTEST: Duration = Duration::from_millis(100);

/// Two workloads of equal CPU time may differ by a factor of 2 to 3 (Kepler's guide: vector and memory-bound code), so
/// half the even share is the lower bound and twice it at least the upper one.
const UNEVEN: f64 = 2.0;

/// What was counted over the operation's wall time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Energy of all packages, J.
    pub package_joules: f64,
    /// CPU time of the machine that did work.
    pub busy: Duration,
    /// CPU time of the machine altogether: busy and idle.
    pub total: Duration,
    /// CPU time of the operation.
    pub cpu: Duration,
}

/// An operation's share of the energy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Lower bound, J.
    pub low: f64,
    /// Its share of the active energy, J.
    pub joules: f64,
    /// Upper bound, J.
    pub high: f64,
    /// The machine's idle energy, of which the operation has no share, J.
    pub idle: f64,
}

/// The operation's share; `None` when the machine's CPU times did not move, so that no share can be told.
///
/// The upper bound also lets the operation bear its share of the idle energy, and is never more than the packages used.
pub fn share(interval: &Interval) -> Option<Share> {
    let Interval { package_joules, busy, total, cpu } = *interval;
    if busy.is_zero() || total.is_zero() {
        return None;
    }
    let used = (busy.as_secs_f64() / total.as_secs_f64()).min(1.0);
    // Ticks may count less than the operation's finer clock.
    let part = (cpu.as_secs_f64() / busy.as_secs_f64()).min(1.0);
    let active = package_joules * used;
    let joules = active * part;
    let high = (joules * UNEVEN).max(package_joules * part).min(package_joules);
    Some(Share { low: joules / UNEVEN, joules, high, idle: package_joules - active })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Over one second, joules are watts.
    fn check(package: f64, busy: u64, total: u64, cpu: u64, expected: f64) -> Share {
        let share =
            share(&Interval { package_joules: package, busy: ms(busy), total: ms(total), cpu: ms(cpu) }).unwrap();
        assert!((share.joules - expected).abs() < 1e-9, "{cpu} of {busy} of {total} ms: {share:?}");
        share
    }

    /// The worked examples of Kepler's power attribution guide.
    #[test]
    fn examples_of_kepler() {
        // 1: 40 W, a quarter busy, 20 % of the node's CPU time: 2 W, and 30 W idle.
        let share = check(40.0, 1000, 4000, 200, 2.0);
        assert_eq!(share.idle, 30.0);
        // 2: 60 W, a third busy, 1000 ms of CPU time: 20 W active, 40 W idle.
        for (cpu, watts) in [(100, 2.0), (80, 1.6), (70, 1.4), (60, 1.2), (200, 4.0), (90, 1.8), (110, 2.2), (150, 3.0)]
        {
            let share = check(60.0, 1000, 3000, cpu, watts);
            assert!((share.idle - 40.0).abs() < 1e-9);
        }
        // 3 and 4: 150 of 1000 ms are 15 %, 250 of 1000 ms are 25 % of the active power, here 100 W.
        check(100.0, 1000, 1000, 150, 15.0);
        check(100.0, 1000, 1000, 250, 25.0);
    }

    #[test]
    fn no_share_without_time() {
        let interval = Interval { package_joules: 1.0, busy: ms(0), total: ms(10), cpu: ms(1) };
        assert_eq!(share(&interval), None);
        assert_eq!(share(&Interval { busy: ms(10), total: ms(0), ..interval }), None);
        // A finer clock saw more than the ticks did: all of the active energy, not more.
        check(10.0, 100, 200, 107, 5.0);
    }

    proptest! {
        #[test]
        fn bounds_hold(package in 0.0..1e6_f64, busy in 1..1_000_000_u64, idle in 0..1_000_000_u64, cpu in 0..2_000_000_u64) {
            let interval = Interval { package_joules: package, busy: ms(busy), total: ms(busy + idle), cpu: ms(cpu) };
            let share = share(&interval).unwrap();
            prop_assert!(0.0 <= share.low && share.low <= share.joules && share.joules <= share.high);
            prop_assert!(share.high <= package && 0.0 <= share.idle && share.idle <= package);
        }
    }
}
