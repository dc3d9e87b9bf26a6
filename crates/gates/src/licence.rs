//! SPDX licence expressions against lists of what is allowed and what is denied.

/// Longest expression, bytes: a distribution's kernel package has some 2,000.
const MAX_EXPRESSION: usize = 16 * 1024;
/// Deepest parentheses: written by people, two or three.
const MAX_DEPTH: usize = 32;

/// What the lists say of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// One may use it under licences that all are fine.
    Allowed,
    /// Every choice has this denied licence, or one that is not allowed.
    Refused(String),
    /// It is not an SPDX expression.
    Unreadable,
}

/// Judges an expression: in `A OR B` one fine side is enough, in `A AND B` both must be. `allowed` empty = all that is not denied.
/// Entries are identifiers; a `*` at the end stands for any ending. Upper and lower case do not matter.
pub(crate) fn judge(expression: &str, allowed: &[String], denied: &[String]) -> Verdict {
    if expression.len() > MAX_EXPRESSION {
        return Verdict::Unreadable;
    }
    let tokens = tokens(expression);
    let mut parser = Parser { tokens: &tokens, at: 0, allowed, denied };
    match parser.or(0) {
        Some(found) if parser.at == tokens.len() => found.map_or_else(Verdict::Refused, |()| Verdict::Allowed),
        _ => Verdict::Unreadable,
    }
}

fn tokens(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for word in text.split_whitespace() {
        let mut rest = word;
        while let Some(at) = rest.find(['(', ')']) {
            let (before, after) = rest.split_at(at);
            let (bracket, after) = after.split_at(1);
            out.extend([before, bracket].into_iter().filter(|t| !t.is_empty()));
            rest = after;
        }
        if !rest.is_empty() {
            out.push(rest);
        }
    }
    out
}

struct Parser<'a> {
    tokens: &'a [&'a str],
    at: usize,
    allowed: &'a [String],
    denied: &'a [String],
}

/// Fine, or the licence that is not.
type Found = Result<(), String>;

impl Parser<'_> {
    fn eat(&mut self, word: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|t| t.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self, depth: usize) -> Option<Found> {
        let mut found = self.and(depth)?;
        while self.eat("OR") {
            let other = self.and(depth)?;
            found = found.or(other);
        }
        Some(found)
    }

    fn and(&mut self, depth: usize) -> Option<Found> {
        let mut found = self.one(depth)?;
        while self.eat("AND") {
            let other = self.one(depth)?;
            found = found.and(other);
        }
        Some(found)
    }

    fn one(&mut self, depth: usize) -> Option<Found> {
        if self.eat("(") {
            if depth >= MAX_DEPTH {
                return None;
            }
            let found = self.or(depth + 1)?;
            return self.eat(")").then_some(found);
        }
        let id = *self.tokens.get(self.at)?;
        let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || ".-+:_".contains(c));
        if !plain || ["and", "or", "with"].iter().any(|word| id.eq_ignore_ascii_case(word)) {
            return None;
        }
        self.at += 1;
        let whole = if self.eat("WITH") {
            let exception = *self.tokens.get(self.at)?;
            self.at += 1;
            format!("{id} WITH {exception}")
        } else {
            id.to_owned()
        };
        // A licence with an exception is named by the lists as a whole, else by its licence.
        let listed = |list: &[String]| list.iter().any(|entry| matches(entry, &whole) || matches(entry, id));
        let fine = !listed(self.denied) && (self.allowed.is_empty() || listed(self.allowed));
        Some(if fine { Ok(()) } else { Err(whole) })
    }
}

fn matches(entry: &str, id: &str) -> bool {
    let (entry, id) = (entry.to_ascii_lowercase(), id.to_ascii_lowercase());
    match entry.strip_suffix('*') {
        Some(start) => id.starts_with(start),
        None => id == entry,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let list = |words: &str| words.split(',').filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        let check = |expression: &str, allowed: &str, denied: &str, expected: &str| {
            let found = match judge(expression, &list(allowed), &list(denied)) {
                Verdict::Allowed => "allowed".to_owned(),
                Verdict::Refused(what) => what,
                Verdict::Unreadable => "?".to_owned(),
            };
            assert_eq!(found, expected, "{expression} allowed={allowed} denied={denied}");
        };
        check("MIT", "", "", "allowed");
        check("MIT", "", "AGPL-*", "allowed");
        check("AGPL-3.0-only", "", "AGPL-*", "AGPL-3.0-only");
        check("mit", "MIT", "", "allowed");
        check("MIT OR AGPL-3.0-only", "", "agpl-*", "allowed");
        check("MIT AND AGPL-3.0-only", "", "AGPL-*", "AGPL-3.0-only");
        check("(MIT OR GPL-2.0-only) AND Apache-2.0", "MIT,Apache-2.0", "", "allowed");
        check(
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "MIT,GPL-2.0-only WITH Classpath-exception-2.0",
            "",
            "allowed",
        );
        check("GPL-2.0-only", "MIT,GPL-2.0-only WITH Classpath-exception-2.0", "", "GPL-2.0-only");
        check("Apache-2.0", "MIT", "", "Apache-2.0");
        for wrong in ["", "MIT AND", "MIT Apache-2.0", "(MIT", "MIT)", "AND", "MIT OR OR MIT", "M$T", "MIT WITH"] {
            check(wrong, "", "", "?");
        }
        check(&("(".repeat(5_000) + "MIT"), "", "", "?");
    }
}
