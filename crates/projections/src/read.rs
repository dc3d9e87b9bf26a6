//! The port by which pages read, and the values that cross it.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use model::{
    Actor, CommandKind, Digest, Environment, Kind, ReleaseId, ServiceId, Tick, Timestamp, Verdict, Version, Weight,
    event::{CanaryCompleted, Outcome, PlannedWeight, RollbackArmed},
};
use receipts::Payload;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// Who held it last.
    #[serde(default)]
    pub held_by: Option<Actor>,
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
    /// The person who aborted it or rolled it back; `None` when the judge did, or nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<Actor>,
    /// Their reason, if they gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_for: Option<String>,
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

impl Receipt {
    /// The artifacts that it is about, each once: its `subject`, and the images of what a cluster was asked to run.
    pub fn subjects(&self) -> BTreeSet<Digest> {
        let facts = &self.payload.facts;
        let is_admission = matches!(self.payload.kind, Kind::AdmissionAllowed | Kind::AdmissionDenied);
        let images = facts.get("images").filter(|_| is_admission).and_then(Value::as_array);
        let digests = images.into_iter().flatten().filter_map(|image| image.get("digest"));
        facts.get("subject").into_iter().chain(digests).filter_map(|digest| digest.as_str()?.parse().ok()).collect()
    }
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
///
/// `from` and `until` name a stretch of the log: from the receipt that is first by time at or after the one, to the last before the
/// other; what in it has a time outside is left out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ReceiptFilter {
    /// Only of this release.
    pub release: Option<ReleaseId>,
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only by this actor.
    pub actor: Option<Actor>,
    /// Only about this artifact.
    #[serde(default)]
    pub subject: Option<Digest>,
    /// Only indices below this one (lists run from new to old).
    pub before: Option<u64>,
    /// Only indices of at least this one.
    pub least: Option<u64>,
    /// Only at or after this moment.
    pub from: Option<Timestamp>,
    /// Only before this moment.
    pub until: Option<Timestamp>,
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
    /// Only to this environment.
    pub environment: Option<Environment>,
    /// Only by this actor.
    pub actor: Option<Actor>,
    /// Words that all begin a word of the release's id, service, version, environment, actor or worst finding; or the beginning
    /// of its digest.
    pub text: Option<String>,
    /// Only those started at or after this moment.
    pub from: Option<Timestamp>,
    /// Only those started before (lists run from new to old).
    pub before: Option<Timestamp>,
    /// In which order.
    pub sort: ReleaseSort,
    /// Only those that come after this place in that order.
    pub after: Option<Place>,
    /// At most so many, up to [`MAX_PAGE`].
    pub limit: u32,
}

/// A page of a list of releases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReleaseList {
    /// In the order asked for.
    pub rows: Vec<ReleaseRow>,
    /// How many fit, whatever their place.
    pub of: u64,
    /// Last index that this includes; `None` for an empty log.
    pub as_of: Option<u64>,
}

/// By what a list of releases is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SortBy {
    /// When it started.
    #[default]
    Started,
    /// How long it took; one under way has not taken any time yet.
    Took,
    /// Requests that the canary served.
    Exposed,
    /// Joules.
    Energy,
}

/// The order of a list of releases: the largest first, unless it is `ascending`. Equal ones are ordered by their id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReleaseSort {
    /// By what.
    pub by: SortBy,
    /// The smallest first.
    pub ascending: bool,
}

/// A place in an ordered list of releases: the value that it is ordered by, and the id of the release there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The value.
    pub value: f64,
    /// The release.
    pub id: ReleaseId,
}

impl SortBy {
    /// All.
    pub const ALL: [Self; 4] = [Self::Started, Self::Took, Self::Exposed, Self::Energy];

    /// The word in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Took => "took",
            Self::Exposed => "exposed",
            Self::Energy => "energy",
        }
    }

    /// The value by which a release has its place.
    pub fn value(self, row: &ReleaseRow) -> f64 {
        match self {
            Self::Started => row.started.as_millis() as f64,
            Self::Took => row.ended.map_or(0, |end| end.since(row.started)) as f64,
            Self::Exposed => row.exposed as f64,
            Self::Energy => row.joules.joules,
        }
    }
}

impl std::fmt::Display for ReleaseSort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.ascending { "up-" } else { "" }, self.by.as_str())
    }
}

impl std::str::FromStr for ReleaseSort {
    type Err = model::ParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ascending, word) = text.strip_prefix("up-").map_or((false, text), |word| (true, word));
        let by = SortBy::ALL.into_iter().find(|by| by.as_str() == word);
        by.map(|by| Self { by, ascending }).ok_or_else(|| model::ParseError::new("an order of releases", text))
    }
}

impl Place {
    /// Where this row is.
    pub fn of(sort: ReleaseSort, row: &ReleaseRow) -> Self {
        Self { value: sort.by.value(row), id: row.id.clone() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}~{}", self.value, self.id)
    }
}

impl std::str::FromStr for Place {
    type Err = model::ParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || model::ParseError::new("a place in a list: NUMBER~RELEASE", text);
        let (value, id) = text.split_once('~').ok_or_else(wrong)?;
        let value: f64 = value.parse().map_err(|_| wrong())?;
        if !value.is_finite() {
            return Err(wrong());
        }
        Ok(Self { value, id: id.parse()? })
    }
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

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSize {
    /// Receipts.
    pub receipts: u64,
    /// Releases.
    pub releases: u64,
    /// Bytes of the database on the disk, with what is not moved into it yet.
    pub bytes: u64,
}

/// What pages ask. Reading changes nothing.
#[async_trait]
pub trait ReadModel: Send + Sync {
    /// The overview.
    async fn overview(&self) -> Result<Overview, ReadError>;
    /// How much there is.
    async fn size(&self) -> Result<StoreSize, ReadError>;
    /// Rollouts that ended since then (and maybe some before), in the order of the log.
    async fn rollouts(&self, since: Timestamp) -> Result<Arc<Vec<dora::Rollout>>, ReadError>;
    /// Releases, in the order asked for, with their number, all as of one moment.
    async fn release_list(&self, filter: ReleaseFilter) -> Result<ReleaseList, ReadError>;
    /// Releases, in the order asked for.
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
