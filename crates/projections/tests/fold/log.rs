//! Receipts of releases, to fold.

use model::{
    Digest, Energy, EnergyMethod, Epoch, Kind, ReleaseId, Timestamp, Verdict, Weight,
    event::{
        AnalysisEnded, CanaryAborted, CanaryCompleted, CanaryPaused, CanaryPromoted, CanaryResumed, CanaryStarted,
        CanaryStepped, CommandSeen, Outcome, PlannedWeight, ReleaseCompleted, RollbackArmed,
    },
};
use projections::Receipt;
use receipts::Payload;
use serde::Serialize;
use serde_json::json;

pub(crate) fn id(n: u8) -> ReleaseId {
    format!("checkout-{n}").parse().unwrap()
}
pub(crate) fn at(s: i64) -> Timestamp {
    Timestamp::from_millis(1_778_162_792_000 + s * 1000)
}
pub(crate) fn w(p: u8) -> Weight {
    Weight::new(p).unwrap()
}
pub(crate) fn digest(b: u8) -> Digest {
    Digest::from_sha256(&[b; 32])
}
pub(crate) fn energy(joules: f64) -> Energy {
    Energy {
        joules,
        low: joules / 2.0,
        high: joules * 2.0,
        method: EnergyMethod::ModelCpuTime,
        scope: "cpu".into(),
        coefficient: None,
        cpu_time_us: 1,
        wall_us: 2,
        idle_joules: None,
    }
}

pub(crate) fn payload(kind: Kind, s: i64, facts: &impl Serialize) -> Payload {
    Payload::new(kind, at(s), "dana".parse().unwrap(), facts).unwrap().release(id(1))
}

pub(crate) fn started() -> Payload {
    let facts = CanaryStarted {
        strategy: "canary".into(),
        service: "checkout".parse().unwrap(),
        environment: "production".parse().unwrap(),
        version: "v2".parse().unwrap(),
        digest: digest(2),
        stable_version: "v1".parse().unwrap(),
        stable_digest: digest(1),
        recipe: digest(9),
        steps: 6,
        planned: vec![
            PlannedWeight { at_ms: 0, weight: w(5) },
            PlannedWeight { at_ms: 120_000, weight: w(25) },
            PlannedWeight { at_ms: 300_000, weight: w(100) },
        ],
        planned_ms: Some(720_000),
        stops: Vec::new(),
        runtime: "local".into(),
    };
    payload(Kind::CanaryStarted, 1, &facts).energy(energy(0.5))
}
pub(crate) fn stepped(s: i64, step: u32, from: u8, to: u8) -> Payload {
    let facts = CanaryStepped {
        strategy: "canary".into(),
        step,
        steps: 6,
        from_weight: w(from),
        weight: w(to),
        applied_at: at(s),
        epoch: Epoch(1),
        operation: format!("op-{s}"),
    };
    payload(Kind::CanaryStepped, s, &facts).energy(energy(0.25))
}
pub(crate) fn paused(s: i64, reason: &str, until: Option<i64>, weight: u8) -> Payload {
    payload(
        Kind::CanaryPaused,
        s,
        &CanaryPaused { reason: reason.into(), until: until.map(at), weight: w(weight), step: 1 },
    )
}
pub(crate) fn resumed(s: i64, turn: &str) -> Payload {
    let mut p = payload(
        Kind::CanaryResumed,
        s,
        &CanaryResumed { reason: "cache was warming".into(), paused_ms: 40_000, step: 1 },
    );
    p.facts.insert("transition".into(), json!({ "type": turn }));
    p
}
pub(crate) fn analysis(s: i64, kind: Kind, verdict: Verdict, message: &str) -> Payload {
    let facts = AnalysisEnded {
        analysis: "built-in".into(),
        scope: "built-in".into(),
        verdict,
        message: message.into(),
        rule: "threshold".into(),
        measurements: 3,
        segment: None,
        from: None,
        to: None,
        canary: None,
        stable: None,
    };
    payload(kind, s, &facts)
}
pub(crate) fn armed(s: i64) -> Payload {
    payload(
        Kind::RollbackArmed,
        s,
        &RollbackArmed {
            previous_image: digest(1),
            previous_version: "v1".parse().unwrap(),
            down_migration: "none".into(),
            flags_off: vec![],
            acts: vec!["traffic".into()],
            rto_s: 90,
        },
    )
}
pub(crate) fn aborted(s: i64, automatic: bool) -> Payload {
    payload(
        Kind::CanaryAborted,
        s,
        &CanaryAborted {
            reason: "5xx 9.4 %, limit 1 %".into(),
            automatic,
            weight: w(25),
            breach_at: at(s - 1),
            command: None,
        },
    )
}
pub(crate) fn completed(s: i64, outcome: Outcome) -> Payload {
    payload(
        Kind::CanaryCompleted,
        s,
        &CanaryCompleted {
            outcome,
            took_ms: 47_000,
            breach_to_zero_ms: Some(12),
            breach_to_last_request_ms: Some(8),
            zero_to_drained_ms: Some(3000),
            rto_ms: Some(3012),
            exposed: 61,
        },
    )
}
pub(crate) fn promoted(s: i64) -> Payload {
    payload(
        Kind::CanaryPromoted,
        s,
        &CanaryPromoted {
            full: false,
            version: "v2".parse().unwrap(),
            digest: digest(2),
            reason: "all steps done".into(),
        },
    )
}
pub(crate) fn ended(s: i64, outcome: Outcome) -> Payload {
    payload(
        Kind::ReleaseCompleted,
        s,
        &ReleaseCompleted { outcome, children: 9, ranges: vec![(0, 8)], root: "00".repeat(32) },
    )
    .energy(energy(99.0))
}
pub(crate) fn asked(s: i64, command: &str) -> Payload {
    payload(
        Kind::CommandAccepted,
        s,
        &CommandSeen { command: command.into(), command_id: "12345678".into(), reason: "".into(), refusal: None },
    )
    .energy(energy(0.125))
}

pub(crate) fn log(payloads: Vec<Payload>) -> Vec<Receipt> {
    payloads.into_iter().enumerate().map(|(i, payload)| Receipt { index: i as u64, payload }).collect()
}
