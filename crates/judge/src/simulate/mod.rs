//! Rollouts at random: what the judge, and the rules that others use, do with healthy and with faulty canaries.
//!
//! Only counts are drawn, and they are drawn exactly: requests of a second are Poisson (so each version's are, on their own), failures and slow
//! requests binomial, and a window's 99th percentile is its order statistic (a beta variable put through the latency's quantile function).
//! Reproducible: every scenario has its seed.

mod others;

use crate::power::above;
pub use crate::random::Random;
use crate::sequential::{Clustering, Counts, Limits, Mode, ModeChoice, Policy, Row, Sequential, Tick, hdr_edges};
use others::Others;

/// Seconds of each weight.
pub const STEP_S: u32 = 180;
/// The weights of the recipe.
pub const WEIGHTS: [u8; 4] = [5, 25, 50, 100];
/// Seconds of a rollout.
pub const ROLLOUT_S: u32 = STEP_S * 4;
/// Median latency, µs.
const MEDIAN_US: f64 = 40_000.0;
/// Share of a second that a burst spoils, and share of seconds that have one.
const BURST: (f64, f64) = (0.3, 0.01);

/// How latencies are distributed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Lognormal, sigma 0.5.
    Light,
    /// Log-logistic, tail index 2.
    Heavy,
}

impl Tail {
    /// Probability of a latency above `us`.
    pub fn above(self, us: f64) -> f64 {
        let ratio = us / MEDIAN_US;
        match self {
            Self::Light => above(ratio.ln() / 0.5),
            Self::Heavy => 1.0 / (1.0 + ratio * ratio),
        }
    }

    /// The latency above which a share lies.
    pub fn quantile(self, above: f64) -> f64 {
        let (mut low, mut high) = (1.0_f64.ln(), 1e12_f64.ln());
        for _ in 0..60 {
            let half = f64::midpoint(low, high);
            if self.above(half.exp()) > above { low = half } else { high = half }
        }
        low.exp()
    }
}

/// A canary and its traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Name in tables.
    pub name: &'static str,
    /// Requests a second, both versions together.
    pub rate: f64,
    /// Latencies.
    pub tail: Tail,
    /// The canary's latencies are so much longer.
    pub slower: f64,
    /// The canary's share of failures, and stable's.
    pub errors: (f64, f64),
    /// Seconds in which requests of one version fail, or are slow, together.
    pub bursts: bool,
    /// True when stopping it is a mistake.
    pub healthy: bool,
}

/// When and after how many canary requests a rule stopped a rollout.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Seconds since the start.
    pub at: u32,
    /// Canary requests until then.
    pub exposed: u64,
}

/// What every rule did with one rollout.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// The stated rule on disjoint windows of 60 s.
    pub threshold_60: Option<Stop>,
    /// The same on windows of 10 s.
    pub threshold_10: Option<Stop>,
    /// The same, skipped below 500 requests a version.
    pub threshold_10_min: Option<Stop>,
    /// An analysis of Argo's with its defaults, as a step after each weight: one measurement (no `interval`), the first failed one aborts
    /// (`failureLimit` 0), of the stated conditions over that weight's time.
    pub argo: Option<Stop>,
    /// Mann and Whitney on values of 60 s, in Kayenta's manner.
    pub mann_whitney: Option<Stop>,
    /// The sequential judge, requests.
    pub requests: Option<Stop>,
    /// The sequential judge, blocks.
    pub blocks: Option<Stop>,
    /// The hard stop.
    pub hard_stop: Option<Stop>,
    /// The unit of evidence that stable's 300 s of history choose.
    pub chosen: Option<Mode>,
}

impl Outcome {
    /// What the rules of others did.
    pub fn others(&self) -> [Option<Stop>; 5] {
        [self.threshold_60, self.threshold_10, self.threshold_10_min, self.argo, self.mann_whitney]
    }

    /// What the product does by default: evidence in the unit that the history chose, and the hard stop beside it.
    pub fn product(&self) -> Option<Stop> {
        let evidence = match self.chosen? {
            Mode::Requests => self.requests,
            Mode::Blocks => self.blocks,
        };
        [evidence, self.hard_stop].into_iter().flatten().min_by_key(|stop| stop.at)
    }
}

impl Scenario {
    /// Its seed: FNV-1a of `rate/name`.
    pub fn seed(&self) -> u64 {
        let text = format!("{}/{}", self.rate, self.name);
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Limits from 300 s of history.
    fn limits(&self, random: &mut Random) -> Limits {
        let n = (self.rate * 300.0).round().max(500.0);
        let rank = n - (n / 100.0).floor();
        let share = 1.0 - random.beta(rank, n - rank + 1.0);
        // In bursts some requests are slow whatever the latency.
        let body = if self.bursts { (share - BURST.0 * BURST.1).max(1e-4) / (1.0 - BURST.0 * BURST.1) } else { share };
        let (stable_us, _) = hdr_edges(self.tail.quantile(body) as u64);
        let limit = ((stable_us as f64 * 1.1).ceil() as u64).max(stable_us + 1_000);
        let (canary_us, certify_us) = hdr_edges(limit);
        Limits { stable_us, canary_us, certify_us, requests: n as u64 }
    }

    /// What stable's history chooses: 300 seconds of all the traffic.
    fn choice(&self, random: &mut Random, slow_p: f64) -> Mode {
        let (mut errors, mut slow) = (Clustering::default(), Clustering::default());
        for _ in 0..300 {
            let counts = self.second(random, self.rate, self.errors.1, slow_p).counts;
            errors.push(counts.errors, counts.n);
            slow.push(counts.slow.unwrap_or(0), counts.n);
        }
        // The largest weight at which versions are compared is 50 %.
        ModeChoice::new(&errors, &slow, self.rate / 2.0).mode
    }

    /// A second of a version that has `rate` requests in the mean.
    fn second(&self, random: &mut Random, rate: f64, errors: f64, slow: f64) -> Second {
        let burst = self.bursts && random.unit() < BURST.1;
        let (errors, share) = if burst { (errors.max(BURST.0), slow.max(BURST.0)) } else { (errors, slow) };
        // The slow and the other requests of a Poisson number are independent Poisson numbers.
        let slow = random.poisson(rate * share);
        let n = slow + random.poisson(rate * (1.0 - share));
        Second {
            counts: Counts { n, errors: random.binomial(n, errors), slow: Some(slow) },
            stuck: if burst { slow } else { 0 },
        }
    }

    /// One rollout under all rules.
    pub fn run(&self, random: &mut Random, rules: Rules) -> Outcome {
        let limits = self.limits(random);
        let slow_p = (self.tail.above(limits.canary_us as f64 / self.slower), self.tail.above(limits.stable_us as f64));
        let mut out = Outcome { chosen: rules.ours.then(|| self.choice(random, slow_p.1)), ..Outcome::default() };
        let judge = |mode| Sequential::new(Policy::default(), mode).ok().filter(|_| rules.ours);
        let (mut requests, mut blocks) = (judge(Mode::Requests), judge(Mode::Blocks));
        let (mut row, hard_stop) = (Row::default(), Policy::default().hard_stop);
        let (mut others, mut exposed) = (Others::default(), 0);
        for second in 0..ROLLOUT_S {
            let step = second / STEP_S;
            let weight = f64::from(WEIGHTS.get(step as usize).copied().unwrap_or(100)) / 100.0;
            let canary = self.second(random, self.rate * weight, self.errors.0, slow_p.0);
            let stable = self.second(random, self.rate * (1.0 - weight), self.errors.1, slow_p.1);
            exposed += canary.counts.n;
            let stop = Stop { at: second + 1, exposed };
            let tick =
                Tick { t: i64::from(second) + 1, canary: canary.counts, stable: stable.counts, ..Tick::default() };
            for (judge, slot) in [(&mut requests, &mut out.requests), (&mut blocks, &mut out.blocks)] {
                if let Some(j) = judge.as_mut() {
                    j.push(&tick);
                    first(slot, j.crossed_at().is_some(), stop);
                }
                if slot.is_some() {
                    *judge = None;
                }
            }
            if rules.ours || rules.hard_stop {
                let now = row.take(hard_stop, canary.counts, stable.counts);
                first(&mut out.hard_stop, now, stop);
            }
            if rules.theirs {
                others.take(self, random, canary, stable, stop, &mut out);
            }
            let done = requests.is_none()
                && blocks.is_none()
                && (!rules.hard_stop || out.hard_stop.is_some())
                && (!rules.theirs || out.others().iter().all(Option::is_some));
            if done {
                break;
            }
        }
        out
    }
}

/// A second of one version.
#[derive(Debug, Clone, Copy, Default)]
struct Second {
    counts: Counts,
    /// Requests slow in a burst: slower than all others.
    stuck: u64,
}

/// Which rules are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The sequential judge.
    pub ours: bool,
    /// The others.
    pub theirs: bool,
    /// The hard stop alone, until the rollout's end.
    pub hard_stop: bool,
}

impl Rules {
    /// The sequential judge alone.
    pub const OURS: Self = Self { ours: true, theirs: false, hard_stop: false };
    /// All of them.
    pub const ALL: Self = Self { ours: true, theirs: true, hard_stop: false };
    /// The hard stop alone.
    pub const HARD_STOP: Self = Self { ours: false, theirs: false, hard_stop: true };
}

fn first(slot: &mut Option<Stop>, now: bool, stop: Stop) {
    if slot.is_none() && now {
        *slot = Some(stop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(rate: f64, slower: f64, errors: (f64, f64), bursts: bool) -> Scenario {
        Scenario { name: "test", rate, tail: Tail::Light, slower, errors, bursts, healthy: slower <= 1.0 }
    }

    #[test]
    fn tails() {
        assert!((Tail::Light.above(40_000.0) - 0.5).abs() < 1e-6);
        assert!((Tail::Light.above(40_000.0 * (0.5_f64 * 2.326_347_874).exp()) - 0.01).abs() < 1e-6);
        assert!((Tail::Heavy.quantile(0.01) / (40_000.0 * 99.0_f64.sqrt()) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn healthy_canaries_are_left_alone() {
        for (rate, bursts) in [(20.0, false), (200.0, false), (200.0, true)] {
            let s = scenario(rate, 1.0, (0.001, 0.001), bursts);
            let mut random = Random::new(s.seed());
            let (mut requests, mut blocks, mut hard) = (0, 0, 0);
            for _ in 0..100 {
                let out = s.run(&mut random, Rules::OURS);
                requests += u32::from(out.requests.is_some());
                blocks += u32::from(out.blocks.is_some());
                hard += u32::from(out.hard_stop.is_some());
            }
            // Under the bound of 1 % more than 5 of 100 happen once in 2,000 times; the seed is fixed.
            assert!(blocks <= 5 && hard == 0, "{rate}/s, bursts {bursts}: {blocks} blocks, {hard} hard stops");
            assert!(bursts || requests <= 5, "{rate}/s: {requests}");
        }
    }

    #[test]
    fn faulty_canaries_are_found_as_soon_as_the_reference_says() {
        // Rate, slower, errors, median seconds of the reference in requests and in blocks.
        let cases = [
            (200.0, 1.5, (0.0, 0.0), 26, 120),
            (200.0, 1.0, (0.1, 0.0), 4, 9),
            (200.0, 1.0, (0.02, 0.0), 23, 177),
            (20.0, 1.0, (0.1, 0.0), 42, 75),
        ];
        for (rate, slower, errors, requests_s, blocks_s) in cases {
            let s = scenario(rate, slower, errors, false);
            let mut random = Random::new(s.seed());
            let outs: Vec<Outcome> = (0..101).map(|_| s.run(&mut random, Rules::OURS)).collect();
            let median = |stop: fn(&Outcome) -> Option<Stop>| {
                let mut at: Vec<u32> = outs.iter().map(|o| stop(o).map_or(u32::MAX, |s| s.at)).collect();
                at.sort_unstable();
                f64::from(at[50])
            };
            // A median of 101 strays; the long run holds it to 20 %.
            let near =
                |got: f64, want: u32| (got / f64::from(want) - 1.0).abs() < 0.4 || (got - f64::from(want)).abs() <= 1.0;
            let (r, b) = (median(|o| o.requests), median(|o| o.blocks));
            assert!(near(r, requests_s), "{rate} {slower} {errors:?}: {r} is not {requests_s}");
            assert!(near(b, blocks_s), "{rate} {slower} {errors:?}: {b} is not {blocks_s}");
        }
    }
}
