//! The scanners that are installed, run over a version's files: its image's configuration, its bill of materials and its program, unpacked.
//! The others are named with the reason why they were not run.

use std::{path::Path, process::Stdio, time::Duration};

use model::gate::NotRun;
use tokio::{io::AsyncReadExt as _, process::Command};

/// A scan of three files. What takes longer wants the network or the whole disk, and the demo does not wait for it.
const TIME: Duration = Duration::from_secs(20);
/// Longest report that is read.
const MAX_REPORT: u64 = 4 * 1024 * 1024;

/// A scanner, and how it is run without a network; `{dir}` is the folder with the files, `{rules}` the file with [`RULES`].
struct Scanner {
    tool: &'static str,
    arguments: &'static [&'static str],
    /// The exit code by which it says that it found nothing to look at, where it has one.
    nothing: Option<i32>,
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
        nothing: None,
    },
    Scanner {
        tool: "osv-scanner",
        arguments: &["scan", "source", "--format=json", "--offline", "--recursive", "{dir}"],
        nothing: Some(128),
    },
    Scanner {
        tool: "semgrep",
        arguments: &[
            "scan",
            "--json",
            "--quiet",
            "--metrics=off",
            "--disable-version-check",
            "--config={rules}",
            "{dir}",
        ],
        nothing: None,
    },
    Scanner { tool: "scancode", arguments: &["--quiet", "--license", "--json", "-", "{dir}"], nothing: None },
];

/// One rule, so that Semgrep needs none from the network: what an image starts is its own program.
const RULES: &str = include_str!("rules.yaml");

/// What they said, and what was not run.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// Name and bytes of each report.
    pub(super) reports: Vec<(String, Vec<u8>)>,
    /// The others.
    pub(super) not_run: Vec<NotRun>,
}

/// Runs them side by side over `folder`; the rules are written into `root`, beside what is scanned.
pub(super) async fn run(folder: &Path, root: &Path) -> Scanned {
    let mut scanned = Scanned::default();
    let rules = root.join("rules.yaml");
    let written =
        std::fs::write(&rules, RULES).map_err(|error| format!("{} cannot be written: {error}", rules.display()));
    let one = async |scanner| {
        written.clone()?;
        one(scanner, folder, &rules).await
    };
    let all = futures::future::join_all(SCANNERS.iter().map(one)).await;
    for (scanner, result) in SCANNERS.iter().zip(all) {
        match result {
            Ok(report) => scanned.reports.push((format!("{}.json", scanner.tool), report)),
            Err(why) => scanned.not_run.push(NotRun { tool: scanner.tool.to_owned(), why }),
        }
    }
    scanned
}

async fn one(scanner: &Scanner, folder: &Path, rules: &Path) -> Result<Vec<u8>, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|dir| dir.join(scanner.tool).is_file()) {
        return Err("it is not installed".to_owned());
    }
    let (dir, rules) = (folder.display().to_string(), rules.display().to_string());
    let arguments = scanner.arguments.iter().map(|argument| argument.replace("{dir}", &dir).replace("{rules}", &rules));
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
    if ended.code().is_some_and(|code| scanner.nothing == Some(code)) {
        return Err("it found nothing to look at in the image".to_owned());
    }
    // Some end with 1 when they found something; without a report, nothing was scanned.
    if serde_json::from_slice::<serde::de::IgnoredAny>(&report).is_err() {
        return Err(format!("it made no report ({ended})"));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_scanner_says_or_why_it_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let said = async |tool, arguments, nothing| {
            let said = one(&Scanner { tool, arguments, nothing }, folder.path(), Path::new("/rules.yaml")).await;
            said.map(|report| String::from_utf8(report).unwrap())
        };
        let echo = said("sh", &["-c", "echo '[\"{dir}\",\"{rules}\"]'; exit 1"], Some(128)).await;
        assert_eq!(echo.unwrap(), format!("[\"{}\",\"/rules.yaml\"]\n", folder.path().display()));
        let empty = said("sh", &["-c", "exit 128"], Some(128)).await.unwrap_err();
        assert_eq!(empty, "it found nothing to look at in the image");
        let failed = said("sh", &["-c", "exit 127"], Some(128)).await.unwrap_err();
        assert!(failed.starts_with("it made no report") && failed.contains("127"), "{failed}");
        assert_eq!(said("no-such-scanner", &[], None).await.unwrap_err(), "it is not installed");
    }
}
