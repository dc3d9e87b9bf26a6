//! What workers and engine share of a service: the route, swapped whole, and a gauge per version and worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use model::Track;
use tokio::sync::Semaphore;

use crate::spec::{Limits, Protocol, Sticky};
use crate::split;

/// A number on cache lines of its own: two workers that count do not slow each other (128: adjacent-line prefetch).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// A version as workers see it.
#[derive(Debug)]
pub(crate) struct Version {
    /// Unique in this run of the splitter.
    pub(crate) uid: u64,
    pub(crate) target: Target,
    pub(crate) protocol: Protocol,
    /// Set when the drain limit is reached: workers cut what is still under way.
    pub(crate) cut: AtomicBool,
    /// Unused connections to it are closed after this time, ms.
    pub(crate) idle_ms: AtomicU64,
    lanes: Box<[Padded<Lane>]>,
}

/// Where requests go.
#[derive(Debug)]
pub(crate) enum Target {
    /// 127.0.0.1 and a port that may change when the process is started again; 0 = none yet.
    Local(AtomicU16),
    /// A host and port of somebody else's.
    Remote { host: String, port: u16, fixed: Option<SocketAddr> },
}

/// What one worker publishes about one version. Written by that worker only.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Requests under way.
    pub(crate) in_flight: AtomicU64,
    /// When a request was last sent on, µs of the monotonic clock; 0 = never.
    pub(crate) last_sent_us: AtomicU64,
}

impl Lane {
    /// Adds to the requests under way. Plain load and store: there is one writer.
    pub(crate) fn enter(&self) {
        self.in_flight.store(self.in_flight.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Takes from the requests under way.
    pub(crate) fn leave(&self) {
        self.in_flight.store(self.in_flight.load(Ordering::Relaxed).saturating_sub(1), Ordering::Release);
    }
}

impl Version {
    pub(crate) fn new(uid: u64, target: Target, protocol: Protocol, idle_ms: u64, workers: usize) -> Self {
        Self {
            uid,
            target,
            protocol,
            cut: AtomicBool::new(false),
            idle_ms: AtomicU64::new(idle_ms),
            lanes: (0..workers).map(|_| Padded::default()).collect(),
        }
    }

    /// The gauge of a worker.
    pub(crate) fn lane(&self, worker: usize) -> Option<&Lane> {
        self.lanes.get(worker).map(|lane| &lane.0)
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.0.in_flight.load(Ordering::Acquire)).sum()
    }

    /// When a request was last sent on, µs of the monotonic clock.
    pub(crate) fn last_sent_us(&self) -> Option<u64> {
        self.lanes.iter().map(|lane| lane.0.last_sent_us.load(Ordering::Relaxed)).max().filter(|at| *at > 0)
    }

    /// The target as shown.
    pub(crate) fn target_text(&self) -> String {
        match &self.target {
            Target::Local(port) => format!("127.0.0.1:{}", port.load(Ordering::Relaxed)),
            Target::Remote { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

/// How requests of a service are routed. Replaced whole at every change, so that a request sees one state.
#[derive(Debug)]
pub(crate) struct Route {
    /// Unique in this run of the splitter; names the route in workers' caches.
    pub(crate) generation: u64,
    pub(crate) weight: u8,
    pub(crate) stable: Option<Arc<Version>>,
    pub(crate) canary: Option<Arc<Version>>,
    pub(crate) sticky: Option<Sticky>,
    pub(crate) trust_forwarded: bool,
    pub(crate) limits: Limits,
    seed: u64,
    /// Next position; a new route begins a new block.
    position: Padded<AtomicU64>,
}

/// The block of positions that a worker computed last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BlockCache {
    generation: u64,
    block: u64,
    positions: u128,
}

impl Route {
    #[allow(clippy::too_many_arguments)] // the parts of one value
    pub(crate) fn new(
        generation: u64,
        seed: u64,
        weight: u8,
        stable: Option<Arc<Version>>,
        canary: Option<Arc<Version>>,
        sticky: Option<Sticky>,
        trust_forwarded: bool,
        limits: Limits,
    ) -> Self {
        Self { generation, weight, stable, canary, sticky, trust_forwarded, limits, seed, position: Padded::default() }
    }

    /// The track of the next non-sticky request.
    pub(crate) fn next(&self, cache: &mut BlockCache) -> Track {
        let position = self.position.0.fetch_add(1, Ordering::Relaxed);
        let (block, at) = (position / split::BLOCK, position % split::BLOCK);
        if cache.generation != self.generation || cache.block != block {
            *cache = BlockCache {
                generation: self.generation,
                block,
                positions: split::canary_positions(self.seed, block, self.weight),
            };
        }
        track(cache.positions >> at & 1 == 1)
    }

    /// The track of a request with a sticky key.
    pub(crate) fn stuck(&self, key: &[u8]) -> Track {
        track(split::bucket(key) < self.weight)
    }

    pub(crate) fn version(&self, track: Track) -> Option<&Arc<Version>> {
        match track {
            Track::Stable => self.stable.as_ref(),
            Track::Canary => self.canary.as_ref(),
        }
    }
}

fn track(canary: bool) -> Track {
    if canary { Track::Canary } else { Track::Stable }
}

/// What workers, acceptor and engine share of a service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) route: ArcSwap<Route>,
    /// Client connections allowed now.
    pub(crate) permits: Arc<Semaphore>,
    /// Client connections open.
    pub(crate) connections: AtomicUsize,
    /// Requests answered without a version.
    pub(crate) answered_here: AtomicU64,
    /// Set when the service is taken out: its connections end after the request under way.
    pub(crate) closing: AtomicBool,
}

impl Service {
    pub(crate) fn new(route: Route) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(route.limits.connections)),
            route: ArcSwap::from_pointee(route),
            connections: AtomicUsize::new(0),
            answered_here: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(generation: u64, weight: u8) -> Route {
        Route::new(generation, 99, weight, None, None, None, false, Limits::default())
    }

    #[test]
    fn blocks_are_exact_across_workers() {
        for weight in 0..=100u8 {
            let route = route(1, weight);
            let tracks = std::sync::Mutex::new(Vec::new());
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let mut cache = BlockCache::default();
                        let mine: Vec<Track> = (0..400).map(|_| route.next(&mut cache)).collect();
                        tracks.lock().unwrap().extend(mine);
                    });
                }
            });
            let canary = tracks.into_inner().unwrap().into_iter().filter(|t| *t == Track::Canary).count();
            assert_eq!(canary, usize::from(weight) * 12);
        }
    }

    #[test]
    fn a_new_route_begins_a_new_block_in_a_worker_that_cached_the_old_one() {
        let mut cache = BlockCache::default();
        let old = route(1, 100);
        (0..50).for_each(|_| assert_eq!(old.next(&mut cache), Track::Canary));
        let new = route(2, 0);
        (0..200).for_each(|_| assert_eq!(new.next(&mut cache), Track::Stable));
        // A request that had loaded the old route still goes by it.
        assert_eq!(old.next(&mut cache), Track::Canary);
    }

    #[test]
    fn a_cohort_grows_with_the_weight() {
        let keys: Vec<String> = (0..2_000).map(|i| format!("user-{i}")).collect();
        let mut before = 0;
        for weight in 0..=100u8 {
            let route = route(u64::from(weight) + 1, weight);
            let cohort: Vec<bool> = keys.iter().map(|key| route.stuck(key.as_bytes()) == Track::Canary).collect();
            let smaller = self::route(1, weight.saturating_sub(1));
            assert!(
                keys.iter().zip(&cohort).all(|(key, now)| *now || smaller.stuck(key.as_bytes()) == Track::Stable),
                "left the cohort at {weight}"
            );
            let size = cohort.iter().filter(|c| **c).count();
            assert!(size >= before);
            before = size;
        }
        assert_eq!(before, keys.len());
    }
}
