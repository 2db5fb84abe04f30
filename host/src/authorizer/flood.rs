//! How many denials a second are recorded one by one, where anyone can cause any number of them.
//!
//! Seconds are those of the requests' own times, which come from threads that are not in step and
//! from clocks that are corrected. A second begins with the first request that is past the one
//! before. Requests from before it belong to it too, until only such ones have come for a second of
//! their own time: then it is the clock that was put back, and a second begins there.
//!
//! So whatever is put forward or back, and whichever clocks are mixed, as long as they run at their
//! rate: in a second at most twice the limit is recorded one by one, and for at most two seconds
//! are denials counted that a steady clock would have had recorded.

use parking_lot::Mutex;

use crate::timestamp::Timestamp;

const SECOND_MS: i64 = 1_000;

/// The limit, and how much of it is used.
#[derive(Debug)]
pub(super) struct FloodLimit {
    per_second: u32,
    second: Mutex<Option<Second>>,
}

/// The second that is counted in.
#[derive(Debug)]
struct Second {
    start: Timestamp,
    recorded: u32,
    /// The time of the first in a row of requests from before this second, the last one included.
    before: Option<Timestamp>,
}

impl FloodLimit {
    /// A limit of so many in a second.
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            second: Mutex::default(),
        }
    }

    /// Whether one more, of a request of this time, is recorded one by one.
    pub(super) fn admits(&self, time: Timestamp) -> bool {
        let mut current = self.second.lock();
        let second = current.get_or_insert_with(|| Second::new(time));
        if second.is_over(time) {
            *second = Second::new(time);
        }
        let is_admitted = second.recorded < self.per_second;
        second.recorded = second.recorded.saturating_add(u32::from(is_admitted));
        is_admitted
    }
}

impl Second {
    const fn new(start: Timestamp) -> Self {
        Self {
            start,
            recorded: 0,
            before: None,
        }
    }

    /// Whether a request of this time begins another second.
    fn is_over(&mut self, time: Timestamp) -> bool {
        let since_start = millis_between(self.start, time);
        if since_start >= 0 {
            self.before = None;
            return since_start >= SECOND_MS;
        }
        let before = *self.before.get_or_insert(time);
        millis_between(before, time) >= SECOND_MS
    }
}

const fn millis_between(from: Timestamp, to: Timestamp) -> i64 {
    to.millis().saturating_sub(from.millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of some requests are admitted, given their times.
    fn admitted(limit: &FloodLimit, times: impl IntoIterator<Item = i64>) -> usize {
        let admits = |millis: &i64| limit.admits(Timestamp::from_millis(*millis));
        times.into_iter().filter(admits).count()
    }

    /// A request in each millisecond.
    fn flood(limit: &FloodLimit, from: i64, millis: i64) -> usize {
        admitted(limit, from..from + millis)
    }

    #[test]
    fn each_second_has_the_limit() {
        let limit = FloodLimit::new(10);
        assert_eq!(flood(&limit, 500, 1_000), 10);
        assert_eq!(flood(&limit, 1_500, 3_000), 30);
        assert_eq!(admitted(&limit, (10_000..20_000).step_by(100)), 100);
        assert_eq!(admitted(&limit, [1_000_000; 50]), 10);
        assert_eq!(flood(&FloodLimit::new(0), 0, 5_000), 0);
    }

    #[test]
    fn threads_that_are_not_in_step_share_a_second() {
        let limit = FloodLimit::new(10);
        // Each time the next second has begun before the last one ends.
        let times = (0..5_000).flat_map(|millis| [millis + 20, millis, millis - 999]);
        assert!((50..=60).contains(&admitted(&limit, times)));
    }

    #[test]
    fn a_clock_that_is_put_back_has_the_limit_again_after_a_second() {
        for back in [1_001, 1_500, 60_000, 86_400_000, i64::MAX / 2] {
            let limit = FloodLimit::new(10);
            assert_eq!(flood(&limit, back, 1_000), 10);
            let after = flood(&limit, 0, 1_000);
            assert_eq!(after, 0, "{back}");
            assert_eq!(flood(&limit, 1_000, 3_000), 30, "{back}");
        }
        // By no more than a second: that much longer is the second.
        for back in [1, 500, 1_000] {
            let limit = FloodLimit::new(10);
            assert_eq!(flood(&limit, 5_000, 1_000), 10);
            assert_eq!(flood(&limit, 6_000 - 1_000 - back, 1_000 + back), 0);
            assert_eq!(flood(&limit, 6_000, 1_000), 10);
        }
    }

    #[test]
    fn a_slow_clock_that_is_put_back_loses_nothing() {
        let limit = FloodLimit::new(10);
        assert_eq!(admitted(&limit, [1_000_000]), 1);
        assert_eq!(admitted(&limit, (0..100_000).step_by(200)), 500);
    }

    #[test]
    fn a_time_far_ahead_costs_a_second() {
        let limit = FloodLimit::new(10);
        assert_eq!(flood(&limit, 0, 500), 10);
        assert_eq!(admitted(&limit, [i64::MAX]), 1);
        // What is left of the second far ahead, and from a second later on the limit again.
        assert_eq!(flood(&limit, 500, 1_000), 9);
        assert_eq!(flood(&limit, 1_500, 3_000), 30);
        assert_eq!(admitted(&limit, [i64::MIN, i64::MIN + 1]), 0);
        assert_eq!(admitted(&limit, [i64::MAX, i64::MIN, i64::MAX]), 3);
    }

    /// Two clocks an hour apart, each with a flood, in turns of any length.
    #[test]
    fn mixed_clocks_do_not_switch_the_limit_off() {
        for turn in [1, 7, 100, 900, 1_500] {
            let limit = FloodLimit::new(10);
            let times = (0..60_000).map(|millis| {
                let is_ahead = (millis / turn) % 2 == 0;
                millis + if is_ahead { 3_600_000 } else { 0 }
            });
            let recorded = admitted(&limit, times);
            assert!(recorded <= 2 * 10 * 61, "{turn}: {recorded}");
            assert!(recorded >= 10 * 30, "{turn}: {recorded}");
        }
    }
}
