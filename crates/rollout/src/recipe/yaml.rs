//! YAML documents as trees with positions, within limits.
//!
//! Reads what Kubernetes' tools read: YAML 1.2 with merge keys, and the words of YAML 1.1 where a bool is expected. Duplicate keys are an error.

use granit_parser::{Event, Options, Parser, ScalarStyle};

/// Largest file, bytes: Argo's largest example has 3 KiB; a recipe is a page of text, not data.
pub(crate) const MAX_FILE: usize = 1024 * 1024;

/// Most documents in a file: a whole application's manifests.
const MAX_DOCUMENTS: usize = 256;

/// Deepest nesting: Kubernetes' own types nest to about 20.
const MAX_DEPTH: usize = 64;

/// Most nodes of a file with its aliases expanded: a "billion laughs" file ends here.
const MAX_NODES: usize = 100_000;

/// A place in a file: line and column from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) data: Data,
    /// Number of nodes in it.
    size: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Null,
    /// Text; with `true` written without quotes, so that it may be a number or a bool.
    Scalar(String, bool),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) place: Place,
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct YamlError {
    pub(crate) place: Place,
    pub(crate) message: String,
}

/// The documents of a file up to the first error.
pub(crate) fn parse(bytes: &[u8]) -> (Vec<Node>, Option<YamlError>) {
    let fail = |message: String| (Vec::new(), Some(YamlError { place: Place::default(), message }));
    if bytes.len() > MAX_FILE {
        return fail(format!("the file has {} bytes, at most {MAX_FILE} are read", bytes.len()));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(e) => {
            let good = bytes.get(..e.valid_up_to()).unwrap_or_default();
            let line = u32::try_from(good.iter().filter(|b| **b == b'\n').count() + 1).unwrap_or(u32::MAX);
            let place = Place { line, column: 1 };
            return (Vec::new(), Some(YamlError { place, message: "the file is not UTF-8 text".to_owned() }));
        }
    };
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = MAX_DEPTH;
    options.block_nesting_limit = MAX_DEPTH;
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => {
                builder.at = Place { line: to_u32(span.start.line()), column: to_u32(span.start.col() + 1) };
                builder.take(event)
            }
            Err(e) => {
                builder.at = Place { line: to_u32(e.marker().line()), column: to_u32(e.marker().col() + 1) };
                Err(e.info().to_owned())
            }
        };
        if let Err(message) = step {
            return (builder.documents, Some(YamlError { place: builder.at, message }));
        }
    }
    (builder.documents, None)
}

/// The documents of a file of manifests as JSON, read as recipes are: within limits, no key twice, scalars as Kubernetes' tools take them. For
/// other rooms that read manifests. The error names line and column.
pub fn manifests(bytes: &[u8]) -> Result<Vec<serde_json::Value>, String> {
    match parse(bytes) {
        (documents, None) => Ok(documents.iter().map(Node::to_json).collect()),
        (_, Some(YamlError { place, message })) if place.line == 0 => Err(message),
        (_, Some(YamlError { place, message })) => {
            Err(format!("line {}, column {}: {message}", place.line, place.column))
        }
    }
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[derive(Default)]
struct Builder {
    at: Place,
    documents: Vec<Node>,
    stack: Vec<Open>,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
}

struct Open {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<Key> },
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                if self.documents.len() >= MAX_DOCUMENTS {
                    return Err(format!("more than {MAX_DOCUMENTS} documents"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let data = if plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
                    Data::Null
                } else {
                    Data::Scalar(text.into_owned(), plain)
                };
                self.add(Node { place: self.at, data, size: 1 }, anchor)?;
            }
            Event::Alias(id) => {
                let node = self.anchors.iter().rev().find(|(a, _)| *a == id).map(|(_, n)| n.clone());
                // Inside of itself an anchor has no value yet.
                self.add(node.ok_or("an alias refers to a value that contains it")?, 0)?;
            }
            Event::SequenceStart(_, anchor, _) => self.open(anchor, Content::List(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => self.open(anchor, Content::Map { entries: Vec::new(), key: None })?,
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.stack.pop() else { return Err("unexpected end".to_owned()) };
                let data = match open.content {
                    Content::List(list) => Data::List(list),
                    Content::Map { entries, .. } => Data::Map(entries),
                };
                let size = match &data {
                    Data::List(list) => list.iter().map(|n| n.size).sum::<usize>() + 1,
                    Data::Map(entries) => entries.iter().map(|(_, n)| n.size).sum::<usize>() + 1,
                    _ => 1,
                };
                self.nodes = self.nodes.saturating_sub(size - 1);
                self.add(Node { place: open.place, data, size }, open.anchor)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, anchor: usize, content: Content) -> Result<(), String> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        self.stack.push(Open { place: self.at, anchor, content });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += node.size;
        if self.nodes > MAX_NODES {
            return Err(format!("more than {MAX_NODES} values, aliases expanded"));
        }
        if anchor != 0 {
            self.anchors.push((anchor, node.clone()));
            self.nodes += node.size;
        }
        match self.stack.last_mut().map(|o| &mut o.content) {
            None => self.documents.push(node),
            Some(Content::List(list)) => list.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some(k) if k.name == "<<" => merge(entries, node)?,
                Some(k) => {
                    // What was merged in gives way to what is written.
                    entries.retain(|(old, _)| old.name != k.name);
                    entries.push((k, node));
                }
                None => {
                    let name = match node.data {
                        Data::Scalar(text, _) => text,
                        Data::Null => "null".to_owned(),
                        _ => return Err("a key must be a text".to_owned()),
                    };
                    if entries.iter().any(|(old, _)| old.name == name && old.place != Place::default()) {
                        return Err(format!("key {name:?} is already set in this map"));
                    }
                    *key = Some(Key { name, place: node.place });
                }
            },
        }
        Ok(())
    }
}

/// A merge key: entries that are not there yet. Their keys have no place, which marks them as merged.
fn merge(entries: &mut Vec<(Key, Node)>, from: Node) -> Result<(), String> {
    let maps = match from.data {
        Data::Map(map) => vec![map],
        Data::List(list) => {
            let maps = list.into_iter().map(|n| if let Data::Map(map) = n.data { Some(map) } else { None });
            maps.collect::<Option<Vec<_>>>().ok_or("<< takes a map or a list of maps")?
        }
        _ => return Err("<< takes a map or a list of maps".to_owned()),
    };
    for (key, node) in maps.into_iter().flatten() {
        if !entries.iter().any(|(old, _)| old.name == key.name) {
            entries.push((Key { name: key.name, place: Place::default() }, node));
        }
    }
    Ok(())
}

impl Node {
    /// The member of a map; absent and null are the same.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|(k, _)| k.name == name).map(|(_, n)| n).filter(|n| n.data != Data::Null)
    }

    /// The member at the end of a path.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, name| node.get(name))
    }

    /// The entries of a map; none of anything else.
    pub(crate) fn entries(&self) -> &[(Key, Node)] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.data {
            Data::List(list) => list,
            _ => &[],
        }
    }

    /// The items of a member that is a list.
    pub(crate) fn list(&self, name: &str) -> &[Node] {
        self.get(name).map_or(&[], Node::items)
    }

    /// A scalar's text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The text of a member; empty when it is absent, as Go has it.
    pub(crate) fn str(&self, name: &str) -> &str {
        self.get(name).and_then(Node::text).unwrap_or_default()
    }

    /// A whole number, written without quotes.
    pub(crate) fn int(&self) -> Option<i64> {
        match &self.data {
            Data::Scalar(text, true) => plain_int(text),
            _ => None,
        }
    }

    /// A number.
    pub(crate) fn float(&self) -> Option<f64> {
        match &self.data {
            Data::Scalar(text, true) => match plain_int(text) {
                Some(i) => Some(i as f64),
                None => text
                    .parse()
                    .ok()
                    .filter(|_| text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))),
            },
            _ => None,
        }
    }

    /// A bool, also in YAML 1.1's words, as Kubernetes' tools read them.
    pub(crate) fn bool(&self) -> Option<bool> {
        match &self.data {
            Data::Scalar(text, true) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "y" => Some(true),
                "false" | "no" | "off" | "n" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// A whole number, or text that is one: Kubernetes' int-or-string.
    pub(crate) fn int_or_text(&self) -> Option<i64> {
        self.text().and_then(|t| t.parse().ok())
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.data {
            Data::Null => Value::Null,
            Data::Scalar(text, plain) => {
                if let Some(i) = self.int() {
                    return i.into();
                }
                match text.as_str() {
                    "true" if *plain => Value::Bool(true),
                    "false" if *plain => Value::Bool(false),
                    _ => match self.float().and_then(serde_json::Number::from_f64) {
                        Some(n) => Value::Number(n),
                        None => Value::String(text.clone()),
                    },
                }
            }
            Data::List(list) => Value::Array(list.iter().map(Self::to_json).collect()),
            Data::Map(entries) => Value::Object(entries.iter().map(|(k, n)| (k.name.clone(), n.to_json())).collect()),
        }
    }

    /// What it is, for messages.
    pub(crate) fn what(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::List(_) => "a list",
            Data::Map(_) => "a map",
            Data::Scalar(_, false) => "a text",
            Data::Scalar(..) if self.float().is_some() => "a number",
            Data::Scalar(..) if self.bool().is_some() => "a bool",
            Data::Scalar(..) => "a text",
        }
    }
}

fn plain_int(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { -1 } else { 1 }, digits),
        None => (1, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (radix, digits) = match digits.get(..2) {
        Some("0x") => (16, digits.get(2..)?),
        Some("0o") => (8, digits.get(2..)?),
        Some("0b") => (2, digits.get(2..)?),
        // YAML 1.1: a leading zero means octal.
        _ if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        _ => (10, digits),
    };
    if digits.starts_with(['-', '+']) {
        return None;
    }
    i64::from_str_radix(digits, radix).ok().map(|i| sign * i)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (u32, u32, String) {
        let e = parse(text.as_bytes()).1.unwrap_or_else(|| panic!("{text:?} is read without error"));
        (e.place.line, e.place.column, e.message)
    }

    #[test]
    fn trees_with_places() {
        let (documents, e) = parse(b"a: 1\nb:\n  - x: yes\n  - 'y'\n---\nc: ~\n");
        assert_eq!(e, None);
        assert_eq!(documents.len(), 2);
        let b = documents[0].get("b").unwrap();
        assert_eq!(b.items()[0].get("x").unwrap().place, Place { line: 3, column: 8 });
        assert_eq!(b.items()[0].get("x").unwrap().bool(), Some(true));
        assert_eq!(b.items()[1].bool(), None);
        assert_eq!(documents[0].get("a").unwrap().int(), Some(1));
        assert_eq!(documents[1].get("c"), None);
        assert_eq!(documents[0].to_json(), serde_json::json!({"a": 1, "b": [{"x": "yes"}, "y"]}));
    }

    #[test]
    fn merges_and_aliases() {
        let (documents, e) = parse(b"base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n");
        assert_eq!(e, None);
        let used = documents[0].get("use").unwrap();
        assert_eq!((used.get("x").unwrap().int(), used.get("y").unwrap().int()), (Some(1), Some(3)));
    }

    #[test]
    fn errors_have_places() {
        assert_eq!(error("a: 1\na: 2\n").0, 2);
        assert_eq!(error("a: {{ .Values.x }}\n").0, 1);
        assert_eq!(error("a: [1, 2\nb: 3\n").0, 2);
        assert!(error("a: *nowhere\n").2.contains("anchor"), "{}", error("a: *nowhere\n").2);
        assert_eq!(parse(b"\xff\xfe").1.unwrap().message, "the file is not UTF-8 text");
        assert!(parse(&vec![b' '; MAX_FILE + 1]).1.unwrap().message.contains("bytes"));
    }

    #[test]
    fn it_is_bounded() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..9 {
            let last = format!("*a{}", i - 1);
            laughs.push_str(&format!("a{i}: &a{i} [{}]\n", vec![last; 10].join(", ")));
        }
        assert!(error(&laughs).2.contains("values"));
        assert!(!error(&"[".repeat(10_000)).2.is_empty());
        assert!(!error(&"- ".repeat(10_000)).2.is_empty());
        assert!(error(&"--- {}\n".repeat(300)).2.contains("documents"));
        assert!(!error("&a [*a]").2.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
        #[test]
        fn arbitrary_yaml(parts in proptest::collection::vec(proptest::sample::select(vec![
            "a", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ",", "&x ", "*x", "<<: ", "|\n", "'", "\"", "#", "---\n", "!!int ", "? ", "1", "\t",
        ]), 0..30)) {
            let _ = parse(parts.concat().as_bytes());
        }
    }
}
