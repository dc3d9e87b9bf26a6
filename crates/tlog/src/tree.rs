//! The writer's side of RFC 6962 section 2.1: appending leaves and finding what a proof is made of.
//!
//! A log stores the hash of every *complete* subtree under its [`NodeId`]; such a node never changes. [`Frontier`]
//! yields these nodes as leaves arrive, and [`ProofPlan`] names those a proof needs, so that a store of any kind
//! (synchronous, asynchronous, tiles) fetches them in one go and hands them back.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Hash, empty_root, node_hash};

/// A tree larger than this is refused when a [`Frontier`] is restored: at a million leaves a second it would take
/// 146 thousand years, so the number is a mistake, and appending can never overflow.
pub const MAX_TREE_SIZE: u64 = 1 << 62;

/// A complete subtree: `2^level` leaves, beginning at leaf `index · 2^level`. Level 0 is the leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId {
    /// Height above the leaves, 0 to 63.
    pub level: u8,
    /// Place among the nodes of its level.
    pub index: u64,
}

/// The complete subtrees that make up a tree, largest first: all that appending needs to know (a "compact range").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// One hash per set bit of `size`, from the highest.
    nodes: Vec<Hash>,
}

/// The complete subtrees that a proof or a root is made of, and how they are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofPlan {
    nodes: Vec<NodeId>,
    /// For each hash of the proof, how many of `nodes` (in order, left to right) it is folded from.
    folds: Vec<usize>,
}

/// Why there is nothing to plan, or the plan cannot be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The tree does not have this leaf.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    IndexOutOfTree {
        /// Zero-based index of the leaf.
        index: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// Consistency is proved from a tree of at least one leaf to one at least as large.
    #[error("no consistency proof leads from {old} leaves to {new}")]
    Sizes {
        /// Leaves of the older tree.
        old: u64,
        /// Leaves of the newer tree.
        new: u64,
    },
    /// Not as many hashes as nodes.
    #[error("{found} hashes for {expected} nodes")]
    Count {
        /// Nodes of the plan or of the tree's size.
        expected: usize,
        /// Hashes that were given.
        found: usize,
    },
    /// Larger than [`MAX_TREE_SIZE`].
    #[error("a tree of {0} leaves is beyond every real log")]
    TooLarge(u64),
}

/// Why a proof could not be made: the request is senseless, or the store failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// Nothing to prove.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store's own error.
    #[error("a node of the tree could not be read")]
    Read(#[source] E),
}

impl NodeId {
    /// First leaf under this node, and one past the last; `None` when that does not fit 64 bits.
    pub fn leaves(&self) -> Option<Range<u64>> {
        let width = 1_u64.checked_shl(self.level.into())?;
        let first = self.index.checked_mul(width)?;
        Some(first..first.checked_add(width)?)
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::new()
    }
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Self {
        Self { size: 0, nodes: Vec::new() }
    }

    /// The nodes that [`Frontier::restore`] needs for a tree of `size` leaves, in its order.
    pub fn nodes_of(size: u64) -> Vec<NodeId> {
        complete_subtrees(0..size)
    }

    /// The frontier of a stored tree, from the hashes of [`Frontier::nodes_of`] its size. The caller compares
    /// [`Frontier::root`] with the root that was signed.
    pub fn restore(size: u64, nodes: Vec<Hash>) -> Result<Self, PlanError> {
        if size > MAX_TREE_SIZE {
            return Err(PlanError::TooLarge(size));
        }
        let expected = size.count_ones() as usize;
        if nodes.len() != expected {
            return Err(PlanError::Count { expected, found: nodes.len() });
        }
        Ok(Self { size, nodes })
    }

    /// Leaves so far; the index of the next one.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over all leaves so far.
    pub fn root(&self) -> Hash {
        fold(&self.nodes).unwrap_or_else(empty_root)
    }

    /// Appends a leaf and returns the nodes it completed, the leaf itself first: store them all.
    pub fn push(&mut self, leaf: Hash) -> Vec<(NodeId, Hash)> {
        let mut completed = Vec::with_capacity(2); // its average over a long log
        self.append(leaf, |id, hash| completed.push((id, hash)));
        completed
    }

    /// Like [`Frontier::push`], handing each completed node to `store`.
    pub fn append(&mut self, leaf: Hash, mut store: impl FnMut(NodeId, Hash)) {
        let mut id = NodeId { level: 0, index: self.size };
        let mut hash = leaf;
        store(id, hash);
        // As in adding 1 to a binary number: while the place is taken, join and carry.
        while id.index & 1 == 1 {
            let Some(left) = self.nodes.pop() else { break };
            hash = node_hash(&left, &hash);
            id = NodeId { level: id.level + 1, index: id.index >> 1 };
            store(id, hash);
        }
        self.nodes.push(hash);
        self.size += 1; // at most MAX_TREE_SIZE when restored, and no machine appends 2^62 leaves
    }
}

impl ProofPlan {
    /// What the inclusion proof of leaf `index` in the tree of `size` leaves is made of (RFC 6962 section 2.1.1).
    pub fn inclusion(index: u64, size: u64) -> Result<Self, PlanError> {
        if index >= size {
            return Err(PlanError::IndexOutOfTree { index, size });
        }
        let mut siblings = Vec::new();
        let mut within = 0..size;
        while within.end - within.start > 1 {
            let middle = split(&within);
            let sibling;
            (within, sibling) = if index < middle {
                (within.start..middle, middle..within.end)
            } else {
                (middle..within.end, within.start..middle)
            };
            siblings.push(sibling);
        }
        siblings.reverse();
        Ok(Self::of_ranges(&siblings))
    }

    /// What the consistency proof from `old` to `new` leaves is made of (RFC 6962 section 2.1.2). Empty when the sizes
    /// are equal.
    pub fn consistency(old: u64, new: u64) -> Result<Self, PlanError> {
        if old == 0 || old > new {
            return Err(PlanError::Sizes { old, new });
        }
        let mut parts = Vec::new();
        let mut within = 0..new;
        while within.end != old {
            let middle = split(&within);
            let other;
            (within, other) = if old <= middle {
                (within.start..middle, middle..within.end)
            } else {
                (middle..within.end, within.start..middle)
            };
            parts.push(other);
        }
        // The walk ended at the older tree's last complete subtree; its hash is known when it is the older tree itself.
        if within.start != 0 {
            parts.push(within);
        }
        parts.reverse();
        Ok(Self::of_ranges(&parts))
    }

    /// What the root of the tree of `size > 0` leaves is made of; it assembles to that one hash.
    pub fn root(size: u64) -> Self {
        Self::of_ranges(std::slice::from_ref(&(0..size)))
    }

    /// The nodes to read, all complete in a tree of the planned size.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The proof, from the hashes of [`ProofPlan::nodes`] in their order.
    pub fn assemble(&self, hashes: &[Hash]) -> Result<Vec<Hash>, PlanError> {
        let count = PlanError::Count { expected: self.nodes.len(), found: hashes.len() };
        if hashes.len() != self.nodes.len() {
            return Err(count);
        }
        let mut rest = hashes;
        let mut proof = Vec::with_capacity(self.folds.len());
        for &width in &self.folds {
            let (part, after) = rest.split_at_checked(width).ok_or(count)?;
            proof.push(fold(part).ok_or(count)?);
            rest = after;
        }
        Ok(proof)
    }

    fn of_ranges(ranges: &[Range<u64>]) -> Self {
        let parts: Vec<_> = ranges.iter().cloned().map(complete_subtrees).collect();
        Self { folds: parts.iter().map(Vec::len).collect(), nodes: parts.concat() }
    }
}

/// The inclusion proof of leaf `index` in the tree of `size` leaves, its nodes read one by one with `read`.
pub fn prove_inclusion<E>(
    index: u64,
    size: u64,
    read: impl FnMut(NodeId) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    carry_out(&ProofPlan::inclusion(index, size)?, read)
}

/// The consistency proof from `old` to `new` leaves, its nodes read one by one with `read`.
pub fn prove_consistency<E>(
    old: u64,
    new: u64,
    read: impl FnMut(NodeId) -> Result<Hash, E>,
) -> Result<Vec<Hash>, ProveError<E>> {
    carry_out(&ProofPlan::consistency(old, new)?, read)
}

fn carry_out<E>(plan: &ProofPlan, read: impl FnMut(NodeId) -> Result<Hash, E>) -> Result<Vec<Hash>, ProveError<E>> {
    let hashes: Vec<Hash> = plan.nodes.iter().copied().map(read).collect::<Result<_, E>>().map_err(ProveError::Read)?;
    Ok(plan.assemble(&hashes)?)
}

/// Where RFC 6962 divides a range of at least two leaves: after the largest power of two smaller than its length.
fn split(leaves: &Range<u64>) -> u64 {
    let length = leaves.end - leaves.start;
    leaves.start + (1 << (length - 1).ilog2())
}

/// The complete subtrees of a range that begins where a subtree of its size may begin, left to right.
fn complete_subtrees(leaves: Range<u64>) -> Vec<NodeId> {
    let mut start = leaves.start;
    let mut nodes = Vec::new();
    while start < leaves.end {
        let level = (leaves.end - start).ilog2();
        nodes.push(NodeId { level: level as u8, index: start >> level });
        start += 1 << level;
    }
    nodes
}

/// The root over neighbouring subtrees of falling size: joined from the right, as RFC 6962 divides.
fn fold(nodes: &[Hash]) -> Option<Hash> {
    nodes.iter().rev().copied().reduce(|right, left| node_hash(&left, &right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf_hash;

    fn id(level: u8, index: u64) -> NodeId {
        NodeId { level, index }
    }

    fn ids(nodes: &[(u8, u64)]) -> Vec<NodeId> {
        nodes.iter().map(|(level, index)| id(*level, *index)).collect()
    }

    #[test]
    fn pushing_completes_nodes() {
        let mut tree = Frontier::new();
        let completed: Vec<Vec<NodeId>> =
            (0..4_u8).map(|i| tree.push(leaf_hash(&[i])).into_iter().map(|(id, _)| id).collect()).collect();
        assert_eq!(completed, [ids(&[(0, 0)]), ids(&[(0, 1), (1, 0)]), ids(&[(0, 2)]), ids(&[(0, 3), (1, 1), (2, 0)])]);
    }

    #[test]
    fn a_frontier_is_restored_from_its_nodes() {
        let mut tree = Frontier::new();
        let mut stored = std::collections::HashMap::new();
        for i in 0..100_u8 {
            let nodes: Vec<Hash> = Frontier::nodes_of(tree.size()).iter().map(|id| stored[id]).collect();
            assert_eq!(Frontier::restore(tree.size(), nodes), Ok(tree.clone()));
            stored.extend(tree.push(leaf_hash(&[i])));
        }
        assert_eq!(Frontier::restore(3, vec![]), Err(PlanError::Count { expected: 2, found: 0 }));
        assert_eq!(Frontier::restore(u64::MAX, vec![]), Err(PlanError::TooLarge(u64::MAX)));
    }

    #[test]
    fn plans() {
        // RFC 6962 section 2.1.3, a tree of 7: the proofs printed there.
        let inclusion = |index, nodes: &[(u8, u64)], folds: &[usize]| {
            let plan = ProofPlan::inclusion(index, 7).unwrap();
            assert_eq!((plan.nodes(), &plan.folds[..]), (&ids(nodes)[..], folds), "inclusion of {index}");
        };
        inclusion(0, &[(0, 1), (1, 1), (1, 2), (0, 6)], &[1, 1, 2]); // [b, h, l]
        inclusion(3, &[(0, 2), (1, 0), (1, 2), (0, 6)], &[1, 1, 2]); // [c, g, l]
        inclusion(4, &[(0, 5), (0, 6), (2, 0)], &[1, 1, 1]); // [f, j, k]
        inclusion(6, &[(1, 2), (2, 0)], &[1, 1]); // [i, k]
        let consistency = |old, nodes: &[(u8, u64)], folds: &[usize]| {
            let plan = ProofPlan::consistency(old, 7).unwrap();
            assert_eq!((plan.nodes(), &plan.folds[..]), (&ids(nodes)[..], folds), "consistency from {old}");
        };
        consistency(3, &[(0, 2), (0, 3), (1, 0), (1, 2), (0, 6)], &[1, 1, 1, 2]); // [c, d, g, l]
        consistency(4, &[(1, 2), (0, 6)], &[2]); // [l]
        consistency(6, &[(1, 2), (0, 6), (2, 0)], &[1, 1, 1]); // [i, j, k]
        consistency(7, &[], &[]);
    }

    #[test]
    fn senseless_plans() {
        assert_eq!(ProofPlan::inclusion(7, 7), Err(PlanError::IndexOutOfTree { index: 7, size: 7 }));
        assert_eq!(ProofPlan::consistency(0, 7), Err(PlanError::Sizes { old: 0, new: 7 }));
        assert_eq!(ProofPlan::consistency(8, 7), Err(PlanError::Sizes { old: 8, new: 7 }));
        let plan = ProofPlan::inclusion(0, 7).unwrap();
        assert_eq!(plan.assemble(&[Hash([0; 32]); 3]), Err(PlanError::Count { expected: 4, found: 3 }));
        let failed = prove_inclusion(0, 2, |_| Err::<Hash, _>("gone"));
        assert_eq!(failed, Err(ProveError::Read("gone")));
    }

    #[test]
    fn the_largest_trees_do_not_overflow() {
        for index in [0, 1 << 63, u64::MAX - 1] {
            ProofPlan::inclusion(index, u64::MAX).unwrap();
            ProofPlan::consistency(index + 1, u64::MAX).unwrap();
        }
        assert_eq!(ProofPlan::root(u64::MAX).nodes().len(), 64);
        assert_eq!(id(63, 0).leaves(), Some(0..1 << 63));
        assert_eq!(id(63, 1).leaves(), None);
        assert_eq!(id(64, 0).leaves(), None);
    }
}
