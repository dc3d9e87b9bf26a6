//! The facts of a receipt as names and values, decided without a component.

use model::{Digest, Timestamp};
use projections::say;
use serde_json::Value;

use super::names::{said, verdict};

/// A fact, by how it is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fact {
    /// Text as it is.
    Text(String),
    /// A digest.
    Digest(Digest),
    /// A hash.
    Hash(String),
    /// A time.
    Time(Timestamp),
    /// Names and values.
    List(Vec<(String, Fact)>),
    /// Heads, and a row for each thing.
    Table(Vec<String>, Vec<Vec<Fact>>),
    /// What is nested deeper or has another form: as JSON.
    Json(String),
}

/// Largest structured fact that is shown in place; larger ones stand in the raw JSON.
const MAX_JSON: usize = 4_000;
/// How deep facts are shown within a fact: below that nobody sees what belongs to what.
const MAX_DEPTH: usize = 3;
/// Columns of a table that fits beside the checks.
const MAX_COLUMNS: usize = 5;

/// Names and values in the order of the payload. The engine's own record is left to the raw JSON: the facts beside it say the same.
pub(super) fn facts(payload: &receipts::Payload) -> Vec<(String, Fact)> {
    payload
        .facts
        .iter()
        .filter(|(name, _)| *name != "transition")
        .map(|(name, value)| (said(name), fact(name, value, MAX_DEPTH)))
        .collect()
}

fn fact(name: &str, value: &Value, depth: usize) -> Fact {
    match value {
        Value::Null => Fact::Text("none".to_owned()),
        Value::Bool(b) => Fact::Text(if *b { "yes" } else { "no" }.to_owned()),
        Value::Number(n) => Fact::Text(number(name, n)),
        Value::String(s) if s.is_empty() => Fact::Text("none".to_owned()),
        Value::String(s) => match (s.parse::<Digest>(), s.parse::<Timestamp>()) {
            (Ok(d), _) => Fact::Digest(d),
            (_, Ok(t)) => Fact::Time(t),
            _ if s.len() >= 32 && s.bytes().all(|b| b.is_ascii_hexdigit()) => Fact::Hash(s.clone()),
            _ => Fact::Text(verdict(s).filter(|_| name == "said").map_or_else(|| s.clone(), str::to_owned)),
        },
        Value::Array(all) if all.is_empty() => Fact::Text("none".to_owned()),
        Value::Object(all) if all.is_empty() => Fact::Text("none".to_owned()),
        Value::Array(all) if all.iter().all(|v| !v.is_array() && !v.is_object()) => {
            let word = |v: &Value| match (v.as_str(), fact(name, v, 0)) {
                (None, Fact::Text(text)) => text,
                (said, _) => said.unwrap_or_default().to_owned(),
            };
            Fact::Text(all.iter().map(word).collect::<Vec<_>>().join(", "))
        }
        Value::Array(all) if all.iter().all(|v| pair(v).is_some()) => {
            Fact::Text(all.iter().filter_map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::Object(all) if all.len() <= MAX_INLINE && all.values().all(plain) => {
            let said = |(name, value): (&String, &Value)| match fact(name, value, 0) {
                Fact::Text(text) => format!("{} {text}", said(name)),
                _ => String::new(),
            };
            Fact::Text(all.iter().map(said).filter(|s| !s.is_empty()).collect::<Vec<_>>().join(", "))
        }
        Value::Array(_) | Value::Object(_) => {
            let json = serde_json::to_string_pretty(value).unwrap_or_default();
            match depth.checked_sub(1) {
                _ if json.len() > MAX_JSON => Fact::Text("see the raw JSON".to_owned()),
                None => Fact::Json(json),
                Some(depth) => nested(name, value, depth).unwrap_or(Fact::Json(json)),
            }
        }
    }
}

/// Names and values of an object; of several objects of one form a table, or one after the other where its cells would not be short.
fn nested(name: &str, value: &Value, depth: usize) -> Option<Fact> {
    if let Some(all) = value.as_object() {
        return Some(Fact::List(all.iter().map(|(name, value)| (said(name), fact(name, value, depth))).collect()));
    }
    let all = value.as_array()?;
    let heads: Vec<&String> = all.first()?.as_object()?.keys().collect();
    let mut rows = Vec::new();
    for one in all {
        let one = one.as_object()?;
        rows.push(one.iter().map(|(name, value)| fact(name, value, 0)).collect::<Vec<_>>());
    }
    let same = all.iter().all(|one| one.as_object().is_some_and(|one| one.keys().eq(heads.iter().copied())));
    // What was counted in a window is a line of its own, too long for a cell.
    let short = !all.iter().filter_map(Value::as_object).flat_map(|one| one.values()).any(Value::is_object);
    if same && short && heads.len() <= MAX_COLUMNS && !rows.iter().flatten().any(|cell| matches!(cell, Fact::Json(_))) {
        return Some(Fact::Table(heads.into_iter().map(|name| said(name)).collect(), rows));
    }
    Some(Fact::List((1..).map(|n: u32| n.to_string()).zip(all.iter().map(|one| fact(name, one, depth))).collect()))
}

/// Names of an object that still reads as a line: what was counted in a window has five.
const MAX_INLINE: usize = 8;

/// A value that is short text.
fn plain(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(s) => s.len() <= 32 && matches!(fact("", value, 0), Fact::Text(_)),
        Value::Array(_) | Value::Object(_) => false,
    }
}

/// A range of indices.
fn pair(value: &Value) -> Option<String> {
    match value.as_array()?.as_slice() {
        [from, to] => {
            let (from, to) = (from.as_u64()?, to.as_u64()?);
            Some(if from == to { say::count(from) } else { format!("{} to {}", say::count(from), say::count(to)) })
        }
        _ => None,
    }
}

fn number(name: &str, n: &serde_json::Number) -> String {
    match n.as_i64() {
        Some(ms) if name.ends_with("_ms") => say::duration(ms),
        Some(w) if name == "weight" || name == "from_weight" => format!("{w} %"),
        Some(i) => u64::try_from(i).map_or_else(|_| i.to_string(), say::count),
        None => n.as_f64().map_or_else(|| n.to_string(), readable),
    }
}

/// With four digits that count; all of them are in the raw JSON. What is very large or very small keeps its power of ten: a small chance is
/// not none.
fn readable(n: f64) -> String {
    const DIGITS: i32 = 4;
    if n != 0.0 && !(1e-5..1e9).contains(&n.abs()) {
        return format!("{n:.2e}");
    }
    let before = if n == 0.0 { 1 } else { n.abs().log10().floor() as i32 + 1 };
    let said = format!("{n:.*}", usize::try_from(DIGITS - before).unwrap_or(0).min(9));
    if said.contains('.') { said.trim_end_matches('0').trim_end_matches('.').to_owned() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_shown_by_what_they_are() {
        let long = "x".repeat(MAX_JSON);
        let text = |said: &str| Fact::Text(said.to_owned());
        for (name, json, shown) in [
            ("a", "null", Fact::Text("none".into())),
            ("a", "true", Fact::Text("yes".into())),
            ("took_ms", "108000", Fact::Text("1 m 48 s".into())),
            ("weight", "5", Fact::Text("5 %".into())),
            ("n", "18204", Fact::Text("18,204".into())),
            ("n", "-3", Fact::Text("-3".into())),
            ("n", "0.25", Fact::Text("0.25".into())),
            ("mean", "183.28934224598927", Fact::Text("183.3".into())),
            ("ln", "-0.5003683820057082", Fact::Text("-0.5004".into())),
            ("n", "123456.7", Fact::Text("123457".into())),
            ("n", "0.0", Fact::Text("0".into())),
            ("p", "1e-30", Fact::Text("1.00e-30".into())),
            ("n", "-1.5e300", Fact::Text("-1.50e300".into())),
            ("p", "0.00001234", Fact::Text("0.00001234".into())),
            ("a", "\"\"", Fact::Text("none".into())),
            ("a", "[\"x\",\"y\"]", Fact::Text("x, y".into())),
            ("ranges", "[[1,9],[12,12]]", Fact::Text("1 to 9, 12".into())),
            ("a", "[[1,9],7]", Fact::Json("[\n  [\n    1,\n    9\n  ],\n  7\n]".into())),
            ("a", "[]", Fact::Text("none".into())),
            ("a", "{\"n\":1488,\"p99_x\":205.5,\"e\":null}", Fact::Text("e none, requests 1,488, p99 x 205.5".into())),
            ("said", "\"unrefuted\"", Fact::Text("it is not stopped (unrefuted)".into())),
            ("p99_ratio", "[0.95,null]", Fact::Text("0.95, none".into())),
            ("tag", "\"certified\"", Fact::Text("certified".into())),
            ("a", "{}", Fact::Text("none".into())),
            ("a", "{\"b\":{\"c_d\":1}}", Fact::List(vec![("b".into(), text("c d 1"))])),
            (
                "a",
                "[{\"what\":\"x\",\"met\":true},{\"what\":\"y\",\"met\":false}]",
                // Names stand in the order of the alphabet.
                Fact::Table(
                    vec!["met".into(), "what".into()],
                    vec![vec![text("yes"), text("x")], vec![text("no"), text("y")]],
                ),
            ),
            // One has a name that the other has not.
            (
                "a",
                "[{\"w\":1},{\"w\":1,\"v\":2}]",
                Fact::List(vec![("1".into(), text("w 1")), ("2".into(), text("v 2, w 1"))]),
            ),
            // One has what does not fit into a cell.
            (
                "a",
                "[{\"w\":{\"n\":1,\"rate\":2}}]",
                Fact::List(vec![("1".into(), Fact::List(vec![("w".into(), text("requests 1, rate 2"))]))]),
            ),
            // Deeper than anybody reads.
            (
                "a",
                "{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":1}}}}}",
                Fact::List(vec![(
                    "b".into(),
                    Fact::List(vec![(
                        "c".into(),
                        Fact::List(vec![("d".into(), Fact::Json("{\n  \"e\": {\n    \"f\": 1\n  }\n}".into()))]),
                    )]),
                )]),
            ),
            ("a", &format!("{{\"b\":\"{long}\"}}"), Fact::Text("see the raw JSON".into())),
        ] {
            assert_eq!(fact(name, &serde_json::from_str(json).unwrap(), MAX_DEPTH), shown, "{json}");
        }
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert!(matches!(fact("d", &Value::String(digest), 0), Fact::Digest(_)));
        assert!(matches!(fact("t", &Value::String("2026-05-07T14:06:32.000Z".into()), 0), Fact::Time(_)));
    }
}
