//! A stretch of the log, checked bundle by bundle against one signed checkpoint.
//!
//! Whoever drives it fetches what [`RangeCheck::wanted`] names and gives it to [`RangeCheck::feed`]; in between [`RangeCheck::work`] checks
//! a few entries at a time, so that the page stays responsive. The server's word counts for nothing: every entry's signature is checked
//! with the pinned key, every entry is hashed here, and each bundle's hashes are proved to be in the tree that the checkpoint signs. The
//! proof begins at the bundle's first leaf, so its lower part is made of the other leaves of the bundle: one proof binds all of them. The
//! checkpoint itself is held against the head that this browser saw last.

use tlog::{
    Checkpoint, Hash, NodeId, ProofPlan, SignedNote, TILE_WIDTH, TileId, TilePath, VerifyingKey, leaf_hash,
    tiles::decode_entries, verify_consistency, verify_inclusion,
};

use crate::{ReceiptKey, Seen};

/// Entries whose signature is checked in one go: some milliseconds.
const AT_ONCE: usize = 8;
/// Tiles kept: the upper ones of a path, and a few neighbours; more are fetched again.
const MAX_TILES: usize = 64;

/// How far it is, or what came of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// First receipt that is checked: the beginning of its bundle.
    pub first: u64,
    /// One past the last.
    pub end: u64,
    /// Receipts checked.
    pub done: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The checkpoint that they were proved against.
    pub head: Option<Seen>,
    /// True when the checkpoint goes on from the head seen before; false when none was seen.
    pub goes_on: bool,
    /// True when nothing is left to do.
    pub ended: bool,
    /// Why the log is not to be believed.
    pub refused: Option<String>,
}

/// The state of a check.
#[derive(Debug)]
pub struct RangeCheck {
    vkey: VerifyingKey,
    keys: Vec<ReceiptKey>,
    seen: Option<Seen>,
    last: u64,
    tiles: Vec<(TileId, Vec<Hash>)>,
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    held_against_seen: bool,
    progress: Progress,
}

/// What is wanted next.
#[derive(Debug)]
enum Want {
    Checkpoint,
    Entries(TilePath),
    Tile(TileId),
    Work,
    Nothing,
}

impl RangeCheck {
    /// With the pinned key, a `vkey`, the head seen last, and the first and the last receipt; further than the log is the log's last.
    ///
    /// # Errors
    /// When the key cannot be read, or the range ends before it begins.
    pub fn new(vkey: &str, seen: Option<Seen>, first: u64, last: u64) -> Result<Self, String> {
        let vkey: VerifyingKey = vkey.parse().map_err(|e| format!("the kept key cannot be read: {e}"))?;
        let key = ReceiptKey::from_vkey(&vkey).map_err(|e| format!("the kept key cannot be used: {e}"))?;
        if first > last {
            return Err("the range ends before it begins".to_owned());
        }
        let width = u64::from(TILE_WIDTH);
        let first = first / width * width;
        Ok(Self {
            vkey,
            keys: vec![key],
            seen,
            last,
            tiles: Vec::new(),
            entries: Vec::new(),
            leaves: Vec::new(),
            held_against_seen: false,
            progress: Progress { first, end: first, ..Progress::default() },
        })
    }

    /// The address of what is to be fetched now; `None` when there is work to do first, or nothing is left.
    pub fn wanted(&self) -> Option<String> {
        match self.want() {
            Want::Checkpoint => Some("/checkpoint".to_owned()),
            Want::Entries(path) => Some(format!("/{path}")),
            Want::Tile(tile) => Some(format!("/{}", TilePath::Hashes(tile))),
            Want::Work | Want::Nothing => None,
        }
    }

    /// Takes what was fetched.
    pub fn feed(&mut self, bytes: &[u8]) {
        let taken = match self.want() {
            Want::Checkpoint => self.take_checkpoint(bytes),
            Want::Entries(path) => decode_entries(bytes, path.tile().width())
                .map(|entries| self.entries = entries.into_iter().map(<[u8]>::to_vec).collect())
                .map_err(|e| format!("the entries from {} on are not a bundle: {e}", self.at())),
            Want::Tile(tile) => tile.decode(bytes).map(|hashes| self.keep(tile, hashes)).map_err(|e| e.to_string()),
            Want::Work | Want::Nothing => Ok(()),
        };
        self.refused_by(taken);
    }

    /// Does a few milliseconds of work; false when something is to be fetched first, or nothing is left.
    pub fn work(&mut self) -> bool {
        if !matches!(self.want(), Want::Work) {
            return false;
        }
        let done = self.some_work();
        self.refused_by(done);
        matches!(self.want(), Want::Work)
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    fn want(&self) -> Want {
        if self.progress.ended {
            return Want::Nothing;
        }
        let Some(head) = self.progress.head else { return Want::Checkpoint };
        if !self.held_against_seen {
            return self.missing(&self.consistency_plan(head)).map_or(Want::Work, Want::Tile);
        }
        if self.entries.is_empty() {
            let bundle = TilePath::entries_in_tree(self.at() / u64::from(TILE_WIDTH), head.size);
            return bundle.map_or(Want::Work, Want::Entries);
        }
        if self.leaves.len() < self.entries.len() {
            return Want::Work;
        }
        self.missing(&self.inclusion_plan(head)).map_or(Want::Work, Want::Tile)
    }

    /// The first leaf of the bundle that is being checked.
    fn at(&self) -> u64 {
        self.progress.first + self.progress.done
    }

    fn take_checkpoint(&mut self, bytes: &[u8]) -> Result<(), String> {
        let note = SignedNote::parse(bytes).map_err(|e| format!("the checkpoint is not a signed note: {e}"))?;
        let opened = Checkpoint::open(&note, self.vkey.name(), std::slice::from_ref(&self.vkey))
            .map_err(|e| format!("the checkpoint is not signed by the kept key: {e}"))?;
        let Checkpoint { size, root, .. } = opened.checkpoint;
        if self.progress.first >= size {
            return Err(format!("the log has {size} receipts, and none from {} on", self.progress.first));
        }
        let width = u64::from(TILE_WIDTH);
        self.progress.end = (self.last.min(size - 1) / width).saturating_add(1).saturating_mul(width).min(size);
        self.progress.head = Some(Seen { size, root });
        Ok(())
    }

    fn consistency_plan(&self, head: Seen) -> Vec<NodeId> {
        let seen = self.seen.filter(|seen| seen.size > 0 && seen.size < head.size);
        seen.and_then(|seen| ProofPlan::consistency(seen.size, head.size).ok())
            .map_or_else(Vec::new, |plan| plan.nodes().to_vec())
    }

    fn inclusion_plan(&self, head: Seen) -> Vec<NodeId> {
        let plan = ProofPlan::inclusion(self.at(), head.size);
        let own = |node: &NodeId| self.own(*node, head.size).is_some();
        plan.map_or_else(|_| Vec::new(), |plan| plan.nodes().iter().copied().filter(|node| !own(node)).collect())
    }

    /// A node over leaves of the bundle that is being checked, from the hashes made here.
    fn own(&self, node: NodeId, size: u64) -> Option<Hash> {
        let tile = TileId::in_tree(0, self.at() / u64::from(TILE_WIDTH), size)?;
        tile.node(&self.leaves, node).ok()
    }

    fn fetched(&self, node: NodeId, size: u64) -> Option<Hash> {
        let wanted = TileId::holding(node, size)?;
        let (_, hashes) = self.tiles.iter().find(|(tile, _)| *tile == wanted)?;
        wanted.node(hashes, node).ok()
    }

    /// The first tile that is not there for one of these nodes.
    fn missing(&self, nodes: &[NodeId]) -> Option<TileId> {
        let size = self.progress.head?.size;
        let wanted = nodes.iter().filter_map(|node| TileId::holding(*node, size));
        wanted.into_iter().find(|wanted| !self.tiles.iter().any(|(tile, _)| tile == wanted))
    }

    fn keep(&mut self, tile: TileId, hashes: Vec<Hash>) {
        if self.tiles.len() >= MAX_TILES {
            self.tiles.remove(0);
        }
        self.tiles.push((tile, hashes));
    }

    fn some_work(&mut self) -> Result<(), String> {
        let Some(head) = self.progress.head else { return Ok(()) };
        if !self.held_against_seen {
            self.hold_against_seen(head)?;
            self.held_against_seen = true;
            return Ok(());
        }
        if self.entries.is_empty() {
            return Err(format!("the log has no receipts from {} on", self.at()));
        }
        let begun = self.leaves.len();
        if begun < self.entries.len() {
            for (entry, offset) in self.entries.iter().skip(begun).take(AT_ONCE).zip(begun as u64..) {
                crate::verify(entry, &self.keys).map_err(|e| format!("receipt {}: {e}", self.at() + offset))?;
                self.progress.bytes += entry.len() as u64;
                self.leaves.push(leaf_hash(entry));
            }
            return Ok(());
        }
        self.prove(head)?;
        self.progress.done += self.entries.len() as u64;
        self.entries.clear();
        self.leaves.clear();
        if self.at() >= self.progress.end {
            self.progress.ended = true;
        }
        Ok(())
    }

    fn hold_against_seen(&mut self, head: Seen) -> Result<(), String> {
        let Some(seen) = self.seen.filter(|seen| seen.size > 0) else { return Ok(()) };
        if seen.size > head.size {
            return Err(format!("the log has {} receipts, this browser saw {}: it was cut off", head.size, seen.size));
        }
        let forked =
            |why: String| format!("the log is another one than this browser saw at {} receipts: {why}", seen.size);
        if seen.size == head.size {
            if seen.root != head.root {
                return Err(forked("its root differs".to_owned()));
            }
        } else {
            let plan = ProofPlan::consistency(seen.size, head.size).map_err(|e| e.to_string())?;
            let hashes: Option<Vec<Hash>> = plan.nodes().iter().map(|node| self.fetched(*node, head.size)).collect();
            let proof = plan.assemble(&hashes.unwrap_or_default()).map_err(|e| e.to_string())?;
            verify_consistency(seen.size, &seen.root, head.size, &head.root, &proof)
                .map_err(|e| forked(e.to_string()))?;
        }
        self.progress.goes_on = true;
        Ok(())
    }

    fn prove(&self, head: Seen) -> Result<(), String> {
        let at = self.at();
        let not_there =
            |why: String| format!("receipts from {at} on are not in the tree that the checkpoint signs: {why}");
        let plan = ProofPlan::inclusion(at, head.size).map_err(|e| not_there(e.to_string()))?;
        let hash = |node: &NodeId| self.own(*node, head.size).or_else(|| self.fetched(*node, head.size));
        let hashes: Option<Vec<Hash>> = plan.nodes().iter().map(hash).collect();
        let proof = plan.assemble(&hashes.unwrap_or_default()).map_err(|e| not_there(e.to_string()))?;
        let first = self.leaves.first().ok_or_else(|| not_there("the bundle is empty".to_owned()))?;
        verify_inclusion(first, at, head.size, &proof, &head.root).map_err(|e| not_there(e.to_string()))
    }

    fn refused_by(&mut self, result: Result<(), String>) {
        if let Err(why) = result {
            self.progress.refused = Some(why);
            self.progress.ended = true;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail by panicking")]

    use tlog::{root_of_leaves, tiles::encode_entries};

    use super::*;
    use crate::{Envelope, EnvelopeSignature, PAYLOAD_TYPE, pae};

    /// A log in memory, as a server would serve it.
    struct Served {
        vkey: VerifyingKey,
        entries: Vec<Vec<u8>>,
        signing: ed25519_dalek::SigningKey,
    }

    impl Served {
        fn of(count: u64) -> Self {
            use ed25519_dalek::Signer as _;
            let signing = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
            let vkey = VerifyingKey::new("test.example/log", signing.verifying_key().as_bytes()).unwrap();
            let keyid = ReceiptKey::from_vkey(&vkey).unwrap().keyid().to_owned();
            let entry = |n: u64| {
                let facts = serde_json::json!({ "command": "pause", "command_id": format!("c-{n}"), "reason": "" });
                let at = model::Timestamp::from_millis(1_778_162_792_045);
                let payload = crate::Payload::new(model::Kind::CommandAccepted, at, "dana".parse().unwrap(), &facts);
                let payload = crate::canonical_bytes(&payload.unwrap()).unwrap();
                let sig = signing.sign(&pae(PAYLOAD_TYPE, &payload)).to_bytes().to_vec();
                let signatures = vec![EnvelopeSignature { keyid: keyid.clone(), sig }];
                Envelope { payload_type: PAYLOAD_TYPE.to_owned(), payload, signatures }.to_bytes()
            };
            Self { vkey, entries: (0..count).map(entry).collect(), signing }
        }

        fn leaves(&self) -> Vec<Hash> {
            self.entries.iter().map(|entry| leaf_hash(entry)).collect()
        }

        fn head(&self, size: usize) -> Seen {
            Seen { size: size as u64, root: root_of_leaves(&self.leaves()[..size]) }
        }

        fn serve(&self, path: &str) -> Vec<u8> {
            use ed25519_dalek::Signer as _;
            let size = self.entries.len() as u64;
            if path == "/checkpoint" {
                let head = self.head(self.entries.len());
                let text = Checkpoint::new(self.vkey.name(), head.size, head.root).unwrap().to_string();
                let signature = self.signing.sign(text.as_bytes()).to_bytes();
                return SignedNote::assemble(text, &self.vkey, &signature).unwrap().to_string().into_bytes();
            }
            match path[1..].parse().unwrap() {
                TilePath::Entries(tile) => {
                    let from = tile.index() as usize * 256;
                    encode_entries(&self.entries[from..from + usize::from(tile.width())]).unwrap()
                }
                TilePath::Hashes(tile) => {
                    assert_eq!(TileId::in_tree(tile.level(), tile.index(), size), Some(tile));
                    let (level, nodes) = tile.nodes().unwrap();
                    let leaves = self.leaves();
                    let hash = |n: u64| root_of_leaves(&leaves[(n << level) as usize..((n + 1) << level) as usize]);
                    tile.encode(&nodes.map(hash).collect::<Vec<_>>()).unwrap()
                }
            }
        }

        fn check(&self, first: u64, last: u64, seen: Option<Seen>) -> Progress {
            let mut check = RangeCheck::new(&self.vkey.to_string(), seen, first, last).unwrap();
            for _ in 0..100_000 {
                while check.work() {}
                match check.wanted() {
                    Some(path) => check.feed(&self.serve(&path)),
                    None if check.progress().ended => return check.progress().clone(),
                    None => {}
                }
            }
            panic!("it does not end");
        }
    }

    #[test]
    fn ranges_of_a_good_log_hold() {
        let log = Served::of(777);
        for (first, last, from, end) in
            [(0, 776, 0, 777), (300, 300, 256, 512), (600, u64::MAX, 512, 777), (0, 0, 0, 256)]
        {
            let p = log.check(first, last, None);
            assert_eq!((p.refused, p.first, p.end, p.done), (None, from, end, end - from), "{first} to {last}");
        }
        for seen in [1, 256, 300, 776, 777] {
            let p = log.check(0, 10, Some(log.head(seen)));
            assert_eq!((p.refused, p.goes_on), (None, true), "{seen}");
        }
    }

    #[test]
    fn what_was_changed_is_refused() {
        let good = Served::of(300);
        // One byte of an entry: its signature.
        let mut flipped = Served::of(300);
        let middle = flipped.entries[77].len() / 2;
        flipped.entries[77][middle] ^= 1;
        assert!(flipped.check(0, 299, None).refused.unwrap().contains("receipt 77"));
        // Properly signed, but another log than the one seen.
        let mut swapped = Served::of(300);
        swapped.entries.swap(3, 4);
        assert!(swapped.check(0, 299, Some(good.head(200))).refused.unwrap().contains("another one"));
        assert!(swapped.check(0, 299, Some(good.head(300))).refused.unwrap().contains("its root differs"));
        // Cut off.
        let shorter = Served::of(100);
        assert!(shorter.check(0, 99, Some(good.head(200))).refused.unwrap().contains("cut off"));
        assert!(shorter.check(500, 600, None).refused.unwrap().contains("none from"));
    }

    #[test]
    fn entries_that_are_not_in_the_tree_are_refused() {
        let log = Served::of(300);
        let mut other = Served::of(300);
        other.entries.swap(10, 20);
        let mut check = RangeCheck::new(&log.vkey.to_string(), None, 0, 255).unwrap();
        // The checkpoint and the hashes of one log, the entries of another: every signature holds.
        while !check.progress().ended {
            while check.work() {}
            if let Some(path) = check.wanted() {
                let served = if path.starts_with("/tile/entries/") { &other } else { &log };
                check.feed(&served.serve(&path));
            }
        }
        assert!(check.progress().refused.as_ref().unwrap().contains("not in the tree"));
    }

    #[test]
    fn nothing_from_outside_panics() {
        let log = Served::of(3);
        for (vkey, first) in [("", 0), ("x", 0), (&*log.vkey.to_string(), 1)] {
            assert!(RangeCheck::new(vkey, None, first, 0).is_err(), "{vkey}");
        }
        let begin = || RangeCheck::new(&log.vkey.to_string(), None, 0, u64::MAX).unwrap();
        for noise in [&b""[..], b"x", &[0xff; 4096]] {
            let mut check = begin();
            check.feed(noise);
            assert!(check.progress().refused.is_some());
            let mut check = begin();
            check.feed(&log.serve("/checkpoint"));
            while check.work() {}
            check.feed(noise);
            assert!(check.progress().refused.is_some());
        }
    }
}
