//! Checking a registry file: the database itself, every key, every event, every order, and that
//! they say the same.
//!
//! Somebody who can write the file can write all of it anew; that is seen in the log, which has the
//! digests of the events.
//! Memory does not grow with the registry: rows are read one by one.

mod events;
mod keys;
mod orders;
mod schema;

use std::fmt;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::{SqliteError, SqliteRegistry};
use crate::digest::Digest;
use crate::key::KeyId;
use crate::key::event::KeyEvent;
use crate::log::Entry;
use crate::shown::shown;
use crate::timestamp::Timestamp;

/// How much damage SQLite lists.
const DAMAGES_LISTED_MAX: u32 = 100;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it concerns.
    pub place: Place,
    /// What is wrong with it.
    pub problem: String,
}

/// What a finding concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file.
    File,
    /// A key, by the id in its row, escaped and cut.
    Key(String),
    /// A key event, by its number.
    Event(i64),
    /// A revocation order, by the digest that it is stored under.
    Order(String),
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Keys.
    pub keys: u64,
    /// Key events.
    pub events: u64,
    /// Things that are wrong.
    pub findings: u64,
}

impl SqliteRegistry {
    /// Checks everything that can be checked of the file alone, as it was at one instant, and hands
    /// over what is wrong. A database that is damaged, or has another schema, is not looked into
    /// any further.
    ///
    /// # Errors
    /// That of `each`, or [`SqliteError`] when the file cannot be read.
    pub fn check<E: From<SqliteError>>(
        &self,
        now: Timestamp,
        mut each: impl FnMut(Finding) -> Result<(), E>,
    ) -> Result<Checked, E> {
        let transaction = self.connection.unchecked_transaction();
        let transaction = transaction.map_err(SqliteError::from)?;
        run(&transaction, now, &mut each)
    }
}

/// Checks what a connection sees; the caller has a transaction, or the file to itself.
pub(super) fn run<E: From<SqliteError>>(
    connection: &Connection,
    now: Timestamp,
    each: &mut dyn FnMut(Finding) -> Result<(), E>,
) -> Result<Checked, E> {
    let mut check = Check {
        connection,
        now,
        each,
        checked: Checked::default(),
    };
    check.database()?;
    check.schema()?;
    if check.checked.findings == 0 {
        check.references()?;
        check.events()?;
        check.keys()?;
        check.lineages()?;
        check.orders()?;
    }
    Ok(check.checked)
}

/// Checks, and makes what is found an error.
pub(super) fn demand(connection: &Connection, now: Timestamp) -> Result<Checked, SqliteError> {
    let mut first = None;
    let checked = run(connection, now, &mut |finding| {
        first.get_or_insert(finding);
        Ok::<_, SqliteError>(())
    })?;
    match first {
        None => Ok(checked),
        Some(first) => Err(SqliteError::Wrong {
            findings: checked.findings,
            first: first.to_string(),
        }),
    }
}

/// A check that is under way.
struct Check<'a, E> {
    connection: &'a Connection,
    now: Timestamp,
    each: &'a mut dyn FnMut(Finding) -> Result<(), E>,
    checked: Checked,
}

impl<E: From<SqliteError>> Check<'_, E> {
    fn report(&mut self, place: Place, problem: impl Into<String>) -> Result<(), E> {
        self.checked.findings = self.checked.findings.saturating_add(1);
        let problem = problem.into();
        (self.each)(Finding { place, problem })
    }

    /// The pages, the indexes and the constraints.
    fn database(&mut self) -> Result<(), E> {
        for damage in damages(self.connection)? {
            self.report(Place::File, damage)?;
        }
        Ok(())
    }

    /// Rows that name others find them.
    fn references(&mut self) -> Result<(), E> {
        let connection = self.connection;
        let mut statement = prepare(connection, "PRAGMA foreign_key_check")?;
        let mut rows = statement.query([]).map_err(SqliteError::from)?;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            let columns = || Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            let (table, row, parent): (String, Option<i64>, String) =
                columns().map_err(|error: rusqlite::Error| SqliteError::from(error))?;
            let place = place_of(connection, &table, row)?;
            let table = shown(&table);
            self.report(
                place,
                format!("a row of `{table}` names a `{parent}` that is not there"),
            )?;
        }
        Ok(())
    }
}

/// Makes damage of the database an error.
pub(super) fn intact(connection: &Connection) -> Result<(), SqliteError> {
    match damages(connection)?.first() {
        None => Ok(()),
        Some(first) => Err(SqliteError::Corrupt(shown(first))),
    }
}

/// What SQLite finds damaged.
fn damages(connection: &Connection) -> Result<Vec<String>, SqliteError> {
    let sql = format!("PRAGMA integrity_check({DAMAGES_LISTED_MAX})");
    let mut statement = connection.prepare(&sql)?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut damages = Vec::new();
    for line in lines {
        // A heading and several damages may stand in one row.
        let line = line?;
        let damage = line
            .lines()
            .filter(|it| *it != "ok" && !it.starts_with("***"));
        damages.extend(damage.map(str::to_owned));
    }
    Ok(damages)
}

/// What a row is about.
fn place_of(
    connection: &Connection,
    table: &str,
    rowid: Option<i64>,
) -> Result<Place, SqliteError> {
    let sql = match table {
        "key_event" => return Ok(rowid.map_or(Place::File, Place::Event)),
        "key" => "SELECT id FROM key WHERE rowid = ?1",
        "revocation_order" => "SELECT key_id FROM revocation_order WHERE rowid = ?1",
        _ => return Ok(Place::File),
    };
    let id = connection.query_row(sql, [rowid], |row| Ok(text(row.get_ref(0)?)))?;
    Ok(Place::Key(id))
}

fn prepare<'c>(
    connection: &'c Connection,
    sql: &str,
) -> Result<rusqlite::Statement<'c>, SqliteError> {
    Ok(connection.prepare(sql)?)
}

/// A text in a row, whatever is there, to be shown.
fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(text) => shown(&String::from_utf8_lossy(text)),
        _ => String::new(),
    }
}

/// An event that stands in a row.
pub(super) fn event_of(value: ValueRef<'_>) -> Option<(KeyEvent, Digest)> {
    let bytes = value.as_blob().ok()?;
    match Entry::decode(bytes) {
        Ok(Entry::KeyEvent(event)) => Some((event, Digest::of(bytes))),
        _ => None,
    }
}

impl From<&KeyId> for Place {
    fn from(id: &KeyId) -> Self {
        Self::Key(id.to_string())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File => write!(f, "registry file: {}", self.problem),
            Place::Key(id) => write!(f, "key `{id}`: {}", self.problem),
            Place::Event(sequence) => write!(f, "key event {sequence}: {}", self.problem),
            Place::Order(digest) => write!(f, "revocation order {digest}: {}", self.problem),
        }
    }
}
