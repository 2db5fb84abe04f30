//! What can go wrong with a registry file, and what to do about it.

use std::fmt;
use std::io;

use rusqlite::ErrorCode;

use super::file::{BUSY_TIMEOUT_SECONDS, SCHEMA_VERSION};
use crate::credential::random::RandomnessError;
use crate::digest::Digest;
use crate::key::KeyId;
use crate::key::edit::EditError;
use crate::key::json::{FieldProblem, KeyProblems};
use crate::timestamp::Timestamp;

/// Why a registry file could not be opened, read or changed. A change that fails changes nothing.
/// The messages do not hold the file's path, which whoever opened it knows.
#[derive(Debug, thiserror::Error)]
pub enum SqliteError {
    /// There is no such file.
    #[error("there is no registry file; issue or import a key to make one, or correct its path")]
    Missing,
    /// It could not be made.
    #[error("the registry file cannot be made; its folder must exist and be writable")]
    Create(#[source] io::Error),
    /// The operating system does not let it be opened.
    #[error("the registry file cannot be opened; it and its folder must be readable and writable")]
    CannotOpen,
    /// The file has nothing in it.
    #[error("the registry file is empty; issue or import a key to make it one")]
    Empty,
    /// No database at all.
    #[error("the registry file is not an SQLite database; correct its path, or restore it")]
    NotADatabase,
    /// Another program's database.
    #[error("the registry file is another program's database (mark {0}); correct its path")]
    Foreign(i32),
    /// Something in it acts when it is read or changed.
    #[error(
        "the registry file has a {kind} `{name}`, which keyward did not make and which can undo a \
         change; drop it and run `keyward registry check`, or restore a backup"
    )]
    ForeignCode {
        /// What it is: mostly `trigger` or `view`; escaped and cut.
        kind: String,
        /// Its name, escaped and cut.
        name: String,
    },
    /// Written by a later keyward.
    #[error("the registry file has schema version {0}, not {SCHEMA_VERSION}; use a newer keyward")]
    Newer(i32),
    /// Written by an earlier keyward.
    #[error(
        "the registry file has schema version 1, not {SCHEMA_VERSION}; stop what uses it and run \
         `keyward registry migrate`, which keeps the old file"
    )]
    Older,
    /// Damaged.
    #[error("the registry file is damaged: {0}; restore it from a backup")]
    Corrupt(String),
    /// The write-ahead log cannot be used.
    #[error("the registry file stays in journal mode `{0}`; put it on a local file system")]
    NoWal(String),
    /// Somebody else has been writing all the time.
    #[error("another process holds the registry file, for {BUSY_TIMEOUT_SECONDS} s now; try again")]
    Locked,
    /// May be read only.
    #[error("the registry file may only be read; make it and its folder writable")]
    ReadOnly,
    /// No space.
    #[error("the disk is full; make room and try again")]
    Full,
    /// The disk does not read or write.
    #[error(
        "the registry file cannot be read or written ({0}): the disk or its quota is full, or it \
         fails; if this was a change, look whether it was made before you make it again"
    )]
    Io(String),
    /// A row is not a key that keyward wrote.
    #[error("the row of key `{id}` was not written so: {problem}; restore a backup")]
    Row {
        /// The id in the row, escaped and cut.
        id: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Keys to be imported are there already.
    #[error("{}", existing(.listed, *.total))]
    Existing {
        /// The first of them, in the order of the ids.
        listed: Vec<KeyId>,
        /// How many there are.
        total: usize,
    },
    /// A key is there twice.
    #[error("key `{0}` is there twice; leave one out")]
    Twice(KeyId),
    /// A new key could not be represented.
    #[error("the key cannot be issued: {0}")]
    NewKey(KeyProblems),
    /// A new key would grant nothing.
    #[error("a key cannot be issued without a scope; give at least one")]
    NoScope,
    /// There is no such key.
    #[error("the registry has no key `{0}`")]
    NoKey(KeyId),
    /// What was asked for is not done to the key.
    #[error("key `{key}`: {error}")]
    Edit {
        /// Which key.
        key: KeyId,
        /// Why not.
        error: EditError,
    },
    /// Two keys of the lineage are usable.
    #[error(
        "rotation-in-progress: key `{key}` is still usable{}; wait until then, or let a manager end \
         its grace period with --force", until_text(*.until)
    )]
    RotationInProgress {
        /// The older one.
        key: KeyId,
        /// When its grace period ends.
        until: Option<Timestamp>,
    },
    /// Its successor has taken over.
    #[error("key `{key}` has ended, and its successor is key `{successor}`; rotate that one")]
    Succeeded {
        /// The older one.
        key: KeyId,
        /// The one that has taken over.
        successor: KeyId,
    },
    /// The clock went backwards.
    #[error(
        "the clock says {now}, and the registry was last changed at {last}; set the clock right, or, \
         if the registry was changed with a clock that was ahead, only what takes away is done \
         until then: suspend, mask, shorten, revoke"
    )]
    ClockBehind {
        /// What the clock says.
        now: Timestamp,
        /// The time of the last event.
        last: Timestamp,
    },
    /// Nobody, or nothing, to record.
    #[error("this needs a name of who does it and a reason")]
    NoReason,
    /// An order to revoke it is open.
    #[error("an order to revoke key `{key}` is open until {until}: confirm it, or wait until then")]
    OrderOpen {
        /// The key.
        key: KeyId,
        /// Until when it can be confirmed.
        until: Timestamp,
    },
    /// It was issued later than now.
    #[error("key `{0}` is issued in the future; its life could not be told")]
    IssuedLater(KeyId),
    /// A row is not what its last event left.
    #[error(
        "the row of key `{0}` is not what its last event left: it was changed behind keyward's back; \
         restore a backup, or revoke the key"
    )]
    Edited(KeyId),
    /// The orders of a key are not those that its events tell of.
    #[error(
        "the revocation orders of key `{0}` are not those that its events tell of: they were changed \
         behind keyward's back; restore a backup, or revoke the key in an emergency"
    )]
    EditedOrders(KeyId),
    /// There is no open order with this digest.
    #[error(
        "there is no open revocation order {0}; `keyward key orders` shows those that there are"
    )]
    NoOrder(Digest),
    /// Nobody confirms an order of their own.
    #[error("the order is `{0}`'s own; another manager has to confirm it")]
    OwnOrder(String),
    /// It was not confirmed in time.
    #[error("the order could be confirmed until {0}, and revokes nothing now; order it again")]
    OrderExpired(Timestamp),
    /// An emergency has to be reviewed first.
    #[error(
        "`{manager}` revoked key `{key}` in an emergency that nobody has reviewed; another manager \
         does that with `keyward key review`, before the next emergency"
    )]
    Unreviewed {
        /// The key that was revoked.
        key: KeyId,
        /// By whom.
        manager: String,
    },
    /// There is no emergency to review.
    #[error("there is no emergency of key `{0}` that has to be reviewed")]
    NoEmergency(KeyId),
    /// Nobody reviews what they did.
    #[error("`{0}` acted in that emergency; another manager has to review it")]
    OwnEmergency(String),
    /// Why the change is made cannot be recorded.
    #[error("the reason: {0}")]
    Reason(FieldProblem),
    /// Who makes the change cannot be recorded.
    #[error("the name of who makes the change: {0}")]
    Actor(FieldProblem),
    /// There is no secret to be had.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// Every new id was taken already.
    #[error("every new key id is taken already; the source of random bytes is not random")]
    NoFreeId,
    /// There is a file where a copy was to be.
    #[error("`{0}` is there already, and nothing is written over; move it away, or name another")]
    CopyExists(String),
    /// A copy could not be written.
    #[error("the copy cannot be written; its folder must exist, be writable and allow links")]
    Copy(#[source] io::Error),
    /// A copy or a migration was checked and is not right.
    #[error(
        "{findings} things are wrong with it, the first: {first}; `keyward registry check` names \
         all of them, and nothing was written"
    )]
    Wrong {
        /// How many things.
        findings: u64,
        /// The first of them.
        first: String,
    },
    /// A file of schema version 1 does not add up.
    #[error("the registry file of schema version 1 does not add up: {0}; restore a backup")]
    NotMigrated(String),
    /// Anything else, in SQLite's words.
    #[error("SQLite says: {0}")]
    Other(String),
}

impl SqliteError {
    /// Whether the disk has no room, as far as SQLite can tell it from other faults.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full | Self::Io(_))
    }

    /// Whether what was asked for is why, and not the file.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Existing { .. }
                | Self::Twice(_)
                | Self::NoScope
                | Self::NewKey(_)
                | Self::Actor(_)
                | Self::Reason(_)
                | Self::NoKey(_)
                | Self::Edit { .. }
                | Self::RotationInProgress { .. }
                | Self::Succeeded { .. }
                | Self::NoReason
                | Self::OrderOpen { .. }
                | Self::IssuedLater(_)
                | Self::NoOrder(_)
                | Self::OwnOrder(_)
                | Self::OrderExpired(_)
                | Self::Unreviewed { .. }
                | Self::CopyExists(_)
                | Self::NoEmergency(_)
                | Self::OwnEmergency(_)
        )
    }
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::NotADatabase) => Self::NotADatabase,
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(error.to_string()),
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure) => Self::Io(error.to_string()),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::CannotOpen,
            _ => Self::Other(error.to_string()),
        }
    }
}

fn until_text(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!(" until {until}"))
}

/// The message of [`SqliteError::Existing`].
fn existing(listed: &[KeyId], total: usize) -> impl fmt::Display {
    let names: Vec<_> = listed.iter().map(|id| format!("`{id}`")).collect();
    let more = match total.saturating_sub(listed.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "keys that exist already: {}{more}; nothing was imported",
        names.join(", ")
    )
}

// Not the error's source: its text stands in the message, and a chain would say it twice.
impl From<KeyProblems> for SqliteError {
    fn from(problems: KeyProblems) -> Self {
        Self::NewKey(problems)
    }
}
