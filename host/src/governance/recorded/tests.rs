//! A log and a registry: brought together after every kind of interruption, and told apart when
//! they do not belong together.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::key::KeyId;
use crate::key::edit::Edit;
use crate::key::json::{KeyOptions, read_keys};
use crate::log::LogOptions;
use crate::registry::sqlite::By;
use crate::timestamp::Timestamp;

const NOW: i64 = 1_795_000_000_000;
const ID: &str = "k7Qp2mXw9LaR";

/// A folder with a registry of one key, and a log.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let key = format!(
            r#"{{"id":"{ID}","owner":"sync","issued_at":"2026-11-01T00:00:00Z","scopes":["a:b"]}}"#
        );
        let keys = read_keys(key.as_bytes(), KeyOptions::default()).unwrap();
        place.registry().import(keys, by()).unwrap();
        place
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("keyward.db")
    }

    fn registry(&self) -> SqliteRegistry {
        SqliteRegistry::open(&self.database(), KeyOptions::default()).unwrap()
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn log(&self) -> Log {
        let options = LogOptions {
            origin: "keyward.example/test".to_owned(),
            ..LogOptions::default()
        };
        let now = Timestamp::from_millis(NOW);
        if self.folder().exists() {
            Log::open(&self.folder(), options, now).unwrap()
        } else {
            Log::create(&self.folder(), options, now).unwrap()
        }
    }

    fn record(&self) -> Result<u64, RecordError> {
        self.told().map(|told| told.events)
    }

    fn told(&self) -> Result<Told, RecordError> {
        record(&mut self.registry(), (&self.log(), &self.folder()))
    }

    fn edit(&self, edit: &Edit) {
        let id: KeyId = ID.parse().unwrap();
        self.registry().edit(id, edit, by()).unwrap();
    }

    /// The numbers of the key events in the log.
    fn logged(&self) -> Vec<u64> {
        let reader = LogReader::open(&self.folder()).unwrap();
        let entries = reader.entries().map(|entry| entry.unwrap().1);
        entries
            .filter_map(|bytes| match Entry::decode(&bytes) {
                Ok(Entry::KeyEvent(event)) => Some(event.sequence),
                _ => None,
            })
            .collect()
    }
}

fn by() -> By<'static> {
    By {
        at: Timestamp::from_millis(NOW),
        actor: Some("amira"),
        user: None,
        reason: None,
    }
}

#[test]
fn every_event_is_in_the_log_once_and_in_order() {
    let place = Place::new();
    assert_eq!(place.record().unwrap(), 1);
    assert_eq!(place.record().unwrap(), 0);
    place.edit(&Edit::Suspend);
    place.edit(&Edit::Resume);
    assert_eq!(place.record().unwrap(), 2);
    assert_eq!(place.logged(), [1, 2, 3]);
    // Each record that an event led to can be read beside the log.
    let reader = LogReader::open(&place.folder()).unwrap();
    let mut sequence = 1;
    while let Some(event) = place.registry().event_after(sequence).unwrap() {
        let record = event.record.unwrap();
        assert_eq!(
            reader.blob(Digest::of(record.as_bytes())).unwrap(),
            record.as_bytes()
        );
        sequence = event.sequence;
    }
    assert_eq!(sequence, 3);
}

/// A crash behind the append, before it is noted: nothing is appended twice.
#[test]
fn what_was_appended_and_not_noted_is_found_again() {
    let place = Place::new();
    place.record().unwrap();
    place.edit(&Edit::Suspend);
    let origin = "keyward.example/test";
    let noted = place.registry().recorded(origin).unwrap().unwrap();
    place.record().unwrap();
    place.registry().set_recorded(origin, noted).unwrap();
    assert_eq!(place.record().unwrap(), 0);
    assert_eq!(place.logged(), [1, 2]);
}

/// A crash behind the change, before it is appended: the next one who opens both does it.
#[test]
fn what_was_changed_and_not_appended_is_appended_by_the_next() {
    let place = Place::new();
    place.edit(&Edit::Suspend);
    drop(place.log());
    assert!(place.logged().is_empty());
    assert_eq!(place.record().unwrap(), 2);
    assert_eq!(place.logged(), [1, 2]);
}

#[test]
fn a_registry_from_an_older_backup_is_noticed() {
    let place = Place::new();
    place.record().unwrap();
    let backup = place.0.path().join("backup.db");
    // A clean copy: no connection is open, and the last one took the write-ahead log along.
    fs::copy(place.database(), &backup).unwrap();
    place.edit(&Edit::Suspend);
    place.record().unwrap();
    for file in ["keyward.db-wal", "keyward.db-shm"] {
        let _ = fs::remove_file(place.0.path().join(file));
    }
    fs::copy(&backup, place.database()).unwrap();
    let error = place.record().unwrap_err();
    assert!(
        matches!(
            error,
            RecordError::Rollback {
                logged: 2,
                registry: 1,
                ..
            }
        ),
        "{error}"
    );
    // It was changed since: another event has the number.
    place.edit(&Edit::Mask(true));
    let error = place.record().unwrap_err();
    assert!(
        matches!(error, RecordError::Diverged { sequence: 2, .. }),
        "{error}"
    );
    assert_eq!(place.logged(), [1, 2]);
}

#[test]
fn another_registry_is_noticed() {
    let (place, other) = (Place::new(), Place::new());
    place.edit(&Edit::Suspend);
    other.edit(&Edit::Mask(true));
    place.record().unwrap();
    let swapped = record(&mut other.registry(), (&place.log(), &place.folder()));
    let error = swapped.unwrap_err();
    assert!(
        matches!(error, RecordError::Diverged { sequence: 2, .. }),
        "{error}"
    );
}

#[test]
fn a_log_that_was_begun_anew_gets_all_events() {
    let place = Place::new();
    place.edit(&Edit::Suspend);
    place.record().unwrap();
    fs::remove_dir_all(place.folder()).unwrap();
    let told = place.told().unwrap();
    assert_eq!((told.events, told.other_log), (2, Some(2)));
    assert_eq!(place.logged(), [1, 2]);
}

/// What the comparison finds, and how many events are logged and pending.
fn compared(place: &Place) -> (Vec<String>, u64, u64) {
    let reader = LogReader::open(&place.folder()).unwrap();
    let mut found = Vec::new();
    let compared = compare(&place.registry(), &reader, |error| {
        found.push(error.to_string());
        Ok::<_, RecordError>(())
    })
    .unwrap();
    (found, compared.logged, compared.pending)
}

#[test]
fn a_comparison_writes_nothing_and_finds_every_difference() {
    let place = Place::new();
    drop(place.log());
    assert_eq!(compared(&place), (Vec::new(), 0, 1));
    place.record().unwrap();
    place.edit(&Edit::Mask(true));
    assert_eq!(compared(&place), (Vec::new(), 1, 1));
    assert_eq!(place.logged(), [1]);
    // A gap: event 2 is left out.
    place.edit(&Edit::Mask(false));
    let third = place.registry().event(3).unwrap().unwrap();
    place.log().append_stored_event(&third).unwrap();
    let (found, logged, pending) = compared(&place);
    assert_eq!((logged, pending), (2, 0));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("key event 3"), "{found:?}");
    assert!(found[0].ends_with("behind 1"), "{found:?}");
    // Another registry.
    fs::remove_file(place.database()).unwrap();
    let other = Place::new();
    other.edit(&Edit::Suspend);
    other.edit(&Edit::Resume);
    fs::rename(other.database(), place.database()).unwrap();
    let (found, _, _) = compared(&place);
    assert!(
        found
            .iter()
            .any(|it| it.contains("key event 3 of the registry")),
        "{found:?}"
    );
}

#[test]
fn what_a_writer_keeps_of_a_log_is_not_kept_for_another_registry() {
    let place = Place::new();
    let mut registry = place.registry();
    place.record().unwrap();
    let (mut kept, _) = LogPlace::find(&registry, &place.folder()).unwrap();
    assert!(kept.holds(&registry).unwrap());
    let log = place.log();
    place.edit(&Edit::Mask(true));
    place.edit(&Edit::Mask(false));
    assert_eq!(kept.record(&mut registry, &log).unwrap(), 2);
    assert!(kept.holds(&registry).unwrap());
    assert_eq!(place.logged(), [1, 2, 3]);
    // Another registry with as many events.
    let other = Place::new();
    other.edit(&Edit::Suspend);
    other.edit(&Edit::Resume);
    assert!(!kept.holds(&other.registry()).unwrap());
}
