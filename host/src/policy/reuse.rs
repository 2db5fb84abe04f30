//! Reuse by trace: an evaluation stands for every request of its key for which each question of its
//! trace would be answered the same.
//!
//! ```text
//! key id ─► known key ─► policy ─► tree of questions ─► evaluation
//!           (its record)           (tree.rs)
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
//! policy asks about evicts the traces of the key that is used to do it, and no other's.

mod tally;
mod tree;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::Answers;
use crate::decision::trace::{Answer, Question, Trace};
use crate::decision::verdict::{
    Evaluated, Evaluation, Fault, FaultKind, Outcome, SharedEvaluation,
};
use crate::facts::{FactsView, key_answer};
use crate::key::{KeyId, KeyRecord};

use tally::Tally;
use tree::Tree;

/// How much a policy set reuses, and how closely that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReuseOptions {
    /// Bytes of evaluations that are kept, all keys together: at most [`REUSE_MAX_BYTES`], and none
    /// at all below [`REUSE_MIN_BYTES`].
    pub memory_bytes: u64,
    /// Of how many reuses of a policy one is evaluated afresh and compared; 0: none. A policy whose
    /// evaluations are large (more than [`CHECK_EXPECTED_COST`]) is checked as many times more
    /// rarely, so that checks take the same part of the time whatever a policy is written in.
    pub check_every: u64,
}

/// The most bytes of evaluations that a policy set keeps.
pub const REUSE_MAX_BYTES: u64 = 1 << 40;
/// The least with which anything is kept.
pub const REUSE_MIN_BYTES: u64 = 1 << 20;

/// What an evaluation costs at most to be checked as often as the options say: its fuel, and a
/// sixteenth of the bytes of its module.
pub const CHECK_EXPECTED_COST: u64 = 10_000;

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
/// What a key usually takes: the cache sizes its own tables by it.
const KEY_EXPECTED_BYTES: u64 = 4 << 10;
/// The most parts of the cache that are locked by themselves. Many more than threads, so that two
/// rarely meet.
const SHARDS_MAX: u64 = 256;

/// The memory of one policy set.
pub(super) struct Reuse {
    options: ReuseOptions,
    known: Option<KnownKeys>,
    policies: Box<[Watched]>,
}

type KnownKeys = Cache<KeyId, Arc<KnownKey>, InBytes, DefaultHashBuilder>;

/// One policy of the set, and how its reuse goes.
struct Watched {
    /// The attributes that it may ask for; every other is always absent.
    needs: Arc<BTreeSet<Arc<str>>>,
    /// What making an instance costs.
    instance_cost: u64,
    tally: Tally,
    is_off: AtomicBool,
}

/// What is known of one version of a key.
#[derive(Clone)]
struct KnownKey {
    record: Arc<KeyRecord>,
    /// One for each policy of the set.
    trees: Box<[Tree]>,
}

/// Weighs what is kept of a key.
#[derive(Clone)]
struct InBytes;

impl Weighter<KeyId, Arc<KnownKey>> for InBytes {
    fn weight(&self, _: &KeyId, known: &Arc<KnownKey>) -> u64 {
        known.size_bytes().saturating_add(KEY_OVERHEAD_BYTES) as u64
    }
}

impl Reuse {
    /// An empty memory for policies with these needs, whose modules have so many bytes.
    pub(super) fn new(
        policies: impl Iterator<Item = (Arc<BTreeSet<Arc<str>>>, u64)>,
        options: ReuseOptions,
    ) -> Self {
        let watched = |(needs, module_bytes)| Watched {
            needs,
            instance_cost: module_bytes / 16,
            tally: Tally::default(),
            is_off: AtomicBool::new(false),
        };
        Self {
            options,
            known: known_keys(options.memory_bytes.min(REUSE_MAX_BYTES)),
            policies: policies.map(watched).collect(),
        }
    }

    pub(super) const fn options(&self) -> ReuseOptions {
        self.options
    }

    /// One evaluation for each policy of the set, in order: reused where one stands for these facts,
    /// else made by `afresh` and remembered.
    pub(super) fn evaluate<P>(
        &self,
        facts: FactsView<'_>,
        policies: &[P],
        afresh: impl Fn(&P, Box<dyn Answers>) -> Evaluation,
    ) -> Vec<Evaluated> {
        let known = self.recall(facts.key);
        let mut shared = None;
        let mut evaluate = |policy: &P| {
            let facts = shared.get_or_insert_with(|| Arc::new(facts.to_facts()));
            SharedEvaluation::from(afresh(policy, Box::new(Arc::clone(facts))))
        };
        let mut learned = Vec::new();
        let each = |(place, (watched, policy)): (usize, (&Watched, &P))| {
            let found = known.as_ref().filter(|_| watched.is_on());
            let found = found.and_then(|known| known.trees.get(place)?.find(facts));
            if let Some(evaluation) = found {
                let count = watched.tally.reused();
                if self.is_check_due(count, watched.cost(evaluation)) {
                    return watched.check(evaluation, evaluate(policy));
                }
                return Evaluated {
                    evaluation: evaluation.clone(),
                    is_reused: true,
                };
            }
            watched.tally.afresh();
            let evaluation = evaluate(policy);
            if watched.is_on() && is_repeatable(&evaluation) {
                learned.push((place, evaluation.clone()));
            }
            Evaluated {
                evaluation,
                is_reused: false,
            }
        };
        let policies = self.policies.iter().zip(policies).enumerate();
        let evaluated = policies.map(each).collect();
        if !learned.is_empty() {
            self.remember(facts.key, &learned);
        }
        evaluated
    }

    /// Lets go of everything that is known.
    pub(super) fn forget(&self) {
        if let Some(keys) = &self.known {
            keys.clear();
        }
    }

    /// What was reused of each policy.
    pub(super) fn counts(&self) -> Vec<ReuseCounts> {
        self.policies.iter().map(Watched::counts).collect()
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
            trees: known.trees.clone(),
        });
        keys.insert(key.id, Arc::clone(&known));
        Some(known)
    }

    /// Keeps evaluations of some policies, by their places. Of two threads that do so for the same
    /// key at the same moment one may lose what it has learned, which it then learns again.
    fn remember(&self, key: &Arc<KeyRecord>, learned: &[(usize, SharedEvaluation)]) {
        let Some(keys) = &self.known else {
            return;
        };
        let blank = || KnownKey {
            record: Arc::clone(key),
            trees: vec![Tree::default(); self.policies.len()].into(),
        };
        let mut known = self.recall(key).map_or_else(blank, Arc::unwrap_or_clone);
        self.insert(&mut known, learned);
        if known.size_bytes() > KEY_MAX_BYTES {
            known = blank();
            self.insert(&mut known, learned);
        }
        if known.size_bytes() <= KEY_MAX_BYTES {
            keys.insert(key.id, Arc::new(known));
        }
    }

    fn insert(&self, known: &mut KnownKey, learned: &[(usize, SharedEvaluation)]) {
        for (place, evaluation) in learned {
            if let (Some(tree), Some(policy)) =
                (known.trees.get_mut(*place), self.policies.get(*place))
            {
                let open = policy.open_steps(&known.record, &evaluation.trace);
                tree.insert(&open, evaluation.clone());
            }
        }
    }

    const fn is_check_due(&self, reuses: u64, cost: u64) -> bool {
        let times = if cost > CHECK_EXPECTED_COST {
            cost / CHECK_EXPECTED_COST
        } else {
            1
        };
        match reuses.checked_rem(self.options.check_every.saturating_mul(times)) {
            Some(rest) => rest == 0,
            None => false,
        }
    }
}

impl Watched {
    /// Relaxed: a reuse that another thread is about to switch off is one more like those before.
    fn is_on(&self) -> bool {
        !self.is_off.load(Ordering::Relaxed)
    }

    /// What it costs to make an evaluation again.
    fn cost(&self, evaluation: &Evaluation) -> u64 {
        self.instance_cost.saturating_add(evaluation.fuel)
    }

    fn counts(&self) -> ReuseCounts {
        ReuseCounts {
            is_off: !self.is_on(),
            ..self.tally.counts()
        }
    }

    /// The steps of a trace that another request of the same key can answer otherwise, each
    /// question once.
    fn open_steps(&self, key: &KeyRecord, trace: &Trace) -> Vec<(Question, Answer)> {
        let mut open: Vec<(Question, Answer)> = Vec::new();
        for (question, answer) in &trace.steps {
            let is_settled = match question {
                Question::Attribute(name) => !self.needs.contains(name),
                other => key_answer(key, other).is_some(),
            };
            if !is_settled && open.iter().all(|(asked, _)| asked != question) {
                open.push((question.clone(), answer.clone()));
            }
        }
        open
    }

    /// Compares what was to be reused with an evaluation made afresh, which is the one that counts.
    fn check(&self, known: &Evaluation, afresh: SharedEvaluation) -> Evaluated {
        self.tally.checked();
        let difference = difference(known, &afresh);
        let evaluation = match difference {
            None => afresh,
            Some(difference) => {
                self.is_off.store(true, Ordering::Relaxed);
                let detail = format!("the same facts gave it {difference} than before");
                SharedEvaluation::from(Evaluation {
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

/// In what an evaluation differs from one with the same facts. The host's own clock is no
/// difference: it is the host that ended the call.
fn difference(known: &Evaluation, afresh: &Evaluation) -> Option<&'static str> {
    let is_hosts = matches!(&afresh.outcome, Outcome::Fault(fault)
        if matches!(fault.kind, FaultKind::Deadline | FaultKind::OutOfMemory));
    if is_hosts {
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

/// Whether an evaluation says everything that it depended on: not what asked for the time itself,
/// nor a failure in which the host may have had a part.
fn is_repeatable(evaluation: &Evaluation) -> bool {
    let outcome = match &evaluation.outcome {
        Outcome::Verdict(_) => true,
        Outcome::Fault(fault) => match fault.kind {
            FaultKind::Declared
            | FaultKind::OutOfFuel
            | FaultKind::TooManyQuestions
            | FaultKind::Trap
            | FaultKind::VerdictTooLarge => true,
            FaultKind::Contract
            | FaultKind::Deadline
            | FaultKind::OutOfMemory
            | FaultKind::Unrepeatable => false,
        },
    };
    let mut questions = evaluation.trace.steps.iter();
    outcome && questions.all(|(question, _)| *question != Question::Now)
}

impl KnownKey {
    fn size_bytes(&self) -> usize {
        self.trees.iter().map(Tree::size_bytes).sum()
    }
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
