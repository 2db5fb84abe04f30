//! Revocation orders and emergencies: each is what its digest or its event says.

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{Check, Place, event_of, prepare, text};
use crate::digest::Digest;
use crate::key::event::{KeyEventKind, Subject};
use crate::key::order::RevocationOrder;
use crate::registry::sqlite::SqliteError;
use crate::timestamp::Timestamp;

const SELECT_ORDERS: &str = "
    SELECT digest, key_id, requester, reason, at, expires_at, outcome, requester_user
    FROM revocation_order";

impl<E: From<SqliteError>> Check<'_, E> {
    pub(super) fn orders(&mut self) -> Result<(), E> {
        let connection = self.connection;
        let mut statement = prepare(connection, SELECT_ORDERS)?;
        let mut rows = statement.query([]).map_err(SqliteError::from)?;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            if let Some((place, problem)) = self.order(row)? {
                self.report(place, problem)?;
            }
        }
        Ok(())
    }

    fn order(&self, row: &Row<'_>) -> Result<Option<(Place, String)>, SqliteError> {
        let named = match row.get_ref(0)? {
            ValueRef::Blob(bytes) => bytes.try_into().ok().map(Digest::from_bytes),
            _ => None,
        };
        let id = text(row.get_ref(1)?);
        let (Some(digest), Ok(key)) = (named, id.parse()) else {
            let problem = "a revocation order of it has no digest or no key";
            return Ok(Some((Place::Key(id), problem.to_owned())));
        };
        let order = RevocationOrder {
            key,
            requester: row.get(2)?,
            reason: row.get(3)?,
            at: Timestamp::from_millis(row.get(4)?),
            expires_at: Timestamp::from_millis(row.get(5)?),
            requester_user: row.get(7)?,
        };
        let found = |problem: &str| {
            let place = Place::Order(digest.to_string());
            Ok(Some((place, format!("{problem} (key `{id}`)"))))
        };
        if order.digest() != digest {
            return found("it has another digest");
        }
        let (mut is_ordered, mut is_confirmed) = (false, false);
        let sql = "SELECT entry FROM key_event WHERE key_id = ?1 ORDER BY sequence";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id.as_str()])?;
        while let Some(row) = rows.next()? {
            if let Some((event, _)) = event_of(row.get_ref(0)?)
                && event.order == Some(digest)
            {
                is_ordered |= event.kind == KeyEventKind::RevocationOrdered;
                is_confirmed |= event.kind == KeyEventKind::Revoked;
            }
        }
        if !is_ordered {
            return found("no event tells of it");
        }
        if is_confirmed != (row.get_ref(6)?.as_str() == Ok("confirmed")) {
            return found("its outcome is not what the events say");
        }
        Ok(None)
    }

    pub(super) fn emergencies(&mut self) -> Result<(), E> {
        let connection = self.connection;
        let sql = "SELECT sequence, key_id, manager, manager_user, reviewer, reviewer_user
                   FROM emergency ORDER BY sequence";
        let mut statement = prepare(connection, sql)?;
        let mut rows = statement.query([]).map_err(SqliteError::from)?;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            if !self.is_emergency(row)? {
                let sequence = row.get(0).map_err(SqliteError::from)?;
                let problem = "the emergency that is noted for it is not what it tells of";
                self.report(Place::Event(sequence), problem)?;
            }
            if !self.is_reviewed_so(row)? {
                let sequence = row.get(0).map_err(SqliteError::from)?;
                let problem = "who reviewed its emergency is not what the events say";
                self.report(Place::Event(sequence), problem)?;
            }
        }
        Ok(())
    }

    fn is_emergency(&self, row: &Row<'_>) -> Result<bool, SqliteError> {
        let sql = "SELECT entry FROM key_event WHERE sequence = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let sequence: i64 = row.get(0)?;
        let event = statement.query_row([sequence], |row| Ok(event_of(row.get_ref(0)?)));
        let Some((event, _)) = event.optional()?.flatten() else {
            return Ok(false);
        };
        let (key, manager) = (row.get_ref(1)?, row.get_ref(2)?);
        let is_key =
            matches!(&event.subject, Subject::Key { id, .. } if key.as_str() == Ok(id.as_str()));
        let is_manager = same(manager, event.actor.as_deref());
        let is_user = same(row.get_ref(3)?, event.user.as_deref());
        Ok(event.kind == KeyEventKind::RevokedInEmergency && is_key && is_manager && is_user)
    }

    /// Whether the review that is noted for an emergency, or that there is none, is what the events
    /// behind it say. A key is revoked once, so that it has one emergency.
    fn is_reviewed_so(&self, row: &Row<'_>) -> Result<bool, SqliteError> {
        let sql = "SELECT entry FROM key_event
                   WHERE key_id = ?1 AND sequence > ?2 AND kind = 'emergency-reviewed'";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![text(row.get_ref(1)?), row.get::<_, i64>(0)?])?;
        let (reviewer, user) = (row.get_ref(4)?, row.get_ref(5)?);
        let mut reviews = 0_u32;
        while let Some(row) = rows.next()? {
            reviews = reviews.saturating_add(1);
            let is_so = event_of(row.get_ref(0)?).is_some_and(|(event, _)| {
                event.kind == KeyEventKind::EmergencyReviewed
                    && same(reviewer, event.actor.as_deref())
                    && same(user, event.user.as_deref())
            });
            if !is_so {
                return Ok(false);
            }
        }
        let is_open = reviewer == ValueRef::Null && user == ValueRef::Null;
        Ok(reviews == u32::from(!is_open))
    }
}

/// Whether a column holds this text, or nothing where there is none.
fn same(value: ValueRef<'_>, text: Option<&str>) -> bool {
    match value {
        ValueRef::Null => text.is_none(),
        value => value.as_str().is_ok_and(|value| Some(value) == text),
    }
}
