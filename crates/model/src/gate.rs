//! Facts of [`Kind::GatesPassed`](crate::Kind::GatesPassed) and [`Kind::GatesFailed`](crate::Kind::GatesFailed).

use serde::{Deserialize, Serialize};

use crate::{Digest, ServiceId, Timestamp};

/// What the gates decided, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatesDecided {
    /// `passed` or `failed`.
    pub decision: String,
    /// The service, when there was no release yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// The artifact that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// Name of the policy.
    pub policy: String,
    /// Digest of its text.
    pub policy_digest: Digest,
    /// The reports.
    pub reports: Vec<GateReport>,
    /// Findings in all of them.
    pub findings: u64,
    /// Of these, those that the policy does not let pass.
    pub failing: u64,
    /// Of these, those that a waiver lets pass.
    pub waived: u64,
    /// Why it failed, the first of them.
    pub reasons: Vec<String>,
    /// How many reasons there are.
    pub reasons_total: u64,
    /// The findings that come first: those that fail, then the worst.
    pub top: Vec<GateFinding>,
    /// New against the release before, when its reports were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<u64>,
    /// Fixed since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<u64>,
    /// Tools that were not run, as whoever handed the reports in says. They decide nothing: what must be there, the policy says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_run: Vec<NotRun>,
    /// The whole decision with every finding, kept as a segment.
    pub segment: Digest,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// What it is called.
    pub name: String,
    /// Which tool wrote it; absent when it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// When the scan was made, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned_at: Option<Timestamp>,
    /// Findings in it.
    pub findings: u64,
    /// Of these, those that fail.
    pub failing: u64,
    /// Its bytes, kept as a segment.
    pub segment: Digest,
}

/// A tool that was not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotRun {
    /// Its name.
    pub tool: String,
    /// Why.
    pub why: String,
}

/// One finding, as a table shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateFinding {
    /// `fails`, `passes`, `waived`, `suppressed`, `absent`.
    pub standing: String,
    /// How bad.
    pub severity: String,
    /// Which tool.
    pub tool: String,
    /// Its rule.
    pub rule: String,
    /// Where.
    pub place: String,
    /// In which version it is fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_version: Option<String>,
    /// In words.
    pub title: String,
    /// The waiver, or the licence rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
