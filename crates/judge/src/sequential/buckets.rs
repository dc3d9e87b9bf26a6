//! Ticks from the cumulative counters of a histogram with few buckets, as Prometheus keeps them.

use model::HistogramBucket;

use super::{
    latency::Limits,
    policy::Policy,
    tick::{Counts, Tick},
};

/// Most edges of a histogram: Prometheus' client libraries have a dozen.
pub const MAX_EDGES: usize = 512;
/// Buckets cost no more than those of two digits do: 1/128 of the limit.
const FINE: f64 = 1.0 + 1.0 / 128.0;

/// Cumulative counters of one version at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scrape {
    /// Requests.
    pub n: u64,
    /// Of these, failed.
    pub errors: u64,
    /// Of these, at most as long as each edge.
    pub at_most: Vec<u64>,
}

/// How well the edges serve the tolerance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fit {
    /// As asked.
    Fine,
    /// p99 is compared, but with a larger tolerance than asked for: this one. It costs sight, never the promise about healthy canaries.
    Coarse(f64),
    /// p99 does not vote: stable had too few requests, or its p99, or the limit above it, lies beyond the last edge.
    None,
}

/// Makes ticks of scrapes, in order. Counts are exact at the edges, so the limits stand on edges.
///
/// **Does not promise** more than its scrapes: a tick is the time between two of them, and both versions' counters must be scraped at about
/// the same moments. A counter that goes back (a process restarted) makes a tick that brings no evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    edges: Vec<u64>,
    limits: Option<Limits>,
    tolerance: f64,
    least_us: u64,
    last: Option<(Scrape, Scrape)>,
    t: i64,
}

/// Why edges cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketsError {
    /// None, too many, or not ascending.
    #[error("a histogram has 1 to {MAX_EDGES} ascending bucket edges besides infinity")]
    Edges,
}

impl Buckets {
    /// `edges` in µs, without infinity. The limits come from stable's past: its counters at the beginning and at the end of it.
    pub fn new(edges: Vec<u64>, past: Option<(&Scrape, &Scrape)>, policy: &Policy) -> Result<Self, BucketsError> {
        if edges.is_empty() || edges.len() > MAX_EDGES || edges.windows(2).any(|w| matches!(w, [a, b] if a >= b)) {
            return Err(BucketsError::Edges);
        }
        let limits = past.and_then(|(from, to)| {
            let mut below = 0;
            let counts: Vec<HistogramBucket> = edges
                .iter()
                .enumerate()
                .map(|(i, edge)| (*edge, at(&to.at_most, i).saturating_sub(at(&from.at_most, i))))
                .chain([(u64::MAX, to.n.saturating_sub(from.n))])
                .map(|(edge, until)| {
                    let count = until.saturating_sub(below);
                    below = below.max(until);
                    HistogramBucket(edge, count)
                })
                .collect();
            let around = |us: u64| {
                let above = edges.iter().copied().find(|edge| *edge >= us).unwrap_or(u64::MAX);
                (above, edges.iter().rev().copied().find(|edge| *edge <= us).unwrap_or(0))
            };
            Limits::new(counts.iter().copied(), policy.history_requests, policy.tolerance, policy.least_us, around)
                .filter(|l| l.stable_us < u64::MAX && l.canary_us < u64::MAX)
        });
        Ok(Self { edges, limits, tolerance: policy.tolerance, least_us: policy.least_us, last: None, t: 0 })
    }

    /// The limits, on edges.
    pub fn limits(&self) -> Option<Limits> {
        self.limits
    }

    /// How well the edges serve the tolerance.
    pub fn fit(&self) -> Fit {
        let Some(limits) = self.limits else { return Fit::None };
        let asked = (limits.stable_us as f64 * (1.0 + self.tolerance))
            .max(limits.stable_us.saturating_add(self.least_us) as f64);
        if limits.canary_us as f64 <= asked * FINE { Fit::Fine } else { Fit::Coarse(limits.ratio() - 1.0) }
    }

    /// Takes the counters of both versions at one moment; the first moment only begins.
    pub fn push(&mut self, canary: Scrape, stable: Scrape) -> Option<Tick> {
        let (before_c, before_b) = self.last.replace((canary.clone(), stable.clone()))?;
        self.t += 1;
        let limits = self.limits;
        let counts = |now: &Scrape, before: &Scrape, above: Option<u64>| {
            let of = |s: &Scrape| Counts { n: s.n, errors: s.errors, slow: above.map(|us| self.above(s, us)) };
            of(now).since(of(before))
        };
        let certify = |above: Option<u64>| counts(&canary, &before_c, above).slow;
        let back = |now: &Scrape, before: &Scrape| {
            now.n < before.n
                || now.errors < before.errors
                || (0..self.edges.len()).any(|i| at(&now.at_most, i) < at(&before.at_most, i))
        };
        Some(Tick {
            t: self.t,
            canary: counts(&canary, &before_c, limits.map(|l| l.canary_us)),
            stable: counts(&stable, &before_b, limits.map(|l| l.stable_us)),
            drop: back(&canary, &before_c) || back(&stable, &before_b),
            slow_certify: certify(limits.map(|l| l.certify_us)),
            ..Tick::default()
        })
    }

    /// Requests that took longer than this edge.
    fn above(&self, scrape: &Scrape, us: u64) -> u64 {
        let i = self.edges.partition_point(|edge| *edge < us);
        scrape.n.saturating_sub(at(&scrape.at_most, i))
    }
}

/// A count that is missing is none.
fn at(counts: &[u64], i: usize) -> u64 {
    counts.get(i).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The default edges of Prometheus' client libraries, µs.
    const DEFAULT: [u64; 11] =
        [5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000];

    fn scrape(edges: &[u64], latencies: &[u64], errors: u64) -> Scrape {
        let at_most = edges.iter().map(|edge| latencies.iter().filter(|us| *us <= edge).count() as u64).collect();
        Scrape { n: latencies.len() as u64, errors, at_most }
    }

    #[test]
    fn it_says_when_the_edges_are_too_coarse_for_the_tolerance() {
        let policy = Policy::default();
        let fit = |edges: &[u64], latencies: &[u64]| {
            let past = scrape(edges, latencies, 0);
            Buckets::new(edges.to_vec(), Some((&Scrape::default(), &past)), &policy).unwrap().fit()
        };
        let light = [40_000; 1_000];
        assert_eq!(fit(&DEFAULT, &light), Fit::Coarse(1.0), "50 ms, then 100 ms");
        assert_eq!(fit(&[20_000, 40_000, 44_000, 60_000], &light), Fit::Fine);
        assert_eq!(
            fit(&[1_000, 3_000, 4_000, 5_000], &[3_000; 1_000]),
            Fit::Fine,
            "a millisecond is the least that counts"
        );
        assert_eq!(fit(&DEFAULT, &[40_000; 499]), Fit::None, "too few");
        assert_eq!(fit(&DEFAULT, &[20_000_000; 1_000]), Fit::None, "beyond the last edge");
        assert_eq!(fit(&DEFAULT, &[9_000_000; 1_000]), Fit::None, "nothing above it to compare with");
        assert_eq!(Buckets::new(vec![], None, &policy), Err(BucketsError::Edges));
        assert_eq!(Buckets::new(vec![2, 2], None, &policy), Err(BucketsError::Edges));
    }

    #[test]
    fn a_restart_brings_no_evidence() {
        let mut buckets = Buckets::new(DEFAULT.to_vec(), None, &Policy::default()).unwrap();
        let at = |n| Scrape { n, errors: 0, at_most: vec![n; DEFAULT.len()] };
        assert_eq!(buckets.push(at(10), at(100)), None);
        assert!(!buckets.push(at(20), at(200)).unwrap().drop);
        let back = buckets.push(at(3), at(300)).unwrap();
        assert_eq!((back.drop, back.canary.n, back.t), (true, 3, 2));
        assert!(!buckets.push(at(9), at(400)).unwrap().drop);
        // Counts that contradict each other are no panic.
        assert!(buckets.push(Scrape { n: 1, errors: 9, at_most: vec![7] }, Scrape::default()).unwrap().drop);
    }

    proptest! {
        #[test]
        fn ticks_are_those_of_the_requests_themselves(
            seconds in prop::collection::vec((prop::collection::vec(1_000_u64..400_000, 0..40), prop::collection::vec(1_000_u64..400_000, 0..40)), 2..12)
        ) {
            let past: Vec<u64> = (1..=1_000).map(|i| i * 40).collect();
            let begun = scrape(&DEFAULT, &past, 0);
            let mut buckets = Buckets::new(DEFAULT.to_vec(), Some((&Scrape::default(), &begun)), &Policy::default()).unwrap();
            let limits = buckets.limits().unwrap();
            let (mut canary, mut stable) = (Vec::new(), past);
            prop_assert_eq!(buckets.push(scrape(&DEFAULT, &canary, 0), begun), None);
            for (c, b) in seconds {
                canary.extend(&c);
                stable.extend(&b);
                let tick = buckets.push(scrape(&DEFAULT, &canary, 0), scrape(&DEFAULT, &stable, 0)).unwrap();
                let above = |of: &[u64], us: u64| Some(of.iter().filter(|l| **l > us).count() as u64);
                prop_assert_eq!((tick.canary.n, tick.stable.n, tick.drop), (c.len() as u64, b.len() as u64, false));
                prop_assert_eq!(tick.canary.slow, above(&c, limits.canary_us));
                prop_assert_eq!(tick.stable.slow, above(&b, limits.stable_us));
                prop_assert_eq!(tick.slow_certify, above(&c, limits.certify_us));
            }
        }
    }
}
