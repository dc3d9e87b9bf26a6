//! Ticks from the cumulative counters of a histogram with few buckets, as Prometheus keeps them.

use model::{HistogramBucket, VersionTick};
use serde::{Deserialize, Serialize};

use super::{
    latency::{Limits, slower_than},
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "fit", content = "tested_tolerance")]
pub enum Fit {
    /// As asked.
    Fine,
    /// p99 is compared, but with a larger tolerance than asked for: this one, the finest that the edges allow. It costs sight, never the
    /// promise about healthy canaries.
    Coarse(f64),
    /// p99 does not vote: stable had too few requests, or its p99, or the limit above it, lies beyond the last edge.
    None,
}

impl Fit {
    /// How well limits on edges serve the tolerance that the policy asks for.
    pub fn of(limits: Option<Limits>, policy: &Policy) -> Self {
        let Some(limits) = limits else { return Self::None };
        let asked = (limits.stable_us as f64 * (1.0 + policy.tolerance))
            .max(limits.stable_us.saturating_add(policy.least_us) as f64);
        if limits.canary_us as f64 <= asked * FINE { Self::Fine } else { Self::Coarse(limits.ratio() - 1.0) }
    }

    /// What the edges can test, for people.
    pub fn words(self, limits: Option<Limits>, policy: &Policy) -> String {
        let ms = |us: u64| us as f64 / 1_000.0;
        match (self, limits) {
            (Self::Fine, Some(l)) => {
                format!("slow is above {} ms, and above {} ms of the canary", ms(l.stable_us), ms(l.canary_us))
            }
            (Self::Coarse(tested), Some(l)) => format!(
                "the buckets are too coarse for a tolerance of {:.0} %: p99 is compared with {:.0} %, the finest that they allow (stable above {} ms, the canary above {} ms)",
                policy.tolerance * 100.0,
                tested * 100.0,
                ms(l.stable_us),
                ms(l.canary_us)
            ),
            _ => format!(
                "p99 is not compared: stable's past has fewer than {} requests, or its p99 or the limit above it lies beyond the last bucket",
                policy.history_requests
            ),
        }
    }
}

/// Why edges cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketsError {
    /// None, too many, or not ascending.
    #[error("a histogram has 1 to {MAX_EDGES} ascending bucket edges besides infinity")]
    Edges,
}

/// The cumulative counters of one version over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Cumulative {
    edges: Vec<u64>,
    last: Option<Scrape>,
    /// Requests before a counter went back: a sum that is there again at once had only lost sight of a process.
    mark: Option<u64>,
}

impl Cumulative {
    /// `edges` in µs, ascending, without infinity.
    pub fn new(edges: Vec<u64>) -> Result<Self, BucketsError> {
        if edges.is_empty() || edges.len() > MAX_EDGES || edges.windows(2).any(|w| matches!(w, [a, b] if a >= b)) {
            return Err(BucketsError::Edges);
        }
        Ok(Self { edges, last: None, mark: None })
    }

    /// The edges.
    pub fn edges(&self) -> &[u64] {
        &self.edges
    }

    /// Takes the counters of a moment; the first one only begins. Answers with what was counted since the moment before, every edge in its
    /// histogram, and whether it compares with nothing: a counter went back, because a process restarted, and the new values are all that is
    /// known; or a sum that had gone back is beyond where it was, because a process that had not been seen is seen again, and nothing is known.
    pub fn take(&mut self, now: Scrape) -> Option<(VersionTick, bool)> {
        let before = self.last.replace(now.clone())?;
        let back = now.n < before.n
            || now.errors < before.errors
            || (0..self.edges.len()).any(|i| at(&now.at_most, i) < at(&before.at_most, i));
        let again = !back && self.mark.is_some_and(|mark| now.n >= mark);
        if back {
            self.mark = Some(before.n.max(self.mark.unwrap_or(0)));
        } else if again {
            self.mark = None;
        }
        let before = match (back, again) {
            (true, _) => Scrape::default(),
            (_, true) => now.clone(),
            _ => before,
        };
        let mut below = 0;
        let all = now.n.saturating_sub(before.n);
        let histogram = self
            .edges
            .iter()
            .enumerate()
            .map(|(i, edge)| (*edge, at(&now.at_most, i).saturating_sub(at(&before.at_most, i)).min(all)))
            .chain([(u64::MAX, all)])
            .map(|(edge, until)| {
                let count = until.saturating_sub(below);
                below = below.max(until);
                HistogramBucket(edge, count)
            })
            .collect();
        let errors = now.errors.saturating_sub(before.errors);
        Some((VersionTick { n: all, errors, histogram, ..VersionTick::default() }, back || again))
    }
}

/// The edges of a histogram around a latency: `(first ≥ us, last ≤ us)`. Beyond the last one there is `u64::MAX`, below the first 0.
pub fn own_edges(histogram: &[HistogramBucket], us: u64) -> (u64, u64) {
    let above = histogram.get(histogram.partition_point(|b| b.0 < us)).map_or(u64::MAX, |b| b.0);
    let below = histogram.partition_point(|b| b.0 <= us).checked_sub(1).and_then(|i| histogram.get(i));
    (above, below.map_or(0, |b| b.0))
}

/// Makes ticks of scrapes, in order. Counts are exact at the edges, so the limits stand on edges.
///
/// **Does not promise** more than its scrapes: a tick is the time between two of them, and both versions' counters must be scraped at about
/// the same moments. A counter that goes back (a process restarted) makes a tick that brings no evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    canary: Cumulative,
    stable: Cumulative,
    limits: Option<Limits>,
    fit: Fit,
    t: i64,
}

impl Buckets {
    /// `edges` in µs, without infinity. The limits come from stable's past: its counters at the beginning and at the end of it.
    pub fn new(edges: Vec<u64>, past: Option<(&Scrape, &Scrape)>, policy: &Policy) -> Result<Self, BucketsError> {
        let counters = Cumulative::new(edges)?;
        let limits = past.and_then(|(from, to)| {
            let mut past = counters.clone();
            past.take(from.clone());
            let (counted, _) = past.take(to.clone())?;
            Limits::on_own_edges(&counted.histogram, policy)
        });
        let fit = Fit::of(limits, policy);
        Ok(Self { canary: counters.clone(), stable: counters, limits, fit, t: 0 })
    }

    /// The limits, on edges.
    pub fn limits(&self) -> Option<Limits> {
        self.limits
    }

    /// How well the edges serve the tolerance.
    pub fn fit(&self) -> Fit {
        self.fit
    }

    /// Takes the counters of both versions at one moment; the first moment only begins.
    pub fn push(&mut self, canary: Scrape, stable: Scrape) -> Option<Tick> {
        let (canary, stable) = (self.canary.take(canary), self.stable.take(stable));
        let ((canary, canary_back), (stable, stable_back)) = canary.zip(stable)?;
        self.t += 1;
        let counts = |of: &VersionTick, above: Option<u64>| Counts {
            n: of.n,
            errors: of.errors,
            slow: above.map(|us| slower_than(&of.histogram, us)),
        };
        let limits = self.limits;
        Some(Tick {
            t: self.t,
            canary: counts(&canary, limits.map(|l| l.canary_us)),
            stable: counts(&stable, limits.map(|l| l.stable_us)),
            drop: canary_back || stable_back,
            slow_certify: limits.map(|l| slower_than(&canary.histogram, l.certify_us)),
            ..Tick::default()
        })
    }
}

/// A count that is missing is none.
fn at(counts: &[u64], i: usize) -> u64 {
    counts.get(i).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use model::{Epoch, Timestamp, Weight};
    use proptest::prelude::*;

    use super::*;
    use crate::sequential::{Beginning, Feed, History};

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

    #[test]
    fn a_process_that_is_seen_again_is_no_news() {
        let mut sum = Cumulative::new(DEFAULT.to_vec()).unwrap();
        let at = |n| Scrape { n, errors: 0, at_most: vec![n; DEFAULT.len()] };
        let mut take = |n| sum.take(at(n)).map(|(counted, jumped)| (counted.n, jumped));
        assert_eq!(take(1_000_010), None);
        assert_eq!(take(1_000_020), Some((10, false)));
        // One of two processes is not scraped, and is back.
        assert_eq!(take(20), Some((20, true)));
        assert_eq!(take(30), Some((10, false)));
        assert_eq!(take(1_000_050), Some((0, true)));
        assert_eq!(take(1_000_060), Some((10, false)));
    }

    proptest! {
        #[test]
        fn the_feed_makes_the_same_ticks(
            seconds in prop::collection::vec((prop::collection::vec(1_000_u64..400_000, 0..40), prop::collection::vec(1_000_u64..400_000, 0..40)), 2..12)
        ) {
            let policy = Policy { warm_up_s: 0, ..Policy::default() };
            let past: Vec<u64> = (1..=1_000).map(|i| i * 40).collect();
            let begun = scrape(&DEFAULT, &past, 0);
            let mut buckets = Buckets::new(DEFAULT.to_vec(), Some((&Scrape::default(), &begun)), &policy).unwrap();
            let (mut of_c, mut of_b) = (Cumulative::new(DEFAULT.to_vec()).unwrap(), Cumulative::new(DEFAULT.to_vec()).unwrap());
            let (mut canary, mut stable) = (Vec::new(), past);
            let mut history = History::of_counters(300, 15);
            prop_assert_eq!(of_b.take(Scrape::default()), None);
            history.push(&of_b.take(begun.clone()).unwrap().0);
            prop_assert_eq!(history.limits(&policy), buckets.limits(), "the past gives the same limits");
            let beginning = Beginning { every_s: Some(15), ..Beginning::new(&policy, &history, 0.5, Timestamp::from_millis(0)) };
            let mut feed = Feed::new(policy, beginning).unwrap();
            prop_assert_eq!(feed.fit(), Some(buckets.fit()));
            buckets.push(scrape(&DEFAULT, &canary, 0), begun);
            of_c.take(scrape(&DEFAULT, &canary, 0));
            let mut table = Vec::new();
            for (i, (c, b)) in seconds.into_iter().enumerate() {
                canary.extend(&c);
                stable.extend(&b);
                let (now_c, now_b) = (scrape(&DEFAULT, &canary, 0), scrape(&DEFAULT, &stable, 0));
                let (tick_c, _) = of_c.take(now_c.clone()).unwrap();
                let (tick_b, _) = of_b.take(now_b.clone()).unwrap();
                feed.push(&model::Tick {
                    seq: i as u64, boot: "p".to_owned(), at: Timestamp::from_millis(15_000 * (i as i64 + 1)), weight: Weight::new(5).unwrap(),
                    weight_changed: false, epoch: Epoch(1), stable: tick_b, canary: Some(tick_c), canary_last_sent: None, sticky: true,
                    judged: None, counted: Vec::new(),
                });
                let mut tick = Tick { step: Some(0), ..buckets.push(now_c, now_b).unwrap() };
                if canary.is_empty() {
                    // The feed is not warm before the canary's first request.
                    (tick.canary.slow, tick.stable.slow, tick.slow_certify) = (None, None, None);
                }
                table.push(tick);
            }
            let fed: Vec<Tick> = feed.pieces()[0].split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
            prop_assert_eq!(fed, table);
        }

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
