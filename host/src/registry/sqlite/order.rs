//! Revocation: ordered by one, confirmed by another, or done by one manager alone in an emergency,
//! which another one has to review before the next.

use rusqlite::{OptionalExtension as _, params};

use super::change::{Changed, Changing};
use super::events::By;
use super::{SqliteError, SqliteRegistry};
use crate::digest::Digest;
use crate::key::KeyId;
use crate::key::edit::Edit;
use crate::key::event::{KeyEvent, KeyEventKind, Subject};
use crate::key::order::RevocationOrder;
use crate::key::state::{Change, State};
use crate::timestamp::Timestamp;

/// An emergency that nobody has reviewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emergency {
    /// The number of its event.
    pub sequence: u64,
    /// The key that was revoked.
    pub key: KeyId,
    /// Who did it.
    pub manager: String,
    /// As which user of the operating system; `None`: not known.
    pub user: Option<String>,
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
            if let Some(until) = change.open_order(id)? {
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
        let (Some(manager), Some(_)) = (by.actor, by.reason) else {
            return Err(SqliteError::NoReason);
        };
        self.change(by, |change| {
            if let Some(open) = unreviewed(change)? {
                return Err(SqliteError::Unreviewed {
                    key: open.key,
                    manager: open.manager,
                });
            }
            let held = change.held(id)?;
            let told = (KeyEventKind::RevokedInEmergency, None);
            let changed = change.edit(&held, &Edit::Revoke, Some(told))?;
            change.transaction().execute(
                "INSERT INTO emergency (sequence, key_id, manager, manager_user)
                 VALUES (?1, ?2, ?3, ?4)",
                params![
                    i64::try_from(changed.event.sequence).unwrap_or(i64::MAX),
                    id.as_str(),
                    manager,
                    by.user,
                ],
            )?;
            Ok(changed)
        })
    }

    /// Records that an emergency was reviewed. `by` needs an actor who is not the one who acted,
    /// neither by name nor by user, and a reason: what the review came to.
    ///
    /// # Errors
    /// [`SqliteError`]; nothing was then changed.
    pub fn review_emergency(&mut self, id: KeyId, by: By<'_>) -> Result<KeyEvent, SqliteError> {
        let (Some(reviewer), Some(_)) = (by.actor, by.reason) else {
            return Err(SqliteError::NoReason);
        };
        self.change(by, |change| {
            let open = unreviewed(change)?.filter(|open| open.key == id);
            let open = open.ok_or(SqliteError::NoEmergency(id))?;
            if !by.is_another((&open.manager, open.user.as_deref())) {
                return Err(SqliteError::OwnEmergency(open.manager));
            }
            change.transaction().execute(
                "UPDATE emergency SET reviewer = ?2, reviewer_user = ?3 WHERE sequence = ?1",
                params![
                    i64::try_from(open.sequence).unwrap_or(i64::MAX),
                    reviewer,
                    by.user
                ],
            )?;
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
            "SELECT key_id, requester, reason, at, expires_at, requester_user
             FROM revocation_order WHERE outcome = 'open' AND expires_at > ?1 ORDER BY at",
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
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 'open')
         ON CONFLICT (digest) DO UPDATE SET outcome = 'open'",
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

/// An open order; what is stored under a digest has to have it.
fn read_order(change: &Changing<'_>, digest: &Digest) -> Result<RevocationOrder, SqliteError> {
    let mut statement = change.transaction().prepare(
        "SELECT key_id, requester, reason, at, expires_at, requester_user
         FROM revocation_order WHERE digest = ?1 AND outcome = 'open'",
    )?;
    let order = statement
        .query_row([digest.as_bytes().as_slice()], |row| Ok(order_of(row)))
        .optional()?;
    let order = order.ok_or(SqliteError::NoOrder(*digest))??;
    if order.digest() == *digest {
        Ok(order)
    } else {
        Err(SqliteError::Corrupt(format!(
            "the revocation order {digest} has another digest"
        )))
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

/// The emergency that has to be reviewed.
fn unreviewed(change: &Changing<'_>) -> Result<Option<Emergency>, SqliteError> {
    let sql = "SELECT sequence, key_id, manager, manager_user FROM emergency
               WHERE reviewer IS NULL ORDER BY sequence LIMIT 1";
    let open = change
        .transaction()
        .query_row(sql, [], |row| {
            let key: String = row.get(1)?;
            Ok((row.get::<_, i64>(0)?, key, row.get(2)?, row.get(3)?))
        })
        .optional()?;
    let emergency = |(sequence, key, manager, user): (i64, String, String, Option<String>)| {
        Ok(Emergency {
            sequence: sequence.unsigned_abs(),
            key: key_id(&key)?,
            manager,
            user,
        })
    };
    open.map(emergency).transpose()
}

fn key_id(text: &str) -> Result<KeyId, SqliteError> {
    let id = text.parse();
    id.map_err(|_| SqliteError::Corrupt("a key id that is none".to_owned()))
}
