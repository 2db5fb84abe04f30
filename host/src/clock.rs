//! The one place that reads the machine's clock. Everything else is given the time.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

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

/// Milliseconds since some point in the past, counted also while the machine sleeps and never set
/// back.
#[must_use]
pub fn boot_ms() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let now = clock_gettime(CLOCK);
    let millis = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000);
    millis.saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000)
}
