//! c2sp.org/tlog-tiles: the tree as files of 256 hashes, the entries as bundles of 256.
//!
//! `tile/<L>/<N>[.p/<W>]` holds the hashes of the nodes of level `8·L` from `256·N` on; `tile/entries/<N>[.p/<W>]`
//! holds the entries of the leaves that `tile/0/<N>` hashes, each behind its length as a big-endian 16-bit number.
//! `N` is written in groups of three digits, all but the last with an `x`: 1234067 is `x001/x234/067`. `.p/<W>` names
//! a partial tile of `W` < 256 hashes: the right edge of some tree.

use std::{fmt, ops::Range, str::FromStr};

use crate::{Hash, NodeId, node_hash, parse_decimal};

/// Hashes of a full tile, entries of a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Levels of the tree that one tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// Highest level of tiles that the specification allows in a path.
pub const MAX_TILE_LEVEL: u8 = 63;
/// Bytes of an entry: its length is written in 16 bits.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;
/// Bytes of a tile's path: `tile/63/` and 64 bits in groups of three with `.p/255` need 49.
pub const MAX_PATH_BYTES: usize = 64;

const HASH_BYTES: usize = 32;
const LENGTH_BYTES: usize = 2;

/// A tile of hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

/// What a path names. `Display` and `FromStr` are the path below the log's prefix, without a leading slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TilePath {
    /// `tile/<L>/<N>[.p/<W>]`
    Hashes(TileId),
    /// `tile/entries/<N>[.p/<W>]`; the id is that of the level 0 tile over the same leaves.
    Entries(TileId),
}

/// Why a path names no tile, or bytes are not that tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Not the one spelling of a tile's path.
    #[error("not a tile's path")]
    Path,
    /// Level above 63, or width not 1 to 256.
    #[error("no such tile")]
    Id,
    /// Not as many bytes as the tile's width calls for.
    #[error("{found} bytes where a tile of this width has {expected}")]
    Length {
        /// Bytes of this width.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// Longer than [`MAX_ENTRY_BYTES`].
    #[error("entry of {0} bytes, more than {MAX_ENTRY_BYTES}")]
    EntryTooLarge(usize),
    /// The bundle ends within an entry or holds another number of entries than its width.
    #[error("the bundle does not hold exactly {0} entries")]
    Bundle(u16),
    /// The node is not within this tile.
    #[error("the tile does not hold this node")]
    Node,
}

impl TileId {
    /// The tile at `index` of `level` with its first `width` hashes.
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        let valid = level <= MAX_TILE_LEVEL && (1..=TILE_WIDTH).contains(&width);
        if valid { Ok(Self { level, index, width }) } else { Err(TileError::Id) }
    }

    /// The tile at `index` of `level` as wide as it is in a tree of `size` leaves; `None` where that tree has none.
    pub fn in_tree(level: u8, index: u64, size: u64) -> Option<Self> {
        // Nodes of this level that are complete in the tree.
        let nodes = size.checked_shr(u32::from(level) * u32::from(TILE_HEIGHT)).unwrap_or(0);
        let rest = nodes.checked_sub(index.checked_mul(TILE_WIDTH.into())?)?;
        Self::new(level, index, rest.min(TILE_WIDTH.into()) as u16).ok()
    }

    /// All tiles of a tree of `size` leaves that a tree of `old_size` did not have, or had narrower: what to write when
    /// the tree grew, lower levels first.
    pub fn grown(old_size: u64, size: u64) -> impl Iterator<Item = Self> {
        (0..=u64::BITS as u8 / TILE_HEIGHT).flat_map(move |level| {
            let shift = u32::from(level) * u32::from(TILE_HEIGHT);
            let nodes = |size: u64| size.checked_shr(shift).unwrap_or(0);
            let (before, after) = (nodes(old_size), nodes(size));
            // Nothing new on this level: no tile.
            let tiles = if after > before { before / 256..after.div_ceil(256) } else { 0..0 };
            tiles.filter_map(move |index| Self::in_tree(level, index, size))
        })
    }

    /// The tile that holds or spans `node`, as wide as it is in a tree of `size` leaves.
    pub fn holding(node: NodeId, size: u64) -> Option<Self> {
        let (level, within) = (node.level / TILE_HEIGHT, node.level % TILE_HEIGHT);
        Self::in_tree(level, node.index.checked_shr((TILE_HEIGHT - within).into())?, size)
    }

    /// Level of the tile; its hashes are nodes of level `8·level`.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Place among the tiles of its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes in the tile, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether the tile has all its 256 hashes and will never change.
    pub fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The level and the indices of the nodes whose hashes the tile lists; `None` above any tree of 64 bits.
    pub fn nodes(&self) -> Option<(u8, Range<u64>)> {
        let level = self.level.checked_mul(TILE_HEIGHT)?;
        let first = self.index.checked_mul(TILE_WIDTH.into())?;
        Some((level, first..first.checked_add(self.width.into())?))
    }

    /// The tile's bytes.
    pub fn encode(&self, hashes: &[Hash]) -> Result<Vec<u8>, TileError> {
        self.check_length(hashes.len() * HASH_BYTES)?;
        Ok(hashes.iter().flat_map(|hash| hash.0).collect())
    }

    /// The tile's hashes.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
        self.check_length(bytes.len())?;
        let (hashes, _) = bytes.as_chunks::<HASH_BYTES>();
        Ok(hashes.iter().copied().map(Hash).collect())
    }

    /// The hash of a node within the tile's span, from the tile's hashes.
    pub fn node(&self, hashes: &[Hash], node: NodeId) -> Result<Hash, TileError> {
        self.check_length(hashes.len() * HASH_BYTES)?;
        let (level, span) = self.nodes().ok_or(TileError::Node)?;
        let above = node.level.checked_sub(level).filter(|above| *above < TILE_HEIGHT).ok_or(TileError::Node)?;
        let first = node.index.checked_mul(1 << above).ok_or(TileError::Node)?;
        let offset = first.checked_sub(span.start).and_then(|offset| usize::try_from(offset).ok());
        let offset = offset.ok_or(TileError::Node)?;
        let end = offset.checked_add(1 << above).ok_or(TileError::Node)?;
        complete_root(hashes.get(offset..end).ok_or(TileError::Node)?).ok_or(TileError::Node)
    }

    fn check_length(&self, found: usize) -> Result<(), TileError> {
        let expected = usize::from(self.width) * HASH_BYTES;
        if found == expected { Ok(()) } else { Err(TileError::Length { expected, found }) }
    }

    /// `<N>[.p/<W>]`
    fn fmt_index(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for group in groups.iter().skip(1).rev() {
            write!(f, "x{group:03}/")?;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl TilePath {
    /// The tile of hashes, or the one over the same leaves as the bundle.
    pub fn tile(&self) -> TileId {
        match self {
            Self::Hashes(tile) | Self::Entries(tile) => *tile,
        }
    }

    /// The bundle over the leaves of the level 0 tile at `index`, as wide as in a tree of `size` leaves.
    pub fn entries_in_tree(index: u64, size: u64) -> Option<Self> {
        TileId::in_tree(0, index, size).map(Self::Entries)
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hashes(tile) => write!(f, "tile/{}/", tile.level)?,
            Self::Entries(_) => f.write_str("tile/entries/")?,
        }
        self.tile().fmt_index(f)
    }
}

impl FromStr for TilePath {
    type Err = TileError;
    fn from_str(path: &str) -> Result<Self, TileError> {
        if path.len() > MAX_PATH_BYTES {
            return Err(TileError::Path);
        }
        let (kind, rest) = path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(TileError::Path)?;
        let (digits, width) = match rest.split_once(".p/") {
            Some((digits, width)) => (digits, parse_decimal(width).filter(|w| *w < TILE_WIDTH.into())),
            None => (rest, Some(TILE_WIDTH.into())),
        };
        let width = width.and_then(|width| u16::try_from(width).ok()).ok_or(TileError::Path)?;
        let mut index = 0_u64;
        for group in digits.split('/') {
            let group = group.strip_prefix('x').unwrap_or(group);
            if group.len() != 3 || !group.bytes().all(|b| b.is_ascii_digit()) {
                return Err(TileError::Path);
            }
            let group: u64 = group.parse().map_err(|_| TileError::Path)?;
            index = index.checked_mul(1000).and_then(|index| index.checked_add(group)).ok_or(TileError::Path)?;
        }
        let level = if kind == "entries" { Some(0) } else { parse_decimal(kind) };
        let level = level.and_then(|level| u8::try_from(level).ok()).ok_or(TileError::Path)?;
        let tile = TileId::new(level, index, width).map_err(|_| TileError::Path)?;
        let parsed = if kind == "entries" { Self::Entries(tile) } else { Self::Hashes(tile) };
        // Misplaced `x` and leading groups of zeroes are other spellings of the same tile: only one is right.
        if parsed.to_string() == path { Ok(parsed) } else { Err(TileError::Path) }
    }
}

/// The bytes of a bundle of 1 to 256 entries.
pub fn encode_entries<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, TileError> {
    if entries.is_empty() || entries.len() > TILE_WIDTH.into() {
        return Err(TileError::Bundle(TILE_WIDTH));
    }
    let mut bundle = Vec::with_capacity(entries.iter().map(|entry| entry.as_ref().len() + LENGTH_BYTES).sum());
    for entry in entries.iter().map(AsRef::as_ref) {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLarge(entry.len()))?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The entries of a bundle of exactly `width` entries.
pub fn decode_entries(bundle: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    if !(1..=TILE_WIDTH).contains(&width) {
        return Err(TileError::Id);
    }
    let mut rest = bundle;
    let mut entries = Vec::with_capacity(width.into());
    for _ in 0..width {
        let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(TileError::Bundle(width))?;
        let length = u16::from_be_bytes(*length);
        let (entry, after) = after.split_at_checked(length.into()).ok_or(TileError::Bundle(width))?;
        entries.push(entry);
        rest = after;
    }
    if rest.is_empty() { Ok(entries) } else { Err(TileError::Bundle(width)) }
}

/// The root of a complete subtree, from its hashes; their number is a power of two.
fn complete_root(hashes: &[Hash]) -> Option<Hash> {
    match hashes {
        [] => None,
        [hash] => Some(*hash),
        _ => {
            let (left, right) = hashes.split_at_checked(hashes.len() / 2)?;
            Some(node_hash(&complete_root(left)?, &complete_root(right)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frontier, leaf_hash};

    fn tile(level: u8, index: u64, width: u16) -> TileId {
        TileId::new(level, index, width).unwrap()
    }

    #[test]
    fn paths() {
        for (path, parsed) in [
            ("tile/0/000", TilePath::Hashes(tile(0, 0, 256))),
            ("tile/0/x001/x234/067", TilePath::Hashes(tile(0, 1_234_067, 256))),
            ("tile/3/x001/000.p/1", TilePath::Hashes(tile(3, 1000, 1))),
            ("tile/63/999.p/255", TilePath::Hashes(tile(63, 999, 255))),
            ("tile/entries/x273/112.p/17", TilePath::Entries(tile(0, 273_112, 17))),
            ("tile/0/x018/x446/x744/x073/x709/x551/615", TilePath::Hashes(tile(0, u64::MAX, 256))),
        ] {
            assert_eq!(path.parse(), Ok(parsed));
            assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn other_spellings_are_refused() {
        for path in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/000/",
            "tile//000",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/1",
            "tile/0/x001",
            "tile/0/001/002",
            "tile/0/x000/001",
            "tile/0/xx01/001",
            "tile/0/x001/x002",
            "tile/64/000",
            "tile/00/000",
            "tile/-1/000",
            "tile/256/000",
            "tile/entry/000",
            "tile/0/000.p/0",
            "tile/0/000.p/256",
            "tile/0/000.p/01",
            "tile/0/000.p/",
            "tile/0/000.p/1/",
            "tile/0/000.p",
            "tile/0/000.p/1.p/1",
            "tile/0/+01",
            "tile/0/0 1",
            "tile/0/../000",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x001/x018/x446/x744/x073/x709/x551/615",
            "Tile/0/000",
            "tile/entries/x00a/000",
        ] {
            assert_eq!(path.parse::<TilePath>(), Err(TileError::Path), "{path:?}");
        }
        assert_eq!(TileId::new(64, 0, 1), Err(TileError::Id));
        assert_eq!(TileId::new(0, 0, 0), Err(TileError::Id));
        assert_eq!(TileId::new(0, 0, 257), Err(TileError::Id));
    }

    #[test]
    fn example_of_the_specification() {
        // "a tree of size 70,000 will be represented by 273 full level 0 tiles, one partial level 0 tile of width 112,
        // one full level 1 tile, one partial level 1 tile of width 17, and one partial level 2 tile of width 1"
        let tiles: Vec<TileId> = TileId::grown(0, 70_000).collect();
        let full = |level| (0..).map(move |index| tile(level, index, 256));
        let mut expected: Vec<TileId> = full(0).take(273).collect();
        expected.push(tile(0, 273, 112));
        expected.extend(full(1).take(1));
        expected.extend([tile(1, 1, 17), tile(2, 0, 1)]);
        assert_eq!(tiles, expected);
        // "a tree of size 256 will be represented by a full level 0 tile and a partial level 1 tile of width 1"
        assert_eq!(TileId::grown(0, 256).collect::<Vec<_>>(), [tile(0, 0, 256), tile(1, 0, 1)]);
    }

    #[test]
    fn growth() {
        let check = |old, new, expected: &[TileId]| {
            assert_eq!(TileId::grown(old, new).collect::<Vec<_>>(), expected, "{old} to {new}");
        };
        check(0, 0, &[]);
        check(5, 5, &[]);
        check(6, 5, &[]);
        check(0, 1, &[tile(0, 0, 1)]);
        check(1, 3, &[tile(0, 0, 3)]);
        check(255, 257, &[tile(0, 0, 256), tile(0, 1, 1), tile(1, 0, 1)]);
        check(256, 257, &[tile(0, 1, 1)]);
        check(u64::MAX - 1, u64::MAX, &[tile(0, u64::MAX >> 8, 255)]);
    }

    #[test]
    fn nodes_come_out_of_tiles() {
        const SIZE: u64 = 70_000;
        let mut nodes = std::collections::HashMap::new();
        let mut tree = Frontier::new();
        for i in 0..SIZE {
            nodes.extend(tree.push(leaf_hash(&i.to_be_bytes())));
        }
        let read = |tile: TileId| {
            let (level, span) = tile.nodes().unwrap();
            let hashes: Vec<Hash> = span.map(|index| nodes[&NodeId { level, index }]).collect();
            tile.decode(&tile.encode(&hashes).unwrap()).unwrap()
        };
        for id in [(0, 0), (0, 69_999), (3, 8_000), (7, 545), (8, 272), (11, 33), (15, 1), (16, 0)] {
            let id = NodeId { level: id.0, index: id.1 };
            let tile = TileId::holding(id, SIZE).unwrap();
            assert_eq!(tile.node(&read(tile), id), Ok(nodes[&id]), "{id:?}");
        }
        // What is not complete in the tree is not in its tiles.
        for id in [(0, 70_000), (7, 546), (16, 1), (17, 0), (63, 0), (255, u64::MAX)] {
            let id = NodeId { level: id.0, index: id.1 };
            let found = TileId::holding(id, SIZE).and_then(|tile| tile.node(&read(tile), id).ok());
            assert_eq!(found, None, "{id:?}");
        }
        // A proof from tiles is the proof from nodes.
        let from_nodes = crate::prove_inclusion(300, SIZE, |id| nodes.get(&id).copied().ok_or(()));
        let from_tiles = crate::prove_inclusion(300, SIZE, |id| {
            let tile = TileId::holding(id, SIZE).ok_or(())?;
            tile.node(&read(tile), id).map_err(drop)
        });
        assert_eq!(from_nodes, from_tiles);
    }

    #[test]
    fn bundles() {
        let largest = vec![7; MAX_ENTRY_BYTES];
        let entries: [&[u8]; 4] = [b"one", b"", &largest, b"\0"];
        let bundle = encode_entries(&entries).unwrap();
        assert_eq!(bundle[..7], *b"\0\x03one\0\0");
        assert_eq!(decode_entries(&bundle, 4).unwrap(), entries);
        let check = |bundle: &[u8], width, error| assert_eq!(decode_entries(bundle, width), Err(error));
        check(&bundle, 3, TileError::Bundle(3));
        check(&bundle, 5, TileError::Bundle(5));
        check(&bundle[..bundle.len() - 1], 4, TileError::Bundle(4));
        check(b"\0", 1, TileError::Bundle(1));
        check(b"", 0, TileError::Id);
        check(b"", 257, TileError::Id);
        assert_eq!(encode_entries(&[vec![0; 65_536]]), Err(TileError::EntryTooLarge(65_536)));
        assert_eq!(encode_entries::<&[u8]>(&[]), Err(TileError::Bundle(256)));
        assert_eq!(encode_entries(&[[0]; 257]), Err(TileError::Bundle(256)));
        assert_eq!(tile(0, 0, 2).decode(&[0; 63]), Err(TileError::Length { expected: 64, found: 63 }));
    }
}
