//! The integration tests: the public API and the real process, by topic.

mod command;
mod dist;
mod durable;
mod golden;
mod hostile;
mod native;
mod quickstart;
mod same;
mod semantics;
mod tidy;
mod util;
