//! `gate …`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};
use model::{Digest, Timestamp};

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
    /// Decide as if it were this time
    #[arg(long, hide = true, value_name = "TIME")]
    pub now: Option<Timestamp>,
}
