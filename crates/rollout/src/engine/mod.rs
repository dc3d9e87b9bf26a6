//! The event-sourced engine: status, transitions, plan, commands.

pub mod command;
pub mod envelope;
pub mod observed;
pub mod plan;
pub mod status;
pub mod transition;
