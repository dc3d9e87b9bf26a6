//! RFC 8785 (JCS): the one byte string that a payload has.
//!
//! JCS writes every number as an IEEE 754 double. Whatever a double cannot carry exactly is refused rather than rounded:
//! integers beyond 2^53−1 belong into strings, NaN and infinities have no JSON form.

use serde::Serialize;
use serde_json::Value;

use crate::{MAX_PAYLOAD, Payload, payload::COMMON};

/// Largest magnitude of an integer that every JSON reader reads exactly: 2^53 − 1 (RFC 7493 section 2.2).
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Nesting of a payload: facts are flat; lists of small objects inside a nested object need four. More is a mistake.
pub const MAX_DEPTH: usize = 16;

/// A payload that has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A double cannot carry it exactly.
    #[error("{path} is the integer {value}: beyond 2^53-1 an integer must be written as a string")]
    Integer {
        /// Where it is, e.g. `facts.bytes[3]`.
        path: String,
        /// The number.
        value: String,
    },
    /// NaN or infinite, or otherwise without a JSON form.
    #[error("a value has no JSON form: {0}")]
    NoJson(String),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("{0} is nested deeper than {MAX_DEPTH}")]
    Depth(String),
    /// A fact has the name of a common field.
    #[error("a fact has the name {0:?} of a common field")]
    Reserved(String),
    /// Longer than [`MAX_PAYLOAD`].
    #[error("{0} bytes are more than the {MAX_PAYLOAD} of a payload: put the large part into a segment")]
    TooLarge(usize),
}

/// The canonical bytes of a payload: what is signed.
pub fn canonical_bytes(payload: &Payload) -> Result<Vec<u8>, CanonicalError> {
    if let Some(name) = COMMON.into_iter().find(|name| payload.facts.contains_key(*name)) {
        return Err(CanonicalError::Reserved(name.to_owned()));
    }
    for (name, value) in &payload.facts {
        check(value, name, 1)?;
    }
    check_float("joules", payload.joules.unwrap_or(0.0))?;
    if let Some(energy) = &payload.energy {
        for (name, value) in [("energy.cpu_time_us", energy.cpu_time_us), ("energy.wall_us", energy.wall_us)] {
            check_integer(name, value > MAX_SAFE_INTEGER, value)?;
        }
        for value in [energy.joules, energy.low, energy.high, energy.idle_joules.unwrap_or(0.0)] {
            check_float("energy", value)?;
        }
    }
    let bytes = canonical_json(payload)?;
    if bytes.len() > MAX_PAYLOAD { Err(CanonicalError::TooLarge(bytes.len())) } else { Ok(bytes) }
}

/// The canonical bytes of any value. Refuses NaN and infinities; integers are the caller's care.
pub(crate) fn canonical_json(value: &impl Serialize) -> Result<Vec<u8>, CanonicalError> {
    serde_json_canonicalizer::to_vec(value).map_err(|error| CanonicalError::NoJson(error.to_string()))
}

fn check(value: &Value, path: &str, depth: usize) -> Result<(), CanonicalError> {
    if depth > MAX_DEPTH {
        return Err(CanonicalError::Depth(path.chars().take(200).collect()));
    }
    match value {
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(n), ..) => check_integer(path, n > MAX_SAFE_INTEGER, n),
            (_, Some(n), _) => check_integer(path, n.unsigned_abs() > MAX_SAFE_INTEGER, n),
            (_, _, Some(n)) => check_float(path, n),
            _ => Err(CanonicalError::NoJson(format!("{path} is {number}"))),
        },
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(at, item)| check(item, &format!("{path}[{at}]"), depth + 1))
        }
        Value::Object(fields) => {
            fields.iter().try_for_each(|(name, field)| check(field, &format!("{path}.{name}"), depth + 1))
        }
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
    }
}

/// JCS writes a double below 10^21 without exponent: a whole one beyond 2^53 would be read back as an integer.
fn check_float(path: &str, value: f64) -> Result<(), CanonicalError> {
    if !value.is_finite() {
        return Err(CanonicalError::NoJson(format!("{path} is {value}")));
    }
    check_integer(path, (MAX_SAFE_INTEGER as f64 + 0.5..1e21).contains(&value.abs()), value)
}

fn check_integer(path: &str, refuse: bool, value: impl ToString) -> Result<(), CanonicalError> {
    if refuse { Err(CanonicalError::Integer { path: path.to_owned(), value: value.to_string() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use model::{Actor, Energy, EnergyMethod, Kind, Timestamp};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn payload(facts: Value) -> Payload {
        Payload::new(
            Kind::FlagToggled,
            Timestamp::from_millis(1_778_162_792_045),
            "dana".parse::<Actor>().unwrap(),
            &facts,
        )
        .unwrap()
    }

    fn text(facts: Value) -> Result<String, CanonicalError> {
        canonical_bytes(&payload(facts)).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn keys_are_sorted_and_numbers_are_ecmascript() {
        assert_eq!(
            text(json!({"z": 1.0, "a": 1e21, "m": 0.000_000_1, "é": "\u{8}\n\"", "b": {"y": [], "x": null}})).unwrap(),
            "{\"a\":1e+21,\"actor\":\"dana\",\"b\":{\"x\":null,\"y\":[]},\"cite\":[],\"kind\":\"delivery.flag.toggled\",\"m\":1e-7,\
             \"time\":\"2026-05-07T14:06:32.045Z\",\"z\":1,\"é\":\"\\b\\n\\\"\"}"
        );
    }

    #[test]
    fn what_a_double_cannot_carry_is_refused() {
        let max = MAX_SAFE_INTEGER;
        for ok in [
            json!(max),
            json!(-(max as i64)),
            json!(max as f64),
            json!(1e21),
            json!(1e300),
            json!((max + 1).to_string()),
        ] {
            assert!(text(json!({ "n": ok })).is_ok());
        }
        for bad in [
            json!(max + 1),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(9.1e15),
            json!(-9.9e20),
            json!([{"deep": max + 1}]),
        ] {
            assert!(matches!(text(json!({ "n": bad })), Err(CanonicalError::Integer { .. })), "{bad}");
        }
        let mut deep = json!(1);
        for _ in 0..MAX_DEPTH {
            deep = json!([deep]);
        }
        assert!(matches!(text(json!({ "n": deep })), Err(CanonicalError::Depth(_))));
        assert!(matches!(text(json!({ "n": "x".repeat(MAX_PAYLOAD) })), Err(CanonicalError::TooLarge(_))));
    }

    #[test]
    fn nan_and_reserved_names_are_refused() {
        let energy = |joules| Energy {
            joules,
            low: 0.0,
            high: 0.0,
            method: EnergyMethod::ModelCpuTime,
            scope: "cpu".to_owned(),
            coefficient: None,
            cpu_time_us: 1,
            wall_us: 1,
            idle_joules: None,
        };
        for joules in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let refused = canonical_bytes(&payload(json!({})).energy(energy(joules)));
            assert!(matches!(refused, Err(CanonicalError::NoJson(_))), "{joules}");
        }
        for stats in [
            model::event::WindowStats { p99_ms: Some(f64::NAN), ..Default::default() },
            model::event::WindowStats { sigma_ms: Some(f64::INFINITY), ..Default::default() },
        ] {
            let dana = || "dana".parse::<Actor>().unwrap();
            assert!(Payload::new(Kind::FlagToggled, Timestamp::default(), dana(), &stats).is_err());
            let deep = std::collections::BTreeMap::from([("deep", vec![Some(stats)])]);
            assert!(Payload::new(Kind::FlagToggled, Timestamp::default(), dana(), &deep).is_err());
        }
        let mut reserved = payload(json!({}));
        reserved.facts.insert("sig".to_owned(), json!("ed25519:0x00"));
        assert_eq!(canonical_bytes(&reserved), Err(CanonicalError::Reserved("sig".to_owned())));
    }

    proptest! {
        // Whatever a double is: refused, or read back to the last bit. Reading what was written gives the same value and, canonicalised again, the same bytes.
        #[test]
        fn canonical_form_is_a_fixed_point(a in prop_oneof![any::<f64>().prop_filter("finite", |f| f.is_finite()), -1e22..1e22, -1e3..1e3], b in "\\PC{0,20}", c in -(1_i64 << 52)..1_i64 << 52) {
            let written = canonical_bytes(&payload(json!({"a": a, "b": b, "c": c})));
            if (9.1e15..1e21).contains(&a.abs()) {
                prop_assert!(written.is_err());
                return Ok(());
            }
            let Ok(bytes) = written else { return Err(TestCaseError::fail("refused")) };
            let read: Payload = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(read.facts["a"].as_f64().unwrap().to_bits(), (a + 0.0).to_bits());
            prop_assert_eq!(canonical_bytes(&read).unwrap(), bytes);
        }
    }
}
