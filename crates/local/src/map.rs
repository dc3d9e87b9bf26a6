//! Between the controller's words and the splitter's.

use controller::{ObservedService, ObservedVersion, RuntimeError, WeightApplied, Workload, WorkloadSource};
use model::{Epoch, ServiceId, Timestamp, Track, VersionTick, Weight};
use splitter::control::{
    self, ClientError, Refusal, Response, ServiceStatus, ServiceTick, Stamp, Status, VersionState, VersionStatus,
    WeightSet,
};
use splitter::{Health, Protocol, Source, VersionSpec};

/// From the first signal to the second when a process is ended, ms.
const GRACE_MS: u64 = 5_000;

/// All that a plan looks at is told.
const _: () = assert!(control::KEPT_ENDS >= rollout::MAX_ENDS);

/// A version as the splitter is told of it.
pub(crate) fn version(workload: &Workload) -> Result<VersionSpec, RuntimeError> {
    let (source, path) = match &workload.source {
        WorkloadSource::Process { command, env, health_path } => {
            let source = Source::Process {
                command: command.clone(),
                env: env.clone(),
                directory: None,
                port: None,
                grace_ms: GRACE_MS,
            };
            (source, Some(health_path.clone()))
        }
        WorkloadSource::Url { url, health_path } => {
            (Source::Url(url.trim_end_matches('/').to_owned()), health_path.clone())
        }
    };
    let spec = VersionSpec {
        version: format!("{}@{}", workload.version, workload.digest),
        release: workload.version.to_string(),
        digest: workload.digest.to_string(),
        source,
        health: Health { path, ..Health::default() },
        protocol: Protocol::Http1,
    };
    spec.validate().map_err(refusal)?;
    Ok(spec)
}

pub(crate) fn at(stamp: Stamp) -> Timestamp {
    Timestamp::from_millis(stamp.wall_us.div_euclid(1_000))
}

fn weight(percent: u8) -> Result<Weight, RuntimeError> {
    Weight::new(percent).map_err(|error| unreadable(&error))
}

fn unreadable(error: &dyn std::fmt::Display) -> RuntimeError {
    RuntimeError::Unreachable(format!("its answer cannot be read: {error}"))
}

pub(crate) fn applied(set: &WeightSet) -> Result<WeightApplied, RuntimeError> {
    Ok(WeightApplied { at: at(set.applied_at), previous: weight(set.previous)?, fresh: set.fresh })
}

pub(crate) fn observed(status: &Status, service: &ServiceStatus) -> Result<ObservedService, RuntimeError> {
    let seen = |slot: &Option<VersionStatus>| slot.as_ref().map(observed_version).transpose();
    Ok(ObservedService {
        at: at(status.at),
        weight: weight(service.weight)?,
        epoch: Epoch(service.epoch),
        stable: seen(&service.stable)?,
        canary: seen(&service.canary)?,
        canary_last_sent: service.canary_last_sent.map(at),
        dead_man_at: service.dead_man.map(|dead_man| at(dead_man.at)),
        last_gap_ms: status.hello.gap.map(|gap| gap.millis()),
    })
}

fn observed_version(version: &VersionStatus) -> Result<ObservedVersion, RuntimeError> {
    Ok(ObservedVersion {
        version: version.release.parse().map_err(|error| unreadable(&error))?,
        digest: version.digest.parse().map_err(|error| unreadable(&error))?,
        ready: version.state == VersionState::Ready,
        in_flight: version.in_flight,
        restarts: version.restarts,
        ends: version.ends.iter().map(|end| rollout::ProcessEnd { at: at(end.at), how: end.how.clone() }).collect(),
    })
}

/// A second of a service, and the service. `None` when its id is none of ours.
pub(crate) fn tick(tick: &control::Tick, service: &ServiceTick) -> Option<(ServiceId, model::Tick)> {
    let of = |track| service.versions.iter().find(|version| version.track == Some(track)).map(version_tick);
    let tick = model::Tick {
        seq: tick.seq,
        boot: tick.boot.clone(),
        at: at(tick.at),
        weight: Weight::new(service.weight).ok()?,
        weight_changed: service.weight_changed,
        epoch: Epoch(tick.epoch),
        stable: of(Track::Stable).unwrap_or_default(),
        canary: of(Track::Canary),
        canary_last_sent: service.canary_last_sent.map(at),
        sticky: service.sticky,
        judged: None,
        counted: Vec::new(),
    };
    Some((service.service.parse().ok()?, tick))
}

fn version_tick(version: &control::VersionTick) -> VersionTick {
    VersionTick {
        n: version.n,
        errors: version.errors,
        timeouts: version.timeouts,
        in_flight: version.in_flight,
        p50_ms: version.p50_ms,
        p99_ms: version.p99_ms,
        mean_ms: version.mean_ms,
        sigma_ms: version.sigma_ms,
        histogram: version.histogram.clone(),
    }
}

/// Why a call failed, in the port's words.
pub(crate) fn error(error: ClientError) -> RuntimeError {
    match error {
        ClientError::Refused(refused) => refusal(refused),
        ClientError::Connect(source) => {
            RuntimeError::Unreachable(format!("its control socket cannot be opened: {source}"))
        }
        error => RuntimeError::Unreachable(error.to_string()),
    }
}

/// A refusal, in the port's words.
pub(crate) fn refusal(refusal: Refusal) -> RuntimeError {
    match refusal {
        Refusal::StaleEpoch { sent, in_force } => {
            RuntimeError::StaleEpoch { ours: Epoch(sent), theirs: Epoch(in_force) }
        }
        Refusal::UnknownService { service } => match service.parse() {
            Ok(service) => RuntimeError::UnknownService(service),
            Err(_) => RuntimeError::Refused(format!("there is no service {service:?}")),
        },
        // It ends, and another may come: not an answer about what was asked.
        Refusal::ShuttingDown => RuntimeError::Unreachable(refusal.to_string()),
        refusal => RuntimeError::Refused(refusal.to_string()),
    }
}

/// A change that is in force and not written down is worth a line; the status says it too as long as it is so.
pub(crate) fn warn_not_saved(response: &Response) {
    let not_saved = match response {
        Response::Done(done) => &done.not_saved,
        Response::Weight(set) => &set.not_saved,
        _ => return,
    };
    if let Some(error) = not_saved {
        tracing::error!(%error, "the splitter could not save a change that is in force");
    }
}
