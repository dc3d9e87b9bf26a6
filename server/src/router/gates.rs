//! `POST /api/v1/gates`: reports are handed in, the server decides, keeps them, and records it.
//!
//! The server reads the reports itself: a receipt about gates never rests on what somebody says that a scanner said.

use access::Identity;
use axum::{
    Extension, Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gates::{Decision, GateDecision, Judged, Policy, Request, Standing, Submitted, decide};
use model::{Actor, CommandId, Digest, Kind, ReleaseId, ServiceId, gate};
use receipt_log::Draft;
use receipts::Payload;
use serde::{Deserialize, Serialize};

use super::{App, api::Problem};

/// Largest body: reports of 16 MB in base64, with room. (A segment of the log holds at most 16 MB.)
pub(super) const MAX_BODY: usize = 24 * 1024 * 1024;
/// Most reports.
const MAX_REPORTS: usize = 50;
/// Findings in the receipt itself; the segment has all. An entry of the log has at most 65,535 bytes.
const MAX_TOP: usize = 25;
/// Reasons in the receipt itself.
const MAX_REASONS: usize = 20;
/// Longest text of one of them, characters.
const MAX_TEXT: usize = 160;

/// Body of the request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatesBody {
    /// Idempotency key.
    pub id: CommandId,
    /// The release it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// The service, when there is no release yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// The artifact; with a release, its digest when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
    /// The policy's text; the built-in strict one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The reports.
    pub reports: Vec<ReportBody>,
    /// Those of the release before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<ReportBody>,
    /// Tools that were not run, and why. It decides nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_run: Vec<gate::NotRun>,
}

/// A report as it is sent: bytes, so that what is not text stays what it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportBody {
    /// What it is called.
    pub name: String,
    /// Its bytes, base64.
    pub base64: String,
}

/// Answer to it: durable, whatever was decided.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GatesAnswer {
    /// Index of the receipt.
    pub receipt: u64,
    /// What was decided.
    #[serde(flatten)]
    pub decision: Decision,
}

/// `POST /api/v1/gates`.
pub(super) async fn check(
    State(app): State<App>,
    Extension(who): Extension<Identity>,
    body: Result<Json<GatesBody>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(body) = body?;
    let (status, answer) = decided(&app, who.actor, body).await?;
    Ok((status, Json(answer)).into_response())
}

/// Decides, keeps the reports, and records it; the same id again is answered with the same.
pub(crate) async fn decided(app: &App, actor: Actor, body: GatesBody) -> Result<(StatusCode, GatesAnswer), Problem> {
    if body.release.is_some() == body.service.is_some() {
        return Err(Problem::invalid("either a release or a service"));
    }
    if body.reports.is_empty() || body.reports.len() + body.against.len() > MAX_REPORTS {
        return Err(Problem::invalid(format!("1 to {MAX_REPORTS} reports")));
    }
    let key = format!("gates/{}", body.id.as_str());
    if let Some(receipt) = app.log.find(&key).await.map_err(|error| Problem::unavailable(&error))? {
        return Ok((StatusCode::OK, recorded(app, receipt).await?));
    }
    if body.not_run.len() > MAX_REPORTS {
        return Err(Problem::invalid(format!("at most {MAX_REPORTS} tools that were not run")));
    }
    let subject = subject(app, &body).await?;
    let policy = match &body.policy {
        None => Policy::strict(),
        Some(text) => Policy::parse(text).map_err(|error| Problem::invalid(format!("the policy: {error}")))?,
    };
    let reports = bytes(&body.reports)?;
    let against = bytes(&body.against)?;
    let now = app.clock.now();
    let (reports, decision) = {
        let subject = subject.clone();
        // Megabytes of JSON are read: not on a thread that serves others.
        let work = tokio::task::spawn_blocking(move || {
            let read = |all: &[(String, Vec<u8>)]| all.iter().map(|(n, b)| Submitted::read(n, b)).collect::<Vec<_>>();
            let (submitted, before) = (read(&reports), read(&against));
            let before = (!before.is_empty()).then_some(before.as_slice());
            let request = Request { reports: &submitted, policy: &policy, subject: subject.as_ref(), now, before };
            let decision = decide(request);
            (reports, decision)
        });
        work.await.map_err(|error| Problem::unavailable(&error))?
    };
    let mut kept = Vec::new();
    for (_, bytes) in reports {
        kept.push(app.log.put_segment(bytes).await.map_err(|error| Problem::unavailable(&error))?);
    }
    if let Some(text) = body.policy {
        app.log.put_segment(text.into_bytes()).await.map_err(|error| Problem::unavailable(&error))?;
    }
    let whole = serde_json::to_vec(&decision).map_err(|error| Problem::unavailable(&error))?;
    let segment = app.log.put_segment(whole).await.map_err(|error| Problem::unavailable(&error))?;
    let mut facts = facts(&decision, body.service, &kept, segment);
    facts.not_run = body.not_run.iter().map(|n| gate::NotRun { tool: cut(&n.tool), why: cut(&n.why) }).collect();
    let kind = match decision.decision {
        GateDecision::Passed => Kind::GatesPassed,
        GateDecision::Failed => Kind::GatesFailed,
    };
    let mut payload =
        Payload::new(kind, now, actor, &facts).map_err(|error| Problem::unavailable(&error))?.cite(cite(&decision));
    if let Some(release) = body.release {
        payload = payload.release(release);
    }
    let receipt = app.log.append(Draft { key, payload }).await.map_err(|error| Problem::unavailable(&error))?;
    Ok((StatusCode::CREATED, GatesAnswer { receipt, decision }))
}

/// The digest that is asked about: what was said, which must be the release's own.
async fn subject(app: &App, body: &GatesBody) -> Result<Option<Digest>, Problem> {
    let Some(release) = &body.release else { return Ok(body.subject.clone()) };
    let found = app.read.release(release).await.map_err(|error| Problem::unavailable(&error))?;
    let row = found.ok_or_else(|| Problem::missing(&format!("release {release}")))?.row;
    if !row.in_flight() {
        return Err(Problem::refused(format!("release {release} has ended: gates come before")));
    }
    match &body.subject {
        Some(said) if *said != row.digest => {
            Err(Problem::refused(format!("release {release} is of {}, not of {said}", row.digest)))
        }
        _ => Ok(Some(row.digest)),
    }
}

fn bytes(reports: &[ReportBody]) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    let one = |report: &ReportBody| {
        let bytes = STANDARD.decode(&report.base64);
        let bytes = bytes.map_err(|_| Problem::invalid(format!("the report {:?} is not base64", report.name)))?;
        if bytes.len() > receipt_log::MAX_SEGMENT {
            return Err(Problem::invalid(format!(
                "the report {:?} has more than {} MB",
                report.name,
                receipt_log::MAX_SEGMENT >> 20
            )));
        }
        Ok((report.name.clone(), bytes))
    };
    reports.iter().map(one).collect()
}

/// The same request again: the same answer.
async fn recorded(app: &App, receipt: u64) -> Result<GatesAnswer, Problem> {
    let missing = || Problem::unavailable(&format!("the decision of receipt {receipt} is not kept"));
    let found = app.log.range(receipt, 1).await.map_err(|error| Problem::unavailable(&error))?;
    let facts = found.first().and_then(|r| r.payload.facts::<gate::GatesDecided>().ok()).ok_or_else(missing)?;
    let bytes = app.log.segment(&facts.segment).await.map_err(|error| Problem::unavailable(&error))?;
    let decision: Decision = bytes.and_then(|b| serde_json::from_slice(&b).ok()).ok_or_else(missing)?;
    Ok(GatesAnswer { receipt, decision })
}

fn facts(decision: &Decision, service: Option<ServiceId>, kept: &[Digest], segment: Digest) -> gate::GatesDecided {
    let count = |standing| decision.findings.iter().filter(|j| j.standing == standing).count() as u64;
    gate::GatesDecided {
        decision: match decision.decision {
            GateDecision::Passed => "passed".to_owned(),
            GateDecision::Failed => "failed".to_owned(),
        },
        service,
        subject: decision.subject.clone(),
        policy: decision.policy.clone(),
        policy_digest: decision.policy_digest.clone(),
        reports: decision
            .reports
            .iter()
            .zip(kept)
            .map(|(report, segment)| gate::GateReport {
                name: cut(&report.name),
                tool: report.tool.clone(),
                scanned_at: report.scanned_at,
                findings: report.findings,
                failing: report.failing,
                segment: segment.clone(),
            })
            .collect(),
        findings: decision.findings.len() as u64,
        failing: count(Standing::Fails),
        waived: count(Standing::Waived),
        reasons: decision.reasons.iter().take(MAX_REASONS).map(|r| cut(&r.text)).collect(),
        reasons_total: decision.reasons.len() as u64,
        top: decision.findings.iter().take(MAX_TOP).map(row).collect(),
        new: decision.difference.as_ref().map(|d| d.new.len() as u64),
        fixed: decision.difference.as_ref().map(|d| d.fixed.len() as u64),
        not_run: Vec::new(),
        segment,
    }
}

fn row(judged: &Judged) -> gate::GateFinding {
    let f = &judged.finding;
    gate::GateFinding {
        standing: match judged.standing {
            Standing::Fails => "fails",
            Standing::Passes => "passes",
            Standing::Waived => "waived",
            Standing::Suppressed => "suppressed",
            Standing::Absent => "absent",
        }
        .to_owned(),
        severity: f.severity.as_str().to_owned(),
        tool: cut(&f.tool),
        rule: cut(&f.rule),
        place: cut(&f.place()),
        fixed_version: f.fixed_version.as_deref().map(cut),
        title: cut(&f.title),
        why: judged.why.as_deref().map(cut),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_TEXT {
        text.to_owned()
    } else {
        text.chars().take(MAX_TEXT - 1).chain(['…']).collect()
    }
}

/// The formats that were read.
fn cite(decision: &Decision) -> Vec<String> {
    let mut cite: Vec<String> =
        decision.reports.iter().filter_map(|r| r.format).map(|f| f.as_str().to_owned()).collect();
    cite.sort();
    cite.dedup();
    cite
}
