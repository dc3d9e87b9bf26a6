//! What a person (or a tool with a token) may ask of a release.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Actor, ParseError, ReleaseId};

/// The verbs of a release, as Argo Rollouts has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandKind {
    /// Go on to the next step.
    Promote,
    /// Skip what is left of the steps.
    PromoteFull,
    /// Hold at the present weight.
    Pause,
    /// Leave the pause.
    Resume,
    /// Canary traffic to 0 % at once.
    Abort,
    /// Start an aborted release again from its first step.
    Retry,
    /// Return a finished release to the version before it, by its rollback envelope.
    Rollback,
}

impl CommandKind {
    /// Every verb, in the order in which buttons stand.
    pub const ALL: [Self; 7] =
        [Self::Promote, Self::PromoteFull, Self::Pause, Self::Resume, Self::Abort, Self::Retry, Self::Rollback];

    /// The word stored, and used in URLs and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::PromoteFull => "promote-full",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Retry => "retry",
            Self::Rollback => "rollback",
        }
    }
}
impl fmt::Display for CommandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl FromStr for CommandKind {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        Self::ALL.into_iter().find(|k| k.as_str() == s).ok_or_else(|| {
            ParseError::new("a command: promote, promote-full, pause, resume, abort, retry or rollback", s)
        })
    }
}

/// Idempotency key of a command: the same key is carried out once, however often it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommandId(String);

impl CommandId {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl FromStr for CommandId {
    type Err = ParseError;
    fn from_str(s: &str) -> Result<Self, ParseError> {
        // 64 characters hold a UUID or a SHA-256 in hexadecimal.
        let ok = (8..=64).contains(&s.len()) && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if ok {
            Ok(Self(s.to_owned()))
        } else {
            Err(ParseError::new("an idempotency key: 8 to 64 letters, digits, '-' or '_'", s))
        }
    }
}
impl TryFrom<String> for CommandId {
    type Error = ParseError;
    fn try_from(s: String) -> Result<Self, ParseError> {
        s.parse()
    }
}
impl From<CommandId> for String {
    fn from(c: CommandId) -> String {
        c.0
    }
}

/// One command, as authorised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Its idempotency key.
    pub id: CommandId,
    /// The release it is for.
    pub release: ReleaseId,
    /// The verb.
    pub kind: CommandKind,
    /// Who asks.
    pub actor: Actor,
    /// Why; at most [`Command::MAX_REASON`] characters. Empty when none was given.
    pub reason: String,
}

impl Command {
    /// Longest reason in characters: two sentences and a link.
    pub const MAX_REASON: usize = 500;

    /// Why this text is not taken as a reason; `None` when it is. A reason is one line that reads as it is written, wherever a record of it
    /// is shown: without what moves a terminal's cursor, begins a new line or turns the direction of what follows.
    pub fn unfit(reason: &str) -> Option<String> {
        if reason.chars().count() > Self::MAX_REASON {
            return Some(format!("a reason has at most {} characters", Self::MAX_REASON));
        }
        let hidden = reason.chars().find(|c| is_hidden(*c))?;
        Some(format!("a reason is one line of plain text: it has the control character U+{:04X}", u32::from(hidden)))
    }
}

/// Whether a character is not seen but changes how the text around it is: controls, line and paragraph separators, and what turns the direction.
pub fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_reads_as_it_is_written() {
        for taken in [
            "",
            "it is slow, see https://tickets.example/7",
            "zu langsam \u{1F422} für mich",
            &"ä".repeat(Command::MAX_REASON),
        ] {
            assert_eq!(Command::unfit(taken), None, "{taken:?}");
        }
        for (refused, why) in [
            ("two\nlines", "U+000A"),
            ("\u{1b}[31mred", "U+001B"),
            ("c1 \u{9b}2J", "U+009B"),
            ("live \u{202e}evil", "U+202E"),
            ("\u{2067}isolated", "U+2067"),
            (&"a".repeat(Command::MAX_REASON + 1), "at most 500"),
        ] {
            let said = Command::unfit(refused).unwrap_or_default();
            assert!(said.contains(why), "{refused:?}: {said}");
        }
    }
}
