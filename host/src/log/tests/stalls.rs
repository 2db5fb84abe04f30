//! A disk that does not answer: everyone is refused within a limit, nothing grows without one, and
//! the log goes on when the disk does.

use super::super::storage::faulty::{Failure, Fault, SALT, Step};
use super::*;

const HANG: Fault = Fault::new(Step::Sync, Failure::Hang);

/// A log whose sync thread hangs in a sync.
fn hanging(test: &Test) -> Log {
    let log = test.open().unwrap();
    test.storage.arm(&[HANG]);
    assert_eq!(
        log.append_durable(b"one").unwrap_err().kind(),
        AppendErrorKind::Timeout
    );
    assert!(test.storage.is_spent());
    log
}

#[test]
fn a_hanging_sync_refuses_and_the_log_goes_on_after_it() {
    let test = Test::new();
    let log = hanging(&test);
    let error = log.append(b"refused at once").unwrap_err();
    assert_eq!(error.kind(), AppendErrorKind::Timeout);
    assert_eq!(
        error.to_string(),
        "the disk did not make the log durable within 1000 ms"
    );
    test.storage.release();
    log.sync().unwrap();
    assert_eq!(log.append_durable(b"two").unwrap().index(), 2);
    drop(log);
    assert_eq!(test.entries()[1..], [b"one", b"two"]);
}

#[test]
fn closing_does_not_wait_for_a_hanging_sync() {
    let test = Test::new();
    drop(hanging(&test));
    // Who hangs is not done with the folder.
    assert!(matches!(test.open(), Err(LogError::InUse { .. })));
    test.storage.release();
    assert_eq!(test.entries()[1..], [b"one"]);
    while let Err(error) = test.open() {
        assert!(matches!(error, LogError::InUse { .. }), "{error}");
        thread::yield_now();
    }
}

#[test]
fn an_appender_that_hangs_in_its_write_holds_up_nobody_without_end() {
    let test = Test::new();
    let log = test.open().unwrap();
    test.storage.arm(&[Fault::new(Step::Write, Failure::Hang)]);
    thread::scope(|scope| {
        let first = scope.spawn(|| log.append(b"one"));
        while !test.storage.is_spent() {
            thread::yield_now();
        }
        assert_eq!(
            log.append(b"two").unwrap_err().kind(),
            AppendErrorKind::Timeout
        );
        assert_eq!(log.sync().unwrap_err().kind(), AppendErrorKind::Timeout);
        test.storage.release();
        assert_eq!(first.join().unwrap().unwrap().index(), 1);
    });
    assert_eq!(log.append(b"three").unwrap().index(), 2);
}

#[test]
fn what_is_written_and_not_durable_has_a_limit() {
    let test = Test::new();
    let log = test.open().unwrap();
    test.storage.arm(&[HANG]);
    let refused = (0..).find_map(|count| log.append(b"x").err().map(|error| (count, error)));
    let (taken, error) = refused.unwrap();
    assert_eq!(error.kind(), AppendErrorKind::Timeout);
    assert_eq!(taken, 65_536);
    test.storage.release();
    log.sync().unwrap();
    log.append(b"x").unwrap();
}

#[test]
fn waiting_appenders_share_a_sync() {
    let mut test = Test::new();
    test.options.durability = Durability::Durable;
    let log = test.open().unwrap();
    test.storage.arm(&[HANG]);
    let syncs = test.storage.syncs();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| log.append(b"one")))
            .collect();
        while test.segment(0).metadata().unwrap().len() < boot_and(16, &test) {
            thread::yield_now();
        }
        test.storage.release();
        assert!(
            threads
                .into_iter()
                .all(|thread| thread.join().unwrap().is_ok())
        );
    });
    let used = test.storage.syncs() - syncs;
    assert!(used <= 2, "{used} syncs for 16 entries");
}

/// The size of the first segment with its boot and some more entries of three bytes.
fn boot_and(entries: u64, test: &Test) -> u64 {
    let header = segment::Header {
        origin: test.options.origin.clone(),
        first_index: 0,
        salt: SALT,
    };
    let boot = test.entries()[0].len() as u64;
    header.encode().len() as u64 + boot + 20 + entries * 23
}
