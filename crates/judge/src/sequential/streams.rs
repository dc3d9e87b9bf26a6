//! One tick's evidence: two streams (F1), one stream (F2), and blocks (F5).
//!
//! All of these are logarithms of e-values: under the null hypothesis named at each, the expectation of the e-value given the
//! past is at most 1. They are multiplied over ticks (added here) by [`super::EProcess`].

/// F1: is the rate of failures of the canary above (below) stable's, in one tick?
///
/// With `D = (n_c r + n_b) / (n_c r ρ + n_b)`, `a = ρ D`, `b = D`:
/// `ln e = e_c ln a + e_b ln b − n_c ln(1 + δ (a − 1))`; 0 when either version has no requests.
///
/// **Null:** for ρ > 1, in this tick `p_c ≤ r p_b + δ`; for ρ < 1, `p_c ≥ r p_b + δ` (p: mean probability of failure of the tick's
/// requests). **Source:** at δ = 0 Lindon and Malek's thinning ratio (arXiv 2011.03567), stratified by tick with the numbers of requests
/// observed, so that drift and load shared by both versions cancel; δ and the reverse are derived from `ln(1+x) ≤ x`.
/// **Does not promise** anything when requests of one version fail together (bursts): then blocks are to be used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwoStreams {
    /// `ln a`: what a failure of the canary adds.
    pub canary: f64,
    /// `ln b`: what a failure of stable adds.
    pub stable: f64,
    /// What the canary's requests cost.
    pub cost: f64,
    /// `a` itself.
    a: f64,
}

impl TwoStreams {
    /// For a tick with so many requests; `None` when there is nothing to compare.
    pub fn new(n_c: u64, n_b: u64, r: f64, delta: f64, rho: f64) -> Option<Self> {
        if n_c == 0 || n_b == 0 {
            return None;
        }
        let (c, b) = (n_c as f64, n_b as f64);
        let d = (c * r + b) / (c * r * rho + b);
        let stable = d.ln();
        Some(Self { canary: rho.ln() + stable, stable, cost: 0.0, a: rho * d }.with_margin(n_c, delta))
    }

    /// The same tick and alternative with another δ: only the cost depends on it.
    #[must_use]
    pub fn with_margin(self, n_c: u64, delta: f64) -> Self {
        let cost = if delta == 0.0 { 0.0 } else { n_c as f64 * (delta * (self.a - 1.0)).ln_1p() };
        Self { cost, ..self }
    }

    /// `ln e` for so many failures of each.
    pub fn ln_e(&self, e_c: u64, e_b: u64) -> f64 {
        e_c as f64 * self.canary + e_b as f64 * self.stable - self.cost
    }
}

/// F2: is the canary's rate of failures above (below) a fixed one?
///
/// `ln e = e ln(p₁/p₀) + (n − e)(ln(1 − p₁) − ln(1 − p₀))`.
///
/// **Null:** for p₁ > p₀, each request fails with probability at most p₀ given the past; for p₁ < p₀, at least p₀. **Source:** Wald's
/// likelihood ratio. **Does not promise** to tell the canary from an outage that stable shares.
pub fn one_stream(e: u64, n: u64, p0: f64, p1: f64) -> f64 {
    OneStream::new(p0, p1).ln_e(e, n)
}

/// F2's factors, which depend on the alternative alone: see [`one_stream`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct OneStream {
    failed: f64,
    passed: f64,
}

impl OneStream {
    pub(super) fn new(p0: f64, p1: f64) -> Self {
        Self { failed: (p1 / p0).ln(), passed: (-p1).ln_1p() - (-p0).ln_1p() }
    }

    pub(super) fn ln_e(self, e: u64, n: u64) -> f64 {
        let (e, n) = (e as f64, n as f64);
        e * self.failed + (n - e) * self.passed
    }
}

/// F5a, one closed block of the canary: `ln e = ln(1 + l d/p₀)` with `d = e_c/n_c − p₀`.
///
/// **Null:** the expected share of failures of the block, given the past, is at most p₀. Any dependence *inside* the block is allowed.
/// **Source:** a bet on a bounded mean (Waudby-Smith and Ramdas, arXiv 2010.09686), derived for shares of blocks. **Does not promise**
/// anything when one pause is longer than a block.
pub fn block_share(share: f64, p0: f64, l: f64) -> f64 {
    (l * (share - p0) / p0).ln_1p()
}

/// F5b, one closed block of both versions: `ln e = ln(1 + l d/(B + δ))` with `d = min(canary, B) − min(stable, B) − δ`.
///
/// **Null:** the expected value of d, given the past, is at most 0. **Source:** as F5a. **Does not promise** validity when the canary
/// has more requests than stable (weights above 50 %): the cap is concave, so that the noisier share has the lower mean.
pub fn block_difference(canary: f64, stable: f64, cap: f64, delta: f64, l: f64) -> f64 {
    (l * (canary.min(cap) - stable.min(cap) - delta) / (cap + delta)).ln_1p()
}
