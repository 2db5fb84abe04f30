//! The few operations on files that the log is made of, behind a trait, so that a test can make any
//! of them fail.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Where files are made. Implementations are used by many threads at once.
///
/// An operation that reports an error may have happened or not; the log assumes neither.
pub(super) trait Storage: Debug + Send + Sync {
    /// Makes an empty file for writing, in the place of one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Opens a file that is there for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Gives a file another name on the same file system, atomically. The name outlives a power cut
    /// after [`Storage::sync_folder`] only.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns when the names in a folder outlive a power cut.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file open for writing.
pub(super) trait StoredFile: Debug + Send + Sync {
    /// One write at an offset. It may write less than it is given, which the log takes for a
    /// failure. The bytes are the operating system's when it returns and outlive a power cut after
    /// [`StoredFile::sync`] only.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Returns when the file's bytes and length outlive a power cut. Never called again after it
    /// has failed once: an operating system may then report a success for bytes that it dropped.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file off.
    fn truncate(&self, length_bytes: u64) -> io::Result<()>;

    /// How many names the file has. None: it was deleted, and what is written to it is lost.
    fn links(&self) -> io::Result<u64>;

    /// The file's length in bytes.
    #[cfg(test)]
    fn length(&self) -> io::Result<u64>;
}

/// The machine's own files.
#[derive(Debug)]
pub(super) struct RealStorage;

impl Storage for RealStorage {
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(RealFile(
            OpenOptions::new().write(true).open(path)?,
        )))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl StoredFile for RealFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.0.set_len(length_bytes)
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.nlink())
    }

    #[cfg(test)]
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Writes all of `bytes` with one call.
///
/// # Errors
/// The write's own, or [`io::ErrorKind::WriteZero`] when it wrote less.
pub(super) fn write_whole(file: &dyn StoredFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    if file.write_at(bytes, offset)? == bytes.len() {
        Ok(())
    } else {
        Err(io::Error::new(
            io::ErrorKind::WriteZero,
            "only a part was written",
        ))
    }
}

/// Makes a folder unless it is there. A new one outlives a power cut.
pub(super) fn make_folder(storage: &dyn Storage, folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Ok(()) => storage.sync_folder(folder.parent().unwrap_or(folder)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// A name in a folder for a file that does not yet have all of its bytes.
pub(super) fn temporary(folder: &Path, distinction: u64) -> PathBuf {
    folder.join(format!("{distinction}.{TEMPORARY_EXTENSION}"))
}

/// Deletes what a crash has left half-written in a folder.
pub(super) fn delete_temporaries(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == TEMPORARY_EXTENSION)
        {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The last part of a temporary file's name.
const TEMPORARY_EXTENSION: &str = "tmp";

#[cfg(test)]
pub(super) mod faulty;
