//! The recipe: Argo's `Rollout` and its analysis templates, resolved.

pub(crate) mod duration;
pub(crate) mod load;
pub(crate) mod schema;
pub(crate) mod templates;
pub(crate) mod yaml;

use model::Weight;
use serde::{Deserialize, Serialize};

/// Part of a recipe that a runtime cannot do, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Refusal {
    /// Path of the field, e.g. `spec.strategy.canary.steps[2].experiment`.
    pub field: String,
    /// Why not, and what to do instead.
    pub reason: String,
}

/// A recipe, ready to be carried out: templates resolved, durations divided by the speed.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// The Rollout's name.
    pub name: String,
    /// The steps.
    pub steps: Vec<Step>,
    /// The analysis beside the steps.
    pub background: Option<Background>,
    /// Time from the end of a promotion until the old version is stopped, ms (`scaleDownDelaySeconds`, 30 s).
    pub scale_down_delay_ms: i64,
    /// Time from an abort until the new version is stopped, ms (`abortScaleDownDelaySeconds`, 30 s); `None` = kept (0).
    pub abort_scale_down_delay_ms: Option<i64>,
    /// Time without progress until the release is Degraded, ms (`progressDeadlineSeconds`, 600 s).
    pub progress_deadline_ms: i64,
    /// Abort when it is over (`progressDeadlineAbort`).
    pub progress_deadline_abort: bool,
    /// A version that was stable at most so many releases ago skips all steps (`rollbackWindow.revisions`).
    pub rollback_window: Option<u32>,
    /// What happens when the controller was gone.
    pub dead_man: DeadMan,
    /// Time from a measurement that could not be taken to the next, ms (Argo: 10 s, whatever the interval).
    pub error_retry_ms: i64,
    /// Every duration was divided by this.
    pub speed: f64,
    /// What the runtime must be able to do beside the steps, by the path of the field: for [`crate::unsupported_locally`].
    pub needs: Vec<Refusal>,
}

/// Stands for the stable version's label in queries and conditions, until a release is known.
pub(crate) const STABLE_LABEL: &str = "{{deliveryos.stable}}";

/// Stands for the new version's label.
pub(crate) const CANARY_LABEL: &str = "{{deliveryos.canary}}";

impl Provider {
    /// The provider with every text changed.
    pub(crate) fn map_text(&self, change: impl Fn(&str) -> String) -> Self {
        let headers = |h: &[(String, String)]| h.iter().map(|(n, v)| (change(n), change(v))).collect();
        match self {
            Self::Builtin(_) | Self::Other(_) => self.clone(),
            Self::Prometheus(p) => Self::Prometheus(Prometheus {
                address: change(&p.address),
                query: change(&p.query),
                headers: headers(&p.headers),
                ..p.clone()
            }),
            Self::Web(w) => Self::Web(Web {
                url: change(&w.url),
                headers: headers(&w.headers),
                body: w.body.as_ref().map(|b| match b {
                    WebBody::Text(text) => WebBody::Text(change(text)),
                    WebBody::Json(json) => WebBody::Json(map_json(json, &change)),
                }),
                json_path: change(&w.json_path),
                ..w.clone()
            }),
        }
    }

    /// Argo's name of the provider.
    pub fn name(&self) -> &str {
        match self {
            Self::Builtin(_) => "deliveryos/builtin",
            Self::Prometheus(_) => "prometheus",
            Self::Web(_) => "web",
            Self::Other(name) => name,
        }
    }
}

fn map_json(value: &serde_json::Value, change: &impl Fn(&str) -> String) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(list) => Value::Array(list.iter().map(|v| map_json(v, change)).collect()),
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (k.clone(), map_json(v, change))).collect()),
        other => other.clone(),
    }
}

impl Recipe {
    /// The step with this index; `None` when all are done.
    pub fn step(&self, index: u32) -> Option<&Step> {
        self.steps.get(usize::try_from(index).ok()?)
    }

    /// Number of steps.
    pub fn len(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// True for a recipe without steps: straight to 100 %.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Argo's effective weight while `index` is the current step: that of the last `setWeight` up to it; 0 without one, 100 when all
    /// steps are done.
    pub fn weight_at(&self, index: u32) -> Weight {
        if index >= self.len() {
            return Weight::FULL;
        }
        let upto = usize::try_from(index).unwrap_or(usize::MAX).saturating_add(1);
        self.steps
            .iter()
            .take(upto)
            .rev()
            .find_map(|s| if let Step::SetWeight(w) = s { Some(*w) } else { None })
            .unwrap_or_default()
    }

    /// The one Rollout in these files (name and bytes) with its templates, or the findings that prevent it.
    pub fn load(files: &[(&str, &[u8])]) -> Result<Self, crate::LintReport> {
        load::load(files)
    }

    /// The same recipe with every duration divided by `factor`; a factor that is not above 0 and finite changes nothing. What queries ask for (the
    /// windows in PromQL, the span of a range) stays as it is.
    pub fn speed(mut self, factor: f64) -> Self {
        if !(factor.is_finite() && factor > 0.0) {
            return self;
        }
        // A duration that there is stays one: at least a millisecond.
        let faster = |ms: &mut i64| *ms = if *ms > 0 { ((*ms as f64 / factor).round() as i64).max(1) } else { *ms };
        let analysis = |a: &mut Analysis| {
            for metric in &mut a.metrics {
                metric.interval_ms.iter_mut().for_each(faster);
                if let Provider::Builtin(builtin) = &mut metric.provider {
                    faster(builtin.warm_up_ms.get_or_insert(WARM_UP_MS));
                }
                faster(&mut metric.initial_delay_ms);
            }
        };
        for step in &mut self.steps {
            match step {
                Step::Pause(duration) => duration.iter_mut().for_each(faster),
                Step::Analysis(a) => analysis(a),
                Step::SetWeight(_) | Step::Other(_) => {}
            }
        }
        if let Some(background) = &mut self.background {
            analysis(&mut background.analysis);
        }
        faster(&mut self.scale_down_delay_ms);
        self.abort_scale_down_delay_ms.iter_mut().for_each(faster);
        faster(&mut self.progress_deadline_ms);
        faster(&mut self.error_retry_ms);
        // The dead-man time is about the controller, not about the release: it stays.
        self.speed *= factor;
        self
    }
}

/// What happens when the controller was gone, from the Rollout's annotations
/// `deliveryos.dev/dead-man-seconds` (default 60) and `deliveryos.dev/on-controller-loss` (`resume`, the default, or `abort`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadMan {
    /// The data plane goes to 0 % by itself after this time without its controller, ms.
    pub after_ms: i64,
    /// False when the recipe does not say it and [`DeadMan::after_ms`] is the default: a data plane that was configured with
    /// another time uses that one.
    pub stated: bool,
    /// When the controller is back: abort (true), or go on (false).
    pub abort: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Set the weight.
    SetWeight(Weight),
    /// Wait so long, ms; `None` = for a person.
    Pause(Option<i64>),
    /// Run an analysis to its end.
    Analysis(Analysis),
    /// A step that only other runtimes can do; its name.
    Other(&'static str),
}

/// The analysis beside the steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Background {
    /// Index of the step from which it runs.
    pub starting_step: u32,
    /// What it measures.
    pub analysis: Analysis,
}

/// Metrics with their templates resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The metrics, by name unique.
    pub metrics: Vec<Metric>,
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// What is asked.
    pub provider: Provider,
    /// Time between measurements, ms.
    pub interval_ms: Option<i64>,
    /// Time before the first, ms.
    pub initial_delay_ms: i64,
    /// Number of measurements; `None` = until the run is ended.
    pub count: Option<u32>,
    /// expr-lang; empty = none.
    pub success_condition: String,
    /// expr-lang; empty = none.
    pub failure_condition: String,
    /// Failures allowed; `None` = any number (-1).
    pub failure_limit: Option<u32>,
    /// Inconclusive measurements allowed.
    pub inconclusive_limit: u32,
    /// Errors in a row allowed.
    pub consecutive_error_limit: u32,
    /// Successes in a row that end it Successful; 0 = off.
    pub consecutive_success_limit: u32,
    /// Measured and shown, but without effect.
    pub dry_run: bool,
}

/// What answers a metric. Text may still hold `{{args.x}}` until [`crate::plan`] hands it out with a measurement.
#[derive(Debug, Clone, PartialEq)]
pub enum Provider {
    /// The built-in rule on the data plane's own ticks (`plugin: {deliveryos/builtin: {}}`).
    Builtin(Builtin),
    /// A Prometheus.
    Prometheus(Prometheus),
    /// One HTTP request, one value of its JSON answer.
    Web(Web),
    /// Another of Argo's providers, by name, e.g. `datadog` or `job`.
    Other(String),
}

/// The built-in rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Builtin {
    /// Its name: `sequential` when the recipe does not say.
    pub rule: String,
    /// Unit of evidence, `requests` or `blocks`; chosen from stable's past when the recipe does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Chance that a healthy canary is ever stopped; the rule's own when the recipe does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// The canary's first traffic in which latency does not count, ms; the rule's own when the recipe does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_up_ms: Option<i64>,
    /// True: a timed pause ends early once the canary is certified for its weight.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_certified_steps: bool,
}

/// The canary's first traffic in which latency does not count, ms, unless the recipe says otherwise.
pub const WARM_UP_MS: i64 = 30_000;

/// A query to Prometheus.
#[derive(Debug, Clone, PartialEq)]
pub struct Prometheus {
    /// Name or address of the server.
    pub address: String,
    /// PromQL.
    pub query: String,
    /// Asks for a range instead of an instant.
    pub range: Option<Range>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Time limit, ms; Argo's default (30 s) when absent.
    pub timeout_ms: Option<i64>,
}

/// Span of a range query: how long before now it begins and ends, and its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Begins so long before now, ms.
    pub start_ms_ago: i64,
    /// Ends so long before now, ms.
    pub end_ms_ago: i64,
    /// Distance of points, ms.
    pub step_ms: i64,
}

/// One HTTP request.
#[derive(Debug, Clone, PartialEq)]
pub struct Web {
    /// Address.
    pub url: String,
    /// `GET`, `POST` or `PUT`.
    pub method: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Option<WebBody>,
    /// Which value of the answer; empty = the whole.
    pub json_path: String,
    /// Time limit, ms; Argo's default (10 s) when absent.
    pub timeout_ms: Option<i64>,
}

/// Body of a web request.
#[derive(Debug, Clone, PartialEq)]
pub enum WebBody {
    /// As written.
    Text(String),
    /// JSON.
    Json(serde_json::Value),
}

/// A duration for people: `1.5 s`, `10 min`.
pub(crate) fn shown_ms(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..120_000 if ms % 1_000 == 0 => format!("{} s", ms / 1_000),
        1_000..120_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        _ if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}
