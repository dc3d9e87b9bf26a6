//! Typed ids. All are short, printable and safe in a URL path and in a file name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::ParseError;

/// Longest id: fits a Kubernetes label value with room for a suffix, and one line on a page.
const MAX_ID: usize = 80;

/// Longest person's name or token's label.
const MAX_ACTOR: usize = 120;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $ok:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = ParseError;
            fn from_str(s: &str) -> Result<Self, ParseError> {
                let ok: fn(&str) -> bool = $ok;
                if ok(s) { Ok(Self(s.to_owned())) } else { Err(ParseError::new($expected, s)) }
            }
        }
        impl TryFrom<String> for $name {
            type Error = ParseError;
            fn try_from(s: String) -> Result<Self, ParseError> {
                s.parse()
            }
        }
        impl From<$name> for String {
            fn from(v: $name) -> String {
                v.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn dns_like(s: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    s.len() <= MAX_ID
        && edge(s.chars().next())
        && edge(s.chars().next_back())
        && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
}

fn tag_like(s: &str) -> bool {
    !s.is_empty()
        && s.len() <= MAX_ID
        && !s.starts_with(['.', '-'])
        && s.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '+'))
}

id!(
    /// A service that is delivered, e.g. `checkout`.
    ServiceId, "a service name: lower-case letters, digits, '-' and '.', at most 80", dns_like);
id!(
    /// One release of one service: `<service>-<n>`, n counting from 1.
    ReleaseId, "a release id: lower-case letters, digits, '-' and '.', at most 80", dns_like);
id!(
    /// Where a release goes, e.g. `production`.
    Environment, "an environment name: lower-case letters, digits, '-' and '.', at most 80", dns_like);
id!(
    /// The label of a version, e.g. `v2026.05.07`; the digest is the identity, this is what people say.
    Version, "a version label: letters, digits, '-', '.', '_' and '+', at most 80", tag_like);
id!(
    /// Who did it: a person, a token's label, or a part of the system (`controller`, `judge`).
    Actor, "a name without control characters, 1 to 120 characters",
    |s| !s.trim().is_empty() && s.chars().count() <= MAX_ACTOR && !s.chars().any(char::is_control));

impl ReleaseId {
    /// The id of a service's n-th release.
    pub fn of(service: &ServiceId, n: u64) -> Result<Self, ParseError> {
        format!("{service}-{n}").parse()
    }
}

impl Actor {
    /// The controller acting on its own.
    pub fn controller() -> Self {
        Self("controller".to_owned())
    }
    /// The judge: an automatic verdict.
    pub fn judge() -> Self {
        Self("judge".to_owned())
    }
    /// True for a part of the system, false for a person or a token.
    pub fn is_system(&self) -> bool {
        matches!(self.0.as_str(), "controller" | "judge" | "splitter" | "log")
    }
}

/// Fencing number: who holds a larger one may write; a smaller one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_accept_and_refuse() {
        for ok in ["checkout", "a", "a.b-c9", "9"] {
            assert!(ok.parse::<ServiceId>().is_ok(), "{ok}");
        }
        for bad in ["", "-a", "a-", "A", "a/b", "a b", "é", &"a".repeat(81)] {
            assert!(bad.parse::<ServiceId>().is_err(), "{bad}");
        }
        assert!("v1.2.3+build_7".parse::<Version>().is_ok());
        assert!("../x".parse::<Version>().is_err());
        assert!("a\nb".parse::<Actor>().is_err());
        assert!(serde_json::from_str::<ServiceId>("\"../etc\"").is_err());
    }
}
