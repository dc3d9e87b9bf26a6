//! The planner's analyses: starting runs, asking for measurements, and what verdicts do.

use model::{Actor, Timestamp, Verdict, Weight};

use super::{
    plan::Action,
    planner::Planner,
    status::PauseReason,
    transition::{AnalysisScope, Transition},
};
use crate::{
    assess::{AnalysisPhase, Measurement, RunState},
    engine::observed::Builtin,
    recipe::{Analysis, Metric, Provider, Step},
};

/// A judge's word may be so much older than the end of the pause that it clears, ms: it comes once a second.
const WORD_MAY_BE_OLDER_MS: i64 = 2_000;

/// When to look for the judge's next word, ms.
const NEXT_WORD_MS: i64 = 1_000;

impl<'a> Planner<'a> {
    /// Background and inline analysis. After it the status may be aborted or paused.
    pub(super) fn analyse(&mut self, ready: bool) {
        if self.status.promote_full || self.status.fast_rollback {
            return;
        }
        if self.status.is_paused_for(PauseReason::InconclusiveAnalysisRun) {
            self.breach_while_undecided();
            return;
        }
        if let Some(background) = &self.recipe.background
            && self.status.step >= background.starting_step
        {
            // Argo starts the run before the canary is ready; here that could only measure nothing and count it as an error.
            if self.status.background.is_none() && ready {
                self.start_run(AnalysisScope::Background);
            }
            if let Some(run) = self.status.background.clone() {
                self.look_at(&run, &background.analysis);
            }
        }
        let step = self.status.step;
        if let Some(Step::Analysis(analysis)) = self.recipe.step(step)
            && self.status.abort.is_none()
            && !self.status.is_paused_for(PauseReason::InconclusiveAnalysisRun)
        {
            let may_start =
                ready && self.status.pauses.is_empty() && self.status.held.is_none() && self.weight_in_force();
            if self.status.step_run.is_none() && may_start {
                self.start_run(AnalysisScope::Step(step));
            }
            if let Some(run) = self.status.step_run.clone() {
                self.look_at(&run, analysis);
            }
        }
    }

    /// A run that ended Inconclusive measures no more, as in Argo. The canary has traffic all the same, so the built-in rule goes
    /// on watching: what rejects now aborts, and does not wait for the person.
    fn breach_while_undecided(&mut self) {
        let Some(background) = &self.recipe.background else { return };
        let is_rule =
            |m: &Metric| matches!(m.provider, Provider::Builtin(_)) && !m.dry_run && m.failure_limit == Some(0);
        let Some(metric) = background.analysis.metrics.iter().find(|m| is_rule(m)) else { return };
        if let Some(word) = self.valid_word().filter(|w| w.verdict == Verdict::Failed) {
            let reason = format!(
                "Background analysis phase error/failed: Metric \"{}\" assessed Failed: {}",
                metric.name, word.message
            );
            self.abort(word.at, &reason, Actor::judge());
        }
    }

    fn weight_in_force(&self) -> bool {
        self.status.applied == self.recipe.weight_at(self.status.step)
    }

    fn start_run(&mut self, scope: AnalysisScope) {
        let (release, attempt, n) = (&self.status.start.release, self.status.attempt, self.status.runs + 1);
        let run = match scope {
            AnalysisScope::Background => format!("{release}.{attempt}.{n}"),
            AnalysisScope::Step(step) => format!("{release}.{attempt}.{n}-{step}"),
        };
        self.record(Transition::AnalysisStarted { at: self.now, run, scope });
    }

    fn look_at(&mut self, run: &RunState, analysis: &'a Analysis) {
        if let Some(verdict) = run.verdict {
            // The verdict was recorded, its effect was not.
            self.effect(run.scope, verdict, &run.message.clone(), run_decided_at(run).unwrap_or(self.now));
            return;
        }
        if let Some(metric) = analysis.metrics.iter().find(|m| matches!(m.provider, Provider::Builtin(_))) {
            self.take_word(run, metric);
        }
        let Some(run) = self.again(&run.run) else { return };
        let assessment = run.assess(analysis, false);
        let Some(verdict) = assessment.phase.verdict() else {
            self.ask(&run, analysis);
            return;
        };
        let is_step = run.scope != AnalysisScope::Background;
        if is_step && verdict == Verdict::Successful {
            if self.status.held.is_some() {
                self.wait("the analysis is Successful, and the release is held", None);
                return;
            }
            if !self.judged_since(self.now) {
                return;
            }
        }
        let decided_at = assessment.decided_at.unwrap_or(self.now);
        self.end_run(&run.run, verdict, &assessment.message);
        self.effect(run.scope, verdict, &assessment.message, decided_at);
    }

    fn again(&self, run: &str) -> Option<RunState> {
        [&self.status.background, &self.status.step_run].into_iter().flatten().find(|r| r.run == run).cloned()
    }

    fn end_run(&mut self, run: &str, verdict: Verdict, message: &str) {
        let (run, message) = (run.to_owned(), message.to_owned());
        self.record(Transition::AnalysisEnded { at: self.now, run, verdict, message });
    }

    fn effect(&mut self, scope: AnalysisScope, verdict: Verdict, message: &str, decided_at: Timestamp) {
        match verdict {
            Verdict::Successful => {}
            Verdict::Failed | Verdict::Error => {
                let which = if scope == AnalysisScope::Background { "Background" } else { "Step-based" };
                let reason = format!("{which} analysis phase error/failed: {message}");
                self.abort(decided_at, &reason, Actor::judge());
            }
            Verdict::Inconclusive => {
                let (reason, step) = (PauseReason::InconclusiveAnalysisRun, self.status.step);
                self.record(Transition::PauseStarted { at: self.now, reason, step, until: None });
            }
        }
    }

    /// Asks for the measurements that are due.
    fn ask(&mut self, run: &RunState, analysis: &Analysis) {
        for metric in &analysis.metrics {
            if matches!(metric.provider, Provider::Builtin(_)) {
                continue;
            }
            let Some(due) = run.next_due(metric, self.recipe.error_retry_ms) else { continue };
            let is_under_way = self.observed.measuring.iter().any(|(r, m)| *r == run.run && *m == metric.name);
            if is_under_way {
                self.wait(&format!("the measurement of {}", metric.name), None);
            } else if due > self.now {
                self.wait(&format!("the next measurement of {}", metric.name), Some(due));
            } else {
                let provider = self.status.fill_in_metric(metric).provider;
                self.actions.push(Action::TakeMeasurement {
                    run: run.run.clone(),
                    metric: metric.name.clone(),
                    provider,
                });
            }
        }
    }

    /// Takes the built-in judge's word: a rejection at once, another word of an inline analysis when it is due.
    fn take_word(&mut self, run: &RunState, metric: &Metric) {
        let Some(word) = self.valid_word() else {
            self.wait("the built-in judge's word", Some(self.now.plus_millis(NEXT_WORD_MS)));
            return;
        };
        let due = run.next_due(metric, self.recipe.error_retry_ms);
        let last = run.metrics.get(&metric.name).and_then(|s| s.last.as_ref());
        // Another word than the last; not only a later one, since the clock may have been set back.
        let is_new = last.is_none_or(|l| word.at != l.started);
        let rejects = word.verdict == Verdict::Failed && due.is_some();
        let is_due = run.scope != AnalysisScope::Background
            && due.is_some_and(|due| due <= self.now && word.at >= run.started_at);
        if is_new && (rejects || is_due) {
            self.measured_by_judge(&run.run, metric, &word);
        } else if run.scope != AnalysisScope::Background {
            self.wait("the built-in judge's word", Some(self.now.plus_millis(NEXT_WORD_MS)));
        }
    }

    fn measured_by_judge(&mut self, run: &str, metric: &Metric, word: &Builtin) {
        let (run, metric, message) = (run.to_owned(), metric.name.clone(), word.message.clone());
        let (at, started, verdict) = (word.at, word.at, word.verdict);
        self.record(Transition::Measured { at, started, run, metric, verdict, message });
    }

    /// The judge's word, if it is about the weight that is in force.
    fn valid_word(&self) -> Option<Builtin> {
        self.observed.builtin.clone().filter(|b| b.since == self.status.applied_at)
    }

    /// Whether the recipe lets a certified step end early, and this one is certified.
    pub(super) fn is_certified(&self) -> bool {
        let asked = self.recipe.background.as_ref().filter(|b| self.status.step >= b.starting_step).is_some_and(|b| {
            b.analysis
                .metrics
                .iter()
                .any(|m| !m.dry_run && matches!(&m.provider, Provider::Builtin(rule) if rule.end_certified_steps))
        });
        let fresh = self.now.plus_millis(-WORD_MAY_BE_OLDER_MS);
        asked && self.valid_word().is_some_and(|w| w.certified && w.verdict == Verdict::Successful && w.at >= fresh)
    }

    /// Whether the built-in rule lets the release go on: its word since `from` is Successful. Records that word. True without such a rule.
    pub(super) fn judged_since(&mut self, from: Timestamp) -> bool {
        if self.status.exposure() == Weight::ZERO || self.status.promote_full || self.status.fast_rollback {
            return true;
        }
        let Some(background) = self.recipe.background.as_ref().filter(|b| self.status.step >= b.starting_step) else {
            return true;
        };
        let Some(metric) =
            background.analysis.metrics.iter().find(|m| matches!(m.provider, Provider::Builtin(_)) && !m.dry_run)
        else {
            return true;
        };
        let Some(run) = self.status.background.clone() else {
            self.wait("the background analysis to begin", None);
            return false;
        };
        if run.verdict == Some(Verdict::Successful) {
            return true;
        }
        let from = from.plus_millis(-WORD_MAY_BE_OLDER_MS).max(self.status.applied_at);
        let last = run.metrics.get(&metric.name).and_then(|s| s.last.clone());
        let cleared = |l: &Measurement| {
            l.verdict == Verdict::Successful && l.finished >= from && l.weight_changes == self.status.weight_changes
        };
        if last.as_ref().is_some_and(cleared) {
            return true;
        }
        let is_new = |w: &Builtin| w.at >= from && last.as_ref().is_none_or(|l| w.at != l.started);
        let Some(word) = self.valid_word().filter(is_new) else {
            self.wait("the built-in judge's word on this step", Some(self.now.plus_millis(NEXT_WORD_MS)));
            return false;
        };
        self.measured_by_judge(&run.run, metric, &word);
        if word.verdict == Verdict::Successful {
            return true;
        }
        let Some(run) = self.again(&run.run) else { return false };
        let assessment = run.assess(&background.analysis, false);
        if let Some(verdict) = assessment.phase.verdict() {
            self.end_run(&run.run, verdict, &assessment.message);
            self.effect(run.scope, verdict, &assessment.message, word.at);
        } else {
            self.wait("a clearer word of the built-in judge", Some(self.now.plus_millis(NEXT_WORD_MS)));
        }
        false
    }

    /// Ends the background run before the promotion. True when it is (or was) Successful, or there is none.
    pub(super) fn end_background(&mut self) -> bool {
        if self.status.promote_full || self.status.fast_rollback {
            return true;
        }
        let (Some(background), Some(run)) = (&self.recipe.background, self.status.background.clone()) else {
            // It starts with the last step at the latest: without a run there is nothing to wait for.
            let due = self.recipe.background.as_ref().is_some_and(|b| self.status.step >= b.starting_step);
            return !due;
        };
        if let Some(verdict) = run.verdict {
            return verdict == Verdict::Successful;
        }
        let assessment = run.assess(&background.analysis, true);
        debug_assert_ne!(assessment.phase, AnalysisPhase::Running);
        let verdict = assessment.phase.verdict().unwrap_or(Verdict::Inconclusive);
        let decided_at = assessment.decided_at.unwrap_or(self.now);
        self.end_run(&run.run, verdict, &assessment.message);
        self.effect(run.scope, verdict, &assessment.message, decided_at);
        verdict == Verdict::Successful
    }
}

fn run_decided_at(run: &RunState) -> Option<Timestamp> {
    run.metrics.values().filter_map(|m| m.last.as_ref().map(|l| l.finished)).max()
}
