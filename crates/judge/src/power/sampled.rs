//! Thresholds that are compared with a measurement now and then, as an Argo `AnalysisTemplate` does.

use super::{ASSUMED_ERRORS, FalseStops, Span, slower_than_p99};
use crate::random::Random;

/// Rollouts at random.
const ROLLOUTS: u32 = 400;
/// Longest span looked at, s: what has not failed by then hardly will.
const LONGEST: f64 = 3_600.0;
/// Longest window looked at, s.
const LONGEST_WINDOW: u32 = 900;

/// What a measurement is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampledLimit {
    /// The share of the canary's requests that fail, at most.
    Errors(f64),
    /// The canary's p99 over stable's, at most.
    P99Ratio(f64),
}

/// A metric with a threshold, measured at intervals over the last seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampled {
    /// The threshold.
    pub limit: SampledLimit,
    /// Seconds that a measurement looks back on.
    pub window_s: u32,
    /// Seconds between two measurements; 0 = there is one.
    pub interval_s: u32,
    /// Seconds before the first.
    pub delay_s: u32,
    /// Measurements at most; `None` = until the end.
    pub count: Option<u32>,
    /// Measurements that may fail.
    pub failure_limit: u32,
}

/// Share of healthy canaries that these metrics would stop, beside all spans: 400 rollouts at random, with a fixed seed, both versions alike, 0.1 % of
/// all requests failing. A window without requests counts for nothing. **Does not model** the error of a p99 read from coarse buckets, nor
/// stable's own noise, which both stop more.
pub fn sampled_false_stops(metrics: &[Sampled], rate: f64, spans: &[Span]) -> FalseStops {
    FalseStops { light: stops(metrics, rate, spans, 0), heavy: stops(metrics, rate, spans, 1) }
}

fn stops(metrics: &[Sampled], rate: f64, spans: &[Span], tail: usize) -> f64 {
    let slow: Vec<f64> = metrics
        .iter()
        .map(|m| match m.limit {
            SampledLimit::Errors(_) => 0.0,
            SampledLimit::P99Ratio(by) => slower_than_p99(by.max(f64::MIN_POSITIVE)).get(tail).copied().unwrap_or(0.0),
        })
        .collect();
    let mut random = Random::new(1);
    let stopped = (0..ROLLOUTS).filter(|_| is_stopped(metrics, &slow, rate, spans, &mut random)).count();
    stopped as f64 / f64::from(ROLLOUTS)
}

fn is_stopped(metrics: &[Sampled], slow: &[f64], rate: f64, spans: &[Span], random: &mut Random) -> bool {
    // Sums since the beginning, so that a window is a difference: requests, failures, and of each metric what is over its limit.
    let mut sums: Vec<(u64, u64, Vec<u64>)> = vec![(0, 0, vec![0; metrics.len()])];
    let mut taken = vec![(0_u32, 0_u32); metrics.len()];
    for span in spans {
        for _ in 0..span.seconds.min(LONGEST) as u64 {
            let n = random.poisson(rate * f64::from(span.weight) / 100.0);
            let failed = random.binomial(n, ASSUMED_ERRORS);
            let Some((all, all_failed, all_over)) = sums.last() else { return false };
            let over = slow.iter().zip(all_over).map(|(p, sum)| sum + random.binomial(n, *p)).collect();
            sums.push((all + n, all_failed + failed, over));
            let now = u32::try_from(sums.len() - 1).unwrap_or(u32::MAX);
            for (i, (m, (measured, failures))) in metrics.iter().zip(&mut taken).enumerate() {
                let due = m.delay_s.max(1).saturating_add(measured.saturating_mul(m.interval_s));
                let over_already = *measured > 0 && m.interval_s == 0;
                if now < due || over_already || m.count.is_some_and(|count| *measured >= count) {
                    continue;
                }
                *measured += 1;
                let from = (now.saturating_sub(m.window_s.clamp(1, LONGEST_WINDOW))) as usize;
                let (Some(before), Some(after)) = (sums.get(from), sums.last()) else { continue };
                let (n, failed) = (after.0 - before.0, after.1 - before.1);
                let at = |sums: &(u64, u64, Vec<u64>)| sums.2.get(i).copied().unwrap_or(0);
                let fails = match m.limit {
                    SampledLimit::Errors(limit) => n > 0 && failed as f64 > limit * n as f64,
                    SampledLimit::P99Ratio(_) => n > 0 && (at(after) - at(before)) as f64 > 0.01 * n as f64,
                };
                *failures += u32::from(fails);
                if *failures > m.failure_limit {
                    return true;
                }
            }
        }
    }
    false
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

    fn every_minute(limit: SampledLimit, failure_limit: u32) -> Sampled {
        Sampled { limit, window_s: 60, interval_s: 60, delay_s: 60, count: None, failure_limit }
    }

    #[test]
    fn the_common_rule_stops_most_healthy_canaries_where_there_is_little_traffic() {
        let rule = [every_minute(SampledLimit::Errors(0.01), 0), every_minute(SampledLimit::P99Ratio(1.1), 0)];
        let at = |rate| sampled_false_stops(&rule, rate, &TWELVE);
        // docs/judge.md has 92, 32 and 0 % with light tails and stable's own noise.
        assert!(at(20.0).light > 0.8, "{:?}", at(20.0));
        assert!((0.1..0.5).contains(&at(200.0).light), "{:?}", at(200.0));
        assert!(at(2_000.0).light < 0.02, "{:?}", at(2_000.0));
        assert!(at(200.0).heavy > at(200.0).light);
    }

    #[test]
    fn failures_that_are_allowed_and_measurements_that_are_not_taken_stop_nobody() {
        let errors = |failure_limit| [every_minute(SampledLimit::Errors(0.01), failure_limit)];
        let at = |rule: &[Sampled]| sampled_false_stops(rule, 20.0, &TWELVE).light;
        assert!(at(&errors(0)) > at(&errors(1)) && at(&errors(1)) >= at(&errors(3)));
        let once = Sampled { interval_s: 0, ..errors(0)[0] };
        assert!(at(&[once]) < at(&errors(0)));
        assert!((at(&[Sampled { count: Some(1), ..errors(0)[0] }]) - at(&[once])).abs() < 1e-12);
        assert!(at(&[Sampled { delay_s: 10_000, ..once }]) < 1e-12);
        assert!(at(&[]) < 1e-12);
    }
}
