//! The planner: one pass over a copy of the status, to which it applies what it records.
//!
//! This file holds the rollout itself; analyses are in `analysis`, aborts, rollbacks and the end in `replay`.

use model::{Actor, Timestamp, Track, Weight};

use super::{
    observed::{Observed, ObservedVersion, ProcessEnd},
    plan::{Action, Plan, StopPart, Wait},
    sabotage::{self, Fault},
    status::{PauseReason, Status, VersionRef},
    transition::{DriftReason, StepEnd, Transition, WeightCause},
};
use crate::{
    engine::envelope::RollbackEnvelope,
    recipe::{Recipe, Step},
};

/// Time for requests under way when a version is stopped, ms: longer than any answer a person waits for, well inside the
/// 90 s from breach to drained that is promised, after the 30 s of the default delay.
const DRAIN_MS: u64 = 20_000;

/// The data plane's clock may be so much ahead of the controller's, ms: they read the same clock at different moments.
const CLOCKS_DIFFER_MS: i64 = 1_000;

/// When the canary's process has ended so often by itself in one attempt, the release is aborted, whatever its recipe, its judge and a person's
/// hold say: that is no question of statistics. Once may be chance and twice a machine in trouble; each time its clients got errors.
pub const MAX_ENDS: usize = 3;

pub(super) struct Planner<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) status: Status,
    pub(super) observed: &'a Observed,
    pub(super) now: Timestamp,
    pub(super) actions: Vec<Action>,
    pub(super) waits: Vec<Wait>,
}

impl<'a> Planner<'a> {
    pub(super) fn new(recipe: &'a Recipe, status: &Status, observed: &'a Observed, now: Timestamp) -> Self {
        Self { recipe, status: status.clone(), observed, now, actions: Vec::new(), waits: Vec::new() }
    }

    pub(super) fn plan(mut self) -> Plan {
        self.go();
        let (phase, mut message) = self.status.phase(self.recipe, self.now);
        if let Some(wait) = self.waits.first() {
            message = if message.is_empty() { wait.reason.clone() } else { format!("{message}; {}", wait.reason) };
        }
        Plan { actions: self.actions, waits: self.waits, phase, message }
    }

    fn go(&mut self) {
        if self.status.ended_at.is_some() {
            return;
        }
        if !self.observed.reachable {
            self.wait("the data plane does not answer", None);
        } else if self.notice_slots() {
            return;
        }
        if self.status.abort.is_some() {
            self.replay();
        } else if self.status.swapped {
            self.retire();
        } else {
            self.roll();
        }
    }

    /// Records what is seen of a swap whose outcome was lost. True when it recorded something.
    fn notice_slots(&mut self) -> bool {
        let is_fresh = self.status.swapped_at.is_none_or(|at| self.seen_after(at));
        let holds =
            |slot: &Option<ObservedVersion>, v: &VersionRef| slot.as_ref().is_some_and(|o| o.digest == v.digest);
        let (new, old) = (&self.status.start.canary, &self.status.start.stable);
        let back = match self.status.swapped {
            false if holds(&self.observed.stable, new) => false,
            true if holds(&self.observed.stable, old) => true,
            _ => return false,
        };
        if is_fresh {
            let operation = self.swap_operation(back);
            self.record(Transition::SlotsPromoted { at: self.observed.at, operation, back });
        }
        is_fresh
    }

    fn roll(&mut self) {
        if self.status.envelope.is_none() {
            let start = &self.status.start;
            self.actions.push(Action::ArmEnvelope(RollbackEnvelope {
                previous_version: start.stable.version.clone(),
                previous_digest: start.stable.digest.clone(),
                down_migration: start.down_migration.clone(),
                flags_off: start.flags_off.clone(),
            }));
        }
        if self.dead_man() {
            return;
        }
        if let Some((at, reason)) = self.ended_too_often() {
            self.abort(at, &reason, Actor::controller());
            self.replay();
            return;
        }
        let ready = self.canary_ready();
        self.analyse(ready);
        if self.status.abort.is_some() {
            // Decided in this pass: zero comes with it.
            self.replay();
            return;
        }
        if self.status.is_late(self.recipe, self.now) && self.recipe.progress_deadline_abort {
            let mut reason = format!("no progress for {}", crate::recipe::shown_ms(self.recipe.progress_deadline_ms));
            if let Some(ended) = self.ended() {
                reason = format!("{reason}: {ended}");
            }
            self.abort(self.now, &reason, Actor::controller());
            self.replay();
            return;
        }
        if !self.observed.reachable || self.drifted(ready) {
            return;
        }
        if self.skip_steps() {
            return;
        }
        if !self.set_weight(ready) {
            return;
        }
        if !ready {
            self.wait_for_deadline();
            return;
        }
        self.step();
    }

    /// What the data plane did by itself while nobody was there. True when the pass ends with it.
    fn dead_man(&mut self) -> bool {
        // One that is known already tells nothing new, wherever the clock has been set since.
        let is_new = |at: &Timestamp| {
            *at > self.status.applied_at && self.status.dead_man_at != Some(*at) && self.observed.reachable
        };
        let Some(at) = self.observed.dead_man_at.filter(is_new) else { return false };
        if self.status.applied == Weight::ZERO || self.observed.weight > Weight::ZERO {
            return false;
        }
        if self.recipe.dead_man.abort {
            let gone = crate::recipe::shown_ms(self.recipe.dead_man.after_ms);
            self.abort(
                at,
                &format!("the data plane was without its controller for {gone} and went to 0 % by itself"),
                Actor::controller(),
            );
            self.replay();
        } else {
            let expected = self.status.applied;
            let (seen, reason) = (Weight::ZERO, DriftReason::DeadMan);
            self.record(Transition::WeightDrifted { at, expected, seen, reason });
        }
        true
    }

    /// Ends of the canary's process in this attempt.
    fn ends(&self) -> impl DoubleEndedIterator<Item = &ProcessEnd> {
        let (canary, since) = (&self.status.start.canary, self.status.attempt_at);
        let seen = self.observed.canary.as_ref().filter(|seen| seen.digest == canary.digest);
        seen.into_iter().flat_map(|seen| &seen.ends).filter(move |end| end.at >= since)
    }

    /// How often that was, and how the last time, in words.
    fn ended(&self) -> Option<String> {
        let last = self.ends().next_back()?;
        Some(match self.ends().count() {
            1 => format!("the canary's process ended {}", last.how),
            times => format!("the canary's process ended {times} times, last {}", last.how),
        })
    }

    /// The moment and the reason, when it was too often.
    fn ended_too_often(&self) -> Option<(Timestamp, String)> {
        let at = self.ends().nth(MAX_ENDS - 1)?.at;
        Some((at.min(self.now), self.ended()?))
    }

    /// True when what is observed is from after this moment. What comes from the future was seen before the clock was set back.
    pub(super) fn seen_after(&self, moment: Timestamp) -> bool {
        self.observed.at > moment && self.observed.at.since(self.now) <= CLOCKS_DIFFER_MS
    }

    /// Whether the new version is there and ready; starts it when it is not there.
    fn canary_ready(&mut self) -> bool {
        if !self.observed.reachable {
            return false;
        }
        let version = self.status.start.canary.clone();
        match &self.observed.canary {
            Some(seen) if seen.digest == version.digest => {
                if !seen.ready {
                    self.wait(&format!("{} is not ready yet", version.version), None);
                }
                seen.ready
            }
            Some(other) => {
                let other = VersionRef { version: other.version.clone(), digest: other.digest.clone() };
                self.wait(&format!("the canary slot is taken by {}, which is stopped first", other.version), None);
                self.actions.push(Action::StopVersion {
                    which: Track::Canary,
                    version: other,
                    drain_ms: DRAIN_MS,
                    part_of: StopPart::Clearing,
                });
                false
            }
            None => {
                self.wait(&format!("{} is being started", version.version), None);
                self.actions.push(Action::StartVersion { version });
                false
            }
        }
    }

    /// Notes that another weight is in force than was set. Only a later observation than the setting counts. True when it did.
    fn drifted(&mut self, ready: bool) -> bool {
        let (expected, seen) = (self.status.applied, self.observed.weight);
        let drifted = self.observed.reachable && seen != expected && self.seen_after(self.status.applied_at);
        if drifted && self.target(ready).0 == expected {
            let (at, reason) = (self.observed.at, DriftReason::Seen);
            self.record(Transition::WeightDrifted { at, expected, seen, reason });
            return true;
        }
        false
    }

    /// A version that was stable a short while ago skips all steps.
    fn skip_steps(&mut self) -> bool {
        let recent =
            matches!((self.recipe.rollback_window, self.status.start.revisions_back), (Some(w), Some(b)) if b <= w);
        let skip =
            recent && !self.status.fast_rollback && self.status.step < self.recipe.len() && self.status.attempt == 1;
        if skip {
            let (step, end) = (self.recipe.len(), StepEnd::FastRollback);
            self.record(Transition::StepCompleted { at: self.now, step, end, actor: None });
        }
        skip
    }

    /// The weight that is to be in force, and why.
    fn target(&self, ready: bool) -> (Weight, WeightCause) {
        let status = &self.status;
        if !ready {
            return (Weight::ZERO, WeightCause::NotReady);
        }
        let step = status.step;
        let (mut weight, mut cause) = if status.promote_full || step >= self.recipe.len() {
            (Weight::FULL, WeightCause::Full)
        } else {
            let completes = matches!(self.recipe.step(step), Some(Step::SetWeight(_)));
            (self.recipe.weight_at(step), WeightCause::Step { step, completes })
        };
        let hold = |weight: &mut Weight, cause: &mut WeightCause, at_most: Weight| {
            if *weight > at_most {
                *weight = at_most;
                *cause = WeightCause::Step { step, completes: false };
            }
        };
        if let Some(held) = &status.held {
            hold(&mut weight, &mut cause, held.weight);
        }
        if status.is_paused_for(PauseReason::InconclusiveAnalysisRun) {
            hold(&mut weight, &mut cause, status.applied);
        }
        if weight == Weight::FULL && status.envelope.is_none() && !sabotage::is(Fault::FullWithoutEnvelope) {
            // Nothing at 100 % without a way back.
            let before = self.weight_below_full();
            hold(&mut weight, &mut cause, before);
        }
        (weight, cause)
    }

    fn weight_below_full(&self) -> Weight {
        let upto = self.status.step.min(self.recipe.len());
        let steps = self.recipe.steps.iter().take(usize::try_from(upto).unwrap_or(usize::MAX));
        let below = |s: &Step| match s {
            Step::SetWeight(w) if *w < Weight::FULL => Some(*w),
            _ => None,
        };
        steps.rev().find_map(below).unwrap_or_default()
    }

    /// Sets the weight if another is in force. True when the right one is.
    fn set_weight(&mut self, ready: bool) -> bool {
        let (weight, cause) = self.target(ready);
        let wants_full = self.status.promote_full || self.recipe.weight_at(self.status.step) == Weight::FULL;
        if wants_full && self.status.envelope.is_none() {
            self.wait("100 % waits for the rollback envelope to be signed", None);
        }
        if weight == self.status.applied {
            return true;
        }
        self.push_weight(weight, cause);
        false
    }

    pub(super) fn push_weight(&mut self, weight: Weight, cause: WeightCause) {
        let (release, attempt, change) = (&self.status.start.release, self.status.attempt, self.status.weight_changes);
        let why = match cause {
            WeightCause::Step { step, .. } => format!("step{step}"),
            WeightCause::Full => "full".to_owned(),
            WeightCause::Abort => "abort".to_owned(),
            WeightCause::Rollback => "rollback".to_owned(),
            WeightCause::NotReady => "not-ready".to_owned(),
        };
        let mut operation = format!("{release}/{attempt}/{change}/{why}/{}", weight.percent());
        if sabotage::is(Fault::FreshOperationIds) {
            operation.push_str(&format!("/{}", self.now.as_millis()));
        }
        let weight =
            if sabotage::is(Fault::Overshoot) { Weight::new(weight.percent() + 1).unwrap_or(weight) } else { weight };
        self.actions.push(Action::SetWeight { operation, weight, cause, change });
    }

    fn wait_for_deadline(&mut self) {
        let deadline = self.status.progress_deadline(self.recipe, self.now).map(|at| at.plus_millis(1));
        if deadline.is_some_and(|at| at > self.now) {
            self.wait("the progress deadline", deadline);
        }
    }

    /// The current step, its weight being in force.
    fn step(&mut self) {
        if let Some(held) = &self.status.held {
            let who = held.actor.clone();
            self.wait(&format!("held by {who}"), None);
            return;
        }
        if self.status.is_paused_for(PauseReason::InconclusiveAnalysisRun) {
            self.wait("an analysis is inconclusive: a person decides", None);
            return;
        }
        let step = self.status.step;
        if self.status.promote_full || step >= self.recipe.len() {
            self.promote();
            return;
        }
        match self.recipe.step(step) {
            Some(Step::SetWeight(weight)) if *weight == self.status.applied => {
                self.record(Transition::StepCompleted { at: self.now, step, end: StepEnd::Done, actor: None });
            }
            // Held back: it waits for the envelope, and says so.
            Some(Step::SetWeight(_)) | None => {}
            Some(Step::Pause(duration)) => self.pause(step, *duration),
            // Its run was looked at with the others.
            Some(Step::Analysis(_)) => {}
            Some(Step::Other(kind)) => self.wait(&format!("a step {kind} cannot be carried out by this runtime"), None),
        }
    }

    fn pause(&mut self, step: u32, duration: Option<i64>) {
        if sabotage::is(Fault::SkipStep) {
            self.record(Transition::StepCompleted { at: self.now, step, end: StepEnd::Done, actor: None });
            return;
        }
        let Some(pause) = self.status.pauses.iter().find(|p| p.reason == PauseReason::CanaryPauseStep).copied() else {
            let until = duration.map(|ms| self.now.plus_millis(ms));
            let reason = PauseReason::CanaryPauseStep;
            self.record(Transition::PauseStarted { at: self.now, reason, step, until });
            self.wait_for_pause(until);
            return;
        };
        // A pause without an end waits for a person, whatever is certified.
        let Some(until) = pause.until else { return self.wait_for_pause(None) };
        if until > self.now && !self.is_certified() {
            self.wait_for_pause(Some(until));
            return;
        }
        if self.judged_since(until.min(self.now)) {
            self.record(Transition::PauseEnded { at: self.now, step, advance: true, actor: None });
        }
    }

    fn wait_for_pause(&mut self, until: Option<Timestamp>) {
        match until {
            Some(_) => self.wait("the pause of this step", until),
            None => self.wait("a person's promote: this step pauses for ever", None),
        }
    }

    /// All steps done and 100 % in force: the new version becomes stable.
    fn promote(&mut self) {
        let reckless = sabotage::is(Fault::PromoteUnjudged);
        let armed = self.status.envelope.is_some() || sabotage::is(Fault::FullWithoutEnvelope);
        if self.status.applied < Weight::FULL || !armed {
            return;
        }
        if self.observed.weight < Weight::FULL || self.observed.at < self.status.applied_at {
            self.wait("100 % to be seen in force", None);
            return;
        }
        if !reckless && !self.judged_since(self.status.applied_at) {
            return;
        }
        if !reckless && !self.end_background() {
            return;
        }
        let operation = self.swap_operation(false);
        let becomes_stable = self.status.start.canary.clone();
        self.actions.push(Action::PromoteSlots { operation, becomes_stable, back: false });
    }

    pub(super) fn swap_operation(&self, back: bool) -> String {
        let way = if back { "demote" } else { "promote" };
        format!("{}/{}/{}/{way}", self.status.start.release, self.status.attempt, self.status.weight_changes)
    }

    pub(super) fn stop(&mut self, version: VersionRef, part_of: StopPart) {
        self.actions.push(Action::StopVersion { which: Track::Canary, version, drain_ms: DRAIN_MS, part_of });
    }

    pub(super) fn abort(&mut self, breach_at: Timestamp, reason: &str, actor: Actor) {
        let weight = self.status.exposure();
        let (at, reason) = (self.now, reason.to_owned());
        self.record(Transition::Aborted { at, breach_at, reason, automatic: true, actor, weight });
    }

    pub(super) fn record(&mut self, transition: Transition) {
        self.status.apply(&transition);
        self.actions.push(Action::Record(transition));
    }

    pub(super) fn wait(&mut self, reason: &str, until: Option<Timestamp>) {
        self.waits.push(Wait { reason: reason.to_owned(), until });
    }
}
