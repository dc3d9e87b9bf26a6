//! The part of Kubernetes' JSONPath that picks one value out of a document: `{$.data.ok}`, `{.items[0].value}`, `{$['a b'].*}`.
//!
//! Filters, slices, unions, recursive descent, `range` and several expressions in one template are refused by name, not ignored.

use serde_json::Value;

/// Longest expression.
const MAX_TEXT: usize = 1_024;

/// Most steps: deeper than any JSON document that the parser accepts.
const MAX_STEPS: usize = 128;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the jsonPath {text:?} is not usable at character {at}: {why}")]
pub struct JsonPathError {
    text: String,
    at: usize,
    why: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(i64),
    Any,
}

impl JsonPath {
    /// Parses; empty means the whole document.
    pub fn parse(text: &str) -> Result<Self, JsonPathError> {
        Parser { text, rest: text.trim(), steps: Vec::new() }.run()
    }

    /// The first value that it finds.
    pub fn first<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        pick(&self.0, document)
    }
}

fn pick<'a>(steps: &[Step], value: &'a Value) -> Option<&'a Value> {
    let Some((step, rest)) = steps.split_first() else { return Some(value) };
    match (step, value) {
        (Step::Name(name), Value::Object(map)) => pick(rest, map.get(name)?),
        (Step::Index(i), Value::Array(list)) => {
            let at = if *i < 0 { i.checked_add(i64::try_from(list.len()).ok()?)? } else { *i };
            pick(rest, list.get(usize::try_from(at).ok()?)?)
        }
        (Step::Any, Value::Array(list)) => list.iter().find_map(|v| pick(rest, v)),
        (Step::Any, Value::Object(map)) => map.values().find_map(|v| pick(rest, v)),
        _ => None,
    }
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a str,
    steps: Vec<Step>,
}

impl Parser<'_> {
    fn run(mut self) -> Result<JsonPath, JsonPathError> {
        if self.text.len() > MAX_TEXT {
            return Err(self.error("it is too long"));
        }
        if let Some(inner) = self.rest.strip_prefix('{') {
            let Some(inner) = inner.strip_suffix('}') else {
                return Err(self.error("the brace is not closed, or text follows it"));
            };
            self.rest = inner.trim();
        }
        self.rest = self.rest.strip_prefix('$').or_else(|| self.rest.strip_prefix('@')).unwrap_or(self.rest);
        while !self.rest.is_empty() {
            if self.steps.len() >= MAX_STEPS {
                return Err(self.error("it has too many steps"));
            }
            let step = self.step()?;
            self.steps.push(step);
        }
        Ok(JsonPath(self.steps))
    }

    fn step(&mut self) -> Result<Step, JsonPathError> {
        if self.rest.starts_with("..") {
            return Err(self.error("recursive descent (..) is not supported"));
        }
        if let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            if rest.is_empty() && self.steps.is_empty() {
                return Err(self.error("'.' needs a name; leave jsonPath out for the whole document"));
            }
            if let Some(rest) = rest.strip_prefix('*') {
                self.rest = rest;
                return Ok(Step::Any);
            }
            return self.name();
        }
        if let Some(rest) = self.rest.strip_prefix('[') {
            self.rest = rest;
            return self.bracket();
        }
        if self.steps.is_empty() { self.name() } else { Err(self.error("expected '.' or '['")) }
    }

    fn name(&mut self) -> Result<Step, JsonPathError> {
        let mut name = String::new();
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                // Kubernetes writes a dot within a name as `\.`.
                '\\' => name.extend(chars.next().map(|(_, c)| c)),
                '.' | '[' => {
                    end = at;
                    break;
                }
                c if c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':') => name.push(c),
                _ => return Err(self.error("a name has letters, digits, '_', '-', '/' and ':'; others go into ['…']")),
            }
        }
        if name.is_empty() {
            return Err(self.error("a name is missing"));
        }
        self.rest = &self.rest[end..];
        Ok(Step::Name(name))
    }

    fn bracket(&mut self) -> Result<Step, JsonPathError> {
        if let Some(quote) = self.rest.chars().next().filter(|c| matches!(c, '\'' | '"')) {
            let inner = &self.rest[1..];
            let Some(end) = inner.find(quote) else { return Err(self.error("the quote is not closed")) };
            let name = inner[..end].to_owned();
            let Some(rest) = inner[end + 1..].strip_prefix(']') else {
                return Err(self.error("expected ']'; unions are not supported"));
            };
            self.rest = rest;
            return Ok(Step::Name(name));
        }
        let Some(end) = self.rest.find(']') else { return Err(self.error("the bracket is not closed")) };
        let inner = self.rest[..end].trim();
        let step = if inner == "*" {
            Step::Any
        } else if inner.starts_with('?') {
            return Err(self.error("filters are not supported"));
        } else if inner.contains(':') || inner.contains(',') {
            return Err(self.error("slices and unions are not supported"));
        } else {
            match inner.parse() {
                Ok(i) => Step::Index(i),
                Err(_) => return Err(self.error("expected an index, '*' or a quoted name")),
            }
        };
        self.rest = &self.rest[end + 1..];
        Ok(step)
    }

    fn error(&self, why: &'static str) -> JsonPathError {
        let at = self.text.chars().count().saturating_sub(self.rest.chars().count());
        JsonPathError { text: self.text.chars().take(80).collect(), at, why }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, found: Option<Value>) {
        let document = json!({
            "data": {"ok": true, "successPercent": 0.95, "a b": 1, "a.b": 2},
            "items": [{"v": 1}, {"v": 2, "w": null}],
            "n": 7,
        });
        assert_eq!(JsonPath::parse(path).unwrap().first(&document).cloned(), found, "{path}");
    }

    #[test]
    fn picks() {
        check("{$.data.ok}", Some(json!(true)));
        check("{.data.successPercent}", Some(json!(0.95)));
        check("$.data.ok", Some(json!(true)));
        check("data.ok", Some(json!(true)));
        check(" { $.n } ", Some(json!(7)));
        check("{$.data['a b']}", Some(json!(1)));
        check("{$.data[\"a.b\"]}", Some(json!(2)));
        check(r"{$.data.a\.b}", Some(json!(2)));
        check("{$.items[0].v}", Some(json!(1)));
        check("{$.items[-1].v}", Some(json!(2)));
        check("{$.items[*].w}", Some(json!(null)));
        check("{$.items.*.w}", Some(json!(null)));
        check("{$.items[2]}", None);
        check("{$.items[-3]}", None);
        check("{$.nothing.here}", None);
        check("{$.n.x}", None);
    }

    #[test]
    fn the_whole_document() {
        for path in ["", "{$}", "$", "{}"] {
            assert_eq!(JsonPath::parse(path).unwrap().first(&json!([1])), Some(&json!([1])), "{path}");
        }
    }

    #[test]
    fn refuses_by_name() {
        for (path, says) in [
            ("{$..v}", "recursive descent"),
            ("{$.items[?(@.v==1)].v}", "filters"),
            ("{$.items[0:1]}", "slices"),
            ("{$.items[0,1]}", "unions"),
            ("{$['a','b']}", "unions"),
            ("{$.a", "brace"),
            ("{$.a} {$.b}", "others go into"),
            ("{$.items[x]}", "index"),
            ("{$.items[0}", "bracket"),
            ("{$['a]}", "quote"),
            ("{$.}", "'.' needs a name"),
            ("{$.a.}", "name is missing"),
            (&"a.".repeat(600), "too long"),
        ] {
            let error = JsonPath::parse(path).expect_err(path).to_string();
            assert!(error.contains(says), "{path}: {error}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(path in ".{0,40}") {
            if let Ok(path) = JsonPath::parse(&path) {
                path.first(&json!({"a": [1, {"b": 2}]}));
            }
        }
    }
}
