//! Quantiles of values that were measured, without interpolation.

use serde_json::{Value, json};
use std::fmt;

/// By nearest rank: each is one of the values.
pub(crate) struct Spread {
    count: usize,
    pub(crate) p50: f64,
    p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) const HEAD: &str = "  count      p50      p90      p99      max";

    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Self { count: values.len(), p50: rank(50), p90: rank(90), p99: rank(99), max: rank(100) }
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "count": self.count, "p50": self.p50, "p90": self.p90, "p99": self.p99, "max": self.max })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7} {:>8.1} {:>8.1} {:>8.1} {:>8.1}", self.count, self.p50, self.p90, self.p99, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values() {
        let spread = Spread::of((1..=200).rev().map(f64::from).collect());
        assert_eq!((spread.count, spread.p50, spread.p90, spread.p99, spread.max), (200, 100.0, 180.0, 198.0, 200.0));
        let one = Spread::of(vec![7.0]);
        assert_eq!((one.p50, one.p99, one.max), (7.0, 7.0, 7.0));
        assert!(Spread::of(Vec::new()).p50.is_nan());
    }
}
