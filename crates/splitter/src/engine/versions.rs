//! Versions: their processes supervised, their health followed, their end in order.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use model::Track;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Engine;
use crate::control::{KEPT_ENDS, LONGEST_END, ProcessEnd, Refusal, Stamp, StoppedVersion, VersionState, VersionStatus};
use crate::health;
use crate::process::{self, Identity, Process};
use crate::route::{Target, Version};
use crate::spec::{Source, VersionSpec, authority};
use crate::state::SavedVersion;
use crate::worker::Message;

/// Pause before a process that ended is started again: doubled each time up to the longest, and from the start again after it
/// has run for [`STEADY`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const STEADY: Duration = Duration::from_secs(30);

/// Time between health checks until a version is ready: a start is noticed soon.
const STARTING_INTERVAL: Duration = Duration::from_millis(50);

/// How often a version that drains is looked at.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// How long requests that are cut may take to go: several sweeps.
const CUT_LIMIT: Duration = Duration::from_secs(2);

/// A version, as the engine has it.
pub(crate) struct VersionEntry {
    pub(crate) service: String,
    pub(crate) spec: VersionSpec,
    pub(crate) shared: Arc<Version>,
    /// The slot that it was in last: what its last requests are counted under.
    pub(crate) track: Cell<Track>,
    log: PathBuf,
    live: RefCell<Live>,
    gone_since: Cell<Option<u64>>,
    /// Cancelled to end supervision.
    end: CancellationToken,
    /// The process, given back by supervision when it ends.
    process: RefCell<Option<Process>>,
    supervised: Cell<bool>,
    unsupervised: Notify,
}

struct Live {
    state: VersionState,
    was_ready: bool,
    process: Option<Identity>,
    restarts: u64,
    message: Option<String>,
    ends: Vec<ProcessEnd>,
}

impl VersionEntry {
    pub(crate) fn status(&self) -> VersionStatus {
        let live = self.live.borrow();
        VersionStatus {
            version: self.spec.version.clone(),
            release: self.spec.release.clone(),
            digest: self.spec.digest.clone(),
            target: self.shared.target_text(),
            state: live.state,
            was_ready: live.was_ready,
            pid: live.process.as_ref().and_then(|process| u32::try_from(process.pid).ok()),
            restarts: live.restarts,
            in_flight: self.shared.in_flight(),
            message: live.message.clone(),
            ends: live.ends.clone(),
        }
    }

    pub(crate) fn saved(&self) -> SavedVersion {
        let live = self.live.borrow();
        let port = match &self.shared.target {
            Target::Local(port) => Some(port.load(Ordering::Relaxed)).filter(|port| *port > 0),
            Target::Remote { .. } => None,
        };
        SavedVersion {
            spec: self.spec.clone(),
            port,
            process: live.process.clone(),
            was_ready: live.was_ready,
            restarts: live.restarts,
            ends: live.ends.clone(),
        }
    }

    pub(crate) fn was_ready(&self) -> bool {
        self.live.borrow().was_ready
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.live.borrow().restarts
    }

    pub(crate) fn limit_log(&self) {
        if matches!(self.spec.source, Source::Process { .. }) {
            process::limit_log(&self.log);
        }
    }

    /// True when its process is gone and nothing goes to it.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone_since.get().is_some()
    }

    /// Number of the last tick when it was gone.
    pub(crate) fn gone_since(&self) -> Option<u64> {
        self.gone_since.get()
    }

    fn ended(&self, at: Stamp, how: &str) {
        let ends = &mut self.live.borrow_mut().ends;
        if ends.len() >= KEPT_ENDS {
            ends.remove(0);
        }
        ends.push(ProcessEnd { at, how: how.chars().take(LONGEST_END).collect() });
    }

    fn set(&self, state: VersionState, message: Option<String>) {
        let mut live = self.live.borrow_mut();
        live.state = state;
        live.was_ready |= state == VersionState::Ready;
        live.message = message;
    }

    /// Ends supervision, and with it the process, or leaves the process to run on. Used when the splitter itself ends.
    pub(crate) async fn release(&self, stop: bool) {
        let process = self.take_process().await;
        if let (true, Some(process)) = (stop, process) {
            process.end(self.grace()).await;
            self.live.borrow_mut().process = None;
        }
    }

    /// Ends supervision and takes the process from it.
    async fn take_process(&self) -> Option<Process> {
        self.end.cancel();
        while self.supervised.get() {
            self.unsupervised.notified().await;
        }
        self.process.borrow_mut().take()
    }

    fn grace(&self) -> Duration {
        match &self.spec.source {
            Source::Process { grace_ms, .. } => Duration::from_millis(*grace_ms),
            Source::Url(_) => Duration::ZERO,
        }
    }
}

impl Engine {
    /// Begins to run a version; `earlier` is what an earlier splitter knew of it.
    pub(super) fn begin_version(
        self: &Rc<Self>,
        service: &str,
        track: Track,
        spec: VersionSpec,
        idle_ms: u64,
        earlier: Option<&SavedVersion>,
    ) -> Result<Rc<VersionEntry>, Refusal> {
        let target = match &spec.source {
            Source::Process { .. } => {
                Target::Local(AtomicU16::new(earlier.and_then(|earlier| earlier.port).unwrap_or(0)))
            }
            Source::Url(url) => {
                let authority = authority(url)?;
                let (host, port) =
                    (authority.host().trim_matches(['[', ']']).to_owned(), authority.port_u16().unwrap_or(80));
                let fixed = host.parse().ok().map(|ip| SocketAddr::new(ip, port));
                Target::Remote { host, port, fixed }
            }
        };
        let entry = Rc::new(VersionEntry {
            service: service.to_owned(),
            shared: Arc::new(Version::new(self.new_id(), target, spec.protocol, idle_ms, self.workers.len())),
            track: Cell::new(track),
            log: process::log_path(&self.state_dir, service, &spec.version),
            live: RefCell::new(Live {
                state: VersionState::Starting,
                was_ready: earlier.is_some_and(|earlier| earlier.was_ready),
                process: None,
                restarts: earlier.map_or(0, |earlier| earlier.restarts),
                message: None,
                ends: earlier.map_or_else(Vec::new, |earlier| earlier.ends.clone()),
            }),
            gone_since: Cell::new(None),
            end: CancellationToken::new(),
            process: RefCell::new(None),
            supervised: Cell::new(true),
            unsupervised: Notify::new(),
            spec,
        });
        let found = earlier.and_then(|earlier| earlier.process.as_ref()).and_then(Process::adopt);
        if let Some(process) = &found {
            tracing::info!(service, version = %entry.spec.version, pid = process.identity.pid, "found a version's process again");
            entry.live.borrow_mut().process = Some(process.identity.clone());
        }
        let (engine, supervised) = (Rc::clone(self), Rc::clone(&entry));
        tokio::task::spawn_local(async move {
            match &supervised.spec.source {
                Source::Process { port, .. } => engine.supervise(&supervised, *port, found).await,
                Source::Url(_) => {
                    tokio::select! {
                        () = engine.follow_health(&supervised) => {}
                        () = supervised.end.cancelled() => {}
                    }
                }
            }
            supervised.supervised.set(false);
            supervised.unsupervised.notify_waiters();
            supervised.unsupervised.notify_one();
        });
        Ok(entry)
    }

    /// Keeps a process running until told to end.
    async fn supervise(&self, entry: &Rc<VersionEntry>, fixed_port: Option<u16>, mut found: Option<Process>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let since = Instant::now();
            let how = match found.take().map_or_else(|| start(entry, fixed_port), Ok) {
                Ok(mut process) => {
                    entry.live.borrow_mut().process = Some(process.identity.clone());
                    self.save();
                    let ended = tokio::select! {
                        how = process.wait() => Some(how),
                        () = self.follow_health(entry) => None,
                        () = entry.end.cancelled() => None,
                    };
                    let Some(how) = ended else {
                        *entry.process.borrow_mut() = Some(process);
                        return;
                    };
                    entry.live.borrow_mut().process = None;
                    how
                }
                Err(error) => format!("as it could not be started: {error}"),
            };
            entry.ended(self.clock.now(), &how);
            let message = format!("its process ended {how}");
            if since.elapsed() >= STEADY {
                pause = FIRST_PAUSE;
            }
            tracing::warn!(service = %entry.service, version = %entry.spec.version, %message, pause_ms = pause.as_millis(), "a version is started again after a pause");
            entry.set(VersionState::Restarting, Some(message));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = entry.end.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
            entry.live.borrow_mut().restarts += 1;
        }
    }

    /// Asks for health again and again; never ends by itself.
    async fn follow_health(&self, entry: &VersionEntry) {
        let health = &entry.spec.health;
        let mut failed = 0u32;
        let mut ready = false;
        loop {
            match health::check(&entry.shared, health).await {
                Ok(()) => {
                    failed = 0;
                    let first = !entry.was_ready();
                    entry.set(VersionState::Ready, None);
                    ready = true;
                    if first {
                        self.save();
                    }
                }
                Err(message) => {
                    failed = failed.saturating_add(1);
                    if !ready {
                        entry.set(VersionState::Starting, Some(message));
                    } else if failed >= health.threshold {
                        entry.set(VersionState::Unhealthy, Some(message));
                    }
                }
            }
            tokio::time::sleep(if ready { Duration::from_millis(health.interval_ms) } else { STARTING_INTERVAL }).await;
        }
    }

    /// Takes a version that is in no route any more to its end.
    pub(super) fn retire(self: &Rc<Self>, entry: Rc<VersionEntry>, drain_ms: u64) {
        let engine = Rc::clone(self);
        let taken_out = self.clock.now();
        tokio::task::spawn_local(async move {
            // After the fence no request that a worker has routed is still uncounted.
            engine.fence().await;
            let begun = entry.shared.in_flight();
            entry.live.borrow_mut().state = VersionState::Draining;
            let limit = Instant::now() + Duration::from_millis(drain_ms);
            let mut cut = 0;
            while entry.shared.in_flight() > 0 {
                if Instant::now() >= limit {
                    cut = entry.shared.in_flight();
                    entry.shared.cut.store(true, Ordering::Relaxed);
                    break;
                }
                tokio::time::sleep(DRAIN_LOOK).await;
            }
            let cut_limit = Instant::now() + CUT_LIMIT;
            while entry.shared.in_flight() > 0 && Instant::now() < cut_limit {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
            let drained = engine.clock.now();
            // Supervision ends only now: a process that dies while it drains is started again for what is under way.
            let process = entry.take_process().await;
            entry.live.borrow_mut().state = VersionState::Stopping;
            let killed = match process {
                Some(process) => process.end(entry.grace()).await,
                None => false,
            };
            entry.live.borrow_mut().process = None;
            for worker in engine.workers.iter() {
                let _ = worker.sender.send(Message::Forget(entry.shared.uid));
            }
            entry.gone_since.set(Some(*engine.latest.borrow()));
            let gone = engine.clock.now();
            tracing::info!(service = %entry.service, version = %entry.spec.version, cut, killed, "a version is gone");
            if let Some(service) = engine.services.borrow_mut().get_mut(&entry.service) {
                service.record_stopped(StoppedVersion {
                    version: entry.spec.version.clone(),
                    taken_out,
                    drained,
                    gone,
                    finished: begun.saturating_sub(cut),
                    cut,
                    killed,
                });
            }
            engine.save();
        });
    }
}

/// Starts a version's process on its port.
fn start(entry: &VersionEntry, fixed: Option<u16>) -> std::io::Result<Process> {
    let port = match fixed {
        Some(port) => port,
        None => process::free_port()?,
    };
    if let Target::Local(target) = &entry.shared.target {
        target.store(port, Ordering::Relaxed);
    }
    let process = Process::start(&entry.spec, port, &entry.log)?;
    tracing::info!(service = %entry.service, version = %entry.spec.version, pid = process.identity.pid, port, "started a version");
    Ok(process)
}
