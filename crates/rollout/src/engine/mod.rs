//! The event-sourced engine: status, transitions, plan, commands.

pub mod command;
pub mod envelope;
pub mod observed;
pub mod plan;
mod planner;
pub(crate) mod sabotage;
mod analysis;
mod replay;
pub mod status;
pub mod transition;
