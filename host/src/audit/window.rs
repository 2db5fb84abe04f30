//! The decisions of a log within a window of time, and since when the log can tell of it.

use crate::decision::DecisionRecord;
use crate::log::{Entry, LogReader};
use crate::timestamp::Timestamp;

use super::AuditError;

/// Since when a log tells everything about a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// From here on.
    pub since: Timestamp,
    /// Why not from the window's start on; `None`: it does.
    pub shortfall: Option<Shortfall>,
}

/// Why a log does not tell of a whole window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// The log has no entry yet.
    Empty,
    /// The key was issued later.
    KeyIssued,
    /// The log begins later.
    LogBegins,
    /// What is older is no longer kept.
    LogPruned,
}

impl Coverage {
    /// How much of a window from `from` on is covered for a key that was issued at `issued_at`,
    /// by a log whose first entry that is kept is of the time `first`.
    fn new(
        (from, issued_at): (Timestamp, Option<Timestamp>),
        first: Option<Timestamp>,
        is_pruned: bool,
    ) -> Self {
        let Some(first) = first else {
            let shortfall = Some(Shortfall::Empty);
            return Self {
                since: from,
                shortfall,
            };
        };
        let issued_at = issued_at.unwrap_or(from);
        let since = from.max(first).max(issued_at);
        let shortfall = if since == from {
            None
        } else if issued_at >= first {
            Some(Shortfall::KeyIssued)
        } else if is_pruned {
            Some(Shortfall::LogPruned)
        } else {
            Some(Shortfall::LogBegins)
        };
        Self { since, shortfall }
    }
}

impl Shortfall {
    /// What it is, in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "the log has no entry yet",
            Self::KeyIssued => "the key was issued then",
            Self::LogBegins => "the log begins then",
            Self::LogPruned => "what is older is no longer kept",
        }
    }
}

/// Hands over every decision that is kept, and says since when the log covers the window from
/// `from` on of a key that was issued at `issued_at`.
pub(super) fn decisions(
    reader: &LogReader,
    (from, issued_at): (Timestamp, Option<Timestamp>),
    mut each: impl FnMut(u64, DecisionRecord),
) -> Result<Coverage, AuditError> {
    let mut first = None;
    for entry in reader.entries() {
        let (index, bytes) = entry?;
        let entry = Entry::decode(&bytes).map_err(|error| AuditError::Entry { index, error })?;
        first.get_or_insert_with(|| entry.time());
        if let Entry::Decision(record) = entry {
            each(index, record);
        }
    }
    let is_pruned = reader.pruned()?.is_some();
    Ok(Coverage::new((from, issued_at), first, is_pruned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_of_three_begins_says_since_when() {
        let at = Timestamp::from_millis;
        let coverage = |from, issued, first: Option<i64>, is_pruned| {
            let it = Coverage::new((at(from), Some(at(issued))), first.map(at), is_pruned);
            (it.since.millis(), it.shortfall)
        };
        assert_eq!(coverage(30, 10, Some(20), false), (30, None));
        assert_eq!(coverage(30, 30, Some(30), true), (30, None));
        assert_eq!(
            coverage(30, 40, Some(20), false),
            (40, Some(Shortfall::KeyIssued))
        );
        assert_eq!(
            coverage(30, 40, Some(50), false),
            (50, Some(Shortfall::LogBegins))
        );
        assert_eq!(
            coverage(30, 10, Some(50), true),
            (50, Some(Shortfall::LogPruned))
        );
        assert_eq!(coverage(30, 10, None, false), (30, Some(Shortfall::Empty)));
    }
}
