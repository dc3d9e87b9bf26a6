//! The controller: one task a service, and the way to them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use model::{Command, CommandKind, Epoch, ReleaseId, ServiceId, Tick};
use receipt_log::{Clock, Log};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Catalogue, CommandError, Delivery, LeftAlone, MetricSource, Migrations, Runtime, SampleStore, StartError,
    StartRequest, Traffic,
    left_alone::Left,
    limits::{LIVE, QUEUE, URGENT_QUEUE},
    task::{Inbox, Request, Task},
};

/// What a controller works with.
pub struct Parts {
    /// The log.
    pub log: Arc<dyn Log>,
    /// What carries workload and traffic.
    pub runtime: Arc<dyn Runtime>,
    /// What answers metrics; the first that handles a provider is asked.
    pub metrics: Vec<Arc<dyn MetricSource>>,
    /// What keeps ticks and measurements.
    pub samples: Arc<dyn SampleStore>,
    /// What the configuration says of services.
    pub catalogue: Arc<dyn Catalogue>,
    /// Runs migrations by name.
    pub migrations: Arc<dyn Migrations>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Measures energy.
    pub probe: energy::Probe,
}

/// Why the controller, or one of its services, no longer acts. The data plane goes on serving.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum Failure {
    /// The log takes no more receipts. The process must end and recover by reading.
    #[error("the log failed: {0}")]
    Log(String),
    /// Another controller is in charge.
    #[error("another controller is in charge: {0}")]
    Overtaken(String),
    /// What the log holds of a service cannot be carried on.
    #[error("service {service} cannot be carried on from the log: {why}")]
    Recovery {
        /// The service.
        service: ServiceId,
        /// Why.
        why: String,
    },
}

/// The loop over all services: observe → plan → execute → record. Dropping it stops acting at once, as a crash would.
pub struct Controller {
    services: BTreeMap<ServiceId, Inbox>,
    left_alone: BTreeMap<ServiceId, Left>,
    deps: Arc<Deps>,
    live: broadcast::Sender<(ReleaseId, Tick)>,
    failure: watch::Receiver<Option<Failure>>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// What every service's task shares.
pub(crate) struct Deps {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) metrics: Vec<Arc<dyn MetricSource>>,
    pub(crate) samples: Arc<dyn SampleStore>,
    pub(crate) catalogue: Arc<dyn Catalogue>,
    pub(crate) migrations: Arc<dyn Migrations>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) probe: energy::Probe,
    pub(crate) live: broadcast::Sender<(ReleaseId, Tick)>,
    pub(crate) failure: watch::Sender<Option<Failure>>,
    epoch: AtomicU64,
}

impl Deps {
    /// The epoch in force for this controller.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.epoch.load(Ordering::SeqCst))
    }

    /// Makes the epoch at least this.
    pub(crate) fn raise_epoch(&self, at_least: Epoch) {
        self.epoch.fetch_max(at_least.0, Ordering::SeqCst);
    }
}

impl Controller {
    /// Reads what the log knows of every service in the catalogue and carries it on.
    ///
    /// Takes a larger epoch than any that the log or the data plane has seen; whoever acted before is refused from then on.
    pub async fn start(parts: Parts) -> Self {
        let Parts { log, runtime, metrics, samples, catalogue, migrations, clock, probe } = parts;
        let (failed, failure) = watch::channel(None);
        let live = broadcast::channel(LIVE).0;
        let epoch = AtomicU64::new(1);
        let deps = Arc::new(Deps {
            log,
            runtime,
            metrics,
            samples,
            catalogue,
            migrations,
            clock,
            probe,
            live: live.clone(),
            failure: failed,
            epoch,
        });
        let stop = CancellationToken::new();
        let mut services = BTreeMap::new();
        let mut left_alone = BTreeMap::new();
        let mut prepared = Vec::new();
        // All epochs must be known before anybody acts.
        for (service, configured) in deps.catalogue.services() {
            match Task::prepare(deps.clone(), service.clone(), configured).await {
                Ok(task) => prepared.push((service, task)),
                Err(why) => {
                    tracing::error!(%service, %why, "service cannot be carried on from the log: it is left alone");
                    left_alone.insert(service.clone(), Left::new(&deps, service.clone(), why.clone()).await);
                    deps.failure.send_replace(Some(Failure::Recovery { service, why }));
                }
            }
        }
        let mut tasks = Vec::new();
        for (service, task) in prepared {
            let (urgent, urgent_rx) = mpsc::channel(URGENT_QUEUE);
            let (normal, normal_rx) = mpsc::channel(QUEUE);
            services.insert(service, Inbox { urgent, normal, traffic: task.traffic.subscribe() });
            tasks.push(tokio::spawn(task.run(urgent_rx, normal_rx, stop.clone())));
        }
        Self { services, left_alone, deps, live, failure, stop, tasks }
    }

    /// Set when something no longer acts; the server must end when it is the log.
    pub fn failure(&self) -> watch::Receiver<Option<Failure>> {
        self.failure.clone()
    }

    /// Stops acting, after what is being recorded is recorded. Releases under way stay as they are.
    pub async fn stop(mut self) {
        self.stop.cancel();
        for task in std::mem::take(&mut self.tasks) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a service's task ended badly");
            }
        }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

#[async_trait]
impl Delivery for Controller {
    async fn start(&self, request: StartRequest) -> Result<ReleaseId, StartError> {
        if let Some(left) = self.left_alone.get(&request.service) {
            return Err(StartError::LeftAlone(left.said.clone()));
        }
        let Some(inbox) = self.services.get(&request.service) else {
            return Err(StartError::UnknownService(request.service));
        };
        let (reply, answer) = oneshot::channel();
        let gone = || StartError::Unavailable("the service's controller does not act: see the server's log".to_owned());
        inbox
            .normal
            .try_send(Request::Start(Box::new(request), reply))
            .map_err(|e| StartError::Unavailable(busy(&e)))?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn command(&self, command: Command) -> Result<u64, CommandError> {
        if let Some(why) = Command::unfit(&command.reason) {
            return Err(CommandError::Unfit(why));
        }
        let service = service_of(&command.release);
        if let Some(left) = service.as_ref().and_then(|service| self.left_alone.get(service)) {
            return left.command(&self.deps, command).await;
        }
        let Some(inbox) = service.as_ref().and_then(|service| self.services.get(service)) else {
            let known = self.deps.log.has_release(&command.release).await.unwrap_or(false);
            return Err(match service.filter(|_| known) {
                Some(service) => CommandError::NotConfigured(service),
                None => CommandError::UnknownRelease(command.release),
            });
        };
        // What takes traffic off the new version never waits behind anything else.
        let lane = if matches!(command.kind, CommandKind::Abort | CommandKind::Rollback) {
            &inbox.urgent
        } else {
            &inbox.normal
        };
        let (reply, answer) = oneshot::channel();
        let gone =
            || CommandError::Unavailable("the service's controller does not act: see the server's log".to_owned());
        lane.try_send(Request::Command(command, reply)).map_err(|e| CommandError::Unavailable(busy(&e)))?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    fn live(&self) -> broadcast::Receiver<(ReleaseId, Tick)> {
        self.live.subscribe()
    }

    fn left_alone(&self) -> Vec<LeftAlone> {
        self.left_alone.values().map(|left| left.said.clone()).collect()
    }

    fn traffic(&self, service: &ServiceId) -> Option<Traffic> {
        match self.left_alone.get(service) {
            Some(left) => Some(Traffic { rate: None, warning: Some(left.said.to_string()) }),
            None => self.services.get(service).map(|inbox| inbox.traffic.borrow().clone()),
        }
    }
}

fn service_of(release: &ReleaseId) -> Option<ServiceId> {
    let (service, number) = release.as_str().rsplit_once('-')?;
    number.parse::<u64>().ok()?;
    service.parse().ok()
}

fn busy<T>(error: &mpsc::error::TrySendError<T>) -> String {
    match error {
        mpsc::error::TrySendError::Full(_) => "too many requests are waiting: try again".to_owned(),
        mpsc::error::TrySendError::Closed(_) => {
            "the service's controller does not act: see the server's log".to_owned()
        }
    }
}
