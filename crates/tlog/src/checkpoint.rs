//! c2sp.org/tlog-checkpoint: which log, how many leaves, which root.
//!
//! ```text
//! example.com/behind-the-sofa
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//! is the text of a [signed note](crate::signed_note). Extension lines may follow; we write none, but read and keep them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Hash, NoteError, SignedNote, VerifyingKey, empty_root, parse_decimal};

/// Bytes of a checkpoint's text: origin, number and hash need less than 400; the rest is room for extensions of others.
pub const MAX_CHECKPOINT_BYTES: usize = 16 * 1024;
/// Bytes of an origin: a host name with a path.
pub const MAX_ORIGIN_BYTES: usize = 255;

/// The head of a log's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The log's identity, by habit its address without scheme: `example.com/log42`.
    pub origin: String,
    /// Leaves of the tree.
    pub size: u64,
    /// RFC 6962 root over these leaves.
    pub root: Hash,
    /// Further lines, opaque; ours have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
}

/// A checkpoint whose signature was verified, and who signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedCheckpoint {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The known keys that signed it.
    pub signers: Vec<VerifyingKey>,
}

/// Why a text is not a checkpoint, or not one to trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Larger than [`MAX_CHECKPOINT_BYTES`].
    #[error("{0} bytes are more than the {MAX_CHECKPOINT_BYTES} of a checkpoint")]
    TooLarge(usize),
    /// Fewer than three lines, or the last without a newline.
    #[error("not at least three lines, each ending in a newline")]
    Lines,
    /// Empty, too long or with a control character.
    #[error("not an origin: 1 to {MAX_ORIGIN_BYTES} bytes without control characters")]
    Origin,
    /// Not an ASCII decimal of 64 bits without leading zeroes.
    #[error("the tree size is not a plain decimal number")]
    Size,
    /// Not the base64 of 32 bytes.
    #[error("the root is not the base64 of 32 bytes")]
    Root,
    /// No leaves, but not the root of no leaves.
    #[error("the empty tree has another root")]
    EmptyTree,
    /// Extension lines are not empty.
    #[error("an empty extension line, or one with a control character")]
    Extension,
    /// The checkpoint is of another log.
    #[error("a checkpoint of {found:?}, not of {expected:?}")]
    OtherOrigin {
        /// The log asked for.
        expected: String,
        /// The log that signed.
        found: String,
    },
    /// The note around the checkpoint is malformed or not signed by the log.
    #[error("the checkpoint's note is refused")]
    Note(#[from] NoteError),
}

impl Checkpoint {
    /// A checkpoint without extensions.
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        let checkpoint = Self { origin: origin.into(), size, root, extensions: Vec::new() };
        // One place decides what is valid: the parser.
        checkpoint.to_string().parse()
    }

    /// The checkpoint in a note, when the note is signed by one of the log's keys and speaks of `origin`.
    pub fn open(
        note: &SignedNote,
        origin: &str,
        log_keys: &[VerifyingKey],
    ) -> Result<OpenedCheckpoint, CheckpointError> {
        let signers = note.verify(log_keys)?.into_iter().cloned().collect();
        let checkpoint: Self = note.text().parse()?;
        if checkpoint.origin != origin {
            return Err(CheckpointError::OtherOrigin { expected: origin.to_owned(), found: checkpoint.origin });
        }
        Ok(OpenedCheckpoint { checkpoint, signers })
    }

    /// The note to sign.
    pub fn to_note(&self) -> Result<SignedNote, NoteError> {
        SignedNote::unsigned(self.to_string())
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;
    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        if text.len() > MAX_CHECKPOINT_BYTES {
            return Err(CheckpointError::TooLarge(text.len()));
        }
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        if !(1..=MAX_ORIGIN_BYTES).contains(&origin.len()) || origin.contains(char::is_control) {
            return Err(CheckpointError::Origin);
        }
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        let root = Hash::from_base64(root).map_err(|_| CheckpointError::Root)?;
        if size == 0 && root != empty_root() {
            return Err(CheckpointError::EmptyTree);
        }
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(|line| line.is_empty() || line.contains(char::is_control)) {
            return Err(CheckpointError::Extension);
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }
}

impl fmt::Display for Checkpoint {
    /// The note's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root.to_base64())?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn example_of_the_specification() {
        let checkpoint: Checkpoint = TEXT.parse().unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.to_string(), TEXT);
        assert_eq!(Checkpoint::new(&checkpoint.origin, checkpoint.size, checkpoint.root), Ok(checkpoint.clone()));
        assert_eq!(checkpoint.to_note().unwrap().text(), TEXT);
        let json = serde_json::to_string(&checkpoint).unwrap();
        assert_eq!(serde_json::from_str::<Checkpoint>(&json).unwrap(), checkpoint);

        let extended = format!("{TEXT}one\nand two\n");
        let checkpoint: Checkpoint = extended.parse().unwrap();
        assert_eq!(checkpoint.extensions, ["one", "and two"]);
        assert_eq!(checkpoint.to_string(), extended);
    }

    #[test]
    fn refusals() {
        let check = |text: &str, error| assert_eq!(text.parse::<Checkpoint>(), Err(error), "{text:?}");
        check("", CheckpointError::Lines);
        check("\n", CheckpointError::Lines);
        check("a\n1\n", CheckpointError::Lines);
        check(TEXT.trim_end(), CheckpointError::Lines);
        check(&TEXT.replace("example.com/behind-the-sofa", ""), CheckpointError::Origin);
        check(&TEXT.replace("sofa", &"a".repeat(250)), CheckpointError::Origin);
        check(&TEXT.replace("sofa", "so\u{85}fa"), CheckpointError::Origin);
        for size in ["", " 20852163", "020852163", "-1", "1e3", "0x1", "20852163 ", "99999999999999999999"] {
            check(&TEXT.replace("20852163", size), CheckpointError::Size);
        }
        for (from, to) in [("=", ""), ("CsU", " CsU"), ("CsU", "CsV "), ("I=", "J="), ("=\n", "=\r\n")] {
            check(&TEXT.replace(from, to), CheckpointError::Root);
        }
        check(&TEXT.replace("20852163", "0"), CheckpointError::EmptyTree);
        check(&format!("{TEXT}\n"), CheckpointError::Extension);
        check(&format!("{TEXT}a\n\nb\n"), CheckpointError::Extension);
        check(&format!("{TEXT}a\tb\n"), CheckpointError::Extension);
        check(&"a".repeat(MAX_CHECKPOINT_BYTES + 1), CheckpointError::TooLarge(MAX_CHECKPOINT_BYTES + 1));
        assert_eq!(Checkpoint::new("two\nlines", 0, empty_root()), Err(CheckpointError::Size));
        assert!(Checkpoint::new("a", 0, empty_root()).is_ok());
    }
}
