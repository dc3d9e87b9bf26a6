//! The planner's way back and its end: acts of an abort or rollback in order, and the old version's retirement.

use model::{Weight, event::Outcome};

use super::{
    envelope::Act,
    plan::{Action, Place, StopPart},
    planner::Planner,
    sabotage::{self, Fault},
    status::{Abort, VersionRef},
    transition::{DriftReason, Transition, WeightCause},
};

impl Planner<'_> {
    /// After a promotion: the old version stays for a while, then it is stopped, and the release is completed.
    pub(super) fn retire(&mut self) {
        let since = self.status.promoted_at.unwrap_or(self.now);
        let until = since.plus_millis(self.recipe.scale_down_delay_ms);
        if until > self.now {
            self.wait("the old version stays for an instant way back", Some(until));
            return;
        }
        if !self.observed.reachable {
            return;
        }
        let old = self.status.start.stable.clone();
        match &self.observed.canary {
            Some(seen) if seen.digest != old.digest && self.seen_since_swap() => {
                self.record(Transition::Completed { at: self.now, outcome: Outcome::Promoted });
            }
            _ => self.stop(old, StopPart::Completion(Outcome::Promoted)),
        }
    }

    /// Carries on with the abort or rollback.
    pub(super) fn replay(&mut self) {
        let Some(abort) = self.status.abort.clone() else { return };
        if self.status.swapped {
            self.traffic_back();
            return;
        }
        if !self.zero(&abort) {
            return;
        }
        let Some(act) = self.status.abort.as_ref().and_then(|a| a.replay.next()) else {
            let outcome = if abort.after_promotion { Outcome::RolledBack } else { Outcome::Aborted };
            self.record(Transition::Completed { at: self.now, outcome });
            return;
        };
        let (order, of) = abort.replay.place(act);
        let place = Place { order, of, attempt: self.status.attempt };
        let operation = format!("{}/{}/{}", self.status.start.release, self.status.attempt, act.as_str());
        match act {
            Act::Traffic => {
                let zero_at = abort.zero_at.unwrap_or(self.now);
                let result = format!("no traffic to {}", self.status.start.canary.version);
                self.act_done(act, place, result, zero_at.since(abort.breach_at));
                self.replay();
            }
            Act::Processes => self.stop_canary(&abort, place),
            Act::Migration => match &self.status.envelope.as_ref().and_then(|e| e.down_migration.clone()) {
                Some(name) => self.actions.push(Action::RunMigration { operation, name: name.clone(), place }),
                None => self.act_done(act, place, "there is none".to_owned(), 0),
            },
            Act::Flags => {
                let flags = self.status.envelope.as_ref().map(|e| e.flags_off.clone()).unwrap_or_default();
                self.actions.push(Action::TurnFlagsOff { operation, flags, place });
            }
        }
    }

    /// Makes sure that the canary slot has no traffic, and that it stays so. True when it has none.
    fn zero(&mut self, abort: &Abort) -> bool {
        if sabotage::is(Fault::IgnoreAbort) {
            return true;
        }
        if abort.zero_at.is_some() && self.status.applied == Weight::ZERO {
            let seen = self.observed.weight;
            let drifted = self.observed.reachable && seen != Weight::ZERO && self.seen_after(self.status.applied_at);
            if !drifted {
                return true;
            }
            let (at, expected, reason) = (self.observed.at, Weight::ZERO, DriftReason::Seen);
            self.record(Transition::WeightDrifted { at, expected, seen, reason });
        }
        // Also when the status has 0 already: an earlier weight may be in force whose outcome was lost.
        self.push_weight(Weight::ZERO, WeightCause::Abort);
        false
    }

    /// After a promotion all traffic goes back to the old version: started if it is gone, then 100 %, then the slots are swapped back.
    fn traffic_back(&mut self) {
        if !self.observed.reachable {
            return;
        }
        let old = self.status.start.stable.clone();
        match &self.observed.canary {
            Some(seen) if seen.digest == old.digest && seen.ready => {
                if self.status.applied < Weight::FULL {
                    self.push_weight(Weight::FULL, WeightCause::Rollback);
                    return;
                }
                let (seen, expected) = (self.observed.weight, self.status.applied);
                if seen != expected && self.seen_after(self.status.applied_at) {
                    let (at, reason) = (self.observed.at, DriftReason::Seen);
                    self.record(Transition::WeightDrifted { at, expected, seen, reason });
                    return;
                }
                let operation = self.swap_operation(true);
                self.actions.push(Action::PromoteSlots { operation, becomes_stable: old, back: true });
            }
            Some(seen) if seen.digest == old.digest => self.wait(&format!("{} is not ready yet", old.version), None),
            Some(_) if !self.seen_since_swap() => self.wait("a look at the data plane after the swap", None),
            Some(other) => {
                let other = VersionRef { version: other.version.clone(), digest: other.digest.clone() };
                self.wait(&format!("the canary slot is taken by {}, which is stopped first", other.version), None);
                self.stop(other, StopPart::Clearing);
            }
            None => {
                self.wait(&format!("{} is being started", old.version), None);
                self.actions.push(Action::StartVersion { version: old });
            }
        }
    }

    /// True when what is observed is not from before the last swap, when the slots held each other's version.
    fn seen_since_swap(&self) -> bool {
        self.status.swapped_at.is_none_or(|at| self.seen_after(at))
    }

    fn stop_canary(&mut self, abort: &Abort, place: Place) {
        let Some(delay) = self.recipe.abort_scale_down_delay_ms else {
            self.act_done(Act::Processes, place, "kept: abortScaleDownDelaySeconds is 0".to_owned(), 0);
            self.replay();
            return;
        };
        let until = abort.zero_at.unwrap_or(self.now).plus_millis(delay);
        if until > self.now {
            self.wait("the aborted version is kept until requests have moved", Some(until));
            return;
        }
        if !self.observed.reachable {
            return;
        }
        let new = self.status.start.canary.clone();
        match &self.observed.canary {
            // Somebody else's version is in the slot: ours is gone.
            Some(seen) if seen.digest != new.digest && self.seen_after(abort.at) && self.seen_since_swap() => {
                self.act_done(Act::Processes, place, format!("{} is gone", new.version), 0);
                self.replay();
            }
            _ => self.stop(new, StopPart::Act(place)),
        }
    }

    fn act_done(&mut self, act: Act, place: Place, result: String, took_ms: i64) {
        let (at, Place { order, of, attempt }) = (self.now, place);
        self.record(Transition::ActDone { at, act, order, of, attempt, result, took_ms });
    }
}
