//! The port by which pages read, and the values that cross it.

use async_trait::async_trait;
use model::{
    Actor, CommandKind, Digest, Environment, Kind, ReleaseId, ServiceId, Tick, Timestamp, Verdict, Version, Weight,
    event::{CanaryCompleted, Outcome, PlannedWeight, RollbackArmed},
};
use receipts::Payload;
use serde::{Deserialize, Serialize};

/// Where a release stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Phase {
    /// Steps are being taken.
    Progressing,
    /// Held.
    Paused {
        /// Why, in words.
        reason: String,
        /// When it ends by itself; `None` waits for a person.
        until: Option<Timestamp>,
    },
    /// Stopped: its traffic is being taken away (the weight says whether it is gone), then it is drained.
    Aborting,
    /// Ended.
    Ended(Outcome),
}

/// A pause of the engine: a pause step, or an analysis that was inconclusive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pause {
    /// Why, in words.
    pub reason: String,
    /// When it ends by itself; `None` waits for a person.
    pub until: Option<Timestamp>,
}

/// One row of a list of releases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseRow {
    /// Its id.
    pub id: ReleaseId,
    /// The service.
    pub service: ServiceId,
    /// Where it goes.
    pub environment: Environment,
    /// The new version.
    pub version: Version,
    /// Its digest.
    pub digest: Digest,
    /// Who started it.
    pub actor: Actor,
    /// When.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Where it stands.
    pub phase: Phase,
    /// The pause of the engine that is in force: why, and when it ends by itself. A person's hold may lie over it.
    #[serde(default)]
    pub pause: Option<Pause>,
    /// While a person holds it: their reason.
    #[serde(default)]
    pub held: Option<String>,
    /// True once the new version is stable, until it is rolled back.
    #[serde(default)]
    pub promoted: bool,
    /// True once a person skipped the rest of the steps.
    #[serde(default)]
    pub skipping: bool,
    /// Weight last recorded.
    pub weight: Weight,
    /// Index of the step, from 0, and number of steps.
    pub step: (u32, u32),
    /// The planned weights above 0, in order: the stages.
    #[serde(default)]
    pub stops: Vec<Weight>,
    /// When the next step is due, if known.
    pub next_at: Option<Timestamp>,
    /// The worst finding in words, if any.
    pub worst: Option<String>,
    /// The verdict that the worst finding belongs to.
    #[serde(default)]
    pub worst_verdict: Option<Verdict>,
    /// Joules so far, with low and high, and whether all of it was measured.
    pub joules: JoulesSum,
    /// Requests that the canary served, as last recorded.
    pub exposed: u64,
}

/// A sum of joules with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct JoulesSum {
    /// Sum of the estimates.
    pub joules: f64,
    /// Sum of the lower bounds.
    pub low: f64,
    /// Sum of the upper bounds.
    pub high: f64,
    /// True when a part was modelled.
    pub modelled: bool,
    /// Receipts summed.
    pub n: u64,
}

/// Whether a command may be given now; the reason why not is shown on the disabled button.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandState {
    /// The verb.
    pub kind: CommandKind,
    /// `None` when it may be given.
    pub refused: Option<String>,
}

/// Everything that the release page shows, except live ticks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseView {
    /// The row.
    pub row: ReleaseRow,
    /// The version that was there.
    pub stable_version: Version,
    /// Its digest.
    pub stable_digest: Digest,
    /// The recipe's digest.
    pub recipe: Digest,
    /// The planned timetable.
    pub planned: Vec<PlannedWeight>,
    /// Planned length, ms.
    pub planned_ms: Option<i64>,
    /// Weights as recorded: when, and the weight from then on.
    pub weights: Vec<(Timestamp, Weight)>,
    /// The armed envelope, if any, with the index of its receipt.
    pub envelope: Option<(u64, RollbackArmed)>,
    /// The clocks, when it has ended.
    pub completed: Option<CanaryCompleted>,
    /// Which buttons are on.
    pub commands: Vec<CommandState>,
    /// Its receipts in order.
    pub receipts: Vec<Receipt>,
    /// Last index that this view includes.
    pub as_of: u64,
}

/// A receipt as lists show it: its place and what it states.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// Place in the log.
    pub index: u64,
    /// What it states.
    pub payload: Payload,
}

/// What the overview shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overview {
    /// Releases that wait for a person.
    pub waiting: Vec<ReleaseRow>,
    /// Releases under way.
    pub in_flight: Vec<ReleaseRow>,
    /// Ended, newest first, at most [`RECENT`].
    pub recent: Vec<ReleaseRow>,
    /// Last index that this view includes; `None` for an empty log.
    pub as_of: Option<u64>,
}

/// Rows of recent releases on the overview: one screen.
pub const RECENT: usize = 20;

/// Largest page of any list.
pub const MAX_PAGE: u32 = 200;

/// What to list.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReceiptFilter {
    /// Only of this release.
    pub release: Option<ReleaseId>,
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only by this actor.
    pub actor: Option<Actor>,
    /// Only indices below this one (lists run from new to old).
    pub before: Option<u64>,
    /// At most so many, up to [`MAX_PAGE`].
    pub limit: u32,
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReleaseFilter {
    /// Only of this service.
    pub service: Option<ServiceId>,
    /// Only this state: `in-flight`, `promoted`, `aborted`, `rolled-back`.
    pub state: Option<String>,
    /// Only those started before (lists run from new to old).
    pub before: Option<Timestamp>,
    /// At most so many, up to [`MAX_PAGE`].
    pub limit: u32,
}

/// A receipt with everything that is needed to check it elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReceiptProof {
    /// Place in the log.
    pub index: u64,
    /// The entry's bytes, base64: a DSSE envelope.
    pub entry: String,
    /// Inclusion proof, base64 hashes from leaf to root.
    pub inclusion: Vec<String>,
    /// The signed checkpoint it is proved against, as text.
    pub checkpoint: String,
    /// The `c2sp.org/tlog-proof@v1` text.
    pub tlog_proof: String,
}

/// Why the read model could not answer.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
pub enum ReadError {
    /// The store failed.
    #[error("the store could not be read: {0}")]
    Store(String),
    /// A stored value is not what it must be: rebuild the projections.
    #[error("a stored value is damaged: {0}")]
    Damaged(String),
}

/// What pages ask. Reading changes nothing.
#[async_trait]
pub trait ReadModel: Send + Sync {
    /// The overview.
    async fn overview(&self) -> Result<Overview, ReadError>;
    /// Releases, newest first.
    async fn releases(&self, filter: ReleaseFilter) -> Result<Vec<ReleaseRow>, ReadError>;
    /// One release.
    async fn release(&self, id: &ReleaseId) -> Result<Option<ReleaseView>, ReadError>;
    /// Receipts, newest first.
    async fn receipts(&self, filter: ReceiptFilter) -> Result<Vec<Receipt>, ReadError>;
    /// One receipt with its proof against the newest checkpoint that covers it.
    async fn receipt(&self, index: u64) -> Result<Option<ReceiptProof>, ReadError>;
    /// The consistency proof between two tree sizes (base64 hashes); `None` when a size is beyond the log.
    async fn consistency(&self, old: u64, new: u64) -> Result<Option<Vec<String>>, ReadError>;
    /// Ticks of a release within a range of time, oldest first, thinned to at most `max` points; histograms left out.
    async fn ticks(
        &self,
        release: &ReleaseId,
        from: Timestamp,
        to: Timestamp,
        max: u32,
    ) -> Result<Vec<Tick>, ReadError>;
    /// A content-addressed segment: a recipe's text, the ticks or measurements behind a verdict.
    async fn segment(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ReadError>;
}
