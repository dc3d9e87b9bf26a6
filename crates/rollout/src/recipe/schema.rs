//! Which fields there are, and of what type: walks a document and reports what does not fit, each with path and place.

use std::{collections::BTreeMap, sync::LazyLock};

use super::yaml::{Data, Node, Place};
use crate::lint::Severity;

/// The table; see its first lines.
const TABLE: &str = include_str!("schema.txt");

static TYPES: LazyLock<BTreeMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .map(|(name, fields)| (name, fields.split(' ').filter_map(Field::read).collect()))
        .collect()
});

struct Field {
    name: &'static str,
    required: bool,
    kind: &'static str,
}

impl Field {
    fn read(text: &'static str) -> Option<Self> {
        let (name, kind) = text.split_once('=')?;
        let required = name.ends_with('!');
        Some(Self { name: name.trim_end_matches('!'), required, kind })
    }
}

/// Something that does not fit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Misfit {
    pub(crate) severity: Severity,
    pub(crate) place: Place,
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// True when the table has this kind of document.
pub(crate) fn knows(kind: &str) -> bool {
    TYPES.contains_key(format!("kind:{kind}").as_str())
}

/// Checks a document of a known kind.
pub(crate) fn check(kind: &str, document: &Node) -> Vec<Misfit> {
    let mut walk = Walk { misfits: Vec::new() };
    walk.fields(document, &format!("kind:{kind}"), "", document.place);
    walk.misfits
}

struct Walk {
    misfits: Vec<Misfit>,
}

impl Walk {
    fn report(&mut self, place: Place, path: &str, message: String, hint: Option<String>) {
        self.misfits.push(Misfit { severity: Severity::Error, place, path: path.to_owned(), message, hint });
    }

    fn value(&mut self, node: &Node, kind: &str, path: &str) {
        if node.data == Data::Null || kind == "any" {
            return;
        }
        if let Some(item) = kind.strip_prefix('[').and_then(|k| k.strip_suffix(']')) {
            let Data::List(items) = &node.data else { return self.wrong_type(node, path, "a list") };
            for (i, node) in items.iter().enumerate() {
                self.value(node, item, &format!("{path}[{i}]"));
            }
            return;
        }
        if let Some(value) = kind.strip_prefix('{').and_then(|k| k.strip_suffix('}')) {
            let Data::Map(entries) = &node.data else { return self.wrong_type(node, path, "a map") };
            for (key, node) in entries {
                self.value(node, value, &format!("{path}.{}", key.name));
            }
            return;
        }
        match kind {
            "s" => self.text(node, path),
            "i" if node.int().is_none() => self.wrong_type(node, path, "a whole number"),
            "f" if node.float().is_none() => self.wrong_type(node, path, "a number"),
            "b" if node.bool().is_none() => self.wrong_type(node, path, "true or false"),
            "is" if !matches!(node.data, Data::Scalar(..)) => self.wrong_type(node, path, "a whole number or a text"),
            "q" => self.quantity(node, path),
            "t" if node.text().is_none_or(|t| t.parse::<model::Timestamp>().is_err()) => {
                self.wrong_type(node, path, "a time as in RFC 3339")
            }
            "i" | "f" | "b" | "is" | "t" => {}
            _ => self.fields(node, kind, path, node.place),
        }
    }

    fn fields(&mut self, node: &Node, kind: &str, path: &str, place: Place) {
        let Some(fields) = TYPES.get(kind) else { return };
        let Data::Map(entries) = &node.data else { return self.wrong_type(node, path, "a map") };
        let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        for (key, node) in entries {
            match fields.iter().find(|f| f.name == key.name) {
                Some(field) => self.value(node, field.kind, &join(&key.name)),
                None => {
                    let place = if key.place == Place::default() { node.place } else { key.place };
                    let message = format!("unknown field \"{}\"", join(&key.name));
                    self.report(place, &join(&key.name), message, nearest(&key.name, fields));
                }
            }
        }
        for field in fields.iter().filter(|f| f.required && node.get(f.name).is_none()) {
            self.report(place, &join(field.name), "Required value".to_owned(), None);
        }
    }

    fn wrong_type(&mut self, node: &Node, path: &str, expected: &str) {
        let found = match node.text() {
            Some(text) => format!("{} {text:?}", node.what()),
            None => node.what().to_owned(),
        };
        self.report(node.place, path, format!("must be {expected}, and is {found}"), None);
    }

    fn text(&mut self, node: &Node, path: &str) {
        if node.text().is_none() {
            return self.wrong_type(node, path, "a text");
        }
        if matches!(node.data, Data::Scalar(_, true)) && (node.float().is_some() || node.bool().is_some()) {
            self.misfits.push(Misfit {
                severity: Severity::Warning,
                place: node.place,
                path: path.to_owned(),
                message: format!("{} where a text is expected: some tools refuse it", node.what()),
                hint: Some(format!("quote it: \"{}\"", node.text().unwrap_or_default())),
            });
        }
    }

    fn quantity(&mut self, node: &Node, path: &str) {
        let Some(text) = node.text() else { return self.wrong_type(node, path, "a quantity") };
        if !is_quantity(text) {
            let message = format!(
                "Invalid value: {text:?}: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            );
            self.report(node.place, path, message, Some("write a number with a suffix, e.g. 64Mi or 250m".to_owned()));
        }
    }
}

/// Kubernetes' `resource.Quantity`: a number, then a suffix or an exponent.
fn is_quantity(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = digits.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(end);
    let is_number = number.chars().any(|c| c.is_ascii_digit()) && number.matches('.').count() <= 1;
    let is_exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|e| {
        !e.is_empty()
            && e.strip_prefix(['+', '-']).unwrap_or(e).chars().all(|c| c.is_ascii_digit())
            && e.ends_with(|c: char| c.is_ascii_digit())
    });
    is_number
        && (is_exponent
            || matches!(
                suffix,
                "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei"
            ))
}

/// The field that was probably meant: the same letters in another case, or one or two letters away.
fn nearest(name: &str, fields: &[Field]) -> Option<String> {
    let close = fields.iter().map(|f| (distance(&name.to_lowercase(), &f.name.to_lowercase()), f.name)).min()?;
    (close.0 <= 2 && close.0 < name.len()).then(|| format!("did you mean {}?", close.1))
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A key may be as long as the file; beyond the longest field there is nothing near.
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
        for (j, cb) in b.iter().enumerate() {
            let (left, up) = (row.get(j).copied().unwrap_or(0), row.get(j + 1).copied().unwrap_or(0));
            let best = (diagonal + usize::from(ca != *cb)).min(left + 1).min(up + 1);
            diagonal = up;
            if let Some(cell) = row.get_mut(j + 1) {
                *cell = best;
            }
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        for (name, fields) in TYPES.iter() {
            assert!(!fields.is_empty(), "{name} has no fields");
            for field in fields {
                let kind = field.kind.trim_matches(['[', ']', '{', '}']);
                let known =
                    matches!(kind, "s" | "i" | "f" | "b" | "q" | "is" | "t" | "any") || TYPES.contains_key(kind);
                assert!(known, "{name}.{} has the unknown type {}", field.name, field.kind);
            }
        }
    }

    #[test]
    fn quantities() {
        for ok in ["1", "64Mi", "250m", "0.5", ".5", "1e3", "1E-3", "5G", "-1"] {
            assert!(is_quantity(ok), "{ok}");
        }
        for bad in ["", "invalid", "Mi", "1MB", "1.2.3", "1 Mi", "1e", "1e-", "0x10"] {
            assert!(!is_quantity(bad), "{bad}");
        }
    }
}
