//! c2sp.org/tlog-proof: one file that proves, offline, that an entry is in a log.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64, optional>
//! index 73894
//! <base64 of the sibling's hash>
//! <… up to the root's child>
//!
//! <the signed checkpoint, as the log published it>
//! ```
//! By habit such a file is named `*.tlog-proof`. The entry's bytes travel apart from it: who verifies hashes them.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    Checkpoint, CheckpointError, Hash, HashError, NoteError, OpenedCheckpoint, ProofError, SignedNote, VerifyingKey,
    parse_decimal, signed_note::MAX_NOTE_BYTES, verify_inclusion,
};

/// The first line.
pub const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// Name ending by which such a file is offered.
pub const FILE_EXTENSION: &str = "tlog-proof";
/// Hashes of an inclusion proof: one for each bit of the tree's size.
pub const MAX_PROOF_HASHES: usize = 64;
/// Bytes of extra data: what else a verifier may need, such as the entry itself, which is at most 65,535 bytes.
pub const MAX_EXTRA_BYTES: usize = crate::MAX_ENTRY_BYTES;
/// Bytes of the file: the largest note, the largest extra data in base64, 64 hashes and some words.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + 96 * 1024;

/// The proof, as received or assembled: nothing is verified until [`TlogProof::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque data with a meaning of the application's own. It is not authenticated.
    pub extra: Option<Vec<u8>>,
    /// Zero-based index of the entry.
    pub index: u64,
    /// Inclusion proof, from the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
    /// The checkpoint as the log signed it.
    pub checkpoint: SignedNote,
}

/// Why a text is not a proof, or proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Larger than [`MAX_PROOF_BYTES`].
    #[error("{0} bytes are more than the {MAX_PROOF_BYTES} of a proof")]
    TooLarge(usize),
    /// Not UTF-8.
    #[error("not UTF-8")]
    Utf8,
    /// Another format or version.
    #[error("the first line is not {HEADER:?}")]
    Header,
    /// Not canonical base64 of 1 to [`MAX_EXTRA_BYTES`] bytes.
    #[error("the extra line is not the base64 of 1 to {MAX_EXTRA_BYTES} bytes")]
    Extra,
    /// No `index` line, or not a plain decimal in it.
    #[error("no index line with a plain decimal number")]
    Index,
    /// A line of the inclusion proof.
    #[error("line {0} of the inclusion proof is malformed")]
    Hash(usize, #[source] HashError),
    /// More than [`MAX_PROOF_HASHES`] lines.
    #[error("more than {MAX_PROOF_HASHES} hashes")]
    TooManyHashes,
    /// No empty line between inclusion proof and checkpoint.
    #[error("no empty line before the checkpoint")]
    NoSeparator,
    /// The checkpoint's note is malformed.
    #[error("the checkpoint's note is malformed")]
    Note(#[source] NoteError),
    /// The checkpoint is malformed, of another log or not signed by it.
    #[error("the checkpoint is refused")]
    Checkpoint(#[source] CheckpointError),
    /// The leaf is not where the proof says.
    #[error("the inclusion proof is refused")]
    Inclusion(#[source] ProofError),
}

impl TlogProof {
    /// A proof from the file's bytes, strictly. Nothing is verified.
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogProofError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(TlogProofError::TooLarge(bytes.len()));
        }
        let text = str::from_utf8(bytes).map_err(|_| TlogProofError::Utf8)?;
        let rest = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix('\n')).ok_or(TlogProofError::Header)?;
        let (extra, rest) = match rest.strip_prefix("extra ") {
            Some(rest) => {
                let (line, rest) = rest.split_once('\n').ok_or(TlogProofError::Extra)?;
                (Some(parse_extra(line)?), rest)
            }
            None => (None, rest),
        };
        let (line, mut rest) = rest.split_once('\n').ok_or(TlogProofError::Index)?;
        let index = line.strip_prefix("index ").and_then(parse_decimal).ok_or(TlogProofError::Index)?;
        let mut hashes = Vec::new();
        let note = loop {
            let (line, after) = rest.split_once('\n').ok_or(TlogProofError::NoSeparator)?;
            if line.is_empty() {
                break after;
            }
            if hashes.len() == MAX_PROOF_HASHES {
                return Err(TlogProofError::TooManyHashes);
            }
            hashes.push(Hash::from_base64(line).map_err(|error| TlogProofError::Hash(hashes.len() + 1, error))?);
            rest = after;
        };
        let checkpoint = SignedNote::parse(note.as_bytes()).map_err(TlogProofError::Note)?;
        Ok(Self { extra, index, hashes, checkpoint })
    }

    /// Whether the entry with this leaf hash is in the log `origin` where the proof says, by a checkpoint that one of
    /// `log_keys` signed. Returns what the checkpoint says and who signed it.
    pub fn verify(
        &self,
        leaf: &Hash,
        origin: &str,
        log_keys: &[VerifyingKey],
    ) -> Result<OpenedCheckpoint, TlogProofError> {
        let opened = Checkpoint::open(&self.checkpoint, origin, log_keys).map_err(TlogProofError::Checkpoint)?;
        let head = &opened.checkpoint;
        verify_inclusion(leaf, self.index, head.size, &self.hashes, &head.root).map_err(TlogProofError::Inclusion)?;
        Ok(opened)
    }
}

impl fmt::Display for TlogProof {
    /// The file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        // The line is omitted when there is no extra data, also when that is said by an empty one.
        if let Some(extra) = self.extra.as_deref().filter(|extra| !extra.is_empty()) {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

fn parse_extra(line: &str) -> Result<Vec<u8>, TlogProofError> {
    let extra = STANDARD.decode(line).map_err(|_| TlogProofError::Extra)?;
    if (1..=MAX_EXTRA_BYTES).contains(&extra.len()) { Ok(extra) } else { Err(TlogProofError::Extra) }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;
    use crate::{Frontier, leaf_hash, prove_inclusion};

    const ORIGIN: &str = "log.example/test";
    /// Written once and never again: files of this format must stay readable, byte for byte.
    const GOLDEN: &str = include_str!("../tests/golden/three-of-five.tlog-proof");

    /// The proof of leaf 3 in a log of 5 entries, `entry 0` to `entry 4`, and the log's key.
    fn example() -> (TlogProof, VerifyingKey) {
        let secret = SigningKey::from_bytes(&[1; 32]);
        let key = VerifyingKey::new(ORIGIN, secret.verifying_key().as_bytes()).unwrap();
        let mut tree = Frontier::new();
        let mut nodes = std::collections::HashMap::new();
        for i in 0..5 {
            nodes.extend(tree.push(leaf_hash(format!("entry {i}").as_bytes())));
        }
        let mut note = Checkpoint::new(ORIGIN, 5, tree.root()).unwrap().to_note().unwrap();
        note.add(&key, &secret.sign(note.bytes_to_sign()).to_bytes()).unwrap();
        let hashes = prove_inclusion(3, 5, |id| nodes.get(&id).copied().ok_or(())).unwrap();
        (TlogProof { extra: Some(b"extra".to_vec()), index: 3, hashes, checkpoint: note }, key)
    }

    #[test]
    fn golden_file() {
        let (proof, key) = example();
        assert_eq!(proof.to_string(), GOLDEN);
        let read = TlogProof::parse(GOLDEN.as_bytes()).unwrap();
        assert_eq!(read, proof);
        let opened = read.verify(&leaf_hash(b"entry 3"), ORIGIN, std::slice::from_ref(&key)).unwrap();
        assert_eq!((opened.checkpoint.size, opened.signers), (5, vec![key]));
    }

    #[test]
    fn round_trips() {
        let (mut proof, _) = example();
        proof.extra = None;
        assert_eq!(TlogProof::parse(proof.to_string().as_bytes()), Ok(proof.clone()));
        proof.hashes.clear();
        assert_eq!(TlogProof::parse(proof.to_string().as_bytes()), Ok(proof.clone()));
        let text = proof.to_string();
        proof.extra = Some(vec![]);
        assert_eq!(proof.to_string(), text);
    }

    #[test]
    fn malformed_files() {
        let check =
            |text: &str, error: TlogProofError| assert_eq!(TlogProof::parse(text.as_bytes()), Err(error), "{text}");
        let change = |from: &str, to: &str| {
            let changed = GOLDEN.replacen(from, to, 1);
            assert_ne!(changed, GOLDEN);
            changed
        };
        check("", TlogProofError::Header);
        check(HEADER, TlogProofError::Header);
        check(&change("@v1", "@v2"), TlogProofError::Header);
        check(&change("@v1\n", "@v1\r\n"), TlogProofError::Header);
        check(&format!("\n{GOLDEN}"), TlogProofError::Header);
        check(&change("extra ZXh0cmE=", "extra "), TlogProofError::Extra);
        check(&change("extra ZXh0cmE=", "extra ZXh0cmE"), TlogProofError::Extra);
        check(&change("extra ZXh0cmE=", "extra  ZXh0cmE="), TlogProofError::Extra);
        check(&change("extra ZXh0cmE=", "extra"), TlogProofError::Index);
        check(&change("index 3", "index 03"), TlogProofError::Index);
        check(&change("index 3", "index  3"), TlogProofError::Index);
        check(&change("index 3", "index -3"), TlogProofError::Index);
        check(&change("index 3\n", ""), TlogProofError::Index);
        check(&change("index 3\n", "index 3\nindex 3\n"), TlogProofError::Hash(1, HashError::Base64));
        check(&change("=\n\n", "\n\n"), TlogProofError::Hash(3, HashError::Base64));
        check(&change("\n\n", "\n"), TlogProofError::Hash(4, HashError::Base64));
        check(&GOLDEN[..GOLDEN.find("\n\n").unwrap() + 1], TlogProofError::NoSeparator);
        check(&change("\n\n— ", "\n— "), TlogProofError::Note(NoteError::NoSeparator));
        let many = format!("{}\n", Hash([0; 32]).to_base64()).repeat(MAX_PROOF_HASHES);
        check(&change("index 3\n", &format!("index 3\n{many}")), TlogProofError::TooManyHashes);
        check(&"a".repeat(MAX_PROOF_BYTES + 1), TlogProofError::TooLarge(MAX_PROOF_BYTES + 1));
        assert_eq!(TlogProof::parse(b"\xff"), Err(TlogProofError::Utf8));
        let extra = format!("extra {}\n", STANDARD.encode(vec![0; MAX_EXTRA_BYTES + 1]));
        check(&change("extra ZXh0cmE=\n", &extra), TlogProofError::Extra);
        // An empty line too many belongs to the note's text, which then is no checkpoint.
        let (_, key) = example();
        let stretched = TlogProof::parse(change("\n\nlog", "\n\n\nlog").as_bytes()).unwrap();
        assert!(stretched.verify(&leaf_hash(b"entry 3"), ORIGIN, &[key]).is_err());
    }

    #[test]
    fn refused_proofs() {
        let (proof, key) = example();
        let keys = [key];
        let leaf = leaf_hash(b"entry 3");
        assert!(matches!(proof.verify(&leaf_hash(b"entry 2"), ORIGIN, &keys), Err(TlogProofError::Inclusion(_))));
        let other = TlogProof { index: 2, ..proof.clone() };
        assert!(matches!(other.verify(&leaf, ORIGIN, &keys), Err(TlogProofError::Inclusion(_))));
        let refused = proof.verify(&leaf, "other.example", &keys);
        assert!(matches!(refused, Err(TlogProofError::Checkpoint(CheckpointError::OtherOrigin { .. }))));
        let refused = proof.verify(&leaf, ORIGIN, &[]);
        assert!(matches!(refused, Err(TlogProofError::Checkpoint(CheckpointError::Note(NoteError::NoKnownKey)))));
    }
}
