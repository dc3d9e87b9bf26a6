//! Evidence that may be looked at at any time: a mixture of e-values over alternatives and starts (F3), and over metrics (F4).

use super::math::{log_add_exp, log_sum_exp};

/// Most alternatives of a grid: bounds the state of a release.
pub const MAX_GRID: usize = 12;

/// When the mixture begins anew, and with which weights: a regression that comes late must not pay for the good evidence before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Starts {
    /// Ticks between starts.
    pub every: u32,
    /// Weight of the first start.
    pub first: f64,
    /// How many further starts share the rest.
    pub further: u32,
}

impl Starts {
    /// One start only.
    pub const ONE: Self = Self { every: 1, first: 1.0, further: 0 };
}

/// F3: an e-process, the running evidence against one null hypothesis.
///
/// `ln S_k` begins at −∞. Each tick: if start j is due, `ln S_k ← ln(S_k + w_j)`; then `ln S_k += ln e_k`. The evidence is
/// `ln E = ln( mean over k of S_k + weight not yet started )`.
///
/// **Null:** that of the `ln e_k` fed to it. Then E[E at any stopping time] ≤ 1, and by Ville's inequality the chance that E *ever*
/// reaches 1/α is at most α, however often it is looked at. **Source:** Ramdas and others, arXiv 2210.01948; mixtures of e-values stay
/// e-values. **Does not promise** that a large E means a probable regression: it bounds how often a healthy canary is stopped.
///
/// Alternatives and starts must be fixed beforehand. The state has a fixed size; nothing is allocated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EProcess {
    ln_s: [f64; MAX_GRID],
    alternatives: usize,
    starts: Starts,
    ticks: u64,
    waiting: u32,
}

impl EProcess {
    /// For so many alternatives (1 to [`MAX_GRID`]).
    pub fn new(alternatives: usize, starts: Starts) -> Self {
        Self {
            ln_s: [f64::NEG_INFINITY; MAX_GRID],
            alternatives: alternatives.clamp(1, MAX_GRID),
            starts,
            ticks: 0,
            waiting: starts.further,
        }
    }

    /// A tick begins: what is due starts. To be called once in every tick, also in one that brings no evidence.
    pub fn tick(&mut self) {
        let weight = if self.ticks == 0 {
            Some(self.starts.first)
        } else if self.waiting > 0 && self.ticks.is_multiple_of(u64::from(self.starts.every.max(1))) {
            self.waiting -= 1;
            Some(self.share())
        } else {
            None
        };
        if let Some(weight) = weight {
            for s in self.alive() {
                *s = log_add_exp(*s, weight.ln());
            }
        }
        self.ticks += 1;
    }

    /// Multiplies by the e-values of this tick, one for each alternative, given as logarithms.
    pub fn multiply(&mut self, ln_e: impl IntoIterator<Item = f64>) {
        for (s, e) in self.alive().iter_mut().zip(ln_e) {
            *s += e;
        }
    }

    /// `ln E` now.
    pub fn ln_e(&self) -> f64 {
        let s = self.ln_s.get(..self.alternatives).unwrap_or_default();
        let waiting = if self.ticks == 0 { 1.0 } else { f64::from(self.waiting) * self.share() };
        log_add_exp(log_sum_exp(s) - (self.alternatives as f64).ln(), waiting.ln())
    }

    /// Never below [`Self::ln_e`], and cheap: the largest of the alternatives (a mean is not above it), or what has not started.
    pub(super) fn at_most(&self) -> f64 {
        self.ln_s.iter().take(self.alternatives).copied().fold(0.0, f64::max)
    }

    fn share(&self) -> f64 {
        (1.0 - self.starts.first) / f64::from(self.starts.further.max(1))
    }

    fn alive(&mut self) -> &mut [f64] {
        self.ln_s.get_mut(..self.alternatives).unwrap_or_default()
    }
}

/// F4: evidence of several metrics together, `ln E = ln Σ w_m E_m`, with weights that sum to 1.
///
/// **Null:** all of the metrics' nulls. **Source:** the weighted mean of e-values is one whatever their dependence, and the only
/// admissible merge without it (Vovk and Wang; Wang, arXiv 2409.19888). Metrics are never multiplied.
pub fn together(ln_e: &[f64], weights: &[f64]) -> f64 {
    ln_e.iter().zip(weights).fold(f64::NEG_INFINITY, |sum, (e, w)| log_add_exp(sum, w.ln() + e))
}
