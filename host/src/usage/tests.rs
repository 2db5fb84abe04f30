//! The counters against counting all requests anew, their bounds, and clocks that go wrong.

use proptest::prelude::*;

use super::*;

/// How long each window is, in milliseconds.
const WINDOW_MS: [i64; WINDOWS] = [60_000, 3_600_000, 86_400_000];

fn key(n: usize) -> KeyId {
    format!("key{n:09}").parse().unwrap()
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn one_minute(usage: &KeyUsage) -> i64 {
    usage.requests("usage.requests-1m").unwrap()
}

#[test]
fn every_name_is_a_span_of_its_length() {
    for (names, window_ms) in NAMES.iter().zip(WINDOW_MS) {
        for (place, name) in names.iter().enumerate() {
            let span = name.strip_prefix("usage.requests-").unwrap();
            let (number, unit) = span.split_at(span.len() - 1);
            let unit_ms = match unit {
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                _ => 86_400_000,
            };
            let span_ms = number.parse::<i64>().unwrap() * unit_ms;
            assert_eq!(span_ms, window_ms / 6 * (place as i64 + 1), "{name}");
            // One that is as old as the span is counted in one part more, and then no more.
            let part_ms = window_ms / 60;
            for (later_ms, expected) in [
                (0, 2),
                (span_ms - 1, 2),
                (span_ms + part_ms - 1, 2),
                (span_ms + part_ms, 1),
            ] {
                let mut usage = KeyUsage::first(at(0));
                usage.count(at(later_ms));
                assert_eq!(usage.requests(name), Some(expected), "{name} {later_ms}");
            }
        }
    }
    let usage = KeyUsage::first(at(0));
    for name in [
        "usage.requests-2m",
        "usage.",
        "requests-1m",
        "usage.requests-1M",
    ] {
        assert_eq!(usage.requests(name), None);
    }
}

proptest! {
    /// Requests of threads that are not in step: never too few, and too many by at most a part of
    /// the window, where each is as late as the latest before it.
    #[test]
    fn a_count_is_never_too_low_and_bounded_above(
        window in 0..WINDOWS,
        steps in prop::collection::vec((0_u32..1_000, 0_u32..400), 1..300),
        scale in 1_i64..40,
    ) {
        let window_ms = WINDOW_MS[window];
        let counters = UsageCounters::new();
        let (mut clock, mut latest) = (1_795_000_000_000_i64, i64::MIN);
        let mut times: Vec<(i64, i64)> = Vec::new();
        for (step, late) in steps {
            clock += window_ms * i64::from(step) * scale / 100_000;
            let time = clock - window_ms * i64::from(late) / 1_000;
            latest = latest.max(time);
            times.push((time, latest));
            let preview = counters.preview(&key(1), at(time));
            let usage = counters.count(&key(1), at(time));
            prop_assert_eq!(&preview, &usage);
            for (sixth, name) in (1..).zip(NAMES[window]) {
                let span = window_ms / 6 * sixth;
                let least = times.iter().filter(|(time, _)| *time > latest - span).count();
                let since = latest - span - window_ms / 60;
                let most = times.iter().filter(|(_, as_of)| *as_of > since).count();
                let told = usage.requests(name).unwrap();
                prop_assert!((least as i64..=most as i64).contains(&told), "{name}: {least} {told} {most}");
            }
        }
    }

    /// However many keys there are, and however they come: none is told less than it had.
    #[test]
    fn keys_that_are_forgotten_have_no_less(
        requests in prop::collection::vec((0_usize..40, 0_i64..20_000), 1..400),
    ) {
        let counters = UsageCounters::bounded(2, 4);
        let exact = UsageCounters::bounded(1, 1_000);
        let mut clock = 0;
        for (n, step) in requests {
            clock += step;
            let told = counters.count(&key(n), at(clock));
            let had = exact.count(&key(n), at(clock));
            for name in NAMES.iter().flatten() {
                prop_assert!(told.requests(name) >= had.requests(name), "{name}");
            }
            prop_assert!(counters.keys() <= 8);
        }
    }
}

#[test]
fn keys_and_previews_are_apart() {
    let counters = UsageCounters::new();
    for n in 1..=100 {
        assert_eq!(one_minute(&counters.preview(&key(1), at(n))), n);
        assert_eq!(one_minute(&counters.count(&key(1), at(n))), n);
    }
    assert_eq!(one_minute(&counters.count(&key(2), at(100))), 1);
    assert_eq!(one_minute(&counters.preview(&key(3), at(100))), 1);
    assert_eq!(counters.keys(), 2);
}

#[test]
fn who_makes_room_was_idle_and_what_it_had_goes_out_of_date() {
    let counters = UsageCounters::bounded(1, 4);
    for n in 0..4 {
        for _ in 0..=n {
            let _counted = counters.count(&key(n), at(1_000 - n as i64));
        }
    }
    // The key of most requests is the one that was idle longest.
    assert_eq!(one_minute(&counters.count(&key(9), at(1_001))), 5);
    assert_eq!(one_minute(&counters.count(&key(0), at(1_002))), 2);
    assert_eq!(counters.keys(), 4);
    // A window later nothing of it is left.
    assert_eq!(one_minute(&counters.count(&key(8), at(62_001))), 1);
}

#[test]
fn memory_is_what_the_bound_says() {
    assert!(size_of::<Counted>() <= 850);
    let counters = UsageCounters::bounded(SHARDS, 16);
    for n in 0..20_000 {
        let _counted = counters.count(&key(n), at(n as i64));
    }
    assert_eq!(counters.keys(), SHARDS * 16);
    let places: usize = counters
        .shards
        .iter()
        .map(|it| it.lock().places.len())
        .sum();
    assert_eq!(places, SHARDS * 16);
}

#[test]
fn a_clock_that_is_put_back_counts_everything_for_a_window_and_then_as_ever() {
    for back in [61_000, 3_600_000, 10 * 86_400_000_i64] {
        let mut usage = KeyUsage::default();
        (0..100).for_each(|n| usage.count(at(back + n)));
        // One in each second: all count, and those from before it until they are a window old.
        for second in 0..61 {
            usage.count(at(second * 1_000));
            assert_eq!(one_minute(&usage), 101 + second, "{back}");
        }
        usage.count(at(61_000));
        let all = one_minute(&usage);
        assert!(all >= 62, "{back}: {all}");
        usage.count(at(61_000 + 61_000));
        assert_eq!(one_minute(&usage), 1, "{back}");
    }
}

#[test]
fn times_at_the_ends_of_time_are_counted() {
    for times in [
        [i64::MIN, i64::MAX, 0],
        [i64::MAX, i64::MIN, i64::MIN],
        [0, i64::MIN, i64::MAX],
    ] {
        let mut usage = KeyUsage::default();
        for time in times {
            usage.count(at(time));
            assert!(one_minute(&usage) >= 1);
        }
    }
}

#[test]
fn no_count_is_lost_between_threads() {
    let counters = UsageCounters::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1_000).for_each(|_| drop(counters.count(&key(1), at(5)))));
        }
    });
    assert_eq!(one_minute(&counters.preview(&key(1), at(5))), 4_001);
}
