//! Which keys break the policies' rules. That is not decided here: the policies are asked, each key
//! with a request of its own at a time when it may be used, and what raises `key-not-compliant` is
//! the mark.
//!
//! A policy knows nothing of a key but the answers to its questions. What it said is kept as a tree
//! of questions and answers, and stands for every key that is answered the same.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::decision::trace::{Answer, Question, Trace};
use crate::decision::verdict::Outcome;
use crate::facts::{Facts, FactsView};
use crate::key::KeyRecord;
use crate::policy::{Policy, PolicySet};
use crate::timestamp::Timestamp;

/// How many answers are kept for one policy: some 20 MB.
const ANSWERS_KEPT_MAX: usize = 65_536;

/// The policies, and what they said so far.
pub(in crate::cli) struct Marks<'p> {
    policies: &'p PolicySet,
    known: Vec<Known>,
}

/// What one policy said.
#[derive(Default)]
struct Known {
    root: Option<Next>,
    asks: Vec<Ask>,
    answers: usize,
}

/// A question, and what follows on each answer.
struct Ask {
    question: Question,
    then: HashMap<Answer, Next>,
}

#[derive(Clone)]
enum Next {
    /// Another question, by its place.
    Ask(usize),
    /// The mark, if any.
    Said(Option<Rc<str>>),
}

impl<'p> Marks<'p> {
    pub(in crate::cli) fn new(policies: &'p PolicySet) -> Self {
        let known = policies.policies().iter().map(|_| Known::default());
        Self {
            known: known.collect(),
            policies,
        }
    }

    /// The reasons with which policies call a key not compliant.
    pub(super) fn of(&mut self, record: KeyRecord, now: Timestamp) -> Vec<Rc<str>> {
        let at = record.not_before.map_or(now, |start| start.max(now));
        let Some(facts) = Facts::of_key(record, at).map(Arc::new) else {
            return Vec::new();
        };
        let policies = self.policies.policies().iter().zip(&mut self.known);
        policies
            .filter_map(|(policy, known)| known.mark(policy, &facts))
            .collect()
    }
}

impl Marks<'_> {
    /// As [`Marks::of`], as texts.
    pub(in crate::cli) fn reasons(&mut self, record: &KeyRecord, now: Timestamp) -> Vec<String> {
        let reasons = self.of(record.clone(), now);
        reasons.iter().map(ToString::to_string).collect()
    }
}

impl Known {
    fn mark(&mut self, policy: &Policy, facts: &Arc<Facts>) -> Option<Rc<str>> {
        if let Some(said) = self.find(facts.view()) {
            return said;
        }
        let evaluation = policy.evaluate(Box::new(Arc::clone(facts)));
        let mark = mark_of(&evaluation.outcome);
        if matches!(evaluation.outcome, Outcome::Verdict(_)) {
            self.keep(evaluation.trace, mark.clone());
        }
        mark
    }

    fn find(&self, facts: FactsView<'_>) -> Option<Option<Rc<str>>> {
        let mut next = self.root.as_ref()?;
        loop {
            match next {
                Next::Said(mark) => return Some(mark.clone()),
                Next::Ask(place) => {
                    let ask = self.asks.get(*place)?;
                    next = ask.then.get(&facts.answer(&ask.question))?;
                }
            }
        }
    }

    /// Keeps what was said, unless there is no room, or the policy asked otherwise before.
    fn keep(&mut self, trace: Trace, mark: Option<Rc<str>>) {
        self.answers = self.answers.saturating_add(trace.steps.len());
        if self.answers > ANSWERS_KEPT_MAX {
            return;
        }
        let mut from: Option<(usize, Answer)> = None;
        for (question, answer) in trace.steps {
            let there = match &from {
                None => self.root.as_ref(),
                Some((place, answer)) => self.asks.get(*place).and_then(|it| it.then.get(answer)),
            };
            let place = match there {
                Some(Next::Said(_)) => return,
                Some(Next::Ask(place)) => *place,
                None => {
                    let place = self.asks.len();
                    let (question, then) = (question.clone(), HashMap::new());
                    self.asks.push(Ask { question, then });
                    self.follow(from, Next::Ask(place));
                    place
                }
            };
            if self
                .asks
                .get(place)
                .is_none_or(|it| it.question != question)
            {
                return;
            }
            from = Some((place, answer));
        }
        self.follow(from, Next::Said(mark));
    }

    fn follow(&mut self, from: Option<(usize, Answer)>, next: Next) {
        match from {
            None => self.root = Some(next),
            Some((place, answer)) => {
                if let Some(ask) = self.asks.get_mut(place) {
                    ask.then.insert(answer, next);
                }
            }
        }
    }
}

fn mark_of(outcome: &Outcome) -> Option<Rc<str>> {
    let verdict = outcome.verdict()?;
    let is_mark = verdict
        .signals
        .iter()
        .any(|it| it.name == "key-not-compliant");
    let reason = verdict.reason.as_ref().filter(|_| is_mark)?;
    Some(Rc::from(&*reason.code))
}
