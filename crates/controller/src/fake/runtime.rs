//! A data plane in memory: weights, versions, ticks of a traffic that it is told.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use model::{Epoch, HistogramBucket, ServiceId, Tick, Timestamp, Track, VersionTick, Weight};
use receipt_log::Clock;
use rollout::ProcessEnd;
use tokio::sync::broadcast;

use super::{TokioClock, lock};
use crate::{ObservedService, ObservedVersion, Runtime, RuntimeError, WeightApplied, Workload};

/// Ticks kept for slow receivers: a minute of sixteen services.
const TICK_BUFFER: usize = 1_024;

/// Ticks that it still has: a quarter of an hour of one service, as the splitter.
const TICKS_KEPT: usize = 900;

/// What the clients and the versions of a service do.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Requests a second, both versions together.
    pub rate: u64,
    /// Latency of stable, µs.
    pub stable_us: u64,
    /// Latency of the canary, µs.
    pub canary_us: u64,
    /// Of a hundred requests to the canary so many fail.
    pub canary_errors: u64,
    /// Of a thousand requests to stable so many take ten times as long.
    pub stable_slow: u64,
}

impl Default for Profile {
    fn default() -> Self {
        Self { rate: 2_000, stable_us: 8_000, canary_us: 8_000, canary_errors: 0, stable_slow: 0 }
    }
}

/// How it misbehaves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Every call takes so long.
    pub lag: Duration,
    /// Every call fails as if nobody listened.
    pub unreachable: bool,
    /// The next so many calls that change something fail; half of them after having been carried out.
    pub flaky: u32,
    /// The canary never becomes ready.
    pub never_ready: bool,
    /// It says that weights are in force and does nothing.
    pub ignores_weights: bool,
    /// It shows the weight that was in force one change ago.
    pub shows_old_weight: bool,
    /// Stopping a version takes so long.
    pub stop_takes: Duration,
}

/// A call that changed something, and when it took effect.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// When.
    pub at: Timestamp,
    /// What, e.g. `weight 25`.
    pub what: String,
    /// Operation id, where there is one.
    pub operation: String,
    /// False for an operation seen before.
    pub fresh: bool,
}

/// A data plane in memory. Clones are the same one, as are connections of several controllers.
#[derive(Clone)]
pub struct FakeRuntime {
    world: Arc<Mutex<World>>,
    ticks: broadcast::Sender<(ServiceId, Tick)>,
    clock: TokioClock,
}

struct World {
    epoch: Epoch,
    services: BTreeMap<ServiceId, Service>,
    operations: BTreeMap<String, WeightApplied>,
    calls: Vec<Call>,
    faults: Faults,
    profile: Profile,
    boot: u64,
    seq: u64,
    gap_ms: Option<i64>,
    /// The latest ticks, oldest first.
    kept: VecDeque<(ServiceId, Tick)>,
}

#[derive(Clone)]
struct Service {
    weight: Weight,
    previous_weight: Weight,
    epoch: Epoch,
    stable: Option<Version>,
    canary: Option<Version>,
    last_sent: Option<Timestamp>,
    changed: bool,
    sent: u64,
    dead_man_at: Option<Timestamp>,
}

#[derive(Clone)]
struct Version {
    workload: Workload,
    ready: bool,
    ends: Vec<ProcessEnd>,
}

impl FakeRuntime {
    /// A data plane whose clock shows `base` now, with a tick a second as long as it lives.
    pub fn new(clock: TokioClock) -> Self {
        let world = World {
            epoch: Epoch(0),
            services: BTreeMap::new(),
            operations: BTreeMap::new(),
            calls: Vec::new(),
            faults: Faults::default(),
            profile: Profile::default(),
            boot: 1,
            seq: 0,
            gap_ms: None,
            kept: VecDeque::new(),
        };
        let runtime = Self { world: Arc::new(Mutex::new(world)), ticks: broadcast::channel(TICK_BUFFER).0, clock };
        let (weak, sender) = (Arc::downgrade(&runtime.world), runtime.ticks.clone());
        tokio::spawn(async move {
            let mut seconds = tokio::time::interval(Duration::from_secs(1));
            seconds.tick().await;
            loop {
                seconds.tick().await;
                let Some(world) = weak.upgrade() else { break };
                let mut world = lock(&world);
                for tick in world.second(clock.now()) {
                    world.keep(tick.clone());
                    // Nobody may be listening.
                    let _ = sender.send(tick);
                }
            }
        });
        runtime
    }

    /// Changes the traffic.
    pub fn profile(&self, profile: Profile) {
        lock(&self.world).profile = profile;
    }

    /// Changes how it misbehaves.
    pub fn faults(&self, faults: Faults) {
        lock(&self.world).faults = faults;
    }

    /// Every change so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.world).calls.clone()
    }

    /// The weight that is really in force.
    pub fn weight(&self, service: &ServiceId) -> Weight {
        lock(&self.world).services.get(service).map_or(Weight::ZERO, |s| s.weight)
    }

    /// When the canary was last sent a request.
    pub fn last_sent(&self, service: &ServiceId) -> Option<Timestamp> {
        lock(&self.world).services.get(service).and_then(|s| s.last_sent)
    }

    /// Labels of the versions that are there: stable's, the canary's.
    pub fn labels(&self, service: &ServiceId) -> (Option<String>, Option<String>) {
        let world = lock(&self.world);
        let label = |v: &Option<Version>| v.as_ref().map(|v| v.workload.version.to_string());
        world.services.get(service).map_or((None, None), |s| (label(&s.stable), label(&s.canary)))
    }

    /// As if it had crashed and started again with its versions but without its weights, after `gap_ms`.
    pub fn restart_without_weights(&self, gap_ms: i64) {
        let mut world = lock(&self.world);
        world.boot += 1;
        world.seq = 0;
        world.kept.clear();
        world.gap_ms = Some(gap_ms);
        world.operations.clear();
        for service in world.services.values_mut() {
            service.weight = Weight::ZERO;
        }
    }

    /// As if it had crashed and started again knowing nothing.
    pub fn restart_empty(&self, gap_ms: i64) {
        self.restart_without_weights(gap_ms);
        let mut world = lock(&self.world);
        world.services.clear();
        world.epoch = Epoch(0);
    }

    /// As if its dead man's switch had gone off.
    pub fn dead_man(&self, service: &ServiceId) {
        let now = self.clock.now();
        if let Some(service) = lock(&self.world).services.get_mut(service) {
            service.weight = Weight::ZERO;
            service.dead_man_at = Some(now);
        }
    }

    /// As if the canary's process had ended and been started again.
    pub fn canary_ends(&self, service: &ServiceId, how: &str) {
        let at = self.clock.now();
        if let Some(canary) = lock(&self.world).services.get_mut(service).and_then(|s| s.canary.as_mut()) {
            canary.ready = false;
            canary.ends.push(ProcessEnd { at, how: how.to_owned() });
        }
    }

    /// As if another controller had taken over.
    pub fn take_over(&self, epoch: Epoch) {
        lock(&self.world).epoch = epoch;
    }

    /// The lag, then whether the call gets through, and whether its answer is lost.
    async fn before(&self, changes: bool) -> Result<bool, RuntimeError> {
        let lag = lock(&self.world).faults.lag;
        if lag.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(lag).await;
        }
        let faults = &mut lock(&self.world).faults;
        if faults.unreachable {
            return Err(unreachable());
        }
        if changes && faults.flaky > 0 {
            faults.flaky -= 1;
            // Odd ones are lost before, even ones after they were carried out.
            return if faults.flaky.is_multiple_of(2) { Err(unreachable()) } else { Ok(true) };
        }
        Ok(false)
    }
}

fn unreachable() -> RuntimeError {
    RuntimeError::Unreachable("the fake does not listen".to_owned())
}

fn answer<T>(lost: bool, value: T) -> Result<T, RuntimeError> {
    if lost { Err(unreachable()) } else { Ok(value) }
}

impl World {
    fn fence(&mut self, epoch: Epoch) -> Result<(), RuntimeError> {
        if epoch < self.epoch {
            return Err(RuntimeError::StaleEpoch { ours: epoch, theirs: self.epoch });
        }
        self.epoch = epoch;
        Ok(())
    }

    fn service(&mut self, id: &ServiceId) -> Result<&mut Service, RuntimeError> {
        self.services.get_mut(id).ok_or_else(|| RuntimeError::UnknownService(id.clone()))
    }

    fn called(&mut self, at: Timestamp, what: impl Into<String>, operation: &str, fresh: bool) {
        self.calls.push(Call { at, what: what.into(), operation: operation.to_owned(), fresh });
    }

    fn again(&mut self, at: Timestamp, what: &str, operation: &str) -> Option<WeightApplied> {
        let known = self.operations.get(operation)?.clone();
        self.called(at, what, operation, false);
        Some(WeightApplied { fresh: false, ..known })
    }

    /// One second of traffic.
    fn keep(&mut self, tick: (ServiceId, Tick)) {
        self.kept.push_back(tick);
        if self.kept.len() > TICKS_KEPT {
            self.kept.pop_front();
        }
    }

    fn second(&mut self, at: Timestamp) -> Vec<(ServiceId, Tick)> {
        self.seq += 1;
        let (profile, faults, boot, seq, epoch) =
            (self.profile.clone(), self.faults.clone(), self.boot, self.seq, self.epoch);
        self.services
            .iter_mut()
            .map(|(id, service)| {
                if let Some(canary) = &mut service.canary {
                    canary.ready = !faults.never_ready;
                }
                service.sent += profile.rate * u64::from(service.weight.percent());
                let to_canary = if service.canary.is_some() { service.sent / 100 } else { 0 };
                service.sent %= 100;
                if to_canary > 0 {
                    service.last_sent = Some(at);
                }
                let canary = service
                    .canary
                    .is_some()
                    .then(|| version(to_canary, to_canary * profile.canary_errors / 100, profile.canary_us));
                let tick = Tick {
                    seq,
                    boot: format!("fake-{boot}"),
                    at,
                    weight: service.weight,
                    weight_changed: std::mem::take(&mut service.changed),
                    epoch,
                    stable: slowed(
                        version(profile.rate - to_canary, 0, profile.stable_us),
                        profile.stable_slow,
                        profile.stable_us * 10,
                    ),
                    canary,
                    canary_last_sent: service.last_sent,
                    sticky: false,
                    judged: None,
                    counted: Vec::new(),
                };
                (id.clone(), tick)
            })
            .collect()
    }
}

fn version(n: u64, errors: u64, us: u64) -> VersionTick {
    let ms = (n > 0).then_some(us as f64 / 1_000.0);
    VersionTick {
        n,
        errors,
        p50_ms: ms,
        p99_ms: ms,
        mean_ms: ms,
        sigma_ms: ms.map(|ms| ms / 10.0),
        histogram: if n > 0 { vec![HistogramBucket(us, n)] } else { Vec::new() },
        ..VersionTick::default()
    }
}

/// Moves so many of a thousand to a bucket of their own.
fn slowed(mut version: VersionTick, per_mille: u64, us: u64) -> VersionTick {
    let slow = version.n * per_mille / 1_000;
    if let Some(all) = version.histogram.first_mut().filter(|_| slow > 0) {
        all.1 -= slow;
        version.histogram.push(HistogramBucket(us, slow));
    }
    version
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn unsupported(&self, _recipe: &rollout::Recipe) -> Vec<rollout::Refusal> {
        Vec::new()
    }

    async fn ensure(&self, service: &ServiceId, epoch: Epoch, stable: &Workload) -> Result<(), RuntimeError> {
        let lost = self.before(true).await?;
        let mut world = lock(&self.world);
        world.fence(epoch)?;
        let entry = world.services.entry(service.clone()).or_insert_with(|| Service {
            weight: Weight::ZERO,
            previous_weight: Weight::ZERO,
            epoch,
            stable: None,
            canary: None,
            last_sent: None,
            changed: false,
            sent: 0,
            dead_man_at: None,
        });
        if entry.stable.is_none() {
            entry.stable = Some(Version { workload: stable.clone(), ready: true, ends: Vec::new() });
        }
        answer(lost, ())
    }

    async fn observe(&self, service: &ServiceId) -> Result<ObservedService, RuntimeError> {
        self.before(false).await?;
        let at = self.clock.now();
        let mut world = lock(&self.world);
        let (faults, last_gap_ms) = (world.faults.clone(), world.gap_ms);
        let service = world.service(service)?;
        let seen = |v: &Version| ObservedVersion {
            version: v.workload.version.clone(),
            digest: v.workload.digest.clone(),
            ready: v.ready,
            in_flight: 0,
            restarts: v.ends.len() as u64,
            ends: v.ends.clone(),
        };
        Ok(ObservedService {
            at,
            weight: if faults.shows_old_weight { service.previous_weight } else { service.weight },
            epoch: service.epoch,
            stable: service.stable.as_ref().map(seen),
            canary: service.canary.as_ref().map(seen),
            canary_last_sent: service.last_sent,
            dead_man_at: service.dead_man_at,
            last_gap_ms,
        })
    }

    async fn start_canary(
        &self,
        service: &ServiceId,
        epoch: Epoch,
        canary: &Workload,
        _dead_man: rollout::DeadMan,
    ) -> Result<(), RuntimeError> {
        let lost = self.before(true).await?;
        let at = self.clock.now();
        let mut world = lock(&self.world);
        world.fence(epoch)?;
        let entry = world.service(service)?;
        match &entry.canary {
            Some(there) if there.workload != *canary => {
                return Err(RuntimeError::Refused(format!("the canary is {}", there.workload.version)));
            }
            Some(_) => {}
            None => {
                entry.canary = Some(Version { workload: canary.clone(), ready: false, ends: Vec::new() });
                entry.weight = Weight::ZERO;
                entry.last_sent = None;
                entry.dead_man_at = None;
                world.called(at, format!("start {}", canary.version), "", true);
            }
        }
        answer(lost, ())
    }

    async fn set_weight(
        &self,
        service: &ServiceId,
        epoch: Epoch,
        operation: &str,
        weight: Weight,
    ) -> Result<WeightApplied, RuntimeError> {
        let lost = self.before(true).await?;
        let at = self.clock.now();
        let mut world = lock(&self.world);
        world.fence(epoch)?;
        let what = format!("weight {}", weight.percent());
        if let Some(known) = world.again(at, &what, operation) {
            return answer(lost, known);
        }
        let ignores = world.faults.ignores_weights;
        let entry = world.service(service)?;
        if weight > Weight::ZERO && !entry.canary.as_ref().is_some_and(|c| c.ready) {
            return Err(RuntimeError::Refused("the canary is not ready".to_owned()));
        }
        let applied = WeightApplied { at, previous: entry.weight, fresh: true };
        if !ignores {
            entry.previous_weight = entry.weight;
            entry.changed = entry.changed || entry.weight != weight;
            entry.weight = weight;
            entry.epoch = epoch;
        }
        world.operations.insert(operation.to_owned(), applied.clone());
        world.called(at, what, operation, true);
        answer(lost, applied)
    }

    async fn promote(&self, service: &ServiceId, epoch: Epoch, operation: &str) -> Result<WeightApplied, RuntimeError> {
        let lost = self.before(true).await?;
        let at = self.clock.now();
        let mut world = lock(&self.world);
        world.fence(epoch)?;
        if let Some(known) = world.again(at, "promote", operation) {
            return answer(lost, known);
        }
        let entry = world.service(service)?;
        let Some(canary) = entry.canary.take() else {
            return Err(RuntimeError::Refused("there is no canary".to_owned()));
        };
        entry.canary = entry.stable.replace(canary);
        let applied = WeightApplied { at, previous: entry.weight, fresh: true };
        entry.previous_weight = entry.weight;
        entry.weight = Weight::ZERO;
        entry.epoch = epoch;
        entry.changed = true;
        entry.last_sent = None;
        world.operations.insert(operation.to_owned(), applied.clone());
        world.called(at, "promote", operation, true);
        answer(lost, applied)
    }

    async fn stop(&self, service: &ServiceId, epoch: Epoch, track: Track, _drain_ms: u64) -> Result<(), RuntimeError> {
        let lost = self.before(true).await?;
        let takes = {
            let mut world = lock(&self.world);
            world.fence(epoch)?;
            let takes = world.faults.stop_takes;
            let entry = world.service(service)?;
            if track == Track::Canary {
                entry.weight = Weight::ZERO;
            }
            takes
        };
        tokio::time::sleep(takes).await;
        let at = self.clock.now();
        let mut world = lock(&self.world);
        let entry = world.service(service)?;
        let slot = match track {
            Track::Stable => &mut entry.stable,
            Track::Canary => &mut entry.canary,
        };
        if let Some(gone) = slot.take() {
            world.called(at, format!("stop {}", gone.workload.version), "", true);
        }
        answer(lost, ())
    }

    async fn missed_ticks(&self, service: &ServiceId, after: Timestamp) -> Result<Vec<Tick>, RuntimeError> {
        self.before(false).await?;
        let world = lock(&self.world);
        let kept = world.kept.iter().filter(|(of, tick)| of == service && tick.at > after);
        Ok(kept.map(|(_, tick)| tick.clone()).collect())
    }

    fn ticks(&self) -> broadcast::Receiver<(ServiceId, Tick)> {
        self.ticks.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use model::Digest;

    use super::*;
    use crate::{WorkloadSource, conformance::RuntimeSubject};

    fn workload(version: &str, byte: u8) -> Workload {
        Workload {
            version: version.parse().unwrap(),
            digest: Digest::from_sha256(&[byte; 32]),
            source: WorkloadSource::Process {
                command: vec!["x".to_owned()],
                env: BTreeMap::new(),
                health_path: "/".to_owned(),
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_fake_keeps_the_contract() {
        crate::conformance::runtime(|| async {
            RuntimeSubject {
                runtime: Arc::new(FakeRuntime::new(TokioClock::new(Timestamp::from_millis(1_790_000_000_000)))),
                service: "checkout".parse().unwrap(),
                stable: workload("v1", 1),
                canary: workload("v2", 2),
                keep: Box::new(()),
            }
        })
        .await;
    }
}
