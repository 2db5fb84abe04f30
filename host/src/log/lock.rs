//! The lock on a log folder: one process writes a log, and a second one is told which.
//!
//! Locked is the folder `wal`: what is locked is what is written, and nobody can delete it and make
//! another without the entries going with it. The file `lock` names the process, for the message,
//! and is locked too, because a network file system may keep a folder's lock to one machine. Both
//! locks are the operating system's and end with the process however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::error::is_full;
use super::reader::WAL_FOLDER;
use super::storage::FILE_MODE;

/// The file in a log folder that names who writes.
pub(super) const LOCK_FILE: &str = "lock";

/// The most of a lock file that is read: a process id has at most 20 digits.
const PID_MAX_BYTES: u64 = 20;

/// The exclusive right to write to a log folder, until it is dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    wal_folder: PathBuf,
    locked: File,
    _file: File,
}

/// Why a folder was not locked.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another has it: its process id, if the file says.
    Held(Option<u64>),
    /// A file or folder could not be opened, locked or written.
    Io(io::Error),
    /// While the folder was locked, another one took its place.
    Moved,
}

impl FolderLock {
    /// Locks a log folder that has its folder `wal`, at once or not at all.
    pub(super) fn take(folder: &Path) -> Result<Self, LockError> {
        let wal_folder = folder.join(WAL_FOLDER);
        let path = folder.join(LOCK_FILE);
        let locked = File::open(&wal_folder).map_err(LockError::Io)?;
        lock(&locked, &path)?;
        let mut options = OpenOptions::new();
        // Not truncated: until the lock is taken the text is another's.
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(FILE_MODE).open(&path);
        let mut file = file.map_err(LockError::Io)?;
        lock(&file, &path)?;
        let pid = std::process::id().to_string();
        let emptied = file.set_len(0).and_then(|()| file.rewind());
        match emptied.and_then(|()| file.write_all(pid.as_bytes())) {
            // The lock holds without it.
            Err(error) if is_full(&error) => {}
            written => written.map_err(LockError::Io)?,
        }
        let lock = Self {
            wal_folder,
            locked,
            _file: file,
        };
        match lock.is_in_place() {
            Ok(true) => Ok(lock),
            Ok(false) => Err(LockError::Moved),
            Err(error) => Err(LockError::Io(error)),
        }
    }

    /// Whether what is locked is still what stands at its path.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        let locked = self.locked.metadata()?;
        match fs::metadata(&self.wal_folder) {
            Ok(found) => Ok((found.dev(), found.ino()) == (locked.dev(), locked.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Locks a file or folder at once, or says who has it.
fn lock(file: &File, lock_file: &Path) -> Result<(), LockError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(LockError::Held(holder(lock_file))),
        Err(TryLockError::Error(error)) => Err(LockError::Io(error)),
    }
}

/// The process id that a lock file names.
fn holder(lock_file: &Path) -> Option<u64> {
    let mut text = String::new();
    let file = File::open(lock_file).ok()?;
    file.take(PID_MAX_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(WAL_FOLDER)).unwrap();
        folder
    }

    fn is_this_process(error: &LockError) -> bool {
        matches!(error, LockError::Held(Some(pid)) if *pid == u64::from(std::process::id()))
    }

    #[test]
    fn a_second_lock_is_refused_with_the_holder_until_the_first_is_dropped() {
        let folder = log_folder();
        let first = FolderLock::take(folder.path()).unwrap();
        assert!(is_this_process(
            &FolderLock::take(folder.path()).unwrap_err()
        ));
        drop(first);
        FolderLock::take(folder.path()).unwrap();
    }

    #[test]
    fn without_the_file_the_folder_is_still_locked() {
        let folder = log_folder();
        let path = folder.path().join(LOCK_FILE);
        let first = FolderLock::take(folder.path()).unwrap();
        for text in [None, Some("")] {
            let _ = fs::remove_file(&path);
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            let error = FolderLock::take(folder.path()).unwrap_err();
            assert!(matches!(error, LockError::Held(None)));
        }
        assert!(first.is_in_place().unwrap());
    }

    /// As where a folder's lock does not reach the other machine.
    #[test]
    fn the_file_is_locked_too() {
        let folder = log_folder();
        let first = FolderLock::take(folder.path()).unwrap();
        first.locked.unlock().unwrap();
        assert!(is_this_process(
            &FolderLock::take(folder.path()).unwrap_err()
        ));
    }

    #[test]
    fn a_folder_that_is_moved_or_replaced_is_noticed_and_stays_locked() {
        let folder = log_folder();
        let wal_folder = folder.path().join(WAL_FOLDER);
        let lock = FolderLock::take(folder.path()).unwrap();
        assert!(lock.is_in_place().unwrap());
        let other = tempfile::tempdir().unwrap();
        fs::rename(&wal_folder, other.path().join(WAL_FOLDER)).unwrap();
        assert!(!lock.is_in_place().unwrap());
        fs::create_dir(&wal_folder).unwrap();
        assert!(!lock.is_in_place().unwrap());
        let error = FolderLock::take(other.path()).unwrap_err();
        assert!(matches!(error, LockError::Held(None)));
    }

    #[test]
    fn the_text_of_an_earlier_holder_is_replaced() {
        let folder = log_folder();
        let path = folder.path().join(LOCK_FILE);
        fs::write(&path, "99999999999999999999999999").unwrap();
        let _lock = FolderLock::take(folder.path()).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
    }

    #[test]
    fn a_holder_that_does_not_say_who_it_is_still_holds() {
        let folder = log_folder();
        let _lock = FolderLock::take(folder.path()).unwrap();
        for text in ["", "not a number", "-1"] {
            fs::write(folder.path().join(LOCK_FILE), text).unwrap();
            let error = FolderLock::take(folder.path()).unwrap_err();
            assert!(matches!(error, LockError::Held(None)), "{text}");
        }
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let folder = log_folder();
        let error = FolderLock::take(&folder.path().join("none")).unwrap_err();
        assert!(matches!(error, LockError::Io(error) if error.kind() == io::ErrorKind::NotFound));
    }
}
