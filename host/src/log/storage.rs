//! The few operations on files that the log is made of, behind a trait, so that a test can make any
//! of them fail.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

/// What the owner of a log's file may do with it. Nobody else may do anything: requests and key
/// records are not for everyone's eyes.
pub(super) const FILE_MODE: u32 = 0o600;
/// What the owner of a log's folder may do with it, and nobody else.
const FOLDER_MODE: u32 = 0o700;

/// Where files are made. Implementations are used by many threads at once.
///
/// An operation that reports an error may have happened or not; the log assumes neither.
pub(super) trait Storage: Debug + Send + Sync {
    /// Makes an empty file for writing, in the place of one that is there.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Opens a file that is there for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Returns when the bytes of a file that is there outlive a power cut. It may be read-only.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name on the same file system, atomically. The name outlives a power cut
    /// after [`Storage::sync_folder`] only.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns when the names in a folder outlive a power cut.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Opens the file system of a folder, to sync it.
    fn open_file_system(&self, folder: &Path) -> io::Result<Box<dyn FileSystem>>;

    /// Returns when everything on the file system of a folder outlives a power cut.
    fn sync_file_system(&self, folder: &Path) -> io::Result<()> {
        self.open_file_system(folder)?.sync()
    }

    /// A number that no client can guess.
    fn salt(&self) -> io::Result<u32>;
}

/// A file system. It stays open for as long as what is written is to be synced: an operating system
/// tells each who has it open, once, that bytes were lost, and who opens it later nothing.
pub(super) trait FileSystem: Debug + Send + Sync {
    /// Returns when everything on it outlives a power cut.
    fn sync(&self) -> io::Result<()>;
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

    /// Allocates room for bytes from an offset on, so that writing them later needs no more. The
    /// file's length and bytes stay what they are.
    fn allocate(&self, offset: u64, length_bytes: u64) -> io::Result<()>;

    /// Cuts the file off, and gives back what is allocated beyond.
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
            .mode(FILE_MODE)
            .open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(RealFile(
            OpenOptions::new().write(true).open(path)?,
        )))
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        // Bytes are synced whoever wrote them, with any handle to the file.
        File::open(path)?.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn open_file_system(&self, folder: &Path) -> io::Result<Box<dyn FileSystem>> {
        Ok(Box::new(RealFileSystem(File::open(folder)?)))
    }

    fn salt(&self) -> io::Result<u32> {
        getrandom::u32().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// A file system, by a folder on it.
#[derive(Debug)]
struct RealFileSystem(File);

impl FileSystem for RealFileSystem {
    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
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

    fn allocate(&self, offset: u64, length_bytes: u64) -> io::Result<()> {
        let keep = FallocateFlags::KEEP_SIZE;
        let allocate = || rustix::fs::fallocate(&self.0, keep, offset, length_bytes);
        Ok(rustix::io::retry_on_intr(allocate)?)
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

/// Makes a folder unless it is there, for the owner only. A new one outlives a power cut.
pub(super) fn make_folder(storage: &dyn Storage, folder: &Path) -> io::Result<()> {
    if make_unsynced_folder(folder)? {
        storage.sync_folder(parent(folder))?;
    }
    Ok(())
}

/// [`make_folder`] of a folder and of all that it is in.
pub(super) fn make_folders(storage: &dyn Storage, folder: &Path) -> io::Result<()> {
    let missing = folder.ancestors().take_while(|path| {
        // The empty path is the working folder.
        !path.as_os_str().is_empty() && !path.is_dir()
    });
    let mut missing: Vec<&Path> = missing.collect();
    while let Some(outermost) = missing.pop() {
        make_folder(storage, outermost)?;
    }
    Ok(())
}

/// Makes a folder for the owner only; `false` when it is there. The name of a new one does not yet
/// outlive a power cut.
pub(super) fn make_unsynced_folder(folder: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(false),
        Err(error) => Err(error),
    }
}

/// The folder that a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
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
#[cfg(test)]
pub(super) mod recording;
