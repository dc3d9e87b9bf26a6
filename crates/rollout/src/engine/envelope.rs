//! The rollback envelope: what to return to and how, fixed and signed before 100 % is allowed.
//!
//! It is armed as soon as the release starts, so that an abort replays the same acts as a rollback. Acts are carried out in order, each
//! recorded by [`crate::Transition::ActDone`] before the next begins; a crash between doing and recording leads to the same act
//! with the same operation id, which runtimes and migrations answer without doing it again.

use model::{Digest, Timestamp, Version};
use serde::{Deserialize, Serialize};

/// One act of a rollback. They are carried out in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// All traffic to the previous version.
    Traffic,
    /// The new version's processes drained and ended.
    Processes,
    /// The down-migration, by its name in the configuration.
    Migration,
    /// Flags turned off.
    Flags,
}

impl Act {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traffic => "traffic",
            Self::Processes => "processes",
            Self::Migration => "migration",
            Self::Flags => "flags",
        }
    }
}

/// What to return to and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackEnvelope {
    /// Version to return to.
    pub previous_version: Version,
    /// Its identity.
    pub previous_digest: Digest,
    /// Name of the down-migration in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down_migration: Option<String>,
    /// Flags to turn off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags_off: Vec<String>,
}

impl RollbackEnvelope {
    /// The acts in order: traffic and processes always, migration and flags when there are any.
    pub fn acts(&self) -> Vec<Act> {
        let mut acts = vec![Act::Traffic, Act::Processes];
        if self.down_migration.is_some() {
            acts.push(Act::Migration);
        }
        if !self.flags_off.is_empty() {
            acts.push(Act::Flags);
        }
        acts
    }
}

/// How far a replay is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// All acts, in order.
    pub acts: Vec<Act>,
    /// Those done, with their time, in order.
    pub done: Vec<(Act, Timestamp)>,
}

impl Replay {
    /// A replay that has not begun.
    pub fn new(acts: Vec<Act>) -> Self {
        Self { acts, done: Vec::new() }
    }

    /// The act to carry out next; `None` when all are done.
    pub fn next(&self) -> Option<Act> {
        self.acts.get(self.done.len()).copied()
    }

    /// Marks the next act done. Another act, or one that is done, changes nothing: answers whether it did.
    pub fn done(&mut self, act: Act, at: Timestamp) -> bool {
        let is_next = self.next() == Some(act);
        if is_next {
            self.done.push((act, at));
        }
        is_next
    }

    /// An act's place from 1, and their number.
    pub fn place(&self, act: Act) -> (u32, u32) {
        let order = self.acts.iter().position(|a| *a == act).map_or(0, |i| i + 1);
        (u32::try_from(order).unwrap_or(u32::MAX), u32::try_from(self.acts.len()).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_in_order_and_never_twice() {
        let at = Timestamp::from_millis(1);
        let mut replay = Replay::new(vec![Act::Traffic, Act::Processes, Act::Flags]);
        assert!(!replay.done(Act::Processes, at));
        assert!(replay.done(Act::Traffic, at));
        assert!(!replay.done(Act::Traffic, at));
        assert_eq!(replay.next(), Some(Act::Processes));
        assert_eq!(replay.place(Act::Flags), (3, 3));
        assert!(replay.done(Act::Processes, at) && replay.done(Act::Flags, at));
        assert_eq!(replay.next(), None);
    }
}
