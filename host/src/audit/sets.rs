//! What a recorded decision refers to, read from the log folder and checked by digest.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use crate::decision::DecisionRecord;
use crate::digest::Digest;
use crate::key::KeyRecord;
use crate::log::{Entry, EntryError, LogReadError, LogReader};
use crate::policy::{Engine, LoadError, Manifest, ManifestPolicy, Policy, PolicySpec};

/// Why an audit cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The log folder cannot be read, or is damaged.
    #[error(transparent)]
    Log(#[from] LogReadError),
    /// An entry is not one that this version can read.
    #[error("entry {index} cannot be read: {error}")]
    Entry {
        /// The entry's index.
        index: u64,
        /// What is wrong with it.
        error: EntryError,
    },
}

/// Goes through a log for decisions that `wanted` accepts and returns the last one, with its index.
///
/// # Errors
/// [`AuditError`] when the log cannot be read up to its end.
pub fn find_decision(
    reader: &LogReader,
    wanted: impl Fn(&DecisionRecord) -> bool,
) -> Result<Option<(u64, DecisionRecord)>, AuditError> {
    let mut found = None;
    for entry in reader.entries() {
        let (index, bytes) = entry?;
        let entry = Entry::decode(&bytes).map_err(|error| AuditError::Entry { index, error })?;
        if let Entry::Decision(record) = entry
            && wanted(&record)
        {
            found = Some((index, record));
        }
    }
    Ok(found)
}

/// Reads the manifest of a policy set.
pub(super) fn manifest(reader: &LogReader, digest: Digest) -> Result<Manifest, String> {
    let bytes = reader.blob(digest).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes)
        .map_err(|error| format!("the manifest of policy set {digest} cannot be read: {error}"))
}

/// Reads a key record.
pub(super) fn key_record(reader: &LogReader, digest: Digest) -> Result<KeyRecord, String> {
    let bytes = reader.blob(digest).map_err(|error| error.to_string())?;
    std::str::from_utf8(&bytes)
        .map_err(|error| error.to_string())
        .and_then(|text| KeyRecord::from_canonical_json(text).map_err(|error| error.to_string()))
        .map_err(|error| format!("key record {digest} cannot be read: {error}"))
}

/// A policy set as it was recorded, loaded again.
#[derive(Debug)]
pub(super) struct RecordedSet {
    pub(super) manifest: Manifest,
    pub(super) policies: Vec<Policy>,
}

/// Loads recorded policy sets, each once. The reason why one does not load is kept too.
#[derive(Debug)]
pub(super) struct Sets<'a> {
    reader: &'a LogReader,
    engine: Engine,
    loaded: HashMap<Digest, Result<Arc<RecordedSet>, String>>,
}

/// How many loaded policy sets are kept at once.
const SETS_MAX: usize = 64;

impl<'a> Sets<'a> {
    pub(super) fn new(reader: &'a LogReader, engine: Engine) -> Self {
        Self {
            reader,
            engine,
            loaded: HashMap::new(),
        }
    }

    pub(super) fn get(&mut self, digest: Digest) -> Result<Arc<RecordedSet>, String> {
        if self.loaded.len() >= SETS_MAX && !self.loaded.contains_key(&digest) {
            self.loaded.clear();
        }
        match self.loaded.entry(digest) {
            Slot::Occupied(slot) => slot.get().clone(),
            Slot::Vacant(slot) => slot
                .insert(load(self.reader, &self.engine, digest).map(Arc::new))
                .clone(),
        }
    }
}

fn load(reader: &LogReader, engine: &Engine, digest: Digest) -> Result<RecordedSet, String> {
    let manifest = manifest(reader, digest)?;
    let policies = manifest
        .policies
        .iter()
        .map(|policy| load_policy(reader, engine, policy))
        .collect::<Result<_, _>>()?;
    Ok(RecordedSet { manifest, policies })
}

fn load_policy(
    reader: &LogReader,
    engine: &Engine,
    recorded: &ManifestPolicy,
) -> Result<Policy, String> {
    let name = &recorded.name;
    let module = reader
        .blob(recorded.module)
        .map_err(|error| error.to_string())?;
    let settings = serde_json_canonicalizer::to_string(&recorded.settings)
        .map_err(|error| format!("the settings of policy `{name}` cannot be read: {error}"))?;
    let spec = PolicySpec {
        name: Arc::clone(name),
        mode: recorded.mode,
        module: module.into(),
        settings: settings.into(),
        limits: recorded.limits,
    };
    if !spec.limits.are_in_bounds() {
        return Err(format!(
            "policy `{name}` was recorded with limits out of all bounds"
        ));
    }
    Policy::load(engine, spec)
        .map_err(|error: LoadError| format!("policy `{name}` does not load: {error}"))
}
