//! What all lanes say at one moment.

use model::Timestamp;
use projections::{ReleaseView, describe, say};

use super::{
    Axis,
    series::{GAP_MS, Point},
};

/// The values at one moment, as they are shown. `n/a` where nothing is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The moment.
    pub at: Timestamp,
    /// Since the release's start: `3:12`.
    pub since: String,
    /// The weight in force.
    pub weight: String,
    /// p99 of the canary, ms.
    pub canary_p99: String,
    /// p99 of stable, ms.
    pub stable_p99: String,
    /// The limit, with its unit.
    pub limit: String,
    /// True when the canary's p99 is beyond the limit.
    pub slow: bool,
    /// Share of the canary's requests that failed.
    pub errors: String,
    /// Burn of the budget, fast and slow.
    pub burn: String,
    /// The last receipt at that moment and what it says.
    pub receipt: Option<(u64, String)>,
}

impl Reading {
    /// All of it in a sentence, for who cannot see it.
    pub fn sentence(&self) -> String {
        let said = self.receipt.as_ref().map(|(i, said)| format!(", receipt {i}: {said}")).unwrap_or_default();
        format!(
            "{} after the start: weight {}, p99 {} against {} ms, 5xx {}{said}",
            self.since, self.weight, self.canary_p99, self.stable_p99, self.errors
        )
    }
}

/// What the lanes say at `at`: the point that is nearest within one and a half grains, at the end the last one that is not older than a line
/// would be broken for, and the last receipt, or the one that is asked for.
pub fn reading(view: &ReleaseView, points: &[Point], axis: Axis, at: Timestamp, receipt: Option<u64>) -> Reading {
    let after = points.partition_point(|p| p.at < at);
    let near = [after.checked_sub(1), Some(after)].into_iter().flatten().filter_map(|i| points.get(i));
    let least = if at == axis.until { GAP_MS } else { 1_500 };
    let reach = (axis.grain() * 3 / 2).max(least);
    let point = near.min_by_key(|p| p.at.since(at).abs()).filter(|p| p.at.since(at).abs() <= reach);
    let na = || "n/a".to_owned();
    let ms = |v: Option<f64>| v.map_or_else(na, say::latency);
    let weight = view.weights.iter().rev().find(|(from, _)| *from <= at).map(|(_, w)| *w).unwrap_or_default();
    let shown = match receipt {
        Some(index) => view.receipts.iter().find(|r| r.index == index),
        None => view.receipts.iter().rev().find(|r| r.payload.time <= at),
    };
    // Of what is over the last that was measured counts, as beside the lanes.
    let last = |value: fn(&Point) -> Option<f64>| {
        let over = at == axis.until && !view.row.in_flight();
        point.and_then(value).or_else(|| points.iter().rev().filter(|_| over).find_map(value))
    };
    let (canary, limit) = (last(|p| p.canary_p99), last(|p| p.limit));
    Reading {
        at,
        since: say::axis(axis.since(at)),
        weight: weight.to_string(),
        canary_p99: ms(canary),
        stable_p99: ms(last(|p| p.stable_p99)),
        limit: limit.map_or_else(na, |l| format!("{} ms", say::latency(l))),
        slow: canary.zip(limit).is_some_and(|(c, l)| c > l),
        errors: last(|p| p.canary_errors).map_or_else(na, say::ratio),
        burn: point
            .and_then(|p| p.burn_fast.zip(p.burn_slow))
            .map_or_else(na, |(fast, slow)| format!("{} and {}", say::rate(fast), say::rate(slow))),
        receipt: shown.map(|r| (r.index, describe(r).headline)),
    }
}
