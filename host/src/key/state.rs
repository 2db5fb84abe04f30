//! The states of a key, and which change is legal in which.
//!
//! ```text
//! pending ─► active ─► deprecated ─► superseded
//!    │          │           │
//!    └──────────┴───────────┴──────► expired, revoked        beside the first three: suspended
//! ```
//! A state is what a key's record says at a time; `expired` and `superseded` come by themselves.
//! They and `revoked` are terminal: no change of such a key is legal.

use super::{KeyRecord, Lifecycle};
use crate::timestamp::Timestamp;

/// Where a key is in its life, at a time. In NIST SP 800-57 these are pre-activation, active,
/// active with a successor, suspended, and three kinds of deactivated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not used yet: the successor of another key, or one whose time has not come.
    Pending,
    /// In normal use.
    Active,
    /// Replaced by a successor, and usable until its grace period ends.
    Deprecated,
    /// Switched off for the time being.
    Suspended,
    /// Its time is over. Terminal.
    Expired,
    /// Its grace period is over. Terminal.
    Superseded,
    /// Ended by order. Terminal.
    Revoked,
}

/// What can be done to a key that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It was used for the first time.
    Activate,
    /// A successor takes over, and it is deprecated.
    Rotate,
    /// A successor that nobody has used gets another secret.
    ReplaceSecret,
    /// Switched off.
    Suspend,
    /// Switched on again.
    Resume,
    /// Under the read-only mask, or out of it.
    Mask,
    /// It ends earlier.
    Shorten,
    /// Its grace period ends earlier.
    EndGrace,
    /// Other scopes, or other networks.
    Edit,
    /// Ended for good.
    Revoke,
}

/// A change that is not legal in the state that the key is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is {}, and {}", .state.as_str(), refusal(*.state))]
pub struct IllegalChange {
    /// The key's state.
    pub state: State,
    /// What was to be done.
    pub change: Change,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Active,
        Self::Deprecated,
        Self::Suspended,
        Self::Expired,
        Self::Superseded,
        Self::Revoked,
    ];

    /// The state of a key. `is_unused`: it is a successor that nobody has used yet.
    #[must_use]
    pub fn of(record: &KeyRecord, is_unused: bool, now: Timestamp) -> Self {
        let is_over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
        let grace_first = match (record.grace_until, record.expires_at) {
            (Some(grace), Some(end)) => grace < end,
            (grace, _) => grace.is_some(),
        };
        match record.lifecycle {
            Lifecycle::Revoked => Self::Revoked,
            _ if grace_first && is_over(record.grace_until) => Self::Superseded,
            _ if is_over(record.expires_at) => Self::Expired,
            Lifecycle::Suspended => Self::Suspended,
            Lifecycle::Deprecated => Self::Deprecated,
            Lifecycle::Active if is_unused => Self::Pending,
            Lifecycle::Active if record.not_before.is_some_and(|start| now < start) => {
                Self::Pending
            }
            Lifecycle::Active => Self::Active,
        }
    }

    /// Whether nothing can be done to it any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Expired | Self::Superseded | Self::Revoked)
    }

    /// Whether the change is legal: the one table of it.
    ///
    /// # Errors
    /// [`IllegalChange`] when it is not.
    pub fn check(self, change: Change) -> Result<(), IllegalChange> {
        use State::{Active, Deprecated, Pending, Suspended};
        let legal: &[Self] = match change {
            Change::Activate | Change::ReplaceSecret => &[Pending],
            Change::Rotate => &[Active],
            Change::Suspend => &[Pending, Active, Deprecated],
            Change::Resume => &[Suspended],
            Change::Mask | Change::Shorten | Change::Edit | Change::Revoke => {
                &[Pending, Active, Deprecated, Suspended]
            }
            Change::EndGrace => &[Deprecated],
        };
        if legal.contains(&self) {
            Ok(())
        } else {
            Err(IllegalChange {
                state: self,
                change,
            })
        }
    }

    /// The name in output and files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Deprecated => "deprecated",
            Self::Suspended => "suspended",
            Self::Expired => "expired",
            Self::Superseded => "superseded",
            Self::Revoked => "revoked",
        }
    }
}

/// What can be done instead.
const fn refusal(state: State) -> &'static str {
    match state {
        State::Expired | State::Superseded | State::Revoked => "that is final; issue another key",
        State::Suspended => "that is not done to a suspended key; resume it first, or revoke it",
        State::Pending => "that is not done to a key that nobody has used yet",
        State::Active => "that is not done to an active key",
        State::Deprecated => "that is not done to a key that has a successor",
    }
}
