//! What a recipe can see at a given traffic, and how often its rule would stop a healthy canary.

use std::fmt;

use judge::{
    Rule,
    power::{FalseStops, Power, Span, power, threshold_false_stops},
    sequential::Policy,
};
use rollout::{Provider, Recipe, recipe::Step, timetable::Row};
use serde::Serialize;

use super::print;

/// From this share on, healthy canaries are stopped often.
const OFTEN: f64 = 0.05;

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

/// How often the rule of a recipe stops a healthy canary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Often {
    rate: f64,
    pub(super) stops: FalseStops,
}

impl Often {
    pub(super) fn is_often(&self) -> bool {
        self.stops.light.max(self.stops.heavy) > OFTEN
    }
}

impl fmt::Display for Often {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |v: f64| v * 100.0;
        write!(
            f,
            "the rule threshold would stop about {:.0} % (light tails) to {:.0} % (heavy tails) of healthy canaries at {} requests/s; the rule sequential at most 1 %",
            percent(self.stops.light),
            percent(self.stops.heavy),
            self.rate
        )
    }
}

/// For a recipe under the rule `threshold`.
pub(super) fn false_stops(recipe: &Recipe, rate: f64) -> Option<Often> {
    let Some(Rule::Threshold(rule)) = builtin(recipe).and_then(|b| Rule::named(&b.rule)) else { return None };
    let mut spans: Vec<Span> = Vec::new();
    for row in rollout::timetable(recipe) {
        let (weight, seconds) = (row.weight.percent(), row.takes_ms.unwrap_or(0) as f64 / 1_000.0);
        match spans.last_mut() {
            Some(last) if last.weight == weight => last.seconds += seconds,
            _ if weight > 0 => spans.push(Span { weight, seconds }),
            _ => {}
        }
    }
    Some(Often { rate, stops: threshold_false_stops(&rule, rate, &spans) })
}

fn builtin(recipe: &Recipe) -> Option<&rollout::recipe::Builtin> {
    let steps = recipe.steps.iter().filter_map(|s| match s {
        Step::Analysis(analysis) => Some(analysis),
        _ => None,
    });
    recipe.background.iter().map(|b| &b.analysis).chain(steps).flat_map(|a| &a.metrics).find_map(|m| {
        match &m.provider {
            Provider::Builtin(builtin) => Some(builtin),
            _ => None,
        }
    })
}
