//! Changes of keys: each is one transaction of the key's next version and its event, made if the
//! table of legal changes allows it in the state that the key is in.

use rusqlite::{OptionalExtension as _, Transaction, TransactionBehavior, params};

use super::events::{By, Events};
use super::order::open_order;
use super::row::{Held, Insert, Origin, held_of};
use super::{ID_ATTEMPTS_MAX, SqliteError, SqliteRegistry, row};
use crate::credential::random::Randomness;
use crate::credential::{IssuedSecret, random_key_id};
use crate::digest::Digest;
use crate::key::edit::{Edit, EditError, next_version};
use crate::key::event::{KeyEvent, KeyEventKind, Subject, secret_commitment};
use crate::key::json::{CheckedKey, KeyFile, KeyOptions};
use crate::key::rotation::Rotation;
use crate::key::state::{Change, State};
use crate::key::{KeyId, KeyRecord};
use crate::log::Entry;
use crate::timestamp::Timestamp;

/// One key with what is not in its record.
const SELECT_HELD: &str = concat!(
    "SELECT ",
    row::columns!(),
    ", predecessor, is_unused FROM key WHERE id = ?1"
);
/// The successor of a key: one has at most one.
const SELECT_SUCCESSOR: &str = concat!(
    "SELECT ",
    row::columns!(),
    ", predecessor, is_unused FROM key WHERE predecessor = ?1"
);

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The key's record after it.
    pub record: KeyRecord,
    /// Its event.
    pub event: KeyEvent,
}

/// A rotation that was made.
#[derive(Debug)]
pub struct Rotated {
    /// The old key's record after it; as it was, when only the successor's secret was replaced.
    pub old: KeyRecord,
    /// The successor's record.
    pub successor: KeyRecord,
    /// The successor's secret: nowhere else.
    pub secret: IssuedSecret,
    /// Whether the rotation was made before, and only the successor's secret is another.
    pub is_repeat: bool,
}

impl SqliteRegistry {
    /// Lets changes be made, and takes each of them back: what they would come to, without an event
    /// even of an attempt at a longer life.
    pub fn rehearse<T>(&mut self, changes: impl FnOnce(&mut Self) -> T) -> T {
        self.is_rehearsal = true;
        let came_to = changes(self);
        self.is_rehearsal = false;
        came_to
    }

    /// Changes a key.
    ///
    /// # Errors
    /// [`SqliteError`]; nothing was then changed. An attempt at a longer life leaves an event.
    pub fn edit(&mut self, id: KeyId, edit: &Edit, by: By<'_>) -> Result<Changed, SqliteError> {
        self.change(by, |change| {
            let held = change.held(id)?;
            if *edit == Edit::Resume
                && change.state(&held).check(Change::Resume).is_ok()
                && let Some(until) = open_order(change, &held)?
            {
                return Err(SqliteError::OrderOpen { key: id, until });
            }
            change.edit(&held, edit, None)
        })
    }

    /// Rotates a key. Done again before anybody has used the successor, it gives the successor
    /// another secret and leaves the old key alone: an answer that was lost is asked for again.
    ///
    /// # Errors
    /// [`SqliteError`], among others [`SqliteError::RotationInProgress`] while two keys of the
    /// lineage are usable, unless the rotation is forced.
    pub fn rotate(
        &mut self,
        (id, rotation): (KeyId, Rotation),
        by: By<'_>,
        randomness: &mut dyn Randomness,
    ) -> Result<Rotated, SqliteError> {
        self.change(by, |change| {
            let held = change.held(id)?;
            if change.state(&held) == State::Revoked {
                return change.rotate(&held, rotation, randomness);
            }
            if let Some(successor) = change.successor(id)? {
                match change.state(&successor) {
                    State::Pending if successor.is_unused => {
                        return change.replace_secret(&held, &successor, randomness);
                    }
                    state if !state.is_terminal() => {
                        return Err(match change.state(&held) {
                            State::Superseded | State::Expired => SqliteError::Succeeded {
                                key: id,
                                successor: successor.record().id,
                            },
                            _ => SqliteError::RotationInProgress {
                                key: id,
                                until: held.record().grace_until,
                            },
                        });
                    }
                    _ => {}
                }
            }
            if let Some(id) = held.predecessor {
                let older = change.held(id)?;
                // Suspended, it can be resumed within its grace period.
                if !change.state(&older).is_terminal() {
                    let until = older.record().grace_until;
                    if !rotation.force {
                        return Err(SqliteError::RotationInProgress { key: id, until });
                    }
                    let now = change.events.at();
                    change.edit(&older, &Edit::EndGrace(now), None)?;
                }
            }
            change.rotate(&held, rotation, randomness)
        })
    }

    /// Records an attempt that was refused before it came here.
    ///
    /// # Errors
    /// [`SqliteError`] when it cannot be recorded.
    pub fn note_refusal(&mut self, id: Option<KeyId>, by: By<'_>) -> Result<KeyEvent, SqliteError> {
        self.change(by, |change| change.refused(id))
    }

    /// What the registry holds of a key beyond its record: its state now, and its predecessor.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read, or the row is not a key.
    pub fn state(
        &self,
        id: &KeyId,
        now: Timestamp,
    ) -> Result<Option<(State, Option<KeyId>)>, SqliteError> {
        let mut statement = self.connection.prepare_cached(SELECT_HELD)?;
        let held = statement
            .query_row([id.as_str()], |row| Ok(held_of(row)))
            .optional()?
            .transpose()?;
        Ok(held.map(|held| {
            let state = State::of(held.record(), held.is_unused, now);
            (state, held.predecessor)
        }))
    }

    /// The successor of a key, if there is one that nobody has used.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read, or the row is not a key.
    pub fn unused_successor(&self, id: &KeyId) -> Result<Option<KeyId>, SqliteError> {
        let mut statement = self.connection.prepare_cached(SELECT_SUCCESSOR)?;
        let held = statement
            .query_row([id.as_str()], |row| Ok(held_of(row)))
            .optional()?
            .transpose()?;
        Ok(held.filter(|it| it.is_unused).map(|it| it.record().id))
    }

    /// A key with its secret's digest, and whether it is a successor that nobody has used; `None`:
    /// there is none with this id.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read, or the row is not a key.
    pub fn key(&self, id: &KeyId) -> Result<Option<(CheckedKey, bool)>, SqliteError> {
        let mut statement = self.connection.prepare_cached(SELECT_HELD)?;
        let held = statement
            .query_row([id.as_str()], |row| Ok(held_of(row)))
            .optional()?
            .transpose()?;
        Ok(held.map(|held| (held.key, held.is_unused)))
    }

    /// Hands over the successors that nobody has used.
    pub(super) fn each_unused(&self, mut each: impl FnMut(KeyId)) -> Result<(), SqliteError> {
        let sql = "SELECT id FROM key WHERE predecessor IS NOT NULL AND is_unused";
        let mut statement = self.connection.prepare(sql)?;
        let ids = statement.query_map([], |row| row.get::<_, String>(0))?;
        for id in ids {
            let id = id?.parse();
            each(id.map_err(|_| SqliteError::Corrupt("a key id that is none".to_owned()))?);
        }
        Ok(())
    }

    /// Runs a change in one transaction, and keeps what it did unless it fails. An attempt at a
    /// longer life is kept as an event. Where the disk is full, what takes away is made again with
    /// the room of the reserve.
    pub(super) fn change<T>(
        &mut self,
        by: By<'_>,
        mut make: impl FnMut(&mut Changing<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        loop {
            let mut is_restriction = false;
            let made = self.change_once(by, |change| {
                let made = make(change);
                is_restriction = change.events.is_restriction();
                made
            });
            match made {
                Err(error) if is_restriction && error.is_full() && self.reserve.release() => {}
                made => return made,
            }
        }
    }

    fn change_once<T>(
        &mut self,
        by: By<'_>,
        make: impl FnOnce(&mut Changing<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        let options = self.options;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut changing = Changing {
            events: Events::begin(&transaction, by)?,
            transaction: &transaction,
            options,
        };
        let made = make(&mut changing);
        if self.is_rehearsal {
            transaction.rollback()?;
            return made;
        }
        if let Err(SqliteError::Edit { key, error }) = &made
            && matches!(
                error,
                EditError::ExpiryLocked { .. } | EditError::GraceLocked { .. }
            )
        {
            transaction.rollback()?;
            let reason = format!("a longer life was asked for: {error}");
            let refused = By {
                reason: Some(&reason),
                ..by
            };
            self.note_refusal(Some(*key), refused)?;
            return made;
        }
        if made.is_ok() {
            transaction.commit()?;
        }
        made
    }
}

/// What an event says beyond the change itself.
#[derive(Clone, Copy)]
struct Told {
    kind: KeyEventKind,
    other: Option<KeyId>,
    order: Option<Digest>,
}

impl Told {
    const fn of(kind: KeyEventKind) -> Self {
        Self {
            kind,
            other: None,
            order: None,
        }
    }
}

/// A transaction of changes.
pub(super) struct Changing<'t> {
    transaction: &'t Transaction<'t>,
    pub(super) events: Events<'t>,
    options: KeyOptions,
}

impl<'t> Changing<'t> {
    pub(super) const fn transaction(&self) -> &'t Transaction<'t> {
        self.transaction
    }

    /// A key.
    pub(super) fn held(&self, id: KeyId) -> Result<Held, SqliteError> {
        let mut statement = self.transaction.prepare_cached(SELECT_HELD)?;
        let held = statement
            .query_row([id.as_str()], |row| Ok(held_of(row)))
            .optional()?;
        held.ok_or(SqliteError::NoKey(id))?
    }

    /// The successor of a key.
    fn successor(&self, id: KeyId) -> Result<Option<Held>, SqliteError> {
        let mut statement = self.transaction.prepare_cached(SELECT_SUCCESSOR)?;
        let held = statement
            .query_row([id.as_str()], |row| Ok(held_of(row)))
            .optional()?;
        held.transpose()
    }

    pub(super) fn state(&self, held: &Held) -> State {
        State::of(held.record(), held.is_unused, self.events.at())
    }

    /// Makes the next version of a key; its event may be told as another kind, and for an order.
    pub(super) fn edit(
        &mut self,
        held: &Held,
        edit: &Edit,
        told: Option<(KeyEventKind, Option<Digest>)>,
    ) -> Result<Changed, SqliteError> {
        let key = held.record().id;
        let (record, kind) = edit
            .apply(held.record(), self.state(held))
            .map_err(|error| SqliteError::Edit { key, error })?;
        let is_unused = held.is_unused && *edit != Edit::Activate;
        let next = Held {
            key: self.check(held.record(), &record, held.key.secret().copied())?,
            predecessor: held.predecessor,
            is_unused,
        };
        if !kind.is_restriction() {
            self.check_untouched(held)?;
        }
        let (kind, order) = told.unwrap_or((kind, None));
        let told = Told {
            order,
            ..Told::of(kind)
        };
        self.write(held, &next, told)
    }

    fn rotate(
        &mut self,
        held: &Held,
        rotation: Rotation,
        randomness: &mut dyn Randomness,
    ) -> Result<Rotated, SqliteError> {
        let (old, state) = (held.record(), self.state(held));
        self.check_untouched(held)?;
        let now = self.events.at();
        for _ in 0..ID_ATTEMPTS_MAX {
            let id = random_key_id(randomness)?;
            let (deprecated, successor) = rotation
                .apply((old, state), id, now)
                .map_err(|error| SqliteError::Edit { key: old.id, error })?;
            let secret = IssuedSecret::generate(successor.environment, id, randomness)?;
            let successor = self.check(old, &successor, Some(secret.digest()))?;
            let mut insert = Insert::prepare(self.transaction)?;
            let origin = Origin {
                // Behind the event of the old key.
                event: self.events.next_sequence().saturating_add(1),
                predecessor: Some(old.id),
            };
            if !insert.add(&successor, origin)? {
                continue;
            }
            drop(insert);
            let next = Held {
                key: self.check(old, &deprecated, held.key.secret().copied())?,
                predecessor: held.predecessor,
                is_unused: false,
            };
            let told = Told {
                other: Some(id),
                ..Told::of(KeyEventKind::Rotated)
            };
            self.write(held, &next, told)?;
            let record = successor.record();
            let subject = Subject::Key {
                id,
                version: record.version,
                before: None,
                after: record.digest(),
                state: State::Pending,
                other: Some(old.id),
                secret: Some(secret_commitment(&secret.digest())),
            };
            self.events
                .append(KeyEventKind::Succeeded, subject, (Some(record), None))?;
            return Ok(Rotated {
                old: deprecated,
                successor: successor.into_parts().0,
                secret,
                is_repeat: false,
            });
        }
        Err(SqliteError::NoFreeId)
    }

    /// Gives a successor that nobody has used another secret.
    fn replace_secret(
        &mut self,
        old: &Held,
        successor: &Held,
        randomness: &mut dyn Randomness,
    ) -> Result<Rotated, SqliteError> {
        let record = successor.record();
        let key = record.id;
        let failed = |error| SqliteError::Edit { key, error };
        let checked = self.state(successor).check(Change::ReplaceSecret);
        checked.map_err(|error| failed(error.into()))?;
        let next = KeyRecord {
            version: next_version(record).map_err(failed)?,
            ..record.clone()
        };
        let secret = IssuedSecret::generate(record.environment, key, randomness)?;
        let next = Held {
            key: self.check(record, &next, Some(secret.digest()))?,
            predecessor: successor.predecessor,
            is_unused: true,
        };
        let told = Told {
            other: successor.predecessor,
            ..Told::of(KeyEventKind::SecretReplaced)
        };
        let changed = self.write(successor, &next, told)?;
        Ok(Rotated {
            old: old.record().clone(),
            successor: changed.record,
            secret,
            is_repeat: true,
        })
    }

    /// Writes the next version of a key, and its event.
    fn write(&mut self, held: &Held, next: &Held, told: Told) -> Result<Changed, SqliteError> {
        let (before, record) = (held.record(), next.record());
        let version = |record: &KeyRecord| i64::try_from(record.version).unwrap_or(i64::MAX);
        let mut update = self.transaction.prepare_cached(
            "UPDATE key SET version = ?3, lifecycle = ?4, expires_at = ?5, record = ?6,
                 secret_sha256 = ?7, is_unused = ?8
             WHERE id = ?1 AND version = ?2",
        )?;
        let updated = update.execute(params![
            record.id.as_str(),
            version(before),
            version(record),
            record.lifecycle.as_str(),
            record.expires_at.map(Timestamp::millis),
            record.to_canonical_json(),
            next.key.secret().map(|secret| secret.as_bytes().as_slice()),
            next.is_unused,
        ])?;
        if updated != 1 {
            return Err(SqliteError::NoKey(record.id));
        }
        let secret = match told.kind {
            KeyEventKind::SecretReplaced => next.key.secret().map(secret_commitment),
            _ => self.committed(held)?,
        };
        let subject = Subject::Key {
            id: record.id,
            version: record.version,
            before: Some(before.digest()),
            after: record.digest(),
            state: self.state(next),
            other: told.other,
            secret,
        };
        let event = self
            .events
            .append(told.kind, subject, (Some(record), told.order))?;
        Ok(Changed {
            record: record.clone(),
            event,
        })
    }

    /// Tells of a key that was added.
    pub(super) fn added(
        &mut self,
        kind: KeyEventKind,
        key: &CheckedKey,
    ) -> Result<KeyEvent, SqliteError> {
        let record = key.record();
        let subject = Subject::Key {
            id: record.id,
            version: record.version,
            before: None,
            after: record.digest(),
            state: State::of(record, false, self.events.at()),
            other: None,
            secret: key.secret().map(secret_commitment),
        };
        self.events.append(kind, subject, (Some(record), None))
    }

    fn refused(&mut self, id: Option<KeyId>) -> Result<KeyEvent, SqliteError> {
        let subject = Subject::Nothing { id };
        self.events
            .append(KeyEventKind::Refused, subject, (None, None))
    }

    /// Whether the row of a key, and the digest of its secret, are what its last event left. One
    /// that was imported and never changed has none of its own.
    fn check_untouched(&self, held: &Held) -> Result<(), SqliteError> {
        let record = held.record();
        let is_same = self.last_event(record.id)?.is_none_or(|(entry, left)| {
            left == record.to_canonical_json()
                && committed(&entry) == Some(held.key.secret().map(secret_commitment))
        });
        if is_same {
            Ok(())
        } else {
            Err(SqliteError::Edited(record.id))
        }
    }

    /// The entry of a key's last event, and the record that it led to.
    fn last_event(&self, id: KeyId) -> Result<Option<(Vec<u8>, String)>, SqliteError> {
        let mut statement = self.transaction.prepare_cached(
            "SELECT entry, record FROM key_event WHERE key_id = ?1 AND record IS NOT NULL
             ORDER BY sequence DESC LIMIT 1",
        )?;
        let last = statement.query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
        Ok(last.optional()?)
    }

    /// The commitment to the secret of a key as its last event has it, whatever the row says now.
    /// One that was imported and never changed has it in its row alone.
    pub(super) fn committed(&self, held: &Held) -> Result<Option<Digest>, SqliteError> {
        let last = self.last_event(held.record().id)?;
        let told = last.and_then(|(entry, _)| committed(&entry));
        Ok(told.unwrap_or_else(|| held.key.secret().map(secret_commitment)))
    }

    /// By way of the file form, so that what is written is what could be imported.
    fn check(
        &self,
        before: &KeyRecord,
        record: &KeyRecord,
        secret: Option<Digest>,
    ) -> Result<CheckedKey, SqliteError> {
        // A network that the key had is one that was let in.
        let options = KeyOptions {
            allow_any_network: self.options.allow_any_network
                || before
                    .allowed_networks
                    .iter()
                    .flat_map(|networks| networks.iter())
                    .any(|network| network.prefix_length() == 0),
        };
        let checked = KeyFile::new(record, None).check(options)?;
        let checked = checked.with_version(record.version);
        Ok(match secret {
            Some(secret) => checked.with_secret(secret),
            None => checked,
        })
    }
}

/// What an event commits to; `None`: the entry is not one of a key.
fn committed(entry: &[u8]) -> Option<Option<Digest>> {
    match Entry::decode(entry) {
        Ok(Entry::KeyEvent(KeyEvent {
            subject: Subject::Key { secret, .. },
            ..
        })) => Some(secret),
        _ => None,
    }
}
