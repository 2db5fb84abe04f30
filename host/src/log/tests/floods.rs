//! Denials that are counted: the log says how many there were, soon, once, and also when the disk
//! is full in between.

use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;

use super::super::storage::faulty::{Failure, Fault, Step};
use super::*;

use AppendErrorKind as Kind;

const MISSING: &str = "key.missing";
const UNKNOWN: &str = "key.unknown";

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn coalesced(reason: &str, (from, to): (i64, i64), count: u64) -> Entry {
    Entry::Coalesced(Coalesced {
        from: at(from),
        to: at(to),
        reason: reason.into(),
        count,
    })
}

/// The entries behind the boot.
fn decoded(test: &Test) -> Vec<Entry> {
    let entries = test.entries();
    let entries = entries.iter().skip(1);
    entries.map(|it| Entry::decode(it).unwrap()).collect()
}

#[derive(Debug, Default, PartialEq)]
struct Sums {
    recorded: u64,
    counted: u64,
    refused: u64,
}

fn sums(test: &Test) -> Sums {
    let mut sums = Sums::default();
    for entry in decoded(test) {
        match entry {
            Entry::Coalesced(coalesced) => sums.counted += coalesced.count,
            Entry::Decision(_) => sums.recorded += 1,
            Entry::Outage(outage) => sums.refused += outage.refused,
            other => panic!("{other:?}"),
        }
    }
    sums
}

#[test]
fn there_is_one_entry_for_each_reason() {
    let test = Test::new();
    let log = test.open().unwrap();
    for (reason, millis) in [(UNKNOWN, 5), (MISSING, 6), (UNKNOWN, 9), (UNKNOWN, 3)] {
        log.count_denial(reason, at(millis)).unwrap();
    }
    assert_eq!(decoded(&test), []);
    log.sync().unwrap();
    let first = [coalesced(UNKNOWN, (3, 9), 3), coalesced(MISSING, (6, 6), 1)];
    assert_eq!(decoded(&test), first);
    let path = test.segment(0);
    let written = path.metadata().unwrap().len();
    assert_eq!(test.storage.durable_bytes(&path), written);
    log.sync().unwrap();
    log.count_denial(UNKNOWN, at(4)).unwrap();
    // What closing finds is recorded too.
    drop(log);
    assert_eq!(decoded(&test)[..2], first);
    assert_eq!(decoded(&test)[2..], [coalesced(UNKNOWN, (4, 4), 1)]);
}

#[test]
fn a_count_is_in_the_log_after_the_interval_without_being_asked_for() {
    let mut test = Test::new();
    test.options.sync_interval_ms = 1;
    let log = test.open().unwrap();
    for counted in 1..=3 {
        log.count_denial(UNKNOWN, at(5)).unwrap();
        while sums(&test).counted < counted {
            thread::yield_now();
        }
    }
    drop(log);
    assert_eq!(
        decoded(&test),
        [(); 3].map(|()| coalesced(UNKNOWN, (5, 5), 1))
    );
}

/// What the log has counted it records when there is room; what it does not count meanwhile is part
/// of the outage.
#[test]
fn a_full_disk_keeps_the_counts() {
    let test = Test::new();
    let log = test.open().unwrap();
    for reason in [UNKNOWN, MISSING] {
        log.count_denial(reason, at(5)).unwrap();
    }
    test.storage.arm(&[Fault {
        skip: 1,
        ..Fault::new(Step::Write, Failure::Full)
    }]);
    // The first is taken and the second is not.
    assert_eq!(log.sync().unwrap_err().kind(), Kind::DiskFull);
    assert_eq!(sums(&test).counted, 1);
    for millis in [7, 8] {
        let refused = log.count_denial(UNKNOWN, at(millis)).unwrap_err();
        assert_eq!(refused.kind(), Kind::DiskFull);
    }
    log.sync().unwrap();
    log.count_denial(UNKNOWN, at(9)).unwrap();
    log.append_decision(&decision()).unwrap();
    drop(log);
    let outage = Outage {
        from: at(7),
        to: at(8),
        refused: 2,
    };
    let expected = [
        coalesced(UNKNOWN, (5, 5), 1),
        coalesced(MISSING, (5, 5), 1),
        Entry::Outage(outage),
        Entry::Decision(decision()),
    ];
    // The last count may be recorded before the decision or when the log is closed.
    let is_last = |entry: &Entry| *entry == coalesced(UNKNOWN, (9, 9), 1);
    let (last, others): (Vec<_>, Vec<_>) = decoded(&test).into_iter().partition(is_last);
    assert_eq!((last.len(), others), (1, expected.to_vec()));
}

/// Without anyone asking for it.
#[test]
fn a_count_that_was_refused_is_tried_again_after_the_interval() {
    let mut test = Test::new();
    test.options.sync_interval_ms = 1;
    let log = test.open().unwrap();
    test.storage.arm(&[Fault {
        times: 5,
        ..Fault::new(Step::Write, Failure::Full)
    }]);
    log.count_denial(UNKNOWN, at(5)).unwrap();
    while sums(&test).counted < 1 {
        thread::yield_now();
    }
    assert!(test.storage.is_spent());
    while log.count_denial(UNKNOWN, at(6)).is_err() {
        thread::yield_now();
    }
}

#[test]
fn a_log_that_is_out_of_use_or_stands_still_counts_nothing() {
    let test = Test::new();
    let log = test.open().unwrap();
    log.count_denial(UNKNOWN, at(5)).unwrap();
    test.storage.arm(&[
        Fault::new(Step::Write, Failure::Done),
        Fault::new(Step::Truncate, Failure::Undone),
    ]);
    assert_eq!(log.sync().unwrap_err().kind(), Kind::Poisoned);
    let refused = log.count_denial(UNKNOWN, at(5)).unwrap_err();
    assert_eq!(refused.kind(), Kind::Poisoned);
    let syncs = test.storage.syncs();
    drop(log);
    // It was refused, and is in the log all the same: once.
    assert_eq!(decoded(&test), [coalesced(UNKNOWN, (5, 5), 1)]);
    assert_eq!(test.storage.syncs(), syncs);
    drop(test.open().unwrap());
    assert_eq!(test.entries().len(), 3);

    let test = Test::new();
    let log = test.open().unwrap();
    test.storage.arm(&[Fault::new(Step::Sync, Failure::Hang)]);
    assert_eq!(
        log.append_durable(b"one").unwrap_err().kind(),
        Kind::Timeout
    );
    let refused = log.count_denial(UNKNOWN, at(5)).unwrap_err();
    assert_eq!(refused.kind(), Kind::Timeout);
    test.storage.release();
    log.sync().unwrap();
    log.count_denial(UNKNOWN, at(5)).unwrap();
}

/// A step of a thread.
#[derive(Clone, Copy, Debug)]
enum Act {
    Append,
    Count(&'static str),
    Sync,
}

/// A fault of one of the operations that an entry takes, after which the log goes on.
fn fault() -> impl Strategy<Value = Fault> {
    use Failure::{Done, Full, Half, Short, Undone};
    let write = (
        Just(Step::Write),
        prop::sample::select(vec![Done, Full, Half, Short, Undone]),
    );
    let create = (
        Just(Step::Create),
        prop::sample::select(vec![Done, Full, Undone]),
    );
    (prop_oneof![3 => write, 1 => create], 0..40u32, 1..20u32).prop_map(
        |((step, failure), skip, times)| Fault {
            skip,
            times,
            ..Fault::new(step, failure)
        },
    )
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => prop::sample::select(vec![Act::Count(UNKNOWN), Act::Count(MISSING)]),
        2 => Just(Act::Append),
        1 => Just(Act::Sync),
    ];
    prop::collection::vec(act, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is recorded, counted and refused is each in the log exactly, whoever does what when and
    /// whatever fails meanwhile.
    #[test]
    fn nothing_is_counted_twice_or_lost(
        acts in [acts(), acts(), acts()],
        faults in prop::collection::vec(fault(), 0..4),
        segment_max_bytes in prop::sample::select(vec![1, 500, SEGMENT_MAX_BYTES]),
    ) {
        let mut test = Test::new();
        test.options.sync_interval_ms = 1;
        test.options.segment_max_bytes = segment_max_bytes;
        let log = test.open().unwrap();
        test.storage.arm(&faults);
        let sum = [(); 3].map(|()| AtomicU64::new(0));
        let [recorded, counted, refused] = &sum;
        let act = |act: &Act| {
            let (taken, is_taken) = match act {
                Act::Append => (recorded, log.append_decision(&decision()).is_ok()),
                Act::Count(reason) => (counted, log.count_denial(reason, now()).is_ok()),
                Act::Sync => return drop(log.sync()),
            };
            let sum = if is_taken { taken } else { refused };
            sum.fetch_add(1, Ordering::Relaxed);
        };
        thread::scope(|scope| {
            for acts in &acts {
                scope.spawn(|| acts.iter().for_each(act));
            }
        });
        test.storage.arm(&[]);
        // A disk that was full is asked again after a while.
        let goes_on = |taken: &dyn Fn() -> bool| {
            let tries = (0..2_000_u64).find(|_| {
                thread::sleep(Duration::from_millis(1));
                taken()
            });
            tries.expect("it goes on")
        };
        goes_on(&|| log.sync().is_ok());
        let more = goes_on(&|| log.append_decision(&decision()).is_ok());
        refused.fetch_add(more, Ordering::Relaxed);
        drop(log);
        let [recorded, counted, refused] = sum.map(AtomicU64::into_inner);
        let expected = Sums { recorded: recorded + 1, counted, refused };
        prop_assert_eq!(sums(&test), expected);
    }
}
