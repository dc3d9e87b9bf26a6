//! The state of a release: nothing but the fold of its transitions.

use std::collections::VecDeque;

use model::{Actor, Digest, Epoch, ReleaseId, ServiceId, Timestamp, Verdict, Version, Weight, event::Outcome};
use serde::{Deserialize, Serialize};

use super::{
    envelope::{Replay, RollbackEnvelope},
    transition::{AnalysisScope, Transition},
};
use crate::{
    assess::RunState,
    recipe::{Analysis, Builtin, Metric, Provider, Recipe, Step},
};

/// A version, by label and identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionRef {
    /// Label.
    pub version: Version,
    /// Identity.
    pub digest: Digest,
}

/// What is released, and all that the engine needs to know beside the recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The release.
    pub release: ReleaseId,
    /// The service.
    pub service: ServiceId,
    /// The new version.
    pub canary: VersionRef,
    /// The version that is there.
    pub stable: VersionRef,
    /// Digest of the recipe's text.
    pub recipe: Digest,
    /// Every duration of the recipe is divided by this; 1 = as written.
    pub speed: f64,
    /// Name of the down-migration in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_migration: Option<String>,
    /// Flags to turn off on a rollback.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags_off: Vec<String>,
    /// When the new version was stable before: how many releases ago (1 = the last before the present). For `rollbackWindow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revisions_back: Option<u32>,
}

/// Argo's four phases of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// The new version is stable.
    Healthy,
    /// Something is under way.
    Progressing,
    /// Waiting for time or a person.
    Paused,
    /// Aborted, or no progress within the deadline.
    Degraded,
}

/// Why the engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PauseReason {
    /// A pause step.
    CanaryPauseStep,
    /// An analysis run ended Inconclusive: a person decides.
    InconclusiveAnalysisRun,
}

/// A condition that holds the release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseCondition {
    /// Why.
    pub reason: PauseReason,
    /// Since when.
    pub started: Timestamp,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
}

/// A person's hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Since when.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Why.
    pub reason: String,
    /// The weight is not raised above this.
    pub weight: Weight,
}

/// An abort or rollback under way or done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// When it was decided.
    pub at: Timestamp,
    /// When the rule rejected, or the command came.
    pub breach_at: Timestamp,
    /// Why.
    pub reason: String,
    /// True when no person asked.
    pub automatic: bool,
    /// Who.
    pub actor: Actor,
    /// True when the new version was stable already: a rollback.
    pub after_promotion: bool,
    /// How far its acts are.
    pub replay: Replay,
    /// When the new version was seen to have no traffic.
    pub zero_at: Option<Timestamp>,
    /// When its processes were gone.
    pub drained_at: Option<Timestamp>,
}

/// The state of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What is released.
    pub start: Start,
    /// When it began.
    pub started_at: Timestamp,
    /// From 1; each retry adds one.
    pub attempt: u32,
    /// When this attempt began.
    pub attempt_at: Timestamp,
    /// Index of the current step; equal to the number of steps when all are done.
    pub step: u32,
    /// When it became the current step.
    pub step_entered_at: Timestamp,
    /// What holds the release.
    pub pauses: Vec<PauseCondition>,
    /// True from the first pause condition until the step is done. True without conditions: a person cleared them.
    pub controller_pause: bool,
    /// A person's hold.
    pub held: Option<Hold>,
    /// Set when a person skipped all that is left.
    pub promote_full: bool,
    /// Set when the steps were skipped because the version was stable a short while ago.
    pub fast_rollback: bool,
    /// Set when aborted or rolled back.
    pub abort: Option<Abort>,
    /// The rollback envelope, once it is signed.
    pub envelope: Option<RollbackEnvelope>,
    /// Share of the canary slot that was last applied.
    pub applied: Weight,
    /// When, by the data plane's clock.
    pub applied_at: Timestamp,
    /// Under which epoch.
    pub epoch: Epoch,
    /// When the data plane last went to 0 by itself, as far as it is known.
    pub dead_man_at: Option<Timestamp>,
    /// Number of weight operations and drifts so far: makes operation ids unique.
    pub weight_changes: u32,
    /// True while the data plane's stable slot holds the new version.
    pub swapped: bool,
    /// When the slots were last swapped.
    pub swapped_at: Option<Timestamp>,
    /// When it became stable.
    pub promoted_at: Option<Timestamp>,
    /// The background analysis run.
    pub background: Option<RunState>,
    /// The analysis run of the current step.
    pub step_run: Option<RunState>,
    /// Number of analysis runs so far: makes their names unique.
    pub runs: u32,
    /// Last time that anything progressed, for the progress deadline.
    pub progress_at: Timestamp,
    /// Time spent in pauses so far, ms.
    pub paused_ms: i64,
    /// The last operations completed.
    pub operations: VecDeque<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Transitions that make no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// There are none.
    #[error("a release without transitions has no status")]
    Empty,
    /// The first is not `started`.
    #[error("the first transition of a release is not `started`")]
    NotStarted,
}

impl Status {
    /// A release that begins now, and the transition to record for it.
    pub fn start(start: Start, at: Timestamp) -> (Self, Transition) {
        let transition = Transition::Started { at, start: Box::new(start.clone()) };
        (Self::new(start, at), transition)
    }

    /// The status that these transitions make. The first is `Started`; measurements (kept as samples) are merged with the
    /// receipts' transitions by time, receipts first when times are equal.
    pub fn fold<'a>(transitions: impl IntoIterator<Item = &'a Transition>) -> Result<Self, FoldError> {
        let mut transitions = transitions.into_iter();
        let mut status = match transitions.next() {
            Some(Transition::Started { at, start }) => Self::new((**start).clone(), *at),
            Some(_) => return Err(FoldError::NotStarted),
            None => return Err(FoldError::Empty),
        };
        for transition in transitions {
            status.apply(transition);
        }
        Ok(status)
    }

    /// Share of traffic of the new version, as last applied.
    pub fn exposure(&self) -> Weight {
        if self.swapped { Weight::new(100 - self.applied.percent()).unwrap_or(Weight::ZERO) } else { self.applied }
    }

    /// True until the version is promoted, aborted or done with.
    pub fn is_rolling(&self) -> bool {
        self.abort.is_none() && !self.swapped && self.ended_at.is_none()
    }

    /// True when a pause condition of this kind holds the release.
    pub fn is_paused_for(&self, reason: PauseReason) -> bool {
        self.pauses.iter().any(|p| p.reason == reason)
    }

    /// A run by its name, with what it measures.
    pub fn run<'a>(&'a self, recipe: &'a Recipe, run: &str) -> Option<(&'a RunState, &'a Analysis)> {
        if let Some(state) = self.background.as_ref().filter(|r| r.run == run) {
            return Some((state, &recipe.background.as_ref()?.analysis));
        }
        let state = self.step_run.as_ref().filter(|r| r.run == run)?;
        let AnalysisScope::Step(step) = state.scope else { return None };
        match recipe.steps.get(usize::try_from(step).ok()?)? {
            Step::Analysis(analysis) => Some((state, analysis)),
            _ => None,
        }
    }

    /// The built-in rule in force now, with its run and metric: while there is one, tell the plan the judge's word
    /// ([`super::observed::Observed::builtin`]), judged since [`Status::applied_at`].
    pub fn builtin<'a>(&self, recipe: &'a Recipe) -> Option<(String, &'a Metric, &'a Builtin)> {
        let of = |run: &Option<RunState>, analysis: Option<&'a Analysis>| {
            let run = run.as_ref().filter(|r| r.verdict.is_none_or(|v| v == Verdict::Inconclusive))?;
            analysis?.metrics.iter().find_map(|m| match &m.provider {
                Provider::Builtin(rule) => Some((run.run.clone(), m, rule)),
                _ => None,
            })
        };
        let step = match recipe.steps.get(usize::try_from(self.step).unwrap_or(usize::MAX)) {
            Some(Step::Analysis(analysis)) => Some(analysis),
            _ => None,
        };
        of(&self.background, recipe.background.as_ref().map(|b| &b.analysis)).or_else(|| of(&self.step_run, step))
    }

    /// Fills in what is only known in a release: the labels of its two versions, Argo's `podTemplateHashValue`.
    pub(crate) fn fill_in(&self, text: &str) -> String {
        text.replace(crate::recipe::STABLE_LABEL, self.start.stable.version.as_str())
            .replace(crate::recipe::CANARY_LABEL, self.start.canary.version.as_str())
    }

    /// The metric with its versions filled in.
    pub(crate) fn fill_in_metric(&self, metric: &Metric) -> Metric {
        Metric {
            success_condition: self.fill_in(&metric.success_condition),
            failure_condition: self.fill_in(&metric.failure_condition),
            provider: metric.provider.map_text(|text| self.fill_in(text)),
            ..metric.clone()
        }
    }

    /// Argo's phase and its message.
    pub fn phase(&self, recipe: &Recipe, now: Timestamp) -> (Phase, String) {
        if let Some(abort) = &self.abort {
            let what = if abort.after_promotion { "rolled back" } else { "aborted" };
            let version = &self.start.canary.version;
            let why = if abort.reason.is_empty() { String::new() } else { format!(": {}", abort.reason) };
            return (Phase::Degraded, format!("RolloutAborted: Rollout {what} update to {version}{why}"));
        }
        if self.swapped || self.outcome == Some(Outcome::Promoted) {
            return (Phase::Healthy, String::new());
        }
        if self.is_late(recipe, now) {
            let version = &self.start.canary.version;
            return (Phase::Degraded, format!("ProgressDeadlineExceeded: {version} has timed out progressing"));
        }
        if let Some(held) = &self.held {
            let why = if held.reason.is_empty() { String::new() } else { format!(": {}", held.reason) };
            return (Phase::Paused, format!("manually paused by {}{why}", held.actor));
        }
        if let Some(pause) = self.pauses.last() {
            let why = match pause.reason {
                PauseReason::CanaryPauseStep => "CanaryPauseStep",
                PauseReason::InconclusiveAnalysisRun => "InconclusiveAnalysisRun",
            };
            return (Phase::Paused, why.to_owned());
        }
        (Phase::Progressing, "waiting for all steps to complete".to_owned())
    }

    /// When the progress deadline is over; `None` while it does not count: in a pause, a hold, an analysis, and when nothing is rolling.
    pub(crate) fn progress_deadline(&self, recipe: &Recipe, now: Timestamp) -> Option<Timestamp> {
        let pauses = self.pauses.iter().any(|p| p.until.is_none_or(|until| until > now));
        if !self.is_rolling() || pauses || self.held.is_some() || self.step_run.is_some() {
            return None;
        }
        // A pause whose time is up is no excuse any more.
        let since = self.pauses.iter().filter_map(|p| p.until).fold(self.progress_at, Timestamp::max);
        Some(since.plus_millis(recipe.progress_deadline_ms))
    }

    /// True when nothing progressed for longer than the deadline.
    pub(crate) fn is_late(&self, recipe: &Recipe, now: Timestamp) -> bool {
        self.progress_deadline(recipe, now).is_some_and(|deadline| now > deadline)
    }

    fn new(start: Start, at: Timestamp) -> Self {
        Self {
            start,
            started_at: at,
            attempt: 1,
            attempt_at: at,
            step: 0,
            step_entered_at: at,
            pauses: Vec::new(),
            controller_pause: false,
            held: None,
            promote_full: false,
            fast_rollback: false,
            abort: None,
            envelope: None,
            applied: Weight::ZERO,
            applied_at: at,
            epoch: Epoch::default(),
            dead_man_at: None,
            weight_changes: 0,
            swapped: false,
            swapped_at: None,
            promoted_at: None,
            background: None,
            step_run: None,
            runs: 0,
            progress_at: at,
            paused_ms: 0,
            operations: VecDeque::new(),
            outcome: None,
            ended_at: None,
        }
    }
}
