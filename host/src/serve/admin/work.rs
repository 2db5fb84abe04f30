//! Work on the registry and the log: on threads that may wait for a disk, one change and one
//! reading of the log at a time, with a bounded queue and within a deadline.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::access::Asker;
use super::problem::Problem;
use super::{KeySource, Shared};
use crate::governance::keeper::{Evidence, Intent, Keeper};
use crate::registry::sqlite::SqliteRegistry;

/// How long work may take, with its place in the queue, in seconds.
const WORK_MAX_SECONDS: u64 = 10;
/// How many requests wait or are worked on at once.
const QUEUE_MAX: usize = 32;

/// The queues.
pub(super) struct Work {
    changes: Queue,
    readings: Queue,
}

struct Queue {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Default for Work {
    fn default() -> Self {
        let queue = || Queue {
            places: Arc::new(Semaphore::new(QUEUE_MAX)),
            turn: Arc::new(Semaphore::new(1)),
        };
        Self {
            changes: queue(),
            readings: queue(),
        }
    }
}

impl Queue {
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let busy = || Problem::unavailable("busy", "Too much is being done at once; try again.");
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| busy())?;
        let turn = Arc::clone(&self.turn);
        let work = async move {
            let turn = turn.acquire_owned().await.map_err(|_| busy())?;
            let done = spawn_blocking(move || {
                let done = job();
                drop((turn, place));
                done
            });
            done.await.map_err(|_| busy())?
        };
        let limit = Duration::from_secs(WORK_MAX_SECONDS);
        let late = || {
            let detail = "It has taken too long, and may be done yet: look before you try again.";
            Problem::unavailable("late", detail)
        };
        timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
    }
}

impl Shared {
    /// Works on the registry once the asker may do what is intended.
    pub(super) async fn keep<T: Send + 'static>(
        &self,
        asker: Asker,
        intent: Intent,
        job: impl FnOnce(&mut Keeper, &dyn Evidence) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        self.open(asker, Some(intent), job).await
    }

    /// Works on the registry, whoever asks; with an intent only if they may.
    pub(super) async fn open<T: Send + 'static>(
        &self,
        asker: Asker,
        intent: Option<Intent>,
        job: impl FnOnce(&mut Keeper, &dyn Evidence) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let source = Arc::clone(&self.source);
        let work = move || {
            let Some(path) = source.registry() else {
                return Err(Problem::declared());
            };
            let rules = source.rules();
            let is_restriction = intent.is_some_and(|it| it.action.is_restriction());
            let registry = if is_restriction {
                SqliteRegistry::open_to_restrict(path, rules.options)
            } else {
                SqliteRegistry::open_existing(path, rules.options)
            };
            let mut keeper = Keeper::new(registry?, rules, (asker.who, asker.now));
            if let Some(intent) = intent {
                keeper.authorize(intent)?;
            }
            let evidence = source.evidence(&asker.authorizer);
            job(&mut keeper, &*evidence)
        };
        self.work.changes.run(work).await
    }

    /// Reads the log.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        job: impl FnOnce(&dyn KeySource) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let source = Arc::clone(&self.source);
        self.work.readings.run(move || job(&*source)).await
    }
}
