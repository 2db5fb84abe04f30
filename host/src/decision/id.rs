//! Decision ids: ULIDs (128 bits: 48 of milliseconds, 80 of randomness), 26 characters of
//! Crockford's base32.
//!
//! The random half starts anywhere and counts up, for each of a number of groups of threads in a
//! range of its own, so that ids of one process never repeat and threads do not wait for each other
//! to count.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};
use ulid::Ulid;

use crate::per_thread::PerThread;
use crate::timestamp::Timestamp;

/// A decision's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DecisionId(pub u128);

/// The text is not a ULID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a decision id; one has 26 letters and digits, for example 01M83XJ880E5T6NSVVM4JFGJ6Q"
)]
pub struct DecisionIdError(String);

/// Makes decision ids. Shared by threads.
#[derive(Debug)]
pub struct IdSource {
    start: u128,
    counts: PerThread<AtomicU64>,
}

impl IdSource {
    /// A source that starts at 10 random bytes.
    #[must_use]
    pub fn new(random: [u8; 10]) -> Self {
        let start = random
            .iter()
            .fold(0, |start, byte| start << 8 | u128::from(*byte));
        Self {
            start,
            counts: PerThread::default(),
        }
    }

    /// The next id. Its time is that of the decision; a time before 1970 counts as 1970.
    pub fn next(&self, time: Timestamp) -> DecisionId {
        let (group, count) = self.counts.mine();
        let count = count.fetch_add(1, Ordering::Relaxed);
        // 16 of the 80 bits say which group, the rest count.
        let random = u128::from(group) << 64 | u128::from(count);
        let random = self.start.wrapping_add(random);
        let millis = u64::try_from(time.millis()).unwrap_or(0);
        DecisionId(Ulid::from_parts(millis, random).into())
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ulid::from(self.0).fmt(f)
    }
}

impl FromStr for DecisionId {
    type Err = DecisionIdError;

    fn from_str(text: &str) -> Result<Self, DecisionIdError> {
        let ulid = Ulid::from_string(text).map_err(|_| DecisionIdError(text.to_owned()))?;
        Ok(Self(ulid.into()))
    }
}

impl Serialize for DecisionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_anywhere_without_repeating() {
        let ids = IdSource::new([0xff; 10]);
        let time = Timestamp::parse("2026-11-23T10:00:00Z").unwrap();
        let [first, second] = [ids.next(time), ids.next(time)];
        let random = |id: DecisionId| id.0 << 48 >> 48;
        let group = u128::from(ids.counts.mine().0) << 64;
        assert_eq!(random(first), (group + (1 << 80) - 1) % (1 << 80));
        assert_eq!(random(second), group);
        assert!(first.to_string().starts_with("01M83XJ880"));
        assert_eq!(second.to_string().parse(), Ok(second));
        assert!("01M83X".parse::<DecisionId>().is_err());
        assert_eq!(ids.next(Timestamp::from_millis(-5)).0 >> 80, 0);
    }
}
