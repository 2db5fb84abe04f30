//! Following a registry that others change: what they did is told in this host's log, and then in
//! force here.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::recorded::{LogPlace, RecordError, Told};
use crate::key::edit::Edit;
use crate::key::event::{KeyEvent, Subject};
use crate::key::json::CheckedKey;
use crate::key::{KeyId, Lifecycle};
use crate::log::{Entry, Log};
use crate::registry::lease::Lease;
use crate::registry::memory::MemoryRegistry;
use crate::registry::sqlite::{By, SqliteError, SqliteRegistry};
use crate::timestamp::Timestamp;

/// How many changed keys are read one by one; with more of them all are read again.
const NAMED_MAX: usize = 4_096;
/// Who a host is in key events.
const HOST: &str = "keyward";

/// A registry file that a host follows.
#[derive(Debug)]
pub struct Follower {
    registry: SqliteRegistry,
    memory: Arc<MemoryRegistry>,
    log_folder: PathBuf,
    clock: fn() -> Timestamp,
    /// The last event that is in force here.
    sequence: u64,
    /// How far the log is; `None` after an error.
    place: Option<LogPlace>,
    lease: Arc<Lease>,
}

impl Follower {
    /// Brings a log up to date with a registry, and loads its keys. Nothing is decided with them
    /// once the lease has run out; each following renews it. Returns what the log was told, too.
    ///
    /// # Errors
    /// [`RecordError`], also when the registry is not the one that the log knows.
    pub fn begin(
        mut registry: SqliteRegistry,
        (log, log_folder): (&Log, PathBuf),
        clock: fn() -> Timestamp,
        lease: Lease,
    ) -> Result<(Self, Told), RecordError> {
        let lease = Arc::new(lease);
        let seen_ms = lease.now_ms();
        let sequence = registry.last_event()?;
        let (mut place, other_log) = LogPlace::find(&registry, &log_folder)?;
        let events = place.record(&mut registry, log)?;
        // What changed in between is followed again, which does no harm.
        let memory = registry.load()?.with_lease(Arc::clone(&lease));
        lease.renew(seen_ms);
        let follower = Self {
            registry,
            memory: Arc::new(memory),
            log_folder,
            clock,
            sequence,
            place: Some(place),
            lease,
        };
        Ok((follower, Told { events, other_log }))
    }

    /// The keys, for an `Authorizer`.
    #[must_use]
    pub fn keys(&self) -> Arc<MemoryRegistry> {
        Arc::clone(&self.memory)
    }

    /// Takes over what has changed, and returns how many events that were. A suspension or
    /// revocation is in force at once, all else when the log has its event.
    pub(crate) fn follow(&mut self, log: &Log) -> Result<usize, RecordError> {
        let seen_ms = self.lease.now_ms();
        let count = self.take_over(log)?;
        self.lease.renew(seen_ms);
        Ok(count)
    }

    fn take_over(&mut self, log: &Log) -> Result<usize, RecordError> {
        self.activate()?;
        let (count, last, changed) = self.changed()?;
        if count == 0 {
            return Ok(0);
        }
        if let Some(changed) = &changed {
            self.update(changed, |key| key.record().lifecycle.is_denied())?;
        }
        self.record(log)?;
        match changed {
            Some(changed) => self.update(&changed, |_| true)?,
            None => self.memory.replace(self.registry.load()?),
        }
        self.sequence = last;
        Ok(count)
    }

    /// Tells the log of what it does not have. Nobody else writes it: how far it is stays known.
    fn record(&mut self, log: &Log) -> Result<(), RecordError> {
        let mut place = match self.place.take() {
            Some(place) if place.holds(&self.registry)? => place,
            _ => LogPlace::find(&self.registry, &self.log_folder)?.0,
        };
        place.record(&mut self.registry, log)?;
        self.place = Some(place);
        Ok(())
    }

    /// Notes the successors that were used for the first time.
    fn activate(&mut self) -> Result<(), SqliteError> {
        for id in self.memory.take_used() {
            let by = By {
                at: (self.clock)(),
                actor: Some(HOST),
                user: None,
                reason: None,
            };
            match self.registry.edit(id, &Edit::Activate, by) {
                Ok(_) => {}
                // Another host was quicker, or the key has ended.
                Err(SqliteError::Edit { .. } | SqliteError::NoKey(_)) => {}
                // For `registry check` to say; it stops nobody from following.
                Err(SqliteError::Edited(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// How many events there are that are not in force, the last of them, and which keys they are
    /// about; `None`: too many to name.
    fn changed(&self) -> Result<(usize, u64, Option<BTreeSet<KeyId>>), RecordError> {
        let (mut count, mut last) = (0_usize, self.sequence);
        let mut keys = Some(BTreeSet::new());
        while let Some(stored) = self.registry.event_after(last)? {
            last = stored.sequence;
            count = count.saturating_add(1);
            match (Entry::decode(&stored.entry), &mut keys) {
                (Ok(Entry::KeyEvent(KeyEvent { subject, .. })), Some(named)) => match subject {
                    Subject::Key { .. } if named.len() >= NAMED_MAX => keys = None,
                    Subject::Key { id, .. } => drop(named.insert(id)),
                    Subject::Nothing { .. } => {}
                    Subject::Keys { .. } => keys = None,
                },
                _ => keys = None,
            }
        }
        Ok((count, last, keys))
    }

    fn update(
        &self,
        ids: &BTreeSet<KeyId>,
        is_taken: impl Fn(&CheckedKey) -> bool,
    ) -> Result<(), SqliteError> {
        let mut keys = Vec::new();
        for id in ids {
            keys.extend(self.registry.key(id)?.filter(|(key, _)| is_taken(key)));
        }
        self.memory.update(keys);
        Ok(())
    }
}

impl Lifecycle {
    /// Whether the host's gate denies it.
    const fn is_denied(self) -> bool {
        matches!(self, Self::Suspended | Self::Revoked)
    }
}

#[cfg(test)]
mod tests;
