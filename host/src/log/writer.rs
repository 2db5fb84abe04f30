//! Writing: entries in order to the last segment, and a thread that makes them durable.
//!
//! Two locks, never one inside the other but for [`Writer::rotate`], which holds the appenders'
//! lock and asks the blobs for a sync with a limit on its wait. The sync thread takes the
//! appenders' lock to record what was counted and to look how far the log goes, and syncs without
//! it.
//!
//! What a failure leads to:
//!
//! | failed | then |
//! |---|---|
//! | write | the file is cut back to the last whole entry; the entry is refused, the log goes on |
//! | cutting back | poisoned |
//! | allocating, no room | sealed: no decision until there is room; other entries are written |
//! | allocating, otherwise | the entry is refused, the next one tries again |
//! | making the next segment, no room | sealed; other entries go on in the old one |
//! | making it otherwise, before it is named | the entry is refused, the next one tries again |
//! | any sync, of a file or a folder | poisoned, never tried again |
//! | the segment was deleted, or the folder `wal` moved or replaced | poisoned |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::blob::{BlobError, BlobStore};
use super::coalesce::{Counted, Counts};
use super::entry::ENTRY_MAX_BYTES;
use super::error::{AppendError, AppendErrorKind};
use super::lock::FolderLock;
use super::progress::Progress;
use super::reserve::{RESERVE_BYTES, STEP_BYTES};
use super::segment::{self, FRAME_HEAD_BYTES, Header};
use super::storage::{Storage, StoredFile, temporary, write_whole};
use super::{Durability, Receipt};
use crate::digest::Digest;
use crate::timestamp::Timestamp;

/// How long an appender waits for its turn.
pub(super) const APPEND_WAIT_MAX_MS: u64 = 1_000;
/// How many entries may be written and not yet durable; whoever writes one more waits for a sync.
const UNSYNCED_MAX: u64 = 65_536;

/// The part of a log that is shared with its sync thread.
#[derive(Debug)]
pub(super) struct Writer {
    storage: Arc<dyn Storage>,
    wal_folder: PathBuf,
    origin: String,
    segment_max_bytes: u64,
    appender: Mutex<Appender>,
    blobs: BlobStore,
    counts: Counts,
    progress: Progress,
    // Last: the folder is another's to write when everything else has ended, the sync thread too.
    lock: FolderLock,
}

/// What a writer begins with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) wal_folder: PathBuf,
    pub(super) origin: String,
    pub(super) segment_max_bytes: u64,
    pub(super) blobs: BlobStore,
    pub(super) position: Position,
    pub(super) lock: FolderLock,
}

/// Where the next entry goes.
#[derive(Debug)]
pub(super) struct Position {
    /// The last segment.
    pub(super) file: Arc<dyn StoredFile>,
    /// Its salt.
    pub(super) salt: u32,
    /// Where its last whole entry ends.
    pub(super) offset: u64,
    /// The index of the next entry.
    pub(super) next_index: u64,
    /// The index of the segment's first entry.
    pub(super) first_index: u64,
    /// Up to where the file is allocated, as far as is known; [`u64::MAX`] where that cannot be.
    pub(super) allocated: u64,
}

/// What an entry may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// What is left when the reserve is whole: a decision.
    Free,
    /// The reserve too: everything else.
    Reserve,
}

/// The appenders' turn.
#[derive(Debug)]
struct Appender {
    // INVARIANT: the file holds whole entries up to `offset`, the last one `next_index - 1`.
    position: Position,
    /// The next segment may have been made: nothing more goes into this one.
    must_rotate: bool,
    /// Why no decision is taken, when the disk is full.
    seal: Option<AppendError>,
    frame: Vec<u8>,
}

impl Writer {
    /// A writer for a log that is durable up to its end.
    pub(super) fn new(start: Start) -> Self {
        Self {
            storage: start.storage,
            wal_folder: start.wal_folder,
            origin: start.origin,
            segment_max_bytes: start.segment_max_bytes,
            progress: Progress::new(start.position.next_index),
            blobs: start.blobs,
            counts: Counts::default(),
            appender: Mutex::new(Appender {
                position: start.position,
                must_rotate: false,
                seal: None,
                frame: Vec::new(),
            }),
            lock: start.lock,
        }
    }

    /// Appends a decision; returns when it is as durable as asked for.
    pub(super) fn append(
        &self,
        payload: &[u8],
        durability: Durability,
    ) -> Result<Receipt, AppendError> {
        self.append_to(Room::Free, payload, durability)
    }

    /// Appends another entry, on a full disk to the reserve; returns when it is durable.
    pub(super) fn append_reserved(&self, payload: &[u8]) -> Result<Receipt, AppendError> {
        self.append_to(Room::Reserve, payload, Durability::Durable)
    }

    /// Whether a decision of a size would be taken, as far as there is room for it. It costs
    /// nothing unless the log is sealed; then the disk is asked again when it is time to.
    pub(super) fn admit(&self, payload_bytes: usize) -> Result<(), AppendError> {
        if !self.progress.is_sealed() {
            return Ok(());
        }
        let mut appender = self.turn()?;
        self.progress.check()?;
        self.make_room(&mut appender, frame_bytes(payload_bytes))
    }

    fn append_to(
        &self,
        room: Room,
        payload: &[u8],
        durability: Durability,
    ) -> Result<Receipt, AppendError> {
        if payload.is_empty() {
            return Err(AppendError::empty());
        }
        if payload.len() > ENTRY_MAX_BYTES {
            return Err(AppendError::too_large(payload.len()));
        }
        self.progress.check()?;
        let index = self.write(room, payload)?;
        self.progress.mark_dirty();
        let end = index.saturating_add(1);
        let behind = end.saturating_sub(self.progress.durable()) > UNSYNCED_MAX;
        let durability = if behind {
            Durability::Durable
        } else {
            durability
        };
        if durability == Durability::Durable {
            self.progress.wait_durable(end)?;
        }
        Ok(Receipt { index, durability })
    }

    /// The next entry begins a segment, unless it is the first of this one.
    pub(super) fn begin_segment(&self) -> Result<(), AppendError> {
        let mut appender = self.turn()?;
        let position = &appender.position;
        appender.must_rotate |= position.next_index > position.first_index;
        Ok(())
    }

    /// Counts a denial; the sync thread records the count.
    pub(super) fn count(
        &self,
        reason: &'static str,
        time: Timestamp,
    ) -> Result<Counted, AppendError> {
        self.progress.check()?;
        let counted = self.counts.add(reason, time)?;
        self.progress.mark_dirty();
        Ok(counted)
    }

    /// Returns when everything appended and counted so far is durable.
    pub(super) fn sync(&self) -> Result<(), AppendError> {
        self.counts.record(|entry| self.write(Room::Free, entry))?;
        let end = self.turn()?.position.next_index;
        self.progress.mark_dirty();
        self.progress.wait_durable(end)
    }

    /// The index below which entries are durable; `None` when the log is out of use.
    pub(super) fn durable(&self) -> Option<u64> {
        (!self.progress.is_poisoned()).then(|| self.progress.durable())
    }

    /// Nothing is appended any more.
    pub(super) fn poison(&self, cause: &str) -> AppendError {
        self.progress.poison(cause)
    }

    /// Makes durable what there is, if it can be, and ends the sync thread. `false`: that has not
    /// ended.
    pub(super) fn end(&self) -> bool {
        self.progress.close()
    }

    /// Writes a blob unless it is here. Blobs that could not be made durable poison the log.
    pub(super) fn put_blob<B: AsRef<[u8]>>(
        &self,
        digest: Digest,
        bytes: impl FnOnce() -> B,
    ) -> Result<(), AppendError> {
        self.progress.check()?;
        if self.blobs.has(&digest) {
            return Ok(());
        }
        let bytes = bytes();
        if self.progress.is_sealed() && self.blobs.is_new(&digest, bytes.as_ref()) {
            self.admit(0)?;
        }
        self.blobs
            .put(digest, bytes.as_ref())
            .map_err(|error| self.blob_failed(error))
    }

    /// The sync thread, until the log is closed or poisoned.
    pub(super) fn run_syncs(&self, interval: Duration) {
        let mut expected = 0;
        while self.progress.next_work(interval, &mut expected) && !self.progress.is_poisoned() {
            self.sync_once(Room::Free);
        }
        if !self.progress.is_poisoned() {
            self.sync_once(Room::Reserve);
        }
        self.progress.ended();
    }

    /// Records what was counted and makes durable what is written. The blobs first: what names them
    /// was appended after them. Counts that are not taken are tried again after the interval; the
    /// last ones may take the reserve.
    fn sync_once(&self, room: Room) {
        if self.counts.record(|entry| self.write(room, entry)).is_err() {
            if self.progress.is_poisoned() {
                return;
            }
            self.progress.mark_dirty();
        }
        let (file, end) = {
            let appender = self.appender.lock();
            (
                Arc::clone(&appender.position.file),
                appender.position.next_index,
            )
        };
        match self.blobs.sync() {
            Ok(()) => {}
            Err(BlobError::Busy) => return self.progress.mark_dirty(),
            Err(error) => {
                self.blob_failed(error);
                return;
            }
        }
        if self.sync_segment(&*file).is_ok() {
            self.progress.advance(end);
        }
    }

    fn sync_segment(&self, file: &dyn StoredFile) -> Result<(), AppendError> {
        match self.lock.is_in_place() {
            Ok(true) => {}
            Ok(false) => {
                return Err(self
                    .progress
                    .poison("its folder `wal` was moved or replaced"));
            }
            Err(error) => return Err(self.sync_failed(&error)),
        }
        match file.links() {
            Ok(0) => return Err(self.progress.poison("its segment was deleted")),
            Ok(_) => {}
            Err(error) => return Err(self.sync_failed(&error)),
        }
        file.sync().map_err(|error| self.sync_failed(&error))
    }

    /// Writes one frame to the last segment, or to the next one when that is full.
    fn write(&self, room: Room, payload: &[u8]) -> Result<u64, AppendError> {
        let mut appender = self.turn()?;
        // Again: it may have happened while this one waited.
        self.progress.check()?;
        let bytes = frame_bytes(payload.len());
        if let Err(error) = self.make_room(&mut appender, bytes) {
            let has_room = room == Room::Reserve
                && error.kind() == AppendErrorKind::DiskFull
                && appender.reserve_holds(bytes, self.segment_max_bytes);
            if !has_room {
                return Err(error);
            }
        }
        let Appender {
            position, frame, ..
        } = &mut *appender;
        let index = position.next_index;
        let next_index = index.checked_add(1).ok_or_else(|| {
            AppendError::io(
                "append an entry",
                &io::Error::other("the last index is used"),
            )
        })?;
        frame.clear();
        segment::encode_frame(position.salt, index, payload, frame);
        if let Err(error) = write_whole(&*position.file, frame, position.offset) {
            return Err(self.cut_back(position, &error));
        }
        position.offset = position.offset.saturating_add(frame.len() as u64);
        position.next_index = next_index;
        Ok(index)
    }

    /// The appenders' turn.
    fn turn(&self) -> Result<MutexGuard<'_, Appender>, AppendError> {
        let limit = Duration::from_millis(APPEND_WAIT_MAX_MS);
        self.appender.try_lock_for(limit).ok_or_else(no_turn)
    }

    /// Sees to it that a frame has its place in the last segment, with the reserve behind it, and
    /// seals the log or takes the seal off.
    fn make_room(&self, appender: &mut Appender, frame_bytes: u64) -> Result<(), AppendError> {
        if let Some(error) = &appender.seal
            && !self.progress.may_ask()
        {
            return Err(error.clone());
        }
        let must_rotate = appender.must_rotate(frame_bytes, self.segment_max_bytes);
        let rotated = if must_rotate {
            self.rotate(appender)
        } else {
            Ok(())
        };
        // A sealed log goes on with room for many, not with one small entry after the other.
        let more = appender.seal.as_ref().map_or(0, |_| STEP_BYTES);
        let made = rotated.and_then(|()| {
            let allocated = appender.position.allocate(frame_bytes.saturating_add(more));
            allocated.map_err(|error| AppendError::io("keep the log's reserve whole", &error))
        });
        let is_full = |error: &&AppendError| error.kind() == AppendErrorKind::DiskFull;
        let seal = made.as_ref().err().filter(is_full).cloned();
        if seal.is_some() || appender.seal.is_some() {
            self.progress.seal(seal.is_some());
            appender.seal = seal;
        }
        made
    }

    /// A write failed: whatever it left behind the last whole entry is cut off.
    fn cut_back(&self, position: &mut Position, error: &io::Error) -> AppendError {
        match position.file.truncate(position.offset) {
            Ok(()) => {
                // The next entry sees to it where this fails.
                let _ = position.allocate_again();
                AppendError::io("write to the log", error)
            }
            Err(second) => self.progress.poison(&format!(
                "a write failed ({error}), and its segment could not be cut back ({second})"
            )),
        }
    }

    /// Begins the next segment. The one before is durable before the next one has a name, so that
    /// only the last can ever be torn.
    fn rotate(&self, appender: &mut Appender) -> Result<(), AppendError> {
        self.blobs.sync().map_err(|error| self.blob_failed(error))?;
        self.sync_segment(&*appender.position.file)?;
        let first_index = appender.position.next_index;
        self.progress.advance(first_index);
        let failed = |error| AppendError::io("begin a segment of the log", &error);
        match create_segment(&*self.storage, &self.wal_folder, &self.origin, first_index) {
            Ok(position) => {
                let last = std::mem::replace(&mut appender.position, position);
                appender.must_rotate = false;
                // Gives back its reserve. Where this fails, it is room lost and no more.
                let _ = last.file.truncate(last.offset);
                Ok(())
            }
            Err(CreateError::Unmade(error)) => Err(failed(error)),
            Err(CreateError::Unnamed(error)) => {
                appender.must_rotate = true;
                Err(failed(error))
            }
            Err(CreateError::Unsynced(error)) => Err(self.sync_failed(&error)),
        }
    }

    fn blob_failed(&self, error: BlobError) -> AppendError {
        match error {
            BlobError::Sync(_) => self.progress.poison(&error.to_string()),
            other => other.into(),
        }
    }

    fn sync_failed(&self, error: &io::Error) -> AppendError {
        self.progress
            .poison(&format!("its bytes could not be made durable ({error})"))
    }
}

impl Appender {
    /// Whether the next frame belongs in another segment. Each holds at least one.
    const fn must_rotate(&self, frame_bytes: u64, segment_max_bytes: u64) -> bool {
        let full = self.position.offset.saturating_add(frame_bytes) > segment_max_bytes;
        self.must_rotate || (full && self.position.next_index > self.position.first_index)
    }

    /// Whether a frame may go into the last segment though it is full: into the reserve.
    const fn reserve_holds(&self, frame_bytes: u64, segment_max_bytes: u64) -> bool {
        let end = self.position.offset.saturating_add(frame_bytes);
        !self.must_rotate && end <= segment_max_bytes.saturating_add(RESERVE_BYTES)
    }
}

/// The size of the frame of an entry.
const fn frame_bytes(payload_bytes: usize) -> u64 {
    FRAME_HEAD_BYTES.saturating_add(payload_bytes) as u64
}

/// Why a segment was not made.
#[derive(Debug)]
pub(super) enum CreateError {
    /// Before it was to have its name: there is none, and it can be tried again.
    Unmade(io::Error),
    /// It may have its name. Nothing more goes into the segment before it; it can be tried again.
    Unnamed(io::Error),
    /// A sync failed.
    Unsynced(io::Error),
}

/// Makes a segment with nothing but its header and a reserve: durable under a temporary name first,
/// then named, then durable by name.
pub(super) fn create_segment(
    storage: &dyn Storage,
    wal_folder: &Path,
    origin: &str,
    first_index: u64,
) -> Result<Position, CreateError> {
    let salt = storage.salt().map_err(CreateError::Unmade)?;
    let header = Header {
        origin: origin.to_owned(),
        first_index,
        salt,
    };
    let temporary = temporary(wal_folder, first_index);
    let bytes = header.encode();
    let file = storage.create(&temporary).map_err(CreateError::Unmade)?;
    let mut position = Position {
        file: file.into(),
        salt,
        offset: bytes.len() as u64,
        next_index: first_index,
        first_index,
        allocated: 0,
    };
    let written = write_whole(&*position.file, &bytes, 0);
    if let Err(error) = written.and_then(|()| position.allocate(0)) {
        // What it has taken would be missing elsewhere on a full disk.
        let _ = fs::remove_file(&temporary);
        return Err(CreateError::Unmade(error));
    }
    position.file.sync().map_err(CreateError::Unsynced)?;
    let path = wal_folder.join(segment::file_name(first_index));
    storage
        .rename(&temporary, &path)
        .map_err(CreateError::Unnamed)?;
    storage
        .sync_folder(wal_folder)
        .map_err(CreateError::Unsynced)?;
    Ok(position)
}

pub(super) fn no_turn() -> AppendError {
    AppendError::timeout(
        "the log was busy and did not take the entry",
        APPEND_WAIT_MAX_MS,
    )
}
