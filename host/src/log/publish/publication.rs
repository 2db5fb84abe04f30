//! The thread that publishes, and what it and its log tell each other.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::super::retention::SIGNED_WAIT_MAX_MS;
use super::Publisher;

/// How long closing waits for the last checkpoint.
const CLOSE_WAIT_MAX_MS: u64 = 10_000;

/// How far a log is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Entries below this index are in the last checkpoint.
    pub size: u64,
    /// Why the last attempt failed, if it did; it is repeated.
    pub problem: Option<String>,
    /// Which witness has not cosigned the last checkpoint, and why.
    pub unwitnessed: Option<String>,
}

/// What the publishing thread and its log tell each other.
#[derive(Debug, Default)]
pub(in crate::log) struct Publication {
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Gate {
    is_closing: bool,
    /// Someone waits for a checkpoint.
    is_hurried: bool,
    has_ended: bool,
    published: Published,
}

impl Publication {
    /// Publishes what becomes durable until the log is closed, and then once more. `durable` says
    /// how far that is, or `None` when nobody should rely on the disk any more; `poison` is called
    /// with a failure that must not be tried again.
    pub(in crate::log) fn run(
        &self,
        mut publisher: Publisher,
        durable: impl Fn() -> Option<u64>,
        poison: impl Fn(&str),
    ) {
        let interval = Duration::from_millis(publisher.publishing.interval_ms);
        self.tell(&publisher, None);
        loop {
            let is_last = self.wait(interval);
            let mut failed = None;
            // What becomes durable meanwhile is the next checkpoint's.
            let end = durable();
            while let Some(end) = end.filter(|end| publisher.published() < *end) {
                let Err(error) = publisher.step(end) else {
                    continue;
                };
                if !error.is_passing() {
                    poison(&format!("it could not be published: {error}"));
                }
                failed = Some(error.to_string());
                break;
            }
            self.tell(&publisher, failed);
            if is_last {
                break;
            }
        }
        self.gate.lock().has_ended = true;
        self.changed.notify_all();
    }

    /// How far the log is published.
    pub(in crate::log) fn published(&self) -> Published {
        self.gate.lock().published.clone()
    }

    /// Returns when a checkpoint signs the entry at an index, which is durable.
    ///
    /// # Errors
    /// Why there is none in time.
    pub(in crate::log) fn wait_signed(&self, index: u64) -> Result<(), String> {
        let mut gate = self.gate.lock();
        gate.is_hurried = true;
        self.changed.notify_all();
        let is_unsigned = |gate: &mut Gate| gate.published.size <= index && !gate.has_ended;
        let limit = Duration::from_millis(SIGNED_WAIT_MAX_MS);
        self.changed.wait_while_for(&mut gate, is_unsigned, limit);
        if gate.published.size > index {
            return Ok(());
        }
        let problem = gate.published.problem.clone();
        Err(problem.unwrap_or_else(|| "no checkpoint was made in time".to_owned()))
    }

    /// Asks for the last checkpoint and waits for it. `false`: it takes too long.
    pub(in crate::log) fn close(&self) -> bool {
        let mut gate = self.gate.lock();
        gate.is_closing = true;
        self.changed.notify_all();
        let limit = Duration::from_millis(CLOSE_WAIT_MAX_MS);
        self.changed
            .wait_while_for(&mut gate, |gate| !gate.has_ended, limit);
        gate.has_ended
    }

    /// Waits for the next attempt; true when it is the last one.
    fn wait(&self, interval: Duration) -> bool {
        let mut gate = self.gate.lock();
        self.changed.wait_while_for(
            &mut gate,
            |gate| !gate.is_closing && !gate.is_hurried,
            interval,
        );
        gate.is_hurried = false;
        gate.is_closing
    }

    fn tell(&self, publisher: &Publisher, problem: Option<String>) {
        self.gate.lock().published = Published {
            size: publisher.published(),
            problem,
            unwitnessed: publisher.unwitnessed.clone(),
        };
        self.changed.notify_all();
    }
}
