//! The metrics.

use std::collections::{BTreeSet, HashMap};

use model::{ReleaseId, event::Outcome};

use crate::{Absent, Measured, Metric, Rollout, SPARKS, Tile, Value, Window};

/// Below so many rows a value jumps with each new one; pages say so.
pub const SMALL_SAMPLE: u64 = 30;

/// The rollouts that ended in the window, in the order of the log. One that was promoted and later rolled back is there once, as
/// rolled back. `all` is in the order of the log.
pub fn rollouts_in(window: Window, all: &[Rollout]) -> Vec<&Rollout> {
    let mut rows: Vec<Option<&Rollout>> = Vec::new();
    let mut promoted: HashMap<&ReleaseId, usize> = HashMap::new();
    for rollout in all.iter().filter(|rollout| window.holds(rollout.ended)) {
        // What is stable already is stated again, or rolled back: the later statement stands for both.
        let before = match rollout.outcome {
            Outcome::Promoted => promoted.insert(&rollout.release, rows.len()),
            Outcome::RolledBack => promoted.remove(&rollout.release),
            Outcome::Aborted => None,
        };
        if let Some(before) = before.and_then(|at| rows.get_mut(at)) {
            *before = None;
        }
        rows.push(Some(rollout));
    }
    rows.into_iter().flatten().collect()
}

/// One metric over the window, with exactly the rows that it was computed from.
pub fn measure(metric: Metric, window: Window, all: &[Rollout]) -> Measured<'_> {
    measured(metric, window, &rollouts_in(window, all))
}

fn measured<'a>(metric: Metric, window: Window, ended: &[&'a Rollout]) -> Measured<'a> {
    let spark = parts(window, ended).map(|part| number(compute(metric, part_window(window), &part).value)).collect();
    let found = compute(metric, window, ended);
    Measured { metric, window, spark, ..found }
}

/// Every metric, without the rows.
pub fn tiles(window: Window, all: &[Rollout]) -> Vec<Tile> {
    let ended = rollouts_in(window, all);
    let tile = |metric| {
        let m = measured(metric, window, &ended);
        Tile {
            metric,
            value: m.value,
            k: m.k,
            n: m.n,
            services: services(&m.rows),
            left_out: m.left_out.len() as u64,
            spark: m.spark,
        }
    };
    Metric::ALL.into_iter().map(tile).collect()
}

/// How many services are among them: few, of many rows.
fn services(rows: &[&Rollout]) -> u64 {
    let mut known = BTreeSet::new();
    for row in rows {
        known.insert(&row.service);
    }
    known.len() as u64
}

fn compute<'a>(metric: Metric, window: Window, ended: &[&'a Rollout]) -> Measured<'a> {
    let of = |keep: fn(&Rollout) -> bool| ended.iter().copied().filter(|r| keep(r)).collect::<Vec<_>>();
    let n = ended.len() as u64;
    let made =
        |value, k, n, rows, left_out| Measured { metric, window, value, k, n, rows, left_out, spark: Vec::new() };
    let absent = |why| made(Value::Absent(why), 0, 0, Vec::new(), Vec::new());
    match metric {
        Metric::LeadTime => absent(Absent::NoChangeSource),
        Metric::Rework => absent(Absent::NoIncidentSource),
        Metric::Deployments | Metric::ChangeFailures if ended.is_empty() => absent(Absent::NoRollouts),
        Metric::Deployments => {
            let rows = of(Rollout::deployed);
            let k = rows.len() as u64;
            made(Value::PerDay(k as f64 / window.days()), k, n, rows, Vec::new())
        }
        Metric::ChangeFailures => {
            let k = of(Rollout::failed).len() as u64;
            made(Value::Ratio(k as f64 / n as f64), k, n, ended.to_vec(), Vec::new())
        }
        Metric::TimeToRestore => {
            let (rows, left_out): (Vec<_>, Vec<_>) =
                of(Rollout::failed).into_iter().partition(|r| r.restore_ms.is_some());
            let (k, n) = (rows.len() as u64, (rows.len() + left_out.len()) as u64);
            let value = match median(rows.iter().filter_map(|r| r.restore_ms).collect()) {
                Some(ms) => Value::Millis(ms),
                None if !left_out.is_empty() => Value::Absent(Absent::NoClock),
                None if ended.is_empty() => Value::Absent(Absent::NoRollouts),
                None => Value::Absent(Absent::NoFailures),
            };
            made(value, k, n, rows, left_out)
        }
    }
}

/// With an even number, the mean of the two in the middle.
fn median(mut values: Vec<i64>) -> Option<f64> {
    values.sort_unstable();
    let middle = values.len() / 2;
    let upper = *values.get(middle)? as f64;
    if values.len() % 2 == 1 { Some(upper) } else { values.get(middle - 1).map(|lower| (*lower as f64 + upper) / 2.0) }
}

fn part_window(window: Window) -> Window {
    Window { to: window.from.plus_millis((window.to.since(window.from) / SPARKS as i64).max(1)), ..window }
}

fn parts<'a>(window: Window, ended: &[&'a Rollout]) -> impl Iterator<Item = Vec<&'a Rollout>> {
    let mut parts: Vec<Vec<&Rollout>> = vec![Vec::new(); SPARKS];
    let length = part_window(window).to.since(window.from);
    for rollout in ended {
        let at = usize::try_from(rollout.ended.since(window.from) / length).unwrap_or(0).min(SPARKS - 1);
        if let Some(part) = parts.get_mut(at) {
            part.push(rollout);
        }
    }
    parts.into_iter()
}

fn number(value: Value) -> Option<f64> {
    match value {
        Value::PerDay(v) | Value::Ratio(v) | Value::Millis(v) => Some(v),
        Value::Absent(_) => None,
    }
}
