//! Revocation: ordered by one, confirmed by another, or done by one manager alone in an emergency,
//! which another one has to review before the next.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, params};

use super::change::{Changed, Changing};
use super::check::event_of;
use super::events::By;
use super::row::Held;
use super::{SqliteError, SqliteRegistry};
use crate::digest::Digest;
use crate::key::KeyId;
use crate::key::edit::Edit;
use crate::key::event::{KeyEvent, KeyEventKind, Subject};
use crate::key::order::RevocationOrder;
use crate::key::state::{Change, State};
use crate::timestamp::Timestamp;

/// The newest event of an emergency or of a review. The words are those of the index on them.
pub(super) const SELECT_EMERGENCY: &str = "
    SELECT entry FROM key_event WHERE kind IN ('revoked-in-emergency', 'emergency-reviewed')
    ORDER BY sequence DESC LIMIT 1";

/// An emergency that nobody has reviewed.
struct Emergency {
    /// The key that was revoked.
    key: KeyId,
    /// Who did it.
    manager: Arc<str>,
    /// As which user of the operating system; `None`: not known.
    user: Option<Arc<str>>,
}

impl SqliteRegistry {
    /// Orders the revocation of a key, and suspends it until the order is confirmed. It is not
    /// resumed nor ordered again while that order can be confirmed. `by` needs an actor and a
    /// reason.
    ///
    /// # Errors
    /// [`SqliteError`]; nothing was then changed.
    pub fn order_revocation(
        &mut self,
        id: KeyId,
        valid_ms: u64,
        by: By<'_>,
    ) -> Result<(RevocationOrder, Changed), SqliteError> {
        let (Some(requester), Some(reason)) = (by.actor, by.reason) else {
            return Err(SqliteError::NoReason);
        };
        self.change(by, |change| {
            let held = change.held(id)?;
            let state = change.state(&held);
            let legal = state.check(Change::Revoke);
            legal.map_err(|error| SqliteError::Edit {
                key: id,
                error: error.into(),
            })?;
            if let Some(until) = open_order(change, &held)? {
                return Err(SqliteError::OrderOpen { key: id, until });
            }
            let at = change.events.at();
            let order = RevocationOrder {
                at,
                expires_at: at.after_ms(valid_ms),
                key: id,
                reason: reason.to_owned(),
                requester: requester.to_owned(),
                requester_user: by.user.map(str::to_owned),
            };
            let digest = order.digest();
            write_order(change, &order, &digest)?;
            let kind = KeyEventKind::RevocationOrdered;
            let changed = if state == State::Suspended {
                let record = held.record();
                let subject = Subject::Key {
                    id,
                    version: record.version,
                    before: Some(record.digest()),
                    after: record.digest(),
                    state,
                    other: None,
                    secret: change.committed(&held)?,
                };
                let event = change
                    .events
                    .append(kind, subject, (Some(record), Some(digest)))?;
                Changed {
                    record: record.clone(),
                    event,
                }
            } else {
                change.edit(&held, &Edit::Suspend, Some((kind, Some(digest))))?
            };
            Ok((order, changed))
        })
    }

    /// Confirms an order: the key is revoked. `by` needs an actor who is not the requester, neither
    /// by name nor by user.
    ///
    /// # Errors
    /// [`SqliteError`]; nothing was then changed.
    pub fn confirm_revocation(
        &mut self,
        digest: Digest,
        by: By<'_>,
    ) -> Result<Changed, SqliteError> {
        self.change(by, |change| {
            let order = read_order(change, &digest)?;
            if !by.is_another((&order.requester, order.requester_user.as_deref())) {
                return Err(SqliteError::OwnOrder(order.requester));
            }
            if change.events.at() >= order.expires_at {
                return Err(SqliteError::OrderExpired(order.expires_at));
            }
            let held = change.held(order.key)?;
            let told = (KeyEventKind::Revoked, Some(digest));
            let changed = change.edit(&held, &Edit::Revoke, Some(told))?;
            let sql = "UPDATE revocation_order SET outcome = 'confirmed' WHERE digest = ?1";
            change
                .transaction()
                .execute(sql, [digest.as_bytes().as_slice()])?;
            Ok(changed)
        })
    }

    /// Revokes a key at once, on one manager's word. `by` needs an actor and a reason.
    ///
    /// # Errors
    /// [`SqliteError`], among others [`SqliteError::Unreviewed`] while an earlier emergency has not
    /// been reviewed; nothing was then changed.
    pub fn revoke_in_emergency(&mut self, id: KeyId, by: By<'_>) -> Result<Changed, SqliteError> {
        let (Some(_), Some(_)) = (by.actor, by.reason) else {
            return Err(SqliteError::NoReason);
        };
        self.change(by, |change| {
            if let Some(open) = unreviewed(change)? {
                return Err(SqliteError::Unreviewed {
                    key: open.key,
                    manager: open.manager.to_string(),
                });
            }
            let held = change.held(id)?;
            let told = (KeyEventKind::RevokedInEmergency, None);
            change.edit(&held, &Edit::Revoke, Some(told))
        })
    }

    /// Records that an emergency was reviewed. `by` needs an actor who is not the one who acted,
    /// neither by name nor by user, and a reason: what the review came to.
    ///
    /// # Errors
    /// [`SqliteError`]; nothing was then changed.
    pub fn review_emergency(&mut self, id: KeyId, by: By<'_>) -> Result<KeyEvent, SqliteError> {
        let (Some(_), Some(_)) = (by.actor, by.reason) else {
            return Err(SqliteError::NoReason);
        };
        self.change(by, |change| {
            let open = unreviewed(change)?.filter(|open| open.key == id);
            let open = open.ok_or(SqliteError::NoEmergency(id))?;
            if !by.is_another((&open.manager, open.user.as_deref())) {
                return Err(SqliteError::OwnEmergency(open.manager.to_string()));
            }
            let subject = Subject::Nothing { id: Some(id) };
            let kind = KeyEventKind::EmergencyReviewed;
            change.events.append(kind, subject, (None, None))
        })
    }

    /// The orders that can be confirmed at a time, the oldest first.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read.
    pub fn open_orders(&self, now: Timestamp) -> Result<Vec<RevocationOrder>, SqliteError> {
        let mut statement = self.connection.prepare(
            "SELECT key_id, requester, reason, at, revocation_order.expires_at, requester_user
             FROM revocation_order JOIN key ON key.id = key_id
             WHERE lifecycle <> 'revoked' AND revocation_order.expires_at > ?1 ORDER BY at",
        )?;
        let orders = statement.query_map([now.millis()], |row| Ok(order_of(row)))?;
        orders.map(|order| order?).collect()
    }
}

fn write_order(
    change: &Changing<'_>,
    order: &RevocationOrder,
    digest: &Digest,
) -> Result<(), SqliteError> {
    change.transaction().execute(
        "UPDATE revocation_order SET outcome = 'replaced' WHERE key_id = ?1 AND outcome = 'open'",
        [order.key.as_str()],
    )?;
    change.transaction().execute(
        "INSERT INTO revocation_order (digest, key_id, requester, requester_user, reason, at,
             expires_at, outcome)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'open')",
        params![
            digest.as_bytes().as_slice(),
            order.key.as_str(),
            order.requester,
            order.requester_user,
            order.reason,
            order.at.millis(),
            order.expires_at.millis(),
        ],
    )?;
    Ok(())
}

/// Until when an order to revoke a key can be confirmed; `None`: there is none. That is what its
/// orders and the key say, and not what is noted as an order's outcome.
pub(super) fn open_order(
    change: &Changing<'_>,
    held: &Held,
) -> Result<Option<Timestamp>, SqliteError> {
    if change.state(held) == State::Revoked {
        return Ok(None);
    }
    let orders = orders(change, held.record().id)?;
    let until = orders.iter().map(|order| order.expires_at).max();
    Ok(until.filter(|until| *until > change.events.at()))
}

/// An order of a key that is not revoked.
fn read_order(change: &Changing<'_>, digest: &Digest) -> Result<RevocationOrder, SqliteError> {
    let sql = "SELECT key_id FROM revocation_order WHERE digest = ?1";
    let mut statement = change.transaction().prepare_cached(sql)?;
    let key = statement
        .query_row([digest.as_bytes().as_slice()], |row| {
            row.get::<_, String>(0)
        })
        .optional()?;
    let none = || SqliteError::NoOrder(*digest);
    let key = key_id(&key.ok_or_else(none)?)?;
    if change.state(&change.held(key)?) == State::Revoked {
        return Err(none());
    }
    let orders = orders(change, key)?;
    let order = orders.into_iter().find(|order| order.digest() == *digest);
    order.ok_or_else(none)
}

/// The orders of a key: exactly those that its events tell of.
fn orders(change: &Changing<'_>, key: KeyId) -> Result<Vec<RevocationOrder>, SqliteError> {
    let mut statement = change.transaction().prepare_cached(
        "SELECT key_id, requester, reason, at, expires_at, requester_user, digest
         FROM revocation_order WHERE key_id = ?1",
    )?;
    let mut rows = statement.query([key.as_str()])?;
    let (mut orders, mut digests) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let order = order_of(row)?;
        let digest = order.digest();
        if row.get_ref(6)?.as_blob() != Ok(digest.as_bytes().as_slice()) {
            return Err(SqliteError::EditedOrders(key));
        }
        orders.push(order);
        digests.push(digest);
    }
    let sql = "SELECT entry FROM key_event WHERE key_id = ?1";
    let mut statement = change.transaction().prepare_cached(sql)?;
    let mut rows = statement.query([key.as_str()])?;
    let mut told = Vec::new();
    while let Some(row) = rows.next()? {
        let event = event_of(row.get_ref(0)?);
        let (event, _) = event.ok_or(SqliteError::EditedOrders(key))?;
        if event.kind == KeyEventKind::RevocationOrdered {
            told.extend(event.order);
        }
    }
    digests.sort_unstable();
    told.sort_unstable();
    if digests == told {
        Ok(orders)
    } else {
        Err(SqliteError::EditedOrders(key))
    }
}

fn order_of(row: &rusqlite::Row<'_>) -> Result<RevocationOrder, SqliteError> {
    Ok(RevocationOrder {
        key: key_id(&row.get::<_, String>(0)?)?,
        requester: row.get(1)?,
        reason: row.get(2)?,
        at: Timestamp::from_millis(row.get(3)?),
        expires_at: Timestamp::from_millis(row.get(4)?),
        requester_user: row.get(5)?,
    })
}

/// The emergency that has to be reviewed. There is at most one, so that the newest event tells.
fn unreviewed(change: &Changing<'_>) -> Result<Option<Emergency>, SqliteError> {
    let mut statement = change.transaction().prepare_cached(SELECT_EMERGENCY)?;
    let last = statement.query_row([], |row| Ok(event_of(row.get_ref(0)?)));
    let Some(last) = last.optional()? else {
        return Ok(None);
    };
    match last {
        Some((event, _)) if event.kind == KeyEventKind::EmergencyReviewed => Ok(None),
        Some((
            KeyEvent {
                kind: KeyEventKind::RevokedInEmergency,
                subject: Subject::Key { id: key, .. },
                actor: Some(manager),
                user,
                ..
            },
            _,
        )) => Ok(Some(Emergency { key, manager, user })),
        _ => Err(SqliteError::Corrupt(
            "an event is not the emergency or the review that its row says".to_owned(),
        )),
    }
}

fn key_id(text: &str) -> Result<KeyId, SqliteError> {
    let id = text.parse();
    id.map_err(|_| SqliteError::Corrupt("a key id that is none".to_owned()))
}
