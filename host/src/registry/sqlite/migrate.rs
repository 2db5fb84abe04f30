//! From schema version 1 to 2, in one transaction. Version 1 had an event for each key that was
//! issued or imported, and no chain; keys could not be changed.
//!
//! The old file is copied before the transaction is committed, and is what a crash leaves until
//! then.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, Transaction, TransactionBehavior};
use serde::Deserialize;

use super::events::{By, Events};
use super::file::{self, Kind, SCHEMA, SCHEMA_VERSION};
use super::row::{Insert, Origin, key_of};
use super::{Checked, SqliteError, backup, check, row};
use crate::digest::{Digest, DigestWriter};
use crate::key::KeyId;
use crate::key::event::{KeyEventKind, Subject, import_line, secret_commitment};
use crate::key::json::CheckedKey;
use crate::key::state::State;
use crate::timestamp::Timestamp;

/// A migration that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// What the file has now.
    pub checked: Checked,
    /// Where the old file is.
    pub kept: PathBuf,
}

/// Where the old file is kept: beside the new one, its name with `.v1` behind.
#[must_use]
pub fn kept_path(path: &Path) -> PathBuf {
    let mut name: OsString = path.into();
    name.push(".v1");
    PathBuf::from(name)
}

/// Every key with its event, in the order of the events.
const SELECT_VERSION_1: &str = concat!(
    "SELECT ",
    row::columns!(),
    ", at, kind, actor, detail
     FROM (SELECT seq, key_id, at, kind, actor, detail FROM key_event_1) AS event
         JOIN key_1 ON key_1.id = event.key_id
     ORDER BY seq"
);

impl super::SqliteRegistry {
    /// Migrates a file of schema version 1, and keeps a copy of it; `None`: it has version 2
    /// already.
    ///
    /// # Errors
    /// [`SqliteError`], among others [`SqliteError::CopyExists`] where an old file is kept already;
    /// the file is then as it was.
    pub fn migrate(path: &Path, now: Timestamp) -> Result<Option<Migrated>, SqliteError> {
        let mut connection = file::connect_existing(path)?;
        match file::kind_of(&connection)? {
            Kind::Empty => return Err(SqliteError::Empty),
            Kind::Registry => return Ok(None),
            Kind::Version1 => file::refuse_code(&connection)?,
        }
        file::set_up(&connection)?;
        // The old table is dropped while rows of the new ones name theirs.
        connection.pragma_update(None, "foreign_keys", false)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !matches!(file::kind_of(&transaction)?, Kind::Version1) {
            return Ok(None);
        }
        convert(&transaction)?;
        let checked = check::demand(&transaction, now)?;
        let kept = kept_path(path);
        // Another connection sees the file as it was; this one keeps others from changing it.
        let before = file::connect_existing(path)?;
        backup::copy(&before, &kept, is_version_1)?;
        transaction.commit()?;
        Ok(Some(Migrated { checked, kept }))
    }
}

fn is_version_1(copy: &Connection) -> Result<(), SqliteError> {
    match file::kind_of(copy)? {
        Kind::Version1 => check::intact(copy),
        _ => Err(SqliteError::NotMigrated("its copy is another".to_owned())),
    }
}

fn convert(transaction: &Transaction<'_>) -> Result<(), SqliteError> {
    transaction.execute_batch(
        "ALTER TABLE key RENAME TO key_1; ALTER TABLE key_event RENAME TO key_event_1;",
    )?;
    transaction.execute_batch(SCHEMA)?;
    let mut statement = transaction.prepare(SELECT_VERSION_1)?;
    let mut rows = statement.query([])?;
    let mut insert = Insert::prepare(transaction)?;
    let mut told = Told {
        transaction,
        import: None,
    };
    let mut count = 0_i64;
    while let Some(row) = rows.next()? {
        let old = Old::of(row)?;
        let event = told.sequence(&old)?;
        let predecessor = None;
        if !insert.add(&old.key, Origin { event, predecessor })? {
            return Err(wrong(&old.key, "has two events"));
        }
        told.take(&old)?;
        count = count.saturating_add(1);
    }
    told.end_import()?;
    drop(rows);
    drop(statement);
    let counted = |table| {
        let sql = format!("SELECT count(*) FROM {table}");
        transaction.query_row(&sql, [], |row| row.get::<_, i64>(0))
    };
    if (counted("key_1")?, counted("key_event_1")?) != (count, count) {
        let problem = "there are keys without an event, or events without a key";
        return Err(SqliteError::NotMigrated(problem.to_owned()));
    }
    drop(insert);
    transaction
        .execute_batch("DROP TABLE key_event_1; DROP TABLE key_1; DELETE FROM sqlite_sequence;")?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(())
}

/// A key of version 1, and its one event.
struct Old {
    key: CheckedKey,
    at: Timestamp,
    is_import: bool,
    actor: Option<String>,
}

impl Old {
    fn of(row: &Row<'_>) -> Result<Self, SqliteError> {
        #[derive(Deserialize)]
        struct Detail {
            record_sha256: Digest,
        }
        let key = key_of(row)?;
        let kind: String = row.get(8)?;
        let is_import = match kind.as_str() {
            "issued" => false,
            "imported" => true,
            _ => return Err(wrong(&key, "has an event of no known kind")),
        };
        let detail: String = row.get(10)?;
        let detail = serde_json::from_str::<Detail>(&detail);
        let is_same = detail.is_ok_and(|it| it.record_sha256 == key.record().digest());
        if !is_same || key.record().version != 1 {
            return Err(wrong(&key, "is not what its event says"));
        }
        Ok(Self {
            key,
            at: Timestamp::from_millis(row.get(7)?),
            is_import,
            actor: row.get::<_, Option<String>>(9)?.filter(|it| !it.is_empty()),
        })
    }

    fn by(&self) -> By<'_> {
        By {
            at: self.at,
            actor: self.actor.as_deref(),
            user: None,
            reason: None,
        }
    }
}

/// Tells the events of version 1 anew: one for each key that was issued, and one for all keys that
/// were imported together, which stand behind each other in the order of their ids.
struct Told<'t> {
    transaction: &'t Transaction<'t>,
    import: Option<Import>,
}

/// An import that may go on.
struct Import {
    at: Timestamp,
    actor: Option<String>,
    last: KeyId,
    count: u64,
    lines: DigestWriter,
}

impl Told<'_> {
    /// The number of the event that a key belongs to.
    fn sequence(&mut self, old: &Old) -> Result<u64, SqliteError> {
        let id = old.key.record().id;
        let continues = self.import.as_ref().is_some_and(|import| {
            old.is_import && import.at == old.at && import.actor == old.actor && import.last < id
        });
        if !continues {
            self.end_import()?;
        }
        Ok(Events::begin_at(self.transaction, old.by())?.next_sequence())
    }

    /// Tells of a key that is there.
    fn take(&mut self, old: &Old) -> Result<(), SqliteError> {
        let record = old.key.record();
        if old.is_import {
            let import = self.import.get_or_insert_with(|| Import {
                at: old.at,
                actor: old.actor.clone(),
                last: record.id,
                count: 0,
                lines: DigestWriter::default(),
            });
            import.last = record.id;
            import.count = import.count.saturating_add(1);
            let line = import_line(&record.id, &record.digest(), old.key.secret());
            import.lines.write(line.as_bytes());
            return Ok(());
        }
        let subject = Subject::Key {
            id: record.id,
            version: record.version,
            before: None,
            after: record.digest(),
            state: State::of(record, false, old.at),
            other: None,
            secret: old.key.secret().map(secret_commitment),
        };
        let mut events = Events::begin_at(self.transaction, old.by())?;
        events.append(KeyEventKind::Issued, subject, (Some(record), None))?;
        Ok(())
    }

    fn end_import(&mut self) -> Result<(), SqliteError> {
        let Some(import) = self.import.take() else {
            return Ok(());
        };
        let subject = Subject::Keys {
            count: import.count,
            digest: import.lines.finish(),
        };
        let by = By {
            at: import.at,
            actor: import.actor.as_deref(),
            user: None,
            reason: None,
        };
        let mut events = Events::begin_at(self.transaction, by)?;
        events.append(KeyEventKind::Imported, subject, (None, None))?;
        Ok(())
    }
}

fn wrong(key: &CheckedKey, problem: &str) -> SqliteError {
    SqliteError::NotMigrated(format!("key `{}` {problem}", key.record().id))
}
