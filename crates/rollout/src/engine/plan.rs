//! What to do now: actions with no choice left in them, and a reason for every wait.

use model::{Epoch, Timestamp, Track, Weight, event::Outcome};

use super::{
    envelope::{Act, RollbackEnvelope},
    observed::Observed,
    planner::Planner,
    status::{Phase, Status, VersionRef},
    transition::{Transition, WeightCause},
};
use crate::recipe::{Provider, Recipe};

/// One thing to do. Carry them out in the order given; apply each outcome to the status before planning again.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Append the receipt (or, for a measurement, the sample), then apply it.
    Record(Transition),
    /// Sign the envelope: record [`Transition::EnvelopeArmed`] ([`Action::armed`]).
    ArmEnvelope(RollbackEnvelope),
    /// Start this version in the canary slot, at weight 0. Nothing to record: readiness is observed.
    StartVersion {
        /// Which.
        version: VersionRef,
    },
    /// Set the weight of the canary slot: record [`Transition::WeightApplied`] ([`Action::weight_applied`]).
    SetWeight {
        /// Deterministic: the same after a crash.
        operation: String,
        /// The weight.
        weight: Weight,
        /// Why.
        cause: WeightCause,
        /// Its number among the weight changes.
        change: u32,
    },
    /// Swap the slots: record [`Transition::SlotsPromoted`] ([`Action::slots_promoted`]).
    PromoteSlots {
        /// Deterministic.
        operation: String,
        /// The version that is in the canary slot and becomes stable: check before swapping.
        becomes_stable: VersionRef,
        /// True on the way back.
        back: bool,
    },
    /// Drain and end what is in a slot: record what [`Action::done`] gives. Nothing there to stop counts as done.
    StopVersion {
        /// The slot.
        which: Track,
        /// The version in it: check before stopping.
        version: VersionRef,
        /// Time for requests under way, ms.
        drain_ms: u64,
        /// What it is part of.
        part_of: StopPart,
    },
    /// Run the down-migration once (its operation id is the key): record [`Transition::ActDone`] ([`Action::done`]).
    RunMigration {
        /// Deterministic.
        operation: String,
        /// Its name in the configuration.
        name: String,
        /// Its place among the acts.
        place: Place,
    },
    /// Turn flags off: record [`Transition::ActDone`] ([`Action::done`]).
    TurnFlagsOff {
        /// Deterministic.
        operation: String,
        /// Which.
        flags: Vec<String>,
        /// Its place among the acts.
        place: Place,
    },
    /// Measure once, beside the loop; then [`crate::assess::measured`] makes the transition. Until it is applied, name it in
    /// [`Observed::measuring`].
    TakeMeasurement {
        /// The run.
        run: String,
        /// The metric.
        metric: String,
        /// What to ask, arguments filled in.
        provider: Provider,
    },
}

/// What a stop is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopPart {
    /// An act of an abort or rollback.
    Act(Place),
    /// The old version after a promotion: the release is completed with it.
    Completion(Outcome),
    /// The slot is taken by a version of another release: nothing to record.
    Clearing,
}

/// An act's place in a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 1.
    pub order: u32,
    /// Number of acts.
    pub of: u32,
    /// The attempt that is aborted.
    pub attempt: u32,
}

/// Something that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// For what, in words.
    pub reason: String,
    /// When it is over by itself; `None` = when something happens.
    pub until: Option<Timestamp>,
}

/// What to do now, what is waited for, and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// In order.
    pub actions: Vec<Action>,
    /// A reason for everything that does not happen now.
    pub waits: Vec<Wait>,
    /// Argo's phase.
    pub phase: Phase,
    /// One sentence with it.
    pub message: String,
}

impl Plan {
    /// When to plan again at the latest, if nothing happens before.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.waits.iter().filter_map(|w| w.until).min()
    }
}

/// What to do now. At most one step advances per call, as in Argo.
///
/// Observations may lag and lie about weight and readiness; they may be older than the last weight that was set. They must not be older than the
/// last swap that was carried out, recorded or not: after [`Action::PromoteSlots`], and after a restart of the controller, look again before planning.
pub fn plan(recipe: &Recipe, status: &Status, observed: &Observed, now: Timestamp) -> Plan {
    Planner::new(recipe, status, observed, now).plan()
}

impl Action {
    /// What to record when the envelope was signed.
    pub fn armed(&self, at: Timestamp) -> Option<Transition> {
        match self {
            Self::ArmEnvelope(envelope) => Some(Transition::EnvelopeArmed { at, envelope: envelope.clone() }),
            _ => None,
        }
    }

    /// What to record when the weight is in force: `at` and `previous` as the data plane says.
    pub fn weight_applied(&self, at: Timestamp, previous: Weight, epoch: Epoch) -> Option<Transition> {
        match self {
            Self::SetWeight { operation, weight, cause, change } => Some(Transition::WeightApplied {
                at,
                operation: operation.clone(),
                cause: *cause,
                weight: *weight,
                previous,
                epoch,
                change: *change,
            }),
            _ => None,
        }
    }

    /// What to record when the slots were swapped: `at` as the data plane says.
    pub fn slots_promoted(&self, at: Timestamp) -> Option<Transition> {
        match self {
            Self::PromoteSlots { operation, back, .. } => {
                Some(Transition::SlotsPromoted { at, operation: operation.clone(), back: *back })
            }
            _ => None,
        }
    }

    /// What to record when a version is gone, a migration has run, or flags are off. `None` when there is nothing to record.
    pub fn done(&self, at: Timestamp, took_ms: i64, result: String) -> Option<Transition> {
        let (act, place) = match self {
            Self::StopVersion { part_of: StopPart::Act(place), .. } => (Act::Processes, *place),
            Self::StopVersion { part_of: StopPart::Completion(outcome), .. } => {
                return Some(Transition::Completed { at, outcome: *outcome });
            }
            Self::RunMigration { place, .. } => (Act::Migration, *place),
            Self::TurnFlagsOff { place, .. } => (Act::Flags, *place),
            _ => return None,
        };
        let Place { order, of, attempt } = place;
        Some(Transition::ActDone { at, act, order, of, attempt, result, took_ms })
    }
}
