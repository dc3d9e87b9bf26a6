//! What the splitter is told and what it keeps: services, versions, weights, ticks. One thread; workers are told by messages and
//! by the route that they read.

mod commands;
mod restore;
mod ticks;
mod versions;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use model::Track;
use tokio::sync::{Notify, watch};

use crate::accept::Listener;
use crate::clock::Clock;
use crate::control::{
    DeadMan, Gap, Hello, KEPT_STOPPED, PROTOCOL, Refusal, ServiceStatus, Stamp, Status, StoppedVersion,
};
use crate::metrics::Series;
use crate::route::{Route, Service};
use crate::spec::ServiceSpec;
use crate::state::{Saved, SavedAnswer, SavedService, Saver};
use crate::worker::{Handle, Message};

pub(crate) use self::ticks::run_ticks;
pub(crate) use self::versions::VersionEntry;

/// Answers remembered per service, so that a repeated operation is recognised: a rollout has a few dozen operations.
const KEPT_ANSWERS: usize = 256;

/// How long an accepting task may take to end.
const ACCEPTING_LIMIT: Duration = Duration::from_secs(2);

/// How the splitter ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It runs.
    Not,
    /// It was told to end.
    Told { drain_ms: u64, stop_versions: bool },
    /// A successor has its sockets.
    HandedOver,
}

/// The splitter, from inside.
pub(crate) struct Engine {
    pub(crate) clock: Clock,
    pub(crate) boot: String,
    pub(crate) state_dir: PathBuf,
    pub(crate) workers: Arc<[Handle]>,
    pub(crate) acceptor: tokio::runtime::Handle,
    pub(crate) saver: Saver,
    pub(crate) ending: watch::Sender<Ending>,
    pub(crate) metrics_address: Cell<Option<SocketAddr>>,
    pub(crate) gap: Cell<Option<Gap>>,
    started: Stamp,
    epoch: Cell<u64>,
    /// When a controller was last heard.
    heard: Cell<Instant>,
    next_id: Cell<u64>,
    services: RefCell<BTreeMap<String, ServiceEntry>>,
    ring: RefCell<ticks::Ring>,
    /// Number of the last tick.
    latest: watch::Sender<u64>,
    /// Notified when a successor may have the sockets.
    pub(crate) let_go: Notify,
    /// Notified when the sockets are with the successor, or cannot be brought there.
    pub(crate) handed: Notify,
    pub(crate) series: RefCell<Series>,
}

/// A service.
struct ServiceEntry {
    /// Without versions: the slots hold these.
    spec: ServiceSpec,
    shared: Arc<Service>,
    listeners: Vec<Listener>,
    /// Addresses that could not be listened on at start; tried again.
    missing: Vec<(SocketAddr, SocketAddr)>,
    weight: u8,
    weight_epoch: u64,
    stable: Option<Rc<VersionEntry>>,
    canary: Option<Rc<VersionEntry>>,
    draining: Vec<Rc<VersionEntry>>,
    stopped: VecDeque<StoppedVersion>,
    answers: VecDeque<SavedAnswer>,
    dead_man: Option<DeadMan>,
    /// Of the release that the canary belongs to; else the service's is in force.
    canary_dead_man_seconds: Option<u32>,
    /// Weight or slots changed since the last tick.
    changed: bool,
}

impl ServiceEntry {
    fn slot(&self, track: Track) -> Option<&Rc<VersionEntry>> {
        match track {
            Track::Stable => self.stable.as_ref(),
            Track::Canary => self.canary.as_ref(),
        }
    }

    fn slot_mut(&mut self, track: Track) -> &mut Option<Rc<VersionEntry>> {
        match track {
            Track::Stable => &mut self.stable,
            Track::Canary => &mut self.canary,
        }
    }

    /// Versions with requests, in the order shown.
    fn versions(&self) -> impl Iterator<Item = (Option<Track>, &Rc<VersionEntry>)> {
        let stable = self.stable.iter().map(|version| (Some(Track::Stable), version));
        let canary = self.canary.iter().map(|version| (Some(Track::Canary), version));
        stable.chain(canary).chain(self.draining.iter().map(|version| (None, version)))
    }

    /// Makes slots and weight known to the workers: in force for the next request.
    fn publish(&mut self, engine: &Engine) {
        let version = |slot: &Option<Rc<VersionEntry>>| slot.as_ref().map(|version| Arc::clone(&version.shared));
        let route = Route::new(
            engine.new_id(),
            random(),
            self.weight,
            version(&self.stable),
            version(&self.canary),
            self.spec.sticky.clone(),
            self.spec.trust_forwarded,
            self.spec.limits.clone(),
        );
        self.shared.route.store(Arc::new(route));
        self.changed = true;
    }

    fn answer_to(&self, operation: &str) -> Option<&SavedAnswer> {
        self.answers.iter().find(|answer| answer.operation == operation)
    }

    fn remember(&mut self, answer: SavedAnswer) {
        if self.answers.len() == KEPT_ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(answer);
    }

    fn saved(&self) -> SavedService {
        let listening = self
            .listeners
            .iter()
            .map(|listener| (listener.asked, listener.actual))
            .chain(self.missing.iter().copied())
            .collect();
        SavedService {
            spec: self.spec.clone(),
            listening,
            weight: self.weight,
            weight_epoch: self.weight_epoch,
            stable: self.stable.as_ref().map(|version| version.saved()),
            canary: self.canary.as_ref().map(|version| version.saved()),
            draining: self
                .draining
                .iter()
                .filter(|version| !version.is_gone())
                .map(|version| version.saved())
                .collect(),
            stopped: self.stopped.iter().cloned().collect(),
            answers: self.answers.iter().cloned().collect(),
            dead_man: self.dead_man,
            canary_dead_man_seconds: self.canary_dead_man_seconds,
        }
    }

    fn status(&self, engine: &Engine, id: &str) -> ServiceStatus {
        ServiceStatus {
            service: id.to_owned(),
            listening: self.listeners.iter().map(|listener| listener.actual).collect(),
            weight: self.weight,
            epoch: self.weight_epoch,
            canary_last_sent: self.canary_last_sent(&engine.clock),
            connections: self.shared.connections.load(Ordering::Relaxed) as u64,
            stable: self.stable.as_ref().map(|version| version.status()),
            canary: self.canary.as_ref().map(|version| version.status()),
            draining: self
                .draining
                .iter()
                .filter(|version| !version.is_gone())
                .map(|version| version.status())
                .collect(),
            stopped: self.stopped.iter().cloned().collect(),
            dead_man: self.dead_man,
        }
    }

    fn canary_last_sent(&self, clock: &Clock) -> Option<Stamp> {
        self.canary.as_ref().and_then(|canary| canary.shared.last_sent_us()).map(|at| clock.stamp(at))
    }

    fn record_stopped(&mut self, stopped: StoppedVersion) {
        if self.stopped.len() == KEPT_STOPPED {
            self.stopped.pop_front();
        }
        self.stopped.push_back(stopped);
    }
}

/// What an engine is made of.
pub(crate) struct Parts {
    pub(crate) clock: Clock,
    pub(crate) state_dir: PathBuf,
    pub(crate) workers: Arc<[Handle]>,
    pub(crate) acceptor: tokio::runtime::Handle,
    pub(crate) saver: Saver,
}

impl Engine {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        Rc::new(Self {
            started: parts.clock.now(),
            clock: parts.clock,
            boot: format!("{:016x}", random()),
            state_dir: parts.state_dir,
            workers: parts.workers,
            acceptor: parts.acceptor,
            saver: parts.saver,
            ending: watch::Sender::new(Ending::Not),
            metrics_address: Cell::new(None),
            gap: Cell::new(None),
            epoch: Cell::new(0),
            heard: Cell::new(Instant::now()),
            next_id: Cell::new(1),
            services: RefCell::default(),
            ring: RefCell::default(),
            latest: watch::Sender::new(0),
            let_go: Notify::new(),
            handed: Notify::new(),
            series: RefCell::default(),
        })
    }

    /// A number not used before in this run.
    fn new_id(&self) -> u64 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Follows the number of the last tick.
    pub(crate) fn latest(&self) -> watch::Receiver<u64> {
        self.latest.subscribe()
    }

    pub(crate) fn hello(&self) -> Hello {
        let services = self.services.borrow();
        Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            boot: self.boot.clone(),
            pid: std::process::id(),
            epoch: self.epoch.get(),
            started: self.started,
            listening: services
                .iter()
                .map(|(id, service)| (id.clone(), service.listeners.iter().map(|listener| listener.actual).collect()))
                .collect(),
            metrics: self.metrics_address.get(),
            gap: self.gap.get(),
            workers: self.workers.len(),
        }
    }

    pub(crate) fn status(&self, only: Option<&str>) -> Result<Status, Refusal> {
        let services = self.services.borrow();
        if let Some(service) = only
            && !services.contains_key(service)
        {
            return Err(Refusal::UnknownService { service: service.to_owned() });
        }
        let statuses = services
            .iter()
            .filter(|(id, _)| only.is_none_or(|only| only == *id))
            .map(|(id, service)| service.status(self, id))
            .collect();
        drop(services);
        Ok(Status {
            hello: self.hello(),
            at: self.clock.now(),
            state_error: self.saver.error(),
            last_tick: *self.latest.borrow(),
            services: statuses,
        })
    }

    /// Everything that a splitter which starts again needs.
    fn saved(&self) -> Saved {
        Saved::new(self.epoch.get(), self.services.borrow().values().map(ServiceEntry::saved).collect())
    }

    /// Saves the state in the background.
    pub(crate) fn save(&self) -> u64 {
        self.saver.submit(&self.saved())
    }

    /// Waits until every worker has counted the requests that it routed so far.
    async fn fence(&self) {
        for worker in self.workers.iter() {
            let (reply, answer) = tokio::sync::oneshot::channel();
            // A worker whose thread has ended routes nothing.
            if worker.sender.send(Message::Fence(reply)).is_ok() {
                let _ = answer.await;
            }
        }
    }

    /// The listening sockets, for a successor.
    pub(crate) fn sockets(&self) -> std::io::Result<Vec<(SocketAddr, OwnedFd)>> {
        let services = self.services.borrow();
        services
            .values()
            .flat_map(|service| &service.listeners)
            .map(|listener| Ok((listener.actual, listener.socket.try_clone()?)))
            .collect()
    }

    /// Ends the splitter: listeners closed, requests given time, processes ended or left, state saved.
    pub(crate) async fn end(&self, drain_ms: u64, stop_versions: bool) {
        self.stop_accepting().await;
        self.finish_requests(drain_ms).await;
        self.release_versions(stop_versions).await;
        self.save_now().await;
        self.exit_workers();
    }

    /// Ends the proxy threads at once.
    pub(crate) fn exit_workers(&self) {
        for worker in self.workers.iter() {
            let _ = worker.sender.send(Message::Exit);
        }
    }

    /// Before a successor takes over: nothing is accepted, supervised or written any more.
    pub(crate) async fn release_for_successor(&self) {
        self.stop_accepting().await;
        self.release_versions(false).await;
        self.save_now().await;
        self.sign_of_life(true);
    }

    /// Stops accepting; what was accepted is counted at its worker when this is over.
    async fn stop_accepting(&self) {
        let mut tasks = Vec::new();
        for service in self.services.borrow_mut().values_mut() {
            // The state still names the addresses: the next splitter listens on them again.
            let open = std::mem::take(&mut service.listeners);
            service.missing.extend(open.iter().map(|listener| (listener.asked, listener.actual)));
            tasks.extend(open.into_iter().filter_map(Listener::stop));
        }
        for task in tasks {
            // Bounded by the queue's length; a thread that hangs must not hold up a hand-over.
            let _ = tokio::time::timeout(ACCEPTING_LIMIT, task).await;
        }
    }

    /// Waits for the requests under way, and their connections, up to the limit. Then the workers end.
    pub(crate) async fn finish_requests(&self, drain_ms: u64) {
        for worker in self.workers.iter() {
            let _ = worker.sender.send(Message::Close);
        }
        let limit = Instant::now() + Duration::from_millis(drain_ms);
        let busy = || {
            self.workers
                .iter()
                .any(|worker| worker.alive.load(Ordering::Acquire) && worker.connections.load(Ordering::Relaxed) > 0)
        };
        while Instant::now() < limit && busy() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn release_versions(&self, stop: bool) {
        let versions: Vec<Rc<VersionEntry>> = self
            .services
            .borrow()
            .values()
            .flat_map(|service| service.versions().map(|(_, version)| Rc::clone(version)).collect::<Vec<_>>())
            .collect();
        let tasks: Vec<_> = versions
            .into_iter()
            .map(|version| tokio::task::spawn_local(async move { version.release(stop).await }))
            .collect();
        for task in tasks {
            let _ = task.await;
        }
    }

    async fn save_now(&self) {
        if let Some(error) = self.saver.wait(self.save()).await {
            tracing::error!(%error, "the last state is not saved");
        }
    }
}

/// A random number; a splitter that gets none from the system still has distinct, if guessable, ones.
fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| Clock::new().now().mono_us ^ u64::from(std::process::id()).rotate_left(32))
}
