//! Reports, policy, subject and time in; passed or failed, with reasons, out.

use std::collections::BTreeSet;

use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    Difference, Finding, Format, Policy, Report, Severity, State, Subjects, Unknown, compare,
    finding::tidy,
    licence::{self, Verdict},
};

/// A scan that claims to be made later than this after now has a wrong clock, or hopes never to be old.
const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;
/// Reasons given one by one; beyond, their number is said.
const MAX_REASONS: usize = 200;

/// A report as it was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// What it is called: its file name.
    pub name: String,
    /// What it says, or why it cannot be read.
    pub report: Result<Report, String>,
}

impl Submitted {
    /// From the bytes of a report.
    pub fn read(name: &str, bytes: &[u8]) -> Self {
        Self { name: tidy(name), report: Report::read(bytes).map_err(|error| error.to_string()) }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The reports.
    pub reports: &'a [Submitted],
    /// What may pass.
    pub policy: &'a Policy,
    /// The artifact that is asked about.
    pub subject: Option<&'a Digest>,
    /// Now.
    pub now: Timestamp,
    /// The reports of the release before.
    pub before: Option<&'a [Submitted]>,
}

/// Passed or failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateDecision {
    /// Nothing speaks against it.
    Passed,
    /// Something does: see the reasons.
    Failed,
}

/// Why it failed, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// A report that the policy requires is not there.
    Missing,
    /// A report cannot be read.
    Unreadable,
    /// A report is too old, of the future, or does not say when it was made although it must.
    Stale,
    /// A report is about something else, or does not say what about although it must.
    WrongSubject,
    /// The tool could not look everywhere.
    ScanErrors,
    /// A finding counts.
    Finding,
    /// A licence is not allowed.
    Licence,
}

/// Why it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// For programs.
    pub code: ReasonCode,
    /// For people.
    pub text: String,
    /// The report it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

/// How a finding counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It makes the gate fail.
    Fails,
    /// The policy lets it pass.
    Passes,
    /// A waiver holds.
    Waived,
    /// The report says that it was accepted, and the policy takes its word.
    Suppressed,
    /// It is no longer there.
    Absent,
}

/// A finding and how it counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    /// The finding.
    #[serde(flatten)]
    pub finding: Finding,
    /// How it counted.
    pub standing: Standing,
    /// The report it stands in.
    pub report: String,
    /// Why, when there is more to say than the severity: the waiver, the licence rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// One report in the decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSummary {
    /// What it is called.
    pub name: String,
    /// Its format, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Which tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Digest of its bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// When the scan was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned_at: Option<Timestamp>,
    /// Findings in it, counted or not.
    pub findings: u64,
    /// Of these, those that make the gate fail.
    pub failing: u64,
    /// How it is bound to the subject, in words.
    pub subject: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Passed or failed.
    pub decision: GateDecision,
    /// Why it failed; empty when it passed.
    pub reasons: Vec<Reason>,
    /// Every finding, the worst first.
    pub findings: Vec<Judged>,
    /// The reports.
    pub reports: Vec<ReportSummary>,
    /// Name of the policy.
    pub policy: String,
    /// Digest of the policy.
    pub policy_digest: Digest,
    /// What was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// Against the release before, when its reports were given and could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
}

/// Decides.
pub fn decide(request: Request<'_>) -> Decision {
    let Request { reports, policy, subject, now, before } = request;
    let mut reasons = Vec::new();
    let mut findings = Vec::new();
    let mut summaries = Vec::new();
    let mut tools = BTreeSet::new();
    if reports.is_empty() {
        reasons.push(reason(ReasonCode::Missing, None, "there is no report"));
    }
    for submitted in reports {
        let name = &submitted.name;
        let mut summary = ReportSummary {
            name: name.clone(),
            format: None,
            tool: None,
            digest: None,
            scanned_at: None,
            findings: 0,
            failing: 0,
            subject: "not read".to_owned(),
        };
        match &submitted.report {
            Err(why) => {
                reasons.push(reason(ReasonCode::Unreadable, Some(name), &format!("{name} cannot be read: {why}")))
            }
            Ok(report) => {
                tools.insert(report.tool.clone());
                whole(name, report, policy, now, &mut reasons);
                summary.subject = bound(name, report, policy, subject, &mut reasons);
                summary.format = Some(report.format);
                summary.tool = Some(report.tool.clone());
                summary.digest = Some(report.digest.clone());
                summary.scanned_at = report.scanned_at;
                for finding in &report.findings {
                    let judged = judge(name, finding, policy, now);
                    summary.findings += 1;
                    summary.failing += u64::from(judged.standing == Standing::Fails);
                    findings.push(judged);
                }
            }
        }
        summaries.push(summary);
    }
    for tool in policy.required.iter().filter(|tool| !tools.contains(*tool)) {
        reasons.push(reason(
            ReasonCode::Missing,
            None,
            &format!("there is no readable report of {tool}, which the policy requires"),
        ));
    }
    findings.sort_by_key(|judged| (judged.standing != Standing::Fails, judged.finding.severity.rank()));
    let failing: Vec<&Judged> = findings.iter().filter(|judged| judged.standing == Standing::Fails).collect();
    for judged in failing.iter().take(MAX_REASONS) {
        let code = if judged.finding.licence.is_some() { ReasonCode::Licence } else { ReasonCode::Finding };
        reasons.push(reason(code, Some(&judged.report), &said(judged)));
    }
    if failing.len() > MAX_REASONS {
        let more = failing.len() - MAX_REASONS;
        reasons.push(reason(ReasonCode::Finding, None, &format!("and {more} more findings")));
    }
    let difference = before.map(|before| difference(reports, before, &mut reasons));
    Decision {
        decision: if reasons.is_empty() { GateDecision::Passed } else { GateDecision::Failed },
        reasons,
        findings,
        reports: summaries,
        policy: policy.name.clone(),
        policy_digest: policy.digest.clone(),
        subject: subject.cloned(),
        decided_at: now,
        difference: difference.flatten(),
    }
}

fn reason(code: ReasonCode, report: Option<&str>, text: &str) -> Reason {
    Reason { code, text: text.to_owned(), report: report.map(str::to_owned) }
}

/// Whether the scan got to its end, and not too long ago.
fn whole(name: &str, report: &Report, policy: &Policy, now: Timestamp, reasons: &mut Vec<Reason>) {
    let rules = policy.rules(&report.tool);
    if rules.scan_errors == Unknown::Fail && !report.errors.is_empty() {
        let first = report.errors.first().map_or("", String::as_str);
        let more =
            if report.errors.len() > 1 { format!(" (and {} more)", report.errors.len() - 1) } else { String::new() };
        reasons.push(reason(
            ReasonCode::ScanErrors,
            Some(name),
            &format!("{name}: the scan was not whole: {first}{more}"),
        ));
    }
    let mut stale = |text: String| reasons.push(reason(ReasonCode::Stale, Some(name), &format!("{name}: {text}")));
    match (report.scanned_at, rules.max_age_ms) {
        (Some(at), _) if at.since(now) > MAX_AHEAD_MS => {
            stale(format!("the scan says it was made at {at}, which is yet to come"))
        }
        (Some(at), Some(max)) if now.since(at) > max => {
            stale(format!("the scan is of {at}, {} old; at most {} are accepted", hours(now.since(at)), hours(max)));
        }
        (None, Some(_)) if rules.age_required => {
            stale("the report does not say when the scan was made, and the policy has a max_age".to_owned());
        }
        _ => {}
    }
}

fn hours(ms: i64) -> String {
    let hours = ms / 3_600_000;
    match hours {
        0 => format!("{} min", ms / 60_000),
        1..72 => format!("{hours} h"),
        _ => format!("{} days", hours / 24),
    }
}

/// Whether the report is about what is asked about; answers in words how it is bound to it.
fn bound(name: &str, report: &Report, policy: &Policy, subject: Option<&Digest>, reasons: &mut Vec<Reason>) -> String {
    let Some(subject) = subject else { return "nothing was asked about".to_owned() };
    let rule = policy.rules(&report.tool).subject;
    let mut wrong = |text: String| {
        reasons.push(reason(ReasonCode::WrongSubject, Some(name), &format!("{name}: {text}")));
    };
    match (rule, report.subjects.as_slice()) {
        (Subjects::Ignored, _) => "not compared: the policy says so".to_owned(),
        (_, found) if found.contains(subject) => "the same digest".to_owned(),
        (_, [first, ..]) => {
            wrong(format!("it is about {first}, not about {subject}"));
            "another digest".to_owned()
        }
        (Subjects::WhenStated, []) if !report.of_artifact => {
            "a scan of sources, bound by whoever handed it in".to_owned()
        }
        (_, []) => {
            wrong(format!("it does not say what it is about, which must be {subject}"));
            "not stated".to_owned()
        }
    }
}

fn judge(name: &str, finding: &Finding, policy: &Policy, now: Timestamp) -> Judged {
    let mut why = None;
    let mut fails = policy.counts(finding);
    if let Some(expression) = finding.licence.as_deref().filter(|_| finding.state == State::Open) {
        match licence::judge(expression, &policy.allowed_licences, &policy.denied_licences) {
            Verdict::Allowed => {}
            Verdict::Refused(which) => (fails, why) = (true, Some(format!("{which} is not allowed"))),
            Verdict::Unreadable => (fails, why) = (true, Some("not an SPDX expression".to_owned())),
        }
    }
    let mut standing = match finding.state {
        _ if fails => Standing::Fails,
        State::Absent => Standing::Absent,
        State::Suppressed => Standing::Suppressed,
        State::Open => Standing::Passes,
    };
    if fails {
        let about = || policy.waivers.iter().filter(|waiver| waiver.is_about(finding));
        if let Some(w) = about().find(|waiver| waiver.expires > now) {
            standing = Standing::Waived;
            why = Some(tidy(&format!("waived by {} until {}: {}", w.owner, w.expires, w.reason)));
        } else if let Some(w) = about().next() {
            why = Some(tidy(&format!("the waiver of {} expired at {}", w.owner, w.expires)));
        }
    }
    Judged { finding: finding.clone(), standing, report: name.to_owned(), why }
}

fn said(judged: &Judged) -> String {
    let f = &judged.finding;
    let mut text = format!("{} {} ({})", f.tool, f.rule, f.severity.as_str());
    if f.licence.is_some() {
        text = format!("{} licence {}", f.tool, f.title);
    } else if f.severity == Severity::Unknown {
        text = format!("{} {} (no severity stated)", f.tool, f.rule);
    }
    let place = f.place();
    if !place.is_empty() {
        text.push_str(" in ");
        text.push_str(&place);
    }
    if let Some(fixed) = &f.fixed_version {
        text.push_str(&format!(", fixed in {fixed}"));
    }
    if let Some(why) = &judged.why {
        text.push_str(": ");
        text.push_str(why);
    } else if !f.title.is_empty() && f.licence.is_none() {
        text.push_str(": ");
        text.push_str(&f.title);
    }
    text
}

/// A report of before that cannot be read fails too: "0 fixed" would be said of what was not looked at.
fn difference(now: &[Submitted], before: &[Submitted], reasons: &mut Vec<Reason>) -> Option<Difference> {
    let mut readable = true;
    for old in before {
        if let Err(why) = &old.report {
            readable = false;
            let text = format!("{} (of the release before) cannot be read: {why}", old.name);
            reasons.push(reason(ReasonCode::Unreadable, Some(&old.name), &text));
        }
    }
    let all = |reports: &[Submitted]| -> Vec<Finding> {
        reports.iter().filter_map(|s| s.report.as_ref().ok()).flat_map(|r| r.findings.iter().cloned()).collect()
    };
    readable.then(|| compare(&all(now), &all(before)))
}
