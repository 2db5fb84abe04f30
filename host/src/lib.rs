//! keyward
pub mod address;
pub mod decision;
pub mod digest;
pub mod key;
pub mod log;
pub mod timestamp;
