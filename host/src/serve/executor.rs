//! Where the requests of an HTTP/2 connection run: where they were read, as those of HTTP/1.1 do.
//!
//! hyper makes a future of each request and hands it to an executor, which makes a task of it that
//! another thread may take. Most checks are answered the first time they are polled, in less time
//! than making and waking a task takes. So each is polled once at once; what has to wait becomes a
//! task, and is polled again by whoever runs that.

use std::pin::Pin;
use std::task::{Context, Waker};

use hyper::rt::Executor;

/// Polls once, then spawns on the tokio runtime that it is called in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PollOnceExecutor;

impl<F> Executor<F> for PollOnceExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut future: Pin<Box<F>> = Box::pin(future);
        // Nobody is woken by this poll: the one as a task comes after it, and counts.
        let mut context = Context::from_waker(Waker::noop());
        if future.as_mut().poll(&mut context).is_pending() {
            let _detached = tokio::spawn(future);
        }
    }
}
