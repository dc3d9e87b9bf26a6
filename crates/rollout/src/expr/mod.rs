//! Conditions in expr-lang (github.com/expr-lang/expr, as Argo Rollouts embeds it), bounded and without side effects.
//!
//! What Argo's environment has: `result`, `asInt`, `asFloat`, `isNaN`, `isInf`, `isNil`, `default`, and the language's own operators and
//! functions over numbers, strings, lists and maps. A condition must give a bool; everything else is an error, never false.
//!
//! Why not the crate `expr-lang` 2.1: it has no limit of steps or depth, its `max`/`min` take NaN for equal to everything, and
//! it switches on `serde_json/preserve_order` for the whole program. `matches` (regular expressions), `let` and pipes are refused by name.

mod eval;
mod functions;
mod parser;
mod value;

pub use value::Value;

use eval::Evaluator;

/// Longest expression, bytes: the longest in Argo's examples and documents has 90.
pub const MAX_LEN: usize = 4_096;

/// Deepest nesting: far beyond what a person reads, far below what a stack holds.
pub const MAX_DEPTH: usize = 64;

/// Most evaluation steps: an answer of 11,000 values looked at by a predicate of nine operations.
pub const MAX_STEPS: u32 = 100_000;

/// Whether the condition holds for this result. The error is a sentence, as expr words it where it has one.
pub fn condition(text: &str, result: &Value) -> Result<bool, String> {
    match Evaluator::new(result).run(&parser::parse(text)?)? {
        Value::Bool(holds) => Ok(holds),
        other => Err(format!("expected bool, but got {}", other.type_name())),
    }
}

/// Whether the text is a condition that can be evaluated at all: syntax, names and numbers of arguments.
pub fn check(text: &str) -> Result<(), String> {
    parser::parse(text).map(|_| ())
}

/// How long before now the time is that this expression gives, ms: `now() - duration("10m")` is 600,000.
pub fn ms_ago(text: &str) -> Result<i64, String> {
    match Evaluator::new(&Value::Nil).run(&parser::parse(text)?)? {
        Value::Time(ms) => Ok(-ms),
        other => Err(format!("expected time.Time, but got {}", other.type_name())),
    }
}

/// The value for people: as JSON, at most 200 characters.
pub fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// True for nothing and for an empty list: what a query without data gives.
pub fn is_nil_or_empty(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::List(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
