//! The timeline in rows: for those who cannot see it, and for those who want the numbers.

use model::{Timestamp, Weight};
use projections::say;

use super::{Axis, series::Point};

/// Rows of a table: more are not read. Who wants a part closer zooms in.
pub const MAX_ROWS: usize = 40;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// Since the start.
    pub since: String,
    /// When.
    pub at: Timestamp,
    /// Weight.
    pub weight: String,
    /// The canary's p99, ms.
    pub canary_p99: String,
    /// Stable's p99, ms.
    pub stable_p99: String,
    /// The limit of p99, ms.
    pub limit: String,
    /// Share of the canary's failures over ten seconds.
    pub canary_errors: String,
    /// Share of stable's failures over ten seconds.
    pub stable_errors: String,
    /// Burn of the error budget, fast and slow.
    pub burn: String,
    /// The canary's requests behind the row.
    pub canary_n: String,
}

/// The values of the shown part of the timeline at regular distances, at most [`MAX_ROWS`] of them, the last one included.
pub fn table(points: &[Point], weights: &[(Timestamp, Weight)], axis: Axis) -> Vec<TableRow> {
    let points: Vec<&Point> = points.iter().filter(|p| axis.shows(p.at)).collect();
    let every = points.len().div_ceil(MAX_ROWS).max(1);
    let na = || "n/a".to_owned();
    let ms = |v: Option<f64>| v.map_or_else(na, say::latency);
    points
        .iter()
        .rev()
        .step_by(every)
        .map(|p| TableRow {
            since: say::axis(axis.since(p.at)),
            at: p.at,
            weight: weights.iter().rev().find(|(from, _)| *from <= p.at).map_or(Weight::ZERO, |(_, w)| *w).to_string(),
            canary_p99: ms(p.canary_p99),
            stable_p99: ms(p.stable_p99),
            limit: ms(p.limit),
            canary_errors: p.canary_errors.map_or_else(na, say::ratio),
            stable_errors: p.stable_errors.map_or_else(na, say::ratio),
            burn: p.burn_fast.zip(p.burn_slow).map_or_else(na, |(f, s)| format!("{}, {}", say::rate(f), say::rate(s))),
            canary_n: say::count(p.canary_n),
        })
        .collect()
}
