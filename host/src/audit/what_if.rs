//! What if: recorded decisions evaluated with another key record or other policies, and the
//! recorded answers. A question that the record has no answer for leaves the outcome unknown;
//! nothing is guessed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::sets::{Sets, key_record, manifest};
use super::window::decisions;
use super::{AuditError, Coverage};
use crate::address::Address;
use crate::decision::trace::{Answer, Question};
use crate::decision::verdict::Outcome;
use crate::decision::{Combined, DecisionRecord, Mode, Permission, combine};
use crate::digest::Digest;
use crate::facts::key_answer;
use crate::key::{KeyId, KeyRecord};
use crate::log::LogReader;
use crate::policy::{Answers, Engine, Policy};
use crate::timestamp::Timestamp;

/// The most indexes that are listed of decisions of one kind; the rest is counted.
pub const LISTED_MAX: usize = 20;
/// The most source addresses that are told apart; the rest is counted.
pub const SOURCES_MAX: usize = 10_000;
/// How many key records, and manifests, are kept at once.
const KEPT_MAX: usize = 1_024;

/// What another key record or other policies make of a recorded decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// This.
    Known(Combined),
    /// The host's gate denied before any policy was asked: nothing changes.
    NotAsked,
    /// The record does not say enough, and what is missing.
    Unknown(String),
}

/// Some decisions: how many, when the last was, and examples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// How many.
    pub count: u64,
    /// The time of the latest.
    pub last: Option<Timestamp>,
    /// The indexes of the first ones, at most [`LISTED_MAX`].
    pub indexes: Vec<u64>,
}

/// What a change of a key would have done to the requests that it was allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakage {
    /// Since when the log tells.
    pub coverage: Coverage,
    /// The allowed requests in the window.
    pub allowed: Listed,
    /// Those of them that would have been refused.
    pub refused: Listed,
    /// Those of them that the record does not say enough of.
    pub unknown: Listed,
    /// What is missing of the first of those.
    pub missing: Option<String>,
    /// Where the refused ones came from, at most [`SOURCES_MAX`] addresses; `None`: from nowhere
    /// that is known.
    pub sources: BTreeMap<Option<Address>, Listed>,
    /// Allowed requests from before the window that would have been refused.
    pub earlier: Listed,
}

/// Evaluates recorded decisions anew.
#[derive(Debug)]
pub struct WhatIf<'a> {
    reader: &'a LogReader,
    sets: Sets<'a>,
    keys: HashMap<Digest, Result<Arc<KeyRecord>, String>>,
    /// Of each policy of a recorded set, which attributes it was told of.
    needs: HashMap<Digest, Vec<BTreeSet<Arc<str>>>>,
}

/// What is known of one recorded request.
#[derive(Debug)]
struct Known {
    time: Timestamp,
    key: Arc<KeyRecord>,
    answers: HashMap<Question, Answer>,
}

impl<'a> WhatIf<'a> {
    /// For the decisions of a log.
    #[must_use]
    pub fn new(reader: &'a LogReader, engine: Engine) -> Self {
        Self {
            reader,
            sets: Sets::new(reader, engine),
            keys: HashMap::new(),
            needs: HashMap::new(),
        }
    }

    /// What the policies that decided would have made of the request with another key record: the
    /// recorded one, changed.
    pub fn with_key(&mut self, record: &DecisionRecord, change: &dyn Fn(&mut KeyRecord)) -> Ruling {
        if record.evaluations.is_empty() {
            return Ruling::NotAsked;
        }
        let ruled = self.sets.get(record.policy_set).and_then(|set| {
            let mut known = self.known(record)?;
            change(Arc::make_mut(&mut known.key));
            evaluate(&set.policies, known)
        });
        ruled.map_or_else(Ruling::Unknown, Ruling::Known)
    }

    /// What other policies would have made of the request.
    pub fn with_policies(&mut self, record: &DecisionRecord, policies: &[Policy]) -> Ruling {
        if record.evaluations.is_empty() {
            return Ruling::NotAsked;
        }
        let ruled = self
            .known(record)
            .and_then(|known| evaluate(policies, known));
        ruled.map_or_else(Ruling::Unknown, Ruling::Known)
    }

    fn known(&mut self, record: &DecisionRecord) -> Result<Known, String> {
        let key = self.key(record)?;
        let mut answers = HashMap::new();
        let needs = self.needs(record.policy_set)?;
        for (policy, evaluated) in record.evaluations.iter().enumerate() {
            for (question, answer) in &evaluated.evaluation.trace.steps {
                let is_told = |name| needs.get(policy).is_some_and(|it| it.contains(name));
                // What a policy does not list among its needs is absent for it alone.
                if !matches!(question, Question::Attribute(name) if !is_told(name)) {
                    answers
                        .entry(question.clone())
                        .or_insert_with(|| answer.clone());
                }
            }
        }
        Ok(Known {
            time: record.time,
            key,
            answers,
        })
    }

    fn key(&mut self, record: &DecisionRecord) -> Result<Arc<KeyRecord>, String> {
        let digest = record.key_record.ok_or("it names no key record")?;
        if self.keys.len() >= KEPT_MAX {
            self.keys.clear();
        }
        let read = || key_record(self.reader, digest).map(Arc::new);
        self.keys.entry(digest).or_insert_with(read).clone()
    }

    fn needs(&mut self, digest: Digest) -> Result<&[BTreeSet<Arc<str>>], String> {
        if self.needs.len() >= KEPT_MAX {
            self.needs.clear();
        }
        if !self.needs.contains_key(&digest) {
            let manifest = manifest(self.reader, digest)?;
            let needs = manifest.policies.iter().map(|policy| {
                let needs = policy.descriptor.needs.iter();
                needs.map(|need| Arc::clone(&need.name)).collect()
            });
            self.needs.insert(digest, needs.collect());
        }
        Ok(self.needs.get(&digest).map_or(&[], Vec::as_slice))
    }
}

/// What policies come to, as far as what is known says so.
fn evaluate(policies: &[Policy], known: Known) -> Result<Combined, String> {
    let known = Arc::new(known);
    let mut missing = None;
    let mut outcomes: Vec<(Mode, Outcome)> = Vec::with_capacity(policies.len());
    for policy in policies {
        let unknown = Arc::new(Mutex::new(None));
        let needs = policy.descriptor().needs.iter();
        let evaluation = policy.evaluate(Box::new(Told {
            known: Arc::clone(&known),
            needs: needs.map(|need| Arc::clone(&need.name)).collect(),
            unknown: Arc::clone(&unknown),
        }));
        let unknown = unknown.lock().take();
        let spec = policy.spec();
        match unknown {
            None => outcomes.push((spec.mode, evaluation.outcome)),
            Some(question) if spec.mode == Mode::Enforce => {
                let text = || format!("policy `{}` asks `{question}`", spec.name);
                missing.get_or_insert_with(text);
            }
            Some(_) => {}
        }
    }
    let combined = combine(outcomes.iter().map(|(mode, outcome)| (*mode, outcome)));
    // A policy that denies is not outvoted, whatever an unknown one would say.
    let is_settled = combined.permission == Permission::Deny && combined.decided_by.is_some();
    match missing {
        Some(missing) if !is_settled => Err(missing),
        _ => Ok(combined),
    }
}

/// Answers from what is known, and notes what is not.
#[derive(Debug)]
struct Told {
    known: Arc<Known>,
    needs: BTreeSet<Arc<str>>,
    unknown: Arc<Mutex<Option<Question>>>,
}

impl Answers for Told {
    fn answer(&mut self, question: &Question) -> Result<Answer, String> {
        let known = &self.known;
        let answer = match question {
            Question::Now => Some(Answer::Instant(known.time)),
            Question::Reached(instant) => Some(Answer::Flag(known.time >= *instant)),
            Question::Attribute(name) if !self.needs.contains(name) => Some(Answer::Absent),
            about => {
                let of_key = key_answer(&known.key, about);
                of_key.or_else(|| known.answers.get(about).cloned())
            }
        };
        answer.ok_or_else(|| {
            self.unknown.lock().get_or_insert_with(|| question.clone());
            format!("the record has no answer to `{question}`")
        })
    }
}

/// What a change of a key would have done to the requests that it was allowed from a time on, on
/// the policies that allowed them.
///
/// # Errors
/// [`AuditError`] when the log cannot be read up to its end.
pub fn breakage(
    reader: &LogReader,
    engine: Engine,
    (key, from): (&KeyRecord, Timestamp),
    change: &dyn Fn(&mut KeyRecord),
) -> Result<Breakage, AuditError> {
    let mut what_if = WhatIf::new(reader, engine);
    let mut found = Found::default();
    let window = (from, Some(key.issued_at));
    let coverage = decisions(reader, window, |index, record| {
        if is_allowed(&record, key.id) {
            let ruling = what_if.with_key(&record, change);
            found.add((index, &record), &ruling, record.time < from);
        }
    })?;
    let Found {
        allowed,
        refused,
        unknown,
        missing,
        sources,
        earlier,
    } = found;
    Ok(Breakage {
        coverage,
        allowed,
        refused,
        unknown,
        missing,
        sources,
        earlier,
    })
}

#[derive(Default)]
struct Found {
    allowed: Listed,
    refused: Listed,
    unknown: Listed,
    missing: Option<String>,
    sources: BTreeMap<Option<Address>, Listed>,
    earlier: Listed,
}

impl Found {
    fn add(&mut self, at: (u64, &DecisionRecord), ruling: &Ruling, is_earlier: bool) {
        let (index, record) = at;
        let is_refused = matches!(ruling, Ruling::Known(it) if it.permission == Permission::Deny);
        if is_earlier {
            if is_refused {
                self.earlier.add(index, record.time);
            }
            return;
        }
        self.allowed.add(index, record.time);
        if is_refused {
            self.refused.add(index, record.time);
            let source = source_of(record).unwrap_or_default();
            if self.sources.len() < SOURCES_MAX || self.sources.contains_key(&source) {
                let listed = self.sources.entry(source).or_default();
                listed.add(index, record.time);
            }
        }
        if let Ruling::Unknown(missing) = ruling {
            self.unknown.add(index, record.time);
            self.missing.get_or_insert_with(|| missing.clone());
        }
    }
}

impl Listed {
    pub(super) fn add(&mut self, index: u64, time: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.last = self.last.max(Some(time));
        if self.indexes.len() < LISTED_MAX {
            self.indexes.push(index);
        }
    }
}

fn is_allowed(record: &DecisionRecord, id: KeyId) -> bool {
    record.key == Some(id) && record.permission == Permission::Allow
}

/// Where a recorded request came from: `None`, no policy asked; `Some(None)`, it was not known.
pub(super) fn source_of(record: &DecisionRecord) -> Option<Option<Address>> {
    let traces = record.evaluations.iter().map(|it| &it.evaluation.trace);
    let mut steps = traces.flat_map(|trace| &trace.steps);
    steps.find_map(|(question, answer)| match (question, answer) {
        (Question::SourceAddress, Answer::Address(address)) => Some(Some(*address)),
        (Question::SourceAddress, _) => Some(None),
        _ => None,
    })
}
