//! A second opinion: the crates `tlog_tiles` and `signed_note`, written by others, must agree.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests panic and print")]

use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use tlog::{
    Checkpoint, Frontier, Hash, NodeId, SignedNote, TileId, TilePath, VerifyingKey, leaf_hash, prove_consistency,
    prove_inclusion, verify_consistency, verify_inclusion,
};
use tlog_tiles as theirs;

const ORIGIN: &str = "log.example/test";

/// One tree in both implementations: our nodes by id, their hashes in their dense order.
struct Both {
    size: u64,
    ours: Frontier,
    nodes: std::collections::HashMap<NodeId, Hash>,
    dense: Dense,
}

#[derive(Default)]
struct Dense(Vec<theirs::Hash>);

impl theirs::HashReader for Dense {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<theirs::Hash>, theirs::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

impl Both {
    fn new(size: u64, salt: u64) -> Self {
        let mut both = Self { size, ours: Frontier::new(), nodes: Default::default(), dense: Dense::default() };
        for i in 0..size {
            let entry = [i, salt].map(u64::to_be_bytes).concat();
            both.nodes.extend(both.ours.push(leaf_hash(&entry)));
            let new = theirs::stored_hashes(i, &entry, &both.dense).unwrap();
            both.dense.0.extend(new);
        }
        both
    }

    fn read(&self, id: NodeId) -> Result<Hash, NodeId> {
        self.nodes.get(&id).copied().ok_or(id)
    }

    fn root_at(&self, size: u64) -> theirs::Hash {
        theirs::tree_hash(size, &self.dense).unwrap()
    }
}

fn ours(hashes: &[theirs::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash(hash.0)).collect()
}

proptest! {
    #[test]
    fn trees_and_proofs(size in 1..=300_u64, salt: u64, picks: [prop::sample::Index; 8]) {
        let both = Both::new(size, salt);
        let root = both.ours.root();
        prop_assert_eq!(root, Hash(both.root_at(size).0));
        for pick in picks {
            let index = pick.index(size as usize) as u64;
            let proof = prove_inclusion(index, size, |id| both.read(id)).unwrap();
            prop_assert_eq!(&proof, &ours(&theirs::prove_record(size, index, &both.dense).unwrap()));

            let old = index + 1;
            let proof = prove_consistency(old, both.size, |id| both.read(id)).unwrap();
            prop_assert_eq!(&proof, &ours(&theirs::prove_tree(size, old, &both.dense).unwrap()));
        }
    }

    /// On claims of which most are false in one thing or another, both say yes or both say no.
    #[test]
    fn verdicts(
        size in 1..=40_u64, index: prop::sample::Index, old: prop::sample::Index,
        false_size in prop::option::weighted(0.3, 0..=42_u64), false_place in prop::option::weighted(0.3, 0..=42_u64),
        change in prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let both = Both::new(size, 0);
        let (index, old) = (index.index(size as usize) as u64, old.index(size as usize) as u64 + 1);
        let claimed_size = false_size.unwrap_or(size);
        let (a, b) = (false_place.unwrap_or(index), false_place.unwrap_or(old));
        let change = |mut proof: Vec<Hash>| {
            if let (Some((place, byte)), false) = (change, proof.is_empty()) {
                let at = place.index(proof.len());
                proof[at].0[0] ^= byte;
            }
            proof
        };
        let their = |proof: &[Hash]| proof.iter().map(|hash| theirs::Hash(hash.0)).collect::<Vec<_>>();
        let root = both.root_at(size);

        let proof = change(prove_inclusion(index, size, |id| both.read(id)).unwrap());
        let leaf = both.nodes[&NodeId { level: 0, index }];
        let we = verify_inclusion(&leaf, a, claimed_size, &proof, &Hash(root.0));
        let they = theirs::check_record(&their(&proof), claimed_size, root, a, theirs::Hash(leaf.0));
        prop_assert_eq!(we.is_ok(), they.is_ok(), "{:?} {:?}", we, they);

        let proof = change(prove_consistency(old, size, |id| both.read(id)).unwrap());
        let old_root = both.root_at(old);
        let we = verify_consistency(b, &Hash(old_root.0), claimed_size, &Hash(root.0), &proof);
        let they = theirs::check_tree(&their(&proof), claimed_size, root, b, old_root);
        // Of two empty trees they say nothing; we compare the roots, which here are of trees with leaves.
        prop_assert_eq!(we.is_ok(), they.is_ok(), "{:?} {:?}", we, they);
    }

    /// Their paths carry the tile's height and call entries data: else they are the same.
    #[test]
    fn tile_paths(level in 0..=63_u8, index in 0..=u64::MAX >> 8, width in 1..=256_u16) {
        let tile = TileId::new(level, index, width).unwrap();
        let path = theirs::Tile::new(8, level, index, width.into(), false).path();
        prop_assert_eq!(path.replacen("tile/8/", "tile/", 1), TilePath::Hashes(tile).to_string());
        let entries = TileId::new(0, index, width).unwrap();
        let path = theirs::Tile::new(8, 0, index, width.into(), true).path();
        prop_assert_eq!(path.replacen("tile/8/data/", "tile/entries/", 1), TilePath::Entries(entries).to_string());
    }

    #[test]
    fn tile_bytes(size in 1..=600_u64) {
        let both = Both::new(size, 0);
        for tile in TileId::grown(0, size) {
            let (level, span) = tile.nodes().unwrap();
            let hashes: Vec<Hash> = span.map(|index| both.nodes[&NodeId { level, index }]).collect();
            let theirs = theirs::Tile::new(8, tile.level(), tile.index(), tile.width().into(), false);
            prop_assert_eq!(tile.encode(&hashes).unwrap(), theirs.read_data(&both.dense).unwrap());
        }
    }

    #[test]
    fn notes(seed: [u8; 32], size in 1..u64::MAX, root: [u8; 32], damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>()))) {
        let secret = SigningKey::from_bytes(&seed);
        let key = VerifyingKey::new(ORIGIN, secret.verifying_key().as_bytes()).unwrap();
        let verifier = signed_note::StandardVerifier::new(&key.to_string()).unwrap();
        prop_assert_eq!(signed_note::Verifier::key_id(&verifier), key.key_id());
        let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);

        let checkpoint = Checkpoint::new(ORIGIN, size, Hash(root)).unwrap();
        let mut note = checkpoint.to_note().unwrap();
        note.add(&key, &secret.sign(note.bytes_to_sign()).to_bytes()).unwrap();
        let mut bytes = note.to_string().into_bytes();
        if let Some((place, byte)) = damage {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        let we = SignedNote::parse(&bytes).and_then(|note| note.verify(std::slice::from_ref(&key)).map(|_| note.text().to_owned()));
        let they = signed_note::Note::from_bytes(&bytes).and_then(|note| note.verify(&known).map(|_| note.text().to_vec()));
        prop_assert_eq!(we.is_ok(), they.is_ok(), "{:?} {:?}", we, they);
        if let (Ok(we), Ok(they)) = (we, they) {
            prop_assert_eq!(we.as_bytes(), they);
            let parsed = theirs::Checkpoint::from_bytes(we.as_bytes()).unwrap();
            prop_assert_eq!((parsed.origin(), parsed.size(), parsed.hash().0), (ORIGIN, size, root));
        }
    }
}
