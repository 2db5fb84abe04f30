//! Replay notices every change of what was recorded, names the field, and says nothing about a log
//! that is as it was.

use std::sync::Arc;

use keyward::audit::replay::{Finding, Replay};
use keyward::decision::trace::{Answer, Question};
use keyward::decision::verdict::{Effect, Evaluation, Evaluations, FaultKind, Outcome, Verdict};
use keyward::decision::{DecisionRecord, Permission};
use keyward::log::{Entry, Log, LogOptions, LogReader};

use crate::util::{Folder, copy, engine, time};

/// The log of a quick start, and beside it as `forged` another with each decision changed.
fn forged_folder(change: impl Fn(&mut DecisionRecord)) -> Folder {
    let folder = Folder::quickstart();
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let honest = LogReader::open(&folder.file("log")).unwrap();
    let options = LogOptions {
        origin: "keyward.example/forged".to_owned(),
        ..LogOptions::default()
    };
    let log = Log::create(
        &folder.file("forged"),
        options,
        time("2026-11-23T10:00:00Z"),
    )
    .unwrap();
    for entry in honest.entries() {
        if let Entry::Decision(mut record) = Entry::decode(&entry.unwrap().1).unwrap() {
            change(&mut record);
            log.append_decision(&record).unwrap();
        }
    }
    drop(log);
    copy(&folder.file("log/blob"), &folder.file("forged/blob"));
    folder
}

/// What a replay says of each decision of a forged log.
fn forged(change: impl Fn(&mut DecisionRecord)) -> Vec<Finding> {
    let folder = forged_folder(change);
    let reader = LogReader::open(&folder.file("forged")).unwrap();
    Replay::new(&reader, engine())
        .map(|replayed| replayed.unwrap().finding)
        .collect()
}

/// Changes one decision and checks that its replay names this field first.
#[track_caller]
fn check(request: &str, field: &str, change: impl Fn(&mut DecisionRecord)) {
    let number: usize = request.strip_prefix('q').unwrap().parse().unwrap();
    let findings = forged(|record| {
        if record.request.as_deref() == Some(request) {
            change(record);
        }
    });
    for (index, finding) in findings.iter().enumerate() {
        if index + 1 != number {
            assert_eq!(finding, &Finding::Match, "{index}");
            continue;
        }
        let Finding::Mismatch(differences) = finding else {
            panic!("{finding:?}")
        };
        assert_eq!(differences[0].field, field, "{differences:?}");
    }
}

fn evaluation(record: &mut DecisionRecord, policy: usize, change: impl FnOnce(&mut Evaluation)) {
    let mut evaluations = record.evaluations.to_vec();
    change(Arc::make_mut(&mut evaluations[policy].evaluation));
    record.evaluations = evaluations.into();
}

fn verdict(record: &mut DecisionRecord, policy: usize, change: impl FnOnce(&mut Verdict)) {
    evaluation(record, policy, |it| match &mut it.outcome {
        Outcome::Verdict(verdict) => change(verdict),
        Outcome::Fault(fault) => panic!("{fault}"),
    });
}

#[test]
fn an_honest_log_matches() {
    assert!(
        forged(|_| ())
            .iter()
            .all(|finding| *finding == Finding::Match)
    );
}

#[test]
fn a_denial_made_an_allow_is_noticed() {
    check("q04", "effect", |record| {
        record.permission = Permission::Allow
    });
    check("q04", "policies.scope.effect", |record| {
        record.permission = Permission::Allow;
        record.reason = "scope.granted".into();
        verdict(record, 0, |it| it.effect = Effect::Allow);
    });
    check("q20", "effect", |record| {
        record.permission = Permission::Allow
    });
}

#[test]
fn a_changed_verdict_is_noticed() {
    check("q01", "reason", |record| {
        record.reason = "ip.allowed".into()
    });
    check("q01", "policies.scope.reason", |record| {
        verdict(record, 0, |it| {
            it.reason.as_mut().unwrap().params[0].1 = "*:*".to_owned();
        });
    });
    check("q05", "policies.ip.signals", |record| {
        verdict(record, 2, |it| it.signals.clear());
    });
    check("q01", "policies.rotation.fuel", |record| {
        evaluation(record, 1, |it| it.fuel += 1);
    });
    check("q01", "policies.ip.outcome", |record| {
        let fault = keyward::decision::verdict::Fault::new(FaultKind::Trap, "unreachable");
        evaluation(record, 2, |it| it.outcome = Outcome::Fault(fault));
    });
}

#[test]
fn a_changed_answer_is_noticed() {
    let answer = |record: &mut DecisionRecord, policy: usize, question: &Question, to: Answer| {
        evaluation(record, policy, |it| {
            let mut steps = it.trace.steps.iter_mut();
            steps.find(|(asked, _)| asked == question).unwrap().1 = to;
        });
    };
    // What the key is: against the key record, whatever the policy makes of it.
    check("q04", "policies.scope.answer to `key-scopes`", |record| {
        let scopes = Answer::Texts(vec!["inventory:write".into()].into());
        answer(record, 0, &Question::KeyScopes, scopes);
    });
    // What time it was: against the record's own time.
    let end = Question::Reached(time("2027-01-30T00:00:00Z"));
    check(
        "q28",
        "policies.rotation.answer to `reached 2027-01-30T00:00:00Z`",
        |record| {
            answer(record, 1, &end, Answer::Flag(false));
        },
    );
    check(
        "q28",
        "policies.rotation.answer to `reached 2027-01-30T00:00:00Z`",
        |record| {
            record.time = time("2026-11-20T08:00:00Z");
        },
    );
    // What the request was: by what the policy makes of it.
    check("q01", "policies.ip.effect", |record| {
        answer(record, 2, &Question::SourceAddress, Answer::Absent);
    });
}

#[test]
fn a_changed_trace_is_noticed() {
    check("q01", "policies.scope.outcome", |record| {
        evaluation(record, 0, |it| drop(it.trace.steps.pop()));
    });
    check("q01", "policies.scope.trace", |record| {
        let step = (Question::Method, Answer::Text("GET".into()));
        evaluation(record, 0, |it| it.trace.steps.push(step));
    });
    check("q01", "policies.scope.outcome", |record| {
        evaluation(record, 0, |it| it.trace.steps.swap(0, 1));
    });
}

#[test]
fn left_out_policies_are_noticed() {
    check("q01", "policies", |record| {
        record.evaluations = record.evaluations[1..].to_vec().into();
    });
    // With none left it has to be a denial of the host's own.
    check("q04", "reason", |record| {
        record.evaluations = Evaluations::default()
    });
    check("q04", "reason", |record| {
        record.evaluations = Evaluations::default();
        record.reason = "policy.none-allowed".into();
    });
    check("q01", "effect", |record| {
        record.evaluations = Evaluations::default();
        record.reason = "key.unknown".into();
    });
}

#[test]
fn another_key_is_noticed() {
    check("q01", "key", |record| {
        record.key = Some("Warehouse001".parse().unwrap())
    });
    let findings = forged(|record| record.key_record = None);
    let unreplayable = findings
        .iter()
        .filter(|f| matches!(f, Finding::Unreplayable(_)));
    assert_eq!(unreplayable.count(), 23 - 1); // all that a policy was asked about
}

/// The clock is the host's own: a replay does not pretend to repeat it, and checks the rest.
#[test]
fn a_deadline_is_unreplayable() {
    let late = |record: &mut DecisionRecord| {
        let fault = keyward::decision::verdict::Fault::new(FaultKind::Deadline, "late");
        evaluation(record, 0, |it| it.outcome = Outcome::Fault(fault));
        record.permission = Permission::Deny;
        record.reason = "policy.failed".into();
    };
    let findings = forged(|record| {
        if record.request.as_deref() == Some("q01") {
            late(record);
        }
    });
    assert!(matches!(&findings[0], Finding::Unreplayable(reason) if reason.contains("clock")));
    check("q01", "policies.ip.fuel", |record| {
        late(record);
        evaluation(record, 2, |it| it.fuel += 1);
    });
    check("q01", "effect", |record| {
        late(record);
        record.permission = Permission::Allow;
    });
}

/// A policy that answered in two ways when it was decided cannot be held to either.
#[test]
fn an_unrepeatable_evaluation_is_unreplayable() {
    let findings = forged(|record| {
        if record.request.as_deref() == Some("q01") {
            let fault = keyward::decision::verdict::Fault::new(FaultKind::Unrepeatable, "");
            evaluation(record, 0, |it| it.outcome = Outcome::Fault(fault));
            record.permission = Permission::Deny;
            record.reason = "policy.failed".into();
        }
    });
    let reason = "policy `scope`: it did not answer the same facts in the same way";
    assert_eq!(findings[0], Finding::Unreplayable(reason.to_owned()));
}

/// What a forged log holds cannot wipe what is said of it.
#[test]
fn a_forged_log_does_not_control_the_terminal() {
    let folder = forged_folder(|record| {
        record.reason = "x\n\u{1b}[2J\u{202e}".into();
        record.detail = Some("\u{1b}[2J".into());
    });
    let replayed = folder.run(&["replay", "forged"]).exit(1);
    let explained = folder.run(&["explain", "--log", "forged", "q01"]).exit(0);
    for text in [&replayed.out, &explained.out] {
        let bad = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
        assert_eq!(text.chars().find(bad), None, "{text:?}");
    }
    assert!(
        replayed.out.contains("recorded  x\\n\\u{1b}[2J\\u{202e}\n"),
        "{replayed:?}"
    );
}

/// What the command shows of a difference.
#[test]
fn the_command_shows_field_by_field() {
    let folder = forged_folder(|record| {
        if record.request.as_deref() == Some("q04") {
            record.permission = Permission::Allow;
        }
    });
    let ran = folder.run(&["replay", "forged"]).exit(1);
    assert!(
        ran.out
            .contains("  effect\n    recorded  allow\n    replayed  deny\n"),
        "{ran:?}"
    );
    assert!(
        ran.out.contains("27 match, 1 mismatch, 0 unreplayable"),
        "{ran:?}"
    );
    let json = folder
        .run(&["replay", "--format", "json", "forged"])
        .exit(1)
        .json();
    assert_eq!(json[3]["finding"], "mismatch");
    assert_eq!(json[3]["differences"][0]["field"], "effect");
}
