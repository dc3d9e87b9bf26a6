//! A report, whichever tool wrote it.

use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{Finding, formats, json};

/// Largest report, bytes: a ScanCode report of a large source tree has some 40 MB.
pub const MAX_REPORT: usize = 64 * 1024 * 1024;
/// Most findings of one report: beyond, nobody reads them, and a report that has so many fails in any case.
pub const MAX_FINDINGS: usize = 50_000;

/// The formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `semgrep scan --json`.
    SemgrepJson,
    /// SARIF 2.1.0 of any tool.
    Sarif,
    /// `osv-scanner --format json`.
    OsvJson,
    /// `trivy … --format json`.
    TrivyJson,
    /// `scancode --json`.
    ScancodeJson,
    /// A production-readiness checklist, our own format.
    Checklist,
}

impl Format {
    /// As people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SemgrepJson => "Semgrep JSON",
            Self::Sarif => "SARIF 2.1.0",
            Self::OsvJson => "OSV-Scanner JSON",
            Self::TrivyJson => "Trivy JSON",
            Self::ScancodeJson => "ScanCode JSON",
            Self::Checklist => "checklist",
        }
    }
}

/// What a report says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its format.
    pub format: Format,
    /// Digest of its bytes.
    pub digest: Digest,
    /// Which tool ([`crate::tool_id`]).
    pub tool: String,
    /// Version of the tool, if it says.
    pub tool_version: Option<String>,
    /// When the scan was made, if it says.
    pub scanned_at: Option<Timestamp>,
    /// True when it is about a built artifact, false when about sources.
    pub of_artifact: bool,
    /// Digests of what was scanned, if it says: of the manifest, and of the configuration.
    pub subjects: Vec<Digest>,
    /// What the tool could not do: the report is then not whole.
    pub errors: Vec<String>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Why a report cannot be read. Each one fails the gate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Too large.
    #[error("it has {0} bytes, at most {MAX_REPORT} are read")]
    TooLarge(usize),
    /// Not JSON, cut off, or with doubled keys.
    #[error("it is not whole JSON: {0}")]
    NotJson(String),
    /// Of no known format.
    #[error(
        "it is of no known format (Semgrep JSON, SARIF 2.1.0, OSV-Scanner JSON, Trivy JSON, ScanCode JSON, deliveryos checklist): {0}"
    )]
    UnknownFormat(String),
    /// A field is missing, of another type, or has an unknown word.
    #[error("it is not {}, at {at}", format.as_str())]
    Shape {
        /// What it seemed to be.
        format: Format,
        /// Where, and what is wrong.
        at: String,
    },
    /// More findings than are read.
    #[error("it has more than {MAX_FINDINGS} findings")]
    TooMany,
}

impl Report {
    /// Reads a report. The format is recognised by what only that tool writes.
    ///
    /// # Errors
    /// When it is not, in every part that is known, what its tool writes.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > MAX_REPORT {
            return Err(Unreadable::TooLarge(bytes.len()));
        }
        let value = json::parse(bytes).map_err(|error| Unreadable::NotJson(error.to_string()))?;
        let format = recognise(&value)?;
        let mut report = Self {
            format,
            digest: Digest::from_sha256(&Sha256::digest(bytes).into()),
            tool: String::new(),
            tool_version: None,
            scanned_at: None,
            of_artifact: false,
            subjects: Vec::new(),
            errors: Vec::new(),
            findings: Vec::new(),
        };
        let read = match format {
            Format::SemgrepJson => formats::semgrep::read(&value, &mut report),
            Format::Sarif => formats::sarif::read(&value, &mut report),
            Format::OsvJson => formats::osv::read(&value, &mut report),
            Format::TrivyJson => formats::trivy::read(&value, &mut report),
            Format::ScancodeJson => formats::scancode::read(&value, &mut report),
            Format::Checklist => formats::checklist::read(&value, &mut report),
        };
        read.map_err(|at| Unreadable::Shape { format, at })?;
        if report.findings.len() > MAX_FINDINGS {
            return Err(Unreadable::TooMany);
        }
        Ok(report)
    }
}

fn recognise(value: &Value) -> Result<Format, Unreadable> {
    let no = |why: &str| Err(Unreadable::UnknownFormat(why.to_owned()));
    let Some(object) = value.as_object() else { return no("it is not an object") };
    let has = |key: &str| object.contains_key(key);
    let found: Vec<Format> = [
        (has("runs"), Format::Sarif),
        (has("SchemaVersion") || has("ArtifactName") || has("Results"), Format::TrivyJson),
        // OSV-Scanner writes `results` too, and none of these.
        (has("results") && (has("errors") || has("paths") || has("version")), Format::SemgrepJson),
        (has("results") && !(has("errors") || has("paths") || has("version")), Format::OsvJson),
        (has("files") || has("license_detections"), Format::ScancodeJson),
        (has("checklist"), Format::Checklist),
    ]
    .into_iter()
    .filter_map(|(there, format)| there.then_some(format))
    .collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => no("it has none of their fields"),
        _ => no("it has fields of more than one of them"),
    }
}
