//! in-toto statements: who is spoken of, and what is said.

use model::{Digest, Kind};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sigstore::limits;

/// `_type` of a statement.
pub const STATEMENT_V1: &str = "https://in-toto.io/Statement/v1";
/// The same as tools before 2023 wrote it; read, never written.
const STATEMENT_V01: &str = "https://in-toto.io/Statement/v0.1";
/// How something was built.
pub const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// A bill of materials.
pub const CYCLONEDX: &str = "https://cyclonedx.org/bom";
/// A vulnerability scan, in the form that cosign reads and writes.
pub const COSIGN_VULN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
/// cosign's signature of an image: a statement that says no more than which image.
pub const COSIGN_SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

/// An in-toto statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// Its version.
    #[serde(rename = "_type")]
    pub kind: String,
    /// Of what it speaks.
    pub subject: Vec<Subject>,
    /// What kind of thing it says.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What it says.
    #[serde(default)]
    pub predicate: Value,
}

/// Of what a statement speaks. Only the digest counts; the name is a hint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// A name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Digests by algorithm.
    pub digest: std::collections::BTreeMap<String, String>,
}

/// Not a statement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Not JSON of this shape.
    #[error("not an in-toto statement: {0}")]
    Malformed(String),
    /// Not a version that is known.
    #[error("its type is {0:?}, and not a version of an in-toto statement that is known here")]
    Version(String),
    /// It speaks of nothing.
    #[error("it has no subject")]
    NoSubject,
    /// It speaks of too much.
    #[error("it has {0} subjects, {max} are allowed", max = limits::MAX_SUBJECTS)]
    TooManySubjects(usize),
    /// It does not say what kind of thing it says.
    #[error("its predicate type is {0:?}, and not an address")]
    PredicateType(String),
}

impl Statement {
    /// A statement about one thing.
    pub fn new(name: &str, digest: &Digest, predicate_type: &str, predicate: Value) -> Self {
        Self {
            kind: STATEMENT_V1.to_owned(),
            subject: vec![Subject {
                name: name.to_owned(),
                digest: [("sha256".to_owned(), digest.hex().to_owned())].into(),
            }],
            predicate_type: predicate_type.to_owned(),
            predicate,
        }
    }

    /// Reads one, as it was signed.
    pub fn parse(bytes: &[u8]) -> Result<Self, StatementError> {
        let read: Self = serde_json::from_slice(bytes).map_err(|e| StatementError::Malformed(e.to_string()))?;
        if read.kind != STATEMENT_V1 && read.kind != STATEMENT_V01 {
            return Err(StatementError::Version(shown(&read.kind)));
        }
        if read.subject.is_empty() {
            return Err(StatementError::NoSubject);
        }
        if read.subject.len() > limits::MAX_SUBJECTS {
            return Err(StatementError::TooManySubjects(read.subject.len()));
        }
        // A URI has a scheme; control characters and spaces are in none.
        let scheme =
            read.predicate_type.split_once(':').is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
        if !scheme || read.predicate_type.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(StatementError::PredicateType(shown(&read.predicate_type)));
        }
        Ok(read)
    }

    /// Whether it speaks of this digest.
    pub fn is_about(&self, digest: &Digest) -> bool {
        self.subject.iter().any(|subject| subject.digest.get("sha256").is_some_and(|hex| hex == digest.hex()))
    }
}

/// The kind of receipt that tells of a statement of this type; `None` for types that a release does not know.
pub fn kind_of(predicate_type: &str) -> Option<Kind> {
    match predicate_type {
        SLSA_PROVENANCE | "https://slsa.dev/provenance/v0.2" => Some(Kind::AttestationSlsa),
        COSIGN_SIGNATURE => Some(Kind::AttestationSignature),
        CYCLONEDX | "https://spdx.dev/Document" => Some(Kind::AttestationSbom),
        COSIGN_VULN
        | "https://in-toto.io/attestation/vulns"
        | "https://in-toto.io/attestation/vulns/v0.1"
        | "https://in-toto.io/attestation/vulns/v0.2" => Some(Kind::AttestationVuln),
        other if other.starts_with("https://cyclonedx.org/bom/") || other.starts_with("https://spdx.dev/Document/") => {
            Some(Kind::AttestationSbom)
        }
        _ => None,
    }
}

/// As much of a hostile text as a message can carry.
fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_statement() {
        let digest = Digest::from_sha256(&[0xab; 32]);
        let whole = Statement::new("app", &digest, SLSA_PROVENANCE, serde_json::json!({}));
        let text = serde_json::to_string(&whole).unwrap();
        assert_eq!(Statement::parse(text.as_bytes()).unwrap(), whole);
        assert!(whole.is_about(&digest) && !whole.is_about(&Digest::from_sha256(&[0; 32])));
        let refused = |from: &str, to: &str| {
            let changed = text.replace(from, to);
            assert_ne!(changed, text, "{from}");
            assert!(Statement::parse(changed.as_bytes()).is_err(), "{changed}");
        };
        refused(STATEMENT_V1, "https://bogus.example/Statement/v1");
        refused(SLSA_PROVENANCE, "");
        refused(SLSA_PROVENANCE, "provenance");
        refused(SLSA_PROVENANCE, "https://slsa.dev/ provenance");
        refused("\"subject\":[", "\"subjects\":[");
        refused("\"predicateType\"", "\"predicateType\":\"https://a.example\",\"predicateType\"");
        let none = serde_json::json!({ "_type": STATEMENT_V1, "subject": [], "predicateType": SLSA_PROVENANCE });
        assert_eq!(Statement::parse(none.to_string().as_bytes()), Err(StatementError::NoSubject));
    }
}
