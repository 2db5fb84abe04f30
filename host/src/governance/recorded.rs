//! Bringing a log up to date with a registry: every key event of the registry becomes an entry,
//! once and in order.
//!
//! A change is made in the registry, together with its event, and the log takes the event after it.
//! What a crash leaves between the two, or a log that another process was writing, is made up for
//! by whoever opens both next. A registry that is not the one the log knows is noticed here: the
//! log has an event that the registry has not, or another one in its place.

use std::path::Path;

use crate::digest::Digest;
use crate::key::event::{KeyEvent, Subject};
use crate::log::{AppendError, Entry, Log, LogReadError, LogReader};
use crate::registry::sqlite::{Recorded, SqliteError, SqliteRegistry};

/// Why a log was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The log does not take the events.
    #[error("the log does not take the key events")]
    Append(#[from] AppendError),
    /// The log cannot be read.
    #[error("the log cannot be read")]
    Read(#[from] LogReadError),
    /// The registry cannot be read or written.
    #[error(transparent)]
    Registry(#[from] SqliteError),
    /// The registry has fewer events than the log.
    #[error(
        "the log has key event {logged} (entry {index}), and the registry's last is {registry}: the \
         registry was restored from an older backup; restore the newest one"
    )]
    Rollback {
        /// The number of the event in the log.
        logged: u64,
        /// The entry.
        index: u64,
        /// The number of the registry's last event.
        registry: u64,
    },
    /// The registry has another event under the number.
    #[error(
        "key event {sequence} of the registry is not the one that the log has (entry {index}): an \
         older backup of the registry was restored and then changed, or the log is another \
         registry's; restore the newest backup, or name the right log"
    )]
    Diverged {
        /// The number.
        sequence: u64,
        /// The entry.
        index: u64,
    },
    /// The log does not have all events before one that it has.
    #[error("the log has key event {sequence} (entry {index}) behind {before}")]
    Gap {
        /// The number of the key event before it in the log; 0: there is none.
        before: u64,
        /// The number.
        sequence: u64,
        /// The entry.
        index: u64,
    },
}

/// What a log was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How many events.
    pub events: u64,
    /// Up to which entry the registry knew another log of this name, which is no longer there: that
    /// one was deleted, or an older copy of it was restored, and nobody had signed it.
    pub other_log: Option<u64>,
}

/// Appends to a log all events of a registry that it does not have. They are durable then.
///
/// # Errors
/// [`RecordError`]. What was appended until then stays; the rest is appended by the next call.
pub fn record(
    registry: &mut SqliteRegistry,
    (log, folder): (&Log, &Path),
) -> Result<Told, RecordError> {
    let (mut place, other_log) = LogPlace::find(registry, folder)?;
    let events = place.record(registry, log)?;
    Ok(Told { events, other_log })
}

/// How far a log has the events of a registry. Only whoever writes the log can keep it; after an
/// error it has to be found again.
#[derive(Debug)]
pub(super) struct LogPlace {
    origin: String,
    known: Option<Recorded>,
    /// Of the event that is known last.
    digest: Option<Digest>,
    noted: Option<Recorded>,
}

impl LogPlace {
    /// Finds it in the log, from where it was noted last; and up to where another log was known.
    pub(super) fn find(
        registry: &SqliteRegistry,
        log_folder: &Path,
    ) -> Result<(Self, Option<u64>), RecordError> {
        let reader = LogReader::open(log_folder)?;
        let (known, other_log) = logged(registry, &reader)?;
        let origin = reader.origin().to_owned();
        let place = Self {
            digest: digest_of(registry, known)?,
            noted: registry.recorded(&origin)?,
            origin,
            known,
        };
        Ok((place, other_log))
    }

    /// Whether the registry still has the event that is known last: it was not restored meanwhile.
    pub(super) fn holds(&self, registry: &SqliteRegistry) -> Result<bool, RecordError> {
        Ok(digest_of(registry, self.known)? == self.digest)
    }

    /// Appends what the log does not have, and returns how many events that were.
    pub(super) fn record(
        &mut self,
        registry: &mut SqliteRegistry,
        log: &Log,
    ) -> Result<u64, RecordError> {
        let mut events = 0_u64;
        while let Some(event) = registry.event_after(self.known.map_or(0, |it| it.sequence))? {
            if let Some(record) = &event.record {
                put_record(log, &event.entry, record)?;
            }
            let receipt = log.append_stored_event(&event.entry)?;
            self.known = Some(Recorded {
                sequence: event.sequence,
                log_index: receipt.index(),
            });
            self.digest = Some(Digest::of(&event.entry));
            events = events.saturating_add(1);
        }
        if let Some(known) = self.known.filter(|_| self.known != self.noted) {
            match registry.set_recorded(&self.origin, known) {
                Ok(()) => self.noted = self.known,
                // It is only where the next search begins.
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(events)
    }
}

/// The digest of an event as the registry has it.
fn digest_of(
    registry: &SqliteRegistry,
    known: Option<Recorded>,
) -> Result<Option<Digest>, RecordError> {
    let Some(known) = known else { return Ok(None) };
    let event = registry.event(known.sequence)?;
    Ok(event.map(|bytes| Digest::of(&bytes)))
}

/// What a log has of a registry's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Key events in the log.
    pub logged: u64,
    /// Events of the registry that the log does not have yet.
    pub pending: u64,
}

/// Compares all key events that a log keeps with a registry's, and writes nothing. Hands over
/// every event that is not the registry's, and every gap.
///
/// # Errors
/// That of `each`, or [`RecordError`] when the log or the registry cannot be read.
pub fn compare<E: From<RecordError>>(
    registry: &SqliteRegistry,
    reader: &LogReader,
    mut each: impl FnMut(RecordError) -> Result<(), E>,
) -> Result<Compared, E> {
    let is_whole = reader.pruned().map_err(RecordError::from)?.is_none();
    let mut last = is_whole.then_some(0_u64);
    let mut logged = 0_u64;
    each_logged(registry, (reader, 0), |known, checked| {
        logged = logged.saturating_add(1);
        if let Err(error) = checked {
            each(error)?;
        }
        let sequence = known.sequence;
        if let Some(before) = last.filter(|before| before.saturating_add(1) != sequence) {
            let index = known.log_index;
            each(RecordError::Gap {
                before,
                sequence,
                index,
            })?;
        }
        last = Some(sequence);
        Ok::<(), E>(())
    })?;
    let newest = registry.last_event().map_err(RecordError::from)?;
    let pending = newest.saturating_sub(last.unwrap_or(0));
    Ok(Compared { logged, pending })
}

/// How far the log has the events: as noted, and what was appended since then; and how far another
/// log was known, if it is not this one.
fn logged(
    registry: &SqliteRegistry,
    reader: &LogReader,
) -> Result<(Option<Recorded>, Option<u64>), RecordError> {
    let pruned = reader.pruned()?.map_or(0, |it| it.retention.below);
    let mut known = registry.recorded(reader.origin())?;
    let mut other_log = None;
    if let Some(noted) = known.filter(|noted| noted.log_index >= pruned) {
        let entry = reader.entries_from(noted.log_index).next().transpose()?;
        let is_there = entry.is_some_and(|(index, bytes)| {
            let entry = Entry::decode(&bytes);
            let is_event = |it: &KeyEvent| it.sequence == noted.sequence;
            index == noted.log_index
                && matches!(&entry, Ok(Entry::KeyEvent(event)) if is_event(event))
        });
        if !is_there {
            other_log = Some(noted.log_index);
            known = None;
        }
    }
    let from = known.map_or(0, |known| known.log_index);
    each_logged(registry, (reader, from), |logged, checked| {
        known = Some(logged);
        checked
    })?;
    Ok((known, other_log))
}

/// Hands over the key events of a log from an entry on, and whether each is the registry's.
fn each_logged<E: From<RecordError>>(
    registry: &SqliteRegistry,
    (reader, from): (&LogReader, u64),
    mut each: impl FnMut(Recorded, Result<(), RecordError>) -> Result<(), E>,
) -> Result<(), E> {
    for entry in reader.entries_from(from) {
        let (index, bytes) = entry.map_err(RecordError::from)?;
        // An entry that this version does not know is no key event that it has written.
        if let Ok(Entry::KeyEvent(event)) = Entry::decode(&bytes) {
            let logged = Recorded {
                sequence: event.sequence,
                log_index: index,
            };
            match check(registry, &event, (index, &bytes)) {
                Err(error @ (RecordError::Read(_) | RecordError::Registry(_))) => {
                    return Err(error.into());
                }
                checked => each(logged, checked)?,
            }
        }
    }
    Ok(())
}

/// The event in the log has to be the registry's.
fn check(
    registry: &SqliteRegistry,
    event: &KeyEvent,
    (index, bytes): (u64, &[u8]),
) -> Result<(), RecordError> {
    let sequence = event.sequence;
    match registry.event(sequence)? {
        Some(stored) if stored == bytes => Ok(()),
        Some(_) => Err(RecordError::Diverged { sequence, index }),
        None => Err(RecordError::Rollback {
            logged: sequence,
            index,
            registry: registry.last_event()?,
        }),
    }
}

/// Keeps the record that an event led to beside the log. What takes away is recorded without it
/// where there is no room: the event itself says all that matters.
fn put_record(log: &Log, entry: &[u8], record: &str) -> Result<(), RecordError> {
    let put = log.put_blob(Digest::of(record.as_bytes()), || record);
    match (put, Entry::decode(entry)) {
        (Err(_), Ok(Entry::KeyEvent(event)))
            if event.kind.is_restriction() && matches!(event.subject, Subject::Key { .. }) =>
        {
            Ok(())
        }
        (put, _) => Ok(put?),
    }
}

#[cfg(test)]
mod tests;
