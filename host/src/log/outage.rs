//! What the log did not take, counted, so that it can say so when it takes decisions again.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::Receipt;
use super::entry::Outage;
use super::error::AppendError;
use crate::timestamp::Timestamp;

/// The outage that is going on, if there is one.
#[derive(Debug, Default)]
pub(super) struct Outages {
    /// Whether there may be one: all that a decision looks at otherwise.
    is_open: AtomicBool,
    open: Mutex<Option<Outage>>,
}

impl Outages {
    /// A decision was not taken.
    pub(super) fn refused(&self, time: Timestamp) {
        let mut open = self.open.lock();
        let outage = open.get_or_insert(Outage {
            from: time,
            to: time,
            refused: 0,
        });
        outage.from = outage.from.min(time);
        outage.to = outage.to.max(time);
        outage.refused = outage.refused.saturating_add(1);
        self.is_open.store(true, Ordering::Release);
    }

    /// Records the outage that is going on, if there is one. It goes on when that fails, and for
    /// those who come while another does this, whom it does not hold up.
    pub(super) fn end(
        &self,
        record: impl FnOnce(Outage) -> Result<Receipt, AppendError>,
    ) -> Result<(), AppendError> {
        if !self.is_open.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some(outage) = self.open.lock().take() else {
            return Ok(());
        };
        match record(outage) {
            Ok(_) => {
                let open = self.open.lock();
                self.is_open.store(open.is_some(), Ordering::Release);
                Ok(())
            }
            Err(error) => {
                let mut open = self.open.lock();
                let since = open.get_or_insert(Outage {
                    refused: 0,
                    ..outage
                });
                since.from = since.from.min(outage.from);
                since.to = since.to.max(outage.to);
                since.refused = since.refused.saturating_add(outage.refused);
                Err(error)
            }
        }
    }
}
