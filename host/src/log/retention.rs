//! Retention: old entries that are no longer kept, by a written policy (C2SP tlog-tiles, Pruning).
//!
//! ```text
//! retention entry ─► signed and shown ─► its index in `retention` ─► bundles and segments deleted
//!    (durable)                                (durable)
//! ```
//! Only entries go. The hash tiles stay, at 32 bytes an entry: the whole tree can still be made
//! from its leaves, every proof that was given still holds, and a witness that is far behind can
//! still be shown that the log continues what it knows.

use std::fs;
use std::io;
use std::path::Path;

use super::entry::{Entry, EntryError, Retention};
use super::error::AppendError;
use super::reader::{LogReadError, LogReader};
use super::storage::{Storage, temporary, write_whole};
use super::tiles::{TileReadError, TileReader};
use crate::timestamp::Timestamp;
use crate::tlog::tile::{TILE_WIDTH, Tile, TileKind};

/// The file in a log folder with the index of the last retention entry.
pub const RETENTION_FILE: &str = "retention";
/// The longest index, and a line's end.
const RETENTION_FILE_MAX_BYTES: usize = 21;
/// How long pruning waits for the checkpoint that signs it.
pub(super) const SIGNED_WAIT_MAX_MS: u64 = 10_000;

/// What is no longer kept of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The index of the entry that says so.
    pub record: u64,
    /// What it says.
    pub retention: Retention,
}

/// Why nothing was pruned. No message names the folder: the caller has.
#[derive(Debug, thiserror::Error)]
pub enum PruneError {
    /// The log has not taken the record.
    #[error("the log does not take the record of what is pruned")]
    Append(#[from] AppendError),
    /// An entry is one that this version does not know, and so not its age.
    #[error("the age of entry {index} is not known: {error}")]
    Entry {
        /// Which entry.
        index: u64,
        /// What it is not.
        error: EntryError,
    },
    /// A file could not be written or deleted.
    #[error("cannot {action}; prune again to go on")]
    Io {
        /// What was to be done.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] LogReadError),
    /// Nobody signs the log, or the checkpoint with the record was not made in time.
    #[error(
        "the record of what is pruned is not signed ({0}), and nothing was deleted; prune again when \
         it can be"
    )]
    Unsigned(String),
}

/// Below which index a policy would prune a log folder: all entries below are older than `before`
/// and in full bundles that are signed. Not more than is pruned already: nothing.
///
/// # Errors
/// [`PruneError`] when the log cannot be read up to the first entry that is kept.
pub fn prunable(folder: &Path, before: Timestamp) -> Result<u64, PruneError> {
    let reader = LogReader::open(folder)?;
    let signed = TileReader::new(folder).size().map_err(LogReadError::from)?;
    let width = u64::from(TILE_WIDTH);
    let last = signed - signed % width;
    for entry in reader.entries() {
        let (index, bytes) = entry?;
        if index >= last {
            break;
        }
        let entry = Entry::decode(&bytes).map_err(|error| PruneError::Entry { index, error })?;
        if entry.time() >= before {
            return Ok(index - index % width);
        }
    }
    Ok(last)
}

/// What a log folder, or a copy of it, says is no longer kept; `None`: everything is.
pub(super) fn read(tiles: &TileReader) -> Result<Option<Pruned>, TileReadError> {
    let text = match tiles.read(RETENTION_FILE, RETENTION_FILE_MAX_BYTES) {
        Ok(text) => text,
        Err(TileReadError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = str::from_utf8(&text).ok();
    let record = text.and_then(|text| text.strip_suffix('\n')?.parse::<u64>().ok());
    let record = record.ok_or(TileReadError::Retention { record: None })?;
    let damaged = TileReadError::Retention {
        record: Some(record),
    };
    let size = tiles.size()?;
    if record >= size {
        return Err(damaged);
    }
    match Entry::decode(&tiles.entry(record, size)?) {
        Ok(Entry::Retention(retention))
            if retention.below <= record
                && retention.below.is_multiple_of(u64::from(TILE_WIDTH)) =>
        {
            Ok(Some(Pruned { record, retention }))
        }
        _ => Err(damaged),
    }
}

/// Notes which entry says what is pruned; that outlives a power cut when this returns.
pub(super) fn note(storage: &dyn Storage, folder: &Path, record: u64) -> Result<(), PruneError> {
    let noted = || {
        // 0 is the publishing thread's.
        let unnamed = temporary(folder, 1);
        let file = storage.create(&unnamed)?;
        write_whole(&*file, format!("{record}\n").as_bytes(), 0)?;
        file.sync()?;
        storage.rename(&unnamed, &folder.join(RETENTION_FILE))?;
        storage.sync_folder(folder)
    };
    noted().map_err(|source| PruneError::Io {
        action: "note what is pruned",
        source,
    })
}

/// Deletes the bundles below an index, also those that an earlier attempt has left.
pub(super) fn delete_bundles(folder: &Path, below: u64) -> Result<(), PruneError> {
    for index in 0..below / u64::from(TILE_WIDTH) {
        let Ok(bundle) = Tile::new(TileKind::Entries, index, TILE_WIDTH) else {
            break;
        };
        match fs::remove_file(folder.join(bundle.to_string())) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                let action = "delete what is pruned";
                return Err(PruneError::Io { action, source });
            }
            _ => {}
        }
    }
    Ok(())
}
