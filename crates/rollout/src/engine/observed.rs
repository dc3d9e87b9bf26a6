//! What the runtime shows.

use model::{Digest, Epoch, Timestamp, Verdict, Version, Weight};
use serde::{Deserialize, Serialize};

/// What is there, as last seen. Slots are the data plane's: after promotion its stable slot holds the new version.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// When it was seen, by the data plane's clock. An observation older than the last weight applied is ignored where it contradicts it.
    pub at: Timestamp,
    /// False when the data plane does not answer: the rest is what was last known.
    pub reachable: bool,
    /// Share of traffic of the canary slot that is in force.
    pub weight: Weight,
    /// Epoch under which it was set.
    pub epoch: Epoch,
    /// What the stable slot holds.
    pub stable: Option<ObservedVersion>,
    /// What the canary slot holds.
    pub canary: Option<ObservedVersion>,
    /// Set when the data plane put the weight to 0 by itself because its controller was gone too long.
    pub dead_man_at: Option<Timestamp>,
    /// The built-in judge's latest word; `None` before the first tick, or when no built-in rule is in force.
    pub builtin: Option<Builtin>,
    /// Measurements under way, as (run, metric): the plan does not ask for them again.
    pub measuring: Vec<(String, String)>,
}

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedVersion {
    /// Label.
    pub version: Version,
    /// Identity.
    pub digest: Digest,
    /// True when it answers its health check.
    pub ready: bool,
    /// Requests under way.
    pub in_flight: u64,
    /// The latest ends of its process that nobody asked for, oldest first.
    pub ends: Vec<ProcessEnd>,
}

/// A process that ended although nobody asked for it, or could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEnd {
    /// When, by the data plane's clock.
    pub at: Timestamp,
    /// How, to go on "it ended": `with exit status 124`, `by signal 9 (SIGKILL)`.
    pub how: String,
}

/// The built-in judge's word on the canary since the last weight came into force.
#[derive(Debug, Clone, PartialEq)]
pub struct Builtin {
    /// [`crate::Status::applied_at`] of the weight that is judged: a word on an earlier weight clears nothing.
    pub since: Timestamp,
    /// End of the last tick judged; the moment of the breach when it is `Failed`.
    pub at: Timestamp,
    /// Failed, Successful, Inconclusive (not enough yet).
    pub verdict: Verdict,
    /// One sentence that names metric, value and limit.
    pub message: String,
    /// True when the canary is certified for this weight: not only is nothing found against it, "worse than the margin" is refuted.
    pub certified: bool,
}
