//! A revocation order: what somebody asks for and somebody else has to confirm. The confirmation is
//! bound to the order's digest, so that nothing else can be confirmed by it.

use serde::Serialize;

use super::KeyId;
use crate::digest::Digest;
use crate::timestamp::Timestamp;

/// How long an order can be confirmed unless something else is said, in hours.
pub const ORDER_DEFAULT_HOURS: u64 = 24;
/// The longest time that an order can be confirmed, in hours.
pub const ORDER_MAX_HOURS: u64 = 30 * 24;

/// An order to revoke a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevocationOrder {
    // In the order of their names, as RFC 8785 has it.
    /// When it was given.
    pub at: Timestamp,
    /// From when on it can no longer be confirmed.
    pub expires_at: Timestamp,
    /// Which key.
    pub key: KeyId,
    /// Why.
    pub reason: String,
    /// By whom.
    pub requester: String,
    /// As which user of the operating system; `None`: not known.
    pub requester_user: Option<String>,
}

impl RevocationOrder {
    /// The SHA-256 of its canonical JSON (RFC 8785).
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Texts and times only: that cannot fail.
        Digest::of(serde_json::to_string(self).unwrap_or_default().as_bytes())
    }
}
