//! What the data plane counted in one second.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Timestamp, Weight};

/// Which of the two versions of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Track {
    /// The version that was there before.
    Stable,
    /// The version that is being released.
    Canary,
}

impl Track {
    /// The word shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
        }
    }
}

/// One bucket of a latency histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramBucket(
    /// Upper edge, µs, inclusive.
    pub u64,
    /// Requests that took no longer than the edge and longer than the edge before.
    pub u64,
);

/// One second of one version. Counts are of requests that *ended* in that second.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VersionTick {
    /// Requests ended.
    pub n: u64,
    /// Of these, failed: status 5xx, upstream failure or time-out.
    pub errors: u64,
    /// Of the failures, time-outs.
    #[serde(default)]
    pub timeouts: u64,
    /// Requests still under way at the end of the second.
    #[serde(default)]
    pub in_flight: u64,
    /// Median latency, ms; `None` without requests.
    pub p50_ms: Option<f64>,
    /// 99th percentile, ms; `None` without requests.
    pub p99_ms: Option<f64>,
    /// Mean latency, ms.
    pub mean_ms: Option<f64>,
    /// Standard deviation of latency, ms.
    pub sigma_ms: Option<f64>,
    /// Latency histogram of the second, sparse, ascending edges.
    #[serde(default)]
    pub histogram: Vec<HistogramBucket>,
}

/// What the sequential judge said after a second: natural logarithms of evidence, and what could still be true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Evidence of all measures together.
    pub joint: f64,
    /// Failures against the limit.
    pub abs: f64,
    /// Failures against stable's.
    pub rel: f64,
    /// p99 against stable's.
    pub p99: f64,
    /// Interval of the ratio of the canary's p99 to stable's; an end that nothing bounds is absent.
    pub ratio: [Option<f64>; 2],
    /// Interval of the canary's share of failures minus stable's.
    pub difference: [f64; 2],
    /// The smallest evidence for "not worse" in this step, where it can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<f64>,
    /// Requests of the canary so far.
    pub exposed: u64,
    /// `regressed`, `certified`, `unrefuted` or `inconclusive`.
    pub verdict: String,
}

/// One second of both versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tick {
    /// Consecutive number since the data plane started; a gap means lost ticks.
    pub seq: u64,
    /// Changes when the data plane restarts, and `seq` starts again.
    pub boot: String,
    /// End of the second.
    pub at: Timestamp,
    /// Weight in force at the end of the second.
    pub weight: Weight,
    /// True when the weight changed within the second: rates of the two versions do not compare.
    #[serde(default)]
    pub weight_changed: bool,
    /// Epoch under which the weight was set.
    pub epoch: Epoch,
    /// The stable version.
    pub stable: VersionTick,
    /// The canary, when there is one.
    pub canary: Option<VersionTick>,
    /// When a request was last sent on to the canary.
    #[serde(default)]
    pub canary_last_sent: Option<Timestamp>,
    /// True when sessions stick to a version: then requests are not split one by one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sticky: bool,
    /// What the judge said after it; filled in by the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<Box<Judged>>,
    /// What another source (Prometheus) counted, where the judge is fed from that: the moments that were seen since the second before, each as a
    /// second that covers the time from the moment before it. Filled in by the controller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counted: Vec<Tick>,
}
