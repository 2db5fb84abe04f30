//! Revocation orders: each is what its digest and its events say.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::{Check, Place, event_of, prepare, text};
use crate::digest::Digest;
use crate::key::event::KeyEventKind;
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
        let noted = text(row.get_ref(6)?);
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
        let (mut last, mut is_ordered, mut is_confirmed) = (None, false, false);
        let sql = "SELECT entry FROM key_event WHERE key_id = ?1 ORDER BY sequence";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id.as_str()])?;
        while let Some(row) = rows.next()? {
            if let Some((event, _)) = event_of(row.get_ref(0)?) {
                let is_same = event.order == Some(digest);
                if event.kind == KeyEventKind::RevocationOrdered {
                    is_ordered |= is_same;
                    last = event.order;
                }
                is_confirmed |= is_same && event.kind == KeyEventKind::Revoked;
            }
        }
        if !is_ordered {
            return found("no event tells of it");
        }
        let outcome = match last == Some(digest) {
            _ if is_confirmed => "confirmed",
            true => "open",
            false => "replaced",
        };
        if noted != outcome {
            return found("its outcome is not what the events say");
        }
        Ok(None)
    }
}
