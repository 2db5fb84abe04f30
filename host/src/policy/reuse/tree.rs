//! What one policy has said about one version of a key: evaluations, found by asking the questions
//! that led to them.
//!
//! A policy that is told the same asks the same next, so that traces with a common beginning share
//! it. The tree is a row of tests, each of which asks one question, compares the answer with one
//! that it has had, and says where to go on, for that answer and for any other. Who comes by reads
//! a few lines of memory that lie together. A tree is never changed, only replaced.

use std::sync::Arc;

use crate::decision::trace::{Answer, Question};
use crate::decision::verdict::{Evaluation, Outcome, Params};
use crate::facts::FactsView;

/// The most evaluations of a tree. One more makes it begin anew.
pub(super) const LEAVES_MAX: usize = 64;
/// The most questions on the way to an evaluation. One that asked more is not kept.
pub(super) const DEPTH_MAX: usize = 64;

/// Evaluations of one policy for one version of a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    first: Next,
    // INVARIANT: a test leads to tests behind it only, so that every way ends.
    tests: Arc<[Test]>,
    leaves: usize,
    bytes: usize,
}

/// Whether a question has an answer, and what then.
#[derive(Clone, Debug)]
struct Test {
    question: Question,
    answer: Answer,
    same: Next,
    other: Next,
}

/// Where to go on.
#[derive(Clone, Debug, Default)]
enum Next {
    #[default]
    Unknown,
    Test(usize),
    Evaluation(Arc<Evaluation>),
}

impl Tree {
    /// The evaluation that these facts lead to.
    pub(super) fn find(&self, facts: FactsView<'_>) -> Option<&Arc<Evaluation>> {
        let mut next = &self.first;
        loop {
            match next {
                Next::Unknown => return None,
                Next::Evaluation(evaluation) => return Some(evaluation),
                Next::Test(place) => {
                    let test = self.tests.get(*place)?;
                    next = if facts.gives(&test.question, &test.answer) {
                        &test.same
                    } else {
                        &test.other
                    };
                }
            }
        }
    }

    /// Adds an evaluation behind the questions and answers that lead to it, at most [`DEPTH_MAX`]
    /// of them. Lets go of all others when there are too many, and says whether it did.
    pub(super) fn insert(
        &mut self,
        steps: &[(Question, Answer)],
        evaluation: Arc<Evaluation>,
    ) -> bool {
        let begins_anew = self.leaves >= LEAVES_MAX;
        if begins_anew {
            *self = Self::default();
        }
        self.leaves = self.leaves.saturating_add(1);
        self.bytes = self.bytes.saturating_add(leaf_bytes(steps, &evaluation));
        let mut draft = Draft {
            first: self.first.clone(),
            tests: self.tests.to_vec(),
        };
        let (end, new) = draft.follow(steps);
        let end = draft.extend(end, new);
        if let Some(next) = draft.next_mut(end) {
            *next = Next::Evaluation(evaluation);
        }
        self.first = draft.first;
        self.tests = draft.tests.into();
        begins_anew
    }

    /// About as much memory as it takes, rather more than less.
    pub(super) const fn size_bytes(&self) -> usize {
        self.bytes
    }
}

/// A tree that is being changed.
struct Draft {
    first: Next,
    tests: Vec<Test>,
}

/// A place in a tree that says where to go on.
#[derive(Clone, Copy)]
enum Place {
    First,
    Same(usize),
    Other(usize),
}

impl Draft {
    /// Where a way leaves those that are known, and what of it is new. Behind a question other than
    /// the one that is there everything is new: the policy contradicts what it said before, and
    /// what it said last stays.
    fn follow<'s>(&mut self, steps: &'s [(Question, Answer)]) -> (Place, &'s [(Question, Answer)]) {
        let (mut place, mut rest) = (Place::First, steps);
        while let Some(((question, answer), behind)) = rest.split_first() {
            let Some(Next::Test(at)) = self.next_mut(place) else {
                break;
            };
            let at = *at;
            let known = self.tests.get(at);
            let Some(test) = known.filter(|test| test.question == *question) else {
                break;
            };
            if test.answer == *answer {
                (place, rest) = (Place::Same(at), behind);
            } else {
                place = Place::Other(at);
            }
        }
        (place, rest)
    }

    /// Adds a test for each step; the place behind the last.
    fn extend(&mut self, mut place: Place, steps: &[(Question, Answer)]) -> Place {
        for (question, answer) in steps {
            let at = self.tests.len();
            if let Some(next) = self.next_mut(place) {
                *next = Next::Test(at);
            }
            self.tests.push(Test {
                question: question.clone(),
                answer: answer.clone(),
                same: Next::Unknown,
                other: Next::Unknown,
            });
            place = Place::Same(at);
        }
        place
    }

    fn next_mut(&mut self, place: Place) -> Option<&mut Next> {
        match place {
            Place::First => Some(&mut self.first),
            Place::Same(at) => self.tests.get_mut(at).map(|test| &mut test.same),
            Place::Other(at) => self.tests.get_mut(at).map(|test| &mut test.other),
        }
    }
}

/// What an evaluation and the way to it take, as if it shared nothing with others.
fn leaf_bytes(steps: &[(Question, Answer)], evaluation: &Evaluation) -> usize {
    const TEST_BYTES: usize = size_of::<Test>() + 32;
    const STEP_BYTES: usize = size_of::<(Question, Answer)>();
    let tests = steps.len().saturating_add(1).saturating_mul(TEST_BYTES);
    let trace = &evaluation.trace.steps;
    text_bytes(steps)
        .saturating_add(text_bytes(trace))
        .saturating_add(tests)
        .saturating_add(trace.len().saturating_mul(STEP_BYTES))
        .saturating_add(size_of::<Evaluation>())
        .saturating_add(outcome_bytes(&evaluation.outcome))
}

/// What it takes to find an evaluation together with others and to keep its form in a record.
pub(super) fn joint_bytes(steps: &[(Question, Answer)], evaluation: &Evaluation) -> usize {
    const ANSWER_BYTES: usize = 2 * size_of::<Answer>();
    const STEP_BYTES: usize = 8;
    let trace = &evaluation.trace.steps;
    text_bytes(steps)
        .saturating_add(steps.len().saturating_mul(ANSWER_BYTES))
        .saturating_add(text_bytes(trace))
        .saturating_add(trace.len().saturating_mul(STEP_BYTES))
        .saturating_add(outcome_bytes(&evaluation.outcome))
}

fn text_bytes(steps: &[(Question, Answer)]) -> usize {
    let step = |(question, answer): &(Question, Answer)| {
        // Each text of a list is an allocation of its own.
        let items = match answer {
            Answer::Texts(texts) => texts.len() as u64 * 32,
            _ => 0,
        };
        question.argument_bytes() + answer.size_bytes() + items
    };
    usize::try_from(steps.iter().map(step).sum::<u64>()).unwrap_or(usize::MAX)
}

fn outcome_bytes(outcome: &Outcome) -> usize {
    const PARAM_BYTES: usize = size_of::<(String, String)>();
    let params = |params: &Params| -> usize {
        let texts = params.iter().map(|(name, value)| name.len() + value.len());
        params.len() * PARAM_BYTES + texts.sum::<usize>()
    };
    match outcome {
        Outcome::Fault(fault) => fault.detail.len(),
        Outcome::Verdict(verdict) => {
            let reason = verdict.reason.iter().map(|it| params(&it.params) + 64);
            let signals = verdict.signals.iter().map(|it| params(&it.params) + 64);
            let obligations = verdict.obligations.iter().map(|it| params(&it.params) + 64);
            reason.chain(signals).chain(obligations).sum()
        }
    }
}
