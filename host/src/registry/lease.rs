//! The lease: until when what a host knows of its registry is new enough to decide on.
//!
//! A revocation is in force everywhere once every lease from before it has run out, whether or not
//! anybody was told. The clock counts also while the machine sleeps, and is not set back.

use std::sync::atomic::{AtomicU64, Ordering};

/// Until when decisions are made.
#[derive(Debug)]
pub struct Lease {
    /// On the clock of [`Lease::new`].
    until_ms: AtomicU64,
    valid_ms: u64,
    clock: fn() -> u64,
}

impl Lease {
    /// A lease that has run out, valid for some milliseconds each time it is renewed, on a clock
    /// of milliseconds that never goes back.
    #[must_use]
    pub const fn new(valid_ms: u64, clock: fn() -> u64) -> Self {
        Self {
            until_ms: AtomicU64::new(0),
            valid_ms,
            clock,
        }
    }

    /// The time on its clock: taken before looking at the registry, given to [`Lease::renew`].
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// Renews it: everything that the registry had at a time is known.
    pub fn renew(&self, seen_ms: u64) {
        let until_ms = seen_ms.saturating_add(self.valid_ms);
        self.until_ms.fetch_max(until_ms, Ordering::AcqRel);
    }

    /// Whether it has run out.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.now_ms() >= self.until_ms.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NOW_MS: AtomicU64 = AtomicU64::new(1_000);

    #[test]
    fn a_lease_counts_from_what_was_seen() {
        let lease = Lease::new(500, || NOW_MS.load(Ordering::Relaxed));
        assert!(lease.is_over());
        let seen_ms = lease.now_ms();
        NOW_MS.store(1_200, Ordering::Relaxed);
        lease.renew(seen_ms);
        assert!(!lease.is_over());
        // An older look does not take back what a newer one gave.
        lease.renew(900);
        NOW_MS.store(1_499, Ordering::Relaxed);
        assert!(!lease.is_over());
        NOW_MS.store(1_500, Ordering::Relaxed);
        assert!(lease.is_over());
    }
}
