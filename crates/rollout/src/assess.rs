//! Verdicts of measurements, metrics and analysis runs, as Argo Rollouts' `analysis` package gives them.

use std::collections::BTreeMap;

use model::{Timestamp, Verdict};
use serde::{Deserialize, Serialize};

use crate::{
    engine::{
        status::Status,
        transition::{AnalysisScope, Transition},
    },
    expr,
    recipe::{Analysis, Metric, Provider, Recipe},
};

/// How far a metric or an analysis run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AnalysisPhase {
    /// Nothing measured yet.
    Pending,
    /// Under way.
    Running,
    /// Ended well.
    Successful,
    /// Ended badly.
    Failed,
    /// Could not be found out.
    Error,
    /// Not enough to decide.
    Inconclusive,
}

/// The last measurement of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measurement {
    /// When it was begun.
    pub started: Timestamp,
    /// When it was done.
    pub finished: Timestamp,
    /// What it says.
    pub verdict: Verdict,
    /// Value, condition or error in one sentence.
    pub message: String,
    /// Changes of the weight before it: a word on an earlier weight clears nothing.
    #[serde(default)]
    pub weight_changes: u32,
}

/// Counters of one metric in one run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MetricState {
    /// Measurements that say something; errors are not among them.
    pub count: u32,
    /// Of these, successful.
    pub successful: u32,
    /// Of these, failed.
    pub failed: u32,
    /// Of these, inconclusive.
    pub inconclusive: u32,
    /// Measurements that could not be taken.
    pub error: u32,
    /// Of these, one after the other up to now.
    pub consecutive_error: u32,
    /// Successes one after the other up to now.
    pub consecutive_success: u32,
    /// The last measurement.
    pub last: Option<Measurement>,
}

/// One analysis run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunState {
    /// Its name.
    pub run: String,
    /// What it covers.
    pub scope: AnalysisScope,
    /// When it began.
    pub started_at: Timestamp,
    /// Counters by metric; a metric that was not measured yet is absent.
    pub metrics: BTreeMap<String, MetricState>,
    /// Its verdict, once it has ended.
    pub verdict: Option<Verdict>,
    /// Argo's sentence with it.
    pub message: String,
}

/// Where a run stands, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// Where it stands.
    pub phase: AnalysisPhase,
    /// Argo's sentence: `Metric "x" assessed Failed due to failed (1) > failureLimit (0)`, then what was measured.
    pub message: String,
    /// End of the measurement that decided.
    pub decided_at: Option<Timestamp>,
}

impl AnalysisPhase {
    /// The verdict, once completed.
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Pending | Self::Running => None,
            Self::Successful => Some(Verdict::Successful),
            Self::Failed => Some(Verdict::Failed),
            Self::Error => Some(Verdict::Error),
            Self::Inconclusive => Some(Verdict::Inconclusive),
        }
    }

    /// The word shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Error => "Error",
            Self::Inconclusive => "Inconclusive",
        }
    }

    fn badness(self) -> u8 {
        match self {
            Self::Successful => 0,
            Self::Running => 1,
            Self::Pending => 2,
            Self::Inconclusive => 3,
            Self::Error => 4,
            Self::Failed => 5,
        }
    }

    fn ends_the_run(self) -> bool {
        matches!(self, Self::Failed | Self::Error | Self::Inconclusive)
    }
}

impl MetricState {
    /// Counts a measurement. One begun when the last known one was begun is a double: answers whether it counted. (Not one begun earlier: the clock
    /// may have been set back, and there is one measurement of a metric at a time.)
    pub fn take(&mut self, measurement: Measurement) -> bool {
        if self.last.as_ref().is_some_and(|last| measurement.started == last.started) {
            return false;
        }
        match measurement.verdict {
            Verdict::Successful => self.successful += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Inconclusive => self.inconclusive += 1,
            Verdict::Error => self.error += 1,
        }
        if measurement.verdict == Verdict::Error {
            self.consecutive_error += 1;
        } else {
            self.count += 1;
            self.consecutive_error = 0;
        }
        self.consecutive_success =
            if measurement.verdict == Verdict::Successful { self.consecutive_success + 1 } else { 0 };
        self.last = Some(measurement);
        true
    }

    /// Where the metric stands. With `terminating` one that is not decided ends Successful.
    pub fn assess(&self, metric: &Metric, terminating: bool) -> (AnalysisPhase, String) {
        if self.last.is_none() {
            let phase = if terminating { AnalysisPhase::Successful } else { AnalysisPhase::Pending };
            return (phase, String::new());
        }
        // Later ones override earlier ones, as in Argo.
        let mut bad = None;
        if let Some(limit) = metric.failure_limit
            && self.failed > limit
        {
            bad = Some((AnalysisPhase::Failed, format!("failed ({}) > failureLimit ({limit})", self.failed)));
        }
        if self.inconclusive > metric.inconclusive_limit {
            let text =
                format!("inconclusive ({}) > inconclusiveLimit ({})", self.inconclusive, metric.inconclusive_limit);
            bad = Some((AnalysisPhase::Inconclusive, text));
        }
        if self.consecutive_error > metric.consecutive_error_limit {
            let limit = metric.consecutive_error_limit;
            let text = format!("consecutiveErrors ({}) > consecutiveErrorLimit ({limit})", self.consecutive_error);
            bad = Some((AnalysisPhase::Error, text));
        }
        if let Some(bad) = bad {
            return bad;
        }
        let wants_successes = metric.consecutive_success_limit > 0;
        if wants_successes && self.consecutive_success >= metric.consecutive_success_limit {
            return (AnalysisPhase::Successful, String::new());
        }
        if metric.count.is_some_and(|count| self.count >= count) {
            let phase = match (metric.failure_limit.is_some(), wants_successes) {
                (true, true) => AnalysisPhase::Inconclusive,
                (false, true) => AnalysisPhase::Failed,
                _ => AnalysisPhase::Successful,
            };
            return (phase, String::new());
        }
        (if terminating { AnalysisPhase::Successful } else { AnalysisPhase::Running }, String::new())
    }
}

impl RunState {
    /// A run that has measured nothing.
    pub fn new(run: String, scope: AnalysisScope, started_at: Timestamp) -> Self {
        Self { run, scope, started_at, metrics: BTreeMap::new(), verdict: None, message: String::new() }
    }

    /// Where the run stands. With `terminate` it is told to end now.
    pub fn assess(&self, analysis: &Analysis, terminate: bool) -> Assessment {
        let none = MetricState::default();
        let state = |m: &Metric| self.metrics.get(&m.name).unwrap_or(&none).clone();
        let terminating =
            terminate || analysis.metrics.iter().any(|m| !m.dry_run && state(m).assess(m, false).0.ends_the_run());
        let mut worst: Option<Assessment> = None;
        let mut message = if terminate { "Run Terminated".to_owned() } else { String::new() };
        let mut all_completed = true;
        for metric in &analysis.metrics {
            let state = state(metric);
            if state.last.is_none() {
                all_completed = false;
                continue;
            }
            let (phase, why) = state.assess(metric, terminating);
            if phase.verdict().is_none() {
                all_completed = false;
                continue;
            }
            let (phase, why) = if metric.dry_run { (AnalysisPhase::Successful, String::new()) } else { (phase, why) };
            if worst.as_ref().is_none_or(|w| (!metric.dry_run) && phase.badness() > w.phase.badness()) {
                if !why.is_empty() {
                    message = format!("Metric \"{}\" assessed {} due to {why}", metric.name, phase.as_str());
                    if let Some(last) = state.last.as_ref().filter(|l| !l.message.is_empty()) {
                        message.push_str(&match last.verdict {
                            Verdict::Error => format!(": \"Error Message: {}\"", last.message),
                            _ => format!(": {}", last.message),
                        });
                    }
                } else if phase.ends_the_run() {
                    // Argo says nothing here, which nobody can act on.
                    message = format!(
                        "Metric \"{}\" assessed {}: {} ended with {} of {} successes in a row (measurements: {})",
                        metric.name,
                        phase.as_str(),
                        metric.name,
                        state.consecutive_success,
                        metric.consecutive_success_limit,
                        state.count
                    );
                }
                worst = Some(Assessment { phase, message: String::new(), decided_at: state.last.map(|l| l.finished) });
            }
        }
        let running = Assessment { phase: AnalysisPhase::Running, message: String::new(), decided_at: None };
        let ended = match worst {
            Some(worst) if all_completed || terminating => worst,
            None if terminating => Assessment { phase: AnalysisPhase::Successful, ..running },
            _ => return running,
        };
        if ended.phase == AnalysisPhase::Successful {
            // Argo says no more than that; what was measured last is what a reader wants to know.
            let last = analysis.metrics.iter().filter_map(|m| Some((m, state(m).last?)));
            let said = last.filter(|(_, l)| !l.message.is_empty()).map(|(m, l)| format!("{}: {}", m.name, l.message));
            let all: Vec<String> = Some(message).filter(|m| !m.is_empty()).into_iter().chain(said).collect();
            message = all.join("; ");
        }
        Assessment { message, ..ended }
    }

    /// When the metric is to be measured next; `None` when it is done with.
    pub fn next_due(&self, metric: &Metric, error_retry_ms: i64) -> Option<Timestamp> {
        let Some(state) = self.metrics.get(&metric.name).filter(|s| s.last.is_some()) else {
            return Some(self.started_at.plus_millis(metric.initial_delay_ms));
        };
        if self.verdict.is_some() || state.assess(metric, false).0.verdict().is_some() {
            return None;
        }
        let last = state.last.as_ref()?;
        let wait = match (last.verdict, metric.interval_ms) {
            (Verdict::Error, _) | (_, None) => error_retry_ms,
            (_, Some(interval)) => interval,
        };
        Some(last.finished.plus_millis(wait))
    }
}

/// What a value means by the metric's conditions: Argo's `EvaluateResult`. The text is the value, or what went wrong.
pub fn judge(metric: &Metric, value: &expr::Value) -> (Verdict, String) {
    let shown = || format!("result {}", expr::shown(value));
    let holds = |which: &str, condition: &str| {
        match condition {
        "" => Ok(None),
        _ => expr::condition(condition, value).map(Some).map_err(|why| {
            if expr::is_nil_or_empty(value) {
                format!("could not evaluate {which} \"{condition}\": metric result is nil or empty: no data returned from the metric provider")
            } else {
                format!("could not evaluate {which} \"{condition}\": {why}")
            }
        }),
    }
    };
    let success = match holds("successCondition", &metric.success_condition) {
        Ok(holds) => holds,
        Err(why) => return (Verdict::Error, why),
    };
    let failure = match holds("failureCondition", &metric.failure_condition) {
        Ok(holds) => holds,
        Err(why) => return (Verdict::Error, why),
    };
    let (success_text, failure_text) = (&metric.success_condition, &metric.failure_condition);
    match (success, failure) {
        (_, Some(true)) => (Verdict::Failed, format!("{}: failureCondition \"{failure_text}\" holds", shown())),
        (Some(false), None) => {
            (Verdict::Failed, format!("{}: successCondition \"{success_text}\" does not hold", shown()))
        }
        (Some(false), Some(false)) => {
            (Verdict::Inconclusive, format!("{}: neither successCondition nor failureCondition holds", shown()))
        }
        _ => (Verdict::Successful, shown()),
    }
}

/// The transition that a measurement makes: `answer` is the value as conditions see it under `result`, or why there is none.
/// `None` when the run or the metric is not (or no longer) there: the measurement is dropped.
pub fn measured(
    recipe: &Recipe,
    status: &Status,
    run: &str,
    metric: &str,
    started: Timestamp,
    answer: Result<&serde_json::Value, &str>,
    now: Timestamp,
) -> Option<Transition> {
    let (state, analysis) = status.run(recipe, run)?;
    if state.verdict.is_some() {
        return None;
    }
    let metric = analysis.metrics.iter().find(|m| m.name == metric)?;
    if state.metrics.get(&metric.name).is_some_and(|s| s.assess(metric, false).0.verdict().is_some()) {
        return None;
    }
    let (verdict, message) = match answer {
        Ok(value) => {
            // Only Prometheus writes NaN and infinities as text; a web service that says "NaN" means the word.
            let numbers = matches!(metric.provider, Provider::Prometheus(_));
            judge(&status.fill_in_metric(metric), &expr::Value::from_json(value, numbers))
        }
        Err(why) => (Verdict::Error, why.to_owned()),
    };
    let message = message.chars().take(MAX_MESSAGE).collect();
    Some(Transition::Measured { at: now, started, run: run.to_owned(), metric: metric.name.clone(), verdict, message })
}

/// Longest message of a measurement, in characters: a long condition and a value fit, an error page does not.
const MAX_MESSAGE: usize = 600;
