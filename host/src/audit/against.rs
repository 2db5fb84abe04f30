//! Other policies against a log: which of its decisions they would have made otherwise.

use std::collections::BTreeMap;

use smol_str::SmolStr;

use super::what_if::{Listed, Ruling, WhatIf};
use super::window::decisions;
use super::{AuditError, Coverage};
use crate::decision::{DecisionRecord, Permission};
use crate::key::KeyId;
use crate::log::LogReader;
use crate::policy::{Engine, Policy};
use crate::timestamp::Timestamp;

/// The most kinds of changes that are told apart, one for each key, reason before and reason after;
/// the rest is counted.
pub const CHANGES_MAX: usize = 10_000;

/// What policies would have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Against {
    /// Since when the log tells.
    pub coverage: Coverage,
    /// How many decisions there are, those that the host denied before any policy included.
    pub decisions: u64,
    /// How many would have had the other outcome.
    pub changed: u64,
    /// Those, by kind: at most [`CHANGES_MAX`].
    pub changes: BTreeMap<Kind, Listed>,
    /// How many do not say enough in their record.
    pub unknown_count: u64,
    /// Those, by what is missing: at most [`CHANGES_MAX`].
    pub unknown: BTreeMap<String, Listed>,
}

/// A kind of change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// Whether it would be allowed that was denied; the other way round otherwise.
    pub is_allowed: bool,
    /// The key that was presented.
    pub key: Option<KeyId>,
    /// The reason that was recorded.
    pub before: SmolStr,
    /// The reason that it would have.
    pub after: SmolStr,
}

/// Evaluates the decisions of a log from a time on with other policies. The required scope is the
/// recorded one: routes are not applied anew.
///
/// # Errors
/// [`AuditError`] when the log cannot be read up to its end.
pub fn against(
    reader: &LogReader,
    engine: Engine,
    policies: &[Policy],
    from: Timestamp,
) -> Result<Against, AuditError> {
    let mut what_if = WhatIf::new(reader, engine);
    let mut found = Found::default();
    let coverage = decisions(reader, (from, None), |index, record| {
        if record.time >= from {
            let ruling = what_if.with_policies(&record, policies);
            found.add((index, &record), ruling);
        }
    })?;
    Ok(Against {
        coverage,
        decisions: found.decisions,
        changed: found.changed,
        changes: found.changes,
        unknown_count: found.unknown_count,
        unknown: found.unknown,
    })
}

#[derive(Default)]
struct Found {
    decisions: u64,
    changed: u64,
    changes: BTreeMap<Kind, Listed>,
    unknown_count: u64,
    unknown: BTreeMap<String, Listed>,
}

impl Found {
    fn add(&mut self, (index, record): (u64, &DecisionRecord), ruling: Ruling) {
        self.decisions = self.decisions.saturating_add(1);
        match ruling {
            Ruling::Known(combined) if combined.permission != record.permission => {
                self.changed = self.changed.saturating_add(1);
                let kind = Kind {
                    is_allowed: combined.permission == Permission::Allow,
                    key: record.key,
                    before: record.reason.clone(),
                    after: combined.reason,
                };
                add(&mut self.changes, kind, (index, record.time));
            }
            Ruling::Known(_) | Ruling::NotAsked => {}
            Ruling::Unknown(missing) => {
                self.unknown_count = self.unknown_count.saturating_add(1);
                add(&mut self.unknown, missing, (index, record.time));
            }
        }
    }
}

fn add<K: Ord>(kinds: &mut BTreeMap<K, Listed>, kind: K, (index, time): (u64, Timestamp)) {
    if kinds.len() < CHANGES_MAX || kinds.contains_key(&kind) {
        kinds.entry(kind).or_default().add(index, time);
    }
}
