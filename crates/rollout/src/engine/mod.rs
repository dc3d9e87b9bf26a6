//! The event-sourced engine: status, transitions, plan, commands.

mod analysis;
pub mod command;
pub mod envelope;
mod fold;
pub mod observed;
pub mod plan;
mod planner;
mod replay;
pub(crate) mod sabotage;
pub mod status;
pub mod transition;

pub use planner::MAX_ENDS;
