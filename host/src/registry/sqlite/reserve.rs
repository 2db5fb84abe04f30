//! The reserve: a file beside the registry that holds room on the disk, so that on a full one what
//! takes away from a key can be written all the same.
//!
//! SQLite needs some pages for a change, however small, and files beside its own for as long as it
//! is open. Where there is no room for a restriction, the reserve gives back a step of itself and
//! the change is made again; whoever opens the registry next takes the room again as far as there
//! is any. A file system that cannot allocate has no reserve.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::SqliteError;
use super::file::make_new;

/// How large the reserve is, in bytes.
pub const RESERVE_BYTES: u64 = 4 << 20;
/// How much is given back at once, in bytes: more than opening the file and a change need.
const STEP_BYTES: u64 = 256 << 10;
/// What the name of the reserve has behind that of the registry.
const SUFFIX: &str = "-reserve";

/// The reserve of a registry file.
#[derive(Debug)]
pub(super) struct Reserve(PathBuf);

impl Reserve {
    /// The reserve of the registry at a path.
    pub(super) fn beside(path: &Path) -> Self {
        let mut name: OsString = path.into();
        name.push(SUFFIX);
        Self(name.into())
    }

    /// Allocates what is missing, as far as there is room. Without a reserve a full disk takes no
    /// change, and nothing else is different: so it is no error.
    pub(super) fn keep(&self) {
        let is_whole = fs::metadata(&self.0).is_ok_and(|file| file.len() >= RESERVE_BYTES);
        if !is_whole {
            let _missing = self.allocate();
        }
    }

    fn allocate(&self) -> io::Result<()> {
        match make_new(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).open(&self.0)?;
        allocate(&file, RESERVE_BYTES)
    }

    /// Tries until the disk has room for it, or nothing of the reserve is left.
    pub(super) fn use_up<T>(
        &self,
        mut make: impl FnMut() -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        loop {
            match make() {
                Err(error) if error.is_full() && self.release() => {}
                made => return made,
            }
        }
    }

    /// Gives a step back; false: nothing is left.
    pub(super) fn release(&self) -> bool {
        let shortened = OpenOptions::new()
            .write(true)
            .open(&self.0)
            .and_then(|file| {
                let length = file.metadata()?.len();
                file.set_len(length.saturating_sub(STEP_BYTES))?;
                Ok(length > 0)
            });
        shortened.unwrap_or(false)
    }
}

#[cfg(unix)]
fn allocate(file: &File, length: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    Ok(fallocate(file, FallocateFlags::empty(), 0, length)?)
}

#[cfg(not(unix))]
fn allocate(_: &File, _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
