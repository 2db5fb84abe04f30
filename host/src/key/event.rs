//! A key event: what was done to a key, by whom and why. The registry writes it in the transaction
//! of the change; the log takes it as an entry.

use std::sync::Arc;

use super::KeyId;
use super::state::State;
use crate::digest::{Digest, DigestWriter};
use crate::timestamp::Timestamp;

/// The longest name of who makes a change, in bytes.
pub const ACTOR_MAX_BYTES: usize = 256;
/// The longest name of the operating system's user who makes a change, in bytes.
pub const USER_MAX_BYTES: usize = 256;
/// The longest reason of a change, in bytes.
pub const REASON_MAX_BYTES: usize = 1_024;

/// One change of the registry, or an attempt at one that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    /// When.
    pub time: Timestamp,
    /// Its number in the registry: from 1, without gaps.
    pub sequence: u64,
    /// The digest of the entry of the event before it; `None`: it is the first.
    pub previous: Option<Digest>,
    /// What was done.
    pub kind: KeyEventKind,
    /// To what.
    pub subject: Subject,
    /// By whom: 1 to [`ACTOR_MAX_BYTES`]; `None`: not known.
    pub actor: Option<Arc<str>>,
    /// As which user of the operating system, which no configuration can rename: 1 to
    /// [`USER_MAX_BYTES`]; `None`: not known.
    pub user: Option<Arc<str>>,
    /// Why: 1 to [`REASON_MAX_BYTES`]; `None`: not said.
    pub reason: Option<Arc<str>>,
    /// The digest of the revocation order that it belongs to.
    pub order: Option<Digest>,
}

/// What a key event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One key, from one version to the next.
    Key {
        /// Which.
        id: KeyId,
        /// The version that the change made.
        version: u64,
        /// The digest of the record before; `None`: there was none.
        before: Option<Digest>,
        /// The digest of the record after.
        after: Digest,
        /// The key's state after.
        state: State,
        /// The successor of a key that is rotated, the predecessor of a successor.
        other: Option<KeyId>,
        /// The [`secret_commitment`] of the key after; `None`: no secret was known when the key
        /// came. Only a kind that sets a secret changes it.
        secret: Option<Digest>,
    },
    /// Many keys that are there for the first time.
    Keys {
        /// How many: at least one.
        count: u64,
        /// The SHA-256 of the [`import_line`]s of the keys, in the order of their ids.
        digest: Digest,
    },
    /// Nothing was changed.
    Nothing {
        /// The key that was to be changed; `None`: none in particular.
        id: Option<KeyId>,
    },
}

/// What is hashed before a secret's stored digest, so that no other hash is a commitment.
const COMMITMENT_PREFIX: &[u8] = b"keyward secret commitment v1\n";

/// The commitment to a key's secret: the SHA-256 of a prefix and the stored SHA-256 of the secret.
/// Whoever may write the registry cannot put in the digest of another secret without being noticed.
/// It is published in the log, and safe to publish: a secret has 190 random bits, and nobody finds
/// it, or its digest, by trying.
#[must_use]
pub fn secret_commitment(stored: &Digest) -> Digest {
    let mut hash = DigestWriter::default();
    hash.write(COMMITMENT_PREFIX);
    hash.write(stored.as_bytes());
    hash.finish()
}

/// The line of a key that was imported: the id, a space, the digest of its record in hex, a space,
/// the commitment to its secret in hex or `-` where none is known, a line feed.
#[must_use]
pub fn import_line(id: &KeyId, record: &Digest, secret: Option<&Digest>) -> String {
    match secret.map(secret_commitment) {
        Some(commitment) => format!("{id} {record} {commitment}\n"),
        None => format!("{id} {record} -\n"),
    }
}

impl Subject {
    /// The commitment to the secret of the one key that it is about; `None`: there is none.
    #[must_use]
    pub const fn secret(&self) -> Option<Digest> {
        match self {
            Self::Key { secret, .. } => *secret,
            Self::Keys { .. } | Self::Nothing { .. } => None,
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyEventKind {
    /// A new key.
    Issued,
    /// New keys from a file.
    Imported,
    /// Used for the first time.
    Activated,
    /// Deprecated in favour of a successor.
    Rotated,
    /// A new key that succeeds another.
    Succeeded,
    /// A successor that nobody had used got another secret.
    SecretReplaced,
    /// Switched off.
    Suspended,
    /// Switched on again.
    Resumed,
    /// Put under the read-only mask.
    Masked,
    /// Taken out of the read-only mask.
    Unmasked,
    /// Ends earlier.
    ExpiryShortened,
    /// Grants less.
    ScopesNarrowed,
    /// Grants more, or something else.
    ScopesWidened,
    /// May be used from elsewhere.
    NetworksChanged,
    /// Its grace period ends earlier.
    GraceEnded,
    /// Its revocation was ordered, and it is suspended until that is confirmed.
    RevocationOrdered,
    /// Revoked by a confirmed order.
    Revoked,
    /// Revoked by one manager alone.
    RevokedInEmergency,
    /// What was done in an emergency was reviewed by another manager.
    EmergencyReviewed,
    /// An attempt that was refused.
    Refused,
}

impl KeyEventKind {
    /// All of them, each at the place of its number in the log.
    pub const ALL: [Self; 20] = [
        Self::Issued,
        Self::Imported,
        Self::Activated,
        Self::Rotated,
        Self::Succeeded,
        Self::SecretReplaced,
        Self::Suspended,
        Self::Resumed,
        Self::Masked,
        Self::Unmasked,
        Self::ExpiryShortened,
        Self::ScopesNarrowed,
        Self::ScopesWidened,
        Self::NetworksChanged,
        Self::GraceEnded,
        Self::RevocationOrdered,
        Self::Revoked,
        Self::RevokedInEmergency,
        Self::EmergencyReviewed,
        Self::Refused,
    ];

    /// The name in output and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Imported => "imported",
            Self::Activated => "activated",
            Self::Rotated => "rotated",
            Self::Succeeded => "succeeded",
            Self::SecretReplaced => "secret-replaced",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
            Self::Masked => "masked",
            Self::Unmasked => "unmasked",
            Self::ExpiryShortened => "expiry-shortened",
            Self::ScopesNarrowed => "scopes-narrowed",
            Self::ScopesWidened => "scopes-widened",
            Self::NetworksChanged => "networks-changed",
            Self::GraceEnded => "grace-ended",
            Self::RevocationOrdered => "revocation-ordered",
            Self::Revoked => "revoked",
            Self::RevokedInEmergency => "revoked-in-emergency",
            Self::EmergencyReviewed => "emergency-reviewed",
            Self::Refused => "refused",
        }
    }

    /// Whether it takes away, and so has to be recorded even where there is hardly room.
    #[must_use]
    pub const fn is_restriction(self) -> bool {
        matches!(
            self,
            Self::Suspended
                | Self::Masked
                | Self::ExpiryShortened
                | Self::GraceEnded
                | Self::RevocationOrdered
                | Self::Revoked
                | Self::RevokedInEmergency
        )
    }
}
