//! F6: intervals to show, valid at all times at once.

use super::{
    math::{ln_beta, log_sum_exp},
    streams::TwoStreams,
};

/// Halvings of an interval of length 1: beyond the precision of the number.
const HALVINGS: u32 = 60;

/// A confidence sequence for the probability of failure of one stream: an interval that holds the truth *at all times at once* with
/// probability 1 − α.
///
/// With a mixture Beta(A, C) over the alternatives, s failures among n:
/// `ln M(p) = ln B(A + s, C + n − s) − ln B(A, C) − s ln p − (n − s) ln(1 − p)`, and the set is `{p : ln M(p) < ln(1/α)}`.
///
/// **Null** of each `ln M(p)`: requests fail independently with probability p. **Source:** the beta-binomial mixture of Howard and
/// others (arXiv 1810.08240). **Does not promise** its coverage when requests of one version fail together (bursts), nor for a
/// probability that drifts: then it is about a weighted mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfidenceSequence {
    /// A of the mixture.
    pub a: f64,
    /// C of the mixture.
    pub c: f64,
    /// Failures.
    pub s: u64,
    /// Requests.
    pub n: u64,
}

impl ConfidenceSequence {
    /// With Jeffreys' mixture A = C = ½.
    pub fn new(s: u64, n: u64) -> Self {
        Self { a: 0.5, c: 0.5, s: s.min(n), n }
    }

    /// `ln M(p)`: the evidence against p.
    pub fn ln_m(&self, p: f64) -> f64 {
        self.constant() - self.likelihood(p)
    }

    /// The interval at level 1 − α.
    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let bound = -alpha.ln();
        let constant = self.constant();
        let rejected = |p: f64| constant - self.likelihood(p) >= bound;
        // Between 0 (or 1) and the maximum of the likelihood the evidence falls (rises) all the way.
        let middle = if self.n == 0 { 0.5 } else { self.s as f64 / self.n as f64 };
        let edge = |mut out: f64, mut inside: f64| {
            if !rejected(out) {
                return out;
            }
            for _ in 0..HALVINGS {
                let half = f64::midpoint(out, inside);
                if rejected(half) {
                    out = half;
                } else {
                    inside = half;
                }
            }
            f64::midpoint(out, inside)
        };
        (edge(0.0, middle), edge(1.0, middle))
    }

    fn constant(&self) -> f64 {
        ln_beta(self.a + self.s as f64, self.c + (self.n - self.s) as f64) - ln_beta(self.a, self.c)
    }

    fn likelihood(&self, p: f64) -> f64 {
        let times = |n: u64, ln: f64| if n == 0 { 0.0 } else { n as f64 * ln };
        times(self.s, p.ln()) + times(self.n - self.s, (-p).ln_1p())
    }
}

/// The difference of two probabilities of failure, canary's minus stable's, α/2 for each.
pub fn difference(canary: &ConfidenceSequence, stable: &ConfidenceSequence, alpha: f64) -> (f64, f64) {
    let (c, b) = (canary.interval(alpha / 2.0), stable.interval(alpha / 2.0));
    (c.0 - b.1, c.1 - b.0)
}

/// Ranks between which a quantile lies: `X_(low) ≤ Q < X_(high)` of n values in order, with A = 50 q and C = 50 (1 − q).
///
/// `None` when there are too few values to say anything. Not the band of Dvoretzky, Kiefer and Wolfowitz, which is wider than a tail of 1 %.
pub fn quantile_ranks(q: f64, n: u64, alpha: f64) -> Option<(u64, u64)> {
    let bound = -alpha.ln();
    let accepted = |s: u64| ConfidenceSequence { a: 50.0 * q, c: 50.0 * (1.0 - q), s, n }.ln_m(q) < bound;
    let middle = ((q * n as f64).round() as u64).min(n);
    if !accepted(middle) {
        return None;
    }
    let (mut low, mut out) = (middle, 0);
    if accepted(0) {
        low = 0;
    }
    while low > out + 1 {
        let half = u64::midpoint(low, out);
        if accepted(half) { low = half } else { out = half }
    }
    let (mut high, mut out) = (middle, n);
    if accepted(n) {
        high = n;
    }
    while high + 1 < out {
        let half = u64::midpoint(high, out);
        if accepted(half) { high = half } else { out = half }
    }
    Some((low, high + 1))
}

/// Failures and requests of one tick: `(e_c, e_b, n_c, n_b)`.
pub type Strata = (u64, u64, u64, u64);

/// The ratio of two rates of failure, by inverting F1 in r: the mean over `up` at α/2 is the lower end, that over `down` the upper.
///
/// `None` at an end that nothing bounds. **Null** of each r: in every tick `p_c = r p_b`.
pub fn rate_ratio(ticks: &[Strata], up: &[f64], down: &[f64], alpha: f64) -> (Option<f64>, Option<f64>) {
    /// Ratios looked at: beyond them there is no end.
    const RANGE: (f64, f64) = (1e-9, 1e9);
    let bound = (2.0 / alpha).ln();
    let mean = |grid: &[f64], r: f64| {
        let mut sums = [0.0; super::MAX_GRID];
        let sums = sums.get_mut(..grid.len().min(super::MAX_GRID)).unwrap_or_default();
        for (e_c, e_b, n_c, n_b) in ticks {
            for (sum, rho) in sums.iter_mut().zip(grid) {
                *sum += TwoStreams::new(*n_c, *n_b, r, 0.0, *rho).map_or(0.0, |t| t.ln_e(*e_c, *e_b));
            }
        }
        log_sum_exp(sums) - (sums.len() as f64).ln()
    };
    let edge = |grid: &[f64], rejected_at: f64, accepted_at: f64| {
        if mean(grid, rejected_at) < bound {
            return None;
        }
        let (mut out, mut inside) = (rejected_at.ln(), accepted_at.ln());
        for _ in 0..HALVINGS {
            let half = f64::midpoint(out, inside);
            if mean(grid, half.exp()) >= bound { out = half } else { inside = half }
        }
        Some(f64::midpoint(out, inside).exp())
    };
    (edge(up, RANGE.0, RANGE.1), edge(down, RANGE.1, RANGE.0))
}
