//! How far the log is durable, and how those who wait for it and the thread that makes it so meet.
//!
//! Appenders say what they have written and may wait until it is durable; one sync thread waits for
//! something to do, syncs, and says how far it came. All who wait are answered by the same sync.
//! Every wait but the idle thread's has a limit, and a failure wakes everyone.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::error::AppendError;

/// How long an appender waits for its entry to be durable.
pub(super) const DURABLE_WAIT_MAX_MS: u64 = 1_000;
/// How often, at most, a sealed log asks the disk for room, unless entries are made durable.
const SEALED_ASK_MS: u64 = 100;
/// How often, in microseconds, the sync thread looks whether those whom the sync before answered
/// have come back: a sync without them would make them wait for the next one.
const GATHER_STEP_US: u64 = 100;
/// How often it looks at most; it does not go on when nobody has come.
const GATHER_STEPS_MAX: u32 = 20;
/// How many rooms appenders wait in.
const ROOMS: usize = 16;
/// How long closing waits for the last sync.
const CLOSE_WAIT_MAX_MS: u64 = 2_000;

/// Shared by the appenders and the sync thread.
#[derive(Debug)]
pub(super) struct Progress {
    /// Entries below this index are durable. Changed with `gate` held.
    durable: AtomicU64,
    /// Someone waits for entries below this index.
    requested: AtomicU64,
    /// How many have waited since the last sync began.
    waiters: AtomicU64,
    /// Something was written since the last sync began.
    dirty: AtomicBool,
    /// Someone has waited in vain and no sync has ended since: the next ones need not wait too.
    stalled: AtomicBool,
    /// The disk is full.
    sealed: AtomicBool,
    /// Somebody may ask the disk for room again.
    may_ask: AtomicBool,
    closing: AtomicBool,
    poison: OnceLock<AppendError>,
    /// Held to change what the conditions below are about; true when the sync thread has ended.
    gate: Mutex<bool>,
    /// For the sync thread: there may be something to do.
    work: Condvar,
    /// For the others: something may have become durable, or never will.
    done: Condvar,
    /// Where appenders wait.
    rooms: [Room; ROOMS],
}

/// Appenders that wait for their entries to be durable. There are several rooms, so that those who
/// are woken at once do not all come through one door.
#[derive(Debug, Default)]
struct Room {
    gate: Mutex<()>,
    done: Condvar,
}

impl Progress {
    /// A log whose entries below an index are durable.
    pub(super) fn new(durable: u64) -> Self {
        Self {
            durable: AtomicU64::new(durable),
            requested: AtomicU64::new(durable),
            waiters: AtomicU64::new(0),
            dirty: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            may_ask: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            poison: OnceLock::new(),
            gate: Mutex::new(false),
            work: Condvar::new(),
            done: Condvar::new(),
            rooms: Default::default(),
        }
    }

    /// Whether anything may be appended.
    ///
    /// # Errors
    /// Poisoned, or the disk stands still.
    pub(super) fn check(&self) -> Result<(), AppendError> {
        if let Some(poison) = self.poison.get() {
            return Err(poison.clone());
        }
        if self.stalled.load(Ordering::SeqCst) {
            return Err(timed_out());
        }
        Ok(())
    }

    /// The index below which entries are durable.
    pub(super) fn durable(&self) -> u64 {
        self.durable.load(Ordering::SeqCst)
    }

    /// Something was written; the sync thread sees to it within the interval.
    pub(super) fn mark_dirty(&self) {
        if !self.dirty.swap(true, Ordering::SeqCst) {
            let _gate = self.gate.lock();
            self.work.notify_one();
        }
    }

    /// Returns when the entries below `end` are durable.
    ///
    /// # Errors
    /// The poison, or a timeout; they may be durable all the same, or become so.
    pub(super) fn wait_durable(&self, end: u64) -> Result<(), AppendError> {
        self.requested.fetch_max(end, Ordering::SeqCst);
        self.waiters.fetch_add(1, Ordering::SeqCst);
        let gate = self.gate.lock();
        self.work.notify_one();
        drop(gate);
        let waiting = |(): &mut ()| self.durable() < end && self.poison.get().is_none();
        let limit = Duration::from_millis(DURABLE_WAIT_MAX_MS);
        let room = self.room(end);
        room.done
            .wait_while_for(&mut room.gate.lock(), waiting, limit);
        if self.durable() >= end {
            return Ok(());
        }
        if let Some(poison) = self.poison.get() {
            return Err(poison.clone());
        }
        self.stalled.store(true, Ordering::SeqCst);
        Err(timed_out())
    }

    /// The disk has become full, or has room again.
    pub(super) fn seal(&self, is_sealed: bool) {
        let _gate = self.gate.lock();
        self.may_ask.store(false, Ordering::Relaxed);
        self.sealed.store(is_sealed, Ordering::Relaxed);
        self.work.notify_one();
    }

    /// Whether the disk was full when it was last asked.
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Relaxed)
    }

    /// Whether it is time to ask a full disk again, which is then the caller's to do.
    pub(super) fn may_ask(&self) -> bool {
        self.may_ask.swap(false, Ordering::Relaxed)
    }

    /// For the sync thread: waits until there is something to sync, and then until someone waits
    /// for it or the interval is over. `expected` is the thread's note on how many have waited for
    /// the sync before. `false`: the log is closing, this is the last sync.
    ///
    /// While the log is sealed it is the clock: it comes back and lets the disk be asked.
    pub(super) fn next_work(&self, interval: Duration, expected: &mut u64) -> bool {
        let closing = || self.closing.load(Ordering::SeqCst);
        let mut gate = self.gate.lock();
        self.work.wait_while(&mut gate, |_| {
            !self.dirty.load(Ordering::SeqCst) && !closing() && !self.is_sealed()
        });
        let was_sealed = self.is_sealed();
        let interval = if was_sealed {
            interval.min(Duration::from_millis(SEALED_ASK_MS))
        } else {
            interval
        };
        let nobody_waits = |_: &mut bool| {
            self.requested.load(Ordering::SeqCst) <= self.durable()
                && self.is_sealed() == was_sealed
                && !closing()
        };
        self.work.wait_while_for(&mut gate, nobody_waits, interval);
        for _ in 0..GATHER_STEPS_MAX {
            let waiters = self.waiters.load(Ordering::SeqCst);
            if *expected <= 1 || waiters >= *expected || closing() {
                break;
            }
            let step = Duration::from_micros(GATHER_STEP_US);
            MutexGuard::unlocked(&mut gate, || thread::sleep(step));
            if self.waiters.load(Ordering::SeqCst) == waiters {
                break;
            }
        }
        *expected = self.waiters.swap(0, Ordering::SeqCst);
        // Cleared before the sync looks how far the log goes: what is written from here on either
        // is seen by this sync or sets it again.
        self.dirty.store(false, Ordering::SeqCst);
        self.may_ask.store(was_sealed, Ordering::Relaxed);
        !closing()
    }

    /// Entries below an index have become durable.
    pub(super) fn advance(&self, durable: u64) {
        let gate = self.gate.lock();
        self.durable.fetch_max(durable, Ordering::SeqCst);
        self.stalled.store(false, Ordering::SeqCst);
        drop(gate);
        self.wake_all();
    }

    /// From now on everything fails. The first cause stays.
    pub(super) fn poison(&self, cause: &str) -> AppendError {
        let poison = self
            .poison
            .get_or_init(|| AppendError::poisoned(cause))
            .clone();
        let gate = self.gate.lock();
        self.work.notify_one();
        drop(gate);
        self.wake_all();
        poison
    }

    /// Wakes everyone who waits for entries to be durable.
    fn wake_all(&self) {
        for room in &self.rooms {
            // Whoever looked before what has changed waits by now, and is woken.
            drop(room.gate.lock());
            room.done.notify_all();
        }
    }

    /// Where the one waits who waits for entries below an index.
    fn room(&self, end: u64) -> &Room {
        let [first, ..] = &self.rooms;
        let place = usize::try_from(end).unwrap_or(0) % ROOMS;
        self.rooms.get(place).unwrap_or(first)
    }

    /// Whether everything fails.
    pub(super) fn is_poisoned(&self) -> bool {
        self.poison.get().is_some()
    }

    /// Asks for the last sync and waits for it. `false`: the sync thread does not answer.
    pub(super) fn close(&self) -> bool {
        self.closing.store(true, Ordering::SeqCst);
        let mut ended = self.gate.lock();
        self.work.notify_one();
        let limit = Duration::from_millis(CLOSE_WAIT_MAX_MS);
        self.done.wait_while_for(&mut ended, |ended| !*ended, limit);
        *ended
    }

    /// The sync thread has ended.
    pub(super) fn ended(&self) {
        *self.gate.lock() = true;
        self.done.notify_all();
    }
}

fn timed_out() -> AppendError {
    AppendError::timeout("the disk did not make the log durable", DURABLE_WAIT_MAX_MS)
}

#[cfg(test)]
mod tests;
