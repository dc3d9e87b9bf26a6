//! The rules that others use, each as its documentation says.

use super::{Outcome, Random, STEP_S, Scenario, Second, Stop, first};

/// Requests of each version below which `threshold_10_min` does not look.
const ENOUGH: u64 = 500;

/// All of them, over the rollout so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Others {
    ten: Window,
    minute: Window,
    step: Window,
    minutes: Minutes,
}

impl Others {
    /// Takes a second; what a rule says at the end of its window goes into `out`.
    pub(super) fn take(
        &mut self,
        scenario: &Scenario,
        random: &mut Random,
        canary: Second,
        stable: Second,
        stop: Stop,
        out: &mut Outcome,
    ) {
        for window in [&mut self.ten, &mut self.minute, &mut self.step] {
            window.add(canary, stable);
        }
        if stop.at.is_multiple_of(10) {
            let ten = std::mem::take(&mut self.ten);
            let breach = ten.breach(scenario, random);
            first(&mut out.threshold_10, breach, stop);
            first(&mut out.threshold_10_min, breach && ten.canary.n >= ENOUGH && ten.stable.n >= ENOUGH, stop);
        }
        if stop.at.is_multiple_of(60) {
            let minute = std::mem::take(&mut self.minute);
            first(&mut out.threshold_60, minute.breach(scenario, random), stop);
            self.minutes.add(&minute, scenario, random);
            first(&mut out.mann_whitney, self.minutes.high(), stop);
        }
        if stop.at.is_multiple_of(STEP_S) {
            let step = std::mem::take(&mut self.step);
            first(&mut out.argo, step.breach(scenario, random), stop);
        }
    }
}

/// Counts of a window.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    canary: Sums,
    stable: Sums,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    n: u64,
    errors: u64,
    stuck: u64,
}

impl Sums {
    fn add(&mut self, second: Second) {
        self.n += second.counts.n;
        self.errors += second.counts.errors;
        self.stuck += second.stuck;
    }

    /// The 99th percentile, drawn as the order statistic that it is; what a burst held back is slower than all others.
    fn p99(self, scenario: &Scenario, random: &mut Random, slower: f64) -> Option<f64> {
        /// Longer than any latency that is drawn: 1e12 µs.
        const STUCK_US: f64 = 1e13;
        if self.n == 0 {
            return None;
        }
        let (rank, free) = (self.n - self.n / 100, self.n - self.stuck.min(self.n));
        if rank > free {
            return Some(STUCK_US);
        }
        let above = 1.0 - random.beta(rank as f64, (free - rank + 1) as f64);
        Some(scenario.tail.quantile(above.max(1e-12)) * slower)
    }

    fn errors(self) -> Option<f64> {
        (self.n > 0).then(|| self.errors as f64 / self.n as f64)
    }
}

impl Window {
    fn add(&mut self, canary: Second, stable: Second) {
        self.canary.add(canary);
        self.stable.add(stable);
    }

    fn p99(&self, scenario: &Scenario, random: &mut Random) -> (Option<f64>, Option<f64>) {
        (self.canary.p99(scenario, random, scenario.slower), self.stable.p99(scenario, random, 1.0))
    }

    /// The stated rule: p99 more than 10 % above stable's, or more than 1 % failed.
    fn breach(&self, scenario: &Scenario, random: &mut Random) -> bool {
        let (canary, stable) = self.p99(scenario, random);
        canary.zip(stable).is_some_and(|(c, b)| c > b * 1.1) || self.canary.errors().is_some_and(|e| e > 0.01)
    }
}

/// Values of each minute, for Mann and Whitney.
#[derive(Debug, Clone, Default)]
struct Minutes {
    p99: (Vec<f64>, Vec<f64>),
    errors: (Vec<f64>, Vec<f64>),
}

impl Minutes {
    fn add(&mut self, window: &Window, scenario: &Scenario, random: &mut Random) {
        let (canary, stable) = window.p99(scenario, random);
        if let (Some(c), Some(b), Some(ec), Some(eb)) = (canary, stable, window.canary.errors(), window.stable.errors())
        {
            self.p99.0.push(c);
            self.p99.1.push(b);
            self.errors.0.push(ec);
            self.errors.1.push(eb);
        }
    }

    /// One metric classified as high.
    fn high(&self) -> bool {
        [&self.p99, &self.errors].into_iter().any(|(c, b)| is_high(c, b))
    }
}

/// Kayenta's Mann-Whitney: high when the lower end of the 98 % interval of the shift is above a quarter of the shift.
fn is_high(canary: &[f64], stable: &[f64]) -> bool {
    const Z: f64 = 2.326_347_874; // 98 %, two-sided
    const TOLERANCE: f64 = 0.25;
    let (m, n) = (canary.len() as f64, stable.len() as f64);
    let mut shifts: Vec<f64> = canary.iter().flat_map(|c| stable.iter().map(move |b| c - b)).collect();
    shifts.sort_by(f64::total_cmp);
    let rank = m * n / 2.0 - Z * (m * n * (m + n + 1.0) / 12.0).sqrt();
    if rank < 1.0 {
        return false;
    }
    let low = shifts.get(rank.floor() as usize - 1).copied().unwrap_or(0.0);
    let median = shifts.get(shifts.len() / 2).copied().unwrap_or(0.0);
    low > 0.0 && low > TOLERANCE * median
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mann_and_whitney_need_five_minutes_that_lie_apart() {
        let apart = |n: u32| {
            let values = |from: f64| (0..n).map(|i| from + f64::from(i) / 100.0).collect::<Vec<_>>();
            is_high(&values(2.0), &values(1.0))
        };
        assert!(!apart(4));
        assert!(apart(5));
        assert!(!is_high(&[1.0, 2.0, 3.0, 4.0, 5.0], &[1.0, 2.0, 3.0, 4.0, 5.0]));
    }
}
