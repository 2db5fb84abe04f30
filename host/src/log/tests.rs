//! The log as a whole: what a receipt promises, what opening finds, what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::entry::{Entry, Recovery};
use super::reader::{LogReadError, LogReader};
use super::storage::faulty::FaultyStorage;
use super::*;

mod crash;
mod faults;
mod floods;
mod folder;
mod full;
mod power;
mod publish;
mod retention;
mod stalls;
mod witness;

pub(super) const ORIGIN: &str = "keyward.example/test";

/// A folder, a storage that never waits for the disk, and options.
pub(super) struct Test {
    pub(super) dir: tempfile::TempDir,
    pub(super) storage: FaultyStorage,
    pub(super) options: LogOptions,
}

/// What a test that cares for neither expects.
pub(super) fn expected(folder: &Path) -> Result<Expected, LogError> {
    Ok(if has_begun(folder)? {
        Expected::Log
    } else {
        Expected::Nothing
    })
}

impl Test {
    /// With a sync interval that no test outlasts, so that only what a test asks for is synced.
    pub(super) fn new() -> Self {
        let mut options = options();
        options.sync_interval_ms = SYNC_INTERVAL_MAX_MS;
        Self {
            dir: tempfile::tempdir().unwrap(),
            storage: FaultyStorage::default(),
            options,
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub(super) fn segment(&self, first_index: u64) -> PathBuf {
        self.folder()
            .join("wal")
            .join(segment::file_name(first_index))
    }

    pub(super) fn open(&self) -> Result<Log, LogError> {
        let storage = Arc::new(self.storage.clone());
        let options = (self.options.clone(), expected(&self.folder())?);
        Log::open_on(storage, &self.folder(), options, now())
    }

    /// All entries, which have to be readable.
    pub(super) fn entries(&self) -> Vec<Vec<u8>> {
        let reader = LogReader::open(&self.folder()).unwrap();
        let entries = reader.entries();
        let read = (0..).zip(entries).map(|(expected, entry)| {
            let (index, payload) = entry.unwrap();
            assert_eq!(index, expected);
            payload
        });
        read.collect()
    }
}

fn options() -> LogOptions {
    LogOptions {
        origin: ORIGIN.to_owned(),
        keyward_version: "0.1.0".to_owned(),
        engine: "wasmtime 48".to_owned(),
        policy_set: Digest::from_bytes([1; 32]),
        ..LogOptions::default()
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::from_millis(1_795_428_000_000)
}

/// Puts a blob under its digest.
pub(super) fn put_blob(log: &Log, bytes: &[u8]) -> Result<Digest, AppendError> {
    let digest = Digest::of(bytes);
    log.put_blob(digest, || bytes).map(|()| digest)
}

/// An error with its causes, as the command prints it.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// The recoveries among some entries.
pub(super) fn recoveries(entries: &[Vec<u8>]) -> Vec<Recovery> {
    let decoded = entries.iter().filter_map(|entry| Entry::decode(entry).ok());
    decoded
        .filter_map(|entry| match entry {
            Entry::Recovery(recovery) => Some(recovery),
            _ => None,
        })
        .collect()
}

#[test]
fn a_log_begins_with_its_boot_and_goes_on_where_it_was() {
    let test = Test::new();
    let log = test.open().unwrap();
    let receipt = log.append(b"one").unwrap();
    assert_eq!(
        (receipt.index(), receipt.durability()),
        (1, Durability::Written)
    );
    let receipt = log.append_durable(b"two").unwrap();
    assert_eq!(
        (receipt.index(), receipt.durability()),
        (2, Durability::Durable)
    );
    drop(log);
    let log = test.open().unwrap();
    assert_eq!(log.append(b"three").unwrap().index(), 4);
    let boot = Entry::Boot(Boot {
        time: now(),
        origin: ORIGIN.to_owned(),
        durability: Durability::Written,
        sync_interval_ms: SYNC_INTERVAL_MAX_MS,
        keyward_version: "0.1.0".to_owned(),
        engine: "wasmtime 48".to_owned(),
        policy_set: Digest::from_bytes([1; 32]),
    })
    .encode();
    let expected = [&boot[..], b"one", b"two", &boot, b"three"];
    assert_eq!(test.entries(), expected);
}

#[test]
fn a_log_on_the_real_disk_keeps_entries_and_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        durability: Durability::Durable,
        ..options()
    };
    let log = Log::create(dir.path(), options.clone(), now()).unwrap();
    let digest = put_blob(&log, b"a blob").unwrap();
    log.put_blob(digest, || -> Vec<u8> { panic!("it is there already") })
        .unwrap();
    assert_eq!(
        log.append(b"one").unwrap().durability(),
        Durability::Durable
    );
    drop(log);
    let reader = LogReader::open(dir.path()).unwrap();
    assert_eq!(reader.origin(), ORIGIN);
    assert_eq!(reader.blob(digest).unwrap(), b"a blob");
    assert_eq!(reader.entries().count(), 2);
    Log::open(dir.path(), options, now()).unwrap();
}

/// Both calls refuse what they do not expect, and change nothing.
#[test]
fn a_log_is_created_once_and_opened_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("log");
    let error = Log::open(&folder, options(), now()).unwrap_err();
    assert!(matches!(error, LogError::NotBegun), "{error}");
    assert!(!folder.exists());
    drop(Log::create(&folder, options(), now()).unwrap());
    let segment = folder.join("wal").join(segment::file_name(0));
    let before = fs::read(&segment).unwrap();
    let error = Log::create(&folder, options(), now()).unwrap_err();
    assert!(matches!(error, LogError::Exists), "{error}");
    assert_eq!(fs::read(&segment).unwrap(), before);
    drop(Log::open(&folder, options(), now()).unwrap());
    // What was deleted is not made again in silence.
    fs::remove_dir_all(&folder).unwrap();
    let error = Log::open(&folder, options(), now()).unwrap_err();
    assert!(matches!(error, LogError::NotBegun), "{error}");
}

#[test]
fn a_second_writer_is_refused_by_name() {
    let test = Test::new();
    let log = test.open().unwrap();
    let expected = format!(
        "in use by another keyward process (pid {})",
        std::process::id()
    );
    assert_eq!(test.open().unwrap_err().to_string(), expected);
    drop(log);
    test.open().unwrap();
}

#[test]
fn sizes_are_limited_to_what_a_bundle_can_hold() {
    let test = Test::new();
    let log = test.open().unwrap();
    assert_eq!(log.append(&[]).unwrap_err().kind(), AppendErrorKind::Empty);
    let largest = vec![b'x'; ENTRY_MAX_BYTES];
    assert_eq!(log.append(&largest).unwrap().index(), 1);
    let error = log.append(&[&largest[..], b"x"].concat()).unwrap_err();
    assert_eq!(error.kind(), AppendErrorKind::TooLarge);
    assert_eq!(
        error.to_string(),
        "an entry of 65536 bytes; the most is 65535"
    );
    let blob = vec![0; usize::try_from(BLOB_MAX_BYTES).unwrap() + 1];
    assert_eq!(
        put_blob(&log, &blob).unwrap_err().kind(),
        AppendErrorKind::TooLarge
    );
    assert_eq!(log.append(b"next").unwrap().index(), 2);
}

#[test]
fn a_blob_under_another_digest_is_refused() {
    let test = Test::new();
    let log = test.open().unwrap();
    let digest = Digest::of(b"blob");
    let error = log.put_blob(digest, || b"blot").unwrap_err();
    assert_eq!(error.kind(), AppendErrorKind::WrongDigest);
    assert!(error.to_string().contains(&digest.to_string()));
    let reader = LogReader::open(&test.folder()).unwrap();
    for bytes in [b"blob", b"blot"] {
        assert!(reader.blob(Digest::of(bytes)).is_err());
    }
}

/// A denial by the gate.
fn decision() -> DecisionRecord {
    DecisionRecord {
        id: crate::decision::DecisionId(7),
        time: now(),
        request: Some("r1".into()),
        key: None,
        key_record: None,
        policy_set: Digest::from_bytes([1; 32]),
        permission: crate::decision::Permission::Deny,
        reason: "key.missing".into(),
        detail: None,
        evaluations: crate::decision::verdict::Evaluations::default(),
        client: None,
    }
}

#[test]
fn a_decision_is_appended_as_its_entry() {
    let test = Test::new();
    let log = test.open().unwrap();
    let decision = decision();
    assert_eq!(log.append_decision(&decision).unwrap().index(), 1);
    assert_eq!(
        Entry::decode(&test.entries()[1]),
        Ok(Entry::Decision(decision.clone()))
    );
    let reason = "x".repeat(ENTRY_MAX_BYTES).into();
    let large = DecisionRecord { reason, ..decision };
    assert_eq!(
        log.append_decision(&large).unwrap_err().kind(),
        AppendErrorKind::TooLarge
    );
}

#[test]
fn segments_follow_one_another_and_hold_at_least_one_entry() {
    for segment_max_bytes in [1, 200, 500] {
        let mut test = Test::new();
        test.options.segment_max_bytes = segment_max_bytes;
        let mut written = Vec::new();
        for round in 0..3 {
            let log = test.open().unwrap();
            for number in 0..10 {
                let payload = format!("{round} {number} {}", "x".repeat(number * 9)).into_bytes();
                let index = usize::try_from(log.append(&payload).unwrap().index()).unwrap();
                written.push((index, payload));
            }
        }
        let entries = test.entries();
        assert_eq!(entries.len(), 33);
        assert!(
            written
                .iter()
                .all(|(index, payload)| entries[*index] == *payload)
        );
        let segments = reader::list(&test.folder()).unwrap();
        assert!(segments.len() > 3, "{segments:?}");
        for segment in segments {
            let bytes = test.segment(segment).metadata().unwrap().len();
            let one_entry = test.options.segment_max_bytes == 1;
            assert!(bytes <= segment_max_bytes || one_entry, "{bytes}");
        }
    }
}

#[test]
fn many_threads_get_an_index_each_and_find_their_entries_there() {
    for durability in [Durability::Written, Durability::Durable] {
        let mut test = Test::new();
        test.options.durability = durability;
        test.options.segment_max_bytes = 4000;
        let log = test.open().unwrap();
        let append = |thread: usize| {
            let one = |number| {
                let payload = format!("{thread} {number}").into_bytes();
                (log.append(&payload).unwrap().index(), payload)
            };
            (0..100).map(one).collect::<Vec<_>>()
        };
        let mut written: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || append(n))).collect();
            threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap())
                .collect()
        });
        written.sort();
        let entries = test.entries();
        assert_eq!(entries.len(), 801);
        for (expected, (index, payload)) in (1..).zip(written) {
            assert_eq!(index, expected);
            assert_eq!(entries[usize::try_from(index).unwrap()], payload);
        }
    }
}

#[test]
fn what_was_written_is_synced_after_the_interval_without_being_asked() {
    let mut test = Test::new();
    test.options.sync_interval_ms = 1;
    let log = test.open().unwrap();
    log.append(b"one").unwrap();
    let written = test.segment(0).metadata().unwrap().len();
    while test.storage.durable_bytes(&test.segment(0)) < written {
        thread::yield_now();
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let long = "x".repeat(ORIGIN_MAX_BYTES + 1);
    for origin in ["", "a b", "a+b", "https://a", "a\nb", "é", &long] {
        let mut test = Test::new();
        test.options.origin = origin.to_owned();
        assert!(matches!(test.open(), Err(LogError::Origin(named)) if named == origin));
        assert!(!test.folder().exists());
    }
    for interval in [0, SYNC_INTERVAL_MAX_MS + 1] {
        let mut test = Test::new();
        test.options.sync_interval_ms = interval;
        assert!(matches!(test.open(), Err(LogError::SyncInterval(named)) if named == interval));
    }
    for bytes in [0, SEGMENT_MAX_BYTES + 1] {
        let mut test = Test::new();
        test.options.segment_max_bytes = bytes;
        assert!(matches!(test.open(), Err(LogError::SegmentSize(named)) if named == bytes));
    }
    let mut test = Test::new();
    drop(test.open().unwrap());
    test.options.origin = "keyward.example/other".to_owned();
    let error = test.open().unwrap_err().to_string();
    assert!(error.contains("is named `keyward.example/test`, not `keyward.example/other`"));
}

#[test]
fn a_log_is_not_begun_among_other_things() {
    let test = Test::new();
    std::fs::create_dir(test.folder()).unwrap();
    std::fs::write(test.folder().join("lock"), "").unwrap();
    drop(test.open().unwrap());
    let test = Test::new();
    std::fs::create_dir(test.folder()).unwrap();
    std::fs::write(test.folder().join("holiday.jpg"), "").unwrap();
    let error = test.open().unwrap_err();
    assert!(matches!(error, LogError::Read(LogReadError::NotALog)));
    assert!(!test.folder().join("wal").exists());
}

#[test]
fn a_log_whose_segments_are_gone_is_not_begun_again() {
    let test = Test::new();
    drop(test.open().unwrap());
    std::fs::remove_file(test.segment(0)).unwrap();
    assert!(matches!(
        test.open(),
        Err(LogError::Read(LogReadError::NoSegments))
    ));
}

#[test]
fn a_segment_deleted_under_a_running_log_is_noticed() {
    let test = Test::new();
    let log = test.open().unwrap();
    std::fs::remove_file(test.segment(0)).unwrap();
    let error = log.append_durable(b"one").unwrap_err();
    assert_eq!(error.kind(), AppendErrorKind::Poisoned);
    assert!(error.to_string().ends_with("its segment was deleted"));
    assert_eq!(log.append(b"two").unwrap_err(), error);
    assert_eq!(put_blob(&log, b"blob").unwrap_err(), error);
    assert_eq!(log.sync().unwrap_err(), error);
}

#[test]
fn a_log_is_shared_by_threads_and_dropped_by_any() {
    fn shared<T: Send + Sync + std::fmt::Debug>(_: &T) {}
    let test = Test::new();
    let log = test.open().unwrap();
    shared(&log);
    log.append(b"one").unwrap();
    thread::spawn(move || drop(log)).join().unwrap();
    let path = test.segment(0);
    let written = path.metadata().unwrap().len();
    assert_eq!(test.storage.durable_bytes(&path), written);
}
