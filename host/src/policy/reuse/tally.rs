//! How the reuse of one policy goes, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ReuseCounts;
use crate::per_thread::PerThread;

/// What was reused of one policy, and what was not.
#[derive(Debug, Default)]
pub(super) struct Tally(PerThread<Counts>);

#[derive(Debug, Default)]
struct Counts {
    reused: AtomicU64,
    afresh: AtomicU64,
    checked: AtomicU64,
}

impl Tally {
    /// Counts a reuse; how many there were of this thread's group.
    pub(super) fn reused(&self) -> u64 {
        add(&self.0.mine().1.reused)
    }

    /// Counts an evaluation that nothing could be reused for.
    pub(super) fn afresh(&self) {
        add(&self.0.mine().1.afresh);
    }

    /// Counts a check.
    pub(super) fn checked(&self) {
        add(&self.0.mine().1.checked);
    }

    pub(super) fn counts(&self) -> ReuseCounts {
        let mut sum = ReuseCounts::default();
        for counts in self.0.all() {
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            sum.reused = sum.reused.wrapping_add(read(&counts.reused));
            sum.afresh = sum.afresh.wrapping_add(read(&counts.afresh));
            sum.checked = sum.checked.wrapping_add(read(&counts.checked));
        }
        sum
    }
}

fn add(count: &AtomicU64) -> u64 {
    count.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}
