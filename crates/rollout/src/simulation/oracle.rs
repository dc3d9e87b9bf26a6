//! The invariants, looked at without the engine's own reducer: from the log, and from what the data plane is told.

use model::{Timestamp, Verdict, Weight};

use crate::{AnalysisScope, Recipe, StepEnd, Transition, WeightCause, recipe::Step};

pub(super) const PROMOTED_UNJUDGED: &str = "promoted without Successful";
pub(super) const WEIGHT_AFTER_ABORT: &str = "weight after an abort";
pub(super) const WEIGHT_ABOVE_STEP: &str = "weight above the step's";
pub(super) const STEP_SKIPPED: &str = "a step was skipped";
pub(super) const APPLIED_TWICE: &str = "applied twice";
pub(super) const FULL_UNARMED: &str = "100 % without an armed envelope";

/// What the log says, told independently of [`crate::Status`].
pub(super) struct Oracle<'a> {
    recipe: &'a Recipe,
    pub(super) attempt: u32,
    pub(super) step: u32,
    armed: bool,
    pub(super) aborted: bool,
    pub(super) promoted: bool,
    full: bool,
    fast: bool,
    /// Verdict of the background run in force.
    background: Option<Option<Verdict>>,
    /// Runs of this attempt: name, scope.
    runs: Vec<(String, AnalysisScope)>,
    pause_until: Option<Option<Timestamp>>,
    applied: Weight,
    operations: Vec<String>,
    change: u32,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(recipe: &'a Recipe) -> Self {
        Self {
            recipe,
            attempt: 1,
            step: 0,
            armed: false,
            aborted: false,
            promoted: false,
            full: false,
            fast: false,
            background: None,
            runs: Vec::new(),
            pause_until: None,
            applied: Weight::ZERO,
            operations: Vec::new(),
            change: 0,
        }
    }

    /// A transition was recorded. Doubles and late ones are looked at as the log's readers must.
    pub(super) fn recorded(&mut self, transition: &Transition) -> Result<(), String> {
        match transition {
            Transition::EnvelopeArmed { .. } => self.armed = true,
            Transition::WeightApplied { operation, cause, weight, change, .. } => {
                if self.operations.contains(operation) || *change != self.change {
                    return Ok(());
                }
                self.operations.push(operation.clone());
                self.change += 1;
                self.applied = *weight;
                if let WeightCause::Step { step, completes: true } = cause
                    && *step == self.step
                    && !self.aborted
                    && !self.promoted
                {
                    match self.recipe.step(*step) {
                        Some(Step::SetWeight(_)) => self.advance(),
                        other => return Err(format!("{STEP_SKIPPED}: a weight completed step {step}, {other:?}")),
                    }
                }
            }
            Transition::WeightDrifted { seen, .. } => {
                self.change += 1;
                self.applied = *seen;
            }
            Transition::StepCompleted { step, end, actor, .. } => match end {
                StepEnd::FastRollback => {
                    self.fast = true;
                    self.step = *step;
                }
                StepEnd::Skipped if actor.is_some() => {
                    if *step == self.step && !self.aborted && !self.promoted {
                        self.advance();
                    }
                }
                StepEnd::Skipped => return Err(format!("{STEP_SKIPPED}: step {step} by nobody")),
                StepEnd::Done => match self.recipe.step(*step) {
                    Some(Step::SetWeight(weight)) if *step != self.step || *weight == self.applied => {
                        if *step == self.step {
                            self.advance();
                        }
                    }
                    other => {
                        return Err(format!(
                            "{STEP_SKIPPED}: step {step} ended as done at {}: {other:?}",
                            self.applied
                        ));
                    }
                },
            },
            Transition::PauseStarted { reason: crate::PauseReason::CanaryPauseStep, until, step, .. }
                if *step == self.step =>
            {
                self.pause_until.get_or_insert(*until);
            }
            Transition::PauseEnded { at, step, advance, actor } => {
                if *step != self.step {
                    return Ok(());
                }
                let over = self.pause_until.is_some_and(|until| until.is_some_and(|until| *at >= until));
                if *advance && actor.is_none() && !over {
                    return Err(format!("{STEP_SKIPPED}: the pause of step {step} ended early"));
                }
                self.pause_until = None;
                if self.background == Some(Some(Verdict::Inconclusive)) {
                    self.background = None;
                }
                if *advance && !self.aborted && !self.promoted {
                    self.advance();
                }
            }
            Transition::AnalysisStarted { run, scope, .. } => {
                self.runs.push((run.clone(), *scope));
                if *scope == AnalysisScope::Background {
                    self.background = Some(None);
                }
            }
            Transition::AnalysisEnded { run, verdict, .. } => {
                let scope = self.runs.iter().rev().find(|(r, _)| r == run).map(|(_, s)| *s);
                match scope {
                    Some(AnalysisScope::Background) => self.background = Some(Some(*verdict)),
                    Some(AnalysisScope::Step(step))
                        if step == self.step && *verdict == Verdict::Successful && !self.aborted && !self.promoted =>
                    {
                        self.advance();
                    }
                    _ => {}
                }
            }
            Transition::PromotedFull { .. } => self.full = !self.aborted,
            Transition::Aborted { .. } => self.aborted = true,
            Transition::Retried { .. } => {
                self.attempt += 1;
                self.step = 0;
                self.aborted = false;
                self.full = false;
                self.fast = false;
                self.background = None;
                self.pause_until = None;
                self.runs.clear();
            }
            Transition::SlotsPromoted { back, operation, .. } if !self.operations.contains(operation) => {
                self.operations.push(operation.clone());
                self.promoted = !back;
                self.change += 1;
                self.applied = Weight::ZERO;
            }
            _ => {}
        }
        Ok(())
    }

    fn advance(&mut self) {
        self.step += 1;
        self.pause_until = None;
    }

    /// A weight is about to be set that the data plane has not set before.
    pub(super) fn may_set(
        &self,
        cause: WeightCause,
        weight: Weight,
        swapped: bool,
        exposure: u8,
    ) -> Result<(), String> {
        if swapped {
            // The slot holds the old version: more weight there is less for the new one.
            // A swap whose outcome was lost is not known yet: 0 changes nothing then.
            return if self.aborted || weight == Weight::ZERO {
                Ok(())
            } else {
                Err(format!("{WEIGHT_ABOVE_STEP}: {weight} for the old version"))
            };
        }
        if self.aborted && weight.percent() > 0 && weight.percent() >= exposure && cause != WeightCause::Rollback {
            return Err(format!("{WEIGHT_AFTER_ABORT}: {weight}, {cause:?}"));
        }
        if self.aborted {
            return Ok(());
        }
        let most = if self.full { Weight::FULL } else { self.recipe.weight_at(self.step) };
        if weight > most {
            return Err(format!("{WEIGHT_ABOVE_STEP}: {weight} in step {}, {cause:?}", self.step));
        }
        if weight == Weight::FULL && !self.armed {
            return Err(FULL_UNARMED.to_owned());
        }
        Ok(())
    }

    /// The new version is about to become stable.
    pub(super) fn may_promote(&self) -> Result<(), String> {
        if self.aborted {
            return Err(format!("{WEIGHT_AFTER_ABORT}: promoted"));
        }
        if !self.armed {
            return Err(format!("{FULL_UNARMED}: promoted"));
        }
        if self.applied != Weight::FULL {
            return Err(format!("{WEIGHT_ABOVE_STEP}: promoted at {}", self.applied));
        }
        if self.full || self.fast {
            return Ok(());
        }
        if self.step < self.recipe.len() {
            return Err(format!("{STEP_SKIPPED}: promoted in step {}", self.step));
        }
        match (&self.recipe.background, self.background) {
            (None, _) | (_, Some(Some(Verdict::Successful))) => Ok(()),
            (_, verdict) => Err(format!("{PROMOTED_UNJUDGED}: the background analysis is {verdict:?}")),
        }
    }
}
