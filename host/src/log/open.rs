//! Opening a log folder for writing: the lock, the check of everything that is there, the end of a
//! log that was torn off, and the first segment of a new one.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::blob::{BLOB_FOLDER, BlobStore};
use super::entry::{Entry, Recovery};
use super::error::LogError;
use super::lock::{FolderLock, LOCK_FILE, LockError};
use super::publish::{
    CHECKPOINT_INTERVAL_MAX_MS, Publisher, Publishing, check_end, check_unsigned,
};
use super::reader::{self, LogReadError, LogReader, WAL_FOLDER};
use super::segment::{self, ORIGIN_MAX_BYTES, SEGMENT_MAX_BYTES};
use super::storage::{
    Storage, delete_temporaries, make_folders, make_unsynced_folder, write_whole,
};
use super::writer::{CreateError, Position, Start, Writer, create_segment};
use super::{LogOptions, SYNC_INTERVAL_MAX_MS};
use crate::timestamp::Timestamp;
use crate::tlog::key::Signer;

/// Which of the two surprises is one: that there is a log, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// No log yet.
    Nothing,
    /// A log.
    Log,
}

/// Opens a folder for writing, or makes a log in it.
pub(super) fn open(
    storage: Arc<dyn Storage>,
    folder: &Path,
    (options, expected): (&LogOptions, Expected),
    now: Timestamp,
) -> Result<(Writer, Option<Publisher>), LogError> {
    check_options(options)?;
    match (has_begun(folder)?, expected) {
        (true, Expected::Nothing) => return Err(LogError::Exists),
        (false, Expected::Log) => return Err(LogError::NotBegun),
        _ => {}
    }
    make_folders(&*storage, folder).map_err(failed("make it"))?;
    let wal_folder = folder.join(WAL_FOLDER);
    // Its name is synced by who has the lock on it.
    make_unsynced_folder(&wal_folder).map_err(failed("make its folder `wal`"))?;
    let lock = FolderLock::take(folder).map_err(lock_failed)?;
    delete_temporaries(&wal_folder).map_err(failed("tidy its folder `wal`"))?;
    // What a host before has left in the operating system's hands, names and blobs too: what is
    // promised from here on rests on it.
    let synced = storage.sync_file_system(folder);
    synced.map_err(failed("sync what is there"))?;
    // Again, now that nobody else can begin one.
    let position = match (has_begun(folder)?, expected) {
        (true, Expected::Nothing) => return Err(LogError::Exists),
        (true, Expected::Log) => go_on(&*storage, &LogReader::open(folder)?, options, now)?,
        (false, _) => begin(&*storage, folder, &options.origin)?,
    };
    let blobs = BlobStore::open(Arc::clone(&storage), folder);
    let blobs = blobs.map_err(failed("make its folder `blob`"))?;
    let publisher = match &options.publishing {
        Some(publishing) => {
            let log = (folder, options.origin.as_str());
            let (storage, publishing) = (Arc::clone(&storage), publishing.clone());
            Some(Publisher::open(
                storage,
                log,
                publishing,
                position.next_index,
            )?)
        }
        None => {
            check_unsigned(folder)?;
            // Nothing was published, so that nothing can have been dropped.
            if reader::list(folder)?
                .first()
                .is_some_and(|first| *first > 0)
            {
                return Err(LogReadError::MissingSegment { index: 0 }.into());
            }
            None
        }
    };
    let writer = Writer::new(Start {
        storage,
        wal_folder,
        origin: options.origin.clone(),
        segment_max_bytes: options.segment_max_bytes,
        blobs,
        position,
        lock,
    });
    Ok((writer, publisher))
}

/// Whether there is a log in a folder, as far as its first segment tells: whether it is to be
/// opened or created.
///
/// # Errors
/// What both would fail with, as far as reading tells.
pub fn has_begun(folder: &Path) -> Result<bool, LogError> {
    refuse_other_folders(folder)?;
    if !folder.join(WAL_FOLDER).exists() {
        return Ok(false);
    }
    match LogReader::open(folder) {
        Ok(_) => Ok(true),
        // The blobs' folder is made after the first segment: the segments were there once.
        Err(LogReadError::NoSegments) if !folder.join(BLOB_FOLDER).exists() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a text can name a log: 1 to [`ORIGIN_MAX_BYTES`] visible ASCII characters, no `+` (it is
/// the name of the log's key too, C2SP signed-note) and no scheme.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    (1..=ORIGIN_MAX_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'+')
        && !text.contains("://")
}

fn check_options(options: &LogOptions) -> Result<(), LogError> {
    let origin = &options.origin;
    if !is_origin(origin) {
        return Err(LogError::Origin(origin.clone()));
    }
    if !(1..=SYNC_INTERVAL_MAX_MS).contains(&options.sync_interval_ms) {
        return Err(LogError::SyncInterval(options.sync_interval_ms));
    }
    if let Some(publishing) = &options.publishing {
        check_publishing(origin, publishing)?;
    }
    if !(1..=SEGMENT_MAX_BYTES).contains(&options.segment_max_bytes) {
        return Err(LogError::SegmentSize(options.segment_max_bytes));
    }
    Ok(())
}

fn check_publishing(origin: &str, publishing: &Publishing) -> Result<(), LogError> {
    if !(1..=CHECKPOINT_INTERVAL_MAX_MS).contains(&publishing.interval_ms) {
        return Err(LogError::CheckpointInterval(publishing.interval_ms));
    }
    let is_ours = |signer: &Signer| signer.verifier().name() == origin;
    if publishing.signers.is_empty() || !publishing.signers.iter().all(is_ours) {
        return Err(LogError::KeyName(origin.to_owned()));
    }
    Ok(())
}

/// A log is not begun among other things: the folder is new, empty, or one of ours.
fn refuse_other_folders(folder: &Path) -> Result<(), LogError> {
    if folder.join(WAL_FOLDER).exists() {
        return Ok(());
    }
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("read it")(error)),
    };
    for file in files {
        if file.map_err(failed("read it"))?.file_name() != LOCK_FILE {
            return Err(LogReadError::NotALog.into());
        }
    }
    Ok(())
}

/// The first segment of a new log.
fn begin(storage: &dyn Storage, folder: &Path, origin: &str) -> Result<Position, LogError> {
    let failed = failed("begin a segment");
    if let Err(error) = storage.sync_folder(folder) {
        return Err(failed(error));
    }
    create_segment(storage, &folder.join(WAL_FOLDER), origin, 0).map_err(|error| match error {
        CreateError::Unmade(error) | CreateError::Unnamed(error) | CreateError::Unsynced(error) => {
            failed(error)
        }
    })
}

/// Goes on where a log ends; what the host before has left in the operating system's hands becomes
/// durable first.
fn go_on(
    storage: &dyn Storage,
    reader: &LogReader,
    options: &LogOptions,
    now: Timestamp,
) -> Result<Position, LogError> {
    if reader.origin() != options.origin {
        let (found, expected) = (reader.origin().to_owned(), options.origin.clone());
        return Err(LogError::OtherOrigin { found, expected });
    }
    let end = reader.end()?;
    check_end(reader.folder(), end.next_index)?;
    let wal_folder = reader.folder().join(WAL_FOLDER);
    let file = storage.open(&wal_folder.join(segment::file_name(end.segment)));
    let file = file.map_err(failed("open the last segment"))?;
    let mut position = Position {
        file: file.into(),
        salt: end.salt,
        offset: end.offset,
        next_index: end.next_index,
        first_index: end.segment,
        allocated: 0,
    };
    if end.torn_bytes > 0 {
        let recovery = Recovery {
            time: now,
            dropped_bytes: end.torn_bytes,
            segment: end.segment,
        };
        recover(&mut position, recovery).map_err(failed("recover the last segment"))?;
    }
    let synced = position.file.sync();
    synced.map_err(failed("sync the last segment"))?;
    Ok(position)
}

/// Cuts off what is dropped but for its first byte, and puts the record of the drop over that. At
/// no moment is a tail gone without a trace; and no whole entry of it comes back behind the record,
/// as it would if a power cut left the record and undid the cut. The record goes into the torn
/// segment even when that is full, because no other may follow a torn one.
fn recover(position: &mut Position, recovery: Recovery) -> io::Result<()> {
    position.file.truncate(position.offset.saturating_add(1))?;
    // Before another takes the room. Where there is none, the write says so.
    let _ = position.allocate(0);
    position.file.sync()?;
    let mut frame = Vec::new();
    let payload = Entry::Recovery(recovery).encode();
    segment::encode_frame(position.salt, position.next_index, &payload, &mut frame);
    write_whole(&*position.file, &frame, position.offset)?;
    position.offset = position.offset.saturating_add(frame.len() as u64);
    position.next_index = position.next_index.saturating_add(1);
    Ok(())
}

fn lock_failed(error: LockError) -> LogError {
    let holder = match error {
        LockError::Held(Some(pid)) => format!("pid {pid}"),
        LockError::Held(None) => "pid unknown".to_owned(),
        LockError::Io(error) => return failed("lock it")(error),
        LockError::Moved => return LogError::Moved,
    };
    LogError::InUse { holder }
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> LogError {
    move |source| LogError::Io { action, source }
}
