//! Who uses a key: its requests by where they came from and by why they were answered as they were.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::what_if::{SOURCES_MAX, source_of};
use super::window::decisions;
use super::{AuditError, Coverage};
use crate::address::Address;
use crate::decision::{DecisionRecord, Permission};
use crate::key::KeyId;
use crate::log::LogReader;
use crate::timestamp::Timestamp;

/// The most reasons that are told apart; the rest is counted under [`OTHERS`].
pub const REASONS_MAX: usize = 1_000;
/// What stands for all further reasons.
pub const OTHERS: &str = "others";

/// The requests of a key from a time on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// Since when the log tells.
    pub coverage: Coverage,
    /// All of them.
    pub all: Tally,
    /// By where they came from.
    pub sources: BTreeMap<Source, Tally>,
    /// By why.
    pub reasons: BTreeMap<SmolStr, Tally>,
}

/// Where a request came from, as far as its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// From there.
    Address(Address),
    /// That could not be established.
    Unknown,
    /// No policy has asked, so that the record does not say.
    NotAsked,
    /// From one of the addresses beyond the first [`SOURCES_MAX`].
    Others,
}

/// Requests of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many were allowed.
    pub allowed: u64,
    /// How many were denied.
    pub denied: u64,
    /// The time of the first.
    pub first: Option<Timestamp>,
    /// The time of the last.
    pub last: Option<Timestamp>,
    /// The time of the last that was allowed.
    pub last_allowed: Option<Timestamp>,
}

/// The requests that named a key, from a time on. `issued_at`: when the key was issued, where that
/// is known.
///
/// # Errors
/// [`AuditError`] when the log cannot be read up to its end.
pub fn key_usage(
    reader: &LogReader,
    (id, issued_at): (KeyId, Option<Timestamp>),
    from: Timestamp,
) -> Result<KeyUsage, AuditError> {
    let mut all = Tally::default();
    let mut sources: BTreeMap<Source, Tally> = BTreeMap::new();
    let mut reasons: BTreeMap<SmolStr, Tally> = BTreeMap::new();
    let coverage = decisions(reader, (from, issued_at), |_, record| {
        if record.key != Some(id) || record.time < from {
            return;
        }
        all.add(&record);
        let mut source = match source_of(&record) {
            Some(Some(address)) => Source::Address(address),
            Some(None) => Source::Unknown,
            None => Source::NotAsked,
        };
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            source = Source::Others;
        }
        sources.entry(source).or_default().add(&record);
        let mut reason = record.reason.clone();
        if reasons.len() >= REASONS_MAX && !reasons.contains_key(&reason) {
            reason = OTHERS.into();
        }
        reasons.entry(reason).or_default().add(&record);
    })?;
    Ok(KeyUsage {
        coverage,
        all,
        sources,
        reasons,
    })
}

impl Tally {
    fn add(&mut self, record: &DecisionRecord) {
        let time = Some(record.time);
        match record.permission {
            Permission::Allow => {
                self.allowed = self.allowed.saturating_add(1);
                self.last_allowed = self.last_allowed.max(time);
            }
            Permission::Deny => self.denied = self.denied.saturating_add(1),
        }
        self.first = match self.first {
            Some(first) => Some(first.min(record.time)),
            None => time,
        };
        self.last = self.last.max(time);
    }
}
