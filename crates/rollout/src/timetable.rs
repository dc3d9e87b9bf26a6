//! When a recipe does what, before it has begun.

use model::{Weight, event::PlannedWeight};
use serde::Serialize;

use crate::Recipe;

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

/// The timetable of a recipe, with the promotion as its last row.
pub fn timetable(recipe: &Recipe) -> Vec<Row> {
    todo!("{recipe:?}")
}

/// The planned weights for the timeline: ends before a step of unknown length.
pub fn planned_weights(recipe: &Recipe) -> Vec<PlannedWeight> {
    todo!("{recipe:?}")
}

/// Planned length, ms; `None` when a step waits for a person or for an analysis of unknown length.
pub fn planned_ms(recipe: &Recipe) -> Option<i64> {
    todo!("{recipe:?}")
}
