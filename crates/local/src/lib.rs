//! The [`Runtime`] of one machine: versions as processes or addresses behind the splitter, over its control socket.
//!
//! The splitter is a process of its own that outlives this one. [`LocalRuntime::start`] begins to look for it: when its control
//! socket answers, it is used as it is found; when not, it is started, detached, and started again whenever it is gone. While
//! this process lives and has acted under an epoch, a sign of life goes to the splitter every second; when that stays away
//! for the dead-man time of the release's recipe (of the configuration, when the recipe does not say it), the splitter puts the canary's weight to 0 by itself.
//!
//! A splitter of another build of the program (an upgrade) is succeeded by a new one that takes its sockets over.
//!
//! Calls do not wait for the splitter to come back: what cannot be asked is [`RuntimeError::Unreachable`], and the controller
//! tries again. Only [`Runtime::ensure`] waits a moment, so that the first call after a start finds it.
//!
//! Version ids of the splitter are made of label and digest; a version that is there under its id is left alone even if the
//! configuration now runs it differently: what runs is what was released.

mod follow;
mod map;
mod process;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use controller::{ObservedService, Runtime, RuntimeError, WeightApplied, Workload};
use model::{Epoch, ServiceId, Tick, Timestamp, Track, Weight};
use splitter::control::{Client, ClientError, Notice, Request, Response, ServiceStatus, Status};
use splitter::{Limits, ServiceSpec, Sticky};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Ticks kept for a receiver that is slow: a minute of sixteen services.
const TICK_BUFFER: usize = 1_024;

/// Ticks asked for beyond the seconds that have passed: clocks are not compared to the second.
const TICKS_MORE: u64 = 2;

/// Connections kept for the next call: a controller has a call or two under way per service.
const KEPT_CONNECTIONS: usize = 8;

/// How long `ensure` waits for a splitter that is being started.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Between two looks at something that is coming about.
const LOOK: Duration = Duration::from_millis(10);

/// Beyond the drain limit, how long a version may take to go: a process's grace time with a margin.
const GONE_LIMIT: Duration = Duration::from_secs(30);

/// What a service is in front: from the server's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalService {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Limits of its connections and requests.
    pub limits: Limits,
    /// Sticks requests that carry a key to a version.
    pub sticky: Option<Sticky>,
    /// Believe and extend `X-Forwarded-*` of requests.
    pub trust_forwarded: bool,
    /// When the server has been gone for so long while a canary has a weight, its weight goes to 0: for recipes that do not
    /// say it themselves.
    pub dead_man_seconds: Option<u32>,
}

/// How the splitter is found and started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalOptions {
    /// The splitter's state directory: where its control socket is.
    pub state_dir: PathBuf,
    /// Program and arguments that run a splitter in that directory and leave this process's session
    /// (`deliveryos splitter --state-dir … --detach`). `None` when somebody else runs it, a systemd unit say.
    pub command: Option<Vec<String>>,
    /// Arguments added to the command when a splitter of another build of the program is found: the new one takes over from it
    /// without losing a request. `None` leaves the one that runs.
    pub take_over: Option<Vec<String>>,
    /// The services that may be carried.
    pub services: BTreeMap<ServiceId, LocalService>,
}

/// The runtime of one machine. Dropping it ends its tasks; the splitter and what it runs go on.
pub struct LocalRuntime {
    shared: Arc<Shared>,
    end: CancellationToken,
    _tasks: DropGuard,
}

/// What calls and background tasks share.
struct Shared {
    options: LocalOptions,
    socket: PathBuf,
    idle: Mutex<Vec<Client>>,
    ticks: broadcast::Sender<(ServiceId, Tick)>,
    /// Largest epoch acted under; 0 = none yet.
    epoch: AtomicU64,
    /// Notified when a splitter should be looked for now.
    wanted: Notify,
}

impl LocalRuntime {
    /// Begins to look for the splitter, to start it when it is not there, and to follow its ticks. Call it in a tokio runtime.
    pub fn start(options: LocalOptions) -> Self {
        let shared = Arc::new(Shared {
            socket: options.state_dir.join(splitter::control::SOCKET_NAME),
            options,
            idle: Mutex::default(),
            ticks: broadcast::channel(TICK_BUFFER).0,
            epoch: AtomicU64::new(0),
            wanted: Notify::new(),
        });
        let end = CancellationToken::new();
        tokio::spawn(end.clone().run_until_cancelled_owned(follow::ticks(Arc::clone(&shared))));
        tokio::spawn(end.clone().run_until_cancelled_owned(follow::keep_alive(Arc::clone(&shared))));
        Self { shared, _tasks: end.clone().drop_guard(), end }
    }

    /// Who the splitter is, and where it listens (ports that were left to it are filled in).
    pub async fn hello(&self) -> Result<splitter::control::Hello, RuntimeError> {
        match self.shared.call(Request::Hello).await? {
            Response::Hello(hello) => Ok(hello),
            _ => Err(unexpected()),
        }
    }

    /// Ends the splitter and the processes of its versions: requests under way are given `drain_ms`. For a demonstration that is
    /// over; a server leaves its splitter running.
    pub async fn shut_down(&self, epoch: Epoch, drain_ms: u64) -> Result<(), RuntimeError> {
        // Nobody starts it again.
        self.end.cancel();
        self.shared.act(epoch, Request::Shutdown { epoch: epoch.0, drain_ms, stop_versions: true }).await.map(drop)
    }
}

impl Shared {
    /// Asks over a connection of its own: a call that takes long does not hold up another, an abort least of all.
    async fn call(&self, request: Request) -> Result<Response, RuntimeError> {
        // A connection that broke while it was kept says nothing about the splitter: only a new one does.
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(client) = kept {
            match self.call_over(client, request.clone()).await {
                // Every request is idempotent: asking again is safe even if the first was carried out.
                Err(ClientError::Broken(_)) => {}
                answer => return answer.map_err(map::error),
            }
        }
        let client = Client::connect(&self.socket).await.map_err(map::error)?;
        self.call_over(client, request).await.map_err(map::error)
    }

    async fn call_over(&self, mut client: Client, request: Request) -> Result<Response, ClientError> {
        let answer = client.call(request).await;
        if matches!(answer, Ok(_) | Err(ClientError::Refused(_))) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < KEPT_CONNECTIONS {
                idle.push(client);
            }
        }
        answer
    }

    /// Changes something under an epoch, which is kept alive from then on.
    async fn act(&self, epoch: Epoch, request: Request) -> Result<Response, RuntimeError> {
        let answer = self.call(request).await;
        if !matches!(answer, Err(RuntimeError::StaleEpoch { .. })) {
            self.epoch.fetch_max(epoch.0, Ordering::Relaxed);
        }
        if let Ok(response) = &answer {
            map::warn_not_saved(response);
        }
        answer
    }

    /// What the configuration says of a service.
    fn known(&self, service: &ServiceId) -> Result<&LocalService, RuntimeError> {
        self.options.services.get(service).ok_or_else(|| RuntimeError::UnknownService(service.clone()))
    }

    async fn status(&self, service: Option<&ServiceId>) -> Result<Status, RuntimeError> {
        match self.call(Request::Status { service: service.map(ToString::to_string) }).await? {
            Response::Status(status) => Ok(status),
            _ => Err(unexpected()),
        }
    }

    async fn service(&self, service: &ServiceId) -> Result<(Status, ServiceStatus), RuntimeError> {
        self.known(service)?;
        let mut status = self.status(Some(service)).await?;
        match status.services.pop() {
            Some(found) => Ok((status, found)),
            None => Err(RuntimeError::UnknownService(service.clone())),
        }
    }

    async fn weight_set(
        &self,
        service: &ServiceId,
        epoch: Epoch,
        request: Request,
    ) -> Result<WeightApplied, RuntimeError> {
        self.known(service)?;
        match self.act(epoch, request).await? {
            Response::Weight(set) => map::applied(&set),
            _ => Err(unexpected()),
        }
    }
}

#[async_trait]
impl Runtime for LocalRuntime {
    fn name(&self) -> &'static str {
        "local"
    }

    fn unsupported(&self, recipe: &rollout::Recipe) -> Vec<rollout::Refusal> {
        rollout::unsupported_locally(recipe)
    }

    async fn ensure(&self, service: &ServiceId, epoch: Epoch, stable: &Workload) -> Result<(), RuntimeError> {
        let shared = &self.shared;
        let front = shared.known(service)?;
        let mut spec = ServiceSpec {
            service: service.to_string(),
            listen: front.listen.clone(),
            limits: front.limits.clone(),
            sticky: front.sticky.clone(),
            trust_forwarded: front.trust_forwarded,
            dead_man_seconds: front.dead_man_seconds,
            stable: None,
            canary: None,
        };
        let limit = Instant::now() + START_LIMIT;
        let found = loop {
            match shared.service(service).await {
                Ok((_, status)) => break status.stable.is_some(),
                Err(RuntimeError::UnknownService(_)) => break false,
                Err(RuntimeError::Unreachable(_)) if Instant::now() < limit && shared.options.command.is_some() => {
                    shared.wanted.notify_one();
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => return Err(error),
            }
        };
        if !found {
            spec.stable = Some(map::version(stable)?);
        }
        shared.act(epoch, Request::Apply { epoch: epoch.0, spec }).await.map(drop)
    }

    async fn observe(&self, service: &ServiceId) -> Result<ObservedService, RuntimeError> {
        let (status, found) = self.shared.service(service).await?;
        map::observed(&status, &found)
    }

    async fn start_canary(
        &self,
        service: &ServiceId,
        epoch: Epoch,
        canary: &Workload,
        dead_man: rollout::DeadMan,
    ) -> Result<(), RuntimeError> {
        let front = self.shared.known(service)?;
        let version = map::version(canary)?;
        let start = Request::StartVersion {
            epoch: epoch.0,
            service: service.to_string(),
            track: Track::Canary,
            version: version.clone(),
            dead_man_seconds: Some(dead_man_seconds(front, dead_man)),
        };
        match self.shared.act(epoch, start).await {
            Err(RuntimeError::Refused(why)) => {
                // There under its id, as it was released: see the crate's documentation.
                let (_, found) = self.shared.service(service).await?;
                match found.canary {
                    Some(there) if there.version == version.version => Ok(()),
                    _ => Err(RuntimeError::Refused(why)),
                }
            }
            answer => answer.map(drop),
        }
    }

    async fn set_weight(
        &self,
        service: &ServiceId,
        epoch: Epoch,
        operation: &str,
        weight: Weight,
    ) -> Result<WeightApplied, RuntimeError> {
        let request = Request::SetWeight {
            epoch: epoch.0,
            operation_id: operation.to_owned(),
            service: service.to_string(),
            weight: weight.percent(),
        };
        self.shared.weight_set(service, epoch, request).await
    }

    async fn promote(&self, service: &ServiceId, epoch: Epoch, operation: &str) -> Result<WeightApplied, RuntimeError> {
        let request =
            Request::Promote { epoch: epoch.0, operation_id: operation.to_owned(), service: service.to_string() };
        self.shared.weight_set(service, epoch, request).await
    }

    async fn stop(&self, service: &ServiceId, epoch: Epoch, track: Track, drain_ms: u64) -> Result<(), RuntimeError> {
        let (_, found) = self.shared.service(service).await?;
        let slot = match track {
            Track::Stable => found.stable,
            Track::Canary => found.canary,
        };
        match slot {
            Some(there) => {
                let stop = Request::StopVersion {
                    epoch: epoch.0,
                    service: service.to_string(),
                    version: there.version,
                    drain_ms,
                };
                self.shared.act(epoch, stop).await?;
            }
            // Nothing to take out, but whether we may is asked all the same.
            None => drop(self.shared.act(epoch, Request::KeepAlive { epoch: epoch.0 }).await?),
        }
        let limit = Instant::now() + Duration::from_millis(drain_ms) + GONE_LIMIT;
        loop {
            let (_, found) = self.shared.service(service).await?;
            if found.draining.is_empty() {
                return Ok(());
            }
            if Instant::now() >= limit {
                let left: Vec<&str> = found.draining.iter().map(|version| version.version.as_str()).collect();
                return Err(RuntimeError::Refused(format!("{} is taken out but not gone", left.join(", "))));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn missed_ticks(&self, service: &ServiceId, after: Timestamp) -> Result<Vec<Tick>, RuntimeError> {
        let (status, _) = self.shared.service(service).await?;
        let seconds = u64::try_from(map::at(status.at).since(after) / 1_000).unwrap_or(0);
        let since = status.last_tick.saturating_sub(seconds + TICKS_MORE);
        let client = Client::connect(&self.shared.socket).await.map_err(map::error)?;
        let mut kept = client.subscribe(Some((status.hello.boot, since))).await.map_err(map::error)?;
        let mut missed = Vec::new();
        let mut next = kept.first;
        while next <= status.last_tick {
            match kept.next().await.map_err(map::error)? {
                Notice::Tick(tick) => {
                    next = tick.seq + 1;
                    let told = tick.services.iter().filter_map(|told| map::tick(&tick, told));
                    missed.extend(told.filter(|(of, told)| of == service && told.at > after).map(|(_, told)| told));
                }
                Notice::Lost(_, oldest) => next = oldest,
                Notice::Ending => return Err(RuntimeError::Unreachable("the splitter ends".to_owned())),
            }
        }
        Ok(missed)
    }

    fn ticks(&self) -> broadcast::Receiver<(ServiceId, Tick)> {
        self.shared.ticks.subscribe()
    }
}

/// The recipe's word, else the configuration's, else the recipe's default.
fn dead_man_seconds(front: &LocalService, dead_man: rollout::DeadMan) -> u32 {
    let of_recipe = u32::try_from(dead_man.after_ms / 1_000).unwrap_or(u32::MAX).max(1);
    match front.dead_man_seconds {
        Some(configured) if !dead_man.stated => configured,
        _ => of_recipe,
    }
}

fn unexpected() -> RuntimeError {
    RuntimeError::Unreachable("the splitter gave an answer that does not belong to the request".into())
}
