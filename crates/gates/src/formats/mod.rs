//! The formats: one tool, one module. Each has its shape as a table, and reads only what has that shape.

pub(crate) mod checklist;
pub(crate) mod osv;
pub(crate) mod sarif;
pub(crate) mod scancode;
pub(crate) mod semgrep;
pub(crate) mod trivy;

use model::{Digest, Timestamp};

/// A time as tools write it: RFC 3339.
fn time(at: &str, text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| format!("{at}: {:?} is not an RFC 3339 time", crate::finding::tidy(text)))
}

/// The digest at the end of `name@sha256:…`, or the whole of a `sha256:…`.
fn digest(text: &str) -> Option<Digest> {
    text.rsplit('@').next().and_then(|found| found.parse().ok())
}
