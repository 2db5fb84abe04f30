//! Publishing: from the segments to what others verify, the tiles and the signed checkpoint of C2SP
//! tlog-tiles. It never holds up an append.
//!
//! ```text
//! wal/*.wal ─► tile/entries/**, tile/<level>/** ─► all synced ─► read back, hashed again ─► signed
//!  (durable)     (full ones, then partial ones)                                               │
//!                                                   checkpoint ◄─ head, synced ◄──────────────┘
//! ```
//! Only what is durable is published, so that no power cut takes back what was signed. `head` is
//! the checkpoint as this log knows it, durable before `checkpoint` shows it to others: two
//! different trees of one size are never shown. A step that fails is begun again from `head`.
//! Segments are dropped when all of their entries are in full bundles below a durable `head`.

mod edge;
mod head;
mod publication;
mod witness;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{LogError, is_full};
use super::follow::Follower;
use super::reader::{self, LogReadError};
use super::segment::SegmentError;
use super::storage::{
    FileSystem, Storage, StoredFile, make_unsynced_folder, temporary, write_whole,
};
use super::tiles::{CHECKPOINT_FILE, TileReadError, TileReader};
use crate::timestamp::Timestamp;
use crate::tlog::checkpoint::{
    CHECKPOINT_MAX_BYTES, Checkpoint, CheckpointError, SignedCheckpoint,
};
use crate::tlog::key::Signer;
use crate::tlog::merkle::{MerkleError, Tree, TreeHead};
use crate::tlog::tile::{BUNDLE_MAX_BYTES, TILE_WIDTH, Tile, TileError, TileKind, tiles_between};
use edge::Edge;
use witness::Asked;

pub use head::{HEAD_FILE, HeadError};
pub(super) use head::{check_end, check_unsigned};
pub(super) use publication::Publication;
pub use publication::Published;
pub use witness::{Courier, Witnesses};

/// The longest time, in milliseconds, from a durable entry to a checkpoint with it.
pub const CHECKPOINT_INTERVAL_MAX_MS: u64 = 60_000;
/// That time unless the options say otherwise.
pub const CHECKPOINT_INTERVAL_DEFAULT_MS: u64 = 1_000;
/// The most entries from one checkpoint to the next.
const CHECKPOINT_ENTRIES_MAX: u64 = 1 << 16;
/// Who signs a log's checkpoints, and how often.
#[derive(Clone, Debug)]
pub struct Publishing {
    /// The log's keys: at least one, an Ed25519 key first. Their name is the log's origin.
    pub signers: Arc<[Signer]>,
    /// How often, in milliseconds, a checkpoint is made when there is something new: 1 to
    /// [`CHECKPOINT_INTERVAL_MAX_MS`].
    pub interval_ms: u64,
    /// The time that cosignatures state.
    pub clock: fn() -> Timestamp,
    /// Who is asked to cosign; `None`: nobody. A checkpoint is shown with the cosignatures that
    /// there are, however few.
    pub witnesses: Option<Witnesses>,
}

/// Why a log was not published.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    /// The checkpoint could not be signed.
    #[error("the checkpoint cannot be signed: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// What `head` says does not fit what is there.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A published file could not be written.
    #[error("`{path}` cannot be written: {source}")]
    Io {
        /// Which file, below the log folder.
        path: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// A published file holds other bytes than those that were written.
    #[error("`{0}` was read back with other bytes than were written")]
    ReadBack(String),
    /// The segments could not be read.
    #[error(transparent)]
    Segments(#[from] LogReadError),
    /// What was published could not be made durable.
    #[error("what is published could not be made durable: {0}")]
    Sync(io::Error),
    /// A tile cannot be made.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// A published file could not be read back.
    #[error(transparent)]
    Tiles(#[from] TileReadError),
    /// No tree can be as large.
    #[error(transparent)]
    Tree(#[from] MerkleError),
}

/// Publishes one log. One at a time.
#[derive(Debug)]
pub(super) struct Publisher {
    storage: Arc<dyn Storage>,
    /// Open from before the first tile is written.
    file_system: Box<dyn FileSystem>,
    folder: PathBuf,
    origin: String,
    publishing: Publishing,
    asked: Option<Asked>,
    /// What a witness has not done at the last checkpoint.
    unwitnessed: Option<String>,
    published: u64,
    /// `None` after a failure: it is made anew from what is on the disk.
    state: Option<State>,
}

/// What has been published, as far as the next step needs it.
#[derive(Debug)]
struct State {
    follower: Follower,
    /// The tree up to its last full bundle.
    trunk: Edge,
    /// The whole tree.
    edge: Edge,
}

impl Publisher {
    /// Goes on from what was published of a log whose entries go to `end`.
    ///
    /// # Errors
    /// [`PublishError`] when that does not add up.
    pub(super) fn open(
        storage: Arc<dyn Storage>,
        (folder, origin): (&Path, &str),
        publishing: Publishing,
        end: u64,
    ) -> Result<Self, PublishError> {
        let file_system = storage.open_file_system(folder);
        let mut publisher = Self {
            file_system: file_system.map_err(failed("the log folder"))?,
            storage,
            folder: folder.to_owned(),
            origin: origin.to_owned(),
            asked: publishing.witnesses.clone().map(Asked::new),
            unwitnessed: None,
            publishing,
            published: 0,
            state: None,
        };
        let (state, head) = publisher.resume(end)?;
        publisher.state = Some(state);
        let index = publisher.published - publisher.published % u64::from(TILE_WIDTH);
        if reader::list(folder)?
            .first()
            .is_some_and(|first| *first > index)
        {
            return Err(LogReadError::MissingSegment { index }.into());
        }
        if let Some(mut head) = head {
            if let Some(error) = publisher.cosign(&mut head) {
                return Err(error.into());
            }
            // A crash may have come between any two of these.
            let synced = publisher.storage.sync_folder(folder);
            synced.map_err(PublishError::Sync)?;
            match publisher.show(&head) {
                // The first step shows it.
                Err(PublishError::Io { source, .. }) if is_full(&source) => publisher.state = None,
                shown => shown?,
            }
        }
        Ok(publisher)
    }

    /// How many entries are in the last checkpoint.
    pub(super) const fn published(&self) -> u64 {
        self.published
    }

    /// Publishes the next entries below `end`, which are durable, at most
    /// [`CHECKPOINT_ENTRIES_MAX`] of them.
    pub(super) fn step(&mut self, end: u64) -> Result<(), PublishError> {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => {
                let (state, head) = self.resume(end)?;
                // It may be what has failed.
                head.as_ref().map_or(Ok(()), |head| self.show(head))?;
                state
            }
        };
        let old = self.published;
        let end = end.min(old.saturating_add(CHECKPOINT_ENTRIES_MAX));
        if end <= old {
            self.state = Some(state);
            return Ok(());
        }
        let write = |tile: Tile, bytes: &[u8]| self.write(&tile.to_string(), bytes);
        while let Some(entry) = state.follower.next(end)? {
            state.edge.push(entry, write)?;
        }
        state.edge.partial(|tile, bytes| {
            // One that did not grow is signed already: it is never touched again.
            if tile.has_grown_since(old) {
                write(tile, bytes)
            } else {
                Ok(())
            }
        })?;
        self.sync()?;
        state.read_back(&self.folder)?;
        self.sign(state.edge.tree().head())?;
        self.published = end;
        self.tidy(old, end);
        self.state = Some(state);
        Ok(())
    }

    /// Reads what has been published of a log whose entries go to `end`, and `head`.
    fn resume(&mut self, end: u64) -> Result<(State, Option<SignedCheckpoint>), PublishError> {
        let signers = &self.publishing.signers;
        let head = head::read(&self.folder, (&self.origin, signers), end)?;
        self.published = head.as_ref().map_or(0, |it| it.checkpoint().head().size);
        Ok((State::read(&self.folder, head.as_ref())?, head))
    }

    fn sign(&mut self, head: TreeHead) -> Result<(), PublishError> {
        let checkpoint = Checkpoint::new(&self.origin, head)?;
        let millis = (self.publishing.clock)().millis();
        let time_secs = u64::try_from(millis / 1_000).unwrap_or(0);
        let mut signed = SignedCheckpoint::sign(checkpoint, &self.publishing.signers, time_secs)?;
        self.keep(&signed)?;
        // What a witness contradicts now was right when the log was opened: it is told, no more.
        drop(self.cosign(&mut signed));
        self.show(&signed)
    }

    /// Asks the witnesses, if there are any; the error of one who has seen another log.
    fn cosign(&mut self, signed: &mut SignedCheckpoint) -> Option<HeadError> {
        let asked = self.asked.as_mut()?;
        let (error, problem) = asked.cosign(&TileReader::new(&self.folder), signed);
        self.unwitnessed = problem;
        error
    }

    /// Shows a checkpoint to others, unless it is shown. It is durable as `head`, and its bytes are
    /// before they have the name: a power cut leaves this one or the one before.
    fn show(&self, signed: &SignedCheckpoint) -> Result<(), PublishError> {
        let bytes = signed.to_string().into_bytes();
        let shown = TileReader::new(&self.folder).read(CHECKPOINT_FILE, CHECKPOINT_MAX_BYTES);
        if shown.is_ok_and(|shown| shown == bytes) {
            return Ok(());
        }
        let file = self.write_temporary(CHECKPOINT_FILE, &bytes)?;
        file.sync().map_err(PublishError::Sync)?;
        self.name_temporary(CHECKPOINT_FILE)
    }

    /// Keeps a checkpoint; it outlives a power cut when this returns.
    fn keep(&self, signed: &SignedCheckpoint) -> Result<(), PublishError> {
        let file = self.write_temporary(HEAD_FILE, signed.to_string().as_bytes())?;
        file.sync().map_err(PublishError::Sync)?;
        self.name_temporary(HEAD_FILE)?;
        let synced = self.storage.sync_folder(&self.folder);
        synced.map_err(PublishError::Sync)
    }

    /// Writes a file below the log folder, which is synced with all others later.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), PublishError> {
        self.write_temporary(path, bytes)?;
        self.name_temporary(path)
    }

    fn write_temporary(
        &self,
        path: &str,
        bytes: &[u8],
    ) -> Result<Box<dyn StoredFile>, PublishError> {
        let written = || {
            let file = self.storage.create(&temporary(&self.folder, 0))?;
            write_whole(&*file, bytes, 0)?;
            Ok(file)
        };
        written().map_err(failed(path))
    }

    fn name_temporary(&self, path: &str) -> Result<(), PublishError> {
        let target = self.folder.join(path);
        make_parents(&self.folder, &target)
            .and_then(|()| self.storage.rename(&temporary(&self.folder, 0), &target))
            .map_err(failed(path))
    }

    /// Makes everything durable that was written.
    fn sync(&self) -> Result<(), PublishError> {
        self.file_system.sync().map_err(PublishError::Sync)
    }

    /// Whether the bundles hold exactly the entries of a segment, as they are read now.
    fn is_bundled(&self, entries: Range<u64>) -> Result<bool, PublishError> {
        let tiles = TileReader::new(&self.folder);
        let pruned = tiles.pruned()?.map_or(0, |it| it.retention.below);
        let entries = entries.start.max(pruned)..entries.end;
        let mut follower = Follower::new(&self.folder, entries.start);
        let width = u64::from(TILE_WIDTH);
        let full = entries.end.div_ceil(width).saturating_mul(width);
        let bundles = tiles_between(entries.start, full);
        let mut is_same = true;
        for tile in bundles.take_while(|tile| tile.kind() == TileKind::Entries) {
            let mut index = tile.index() * width;
            let mut read = Ok(());
            tiles.bundle(tile, |entry| {
                if entries.contains(&index) && read.is_ok() {
                    read = follower
                        .next(entries.end)
                        .map(|found| is_same &= found == Some(entry));
                }
                index += 1;
            })?;
            read?;
        }
        Ok(is_same)
    }

    /// Deletes what nobody needs any more: the partial tiles that have become full (a reader of an
    /// older checkpoint takes the full ones), and the segments whose entries are all in full
    /// bundles. What is left behind does no harm.
    fn tidy(&self, old: u64, new: u64) {
        let kept_from = new - new % u64::from(TILE_WIDTH);
        let segments = reader::list(&self.folder).unwrap_or_default();
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            if *next <= kept_from && self.is_bundled(*segment..*next).is_ok_and(|is| is) {
                drop(fs::remove_file(
                    self.folder.join(reader::segment_path(*segment)),
                ));
            }
        }
        let full = tiles_between(old, new).filter(|tile| tile.width() == TILE_WIDTH);
        for tile in full {
            // Beyond the older tree's edge there was no partial one.
            let folder = self.folder.join(format!("{tile}.p"));
            if folder.exists() {
                drop(fs::remove_dir_all(folder));
            }
        }
    }
}

impl State {
    /// The tree of a checkpoint, from the tiles and from the entries behind the last full bundle.
    fn read(folder: &Path, head: Option<&SignedCheckpoint>) -> Result<Self, PublishError> {
        let Some(head) = head.map(|head| head.checkpoint().head()) else {
            return Ok(Self {
                follower: Follower::new(folder, 0),
                trunk: Edge::default(),
                edge: Edge::default(),
            });
        };
        let tiles = TileReader::new(folder);
        let width = u64::from(TILE_WIDTH);
        let full = head.size - head.size % width;
        let mut rows = vec![Vec::new()];
        for level in 1_u8..8 {
            let count = head.size >> (8 * level);
            rows.push(match u16::try_from(count % width) {
                Ok(0) | Err(_) => Vec::new(),
                Ok(partial) => {
                    let kind = TileKind::Hashes { level };
                    tiles.hashes(Tile::new(kind, count / width, partial)?)?
                }
            });
        }
        let tree = Tree::read(full, |level, index| {
            let node = tiles.node(level, index, head.size);
            node.map_err(PublishError::Tiles)
        })?;
        let trunk = Edge::of_full_bundles(tree, rows);
        let mut edge = trunk.clone();
        let mut follower = Follower::new(folder, full);
        while let Some(entry) = follower.next(head.size)? {
            edge.push(entry, |_, _| Ok::<_, TileError>(()))?;
        }
        if edge.tree().head() == head {
            Ok(Self {
                follower,
                trunk,
                edge,
            })
        } else {
            Err(HeadError::Fork { size: head.size }.into())
        }
    }

    /// Makes the tree again from the bytes of the entries as they are read now, and compares
    /// every tile on the way. What is signed is what others will read.
    fn read_back(&mut self, folder: &Path) -> Result<(), PublishError> {
        let tiles = TileReader::new(folder);
        let compare = |tile: Tile, bytes: &[u8]| {
            let path = tile.to_string();
            if tiles.read(&path, BUNDLE_MAX_BYTES)? == bytes {
                Ok(())
            } else {
                Err(PublishError::ReadBack(path))
            }
        };
        let (old, new) = (self.trunk.tree().size(), self.edge.tree().size());
        let bundles = tiles_between(old, new).take_while(|tile| tile.kind() == TileKind::Entries);
        let mut again = self.trunk.clone();
        for tile in bundles {
            let mut pushed = Ok(());
            tiles.bundle(tile, |entry| {
                if pushed.is_ok() {
                    pushed = again.push(entry, compare);
                }
            })?;
            pushed?;
            if tile.width() == TILE_WIDTH {
                self.trunk = again.clone();
            }
        }
        again.partial(compare)?;
        if again.tree().head() == self.edge.tree().head() {
            Ok(())
        } else {
            Err(PublishError::ReadBack("tile/entries".to_owned()))
        }
    }
}

impl From<PublishError> for LogError {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Head(error) => Self::Head(error),
            PublishError::Segments(error) => Self::Read(error),
            other => Self::Publish(other.to_string()),
        }
    }
}

impl PublishError {
    /// Whether the next attempt may come out otherwise: nothing is in doubt, but there was no room
    /// on the disk, or a file could not be opened or read this time.
    pub(super) const fn is_passing(&self) -> bool {
        use TileReadError::Io;
        matches!(
            self,
            Self::Io { .. }
                | Self::Tiles(Io { .. })
                | Self::Head(HeadError::Read(Io { .. }))
                | Self::Segments(
                    LogReadError::Io { .. }
                        | LogReadError::Segment {
                            source: SegmentError::Io(_),
                            ..
                        }
                )
        )
    }
}

/// A published file could not be written.
fn failed(path: &str) -> impl Fn(io::Error) -> PublishError {
    move |source| PublishError::Io {
        path: path.to_owned(),
        source,
    }
}

/// Makes the folders between the log folder and a file. Their names are synced with the file.
fn make_parents(folder: &Path, file: &Path) -> io::Result<()> {
    let mut missing: Vec<&Path> = file
        .ancestors()
        .skip(1)
        .take_while(|path| *path != folder && !path.is_dir())
        .collect();
    while let Some(outermost) = missing.pop() {
        make_unsynced_folder(outermost)?;
    }
    Ok(())
}
