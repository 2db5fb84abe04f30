//! The integration tests: the public API and the real process, by topic.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

mod admin;
mod admin_refusals;
mod certificate;
mod command;
mod connections;
mod dist;
mod docs;
mod doctor;
mod durable;
mod embedding;
mod events;
mod flood;
mod golden;
mod grants;
mod hostile;
mod kills;
mod lifecycle;
mod misuse;
mod native;
mod no_allow;
mod protocols;
mod quickstart;
mod rate;
mod registry;
mod replay;
mod retention;
mod reuse;
mod same;
mod scopes;
mod secrets;
mod semantics;
mod serve;
mod tidy;
mod transparency;
mod util;
mod walkthrough;
