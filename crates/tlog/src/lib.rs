//! The transparency log's mathematics and text formats: RFC 6962 and the C2SP specifications.
//!
//! One specification, one module, its name:
//!
//! | module | specification | what it holds |
//! |---|---|---|
//! | [`merkle`] | RFC 6962 section 2.1, RFC 9162 sections 2.1.3 and 2.1.4 | hashing, inclusion and consistency verification, step by step for a reader |
//! | [`tree`] | RFC 6962 section 2.1 | the writer's side: appending ([`Frontier`]) and the nodes a proof needs ([`ProofPlan`]) |
//! | [`signed_note`] | c2sp.org/signed-note | text signed by Ed25519 keys, verifier keys (`vkey`) |
//! | [`checkpoint`] | c2sp.org/tlog-checkpoint | origin, size and root of a log |
//! | [`tiles`] | c2sp.org/tlog-tiles | paths and bytes of hash tiles and entry bundles |
//! | [`proof`] | c2sp.org/tlog-proof | the file that proves one entry offline |
//!
//! # Invariants
//! - Pure: no I/O, no clock, no randomness, and no secret keys. Who signs gets the bytes to sign
//!   ([`SignedNote::unsigned`], [`SignedNote::bytes_to_sign`]) and hands the 64 bytes of the signature back.
//! - Parsers accept exactly one spelling of a value: nothing is trimmed, padded, repaired or skipped. What a parser
//!   accepts, its writer writes again byte for byte.
//! - Nothing from outside can cause a panic; every size has a named limit.
//! - Verification follows RFC 9162's iterative algorithms, generation follows RFC 6962's recursive definitions: two
//!   derivations that tests hold against each other.
//!
//! # Example
//! ```
//! use tlog::{Frontier, Hash, leaf_hash, prove_inclusion, verify_inclusion};
//! use std::collections::HashMap;
//!
//! let mut nodes = HashMap::new();
//! let mut tree = Frontier::new();
//! for entry in ["a", "b", "c"] {
//!     nodes.extend(tree.push(leaf_hash(entry.as_bytes())));
//! }
//! let proof = prove_inclusion(1, 3, |id| nodes.get(&id).copied().ok_or("node missing")).unwrap();
//! verify_inclusion(&leaf_hash(b"b"), 1, 3, &proof, &tree.root()).unwrap();
//! ```

pub mod checkpoint;
mod hash;
pub mod merkle;
pub mod proof;
pub mod signed_note;
pub mod tiles;
pub mod tree;

pub use checkpoint::{Checkpoint, CheckpointError, OpenedCheckpoint};
pub use hash::{Hash, HashError};
pub use merkle::{
    ConsistencyStep, InclusionStep, ProofError, Side, consistency_steps, empty_root, inclusion_steps, leaf_hash,
    node_hash, root_of_leaves, verify_consistency, verify_inclusion,
};
pub use proof::{TlogProof, TlogProofError};
pub use signed_note::{NoteError, NoteSignature, SignedNote, VerifyingKey, VkeyError};
pub use tiles::{MAX_ENTRY_BYTES, TILE_WIDTH, TileError, TileId, TilePath};
pub use tree::{Frontier, NodeId, PlanError, ProofPlan, ProveError, prove_consistency, prove_inclusion};

/// An ASCII decimal without sign or leading zeroes, as checkpoints, proofs and tile paths write numbers.
fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
    // An empty text fails in `parse`; `parse` also refuses what does not fit 64 bits.
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::parse_decimal;

    #[test]
    fn decimals() {
        for (text, number) in [("0", 0), ("7", 7), ("10", 10), ("18446744073709551615", u64::MAX)] {
            assert_eq!(parse_decimal(text), Some(number), "{text}");
        }
        for bad in ["", "00", "01", "-1", "+1", " 1", "1 ", "1\n", "1_0", "0x1", "१", "18446744073709551616"] {
            assert_eq!(parse_decimal(bad), None, "{bad:?}");
        }
    }
}
