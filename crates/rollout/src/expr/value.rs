//! Values of expressions.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// Text.
    Str(Arc<str>),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A map.
    Map(Arc<BTreeMap<String, Value>>),
    /// A time, in ms from now.
    Time(i64),
    /// A duration, ms.
    Duration(i64),
}

impl Value {
    /// From JSON, as Go decodes it: every number is a float. With `special_numbers` the texts `NaN`, `+Inf` and `-Inf` are numbers.
    pub fn from_json(value: &serde_json::Value, special_numbers: bool) -> Self {
        match value {
            serde_json::Value::Null => Self::Nil,
            serde_json::Value::Bool(b) => Self::Bool(*b),
            serde_json::Value::Number(n) => Self::Float(n.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(s) => match s.as_str() {
                "NaN" if special_numbers => Self::Float(f64::NAN),
                "+Inf" | "Inf" if special_numbers => Self::Float(f64::INFINITY),
                "-Inf" if special_numbers => Self::Float(f64::NEG_INFINITY),
                s => Self::Str(s.into()),
            },
            serde_json::Value::Array(list) => {
                Self::list(list.iter().map(|v| Self::from_json(v, special_numbers)).collect())
            }
            serde_json::Value::Object(map) => {
                Self::Map(Arc::new(map.iter().map(|(k, v)| (k.clone(), Self::from_json(v, special_numbers))).collect()))
            }
        }
    }

    pub(super) fn list(values: Vec<Self>) -> Self {
        Self::List(Arc::new(values))
    }

    /// Go's name of the type, as errors have it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Time(_) => "time.Time",
            Self::Duration(_) => "time.Duration",
        }
    }

    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(i) => Some(*i as f64),
            Self::Float(f) => Some(*f),
            _ => None,
        }
    }

    /// expr's equality: numbers by value whatever their type, everything else within its type. `None` for types that do not compare.
    pub(super) fn equals(&self, other: &Self) -> Option<bool> {
        Some(match (self, other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Nil, Self::Nil) => true,
            (Self::Nil, _) | (_, Self::Nil) => false,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Time(a), Self::Time(b)) | (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.equals(b) == Some(true))
            }
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|((k, a), (l, b))| k == l && a.equals(b) == Some(true))
            }
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => a == b,
                _ => return None,
            },
        })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("null"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(i) => write!(f, "{i}"),
            Self::Float(x) => write!(f, "{x}"),
            Self::Str(s) => write!(f, "{s:?}"),
            Self::Time(ms) => write!(f, "now{ms:+}ms"),
            Self::Duration(ms) => write!(f, "{ms}ms"),
            Self::List(list) => {
                f.write_str("[")?;
                // Only what is shown is written: a list may have thousands of values.
                for (i, value) in list.iter().take(40).enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{value}")?;
                }
                f.write_str(if list.len() > 40 { ",…]" } else { "]" })
            }
            Self::Map(map) => {
                f.write_str("{")?;
                for (i, (key, value)) in map.iter().take(40).enumerate() {
                    if i > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{key:?}:{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}
