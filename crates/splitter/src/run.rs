//! The process: from its options to its end.

use std::collections::HashMap;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::control::SOCKET_NAME;
use crate::engine::{Ending, Engine, Parts, run_ticks};
use crate::handover::{self, TakeOverError};
use crate::state::{self, Saver, StateError};
use crate::{metrics, server, worker};

/// Name of the state file in the state directory.
const STATE_NAME: &str = "state.json";

/// Name of the lock in the state directory.
const LOCK_NAME: &str = "lock";

/// How long requests under way may take when a signal ends the splitter, and after a hand-over.
const SIGNAL_DRAIN_MS: u64 = 10_000;
const HANDED_OVER_DRAIN_MS: u64 = 600_000;

/// How long a lock that is being given up may take.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// How long a successor waits for the metrics endpoint's address: traffic waits with it.
const METRICS_LIMIT: Duration = Duration::from_millis(500);

/// Most proxy threads: more than any machine that this is for has cores.
const MAX_WORKERS: usize = 256;

/// How a splitter is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of its own (created with mode 0700) for the control socket, the state file, the lock and the logs of the
    /// processes that it starts. At most one splitter runs in it.
    pub state_dir: PathBuf,
    /// Threads that proxy. 0 = one per core.
    pub workers: usize,
    /// Address of the Prometheus endpoint (`/metrics`); none when left out. Port 0 takes a free one
    /// ([`Hello`](crate::control::Hello) says which).
    pub metrics_listen: Option<SocketAddr>,
    /// Become leader of a session of one's own first, so that the terminal or server that started the splitter does not take
    /// it along when it ends. For a splitter that is started in the background.
    pub detach: bool,
}

/// Why a splitter did not start, or ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory cannot be used.
    #[error("the state directory {} cannot be used", path.display())]
    StateDir {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another splitter runs in the state directory.
    #[error("a splitter is already running in {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// The running splitter did not hand over.
    #[error("the running splitter did not hand over")]
    TakeOver(#[source] TakeOverError),
    /// The state file cannot be used.
    #[error("the state file {} cannot be used", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StateError,
    },
    /// The metrics endpoint's address cannot be listened on.
    #[error("cannot listen on {address} for metrics")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The system refuses threads, signals or sockets.
    #[error("the system does not give the splitter what it needs")]
    System(#[source] io::Error),
}

/// Runs a splitter until it is told to end (`Shutdown`), a signal ends it (SIGTERM, SIGINT: its processes end too), or a
/// successor has taken over. When one runs in the directory already that is [`RunError::AlreadyRunning`].
///
/// Blocks the calling thread and starts its own runtimes: call it outside of any.
pub fn run(options: Options) -> Result<(), RunError> {
    run_with(&options, false)
}

/// As [`run`], but when a splitter runs in the directory already its sockets are taken over and it ends: an upgrade that
/// refuses no connection.
pub fn run_as_successor(options: Options) -> Result<(), RunError> {
    run_with(&options, true)
}

fn run_with(options: &Options, take_over: bool) -> Result<(), RunError> {
    if options.detach
        && let Err(error) = nix::unistd::setsid()
    {
        // A group's leader cannot; then it is nobody's background child either.
        tracing::debug!(%error, "no session of its own");
    }
    let unusable = |source| RunError::StateDir { path: options.state_dir.clone(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(&options.state_dir).map_err(unusable)?;
    // Children are given paths: they must mean the same in their working directories.
    let state_dir = options.state_dir.canonicalize().map_err(unusable)?;
    let socket = state_dir.join(SOCKET_NAME);
    let lock_file =
        File::options().create(true).truncate(false).write(true).open(state_dir.join(LOCK_NAME)).map_err(unusable)?;
    let state_path = state_dir.join(STATE_NAME);
    let load = || state::load(&state_path).map_err(|source| RunError::State { path: state_path.clone(), source });
    if take_over {
        // A state that this program cannot read is found out while somebody serves.
        load()?;
    }
    let sockets = take_lock(&lock_file, options, take_over, &socket)?;
    let saved = load()?;

    let clock = Clock::new();
    let count = match options.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        count => count,
    };
    let (handles, threads): (Vec<_>, Vec<_>) = (0..count.min(MAX_WORKERS))
        .map(|index| worker::start(index, clock))
        .collect::<io::Result<Vec<_>>>()
        .map_err(RunError::System)?
        .into_iter()
        .unzip();
    let acceptor = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("accept")
        .enable_all()
        .build()
        .map_err(RunError::System)?;
    let saver = Saver::start(state_path.clone()).map_err(RunError::System)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(RunError::System)?;

    let parts = Parts { clock, state_dir, workers: Arc::from(handles), acceptor: acceptor.handle().clone(), saver };
    let result = runtime.block_on(async {
        let engine = Engine::new(parts);
        // Everything that can fail comes before the state is touched.
        let metrics = match options.metrics_listen {
            Some(address) => listen_for_metrics(address, take_over).await?,
            None => None,
        };
        let control = server::open(&socket).map_err(|source| RunError::StateDir { path: socket.clone(), source })?;
        let mut terminate = signal(SignalKind::terminate()).map_err(RunError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::System)?;
        engine.metrics_address.set(metrics.as_ref().and_then(|listener| listener.local_addr().ok()));
        engine.restore(saved, sockets);
        tracing::info!(boot = %engine.boot, socket = %socket.display(), workers = engine.workers.len(), "the splitter runs");

        let control = tokio::task::spawn_local(server::serve(Rc::clone(&engine), control));
        let ticks = tokio::task::spawn_local(run_ticks(Rc::clone(&engine)));
        let metrics =
            metrics.map(|listener| tokio::task::spawn_local(metrics::serve(Rc::clone(&engine), listener)));
        let mut ending = engine.ending.subscribe();
        let how = tokio::select! {
            // The sender lives in the engine.
            how = ending.wait_for(|ending| *ending != Ending::Not) => how.map_or(Ending::Not, |how| *how),
            _ = terminate.recv() => Ending::Told { drain_ms: SIGNAL_DRAIN_MS, stop_versions: true },
            _ = interrupt.recv() => Ending::Told { drain_ms: SIGNAL_DRAIN_MS, stop_versions: true },
        };
        tracing::info!(?how, "the splitter ends");
        engine.ending.send_replace(how);
        control.abort();
        match how {
            Ending::HandedOver => {
                ticks.abort();
                // Its address is the successor's from here on.
                if let Some(metrics) = metrics {
                    metrics.abort();
                    let _ = metrics.await;
                }
                engine.release_for_successor().await;
                let _ = std::fs::remove_file(&socket);
                if let Err(error) = lock_file.unlock() {
                    tracing::error!(%error, "the lock cannot be given up");
                }
                engine.let_go.notify_one();
                // Without a request under way this process would end before the sockets are on their way, and close them.
                if tokio::time::timeout(handover::STEP_LIMIT, engine.handed.notified()).await.is_err() {
                    tracing::error!("the sockets could not be handed over in time");
                }
                engine.finish_requests(HANDED_OVER_DRAIN_MS).await;
                engine.exit_workers();
            }
            Ending::Told { drain_ms, stop_versions } => {
                engine.end(drain_ms, stop_versions).await;
                let _ = std::fs::remove_file(&socket);
                engine.sign_of_life(true);
            }
            Ending::Not => {}
        }
        Ok(())
    });
    runtime.shutdown_background();
    acceptor.shutdown_background();
    for thread in threads {
        let _ = thread.join();
    }
    result
}

/// A successor has the traffic in its hands already: it waits for the predecessor to let go of the address, and goes on without.
async fn listen_for_metrics(address: SocketAddr, take_over: bool) -> Result<Option<tokio::net::TcpListener>, RunError> {
    let limit = Instant::now() + METRICS_LIMIT;
    loop {
        match tokio::net::TcpListener::bind(address).await {
            Ok(listener) => return Ok(Some(listener)),
            Err(source) if !take_over => return Err(RunError::Metrics { address, source }),
            Err(_) if Instant::now() < limit => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => {
                tracing::error!(%address, %error, "metrics cannot be listened for: there are none until the next start");
                return Ok(None);
            }
        }
    }
}

/// Takes the lock, and the sockets of the splitter that holds it if that is wanted.
fn take_lock(
    lock: &File,
    options: &Options,
    take_over: bool,
    socket: &Path,
) -> Result<HashMap<SocketAddr, OwnedFd>, RunError> {
    let unusable = |source| RunError::StateDir { path: options.state_dir.clone(), source };
    match lock.try_lock() {
        Ok(()) => return Ok(HashMap::new()),
        Err(TryLockError::WouldBlock) if !take_over => {
            return Err(RunError::AlreadyRunning(options.state_dir.clone()));
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(unusable(error)),
    }
    let sockets = handover::take(socket).map_err(RunError::TakeOver)?;
    let limit = Instant::now() + LOCK_LIMIT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(sockets),
            Err(TryLockError::WouldBlock) if Instant::now() < limit => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::WouldBlock) => return Err(RunError::AlreadyRunning(options.state_dir.clone())),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
    }
}
