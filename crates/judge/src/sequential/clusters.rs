//! Do requests fail (or turn slow) together? It decides between requests and blocks as the unit of evidence.

use serde::{Deserialize, Serialize};

use super::policy::Mode;

/// Design effect up to which requests count as independent.
pub const MAX_DESIGN_EFFECT: f64 = 1.2;
/// Seconds with traffic needed to estimate anything.
pub const MIN_SECONDS: u64 = 60;
/// Requests needed to estimate anything.
pub const MIN_REQUESTS: u64 = 500;

/// How strongly requests of the same second share their fate: the intraclass correlation of stable's past seconds.
///
/// One-way analysis of variance of a share over clusters: `ICC = (MSB − MSW) / (MSB + (n₀ − 1) MSW)`. **Does not promise** that the
/// future clusters as the past did.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Clustering {
    seconds: u64,
    n: f64,
    n_squared: f64,
    y: f64,
    y_squared_by_n: f64,
}

impl Clustering {
    /// Takes a second: `y` of `n` requests failed (or were slow).
    pub fn push(&mut self, y: u64, n: u64) {
        if n == 0 {
            return;
        }
        let (y, n) = (y.min(n) as f64, n as f64);
        self.seconds += 1;
        self.n += n;
        self.n_squared += n * n;
        self.y += y;
        self.y_squared_by_n += y * y / n;
    }

    /// Takes what another has seen.
    pub fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.n += other.n;
        self.n_squared += other.n_squared;
        self.y += other.y;
        self.y_squared_by_n += other.y_squared_by_n;
    }

    /// The intraclass correlation, at least 0; `None` when there is too little to say. 0 when nothing failed: nothing can cluster.
    pub fn icc(&self) -> Option<f64> {
        if self.seconds < MIN_SECONDS || self.n < MIN_REQUESTS as f64 {
            return None;
        }
        if self.y == 0.0 || self.y == self.n {
            return Some(0.0);
        }
        let k = self.seconds as f64;
        let between = (self.y_squared_by_n - self.y * self.y / self.n) / (k - 1.0);
        let within = (self.y - self.y_squared_by_n) / (self.n - k).max(1.0);
        let n0 = (self.n - self.n_squared / self.n) / (k - 1.0);
        let icc = (between - within) / (between + (n0 - 1.0) * within);
        Some(if icc.is_finite() { icc.clamp(0.0, 1.0) } else { 0.0 })
    }
}

/// Which mode was chosen, and from what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ModeChoice {
    /// The mode.
    pub mode: Mode,
    /// Intraclass correlation of failed requests; `None` when unknown.
    pub icc_errors: Option<f64>,
    /// Intraclass correlation of slow requests; `None` when unknown.
    pub icc_slow: Option<f64>,
    /// The larger design effect `1 + (n − 1) ICC`; `None` when unknown.
    pub design_effect: Option<f64>,
}

impl ModeChoice {
    /// Fixed before the first step. `canary_rate` is the canary's requests per second at the largest weight that is compared.
    pub fn new(errors: &Clustering, slow: &Clustering, canary_rate: f64) -> Self {
        let (icc_errors, icc_slow) = (errors.icc(), slow.icc());
        let effect = |icc: f64| 1.0 + (canary_rate - 1.0).max(0.0) * icc;
        let design_effect = icc_errors.zip(icc_slow).map(|(e, s)| effect(e.max(s)));
        let mode = match design_effect {
            Some(effect) if effect <= MAX_DESIGN_EFFECT => Mode::Requests,
            _ => Mode::Blocks,
        };
        Self { mode, icc_errors, icc_slow, design_effect }
    }

    /// Chosen by the recipe.
    pub fn fixed(mode: Mode) -> Self {
        Self { mode, icc_errors: None, icc_slow: None, design_effect: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_are_seen_and_even_failures_are_not() {
        let (mut even, mut bursts, mut none) = (Clustering::default(), Clustering::default(), Clustering::default());
        for second in 0..300_u64 {
            even.push(1, 100);
            bursts.push(if second % 100 == 0 { 30 } else { 1 }, 100);
            none.push(0, 100);
        }
        assert_eq!(even.icc(), Some(0.0));
        assert_eq!(none.icc(), Some(0.0));
        assert!(bursts.icc().unwrap() > 0.05, "{:?}", bursts.icc());
        assert_eq!(ModeChoice::new(&even, &none, 100.0).mode, Mode::Requests);
        assert_eq!(ModeChoice::new(&bursts, &none, 100.0).mode, Mode::Blocks);
        assert_eq!(ModeChoice::new(&even, &bursts, 100.0).mode, Mode::Blocks);
    }

    #[test]
    fn too_little_is_unknown_and_unknown_is_blocks() {
        let mut few = Clustering::default();
        for _ in 0..59 {
            few.push(1, 1000);
        }
        assert_eq!(few.icc(), None);
        let choice = ModeChoice::new(&few, &few, 1.0);
        assert_eq!((choice.mode, choice.design_effect), (Mode::Blocks, None));
    }
}
