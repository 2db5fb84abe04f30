//! Between keys and rows. Writing trusts the key, which was checked; reading trusts nothing, for
//! anybody who can write to the file can edit a row.

use rusqlite::types::ValueRef;
use rusqlite::{Row, Statement, Transaction, params};

use super::{Change, SqliteError};
use crate::digest::Digest;
use crate::key::json::CheckedKey;
use crate::shown::shown;

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

/// Adds keys and their first events, within one transaction.
pub(super) struct Insert<'a> {
    key: Statement<'a>,
    event: Statement<'a>,
    kind: &'static str,
    change: Change<'a>,
}

impl<'a> Insert<'a> {
    /// Prepares to add keys, each with an event of this kind.
    pub(super) fn prepare(
        transaction: &'a Transaction<'_>,
        kind: &'static str,
        change: Change<'a>,
    ) -> Result<Self, SqliteError> {
        change.check()?;
        let key = transaction.prepare(
            "INSERT INTO key (id, version, owner, lifecycle, expires_at, record, secret_sha256)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (id) DO NOTHING",
        )?;
        let event = transaction.prepare(
            "INSERT INTO key_event (key_id, version, at, kind, actor, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        Ok(Self {
            key,
            event,
            kind,
            change,
        })
    }

    /// Adds a key and its event; false, and nothing added, when there is one with its id.
    pub(super) fn add(&mut self, key: &CheckedKey) -> Result<bool, SqliteError> {
        let record = key.record();
        let version = i64::try_from(record.version)
            .map_err(|_| SqliteError::Other("a version beyond any".to_owned()))?;
        let json = record.to_canonical_json();
        let added = self.key.execute(params![
            record.id.as_str(),
            version,
            &*record.owner,
            record.lifecycle.as_str(),
            record.expires_at.map(|end| end.millis()),
            json,
            key.secret().map(|secret| secret.as_bytes().as_slice()),
        ])?;
        if added == 0 {
            return Ok(false);
        }
        self.event.execute(params![
            record.id.as_str(),
            version,
            self.change.at.millis(),
            self.kind,
            self.change.actor,
            format!("{{\"record_sha256\":\"{}\"}}", Digest::of(json.as_bytes())),
        ])?;
        Ok(true)
    }
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
