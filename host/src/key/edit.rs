//! What can be done to a key, as a pure function from one version of its record to the next.

use std::sync::Arc;

use super::event::KeyEventKind;
use super::grant::{Implications, is_grant};
use super::state::{Change, IllegalChange, State};
use super::{KeyRecord, Lifecycle, NETWORKS_MAX, SCOPES_MAX};
use crate::address::Network;
use crate::timestamp::Timestamp;

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It was used for the first time.
    Activate,
    /// Switched off for the time being.
    Suspend,
    /// Switched on again.
    Resume,
    /// Under the read-only mask, or out of it.
    Mask(bool),
    /// Ends at this time, which is earlier.
    Shorten(Timestamp),
    /// Its grace period ends at this time, which is earlier.
    EndGrace(Timestamp),
    /// Grants this and nothing else.
    Scopes {
        /// At least one.
        grants: Vec<String>,
        /// What decides whether that is more than before.
        implications: Implications,
    },
    /// May be used from there; `None`: no allow list.
    Networks(Option<Vec<Network>>),
    /// Ended for good.
    Revoke,
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Not in the state that the key is in.
    #[error(transparent)]
    Illegal(#[from] IllegalChange),
    /// A key never lives longer than was said when it was issued.
    #[error(
        "its expiry is locked: it ends at {expires_at}, and can end earlier, never later; for a longer \
         life issue another key"
    )]
    ExpiryLocked {
        /// When it ends.
        expires_at: Timestamp,
    },
    /// A grace period does not become longer.
    #[error("its grace period ends at {grace_until}, and can end earlier, never later")]
    GraceLocked {
        /// When it ends.
        grace_until: Timestamp,
    },
    /// It would end before it was issued.
    #[error("it was issued at {issued_at}, and has to end after that")]
    BeforeIssue {
        /// When it was issued.
        issued_at: Timestamp,
    },
    /// Nothing would change.
    #[error("it is so already; nothing was changed")]
    Nothing,
    /// A text that is no scope.
    #[error("`{0}` is not a scope; write `resource:action`, for example `inventory:read`")]
    Scope(String),
    /// No scope, or too many.
    #[error("a key has 1 to {SCOPES_MAX} scopes")]
    Scopes,
    /// Too many networks.
    #[error("a key has at most {NETWORKS_MAX} networks")]
    Networks,
    /// The last version that there is.
    #[error("it has no more versions; issue another key")]
    Version,
}

impl Edit {
    /// Which change it is, for the table of legal ones.
    #[must_use]
    pub const fn change(&self) -> Change {
        match self {
            Self::Activate => Change::Activate,
            Self::Suspend => Change::Suspend,
            Self::Resume => Change::Resume,
            Self::Mask(_) => Change::Mask,
            Self::Shorten(_) => Change::Shorten,
            Self::EndGrace(_) => Change::EndGrace,
            Self::Scopes { .. } | Self::Networks(_) => Change::Edit,
            Self::Revoke => Change::Revoke,
        }
    }

    /// The next version of a key in a state, and what the event of the change says.
    ///
    /// # Errors
    /// [`EditError`] when the change is not legal, or would not be one.
    pub fn apply(
        &self,
        record: &KeyRecord,
        state: State,
    ) -> Result<(KeyRecord, KeyEventKind), EditError> {
        state.check(self.change())?;
        let mut next = record.clone();
        let kind = match self {
            Self::Activate => KeyEventKind::Activated,
            Self::Suspend => {
                next.lifecycle = Lifecycle::Suspended;
                KeyEventKind::Suspended
            }
            Self::Resume => {
                next.lifecycle = resumed(record);
                KeyEventKind::Resumed
            }
            Self::Mask(on) => {
                next.read_only = *on;
                if *on {
                    KeyEventKind::Masked
                } else {
                    KeyEventKind::Unmasked
                }
            }
            Self::Shorten(end) => {
                shorten(&mut next, *end)?;
                KeyEventKind::ExpiryShortened
            }
            Self::EndGrace(end) => {
                end_grace(&mut next, *end)?;
                KeyEventKind::GraceEnded
            }
            Self::Scopes {
                grants,
                implications,
            } => grant(&mut next, grants, implications)?,
            Self::Networks(networks) => {
                if networks.as_ref().is_some_and(|it| it.len() > NETWORKS_MAX) {
                    return Err(EditError::Networks);
                }
                next.allowed_networks = networks.as_deref().map(Into::into);
                KeyEventKind::NetworksChanged
            }
            Self::Revoke => {
                next.lifecycle = Lifecycle::Revoked;
                KeyEventKind::Revoked
            }
        };
        if next == *record && *self != Self::Activate {
            return Err(EditError::Nothing);
        }
        next.version = next_version(record)?;
        Ok((next, kind))
    }
}

/// The version after a record's.
pub(crate) fn next_version(record: &KeyRecord) -> Result<u64, EditError> {
    let next = record.version.checked_add(1);
    next.filter(|next| *next <= super::json::VERSION_MAX)
        .ok_or(EditError::Version)
}

/// What a suspended key was: only one with a successor has a grace period.
const fn resumed(record: &KeyRecord) -> Lifecycle {
    match record.grace_until {
        Some(_) => Lifecycle::Deprecated,
        None => Lifecycle::Active,
    }
}

fn shorten(next: &mut KeyRecord, end: Timestamp) -> Result<(), EditError> {
    if let Some(expires_at) = next.expires_at.filter(|locked| end > *locked) {
        return Err(EditError::ExpiryLocked { expires_at });
    }
    if end <= next.issued_at {
        let issued_at = next.issued_at;
        return Err(EditError::BeforeIssue { issued_at });
    }
    next.expires_at = Some(end);
    next.grace_until = next.grace_until.map(|grace| grace.min(end));
    Ok(())
}

fn end_grace(next: &mut KeyRecord, end: Timestamp) -> Result<(), EditError> {
    let locked = next.grace_until.or(next.expires_at);
    if let Some(grace_until) = locked.filter(|locked| end > *locked) {
        return Err(EditError::GraceLocked { grace_until });
    }
    next.grace_until = Some(end);
    Ok(())
}

fn grant(
    next: &mut KeyRecord,
    scopes: &[String],
    implications: &Implications,
) -> Result<KeyEventKind, EditError> {
    if !(1..=SCOPES_MAX).contains(&scopes.len()) {
        return Err(EditError::Scopes);
    }
    if let Some(bad) = scopes.iter().find(|scope| !is_grant(scope)) {
        return Err(EditError::Scope(crate::shown::shown(bad)));
    }
    let is_narrower = implications.are_covered(scopes.iter().map(String::as_str), &next.scopes);
    next.scopes = scopes.iter().map(|it| Arc::from(it.as_str())).collect();
    Ok(if is_narrower {
        KeyEventKind::ScopesNarrowed
    } else {
        KeyEventKind::ScopesWidened
    })
}
