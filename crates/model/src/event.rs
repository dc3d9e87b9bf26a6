//! What can happen: the kinds of receipts, and the facts that pages rely on for each.
//!
//! A receipt's payload is flat JSON: `kind`, the facts of that kind, and the common fields (`receipts::Payload`).
//! A kind's fact struct lists the fields that are always there; further fields are allowed and kept.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Digest, Environment, Epoch, ParseError, ServiceId, Timestamp, Verdict, Version, Weight};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The kinds of receipts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind { $($(#[$doc])* #[serde(rename = $text)] $name,)* }
        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
            /// The text stored in the payload.
            pub fn as_str(self) -> &'static str { match self { $(Self::$name => $text,)* } }
        }
    };
}

kinds! {
    /// A build ended.
    BuildCompleted = "delivery.build.completed",
    /// SLSA provenance was attested.
    AttestationSlsa = "delivery.attestation.slsa",
    /// A signature was attested.
    AttestationSignature = "delivery.attestation.signature",
    /// A bill of materials was attested.
    AttestationSbom = "delivery.attestation.sbom",
    /// A vulnerability scan was attested.
    AttestationVuln = "delivery.attestation.vuln",
    /// Gates passed.
    GatesPassed = "delivery.gates.passed",
    /// Gates failed.
    GatesFailed = "delivery.gates.failed",
    /// A flag was changed.
    FlagToggled = "delivery.flag.toggled",
    /// Flag evaluations of a window.
    FlagEvaluated = "delivery.flag.evaluated",
    /// A canary started.
    CanaryStarted = "delivery.canary.started",
    /// A step of the recipe was completed or a weight applied.
    CanaryStepped = "delivery.canary.stepped",
    /// The canary is held.
    CanaryPaused = "delivery.canary.paused",
    /// The canary goes on.
    CanaryResumed = "delivery.canary.resumed",
    /// The canary became stable.
    CanaryPromoted = "delivery.canary.promoted",
    /// The canary was stopped: weight 0.
    CanaryAborted = "delivery.canary.aborted",
    /// The rollout ended and its old version is gone.
    CanaryCompleted = "delivery.canary.completed",
    /// An analysis began.
    AnalysisStarted = "delivery.analysis.started",
    /// An analysis ended Successful.
    AnalysisPassed = "delivery.analysis.passed",
    /// An analysis ended Failed.
    AnalysisFailed = "delivery.analysis.failed",
    /// An analysis ended Inconclusive.
    AnalysisInconclusive = "delivery.analysis.inconclusive",
    /// An analysis could not be done.
    AnalysisError = "delivery.analysis.error",
    /// The rollback envelope was signed.
    RollbackArmed = "delivery.rollback.armed",
    /// An act of the rollback envelope was carried out.
    RollbackExecuted = "delivery.rollback.executed",
    /// An artifact was copied with its referrers.
    PromotionCopied = "delivery.promotion.copied",
    /// A promotion was refused.
    PromotionRefused = "delivery.promotion.refused",
    /// A workload was admitted.
    AdmissionAllowed = "delivery.admission.allowed",
    /// A workload was denied.
    AdmissionDenied = "delivery.admission.denied",
    /// An incident was opened.
    IncidentOpened = "delivery.incident.opened",
    /// An incident was resolved.
    IncidentResolved = "delivery.incident.resolved",
    /// An incident was reopened.
    IncidentReopened = "delivery.incident.reopened",
    /// DORA values of a window.
    DoraSnapshot = "delivery.dora.snapshot",
    /// The log's signing key changed (or was first made).
    KeyRotated = "delivery.key.rotated",
    /// An entry was appended to the log of signatures.
    SignatureLogged = "delivery.signature.logged",
    /// A command was accepted, before anything moved.
    CommandAccepted = "delivery.command.accepted",
    /// A command was refused.
    CommandRefused = "delivery.command.refused",
    /// A release ended: the sum of its receipts.
    ReleaseCompleted = "delivery.release.completed",
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl FromStr for Kind {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        Self::ALL.iter().copied().find(|k| k.as_str() == s).ok_or_else(|| ParseError::new("a kind of receipt", s))
    }
}

/// Facts of [`Kind::CanaryStarted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryStarted {
    /// Always `canary`.
    pub strategy: String,
    /// The service.
    pub service: ServiceId,
    /// Where it goes.
    pub environment: Environment,
    /// Label of the new version.
    pub version: Version,
    /// Identity of the new version.
    pub digest: Digest,
    /// Label of the version that is there.
    pub stable_version: Version,
    /// Identity of the version that is there.
    pub stable_digest: Digest,
    /// Digest of the recipe's text, which is kept as a segment.
    pub recipe: Digest,
    /// Number of steps in the recipe.
    pub steps: u32,
    /// The planned timetable: seconds from the start and the weight from then on. Ends before an indefinite pause.
    pub planned: Vec<PlannedWeight>,
    /// Planned length, ms, when no step waits for a person.
    pub planned_ms: Option<i64>,
    /// The weights above 0 that the recipe leads to, in its order, those behind an indefinite pause too. Empty where it is not stated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stops: Vec<Weight>,
    /// Which runtime carries it: `local`, …
    pub runtime: String,
}

/// A point of the planned timetable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlannedWeight {
    /// Milliseconds from the start.
    pub at_ms: i64,
    /// Weight from then on.
    pub weight: Weight,
}

/// Facts of [`Kind::CanaryStepped`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryStepped {
    /// Always `canary`.
    pub strategy: String,
    /// Index of the step, from 0.
    pub step: u32,
    /// Number of steps.
    pub steps: u32,
    /// Weight before.
    pub from_weight: Weight,
    /// Weight after.
    pub weight: Weight,
    /// When the data plane applied it, by its own clock.
    pub applied_at: Timestamp,
    /// Epoch under which it was applied.
    pub epoch: Epoch,
    /// Operation id: the same is never applied twice.
    pub operation: String,
}

/// Facts of [`Kind::CanaryPaused`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryPaused {
    /// Why: `step`, `person`, `inconclusive`, or a sentence.
    pub reason: String,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Weight meanwhile.
    pub weight: Weight,
    /// Index of the step.
    pub step: u32,
}

/// Facts of [`Kind::CanaryResumed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryResumed {
    /// Why.
    pub reason: String,
    /// How long it was held, ms.
    pub paused_ms: i64,
    /// Index of the step.
    pub step: u32,
}

/// Facts of [`Kind::CanaryPromoted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryPromoted {
    /// True when steps were skipped by a person.
    pub full: bool,
    /// The version that is stable now.
    pub version: Version,
    /// Its digest.
    pub digest: Digest,
    /// Why, in words.
    pub reason: String,
}

/// Facts of [`Kind::CanaryAborted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryAborted {
    /// Why, in words that name the metric, its value and its limit, or the person's own; empty when a person gave none.
    pub reason: String,
    /// True when no person asked for it.
    pub automatic: bool,
    /// Weight before.
    pub weight: Weight,
    /// End of the tick (or measurement) in which the rule rejected, or the moment the command was accepted.
    pub breach_at: Timestamp,
    /// Index of the command's receipt, when a person asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<u64>,
}

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The canary became stable.
    Promoted,
    /// Stopped before it became stable.
    Aborted,
    /// Returned to the version before, after it had become stable.
    RolledBack,
}

impl Outcome {
    /// The word shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled back",
        }
    }
}

/// Facts of [`Kind::CanaryCompleted`]: the clocks, each measured at the data plane. A clock that was not run is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CanaryCompleted {
    /// How it ended.
    pub outcome: Outcome,
    /// From start to here, ms.
    pub took_ms: i64,
    /// Breach to weight 0 in force, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach_to_zero_ms: Option<i64>,
    /// Breach to the last request sent on to the canary, ms; negative when none followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breach_to_last_request_ms: Option<i64>,
    /// Weight 0 to the canary's process gone, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zero_to_drained_ms: Option<i64>,
    /// Recovery time: breach to the canary gone, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_ms: Option<i64>,
    /// Requests that the canary served.
    #[serde(default)]
    pub exposed: u64,
}

/// Sufficient statistics of one version over a window: with them a verdict can be recomputed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WindowStats {
    /// Requests ended.
    pub n: u64,
    /// Of these, failed.
    pub errors: u64,
    /// 99th percentile, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
    /// Mean, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ms: Option<f64>,
    /// Standard deviation, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma_ms: Option<f64>,
}

/// Facts of the four analysis kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnalysisEnded {
    /// Name of the run.
    pub analysis: String,
    /// `background`, `step` or `built-in`.
    pub scope: String,
    /// The verdict.
    pub verdict: Verdict,
    /// One sentence that names metric, value and limit.
    pub message: String,
    /// The rule that decided, e.g. `threshold`, or the metric's condition.
    pub rule: String,
    /// Measurements taken.
    pub measurements: u64,
    /// Digest of the segment that holds each of them, or the ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Digest>,
    /// Start of the window that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// End of the window that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The canary's statistics in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<WindowStats>,
    /// Stable's statistics in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<WindowStats>,
}

/// Facts of [`Kind::RollbackArmed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackArmed {
    /// Digest to return to.
    pub previous_image: Digest,
    /// Its label.
    pub previous_version: Version,
    /// Name of the down-migration, as the configuration names it, or `none`.
    pub down_migration: String,
    /// Flags to turn off.
    pub flags_off: Vec<String>,
    /// The acts in order.
    pub acts: Vec<String>,
    /// Recovery time promised, s.
    pub rto_s: u32,
}

/// Facts of [`Kind::RollbackExecuted`], one receipt an act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollbackExecuted {
    /// Which act: `traffic`, `processes`, `migration`, `flags`.
    pub act: String,
    /// Its place, from 1.
    pub order: u32,
    /// Number of acts.
    pub of: u32,
    /// What came of it, in words.
    pub result: String,
    /// How long it took, ms.
    pub took_ms: i64,
}

/// Facts of [`Kind::SignatureLogged`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureLogged {
    /// Name of the log of signatures.
    pub log: String,
    /// The entry's place in it.
    pub index: u64,
    /// RFC 6962 hash of the entry, hexadecimal.
    pub leaf: String,
    /// Kind and version of the entry.
    pub entry: String,
    /// Digest of what was signed: a file's, or of a DSSE envelope's pre-authentication encoding.
    pub signed: String,
    /// Kind of the key, by Sigstore's name for it.
    pub key_details: String,
    /// True when a certificate names the signer, false for a bare key.
    pub by_certificate: bool,
}

/// Facts of [`Kind::CommandAccepted`] and [`Kind::CommandRefused`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandSeen {
    /// The verb, or `start`.
    pub command: String,
    /// Idempotency key.
    pub command_id: String,
    /// The person's reason; empty when none was given.
    pub reason: String,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// Facts of [`Kind::ReleaseCompleted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseCompleted {
    /// How it ended.
    pub outcome: Outcome,
    /// Number of receipts of the release before this one.
    pub children: u64,
    /// Their indices, as inclusive ranges.
    pub ranges: Vec<(u64, u64)>,
    /// RFC 6962 root over their leaf hashes in order, hexadecimal.
    pub root: String,
}
