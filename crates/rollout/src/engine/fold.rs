//! The fold: what each transition makes of a status.

use model::{Actor, Epoch, Timestamp, Verdict, Weight, event::Outcome};

use super::{
    envelope::{Act, Replay, RollbackEnvelope},
    status::{Abort, Hold, PauseCondition, Status},
    transition::{AnalysisScope, DriftReason, StepEnd, Transition, WeightCause},
};
use crate::assess::{Measurement, RunState};

/// Operations remembered as completed: far more than can be under way, few enough for every copy of a status.
const MAX_OPERATIONS: usize = 64;

impl Status {
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
                let weight_changes = self.weight_changes;
                if let Some(state) = self.run_mut(run).filter(|r| r.verdict.is_none()) {
                    let (started, finished, message) = (*started, *at, message.clone());
                    let measurement = Measurement { started, finished, verdict: *verdict, message, weight_changes };
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
}
