//! The events: one unbroken chain, each in its row as it says itself, with what belongs to it.

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{Check, Place, event_of, prepare};
use crate::digest::Digest;
use crate::key::event::{KeyEvent, KeyEventKind, Subject};
use crate::key::{KeyId, KeyRecord};
use crate::registry::sqlite::SqliteError;
use crate::registry::sqlite::events::{By, number};

/// Every event; an entry that is too long to be keyward's is not read.
const SELECT_EVENTS: &str = "
    SELECT sequence, key_id, at, kind,
        CASE WHEN octet_length(entry) <= 65535 THEN entry END,
        CASE WHEN octet_length(record) <= 262144 THEN record WHEN record IS NOT NULL THEN '' END
    FROM key_event ORDER BY sequence";

impl<E: From<SqliteError>> Check<'_, E> {
    pub(super) fn events(&mut self) -> Result<(), E> {
        let connection = self.connection;
        let mut statement = prepare(connection, SELECT_EVENTS)?;
        let mut rows = statement.query([]).map_err(SqliteError::from)?;
        let mut last: (i64, Option<Digest>) = (0, None);
        let mut emergency = None;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            self.checked.events = self.checked.events.saturating_add(1);
            let sequence: i64 = row.get(0).map_err(SqliteError::from)?;
            let place = || Place::Event(sequence);
            let follows = sequence == last.0.saturating_add(1);
            if !follows {
                self.report(place(), format!("the event before it is {}", last.0))?;
            }
            let entry = row.get_ref(4).map_err(SqliteError::from)?;
            let Some((event, digest)) = event_of(entry) else {
                self.report(place(), "its entry is not a key event")?;
                last = (sequence, None);
                continue;
            };
            let is_known = last.1.is_some() || last.0 == 0;
            if follows && is_known && event.previous != last.1 {
                self.report(
                    place(),
                    "it does not name the event before it by its digest",
                )?;
            }
            last = (sequence, Some(digest));
            if let Some(problem) = column_problem(row, &event).map_err(SqliteError::from)? {
                self.report(place(), problem)?;
            }
            if let Some(problem) = self.missing(&event)? {
                self.report(place(), problem)?;
            }
            if let Some(problem) = emergency_problem(&mut emergency, event) {
                self.report(place(), problem)?;
            }
        }
        Ok(())
    }

    /// What an event needs and has not.
    fn missing(&self, event: &KeyEvent) -> Result<Option<&'static str>, SqliteError> {
        let Subject::Key { id: subject, .. } = &event.subject else {
            return Ok(None);
        };
        let is_there = match (event.kind, &event.order) {
            (KeyEventKind::RevocationOrdered, Some(order)) => {
                let sql = "SELECT 1 FROM revocation_order WHERE digest = ?1 AND key_id = ?2";
                let digest = order.as_bytes().as_slice();
                let mut statement = self.connection.prepare_cached(sql)?;
                statement.exists(params![digest, subject.as_str()])?
            }
            (KeyEventKind::Revoked, Some(order)) => {
                let sql = "SELECT 1 FROM revocation_order
                           WHERE digest = ?1 AND key_id = ?2 AND outcome = 'confirmed'";
                let digest = order.as_bytes().as_slice();
                let mut statement = self.connection.prepare_cached(sql)?;
                statement.exists(params![digest, subject.as_str()])?
            }
            (KeyEventKind::RevocationOrdered | KeyEventKind::Revoked, None) => false,
            _ => true,
        };
        Ok((!is_there).then_some("the order that it tells of is not there, or not so"))
    }

    /// The kind of the event with a number.
    pub(super) fn kind_of(&self, sequence: i64) -> Result<Option<String>, SqliteError> {
        let sql = "SELECT kind FROM key_event WHERE sequence = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let kind = statement.query_row([sequence], |row| row.get(0));
        Ok(kind.optional()?)
    }
}

/// What is wrong with an emergency or a review behind the emergency that is open: only one is, and
/// somebody else reviews it.
fn emergency_problem(open: &mut Option<KeyEvent>, event: KeyEvent) -> Option<&'static str> {
    match event.kind {
        KeyEventKind::RevokedInEmergency => {
            let earlier = open.replace(event);
            earlier.map(|_| "nobody had reviewed the emergency before it")
        }
        KeyEventKind::EmergencyReviewed => {
            let reviewer = By {
                at: event.time,
                actor: event.actor.as_deref(),
                user: event.user.as_deref(),
                reason: None,
            };
            let is_so = open.take().is_some_and(|open| {
                let manager = open.actor.as_deref().unwrap_or_default();
                let is_key = match (&open.subject, &event.subject) {
                    (Subject::Key { id, .. }, Subject::Nothing { id: reviewed }) => {
                        Some(*id) == *reviewed
                    }
                    _ => false,
                };
                is_key && reviewer.is_another((manager, open.user.as_deref()))
            });
            (!is_so).then_some("it reviews no emergency, or one of the reviewer's own")
        }
        _ => None,
    }
}

/// What a row says otherwise than its event.
fn column_problem(row: &Row<'_>, event: &KeyEvent) -> rusqlite::Result<Option<&'static str>> {
    let (key, after) = match &event.subject {
        Subject::Key { id, after, .. } => (Some(*id), Some(*after)),
        Subject::Nothing { id } => (*id, None),
        Subject::Keys { .. } => (None, None),
    };
    let is_key = match row.get_ref(1)? {
        // A refusal may be about a key that there is not.
        ValueRef::Null => after.is_none(),
        value => value.as_str().ok() == key.as_ref().map(KeyId::as_str),
    };
    let record = match row.get_ref(5)? {
        ValueRef::Null => None,
        value => Some(value.as_str().unwrap_or_default()),
    };
    let is_record = |text: &str| {
        Some(Digest::of(text.as_bytes())) == after && KeyRecord::from_canonical_json(text).is_ok()
    };
    let same = [
        (
            row.get_ref(0)?.as_i64() == Ok(number(event.sequence)),
            "its number is not the one that its entry says",
        ),
        (is_key, "its column `key_id` is not what its entry says"),
        (
            row.get_ref(2)?.as_i64() == Ok(event.time.millis()),
            "its column `at` is not what its entry says",
        ),
        (
            row.get_ref(3)?.as_str() == Ok(event.kind.as_str()),
            "its column `kind` is not what its entry says",
        ),
        (
            record.map_or(after.is_none(), is_record),
            "its record is not the one that its entry says",
        ),
    ];
    Ok(same
        .iter()
        .find(|(same, _)| !same)
        .map(|(_, problem)| *problem))
}
