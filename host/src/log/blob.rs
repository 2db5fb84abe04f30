//! Blobs: what entries name by digest (components, settings, key records), each in a file of its
//! own, `blob/sha256/<first two digits>/<64 hex digits>`, written once.
//!
//! A blob gets its name when all of its bytes are written and is durable after the next
//! [`BlobStore::sync`], which the log calls before it syncs the entries. A power cut in between can
//! leave the name with other bytes; nobody has been told that they are durable, a reader notices by
//! the digest, and the next [`BlobStore::put`] writes the blob again.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::storage::{
    Storage, delete_temporaries, make_folder, make_unsynced_folder, temporary, write_whole,
};
use crate::digest::Digest;

/// The largest blob.
pub const BLOB_MAX_BYTES: u64 = 64 << 20;

/// The folder of the blobs in a log folder.
pub(super) const BLOB_FOLDER: &str = "blob";

/// How many digests are remembered as present, so that a blob in frequent use costs no system call.
const PRESENT_MAX: usize = 65_536;
/// How many blobs may wait for a sync; the next one has to sync them first.
const UNSYNCED_MAX: usize = 256;
/// How long a sync waits for another one to end.
const SYNC_WAIT_MAX_MS: u64 = 1_000;

/// Why a blob was not written or not read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Other blobs were being made durable, and that took too long.
    #[error("the disk did not take the blobs within {SYNC_WAIT_MAX_MS} ms")]
    Busy,
    /// The bytes are not those that the name promises.
    #[error("blob `{0}` is damaged: its bytes have another digest; restore it from a copy")]
    Damaged(Digest),
    /// The file could not be read or written.
    #[error("blob `{digest}` cannot be read or written: {error}")]
    Io {
        /// Which blob.
        digest: Digest,
        /// What the operating system said.
        error: io::Error,
    },
    /// There is none of that name.
    #[error("blob `{0}` is missing from the log; restore it from a copy")]
    Missing(Digest),
    /// Blobs could not be made durable; they may be lost.
    #[error("blobs could not be made durable: {0}")]
    Sync(io::Error),
    /// More than [`BLOB_MAX_BYTES`].
    #[error("a blob of {bytes} bytes; the most is {BLOB_MAX_BYTES}")]
    TooLarge {
        /// How many.
        bytes: u64,
    },
    /// The bytes to be written are not those of the digest.
    #[error("the bytes given for blob `{0}` have another digest")]
    WrongDigest(Digest),
}

/// The blobs of a log that is being written.
#[derive(Debug)]
pub(super) struct BlobStore {
    storage: Arc<dyn Storage>,
    /// `blob` in the log folder: blobs on their way are here.
    folder: PathBuf,
    state: Mutex<State>,
    /// Held during a sync: who comes second must not take an emptied list for a finished sync.
    syncing: Mutex<()>,
    temporaries: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    present: HashSet<Digest>,
    unsynced: Vec<Digest>,
}

/// Reads a blob of a log folder.
///
/// # Errors
/// [`BlobError`] when it is missing, too large, cannot be read, or is not what its name says.
pub(super) fn read(log_folder: &Path, digest: &Digest) -> Result<Vec<u8>, BlobError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => BlobError::Missing(*digest),
        _ => BlobError::Io {
            digest: *digest,
            error,
        },
    };
    let file = fs::File::open(path(&log_folder.join(BLOB_FOLDER), digest)).map_err(failed)?;
    let mut bytes = Vec::new();
    let read = file
        .take(BLOB_MAX_BYTES.saturating_add(1))
        .read_to_end(&mut bytes);
    let read = u64::try_from(read.map_err(failed)?).unwrap_or(u64::MAX);
    if read > BLOB_MAX_BYTES {
        return Err(BlobError::TooLarge { bytes: read });
    }
    if Digest::of(&bytes) == *digest {
        Ok(bytes)
    } else {
        Err(BlobError::Damaged(*digest))
    }
}

impl BlobStore {
    /// Opens the blobs of a log folder and deletes what a crash has left half-written.
    pub(super) fn open(storage: Arc<dyn Storage>, log_folder: &Path) -> io::Result<Self> {
        let folder = log_folder.join(BLOB_FOLDER);
        make_folder(&*storage, &folder)?;
        make_folder(&*storage, &folder.join(ALGORITHM))?;
        delete_temporaries(&folder)?;
        Ok(Self {
            storage,
            folder,
            state: Mutex::default(),
            syncing: Mutex::default(),
            temporaries: AtomicU64::new(0),
        })
    }

    /// Whether the blob is known to be here, without looking.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.state.lock().present.contains(digest)
    }

    /// Whether the blob has to be written: its file is not there, or has other bytes.
    pub(super) fn is_new(&self, digest: &Digest, bytes: &[u8]) -> bool {
        !holds(&path(&self.folder, digest), bytes)
    }

    /// Writes a blob unless it is here.
    ///
    /// # Errors
    /// [`BlobError`]. After [`BlobError::Sync`] earlier blobs may be lost.
    pub(super) fn put(&self, digest: Digest, bytes: &[u8]) -> Result<(), BlobError> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if size > BLOB_MAX_BYTES {
            return Err(BlobError::TooLarge { bytes: size });
        }
        if Digest::of(bytes) != digest {
            return Err(BlobError::WrongDigest(digest));
        }
        if self.has(&digest) {
            return Ok(());
        }
        if self.state.lock().unsynced.len() >= UNSYNCED_MAX {
            self.sync()?;
        }
        if self.is_new(&digest, bytes) {
            self.write(&path(&self.folder, &digest), bytes)
                .map_err(|error| BlobError::Io { digest, error })?;
        }
        let mut state = self.state.lock();
        if state.present.len() >= PRESENT_MAX {
            state.present.clear();
        }
        state.present.insert(digest);
        // Also a blob that was here: who wrote it may have died before it was synced, and a power
        // cut after this start would take it from under a durable entry.
        state.unsynced.push(digest);
        Ok(())
    }

    /// Returns when every blob that was put before is durable.
    ///
    /// # Errors
    /// [`BlobError::Busy`] when another sync did not end; [`BlobError::Sync`] when blobs may be
    /// lost.
    pub(super) fn sync(&self) -> Result<(), BlobError> {
        let _turn = self
            .syncing
            .try_lock_for(Duration::from_millis(SYNC_WAIT_MAX_MS))
            .ok_or(BlobError::Busy)?;
        let unsynced = std::mem::take(&mut self.state.lock().unsynced);
        self.sync_files(&unsynced).map_err(BlobError::Sync)
    }

    fn sync_files(&self, unsynced: &[Digest]) -> io::Result<()> {
        if unsynced.is_empty() {
            return Ok(());
        }
        let mut folders = BTreeSet::new();
        for digest in unsynced {
            let path = path(&self.folder, digest);
            self.storage.sync_file(&path)?;
            folders.extend(path.parent().map(Path::to_owned));
        }
        folders
            .iter()
            .try_for_each(|folder| self.storage.sync_folder(folder))?;
        // The folders may be new themselves.
        self.storage.sync_folder(&self.folder.join(ALGORITHM))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Its name is synced with the blob's.
        path.parent().map(make_unsynced_folder).transpose()?;
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let temporary = temporary(&self.folder, number);
        let named = self.storage.create(&temporary).and_then(|file| {
            write_whole(&*file, bytes, 0)?;
            self.storage.rename(&temporary, path)
        });
        if named.is_err() {
            // Best effort: what stays is deleted at the next start.
            let _ = fs::remove_file(&temporary);
        }
        named
    }
}

/// The folder below [`BLOB_FOLDER`] of blobs whose names are SHA-256 digests.
const ALGORITHM: &str = "sha256";

fn path(folder: &Path, digest: &Digest) -> PathBuf {
    let name = digest.to_string();
    let first_two = name.get(..2).unwrap_or_default();
    folder.join(ALGORITHM).join(first_two).join(&name)
}

/// Whether a file has exactly these bytes. One that cannot be read is written again.
fn holds(path: &Path, bytes: &[u8]) -> bool {
    let same_size =
        fs::metadata(path).is_ok_and(|found| usize::try_from(found.len()) == Ok(bytes.len()));
    same_size && fs::read(path).is_ok_and(|found| found == bytes)
}

#[cfg(test)]
mod tests;
