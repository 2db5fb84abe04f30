//! Places without a network: seconds pass when a test says so.

use std::task::Waker;

use super::*;

impl Places {
    fn pass_seconds(&self, seconds: u64) {
        (0..seconds).for_each(|_| self.pass());
    }

    fn has(&self, place: &Place) -> bool {
        let taken = self.taken.lock();
        let is_there = taken.by_id.contains_key(&place.id);
        let has_ended = place.connected.has_ended.load(Ordering::SeqCst);
        assert_ne!(is_there, has_ended);
        is_there
    }
}

fn read(place: &Place, bytes: &[u8]) {
    let mut stream = place.connected().watch(bytes);
    let mut room = [0; 64];
    let mut buffer = ReadBuf::new(&mut room);
    let mut context = Context::from_waker(Waker::noop());
    assert!(
        Pin::new(&mut stream)
            .poll_read(&mut context, &mut buffer)
            .is_ready()
    );
    assert_eq!(buffer.filled(), bytes);
}

/// The other side of a stream, which takes bytes or does not.
struct Reader {
    takes: bool,
}

impl AsyncWrite for Reader {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.takes {
            Poll::Ready(Ok(bytes.len()))
        } else {
            Poll::Pending
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn whoever_never_asks_loses_the_place() {
    let places = Places::new(4, Counter::default());
    let [silent, asked, waiting] = [(); 3].map(|()| places.take().unwrap());
    drop(asked.connected().begin().unwrap());
    let held = waiting.connected().begin().unwrap();
    places.pass_seconds(SILENT_MAX_SECONDS);
    assert!(places.has(&silent));
    places.pass_seconds(1);
    assert!(!places.has(&silent));
    places.pass_seconds(1_000);
    assert!(places.has(&asked) && places.has(&waiting));
    drop(held);
}

#[test]
fn a_head_that_has_begun_has_to_become_whole() {
    let places = Places::new(4, Counter::default());
    let [slow, quick, again, second] = [(); 4].map(|()| places.take().unwrap());
    read(&slow, b"G");
    read(&quick, b"GET / HTTP/1.1\r\n\r\n");
    drop(quick.connected().begin().unwrap());
    drop(again.connected().begin().unwrap());
    // Frames of HTTP/2 are no heads that have begun.
    read(&second, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0");
    places.pass_seconds(5);
    // The second head of a connection is one like the first, and more of a head does not help.
    read(&again, b"GET");
    read(&slow, b"E");
    places.pass_seconds(HEAD_MAX_SECONDS - 4);
    assert!(!places.has(&slow));
    places.pass_seconds(4);
    assert!(places.has(&again));
    places.pass_seconds(1);
    assert!(!places.has(&again));
    assert!(places.has(&quick) && places.has(&second));
}

#[test]
fn whoever_does_not_take_an_answer_loses_the_place() {
    let places = Places::new(4, Counter::default());
    let place = places.take().unwrap();
    let _waiting = place.connected().begin().unwrap();
    let mut stream = place.connected().watch(Reader { takes: false });
    let mut write = |takes| {
        stream.stream.takes = takes;
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut stream)
            .poll_write(&mut context, b"an answer")
            .is_ready()
    };
    assert!(!write(false));
    places.pass_seconds(STALLED_MAX_SECONDS);
    // One byte is enough.
    assert!(write(true));
    places.pass_seconds(STALLED_MAX_SECONDS + 1);
    assert!(places.has(&place));
    assert!(!write(false));
    places.pass_seconds(STALLED_MAX_SECONDS / 2);
    assert!(!write(false));
    places.pass_seconds(STALLED_MAX_SECONDS / 2 + 1);
    assert!(!places.has(&place));
}

#[test]
fn whoever_is_of_the_least_use_makes_room() {
    let places = Places::new(4, Counter::default());
    let first = places.take().unwrap();
    drop(first.connected().begin().unwrap());
    places.pass();
    let silent = places.take().unwrap();
    let later = places.take().unwrap();
    drop(later.connected().begin().unwrap());
    let waiting = places.take().unwrap();
    let held = waiting.connected().begin().unwrap();

    let fifth = places.take().unwrap();
    assert!(!places.has(&silent));
    let held_fifth = fifth.connected().begin().unwrap();
    let sixth = places.take().unwrap();
    assert!(!places.has(&first) && places.has(&later));
    let held_sixth = sixth.connected().begin().unwrap();
    let seventh = places.take().unwrap();
    assert!(!places.has(&later));
    let held_seventh = seventh.connected().begin().unwrap();
    // Everybody waits for an answer. Nothing begins on what was ended.
    assert!(places.take().is_none());
    assert!(silent.connected().begin().is_none());
    assert!([&waiting, &fifth, &sixth, &seventh].map(|it| places.has(it)) == [true; 4]);
    drop((held, held_fifth, held_sixth, held_seventh));
    assert!(places.take().is_some());
}

#[test]
fn a_place_is_given_back_and_its_task_ends_with_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let places = Places::new(1, Counter::default());
        let serve = |place: Place| {
            tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(place);
            })
        };
        let place = places.take().unwrap();
        let connected = Arc::clone(place.connected());
        let task = serve(place);
        connected.is_served_by(task.abort_handle());
        let next = places.take().unwrap();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(places.has(&next));

        // The task may begin after its place was needed.
        let connected = Arc::clone(next.connected());
        let last = places.take().unwrap();
        let task = serve(next);
        connected.is_served_by(task.abort_handle());
        assert!(task.await.unwrap_err().is_cancelled());
        drop(last);
        assert!(places.taken.lock().by_id.is_empty());
    });
}

#[test]
fn answers_that_nobody_takes_are_not_kept() {
    let places = Places::new(4, Counter::default());
    let [few, many, busy] = [(); 3].map(|()| places.take().unwrap());
    for place in [&few, &many, &busy] {
        drop(place.connected().begin().unwrap());
    }
    let hold = |place: &Place, count| -> Vec<_> {
        (0..count).map(|_| place.connected().answer()).collect()
    };
    let _few = hold(&few, UNSENT_FREE);
    let _many = hold(&many, UNSENT_FREE + 1);
    let mut held = hold(&busy, 100);
    for _ in 0..=UNSENT_MAX_SECONDS {
        assert!(places.has(&many));
        places.pass();
        // One that is taken is enough.
        held.pop();
    }
    assert!(places.has(&few) && !places.has(&many) && places.has(&busy));
}

#[test]
fn there_are_not_too_many_answers_that_nobody_takes() {
    let places = Places::new(4, Counter::default());
    let [honest, greedy, next] = [(); 3].map(|()| places.take().unwrap());
    for place in [&honest, &greedy, &next] {
        drop(place.connected().begin().unwrap());
    }
    let hold = |place: &Place, count| -> Vec<_> {
        (0..count).map(|_| place.connected().answer()).collect()
    };
    let mut held = hold(&greedy, UNSENT_MAX / 2 + 1);
    held.extend(hold(&next, UNSENT_MAX - held.len()));
    let _free = hold(&honest, UNSENT_FREE);
    assert!(places.has(&honest) && places.has(&greedy));
    held.extend(hold(&next, 1));
    assert!(next.connected.has_ended.load(Ordering::SeqCst));
    places.pass_seconds(UNSENT_CROWDED_MAX_SECONDS + 1);
    assert!(places.has(&honest) && !places.has(&greedy));
    drop(held);
    assert_eq!(places.unsent.load(Ordering::Relaxed), UNSENT_FREE);
}
