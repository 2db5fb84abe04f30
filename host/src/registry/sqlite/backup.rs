//! Copies of a registry file while others use it.
//!
//! A copy is made with `VACUUM INTO`, in one read transaction: in WAL mode it stops no writer, and
//! no writer makes it begin anew, as the online backup API does when another process writes between
//! its steps. What it writes is one file that needs no write-ahead log beside it, and it holds
//! nothing that was deleted or replaced, such as the digests of earlier secrets.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;

use rusqlite::Connection;

use super::{Checked, SqliteError, SqliteRegistry, check, file};
use crate::timestamp::Timestamp;

impl SqliteRegistry {
    /// Writes a copy of the registry as it is at one instant, for its owner alone. It gets its name
    /// when it is whole, checked and on the disk; a kill leaves at most a file whose name ends in
    /// `.tmp`.
    ///
    /// # Errors
    /// [`SqliteError`], among others [`SqliteError::CopyExists`] and [`SqliteError::Wrong`]; there
    /// is then no copy.
    pub fn backup(&self, to: &Path, now: Timestamp) -> Result<Checked, SqliteError> {
        copy(&self.connection, to, |copy| check::demand(copy, now))
    }
}

/// Copies what a connection sees, if the copy passes.
pub(super) fn copy<T>(
    connection: &Connection,
    to: &Path,
    check: impl FnOnce(&Connection) -> Result<T, SqliteError>,
) -> Result<T, SqliteError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(SqliteError::CopyExists(to.display().to_string()));
    }
    let temporary = Temporary::new(to).map_err(SqliteError::Copy)?;
    let name = temporary.0.to_str().ok_or_else(|| {
        let error = io::Error::new(ErrorKind::InvalidInput, "its path is not UTF-8");
        SqliteError::Copy(error)
    })?;
    connection.execute("VACUUM INTO ?1", [name])?;
    let opened = file::open_to_read(&temporary.0)?;
    let checked = check(&opened)?;
    drop(opened);
    temporary.keep_as(to)?;
    Ok(checked)
}

/// A copy that is being written; removed unless it is kept.
struct Temporary(PathBuf);

impl Temporary {
    fn new(to: &Path) -> io::Result<Self> {
        let mut name: OsString = to.into();
        name.push(format!(".{}.tmp", process::id()));
        let path = PathBuf::from(name);
        file::make_new(&path)?;
        Ok(Self(path))
    }

    /// Gives it its name, which nothing has: a rename would write over what came there meanwhile.
    fn keep_as(self, to: &Path) -> Result<(), SqliteError> {
        let linked = File::open(&self.0)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::hard_link(&self.0, to));
        linked.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => SqliteError::CopyExists(to.display().to_string()),
            _ => SqliteError::Copy(error),
        })?;
        let path = self.0.clone();
        drop(self);
        sync_parent(&path).map_err(SqliteError::Copy)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is no copy either: its name says so.
        drop(fs::remove_file(&self.0));
    }
}

/// Makes the names in a file's folder durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
