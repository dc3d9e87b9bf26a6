//! The state of a release: nothing but the fold of its transitions.

use std::collections::VecDeque;

use model::{Actor, Digest, Epoch, ReleaseId, ServiceId, Timestamp, Verdict, Version, Weight, event::Outcome};
use serde::{Deserialize, Serialize};

use super::{
    envelope::{Act, Replay, RollbackEnvelope},
    transition::{AnalysisScope, DriftReason, StepEnd, Transition, WeightCause},
};
use crate::{
    assess::{Measurement, RunState},
    recipe::{Analysis, Builtin, Metric, Provider, Recipe, Step},
};

/// Operations remembered as completed: far more than can be under way, few enough for every copy of a status.
const MAX_OPERATIONS: usize = 64;

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

    /// Takes a transition. One that does not fit (a double, or one recorded late) changes nothing.
    pub fn apply(&mut self, transition: &Transition) {
        match transition {
            Transition::Started { .. } => {}
            Transition::EnvelopeArmed { at, envelope } => {
                self.envelope.get_or_insert_with(|| envelope.clone());
                self.progress_at = *at;
            }
            Transition::WeightApplied { at, operation, cause, weight, epoch, change, .. } => {
                // Another change was recorded since this one was planned: it is late.
                if *change == self.weight_changes && !self.is_done(operation) {
                    self.complete_operation(operation);
                    self.weight_applied(*at, *cause, *weight, *epoch);
                }
            }
            Transition::WeightDrifted { at, seen, reason, .. } => {
                if *reason == DriftReason::DeadMan {
                    self.dead_man_at = Some(*at);
                }
                self.applied = *seen;
                self.applied_at = *at;
                self.weight_changes += 1;
            }
            Transition::StepCompleted { at, step, end, .. } => match end {
                StepEnd::FastRollback => {
                    self.fast_rollback = true;
                    self.enter_step(*step, *at);
                }
                StepEnd::Done | StepEnd::Skipped if *step == self.step && self.is_rolling() => {
                    self.enter_step(step + 1, *at)
                }
                _ => {}
            },
            Transition::PauseStarted { at, reason, step, until } => {
                let known = self.pauses.iter().any(|p| p.reason == *reason);
                if *step == self.step && !known && self.is_rolling() {
                    self.pauses.push(PauseCondition { reason: *reason, started: *at, until: *until });
                    self.controller_pause = true;
                }
            }
            Transition::PauseEnded { at, step, advance, .. } => {
                if *step == self.step && !self.pauses.is_empty() && self.is_rolling() {
                    self.pause_ended(*at, *advance);
                }
            }
            Transition::Held { at, actor, reason, weight } => {
                if self.is_rolling() {
                    self.held.get_or_insert_with(|| Hold {
                        at: *at,
                        actor: actor.clone(),
                        reason: reason.clone(),
                        weight: *weight,
                    });
                }
            }
            Transition::Released { at, .. } => {
                if let Some(hold) = self.held.take() {
                    self.paused_ms += at.since(hold.at).max(0);
                    self.progress_at = *at;
                }
            }
            Transition::AnalysisStarted { at, run, scope } => self.analysis_started(*at, run, *scope),
            Transition::Measured { at, started, run, metric, verdict, message } => {
                if let Some(state) = self.run_mut(run).filter(|r| r.verdict.is_none()) {
                    let (started, finished, message) = (*started, *at, message.clone());
                    let measurement = Measurement { started, finished, verdict: *verdict, message };
                    state.metrics.entry(metric.clone()).or_default().take(measurement);
                }
            }
            Transition::AnalysisEnded { at, run, verdict, message } => self.analysis_ended(*at, run, *verdict, message),
            Transition::PromotedFull { at, .. } => {
                if self.is_rolling() {
                    self.promote_full = true;
                    self.end_pauses(*at);
                    self.held = None;
                    // Argo cancels what is being analysed: a person has decided.
                    self.background = None;
                    self.step_run = None;
                }
            }
            Transition::Aborted { at, breach_at, reason, automatic, actor, .. } => {
                if self.abort.is_none() {
                    self.aborted(*at, *breach_at, reason, *automatic, actor);
                }
            }
            Transition::Retried { at, .. } => {
                if self.abort.is_some() && !self.swapped {
                    self.retried(*at);
                }
            }
            Transition::SlotsPromoted { at, operation, back } => {
                if *back == self.swapped && !self.is_done(operation) {
                    self.complete_operation(operation);
                    self.slots_promoted(*at, *back);
                }
            }
            Transition::ActDone { at, act, attempt, .. } => {
                if let Some(abort) = &mut self.abort
                    && *attempt == self.attempt
                    && abort.replay.done(*act, *at)
                    && *act == Act::Processes
                {
                    abort.drained_at = Some(*at);
                }
            }
            Transition::Completed { at, outcome } => {
                let fits = match (&self.abort, outcome) {
                    (None, Outcome::Promoted) => self.swapped,
                    (Some(abort), Outcome::Aborted) => !abort.after_promotion && abort.replay.next().is_none(),
                    (Some(abort), Outcome::RolledBack) => abort.after_promotion && abort.replay.next().is_none(),
                    _ => false,
                };
                if fits && self.ended_at.is_none() {
                    self.outcome = Some(*outcome);
                    self.ended_at = Some(*at);
                }
            }
        }
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
            return (Phase::Degraded, format!("RolloutAborted: Rollout {what} update to {version}: {}", abort.reason));
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

    fn is_done(&self, operation: &str) -> bool {
        self.operations.iter().any(|o| o == operation)
    }

    fn complete_operation(&mut self, operation: &str) {
        if self.operations.len() >= MAX_OPERATIONS {
            self.operations.pop_front();
        }
        self.operations.push_back(operation.to_owned());
    }

    fn enter_step(&mut self, step: u32, at: Timestamp) {
        self.step = step;
        self.step_entered_at = at;
        self.step_run = None;
        self.controller_pause = !self.pauses.is_empty();
        self.progress_at = at;
    }

    fn weight_applied(&mut self, at: Timestamp, cause: WeightCause, weight: Weight, epoch: Epoch) {
        self.applied = weight;
        self.applied_at = at;
        self.epoch = self.epoch.max(epoch);
        self.weight_changes += 1;
        self.progress_at = at;
        match cause {
            WeightCause::Step { step, completes: true } if step == self.step && self.is_rolling() => {
                self.enter_step(step + 1, at)
            }
            WeightCause::Abort | WeightCause::Rollback => {
                if let Some(abort) = &mut self.abort {
                    abort.zero_at.get_or_insert(at);
                }
            }
            _ => {}
        }
    }

    fn end_pauses(&mut self, at: Timestamp) {
        let since = self.pauses.iter().map(|p| p.started).min();
        self.paused_ms += since.map_or(0, |since| at.since(since).max(0));
        self.pauses.clear();
        self.controller_pause = false;
        self.progress_at = at;
    }

    fn pause_ended(&mut self, at: Timestamp, advance: bool) {
        self.end_pauses(at);
        // What was inconclusive is measured anew.
        for run in [&mut self.background, &mut self.step_run] {
            if run.as_ref().is_some_and(|r| r.verdict == Some(Verdict::Inconclusive)) {
                *run = None;
            }
        }
        if advance {
            self.enter_step(self.step + 1, at);
        }
    }

    fn run_mut(&mut self, run: &str) -> Option<&mut RunState> {
        [&mut self.background, &mut self.step_run].into_iter().flatten().find(|r| r.run == run)
    }

    fn analysis_started(&mut self, at: Timestamp, run: &str, scope: AnalysisScope) {
        if !self.is_rolling() || self.run_mut(run).is_some() {
            return;
        }
        let state = Some(RunState::new(run.to_owned(), scope, at));
        match scope {
            AnalysisScope::Background => self.background = state,
            AnalysisScope::Step(step) if step == self.step => self.step_run = state,
            AnalysisScope::Step(_) => return,
        }
        self.runs += 1;
    }

    fn analysis_ended(&mut self, at: Timestamp, run: &str, verdict: Verdict, message: &str) {
        let rolling = self.is_rolling();
        let Some(state) = self.run_mut(run).filter(|r| r.verdict.is_none()) else { return };
        state.verdict = Some(verdict);
        state.message = message.to_owned();
        let scope = state.scope;
        if rolling && verdict == Verdict::Successful && scope == AnalysisScope::Step(self.step) {
            self.enter_step(self.step + 1, at);
        }
    }

    fn aborted(&mut self, at: Timestamp, breach_at: Timestamp, reason: &str, automatic: bool, actor: &Actor) {
        let acts = self.envelope.as_ref().map_or_else(|| vec![Act::Traffic, Act::Processes], RollbackEnvelope::acts);
        self.abort = Some(Abort {
            at,
            breach_at,
            reason: reason.to_owned(),
            automatic,
            actor: actor.clone(),
            after_promotion: self.swapped,
            replay: Replay::new(acts),
            zero_at: None,
            drained_at: None,
        });
        self.end_pauses(at);
        self.held = None;
        self.promote_full = false;
        self.background = None;
        self.step_run = None;
        self.outcome = None;
        self.ended_at = None;
    }

    fn retried(&mut self, at: Timestamp) {
        self.abort = None;
        self.outcome = None;
        self.ended_at = None;
        self.attempt += 1;
        self.attempt_at = at;
        self.fast_rollback = false;
        self.enter_step(0, at);
    }

    fn slots_promoted(&mut self, at: Timestamp, back: bool) {
        self.swapped = !back;
        self.swapped_at = Some(at);
        // What is in the canary slot now has no traffic.
        self.applied = Weight::ZERO;
        self.applied_at = at;
        self.weight_changes += 1;
        self.progress_at = at;
        if !back {
            self.promoted_at = Some(at);
            self.pauses.clear();
            self.controller_pause = false;
            self.held = None;
            if let Some(abort) = &mut self.abort {
                // The swap was found out after the abort: its acts begin again, now as a rollback.
                abort.after_promotion = true;
                abort.zero_at = None;
                abort.drained_at = None;
                abort.replay.done.clear();
            }
        } else if let Some(abort) = &mut self.abort {
            abort.zero_at.get_or_insert(at);
        }
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
