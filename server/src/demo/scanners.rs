//! The scanners that are installed, run over a version's files; the others are named with the reason why they were not run.

use std::{path::Path, process::Stdio, time::Duration};

use model::gate::NotRun;
use tokio::{io::AsyncReadExt as _, process::Command};

/// A scan of three small files. What takes longer wants the network or the whole disk, and the demo does not wait for it.
const TIME: Duration = Duration::from_secs(20);
/// Longest report that is read.
const MAX_REPORT: u64 = 4 * 1024 * 1024;

/// A scanner, and how it is run without a network; `{dir}` is the folder.
struct Scanner {
    tool: &'static str,
    arguments: &'static [&'static str],
}

const SCANNERS: [Scanner; 4] = [
    Scanner {
        tool: "trivy",
        arguments: &[
            "fs",
            "--quiet",
            "--format=json",
            "--scanners=secret",
            "--offline-scan",
            "--skip-version-check",
            "{dir}",
        ],
    },
    Scanner {
        tool: "osv-scanner",
        arguments: &["scan", "source", "--format=json", "--offline", "--recursive", "{dir}"],
    },
    Scanner {
        tool: "semgrep",
        arguments: &["scan", "--json", "--quiet", "--metrics=off", "--config={dir}/rules.yaml", "{dir}"],
    },
    Scanner { tool: "scancode", arguments: &["--quiet", "--license", "--json", "-", "{dir}"] },
];

/// One rule, so that Semgrep needs none from the network: a launcher evaluates nothing.
const RULES: &str = "rules:\n  - id: eval-in-launcher\n    languages: [bash]\n    severity: ERROR\n    message: a launcher evaluates what it is given\n    pattern: eval ...\n";

/// What they said, and what was not run.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// Name and bytes of each report.
    pub(super) reports: Vec<(String, Vec<u8>)>,
    /// The others.
    pub(super) not_run: Vec<NotRun>,
}

/// Runs them side by side.
pub(super) async fn run(folder: &Path) -> Scanned {
    let mut scanned = Scanned::default();
    let all = futures::future::join_all(SCANNERS.iter().map(|scanner| one(scanner, folder))).await;
    for (scanner, result) in SCANNERS.iter().zip(all) {
        match result {
            Ok(report) => scanned.reports.push((format!("{}.json", scanner.tool), report)),
            Err(why) => scanned.not_run.push(NotRun { tool: scanner.tool.to_owned(), why }),
        }
    }
    scanned
}

async fn one(scanner: &Scanner, folder: &Path) -> Result<Vec<u8>, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|dir| dir.join(scanner.tool).is_file()) {
        return Err("it is not installed".to_owned());
    }
    if scanner.tool == "semgrep" {
        std::fs::write(folder.join("rules.yaml"), RULES).map_err(|error| error.to_string())?;
    }
    let dir = folder.display().to_string();
    let arguments = scanner.arguments.iter().map(|argument| argument.replace("{dir}", &dir));
    let child = Command::new(scanner.tool)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| format!("it could not be started: {error}"))?;
    let mut report = Vec::new();
    let whole = async {
        if let Some(out) = child.stdout.take() {
            out.take(MAX_REPORT).read_to_end(&mut report).await?;
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(TIME, whole).await;
    let ended = ended.map_err(|_| format!("it did not end within {} s", TIME.as_secs()))?;
    let ended = ended.map_err(|error| error.to_string())?;
    // Some end with 1 when they found something; without a report, nothing was scanned.
    if serde_json::from_slice::<serde::de::IgnoredAny>(&report).is_err() {
        return Err(format!("it made no report ({ended})"));
    }
    Ok(report)
}
