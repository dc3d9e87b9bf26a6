//! The controller on in-memory ports, with time paused.

mod commands;
mod counters;
mod crash;
mod damaged;
mod faults;
mod restore;
mod rollout;
mod sequential;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use model::{
    Actor, Command, CommandId, CommandKind, Digest, Kind, ReleaseId, ServiceId, Timestamp, Version,
    event::{CanaryCompleted, CanaryStepped, CommandSeen, Outcome, ReleaseCompleted},
};
use receipt_log::LoggedReceipt;

use crate::{
    Catalogue, CommandError, Controller, CounterSource, Delivery, MetricSource, Parts, StartError, StartRequest,
    Workload, WorkloadSource,
    fake::{
        FakeCounters, FakeMetrics, FakeMigrations, FakeRuntime, MemoryLog, MemorySamples, Scripted, TokioClock, lock,
    },
};

/// The recipe most tests use: four weights, the rule `threshold` beside them.
pub(crate) const RECIPE: &str = r#"
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata:
  name: checkout
spec:
  selector: {matchLabels: {app: checkout}}
  template:
    metadata: {labels: {app: checkout}}
    spec: {containers: [{name: checkout, image: checkout}]}
  strategy:
    canary:
      canaryService: checkout-canary
      stableService: checkout-stable
      trafficRouting: {plugins: {deliveryos/local: {}}}
      scaleDownDelaySeconds: 10
      abortScaleDownDelaySeconds: 5
      analysis:
        templates: [{templateName: built-in}]
      steps:
      - setWeight: 5
      - pause: {duration: 20s}
      - setWeight: 25
      - pause: {duration: 20s}
      - setWeight: 50
      - pause: {duration: 20s}
      - setWeight: 100
      - pause: {duration: 20s}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: built-in}
spec:
  metrics:
  - name: built-in
    interval: 1s
    provider: {plugin: {deliveryos/builtin: {rule: threshold}}}
"#;

/// The same steps, judged by a Prometheus every five seconds.
pub(crate) fn prometheus_recipe() -> String {
    RECIPE.replace(
        "    interval: 1s\n    provider: {plugin: {deliveryos/builtin: {rule: threshold}}}",
        "    interval: 5s\n    successCondition: result[0] <= 0.01\n    failureLimit: 0\n    provider: {prometheus: {address: 'http://prometheus', query: errors}}",
    )
}

/// One weight, then a Prometheus is asked three times, then the rest.
pub(crate) fn inline_recipe() -> String {
    prometheus_recipe()
        .replace("      analysis:\n        templates: [{templateName: built-in}]\n", "")
        .replace("    interval: 5s\n", "    interval: 5s\n    count: 3\n")
        .replace(
            "      - pause: {duration: 20s}\n      - setWeight: 25\n",
            "      - analysis: {templates: [{templateName: built-in}]}\n      - setWeight: 25\n",
        )
}

/// All that a controller needs, and what outlives one.
pub(crate) struct World {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) samples: Arc<MemorySamples>,
    pub(crate) runtime: FakeRuntime,
    pub(crate) metrics: Arc<FakeMetrics>,
    /// Where the judge is fed from, when it is not the data plane.
    pub(crate) counters: Option<Arc<FakeCounters>>,
    pub(crate) migrations: Arc<FakeMigrations>,
    pub(crate) catalogue: Arc<FakeCatalogue>,
    pub(crate) clock: TokioClock,
    ids: Mutex<u32>,
}

/// Knows versions `v1` to `v9` of its services; `v1` is stable at first.
pub(crate) struct FakeCatalogue(pub(crate) Vec<ServiceId>, pub(crate) Option<CounterSource>);

impl Catalogue for FakeCatalogue {
    fn services(&self) -> Vec<(ServiceId, Workload)> {
        self.0.iter().map(|s| (s.clone(), workload(1))).collect()
    }
    fn workload(&self, _service: &ServiceId, version: &Version, digest: &Digest) -> Option<Workload> {
        (1..=9).map(workload).find(|w| w.version == *version && w.digest == *digest)
    }
    fn counters(&self, _service: &ServiceId) -> Option<CounterSource> {
        self.1.clone()
    }
}

pub(crate) fn workload(n: u8) -> Workload {
    Workload {
        version: format!("v{n}").parse().unwrap(),
        digest: Digest::from_sha256(&[n; 32]),
        source: WorkloadSource::Process {
            command: vec![format!("serve-{n}")],
            env: BTreeMap::new(),
            health_path: "/healthz".to_owned(),
        },
    }
}

pub(crate) fn service() -> ServiceId {
    "checkout".parse().unwrap()
}

pub(crate) fn dana() -> Actor {
    "dana".parse().unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(vec![service()])
    }

    pub(crate) fn of(services: Vec<ServiceId>) -> Self {
        let clock = TokioClock::new(Timestamp::from_millis(1_790_000_000_000));
        Self {
            log: Arc::default(),
            samples: Arc::default(),
            runtime: FakeRuntime::new(clock),
            metrics: Arc::new(FakeMetrics::new(Scripted::Value(serde_json::json!([0.0])))),
            counters: None,
            migrations: Arc::new(FakeMigrations::new(&["drop-column"])),
            catalogue: Arc::new(FakeCatalogue(services, None)),
            clock,
            ids: Mutex::new(0),
        }
    }

    pub(crate) async fn controller(&self) -> Controller {
        Controller::start(Parts {
            log: self.log.clone(),
            runtime: Arc::new(self.runtime.clone()),
            metrics: std::iter::once(self.metrics.clone() as Arc<dyn MetricSource>)
                .chain(self.counters.clone().map(|c| c as Arc<dyn MetricSource>))
                .collect(),
            samples: self.samples.clone(),
            catalogue: self.catalogue.clone(),
            migrations: self.migrations.clone(),
            clock: Arc::new(self.clock),
            probe: energy::Probe::system(),
        })
        .await
    }

    /// An idempotency key never used before.
    pub(crate) fn id(&self) -> CommandId {
        let mut n = lock(&self.ids);
        *n += 1;
        format!("command-{n}").parse().unwrap()
    }

    pub(crate) fn request(&self, version: u8, recipe: &str) -> StartRequest {
        StartRequest {
            id: self.id(),
            service: service(),
            environment: "production".parse().unwrap(),
            canary: workload(version),
            recipe: recipe.to_owned(),
            speed: 1.0,
            down_migration: None,
            actor: dana(),
            reason: "because".to_owned(),
            requirements: Vec::new(),
        }
    }

    pub(crate) async fn start(&self, controller: &Controller, version: u8) -> ReleaseId {
        controller.start(self.request(version, RECIPE)).await.unwrap()
    }

    pub(crate) async fn command(
        &self,
        controller: &Controller,
        release: &ReleaseId,
        kind: CommandKind,
    ) -> Result<u64, CommandError> {
        let command =
            Command { id: self.id(), release: release.clone(), kind, actor: dana(), reason: "told to".to_owned() };
        controller.command(command).await
    }

    /// Receipts of a release.
    pub(crate) fn receipts(&self, release: &ReleaseId) -> Vec<LoggedReceipt> {
        self.log.of(release)
    }

    pub(crate) fn kinds(&self, release: &ReleaseId) -> Vec<&'static str> {
        self.receipts(release).iter().map(|r| r.payload.kind.as_str().trim_start_matches("delivery.")).collect()
    }

    /// The weights recorded, in order, without repeats.
    pub(crate) fn weights(&self, release: &ReleaseId) -> Vec<u8> {
        let mut weights: Vec<u8> = self
            .receipts(release)
            .iter()
            .filter(|r| r.payload.kind == Kind::CanaryStepped)
            .map(|r| r.payload.facts::<CanaryStepped>().unwrap().weight.percent())
            .collect();
        weights.dedup();
        weights
    }

    /// The weights that the data plane was really given, operations told again left out.
    pub(crate) fn applied(&self) -> Vec<String> {
        self.runtime.calls().into_iter().filter(|c| c.fresh).map(|c| c.what).collect()
    }

    pub(crate) fn completed(&self, release: &ReleaseId) -> Option<CanaryCompleted> {
        let receipts = self.receipts(release);
        receipts.iter().rev().find(|r| r.payload.kind == Kind::CanaryCompleted).map(|r| r.payload.facts().unwrap())
    }

    pub(crate) fn sum(&self, release: &ReleaseId) -> Option<(u64, ReleaseCompleted)> {
        let receipts = self.receipts(release);
        let sum = receipts.iter().rev().find(|r| r.payload.kind == Kind::ReleaseCompleted)?;
        Some((sum.index, sum.payload.facts().unwrap()))
    }

    pub(crate) fn last(&self, release: &ReleaseId, kind: Kind) -> LoggedReceipt {
        let receipts = self.receipts(release);
        receipts.into_iter().rev().find(|r| r.payload.kind == kind).unwrap_or_else(|| panic!("no {kind}"))
    }

    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let poll = async {
            while !holds() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(7200), poll).await.is_err() {
            panic!("never: {what}\n{}", self.story());
        }
    }

    pub(crate) async fn until_weight(&self, percent: u8) {
        self.until(&format!("weight {percent}"), || self.runtime.weight(&service()).percent() == percent).await;
    }

    pub(crate) async fn until_ended(&self, release: &ReleaseId) -> Outcome {
        let mut size = 0;
        self.until("the sum", || {
            // Looking closer costs more than counting.
            let grown = std::mem::replace(&mut size, self.log.len()) != self.log.len();
            grown && self.log.of(release).last().is_some_and(|r| r.payload.kind == Kind::ReleaseCompleted)
        })
        .await;
        self.sum(release).unwrap().1.outcome
    }

    /// Log and calls, for a test that failed.
    pub(crate) fn story(&self) -> String {
        let receipts = self.log.all();
        let receipts = receipts.iter().map(|r| {
            format!(
                "{} {} {} {}",
                r.index,
                r.payload.time.clock(),
                r.payload.kind,
                serde_json::to_string(&r.payload.facts).unwrap().chars().take(300).collect::<String>()
            )
        });
        let calls = self.runtime.calls();
        let calls = calls
            .iter()
            .map(|c| format!("{} {} {} {}", c.at.clock(), c.what, c.operation, if c.fresh { "" } else { "(again)" }));
        receipts.chain(calls).collect::<Vec<_>>().join("\n")
    }

    /// What must hold of every log, whatever happened.
    #[track_caller]
    pub(crate) fn check_log(&self, release: &ReleaseId) {
        let receipts = self.receipts(release);
        let keys = self.log.keys();
        let prefix = format!("{release}/");
        let numbered: Vec<u64> = keys.iter().filter_map(|k| k.strip_prefix(&prefix)?.parse().ok()).collect();
        assert_eq!(
            numbered,
            (0..numbered.len() as u64).collect::<Vec<_>>(),
            "transitions are numbered without gaps\n{}",
            self.story()
        );
        let operations: Vec<_> = receipts
            .iter()
            .filter(|r| r.payload.kind == Kind::CanaryStepped)
            .map(|r| r.payload.facts::<CanaryStepped>().unwrap().operation)
            .filter(|o| !o.is_empty())
            .collect();
        let mut unique = operations.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), operations.len(), "no operation is recorded twice\n{}", self.story());
        for accepted in receipts.iter().filter(|r| r.payload.kind == Kind::CommandAccepted) {
            let seen: CommandSeen = accepted.payload.facts().unwrap();
            let known = ["command", "begun"].iter().any(|p| keys.contains(&format!("{p}/{}", seen.command_id)));
            assert!(known, "{seen:?}");
        }
        if let Some((index, sum)) = self.sum(release) {
            let children: Vec<_> = receipts.iter().filter(|r| r.index < index).collect();
            assert_eq!(sum.children, children.len() as u64);
            let leaves: Vec<_> = children.iter().map(|r| tlog::leaf_hash(&r.entry)).collect();
            assert_eq!(sum.root, hex::encode(tlog::root_of_leaves(&leaves).as_bytes()));
        }
    }
}

#[track_caller]
pub(crate) fn refused(result: Result<u64, CommandError>, says: &str) {
    match result {
        Err(CommandError::Refused(why)) => assert!(why.contains(says), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(crate) fn start_refused(result: Result<ReleaseId, StartError>, says: &str) {
    let error = result.expect_err("refused").to_string();
    assert!(error.contains(says), "{error}");
}

impl World {
    pub(crate) fn clock_now(&self) -> Timestamp {
        receipt_log::Clock::now(&self.clock)
    }
}
