//! Waiting and being woken: nobody waits without end, and nobody is told what is not so.

use super::*;
use crate::log::error::AppendErrorKind;
use std::thread;

const LONG: Duration = Duration::from_secs(3600);

#[test]
fn one_sync_answers_everyone_it_covers() {
    let progress = &Progress::new(5);
    thread::scope(|scope| {
        let waiters: Vec<_> = (6..=9)
            .map(|end| scope.spawn(move || progress.wait_durable(end)))
            .collect();
        while progress.requested.load(Ordering::SeqCst) < 9 {
            thread::yield_now();
        }
        progress.advance(9);
        assert!(
            waiters
                .into_iter()
                .all(|waiter| waiter.join().unwrap().is_ok())
        );
    });
    // What is durable already is not waited for.
    progress.wait_durable(3).unwrap();
}

#[test]
fn a_wait_in_vain_refuses_the_next_ones_until_the_disk_goes_on() {
    let progress = Progress::new(0);
    progress.check().unwrap();
    assert_eq!(
        progress.wait_durable(1).unwrap_err().kind(),
        AppendErrorKind::Timeout
    );
    assert_eq!(
        progress.check().unwrap_err().kind(),
        AppendErrorKind::Timeout
    );
    progress.advance(1);
    progress.check().unwrap();
    progress.wait_durable(1).unwrap();
}

#[test]
fn progress_never_goes_back() {
    let progress = Progress::new(5);
    progress.advance(8);
    progress.advance(6);
    assert_eq!(progress.durable(), 8);
}

#[test]
fn poison_wakes_everyone_and_stays() {
    let progress = &Progress::new(0);
    thread::scope(|scope| {
        let waiters: Vec<_> = (1..4)
            .map(|end| scope.spawn(move || progress.wait_durable(end)))
            .collect();
        while progress.requested.load(Ordering::SeqCst) < 3 {
            thread::yield_now();
        }
        progress.poison("first");
        for waiter in waiters {
            assert_eq!(
                waiter.join().unwrap().unwrap_err().kind(),
                AppendErrorKind::Poisoned
            );
        }
    });
    assert!(progress.poison("second").to_string().ends_with("first"));
    assert!(progress.check().unwrap_err().to_string().ends_with("first"));
    assert!(progress.is_poisoned());
}

#[test]
fn the_sync_thread_is_called_by_writing_waiting_and_closing() {
    let progress = Progress::new(0);
    // Written: the interval decides.
    progress.mark_dirty();
    assert!(progress.next_work(Duration::ZERO, &mut 0));
    // Waited for: at once.
    progress.mark_dirty();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| progress.wait_durable(1));
        assert!(progress.next_work(LONG, &mut 0));
        progress.advance(1);
        waiter.join().unwrap().unwrap();
    });
    // Closing: at once, and without anything written.
    thread::scope(|scope| {
        let closer = scope.spawn(|| progress.close());
        assert!(!progress.next_work(LONG, &mut 0));
        progress.ended();
        assert!(closer.join().unwrap());
    });
}

#[test]
fn closing_gives_up_on_a_sync_thread_that_does_not_answer() {
    let progress = Progress::new(0);
    assert!(!progress.close());
}
