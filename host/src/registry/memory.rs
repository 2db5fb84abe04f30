//! All keys in memory: what the hot path reads, whatever they were loaded from.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{KeyEntry, Registry};
use crate::key::json::CheckedKey;
use crate::key::{KeyId, KeyRecord};

/// Different texts, or lists of scopes, that one load remembers to share among keys.
const SHARED_MAX: usize = 1 << 18;

/// Keys by id, replaced as a whole while readers go on.
pub struct MemoryRegistry {
    entries: ArcSwap<Entries>,
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

    /// Takes over all keys of another registry, at one instant for every reader.
    pub fn replace(&self, other: Self) {
        self.entries.store(other.entries.into_inner());
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.load().len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Registry for MemoryRegistry {
    fn lookup(&self, id: &KeyId) -> Option<Arc<KeyEntry>> {
        self.entries.load().get(id).cloned()
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

    /// The registry of the keys that were added.
    #[must_use]
    pub fn finish(mut self) -> MemoryRegistry {
        self.entries.shrink_to_fit();
        MemoryRegistry {
            entries: ArcSwap::from_pointee(self.entries),
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
