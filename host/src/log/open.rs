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
use super::reader::{LogReadError, LogReader, WAL_FOLDER};
use super::segment::{self, Header, ORIGIN_MAX_BYTES, SEGMENT_MAX_BYTES};
use super::storage::{Storage, delete_temporaries, make_folder, write_whole};
use super::writer::{CreateError, Position, Start, Writer, create_segment};
use super::{LogOptions, SYNC_INTERVAL_MAX_MS};
use crate::timestamp::Timestamp;

/// Opens a folder for writing, or makes a log in it.
pub(super) fn open(
    storage: Arc<dyn Storage>,
    folder: &Path,
    options: &LogOptions,
    now: Timestamp,
) -> Result<(FolderLock, Writer), LogError> {
    check_options(options)?;
    refuse_other_folders(folder)?;
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let lock = FolderLock::take(folder).map_err(|error| lock_failed(folder, error))?;
    let wal_folder = folder.join(WAL_FOLDER);
    make_folder(&*storage, &wal_folder).map_err(failed("make", &wal_folder))?;
    delete_temporaries(&wal_folder).map_err(failed("tidy", &wal_folder))?;
    let position = match LogReader::open(folder) {
        Ok(reader) => go_on(&*storage, &reader, options, now)?,
        // The blobs' folder is made after the first segment: the segments were there once.
        Err(LogReadError::NoSegments(_)) if !folder.join(BLOB_FOLDER).exists() => {
            begin(&*storage, &wal_folder, options)?
        }
        Err(error) => return Err(error.into()),
    };
    let blobs = BlobStore::open(Arc::clone(&storage), folder);
    let blobs = blobs.map_err(failed("make", &folder.join(BLOB_FOLDER)))?;
    let writer = Writer::new(Start {
        storage,
        wal_folder,
        origin: options.origin.clone(),
        segment_max_bytes: options.segment_max_bytes,
        blobs,
        position,
    });
    Ok((lock, writer))
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
    if !(1..=SEGMENT_MAX_BYTES).contains(&options.segment_max_bytes) {
        return Err(LogError::SegmentSize(options.segment_max_bytes));
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
        Err(error) => return Err(failed("read", folder)(error)),
    };
    for file in files {
        if file.map_err(failed("read", folder))?.file_name() != LOCK_FILE {
            return Err(LogReadError::NotALog(folder.to_owned()).into());
        }
    }
    Ok(())
}

/// The first segment of a new log.
fn begin(
    storage: &dyn Storage,
    wal_folder: &Path,
    options: &LogOptions,
) -> Result<Position, LogError> {
    let header = Header {
        origin: options.origin.clone(),
        first_index: 0,
    };
    create_segment(storage, wal_folder, &header).map_err(|error| match error {
        CreateError::Unnamed(error) | CreateError::Unsynced(error) => {
            failed("begin a segment in", wal_folder)(error)
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
    let folder = reader.folder().to_owned();
    if reader.origin() != options.origin {
        let (found, expected) = (reader.origin().to_owned(), options.origin.clone());
        return Err(LogError::OtherOrigin {
            folder,
            found,
            expected,
        });
    }
    let end = reader.end()?;
    let path = folder
        .join(WAL_FOLDER)
        .join(segment::file_name(end.segment));
    let file = storage.open(&path).map_err(failed("open", &path))?;
    let mut position = Position {
        file: file.into(),
        offset: end.offset,
        next_index: end.next_index,
        first_index: end.segment,
    };
    if end.torn_bytes > 0 {
        let recovery = Recovery {
            time: now,
            dropped_bytes: end.torn_bytes,
            segment: end.segment,
        };
        recover(&mut position, recovery).map_err(failed("recover", &path))?;
    }
    position.file.sync().map_err(failed("sync", &path))?;
    Ok(position)
}

/// Puts the record of the drop over the start of what is dropped, and cuts off the rest only then:
/// at no moment is a tail gone without a record. It goes into the torn segment even when that is
/// full, because no other may follow a torn one.
fn recover(position: &mut Position, recovery: Recovery) -> io::Result<()> {
    let mut frame = Vec::new();
    let payload = Entry::Recovery(recovery).encode();
    segment::encode_frame(position.next_index, &payload, &mut frame);
    write_whole(&*position.file, &frame, position.offset)?;
    position.offset = position.offset.saturating_add(frame.len() as u64);
    position.next_index = position.next_index.saturating_add(1);
    position.file.truncate(position.offset)
}

fn lock_failed(folder: &Path, error: LockError) -> LogError {
    let holder = match error {
        LockError::Held(Some(pid)) => format!("pid {pid}"),
        LockError::Held(None) => "pid unknown".to_owned(),
        LockError::Io(error) => return failed("lock", folder)(error),
    };
    LogError::InUse {
        folder: folder.to_owned(),
        holder,
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError + use<> {
    let path = path.to_owned();
    move |source| LogError::Io {
        action,
        path,
        source,
    }
}
