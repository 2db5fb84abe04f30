//! The tiles of [tlog-tiles]: which there are, what they are called, and where in them a node is.
//!
//! A hash tile at level L holds up to 256 consecutive nodes of tree level 8·L; the seven levels of
//! the tree between are computed from it. An entry bundle holds the entries whose leaf hashes are
//! in the hash tile at level 0 of the same index.
//!
//! ```text
//! hash tile      hash{1,256}                      tile/<L>/<N>[.p/<W>]
//! entry bundle   (u16 big-endian size, entry)*    tile/entries/<N>[.p/<W>]
//!
//! <L>   level, 0 to 63
//! <N>   index in groups of three digits, all but the last behind an x: x001/x234/067
//! <W>   width of a tile that is partial: 1 to 255
//! ```
//!
//! [tlog-tiles]: https://c2sp.org/tlog-tiles

mod bundle;

use std::fmt;
use std::str::FromStr;

use super::merkle::node_hash;
use crate::digest::Digest;

pub use bundle::{decode_bundle, encode_bundle, push_entry};

/// The hashes in a full tile, and the entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// The levels of the tree that a tile spans.
pub const TILE_HEIGHT: u8 = 8;
/// The size of a full hash tile.
pub const TILE_MAX_BYTES: usize = 8192;
/// The highest level that a path can say. Nodes of a tree have tile levels 0 to 7.
pub const TILE_LEVEL_MAX: u8 = 63;
/// The largest entry: its size has 16 bits.
pub const ENTRY_MAX_BYTES: usize = u16::MAX as usize;
/// The size of a full bundle of the largest entries.
pub const BUNDLE_MAX_BYTES: usize = 256 * (2 + ENTRY_MAX_BYTES);
/// The longest path of a tile: 7 groups of digits in a bundle's.
pub const PATH_MAX_BYTES: usize = 52;

const HASH_BYTES: usize = 32;
/// The highest level of a tile that holds nodes: there is no node above tree level 63.
const NODE_LEVEL_MAX: u8 = 7;

/// What a tile holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Entries: an entry bundle.
    Entries,
    /// Hashes of a tile level.
    Hashes {
        /// The level, 0 to [`TILE_LEVEL_MAX`].
        level: u8,
    },
}

/// Which tile: its coordinates. It is written and read as its path under the log's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    // INVARIANT: 1 to `TILE_WIDTH`.
    width: u16,
}

/// Where the hash of a node is found: in which tile, and from which of its hashes it is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePlace {
    tile: Tile,
    first: usize,
    count: usize,
}

/// What is wrong with a tile, or with what is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// The bytes end inside of an entry or of its size.
    #[error("the entry bundle ends inside of entry {0}")]
    BundleTorn(usize),
    /// An entry over [`ENTRY_MAX_BYTES`].
    #[error("an entry of {0} bytes; the most is {ENTRY_MAX_BYTES}")]
    EntryTooLarge(usize),
    /// A level over [`TILE_LEVEL_MAX`].
    #[error("a tile at level {0}; the highest is {TILE_LEVEL_MAX}")]
    Level(u8),
    /// The tree has no such complete node.
    #[error("a tree of {size} leaves has no complete node {index} at level {level}")]
    NoNode {
        /// The level of the node.
        level: u8,
        /// Its index in the level.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// Not the path of a tile.
    #[error("not the path of a tile, for example `tile/0/x001/x234/067` or `tile/entries/000.p/8`")]
    Path,
    /// A hash tile that is not 1 to 256 whole hashes.
    #[error("a hash tile of {0} bytes; one has 32 for each of its 1 to 256 hashes")]
    Size(usize),
    /// A hash tile that ends before the hashes that are needed.
    #[error("a hash tile of {found} hashes where {expected} are needed")]
    TooNarrow {
        /// How many it has.
        found: usize,
        /// How many it has to have.
        expected: usize,
    },
    /// More hashes or entries than its width.
    #[error("more hashes or entries than its width, which is at most {TILE_WIDTH}")]
    TooWide,
    /// A width of 0, or over 256.
    #[error("a tile of width {0}; write 1 to {TILE_WIDTH}")]
    Width(u16),
}

impl Tile {
    /// A tile by its coordinates. The width is 256 for a full one.
    ///
    /// # Errors
    /// [`TileError::Level`] and [`TileError::Width`] when they are out of range.
    pub const fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileError> {
        if let TileKind::Hashes { level } = kind
            && level > TILE_LEVEL_MAX
        {
            return Err(TileError::Level(level));
        }
        if width == 0 || width > TILE_WIDTH {
            return Err(TileError::Width(width));
        }
        Ok(Self { kind, index, width })
    }

    /// The bundle that the entry at an index is in, in a tree of a size.
    ///
    /// # Errors
    /// [`TileError::NoNode`] when the entry is not in the tree.
    pub fn bundle_of(index: u64, size: u64) -> Result<Self, TileError> {
        let kind = TileKind::Entries;
        NodePlace::of(0, index, size).map(|place| Self { kind, ..place.tile })
    }

    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its index in its level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or entries it holds, 1 to [`TILE_WIDTH`].
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether a tree of size `old` has less of this tile.
    #[must_use]
    pub fn has_grown_since(&self, old: u64) -> bool {
        let count = match self.kind {
            TileKind::Entries => old,
            TileKind::Hashes { level } => {
                let shift = u32::from(level).saturating_mul(u32::from(TILE_HEIGHT));
                old.checked_shr(shift).unwrap_or(0)
            }
        };
        let before = self.index.saturating_mul(u64::from(TILE_WIDTH));
        count < before.saturating_add(u64::from(self.width))
    }

    /// The full tile at the same place, which a partial one becomes. A log may have dropped the
    /// partial one then.
    #[must_use]
    pub const fn full(self) -> Self {
        Self {
            width: TILE_WIDTH,
            ..self
        }
    }
}

/// The tiles of a tree of size `new` that a tree of size `old` does not have: bundles first, then
/// hash tiles from level 0 up, each from the left. A tile that becomes wider is among them with the
/// width that it has in the new tree. All tiles of a tree are those from size 0.
///
/// There are none when the tree does not grow. The iterator is lazy: a size is a stranger's claim.
pub fn tiles_between(old: u64, new: u64) -> impl Iterator<Item = Tile> {
    let hashes = (0..=NODE_LEVEL_MAX).flat_map(move |level| {
        let shift = TILE_HEIGHT * level;
        row_between(TileKind::Hashes { level }, old >> shift, new >> shift)
    });
    row_between(TileKind::Entries, old, new).chain(hashes)
}

impl NodePlace {
    /// Where the hash of a complete node is, in a tree of a size.
    ///
    /// # Errors
    /// [`TileError::NoNode`] when not all 2^level leaves of the node are in the tree.
    pub fn of(level: u8, index: u64, size: u64) -> Result<Self, TileError> {
        let no_node = TileError::NoNode { level, index, size };
        if index >= size.checked_shr(level.into()).unwrap_or(0) {
            return Err(no_node);
        }
        let row = level % TILE_HEIGHT;
        let level = level / TILE_HEIGHT;
        // The first of the node's hashes in its level of tiles, and it fits: the tree has it.
        let first = index << row;
        let tile_index = first / u64::from(TILE_WIDTH);
        Ok(Self {
            tile: Tile {
                kind: TileKind::Hashes { level },
                index: tile_index,
                width: width_of(tile_index, size >> (TILE_HEIGHT * level)),
            },
            first: usize::try_from(first % u64::from(TILE_WIDTH)).map_err(|_| no_node)?,
            count: 1 << row,
        })
    }

    /// The tile, with the width that it has in a tree of this size.
    #[must_use]
    pub const fn tile(&self) -> Tile {
        self.tile
    }

    /// The node's hash, from the bytes of its tile or of one that is wider.
    ///
    /// # Errors
    /// [`TileError::Size`] when the bytes are no hash tile, and [`TileError::TooNarrow`] when it
    /// ends before the node.
    pub fn hash(&self, tile: &[u8]) -> Result<Digest, TileError> {
        let hashes = decode_tile(tile)?;
        let expected = self.first + self.count;
        let found = hashes.len();
        let mut nodes = hashes
            .get(self.first..expected)
            .ok_or(TileError::TooNarrow { found, expected })?
            .to_vec();
        while nodes.len() > 1 {
            let (pairs, _) = nodes.as_chunks();
            nodes = pairs
                .iter()
                .map(|[left, right]| node_hash(left, right))
                .collect();
        }
        let root = nodes.first().copied();
        root.ok_or(TileError::TooNarrow { found, expected })
    }
}

/// The bytes of a hash tile. How many hashes there are is the caller's to check.
#[must_use]
pub fn encode_tile(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(Digest::as_bytes).copied().collect()
}

/// The hashes of a hash tile. Whether there are as many as its width is the caller's to check.
///
/// # Errors
/// [`TileError::Size`] when the bytes are not 1 to 256 whole hashes.
pub fn decode_tile(bytes: &[u8]) -> Result<Vec<Digest>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    if hashes.is_empty() || bytes.len() > TILE_MAX_BYTES || !rest.is_empty() {
        return Err(TileError::Size(bytes.len()));
    }
    Ok(hashes.iter().copied().map(Digest::from_bytes).collect())
}

/// The tiles of one level that there are in a row of `new` hashes and not in one of `old`.
fn row_between(kind: TileKind, old: u64, new: u64) -> impl Iterator<Item = Tile> {
    let width = u64::from(TILE_WIDTH);
    let first = old / width;
    let end = if old < new {
        new.div_ceil(width)
    } else {
        first
    };
    (first..end).map(move |index| Tile {
        kind,
        index,
        width: width_of(index, new),
    })
}

/// The width of the tile at an index in a row of so many hashes, which has it.
fn width_of(index: u64, row: u64) -> u16 {
    let before = index * u64::from(TILE_WIDTH);
    u16::try_from(row - before).map_or(TILE_WIDTH, |width| width.min(TILE_WIDTH))
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Entries => f.write_str("tile/entries/")?,
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
        }
        let mut unit = 1;
        while self.index / unit >= 1000 {
            unit *= 1000;
        }
        while unit > 1 {
            write!(f, "x{:03}/", self.index / unit % 1000)?;
            unit /= 1000;
        }
        write!(f, "{:03}", self.index % 1000)?;
        if self.width < TILE_WIDTH {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

impl FromStr for Tile {
    type Err = TileError;

    /// Reads a path: exactly what is written for some tile.
    fn from_str(path: &str) -> Result<Self, TileError> {
        if path.len() > PATH_MAX_BYTES {
            return Err(TileError::Path);
        }
        let tile = read_path(path).ok_or(TileError::Path)?;
        if tile.to_string() == path {
            Ok(tile)
        } else {
            Err(TileError::Path)
        }
    }
}

/// The tile of a path, if it is one. It may have other forms than the one that is written.
fn read_path(path: &str) -> Option<Tile> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = if kind == "entries" {
        TileKind::Entries
    } else {
        TileKind::Hashes {
            level: kind.parse().ok()?,
        }
    };
    let (groups, width) = match rest.split_once(".p/") {
        Some((groups, width)) => (groups, width.parse().ok()?),
        None => (rest, TILE_WIDTH),
    };
    let mut index = 0_u64;
    for group in groups.split('/') {
        let digits: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index = index.checked_mul(1000)?.checked_add(digits)?;
    }
    Tile::new(kind, index, width).ok()
}

#[cfg(test)]
mod tests;
