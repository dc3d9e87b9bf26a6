//! Cumulative counters of the versions of a service, which another source than the data plane keeps (Prometheus).

use std::{collections::BTreeMap, time::Duration};

use judge::sequential::Scrape;
use model::{Timestamp, Version};
use serde::{Deserialize, Serialize};

/// What is replaced by a version's label in queries.
const VERSION: &str = "{version}";

/// The queries of one version, or of any with `{version}` for its label: cumulative counters, summed over its processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterQueries {
    /// Latency buckets by `le`: `sum by (le) (http_request_duration_seconds_bucket{version="{version}"})`.
    pub buckets: String,
    /// Failed requests: `sum(http_requests_total{version="{version}",code=~"5.."})`.
    pub errors: String,
}

impl CounterQueries {
    /// True when both name the version that they are about.
    pub fn name_the_version(&self) -> bool {
        self.buckets.contains(VERSION) && self.errors.contains(VERSION)
    }

    /// The queries of this version. A label has no character that PromQL would take for something else.
    pub fn of(&self, version: &Version) -> Self {
        let fill = |query: &str| query.replace(VERSION, version.as_str());
        Self { buckets: fill(&self.buckets), errors: fill(&self.errors) }
    }
}

/// Where the judge of a service gets its counts, when it is not the data plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterSource {
    /// Name or address of the metric source.
    pub address: String,
    /// The queries, with `{version}`.
    pub queries: CounterQueries,
    /// Seconds between two scrapes, at least 1: between them a counter stands still.
    pub every_s: u32,
}

/// What is asked: a version's counters from `start` to `end`, one every `step`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterAsk {
    /// Name or address of the metric source.
    pub address: String,
    /// The version's queries.
    pub queries: CounterQueries,
    /// First moment.
    pub start: Timestamp,
    /// No moment is later.
    pub end: Timestamp,
    /// Time between two moments, which should be the scrape interval.
    pub step: Duration,
}

/// Counters of one version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bucket edges without infinity, µs, ascending.
    pub edges_us: Vec<u64>,
    /// At each moment at which there were any.
    pub scrapes: BTreeMap<Timestamp, Scrape>,
    /// Address asked, without credentials.
    pub source: String,
}
