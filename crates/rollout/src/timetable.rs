//! When a recipe does what, before it has begun.

use model::{Weight, event::PlannedWeight};
use serde::Serialize;

use crate::{
    Recipe,
    recipe::{Analysis, Provider, Step, shown_ms},
};

/// One step of the timetable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Index of the step, from 0; the number of steps for the promotion at the end.
    pub step: u32,
    /// What it is, e.g. `setWeight 5 %`.
    pub what: String,
    /// From the start, ms; `None` after a step of unknown length.
    pub starts_ms: Option<i64>,
    /// How long, ms; `None` = unknown.
    pub takes_ms: Option<i64>,
    /// Weight during it.
    pub weight: Weight,
    /// What must hold before the next begins.
    pub gate: String,
}

/// The timetable of a recipe, with the promotion as its last row. Times are those of a canary that is ready at once.
pub fn timetable(recipe: &Recipe) -> Vec<Row> {
    let mut at = Some(0);
    let mut rows = Vec::new();
    for (step, index) in recipe.steps.iter().zip(0_u32..) {
        let takes_ms = length(step);
        let weight = recipe.weight_at(index);
        rows.push(Row {
            step: index,
            what: what(step),
            starts_ms: at,
            takes_ms,
            weight,
            gate: gate(recipe, index, step),
        });
        at = at.zip(takes_ms).map(|(at, takes): (i64, i64)| at.saturating_add(takes));
    }
    let gate = match judged(recipe, recipe.len()) {
        Some(rule) => format!("rollback envelope signed; 100 % in force; {rule} Successful"),
        None => "rollback envelope signed; 100 % in force".to_owned(),
    };
    rows.push(Row {
        step: recipe.len(),
        what: "promote".to_owned(),
        starts_ms: at,
        takes_ms: Some(0),
        weight: Weight::FULL,
        gate,
    });
    rows
}

/// The planned weights for the timeline: ends before a step of unknown length.
pub fn planned_weights(recipe: &Recipe) -> Vec<PlannedWeight> {
    let mut points: Vec<PlannedWeight> = Vec::new();
    for row in timetable(recipe) {
        let Some(at_ms) = row.starts_ms else { break };
        match points.last_mut() {
            Some(last) if last.weight == row.weight => {}
            // Steps without a length between them: the last one counts.
            Some(last) if last.at_ms == at_ms => last.weight = row.weight,
            _ => points.push(PlannedWeight { at_ms, weight: row.weight }),
        }
    }
    points
}

/// The weights above 0 that a recipe leads to, in its order.
pub fn stops(recipe: &Recipe) -> Vec<Weight> {
    let mut stops: Vec<Weight> = timetable(recipe).iter().map(|row| row.weight).filter(|w| *w > Weight::ZERO).collect();
    stops.dedup();
    stops
}

/// Planned length, ms; `None` when a step waits for a person or for an analysis of unknown length.
pub fn planned_ms(recipe: &Recipe) -> Option<i64> {
    timetable(recipe).last().and_then(|row| row.starts_ms)
}

fn length(step: &Step) -> Option<i64> {
    match step {
        Step::SetWeight(_) => Some(0),
        Step::Pause(duration) => *duration,
        Step::Analysis(analysis) => analysis_ms(analysis),
        Step::Other(_) => None,
    }
}

/// How long an analysis takes when nothing goes wrong: its slowest metric.
fn analysis_ms(analysis: &Analysis) -> Option<i64> {
    let each = analysis.metrics.iter().map(|m| {
        let intervals = i64::from(m.count?.saturating_sub(1));
        Some(m.initial_delay_ms.saturating_add(m.interval_ms.unwrap_or(0).saturating_mul(intervals)))
    });
    each.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn what(step: &Step) -> String {
    match step {
        Step::SetWeight(weight) => format!("setWeight {weight}"),
        Step::Pause(Some(ms)) => format!("pause {}", shown_ms(*ms)),
        Step::Pause(None) => "pause until promoted".to_owned(),
        Step::Analysis(analysis) => format!("analysis {}", names(analysis)),
        Step::Other(kind) => (*kind).to_owned(),
    }
}

fn names(analysis: &Analysis) -> String {
    analysis.metrics.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn judged(recipe: &Recipe, step: u32) -> Option<String> {
    let background = recipe.background.as_ref().filter(|b| step >= b.starting_step)?;
    let metric =
        background.analysis.metrics.iter().find(|m| matches!(m.provider, Provider::Builtin(_)) && !m.dry_run)?;
    Some(metric.name.clone())
}

fn gate(recipe: &Recipe, index: u32, step: &Step) -> String {
    let mut gates = match step {
        Step::SetWeight(Weight::FULL) => vec!["canary ready".to_owned(), "rollback envelope signed".to_owned()],
        Step::SetWeight(_) => vec!["canary ready".to_owned()],
        Step::Pause(Some(_)) => vec!["time".to_owned()],
        Step::Pause(None) => vec!["a person".to_owned()],
        Step::Analysis(_) => vec!["analysis Successful".to_owned()],
        Step::Other(_) => vec!["another runtime".to_owned()],
    };
    let looks = matches!(step, Step::Pause(_) | Step::Analysis(_)) && recipe.weight_at(index) > Weight::ZERO;
    if let Some(rule) = judged(recipe, index).filter(|_| looks) {
        gates.push(format!("{rule} Successful"));
    }
    if let Some(background) = recipe.background.as_ref().filter(|b| index >= b.starting_step)
        && judged(recipe, index).is_none()
    {
        gates.push(format!("background {} not failed", names(&background.analysis)));
    }
    gates.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timetable_ends_where_nobody_knows() {
        let recipe = |steps: &str| {
            let text = format!(
                "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {{name: r}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: i}}]}}}}\n  strategy: {{canary: {{steps: {steps}}}}}\n---\napiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {{name: t}}\nspec: {{metrics: [{{name: m, interval: 10s, count: 4, initialDelay: 5s, provider: {{web: {{url: u}}}}}}]}}\n"
            );
            Recipe::load(&[("r", text.as_bytes())]).expect("a recipe")
        };
        let points =
            |r: &Recipe| planned_weights(r).iter().map(|p| (p.at_ms / 1_000, p.weight.percent())).collect::<Vec<_>>();
        let known = recipe(
            "[{setWeight: 10}, {pause: {duration: 60}}, {setWeight: 20}, {analysis: {templates: [{templateName: t}]}}]",
        );
        assert_eq!(points(&known), [(0, 10), (60, 20), (95, 100)]);
        assert_eq!(planned_ms(&known), Some(95_000));
        let person = recipe("[{setWeight: 10}, {pause: {}}, {setWeight: 20}]");
        assert_eq!(points(&person), [(0, 10)]);
        assert_eq!(planned_ms(&person), None);
        let percents = |r: &Recipe| stops(r).iter().map(|w| w.percent()).collect::<Vec<_>>();
        assert_eq!((percents(&person), percents(&known)), (vec![10, 20, 100], vec![10, 20, 100]));
        let rows = timetable(&person);
        assert_eq!(
            rows.iter().map(|r| (r.what.as_str(), r.starts_ms)).collect::<Vec<_>>(),
            [
                ("setWeight 10 %", Some(0)),
                ("pause until promoted", Some(0)),
                ("setWeight 20 %", None),
                ("promote", None),
            ]
        );
        assert_eq!(points(&recipe("[]")), [(0, 100)]);
    }
}
