//! What is said over the control socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::{HistogramBucket, Track};
use serde::{Deserialize, Serialize};

use crate::spec::{ServiceSpec, VersionSpec};

/// One instant on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Stamp {
    /// µs since 1970 by the wall clock.
    pub wall_us: i64,
    /// µs by the machine's monotonic clock (`CLOCK_MONOTONIC`): comparable between processes of one machine and boot.
    pub mono_us: u64,
}

/// A request line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Chosen by the client, echoed in the answer.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// A line from the splitter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(clippy::large_enum_variant)] // lives for one line
pub enum Line {
    /// The answer to one call.
    Answer {
        /// The call's id.
        id: u64,
        /// The answer.
        response: Response,
    },
    /// Something that a subscriber is told.
    Notice {
        /// What.
        notice: Notice,
    },
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[allow(clippy::large_enum_variant)] // lives for one line
pub enum Request {
    /// Who are you? Changes nothing.
    Hello,
    /// A controller is there: resets the dead-man clock of every service. Refused when stale.
    KeepAlive {
        /// The controller's epoch.
        epoch: u64,
    },
    /// Makes the service be as described. Idempotent: what is there already is left alone; a version that is there under
    /// the same id with another definition is refused. A slot that the spec leaves out keeps what it holds.
    Apply {
        /// The controller's epoch.
        epoch: u64,
        /// The service.
        spec: ServiceSpec,
    },
    /// Takes a service out: listeners closed, versions drained and stopped.
    Remove {
        /// The controller's epoch.
        epoch: u64,
        /// The service.
        service: String,
        /// Requests in flight are cut after this many ms.
        drain_ms: u64,
    },
    /// Sets the canary's weight, in force for the next request on every worker when answered.
    SetWeight {
        /// The controller's epoch.
        epoch: u64,
        /// The same id again is answered with the first answer and not applied again.
        operation_id: String,
        /// The service.
        service: String,
        /// Percent of the non-sticky requests, 0..=100.
        weight: u8,
    },
    /// Puts a version in an empty slot and starts it. Idempotent by the version's id.
    StartVersion {
        /// The controller's epoch.
        epoch: u64,
        /// The service.
        service: String,
        /// The slot.
        track: Track,
        /// The version.
        version: VersionSpec,
        /// For a canary: takes the place of the service's [`ServiceSpec::dead_man_seconds`] until its slot is filled anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dead_man_seconds: Option<u32>,
    },
    /// Takes a version out: no request is sent to it any more when answered; requests in flight end or are cut at the
    /// drain limit, then its process is ended. Its end shows in [`ServiceStatus::stopped`]. Stopping the canary puts the
    /// weight to 0.
    StopVersion {
        /// The controller's epoch.
        epoch: u64,
        /// The service.
        service: String,
        /// The version's id.
        version: String,
        /// Requests in flight are cut after this many ms.
        drain_ms: u64,
    },
    /// The canary becomes stable and the former stable becomes canary at weight 0, in one swap.
    Promote {
        /// The controller's epoch.
        epoch: u64,
        /// As in `SetWeight`.
        operation_id: String,
        /// The service.
        service: String,
    },
    /// What is there. Changes nothing.
    Status {
        /// One service, or all.
        service: Option<String>,
    },
    /// Ticks from now on, and those still kept after `since`, over this connection.
    Subscribe {
        /// Last tick seen; ticks after it follow first, as far as kept. Ignored when `boot` is another.
        since: Option<u64>,
        /// The boot id that `since` belongs to.
        boot: Option<String>,
    },
    /// Ends the splitter: stops accepting, lets requests end until the limit, exits.
    Shutdown {
        /// The controller's epoch.
        epoch: u64,
        /// Requests in flight are cut after this many ms.
        drain_ms: u64,
        /// Also end the processes of the versions. Otherwise they run on and the next splitter finds them again.
        stop_versions: bool,
    },
    /// A successor asks for the listening sockets; see `handover`. Sent by `run` itself.
    HandOver,
}

/// What the splitter answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Response {
    /// To `Hello`.
    Hello(Hello),
    /// Done.
    Done(Done),
    /// A weight is in force.
    Weight(WeightSet),
    /// To `Status`.
    Status(Status),
    /// To `Subscribe`: notices follow.
    Subscribed {
        /// Id of this run of the splitter.
        boot: String,
        /// First tick that will be sent; later than `since + 1` when ticks are lost.
        first: u64,
    },
    /// To `HandOver`: one byte with the sockets as `SCM_RIGHTS` follows, in this order.
    Sockets {
        /// Addresses in order.
        addresses: Vec<SocketAddr>,
    },
    /// Not done.
    Refused(Refusal),
}

/// Who the splitter is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the program.
    pub version: String,
    /// Version of this protocol, [`PROTOCOL`].
    pub protocol: u32,
    /// Random id of this run; changes when the splitter restarts.
    pub boot: String,
    /// Process id.
    pub pid: u32,
    /// Epoch in force.
    pub epoch: u64,
    /// When this run began.
    pub started: Stamp,
    /// Addresses it listens on, by service.
    pub listening: BTreeMap<String, Vec<SocketAddr>>,
    /// Address of the Prometheus endpoint.
    pub metrics: Option<SocketAddr>,
    /// How long nothing was served before this run, when an earlier run ended without being asked to.
    pub gap: Option<Gap>,
    /// Threads that proxy.
    pub workers: usize,
}

/// Version of this protocol.
pub const PROTOCOL: u32 = 1;

/// A hole in the service, found at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Last sign of life of the run before, µs since 1970 (written every second, so up to 1 s early).
    pub from_wall_us: i64,
    /// When this run listened again, µs since 1970.
    pub to_wall_us: i64,
}

impl Gap {
    /// Length in ms.
    pub fn millis(&self) -> i64 {
        (self.to_wall_us - self.from_wall_us) / 1000
    }
}

/// Something was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// When.
    pub at: Stamp,
    /// False when it had been done before.
    pub fresh: bool,
    /// Set when it is in force but could not be written to the state file: a splitter that crashes now forgets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_saved: Option<String>,
}

/// A weight is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightSet {
    /// Every request that is routed after this instant is routed by this weight.
    pub applied_at: Stamp,
    /// Weight before.
    pub previous: u8,
    /// Weight now (by this operation).
    pub weight: u8,
    /// False when this operation had been applied before and this is the first answer again.
    pub fresh: bool,
    /// As in [`Done::not_saved`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_saved: Option<String>,
}

/// Why something was not done. `code` names it for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    /// Somebody with a larger epoch is in charge.
    #[error("stale_epoch: epoch {sent} is stale, {in_force} is in force")]
    StaleEpoch {
        /// What was sent.
        sent: u64,
        /// What is in force.
        in_force: u64,
    },
    /// No such service.
    #[error("unknown_service: there is no service {service:?}")]
    UnknownService {
        /// Its id.
        service: String,
    },
    /// No such version of the service.
    #[error("unknown_version: service {service:?} has no version {version:?}")]
    UnknownVersion {
        /// The service's id.
        service: String,
        /// The version's id.
        version: String,
    },
    /// The slot holds another version.
    #[error("slot_taken: {} of service {service:?} is {holds:?}", track.as_str())]
    SlotTaken {
        /// The service's id.
        service: String,
        /// The slot.
        track: Track,
        /// Id of the version in it.
        holds: String,
    },
    /// The id is in use with another definition or in another slot: ids are never reused for something else.
    #[error(
        "version_conflict: version {version:?} of service {service:?} is there with another definition or in the other slot"
    )]
    VersionConflict {
        /// The service's id.
        service: String,
        /// The version's id.
        version: String,
    },
    /// The operation id was used for something else before.
    #[error("operation_conflict: operation {operation_id:?} was another one before")]
    OperationConflict {
        /// The id.
        operation_id: String,
    },
    /// There is no canary to send requests to, or to promote.
    #[error("no_canary: service {service:?} has no canary")]
    NoCanary {
        /// The service's id.
        service: String,
    },
    /// The canary has not answered its health check yet.
    #[error("not_ready: version {version:?} of service {service:?} has not been ready yet")]
    NotReady {
        /// The service's id.
        service: String,
        /// The version's id.
        version: String,
    },
    /// Part of the request is not valid.
    #[error("invalid: {field}: {reason}")]
    Invalid {
        /// Which part.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("listen_failed: cannot listen on {address}: {reason}")]
    ListenFailed {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: String,
    },
    /// A limit is reached.
    #[error("limit: at most {limit} {what}")]
    Limit {
        /// Of what.
        what: String,
        /// How many.
        limit: usize,
    },
    /// The line cannot be read.
    #[error("bad_request: {reason}")]
    BadRequest {
        /// What is wrong with it.
        reason: String,
    },
    /// The splitter is ending.
    #[error("shutting_down: the splitter is ending")]
    ShuttingDown,
}

/// What a subscriber is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// One second.
    Tick(Tick),
    /// Ticks from the first up to before the second number were dropped: the subscriber was slower than the ring is long.
    Lost(u64, u64),
    /// The splitter is ending; no further notices.
    Ending,
}

/// One second of all services. Counts are of requests that *ended* within it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Consecutive, from 1 at each start.
    pub seq: u64,
    /// Id of this run of the splitter.
    pub boot: String,
    /// End of the second.
    pub at: Stamp,
    /// What the second really lasted, µs.
    pub interval_us: u64,
    /// Epoch in force.
    pub epoch: u64,
    /// The services.
    pub services: Vec<ServiceTick>,
}

/// One second of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceTick {
    /// The service's id.
    pub service: String,
    /// Weight at the end of the second.
    pub weight: u8,
    /// True when weight or slots changed within the second.
    pub weight_changed: bool,
    /// When a request was last sent on to the version that is the canary now, ever.
    pub canary_last_sent: Option<Stamp>,
    /// True when requests with a session stick to a version.
    #[serde(default)]
    pub sticky: bool,
    /// Client connections open.
    pub connections: u64,
    /// Answered by the splitter itself without a version: refused requests (4xx) and empty slots (503).
    pub answered_here: u64,
    /// The versions, also those that drain.
    pub versions: Vec<VersionTick>,
}

/// One second of a version.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VersionTick {
    /// The version's id.
    pub version: String,
    /// Its release label.
    pub release: String,
    /// Its digest.
    pub digest: String,
    /// Its slot; `None` while it drains.
    pub track: Option<Track>,
    /// Requests sent on.
    pub started: u64,
    /// Requests ended with an outcome: `classes` and `failures` without those that the client gave up.
    pub n: u64,
    /// Of `n`, failed: the version's own 5xx, upstream failures and time-outs. Each counted once.
    pub errors: u64,
    /// Of `n`, by status class 1xx..5xx as sent to the client (upstream failures count under the 502, 503 or 504 sent).
    pub classes: [u64; 5],
    /// Of `errors`, not the version's own 5xx: connection refused, reset, broken off in the middle of an answer.
    pub upstream_failures: u64,
    /// Of `errors`, connect, answer and idle time-outs.
    pub timeouts: u64,
    /// Ended by the client before the answer was whole; not in `n`.
    pub client_aborts: u64,
    /// Cut at the drain limit; not in `n`.
    pub cut: u64,
    /// Under way at the end of the second.
    pub in_flight: u64,
    /// Bytes of request bodies sent on.
    pub bytes_in: u64,
    /// Bytes of answers' bodies.
    pub bytes_out: u64,
    /// Latencies above the histogram's range (60 s), counted as 60 s.
    pub saturated: u64,
    /// Times its process was started again, ever.
    pub restarts: u64,
    /// Median, ms. Latency is from the request's head to the last byte of the answer; for event streams and upgraded
    /// connections to the answer's head. `None` without requests.
    pub p50_ms: Option<f64>,
    /// 90th percentile, ms.
    pub p90_ms: Option<f64>,
    /// 99th percentile, ms.
    pub p99_ms: Option<f64>,
    /// 99.9th percentile, ms.
    pub p999_ms: Option<f64>,
    /// Mean, ms.
    pub mean_ms: Option<f64>,
    /// Standard deviation, ms.
    pub sigma_ms: Option<f64>,
    /// All latencies of the second, 3 digits, ascending: (upper edge in µs, inclusive; count).
    pub histogram: Vec<HistogramBucket>,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Who answers.
    pub hello: Hello,
    /// When this was so.
    pub at: Stamp,
    /// Why the state file could not be written, as long as that is so.
    pub state_error: Option<String>,
    /// Last tick's number.
    pub last_tick: u64,
    /// The services.
    pub services: Vec<ServiceStatus>,
}

/// What is there of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its id.
    pub service: String,
    /// Addresses it listens on.
    pub listening: Vec<SocketAddr>,
    /// Weight in force.
    pub weight: u8,
    /// Epoch under which the weight was set.
    pub epoch: u64,
    /// When a request was last sent on to the version that is the canary now.
    pub canary_last_sent: Option<Stamp>,
    /// Client connections open.
    pub connections: u64,
    /// The stable version.
    pub stable: Option<VersionStatus>,
    /// The canary.
    pub canary: Option<VersionStatus>,
    /// Versions taken out that are not gone yet.
    pub draining: Vec<VersionStatus>,
    /// Versions that are gone, latest last, at most [`KEPT_STOPPED`].
    pub stopped: Vec<StoppedVersion>,
    /// Set when the splitter put the weight to 0 by itself because no controller was heard.
    pub dead_man: Option<DeadMan>,
}

/// How many stopped versions a status remembers: enough for a controller that was away.
pub const KEPT_STOPPED: usize = 16;

/// What is there of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatus {
    /// Its id.
    pub version: String,
    /// Its release label.
    pub release: String,
    /// Its digest.
    pub digest: String,
    /// Where requests go: `127.0.0.1:4711` or the address given.
    pub target: String,
    /// How it is.
    pub state: VersionState,
    /// True once it has answered its health check, even if it does not now.
    pub was_ready: bool,
    /// Process id, if it is a process that runs.
    pub pid: Option<u32>,
    /// Times its process was started again.
    pub restarts: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// What the last failed health check or exit said.
    pub message: Option<String>,
    /// How its process ended without having been told to, latest last, at most [`KEPT_ENDS`]. Counts from when the version was started.
    #[serde(default)]
    pub ends: Vec<ProcessEnd>,
}

/// How many ends of a version's process are remembered: with the pauses between them, over five minutes of a controller that was away.
pub const KEPT_ENDS: usize = 32;

/// A process that ended without having been told to, or could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// When.
    pub at: Stamp,
    /// How, to go on "it ended": `with exit status 124`, `by signal 9 (SIGKILL)`. At most [`LONGEST_END`] characters.
    pub how: String,
}

/// Longest text of how a process ended: an error of the system, with a path.
pub const LONGEST_END: usize = 200;

/// How a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// Not ready yet.
    Starting,
    /// Answers its health check.
    Ready,
    /// Was ready and fails its health check now. Requests still go to it: its failures are its own.
    Unhealthy,
    /// Its process ended; waits to be started again.
    Restarting,
    /// Taken out; requests in flight end.
    Draining,
    /// Its process has been told to end.
    Stopping,
}

/// How a version went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedVersion {
    /// Its id.
    pub version: String,
    /// When the first request was no longer sent to it.
    pub taken_out: Stamp,
    /// When its last request had ended or been cut.
    pub drained: Stamp,
    /// When its process was gone.
    pub gone: Stamp,
    /// Requests in flight that ended by themselves.
    pub finished: u64,
    /// Requests in flight that were cut at the drain limit.
    pub cut: u64,
    /// True when it had to be killed.
    pub killed: bool,
}

/// The dead man's switch went off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadMan {
    /// When.
    pub at: Stamp,
    /// Weight before.
    pub previous: u8,
    /// How long no controller had been heard, ms.
    pub silent_ms: u64,
}
