//! Every step that can fail, failing with and without effect, and what the log is worth afterwards:
//! no acknowledged entry is lost, no index is missing or given twice, and what goes on goes on.

use super::super::storage::faulty::{Failure, Fault, Step};
use super::*;

use AppendErrorKind as Kind;
use Failure::{Done, Full, Half, Short, Undone};

/// What the log is after a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    GoesOn,
    Poisoned,
    /// It goes on when it asks the disk again.
    Sealed,
}

use After::{GoesOn, Poisoned, Sealed};

/// One fault, and what is to come of it.
struct Case {
    name: &'static str,
    faults: &'static [Fault],
    refused: Kind,
    after: After,
}

const fn fault(step: Step, failure: Failure) -> Fault {
    Fault::new(step, failure)
}

const fn second(step: Step, failure: Failure) -> Fault {
    Fault {
        skip: 1,
        ..Fault::new(step, failure)
    }
}

const fn case(name: &'static str, faults: &'static [Fault], refused: Kind, after: After) -> Case {
    Case {
        name,
        faults,
        refused,
        after,
    }
}

/// An entry that goes into the segment that is there.
const APPEND: &[Case] = &[
    case(
        "write, not done",
        &[fault(Step::Write, Undone)],
        Kind::Io,
        GoesOn,
    ),
    case("write, done", &[fault(Step::Write, Done)], Kind::Io, GoesOn),
    case(
        "write, half done",
        &[fault(Step::Write, Half)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "write, short",
        &[fault(Step::Write, Short)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "disk full",
        &[fault(Step::Write, Full)],
        Kind::DiskFull,
        GoesOn,
    ),
    case(
        "write half done, cut back not done",
        &[fault(Step::Write, Half), fault(Step::Truncate, Undone)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "write half done, cut back done",
        &[fault(Step::Write, Half), fault(Step::Truncate, Done)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "write done, cut back not done",
        &[fault(Step::Write, Done), fault(Step::Truncate, Undone)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "write done, cut back done",
        &[fault(Step::Write, Done), fault(Step::Truncate, Done)],
        Kind::Poisoned,
        Poisoned,
    ),
];

/// What a durable entry waits for besides.
const SYNC: &[Case] = &[
    case(
        "sync, not done",
        &[fault(Step::Sync, Undone)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "sync, done",
        &[fault(Step::Sync, Done)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "links, unknown",
        &[fault(Step::Links, Undone)],
        Kind::Poisoned,
        Poisoned,
    ),
];

/// An entry that begins a segment: the old one is synced; the new one is created, written (the
/// first write), synced (the second sync), renamed, and its folder synced; then comes the entry's
/// write.
const ROTATE: &[Case] = &[
    case(
        "old links",
        &[fault(Step::Links, Undone)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "old sync, not done",
        &[fault(Step::Sync, Undone)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "old sync, done",
        &[fault(Step::Sync, Done)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "create, not done",
        &[fault(Step::Create, Undone)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "create, done",
        &[fault(Step::Create, Done)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "create, disk full",
        &[fault(Step::Create, Full)],
        Kind::DiskFull,
        Sealed,
    ),
    case(
        "allocation, disk full",
        &[fault(Step::Allocate, Full)],
        Kind::DiskFull,
        Sealed,
    ),
    case(
        "allocation, not done",
        &[fault(Step::Allocate, Undone)],
        Kind::Io,
        GoesOn,
    ),
    case("salt", &[fault(Step::Salt, Undone)], Kind::Io, GoesOn),
    case(
        "header, not done",
        &[fault(Step::Write, Undone)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "header, done",
        &[fault(Step::Write, Done)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "header, half done",
        &[fault(Step::Write, Half)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "header, short",
        &[fault(Step::Write, Short)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "new sync, not done",
        &[second(Step::Sync, Undone)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "new sync, done",
        &[second(Step::Sync, Done)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "rename, not done",
        &[fault(Step::Rename, Undone)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "rename, done",
        &[fault(Step::Rename, Done)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "folder sync, not done",
        &[fault(Step::SyncFolder, Undone)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "folder sync, done",
        &[fault(Step::SyncFolder, Done)],
        Kind::Poisoned,
        Poisoned,
    ),
    case(
        "entry, not done",
        &[second(Step::Write, Undone)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "entry, half done",
        &[second(Step::Write, Half)],
        Kind::Io,
        GoesOn,
    ),
    case(
        "entry half done, cut back not done",
        // The first one gives back the reserve of the segment before.
        &[second(Step::Write, Half), second(Step::Truncate, Undone)],
        Kind::Poisoned,
        Poisoned,
    ),
];

/// Appends three entries, then one that meets the fault, then a small one, and reopens twice.
fn check(case: &Case, durability: Durability, segment_max_bytes: u64) {
    let name = case.name;
    let mut test = Test::new();
    test.options.durability = durability;
    test.options.segment_max_bytes = segment_max_bytes;
    let log = test.open().unwrap();
    let mut taken: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut append = |log: &Log, text: &str| {
        let receipt = log.append(text.as_bytes())?;
        taken.push((receipt.index(), text.as_bytes().to_vec()));
        Ok::<_, AppendError>(())
    };
    for text in ["one", "two", "three"] {
        append(&log, text).unwrap();
    }
    test.storage.arm(case.faults);
    let error = append(&log, "the entry that meets the fault").unwrap_err();
    assert_eq!(error.kind(), case.refused, "{name}: {error}");
    assert!(test.storage.is_spent(), "{name}");
    match (case.after, append(&log, "4")) {
        (GoesOn, Ok(())) => {}
        (Poisoned, Err(error)) => assert_eq!(error.kind(), Kind::Poisoned, "{name}"),
        (Sealed, Err(error)) => {
            assert_eq!(error.kind(), Kind::DiskFull, "{name}");
            thread::sleep(Duration::from_millis(150));
            append(&log, "4").unwrap();
        }
        (_, other) => panic!("{name}: {other:?}"),
    }
    drop(log);
    for text in ["five", "six"] {
        let log = test
            .open()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        append(&log, text).unwrap();
    }
    let entries = test.entries();
    for (index, payload) in &taken {
        assert_eq!(
            entries[usize::try_from(*index).unwrap()],
            *payload,
            "{name}"
        );
    }
    // Three boots and what was taken; after poison perhaps a recovery and the refused entry.
    let more = entries.len() - 3 - taken.len();
    let most = if case.after == Poisoned { 2 } else { 0 };
    assert!(more <= most, "{name}: {more} entries more");
}

#[test]
fn a_failed_append_changes_nothing_or_poisons() {
    for case in APPEND {
        check(case, Durability::Written, SEGMENT_MAX_BYTES);
        check(case, Durability::Durable, SEGMENT_MAX_BYTES);
    }
}

#[test]
fn a_failed_sync_poisons() {
    for case in SYNC {
        check(case, Durability::Durable, SEGMENT_MAX_BYTES);
    }
}

#[test]
fn a_failed_rotation_is_tried_again_or_poisons() {
    for case in ROTATE {
        check(case, Durability::Written, 1);
    }
}

/// The entry after a failed rotation is small enough for the old segment and must not go there: the
/// new one may have its name already.
#[test]
fn an_entry_that_would_still_fit_does_not_go_behind_a_failed_rotation() {
    for case in ROTATE {
        check(case, Durability::Written, 265);
    }
}

#[test]
fn a_full_disk_passes() {
    let test = Test::new();
    let log = test.open().unwrap();
    let full = Fault {
        times: 5,
        ..Fault::new(Step::Write, Full)
    };
    test.storage.arm(&[full]);
    for _ in 0..5 {
        assert_eq!(log.append(b"one").unwrap_err().kind(), Kind::DiskFull);
    }
    assert_eq!(log.append(b"two").unwrap().index(), 1);
    drop(log);
    assert_eq!(test.entries().len(), 2);
}

/// How blind the log was stands in it, exactly, as soon as it takes decisions again.
#[test]
fn what_was_refused_is_counted_and_recorded() {
    let test = Test::new();
    let log = test.open().unwrap();
    let at = |millis| DecisionRecord {
        time: Timestamp::from_millis(millis),
        ..decision()
    };
    log.append_decision(&at(1)).unwrap();
    test.storage.arm(&[Fault {
        times: 4,
        ..Fault::new(Step::Write, Full)
    }]);
    // The second and the third try to record the outage first, and are refused for that.
    for millis in [5, 9, 3, 7] {
        let refused = log.append_decision(&at(millis)).unwrap_err();
        assert_eq!(refused.kind(), Kind::DiskFull);
    }
    assert_eq!(log.append_decision(&at(8)).unwrap().index(), 3);
    assert_eq!(log.append_decision(&at(9)).unwrap().index(), 4);
    drop(log);
    let outage = Outage {
        from: Timestamp::from_millis(3),
        to: Timestamp::from_millis(9),
        refused: 4,
    };
    let entries = test.entries();
    assert_eq!(Entry::decode(&entries[2]), Ok(Entry::Outage(outage)));
    assert_eq!(entries.len(), 5);
}

#[test]
fn a_failed_sync_is_not_tried_again_and_refuses_all_who_wait() {
    let mut test = Test::new();
    test.options.durability = Durability::Durable;
    let log = test.open().unwrap();
    test.storage.arm(&[Fault::new(Step::Sync, Undone)]);
    let syncs = test.storage.syncs();
    let kinds: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| log.append(b"one"))).collect();
        threads
            .into_iter()
            .map(|t| t.join().unwrap().unwrap_err().kind())
            .collect()
    });
    assert_eq!(kinds, [Kind::Poisoned; 8]);
    drop(log);
    assert_eq!(test.storage.syncs(), syncs);
}

#[test]
fn blobs_are_durable_before_the_entries_that_name_them() {
    let test = Test::new();
    let log = test.open().unwrap();
    let digest = put_blob(&log, b"blob").unwrap();
    test.storage.arm(&[Fault {
        place: "blob",
        ..Fault::new(Step::Sync, Undone)
    }]);
    let durable = test.storage.durable_bytes(&test.segment(0));
    let error = log.append_durable(digest.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), Kind::Poisoned);
    assert!(
        error
            .to_string()
            .contains("blobs could not be made durable")
    );
    assert_eq!(test.storage.durable_bytes(&test.segment(0)), durable);
}

#[test]
fn a_blob_that_cannot_be_written_is_refused_and_may_come_again() {
    let test = Test::new();
    let log = test.open().unwrap();
    for (failure, kind) in [(Undone, Kind::Io), (Full, Kind::DiskFull)] {
        test.storage.arm(&[Fault {
            place: "blob",
            ..Fault::new(Step::Write, failure)
        }]);
        assert_eq!(put_blob(&log, b"blob").unwrap_err().kind(), kind);
    }
    let digest = put_blob(&log, b"blob").unwrap();
    assert_eq!(
        LogReader::open(&test.folder())
            .unwrap()
            .blob(digest)
            .unwrap(),
        b"blob"
    );
}

/// The first start and every later one, failing at each of its steps.
#[test]
fn a_failed_start_can_be_repeated() {
    for step in [
        Step::Create,
        Step::Write,
        Step::Sync,
        Step::Rename,
        Step::SyncFolder,
        Step::Links,
        Step::Salt,
    ] {
        for failure in [Undone, Done] {
            for skip in 0..6 {
                let test = Test::new();
                test.storage.arm(&[Fault {
                    skip,
                    ..Fault::new(step, failure)
                }]);
                let first = test.open();
                let met = test.storage.is_spent();
                assert_eq!(first.is_err(), met, "{step:?} {failure:?} {skip}");
                test.storage.arm(&[]);
                drop(first);
                let log = test.open().unwrap();
                let index = log.append(b"one").unwrap().index();
                drop(log);
                assert_eq!(test.entries()[usize::try_from(index).unwrap()], b"one");
            }
        }
    }
}

#[test]
fn a_failed_recovery_can_be_repeated_and_is_recorded() {
    for step in [
        Step::Open,
        Step::Write,
        Step::Truncate,
        Step::Sync,
        Step::Links,
    ] {
        for failure in [Undone, Done, Half] {
            let test = Test::new();
            let log = test.open().unwrap();
            log.append(b"one").unwrap();
            log.append(b"torn off").unwrap();
            drop(log);
            let path = test.segment(0);
            let length = path.metadata().unwrap().len();
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(length - 3).unwrap();
            test.storage.arm(&[Fault {
                place: "wal",
                ..Fault::new(step, failure)
            }]);
            assert!(test.open().is_err(), "{step:?} {failure:?}");
            assert!(test.storage.is_spent());
            drop(test.open().unwrap());
            let entries = test.entries();
            assert_eq!(entries[1], b"one");
            assert!(!recoveries(&entries).is_empty(), "{step:?} {failure:?}");
        }
    }
}
