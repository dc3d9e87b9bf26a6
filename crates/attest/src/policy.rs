//! Whose signature is wanted, on what.

use std::fmt;

use jiff::Timestamp;
use regex::{Regex, RegexBuilder};

use crate::sigstore::PublicKey;

/// Largest compiled pattern: an alternation of some hundred workflow addresses has 200 kB.
const MAX_PATTERN: usize = 1024 * 1024;
/// Longest pattern as written.
const MAX_PATTERN_TEXT: usize = 4096;

/// What a bundle must prove.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Who must have signed.
    pub signer: Signer,
    /// What must have been signed.
    pub expected: Expected,
    /// Take bundles of the forms v0.1 and v0.2 too. In v0.1 the log's mere promise stands for its proof, so a v0.3 bundle can be
    /// relabelled and its proof left out: only for evidence that was made before v0.3.
    pub old_forms: bool,
    /// Take a bundle that no transparency log has seen. What is logged is verified all the same.
    pub unlogged: bool,
}

/// Who must have signed.
#[derive(Debug, Clone)]
pub enum Signer {
    /// Somebody that a certificate authority of the trust root has named.
    Keyless {
        /// The person or workflow.
        identity: Match,
        /// The identity provider that vouched for them.
        issuer: Match,
        /// Whether the certificate must be proved to stand in a certificate transparency log. Off only for a private authority without one.
        transparency: bool,
    },
    /// The holder of a key.
    Key(Box<KeyPolicy>),
}

/// A key, and when it may be used.
#[derive(Debug, Clone)]
pub struct KeyPolicy {
    /// The key.
    pub key: PublicKey,
    /// Signatures made before this do not count.
    pub not_before: Option<Timestamp>,
    /// Signatures made after this do not count: the day on which the key was replaced or lost.
    pub not_after: Option<Timestamp>,
}

/// What must have been signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A file's own signature, or a statement of any type about it.
    Anything,
    /// An in-toto statement of this predicate type.
    Statement(String),
}

/// A text, or a pattern over the whole of it.
#[derive(Debug, Clone)]
pub enum Match {
    /// This text.
    Exact(String),
    /// A text that this pattern matches from its beginning to its end.
    Pattern(Regex, String),
}

/// Not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not a pattern.
    #[error("{text:?} is not a pattern: {why}")]
    Pattern {
        /// As written.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// An empty text matches what a certificate does not say.
    #[error("an empty identity or issuer means nothing")]
    Empty,
}

impl Policy {
    /// Anything that this signer signed, in the form v0.3.
    pub fn by(signer: Signer) -> Self {
        Self { signer, expected: Expected::Anything, old_forms: false, unlogged: false }
    }

    /// The same policy, for a statement of this predicate type.
    pub fn stating(mut self, predicate_type: &str) -> Self {
        self.expected = Expected::Statement(predicate_type.to_owned());
        self
    }
}

impl Signer {
    /// The holder of this key, whenever it was used.
    pub fn key(key: PublicKey) -> Self {
        Self::Key(Box::new(KeyPolicy { key, not_before: None, not_after: None }))
    }

    /// This identity, by the word of this provider.
    pub fn keyless(identity: Match, issuer: Match) -> Self {
        Self::Keyless { identity, issuer, transparency: true }
    }
}

impl KeyPolicy {
    /// Whether a signature of this time counts.
    pub(crate) fn covers(&self, time: Timestamp) -> bool {
        self.not_before.is_none_or(|from| time >= from) && self.not_after.is_none_or(|until| time <= until)
    }

    /// The window, in words.
    pub(crate) fn window(&self) -> String {
        match (self.not_before, self.not_after) {
            (None, None) => "always".to_owned(),
            (Some(from), None) => format!("from {from}"),
            (None, Some(until)) => format!("until {until}"),
            (Some(from), Some(until)) => format!("from {from} until {until}"),
        }
    }
}

impl Match {
    /// This text and no other.
    pub fn exact(text: impl Into<String>) -> Result<Self, PolicyError> {
        let text = text.into();
        if text.is_empty() { Err(PolicyError::Empty) } else { Ok(Self::Exact(text)) }
    }

    /// A regular expression over the whole text: `https://github\.com/acme/.*`.
    pub fn pattern(text: &str) -> Result<Self, PolicyError> {
        if text.is_empty() {
            return Err(PolicyError::Empty);
        }
        let wrong = |why: String| PolicyError::Pattern { text: text.chars().take(200).collect(), why };
        if text.len() > MAX_PATTERN_TEXT {
            return Err(wrong(format!("more than {MAX_PATTERN_TEXT} bytes")));
        }
        // By itself first: an unbalanced group must not reach around the anchors.
        let alone = RegexBuilder::new(text).size_limit(MAX_PATTERN).build();
        alone.map_err(|error| wrong(error.to_string()))?;
        let whole = RegexBuilder::new(&format!("^(?:{text})$")).size_limit(MAX_PATTERN).build();
        Ok(Self::Pattern(whole.map_err(|error| wrong(error.to_string()))?, text.to_owned()))
    }

    /// Whether this is it.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == text,
            Self::Pattern(pattern, _) => pattern.is_match(text),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::Pattern(_, text) => write!(f, "/{text}/"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_the_whole_text() {
        let check = |pattern: &str, text: &str, matches: bool| {
            assert_eq!(Match::pattern(pattern).unwrap().matches(text), matches, "{pattern} on {text}");
        };
        check(
            "https://github\\.com/acme/.*",
            "https://github.com/acme/app/.github/workflows/ci.yml@refs/heads/main",
            true,
        );
        check("https://github\\.com/acme/.*", "https://evil.example/?https://github.com/acme/x", false);
        check("a|b", "a", true);
        check("a|b", "ax", false);
        check("a|b", "xb", false);
        check("(?m)a", "x\na", false);
        check("(?i)ACME", "acme", true);
        // A comment to the end of the pattern must not hide the end's anchor.
        assert!(Match::pattern("(?x)a #").map_or(true, |m| !m.matches("ab")));
        for bad in ["", "(", ")(", "a)|(b", "[", "(?:a{1000}){1000}"] {
            assert!(Match::pattern(bad).is_err(), "{bad}");
        }
        assert!(Match::exact("").is_err());
        assert!(!Match::exact("a.c").unwrap().matches("abc"));
    }
}
