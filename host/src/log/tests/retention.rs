//! Retention: what is pruned is gone and accounted for, and what is kept is untouched.

use std::fs;

use super::publish::signed;
use super::*;
use crate::audit::verify::{Verification, VerifyOptions, verify};
use crate::log::entry::Outage;
use crate::log::storage::faulty::{Failure, Fault, Step};
use crate::log::tiles::TileReader;
use crate::tlog::key::{KeyType, Signer};
use crate::tlog::policy::Policy;
use crate::tlog::tile::Tile;

const POLICY: &str = "a test keeps what is new";

/// Appends entries of one time.
fn append_at(log: &Log, seconds: i64, count: usize) {
    let time = Timestamp::from_millis(seconds * 1_000);
    for _ in 0..count {
        let outage = Outage {
            from: time,
            to: time,
            refused: 1,
        };
        log.append(&Entry::Outage(outage).encode()).unwrap();
    }
}

/// A log that began at second 0: 1,000 entries up to second 50, and 300 much later, signed.
fn aged() -> Test {
    let test = signed();
    let log = test.open().unwrap();
    append_at(&log, 50, 999);
    append_at(&log, 5_000_000_000, 300);
    assert_eq!(log.close().problem, None);
    test
}

/// Before this the first 1,000 entries were appended.
fn cut() -> Timestamp {
    Timestamp::from_millis(4_000_000_000_000)
}

fn verified(test: &Test) -> Verification {
    let signer = Signer::from_seed(KeyType::Ed25519, ORIGIN, &[7; 32]).unwrap();
    let policy = format!("log {}\nquorum none\n", signer.verifier());
    let options = VerifyOptions {
        policy: &Policy::parse(policy.as_bytes()).unwrap(),
        since: None,
        threads: 2,
        progress: &|_| {},
    };
    verify(&test.folder(), &options).unwrap()
}

fn bundle(test: &Test, index: u64) -> PathBuf {
    test.folder().join(format!("tile/entries/{index:03}"))
}

#[test]
fn what_is_pruned_is_gone_and_the_log_is_still_the_one_that_was_signed() {
    let test = aged();
    let before = test.entries();
    let log = test.open().unwrap();
    let pruned = log.prune((cut(), POLICY), now()).unwrap().unwrap();
    // 1,000 and the boot records, in bundles of 256; the record is behind the second boot record.
    assert_eq!(pruned.retention.below, 768);
    assert_eq!(pruned.record, 1_301);
    drop(log);
    for index in 0..5 {
        assert_eq!(bundle(&test, index).exists(), index >= 3);
    }
    let reader = LogReader::open(&test.folder()).unwrap();
    assert_eq!(reader.pruned().unwrap(), Some(pruned.clone()));
    let kept: Vec<_> = reader.entries().map(Result::unwrap).collect();
    assert_eq!(kept[0].0, 768);
    assert_eq!(
        kept[..532],
        (768..).zip(before[768..].to_vec()).collect::<Vec<_>>()
    );
    let whole = verified(&test);
    assert_eq!(whole.problems, []);
    assert_eq!(whole.pruned, Some(pruned));
    assert_eq!(whole.entries, 0..1_302);
    // Nothing more is old enough; what is appended later is pruned later.
    let log = test.open().unwrap();
    assert_eq!(log.prune((cut(), POLICY), now()).unwrap(), None);
    append_at(&log, 6_000_000_000, 600);
    drop(log);
    assert_eq!(verified(&test).problems, []);
    // The segments with what is pruned are gone too.
    let first = LogReader::open(&test.folder()).unwrap().first_segment();
    assert_eq!(first, Some(1_301));
    let log = test.open().unwrap();
    let later = Timestamp::from_millis(5_500_000_000_000);
    let again = log.prune((later, POLICY), now()).unwrap().unwrap();
    assert_eq!(again.retention.below, 1_280);
    drop(log);
    assert_eq!(verified(&test).problems, []);
}

#[test]
fn a_log_that_nobody_signs_is_not_pruned() {
    let test = Test::new();
    let log = test.open().unwrap();
    append_at(&log, 50, 999);
    assert_eq!(log.prune((cut(), POLICY), now()).unwrap(), None);
    drop(log);
    assert_eq!(test.entries().len(), 1_000);
}

/// Whatever fails: nothing is deleted before it is accounted for, and the next attempt ends it.
#[test]
fn pruning_that_fails_is_ended_by_the_next_attempt() {
    for (step, place) in [
        (Step::Create, "log/1.tmp"),
        (Step::Write, "log/1.tmp"),
        (Step::Sync, "log/1.tmp"),
        (Step::Rename, "log/retention"),
    ] {
        let test = aged();
        let log = test.open().unwrap();
        test.storage.arm(&[Fault {
            place,
            ..Fault::new(step, Failure::Undone)
        }]);
        log.prune((cut(), POLICY), now()).unwrap_err();
        assert!(test.storage.is_spent());
        assert!(bundle(&test, 0).exists());
        assert_eq!(
            log.prune((cut(), POLICY), now())
                .unwrap()
                .unwrap()
                .retention
                .below,
            768
        );
        drop(log);
        assert_eq!(verified(&test).problems, []);
    }
    // A crash before all is deleted.
    let test = aged();
    let kept = fs::read(bundle(&test, 1)).unwrap();
    let log = test.open().unwrap();
    log.prune((cut(), POLICY), now()).unwrap();
    fs::write(bundle(&test, 1), kept).unwrap();
    assert_eq!(log.prune((cut(), POLICY), now()).unwrap(), None);
    assert!(!bundle(&test, 1).exists());
}

#[test]
fn what_is_missing_without_a_record_is_missing() {
    let test = aged();
    fs::remove_file(bundle(&test, 0)).unwrap();
    let [problem] = &verified(&test).problems[..] else {
        panic!("one problem");
    };
    assert_eq!((problem.first, problem.last), (0, 255));
    // A note that names no record, or one that is not there, does not help.
    for note in [
        "300\n",
        "99999\n",
        "",
        "300",
        "-1\n",
        "x\n",
        "18446744073709551616\n",
    ] {
        fs::write(test.folder().join("retention"), note).unwrap();
        let problems = verified(&test).problems;
        assert!(
            problems.iter().any(|it| it.what.contains("`retention`")),
            "{note}"
        );
        assert!(
            problems
                .iter()
                .any(|it| it.what.contains("`tile/entries/000` is missing"))
        );
        TileReader::new(&test.folder()).pruned().unwrap_err();
    }
    // A record that nobody signed does not either.
    let test = aged();
    let log = test.open().unwrap();
    let record = log.prune((cut(), POLICY), now()).unwrap().unwrap().record;
    drop(log);
    let tile = Tile::bundle_of(record, record + 1).unwrap();
    let path = test.folder().join(tile.to_string());
    let forged = fs::read(&path).unwrap();
    let place = forged
        .windows(3)
        .rposition(|it| it == [0x19, 0x03, 0x00])
        .unwrap();
    let mut forged = forged;
    forged[place + 1] = 0x04;
    fs::write(&path, forged).unwrap();
    fs::remove_file(bundle(&test, 3)).unwrap();
    let problems = verified(&test).problems;
    assert!(
        problems
            .iter()
            .any(|it| it.what.contains("is not what was signed")),
        "{problems:?}"
    );
    assert!(
        problems
            .iter()
            .any(|it| it.what.contains("`tile/entries/003` is missing"))
    );
}
