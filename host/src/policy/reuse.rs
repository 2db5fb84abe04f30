//! Reuse by trace: an evaluation stands for every request of its key for which each question of its
//! trace would be answered the same.
//!
//! ```text
//! key id ─► known key ─┬─► the questions of all policies ─► all evaluations      joint.rs
//!           (its record) └─► policy ─► tree of questions ───► its evaluation      tree.rs
//! ```
//! What was evaluated is kept for each key, beside the record that it was evaluated on; another
//! version of the key is another record, and what was known of the one before is not found any
//! more. A policy set has a cache of its own, so that neither another module nor other settings
//! ever meet an old trace. Whether an answer is the same is decided by comparing the answers
//! themselves, never a digest of them.
//!
//! A sample of what is reused is evaluated afresh and compared. A policy that then differs has
//! found a way to know more than its trace says: the evaluation is a fault, and nothing of that
//! policy is reused from then on.
//!
//! # Bounds
//! The cache has a size in bytes, each key at most [`KEY_MAX_BYTES`] of it: who varies what a
//! policy asks about costs the key that is used to do it what is known of it, and the others at
//! most that much room.

mod joint;
mod tally;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use foldhash::fast::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::Answers;
use crate::address::Network;
use crate::decision::trace::{Answer, Question, Trace};
use crate::decision::verdict::{Evaluated, Evaluation, Evaluations, Fault, FaultKind, Outcome};
use crate::facts::{FactsView, key_answer};
use crate::key::{KeyId, KeyRecord};
use crate::usage;

use joint::{Found, Joint};
use tally::Tally;
use tree::{DEPTH_MAX, Tree};

/// How much a policy set reuses, and how closely that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReuseOptions {
    /// Bytes of evaluations that are kept, all keys together: at most [`REUSE_MAX_BYTES`], and none
    /// at all below [`REUSE_MIN_BYTES`].
    pub memory_bytes: u64,
    /// Of how many reuses of a policy one is evaluated afresh and compared; 0: none, 1: every one.
    /// A policy whose evaluations cost more than [`CHECK_EXPECTED_COST`] is checked as many times
    /// more rarely, at most [`CHECK_RARER_MAX`] times; where all policies are reused together, they
    /// are checked together, as rarely as the costliest.
    pub check_every: u64,
}

/// The most bytes of evaluations that a policy set keeps.
pub const REUSE_MAX_BYTES: u64 = 1 << 40;
/// The least with which anything is kept.
pub const REUSE_MIN_BYTES: u64 = 1 << 20;

/// What an evaluation costs at most to be checked as often as the options say: its fuel, and a
/// sixteenth of the bytes of its module.
pub const CHECK_EXPECTED_COST: u64 = 10_000;

/// How many times more rarely an evaluation is checked at most, whatever it costs.
pub const CHECK_RARER_MAX: u64 = 64;

/// What was reused of one policy since its set was made. Counts of several threads are added up
/// without stopping them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReuseCounts {
    /// Evaluations that stood for another request, those that were checked included.
    pub reused: u64,
    /// Evaluations made because there was none to reuse.
    pub afresh: u64,
    /// Reuses that were evaluated afresh to compare.
    pub checked: u64,
    /// Whether one of these differed, so that nothing is reused any more.
    pub is_off: bool,
}

/// The most bytes that are kept of one key, all its policies together. What goes over it makes that
/// key's memory begin anew.
const KEY_MAX_BYTES: usize = 256 << 10;
/// Bytes that the cache spends on a key besides what is kept of it.
const KEY_OVERHEAD_BYTES: usize = 256;
/// Bytes of what all policies said together, besides what each of them takes.
const JOINT_BYTES: usize = 256;
/// What a key usually takes: the cache sizes its own tables by it.
const KEY_EXPECTED_BYTES: u64 = 4 << 10;
/// The most parts of the cache that are locked by themselves. Many more than threads, so that two
/// rarely meet.
const SHARDS_MAX: u64 = 256;

/// The memory of one policy set.
pub(super) struct Reuse {
    options: ReuseOptions,
    known: Option<KnownKeys>,
    hasher: RandomState,
    /// Reuses of all policies together.
    joint: Tally,
    policies: Box<[Watched]>,
}

type KnownKeys = Cache<KeyId, Arc<KnownKey>, InBytes, DefaultHashBuilder>;

/// What reuse has to know of a policy.
pub(super) struct Reusable {
    /// The attributes that it may ask for; every other is always absent.
    pub(super) needs: Arc<BTreeSet<Arc<str>>>,
    pub(super) module_bytes: u64,
    /// The most fuel of one evaluation.
    pub(super) fuel: u64,
}

/// One policy of the set, and how its reuse goes.
struct Watched {
    policy: Reusable,
    tally: Tally,
    is_off: AtomicBool,
}

/// What is known of one version of a key.
#[derive(Clone)]
struct KnownKey {
    record: Arc<KeyRecord>,
    /// One for each policy of the set.
    trees: Box<[Tree]>,
    joint: Joint,
}

/// Weighs what is kept of a key.
#[derive(Clone)]
struct InBytes;

impl Weighter<KeyId, Arc<KnownKey>> for InBytes {
    fn weight(&self, _: &KeyId, known: &Arc<KnownKey>) -> u64 {
        let record = record_bytes(&known.record);
        let known = known.size_bytes().saturating_add(KEY_OVERHEAD_BYTES);
        known.saturating_add(record) as u64
    }
}

impl Reuse {
    /// An empty memory for these policies.
    pub(super) fn new(policies: impl Iterator<Item = Reusable>, options: ReuseOptions) -> Self {
        let watched = |policy| Watched {
            policy,
            tally: Tally::default(),
            is_off: AtomicBool::new(false),
        };
        Self {
            options,
            known: known_keys(options.memory_bytes.min(REUSE_MAX_BYTES)),
            hasher: RandomState::default(),
            joint: Tally::default(),
            policies: policies.map(watched).collect(),
        }
    }

    /// One evaluation for each policy of the set, in order: reused where one stands for these
    /// facts, else made by `afresh` and remembered.
    pub(super) fn evaluate<P>(
        &self,
        facts: FactsView<'_>,
        policies: &[P],
        afresh: impl Fn(&P, Box<dyn Answers>) -> Evaluation,
    ) -> Evaluations {
        let known = self.recall(facts.key);
        let joint = known.as_ref().filter(|_| !self.is_any_off());
        let found = joint.and_then(|known| known.joint.find(facts, &self.hasher));
        let mut is_check = false;
        if let Some(found) = found {
            is_check = self.is_check_due(self.joint.reused(), found.cost);
            if !is_check {
                return found.evaluations.clone();
            }
        }
        let (mut shared, mut is_unconfirmed) = (None, false);
        let mut evaluate = |policy: &P| {
            let facts = shared.get_or_insert_with(|| Arc::new(facts.to_facts()));
            Arc::new(afresh(policy, Box::new(Arc::clone(facts))))
        };
        let each = |(place, (watched, policy)): (usize, (&Watched, &P))| {
            let found = known.as_ref().filter(|_| watched.is_on());
            let Some(evaluation) = found.and_then(|known| known.trees.get(place)?.find(facts))
            else {
                watched.tally.afresh();
                let evaluation = evaluate(policy);
                return Evaluated {
                    evaluation,
                    is_reused: false,
                };
            };
            // A joint reuse that is checked was counted as one.
            let is_due = || self.is_check_due(watched.tally.reused(), watched.cost(evaluation));
            if is_check || is_due() {
                let checked = watched.check(evaluation, evaluate(policy));
                is_unconfirmed |= is_hosts(&checked.evaluation);
                return checked;
            }
            Evaluated {
                evaluation: Arc::clone(evaluation),
                is_reused: true,
            }
        };
        let policies = self.policies.iter().zip(policies).enumerate();
        let evaluated: Vec<_> = policies.map(each).collect();
        if is_unconfirmed {
            self.forget_key(&facts.key.id);
        } else if !is_check && !self.is_any_off() {
            self.remember(facts, &evaluated);
        }
        evaluated.into()
    }

    /// Lets go of everything that is known.
    pub(super) fn forget(&self) {
        if let Some(keys) = &self.known {
            keys.clear();
        }
    }

    fn forget_key(&self, key: &KeyId) {
        if let Some(keys) = &self.known {
            keys.remove(key);
        }
    }

    /// What was reused of each policy, with the others or without.
    pub(super) fn counts(&self) -> Vec<ReuseCounts> {
        let joint = self.joint.counts().reused;
        let counts = |policy: &Watched| {
            let counts = policy.counts();
            ReuseCounts {
                reused: counts.reused.wrapping_add(joint),
                ..counts
            }
        };
        self.policies.iter().map(counts).collect()
    }

    fn is_any_off(&self) -> bool {
        self.policies.iter().any(|policy| !policy.is_on())
    }

    /// What is known of a key, if it is known of this very version of it.
    fn recall(&self, key: &Arc<KeyRecord>) -> Option<Arc<KnownKey>> {
        let keys = self.known.as_ref()?;
        let known = keys.get(&key.id)?;
        if Arc::ptr_eq(&known.record, key) {
            return Some(known);
        }
        if known.record != *key {
            return None;
        }
        // The same record, loaded again: from here on it is compared by its address.
        let known = Arc::new(KnownKey {
            record: Arc::clone(key),
            ..KnownKey::clone(&known)
        });
        keys.insert(key.id, Arc::clone(&known));
        Some(known)
    }

    /// Keeps what was evaluated, and what it comes to together. Of two threads that do so for the
    /// same key at the same moment one may lose what it has learned, which it then learns again.
    fn remember(&self, facts: FactsView<'_>, evaluated: &[Evaluated]) {
        let Some(keys) = &self.known else {
            return;
        };
        // Where one policy is never reused, the others have nothing to be joined with.
        let is_kept = |it: &Evaluated| it.is_reused || is_repeatable(&it.evaluation);
        let is_new = |it: &Evaluated| !it.is_reused && is_kept(it);
        if !evaluated.iter().any(is_new) && !evaluated.iter().all(is_kept) {
            return;
        }
        let key = facts.key;
        let blank = || KnownKey {
            record: Arc::clone(key),
            trees: vec![Tree::default(); self.policies.len()].into(),
            joint: Joint::default(),
        };
        let mut known = self.recall(key).map_or_else(blank, Arc::unwrap_or_clone);
        self.insert(&mut known, facts, evaluated);
        if known.size_bytes() > KEY_MAX_BYTES {
            known = blank();
            self.insert(&mut known, facts, evaluated);
        }
        if known.size_bytes() <= KEY_MAX_BYTES {
            keys.insert(key.id, Arc::new(known));
        }
    }

    fn insert(&self, known: &mut KnownKey, facts: FactsView<'_>, evaluated: &[Evaluated]) {
        let mut steps: Vec<(Question, Answer)> = Vec::new();
        let (mut cost, mut bytes, mut is_whole) = (0_u64, JOINT_BYTES, true);
        let places = self.policies.iter().zip(&mut known.trees);
        for (
            (policy, tree),
            Evaluated {
                evaluation,
                is_reused,
            },
        ) in places.zip(evaluated)
        {
            if !is_repeatable(evaluation) {
                is_whole = false;
                continue;
            }
            let Some(open) = policy.open_steps(&known.record, &evaluation.trace) else {
                is_whole = false;
                continue;
            };
            if !is_reused {
                // What all said together shares the evaluations of the trees, and weighs less.
                if tree.insert(&open, Arc::clone(evaluation)) {
                    known.joint = Joint::default();
                }
            }
            cost = cost.max(policy.cost(evaluation));
            bytes = bytes.saturating_add(tree::joint_bytes(&open, evaluation));
            steps.extend(open);
        }
        if is_whole {
            let reused = |it: &Evaluated| Evaluated {
                evaluation: Arc::clone(&it.evaluation),
                is_reused: true,
            };
            let evaluations: Vec<_> = evaluated.iter().map(reused).collect();
            let found = Found {
                evaluations: evaluations.into(),
                cost,
                bytes,
            };
            known.joint.insert(&steps, (facts, &self.hasher), found);
        }
    }

    /// Whether the reuse of this number is the one of its row that is checked. Which one of a row
    /// it is depends on a seed that nobody knows, so that no rhythm of requests goes by it.
    fn is_check_due(&self, reuses: u64, cost: u64) -> bool {
        let every = self.options.check_every;
        if every <= 1 {
            return every == 1;
        }
        let rarer = (cost / CHECK_EXPECTED_COST).clamp(1, CHECK_RARER_MAX);
        let every = every.saturating_mul(rarer);
        let before = reuses.saturating_sub(1);
        let (row, place) = (before / every, before % every);
        self.hasher.hash_one(row) % every == place
    }
}

impl Watched {
    /// Relaxed: a reuse that another thread is about to switch off is one more like those before.
    fn is_on(&self) -> bool {
        !self.is_off.load(Ordering::Relaxed)
    }

    /// What it costs to make an evaluation again.
    fn cost(&self, evaluation: &Evaluation) -> u64 {
        // A call that ended early has used what nobody counted: at most all that it had.
        let fuel = match evaluation.outcome {
            Outcome::Fault(_) if evaluation.fuel == 0 => self.policy.fuel,
            _ => evaluation.fuel,
        };
        (self.policy.module_bytes / 16).saturating_add(fuel)
    }

    fn counts(&self) -> ReuseCounts {
        ReuseCounts {
            is_off: !self.is_on(),
            ..self.tally.counts()
        }
    }

    /// The steps of a trace that another request of the same key can answer otherwise, each
    /// question once; `None`: more than [`DEPTH_MAX`].
    fn open_steps(&self, key: &KeyRecord, trace: &Trace) -> Option<Vec<(Question, Answer)>> {
        let mut open: Vec<(Question, Answer)> = Vec::new();
        for (question, answer) in &trace.steps {
            let is_settled = match question {
                Question::Attribute(name) => !self.policy.needs.contains(name),
                other => key_answer(key, other).is_some(),
            };
            if !is_settled && open.iter().all(|(asked, _)| asked != question) {
                if open.len() >= DEPTH_MAX {
                    return None;
                }
                open.push((question.clone(), answer.clone()));
            }
        }
        Some(open)
    }

    /// Compares what was to be reused with an evaluation made afresh, which is the one that counts.
    fn check(&self, known: &Evaluation, afresh: Arc<Evaluation>) -> Evaluated {
        self.tally.checked();
        let difference = difference(known, &afresh);
        let evaluation = match difference {
            None => afresh,
            Some(difference) => {
                self.is_off.store(true, Ordering::Relaxed);
                let detail = format!("the same facts gave it {difference} than before");
                Arc::new(Evaluation {
                    outcome: Outcome::Fault(Fault::new(FaultKind::Unrepeatable, detail)),
                    trace: afresh.trace.clone(),
                    fuel: afresh.fuel,
                })
            }
        };
        Evaluated {
            evaluation,
            is_reused: false,
        }
    }
}

/// Whether an evaluation ended in a fault in which the host may have had a part: its clock, or
/// memory that it did not have.
const fn is_hosts(evaluation: &Evaluation) -> bool {
    match &evaluation.outcome {
        Outcome::Verdict(_) => false,
        Outcome::Fault(fault) => match fault.kind {
            FaultKind::Contract | FaultKind::Deadline | FaultKind::OutOfMemory => true,
            FaultKind::Declared
            | FaultKind::OutOfFuel
            | FaultKind::TooManyQuestions
            | FaultKind::Trap
            | FaultKind::Unrepeatable
            | FaultKind::VerdictTooLarge => false,
        },
    }
}

/// In what an evaluation differs from one with the same facts; `None` too when it says nothing,
/// because the host may have had a part in it.
fn difference(known: &Evaluation, afresh: &Evaluation) -> Option<&'static str> {
    if is_hosts(afresh) {
        None
    } else if known.trace != afresh.trace {
        Some("other questions")
    } else if known.outcome != afresh.outcome {
        Some("another verdict")
    } else if known.fuel != afresh.fuel {
        Some("other fuel")
    } else {
        None
    }
}

/// Whether an evaluation says everything that it depended on, and may be told the same again: not
/// what asked for the time itself or for a count that every request changes, nor a failure in which
/// the host may have had a part.
fn is_repeatable(evaluation: &Evaluation) -> bool {
    let is_unrepeatable = matches!(&evaluation.outcome, Outcome::Fault(fault)
        if fault.kind == FaultKind::Unrepeatable);
    let may_repeat = |question: &Question| match question {
        Question::Now => false,
        Question::Attribute(name) => !name.starts_with(usage::PREFIX),
        _ => true,
    };
    let mut questions = evaluation.trace.steps.iter();
    !is_hosts(evaluation) && !is_unrepeatable && questions.all(|(question, _)| may_repeat(question))
}

impl KnownKey {
    fn size_bytes(&self) -> usize {
        let trees = self.trees.iter().map(Tree::size_bytes).sum::<usize>();
        let trees = trees.saturating_add(self.trees.len().saturating_mul(size_of::<Tree>()));
        trees.saturating_add(self.joint.size_bytes())
    }
}

/// What a key's record takes, which is kept as long as what is known of it.
fn record_bytes(record: &KeyRecord) -> usize {
    const TEXT_BYTES: usize = 48;
    let scopes = record.scopes.iter().map(|scope| scope.len() + TEXT_BYTES);
    let labels = (record.labels.iter()).map(|(name, value)| name.len() + value.len());
    let labels = labels.map(|bytes| bytes + 2 * TEXT_BYTES);
    let networks = record.allowed_networks.iter();
    let networks = networks.map(|networks| networks.len() * size_of::<Network>());
    size_of::<KeyRecord>() + scopes.chain(labels).chain(networks).sum::<usize>()
}

/// A cache of this many bytes; `None`: too few to be of use.
fn known_keys(memory_bytes: u64) -> Option<KnownKeys> {
    if memory_bytes < REUSE_MIN_BYTES {
        return None;
    }
    // Each part holds a few of the largest keys.
    let shards = (memory_bytes / (KEY_MAX_BYTES as u64 * 4)).clamp(1, SHARDS_MAX);
    let options = OptionsBuilder::new()
        .shards(usize::try_from(shards).unwrap_or(1))
        .estimated_items_capacity(usize::try_from(memory_bytes / KEY_EXPECTED_BYTES).unwrap_or(0))
        .weight_capacity(memory_bytes)
        .build()
        .ok()?;
    let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
    Some(Cache::with_options(options, InBytes, hasher, lifecycle))
}

impl ReuseOptions {
    /// Every evaluation is made afresh.
    pub const OFF: Self = Self {
        memory_bytes: 0,
        check_every: 0,
    };
}

impl Default for ReuseOptions {
    /// 64 MiB, and one reuse of 1,024 checked.
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            check_every: 1_024,
        }
    }
}

impl fmt::Debug for Reuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reuse")
            .field("options", &self.options)
            .field("keys", &self.known.as_ref().map_or(0, Cache::len))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
