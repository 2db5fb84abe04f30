//! Deciding within a deadline, on threads that also serve connections.
//!
//! A decision takes microseconds, less than handing it to another thread. So it is made where the
//! request was read, by as many threads at once as the machine has cores: one thread more than that
//! is always free. What finds none of these places waits for a thread of its own, and is answered
//! without a decision when the deadline has passed, as when the disk hangs. In mode `durable` a
//! decision waits for the disk, and always has a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::authorizer::Authorizer;
use crate::decision::Decision;
use crate::registry::KeyEntry;
use crate::request::AccessRequest;

/// How many decisions are made on threads of their own at once.
pub(super) const THREADS_MAX: usize = 256;

/// How often a place is looked for where a request was read, before it gets a thread of its own:
/// waking one costs more than the decision.
const TRIES_MAX: u32 = 16;

/// What was decided, and about which key.
pub(super) type Decided = (Decision, Option<Arc<KeyEntry>>);

/// There was no decision within the deadline. One may be recorded later, and is not an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late;

/// Makes decisions.
#[derive(Debug)]
pub(super) struct Decider {
    authorizer: Arc<Authorizer>,
    deadline: Duration,
    /// Places left where the request was read.
    here: AtomicUsize,
    threads: Arc<Semaphore>,
}

impl Decider {
    /// A decider with so many places where requests are read.
    pub(super) fn new(authorizer: Arc<Authorizer>, deadline: Duration, here: usize) -> Self {
        Self {
            authorizer,
            deadline,
            here: AtomicUsize::new(here),
            threads: Arc::new(Semaphore::new(THREADS_MAX)),
        }
    }

    /// Who decides.
    pub(super) const fn authorizer(&self) -> &Arc<Authorizer> {
        &self.authorizer
    }

    /// Decides.
    pub(super) async fn decide(&self, request: AccessRequest) -> Result<Decided, Late> {
        for _ in 0..TRIES_MAX {
            if let Some(_place) = Place::take(&self.here) {
                return Ok(self.authorizer.decide_with_key(&request));
            }
            // Most likely whoever has the place was interrupted, and goes on now.
            thread::yield_now();
        }
        let decided = Box::pin(timeout(self.deadline, self.decide_apart(request))).await;
        decided.unwrap_or(Err(Late))
    }

    async fn decide_apart(&self, request: AccessRequest) -> Result<Decided, Late> {
        let threads = Arc::clone(&self.threads);
        let turn = threads.acquire_owned().await.map_err(|_| Late)?;
        let authorizer = Arc::clone(&self.authorizer);
        let decided = spawn_blocking(move || {
            let decided = authorizer.decide_with_key(&request);
            drop(turn);
            decided
        });
        decided.await.map_err(|_| Late)
    }
}

/// One of the places, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(places: &'a AtomicUsize) -> Option<Self> {
        let take = |left: usize| left.checked_sub(1);
        let taken = places.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.ok().map(|_| Self(places))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
