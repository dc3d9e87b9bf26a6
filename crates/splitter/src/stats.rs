//! What a worker counts, and how counts of several workers become one second of a version.

use hdrhistogram::Histogram;
use model::HistogramBucket;

use crate::control::VersionTick;

/// Largest latency told apart, µs: 60 s. Longer ones count as 60 s and as saturated.
pub(crate) const MAX_LATENCY_US: u64 = 60_000_000;

/// Significant digits: an error of at most 0.1 %, as the judge's tolerance of 10 % assumes.
const DIGITS: u8 = 3;

/// An empty latency histogram in µs.
pub(crate) fn histogram() -> Histogram<u64> {
    let created = Histogram::new_with_bounds(1, MAX_LATENCY_US, DIGITS);
    // The bounds are constants that the crate accepts (1 ≤ low, 2·low ≤ high, digits ≤ 5); a test creates one.
    #[allow(clippy::expect_used)]
    created.expect("constant bounds are valid")
}

/// Sums of one version on one worker since last asked. Field meanings as in [`VersionTick`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub started: u64,
    pub n: u64,
    pub errors: u64,
    pub classes: [u64; 5],
    pub upstream_failures: u64,
    pub timeouts: u64,
    pub client_aborts: u64,
    pub cut: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub saturated: u64,
    /// Exact sum of latencies, µs.
    pub sum_us: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.n += other.n;
        self.errors += other.errors;
        for (mine, theirs) in self.classes.iter_mut().zip(other.classes) {
            *mine += theirs;
        }
        self.upstream_failures += other.upstream_failures;
        self.timeouts += other.timeouts;
        self.client_aborts += other.client_aborts;
        self.cut += other.cut;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.saturated += other.saturated;
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }
}

/// How a request that was sent on ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The version answered with this status.
    Answered(u16),
    /// The version's answer broke off after its head, which had this status.
    BrokeOff(u16),
    /// The version's answer stalled after its head, which had this status.
    Stalled(u16),
    /// The version could not be reached or broke the connection; the client was sent this status.
    Failed(u16),
    /// The version did not answer in time; the client was sent this status.
    TimedOut(u16),
    /// The client gave up first.
    ClientGone,
    /// Cut at the drain limit.
    Cut,
}

/// What one worker holds for one version.
#[derive(Debug)]
pub(crate) struct WorkerStats {
    pub(crate) counts: Counts,
    latencies: Histogram<u64>,
}

/// What one worker counted for one version since last asked.
#[derive(Debug)]
pub(crate) struct Delta {
    /// [`crate::route::Version::uid`].
    pub version: u64,
    pub counts: Counts,
    /// (upper edge µs, count), ascending.
    pub latencies: Vec<(u64, u64)>,
}

impl WorkerStats {
    pub(crate) fn new() -> Self {
        Self { counts: Counts::default(), latencies: histogram() }
    }

    pub(crate) fn settle(&mut self, outcome: Outcome, latency_us: u64) {
        let counts = &mut self.counts;
        let status = match outcome {
            Outcome::Answered(status) => {
                counts.errors += u64::from(status >= 500);
                status
            }
            Outcome::BrokeOff(status) | Outcome::Failed(status) => {
                counts.errors += 1;
                counts.upstream_failures += 1;
                status
            }
            Outcome::Stalled(status) | Outcome::TimedOut(status) => {
                counts.errors += 1;
                counts.timeouts += 1;
                status
            }
            Outcome::ClientGone => {
                counts.client_aborts += 1;
                return;
            }
            Outcome::Cut => {
                counts.cut += 1;
                return;
            }
        };
        counts.n += 1;
        // Statuses beyond 599 are legal on the wire and mean a server's failure as much as any unknown 5xx.
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        if let Some(class) = counts.classes.get_mut(class) {
            *class += 1;
        }
        counts.saturated += u64::from(latency_us > MAX_LATENCY_US);
        let latency_us = latency_us.min(MAX_LATENCY_US);
        counts.sum_us = counts.sum_us.saturating_add(latency_us);
        self.latencies.saturating_record(latency_us.max(1));
    }

    /// What was counted since the last call; starts again at zero. `None` when nothing was.
    pub(crate) fn take(&mut self, version: u64) -> Option<Delta> {
        if self.counts == Counts::default() {
            return None;
        }
        let latencies =
            self.latencies.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
        self.latencies.reset();
        Some(Delta { version, counts: std::mem::take(&mut self.counts), latencies })
    }
}

/// Several workers' counts of one second.
#[derive(Debug)]
pub(crate) struct Second {
    pub(crate) counts: Counts,
    latencies: Histogram<u64>,
}

impl Second {
    pub(crate) fn new() -> Self {
        Self { counts: Counts::default(), latencies: histogram() }
    }

    pub(crate) fn add(&mut self, delta: &Delta) {
        self.counts.add(&delta.counts);
        for (edge, count) in &delta.latencies {
            self.latencies.saturating_record_n(*edge, *count);
        }
    }

    /// Fills the fields of a tick that come from counting.
    pub(crate) fn tick(&self) -> VersionTick {
        let counts = &self.counts;
        let latencies = &self.latencies;
        let some = !latencies.is_empty();
        let at = |quantile: f64| some.then(|| latencies.value_at_quantile(quantile) as f64 / 1000.0);
        VersionTick {
            started: counts.started,
            n: counts.n,
            errors: counts.errors,
            classes: counts.classes,
            upstream_failures: counts.upstream_failures,
            timeouts: counts.timeouts,
            client_aborts: counts.client_aborts,
            cut: counts.cut,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            saturated: counts.saturated,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            // The exact sum, not the histogram's midpoints.
            mean_ms: (counts.n > 0).then(|| counts.sum_us as f64 / counts.n as f64 / 1000.0),
            sigma_ms: some.then(|| latencies.stdev() / 1000.0),
            histogram: latencies
                .iter_recorded()
                .map(|step| HistogramBucket(step.value_iterated_to(), step.count_at_value()))
                .collect(),
            ..VersionTick::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_once() {
        let check = |outcome: Outcome, n: u64, errors: u64, class: Option<usize>, pick: fn(&Counts) -> u64| {
            let mut stats = WorkerStats::new();
            stats.settle(outcome, 1234);
            let delta = stats.take(1).unwrap();
            assert_eq!((delta.counts.n, delta.counts.errors), (n, errors), "{outcome:?}");
            assert_eq!(delta.counts.classes.iter().position(|c| *c == 1), class, "{outcome:?}");
            assert_eq!(pick(&delta.counts), 1, "{outcome:?}");
            assert_eq!(delta.latencies.iter().map(|(_, count)| count).sum::<u64>(), n);
            assert!(stats.take(1).is_none(), "taken twice");
        };
        check(Outcome::Answered(200), 1, 0, Some(1), |c| c.n);
        check(Outcome::Answered(404), 1, 0, Some(3), |c| c.n);
        check(Outcome::Answered(500), 1, 1, Some(4), |c| c.errors);
        check(Outcome::Answered(799), 1, 1, Some(4), |c| c.errors);
        check(Outcome::BrokeOff(200), 1, 1, Some(1), |c| c.upstream_failures);
        check(Outcome::Stalled(200), 1, 1, Some(1), |c| c.timeouts);
        check(Outcome::Failed(502), 1, 1, Some(4), |c| c.upstream_failures);
        check(Outcome::TimedOut(504), 1, 1, Some(4), |c| c.timeouts);
        check(Outcome::ClientGone, 0, 0, None, |c| c.client_aborts);
        check(Outcome::Cut, 0, 0, None, |c| c.cut);
    }

    #[test]
    fn seconds_merge_exactly() {
        let (mut a, mut b, mut whole) = (WorkerStats::new(), WorkerStats::new(), WorkerStats::new());
        for latency in 1..20_000u64 {
            let half = if latency % 3 == 0 { &mut a } else { &mut b };
            half.settle(Outcome::Answered(200), latency * 7);
            whole.settle(Outcome::Answered(200), latency * 7);
        }
        whole.settle(Outcome::Answered(200), 3 * MAX_LATENCY_US);
        b.settle(Outcome::Answered(200), 3 * MAX_LATENCY_US);
        let (mut merged, mut one) = (Second::new(), Second::new());
        merged.add(&a.take(1).unwrap());
        merged.add(&b.take(1).unwrap());
        one.add(&whole.take(1).unwrap());
        assert_eq!(merged.tick(), one.tick());
        let tick = merged.tick();
        assert_eq!(tick.saturated, 1);
        assert_eq!(tick.histogram.iter().map(|bucket| bucket.1).sum::<u64>(), tick.n);
        assert!(tick.histogram.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let median = tick.p50_ms.unwrap();
        assert!((median - 70.0).abs() < 0.1, "{median}");
    }

    #[test]
    fn an_empty_second_has_no_latency() {
        let tick = Second::new().tick();
        assert_eq!((tick.n, tick.p99_ms, tick.mean_ms, tick.sigma_ms), (0, None, None, None));
    }
}
