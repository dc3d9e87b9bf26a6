//! A person's commands: what they change, or why they are refused.

use model::{Actor, CommandKind, Timestamp};

use super::{status::Status, transition::Transition};
use crate::recipe::Recipe;

/// Why a command is not carried out. Shown to people; also the text of a disabled button.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{command} is not possible: {reason}")]
pub struct CommandRefused {
    /// The command.
    pub command: CommandKind,
    /// Why not.
    pub reason: String,
}

/// Whether a command is possible now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Availability {
    /// The command.
    pub command: CommandKind,
    /// `Err` holds the reason why it is not possible.
    pub possible: Result<(), String>,
}

/// What a command changes now. Pure: nothing has happened until the transitions are recorded and applied.
pub fn decide(
    recipe: &Recipe,
    status: &Status,
    command: CommandKind,
    actor: &Actor,
    reason: &str,
    now: Timestamp,
) -> Result<Vec<Transition>, CommandRefused> {
    todo!("{recipe:?} {status:?} {command} {actor} {reason} {now}")
}

/// Every command in the order of [`CommandKind::ALL`], with whether it is possible now: what buttons show.
pub fn available_commands(recipe: &Recipe, status: &Status) -> Vec<Availability> {
    todo!("{recipe:?} {status:?}")
}

/// What a controller that comes back after a crash or restart records first: nothing, or an abort when the recipe says so and the
/// release was without a controller for longer than its dead-man time. `last_seen` is the last moment at which one is known to have been there.
pub fn controller_back(recipe: &Recipe, status: &Status, last_seen: Timestamp, now: Timestamp) -> Vec<Transition> {
    todo!("{recipe:?} {status:?} {last_seen} {now}")
}
