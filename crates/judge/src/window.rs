//! Ticks gathered over a span of time.

use std::collections::{BTreeMap, VecDeque};

use model::{HistogramBucket, Tick, Timestamp, VersionTick, event::WindowStats};
use serde::{Deserialize, Serialize};

/// Most distinct bucket edges kept per window and version. A three-digit HDR histogram up to a minute in µs has 17,400;
/// beyond the limit a count goes to the next larger edge that is there, which can only overstate a latency.
const MAX_EDGES: usize = 32_768;

/// A tick covers this many milliseconds.
pub(crate) const TICK_MS: i64 = 1_000;

/// Which window a metric was looked at over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowName {
    /// The last so many seconds.
    Last(u32),
    /// Since the present step (or weight) began.
    Step,
}

impl WindowName {
    /// For sentences: `in the last 5 s`.
    pub fn phrase(self) -> String {
        match self {
            Self::Last(s) => format!("in the last {s} s"),
            Self::Step => "since the step began".to_owned(),
        }
    }
}

/// What a window covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Span {
    /// Start of its first tick; `None` without ticks.
    pub from: Option<Timestamp>,
    /// End of its last tick.
    pub to: Option<Timestamp>,
    /// Number of ticks in it.
    pub ticks: u64,
    /// Ticks known to be missing, by their sequence numbers.
    pub lost: u64,
}

/// Sums of one version over a window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sums {
    n: u64,
    errors: u64,
    edges: BTreeMap<u64, u64>,
    timed: u64,
    /// Requests behind `sum` and `squares`.
    moments: u64,
    sum: f64,
    squares: f64,
}

impl Sums {
    pub(crate) fn add(&mut self, tick: &VersionTick) {
        self.add_counts(tick);
        for HistogramBucket(edge, count) in &tick.histogram {
            self.timed = self.timed.saturating_add(*count);
            let edge = if self.edges.len() < MAX_EDGES || self.edges.contains_key(edge) {
                *edge
            } else {
                self.edges.range(*edge..).next().or_else(|| self.edges.iter().next_back()).map_or(*edge, |(e, _)| *e)
            };
            let slot = self.edges.entry(edge).or_default();
            *slot = slot.saturating_add(*count);
        }
    }

    fn add_counts(&mut self, tick: &VersionTick) {
        self.n = self.n.saturating_add(tick.n);
        // More failures than requests cannot be: a data plane that says so is believed in the failures.
        self.errors = self.errors.saturating_add(tick.errors);
        self.n = self.n.max(self.errors);
        if let (Some(mean), Some(sigma)) = (sane(tick.mean_ms), sane(tick.sigma_ms)) {
            let n = tick.n as f64;
            self.moments = self.moments.saturating_add(tick.n);
            self.sum += n * mean;
            self.squares += n * (sigma * sigma + mean * mean);
        }
    }

    /// What a receipt keeps. `enough` is the number of requests from which p99 votes.
    pub(crate) fn stats(&self, enough: u64) -> WindowStats {
        let (mean, sigma) = if self.moments == 0 {
            (None, None)
        } else {
            let n = self.moments as f64;
            let mean = self.sum / n;
            (sane(Some(mean)), sane(Some((self.squares / n - mean * mean).max(0.0).sqrt())))
        };
        WindowStats { n: self.n, errors: self.errors, p99_ms: self.p99_ms(enough), mean_ms: mean, sigma_ms: sigma }
    }

    fn p99_ms(&self, enough: u64) -> Option<f64> {
        if self.timed == 0 || self.timed < self.n.min(enough) {
            return None;
        }
        // ceil(0.99 n) in whole numbers: n - floor(n / 100).
        let rank = self.timed - self.timed / 100;
        let mut seen = 0_u64;
        for (edge, count) in &self.edges {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return Some(*edge as f64 / 1_000.0);
            }
        }
        None
    }
}

/// Both versions over a window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gathered {
    pub(crate) canary: Sums,
    pub(crate) stable: Sums,
    pub(crate) span: Span,
    last: Option<(String, u64)>,
}

impl Gathered {
    pub(crate) fn add(&mut self, tick: &Tick) {
        if let Some(canary) = &tick.canary {
            self.canary.add(canary);
        }
        self.stable.add(&tick.stable);
        self.cover(tick);
    }

    /// Takes counts and moments, not the histograms.
    pub(crate) fn add_counts(&mut self, tick: &Tick) {
        if let Some(canary) = &tick.canary {
            self.canary.add_counts(canary);
        }
        self.stable.add_counts(&tick.stable);
        self.cover(tick);
    }

    fn cover(&mut self, tick: &Tick) {
        self.span.from.get_or_insert(tick.at.plus_millis(-TICK_MS));
        self.span.to = Some(tick.at);
        self.span.ticks += 1;
        if let Some((boot, seq)) = &self.last
            && *boot == tick.boot
        {
            self.span.lost = self.span.lost.saturating_add(tick.seq.saturating_sub(seq.saturating_add(1)));
        }
        self.last = Some((tick.boot.clone(), tick.seq));
    }

    /// The ticks that ended within the last `seconds` before `now`.
    pub(crate) fn last(recent: &VecDeque<Tick>, now: Timestamp, seconds: u32) -> Self {
        let mut gathered = Self::default();
        let from = now.plus_millis(-i64::from(seconds) * TICK_MS);
        for tick in recent.iter().filter(|t| t.at > from) {
            gathered.add(tick);
        }
        gathered
    }
}

/// A number that can be a latency.
pub(crate) fn sane(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite() && *v >= 0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(histogram: &[(u64, u64)]) -> VersionTick {
        let histogram: Vec<_> = histogram.iter().map(|(e, c)| HistogramBucket(*e, *c)).collect();
        VersionTick { n: histogram.iter().map(|b| b.1).sum(), histogram, ..VersionTick::default() }
    }

    #[track_caller]
    fn check(ticks: &[&[(u64, u64)]], p99_us: Option<u64>) {
        let mut sums = Sums::default();
        for tick in ticks {
            sums.add(&version(tick));
        }
        assert_eq!(sums.stats(500).p99_ms, p99_us.map(|us| us as f64 / 1000.0), "{ticks:?}");
    }

    #[test]
    fn p99_is_exact_at_bucket_edges() {
        check(&[], None);
        check(&[&[(10, 1)]], Some(10));
        check(&[&[(10, 99), (500, 1)]], Some(10));
        check(&[&[(10, 98), (500, 2)]], Some(500));
        check(&[&[(10, 98)], &[(500, 2)]], Some(500));
        // Not the mean of two p99s: 100 requests of 10 µs and 10,000 of 900 µs.
        check(&[&[(10, 100)], &[(900, 10_000)]], Some(900));
        check(&[&[(10, 10_000)], &[(900, 100)]], Some(10));
        check(&[&[(10, 10_000)], &[(900, 103)]], Some(900));
    }

    #[test]
    fn a_histogram_that_misses_requests_gives_no_p99() {
        let mut sums = Sums::default();
        sums.add(&VersionTick { n: 1_000, ..version(&[(10, 499)]) });
        assert_eq!(sums.stats(500).p99_ms, None);
        let mut sums = Sums::default();
        sums.add(&VersionTick { n: 1_000, ..version(&[(10, 500)]) });
        assert_eq!(sums.stats(500).p99_ms, Some(0.01));
    }

    #[test]
    fn nan_moments_are_absent() {
        let mut sums = Sums::default();
        sums.add(&VersionTick { n: 3, mean_ms: Some(f64::NAN), sigma_ms: Some(1.0), ..VersionTick::default() });
        assert_eq!(sums.stats(500).mean_ms, None);
        sums.add(&VersionTick { n: 2, mean_ms: Some(4.0), sigma_ms: Some(1.0), ..VersionTick::default() });
        assert_eq!((sums.stats(500).mean_ms, sums.stats(500).sigma_ms), (Some(4.0), Some(1.0)));
    }

    proptest! {
        #[test]
        fn p99_agrees_with_sorting(latencies in prop::collection::vec((1_u64..200, 1_usize..5), 1..300)) {
            let mut sums = Sums::default();
            let mut all = Vec::new();
            for chunk in latencies.chunks(7) {
                let mut tick = BTreeMap::new();
                for (edge, count) in chunk {
                    *tick.entry(*edge).or_insert(0_u64) += *count as u64;
                    all.extend(std::iter::repeat_n(*edge, *count));
                }
                sums.add(&version(&tick.into_iter().collect::<Vec<_>>()));
            }
            all.sort_unstable();
            let rank = (all.len() * 99).div_ceil(100);
            prop_assert_eq!(sums.stats(500).p99_ms, Some(all[rank - 1] as f64 / 1000.0));
        }

        #[test]
        fn pooled_moments_agree_with_all_at_once(groups in prop::collection::vec(prop::collection::vec(0.0_f64..1e4, 1..20), 1..10)) {
            let moments = |v: &[f64]| {
                let mean = v.iter().sum::<f64>() / v.len() as f64;
                (mean, (v.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / v.len() as f64).sqrt())
            };
            let mut sums = Sums::default();
            for group in &groups {
                let (mean, sigma) = moments(group);
                sums.add(&VersionTick { n: group.len() as u64, mean_ms: Some(mean), sigma_ms: Some(sigma), ..VersionTick::default() });
            }
            let (mean, sigma) = moments(&groups.concat());
            let stats = sums.stats(500);
            prop_assert!((stats.mean_ms.unwrap() - mean).abs() < 1e-6);
            prop_assert!((stats.sigma_ms.unwrap() - sigma).abs() < 1e-2);
        }
    }
}
