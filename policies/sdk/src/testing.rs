//! Testing a policy natively: a request made by hand, and the contract that the host enforces.
//!
//! [`FakeRequest`] stands in for the host and remembers what was asked; [`decide`] evaluates a
//! policy and finds every way in which its answer breaks the contract, so that a test which passes
//! here does not meet a `policy.failed` there.

mod contract;
mod fake_request;
mod question;
mod summary;

pub use contract::{VERDICT_MAX_BYTES, check_descriptor, decide, schema_defaults};
pub use fake_request::FakeRequest;
pub use question::Question;
pub use summary::summary;
