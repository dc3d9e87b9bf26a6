//! The ports: what carries workload and traffic, what answers queries, what keeps samples, what the configuration defines.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use model::{Digest, Epoch, ReleaseId, ServiceId, Tick, Timestamp, Track, Version, Weight};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::{CounterAsk, CounterSource, Counters};

/// How one version of a service is run. Commands come from the server's configuration only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Label.
    pub version: Version,
    /// Identity.
    pub digest: Digest,
    /// How it is run.
    pub source: WorkloadSource,
}

/// A child process, or an address that somebody else runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkloadSource {
    /// Started and supervised by the data plane.
    Process {
        /// Program and arguments; `{port}` is replaced by the port given.
        command: Vec<String>,
        /// Further environment.
        env: BTreeMap<String, String>,
        /// Path answered with 2xx when ready.
        health_path: String,
    },
    /// Run by somebody else.
    Url {
        /// `http://host:port`.
        url: String,
        /// Path answered with 2xx when ready; without one, a connection that is accepted says so.
        health_path: Option<String>,
    },
}

/// What a runtime shows of one version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedVersion {
    /// Label.
    pub version: Version,
    /// Identity.
    pub digest: Digest,
    /// True when it answers its health check.
    pub ready: bool,
    /// Requests under way.
    pub in_flight: u64,
    /// Times its process was started again.
    pub restarts: u64,
    /// The latest ends of its process that nobody asked for, oldest first; at least the last three.
    pub ends: Vec<rollout::ProcessEnd>,
}

/// What a runtime shows of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservedService {
    /// When it was seen.
    pub at: Timestamp,
    /// Weight in force.
    pub weight: Weight,
    /// Epoch under which it was set.
    pub epoch: Epoch,
    /// The stable version.
    pub stable: Option<ObservedVersion>,
    /// The canary.
    pub canary: Option<ObservedVersion>,
    /// When a request was last sent on to the canary.
    pub canary_last_sent: Option<Timestamp>,
    /// Set when the data plane put the weight to 0 by itself because its controller was gone too long.
    pub dead_man_at: Option<Timestamp>,
    /// Set when the data plane has restarted and how long nothing was served, ms.
    pub last_gap_ms: Option<i64>,
}

/// Proof that a weight is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightApplied {
    /// By the data plane's clock.
    pub at: Timestamp,
    /// Weight before.
    pub previous: Weight,
    /// False when this operation had been applied before and this is the first answer again.
    pub fresh: bool,
}

/// Why a runtime did not do it.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum RuntimeError {
    /// Somebody with a larger epoch is in charge: stop acting.
    #[error("epoch {ours} is stale, {theirs} is in force")]
    StaleEpoch {
        /// The epoch that was sent.
        ours: Epoch,
        /// The epoch in force.
        theirs: Epoch,
    },
    /// The data plane cannot be reached: nothing is known to have changed.
    #[error("the data plane cannot be reached: {0}")]
    Unreachable(String),
    /// The data plane refused.
    #[error("the data plane refused: {0}")]
    Refused(String),
    /// The service is not known to it.
    #[error("the service {0} is not known to the data plane")]
    UnknownService(ServiceId),
}

/// What carries workload and traffic. Every call is idempotent; every change carries the epoch.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Name stored in receipts and named in refusals: `local`, …
    fn name(&self) -> &'static str;
    /// What of this recipe it cannot do, each by name. Empty = all of it.
    fn unsupported(&self, recipe: &rollout::Recipe) -> Vec<rollout::Refusal>;
    /// Makes sure that the service is there with this stable version (start-up, and after a restart).
    async fn ensure(&self, service: &ServiceId, epoch: Epoch, stable: &Workload) -> Result<(), RuntimeError>;
    /// What is there now.
    async fn observe(&self, service: &ServiceId) -> Result<ObservedService, RuntimeError>;
    /// Starts the canary at weight 0; answers once it has been asked for, readiness is observed. From then on its weight goes to
    /// 0 by itself when no controller was heard for the dead-man time.
    async fn start_canary(
        &self,
        service: &ServiceId,
        epoch: Epoch,
        canary: &Workload,
        dead_man: rollout::DeadMan,
    ) -> Result<(), RuntimeError>;
    /// Sets the weight. The same operation again is answered with the first answer.
    async fn set_weight(
        &self,
        service: &ServiceId,
        epoch: Epoch,
        operation: &str,
        weight: Weight,
    ) -> Result<WeightApplied, RuntimeError>;
    /// The canary becomes stable, without dropping a request; the former stable is kept as canary at weight 0.
    async fn promote(&self, service: &ServiceId, epoch: Epoch, operation: &str) -> Result<WeightApplied, RuntimeError>;
    /// Takes a version out: no new requests, requests in flight end or are cut at the drain limit, then its process ends. Answers when it is gone.
    async fn stop(&self, service: &ServiceId, epoch: Epoch, track: Track, drain_ms: u64) -> Result<(), RuntimeError>;
    /// The ticks of a service that ended after a moment, oldest first, as far as it still has them: what a controller missed while it
    /// was not there, as it would have been told.
    async fn missed_ticks(&self, service: &ServiceId, after: Timestamp) -> Result<Vec<Tick>, RuntimeError>;
    /// Ticks as they come, one a second and service. A lagging receiver loses the oldest.
    fn ticks(&self) -> broadcast::Receiver<(ServiceId, Tick)>;
}

/// One answer of a metric source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricAnswer {
    /// The value, as the condition sees it under `result`: number, list of numbers, or JSON (web).
    pub value: serde_json::Value,
    /// The query as sent, arguments filled in, secrets removed.
    pub query: String,
    /// Address asked, without credentials.
    pub source: String,
}

/// Why there is no answer. All of these are a measurement's `Error`, never a verdict about the canary.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum MetricError {
    /// The source could not be reached in time.
    #[error("{0} did not answer: {1}")]
    Unreachable(String, String),
    /// The source answered with an error.
    #[error("{0} answered with an error: {1}")]
    Answered(String, String),
    /// The answer cannot be read.
    #[error("{0} gave an answer that cannot be read: {1}")]
    Unreadable(String, String),
    /// The address is not allowed by the configuration.
    #[error("{0} is not an allowed metric source: add it under [metrics] in the configuration")]
    NotAllowed(String),
    /// No such provider here.
    #[error("the metric provider {0} is not supported")]
    NotSupported(String),
}

/// What answers a metric's query. Must answer or fail within the time limit given.
#[async_trait]
pub trait MetricSource: Send + Sync {
    /// True when it can answer this provider.
    fn handles(&self, provider: &rollout::Provider) -> bool;
    /// Asks once.
    async fn measure(
        &self,
        provider: &rollout::Provider,
        now: Timestamp,
        timeout: Duration,
    ) -> Result<MetricAnswer, MetricError>;
    /// True when it can count ([`MetricSource::counters`]).
    fn counts(&self) -> bool {
        false
    }
    /// Cumulative counters of one version over time. Must answer or fail within the time limit given, as [`MetricSource::measure`].
    async fn counters(&self, ask: &CounterAsk, timeout: Duration) -> Result<Counters, MetricError> {
        let _ = (ask, timeout);
        Err(MetricError::NotSupported("for counters".to_owned()))
    }
}

/// Keeps ticks and measurements: not receipts, but what verdicts are computed from.
#[async_trait]
pub trait SampleStore: Send + Sync {
    /// Keeps ticks; durable within seconds, not before it answers.
    async fn append_ticks(&self, release: &ReleaseId, ticks: &[Tick]) -> Result<(), SampleError>;
    /// Ticks of a release from `from` on, oldest first, histograms included.
    async fn ticks(&self, release: &ReleaseId, from: Timestamp, limit: u32) -> Result<Vec<Tick>, SampleError>;
    /// Keeps one measurement, durable when it answers.
    async fn append_measurement(&self, release: &ReleaseId, measurement: &Measurement) -> Result<(), SampleError>;
    /// Measurements of a release in order.
    async fn measurements(&self, release: &ReleaseId) -> Result<Vec<Measurement>, SampleError>;
}

/// One measurement of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The analysis run.
    pub run: String,
    /// The metric.
    pub metric: String,
    /// When it was begun.
    pub started: Timestamp,
    /// When it was done.
    pub finished: Timestamp,
    /// What it says.
    pub verdict: model::Verdict,
    /// The query as sent.
    pub query: String,
    /// The value, if there was one.
    pub value: Option<serde_json::Value>,
    /// The condition's or error's text.
    pub message: String,
}

/// The sample store failed.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
#[error("samples could not be read or written: {0}")]
pub struct SampleError(pub String);

/// What the server's configuration says of services and their versions: the only place where commands and addresses come from.
pub trait Catalogue: Send + Sync {
    /// The services, each with the version that is stable where the log knows of none yet.
    fn services(&self) -> Vec<(ServiceId, Workload)>;
    /// How a version of a service is run; asked after a restart for versions that the log names.
    fn workload(&self, service: &ServiceId, version: &Version, digest: &Digest) -> Option<Workload>;
    /// Where the sequential judge of a service gets its counts; `None` = from the data plane. Asked once, at the start.
    fn counters(&self, service: &ServiceId) -> Option<CounterSource> {
        let _ = service;
        None
    }
}

/// Runs migrations by the names that the server's configuration gives them.
#[async_trait]
pub trait Migrations: Send + Sync {
    /// True when the configuration defines it.
    fn knows(&self, name: &str) -> bool;
    /// Runs it and answers with what it said in a few words. `operation` is the same when it is tried again after a crash: it is
    /// handed to the command, which may have run before.
    async fn run(&self, name: &str, operation: &str, timeout: Duration) -> Result<String, MigrationError>;
}

/// Why a migration did not run to its end.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum MigrationError {
    /// Not in the configuration.
    #[error("the migration {0:?} is not in the configuration")]
    Unknown(String),
    /// It ended with an error.
    #[error("the migration failed: {0}")]
    Failed(String),
    /// It took too long and was ended.
    #[error("the migration was ended after {0} s")]
    TimedOut(u64),
}
