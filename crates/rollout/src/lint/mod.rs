//! Findings in recipe files, as Argo's own lint would have them, with positions.
//!
//! First the schema (unknown fields, types, required fields), then what Argo Rollouts validates: messages are Argo's. Beyond Argo's lint, analysis
//! templates are checked too, with what Argo's controller would say of them when a release is under way.

mod analysis;
mod rollout;

use serde::Serialize;

use crate::recipe::{
    schema,
    yaml::{self, Data, Node, Place},
};

/// Most files linted together.
pub const MAX_FILES: usize = 64;

/// Most findings reported: nobody reads further, and a hostile file cannot make it long.
pub const MAX_FINDINGS: usize = 200;

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
    read(files).report
}

/// A document of a known kind, without a misfit in its schema.
pub(crate) struct Sound {
    pub(crate) file: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) node: Node,
}

/// What files hold.
pub(crate) struct Files {
    pub(crate) report: LintReport,
    pub(crate) sound: Vec<Sound>,
}

/// Findings of one document.
pub(crate) struct Findings<'a> {
    file: &'a str,
    all: &'a mut Vec<Finding>,
}

impl Findings<'_> {
    pub(crate) fn add(
        &mut self,
        severity: Severity,
        place: Place,
        field: &str,
        message: impl Into<String>,
        hint: Option<&str>,
    ) {
        if self.all.len() < MAX_FINDINGS {
            self.all.push(Finding {
                severity,
                file: self.file.to_owned(),
                line: place.line,
                column: place.column,
                field: field.to_owned(),
                message: message.into(),
                hint: hint.map(str::to_owned),
            });
        }
    }

    pub(crate) fn error(&mut self, node: &Node, field: &str, message: impl Into<String>) {
        self.add(Severity::Error, node.place, field, message, None);
    }
}

pub(crate) fn read(files: &[(&str, &[u8])]) -> Files {
    let mut report = LintReport::default();
    let mut sound = Vec::new();
    for (file, bytes) in files.iter().take(MAX_FILES) {
        let (documents, error) = yaml::parse(bytes);
        for node in documents {
            document(file, node, &mut report, &mut sound);
        }
        if let Some(error) = error {
            let hint = error.message.is_empty().then_some("see the line before");
            let mut findings = Findings { file, all: &mut report.findings };
            findings.add(Severity::Error, error.place, "", format!("this is not YAML: {}", error.message), hint);
        }
    }
    if let Some((file, _)) = files.get(MAX_FILES) {
        let mut findings = Findings { file, all: &mut report.findings };
        findings.add(
            Severity::Error,
            Place::default(),
            "",
            format!("more than {MAX_FILES} files: this and those after it are not read"),
            None,
        );
    }
    for document in &sound {
        let mut findings = Findings { file: &document.file, all: &mut report.findings };
        match document.kind.as_str() {
            "Rollout" => rollout::lint(&document.node, &sound, &mut findings),
            "AnalysisTemplate" | "ClusterAnalysisTemplate" | "AnalysisRun" => {
                analysis::lint(&document.kind, &document.node, &mut findings)
            }
            "Experiment" => rollout::lint_experiment(&document.node, &mut findings),
            _ => {}
        }
    }
    let order = |f: &Finding| files.iter().position(|(name, _)| *name == f.file);
    report.findings.sort_by_key(|f| (order(f), f.line, f.column));
    Files { report, sound }
}

fn document(file: &str, node: Node, report: &mut LintReport, sound: &mut Vec<Sound>) {
    if node.data == Data::Null {
        return;
    }
    let (kind, api) = (node.str("kind").to_owned(), node.str("apiVersion").to_owned());
    let mut name = node.at(&["metadata", "name"]).and_then(Node::text).unwrap_or_default().to_owned();
    if name.is_empty() {
        name = node.at(&["metadata", "generateName"]).and_then(Node::text).unwrap_or_default().to_owned();
    }
    let line = node.place.line;
    report.documents.push(Document { file: file.to_owned(), line, kind: kind.clone(), name: name.clone() });
    let mut findings = Findings { file, all: &mut report.findings };
    if !matches!(node.data, Data::Map(_)) || kind.is_empty() || api.is_empty() {
        findings.error(&node, "kind", "this is no Kubernetes document: it needs apiVersion and kind");
        return;
    }
    let is_argo = api == "argoproj.io/v1alpha1" && kind != "Service";
    if !schema::knows(&kind) || !(is_argo || (api == "v1" && kind == "Service")) {
        let message = match api.split_once('/') {
            Some(("argoproj.io", version)) => {
                format!("{kind} in the version {version} is not known here and is passed over")
            }
            _ => format!("{kind} ({api}) is passed over: it is not part of a recipe"),
        };
        findings.add(Severity::Note, node.place, "kind", message, None);
        return;
    }
    let misfits = schema::check(&kind, &node);
    let is_sound = misfits.iter().all(|m| m.severity < Severity::Error);
    for m in misfits {
        findings.add(m.severity, m.place, &m.path, m.message, m.hint.as_deref());
    }
    if is_sound {
        sound.push(Sound { file: file.to_owned(), kind, name, node });
    }
}
