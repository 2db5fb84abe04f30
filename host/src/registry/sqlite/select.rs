//! Some of the keys, by what decides their use.

use std::ops::ControlFlow;

use rusqlite::params;

use super::row::{self, held_of};
use super::{SqliteError, SqliteRegistry};
use crate::key::state::State;
use crate::key::{KeyId, KeyRecord, Lifecycle};
use crate::timestamp::Timestamp;

/// Which keys; what is `None` or empty leaves no key out.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The owner.
    pub owner: Option<String>,
    /// One of these states.
    pub states: Vec<State>,
    /// The end of its life or of its grace period, whichever is first, is before this.
    pub ends_before: Option<Timestamp>,
    /// Its id comes after this one.
    pub after: Option<KeyId>,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its record.
    pub record: KeyRecord,
    /// Its state.
    pub state: State,
    /// The key that it succeeds.
    pub predecessor: Option<KeyId>,
}

impl Filter {
    /// Whether a key is among them.
    #[must_use]
    pub fn takes(&self, key: &Listed) -> bool {
        let record = &key.record;
        let end = match (record.expires_at, record.grace_until) {
            (Some(end), Some(grace)) => Some(end.min(grace)),
            (end, grace) => end.or(grace),
        };
        self.after.is_none_or(|after| record.id > after)
            && self.owner.as_deref().is_none_or(|it| it == &*record.owner)
            && (self.states.is_empty() || self.states.contains(&key.state))
            && self
                .ends_before
                .is_none_or(|limit| end.is_some_and(|end| end < limit))
    }

    /// The lifecycles that keys of these states can have, as a list of SQL; what a grace period has
    /// ended, or an expiry, may have any but `revoked`.
    fn lifecycles(&self) -> String {
        use Lifecycle::{Active, Deprecated, Revoked, Suspended};
        let all = [Active, Deprecated, Suspended, Revoked];
        let is_possible = |lifecycle: &Lifecycle| {
            self.states.is_empty()
                || self.states.iter().any(|state| match state {
                    State::Pending | State::Active => *lifecycle == Active,
                    State::Deprecated => *lifecycle == Deprecated,
                    State::Suspended => *lifecycle == Suspended,
                    State::Revoked => *lifecycle == Revoked,
                    State::Expired | State::Superseded => *lifecycle != Revoked,
                })
        };
        let names = all.iter().filter(|it| is_possible(it));
        let names: Vec<_> = names.map(|it| format!("'{}'", it.as_str())).collect();
        names.join(", ")
    }
}

impl SqliteRegistry {
    /// Hands over the keys that a filter takes, in the order of the ids, as they all were at one
    /// instant, until `each` breaks off. What a filter leaves out by a column is not looked at;
    /// that the columns are what the records say is for [`SqliteRegistry::check`] to find.
    ///
    /// # Errors
    /// That of `each`, or [`SqliteError`] when the file cannot be read, or a row is not a key.
    pub fn select<E: From<SqliteError>>(
        &self,
        (filter, now): (&Filter, Timestamp),
        mut each: impl FnMut(Listed) -> Result<ControlFlow<()>, E>,
    ) -> Result<(), E> {
        // Where there is a grace period, the end is not in a column.
        let sql = format!(
            "SELECT {}, predecessor, is_unused FROM key
             WHERE (?1 IS NULL OR owner = ?1) AND lifecycle IN ({})
                 AND (?2 IS NULL OR expires_at < ?2 OR lifecycle <> 'active')
                 AND (?3 IS NULL OR id > ?3)
             ORDER BY id",
            row::columns!(),
            filter.lifecycles()
        );
        let mut statement = self.connection.prepare(&sql).map_err(SqliteError::from)?;
        let after = filter.after.as_ref().map(KeyId::as_str);
        let limits = params![
            filter.owner,
            filter.ends_before.map(Timestamp::millis),
            after
        ];
        let mut rows = statement.query(limits).map_err(SqliteError::from)?;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            let held = held_of(row)?;
            let listed = Listed {
                state: State::of(held.record(), held.is_unused, now),
                predecessor: held.predecessor,
                record: held.key.into_parts().0,
            };
            if filter.takes(&listed) && each(listed)?.is_break() {
                break;
            }
        }
        Ok(())
    }
}
