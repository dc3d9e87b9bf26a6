//! Before a rollout: how small a regression it can see, and how often a threshold would stop a healthy canary.

mod sampled;

pub use sampled::{Sampled, SampledLimit, sampled_false_stops};

use crate::{
    random::Random,
    sequential::{Measure, Policy},
    threshold::Threshold,
};

/// Stable's share of failures assumed where none is known.
pub const ASSUMED_ERRORS: f64 = 0.001;
/// Sigma of the logarithm of latencies assumed.
const SIGMA: f64 = 0.5;
/// The 99th percentile of a standard normal.
const Z99: f64 = 2.326_347_874;
/// What the logarithm of the evidence must have beyond its limit, so that most rollouts cross it.
const MARGIN: f64 = 2.0;

/// A weight in force for a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Weight, %.
    pub weight: u8,
    /// Seconds.
    pub seconds: f64,
}

/// The smallest regression that most rollouts see by the end of a span.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Power {
    /// Canary requests until then.
    pub requests: f64,
    /// p99 higher by this share; `None` when even a tenfold one may go unseen.
    pub p99_increase: Option<f64>,
    /// Share of the canary's requests that fail; `None` when even all failing may go unseen.
    pub errors: Option<f64>,
}

/// What can be seen by the end of each span, at so many requests a second of both versions together.
///
/// An approximation for requests as the unit of evidence, latencies lognormal with sigma 0.5, regressions from the start:
/// a regression is seen when the expected logarithm of the evidence exceeds `ln(1/(α w_m w_0)) + 2`. Blocks need up to five times as many.
pub fn power(policy: &Policy, rate: f64, spans: &[Span]) -> Vec<Power> {
    let needed = |m: Measure| policy.abort_at() - (policy.weights.get(m) * policy.first_start).ln() + MARGIN;
    (1..=spans.len())
        .map(|until| {
            let spans = spans.get(..until).unwrap_or_default();
            let requests = |s: &Span| rate * s.seconds * f64::from(s.weight) / 100.0;
            let information = |rho: f64, p_b: f64| -> f64 {
                spans.iter().map(|s| requests(s) * per_request(rho, p_b, f64::from(s.weight) / 100.0)).sum()
            };
            let p99 = smallest(0.0, 9.0, |increase| {
                let beyond = Z99 + ((1.0 + policy.tolerance) / (1.0 + increase)).ln() / SIGMA;
                information(above(beyond) / 0.01, 0.01) >= needed(Measure::P99)
            });
            let all: f64 = spans.iter().map(requests).sum();
            let errors = smallest(policy.p0, 1.0, |p| {
                let against_limit = all * bernoulli(p, policy.p0) >= needed(Measure::Abs);
                let stable = ASSUMED_ERRORS + policy.delta;
                against_limit || information(p / stable, stable) >= needed(Measure::Rel)
            });
            let floor = smallest(0.0, 1.0, |p| {
                let stable = ASSUMED_ERRORS + policy.delta;
                p > stable && information(p / stable, stable) >= needed(Measure::Rel)
            });
            let errors = match (errors, floor) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            Power { requests: all, p99_increase: p99, errors }
        })
        .collect()
}

/// Expected growth of the logarithm of the evidence for one canary request (F1 at its best alternative).
fn per_request(rho: f64, p_b: f64, share: f64) -> f64 {
    if rho <= 1.0 || share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    let t = rho * share / (rho * share + 1.0 - share);
    let events = p_b * (rho * share + 1.0 - share) / share;
    events * (t * (t / share).ln() + (1.0 - t) * ((1.0 - t) / (1.0 - share)).ln())
}

fn bernoulli(p: f64, p0: f64) -> f64 {
    if p <= p0 {
        return 0.0;
    }
    let rest = if p >= 1.0 { 0.0 } else { (1.0 - p) * ((1.0 - p) / (1.0 - p0)).ln() };
    p * (p / p0).ln() + rest
}

/// The smallest value for which a monotone condition holds.
fn smallest(low: f64, high: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    if !holds(high) {
        return None;
    }
    let (mut low, mut high) = (low, high);
    for _ in 0..40 {
        let half = f64::midpoint(low, high);
        if holds(half) { high = half } else { low = half }
    }
    Some(high)
}

/// The upper tail of a standard normal: Numerical Recipes, relative error below 1.2e-7.
pub(crate) fn above(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    const C: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let poly = C.iter().rev().fold(0.0, |sum, c| sum * t + c);
    let value = 0.5 * t * (-x * x + poly).exp();
    if x >= 0.0 { value } else { 1.0 - value }
}

/// How often a rule would stop a healthy canary.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct FalseStops {
    /// With light tails (lognormal, sigma 0.5).
    pub light: f64,
    /// With heavy ones (log-logistic, tail index 2).
    pub heavy: f64,
}

/// Share of healthy canaries that the rule `threshold` would stop: 400 rollouts at random, with a fixed seed, both versions alike, 0.1 % of all
/// requests failing. Stable's p99 is taken as known.
pub fn threshold_false_stops(rule: &Threshold, rate: f64, spans: &[Span]) -> FalseStops {
    let [light, heavy] = slower_than_p99(1.0 + rule.p99_increase);
    FalseStops { light: stops(rule, rate, spans, light), heavy: stops(rule, rate, spans, heavy) }
}

/// Chance that a request takes longer than so many times the 99th percentile: with light tails, with heavy ones.
fn slower_than_p99(by: f64) -> [f64; 2] {
    [above(Z99 + by.ln() / SIGMA), 1.0 / (1.0 + 99.0 * by * by)]
}

fn stops(rule: &Threshold, rate: f64, spans: &[Span], slow: f64) -> f64 {
    const ROLLOUTS: u32 = 400;
    /// Longest span looked at, s: what has not crossed by then hardly will.
    const LONGEST: f64 = 3_600.0;
    let mut random = Random::new(1);
    let mut stopped = 0;
    for _ in 0..ROLLOUTS {
        stopped += u32::from(spans.iter().any(|span| {
            let share = f64::from(span.weight) / 100.0;
            let (mut n, mut over, mut failed) = (0_u64, 0_u64, 0_u64);
            let mut recent = std::collections::VecDeque::new();
            let stable = rate * (1.0 - share);
            (0..span.seconds.min(LONGEST) as u64).any(|second| {
                let new = random.poisson(rate * share);
                let errors = random.binomial(new, ASSUMED_ERRORS);
                (n, failed) = (n + new, failed + errors);
                over += random.binomial(new, slow);
                recent.push_front((new, errors));
                recent.truncate(crate::threshold::MAX_WINDOW_S as usize);
                let both = n >= rule.p99_requests && stable * (second + 1) as f64 >= rule.p99_requests as f64;
                let rejects = |n: u64, e: u64| {
                    n >= rule.error_requests && e >= rule.error_count && e as f64 > rule.error_ratio * n as f64
                };
                let windows = rule.windows().any(|w| {
                    let sum = |pick: fn(&(u64, u64)) -> u64| recent.iter().take(w as usize).map(pick).sum::<u64>();
                    rejects(sum(|r| r.0), sum(|r| r.1))
                });
                (both && over as f64 > 0.01 * n as f64) || windows || rejects(n, failed)
            })
        }));
    }
    f64::from(stopped) / f64::from(ROLLOUTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWELVE: [Span; 4] = [
        Span { weight: 5, seconds: 120.0 },
        Span { weight: 25, seconds: 180.0 },
        Span { weight: 50, seconds: 180.0 },
        Span { weight: 100, seconds: 240.0 },
    ];

    #[test]
    fn sample_sizes_are_those_of_the_formula() {
        // Canary requests at 5 %: p99 +50 % about 290, +15 % about 27,000.
        let policy = Policy::default();
        let at = |requests: f64| {
            let seen = power(&policy, requests / 0.05 / 100.0, &[Span { weight: 5, seconds: 100.0 }]);
            seen[0].p99_increase.unwrap()
        };
        assert!((0.4..0.65).contains(&at(290.0)), "{}", at(290.0));
        assert!((0.13..0.18).contains(&at(27_000.0)), "{}", at(27_000.0));
    }

    #[test]
    fn more_traffic_and_later_steps_see_smaller_regressions() {
        let policy = Policy::default();
        let (little, much) = (power(&policy, 20.0, &TWELVE), power(&policy, 2_000.0, &TWELVE));
        for (a, b) in little.iter().zip(&much) {
            assert!(b.p99_increase <= a.p99_increase && b.errors <= a.errors, "{a:?} {b:?}");
        }
        for seen in [&little, &much] {
            assert!(seen.windows(2).all(|w| w[1].p99_increase <= w[0].p99_increase && w[1].errors <= w[0].errors));
        }
        assert_eq!(power(&policy, 0.001, &TWELVE)[0].p99_increase, None, "nothing is seen without requests");
    }

    #[test]
    fn a_threshold_stops_healthy_canaries_the_more_the_fewer_requests_it_has() {
        let rule = Threshold::default();
        let few = threshold_false_stops(&rule, 200.0, &TWELVE);
        let many = threshold_false_stops(&rule, 20_000.0, &TWELVE);
        assert!(few.heavy > 0.3 && few.heavy > many.heavy, "{few:?} {many:?}");
        assert!(many.light < 0.1 && few.light > many.light, "{few:?} {many:?}");
    }
}
