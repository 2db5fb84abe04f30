//! Between keys and rows. Writing trusts the key, which was checked; reading trusts nothing, for
//! anybody who can write to the file can edit a row.

use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement, Transaction, params};

use super::SqliteError;
use super::events::number;
use crate::digest::Digest;
use crate::key::json::CheckedKey;
use crate::key::{KeyId, KeyRecord};
use crate::shown::shown;
use crate::timestamp::Timestamp;

/// The columns of a key, in the order of [`key_of`]. What is too long to be keyward's is not read.
macro_rules! columns {
    () => {
        "id, version, owner, lifecycle, expires_at, \
         CASE WHEN octet_length(record) <= 262144 THEN record END, \
         CASE WHEN octet_length(secret_sha256) <= 32 THEN secret_sha256 \
              WHEN secret_sha256 IS NOT NULL THEN x'' END"
    };
}
pub(super) use columns;

/// A key with what is not in its record.
pub(super) struct Held {
    pub(super) key: CheckedKey,
    /// The key that it succeeds.
    pub(super) predecessor: Option<KeyId>,
    /// It is a successor that nobody has used yet.
    pub(super) is_unused: bool,
}

impl Held {
    pub(super) const fn record(&self) -> &KeyRecord {
        self.key.record()
    }
}

/// How a key came to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The number of the event that tells of it.
    pub(super) event: u64,
    /// The key that it succeeds, as one that nobody has used.
    pub(super) predecessor: Option<KeyId>,
}

/// Adds keys, within one transaction.
pub(super) struct Insert<'a>(Statement<'a>);

impl<'a> Insert<'a> {
    pub(super) fn prepare(transaction: &'a Transaction<'_>) -> Result<Self, SqliteError> {
        Ok(Self(transaction.prepare(
            "INSERT INTO key (id, version, owner, lifecycle, expires_at, record, secret_sha256,
                 predecessor, is_unused, first_event)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8 IS NOT NULL, ?9)
             ON CONFLICT (id) DO NOTHING",
        )?))
    }

    /// Adds a key; false, and nothing added, when there is one with its id.
    pub(super) fn add(&mut self, key: &CheckedKey, origin: Origin) -> Result<bool, SqliteError> {
        let record = key.record();
        let version = i64::try_from(record.version)
            .map_err(|_| SqliteError::Other("a version beyond any".to_owned()))?;
        let added = self.0.execute(params![
            record.id.as_str(),
            version,
            &*record.owner,
            record.lifecycle.as_str(),
            record.expires_at.map(Timestamp::millis),
            record.to_canonical_json(),
            key.secret().map(|secret| secret.as_bytes().as_slice()),
            origin.predecessor.as_ref().map(KeyId::as_str),
            number(origin.event),
        ])?;
        Ok(added > 0)
    }
}

/// The key of a row that has the columns behind those of [`key_of`]: its predecessor, and whether
/// nobody has used it.
pub(super) fn held_of(row: &Row<'_>) -> Result<Held, SqliteError> {
    let key = key_of(row)?;
    let predecessor: Option<String> = row.get(7)?;
    let predecessor = predecessor.map(|id| id.parse()).transpose();
    let predecessor = predecessor.map_err(|_| SqliteError::Row {
        id: key.record().id.to_string(),
        problem: "its predecessor is not a key id".to_owned(),
    })?;
    Ok(Held {
        key,
        predecessor,
        is_unused: row.get(8)?,
    })
}

/// The key of a row, if the row says nothing else than its record.
pub(super) fn key_of(row: &Row<'_>) -> Result<CheckedKey, SqliteError> {
    let id = match row.get_ref(0)? {
        ValueRef::Text(id) => String::from_utf8_lossy(id),
        _ => "".into(),
    };
    read(row, &id).map_err(|problem| SqliteError::Row {
        id: shown(&id),
        problem,
    })
}

fn read(row: &Row<'_>, id: &str) -> Result<CheckedKey, String> {
    let column = |index| row.get_ref(index).map_err(|error| error.to_string());
    let secret = match column(6)? {
        ValueRef::Null => None,
        ValueRef::Blob(bytes) => {
            let bytes = bytes
                .try_into()
                .map_err(|_| "its secret's digest has not 32 bytes")?;
            Some(Digest::from_bytes(bytes))
        }
        _ => return Err("its secret's digest is not bytes".to_owned()),
    };
    let record = match column(5)? {
        ValueRef::Text(text) => std::str::from_utf8(text).map_err(|error| error.to_string())?,
        _ => return Err("it has no record, or one that is too long".to_owned()),
    };
    let key = CheckedKey::from_canonical_json(record, secret).map_err(|error| error.to_string())?;
    let record = key.record();
    let lifecycle = record.lifecycle.as_str();
    let end = record.expires_at.map(|end| end.millis());
    let same = [
        ("id", id == record.id.as_str()),
        (
            "version",
            column(1)?
                .as_i64()
                .is_ok_and(|v| u64::try_from(v) == Ok(record.version)),
        ),
        (
            "owner",
            column(2)?
                .as_str()
                .is_ok_and(|owner| owner == &*record.owner),
        ),
        (
            "lifecycle",
            column(3)?.as_str().is_ok_and(|given| given == lifecycle),
        ),
        (
            "expires_at",
            column(4)?.as_i64_or_null().is_ok_and(|given| given == end),
        ),
    ];
    match same.iter().find(|(_, same)| !same) {
        None => Ok(key),
        Some((name, _)) => Err(format!("its column `{name}` is not what its record says")),
    }
}
