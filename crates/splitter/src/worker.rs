//! A thread that proxies: its runtime, its requests and what it has counted.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::clock::Clock;
use crate::proxy::flight::{Flight, WorkerVersion};
use crate::proxy::{Connection, Pool, serve};
use crate::route::{BlockCache, Service, Version};
use crate::stats::{Delta, WorkerStats};

/// Time between two looks at all requests and connections of a worker: limits are exact to this. 10,000 of them take well
/// under 1 ms.
pub(crate) const SWEEP: Duration = Duration::from_millis(50);

/// What a worker is told. The queue has no limit of its own: connections are bounded by each service's permits, the rest is sent
/// by the engine one at a time.
pub(crate) enum Message {
    /// A client.
    Connection { stream: std::net::TcpStream, peer: SocketAddr, service: Arc<Service>, permit: OwnedSemaphorePermit },
    /// Hand over what was counted.
    Collect { round: u64, reply: mpsc::UnboundedSender<Collected> },
    /// Answer when every request that was routed before is counted as under way.
    Fence(oneshot::Sender<()>),
    /// No request will go to this version any more.
    Forget(u64),
    /// End connections after the request under way.
    Close,
    /// End at once.
    Exit,
}

/// What a worker counted since last asked.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) round: u64,
    pub(crate) deltas: Vec<Delta>,
}

/// The engine's and acceptor's end of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(crate) sender: mpsc::UnboundedSender<Message>,
    /// Client connections that it holds.
    pub(crate) connections: Arc<AtomicUsize>,
    /// False once its thread has ended.
    pub(crate) alive: Arc<AtomicBool>,
}

/// A thread that proxies, from inside.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) clock: Clock,
    pub(crate) flights: RefCell<Slots<Rc<Flight>>>,
    pub(crate) connections: RefCell<Slots<Rc<Connection>>>,
    versions: RefCell<Vec<Rc<WorkerVersion>>>,
    /// Counts of versions that are forgotten and were not collected yet.
    leftover: RefCell<Vec<Delta>>,
    caches: RefCell<Vec<ServiceCache>>,
    /// ms since the worker began, as of the last sweep, from 1.
    now_ms: Arc<AtomicU64>,
    closing: Cell<bool>,
}

/// The block that a worker computed last for a service.
type ServiceCache = (Arc<Service>, Rc<RefCell<BlockCache>>);

/// Starts a worker thread.
pub(crate) fn start(index: usize, clock: Clock) -> std::io::Result<(Handle, std::thread::JoinHandle<()>)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let handle = Handle { sender, connections: Arc::default(), alive: Arc::new(AtomicBool::new(true)) };
    let (open, alive) = (Arc::clone(&handle.connections), Alive(Arc::clone(&handle.alive)));
    // Built here so that a failure is the caller's to report; a local runtime must be built where it runs.
    let thread = std::thread::Builder::new().name(format!("proxy-{index}")).spawn(move || {
        match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
        {
            Ok(runtime) => runtime.block_on(run(index, clock, receiver, open)),
            Err(error) => tracing::error!(worker = index, %error, "a proxy thread cannot start its runtime"),
        }
        drop(alive);
    })?;
    Ok((handle, thread))
}

async fn run(index: usize, clock: Clock, mut receiver: mpsc::UnboundedReceiver<Message>, open: Arc<AtomicUsize>) {
    let worker = Rc::new(Worker {
        index,
        clock,
        flights: RefCell::default(),
        connections: RefCell::default(),
        versions: RefCell::default(),
        leftover: RefCell::default(),
        caches: RefCell::default(),
        now_ms: Arc::new(AtomicU64::new(1)),
        closing: Cell::new(false),
    });
    let sweeper = Rc::clone(&worker);
    tokio::task::spawn_local(async move {
        let started = Instant::now();
        let mut interval = tokio::time::interval(SWEEP);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let now = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
            sweeper.now_ms.store(now, Ordering::Relaxed);
            sweeper.sweep(now);
        }
    });
    while let Some(message) = receiver.recv().await {
        match message {
            Message::Connection { stream, peer, service, permit } => {
                let counted = Counted::begin(&open, &service);
                let worker = Rc::clone(&worker);
                tokio::task::spawn_local(async move {
                    serve(worker, service, stream, peer).await;
                    drop((counted, permit));
                });
            }
            Message::Collect { round, reply } => {
                // The engine keeps its end open as long as it runs.
                let _ = reply.send(Collected { round, deltas: worker.collect() });
            }
            Message::Fence(reply) => {
                let _ = reply.send(());
            }
            Message::Forget(uid) => worker.forget(uid),
            Message::Close => {
                worker.closing.set(true);
                worker.sweep(worker.now_ms());
            }
            Message::Exit => break,
        }
    }
}

impl Worker {
    /// ms since the worker began, as of the last sweep.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn coarse_clock(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.now_ms)
    }

    /// This worker's part of a version.
    pub(crate) fn version(&self, shared: &Arc<Version>) -> Rc<WorkerVersion> {
        let mut versions = self.versions.borrow_mut();
        // Two or three at most: a scan is faster than a map.
        if let Some(version) = versions.iter().find(|version| version.shared.uid == shared.uid) {
            return Rc::clone(version);
        }
        let version = Rc::new(WorkerVersion {
            shared: Arc::clone(shared),
            stats: RefCell::new(WorkerStats::new()),
            pool: Rc::new(Pool::new(Arc::clone(shared), self.coarse_clock())),
        });
        versions.push(Rc::clone(&version));
        version
    }

    /// This worker's cached block of a service.
    pub(crate) fn cache(&self, service: &Arc<Service>) -> Rc<RefCell<BlockCache>> {
        let mut caches = self.caches.borrow_mut();
        caches.retain(|(known, _)| Arc::ptr_eq(known, service) || !known.closing.load(Ordering::Relaxed));
        if let Some((_, cache)) = caches.iter().find(|(known, _)| Arc::ptr_eq(known, service)) {
            return Rc::clone(cache);
        }
        let cache = Rc::new(RefCell::default());
        caches.push((Arc::clone(service), Rc::clone(&cache)));
        cache
    }

    fn collect(&self) -> Vec<Delta> {
        let mut deltas = std::mem::take(&mut *self.leftover.borrow_mut());
        deltas.extend(
            self.versions.borrow().iter().filter_map(|version| version.stats.borrow_mut().take(version.shared.uid)),
        );
        deltas
    }

    fn forget(&self, uid: u64) {
        let mut versions = self.versions.borrow_mut();
        if let Some(at) = versions.iter().position(|version| version.shared.uid == uid) {
            let version = versions.swap_remove(at);
            self.leftover.borrow_mut().extend(version.stats.borrow_mut().take(uid));
            version.pool.prune(u64::MAX);
        }
    }

    /// Stops what is over its limits.
    fn sweep(&self, now_ms: u64) {
        for flight in self.flights.borrow().iter() {
            flight.sweep(now_ms);
        }
        for connection in self.connections.borrow().iter() {
            connection.sweep(now_ms, self.closing.get());
        }
        for version in self.versions.borrow().iter() {
            version.pool.prune(now_ms.saturating_sub(version.shared.idle_ms.load(Ordering::Relaxed)));
        }
    }
}

/// Says that the thread has ended, however it ends.
struct Alive(Arc<AtomicBool>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Counts a client connection while it lives.
struct Counted {
    open: Arc<AtomicUsize>,
    service: Arc<Service>,
}

impl Counted {
    fn begin(open: &Arc<AtomicUsize>, service: &Arc<Service>) -> Self {
        service.connections.fetch_add(1, Ordering::Relaxed);
        Self { open: Arc::clone(open), service: Arc::clone(service) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // `open` was counted up by the acceptor when it chose this worker.
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.service.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Values in numbered slots that are used again.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn insert(&mut self, value: T) -> usize {
        if let Some(at) = self.free.pop()
            && let Some(slot) = self.slots.get_mut(at)
        {
            *slot = Some(value);
            return at;
        }
        self.slots.push(Some(value));
        self.slots.len() - 1
    }

    pub(crate) fn remove(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at)
            && slot.take().is_some()
        {
            self.free.push(at);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten()
    }
}
