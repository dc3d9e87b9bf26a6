//! What "slow" means: a latency of stable's past, and the canary's latency that it is compared with, both at bucket edges.

use model::HistogramBucket;
use serde::{Deserialize, Serialize};

use super::{buckets::own_edges, policy::Policy};

/// Most buckets of a histogram taken: a three-digit one up to a minute in µs has 17,400.
pub const MAX_BUCKETS: usize = 32_768;

/// Latencies above which a request is slow: fixed from *earlier* data, so that they may be used on what comes.
///
/// Stable's requests are slow above `stable_us`; the canary's above `canary_us` to abort and above `certify_us` to certify. **Does not promise**
/// to be stable's 99th percentile exactly: if it is off, a neighbouring quantile is compared, at the same error probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// x: upper edge of the bucket that holds stable's 99th percentile, µs.
    pub stable_us: u64,
    /// First edge at or above `max((1 + τ) x, x + 1 ms)`, µs.
    pub canary_us: u64,
    /// Last edge at or below it, µs.
    pub certify_us: u64,
    /// Requests of stable that they come from.
    pub requests: u64,
}

impl Limits {
    /// From stable's past latencies (ascending edges in µs); `None` from fewer than `enough` requests.
    ///
    /// `edges` gives the next bucket edge at or above a latency, and the last one at or below it.
    pub fn new(
        past: impl Iterator<Item = HistogramBucket> + Clone,
        enough: u64,
        tolerance: f64,
        least_us: u64,
        edges: impl Fn(u64) -> (u64, u64),
    ) -> Option<Self> {
        let total = past.clone().fold(0_u64, |sum, b| sum.saturating_add(b.1));
        if total < enough.max(1) {
            return None;
        }
        // ceil(0.99 n) in whole numbers: n - floor(n / 100).
        let rank = total - total / 100;
        let mut seen = 0_u64;
        let stable_us = past.into_iter().find_map(|HistogramBucket(edge, n)| {
            seen = seen.saturating_add(n);
            (seen >= rank).then_some(edge)
        })?;
        let limit = ((stable_us as f64 * (1.0 + tolerance)).ceil() as u64).max(stable_us.saturating_add(least_us));
        let (above, below) = edges(limit);
        Some(Self { stable_us, canary_us: above, certify_us: below.max(stable_us), requests: total })
    }

    /// From past latencies in buckets with edges of their own, the last of them infinity. `None` too when stable's 99th percentile, or the limit
    /// above it, lies beyond the last finite edge.
    pub fn on_own_edges(past: &[HistogramBucket], policy: &Policy) -> Option<Self> {
        let last = past.iter().rev().find(|b| b.0 < u64::MAX)?.0;
        Self::new(past.iter().copied(), policy.history_requests, policy.tolerance, policy.least_us, |us| {
            own_edges(past, us)
        })
        .filter(|l| l.stable_us <= last && l.canary_us <= last)
    }

    /// The ratio really tested: the canary's limit over stable's.
    pub fn ratio(&self) -> f64 {
        self.canary_us as f64 / self.stable_us.max(1) as f64
    }
}

/// The bucket edges around a latency in an HDR histogram of three digits that starts at 1 µs: `(first edge ≥ us, last edge ≤ us)`.
///
/// Such a histogram has 2,048 buckets of 1 µs and from then on 1,024 in each doubling; an edge is the largest value of its bucket.
pub fn hdr_edges(us: u64) -> (u64, u64) {
    let width = |v: u64| 1_u64 << (64 - (v | 1).leading_zeros()).saturating_sub(11);
    let w = width(us);
    let above = us | (w - 1);
    if above == us {
        return (us, us);
    }
    // The last value of the bucket before; at the bottom there is none.
    (above, (us & !(w - 1)).saturating_sub(1))
}

/// Requests that took longer than `us`, which is one of the histogram's edges.
pub fn slower_than(histogram: &[HistogramBucket], us: u64) -> u64 {
    let first = histogram.partition_point(|b| b.0 <= us);
    histogram.get(first..).unwrap_or_default().iter().fold(0_u64, |sum, b| sum.saturating_add(b.1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_come_from_the_past_and_stand_on_edges() {
        let past = [HistogramBucket(40_031, 990), HistogramBucket(100_031, 10)];
        let limits = |enough| Limits::new(past.iter().copied(), enough, 0.10, 1_000, hdr_edges);
        assert_eq!(limits(1_001), None);
        let l = limits(500).unwrap();
        assert_eq!((l.stable_us, l.requests), (40_031, 1_000));
        assert!(l.canary_us as f64 >= 40_031.0 * 1.1 && l.ratio() < 1.1011, "{l:?}");
        assert!(l.certify_us as f64 <= 40_031.0 * 1.1 + 1.0);
        // A service faster than 10 ms: one millisecond is the least that counts.
        let fast = [HistogramBucket(900, 1_000)];
        let l = Limits::new(fast.iter().copied(), 500, 0.10, 1_000, hdr_edges).unwrap();
        assert_eq!((l.stable_us, l.canary_us), (900, 1_900));
    }

    #[test]
    fn counts_above_an_edge() {
        let h = [HistogramBucket(10, 5), HistogramBucket(20, 3), HistogramBucket(40, 2)];
        for (us, n) in [(0, 10), (9, 10), (10, 5), (19, 5), (20, 2), (40, 0), (99, 0)] {
            assert_eq!(slower_than(&h, us), n, "{us}");
        }
        assert_eq!(slower_than(&[], 3), 0);
    }

    proptest! {
        #[test]
        fn edges_surround(us in 1_u64..60_000_000) {
            let (above, below) = hdr_edges(us);
            prop_assert!(below <= us && us <= above);
            prop_assert!((above - us) as f64 <= us as f64 / 1024.0 + 1.0);
            // An edge is its own edge.
            prop_assert_eq!(hdr_edges(above), (above, above));
        }
    }
}
