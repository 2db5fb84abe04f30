//! A decision: what the policies' answers come to, and the proof that it was recorded.
//!
//! Everything here is pure: no clock, no file, no wasm. [`combine`] is the rule of
//! `deny overrides, everything is explained`; a [`Decision`] that allows can only be built from the
//! log's [`Receipt`].

pub mod id;
pub mod reasons;
pub mod trace;
pub mod verdict;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::client::Client;
use crate::digest::Digest;
use crate::key::KeyId;
use crate::log::{AppendError, Counted, Receipt};
use crate::timestamp::Timestamp;

pub use id::DecisionId;
use verdict::{Effect, Evaluations, Outcome};

/// What a gateway may do with the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Let it pass.
    Allow,
    /// Refuse it. Also the answer when no decision could safely be reached.
    Deny,
}

/// Whether a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Its verdict counts.
    Enforce,
    /// It is evaluated and recorded, and changes nothing.
    Shadow,
}

/// What the evaluations of a policy set come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combined {
    /// Allow or deny.
    pub permission: Permission,
    /// The reason of the policy that decided, `policy.failed`, or `policy.none-allowed`.
    pub reason: SmolStr,
    /// Which policy of the set decided; `None` when all abstained.
    pub decided_by: Option<usize>,
}

/// Everything about a decision that is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// Its name.
    pub id: DecisionId,
    /// The time that the policies saw.
    pub time: Timestamp,
    /// The caller's own name for the request.
    pub request: Option<Arc<str>>,
    /// The key id that was presented, whether or not there is such a key.
    pub key: Option<KeyId>,
    /// The digest of the key record that it was decided on; `None` when there was none.
    pub key_record: Option<Digest>,
    /// The digest of the policy set's manifest.
    pub policy_set: Digest,
    /// Allow or deny.
    pub permission: Permission,
    /// Why.
    pub reason: SmolStr,
    /// What the host knows beyond the reason and does not tell the caller, for example
    /// `wrong-secret`. A fixed word, never from the request.
    pub detail: Option<Arc<str>>,
    /// One for each policy of the set, in its order; empty when the host's own gate denied.
    pub evaluations: Evaluations,
    /// Where the request came from, within its limits. `None` for one whose host does not say, such
    /// as one from a file. It is recorded, and decides nothing.
    pub client: Option<Arc<Client>>,
}

/// A decision that the log has taken: recorded, or a denial that it has counted (many requests a
/// second whose credential names no key), or `log.unavailable`, which it has not taken. An allow
/// cannot exist without the log's receipt.
#[derive(Debug)]
pub struct Decision {
    record: DecisionRecord,
    receipt: Option<Receipt>,
}

/// The reason of a decision that could not be recorded.
pub const LOG_UNAVAILABLE: &str = "log.unavailable";

impl Decision {
    /// A decision that the log has taken.
    #[must_use]
    pub(crate) const fn recorded(record: DecisionRecord, receipt: Receipt) -> Self {
        Self {
            record,
            receipt: Some(receipt),
        }
    }

    /// A denial that the log has counted instead of recorded. Nothing else can come of it.
    #[must_use]
    pub(crate) fn counted(mut record: DecisionRecord, _counted: Counted) -> Self {
        record.permission = Permission::Deny;
        Self {
            record,
            receipt: None,
        }
    }

    /// What becomes of a decision that the log has not taken: a denial, whatever it was.
    #[must_use]
    pub(crate) fn unrecorded(mut record: DecisionRecord, _error: &AppendError) -> Self {
        record.permission = Permission::Deny;
        record.reason = LOG_UNAVAILABLE.into();
        Self {
            record,
            receipt: None,
        }
    }

    /// Allow or deny.
    #[must_use]
    pub const fn permission(&self) -> Permission {
        self.record.permission
    }

    /// Everything about it.
    #[must_use]
    pub const fn record(&self) -> &DecisionRecord {
        &self.record
    }

    /// The log's answer; `None` only for a denial: with [`LOG_UNAVAILABLE`], which is not in the
    /// log, or with the gate's reason for a request whose credential names no key, which is one of
    /// those that a [`Coalesced`](crate::log::Coalesced) entry counts.
    #[must_use]
    pub const fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }
}

impl Permission {
    /// The name in files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl Mode {
    /// The name in files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// Deny overrides: any denial or failure of an enforcing policy denies with the first one's reason,
/// no allow at all denies with `policy.none-allowed`, otherwise the first allow gives the reason
/// (`policy.allowed` when it gave none).
pub fn combine<'a>(policies: impl Iterator<Item = (Mode, &'a Outcome)>) -> Combined {
    let mut first_allow: Option<Combined> = None;
    for (index, (_, outcome)) in policies
        .enumerate()
        .filter(|(_, (mode, _))| *mode == Mode::Enforce)
    {
        let decided = |permission, reason: Option<&SmolStr>, otherwise: &str| Combined {
            permission,
            reason: reason.map_or_else(|| otherwise.into(), SmolStr::clone),
            decided_by: Some(index),
        };
        match outcome {
            Outcome::Fault(_) => return decided(Permission::Deny, None, "policy.failed"),
            Outcome::Verdict(verdict) => {
                let reason = verdict.reason.as_ref().map(|reason| &reason.code);
                let decided = |permission| decided(permission, reason, "policy.allowed");
                match verdict.effect {
                    Effect::Deny => return decided(Permission::Deny),
                    Effect::Allow if first_allow.is_none() => {
                        first_allow = Some(decided(Permission::Allow));
                    }
                    Effect::Allow | Effect::Abstain => {}
                }
            }
        }
    }
    first_allow.unwrap_or_else(|| Combined {
        permission: Permission::Deny,
        reason: "policy.none-allowed".into(),
        decided_by: None,
    })
}

#[cfg(test)]
mod tests;
