//! Governance: who may do what to keys, and that the log tells of it.
//!
//! ```text
//! principal ─► authorize ─► registry.change ─► log.append_key_event
//!  (who)       (role and     (key, version and    (durable; what a crash has left
//!               certification) event, together)    behind is appended by the next)
//! ```
//! And what it tells others, signed by a key of its own: that a key was revoked
//! ([`certificate`]), and that nothing was allowed with it since ([`statement`]).

pub mod certificate;
mod codec;
pub mod control;
#[cfg(feature = "sqlite")]
pub mod follow;
pub mod identity;
pub mod import;
#[cfg(feature = "sqlite")]
pub mod keeper;
#[cfg(feature = "sqlite")]
pub mod lifecycle;
pub mod preflight;
pub mod principal;
#[cfg(feature = "sqlite")]
pub mod recorded;
pub mod rules;
mod sign1;
pub mod statement;

pub use sign1::{
    GOVERNANCE_KEYS_MAX, GOVERNANCE_KEYS_MAX_BYTES, GovernanceKeysError, Sign1Error,
    parse_governance_keys,
};
