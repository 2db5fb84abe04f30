//! The registry in one SQLite file: where keys are kept and changed. The hot path never comes here;
//! it reads what [`SqliteRegistry::load`] made.
//!
//! Every change is one transaction that writes the key, with the next version, and appends the
//! change to `key_event`; there is at most one event for each version of a key. The file is in WAL
//! mode and a change is on the disk when its call returns.

mod backup;
mod change;
mod check;
mod error;
mod events;
mod file;
mod migrate;
mod order;
mod reserve;
mod row;
mod select;

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};

use super::memory::{MemoryLoader, MemoryRegistry};
use crate::address::Network;
use crate::credential::random::Randomness;
use crate::credential::{IssuedSecret, random_key_id};
use crate::digest::DigestWriter;
use crate::key::event::{KeyEventKind, Subject, import_line};
use crate::key::json::{CheckedKey, KeyFile, KeyOptions};
use crate::key::{Environment, KeyId, KeyRecord, Lifecycle};
use crate::timestamp::Timestamp;

pub use change::{Changed, Rotated};
pub use check::{Checked, Finding, Place};
pub use error::SqliteError;
pub use events::{By, CLOCK_BEHIND_MAX_MS, Recorded, StoredEvent};
pub use migrate::{Migrated, kept_path};
pub use reserve::RESERVE_BYTES;
pub use select::{Filter, Listed};

use reserve::Reserve;
use row::{Insert, Origin, key_of};

/// How many keys an error names; the rest is counted.
pub const KEYS_LISTED_MAX: usize = 100;
/// How often a new id is drawn when one is taken: with ten million keys, once in 3 × 10¹⁴ issues.
const ID_ATTEMPTS_MAX: usize = 8;

/// Every key, in the order of the ids.
const SELECT_ALL: &str = concat!("SELECT ", row::columns!(), " FROM key ORDER BY id");
/// One key.
const SELECT_ONE: &str = concat!("SELECT ", row::columns!(), " FROM key WHERE id = ?1");

/// An open registry file. One writer at a time, of all processes that have it open.
#[derive(Debug)]
pub struct SqliteRegistry {
    connection: Connection,
    options: KeyOptions,
    reserve: Reserve,
    /// Changes are taken back once they were made.
    is_rehearsal: bool,
}

/// What to issue. The registry adds the id, the secret and the time of issue.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Who answers for the key.
    pub owner: String,
    /// The environment that its credential names.
    pub environment: Environment,
    /// What it grants: at least one.
    pub scopes: Vec<String>,
    /// When it ends. It can later move earlier, never later.
    pub expires_at: Timestamp,
    /// From when it may be used; `None`: at once.
    pub not_before: Option<Timestamp>,
    /// When it should have been rotated; `None`: as the rotation policy's settings say.
    pub rotate_by: Option<Timestamp>,
    /// From where it may be used; `None`: no allow list; empty: from nowhere.
    pub allowed_networks: Option<Vec<Network>>,
    /// Whether it starts under the read-only mask.
    pub read_only: bool,
    /// The organisation's own names for things.
    pub labels: BTreeMap<String, String>,
}

impl SqliteRegistry {
    /// Opens a registry file, and makes one, readable by its owner alone, where there is none.
    ///
    /// # Errors
    /// [`SqliteError`]: among others for a file that is not a registry, or a newer keyward's.
    pub fn open(path: &Path, options: KeyOptions) -> Result<Self, SqliteError> {
        Ok(Self::new(path, file::open(path)?, options))
    }

    /// Opens a registry file that is there.
    ///
    /// # Errors
    /// As [`SqliteRegistry::open`], and [`SqliteError::Missing`].
    pub fn open_existing(path: &Path, options: KeyOptions) -> Result<Self, SqliteError> {
        Ok(Self::new(path, file::open_existing(path)?, options))
    }

    /// Opens a registry file that is there, to take something away: on a full disk its reserve
    /// makes room ([`RESERVE_BYTES`]).
    ///
    /// # Errors
    /// As [`SqliteRegistry::open_existing`].
    pub fn open_to_restrict(path: &Path, options: KeyOptions) -> Result<Self, SqliteError> {
        let reserve = Reserve::beside(path);
        let connection = reserve.use_up(|| file::open_existing(path))?;
        Ok(Self::new(path, connection, options))
    }

    fn new(path: &Path, connection: Connection, options: KeyOptions) -> Self {
        let reserve = Reserve::beside(path);
        reserve.keep();
        Self {
            connection,
            options,
            reserve,
            is_rehearsal: false,
        }
    }

    /// Issues a key. When the answer is there, the key is on the disk; the secret is nowhere else.
    ///
    /// # Errors
    /// [`SqliteError`]; nothing was then issued.
    pub fn issue(
        &mut self,
        new: &NewKey,
        change: By<'_>,
        randomness: &mut dyn Randomness,
    ) -> Result<(KeyRecord, IssuedSecret), SqliteError> {
        if new.scopes.is_empty() {
            return Err(SqliteError::NoScope);
        }
        let options = self.options;
        self.change(change, |change| {
            let now = change.events.at();
            for _ in 0..ID_ATTEMPTS_MAX {
                let id = random_key_id(randomness)?;
                let secret = IssuedSecret::generate(new.environment, id, randomness)?;
                // By way of the file form, so that what is issued is what could be imported.
                let key = KeyFile::new(&new.record(id, now), None).check(options)?;
                let key = key.with_secret(secret.digest());
                let origin = Origin {
                    event: change.events.next_sequence(),
                    predecessor: None,
                };
                if Insert::prepare(change.transaction())?.add(&key, origin)? {
                    change.added(KeyEventKind::Issued, &key)?;
                    return Ok((key.into_parts().0, secret));
                }
            }
            Err(SqliteError::NoFreeId)
        })
    }

    /// Imports keys, all or none, and returns how many. They are written in the order of their ids:
    /// an index that is filled in another order does not finish with ten million.
    ///
    /// # Errors
    /// [`SqliteError`]; nothing was then imported.
    pub fn import(
        &mut self,
        mut keys: Vec<CheckedKey>,
        change: By<'_>,
    ) -> Result<usize, SqliteError> {
        keys.sort_unstable_by_key(|key| key.record().id);
        for pair in keys.windows(2) {
            if let [a, b] = pair
                && a.record().id == b.record().id
            {
                return Err(SqliteError::Twice(a.record().id));
            }
        }
        if keys.is_empty() {
            return Ok(0);
        }
        self.change(change, |change| {
            none_is_later(&keys, change.events.at())?;
            let mut insert = Insert::prepare(change.transaction())?;
            let mut existing = Vec::new();
            let mut existing_total = 0;
            let mut lines = DigestWriter::default();
            let origin = Origin {
                event: change.events.next_sequence(),
                predecessor: None,
            };
            for key in &keys {
                if insert.add(key, origin)? {
                    let record = key.record();
                    let line = import_line(&record.id, &record.digest(), key.secret());
                    lines.write(line.as_bytes());
                    continue;
                }
                existing_total += 1;
                if existing.len() < KEYS_LISTED_MAX {
                    existing.push(key.record().id);
                }
            }
            if existing_total > 0 {
                return Err(SqliteError::Existing {
                    listed: existing,
                    total: existing_total,
                });
            }
            let subject = Subject::Keys {
                count: u64::try_from(keys.len()).unwrap_or(u64::MAX),
                digest: lines.finish(),
            };
            let kind = KeyEventKind::Imported;
            change.events.append(kind, subject, (None, None))?;
            Ok(keys.len())
        })
    }

    /// Whether keys, none of them twice, could be imported at a time. Nothing is written for that,
    /// and nobody waits for it.
    ///
    /// # Errors
    /// [`SqliteError`] as of [`SqliteRegistry::import`].
    pub fn check_import(&self, keys: &[CheckedKey], now: Timestamp) -> Result<(), SqliteError> {
        none_is_later(keys, now)?;
        let sql = "SELECT EXISTS (SELECT 1 FROM key WHERE id = ?1)";
        let mut statement = self.connection.prepare(sql)?;
        let mut existing = Vec::new();
        let mut existing_total = 0;
        for id in keys.iter().map(|key| key.record().id) {
            if statement.query_row([id.as_str()], |row| row.get(0))? {
                existing_total += 1;
                if existing.len() < KEYS_LISTED_MAX {
                    existing.push(id);
                }
            }
        }
        if existing_total > 0 {
            return Err(SqliteError::Existing {
                listed: existing,
                total: existing_total,
            });
        }
        Ok(())
    }

    /// One key, or `None` when there is none with this id.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read, or the row is not a key.
    pub fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, SqliteError> {
        let mut statement = self.connection.prepare(SELECT_ONE)?;
        let key = statement
            .query_row([id.as_str()], |row| Ok(key_of(row)))
            .optional()?;
        key.transpose().map(|key| key.map(|key| key.into_parts().0))
    }

    /// Hands over every record, in the order of the ids, as they all were at one instant. An error
    /// of `each` ends it.
    ///
    /// # Errors
    /// That of `each`, or [`SqliteError`] when the file cannot be read, or a row is not a key.
    pub fn list<E: From<SqliteError>>(
        &self,
        mut each: impl FnMut(KeyRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(|key| each(key.into_parts().0))
    }

    /// Hands over the file form of every key, the digests of the secrets included, as
    /// [`SqliteRegistry::list`] does the records.
    ///
    /// # Errors
    /// As [`SqliteRegistry::list`].
    pub fn export<E: From<SqliteError>>(
        &self,
        mut each: impl FnMut(KeyFile) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each(|key| each(key.to_file()))
    }

    /// Reads every key into memory.
    ///
    /// # Errors
    /// [`SqliteError`] when the file cannot be read, or a row is not a key: all keys or none.
    pub fn load(&self) -> Result<MemoryRegistry, SqliteError> {
        let mut loader = MemoryLoader::default();
        self.each(|key| {
            loader
                .add(key)
                .map_err(|duplicate| SqliteError::Twice(duplicate.0))
        })?;
        self.each_unused(|id| loader.mark_unused(id))?;
        Ok(loader.finish())
    }

    fn each<E: From<SqliteError>>(
        &self,
        mut each: impl FnMut(CheckedKey) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut statement = self
            .connection
            .prepare(SELECT_ALL)
            .map_err(SqliteError::from)?;
        let mut rows = statement.query([]).map_err(SqliteError::from)?;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            each(key_of(row)?)?;
        }
        Ok(())
    }
}

/// That no key is issued in the future.
fn none_is_later(keys: &[CheckedKey], now: Timestamp) -> Result<(), SqliteError> {
    let latest = now.millis().saturating_add(CLOCK_BEHIND_MAX_MS);
    let is_later = |key: &&CheckedKey| key.record().issued_at.millis() > latest;
    match keys.iter().find(is_later) {
        Some(key) => Err(SqliteError::IssuedLater(key.record().id)),
        None => Ok(()),
    }
}

impl NewKey {
    /// The record to be, under an id; not yet checked.
    #[must_use]
    pub fn record(&self, id: KeyId, issued_at: Timestamp) -> KeyRecord {
        KeyRecord {
            id,
            version: 1,
            owner: self.owner.as_str().into(),
            environment: self.environment,
            lifecycle: Lifecycle::Active,
            issued_at,
            not_before: self.not_before,
            rotate_by: self.rotate_by,
            expires_at: Some(self.expires_at),
            grace_until: None,
            scopes: self
                .scopes
                .iter()
                .map(|scope| scope.as_str().into())
                .collect(),
            read_only: self.read_only,
            allowed_networks: self.allowed_networks.as_deref().map(Into::into),
            labels: self
                .labels
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
