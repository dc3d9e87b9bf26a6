//! The shape of a document as a table: which fields must be there, of which type, with which words.
//!
//! A field that is known and has another type, or a word that is not known, makes the document unreadable, whether or not anything is
//! read from it: a report that its tool cannot have written proves nothing. Fields that are not known are left alone, so that a newer
//! version of a tool can add some; except in the few objects that are [`Shape::Closed`].

use serde_json::Value;

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Anything: free-form by the format's own words.
    Any,
    /// Text.
    Text,
    /// Text that is not empty.
    Name,
    /// A number.
    Number,
    /// A whole number.
    Whole,
    /// True or false.
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Exactly this whole number.
    Exactly(u64),
    /// A list.
    List(&'static Shape),
    /// A list with at least one element.
    Some(&'static Shape),
    /// An object whose keys are free.
    Map(&'static Shape),
    /// An object.
    Object(&'static [Field]),
    /// An object with no other fields than these: where a finding would be lost with a field whose name is spelled in another way.
    Closed(&'static [Field]),
    /// Null or this.
    Null(&'static Shape),
}

/// A field of an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    name: &'static str,
    required: bool,
    shape: Shape,
}

/// A field that must be there.
pub(crate) const fn must(name: &'static str, shape: Shape) -> Field {
    Field { name, required: true, shape }
}

/// A field that may be left out.
pub(crate) const fn may(name: &'static str, shape: Shape) -> Field {
    Field { name, required: false, shape }
}

impl Shape {
    /// Nothing when the value has this shape, else the place and what is wrong there.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let mut path = Vec::new();
        self.walk(value, &mut path).map_err(|what| {
            path.reverse();
            format!("{}: {what}", if path.is_empty() { "the document".to_owned() } else { path.concat() })
        })
    }

    /// The path is put together backwards, on the way out of an error.
    fn walk(&self, value: &Value, path: &mut Vec<String>) -> Result<(), String> {
        let is =
            |ok: bool, expected: &str| if ok { Ok(()) } else { Err(format!("{} instead of {expected}", kind(value))) };
        match self {
            Self::Any => Ok(()),
            Self::Text => is(value.is_string(), "text"),
            Self::Name => is(value.as_str().is_some_and(|text| !text.trim().is_empty()), "a text that is not empty"),
            Self::Number => is(value.is_number(), "a number"),
            Self::Whole => is(value.is_i64() || value.is_u64(), "a whole number"),
            Self::Flag => is(value.is_boolean(), "true or false"),
            Self::Word(words) => match value.as_str() {
                Some(word) if words.contains(&word) => Ok(()),
                Some(word) => Err(format!("{:?} is not one of {}", cut(word), words.join(", "))),
                None => Err(format!("{} instead of one of {}", kind(value), words.join(", "))),
            },
            Self::Exactly(n) => is(value.as_u64() == Some(*n), &n.to_string()),
            Self::Null(_) if value.is_null() => Ok(()),
            Self::Null(shape) => shape.walk(value, path),
            Self::List(shape) => list(shape, value, path),
            Self::Some(shape) => match value.as_array() {
                Some(found) if found.is_empty() => Err("an empty list".to_owned()),
                _ => list(shape, value, path),
            },
            Self::Map(shape) => {
                let object = value.as_object().ok_or_else(|| format!("{} instead of an object", kind(value)))?;
                object.iter().try_for_each(|(key, value)| below(format!(".{}", cut(key)), shape, value, path))
            }
            Self::Object(fields) | Self::Closed(fields) => {
                let object = value.as_object().ok_or_else(|| format!("{} instead of an object", kind(value)))?;
                if matches!(self, Self::Closed(_))
                    && let Some(key) = object.keys().find(|key| fields.iter().all(|field| field.name != key.as_str()))
                {
                    return Err(format!("the field {:?} is not known", cut(key)));
                }
                for field in *fields {
                    match object.get(field.name) {
                        Some(value) => below(format!(".{}", field.name), &field.shape, value, path)?,
                        None if field.required => return Err(format!("{:?} is missing", field.name)),
                        None => {}
                    }
                }
                Ok(())
            }
        }
    }
}

fn list(shape: &Shape, value: &Value, path: &mut Vec<String>) -> Result<(), String> {
    let list = value.as_array().ok_or_else(|| format!("{} instead of a list", kind(value)))?;
    list.iter().enumerate().try_for_each(|(i, value)| below(format!("[{i}]"), shape, value, path))
}

fn below(step: String, shape: &Shape, value: &Value, path: &mut Vec<String>) -> Result<(), String> {
    shape.walk(value, path).inspect_err(|_| path.push(step))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(text) if text.is_empty() => "an empty text",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Words from outside in a message: short, and harmless in a terminal.
fn cut(word: &str) -> String {
    word.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        const INNER: Shape =
            Shape::Object(&[must("level", Shape::Word(&["error", "note"])), may("line", Shape::Whole)]);
        const OUTER: Shape = Shape::Object(&[must("runs", Shape::Some(&INNER)), may("tag", Shape::Null(&Shape::Text))]);
        let check = |value: Value, expected: Option<&str>| {
            let found = OUTER.check(&value).err();
            match expected {
                None => assert_eq!(found, None, "{value}"),
                Some(expected) => assert!(found.as_deref().is_some_and(|f| f.contains(expected)), "{value}: {found:?}"),
            }
        };
        check(json!({"runs": [{"level": "note"}], "new": 1, "tag": null}), None);
        check(json!({"runs": []}), Some(".runs: an empty list"));
        check(json!({}), Some("\"runs\" is missing"));
        check(json!({"runs": [{"level": "note"}, {"level": "nota"}]}), Some(".runs[1].level: \"nota\" is not one of"));
        check(json!({"runs": [{"level": "note", "line": 1.5}]}), Some(".runs[0].line: a number instead of a whole"));
        check(json!({"runs": [{"line": 1}]}), Some(".runs[0]: \"level\" is missing"));
        const CLOSED: Shape = Shape::Closed(&[may("line", Shape::Whole)]);
        assert_eq!(CLOSED.check(&json!({"lime": 1})), Err("the document: the field \"lime\" is not known".to_owned()));
        check(json!([]), Some("the document: a list instead of an object"));
    }
}
