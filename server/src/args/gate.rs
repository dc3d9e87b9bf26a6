//! `gate …`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use model::{Digest, ReleaseId, ServiceId, Timestamp};

/// `gate …`.
#[derive(Debug, Subcommand)]
pub enum GateVerb {
    /// Decide by scanner reports and a policy; exit 0 = passed, 1 = failed
    Check(Check),
}

/// `gate check`.
#[derive(Debug, Clone, ClapArgs)]
pub struct Check {
    /// Reports: Semgrep JSON, SARIF 2.1.0 of any tool, OSV-Scanner JSON, Trivy JSON, ScanCode JSON, checklists
    #[arg(required = true, value_name = "REPORT")]
    pub reports: Vec<PathBuf>,
    /// Policy (TOML) [default: the built-in strict one]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Digest of the artifact that the reports must be about
    #[arg(long, value_name = "DIGEST")]
    pub subject: Option<Digest>,
    /// Reports of the release before, for the difference
    #[arg(long, value_name = "OLD", num_args = 1..)]
    pub against: Vec<PathBuf>,
    /// Let a server decide and record it: for this release
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<ReleaseId>,
    /// Let a server decide and record it: for this service, before there is a release
    #[arg(long, value_name = "SERVICE", conflicts_with = "release")]
    pub service: Option<ServiceId>,
    /// Decide as if it were this time
    #[arg(long, hide = true, value_name = "TIME", conflicts_with_all = ["release", "service"])]
    pub now: Option<Timestamp>,
}
