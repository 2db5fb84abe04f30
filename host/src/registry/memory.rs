//! All keys in memory: what the hot path reads, whatever they were loaded from.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::lease::Lease;
use super::watch::{KeyWatch, Watches};
use super::{KeyEntry, Registry};
use crate::key::json::CheckedKey;
use crate::key::{KeyId, KeyRecord};

/// Different texts, or lists of scopes, that one load remembers to share among keys.
const SHARED_MAX: usize = 1 << 18;

/// How many keys may be changed before they are put among the others.
const CHANGED_MAX: usize = 4_096;

/// Keys by id, changed while readers go on.
pub struct MemoryRegistry {
    keys: ArcSwap<Keys>,
    /// Held by who changes something.
    changing: Mutex<()>,
    /// Successors that nobody has used yet.
    unused: ArcSwap<HashSet<KeyId>>,
    /// Those of them that somebody has.
    used: Mutex<BTreeSet<KeyId>>,
    watches: Watches,
    lease: Option<Arc<Lease>>,
}

/// What readers see at one instant.
#[derive(Clone, Default)]
struct Keys {
    entries: Arc<Entries>,
    /// Keys that are other ones by now than in `entries`, or new: few, so that a change does not
    /// cost as much as all keys.
    changed: Entries,
}

impl Keys {
    fn get(&self, id: &KeyId) -> Option<&Arc<KeyEntry>> {
        if !self.changed.is_empty()
            && let Some(entry) = self.changed.get(id)
        {
            return Some(entry);
        }
        self.entries.get(id)
    }
}

/// Two keys have the same id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key `{0}` is there twice; leave one out")]
pub struct DuplicateKey(pub KeyId);

/// Found by a hash with a random seed that is quicker than the standard library's: whoever presents
/// an id does not choose what is in the map.
type Entries = HashMap<KeyId, Arc<KeyEntry>, foldhash::fast::RandomState>;

/// Builds a [`MemoryRegistry`] key by key.
#[derive(Default)]
pub struct MemoryLoader {
    entries: Entries,
    texts: Shared<str>,
    scopes: Shared<[Arc<str>]>,
    unused: HashSet<KeyId>,
}

impl MemoryRegistry {
    /// A registry of these keys.
    ///
    /// # Errors
    /// [`DuplicateKey`] when two have the same id.
    pub fn new(keys: Vec<CheckedKey>) -> Result<Self, DuplicateKey> {
        let mut loader = MemoryLoader::default();
        keys.into_iter().try_for_each(|key| loader.add(key))?;
        Ok(loader.finish())
    }

    /// Takes over all keys of another registry, at one instant for every reader. Who watches a key
    /// that is no longer there is told that it ended.
    pub fn replace(&self, other: Self) {
        let _turn = self.changing.lock();
        let keys = other.keys.into_inner();
        self.unused.store(other.unused.into_inner());
        self.keys.store(Arc::clone(&keys));
        self.watches.tell_all(|id| keys.get(id).cloned());
    }

    /// Changes some keys, or adds them, at one instant for every reader. Who watches one that ended
    /// is told.
    pub fn update(&self, changed: impl IntoIterator<Item = (CheckedKey, bool)>) {
        let _turn = self.changing.lock();
        let mut keys = Keys::clone(&self.keys.load());
        let mut unused = HashSet::clone(&self.unused.load());
        let mut told = Vec::new();
        for (key, is_unused) in changed {
            let entry = Arc::new(KeyEntry::new(key));
            let id = entry.record.id;
            if is_unused {
                unused.insert(id);
            } else {
                unused.remove(&id);
            }
            told.push(Arc::clone(&entry));
            keys.changed.insert(id, entry);
        }
        if keys.changed.len() > CHANGED_MAX {
            let mut entries = Entries::clone(&keys.entries);
            entries.extend(keys.changed.drain());
            keys.entries = Arc::new(entries);
        }
        self.unused.store(Arc::new(unused));
        self.keys.store(Arc::new(keys));
        told.iter().for_each(|entry| self.watches.tell(entry));
    }

    /// Decides nothing once a lease has run out.
    #[must_use]
    pub fn with_lease(mut self, lease: Arc<Lease>) -> Self {
        self.lease = Some(lease);
        self
    }

    /// The successors that were used for the first time since this was last asked.
    pub fn take_used(&self) -> BTreeSet<KeyId> {
        std::mem::take(&mut self.used.lock())
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let keys = self.keys.load();
        let is_new = |id: &&KeyId| !keys.entries.contains_key(*id);
        let new = keys.changed.keys().filter(is_new).count();
        keys.entries.len().saturating_add(new)
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Registry for MemoryRegistry {
    fn lookup(&self, id: &KeyId) -> Option<Arc<KeyEntry>> {
        self.keys.load().get(id).cloned()
    }

    fn note_use(&self, id: &KeyId) {
        let unused = self.unused.load();
        if !unused.is_empty() && unused.contains(id) {
            self.used.lock().insert(*id);
        }
    }

    fn watch(&self, id: &KeyId) -> Option<KeyWatch> {
        // The watch first: what changes in between is told to it.
        let watch = self.watches.add(*id);
        match self.lookup(id) {
            Some(entry) => self.watches.tell(&entry),
            None => self.watches.tell_missing(id),
        }
        Some(watch)
    }

    fn is_stale(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.is_over())
    }
}

impl MemoryLoader {
    /// Adds a key.
    ///
    /// # Errors
    /// [`DuplicateKey`] when there is one with its id.
    pub fn add(&mut self, key: CheckedKey) -> Result<(), DuplicateKey> {
        let mut entry = KeyEntry::new(key);
        let id = entry.record.id;
        if let Some(record) = Arc::get_mut(&mut entry.record) {
            self.share(record);
        }
        match self.entries.insert(id, Arc::new(entry)) {
            None => Ok(()),
            Some(_) => Err(DuplicateKey(id)),
        }
    }

    /// A key that was added is a successor that nobody has used yet.
    pub fn mark_unused(&mut self, id: KeyId) {
        self.unused.insert(id);
    }

    /// The registry of the keys that were added.
    #[must_use]
    pub fn finish(mut self) -> MemoryRegistry {
        self.entries.shrink_to_fit();
        MemoryRegistry {
            keys: ArcSwap::from_pointee(Keys {
                entries: Arc::new(self.entries),
                changed: Entries::default(),
            }),
            changing: Mutex::default(),
            unused: ArcSwap::from_pointee(self.unused),
            used: Mutex::default(),
            watches: Watches::default(),
            lease: None,
        }
    }

    /// Makes equal texts of different keys one: owners, scopes and labels repeat a great deal.
    fn share(&mut self, record: &mut KeyRecord) {
        self.texts.share(&mut record.owner);
        if !self.scopes.get(&mut record.scopes) {
            record.scopes = record
                .scopes
                .iter()
                .cloned()
                .map(|mut scope| {
                    self.texts.share(&mut scope);
                    scope
                })
                .collect();
            self.scopes.share(&mut record.scopes);
        }
        record.labels = std::mem::take(&mut record.labels)
            .into_iter()
            .map(|(mut name, mut value)| {
                self.texts.share(&mut name);
                self.texts.share(&mut value);
                (name, value)
            })
            .collect();
    }
}

/// Values that are kept once.
struct Shared<T: ?Sized>(HashSet<Arc<T>>);

impl<T: ?Sized + Hash + Eq> Shared<T> {
    /// Replaces a value by the equal one that is kept; false when none is.
    fn get(&self, value: &mut Arc<T>) -> bool {
        let kept = self.0.get(&**value);
        if let Some(kept) = kept {
            *value = Arc::clone(kept);
        }
        kept.is_some()
    }

    /// Replaces a value by the equal one that is kept, or keeps it.
    fn share(&mut self, value: &mut Arc<T>) {
        if !self.get(value) && self.0.len() < SHARED_MAX {
            self.0.insert(Arc::clone(value));
        }
    }
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl fmt::Debug for MemoryRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryRegistry({} keys)", self.len())
    }
}

impl fmt::Debug for MemoryLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryLoader({} keys)", self.entries.len())
    }
}
