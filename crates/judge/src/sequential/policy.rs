//! What the sequential judge promises, in numbers. Kept in the receipt of every verdict.

use serde::{Deserialize, Serialize};

use super::eprocess::{MAX_GRID, Starts};

/// The unit of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each request counts for itself (F1, F2): fastest, and right while requests are independent given what both versions share.
    Requests,
    /// Blocks of requests count (F5): right under any dependence inside a block.
    Blocks,
}

impl Mode {
    /// The word stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Blocks => "blocks",
        }
    }
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// The canary's share of failures against a fixed limit.
    Abs,
    /// The canary's share of failures against stable's.
    Rel,
    /// The canary's 99th percentile against stable's.
    P99,
}

impl Measure {
    /// In the order of the weights.
    pub const ALL: [Self; 3] = [Self::Abs, Self::Rel, Self::P99];

    /// The word stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Abs => "abs",
            Self::Rel => "rel",
            Self::P99 => "p99",
        }
    }

    /// For sentences.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Abs => "the 5xx limit",
            Self::Rel => "5xx against stable",
            Self::P99 => "p99 against stable",
        }
    }
}

/// One number for each measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PerMeasure {
    /// [`Measure::Abs`].
    pub abs: f64,
    /// [`Measure::Rel`].
    pub rel: f64,
    /// [`Measure::P99`].
    pub p99: f64,
}

impl PerMeasure {
    /// In the order of [`Measure::ALL`].
    pub fn array(self) -> [f64; 3] {
        [self.abs, self.rel, self.p99]
    }

    /// Of one measure.
    pub fn get(self, measure: Measure) -> f64 {
        match measure {
            Measure::Abs => self.abs,
            Measure::Rel => self.rel,
            Measure::P99 => self.p99,
        }
    }
}

/// The alternatives that are bet on, each with the same weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grids {
    /// Ratios of rates above 1 (F1).
    pub up: Vec<f64>,
    /// Ratios below 1 (F1, certificate).
    pub down: Vec<f64>,
    /// Probabilities above the limit (F2).
    pub p_up: Vec<f64>,
    /// Probabilities below it (F2, certificate).
    pub p_down: Vec<f64>,
    /// Stakes (F5).
    pub l: Vec<f64>,
}

impl Default for Grids {
    fn default() -> Self {
        Self {
            up: vec![1.1, 1.2, 1.35, 1.6, 2.0, 2.5, 3.5, 5.0, 8.0, 12.0, 20.0, 50.0],
            down: vec![0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
            p_up: vec![0.0125, 0.015, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.6],
            p_down: vec![0.00005, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.0045, 0.006, 0.0075, 0.009],
            l: vec![0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95],
        }
    }
}

/// The policy in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// The unit of evidence; `None` = chosen from stable's past before the first step.
    pub mode: Option<Mode>,
    /// Chance that a healthy canary is ever stopped by the evidence, over the whole rollout.
    pub alpha: f64,
    /// The canary's p99 may be above stable's by this share.
    pub tolerance: f64,
    /// This share of the canary's requests may fail.
    pub p0: f64,
    /// The canary's share of failures may be above stable's by so much.
    pub delta: f64,
    /// Weights of the measures, which sum to 1.
    pub weights: PerMeasure,
    /// The alternatives.
    pub grids: Grids,
    /// Ticks between starts of the mixture.
    pub start_every: u32,
    /// Weight of the first start.
    pub first_start: f64,
    /// Further starts.
    pub further_starts: u32,
    /// Chance that a certificate is wrong, for each step.
    pub alpha_good: f64,
    /// Margin of the certificate for [`Measure::Rel`].
    pub delta_good: f64,
    /// Ticks of a step before which nothing is certified.
    pub certify_from: u32,
    /// True: a certified step ends before its time.
    pub end_certified_steps: bool,
    /// Canary requests in a row whose failure stops at once; 0 = off.
    pub hard_stop: u64,
    /// Seconds of the canary's first traffic in which latency does not count: a cold start is no regression.
    pub warm_up_s: u32,
    /// Seconds of stable's past that the limits come from.
    pub history_s: u32,
    /// Requests of stable from which p99 votes.
    pub history_requests: u64,
    /// The least increase of latency that counts, µs.
    pub least_us: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: None,
            alpha: 0.01,
            tolerance: 0.10,
            p0: 0.01,
            delta: 0.001,
            weights: PerMeasure { abs: 0.25, rel: 0.25, p99: 0.5 },
            grids: Grids::default(),
            start_every: 30,
            first_start: 0.4,
            further_starts: 23,
            alpha_good: 0.05,
            delta_good: 0.005,
            certify_from: 60,
            end_certified_steps: false,
            hard_stop: 10,
            warm_up_s: 30,
            history_s: 300,
            history_requests: 500,
            least_us: 1_000,
        }
    }
}

/// What is wrong with a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct PolicyError {
    /// Which field.
    pub field: &'static str,
    /// What is allowed.
    pub why: &'static str,
}

/// Most seconds of stable's past kept.
pub const MAX_HISTORY_S: u32 = 600;

impl Policy {
    /// Checks that the promises made with it can hold.
    pub fn check(&self) -> Result<(), PolicyError> {
        let no = |field, why| Err(PolicyError { field, why });
        let share = |v: f64| v.is_finite() && v > 0.0 && v < 1.0;
        let grid = |g: &[f64], from: f64, to: f64| {
            !g.is_empty() && g.len() <= MAX_GRID && g.iter().all(|v| v.is_finite() && *v > from && *v < to)
        };
        let weights = self.weights.array();
        if !share(self.alpha) || self.alpha > 0.5 {
            return no("alpha", "above 0 and at most 0.5");
        }
        if !share(self.alpha_good) || self.alpha_good > 0.5 {
            return no("alpha_good", "above 0 and at most 0.5");
        }
        if !(self.tolerance.is_finite() && (0.0..=10.0).contains(&self.tolerance)) {
            return no("tolerance", "from 0 to 10");
        }
        if !share(self.p0) || self.p0 > 0.5 {
            return no("p0", "above 0 and at most 0.5");
        }
        if !(self.delta.is_finite() && (0.0..0.5).contains(&self.delta)) {
            return no("delta", "from 0 to 0.5");
        }
        if !(self.delta_good.is_finite() && (0.0..0.5).contains(&self.delta_good)) {
            return no("delta_good", "from 0 to 0.5");
        }
        if weights.iter().any(|w| !w.is_finite() || *w < 0.0) || (weights.iter().sum::<f64>() - 1.0).abs() > 1e-9 {
            return no("weights", "none below 0, and 1 in all");
        }
        if !grid(&self.grids.up, 1.0, 1e6) {
            return no("grids.up", "1 to 12 numbers above 1");
        }
        if !grid(&self.grids.down, 0.0, 1.0) {
            return no("grids.down", "1 to 12 numbers between 0 and 1");
        }
        if !grid(&self.grids.p_up, self.p0, 1.0) {
            return no("grids.p_up", "1 to 12 probabilities above p0");
        }
        if !grid(&self.grids.p_down, 0.0, self.p0) {
            return no("grids.p_down", "1 to 12 probabilities below p0");
        }
        if !grid(&self.grids.l, 0.0, 1.0) {
            return no("grids.l", "1 to 12 stakes between 0 and 1");
        }
        if !(self.first_start.is_finite() && self.first_start > 0.0 && self.first_start <= 1.0) {
            return no("first_start", "above 0 and at most 1");
        }
        if (self.further_starts == 0) != (self.first_start == 1.0) || self.further_starts > 10_000 {
            return no("further_starts", "0 exactly when the first start has all the weight, and at most 10,000");
        }
        if self.start_every == 0 {
            return no("start_every", "at least 1");
        }
        if self.history_s == 0 || self.history_s > MAX_HISTORY_S {
            return no("history_s", "from 1 to 600");
        }
        Ok(())
    }

    /// `ln(1/α)`: evidence from which it stops.
    pub fn abort_at(&self) -> f64 {
        -self.alpha.ln()
    }

    /// `ln(1/α_good)`: evidence from which it certifies.
    pub fn certify_at(&self) -> f64 {
        -self.alpha_good.ln()
    }

    pub(crate) fn starts(&self) -> Starts {
        Starts { every: self.start_every, first: self.first_start, further: self.further_starts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_cannot_hold_is_refused() {
        assert_eq!(Policy::default().check(), Ok(()));
        let check = |field: &str, change: fn(&mut Policy)| {
            let mut policy = Policy::default();
            change(&mut policy);
            assert_eq!(policy.check().unwrap_err().field, field);
        };
        check("alpha", |p| p.alpha = 0.0);
        check("alpha", |p| p.alpha = f64::NAN);
        check("alpha_good", |p| p.alpha_good = 1.0);
        check("tolerance", |p| p.tolerance = -0.1);
        check("p0", |p| p.p0 = 0.0);
        check("delta", |p| p.delta = f64::INFINITY);
        check("delta_good", |p| p.delta_good = -1.0);
        check("weights", |p| p.weights.abs = 0.3);
        check("weights", |p| p.weights = PerMeasure { abs: -0.5, rel: 0.5, p99: 1.0 });
        check("grids.up", |p| p.grids.up = vec![1.0]);
        check("grids.up", |p| p.grids.up = vec![2.0; 13]);
        check("grids.down", |p| p.grids.down = vec![]);
        check("grids.p_up", |p| p.grids.p_up = vec![0.01]);
        check("grids.p_down", |p| p.grids.p_down = vec![0.02]);
        check("grids.l", |p| p.grids.l = vec![1.0]);
        check("first_start", |p| p.first_start = 0.0);
        check("further_starts", |p| p.further_starts = 0);
        check("start_every", |p| p.start_every = 0);
        check("history_s", |p| p.history_s = 601);
        let text = serde_json::to_string(&Policy::default()).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&text).unwrap(), Policy::default());
    }
}
