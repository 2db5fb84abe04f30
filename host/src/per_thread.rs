//! Counters that threads add to without waiting for each other: every thread belongs to a group,
//! and every group has a value of its own, apart from the others' in the processor's cache.

use std::sync::atomic::{AtomicUsize, Ordering};

/// How many groups there are: up to as many threads have a value to themselves.
const GROUPS: usize = 16;

/// One value for each group of threads.
#[derive(Debug)]
pub(crate) struct PerThread<T> {
    values: [Apart<T>; GROUPS],
}

/// A value on two lines of the processor's cache that nothing else is on. Two, because they are
/// fetched in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> PerThread<T> {
    /// The calling thread's group and value. Other threads may share them.
    pub(crate) fn mine(&self) -> (u16, &T) {
        let [first, ..] = &self.values;
        let group = this_group();
        let value = self.values.get(usize::from(group)).unwrap_or(first);
        (group, &value.0)
    }

    /// The values of all groups.
    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.values.iter().map(|value| &value.0)
    }
}

impl<T: Default> Default for PerThread<T> {
    fn default() -> Self {
        Self {
            values: std::array::from_fn(|_| Apart::default()),
        }
    }
}

fn this_group() -> u16 {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static GROUP: u16 =
            u16::try_from(THREADS.fetch_add(1, Ordering::Relaxed) % GROUPS).unwrap_or_default();
    }
    // A thread that is ending has no group of its own any more.
    GROUP.try_with(|group| *group).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn no_count_is_lost_and_threads_have_their_own() {
        let counts = PerThread::<AtomicU64>::default();
        let groups = std::thread::scope(|scope| {
            let count = || {
                (0..1_000).for_each(|_| {
                    counts.mine().1.fetch_add(1, Ordering::Relaxed);
                });
                counts.mine().0
            };
            let threads = [(); 4].map(|()| scope.spawn(count));
            threads.map(|thread| thread.join().unwrap())
        });
        let total: u64 = counts.all().map(|it| it.load(Ordering::Relaxed)).sum();
        assert_eq!(total, 4_000);
        assert!(groups.iter().all(|group| usize::from(*group) < GROUPS));
        assert_ne!(groups, [groups[0]; 4]);
    }
}
