//! The places of a service: who is connected, for how long nothing has come of it, and who makes
//! room for the next.
//!
//! ```text
//! silent from the start ──────────────────► ended after 75 s
//! a head has begun (HTTP/1.1), not whole ─► ended after 10 s
//! an answer is not taken ─────────────────► ended after 30 s without a byte of it
//! several answers are not taken (HTTP/2) ──► ended after 10 s without one of them; 1 s where there
//!                                           are many such answers
//! all places are taken ───────────────────► whoever has never asked, the oldest first, then
//!                                           whoever has not asked for the longest time
//! ```
//!
//! Whoever waits for an answer keeps the place. Time is counted in ticks of a second, so that what
//! happens on a connection costs a store and no look at a clock.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::AbortHandle;
use tokio::time::interval;

/// How long a connection may be without a whole request, in seconds.
const SILENT_MAX_SECONDS: u64 = 75;
/// How long a head of HTTP/1.1 may take from its first byte on, in seconds.
const HEAD_MAX_SECONDS: u64 = 10;
/// How long an answer may not be taken, in seconds.
const STALLED_MAX_SECONDS: u64 = 30;
/// How long several answers may not be taken, in seconds. Over HTTP/2 they are not even written.
const UNSENT_MAX_SECONDS: u64 = 10;
/// The same where half of all that there may be are not taken.
const UNSENT_CROWDED_MAX_SECONDS: u64 = 1;
/// How many answers of one connection that are not taken are nothing to look at.
const UNSENT_FREE: usize = 8;
/// How many answers of all connections may wait to be taken, each of some KiB with its stream.
const UNSENT_MAX: usize = 65_536;
/// How many make room at once when all places are taken, of each sixteen at most one: finding them
/// looks at every place.
const EVICTED_AT_ONCE: usize = 64;
/// What connections of HTTP/2 begin with; those of HTTP/1.1 begin with a method.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Stands in [`Connected::waiting`] for a connection that is being ended: nothing begins on it.
const ENDING: usize = 1 << (usize::BITS - 1);

/// All places of a service.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    /// The second that it is; zero is never.
    tick: Arc<AtomicU64>,
    /// How many answers are not taken yet.
    unsent: Arc<AtomicUsize>,
    taken: Mutex<Taken>,
    /// Counts those who made room.
    evicted: Counter,
}

#[derive(Debug, Default)]
struct Taken {
    next_id: u64,
    /// How many more are refused without looking who could make room: nobody could, just now.
    barren: usize,
    by_id: BTreeMap<u64, Arc<Connected>>,
}

/// Somebody who is connected.
#[derive(Debug)]
pub(super) struct Connected {
    tick: Arc<AtomicU64>,
    /// When the connection was made, or a request on it was last answered.
    since: AtomicU64,
    has_asked: AtomicBool,
    /// How many requests wait for their answer.
    waiting: AtomicUsize,
    is_http2: AtomicBool,
    /// When a head began that is not whole yet; zero: there is none.
    head_since: AtomicU64,
    /// Answers that are not taken yet, of this connection and of all.
    unsent: AtomicUsize,
    all_unsent: Arc<AtomicUsize>,
    /// When the last answer was taken.
    taken_at: AtomicU64,
    /// Since when nothing of an answer was taken; zero: there is nothing to take.
    stalled_since: AtomicU64,
    task: OnceLock<AbortHandle>,
    has_ended: AtomicBool,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    connected: Arc<Connected>,
    places: Arc<Places>,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Connected>);

/// An answer that is not taken yet.
#[derive(Debug)]
pub(super) struct Unsent(Arc<Connected>);

/// What a connection reads and writes, seen by its place.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    has_begun: bool,
    connected: Arc<Connected>,
}

impl Places {
    /// So many places, none of them taken.
    pub(super) fn new(most: usize, evicted: Counter) -> Arc<Self> {
        Arc::new(Self {
            most,
            tick: Arc::new(AtomicU64::new(1)),
            unsent: Arc::default(),
            taken: Mutex::default(),
            evicted,
        })
    }

    /// A place; whoever is of the least use makes room. `None`: everybody waits for an answer.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = self.taken.lock();
        if taken.by_id.len() >= self.most {
            let at_once = (self.most / 16).clamp(1, EVICTED_AT_ONCE);
            self.evicted.inc_by(taken.make_room(at_once));
        }
        if taken.by_id.len() >= self.most {
            return None;
        }
        let connected = Arc::new(Connected::new(
            Arc::clone(&self.tick),
            Arc::clone(&self.unsent),
        ));
        let id = taken.next_id;
        taken.next_id = id.wrapping_add(1);
        taken.by_id.insert(id, Arc::clone(&connected));
        drop(taken);
        Some(Place {
            id,
            connected,
            places: Arc::clone(self),
        })
    }

    /// Counts the seconds, and ends what takes too long; for ever.
    pub(super) async fn tidy(self: Arc<Self>) {
        let mut second = interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            self.pass();
        }
    }

    /// One second later.
    fn pass(&self) {
        let now = self.tick.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let mut taken = self.taken.lock();
        let is_crowded = self.unsent.load(Ordering::Relaxed) > UNSENT_MAX / 2;
        taken.by_id.retain(|_, connected| {
            let is_overdue = connected.is_overdue(now, is_crowded);
            if is_overdue {
                connected.end();
            }
            !is_overdue
        });
    }
}

impl Taken {
    /// Ends some, unless nobody could make room when somebody else needed it. As often as many
    /// places are looked at for one who comes, many come without.
    fn make_room(&mut self, at_once: usize) -> u64 {
        if let Some(left) = self.barren.checked_sub(1) {
            self.barren = left;
            return 0;
        }
        let evicted = self.evict(at_once);
        if evicted == 0 {
            self.barren = at_once.saturating_sub(1);
        }
        evicted
    }

    /// Ends so many of those who are of the least use.
    fn evict(&mut self, most: usize) -> u64 {
        let mut idle: Vec<_> = self
            .by_id
            .iter()
            .filter(|(_, connected)| connected.waiting.load(Ordering::Acquire) == 0)
            .map(|(id, connected)| {
                let has_asked = connected.has_asked.load(Ordering::Relaxed);
                let since = connected.since.load(Ordering::Relaxed);
                (has_asked, since, *id)
            })
            .collect();
        if idle.len() > most {
            idle.select_nth_unstable(most);
            idle.truncate(most);
        }
        let mut evicted = 0;
        for (_, _, id) in idle {
            let is_idle = |connected: &Arc<Connected>| connected.end_if_idle();
            if self.by_id.get(&id).is_some_and(is_idle) {
                self.by_id.remove(&id);
                evicted += 1;
            }
        }
        evicted
    }
}

impl Connected {
    fn new(tick: Arc<AtomicU64>, all_unsent: Arc<AtomicUsize>) -> Self {
        let since = tick.load(Ordering::Relaxed);
        Self {
            tick,
            since: AtomicU64::new(since),
            has_asked: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            is_http2: AtomicBool::new(false),
            head_since: AtomicU64::new(0),
            unsent: AtomicUsize::new(0),
            all_unsent,
            taken_at: AtomicU64::new(0),
            stalled_since: AtomicU64::new(0),
            task: OnceLock::new(),
            has_ended: AtomicBool::new(false),
        }
    }

    /// A whole request has come, and waits until what this returns is dropped. `None`: the
    /// connection is being ended, and nothing is decided on it any more.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Waiting> {
        let waiting = self.waiting.fetch_add(1, Ordering::AcqRel);
        self.has_asked.store(true, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        let waits = Waiting(Arc::clone(self));
        (waiting & ENDING == 0).then_some(waits)
    }

    /// An answer that has not been taken until what this returns is dropped.
    pub(super) fn answer(self: &Arc<Self>) -> Unsent {
        let all = self.all_unsent.fetch_add(1, Ordering::Relaxed);
        match self.unsent.fetch_add(1, Ordering::Relaxed) {
            // It takes as long from now on as if the last one had been taken.
            UNSENT_FREE => self.taken_at.store(self.now(), Ordering::Relaxed),
            own if own > UNSENT_FREE && all >= UNSENT_MAX => self.end(),
            _ => {}
        }
        Unsent(Arc::clone(self))
    }

    /// A stream of the connection, seen from here on.
    pub(super) fn watch<S>(self: &Arc<Self>, stream: S) -> Watched<S> {
        Watched {
            stream,
            has_begun: false,
            connected: Arc::clone(self),
        }
    }

    /// The task that serves the connection.
    pub(super) fn is_served_by(&self, task: AbortHandle) {
        let task = self.task.get_or_init(|| task);
        if self.has_ended.load(Ordering::SeqCst) {
            task.abort();
        }
    }

    fn now(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    fn is_overdue(&self, now: u64, is_crowded: bool) -> bool {
        let longer = |since: &AtomicU64, most| {
            let since = since.load(Ordering::Relaxed);
            since != 0 && now.saturating_sub(since) > most
        };
        let has_asked = self.has_asked.load(Ordering::Relaxed);
        let is_http2 = self.is_http2.load(Ordering::Relaxed);
        let unsent_seconds = if is_crowded {
            UNSENT_CROWDED_MAX_SECONDS
        } else {
            UNSENT_MAX_SECONDS
        };
        let has_unsent = self.unsent.load(Ordering::Relaxed) > UNSENT_FREE;
        longer(&self.stalled_since, STALLED_MAX_SECONDS)
            || (has_unsent && longer(&self.taken_at, unsent_seconds))
            || (!is_http2 && longer(&self.head_since, HEAD_MAX_SECONDS))
            || (!has_asked && longer(&self.since, SILENT_MAX_SECONDS))
    }

    /// Ends it, unless somebody waits for an answer.
    fn end_if_idle(&self) -> bool {
        let ending = self
            .waiting
            .compare_exchange(0, ENDING, Ordering::AcqRel, Ordering::Acquire);
        if ending.is_ok() {
            self.end();
        }
        ending.is_ok()
    }

    fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Place {
    /// Who has it.
    pub(super) const fn connected(&self) -> &Arc<Connected> {
        &self.connected
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken.lock().by_id.remove(&self.id);
    }
}

impl Waiting {
    pub(super) const fn connected(&self) -> &Arc<Connected> {
        &self.0
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Self(connected) = self;
        connected.since.store(connected.now(), Ordering::Relaxed);
        connected.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let Self(connected) = self;
        connected.taken_at.store(connected.now(), Ordering::Relaxed);
        connected.unsent.fetch_sub(1, Ordering::Relaxed);
        connected.all_unsent.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Watched<S> {
    pub(super) const fn connected(&self) -> &Arc<Connected> {
        &self.connected
    }

    fn has_read(&mut self, read: &[u8]) {
        if !self.has_begun && !read.is_empty() {
            self.has_begun = true;
            let is_http2 = read.starts_with(HTTP2_PREFACE);
            self.connected.is_http2.store(is_http2, Ordering::Relaxed);
        }
        let is_head = !read.is_empty()
            && self.connected.head_since.load(Ordering::Relaxed) == 0
            && self.connected.waiting.load(Ordering::Relaxed) == 0;
        if is_head {
            let now = self.connected.now();
            self.connected.head_since.store(now, Ordering::Relaxed);
        }
    }

    fn has_written<T>(&self, written: &Poll<T>) {
        let stalled = &self.connected.stalled_since;
        let is_stalled = stalled.load(Ordering::Relaxed) != 0;
        if written.is_pending() && !is_stalled {
            stalled.store(self.connected.now(), Ordering::Relaxed);
        } else if written.is_ready() && is_stalled {
            stalled.store(0, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.has_read(buffer.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.has_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.has_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
