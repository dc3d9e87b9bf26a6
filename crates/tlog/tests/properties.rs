//! What must hold for every tree, and for every byte that anyone sends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests panic and print")]

use std::collections::HashMap;

use proptest::prelude::*;
use tlog::{
    Checkpoint, Frontier, Hash, NodeId, ProofPlan, SignedNote, TileId, TilePath, TlogProof, VerifyingKey,
    inclusion_steps, leaf_hash, prove_consistency, prove_inclusion, root_of_leaves, tiles, verify_consistency,
    verify_inclusion,
};

/// Larger than one tile, so that partial and full tiles and two levels of them occur.
const LARGEST: u64 = 300;
const GOLDEN: &str = include_str!("golden/three-of-five.tlog-proof");

/// A tree with all its complete nodes and the root of each of its sizes.
struct Tree {
    leaves: Vec<Hash>,
    nodes: HashMap<NodeId, Hash>,
    roots: Vec<Hash>,
}

impl Tree {
    fn new(entries: &[Vec<u8>]) -> Self {
        let mut frontier = Frontier::new();
        let mut nodes = HashMap::new();
        let mut roots = vec![frontier.root()];
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        for leaf in &leaves {
            nodes.extend(frontier.push(*leaf));
            roots.push(frontier.root());
        }
        Self { leaves, nodes, roots }
    }

    /// Distinct entries: an equal neighbour's proof would rightly verify.
    fn numbered(size: u64, salt: u64) -> Self {
        Self::new(&(0..size).map(|i| [i, salt].map(u64::to_be_bytes).concat()).collect::<Vec<_>>())
    }

    fn read(&self, id: NodeId) -> Result<Hash, NodeId> {
        self.nodes.get(&id).copied().ok_or(id)
    }

    fn root(&self, size: u64) -> &Hash {
        &self.roots[size as usize]
    }
}

fn flipped(hash: &Hash, bit: u8) -> Hash {
    let mut hash = *hash;
    hash.0[usize::from(bit / 8)] ^= 1 << (bit % 8);
    hash
}

/// A tree's size, and numbers to pick within it.
fn picks() -> impl Strategy<Value = (u64, u64, u64, u64, u8)> {
    (1..=LARGEST).prop_flat_map(|size| (Just(size), 0..size, 0..size, any::<u64>(), any::<u8>()))
}

proptest! {
    #[test]
    fn every_leaf_has_a_proof(size in 1..=LARGEST, salt: u64) {
        let tree = Tree::numbered(size, salt);
        for (index, leaf) in (0..).zip(&tree.leaves) {
            let proof = prove_inclusion(index, size, |id| tree.read(id)).unwrap();
            prop_assert_eq!(verify_inclusion(leaf, index, size, &proof, tree.root(size)), Ok(()));
        }
    }

    #[test]
    fn no_other_inclusion_verifies((size, index, other, salt, bit) in picks(), place: prop::sample::Index) {
        let tree = Tree::numbered(size, salt);
        let proof = prove_inclusion(index, size, |id| tree.read(id)).unwrap();
        let (leaf, root) = (&tree.leaves[index as usize], tree.root(size));
        let verify = |leaf: &Hash, index, proof: &[Hash], root: &Hash| verify_inclusion(leaf, index, size, proof, root);
        prop_assert_eq!(verify(leaf, index, &proof, root), Ok(()));
        if other != index {
            prop_assert!(verify(leaf, other, &proof, root).is_err(), "another index");
            prop_assert!(verify(&tree.leaves[other as usize], index, &proof, root).is_err(), "another leaf");
        }
        prop_assert!(verify(&flipped(leaf, bit), index, &proof, root).is_err(), "a bit of the leaf");
        prop_assert!(verify(leaf, index, &proof, &flipped(root, bit)).is_err(), "a bit of the root");
        let longer = [&proof[..], &[*leaf]].concat();
        prop_assert!(verify(leaf, index, &longer, root).is_err(), "a hash too many");
        if !proof.is_empty() {
            let mut forged = proof.clone();
            let hash = place.get(&proof);
            let at = proof.iter().position(|h| h == hash).unwrap();
            forged[at] = flipped(hash, bit);
            prop_assert!(verify(leaf, index, &forged, root).is_err(), "a bit of the proof");
            prop_assert!(verify(leaf, index, &proof[1..], root).is_err(), "a hash too few");
        }
    }

    #[test]
    fn steps_are_the_nodes_of_the_tree((size, index, _, salt, _) in picks()) {
        let tree = Tree::numbered(size, salt);
        let proof = prove_inclusion(index, size, |id| tree.read(id)).unwrap();
        let mut covered = index..index + 1;
        for step in inclusion_steps(&tree.leaves[index as usize], index, size, &proof).unwrap() {
            prop_assert!(step.first_leaf <= covered.start && covered.end <= step.end_leaf);
            covered = step.first_leaf..step.end_leaf;
            let below = &tree.leaves[covered.start as usize..covered.end as usize];
            prop_assert_eq!(step.result, root_of_leaves(below));
        }
        prop_assert_eq!(covered, 0..size);
    }

    #[test]
    fn every_older_tree_has_a_proof(size in 1..=LARGEST, salt: u64) {
        let tree = Tree::numbered(size, salt);
        for old in 1..=size {
            let proof = prove_consistency(old, size, |id| tree.read(id)).unwrap();
            prop_assert_eq!(verify_consistency(old, tree.root(old), size, tree.root(size), &proof), Ok(()), "from {}", old);
        }
    }

    #[test]
    fn no_other_consistency_verifies((size, old, other, salt, bit) in picks(), place: prop::sample::Index) {
        let (old, other) = (old + 1, other + 1);
        let tree = Tree::numbered(size, salt);
        let proof = prove_consistency(old, size, |id| tree.read(id)).unwrap();
        let (old_root, root) = (tree.root(old), tree.root(size));
        let verify = |old, old_root: &Hash, proof: &[Hash], root: &Hash| {
            verify_consistency(old, old_root, size, root, proof)
        };
        prop_assert_eq!(verify(old, old_root, &proof, root), Ok(()));
        if other != old {
            prop_assert!(verify(other, old_root, &proof, root).is_err(), "another older size");
            prop_assert!(verify(old, tree.root(other), &proof, root).is_err(), "another older root");
        }
        prop_assert!(verify(old, &flipped(old_root, bit), &proof, root).is_err(), "a bit of the older root");
        prop_assert!(verify(old, old_root, &proof, &flipped(root, bit)).is_err(), "a bit of the newer root");
        let longer = [&proof[..], &[*root]].concat();
        prop_assert!(verify(old, old_root, &longer, root).is_err(), "a hash too many");
        if !proof.is_empty() {
            let mut forged = proof.clone();
            let at = place.index(proof.len());
            forged[at] = flipped(&proof[at], bit);
            prop_assert!(verify(old, old_root, &forged, root).is_err(), "a bit of the proof");
            prop_assert!(verify(old, old_root, &proof[1..], root).is_err(), "a hash too few");
        }
    }

    #[test]
    fn a_rewritten_entry_breaks_consistency((size, old, rewritten, salt, _) in picks()) {
        let old = old + 1;
        prop_assume!(rewritten < old && old < size);
        let honest = Tree::numbered(size, salt);
        let mut entries: Vec<Vec<u8>> = (0..size).map(|i| [i, salt].map(u64::to_be_bytes).concat()).collect();
        entries[rewritten as usize].push(0);
        let forged = Tree::new(&entries);
        let proof = prove_consistency(old, size, |id| forged.read(id)).unwrap();
        prop_assert!(verify_consistency(old, honest.root(old), size, forged.root(size), &proof).is_err());
    }

    #[test]
    fn roots_and_frontiers_come_from_stored_nodes(size in 1..=LARGEST, salt: u64) {
        let tree = Tree::numbered(size, salt);
        let plan = ProofPlan::root(size);
        let hashes: Vec<Hash> = plan.nodes().iter().map(|id| tree.nodes[id]).collect();
        prop_assert_eq!(plan.assemble(&hashes).unwrap(), [*tree.root(size)]);
        let frontier = Frontier::restore(size, Frontier::nodes_of(size).iter().map(|id| tree.nodes[id]).collect()).unwrap();
        prop_assert_eq!(frontier.root(), *tree.root(size));
        prop_assert_eq!(root_of_leaves(&tree.leaves), *tree.root(size));
    }

    /// Writing only what grew, step by step, leaves every tile as a reader of the final tree needs it.
    #[test]
    fn grown_tiles_hold_every_node(sizes in prop::collection::btree_set(1..=LARGEST, 1..6), salt: u64) {
        let size = *sizes.last().unwrap();
        let tree = Tree::numbered(size, salt);
        let mut files: HashMap<String, Vec<u8>> = HashMap::new();
        let mut before = 0;
        for &now in &sizes {
            for tile in TileId::grown(before, now) {
                let (level, span) = tile.nodes().unwrap();
                let hashes: Vec<Hash> = span.map(|index| tree.nodes[&NodeId { level, index }]).collect();
                files.insert(TilePath::Hashes(tile).to_string(), tile.encode(&hashes).unwrap());
            }
            before = now;
        }
        for (&id, hash) in &tree.nodes {
            let tile = TileId::holding(id, size).unwrap();
            let hashes = tile.decode(&files[&TilePath::Hashes(tile).to_string()]).unwrap();
            prop_assert_eq!(tile.node(&hashes, id), Ok(*hash));
        }
    }

    #[test]
    fn bundles_round_trip(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..=256)) {
        let bundle = tiles::encode_entries(&entries).unwrap();
        prop_assert_eq!(tiles::decode_entries(&bundle, entries.len() as u16).unwrap(), entries);
    }

    #[test]
    fn tile_paths_round_trip(level in 0..=63_u8, index: u64, width in 1..=256_u16) {
        for path in [TilePath::Hashes(TileId::new(level, index, width).unwrap()), TilePath::Entries(TileId::new(0, index, width).unwrap())] {
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000), width: u16) {
        check_parsers(&bytes);
        let _ = tiles::decode_entries(&bytes, width);
        let _ = TileId::new(0, 0, width).map(|tile| tile.decode(&bytes));
    }

    #[test]
    fn almost_valid_texts_never_panic(text in "(c2sp.org/tlog-proof@v1|tile/entries/|tile/0/|log|a\\+12345678\\+AQ)?[\n =+/x.p—0-9a-zA-Z]{0,120}") {
        check_parsers(text.as_bytes());
    }

    /// Any change of a valid file is refused, or is another valid file that is written back the same.
    #[test]
    fn damaged_files(at: prop::sample::Index, length in 0..3_usize, with in prop::collection::vec(any::<u8>(), 0..3)) {
        let note = &GOLDEN[GOLDEN.find("\n\n").unwrap() + 2..];
        for original in [GOLDEN, note, "tile/0/x001/x234/067.p/8", "log.example/test+fae20353+AYqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"] {
            let mut damaged = original.as_bytes().to_vec();
            let from = at.index(damaged.len());
            let to = (from + length).min(damaged.len());
            damaged.splice(from..to, with.iter().copied());
            check_parsers(&damaged);
        }
    }

    #[test]
    fn senseless_requests_never_panic(a: u64, b: u64, level: u8, hashes in prop::collection::vec(any::<[u8; 32]>().prop_map(Hash), 0..70)) {
        let zero = Hash([0; 32]);
        let _ = verify_inclusion(&zero, a, b, &hashes, &zero);
        let _ = verify_consistency(a, &zero, b, &zero, &hashes);
        let _ = ProofPlan::inclusion(a, b).map(|plan| plan.assemble(&hashes));
        let _ = ProofPlan::consistency(a, b).map(|plan| plan.assemble(&hashes));
        let _ = Frontier::restore(a, hashes.clone());
        let id = NodeId { level, index: a };
        let _ = id.leaves();
        if let Some(tile) = TileId::holding(id, b) {
            let _ = tile.node(&hashes, id);
        }
        let _ = TileId::in_tree(level, a, b).map(|tile| tile.nodes());
    }
}

/// Runs every parser; what one accepts, its writer must write again byte for byte.
fn check_parsers(bytes: &[u8]) {
    if let Ok(note) = SignedNote::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        let _ = Checkpoint::open(&note, "log.example/test", &[]);
    }
    if let Ok(proof) = TlogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(path) = text.parse::<TilePath>() {
        assert_eq!(path.to_string(), text);
    }
    if let Ok(key) = text.parse::<VerifyingKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(hash) = text.parse::<Hash>() {
        assert_eq!(hash.to_string(), text);
    }
    if let Ok(hash) = Hash::from_base64(text) {
        assert_eq!(hash.to_base64(), text);
    }
}
