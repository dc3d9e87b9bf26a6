//! Every number that bounds the controller, with its reason.

use std::time::Duration;

/// Ordinary requests waiting per service: people and a CI job, not a flood.
pub(crate) const QUEUE: usize = 64;

/// Aborts waiting per service: more than one at a time is impatience.
pub(crate) const URGENT_QUEUE: usize = 16;

/// Results of measurements and other side jobs waiting per service: one of each metric of the largest recipe.
pub(crate) const JOBS: usize = 128;

/// Most measurements under way per service.
pub(crate) const MEASURING: usize = 64;

/// Most sources cited with one verdict: a recipe asks one or two.
pub(crate) const PEERS: usize = 8;

/// Ticks waiting for the sample store, which sees to it that several are written in a go: five minutes.
pub(crate) const TICKS_WAITING: usize = 300;

/// Live ticks kept for slow readers: a minute of a few services.
pub(crate) const LIVE: usize = 256;

/// Rounds of planning without an event between them. A recipe step takes two or three; more means that something does not settle,
/// and the next tick goes on.
pub(crate) const ROUNDS: usize = 64;

/// Time for the data plane to answer a call: it is on the same machine and answers in under a millisecond.
pub(crate) const CALL: Duration = Duration::from_secs(2);

/// Time for the log to take the intent of an abort of a service that is left alone: it takes milliseconds, and the traffic must not wait for long.
pub(crate) const APPEND: Duration = Duration::from_secs(2);

/// Time until a call that failed is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(200);

/// Time until a call that was refused is tried again.
pub(crate) const RETRY_REFUSED: Duration = Duration::from_secs(1);

/// Time between looks at the data plane while something is awaited of it.
pub(crate) const LOOK_SOON: Duration = Duration::from_millis(200);

/// Time between looks at the data plane otherwise.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// Time between looks while no release is under way: notices a data plane that lost the service.
pub(crate) const LOOK_IDLE: Duration = Duration::from_secs(2);

/// Time beyond the drain limit until a version must be gone.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(30);

/// Time for a measurement; a recipe may only shorten it. Argo Rollouts' default for Prometheus.
pub(crate) const MEASURE: Duration = Duration::from_secs(30);

/// Time after which a source that ignores its limit is given up.
pub(crate) const MEASURE_GRACE: Duration = Duration::from_secs(1);

/// Time for a version's counters: they come every few seconds, and what was missed is asked for again.
pub(crate) const COUNT: Duration = Duration::from_secs(10);

/// A scrape is there so long after its moment, ms.
pub(crate) const COUNT_LAG: i64 = 300;

/// Most moments asked for at once: with the most edges there can be, as many values as Prometheus gives in one answer.
pub(crate) const MOMENTS_AT_ONCE: i64 = 20;

/// Most seconds made of counters that wait for a second of the data plane: an hour of one a second. Older ones are judged, and not kept.
pub(crate) const MADE: usize = 3_600;

/// Time for a down-migration: the product promises the whole way back within 14 minutes.
pub(crate) const MIGRATION: Duration = Duration::from_secs(600);

/// Time for a version that is brought back to answer its health check, until it is said that it does not.
pub(crate) const RESTORE_PATIENCE: Duration = Duration::from_secs(30);

/// Shortest sleep, so that a clock that stands still cannot make the loop spin.
pub(crate) const NAP: Duration = Duration::from_millis(5);

/// A log that is busy is tried so often, with this time between.
pub(crate) const BUSY_TRIES: u32 = 40;
pub(crate) const BUSY_WAIT: Duration = Duration::from_millis(50);

/// Ticks read back after a restart to count the requests served: three hours.
pub(crate) const TICKS_BACK: u32 = 10_800;

/// Releases looked at for `rollbackWindow`.
pub(crate) const RELEASES_BACK: u64 = 20;

/// Largest recipe text: the largest of Argo's examples has 8 kB.
pub(crate) const RECIPE: usize = 256 * 1024;

/// Largest speed: one hour in less than four seconds.
pub(crate) const SPEED: f64 = 1_000.0;

/// Seconds read back at once when evidence is rebuilt: their histograms are a few kB each.
pub(crate) const REBUILD_PAGE: u32 = 1_000;

/// Until so long after a weight came into force the sequential judge may still be waiting for its first votes, ms: ten requests of the canary
/// at one a second.
pub(crate) const PATIENCE_MS: i64 = 10_000;
