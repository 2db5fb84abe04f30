//! Decision ids: ULIDs (128 bits: 48 of milliseconds, 80 of randomness), 26 characters of
//! Crockford's base32.
//!
//! The random half starts anywhere and counts up, so that ids of one process never repeat.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Serialize, Serializer};
use ulid::Ulid;

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
    count: AtomicU64,
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
            count: AtomicU64::new(0),
        }
    }

    /// The next id. Its time is that of the decision; a time before 1970 counts as 1970.
    pub fn next(&self, time: Timestamp) -> DecisionId {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let random = self.start.wrapping_add(count.into());
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
        assert_eq!(first.to_string(), "01M83XJ880ZZZZZZZZZZZZZZZZ");
        assert_eq!(second.to_string(), "01M83XJ8800000000000000000");
        assert_eq!(second.to_string().parse(), Ok(second));
        assert!("01M83X".parse::<DecisionId>().is_err());
        assert_eq!(ids.next(Timestamp::from_millis(-5)).0 >> 80, 0);
    }
}
