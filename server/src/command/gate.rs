//! `deliveryos gate …`: scanner reports against a policy.

use std::{
    fmt::Write as _,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gates::{Decision, GateDecision, Judged, MAX_REPORT, Policy, Request, Standing, Submitted, decide};
use receipt_log::{Clock as _, SystemClock};

use super::{
    client::{Client, random_id},
    print,
};
use crate::{
    args::{Check, GateVerb, Global},
    exit::{REFUSED, Refusal, WrongUse},
    router::{GatesAnswer, GatesBody, ReportBody},
};

/// Most reports at once: every tool of a large pipeline, for every image of it.
const MAX_REPORTS: usize = 100;
/// Largest policy file, bytes: a thousand waivers are a tenth of it.
const MAX_POLICY_FILE: u64 = 1024 * 1024;
/// Rows of the table; `--json` has all.
const MAX_ROWS: usize = 60;
/// Widest column of the table, characters.
const WIDE: usize = 48;

pub(super) async fn run(global: &Global, verb: GateVerb) -> anyhow::Result<ExitCode> {
    let GateVerb::Check(check) = verb;
    if check.reports.len() + check.against.len() > MAX_REPORTS {
        return Err(WrongUse(format!("at most {MAX_REPORTS} reports")).into());
    }
    let policy = check.policy.as_deref().map(policy).transpose()?;
    let (decision, receipt) = if check.release.is_some() || check.service.is_some() {
        let answer = there(global, &check, policy.map(|(text, _)| text)).await?;
        (answer.decision, Some(answer.receipt))
    } else {
        (here(&check, &policy.map_or_else(Policy::strict, |(_, policy)| policy)), None)
    };
    if global.json {
        match receipt {
            Some(receipt) => print::json(&GatesAnswer { receipt, decision: decision.clone() })?,
            None => print::json(&decision)?,
        }
    } else {
        show(&decision)?;
        if let Some(receipt) = receipt {
            print::line(&format!("recorded: receipt {receipt}"))?;
        }
    }
    Ok(match decision.decision {
        GateDecision::Passed => ExitCode::SUCCESS,
        GateDecision::Failed => ExitCode::from(REFUSED),
    })
}

fn here(check: &Check, policy: &Policy) -> Decision {
    let reports: Vec<Submitted> = check.reports.iter().map(|path| submitted(path)).collect();
    let before: Vec<Submitted> = check.against.iter().map(|path| submitted(path)).collect();
    decide(Request {
        reports: &reports,
        policy,
        subject: check.subject.as_ref(),
        now: check.now.unwrap_or_else(|| SystemClock.now()),
        before: (!before.is_empty()).then_some(before.as_slice()),
    })
}

/// The server reads the reports and decides.
async fn there(global: &Global, check: &Check, policy: Option<String>) -> anyhow::Result<GatesAnswer> {
    let send = |path: &PathBuf| -> anyhow::Result<ReportBody> {
        // What is missing cannot be handed in: it is said here, as a refusal.
        let bytes = bytes(path).map_err(|error| Refusal(format!("{} cannot be read: {error}", path.display())))?;
        Ok(ReportBody { name: path.display().to_string(), base64: STANDARD.encode(bytes) })
    };
    let body = GatesBody {
        id: random_id()?,
        release: check.release.clone(),
        service: check.service.clone(),
        subject: check.subject.clone(),
        policy,
        reports: check.reports.iter().map(send).collect::<anyhow::Result<_>>()?,
        against: check.against.iter().map(send).collect::<anyhow::Result<_>>()?,
        not_run: Vec::new(),
    };
    Client::new(global)?.post("/api/v1/gates", &body).await
}

/// A policy file, its text and what it says. One that is not there or not a policy is wrong use; one that is there and cannot be read is not known.
fn policy(path: &Path) -> anyhow::Result<(String, Policy)> {
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(path)?.take(MAX_POLICY_FILE + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = match read() {
        Ok(text) if text.len() as u64 > MAX_POLICY_FILE => {
            let kb = MAX_POLICY_FILE / 1024;
            return Err(WrongUse(format!("--policy {}: more than {kb} kB: not a policy", path.display())).into());
        }
        Ok(text) => text,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidData) => {
            return Err(WrongUse(format!("--policy {}: {error}", path.display())).into());
        }
        Err(error) => return Err(error).with_context(|| format!("--policy {} cannot be read", path.display())),
    };
    let policy = Policy::parse(&text).map_err(|error| WrongUse(format!("--policy {}: {error}", path.display())))?;
    Ok((text, policy))
}

/// A report. One that is missing or cannot be read fails the gate, as one that is not whole does.
fn submitted(path: &Path) -> Submitted {
    let name = path.display().to_string();
    match bytes(path) {
        Ok(bytes) => Submitted::read(&name, &bytes),
        Err(error) => Submitted { name, report: Err(error.to_string()) },
    }
}

/// The bytes of a report, one more than are read at most.
fn bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_REPORT as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn show(decision: &Decision) -> anyhow::Result<()> {
    for report in &decision.reports {
        let format = report.format.map_or("unreadable", gates::Format::as_str);
        let mut text =
            format!("{}: {format}, {} findings, {} of them failing", report.name, report.findings, report.failing);
        if let Some(at) = report.scanned_at {
            let _ = write!(text, ", scan of {at}");
        }
        if decision.subject.is_some() {
            let _ = write!(text, "; subject: {}", report.subject);
        }
        print::line(&text)?;
    }
    let shown: Vec<&Judged> = decision.findings.iter().filter(|j| j.standing != Standing::Absent).collect();
    if !shown.is_empty() {
        print::line("")?;
        let rows: Vec<Vec<String>> = shown.iter().take(MAX_ROWS).map(|judged| row(judged)).collect();
        print::table(&["", "severity", "tool", "rule", "where", "fixed in", "what"], &rows)?;
        if shown.len() > MAX_ROWS {
            print::line(&format!("and {} more: --json has all", shown.len() - MAX_ROWS))?;
        }
        print::line("")?;
    }
    if let Some(difference) = &decision.difference {
        print::line(&format!("against the release before: {}", difference.sentence()))?;
    }
    for reason in
        decision.reasons.iter().filter(|r| r.code != gates::ReasonCode::Finding && r.code != gates::ReasonCode::Licence)
    {
        print::line(&format!("- {}", reason.text))?;
    }
    let failing = decision.findings.iter().filter(|j| j.standing == Standing::Fails).count();
    let verdict = match decision.decision {
        GateDecision::Passed => "passed".to_owned(),
        GateDecision::Failed if failing == 0 => "failed: see the reasons above".to_owned(),
        GateDecision::Failed => format!("failed: {failing} findings that the policy does not let pass"),
    };
    print::line(&format!("{verdict} (policy {:?})", decision.policy))
}

fn row(judged: &Judged) -> Vec<String> {
    let f = &judged.finding;
    let standing = match judged.standing {
        Standing::Fails => "fails",
        Standing::Passes => "passes",
        Standing::Waived => "waived",
        Standing::Suppressed => "suppressed",
        Standing::Absent => "gone",
    };
    let what = match &judged.why {
        Some(why) => format!("{} ({why})", f.title),
        None => f.title.clone(),
    };
    vec![
        standing.to_owned(),
        f.severity.as_str().to_owned(),
        f.tool.clone(),
        cut(&f.rule),
        cut(&f.place()),
        f.fixed_version.clone().unwrap_or_default(),
        cut(&what),
    ]
}

/// The end tells rules and paths apart, so the beginning gives way.
fn cut(text: &str) -> String {
    let n = text.chars().count();
    if n <= WIDE { text.to_owned() } else { format!("…{}", text.chars().skip(n - WIDE + 1).collect::<String>()) }
}
