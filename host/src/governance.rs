//! Governance: who may do what to keys, and that the log tells of it.
//!
//! ```text
//! principal ─► authorize ─► registry.change ─► log.append_key_event
//!  (who)       (role and     (key, version and    (durable; what a crash has left
//!               certification) event, together)    behind is appended by the next)
//! ```

#[cfg(feature = "sqlite")]
pub mod follow;
pub mod preflight;
pub mod principal;
#[cfg(feature = "sqlite")]
pub mod recorded;
