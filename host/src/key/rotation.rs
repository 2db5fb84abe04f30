//! Rotation: a successor takes over from a key, which stays usable until its grace period ends.

use super::edit::{EditError, next_version};
use super::state::{Change, State};
use super::{KeyId, KeyRecord, Lifecycle};
use crate::timestamp::Timestamp;

/// The longest grace period, in days.
pub const GRACE_MAX_DAYS: u64 = 365;

/// How a key is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How long the old key stays usable, in milliseconds; 0: not at all, as for one that leaked.
    /// Never beyond its expiry.
    pub grace_ms: u64,
    /// The longest life of the successor, in milliseconds. It lives as long as the old key was to
    /// live, and not longer than this.
    pub lifetime_max_ms: u64,
    /// Whether to end the grace period of an earlier rotation that is still open.
    pub force: bool,
}

impl Rotation {
    /// The next version of the old key, and the record of its successor.
    ///
    /// # Errors
    /// [`EditError`] when the key is not one that can be rotated in its state.
    pub fn apply(
        &self,
        (old, state): (&KeyRecord, State),
        successor: KeyId,
        now: Timestamp,
    ) -> Result<(KeyRecord, KeyRecord), EditError> {
        state.check(Change::Rotate)?;
        let grace_until = now.after_ms(self.grace_ms);
        let deprecated = KeyRecord {
            version: next_version(old)?,
            lifecycle: Lifecycle::Deprecated,
            grace_until: Some(
                old.expires_at
                    .map_or(grace_until, |end| end.min(grace_until)),
            ),
            ..old.clone()
        };
        let lifetime = |end: Timestamp| end.ms_since(old.issued_at);
        let lifetime_ms = old.expires_at.map_or(self.lifetime_max_ms, lifetime);
        let expires_at = now.after_ms(lifetime_ms.min(self.lifetime_max_ms));
        let successor = KeyRecord {
            id: successor,
            version: 1,
            lifecycle: Lifecycle::Active,
            issued_at: now,
            not_before: None,
            rotate_by: old
                .rotate_by
                .map(|due| now.after_ms(lifetime(due)).min(expires_at)),
            expires_at: Some(expires_at),
            grace_until: None,
            ..old.clone()
        };
        Ok((deprecated, successor))
    }
}
