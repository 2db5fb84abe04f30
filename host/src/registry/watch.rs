//! Watching a key: whoever holds something open in its name, a connection or a stream, is told when
//! the key ends.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::KeyEntry;
use crate::key::{KeyId, Lifecycle};
use crate::timestamp::Timestamp;

/// How a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEnd {
    /// It is revoked, for good.
    Revoked,
    /// It is suspended. It can come back, and has to be presented again then.
    Suspended,
    /// There is no such key any more.
    Gone,
}

/// A key that somebody watches. It is told of suspension and revocation; the time at which the key
/// ends by itself is [`KeyWatch::ends_at`], for a timer of the holder's.
///
/// A future that is ready when the key ends, and a handle that can be waited on.
#[derive(Clone, Debug)]
pub struct KeyWatch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    end: Option<KeyEnd>,
    ends_at: Option<Timestamp>,
    wakers: Vec<Waker>,
}

/// All watches of a registry.
#[derive(Debug, Default)]
pub(super) struct Watches(Mutex<BTreeMap<KeyId, Vec<Weak<Shared>>>>);

impl KeyWatch {
    /// How the key ended; `None`: it has not.
    #[must_use]
    pub fn end(&self) -> Option<KeyEnd> {
        self.0.state.lock().end
    }

    /// When the key ends by itself: its expiry or the end of its grace period, as it is known now.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.0.state.lock().ends_at
    }

    /// Waits until the key ends, at most for some time; `None`: it has not.
    #[must_use]
    pub fn wait(&self, limit: Duration) -> Option<KeyEnd> {
        let mut state = self.0.state.lock();
        let goes_on = |state: &mut State| state.end.is_none();
        self.0.ended.wait_while_for(&mut state, goes_on, limit);
        state.end
    }
}

impl Future for KeyWatch {
    type Output = KeyEnd;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<KeyEnd> {
        let mut state = self.0.state.lock();
        if let Some(end) = state.end {
            return Poll::Ready(end);
        }
        if !state.wakers.iter().any(|it| it.will_wake(context.waker())) {
            state.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Shared {
    fn tell(&self, end: Option<KeyEnd>, ends_at: Option<Timestamp>) {
        let mut state = self.state.lock();
        state.ends_at = ends_at;
        // What has ended stays ended for those who watched.
        if state.end.is_none() {
            state.end = end;
        }
        if state.end.is_some() {
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            self.ended.notify_all();
            wakers.into_iter().for_each(Waker::wake);
        }
    }
}

impl Watches {
    /// Begins to watch a key.
    pub(super) fn add(&self, id: KeyId) -> KeyWatch {
        let shared = Arc::new(Shared::default());
        let mut all = self.0.lock();
        let of_key = all.entry(id).or_default();
        // Those that nobody holds any more make room for the next.
        of_key.retain(|it| it.strong_count() > 0);
        of_key.push(Arc::downgrade(&shared));
        KeyWatch(shared)
    }

    /// Tells those who watch a key what it is now.
    pub(super) fn tell(&self, entry: &KeyEntry) {
        let record = entry.record();
        let end = match record.lifecycle {
            Lifecycle::Revoked => Some(KeyEnd::Revoked),
            Lifecycle::Suspended => Some(KeyEnd::Suspended),
            Lifecycle::Active | Lifecycle::Deprecated => None,
        };
        for watch in self.of(&record.id, end.is_some()) {
            watch.tell(end, record.ends_at());
        }
    }

    /// Tells those who watch a key that there is none.
    pub(super) fn tell_missing(&self, id: &KeyId) {
        for watch in self.of(id, true) {
            watch.tell(Some(KeyEnd::Gone), None);
        }
    }

    /// Tells everyone, after all keys have changed.
    pub(super) fn tell_all(&self, lookup: impl Fn(&KeyId) -> Option<Arc<KeyEntry>>) {
        let ids: Vec<KeyId> = self.0.lock().keys().copied().collect();
        for id in ids {
            match lookup(&id) {
                Some(entry) => self.tell(&entry),
                None => self.tell_missing(&id),
            }
        }
    }

    /// Those who still watch a key. `is_last`: they need not be told anything after this.
    fn of(&self, id: &KeyId, is_last: bool) -> Vec<Arc<Shared>> {
        let mut all = self.0.lock();
        let Some(of_key) = all.get_mut(id) else {
            return Vec::new();
        };
        let watching: Vec<_> = of_key.iter().filter_map(Weak::upgrade).collect();
        if is_last || watching.is_empty() {
            all.remove(id);
        }
        watching
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_not_kept() {
        let watches = Watches::default();
        let nobody: KeyId = "000000000000".parse().unwrap();
        for _ in 0..3 {
            let watch = watches.add(nobody);
            watches.tell_missing(&nobody);
            assert_eq!(watch.end(), Some(KeyEnd::Gone));
            assert!(watches.0.lock().is_empty());
        }
    }
}
