//! RFC 6962 hashing, and verification of inclusion and consistency as RFC 9162 words it.
//!
//! Verification is arithmetic that can be looked at: [`inclusion_steps`] and [`consistency_steps`] return each
//! hashing with both operands, and [`verify_inclusion`] and [`verify_consistency`] are these steps plus one comparison.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Frontier, Hash};

/// RFC 6962 section 2.1: what a leaf's bytes are prefixed with, so that no node can be taken for a leaf.
const LEAF_PREFIX: [u8; 1] = [0];
/// RFC 6962 section 2.1: what a node's two hashes are prefixed with.
const NODE_PREFIX: [u8; 1] = [1];

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree does not have this leaf.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    IndexOutOfTree {
        /// Zero-based index of the leaf.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// Trees only grow.
    #[error("a tree of {new} leaves cannot extend one of {old}")]
    Shrunk {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer tree.
        new: u64,
    },
    /// Every tree extends the empty one: nothing to prove, so no proof is accepted.
    #[error("consistency with the empty tree says nothing")]
    EmptyOld,
    /// Both trees have the same size but different roots.
    #[error("two roots for the same {size} leaves: {old} and {new}")]
    RootsDiffer {
        /// Leaves of both trees.
        size: u64,
        /// Root of the older statement.
        old: Hash,
        /// Root of the newer statement.
        new: Hash,
    },
    /// A proof between these places has one length only.
    #[error("the proof has {found} hashes where {expected} are needed")]
    Length {
        /// Hashes that the tree's shape calls for.
        expected: usize,
        /// Hashes in the proof.
        found: usize,
    },
    /// The arithmetic leads to another root.
    #[error("the proof leads to root {computed}, not to {claimed}")]
    Root {
        /// Root that leaf and proof hash to.
        computed: Hash,
        /// Root that was claimed.
        claimed: Hash,
    },
    /// The proof's hashes do not make the older tree.
    #[error("the proof leads to the older root {computed}, not to {claimed}")]
    OldRoot {
        /// Older root that the proof hashes to.
        computed: Hash,
        /// Older root that was claimed.
        claimed: Hash,
    },
}

/// Where the sibling stands in a hashing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// `result = H(1 ‖ sibling ‖ running)`
    Left,
    /// `result = H(1 ‖ running ‖ sibling)`
    Right,
}

/// One hashing on the way from a leaf to the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InclusionStep {
    /// Which operand the proof's hash is.
    pub side: Side,
    /// The proof's hash.
    pub sibling: Hash,
    /// The node above both.
    pub result: Hash,
    /// First leaf under `result`.
    pub first_leaf: u64,
    /// One past the last leaf under `result`.
    pub end_leaf: u64,
}

/// One hashing on the way from the shared subtree to the two roots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsistencyStep {
    /// Which operand the proof's hash is. A left sibling belongs to both trees, a right one to the newer alone.
    pub side: Side,
    /// The proof's hash.
    pub sibling: Hash,
    /// The running root of the older tree after this step.
    pub old: Hash,
    /// The running root of the newer tree after this step.
    pub new: Hash,
}

/// `H(0 ‖ entry)`: the hash of a leaf holding these bytes.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Hash(Sha256::new().chain_update(LEAF_PREFIX).chain_update(entry).finalize().into())
}

/// `H(1 ‖ left ‖ right)`: the hash of a node over two subtrees.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash(Sha256::new().chain_update(NODE_PREFIX).chain_update(left).chain_update(right).finalize().into())
}

/// `H()`: the root of a tree without leaves.
pub fn empty_root() -> Hash {
    Hash(Sha256::new().finalize().into())
}

/// The root of a tree with these leaf hashes, in this order.
pub fn root_of_leaves(leaves: &[Hash]) -> Hash {
    let mut tree = Frontier::new();
    for leaf in leaves {
        tree.append(*leaf, |_, _| {});
    }
    tree.root()
}

/// Each hashing from the leaf to the root that `proof` leads to; the last step's `result` is that root (in a tree of
/// one leaf there is no step and the leaf itself is the root). Compares with no claimed root: [`verify_inclusion`] does.
pub fn inclusion_steps(leaf: &Hash, index: u64, size: u64, proof: &[Hash]) -> Result<Vec<InclusionStep>, ProofError> {
    if index >= size {
        return Err(ProofError::IndexOutOfTree { index, size });
    }
    check_length(inclusion_length(index, size), proof)?;
    let mut steps = Vec::with_capacity(proof.len());
    let mut running = *leaf;
    // The running node and the last node of the tree, as indices within the current level.
    let (mut node, mut last, mut level) = (index, size - 1, 0_u32);
    for &sibling in proof {
        // On the right edge there is no right sibling: go up until the node is a right child.
        while node == last && node & 1 == 0 && last > 0 {
            (node, last, level) = (node >> 1, last >> 1, level + 1);
        }
        let side = if node & 1 == 1 { Side::Left } else { Side::Right };
        running = joined(side, &sibling, &running);
        (node, last, level) = (node >> 1, last >> 1, level + 1);
        let (first_leaf, end_leaf) = leaves_under(node, level, size);
        steps.push(InclusionStep { side, sibling, result: running, first_leaf, end_leaf });
    }
    Ok(steps)
}

/// Whether the leaf with hash `leaf` is the one at `index` in the tree of `size` leaves with this root
/// (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), ProofError> {
    let steps = inclusion_steps(leaf, index, size, proof)?;
    let computed = steps.last().map_or(*leaf, |step| step.result);
    if computed == *root { Ok(()) } else { Err(ProofError::Root { computed, claimed: *root }) }
}

/// Each hashing from the subtree that both trees share to their two roots. Trees of one size have no step.
///
/// When the older tree is a complete subtree of the newer, the walk starts at `old_root` itself, else at the proof's
/// first hash. The last step's `old` and `new` are the roots that [`verify_consistency`] compares.
pub fn consistency_steps(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    proof: &[Hash],
) -> Result<Vec<ConsistencyStep>, ProofError> {
    if new_size < old_size {
        return Err(ProofError::Shrunk { old: old_size, new: new_size });
    }
    if old_size == new_size {
        check_length(0, proof)?;
        return Ok(Vec::new());
    }
    if old_size == 0 {
        return Err(ProofError::EmptyOld);
    }
    check_length(consistency_length(old_size, new_size), proof)?;
    let (seed, siblings) = if old_size.is_power_of_two() {
        (*old_root, proof)
    } else {
        let (first, rest) = proof.split_first().ok_or(ProofError::Length { expected: 1, found: 0 })?;
        (*first, rest)
    };
    // The largest complete subtree that ends where the older tree ends, and the newer tree's last node on its level.
    let level = old_size.trailing_zeros();
    let (mut node, mut last) = ((old_size - 1) >> level, (new_size - 1) >> level);
    let (mut old, mut new) = (seed, seed);
    let mut steps = Vec::with_capacity(siblings.len());
    for &sibling in siblings {
        while node == last && node & 1 == 0 && last > 0 {
            (node, last) = (node >> 1, last >> 1);
        }
        let side = if node & 1 == 1 { Side::Left } else { Side::Right };
        if side == Side::Left {
            old = joined(side, &sibling, &old);
        }
        new = joined(side, &sibling, &new);
        (node, last) = (node >> 1, last >> 1);
        steps.push(ConsistencyStep { side, sibling, old, new });
    }
    Ok(steps)
}

/// Whether the tree of `new_size` leaves begins with the very leaves of the tree of `old_size`
/// (RFC 9162 section 2.1.4.2). Equal sizes need equal roots and an empty proof; an empty older tree is refused unless
/// the newer is empty too.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    let steps = consistency_steps(old_size, old_root, new_size, proof)?;
    let Some(end) = steps.last() else {
        if old_root != new_root {
            return Err(ProofError::RootsDiffer { size: old_size, old: *old_root, new: *new_root });
        }
        // Two equal roots of nothing must still be the root of nothing.
        return match empty_root() {
            computed if old_size == 0 && computed != *old_root => {
                Err(ProofError::Root { computed, claimed: *old_root })
            }
            _ => Ok(()),
        };
    };
    if end.old != *old_root {
        return Err(ProofError::OldRoot { computed: end.old, claimed: *old_root });
    }
    if end.new != *new_root {
        return Err(ProofError::Root { computed: end.new, claimed: *new_root });
    }
    Ok(())
}

fn joined(side: Side, sibling: &Hash, running: &Hash) -> Hash {
    match side {
        Side::Left => node_hash(sibling, running),
        Side::Right => node_hash(running, sibling),
    }
}

fn check_length(expected: usize, proof: &[Hash]) -> Result<(), ProofError> {
    let found = proof.len();
    if found == expected { Ok(()) } else { Err(ProofError::Length { expected, found }) }
}

/// Hashes in the proof of leaf `index < size`: one for each level below the point where the ways to this leaf and to
/// the last leaf meet, then one for each left sibling above it.
fn inclusion_length(index: u64, size: u64) -> usize {
    let meeting = u64::BITS - (index ^ (size - 1)).leading_zeros();
    let above = index.checked_shr(meeting).unwrap_or(0).count_ones();
    (meeting + above) as usize
}

/// Hashes in the proof between `0 < old < new`: as for the inclusion of the older tree's last complete subtree, plus
/// that subtree's own hash unless it is the older root.
fn consistency_length(old: u64, new: u64) -> usize {
    let level = old.trailing_zeros();
    inclusion_length((old - 1) >> level, ((new - 1) >> level) + 1) + usize::from(!old.is_power_of_two())
}

/// The leaves under node `node` of `level`, cut at the tree's end.
fn leaves_under(node: u64, level: u32, size: u64) -> (u64, u64) {
    let first = node.checked_shl(level).unwrap_or(0);
    let end = 1_u64.checked_shl(level).and_then(|width| first.checked_add(width)).unwrap_or(u64::MAX);
    (first, end.min(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&[i])).collect()
    }

    /// RFC 6962 section 2.1 as it is written.
    fn mth(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&mth(left), &mth(right))
            }
        }
    }

    #[test]
    fn known_hashes() {
        // SHA-256 of nothing, of 0x00, and the example leaf of certificate-transparency's own tests.
        let check = |hash: Hash, hex: &str| assert_eq!(hash.to_string(), hex);
        check(empty_root(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check(leaf_hash(b""), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
        check(leaf_hash(&[0]), "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7");
        check(
            node_hash(&leaf_hash(b""), &leaf_hash(&[0])),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        );
    }

    #[test]
    fn roots_follow_the_definition() {
        for count in 0..=70 {
            let leaves = leaves(count);
            assert_eq!(root_of_leaves(&leaves), mth(&leaves), "{count} leaves");
        }
    }

    #[test]
    fn steps_show_the_arithmetic() {
        // Leaf 2 of 3 stands alone on the right: one step, with the node over leaves 0 and 1.
        let l = leaves(3);
        let left = node_hash(&l[0], &l[1]);
        let steps = inclusion_steps(&l[2], 2, 3, &[left]).unwrap();
        let result = mth(&l);
        assert_eq!(steps, [InclusionStep { side: Side::Left, sibling: left, result, first_leaf: 0, end_leaf: 3 }]);

        let steps = inclusion_steps(&l[1], 1, 3, &[l[0], l[2]]).unwrap();
        let sides: Vec<_> = steps.iter().map(|s| (s.side, s.first_leaf, s.end_leaf)).collect();
        assert_eq!(sides, [(Side::Left, 0, 2), (Side::Right, 0, 3)]);

        let steps = consistency_steps(2, &left, 3, &[l[2]]).unwrap();
        assert_eq!(steps, [ConsistencyStep { side: Side::Right, sibling: l[2], old: left, new: result }]);
    }

    #[test]
    fn inclusion_refusals() {
        let l = leaves(5);
        let root = mth(&l);
        let check = |index, size, proof: &[Hash], error| {
            assert_eq!(verify_inclusion(&l[0], index, size, proof, &root), Err(error), "{index} of {size}");
        };
        check(0, 0, &[], ProofError::IndexOutOfTree { index: 0, size: 0 });
        check(5, 5, &[], ProofError::IndexOutOfTree { index: 5, size: 5 });
        check(u64::MAX, u64::MAX, &[], ProofError::IndexOutOfTree { index: u64::MAX, size: u64::MAX });
        check(0, 5, &[], ProofError::Length { expected: 3, found: 0 });
        check(4, 5, &l[..2], ProofError::Length { expected: 1, found: 2 });
        check(0, u64::MAX, &[], ProofError::Length { expected: 64, found: 0 });
        check(0, 1, &[], ProofError::Root { computed: l[0], claimed: root });
    }

    #[test]
    fn the_largest_trees_do_not_overflow() {
        let proof = [Hash([7; 32]); 64];
        for index in [0, 1, 1 << 63, u64::MAX - 2, u64::MAX - 1] {
            let expected = inclusion_length(index, u64::MAX);
            let steps = inclusion_steps(&proof[0], index, u64::MAX, &proof[..expected]).unwrap();
            assert_eq!(steps.last().map(|s| (s.first_leaf, s.end_leaf)), Some((0, u64::MAX)));
        }
        for old in [1, 3, 1 << 63, u64::MAX - 1] {
            let expected = consistency_length(old, u64::MAX);
            consistency_steps(old, &proof[0], u64::MAX, &[proof[0]; 65][..expected]).unwrap();
        }
    }

    #[test]
    fn consistency_refusals() {
        let l = leaves(5);
        let (three, five) = (mth(&l[..3]), mth(&l));
        let other = Hash([1; 32]);
        let check = |old, old_root: &Hash, new, new_root: &Hash, proof: &[Hash], expected| {
            assert_eq!(verify_consistency(old, old_root, new, new_root, proof), expected, "{old} to {new}");
        };
        let empty = empty_root();
        check(0, &empty, 0, &empty, &[], Ok(()));
        check(3, &three, 3, &three, &[], Ok(()));
        check(0, &other, 0, &other, &[], Err(ProofError::Root { computed: empty, claimed: other }));
        check(0, &empty, 5, &five, &[], Err(ProofError::EmptyOld));
        check(5, &five, 3, &three, &[], Err(ProofError::Shrunk { old: 5, new: 3 }));
        check(3, &three, 3, &other, &[], Err(ProofError::RootsDiffer { size: 3, old: three, new: other }));
        check(3, &three, 3, &three, &[other], Err(ProofError::Length { expected: 0, found: 1 }));
        check(3, &three, 5, &five, &[], Err(ProofError::Length { expected: 4, found: 0 }));
        let proof = [l[2], l[3], node_hash(&l[0], &l[1]), l[4]];
        check(3, &three, 5, &five, &proof, Ok(()));
        check(3, &other, 5, &five, &proof, Err(ProofError::OldRoot { computed: three, claimed: other }));
        check(3, &three, 5, &other, &proof, Err(ProofError::Root { computed: five, claimed: other }));
    }
}
