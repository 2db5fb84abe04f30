//! The right edge of a tree: what of its tiles is not full yet. Entries go in, tiles come out.

use crate::digest::Digest;
use crate::tlog::merkle::{Tree, leaf_hash};
use crate::tlog::tile::{
    TILE_HEIGHT, TILE_WIDTH, Tile, TileError, TileKind, encode_tile, push_entry,
};

/// The tiles of a tree that are not full, and the tree.
#[derive(Clone, Debug, Default)]
pub(super) struct Edge {
    tree: Tree,
    // INVARIANT: of each level of tiles, fewer than `TILE_WIDTH` hashes.
    rows: Vec<Vec<Digest>>,
    /// The entries of the last bundle, unless it is full.
    bundle: Vec<u8>,
}

impl Edge {
    /// The edge of a tree whose last bundle is full, from the hashes of its tiles that are not, for
    /// each level of tiles; the lowest has none.
    pub(super) const fn of_full_bundles(tree: Tree, rows: Vec<Vec<Digest>>) -> Self {
        Self {
            tree,
            rows,
            bundle: Vec::new(),
        }
    }

    /// The tree.
    pub(super) const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Appends an entry, and hands on every tile that is full with it.
    pub(super) fn push<E: From<TileError>>(
        &mut self,
        entry: &[u8],
        mut full: impl FnMut(Tile, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        push_entry(&mut self.bundle, entry)?;
        let mut hash = leaf_hash(entry);
        self.tree.push(hash);
        let width = u64::from(TILE_WIDTH);
        let mut count = self.tree.size();
        if count.is_multiple_of(width) {
            let tile = Tile::new(TileKind::Entries, count / width - 1, TILE_WIDTH)?;
            full(tile, &self.bundle)?;
            self.bundle.clear();
        }
        for level in 0_u8.. {
            let place = usize::from(level);
            if self.rows.len() <= place {
                self.rows.push(Vec::new());
            }
            let Some(row) = self.rows.get_mut(place) else {
                break;
            };
            row.push(hash);
            if !count.is_multiple_of(width) {
                break;
            }
            count /= width;
            let tile = Tile::new(TileKind::Hashes { level }, count - 1, TILE_WIDTH)?;
            full(tile, &encode_tile(row))?;
            hash = row.drain(..).collect::<Tree>().root();
        }
        Ok(())
    }

    /// Hands on the tiles that are not full, as they are now.
    pub(super) fn partial<E: From<TileError>>(
        &self,
        mut each: impl FnMut(Tile, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let size = self.tree.size();
        let tile = |kind, count: u64| -> Result<Option<Tile>, TileError> {
            let index = count / u64::from(TILE_WIDTH);
            match u16::try_from(count % u64::from(TILE_WIDTH)) {
                Ok(0) | Err(_) => Ok(None),
                Ok(width) => Tile::new(kind, index, width).map(Some),
            }
        };
        if let Some(tile) = tile(TileKind::Entries, size)? {
            each(tile, &self.bundle)?;
        }
        for (level, row) in (0_u8..).zip(&self.rows) {
            let count = size
                .checked_shr(u32::from(TILE_HEIGHT * level))
                .unwrap_or(0);
            if let Some(tile) = tile(TileKind::Hashes { level }, count)? {
                each(tile, &encode_tile(row))?;
            }
        }
        Ok(())
    }
}
