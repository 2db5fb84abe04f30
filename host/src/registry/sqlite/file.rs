//! Opening a registry file: whose it is, its schema, and the settings of a connection.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};

use super::SqliteError;
use crate::shown::shown;

/// The version of [`SCHEMA`], in the file's `user_version`.
pub(super) const SCHEMA_VERSION: i32 = 2;
/// How long a call waits for another process, in seconds.
pub(super) const BUSY_TIMEOUT_SECONDS: u64 = 5;
/// `kwrd`: the mark of keyward's files, in SQLite's header.
pub(super) const APPLICATION_ID: i32 = 0x6b77_7264;
/// What the write-ahead log may keep after a checkpoint: an import makes it as large as itself.
const WAL_KEPT_MAX_BYTES: i64 = 64 * 1024 * 1024;

/// `key.record` is the record, in canonical JSON; the columns beside it are for queries, and are
/// compared with it when a row is read. `key_event.entry` is the event as the log takes it, and
/// `record` the record that it led to. `key.first_event` is the event that made the key: the keys
/// of an import are found by it. Emergencies and their reviews are events and nothing else; an
/// order has its event too, and its `outcome` decides nothing. `recorded` says for each log how far
/// it has the events. Times are milliseconds since 1970-01-01T00:00:00Z.
///
/// No index for the filters of a list: a scan of a million keys takes 0.2 s without one, and one on
/// `owner` alone makes an import twice as slow. `WITHOUT ROWID` saves 0.1 % of the file.
pub(super) const SCHEMA: &str = "
CREATE TABLE key (
    id TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version >= 1),
    owner TEXT NOT NULL,
    lifecycle TEXT NOT NULL
        CHECK (lifecycle IN ('active', 'deprecated', 'suspended', 'revoked')),
    expires_at INTEGER,
    record TEXT NOT NULL,
    secret_sha256 BLOB CHECK (length(secret_sha256) = 32),
    predecessor TEXT REFERENCES key (id),
    is_unused INTEGER NOT NULL DEFAULT 0 CHECK (is_unused IN (0, 1)),
    first_event INTEGER NOT NULL CHECK (first_event >= 1)
) STRICT;
CREATE UNIQUE INDEX key_predecessor ON key (predecessor) WHERE predecessor IS NOT NULL;
CREATE TABLE key_event (
    sequence INTEGER NOT NULL PRIMARY KEY CHECK (sequence >= 1),
    key_id TEXT REFERENCES key (id),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    entry BLOB NOT NULL,
    record TEXT
) STRICT;
CREATE INDEX key_event_key ON key_event (key_id, sequence) WHERE key_id IS NOT NULL;
CREATE INDEX key_event_emergency ON key_event (sequence)
    WHERE kind IN ('revoked-in-emergency', 'emergency-reviewed');
CREATE TABLE recorded (
    origin TEXT NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL CHECK (sequence >= 1),
    log_index INTEGER NOT NULL CHECK (log_index >= 0)
) STRICT;
CREATE TABLE revocation_order (
    digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    key_id TEXT NOT NULL REFERENCES key (id),
    requester TEXT NOT NULL,
    requester_user TEXT,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('open', 'confirmed', 'replaced'))
) STRICT;
CREATE INDEX revocation_order_key ON revocation_order (key_id);
";

/// What a file is.
pub(super) enum Kind {
    Empty,
    Registry,
    /// One of schema version 1, to be migrated.
    Version1,
}

/// Opens a file, and makes it where there is none.
pub(super) fn open(path: &Path) -> Result<Connection, SqliteError> {
    make(path)?;
    let mut connection = connect(path)?;
    match kind_of(&connection)? {
        Kind::Empty => create_schema(&mut connection)?,
        Kind::Registry => refuse_code(&connection)?,
        Kind::Version1 => return Err(SqliteError::Older),
    }
    set_up(&connection)?;
    Ok(connection)
}

/// Opens a file that is there.
pub(super) fn open_existing(path: &Path) -> Result<Connection, SqliteError> {
    let connection = connect_existing(path)?;
    match kind_of(&connection)? {
        Kind::Empty => Err(SqliteError::Empty),
        Kind::Version1 => Err(SqliteError::Older),
        Kind::Registry => {
            refuse_code(&connection)?;
            set_up(&connection)?;
            Ok(connection)
        }
    }
}

/// Connects to a file that is there, whatever it is.
pub(super) fn connect_existing(path: &Path) -> Result<Connection, SqliteError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(SqliteError::Missing),
        // Whatever else is wrong with it, SQLite will meet too.
        _ => connect(path),
    }
}

/// Opens a file to look at it: nothing is written, to it or beside it.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// Makes an empty file for its owner alone; the files that SQLite puts beside it take the same
/// permissions.
fn make(path: &Path) -> Result<(), SqliteError> {
    match make_new(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(SqliteError::Create(error)),
        _ => Ok(()),
    }
}

/// Makes an empty file for its owner alone, where there is none.
pub(super) fn make_new(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn connect(path: &Path) -> Result<Connection, SqliteError> {
    // Without SQLITE_OPEN_URI, a path that begins with `file:` is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(BUSY_TIMEOUT_SECONDS))?;
    Ok(connection)
}

/// Finds out whose file it is, before anything is written to it.
pub(super) fn kind_of(connection: &Connection) -> Result<Kind, SqliteError> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i32>(0));
    let application_id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let entries = number("SELECT min(count(*), 1) FROM sqlite_schema")?;
    match (application_id, version, entries) {
        (0, 0, 0) => Ok(Kind::Empty),
        (APPLICATION_ID, SCHEMA_VERSION, _) => Ok(Kind::Registry),
        (APPLICATION_ID, 1, _) => Ok(Kind::Version1),
        (APPLICATION_ID, newer, _) if newer > SCHEMA_VERSION => Err(SqliteError::Newer(newer)),
        (APPLICATION_ID, unknown, _) => Err(SqliteError::Corrupt(format!(
            "there is no schema version {unknown}"
        ))),
        _ => Err(SqliteError::Foreign(application_id)),
    }
}

/// Refuses a file with a trigger, a view or anything else but tables and indexes: a change would
/// come to something else than it says. SQLite goes by an entry's SQL, and not by its type.
pub(super) fn refuse_code(connection: &Connection) -> Result<(), SqliteError> {
    let sql = "SELECT type, name FROM sqlite_schema
               WHERE type NOT IN ('table', 'index')
                   OR (sql NOT LIKE 'CREATE TABLE %' AND sql NOT LIKE 'CREATE INDEX %'
                       AND sql NOT LIKE 'CREATE UNIQUE INDEX %')";
    let text = |value: ValueRef<'_>| shown(value.as_str().unwrap_or_default());
    let code = connection.query_row(sql, [], |row| {
        Ok((text(row.get_ref(0)?), text(row.get_ref(1)?)))
    });
    match code.optional()? {
        None => Ok(()),
        Some((kind, name)) => Err(SqliteError::ForeignCode { kind, name }),
    }
}

/// Makes an empty file a registry, unless another process did meanwhile.
fn create_schema(connection: &mut Connection) -> Result<(), SqliteError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if matches!(kind_of(&transaction)?, Kind::Empty) {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The settings that SQLite forgets when a file is closed, and WAL mode.
pub(super) fn set_up(connection: &Connection) -> Result<(), SqliteError> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return Err(SqliteError::NoWal(mode));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // A file from elsewhere may hold triggers and views: they get no function with side effects.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection
        .pragma_update_and_check(None, "journal_size_limit", WAL_KEPT_MAX_BYTES, |_| Ok(()))?;
    Ok(())
}
