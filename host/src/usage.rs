//! How often each key is used: what policies are told when they ask for `usage.requests-1m` and the
//! like.
//!
//! A count is of the requests with a key that policies were asked about, this one included, in the
//! time up to it; counted by this host, in memory, since it started. Three windows are kept for a
//! key, of a minute, an hour and a day, each in [`PARTS`] parts. What is told of a span is the sum
//! of its parts and of the one that is half over at its far end: never too few, and at most those
//! that are a part of the window too old. Each sixth of a window is a span of its own
//! ([`NAMES`]), from which a policy sees how long to wait.
//!
//! Time is the requests' own. One from before the newest part counts there, so that threads that
//! are not in step lose nothing. Once only such ones have come for a whole window of their own
//! time, it is the clock that was put back: all that is counted then stands at the new time.
//!
//! # Bounds
//! [`KEYS_MAX`] keys are counted. One more takes the place of one that was idle, the longest of
//! [`LOOKED_AT_KEYS`]; of that one stays, part by part, the most that any such key had, and every
//! key that is counted anew begins with that. So nobody gets more by being forgotten.

use std::collections::HashMap;
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::key::KeyId;
use crate::timestamp::Timestamp;

/// How the names of what is counted here begin. No request may bring an attribute with such a name.
pub const PREFIX: &str = "usage.";

/// What a policy can ask for: of each window, shortest first, the sixths of it and at last all of
/// it.
pub const NAMES: [[&str; SIXTHS]; WINDOWS] = [
    [
        "usage.requests-10s",
        "usage.requests-20s",
        "usage.requests-30s",
        "usage.requests-40s",
        "usage.requests-50s",
        "usage.requests-1m",
    ],
    [
        "usage.requests-10m",
        "usage.requests-20m",
        "usage.requests-30m",
        "usage.requests-40m",
        "usage.requests-50m",
        "usage.requests-1h",
    ],
    [
        "usage.requests-4h",
        "usage.requests-8h",
        "usage.requests-12h",
        "usage.requests-16h",
        "usage.requests-20h",
        "usage.requests-1d",
    ],
];

/// Into how many parts a window is divided: a count is of at most one part too much.
pub const PARTS: usize = 60;
/// How many keys are counted at once: with 850 bytes each, some 220 MB when there are as many.
pub const KEYS_MAX: usize = SHARDS * SHARD_KEYS_MAX;
/// Among how many keys the one that was idle longest makes room.
pub const LOOKED_AT_KEYS: usize = 8;

const WINDOWS: usize = 3;
const SIXTHS: usize = 6;
/// How long a part of each window is, in milliseconds.
const PART_MS: [i64; WINDOWS] = [1_000, 60_000, 1_440_000];
/// Parts that are locked by themselves. Many more than threads, so that two rarely meet.
const SHARDS: usize = 64;
const SHARD_KEYS_MAX: usize = 4_096;

/// Counts the uses of keys. Shared by threads.
pub struct UsageCounters {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    shard_keys_max: usize,
}

/// How often one key was used up to a request, that one included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyUsage([Window; WINDOWS]);

#[derive(Default)]
struct Shard {
    places: HashMap<KeyId, usize, RandomState>,
    counted: Vec<Counted>,
    /// Where to look next for a key that makes room.
    hand: usize,
    /// Part by part the most that a key had which is not counted any more.
    forgotten: KeyUsage,
}

struct Counted {
    key: KeyId,
    last: Timestamp,
    usage: KeyUsage,
}

/// The parts of a window. They and time go round, so that the oldest is overwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Window {
    /// The number of the newest part since 1970.
    newest: i64,
    /// The first part in a row of requests from before the newest, the last one included.
    before: Option<i64>,
    /// One more than there are in the window, for the one that is half over.
    parts: [u32; PARTS + 1],
}

impl UsageCounters {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::bounded(SHARDS, SHARD_KEYS_MAX)
    }

    fn bounded(shards: usize, shard_keys_max: usize) -> Self {
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            shard_keys_max,
        }
    }

    /// Counts a request with a key.
    #[must_use]
    pub fn count(&self, key: &KeyId, time: Timestamp) -> KeyUsage {
        let Some(shard) = self.shard(key) else {
            return KeyUsage::FULL;
        };
        let mut shard = shard.lock();
        let Some(counted) = shard.counted(key, self.shard_keys_max) else {
            return KeyUsage::FULL;
        };
        counted.last = counted.last.max(time);
        counted.usage.count(time);
        counted.usage.clone()
    }

    /// What [`count`](Self::count) would say, without counting.
    #[must_use]
    pub fn preview(&self, key: &KeyId, time: Timestamp) -> KeyUsage {
        let Some(shard) = self.shard(key) else {
            return KeyUsage::FULL;
        };
        let mut usage = {
            let shard = shard.lock();
            let place = shard.places.get(key);
            let counted = place.and_then(|place| shard.counted.get(*place));
            counted.map_or(&shard.forgotten, |it| &it.usage).clone()
        };
        usage.count(time);
        usage
    }

    /// `None` never happens: there is always a shard.
    fn shard(&self, key: &KeyId) -> Option<&Mutex<Shard>> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or_default();
        self.shards.get(hash % self.shards.len().max(1))
    }

    #[cfg(test)]
    fn keys(&self) -> usize {
        self.shards.iter().map(|it| it.lock().counted.len()).sum()
    }
}

impl Shard {
    /// The counter of a key, which is new when the key has none. `None` never happens.
    fn counted(&mut self, key: &KeyId, keys_max: usize) -> Option<&mut Counted> {
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => self.make(key, keys_max),
        };
        self.counted.get_mut(place)
    }

    /// A counter for a key that has none; where it stands.
    fn make(&mut self, key: &KeyId, keys_max: usize) -> usize {
        let fresh = Counted {
            key: *key,
            last: Timestamp::from_millis(i64::MIN),
            usage: self.forgotten.clone(),
        };
        let place = if self.counted.len() < keys_max {
            self.counted.push(fresh);
            self.counted.len().saturating_sub(1)
        } else {
            let place = self.idle();
            if let Some(counted) = self.counted.get_mut(place) {
                self.places.remove(&counted.key);
                self.forgotten.take_in(&counted.usage);
                // The one that it takes the place of may be this key's own, from before.
                let usage = self.forgotten.clone();
                *counted = Counted { usage, ..fresh };
            }
            place
        };
        self.places.insert(*key, place);
        place
    }

    /// Where the key stands that makes room.
    fn idle(&mut self) -> usize {
        let count = self.counted.len().max(1);
        let looked_at = self.hand..self.hand.saturating_add(LOOKED_AT_KEYS);
        self.hand = looked_at.end % count;
        let places = looked_at.map(|place| place % count);
        let last = |place: &usize| self.counted.get(*place).map(|it| it.last);
        places.min_by_key(last).unwrap_or_default()
    }
}

impl KeyUsage {
    /// More than any limit: for what cannot be counted.
    const FULL: Self = Self(
        [const {
            Window {
                newest: 0,
                before: None,
                parts: [u32::MAX; PARTS + 1],
            }
        }; WINDOWS],
    );

    /// That of a key that is used for the first time.
    #[must_use]
    pub fn first(time: Timestamp) -> Self {
        let mut usage = Self::default();
        usage.count(time);
        usage
    }

    /// The attribute of a name, if it is one of [`NAMES`]: a number of requests.
    #[must_use]
    pub fn requests(&self, name: &str) -> Option<i64> {
        let windows = NAMES.iter().zip(&self.0);
        let mut found = windows.filter_map(|(names, window)| {
            let sixths = names.iter().position(|it| *it == name)?.saturating_add(1);
            Some(window.requests(sixths))
        });
        found.next()
    }

    fn count(&mut self, time: Timestamp) {
        for (window, part_ms) in self.0.iter_mut().zip(PART_MS) {
            window.count(time.millis().div_euclid(part_ms));
        }
    }

    /// Makes every part at least that of another.
    fn take_in(&mut self, other: &Self) {
        for (window, other) in self.0.iter_mut().zip(&other.0) {
            window.take_in(other.clone());
        }
    }
}

impl Window {
    fn count(&mut self, part: i64) {
        if part >= self.newest {
            self.before = None;
            self.advance(part);
        } else {
            let first = *self.before.get_or_insert(part);
            if part.saturating_sub(first) > PARTS as i64 {
                self.put_back(part);
            }
        }
        self.add(1);
    }

    /// Lets time go on to a part.
    fn advance(&mut self, part: i64) {
        let steps = part.saturating_sub(self.newest);
        if steps > PARTS as i64 {
            self.parts.fill(0);
        } else {
            for passed in self.newest.saturating_add(1)..=part {
                if let Some(count) = self.parts.get_mut(place(passed)) {
                    *count = 0;
                }
            }
        }
        self.newest = part;
    }

    /// All that is counted stands at a part from before.
    fn put_back(&mut self, part: i64) {
        let all = (self.parts.iter()).fold(0_u32, |sum, count| sum.saturating_add(*count));
        *self = Self {
            newest: part,
            ..Self::default()
        };
        self.add(all);
    }

    /// Adds to the newest part.
    fn add(&mut self, requests: u32) {
        if let Some(count) = self.parts.get_mut(place(self.newest)) {
            *count = count.saturating_add(requests);
        }
    }

    fn take_in(&mut self, mut other: Self) {
        let newest = self.newest.max(other.newest);
        self.advance(newest);
        other.advance(newest);
        for (count, other) in self.parts.iter_mut().zip(other.parts) {
            *count = (*count).max(other);
        }
    }

    /// The requests in so many sixths of the window, and in the part before them.
    fn requests(&self, sixths: usize) -> i64 {
        let length = (sixths * PARTS / SIXTHS).saturating_add(1);
        // Newest first: from the newest down to the first place, then from the last one down.
        let (from_first, behind) = self.parts.split_at(place(self.newest).saturating_add(1));
        let newest_first = from_first.iter().rev().chain(behind.iter().rev());
        newest_first.take(length).map(|it| i64::from(*it)).sum()
    }
}

/// Where a part stands.
fn place(part: i64) -> usize {
    usize::try_from(part.rem_euclid(PARTS as i64 + 1)).unwrap_or_default()
}

impl Default for Window {
    /// From before all time.
    fn default() -> Self {
        Self {
            newest: i64::MIN,
            before: None,
            parts: [0; PARTS + 1],
        }
    }
}

impl Default for UsageCounters {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for UsageCounters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsageCounters").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
