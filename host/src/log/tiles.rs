//! The published part of a log folder, as anyone reads it: the checkpoint, the hash tiles and the
//! entry bundles, at the paths of C2SP tlog-tiles. A copy of these is enough to verify the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::publish::HEAD_FILE;
use super::retention::{self, Pruned, RETENTION_FILE};
use crate::digest::Digest;
use crate::tlog::checkpoint::{CHECKPOINT_MAX_BYTES, CheckpointError, SignedCheckpoint};
use crate::tlog::merkle::MerkleError;
use crate::tlog::tile::{
    BUNDLE_MAX_BYTES, NodePlace, TILE_MAX_BYTES, TILE_WIDTH, Tile, TileError, decode_bundle,
    decode_tile,
};

/// The file of the checkpoint in a log folder.
pub const CHECKPOINT_FILE: &str = "checkpoint";

/// The published part of a log folder.
#[derive(Clone, Debug)]
pub struct TileReader {
    folder: PathBuf,
}

/// Why a published file cannot be used. Paths begin in the log folder.
#[derive(Debug, thiserror::Error)]
pub enum TileReadError {
    /// The checkpoint is not one.
    #[error("`{file}`: {source}; restore it from a copy")]
    Checkpoint {
        /// Which file: `checkpoint` or `head`.
        file: &'static str,
        /// Why not.
        source: CheckpointError,
    },
    /// A file could not be read.
    #[error("`{path}` cannot be read")]
    Io {
        /// Which file.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file is not there.
    #[error("`{0}` is missing; restore it from a copy")]
    Missing(String),
    /// `retention` does not name an entry that says what is pruned.
    #[error(
        "`{RETENTION_FILE}` {}, which is no entry on retention; restore it from a copy",
        record.map_or_else(|| "is not an index".to_owned(), |it| format!("names entry {it}"))
    )]
    Retention {
        /// The index that it names; `None`: it is not an index.
        record: Option<u64>,
    },
    /// Nothing was ever published.
    #[error(
        "the log has no checkpoint: nothing in it is signed yet; `keyward log init` makes a key, \
         and the next host that writes the log signs all of it"
    )]
    NoCheckpoint,
    /// A tile that is not one, or too narrow.
    #[error("`{path}` is damaged ({source}); restore it from a copy")]
    Tile {
        /// Which tile.
        path: String,
        /// What is wrong with it.
        source: TileError,
    },
    /// No tree is made like that.
    #[error("the tiles make no tree: {0}")]
    Tree(#[from] MerkleError),
    /// A file larger than any of its kind.
    #[error("`{path}` has more than {most} bytes; restore it from a copy")]
    TooLarge {
        /// Which file.
        path: String,
        /// The most that there can be.
        most: usize,
    },
}

impl TileReader {
    /// The published part of a log folder, or a copy of it. Nothing is read yet.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The last checkpoint, whose signatures nobody has verified.
    ///
    /// # Errors
    /// [`TileReadError`]; [`TileReadError::NoCheckpoint`] when there is none.
    pub fn checkpoint(&self) -> Result<SignedCheckpoint, TileReadError> {
        self.signed(CHECKPOINT_FILE)?
            .ok_or(TileReadError::NoCheckpoint)
    }

    /// The last checkpoint as the writer knows it, which is never older than the one shown, and
    /// whose signatures nobody has verified; `None`: nothing was ever signed.
    ///
    /// # Errors
    /// [`TileReadError`] when it cannot be read.
    pub fn head(&self) -> Result<Option<SignedCheckpoint>, TileReadError> {
        self.signed(HEAD_FILE)
    }

    /// How many entries are published. A power cut can take `checkpoint`; a log has `head` too,
    /// which is durable before anything is deleted.
    ///
    /// # Errors
    /// [`TileReadError`] when neither can be read.
    pub(super) fn size(&self) -> Result<u64, TileReadError> {
        let size = |it: SignedCheckpoint| it.checkpoint().head().size;
        let head = self.head().ok().flatten().map(size);
        match (head, self.checkpoint().map(size)) {
            (Some(head), shown) => Ok(head.max(shown.unwrap_or(0))),
            (None, Err(TileReadError::NoCheckpoint)) => Ok(0),
            (None, shown) => shown,
        }
    }

    /// What is no longer kept of the log, by a written policy; `None`: everything is. The entry
    /// that says so is in the log; nothing of it is verified.
    ///
    /// # Errors
    /// [`TileReadError`] when what says so cannot be read, or is not such an entry.
    pub fn pruned(&self) -> Result<Option<Pruned>, TileReadError> {
        retention::read(self)
    }

    /// The entry at an index of a tree of `size` leaves.
    ///
    /// # Errors
    /// [`TileReadError`] when it is not in the tree or its bundle cannot be used.
    pub fn entry(&self, index: u64, size: u64) -> Result<Vec<u8>, TileReadError> {
        let tile = Tile::bundle_of(index, size).map_err(damaged("tile/entries"))?;
        let mut place = tile.index() * u64::from(TILE_WIDTH);
        let mut found = Vec::new();
        self.bundle(tile, |entry| {
            if place == index {
                entry.clone_into(&mut found);
            }
            place += 1;
        })?;
        Ok(found)
    }

    /// The hashes of a hash tile, as many as its width. Where a partial tile has been dropped for
    /// the full one, they are the first of that.
    ///
    /// # Errors
    /// [`TileReadError`] when it cannot be read, or has fewer.
    pub fn hashes(&self, tile: Tile) -> Result<Vec<Digest>, TileReadError> {
        let (path, width, bytes) = self.tile(tile, TILE_MAX_BYTES)?;
        let mut hashes = decode_tile(&bytes).map_err(damaged(&path))?;
        check_width(&path, hashes.len(), width)?;
        hashes.truncate(tile.width().into());
        Ok(hashes)
    }

    /// Hands the entries of a bundle to `each`, as many as its width.
    ///
    /// # Errors
    /// [`TileReadError`] when it cannot be read, or has fewer.
    pub fn bundle(&self, tile: Tile, mut each: impl FnMut(&[u8])) -> Result<(), TileReadError> {
        let (path, width, bytes) = self.tile(tile, BUNDLE_MAX_BYTES)?;
        let entries = decode_bundle(&bytes).map_err(damaged(&path))?;
        check_width(&path, entries.len(), width)?;
        let wanted = entries.into_iter().take(tile.width().into());
        wanted.for_each(&mut each);
        Ok(())
    }

    /// The hash of a complete node of a tree of `size` leaves, from the hash tiles.
    ///
    /// # Errors
    /// [`TileReadError`] when the tile cannot be used.
    pub fn node(&self, level: u8, index: u64, size: u64) -> Result<Digest, TileReadError> {
        let no_tile = damaged("tile");
        let place = NodePlace::of(level, index, size).map_err(no_tile)?;
        let (path, _, bytes) = self.tile(place.tile(), TILE_MAX_BYTES)?;
        place.hash(&bytes).map_err(damaged(&path))
    }

    /// A signed checkpoint; `None`: there is no such file.
    fn signed(&self, file: &'static str) -> Result<Option<SignedCheckpoint>, TileReadError> {
        match self.read(file, CHECKPOINT_MAX_BYTES) {
            Ok(bytes) => SignedCheckpoint::parse(&bytes)
                .map(Some)
                .map_err(|source| TileReadError::Checkpoint { file, source }),
            Err(TileReadError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes of a file of the folder.
    pub(super) fn read(&self, path: &str, most: usize) -> Result<Vec<u8>, TileReadError> {
        let mut bytes = Vec::new();
        let limit = (most as u64).saturating_add(1);
        let read = open_file(&self.folder.join(path))
            .and_then(|file| file.take(limit).read_to_end(&mut bytes));
        let path = path.to_owned();
        match read {
            Ok(_) if bytes.len() > most => Err(TileReadError::TooLarge { path, most }),
            Ok(_) => Ok(bytes),
            Err(error) if is_missing(&error) => Err(TileReadError::Missing(path)),
            Err(source) => Err(TileReadError::Io { path, source }),
        }
    }

    /// The bytes of a tile, or of the full one in its place; before them the path and the width of
    /// what was read.
    fn tile(&self, tile: Tile, most: usize) -> Result<(String, u16, Vec<u8>), TileReadError> {
        let read = |tile: Tile| {
            let path = tile.to_string();
            let bytes = self.read(&path, most)?;
            Ok((path, tile.width(), bytes))
        };
        match read(tile) {
            Err(TileReadError::Missing(missing)) if tile.width() < TILE_WIDTH => {
                match read(tile.full()) {
                    Err(TileReadError::Missing(_)) => Err(TileReadError::Missing(missing)),
                    other => other,
                }
            }
            other => other,
        }
    }
}

/// Opens a file to read it, and nothing else: who opens a pipe waits for its other end.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// A tile has exactly as many hashes or entries as its path says.
fn check_width(path: &str, found: usize, width: u16) -> Result<(), TileReadError> {
    let expected = usize::from(width);
    match found.cmp(&expected) {
        std::cmp::Ordering::Less => Err(TileError::TooNarrow { found, expected }),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(TileError::TooWide),
    }
    .map_err(damaged(path))
}

fn damaged(path: &str) -> impl Fn(TileError) -> TileReadError {
    move |source| TileReadError::Tile {
        path: path.to_owned(),
        source,
    }
}
