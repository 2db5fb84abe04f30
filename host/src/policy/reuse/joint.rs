//! What all policies said together, found at once.
//!
//! A gateway's steady state is requests for which everything is known. Walking the tree of each
//! policy reads memory that lies apart; here the questions of all policies that another request of
//! the key can answer otherwise are one list, and what they led to is found by a hash of their
//! answers. The hash only says where to look: the answers are then compared themselves. Instants
//! are no part of it: of all that were asked about, those reached and those not leave one interval
//! in which the answers hold.

use std::hash::{BuildHasher, Hasher as _};
use std::sync::Arc;

use crate::decision::trace::{Answer, Question};
use crate::decision::verdict::Evaluations;
use crate::facts::FactsView;
use crate::timestamp::Timestamp;

/// The most answers of one list of questions. One more makes the list begin anew.
const CASES_MAX: usize = 64;
/// The most lists of questions: policies may ask differently by what they are told. One more makes
/// all begin anew.
const LISTS_MAX: usize = 4;

/// What all policies said together, for one version of a key.
#[derive(Clone, Default)]
pub(super) struct Joint {
    lists: Vec<List>,
    bytes: usize,
}

/// Questions, and what their answers led to.
#[derive(Clone)]
struct List {
    questions: Arc<[Question]>,
    /// The hash of each case's answers, apart from the cases: most are looked at for that alone.
    hashes: Vec<u64>,
    cases: Vec<Case>,
}

#[derive(Clone)]
struct Case {
    from: Timestamp,
    /// The first instant at which an answer would be another.
    until: Timestamp,
    answers: Arc<[Answer]>,
    found: Found,
}

/// What there is to reuse.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) evaluations: Evaluations,
    /// What it costs to make them again.
    pub(super) cost: u64,
    /// About as much memory as they take.
    pub(super) bytes: usize,
}

impl Joint {
    /// What these facts lead to.
    pub(super) fn find(&self, facts: FactsView<'_>, hasher: &impl BuildHasher) -> Option<&Found> {
        let time = facts.request.time();
        self.lists.iter().find_map(|list| {
            let hash = list.hash(facts, hasher);
            let is_it = |case: &&Case| {
                (case.from..case.until).contains(&time)
                    && (list.questions.iter().zip(&*case.answers))
                        .all(|(question, answer)| facts.gives(question, answer))
            };
            let same_hash = (list.hashes.iter().zip(&list.cases)).filter(|(it, _)| **it == hash);
            same_hash
                .map(|(_, case)| case)
                .find(is_it)
                .map(|case| &case.found)
        })
    }

    /// Adds what these facts lead to behind the steps that all policies took, and lets go of others
    /// when there are too many.
    pub(super) fn insert(
        &mut self,
        steps: &[(Question, Answer)],
        (facts, hasher): (FactsView<'_>, &impl BuildHasher),
        found: Found,
    ) {
        let [mut from, mut until] = [i64::MIN, i64::MAX].map(Timestamp::from_millis);
        let (mut questions, mut answers) = (Vec::new(), Vec::new());
        for (question, answer) in steps {
            match (question, answer) {
                (Question::Reached(instant), Answer::Flag(true)) => from = from.max(*instant),
                (Question::Reached(instant), _) => until = until.min(*instant),
                // Of what several policies asked, once.
                _ if questions.contains(question) => {}
                _ => {
                    questions.push(question.clone());
                    answers.push(answer.clone());
                }
            }
        }
        let known = self.lists.iter().position(|it| *it.questions == *questions);
        let place = known.unwrap_or_else(|| {
            if self.lists.len() >= LISTS_MAX {
                *self = Self::default();
            }
            self.lists.push(List {
                questions: questions.into(),
                hashes: Vec::new(),
                cases: Vec::new(),
            });
            self.lists.len().saturating_sub(1)
        });
        if let Some(list) = self.lists.get_mut(place) {
            let hash = list.hash(facts, hasher);
            let case = Case {
                from,
                until,
                answers: answers.into(),
                found,
            };
            if list.cases.len() >= CASES_MAX {
                list.hashes.clear();
                list.cases.clear();
            }
            list.hashes.push(hash);
            list.cases.push(case);
        }
        let cases = self.lists.iter().flat_map(|list| &list.cases);
        self.bytes = cases.map(|case| case.found.bytes).sum();
    }

    /// About as much memory as it takes.
    pub(super) const fn size_bytes(&self) -> usize {
        self.bytes
    }
}

impl List {
    fn hash(&self, facts: FactsView<'_>, hasher: &impl BuildHasher) -> u64 {
        let mut hash = hasher.build_hasher();
        for question in &*self.questions {
            facts.hash_answer(question, &mut hash);
        }
        hash.finish()
    }
}
