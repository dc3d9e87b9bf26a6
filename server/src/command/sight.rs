//! What a recipe can see at a given traffic.

use judge::{
    power::{Power, Span, power},
    sequential::Policy,
};
use rollout::{Recipe, timetable::Row};
use serde::Serialize;

use super::print;
use crate::false_stops::builtin;

/// What can be seen by the end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Seen {
    /// Number of the step, from 1.
    step: u32,
    /// Its weight, %.
    weight: u8,
    #[serde(flatten)]
    power: Power,
}

/// For each step that holds a weight: the smallest regression that most rollouts see by its end.
pub(super) fn of(recipe: &Recipe, rows: &[Row], rate: f64) -> Vec<Seen> {
    let mut policy = Policy::default();
    if let Some(alpha) = builtin(recipe).and_then(|b| b.alpha) {
        policy.alpha = alpha;
    }
    let held: Vec<(u32, Span)> = rows
        .iter()
        .filter_map(|row| {
            let seconds = row.takes_ms? as f64 / 1_000.0;
            let weight = row.weight.percent();
            (seconds > 0.0 && weight > 0).then_some((row.step + 1, Span { weight, seconds }))
        })
        .collect();
    let spans: Vec<Span> = held.iter().map(|(_, span)| *span).collect();
    let seen = power(&policy, rate, &spans);
    held.iter().zip(seen).map(|((step, span), power)| Seen { step: *step, weight: span.weight, power }).collect()
}

/// The same in rows.
pub(super) fn show(seen: &[Seen], rate: f64) -> anyhow::Result<()> {
    print::line("")?;
    print::line(&format!(
        "at {rate} requests/s, most rollouts see by the end of a step (from its start on, requests independent):"
    ))?;
    let share =
        |v: Option<f64>, plus: &str| v.map_or_else(|| "nothing".to_owned(), |v| format!("{plus}{:.1} %", v * 100.0));
    let cells: Vec<Vec<String>> = seen
        .iter()
        .map(|s| {
            vec![
                s.step.to_string(),
                format!("{} %", s.weight),
                format!("{:.0}", s.power.requests),
                share(s.power.p99_increase, "+"),
                share(s.power.errors, ""),
            ]
        })
        .collect();
    print::table(&["step", "weight", "canary requests", "p99 from", "5xx from"], &cells)
}
