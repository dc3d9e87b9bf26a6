//! What changes a status, and goes into signed receipts: names are stable for ever.

use model::{Actor, Epoch, Kind, Timestamp, Verdict, Weight, event::Outcome};
use serde::{Deserialize, Serialize};

use super::{
    envelope::{Act, RollbackEnvelope},
    status::{PauseReason, Start},
};

/// Why a weight is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "for")]
pub enum WeightCause {
    /// A step of the recipe says so. When the step is `setWeight`, applying it completes the step.
    Step {
        /// Index of the step, from 0.
        step: u32,
        /// True when this completes it.
        completes: bool,
    },
    /// All steps are done, or a person skipped them: 100 %.
    Full,
    /// An abort: 0 %.
    Abort,
    /// A rollback after promotion: all traffic to the previous version.
    Rollback,
    /// The version that has traffic is not ready: 0 % until it is.
    NotReady,
}

/// Why the weight in force is not the one that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftReason {
    /// The data plane went to 0 because its controller was gone too long.
    DeadMan,
    /// The data plane restarted, or somebody else set it.
    Seen,
}

/// Why a step ended without a weight or a pause of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepEnd {
    /// Nothing was left to do for it, e.g. the weight was in force already.
    Done,
    /// A person skipped it.
    Skipped,
    /// A rollback to a recent version skips all steps (`rollbackWindow`).
    FastRollback,
}

/// Which steps an analysis run covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnalysisScope {
    /// All from `startingStep` on.
    Background,
    /// One step.
    Step(u32),
}

/// A change of a release's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Transition {
    /// The release began. Always the first.
    Started {
        /// When.
        at: Timestamp,
        /// What is released.
        start: Box<Start>,
    },
    /// The rollback envelope was signed.
    EnvelopeArmed {
        /// When.
        at: Timestamp,
        /// It.
        envelope: RollbackEnvelope,
    },
    /// A weight is in force: outcome of [`super::plan::Action::SetWeight`].
    WeightApplied {
        /// By the data plane's clock.
        at: Timestamp,
        /// The operation.
        operation: String,
        /// Why.
        cause: WeightCause,
        /// Share of the canary slot.
        weight: Weight,
        /// Before.
        previous: Weight,
        /// Under which epoch.
        epoch: Epoch,
        /// Its number among the weight changes: one that others have overtaken is late and changes nothing.
        change: u32,
    },
    /// The weight in force was seen to be another than the one set.
    WeightDrifted {
        /// When it was seen.
        at: Timestamp,
        /// What was set.
        expected: Weight,
        /// What is in force.
        seen: Weight,
        /// Why.
        reason: DriftReason,
    },
    /// A step ended without a weight or pause of its own.
    StepCompleted {
        /// When.
        at: Timestamp,
        /// Index of the step; with [`StepEnd::FastRollback`] the number of steps.
        step: u32,
        /// Why.
        end: StepEnd,
        /// Who skipped it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<Actor>,
    },
    /// The engine holds: a pause step began, or an analysis was inconclusive.
    PauseStarted {
        /// When.
        at: Timestamp,
        /// Why.
        reason: PauseReason,
        /// Index of the step.
        step: u32,
        /// When it ends by itself; never, when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// All pause conditions are cleared.
    PauseEnded {
        /// When.
        at: Timestamp,
        /// Index of the step.
        step: u32,
        /// True when the step is done with it.
        advance: bool,
        /// Who ended it; absent when its time was up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<Actor>,
    },
    /// A person holds the release.
    Held {
        /// When.
        at: Timestamp,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
        /// Weight meanwhile.
        weight: Weight,
    },
    /// The person's hold ended.
    Released {
        /// When.
        at: Timestamp,
        /// Who.
        actor: Actor,
    },
    /// An analysis run began.
    AnalysisStarted {
        /// When.
        at: Timestamp,
        /// Its name.
        run: String,
        /// What it covers.
        scope: AnalysisScope,
    },
    /// A measurement was taken. Kept as a sample, not as a receipt ([`Transition::kind`] is `None`).
    Measured {
        /// When it was done.
        at: Timestamp,
        /// When it was begun: one begun at the same moment as the last known one is a double and changes nothing.
        started: Timestamp,
        /// The run.
        run: String,
        /// The metric.
        metric: String,
        /// What it says.
        verdict: Verdict,
        /// The value, its condition or its error, in one sentence.
        message: String,
    },
    /// An analysis run ended with a verdict.
    AnalysisEnded {
        /// When.
        at: Timestamp,
        /// Its name.
        run: String,
        /// The verdict.
        verdict: Verdict,
        /// Argo's sentence.
        message: String,
    },
    /// A person skipped all that is left.
    PromotedFull {
        /// When.
        at: Timestamp,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// Back to the previous version, whatever the state: before promotion an abort, after it a rollback.
    Aborted {
        /// When it was decided.
        at: Timestamp,
        /// End of the tick or measurement in which the rule rejected, or the moment of the command.
        breach_at: Timestamp,
        /// Why: names metric, value and limit, or the person's reason; empty when a person gave none.
        reason: String,
        /// True when no person asked.
        automatic: bool,
        /// Who.
        actor: Actor,
        /// Share of the new version before.
        weight: Weight,
    },
    /// An aborted release begins again at step 0.
    Retried {
        /// When.
        at: Timestamp,
        /// Who.
        actor: Actor,
        /// Why.
        reason: String,
    },
    /// The data plane's slots were swapped: outcome of [`super::plan::Action::PromoteSlots`].
    SlotsPromoted {
        /// By the data plane's clock.
        at: Timestamp,
        /// The operation.
        operation: String,
        /// True on the way back.
        back: bool,
    },
    /// An act of an abort or rollback is done.
    ActDone {
        /// When.
        at: Timestamp,
        /// Which.
        act: Act,
        /// Its place, from 1.
        order: u32,
        /// Number of acts.
        of: u32,
        /// The attempt that is aborted: what comes late for an earlier one changes nothing.
        attempt: u32,
        /// What came of it.
        result: String,
        /// How long it took, ms.
        took_ms: i64,
    },
    /// The release ended.
    Completed {
        /// When.
        at: Timestamp,
        /// How.
        outcome: Outcome,
    },
}

impl Transition {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Started { at, .. }
            | Self::EnvelopeArmed { at, .. }
            | Self::WeightApplied { at, .. }
            | Self::WeightDrifted { at, .. }
            | Self::StepCompleted { at, .. }
            | Self::PauseStarted { at, .. }
            | Self::PauseEnded { at, .. }
            | Self::Held { at, .. }
            | Self::Released { at, .. }
            | Self::AnalysisStarted { at, .. }
            | Self::Measured { at, .. }
            | Self::AnalysisEnded { at, .. }
            | Self::PromotedFull { at, .. }
            | Self::Aborted { at, .. }
            | Self::Retried { at, .. }
            | Self::SlotsPromoted { at, .. }
            | Self::ActDone { at, .. }
            | Self::Completed { at, .. } => *at,
        }
    }

    /// The kind of the receipt that carries it. `None` for a measurement, which is kept as a sample: on recovery the
    /// samples are merged with the receipts' transitions by time ([`super::status::Status::fold`] takes them in that order).
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Started { .. } => Kind::CanaryStarted,
            Self::EnvelopeArmed { .. } => Kind::RollbackArmed,
            Self::WeightApplied { .. } | Self::WeightDrifted { .. } | Self::StepCompleted { .. } => Kind::CanaryStepped,
            Self::PauseStarted { .. } | Self::Held { .. } => Kind::CanaryPaused,
            Self::PauseEnded { .. } | Self::Released { .. } | Self::PromotedFull { .. } | Self::Retried { .. } => {
                Kind::CanaryResumed
            }
            Self::AnalysisStarted { .. } => Kind::AnalysisStarted,
            Self::Measured { .. } => return None,
            Self::AnalysisEnded { verdict, .. } => match verdict {
                Verdict::Successful => Kind::AnalysisPassed,
                Verdict::Failed => Kind::AnalysisFailed,
                Verdict::Inconclusive => Kind::AnalysisInconclusive,
                Verdict::Error => Kind::AnalysisError,
            },
            Self::Aborted { .. } => Kind::CanaryAborted,
            Self::SlotsPromoted { .. } => Kind::CanaryPromoted,
            Self::ActDone { .. } => Kind::RollbackExecuted,
            Self::Completed { .. } => Kind::CanaryCompleted,
        })
    }
}
