//! A full disk: decisions are refused and counted, everything else goes into the reserve, and the
//! log goes on by itself when there is room.

use super::super::storage::faulty::{Failure, Fault, Step};
use super::*;

use AppendErrorKind::{DiskFull, Io, Poisoned};

const RELOAD: Reload = Reload {
    time: Timestamp::from_millis(1),
    previous: Digest::from_bytes([1; 32]),
    policy_set: Digest::from_bytes([2; 32]),
};

fn at(millis: i64) -> DecisionRecord {
    DecisionRecord {
        time: Timestamp::from_millis(millis),
        ..decision()
    }
}

/// A log that has refused its first decision.
fn sealed(test: &Test) -> Log {
    let log = test.open().unwrap();
    test.storage.fill(true);
    // What is allocated already is taken first.
    while let Ok(receipt) = log.append_decision(&large(0)) {
        assert!(receipt.index() < 100);
    }
    log
}

/// A decision of almost 64 KiB.
fn large(millis: i64) -> DecisionRecord {
    DecisionRecord {
        reason: "x".repeat(64_000).into(),
        ..at(millis)
    }
}

/// Appends a decision as soon as the log takes one.
fn append_again(log: &Log, millis: i64) -> u64 {
    let mut refused = 0;
    loop {
        match log.append_decision(&at(millis)) {
            Ok(receipt) => {
                assert!(refused > 0, "the seal held for no time");
                return receipt.index();
            }
            Err(error) => assert_eq!(error.kind(), DiskFull),
        }
        refused += 1;
        thread::sleep(Duration::from_millis(5));
    }
}

fn outages(test: &Test) -> Vec<Outage> {
    let decoded = test.entries().into_iter().map(|it| Entry::decode(&it));
    decoded
        .filter_map(|entry| match entry.unwrap() {
            Entry::Outage(outage) => Some(outage),
            _ => None,
        })
        .collect()
}

fn length(path: &Path) -> u64 {
    path.metadata().unwrap().len()
}

#[test]
fn the_last_segment_has_the_reserve_behind_its_end_and_the_others_have_none() {
    let mut test = Test::new();
    test.options.segment_max_bytes = 200_000;
    let log = test.open().unwrap();
    for _ in 0..100 {
        log.append_decision(&large(1)).unwrap();
        let segments = reader::list(&test.folder()).unwrap();
        for (place, segment) in segments.iter().rev().enumerate() {
            // The storage knows a file by its name of before it was named too.
            let path = test.segment(*segment);
            let beyond = test.storage.allocated_beyond(&path, length(&path));
            assert_eq!(place == 0, beyond >= RESERVE_BYTES, "{beyond}");
            assert!(place == 0 || beyond == 0, "{beyond}");
        }
    }
    drop(log);
    assert!(reader::list(&test.folder()).unwrap().len() > 30);
}

#[test]
fn allocating_costs_one_call_for_thousands_of_decisions() {
    let test = Test::new();
    let log = test.open().unwrap();
    let before = test.storage.allocations();
    let entries = 20_000;
    for _ in 0..entries {
        log.append(&[7; 350]).unwrap();
    }
    let calls = test.storage.allocations() - before;
    assert!((1..=entries / 2_500).contains(&calls), "{calls}");
}

#[test]
fn a_full_disk_refuses_decisions_and_takes_everything_else() {
    let test = Test::new();
    let log = sealed(&test);
    let path = test.segment(0);
    let (bytes, calls) = (length(&path), test.storage.allocations());
    for _ in 0..2_000 {
        assert_eq!(log.append_decision(&at(1)).unwrap_err().kind(), DiskFull);
        assert_eq!(put_blob(&log, b"new").unwrap_err().kind(), DiskFull);
    }
    // Some milliseconds.
    let again = test.storage.allocations() - calls;
    assert!(again < 40, "asked {again} times");
    assert_eq!(length(&path), bytes, "nothing is written for them");
    for _ in 0..100 {
        log.append_reload(&RELOAD).unwrap();
    }
    let error = log.append_decision(&at(1)).unwrap_err();
    assert!(error.to_string().contains("reserve"), "{error}");
}

#[test]
fn a_full_disk_that_is_freed_is_gone_on_with_behind_the_outage() {
    let test = Test::new();
    let log = sealed(&test);
    for millis in [3, 5, 4] {
        log.append_decision(&at(millis)).unwrap_err();
    }
    // A decision whose key record was refused is one more.
    let error = put_blob(&log, b"new").unwrap_err();
    log.count_refused(Timestamp::from_millis(9), &error);
    // A log that is sealed and asks again is still sealed.
    thread::sleep(Duration::from_millis(150));
    log.append_decision(&at(6)).unwrap_err();
    assert_eq!(outages(&test), []);
    test.storage.fill(false);
    let index = append_again(&log, 8);
    put_blob(&log, b"new").unwrap();
    let [outage] = outages(&test)[..] else {
        panic!("not one outage")
    };
    assert_eq!(outage.from, Timestamp::from_millis(0));
    assert_eq!(outage.to, Timestamp::from_millis(9));
    assert!(outage.refused > 6, "{}", outage.refused);
    let entries = test.entries();
    let place = usize::try_from(index).unwrap();
    assert_eq!(Entry::decode(&entries[place]), Ok(Entry::Decision(at(8))));
    assert_eq!(
        Entry::decode(&entries[place - 1]),
        Ok(Entry::Outage(outage))
    );
    assert_eq!(log.append_decision(&at(9)).unwrap().index(), index + 1);
}

#[test]
fn a_log_that_ends_on_a_full_disk_records_the_outage_and_opens_again() {
    let test = Test::new();
    let log = sealed(&test);
    log.append_decision(&at(7)).unwrap_err();
    drop(log);
    let [outage] = outages(&test)[..] else {
        panic!("not one outage")
    };
    assert_eq!((outage.refused, outage.to), (2, Timestamp::from_millis(7)));
    let log = test.open().unwrap();
    assert_eq!(log.append_decision(&at(8)).unwrap_err().kind(), DiskFull);
    log.append_reload(&RELOAD).unwrap();
    drop(log);
    assert_eq!(outages(&test).len(), 2);
}

/// Cutting off a torn end gives the reserve back with it, and takes it again before another does.
#[test]
fn a_torn_end_costs_no_reserve() {
    let test = Test::new();
    drop(test.open().unwrap());
    let path = test.segment(0);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(length(&path) - 3).unwrap();
    // Another has taken the rest.
    test.storage.arm(&[Fault {
        skip: 1,
        times: u32::MAX,
        ..Fault::new(Step::Allocate, Failure::Full)
    }]);
    drop(test.open().unwrap());
    assert_eq!(recoveries(&test.entries()).len(), 1);
    let beyond = test.storage.allocated_beyond(&path, length(&path));
    assert!(beyond >= RESERVE_BYTES, "{beyond}");
}

#[test]
fn a_log_without_a_reserve_is_not_opened_on_a_full_disk() {
    let test = Test::new();
    test.storage.fill(true);
    let error = chain(&test.open().unwrap_err());
    assert!(error.contains("make room"), "{error}");
    test.storage.fill(false);
    test.storage.forget_allocation();
    drop(test.open().unwrap());
    test.storage.fill(true);
    let refused = test.open().unwrap_err();
    let is_full = matches!(&refused, LogError::Append(error) if error.kind() == DiskFull);
    assert!(is_full, "{refused}");
}

#[test]
fn a_file_system_that_cannot_allocate_has_no_reserve_and_is_asked_once() {
    let test = Test::new();
    test.storage.forget_allocation();
    let log = test.open().unwrap();
    let calls = test.storage.allocations();
    log.append_decision(&large(0)).unwrap();
    test.storage.fill(true);
    for _ in 0..3 {
        assert_eq!(log.append_decision(&at(1)).unwrap_err().kind(), DiskFull);
    }
    assert_eq!(log.append_reload(&RELOAD).unwrap_err().kind(), DiskFull);
    test.storage.fill(false);
    log.append_decision(&at(2)).unwrap();
    assert_eq!(test.storage.allocations(), calls);
    assert_eq!(outages(&test)[0].refused, 3);
}

/// When the next segment cannot be made, what is no decision goes on in the old one.
#[test]
fn a_full_segment_holds_what_is_no_decision_up_to_the_reserve() {
    let mut test = Test::new();
    test.options.segment_max_bytes = 1_000_000;
    let log = sealed(&test);
    let mut taken = 0;
    let refused = loop {
        match log.append_durable(&[7; 60_000]) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.kind(), DiskFull);
    // All of the reserve, and what was left of the segment.
    assert!(taken >= RESERVE_BYTES / 60_020, "{taken}");
    assert_eq!(reader::list(&test.folder()).unwrap(), [0]);
    let bytes = length(&test.segment(0));
    assert!(bytes <= test.options.segment_max_bytes + RESERVE_BYTES);
    assert!(bytes + 60_020 > test.options.segment_max_bytes + RESERVE_BYTES);
    let folder = std::fs::read_dir(test.folder().join("wal")).unwrap();
    assert_eq!(folder.count(), 1, "a segment half made takes no room");
    test.storage.fill(false);
    append_again(&log, 3);
    drop(log);
    assert_eq!(reader::list(&test.folder()).unwrap().len(), 2);
    drop(test.open().unwrap());
}

/// Where it is not known whether the next segment has its name, nothing goes behind the old one.
#[test]
fn a_segment_that_may_be_named_is_not_gone_behind() {
    let mut test = Test::new();
    test.options.segment_max_bytes = 300;
    let log = test.open().unwrap();
    test.storage.arm(&[Fault {
        times: 2,
        ..Fault::new(Step::Rename, Failure::Full)
    }]);
    assert_eq!(log.append(&[7; 300]).unwrap_err().kind(), DiskFull);
    assert_eq!(log.append_durable(b"one").unwrap_err().kind(), DiskFull);
    thread::sleep(Duration::from_millis(150));
    assert_eq!(log.append_durable(b"two").unwrap_err().kind(), DiskFull);
    thread::sleep(Duration::from_millis(150));
    assert_eq!(log.append_durable(b"three").unwrap().index(), 1);
    assert_eq!(reader::list(&test.folder()).unwrap(), [0, 1]);
}

#[test]
fn an_allocation_that_fails_otherwise_refuses_and_seals_nothing() {
    for failure in [Failure::Undone, Failure::Done] {
        let test = Test::new();
        let log = test.open().unwrap();
        test.storage.arm(&[Fault::new(Step::Allocate, failure)]);
        let refused = (0..100).find_map(|_| log.append(&[7; 60_000]).err());
        assert_eq!(refused.unwrap().kind(), Io);
        assert!(test.storage.is_spent());
        log.append(b"at once").unwrap();
    }
}

/// A write that fails takes the reserve with what it wrote. It is there again before the next one.
#[test]
fn a_write_that_fails_costs_no_reserve() {
    let test = Test::new();
    let log = test.open().unwrap();
    test.storage.arm(&[Fault::new(Step::Write, Failure::Half)]);
    assert_eq!(log.append(b"one").unwrap_err().kind(), Io);
    let path = test.segment(0);
    let beyond = test.storage.allocated_beyond(&path, length(&path));
    assert!(beyond >= RESERVE_BYTES, "{beyond}");
}

#[test]
fn a_poisoned_log_records_no_outage_when_it_ends() {
    let test = Test::new();
    let log = test.open().unwrap();
    test.storage.arm(&[Fault::new(Step::Sync, Failure::Undone)]);
    assert_eq!(log.append_durable(b"one").unwrap_err().kind(), Poisoned);
    assert_eq!(log.append_decision(&at(1)).unwrap_err().kind(), Poisoned);
    let bytes = length(&test.segment(0));
    drop(log);
    assert_eq!(length(&test.segment(0)), bytes);
}

/// On the machine's own files: what is allocated stays when the log is closed, and changes no
/// length.
#[test]
fn a_closed_log_keeps_its_reserve_on_a_real_disk() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    drop(Log::create(dir.path(), options(), now()).unwrap());
    let path = dir.path().join(reader::segment_path(0));
    let file = path.metadata().unwrap();
    assert!(file.len() < 1_000);
    // A file system that cannot allocate has none; those of Linux machines can.
    assert!(file.blocks() * 512 >= RESERVE_BYTES, "{}", file.blocks());
}
