//! Instants: whole milliseconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC.
//!
//! A [`Timestamp`] is an argument wherever time matters; `clock.rs` holds the one place that reads
//! the machine's clock.

use std::fmt;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A day, in milliseconds; there is no leap second in a [`Timestamp`].
pub const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// An instant in milliseconds since 1970-01-01T00:00:00Z. Signed, so that a difference of two
/// instants that a person can write never wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Why a text is not a time stamp of keyward's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Not RFC 3339 at all, a leap second, or a date that does not exist.
    #[error("not a time; write RFC 3339 in UTC, for example 2026-11-23T10:00:00Z")]
    Malformed,
    /// An offset other than `Z`.
    #[error("not in UTC; end the time with `Z`")]
    NotUtc,
    /// More digits than milliseconds, which would have to be cut off silently.
    #[error("finer than a millisecond; write at most three digits after the second")]
    TooFine,
}

impl Timestamp {
    /// The instant `millis` milliseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The instant some milliseconds later, as far as there is one.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add_unsigned(ms))
    }

    /// The instant some milliseconds earlier, as far as there is one.
    #[must_use]
    pub fn before_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_sub_unsigned(ms))
    }

    /// How many milliseconds it is later than another; 0: it is not.
    #[must_use]
    pub fn ms_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// Reads RFC 3339 in UTC: `2026-11-23T10:00:00Z`, with at most three digits of fraction.
    ///
    /// # Errors
    /// [`TimestampError`] says what is wrong; nothing is rounded or assumed.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let body = text.strip_suffix('Z');
        // RFC 3339 lets other characters stand for the T; one form is enough.
        if text.as_bytes().get(10).is_some_and(|byte| *byte != b'T') {
            return Err(TimestampError::Malformed);
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| TimestampError::Malformed)?;
        let body = body.ok_or(TimestampError::NotUtc)?;
        if body
            .rsplit_once('.')
            .is_some_and(|(_, fraction)| fraction.len() > 3)
        {
            return Err(TimestampError::TooFine);
        }
        if time.timestamp_subsec_millis() >= 1000 {
            return Err(TimestampError::Malformed); // a leap second
        }
        Ok(Self(time.timestamp_millis()))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_millis(self.0);
        match time.filter(|time| (0..=9999).contains(&time.year())) {
            Some(time) if self.0 % 1000 == 0 => {
                f.write_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true))
            }
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            // A policy may ask about any instant, also one that RFC 3339 cannot write.
            None => write!(f, "{} ms after 1970-01-01T00:00:00Z", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| D::Error::custom(format!("`{text}`: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_same_text() {
        for text in [
            "2026-11-23T10:00:00Z",
            "2026-11-18T11:06:40.954Z",
            "1969-12-31T23:59:59.999Z",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(
            Timestamp::parse("1970-01-01T00:00:01.5Z").unwrap().millis(),
            1500
        );
    }

    #[test]
    fn refuses_what_it_would_have_to_guess() {
        for (text, error) in [
            ("2026-11-23", TimestampError::Malformed),
            ("2026-02-30T00:00:00Z", TimestampError::Malformed),
            ("2026-06-30T23:59:60Z", TimestampError::Malformed),
            ("2026-11-23T10:00:00", TimestampError::Malformed),
            ("2026-11-23 10:00:00Z", TimestampError::Malformed),
            ("2026-11-23t10:00:00Z", TimestampError::Malformed),
            ("2026-11-23T10:00:00z", TimestampError::NotUtc),
            ("2026-11-23T10:00:00+01:00", TimestampError::NotUtc),
            ("2026-11-23T10:00:00.0001Z", TimestampError::TooFine),
            ("", TimestampError::Malformed),
        ] {
            assert_eq!(Timestamp::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn writes_instants_that_rfc_3339_cannot() {
        assert_eq!(
            Timestamp(i64::MIN).to_string(),
            format!("{} ms after 1970-01-01T00:00:00Z", i64::MIN)
        );
    }
}
