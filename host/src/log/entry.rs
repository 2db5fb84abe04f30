//! The entries of the log and their one encoding: deterministic CBOR (RFC 8949 §4.2.1), further
//! restricted to integers, byte strings, text, arrays, booleans and null. `docs/log.cddl` is the
//! grammar.
//!
//! Every entry is an array that opens with its type and the version of its layout. A layout is
//! never changed; a change is a new version beside the old one, because an auditor has to read what
//! was written years ago. Numbers of questions, answers, effects and faults are in `codes.rs` and
//! are never reused.
//!
//! [`Entry::decode`] accepts exactly the bytes that [`Entry::encode`] makes, or has made in an
//! earlier layout: whatever it has read it encodes again in the same layout and compares, so that
//! no two byte strings of a layout are the same entry.

mod codes;
mod decode;
mod encode;

use smol_str::SmolStr;

use crate::decision::DecisionRecord;
use crate::digest::Digest;
use crate::key::event::KeyEvent;
use crate::log::Durability;
use crate::timestamp::Timestamp;

pub use crate::tlog::tile::ENTRY_MAX_BYTES;
pub use encode::encode_decision_into;

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A host has started to write.
    Boot(Boot),
    /// A decision.
    Decision(DecisionRecord),
    /// The end of the log had been torn off, and was dropped.
    Recovery(Recovery),
    /// The key that signs the log is another from here on.
    LogKey(LogKey),
    /// The log has not taken decisions for a while, and takes them again.
    Outage(Outage),
    /// A running host has changed what it decides by.
    Reload(Reload),
    /// Old entries are no longer kept.
    Retention(Retention),
    /// A key was changed.
    KeyEvent(KeyEvent),
    /// Denials of one reason, counted instead of recorded one by one.
    Coalesced(Coalesced),
    /// Governance certifies that a key was revoked.
    Revocation(Revocation),
}

/// A host has started to write; what an auditor has to know about the entries up to the next boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// When it started.
    pub time: Timestamp,
    /// The log's name.
    pub origin: String,
    /// What a receipt of this host promised, unless the entry was one that is always durable.
    pub durability: Durability,
    /// How long, in milliseconds, a written entry may have stayed unsynced.
    pub sync_interval_ms: u64,
    /// The version of keyward.
    pub keyward_version: String,
    /// The engine and its version. Fuel is comparable within one.
    pub engine: String,
    /// The digest of the policy set's manifest at the start; 32 bytes of zero: it decides nothing.
    pub policy_set: Digest,
}

/// The end of the log had been torn off by a crash or a power cut, and was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// When it was dropped.
    pub time: Timestamp,
    /// How many bytes were dropped.
    pub dropped_bytes: u64,
    /// The first index of the segment that they were dropped from.
    pub segment: u64,
}

/// The keys that sign the log's checkpoints are replaced. The keys before have signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    /// When.
    pub time: Timestamp,
    /// The keys before, as vkeys (C2SP signed-note): 1 to [`LOG_KEYS_MAX`].
    pub previous: Vec<String>,
    /// The keys from the next checkpoint on, as many at most.
    pub keys: Vec<String>,
}

/// The most keys of a log at one time: one of each type that signs.
pub const LOG_KEYS_MAX: usize = 2;

/// Decisions that the log did not take: they were given as denials (`log.unavailable`), whatever
/// they would have been. It is recorded with the first decision that is taken again. Where the log
/// was out of use until keyward was started again, there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The time of the earliest such decision.
    pub from: Timestamp,
    /// The time of the latest.
    pub to: Timestamp,
    /// How many there were.
    pub refused: u64,
}

/// Denials of requests whose credential named no key, counted and not recorded one by one because
/// there were more in a second than the host records. Each caller got the reason. What was counted
/// since the last such entry of this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coalesced {
    /// The time of the earliest such request.
    pub from: Timestamp,
    /// The time of the latest.
    pub to: Timestamp,
    /// The reason that all of them were denied with.
    pub reason: SmolStr,
    /// How many there were.
    pub count: u64,
}

/// A running host has changed its routes, its policies or both. The decisions behind it say by
/// which policy set each was made; the first of them may still be of the set before, and all of
/// them when the change could not be made durable in time and so was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// When it was changed.
    pub time: Timestamp,
    /// The digest of the manifest of the policy set before.
    pub previous: Digest,
    /// The digest of the manifest of the policy set from here on. The same as before when only
    /// routes changed.
    pub policy_set: Digest,
}

/// Old entries are no longer kept, by a written policy. Their leaf hashes are, so that the log is
/// still the one that was signed and every proof that was given still holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// When.
    pub time: Timestamp,
    /// Entries below this index are no longer kept: a multiple of 256.
    pub below: u64,
    /// All of them are older than this.
    pub before: Timestamp,
    /// The policy that says so, in its author's words: 1 to [`RETENTION_POLICY_MAX_BYTES`].
    pub policy: String,
}

/// The most bytes of a retention policy in its author's words.
pub const RETENTION_POLICY_MAX_BYTES: usize = 4_096;

/// Governance certifies that a key was revoked. The log keeps what governance has signed, and does
/// not look into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// When it was certified.
    pub time: Timestamp,
    /// A `COSE_Sign1`: 1 to [`REVOCATION_MAX_BYTES`].
    pub cose: Vec<u8>,
}

/// The most bytes of what governance signs of a revocation.
pub const REVOCATION_MAX_BYTES: usize = 4_096;

/// Why some bytes are not an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// More than [`ENTRY_MAX_BYTES`].
    #[error("an entry of {bytes} bytes; the most is {ENTRY_MAX_BYTES}")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Not CBOR, or not what the grammar has there.
    #[error("not {expected} at byte {offset} of the entry")]
    Malformed {
        /// Where the item starts that does not fit.
        offset: usize,
        /// What should be there.
        expected: &'static str,
    },
    /// Well-formed, but not the one way to write it: a number in more bytes than it needs, an
    /// address in the longer of its forms, or bytes behind the end.
    #[error("an entry that is not in its canonical form")]
    NotCanonical,
    /// A type that this version of keyward does not know.
    #[error("an entry of the unknown type {0}; read the log with a newer keyward")]
    UnknownType(u64),
    /// A layout that this version of keyward does not know.
    #[error("an entry in the unknown layout {0}; read the log with a newer keyward")]
    UnknownVersion(u64),
}

impl Entry {
    /// The entry's bytes. They can be more than [`ENTRY_MAX_BYTES`]; the log then refuses them.
    ///
    /// An answer that its question cannot have (a host that answers `host` with a flag) is written
    /// as what it is, and [`Entry::decode`] refuses it, or reads a number as the number that the
    /// question has.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let layout = match self {
            Self::Decision(decision) => encode::decision_layout(decision),
            _ => codes::LAYOUT,
        };
        self.encode_in(layout)
    }

    /// The entry's bytes, in one of the layouts that decisions have had.
    fn encode_in(&self, layout: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Boot(boot) => encode::boot(boot, &mut bytes),
            Self::Decision(decision) => encode::decision_in(layout, decision, &mut bytes),
            Self::Recovery(recovery) => encode::recovery(recovery, &mut bytes),
            Self::LogKey(log_key) => encode::log_key(log_key, &mut bytes),
            Self::Outage(outage) => encode::outage(outage, &mut bytes),
            Self::Reload(reload) => encode::reload(reload, &mut bytes),
            Self::Retention(retention) => encode::retention(retention, &mut bytes),
            Self::KeyEvent(event) => encode::key_event(event, &mut bytes),
            Self::Coalesced(coalesced) => encode::coalesced(coalesced, &mut bytes),
            Self::Revocation(revocation) => encode::revocation(revocation, &mut bytes),
        }
        bytes
    }

    /// Its time; the latest, where it tells of several.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        match self {
            Self::Boot(boot) => boot.time,
            Self::Decision(decision) => decision.time,
            Self::Recovery(recovery) => recovery.time,
            Self::LogKey(log_key) => log_key.time,
            Self::Outage(outage) => outage.to,
            Self::Reload(reload) => reload.time,
            Self::Retention(retention) => retention.time,
            Self::KeyEvent(event) => event.time,
            Self::Coalesced(coalesced) => coalesced.to,
            Self::Revocation(revocation) => revocation.time,
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`EntryError`] when the bytes are anything but what [`Entry::encode`] makes, or has made in
    /// an earlier layout, of some entry of at most [`ENTRY_MAX_BYTES`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_MAX_BYTES {
            return Err(EntryError::TooLarge { bytes: bytes.len() });
        }
        let (entry, layout) = decode::entry(bytes)?;
        if entry.encode_in(layout) == bytes {
            Ok(entry)
        } else {
            Err(EntryError::NotCanonical)
        }
    }
}

#[cfg(test)]
mod tests;
