//! Replay: every recorded decision evaluated again, on the recorded components, with the recorded
//! answers. Same questions, same verdicts, same fuel, same decision, or the difference is named.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;

use serde::Serialize;

use super::sets::{AuditError, RecordedSet, Sets, key_record};
use crate::decision::trace::{Answer, Question};
use crate::decision::verdict::{Evaluated, Evaluation, FaultKind, Outcome, Verdict};
use crate::decision::{DecisionRecord, Permission, combine, reasons};
use crate::digest::Digest;
use crate::facts::key_answer;
use crate::key::{KeyId, KeyRecord};
use crate::log::{Entries, Entry, LogReader};
use crate::policy::{Answers, ENGINE, Engine, ManifestPolicy, Policy};

/// What a replay says of one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Everything is as recorded.
    Match,
    /// Something is not, first difference first.
    Mismatch(Vec<Difference>),
    /// It cannot be evaluated again, and why.
    Unreplayable(String),
}

/// One field in which a replay differs from the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which, for example `policies.scope.reason`.
    pub field: String,
    /// What the record says.
    pub recorded: String,
    /// What the replay got.
    pub replayed: String,
}

/// One decision of the log with what its replay says.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The entry's index.
    pub index: u64,
    /// The decision as it was recorded.
    pub record: DecisionRecord,
    /// What the replay says of it.
    pub finding: Finding,
}

/// A replay under way: the decisions of a log, in order, in constant memory. After an error of the
/// log itself nothing follows.
#[derive(Debug)]
pub struct Replay<'a> {
    reader: &'a LogReader,
    entries: Entries<'a>,
    sets: Sets<'a>,
}

impl<'a> Replay<'a> {
    /// A replay of a whole log.
    #[must_use]
    pub fn new(reader: &'a LogReader, engine: Engine) -> Self {
        Self {
            reader,
            entries: reader.entries(),
            sets: Sets::new(reader, engine),
        }
    }
}

impl Iterator for Replay<'_> {
    type Item = Result<Replayed, AuditError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (index, bytes) = match self.entries.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            match Entry::decode(&bytes) {
                Ok(Entry::Decision(record)) => {
                    let finding = finding(self.reader, &mut self.sets, &record);
                    return Some(Ok(Replayed {
                        index,
                        record,
                        finding,
                    }));
                }
                Ok(
                    Entry::Boot(_)
                    | Entry::Coalesced(_)
                    | Entry::LogKey(_)
                    | Entry::Outage(_)
                    | Entry::Recovery(_)
                    | Entry::Reload(_)
                    | Entry::Retention(_)
                    | Entry::Revocation(_)
                    | Entry::KeyEvent(_),
                ) => {}
                Err(error) => return Some(Err(AuditError::Entry { index, error })),
            }
        }
    }
}

fn finding(reader: &LogReader, sets: &mut Sets<'_>, record: &DecisionRecord) -> Finding {
    if record.evaluations.is_empty() {
        return refusal(record);
    }
    let key = record
        .key_record
        .ok_or_else(|| "it names no key record".to_owned());
    let key = match key.and_then(|digest| key_record(reader, digest)) {
        Ok(key) => key,
        Err(reason) => return Finding::Unreplayable(reason),
    };
    let set = match sets.get(record.policy_set) {
        Ok(set) => set,
        Err(reason) => return Finding::Unreplayable(reason),
    };
    if set.policies.len() != record.evaluations.len() {
        let count = |count: usize| format!("{count} policies");
        let field = "policies".to_owned();
        let recorded = count(record.evaluations.len());
        let replayed = count(set.policies.len());
        return Finding::Mismatch(vec![Difference {
            field,
            recorded,
            replayed,
        }]);
    }
    evaluate(&set, record, &key)
}

/// The host denied before any policy, or could not record what they said: there is nothing to
/// evaluate, only to check that it denied, and for a reason that the host denies with by itself.
fn refusal(record: &DecisionRecord) -> Finding {
    let mut differences = Differences::default();
    let permission = record.permission.as_str();
    differences.compare("effect", permission, Permission::Deny.as_str());
    if !reasons::is_refusal(&record.reason) {
        let expected = "a reason that the host denies with before any policy";
        differences.push("reason", record.reason.to_string(), expected.to_owned());
    }
    differences.finding()
}

fn evaluate(set: &RecordedSet, record: &DecisionRecord, key: &KeyRecord) -> Finding {
    let same_engine = set.manifest.engine == ENGINE;
    let mut differences = Differences::default();
    if record.key != Some(key.id) {
        let presented = record.key.as_ref().map_or("none", KeyId::as_str);
        differences.push("key", presented.to_owned(), key.id.to_string());
    }
    check_agreement(&mut differences, record);
    let mut unreplayable = None;
    let mut outcomes = Vec::with_capacity(set.policies.len());
    let policies = set
        .policies
        .iter()
        .zip(&set.manifest.policies)
        .zip(&*record.evaluations);
    for (
        (policy, manifest),
        Evaluated {
            evaluation: recorded,
            ..
        },
    ) in policies
    {
        if same_engine {
            check_snapshot(&mut differences, policy, manifest);
        }
        check_answers(&mut differences, &manifest.name, recorded, (record, key));
        let outcome = if let Some(reason) = not_to_repeat(&recorded.outcome) {
            unreplayable = Some(format!("policy `{}`: {reason}", manifest.name));
            recorded.outcome.clone()
        } else {
            let replayed = run(policy, recorded);
            compare(
                &mut differences,
                &manifest.name,
                (recorded, &replayed),
                same_engine,
            );
            replayed.outcome
        };
        outcomes.push((policy.spec().mode, outcome));
    }
    let combined = combine(outcomes.iter().map(|(mode, outcome)| (*mode, outcome)));
    differences.compare(
        "effect",
        record.permission.as_str(),
        combined.permission.as_str(),
    );
    differences.compare("reason", &record.reason, &combined.reason);
    match (differences.finding(), unreplayable) {
        (Finding::Match, Some(reason)) => Finding::Unreplayable(reason),
        (finding, _) => finding,
    }
}

/// Why no replay can repeat an outcome, if none can.
fn not_to_repeat(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Fault(fault) => match fault.kind {
            FaultKind::Deadline => Some("the host's clock ended it, which no replay repeats"),
            FaultKind::Unrepeatable => Some("it did not answer the same facts in the same way"),
            _ => None,
        },
        Outcome::Verdict(_) => None,
    }
}

/// The same module with the same settings on the same engine gives the same snapshot.
fn check_snapshot(differences: &mut Differences, policy: &Policy, manifest: &ManifestPolicy) {
    let shown = |digest: Option<Digest>| {
        digest.map_or_else(|| "none".to_owned(), |digest| digest.to_string())
    };
    let field = format!("policies.{}.snapshot", manifest.name);
    differences.compare(&field, &shown(manifest.snapshot), &shown(policy.snapshot()));
}

/// Evaluates with the recorded answers.
fn run(policy: &Policy, recorded: &Evaluation) -> Evaluation {
    policy.evaluate(Box::new(Recorded(
        recorded.trace.steps.iter().cloned().collect(),
    )))
}

/// The answers of a record, in order.
#[derive(Debug)]
struct Recorded(VecDeque<(Question, Answer)>);

impl Answers for Recorded {
    fn answer(&mut self, question: &Question) -> Result<Answer, String> {
        match self.0.pop_front() {
            Some((recorded, answer)) if recorded == *question => Ok(answer),
            Some((recorded, _)) => Err(format!(
                "asked `{question}` where the record has `{recorded}`"
            )),
            None => Err(format!(
                "asked `{question}` where the record has no question"
            )),
        }
    }
}

/// What the record says the policy was told about the key and the time has to be what the key
/// record and the record's own time say.
fn check_answers(
    differences: &mut Differences,
    policy: &Arc<str>,
    recorded: &Evaluation,
    (record, key): (&DecisionRecord, &KeyRecord),
) {
    for (question, answer) in &recorded.trace.steps {
        let expected = match question {
            Question::Now => Some(Answer::Instant(record.time)),
            Question::Reached(instant) => Some(Answer::Flag(record.time >= *instant)),
            _ => key_answer(key, question),
        };
        if let Some(expected) = expected.filter(|expected| expected != answer) {
            let field = format!("policies.{policy}.answer to `{question}`");
            differences.push(&field, answer.to_string(), expected.to_string());
        }
    }
}

/// The policies of one decision were told about one request: to the same question, the same.
fn check_agreement(differences: &mut Differences, record: &DecisionRecord) {
    let mut answers: HashMap<&Question, &Answer> = HashMap::new();
    let traces = record
        .evaluations
        .iter()
        .map(|evaluated| &evaluated.evaluation.trace);
    for (question, answer) in traces.flat_map(|trace| &trace.steps) {
        // What a policy does not list among its needs is absent for it, whatever others are told.
        let is_hidden = matches!(question, Question::Attribute(_)) && *answer == Answer::Absent;
        if is_hidden {
            continue;
        }
        let first = *answers.entry(question).or_insert(answer);
        if first != answer {
            let field = format!("policies.answers to `{question}`");
            differences.push(&field, answer.to_string(), first.to_string());
        }
    }
}

fn compare(
    differences: &mut Differences,
    policy: &Arc<str>,
    (recorded, replayed): (&Evaluation, &Evaluation),
    same_engine: bool,
) {
    let field = |name: &str| format!("policies.{policy}.{name}");
    match (&recorded.outcome, &replayed.outcome) {
        (Outcome::Verdict(recorded), Outcome::Verdict(replayed)) => {
            compare_verdicts(differences, policy, recorded, replayed);
        }
        (recorded, replayed) => {
            differences.compare(&field("outcome"), &outcome(recorded), &outcome(replayed));
        }
    }
    if recorded.trace != replayed.trace {
        let questions = |evaluation: &Evaluation| {
            let steps = evaluation.trace.steps.iter();
            steps
                .map(|(q, a)| format!("{q} = {a}"))
                .collect::<Vec<_>>()
                .join("; ")
        };
        differences.compare(&field("trace"), &questions(recorded), &questions(replayed));
    }
    if same_engine {
        differences.compare(
            &field("fuel"),
            &recorded.fuel.to_string(),
            &replayed.fuel.to_string(),
        );
    }
}

fn compare_verdicts(
    differences: &mut Differences,
    policy: &Arc<str>,
    recorded: &Verdict,
    replayed: &Verdict,
) {
    let field = |name: &str| format!("policies.{policy}.{name}");
    differences.compare(
        &field("effect"),
        recorded.effect.as_str(),
        replayed.effect.as_str(),
    );
    differences.compare(
        &field("reason"),
        &debug(&recorded.reason),
        &debug(&replayed.reason),
    );
    differences.compare(
        &field("signals"),
        &debug(&recorded.signals),
        &debug(&replayed.signals),
    );
    differences.compare(
        &field("obligations"),
        &debug(&recorded.obligations),
        &debug(&replayed.obligations),
    );
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Fault(fault) => format!("fault: {fault}"),
        Outcome::Verdict(verdict) => {
            let reason = verdict.reason.as_ref().map_or("", |reason| &*reason.code);
            format!("{} {reason}", verdict.effect.as_str())
        }
    }
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// The differences found so far.
#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn compare(&mut self, field: &str, recorded: &str, replayed: &str) {
        if recorded != replayed {
            self.push(field, recorded.to_owned(), replayed.to_owned());
        }
    }

    fn push(&mut self, field: &str, recorded: String, replayed: String) {
        self.0.push(Difference {
            field: field.to_owned(),
            recorded,
            replayed,
        });
    }

    fn finding(self) -> Finding {
        if self.0.is_empty() {
            Finding::Match
        } else {
            Finding::Mismatch(self.0)
        }
    }
}
