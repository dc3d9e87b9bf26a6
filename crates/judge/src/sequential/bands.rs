//! What could still be true: intervals of the ratio of p99 and of the difference of failures.

use super::{confidence::difference, math::log_sum_exp, policy::Policy, state::Sequential, streams::TwoStreams};

/// Ratios of the canary's latency to stable's p99 at which requests are counted.
pub const RATIOS: [f64; 24] = [
    0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.32, 1.4, 1.5, 1.6, 1.8, 2.0, 2.5, 3.0, 4.0,
    5.0, 8.0,
];

/// F6: the interval of p99's ratio, by F1 at each of [`RATIOS`]: the largest that is rejected as too small is the lower end, the smallest that
/// is certified the upper one.
///
/// **Null** at a ratio: in every tick, `P(X_c > ratio · x) = P(X_b > x)`. At level 1 − α, α/2 for each end. **Does not promise** its coverage
/// when requests are slow together (bursts).
#[derive(Debug, Clone, PartialEq)]
pub struct RatioBand {
    up: [[f64; super::MAX_GRID]; RATIOS.len()],
    down: [[f64; super::MAX_GRID]; RATIOS.len()],
}

impl Default for RatioBand {
    fn default() -> Self {
        Self { up: [[0.0; super::MAX_GRID]; RATIOS.len()], down: [[0.0; super::MAX_GRID]; RATIOS.len()] }
    }
}

impl RatioBand {
    /// Takes a tick: `slow_c[i]` of the canary's requests took longer than the i-th ratio times x, `slow_b` of stable's longer than x. Where
    /// counts are only exact at bucket edges: `slow_c` at the first edge from there, for the lower end, and at the last edge up to there, for the
    /// upper one.
    pub fn push(&mut self, policy: &Policy, n_c: u64, n_b: u64, slow_c: [&[u64; RATIOS.len()]; 2], slow_b: u64) {
        let [above, below] = slow_c;
        for (grid, sums, slow_c) in
            [(&policy.grids.up, &mut self.up, above), (&policy.grids.down, &mut self.down, below)]
        {
            for (k, rho) in grid.iter().enumerate() {
                // The factors depend on the numbers of requests alone: once for all ratios.
                let Some(t) = TwoStreams::new(n_c, n_b, 1.0, 0.0, *rho) else { return };
                for (sums, slow) in sums.iter_mut().zip(slow_c) {
                    if let Some(sum) = sums.get_mut(k) {
                        *sum += t.ln_e(*slow, slow_b);
                    }
                }
            }
        }
    }

    /// The interval; `None` at an end that nothing bounds yet.
    pub fn interval(&self, policy: &Policy, alpha: f64) -> (Option<f64>, Option<f64>) {
        let bound = (2.0 / alpha).ln();
        let mean = |sums: &[f64; super::MAX_GRID], grid: &[f64]| {
            let sums = sums.get(..grid.len()).unwrap_or_default();
            log_sum_exp(sums) - (sums.len() as f64).ln()
        };
        // The evidence is monotone in the ratio: halve.
        let rejected = self.up.partition_point(|s| mean(s, &policy.grids.up) >= bound);
        let certified = self.down.partition_point(|s| mean(s, &policy.grids.down) < bound);
        (rejected.checked_sub(1).and_then(|i| RATIOS.get(i)).copied(), RATIOS.get(certified).copied())
    }
}

/// The interval of the difference of the shares of failures, canary's minus stable's.
pub fn error_difference(judge: &Sequential) -> (f64, f64) {
    let (canary, stable) = judge.errors();
    difference(&canary, &stable, judge.policy().alpha)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_band_narrows_around_the_ratio() {
        let (policy, mut band) = (Policy::default(), RatioBand::default());
        assert_eq!(band.interval(&policy, 0.01), (None, None));
        // Exponential tails: 1 % of stable above x, the canary 1.5 times as slow.
        let slow = RATIOS.map(|r| (1_000.0 * 0.01_f64.powf(r / 1.5)).round() as u64);
        let mut width = f64::INFINITY;
        for tick in 0..40 {
            band.push(&policy, 1_000, 1_000, [&slow, &slow], 10);
            if let (Some(low), Some(high)) = band.interval(&policy, 0.01) {
                assert!(low <= 1.5 && 1.5 <= high, "{tick}: {low} {high}");
                assert!(high - low <= width);
                width = high - low;
            }
        }
        assert!(width < 0.5, "{width}");
    }
}
