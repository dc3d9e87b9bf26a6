//! Findings in recipe files, as Argo's own lint would have them, with positions.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Passed over, and said so.
    Note,
    /// Works, but probably not as meant.
    Warning,
    /// Cannot be used.
    Error,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// File.
    pub file: String,
    /// Line from 1; 0 = the whole file.
    pub line: u32,
    /// Column from 1.
    pub column: u32,
    /// Path of the field, e.g. `spec.strategy.canary.steps[0].setWeight`; empty when there is none.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One document found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Document {
    /// File.
    pub file: String,
    /// Line on which it begins.
    pub line: u32,
    /// Its kind, e.g. `Rollout`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// All findings of some files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LintReport {
    /// In the order of files and lines.
    pub findings: Vec<Finding>,
    /// What was found.
    pub documents: Vec<Document>,
}

impl LintReport {
    /// True when nothing is an error.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|f| f.severity < Severity::Error)
    }
}

/// Lints files together: a Rollout's templates may stand in another of them.
pub fn lint(files: &[(&str, &[u8])]) -> LintReport {
    todo!("{files:?}")
}
