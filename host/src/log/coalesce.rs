//! Denials that are counted and not recorded one by one, until an entry says how many there were.
//!
//! Each is counted once: what the entries say and what is pending add up to what was counted. A
//! count is taken when its entry is written, without waiting for a sync. An entry that could not be
//! written has been cut off again, and its count is tried again at the same place of the log; or
//! the log is poisoned, and nothing is tried again. So no count is in the log twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use smol_str::SmolStr;

use super::entry::{Coalesced, Entry};
use super::error::AppendError;
use super::writer::{APPEND_WAIT_MAX_MS, no_turn};
use crate::timestamp::Timestamp;

/// The log's answer to a denial that it has counted instead of recorded. Only the log makes one,
/// and what it is an answer to is a denial.
#[derive(Debug, PartialEq, Eq)]
pub struct Counted(());

/// What was counted and is not recorded yet.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Whether there may be any: all that a sync looks at otherwise.
    is_open: AtomicBool,
    pending: Mutex<Pending>,
    /// Held by who records, so that whoever comes next finds it done.
    recording: Mutex<()>,
}

#[derive(Debug, Default)]
struct Pending {
    /// At most one for each reason; the program has a handful of them.
    counts: Vec<Coalesced>,
    /// Why the log did not take some of them when they were tried last.
    refused: Option<AppendError>,
}

impl Counts {
    /// Counts a denial.
    ///
    /// # Errors
    /// Why the log did not take what was counted before. Nothing more is counted until it does.
    pub(super) fn add(
        &self,
        reason: &'static str,
        time: Timestamp,
    ) -> Result<Counted, AppendError> {
        let mut pending = self.pending.lock();
        if let Some(error) = &pending.refused {
            return Err(error.clone());
        }
        pending.add(Coalesced {
            from: time,
            to: time,
            reason: SmolStr::new_static(reason),
            count: 1,
        });
        self.is_open.store(true, Ordering::Release);
        Ok(Counted(()))
    }

    /// Records what is pending, with an entry for each reason. `write` writes a whole entry, or
    /// nothing that stays.
    ///
    /// # Errors
    /// An entry was not taken, or another thread records and takes too long. What is not recorded
    /// stays pending.
    pub(super) fn record(
        &self,
        write: impl Fn(&[u8]) -> Result<u64, AppendError>,
    ) -> Result<(), AppendError> {
        if !self.is_open.load(Ordering::Acquire) {
            return Ok(());
        }
        let limit = Duration::from_millis(APPEND_WAIT_MAX_MS);
        let _turn = self.recording.try_lock_for(limit).ok_or_else(no_turn)?;
        // What is counted meanwhile is for the next time: a flood does not keep this one busy.
        let counts = std::mem::take(&mut self.pending.lock().counts);
        let mut refused = None;
        let mut left = Vec::new();
        for coalesced in counts {
            if refused.is_none() {
                let entry = Entry::Coalesced(coalesced.clone());
                refused = write(&entry.encode()).err();
            }
            if refused.is_some() {
                left.push(coalesced);
            }
        }
        let mut pending = self.pending.lock();
        left.into_iter().for_each(|it| pending.add(it));
        pending.refused.clone_from(&refused);
        self.is_open
            .store(!pending.counts.is_empty(), Ordering::Release);
        refused.map_or(Ok(()), Err)
    }
}

impl Pending {
    fn add(&mut self, more: Coalesced) {
        let same = self.counts.iter_mut().find(|it| it.reason == more.reason);
        let Some(count) = same else {
            return self.counts.push(more);
        };
        count.from = count.from.min(more.from);
        count.to = count.to.max(more.to);
        count.count = count.count.saturating_add(more.count);
    }
}
