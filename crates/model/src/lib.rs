//! Nouns with typed ids: what the other crates speak of.
//!
//! Pure: no I/O, no clock, no randomness. Every type that comes from outside is checked where it is parsed
//! ([`ParseError`] says what was expected), so that a value of the type is always valid.

pub mod admission;
mod command;
mod digest;
mod energy;
pub mod event;
pub mod evidence;
pub mod gate;
mod id;
mod tick;
mod time;
mod weight;

pub use command::{Command, CommandId, CommandKind, is_hidden};
pub use digest::Digest;
pub use energy::{Energy, EnergyMethod};
pub use event::Kind;
pub use id::{Actor, Environment, Epoch, ReleaseId, ServiceId, Version};
pub use tick::{HistogramBucket, Judged, Tick, Track, VersionTick};
pub use time::Timestamp;
pub use weight::Weight;

use serde::{Deserialize, Serialize};

/// A value from outside that is not what its type allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct ParseError {
    /// What the type allows, in words.
    pub expected: &'static str,
    /// The offending value, cut to 80 characters.
    pub value: String,
}

impl ParseError {
    /// An error that shows at most 80 characters of the offending value.
    pub fn new(expected: &'static str, value: &str) -> Self {
        Self { expected, value: value.chars().take(80).collect() }
    }
}

/// The result of a measurement, a metric or an analysis run (Argo Rollouts' four).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// The condition held.
    Successful,
    /// The condition did not hold: the canary is aborted.
    Failed,
    /// Not enough to decide: a person decides.
    Inconclusive,
    /// It could not be found out.
    Error,
}

impl Verdict {
    /// The word shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Successful => "Successful",
            Self::Failed => "Failed",
            Self::Inconclusive => "Inconclusive",
            Self::Error => "Error",
        }
    }
}
