//! A key record: what the registry knows of a key. Never the secret, nor its digest.
//!
//! The record is the shared vocabulary of the registry (which keeps it), the policies (which ask
//! about it), the log (which names it by digest) and the auditor (who reads it back).

pub mod catalogue;
pub mod edit;
pub mod event;
pub mod grant;
pub mod json;
pub mod order;
pub mod rotation;
pub mod state;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::address::Network;
use crate::timestamp::Timestamp;

/// Characters of a key id and of the other parts of a credential.
pub const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Length of a key id in characters.
pub const KEY_ID_CHARS: usize = 12;
/// The longest owner, in bytes.
pub const OWNER_MAX_BYTES: usize = 256;
/// The most scopes that one key may hold.
pub const SCOPES_MAX: usize = 128;
/// The longest scope, in bytes.
pub const SCOPE_MAX_BYTES: usize = 256;
/// The most networks that one key's allow list may hold.
pub const NETWORKS_MAX: usize = 512;
/// The most labels that one key may carry.
pub const LABELS_MAX: usize = 64;
/// The longest label name or value, in bytes.
pub const LABEL_MAX_BYTES: usize = 256;

/// A key's public identifier: 12 characters of base62.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; KEY_ID_CHARS]); // INVARIANT: every byte is one of `BASE62`.

/// The text is not 12 characters of base62.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a key id; one has 12 letters and digits, for example k7Qp2mXw9LaR")]
pub struct KeyIdError(pub String);

/// Which of an organisation's environments a key belongs to; the second part of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Production.
    Live,
    /// Everything else.
    Test,
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// In normal use.
    Active,
    /// Replaced by a newer key; usable until its grace period ends.
    Deprecated,
    /// Switched off for the time being; the host denies it.
    Suspended,
    /// Dead for good; the host denies it.
    Revoked,
}

/// One version of what the registry knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The public identifier.
    pub id: KeyId,
    /// Counts the changes of this key, from 1.
    pub version: u64,
    /// Who answers for the key: 1 to 256 bytes.
    pub owner: Arc<str>,
    /// The environment that its credential names.
    pub environment: Environment,
    /// Where it is in its life.
    pub lifecycle: Lifecycle,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// From when it may be used; `None`: at once.
    pub not_before: Option<Timestamp>,
    /// When it should have been rotated; `None`: as the rotation policy's settings say.
    pub rotate_by: Option<Timestamp>,
    /// When it ends. An instant at which it is already expired.
    pub expires_at: Option<Timestamp>,
    /// When a deprecated key ends.
    pub grace_until: Option<Timestamp>,
    /// What it grants, in the order given: at most 128, each `resource:action` of at most 256
    /// bytes.
    pub scopes: Arc<[Arc<str>]>,
    /// The reversible mask that narrows it to read-only actions.
    pub read_only: bool,
    /// From where it may be used: `None`, no allow list; empty, from nowhere. At most 512.
    pub allowed_networks: Option<Arc<[Network]>>,
    /// The organisation's own names for things: at most 64, names and values of at most 256 bytes.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

impl KeyRecord {
    /// When it ends by itself: the earlier of its expiry and, once it was replaced, the end of its
    /// grace period; `None`: never.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        let is_replaced = self.lifecycle != Lifecycle::Active;
        let grace = self.grace_until.filter(|_| is_replaced);
        [self.expires_at, grace].into_iter().flatten().min()
    }
}

impl KeyId {
    /// The characters of the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // INVARIANT above: the bytes are ASCII, so this never falls back.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        <[u8; KEY_ID_CHARS]>::try_from(text.as_bytes())
            .ok()
            .filter(|bytes| bytes.iter().all(u8::is_ascii_alphanumeric))
            .map(Self)
            .ok_or_else(|| KeyIdError(crate::shown::shown(text)))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl Environment {
    /// The name in a credential and in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Test => "test",
        }
    }
}

impl Lifecycle {
    /// The name in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
        }
    }
}

#[cfg(test)]
mod tests;
