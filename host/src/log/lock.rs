//! The lock on a log folder: one process writes a log, and a second one is told which.
//!
//! The lock is the operating system's on the file `lock`; it ends with the process however that
//! ends. The process id in the file is for the message alone.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

/// The lock's file in a log folder.
pub(super) const LOCK_FILE: &str = "lock";

/// The most of a lock file that is read: a process id has at most 20 digits.
const PID_MAX_BYTES: u64 = 20;

/// The exclusive right to write to a log folder, until it is dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

/// Why a folder was not locked.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another has it: its process id, if the file says.
    Held(Option<u64>),
    /// The file could not be made, locked or written.
    Io(io::Error),
}

impl FolderLock {
    /// Locks a folder, at once or not at all.
    pub(super) fn take(folder: &Path) -> Result<Self, LockError> {
        let mut options = OpenOptions::new();
        // Not truncated: until the lock is taken the text is another's.
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options
            .open(folder.join(LOCK_FILE))
            .map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(holder(file))),
            Err(TryLockError::Error(error)) => return Err(LockError::Io(error)),
        }
        let pid = std::process::id().to_string();
        let written = file.set_len(0).and_then(|()| file.rewind());
        written
            .and_then(|()| file.write_all(pid.as_bytes()))
            .map_err(LockError::Io)?;
        Ok(Self { _file: file })
    }
}

/// The process id that a lock file names.
fn holder(file: File) -> Option<u64> {
    let mut text = String::new();
    file.take(PID_MAX_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_with_the_holder_until_the_first_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        let error = FolderLock::take(folder.path()).unwrap_err();
        assert!(
            matches!(error, LockError::Held(Some(pid)) if pid == u64::from(std::process::id()))
        );
        drop(first);
        FolderLock::take(folder.path()).unwrap();
    }

    #[test]
    fn the_text_of_an_earlier_holder_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK_FILE);
        std::fs::write(&path, "99999999999999999999999999").unwrap();
        let _lock = FolderLock::take(folder.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
    }

    #[test]
    fn a_holder_that_does_not_say_who_it_is_still_holds() {
        let folder = tempfile::tempdir().unwrap();
        let _lock = FolderLock::take(folder.path()).unwrap();
        for text in ["", "not a number", "-1"] {
            std::fs::write(folder.path().join(LOCK_FILE), text).unwrap();
            let error = FolderLock::take(folder.path()).unwrap_err();
            assert!(matches!(error, LockError::Held(None)), "{text}");
        }
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = FolderLock::take(&folder.path().join("none")).unwrap_err();
        assert!(matches!(error, LockError::Io(error) if error.kind() == io::ErrorKind::NotFound));
    }
}
