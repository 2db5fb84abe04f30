//! The registry: which keys there are.
//!
//! [`Registry`] is what the hot path asks; it is answered from memory. [`gate`] is the host's own
//! check before any policy runs. Where keys are kept is for `sqlite` and its like; a gateway that
//! embeds keyward may implement the trait over a store of its own.

pub mod lease;
pub mod memory;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod watch;

use std::fmt;
use std::sync::Arc;

use crate::credential::{Credential, Presented};
use crate::digest::Digest;
use crate::key::json::CheckedKey;
use crate::key::{KeyId, KeyRecord, Lifecycle};
use crate::request::RequestError;
use watch::KeyWatch;

/// Keys by id. Called once for every request that names a key, from any thread.
pub trait Registry: std::fmt::Debug + Send + Sync {
    /// The key as it is known now, whatever its lifecycle; `None` when there is no such key. It
    /// must not wait for a disk or a network: what it cannot answer at once it does not know.
    fn lookup(&self, id: &KeyId) -> Option<Arc<KeyEntry>>;

    /// The key was used, and that was allowed and recorded. Called on the hot path.
    fn note_use(&self, _id: &KeyId) {}

    /// A handle that is ready when the key ends; `None`: this registry does not tell.
    fn watch(&self, _id: &KeyId) -> Option<KeyWatch> {
        None
    }

    /// Whether what it knows is too old to decide on. Called on the hot path.
    fn is_stale(&self) -> bool {
        false
    }
}

impl<R: Registry> Registry for Arc<R> {
    fn lookup(&self, id: &KeyId) -> Option<Arc<KeyEntry>> {
        R::lookup(self, id)
    }

    fn note_use(&self, id: &KeyId) {
        R::note_use(self, id);
    }

    fn watch(&self, id: &KeyId) -> Option<KeyWatch> {
        R::watch(self, id)
    }

    fn is_stale(&self) -> bool {
        R::is_stale(self)
    }
}

/// A key as the registry holds it: its record, the record's digest and the SHA-256 of its secret.
pub struct KeyEntry {
    // INVARIANT: `digest` is that of `record`'s canonical JSON.
    record: Arc<KeyRecord>,
    digest: Digest,
    secret: Option<Digest>,
}

/// A denial by the host's own gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason code, which the caller may see: `key.missing` and so on.
    pub reason: &'static str,
    /// What the host knows beyond the reason, for the record only: `unknown-id`, `wrong-secret`,
    /// `wrong-environment` or `no-secret`.
    pub detail: Option<&'static str>,
    /// The key id that was presented, whether or not there is such a key.
    pub key: Option<KeyId>,
}

/// The reason of a denial because the registry is too old.
pub const STALE: &str = "registry.stale";
/// The detail of a refusal for an id that no key has.
const UNKNOWN_ID: &str = "unknown-id";

/// The host's own gate, before any policy and whatever the policies say. The life of a key is
/// revealed only to whoever presents its secret.
///
/// # Errors
/// [`Refusal`]: no credential, not exactly one, malformed, a registry that is too old, unknown,
/// revoked or suspended, the first of them in this order.
pub fn gate(presented: &Presented, registry: &dyn Registry) -> Result<Arc<KeyEntry>, Refusal> {
    let named = match presented {
        Presented::None | Presented::Ambiguous | Presented::Malformed => None,
        Presented::Credential(credential) => Some(credential.key_id()),
        Presented::KeyId(text) => text.parse().ok(),
    };
    if named.is_some() && registry.is_stale() {
        return Err(Refusal {
            key: named,
            ..Refusal::new(STALE)
        });
    }
    let entry = match presented {
        Presented::None => return Err(Refusal::new("key.missing")),
        Presented::Ambiguous => return Err(Refusal::new("key.ambiguous")),
        Presented::Malformed => return Err(Refusal::new("key.malformed")),
        Presented::Credential(credential) => authenticate(credential, registry)?,
        Presented::KeyId(_) => {
            let entry = named.and_then(|id| registry.lookup(&id));
            entry.ok_or(Refusal {
                // What is not even an id could be anything, a secret too, and is not kept.
                key: named,
                reason: "key.unknown",
                detail: Some(UNKNOWN_ID),
            })?
        }
    };
    let refused = |reason| {
        let key = Some(entry.record.id);
        Err(Refusal {
            key,
            ..Refusal::new(reason)
        })
    };
    match entry.record.lifecycle {
        Lifecycle::Revoked => refused("key.revoked"),
        Lifecycle::Suspended => refused("key.suspended"),
        Lifecycle::Active | Lifecycle::Deprecated => Ok(entry),
    }
}

/// The key of a credential, if its secret and environment are the key's own.
fn authenticate(
    credential: &Credential,
    registry: &dyn Registry,
) -> Result<Arc<KeyEntry>, Refusal> {
    let id = credential.key_id();
    let refused = |detail| Err(Refusal::unknown(detail, id));
    let Some(entry) = registry.lookup(&id) else {
        return refused(UNKNOWN_ID);
    };
    match (entry.secret_matches(credential), &entry.secret) {
        (false, None) => refused("no-secret"),
        (false, Some(_)) => refused("wrong-secret"),
        (true, _) if entry.record.environment != credential.environment() => {
            refused("wrong-environment")
        }
        (true, _) => Ok(entry),
    }
}

impl KeyEntry {
    /// The entry of a key.
    #[must_use]
    pub fn new(key: CheckedKey) -> Self {
        let (record, secret) = key.into_parts();
        let digest = record.digest();
        Self {
            record: Arc::new(record),
            digest,
            secret,
        }
    }

    /// What the registry knows of the key.
    #[must_use]
    pub const fn record(&self) -> &Arc<KeyRecord> {
        &self.record
    }

    /// The digest of the record's canonical JSON. The JSON itself is made anew when it is asked
    /// for ([`KeyRecord::to_canonical_json`]): once for each version of a key, by the log.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Whether the credential's secret is the key's, in time that does not depend on either. A key
    /// whose secret is not known matches none, after the same work.
    #[must_use]
    pub fn secret_matches(&self, credential: &Credential) -> bool {
        const NO_SECRET: Digest = Digest::from_bytes([0; 32]);
        let same = credential.matches(self.secret.as_ref().unwrap_or(&NO_SECRET));
        same & self.secret.is_some()
    }
}

impl Refusal {
    /// A refusal of what is no request.
    pub(crate) const fn malformed(problem: &'static str) -> Self {
        Self {
            reason: RequestError::REASON,
            detail: Some(problem),
            key: None,
        }
    }

    /// A refusal for what was presented, not for a key.
    const fn new(reason: &'static str) -> Self {
        Self {
            reason,
            detail: None,
            key: None,
        }
    }

    /// Whether what was presented names no key that there is. Whoever can send a request can send
    /// any number of such ones, and they tell nothing of any key. What was presented with the id of
    /// a key, be it with a wrong secret, is evidence about that key and not of this kind.
    #[must_use]
    pub fn names_no_key(&self) -> bool {
        self.key.is_none() || self.detail == Some(UNKNOWN_ID)
    }

    /// No such key, as far as the caller is told.
    const fn unknown(detail: &'static str, key: KeyId) -> Self {
        Self {
            reason: "key.unknown",
            detail: Some(detail),
            key: Some(key),
        }
    }
}

impl fmt::Debug for KeyEntry {
    /// Shows the record, and nothing of the secret but whether it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEntry")
            .field("record", &self.record)
            .field("digest", &self.digest)
            .field("has_secret", &self.secret.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests;
