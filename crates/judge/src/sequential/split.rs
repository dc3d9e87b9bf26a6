//! F7: do requests arrive at the versions as the weight says?

use super::math::ln_gamma;

/// Concentration of the mixture: about a hundred requests' worth of doubt.
pub const CONCENTRATION: f64 = 100.0;

/// F7: evidence that the split of requests is not the planned one.
///
/// Between two changes of the weight `ln e = ln B(mρ + counts) − ln B(mρ) − Σ counts ln ρ` with the planned shares ρ and m = 100;
/// spans between changes are added.
///
/// **Null:** each request goes to the canary with the planned probability. **Source:** Lindon and Malek, arXiv 2011.03567 (the
/// Dirichlet mixture). **Does not promise** to name what is wrong: a routing fault, or completions that vanished.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SplitCheck {
    weight: u8,
    canary: u64,
    stable: u64,
    before: f64,
    voted: bool,
}

impl SplitCheck {
    /// Takes a tick's requests under a weight in percent; 0 and 100 say nothing.
    pub fn push(&mut self, weight: u8, n_c: u64, n_b: u64) {
        if weight != self.weight {
            self.before += self.since();
            (self.weight, self.canary, self.stable) = (weight, 0, 0);
        }
        if (1..100).contains(&weight) && (n_c > 0 || n_b > 0) {
            self.canary = self.canary.saturating_add(n_c);
            self.stable = self.stable.saturating_add(n_b);
            self.voted = true;
        }
    }

    /// `ln e` so far; `None` when no tick said its weight.
    pub fn ln_e(&self) -> Option<f64> {
        self.voted.then(|| self.before + self.since())
    }

    fn since(&self) -> f64 {
        if self.canary == 0 && self.stable == 0 {
            return 0.0;
        }
        let share = f64::from(self.weight) / 100.0;
        split([self.canary, self.stable], [share, 1.0 - share])
    }
}

/// `ln e` of counts against planned shares.
pub fn split(counts: [u64; 2], shares: [f64; 2]) -> f64 {
    let ln_b = |a: [f64; 2]| a.iter().map(|x| ln_gamma(*x)).sum::<f64>() - ln_gamma(a.iter().sum());
    let prior = shares.map(|s| CONCENTRATION * s);
    let [c, b] = counts.map(|n| n as f64);
    let [p, q] = prior;
    let [share, other] = shares;
    ln_b([p + c, q + b]) - ln_b(prior) - c * share.ln() - b * other.ln()
}
