//! DORA's metrics out of the log: what happened in, the value **and** the rows it came from out, in one function.
//!
//! A headline and the list behind it cannot disagree, because [`measure`] makes both: who opens a tile sees [`Measured::rows`].
//! A value that is not known is [`Value::Absent`] with its reason, and never 0.
//!
//! Definitions, which pages show beside the values:
//! * a **rollout** ends with `delivery.canary.completed`. One that was promoted and later rolled back is one rollout, not two.
//! * **Deployment frequency**: rollouts whose version became stable, a day. Stopped canaries are not deployments.
//! * **Change failure rate**: rollouts that were aborted or rolled back, of all that ended: each of them had users' traffic.
//! * **Time to restore**: the median over failed rollouts, from the breach to the failed version being gone, by the data plane's
//!   clock. With an even number of them it is the mean of the two in the middle.
//! * **Lead time** and **rework** need to know of merges and incidents; without a source of these they are absent.
//!
//! Pure: the window is an argument.

mod measure;

pub use measure::{SMALL_SAMPLE, measure, rollouts_in, tiles};

use model::{Environment, ReleaseId, ServiceId, Timestamp, Version, event::Outcome};
use serde::{Deserialize, Serialize};

/// The usual window.
pub const DAYS: u32 = 30;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// From this moment on, up to and without that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First moment inside.
    pub from: Timestamp,
    /// First moment after.
    pub to: Timestamp,
}

impl Window {
    /// The `days` before `to`; at least one.
    pub fn days_before(to: Timestamp, days: u32) -> Self {
        Self { from: to.plus_millis(-i64::from(days.max(1)) * DAY_MS), to }
    }

    /// Its length in days.
    pub fn days(&self) -> f64 {
        self.to.since(self.from).max(1) as f64 / DAY_MS as f64
    }

    /// Whether a moment is inside.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }
}

/// A rollout that ended, from its receipt `delivery.canary.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Index of that receipt.
    pub receipt: u64,
    /// The release.
    pub release: ReleaseId,
    /// Its service.
    pub service: ServiceId,
    /// Where it went.
    pub environment: Environment,
    /// What went there.
    pub version: Version,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// From the breach to the failed version being gone, ms, when the data plane measured it.
    pub restore_ms: Option<i64>,
}

impl Rollout {
    /// Whether its version became stable, whatever came later.
    pub fn deployed(&self) -> bool {
        matches!(self.outcome, Outcome::Promoted | Outcome::RolledBack)
    }

    /// Whether somebody or something had to stop it.
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Aborted | Outcome::RolledBack)
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// From a change being merged to it being ready.
    LeadTime,
    /// How often something new becomes stable.
    Deployments,
    /// How many had to be stopped.
    ChangeFailures,
    /// How long a failure lasted.
    TimeToRestore,
    /// How many were unplanned, because of an incident.
    Rework,
}

impl Metric {
    /// All, in the order of the tiles.
    pub const ALL: [Self; 5] =
        [Self::LeadTime, Self::Deployments, Self::ChangeFailures, Self::TimeToRestore, Self::Rework];

    /// The word in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeadTime => "lead-time",
            Self::Deployments => "deployments",
            Self::ChangeFailures => "change-failures",
            Self::TimeToRestore => "time-to-restore",
            Self::Rework => "rework",
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::LeadTime => "Lead time",
            Self::Deployments => "Deployments",
            Self::ChangeFailures => "Change failure",
            Self::TimeToRestore => "Time to restore",
            Self::Rework => "Rework",
        }
    }

    /// How it is computed, in a sentence.
    pub fn definition(self) -> &'static str {
        match self {
            Self::LeadTime => "The median time from a change being merged to it being stable in its environment.",
            Self::Deployments => {
                "Rollouts whose version became stable, a day (a week, or a month of 30 days, where they are fewer), over all days of the window. A canary that was stopped is no deployment."
            }
            Self::ChangeFailures => {
                "Rollouts that were aborted or rolled back, of all rollouts that ended. One that was promoted and later rolled back counts once."
            }
            Self::TimeToRestore => {
                "The median, over rollouts that were aborted or rolled back, of the time from the breach to the failed version being gone, by the data plane's clock."
            }
            Self::Rework => "Deployments that were not planned but follow an incident, of all deployments.",
        }
    }
}

impl std::str::FromStr for Metric {
    type Err = model::ParseError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|metric| metric.as_str() == text);
        found.ok_or_else(|| model::ParseError::new("a delivery metric", text))
    }
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// No rollout ended in the window.
    NoRollouts,
    /// None had to be stopped.
    NoFailures,
    /// Some had to be stopped, and of none is known how long it took.
    NoClock,
    /// Nothing tells when changes are merged.
    NoChangeSource,
    /// Nothing tells of incidents.
    NoIncidentSource,
}

impl Absent {
    /// The reason in words.
    pub fn why(self) -> &'static str {
        match self {
            Self::NoRollouts => "no rollout ended",
            Self::NoFailures => "no rollout failed",
            Self::NoClock => "no failure was timed",
            Self::NoChangeSource => "no source of changes",
            Self::NoIncidentSource => "no incident source",
        }
    }
}

/// What came out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// So many a day.
    PerDay(f64),
    /// A share of all, 0 to 1.
    Ratio(f64),
    /// A length of time, ms.
    Millis(f64),
    /// None, and why.
    Absent(Absent),
}

/// A value with what it was computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured<'a> {
    /// What was measured.
    pub metric: Metric,
    /// When.
    pub window: Window,
    /// The value.
    pub value: Value,
    /// How many counted …
    pub k: u64,
    /// … of how many.
    pub n: u64,
    /// Exactly the rollouts that the value was computed from, in the order of the log.
    pub rows: Vec<&'a Rollout>,
    /// Those that would belong to it, but of which something is not known.
    pub left_out: Vec<&'a Rollout>,
    /// The same for each of [`SPARKS`] equal parts of the window; `None` where there is nothing to compute it from.
    pub spark: Vec<Option<f64>>,
}

/// Parts of the window that a spark line shows.
pub const SPARKS: usize = 15;

/// A measured value for a page that does not show its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tile {
    /// What was measured.
    pub metric: Metric,
    /// The value.
    pub value: Value,
    /// How many counted …
    pub k: u64,
    /// … of how many.
    pub n: u64,
    /// Services among the rows.
    pub services: u64,
    /// Left out for want of a clock.
    pub left_out: u64,
    /// See [`Measured::spark`].
    pub spark: Vec<Option<f64>>,
}
