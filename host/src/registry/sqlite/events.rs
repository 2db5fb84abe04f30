//! Key events in the registry: appended in the transaction of the change, in one unbroken sequence
//! in which each names the one before by its digest.

use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{SqliteError, SqliteRegistry};
use crate::digest::Digest;
use crate::key::event::{
    ACTOR_MAX_BYTES, KeyEvent, KeyEventKind, REASON_MAX_BYTES, Subject, USER_MAX_BYTES,
};
use crate::key::json::check_text;
use crate::key::{KeyId, KeyRecord};
use crate::log::Entry;
use crate::timestamp::Timestamp;

/// How far, in milliseconds, the clock may be behind the last event: that event's time counts then.
pub const CLOCK_BEHIND_MAX_MS: i64 = 5 * 60 * 1_000;

/// When a change is made, by whom and why.
#[derive(Clone, Copy, Debug)]
pub struct By<'a> {
    /// The time of the change, and of issue for a new key.
    pub at: Timestamp,
    /// Who makes it: 1 to [`ACTOR_MAX_BYTES`], no control or format characters. `None`: not known.
    pub actor: Option<&'a str>,
    /// As which user of the operating system: 1 to [`USER_MAX_BYTES`], as `actor`. `None`: not
    /// known, and then two people are told apart by their names alone.
    pub user: Option<&'a str>,
    /// Why: 1 to [`REASON_MAX_BYTES`], as `actor`. `None`: not said.
    pub reason: Option<&'a str>,
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its number.
    pub sequence: u64,
    /// Its bytes, as the log takes them.
    pub entry: Vec<u8>,
    /// The canonical JSON of the record that it led to.
    pub record: Option<String>,
}

/// How far a log has the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The number of the last event that it has.
    pub sequence: u64,
    /// The index of its entry.
    pub log_index: u64,
}

/// Appends events within one transaction.
pub(super) struct Events<'t> {
    transaction: &'t Transaction<'t>,
    by: By<'t>,
    /// The time of all events of this transaction.
    at: Timestamp,
    /// The last change is later than the clock by more than can be: what takes away is done all
    /// the same, at that change's time, and nothing else.
    behind: Option<Timestamp>,
    last: Option<(u64, Digest)>,
    /// What was appended takes away and does nothing else; `None`: nothing was appended.
    is_restriction: Option<bool>,
}

impl<'t> Events<'t> {
    pub(super) fn begin(transaction: &'t Transaction<'t>, by: By<'t>) -> Result<Self, SqliteError> {
        let mut events = Self::begin_at(transaction, by)?;
        // Whoever is refused does not set the clock of others.
        let sql = "SELECT at FROM key_event WHERE kind <> 'refused'
                   ORDER BY sequence DESC LIMIT 1";
        let last = transaction
            .query_row(sql, [], |row| row.get(0))
            .optional()?;
        if let Some(last) = last.map(Timestamp::from_millis) {
            let behind_ms = last.millis().saturating_sub(by.at.millis());
            events.behind = (behind_ms > CLOCK_BEHIND_MAX_MS).then_some(last);
            events.at = by.at.max(last);
        }
        Ok(events)
    }

    /// As [`Events::begin`], with the time as it is given: what is told was done earlier.
    pub(super) fn begin_at(
        transaction: &'t Transaction<'t>,
        by: By<'t>,
    ) -> Result<Self, SqliteError> {
        by.check()?;
        let sql = "SELECT sequence, entry FROM key_event ORDER BY sequence DESC LIMIT 1";
        let last = transaction
            .query_row(sql, [], |row| {
                let (sequence, entry): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
                Ok((sequence.unsigned_abs(), Digest::of(&entry)))
            })
            .optional()?;
        Ok(Self {
            transaction,
            by,
            at: by.at,
            behind: None,
            last,
            is_restriction: None,
        })
    }

    /// The time of the change: not before the last one.
    pub(super) const fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether what was appended takes away, and nothing else.
    pub(super) fn is_restriction(&self) -> bool {
        self.is_restriction.unwrap_or(false)
    }

    /// The number of the event that is appended next.
    pub(super) fn next_sequence(&self) -> u64 {
        self.last.map_or(1, |(last, _)| last.saturating_add(1))
    }

    /// Appends an event, and returns it.
    pub(super) fn append(
        &mut self,
        kind: KeyEventKind,
        subject: Subject,
        (record, order): (Option<&KeyRecord>, Option<Digest>),
    ) -> Result<KeyEvent, SqliteError> {
        let is_refusal = kind == KeyEventKind::Refused;
        if let Some(last) = self.behind
            && !kind.is_restriction()
            && !is_refusal
        {
            let now = self.by.at;
            return Err(SqliteError::ClockBehind { now, last });
        }
        let event = KeyEvent {
            time: if is_refusal { self.by.at } else { self.at },
            sequence: self.next_sequence(),
            previous: self.last.map(|(_, digest)| digest),
            kind,
            subject,
            actor: self.by.actor.map(Into::into),
            user: self.by.user.map(Into::into),
            reason: self.by.reason.map(Into::into),
            order,
        };
        let entry = Entry::KeyEvent(event.clone()).encode();
        let key = match &event.subject {
            Subject::Key { id, .. } => Some(*id),
            Subject::Nothing { id } => *id,
            Subject::Keys { .. } => None,
        };
        let mut insert = self.transaction.prepare_cached(
            "INSERT INTO key_event (sequence, key_id, at, kind, entry, record)
             VALUES (?1, (SELECT id FROM key WHERE id = ?2), ?3, ?4, ?5, ?6)",
        )?;
        let inserted = insert.execute(params![
            number(event.sequence),
            key.as_ref().map(KeyId::as_str),
            event.time.millis(),
            kind.as_str(),
            entry,
            record.map(KeyRecord::to_canonical_json),
        ])?;
        if inserted != 1 {
            let problem = "it does not take the event of a change";
            return Err(SqliteError::Corrupt(problem.to_owned()));
        }
        self.last = Some((event.sequence, Digest::of(&entry)));
        let is_restriction = self.is_restriction.unwrap_or(true) && kind.is_restriction();
        self.is_restriction = Some(is_restriction);
        Ok(event)
    }
}

impl SqliteRegistry {
    /// The bytes of an event; `None`: there is none with this number.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read.
    pub fn event(&self, sequence: u64) -> Result<Option<Vec<u8>>, SqliteError> {
        let sql = "SELECT entry FROM key_event WHERE sequence = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let entry = statement.query_row([number(sequence)], |row| row.get(0));
        Ok(entry.optional()?)
    }

    /// The event that comes after one; `None`: that was the last.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read.
    pub fn event_after(&self, sequence: u64) -> Result<Option<StoredEvent>, SqliteError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, entry, record FROM key_event WHERE sequence > ?1
             ORDER BY sequence LIMIT 1",
        )?;
        let event = statement.query_row([number(sequence)], StoredEvent::read);
        Ok(event.optional()?)
    }

    /// The number of the last event; 0: there is none.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read.
    pub fn last_event(&self) -> Result<u64, SqliteError> {
        let sql = "SELECT ifnull(max(sequence), 0) FROM key_event";
        let last: i64 = self.connection.query_row(sql, [], |row| row.get(0))?;
        Ok(last.unsigned_abs())
    }

    /// How far a log has the events, as far as it was noted; `None`: not at all.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read.
    pub fn recorded(&self, origin: &str) -> Result<Option<Recorded>, SqliteError> {
        let sql = "SELECT sequence, log_index FROM recorded WHERE origin = ?1";
        let recorded = self.connection.query_row(sql, [origin], |row| {
            Ok(Recorded {
                sequence: row.get::<_, i64>(0)?.unsigned_abs(),
                log_index: row.get::<_, i64>(1)?.unsigned_abs(),
            })
        });
        Ok(recorded.optional()?)
    }

    /// Notes how far a log has the events.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be written.
    pub fn set_recorded(&self, origin: &str, recorded: Recorded) -> Result<(), SqliteError> {
        self.connection.execute(
            "INSERT INTO recorded (origin, sequence, log_index) VALUES (?1, ?2, ?3)
             ON CONFLICT (origin) DO UPDATE SET sequence = ?2, log_index = ?3",
            params![
                origin,
                number(recorded.sequence),
                number(recorded.log_index)
            ],
        )?;
        Ok(())
    }

    /// The event of the import that a key came with; `None`: it was issued.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read.
    pub fn import_of(&self, id: &KeyId) -> Result<Option<StoredEvent>, SqliteError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, entry, record FROM key_event
             WHERE sequence = (SELECT first_event FROM key WHERE id = ?1) AND key_id IS NULL",
        )?;
        let event = statement.query_row([id.as_str()], StoredEvent::read);
        Ok(event.optional()?)
    }

    /// Hands over the events of a key, the first one first.
    ///
    /// # Errors
    /// That of `each`, or [`SqliteError`] when the file cannot be read.
    pub fn history<E: From<SqliteError>>(
        &self,
        id: &KeyId,
        mut each: impl FnMut(StoredEvent) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self
            .connection
            .prepare(
                "SELECT sequence, entry, record FROM key_event WHERE key_id = ?1
                 ORDER BY sequence",
            )
            .map_err(SqliteError::from)?;
        let mut rows = statement.query([id.as_str()]).map_err(SqliteError::from)?;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            each(StoredEvent::read(row).map_err(SqliteError::from)?)?;
        }
        Ok(())
    }
}

impl StoredEvent {
    /// The event of a row of `sequence, entry, record`.
    fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            sequence: row.get::<_, i64>(0)?.unsigned_abs(),
            entry: row.get(1)?,
            record: row.get(2)?,
        })
    }
}

/// As SQLite keeps it.
pub(super) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl By<'_> {
    /// Whether this is somebody else than the one of a name and a user: both have to differ, for a
    /// name is what a configuration says. A user that is not known is not compared.
    pub(super) fn is_another(&self, (actor, user): (&str, Option<&str>)) -> bool {
        let is_other_user = self.user.is_none() || self.user != user;
        self.actor.is_some_and(|name| name != actor) && is_other_user
    }

    /// Refuses what could not be shown.
    fn check(&self) -> Result<(), SqliteError> {
        let check = |text: Option<&str>, max| text.map_or(Ok(()), |text| check_text(text, max));
        check(self.actor, ACTOR_MAX_BYTES).map_err(SqliteError::Actor)?;
        check(self.user, USER_MAX_BYTES).map_err(SqliteError::Actor)?;
        check(self.reason, REASON_MAX_BYTES).map_err(SqliteError::Reason)
    }
}
