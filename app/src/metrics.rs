//! Delivery metrics in words.

use dora::{Absent, Metric, SMALL_SAMPLE, Tile, Value};
use projections::say;

/// A value as it is shown: `2.4 / day`, `3.5 / week`, `2 / month`, `8.3 %`, `41 s`, `n/a`.
pub fn value(value: Value) -> String {
    match value {
        Value::PerDay(0.0) => "none".to_owned(),
        // In the shortest time that has at least one.
        Value::PerDay(v) if v < 1.0 / 7.0 => often(v * 30.0, "month"),
        Value::PerDay(v) if v < 1.0 => often(v * 7.0, "week"),
        Value::PerDay(v) => often(v, "day"),
        Value::Ratio(v) if v > 0.0 && v < 0.1 => format!("{:.1} %", v * 100.0),
        Value::Ratio(v) => format!("{:.0} %", v * 100.0),
        // A length of time is far below what the cast could not hold.
        Value::Millis(v) => say::duration(v.round() as i64),
        Value::Absent(_) => "n/a".to_owned(),
    }
}

/// `2 / month`, `3.5 / week`, `333 / day`.
fn often(times: f64, per: &str) -> String {
    let said = if times < 9.95 { format!("{times:.1}") } else { format!("{times:.0}") };
    format!("{} / {per}", said.trim_end_matches(".0"))
}

/// The two lines under a value: what was counted, and what to keep in mind.
pub fn notes(tile: &Tile, days: u32) -> (String, String) {
    if let Value::Absent(why) = tile.value {
        return (why.why().to_owned(), then(why).to_owned());
    }
    let small = if tile.n < SMALL_SAMPLE { "small sample" } else { "" };
    match tile.metric {
        Metric::Deployments => {
            (format!("{} in {days} days", say::count(tile.k)), say::plural(tile.services, "service", "services"))
        }
        Metric::TimeToRestore if tile.left_out > 0 => (
            format!("{} of {} failures", say::count(tile.k), say::count(tile.n)),
            "the others were not timed".to_owned(),
        ),
        Metric::TimeToRestore => {
            (format!("median of {}", say::plural(tile.k, "failure", "failures")), small.to_owned())
        }
        _ => (format!("{} of {}", say::count(tile.k), say::count(tile.n)), small.to_owned()),
    }
}

/// What to do about a value that is not there.
fn then(why: Absent) -> &'static str {
    match why {
        Absent::NoRollouts => "in these days",
        Absent::NoFailures => "nothing to restore",
        Absent::NoClock => "by the data plane",
        Absent::NoChangeSource | Absent::NoIncidentSource => "is connected",
    }
}

/// The line of a spark line in a box of 90 by 22: an SVG path with gaps, and dots where a part stands alone. One value is no
/// course: it draws nothing.
pub fn spark(parts: &[Option<f64>]) -> String {
    use std::fmt::Write as _;
    if parts.iter().flatten().filter(|v| v.is_finite()).nth(1).is_none() {
        return String::new();
    }
    let top = parts.iter().flatten().copied().fold(0.0_f64, f64::max);
    let step = 88.0 / (parts.len().max(2) - 1) as f64;
    let mut path = String::new();
    let mut joined = false;
    for (i, part) in parts.iter().enumerate() {
        let Some(v) = part.filter(|v| v.is_finite()) else {
            joined = false;
            continue;
        };
        let (x, y) = (1.0 + i as f64 * step, 20.0 - if top > 0.0 { v / top * 18.0 } else { 0.0 });
        let alone = !joined && parts.get(i + 1).copied().flatten().is_none();
        let word = if joined { 'L' } else { 'M' };
        // Writing into a string cannot fail.
        let _ = write!(path, "{word}{x:.1} {y:.1}");
        if alone {
            path.push_str("h.1");
        }
        joined = true;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (v, said) in [
            (Value::PerDay(0.0), "none"),
            (Value::PerDay(1.0 / 30.0), "1 / month"),
            (Value::PerDay(1.0 / 15.0), "2 / month"),
            (Value::PerDay(4.0 / 30.0), "4 / month"),
            (Value::PerDay(5.0 / 30.0), "1.2 / week"),
            (Value::PerDay(0.5), "3.5 / week"),
            (Value::PerDay(29.0 / 30.0), "6.8 / week"),
            (Value::PerDay(1.0), "1 / day"),
            (Value::PerDay(2.4), "2.4 / day"),
            (Value::PerDay(9.96), "10 / day"),
            (Value::PerDay(333.3), "333 / day"),
            (Value::Ratio(0.0), "0 %"),
            (Value::Ratio(0.0833), "8.3 %"),
            (Value::Ratio(0.6), "60 %"),
            (Value::Millis(41_000.4), "41 s"),
            (Value::Absent(Absent::NoRollouts), "n/a"),
        ] {
            assert_eq!(value(v), said);
        }
    }

    #[test]
    fn spark_lines_keep_their_gaps() {
        assert_eq!(spark(&[]), "");
        assert_eq!(spark(&[None, None]), "");
        assert_eq!(spark(&[Some(0.0), Some(1.0), None]), "M1.0 20.0L45.0 2.0");
        assert_eq!(spark(&[Some(2.0), None, Some(1.0)]), "M1.0 2.0h.1M89.0 11.0h.1");
        assert_eq!(spark(&[Some(f64::NAN), Some(1.0)]), "");
        assert_eq!(spark(&[None, Some(1.0), None]), "", "one value is no course");
    }
}
