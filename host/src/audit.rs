//! What an auditor does with a log folder alone: no running host, no registry, no trust in either.

pub mod explain;
pub mod prove;
pub mod replay;
mod sets;
pub mod uses;
pub mod verify;

pub use sets::{AuditError, find_decision};
