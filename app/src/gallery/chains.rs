//! Made-up chains of evidence for the gallery.

use model::{
    Digest, Environment, Kind, Timestamp,
    evidence::{Attested, PromotionDecided, Requirement},
    gate::{GateFinding, GateReport, GatesDecided, NotRun},
};
use projections::{Receipt, ReleaseView};
use receipts::Payload;
use serde::Serialize;

use super::samples;

/// A name, the release, the receipts about its image, and the environments.
pub(super) type Sample = (&'static str, ReleaseView, Vec<Receipt>, Vec<Environment>);

const START: i64 = 1_778_162_000_000;

/// Every state.
pub(super) fn all() -> Vec<Sample> {
    let Some(sample) = samples::all().into_iter().nth(1) else { return Vec::new() };
    let order: Vec<Environment> = ["dev", "staging", "prod"].iter().filter_map(|e| e.parse().ok()).collect();
    let whole = whole(false).unwrap_or_default();
    let refused = self::refused().unwrap_or_default();
    let mut met = sample.view.clone();
    require(&mut met);
    vec![
        ("Where an image comes from: all of it", met, whole, order.clone()),
        ("Where an image comes from: refused", sample.view.clone(), refused, order.clone()),
        ("Where an image comes from: nothing is known", sample.view, Vec::new(), order),
    ]
}

fn digest(byte: u8) -> Digest {
    Digest::from_sha256(&[byte; 32])
}

fn receipt(index: u64, kind: Kind, facts: &impl Serialize) -> Option<Receipt> {
    let time = Timestamp::from_millis(START + i64::try_from(index).ok()? * 1000);
    Some(Receipt { index, payload: Payload::new(kind, time, "ci".parse().ok()?, facts).ok()? })
}

fn attested(index: u64, kind: Kind, source: bool) -> Option<Receipt> {
    let facts = Attested {
        service: "checkout".parse().ok()?,
        subject: digest(0x4f),
        predicate_type: "sample".into(),
        manifest: digest(0x21),
        bundle: digest(0x22),
        signer: "key 4f2cq0MNFyJbe19".into(),
        logged: if source { vec!["sample log #412".into()] } else { vec![] },
        source: source.then(|| "git+https://git.example/checkout@refs/heads/main".into()),
        commit: source.then(|| "abc123de9f00aa17".into()),
        builder: source.then(|| "https://ci.example/runner".into()),
        invocation: source.then(|| "run 8,204".into()),
    };
    receipt(index, kind, &facts)
}

fn promotion(index: u64, environment: &str, refusals: &[&str]) -> Option<Receipt> {
    let copied = refusals.is_empty();
    let facts = PromotionDecided {
        decision: if copied { "copied" } else { "refused" }.into(),
        service: "checkout".parse().ok()?,
        environment: environment.parse().ok()?,
        from: "oci:build/checkout".into(),
        to: format!("oci:{environment}/checkout"),
        tag: "v8".into(),
        subject: Some(digest(0x4f)),
        reason: String::new(),
        refusals: refusals.iter().map(|&r| r.to_owned()).collect(),
        request: None,
        asked_by: None,
        manifests: 4,
        evidence: 3,
        bytes: 48_100_000,
        copied: 48_100_000,
        verified: vec![],
    };
    receipt(index, if copied { Kind::PromotionCopied } else { Kind::PromotionRefused }, &facts)
}

fn gates(index: u64, failing: bool) -> Option<Receipt> {
    let finding = |standing: &str,
                   severity: &str,
                   rule: &str,
                   place: &str,
                   fixed: Option<&str>,
                   title: &str,
                   why: Option<&str>| GateFinding {
        standing: standing.into(),
        severity: severity.into(),
        tool: "trivy".into(),
        rule: rule.into(),
        place: place.into(),
        fixed_version: fixed.map(Into::into),
        title: title.into(),
        why: why.map(Into::into),
    };
    let report = |tool: Option<&str>, name: &str, findings, failing| GateReport {
        name: name.into(),
        tool: tool.map(Into::into),
        scanned_at: Some(Timestamp::from_millis(START)),
        findings,
        failing,
        segment: digest(0x31),
    };
    let top = vec![
        finding(
            "fails",
            "critical",
            "CVE-2019-1549",
            "openssl 1.1.1c",
            Some("1.1.1d"),
            "a made-up finding that fails",
            None,
        ),
        finding(
            "waived",
            "high",
            "CVE-2020-0001",
            "libfoo 2.0",
            None,
            "one that a waiver lets pass",
            Some("dana: not reachable, until 2026-12-01"),
        ),
        finding(
            "passes",
            "low",
            "CKV_1",
            "deploy/a-very-long-path/that/does/not/end/anywhere/soon/values.yaml:412",
            None,
            "one that passes",
            None,
        ),
    ];
    let reasons = if failing {
        vec![
            "trivy CVE-2019-1549 (critical) in openssl 1.1.1c".to_owned(),
            "semgrep.json cannot be read: it ends in the middle".to_owned(),
        ]
    } else {
        vec![]
    };
    let facts = GatesDecided {
        decision: if failing { "failed" } else { "passed" }.into(),
        service: Some("checkout".parse().ok()?),
        subject: Some(digest(0x4f)),
        policy: "production".into(),
        policy_digest: digest(0x41),
        reports: vec![
            report(Some("trivy"), "trivy.json", 3, u64::from(failing)),
            report(if failing { None } else { Some("semgrep") }, "semgrep.json", 0, 0),
        ],
        findings: if failing { 3 } else { 2 },
        failing: u64::from(failing),
        waived: 1,
        reasons_total: reasons.len() as u64,
        reasons,
        top: if failing { top } else { top.into_iter().skip(1).collect() },
        new: Some(2),
        fixed: Some(5),
        not_run: vec![NotRun { tool: "osv-scanner".into(), why: "not installed".into() }],
        segment: digest(0x51),
    };
    receipt(index, if failing { Kind::GatesFailed } else { Kind::GatesPassed }, &facts)
}

fn whole(failing: bool) -> Option<Vec<Receipt>> {
    Some(vec![
        attested(18_080, Kind::AttestationSlsa, true)?,
        attested(18_081, Kind::AttestationSignature, false)?,
        attested(18_082, Kind::AttestationSbom, false)?,
        gates(18_083, failing)?,
        promotion(18_084, "dev", &[])?,
        promotion(18_085, "staging", &[])?,
    ])
}

fn refused() -> Option<Vec<Receipt>> {
    let mut all = whole(true)?;
    all.push(promotion(
        18_086,
        "prod",
        &[
            "prod is frozen until 2026-05-11T06:00:00.000Z: nobody is here over the weekend",
            "dana asked for it, and somebody else has to agree",
        ],
    )?);
    Some(all)
}

/// A policy that was met when the release started.
fn require(view: &mut ReleaseView) {
    let met = |what: &str, receipt, why: &str| Requirement {
        what: what.into(),
        met: true,
        receipt: Some(receipt),
        why: why.into(),
    };
    let asked = [
        met("a verified provenance", 18_080, "signed by key 4f2cq0MNFyJbe19"),
        met("gates passed by the policy “production”", 18_083, "passed"),
        met("a promotion to staging", 18_085, "copied to oci:staging/checkout as v8"),
    ];
    if let (Some(first), Ok(asked)) = (view.receipts.first_mut(), serde_json::to_value(asked)) {
        first.payload.facts.insert("requirements".to_owned(), asked);
    }
}
