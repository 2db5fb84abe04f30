//! What an auditor does with a log folder alone: no running host, no registry, no trust in either.

pub mod against;
pub mod explain;
pub mod prove;
pub mod replay;
pub mod scopes;
mod sets;
pub mod usage;
pub mod uses;
pub mod verify;
pub mod what_if;
mod window;

pub use sets::{AuditError, find_decision};
pub use window::{Coverage, Shortfall};
