//! The one place that reads the machine's clock. Everything else is given the time.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::timestamp::Timestamp;

/// The machine's time, in whole milliseconds.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn now() -> Timestamp {
    let now = SystemTime::now();
    let millis = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
        Err(before) => {
            i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis)
        }
    };
    Timestamp::from_millis(millis)
}
