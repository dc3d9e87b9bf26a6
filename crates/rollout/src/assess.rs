//! Verdicts of measurements, metrics and analysis runs, as Argo Rollouts' `analysis` package gives them.

use std::collections::BTreeMap;

use model::{Timestamp, Verdict};
use serde::{Deserialize, Serialize};

use crate::engine::transition::AnalysisScope;

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

/// The transition that a measurement makes: `answer` is the value as conditions see it under `result`, or why there is none.
/// `None` when the run or the metric is not (or no longer) there: the measurement is dropped.
pub fn measured(
    recipe: &crate::Recipe,
    status: &crate::Status,
    run: &str,
    metric: &str,
    started: Timestamp,
    answer: Result<&serde_json::Value, &str>,
    now: Timestamp,
) -> Option<crate::Transition> {
    todo!("{recipe:?} {status:?} {run} {metric} {started} {answer:?} {now}")
}
