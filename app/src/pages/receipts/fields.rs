//! The facts of a receipt as names and values, decided without a component.

use model::{Digest, Timestamp};
use projections::say;
use serde_json::Value;

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
    /// Structured: as JSON.
    Json(String),
}

/// Largest structured fact that is shown in place; larger ones stand in the raw JSON.
const MAX_JSON: usize = 4_000;

/// Names and values in the order of the payload. The engine's own record is left to the raw JSON: the facts beside it say the same.
pub(super) fn facts(payload: &receipts::Payload) -> Vec<(String, Fact)> {
    payload
        .facts
        .iter()
        .filter(|(name, _)| *name != "transition")
        .map(|(name, value)| (name.replace('_', " "), fact(name, value)))
        .collect()
}

fn fact(name: &str, value: &Value) -> Fact {
    match value {
        Value::Null => Fact::Text("none".to_owned()),
        Value::Bool(b) => Fact::Text(if *b { "yes" } else { "no" }.to_owned()),
        Value::Number(n) => Fact::Text(number(name, n)),
        Value::String(s) if s.is_empty() => Fact::Text("none".to_owned()),
        Value::String(s) => match (s.parse::<Digest>(), s.parse::<Timestamp>()) {
            (Ok(d), _) => Fact::Digest(d),
            (_, Ok(t)) => Fact::Time(t),
            _ if s.len() >= 32 && s.bytes().all(|b| b.is_ascii_hexdigit()) => Fact::Hash(s.clone()),
            _ => Fact::Text(s.clone()),
        },
        Value::Array(all) if all.iter().all(Value::is_string) => {
            let words: Vec<&str> = all.iter().filter_map(Value::as_str).collect();
            Fact::Text(if words.is_empty() { "none".to_owned() } else { words.join(", ") })
        }
        Value::Array(all) if !all.is_empty() && all.iter().all(|v| pair(v).is_some()) => {
            Fact::Text(all.iter().filter_map(pair).collect::<Vec<_>>().join(", "))
        }
        Value::Object(all) if !all.is_empty() && all.len() <= MAX_INLINE && all.values().all(plain) => {
            let said = |(name, value): (&String, &Value)| match fact(name, value) {
                Fact::Text(text) => format!("{} {text}", name.replace('_', " ")),
                _ => String::new(),
            };
            Fact::Text(all.iter().map(said).filter(|s| !s.is_empty()).collect::<Vec<_>>().join(", "))
        }
        Value::Array(_) | Value::Object(_) => {
            let json = serde_json::to_string_pretty(value).unwrap_or_default();
            if json.len() > MAX_JSON { Fact::Text("see the raw JSON".to_owned()) } else { Fact::Json(json) }
        }
    }
}

/// Names of an object that still reads as a line: what was counted in a window has five.
const MAX_INLINE: usize = 8;

/// A value that is short text.
fn plain(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(s) => s.len() <= 32 && matches!(fact("", value), Fact::Text(_)),
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
        None => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_shown_by_what_they_are() {
        let long = "x".repeat(MAX_JSON);
        for (name, json, shown) in [
            ("a", "null", Fact::Text("none".into())),
            ("a", "true", Fact::Text("yes".into())),
            ("took_ms", "108000", Fact::Text("1 m 48 s".into())),
            ("weight", "5", Fact::Text("5 %".into())),
            ("n", "18204", Fact::Text("18,204".into())),
            ("n", "-3", Fact::Text("-3".into())),
            ("n", "0.25", Fact::Text("0.25".into())),
            ("a", "\"\"", Fact::Text("none".into())),
            ("a", "[\"x\",\"y\"]", Fact::Text("x, y".into())),
            ("ranges", "[[1,9],[12,12]]", Fact::Text("1 to 9, 12".into())),
            ("a", "[[1,9],7]", Fact::Json("[\n  [\n    1,\n    9\n  ],\n  7\n]".into())),
            ("a", "[]", Fact::Text("none".into())),
            ("a", "{\"n\":1488,\"p99_x\":205.5,\"e\":null}", Fact::Text("e none, n 1,488, p99 x 205.5".into())),
            ("a", "{\"b\":{\"c\":1}}", Fact::Json("{\n  \"b\": {\n    \"c\": 1\n  }\n}".into())),
            ("a", &format!("{{\"b\":\"{long}\"}}"), Fact::Text("see the raw JSON".into())),
        ] {
            assert_eq!(fact(name, &serde_json::from_str(json).unwrap()), shown, "{json}");
        }
        let digest = format!("sha256:{}", "ab".repeat(32));
        assert!(matches!(fact("d", &Value::String(digest)), Fact::Digest(_)));
        assert!(matches!(fact("t", &Value::String("2026-05-07T14:06:32.000Z".into())), Fact::Time(_)));
    }
}
