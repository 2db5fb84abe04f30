//! Instants: whole milliseconds since 1970-01-01T00:00:00Z, written as RFC 3339 in UTC.
//!
//! The calendar is worked out here rather than by a date library: a component should stay small.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};

/// An instant in milliseconds since 1970-01-01T00:00:00Z. Arithmetic stops at the ends of the
/// range: a hostile instant gives an odd answer, never a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// What calendar and clock show at an instant, in UTC. All `i64`, so that comparing and
/// calculating needs no conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Astronomical year: 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 1 (Monday) to 7 (Sunday), as in ISO 8601.
    pub weekday: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59; there are no leap seconds.
    pub second: i64,
    /// 0 to 999.
    pub millisecond: i64,
}

/// A text is not an instant that keyward accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampError;

const DAY_MS: i64 = 86_400_000;

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

    /// The instant `days` times 24 hours later.
    #[must_use]
    pub fn plus_days(self, days: u32) -> Self {
        Self(self.0.saturating_add(DAY_MS * i64::from(days)))
    }

    /// The instant `days` times 24 hours earlier.
    #[must_use]
    pub fn minus_days(self, days: u32) -> Self {
        Self(self.0.saturating_sub(DAY_MS * i64::from(days)))
    }

    /// Whether more than `days` times 24 hours have gone by from `earlier` to this instant.
    #[must_use]
    pub fn is_more_than_days_after(self, days: u32, earlier: Self) -> bool {
        self.0.saturating_sub(earlier.0) > DAY_MS * i64::from(days)
    }

    /// Calendar and clock in UTC.
    #[must_use]
    pub const fn civil(self) -> Civil {
        let days = self.0.div_euclid(DAY_MS);
        let ms = self.0.rem_euclid(DAY_MS);
        // Howard Hinnant, "chrono-compatible low-level date algorithms": years begin in March, so
        // that the leap day is the last of a year, and repeat every 400 years (146,097 days).
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let january_or_february = if month <= 2 { 1 } else { 0 };
        Civil {
            year: era * 400 + year_of_era + january_or_february,
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            weekday: (days + 3).rem_euclid(7) + 1, // 1970-01-01 was a Thursday
            hour: ms / 3_600_000,
            minute: ms / 60_000 % 60,
            second: ms / 1000 % 60,
            millisecond: ms % 1000,
        }
    }
}

/// Days since 1970-01-01 of a date. The inverse of what [`Timestamp::civil`] does, for years 0 to
/// 9999; a day that the month has not counts into the next one.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
            millisecond,
            ..
        } = self.civil();
        if !(0..=9999).contains(&year) {
            // A key may carry an instant that RFC 3339 cannot write.
            return write!(f, "{} ms after 1970-01-01T00:00:00Z", self.0);
        }
        // By hand, and written in one go: format strings take many times the instructions.
        let mut text = Digits {
            bytes: [b'Z'; TEXT_MAX_BYTES],
            length: 0,
        };
        text.number(year, 4);
        text.byte(b'-').number(month, 2);
        text.byte(b'-').number(day, 2);
        text.byte(b'T').number(hour, 2);
        text.byte(b':').number(minute, 2);
        text.byte(b':').number(second, 2);
        if millisecond != 0 {
            text.byte(b'.').number(millisecond, 3);
        }
        text.byte(b'Z');
        f.write_str(text.as_str())
    }
}

/// The length of `2026-11-23T10:00:00.000Z`.
const TEXT_MAX_BYTES: usize = 24;

/// A text that grows to its length and no further.
struct Digits {
    bytes: [u8; TEXT_MAX_BYTES],
    length: usize,
}

impl Digits {
    fn byte(&mut self, byte: u8) -> &mut Self {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
        self
    }

    /// The last `width` digits of a number that is not negative.
    fn number(&mut self, number: i64, width: u32) {
        for place in (0..width).rev() {
            let digit = number / 10_i64.pow(place) % 10;
            self.byte(b'0' + u8::try_from(digit).unwrap_or_default());
        }
    }

    fn as_str(&self) -> &str {
        self.bytes
            .get(..self.length)
            .and_then(|text| str::from_utf8(text).ok())
            .unwrap_or_default()
    }
}

impl fmt::Display for TimestampError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a time; write RFC 3339 in UTC with at most three digits after the second, \
             for example `2026-11-23T10:00:00Z`",
        )
    }
}

impl std::error::Error for TimestampError {}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        parse(text).ok_or(TimestampError)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let scale = match fraction.len() {
        1 => 100,
        2 => 10,
        3 => 1,
        _ => return None,
    };
    let millisecond = number(fraction)? * scale;
    let seconds = (days_since_1970(year, month, day) * 24 + hour) * 3600 + minute * 60 + second;
    let timestamp = Timestamp(seconds * 1000 + millisecond);
    // A month 13, a 30 February, a minute 60: the calendar then shows something else.
    let shown = timestamp.civil();
    let same = (shown.year, shown.month, shown.day) == (year, month, day)
        && (shown.hour, shown.minute, shown.second) == (hour, minute, second);
    same.then_some(timestamp)
}

/// Exactly three numbers of exactly these widths.
fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut next = |width| {
        parts
            .next()
            .filter(|part| part.len() == width)
            .and_then(number)
    };
    let [first, second, third] = widths;
    let numbers = [next(first)?, next(second)?, next(third)?];
    parts.next().is_none().then_some(numbers)
}

fn number(digits: &str) -> Option<i64> {
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_the_same_text() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2026-11-18T11:06:40.954Z", 1_795_000_000_954),
            ("2000-02-29T00:00:00Z", 951_782_400_000),
            ("1900-03-01T00:00:00Z", -2_203_891_200_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ] {
            assert_eq!(text.parse(), Ok(Timestamp(millis)), "{text}");
            assert_eq!(Timestamp(millis).to_string(), text);
        }
        assert_eq!("1970-01-01T00:00:01.5Z".parse(), Ok(Timestamp(1500)));
        assert_eq!("1970-01-01T00:00:01.05Z".parse(), Ok(Timestamp(1050)));
    }

    #[test]
    fn the_calendar_agrees_with_counting_days() {
        let (mut year, mut month, mut day) = (1, 1, 1);
        let first: Timestamp = "0001-01-01T00:00:00Z".parse().unwrap();
        for count in 0_i64..=3_652_058 {
            let at = Timestamp(first.0 + count * DAY_MS + DAY_MS - 1);
            let civil = at.civil();
            assert_eq!((civil.year, civil.month, civil.day), (year, month, day));
            assert_eq!(civil.weekday, count % 7 + 1); // 0001-01-01 was a Monday
            assert_eq!(days_since_1970(year, month, day), at.0.div_euclid(DAY_MS));
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            day += 1;
            if day > lengths[usize::try_from(month - 1).unwrap()] {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
        assert_eq!((year, month, day), (10_000, 1, 1));
    }

    #[test]
    fn refuses_what_it_would_have_to_guess() {
        for text in [
            "",
            "Z",
            "2026-11-23",
            "2026-11-23T10:00:00",
            "2026-11-23T10:00:00+01:00",
            "2026-11-23t10:00:00Z",
            "2026-11-23T10:00:00z",
            "2026-11-23 10:00:00Z",
            "2026-11-23T10:00Z",
            "2026-11-23T10:00:00:00Z",
            "2026-11-23T24:00:00Z",
            "2026-11-23T10:60:00Z",
            "2026-06-30T23:59:60Z",
            "2026-11-23T10:00:00.Z",
            "2026-11-23T10:00:00.0001Z",
            "2026-11-23T10:00:00.+1Z",
            "2026-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "-001-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "２026-01-01T00:00:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_ordinary_values() {
        for end in [Timestamp(i64::MIN), Timestamp(i64::MAX)] {
            assert_eq!(
                end.to_string(),
                format!("{} ms after 1970-01-01T00:00:00Z", end.0)
            );
        }
        assert_eq!(Timestamp(i64::MAX).plus_days(u32::MAX), Timestamp(i64::MAX));
        assert_eq!(
            Timestamp(i64::MIN).minus_days(u32::MAX),
            Timestamp(i64::MIN)
        );
        let (first, last) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
        assert!(last.is_more_than_days_after(u32::MAX, first));
        assert!(!first.is_more_than_days_after(0, last));
    }

    #[test]
    fn counts_days_to_the_millisecond() {
        let start = Timestamp(5);
        assert_eq!(start.plus_days(2).minus_days(3), Timestamp(5 - DAY_MS));
        assert!(!start.plus_days(90).is_more_than_days_after(90, start));
        assert!(Timestamp(start.plus_days(90).0 + 1).is_more_than_days_after(90, start));
    }
}
