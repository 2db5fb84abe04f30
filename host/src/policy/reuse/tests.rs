//! Reuse with policies that are plain functions, so that each can cheat as no module can; and one
//! real module in an instance that is kept, which no host does.

use std::cell::{Cell, RefCell};

use super::super::{Engine, Limits, Policy, PolicySpec, component, interface};
use super::*;
use crate::credential::Presented;
use crate::decision::Mode;
use crate::decision::verdict::{Effect, Reason, Verdict};
use crate::facts::Facts;
use crate::key::json::{KeyOptions, read_keys};
use crate::request::{AccessRequest, AttributeValue, RequestParts};
use crate::timestamp::Timestamp;

/// A policy: what it answers when it is told what it asks.
type Script<'a> = &'a dyn Fn(&mut dyn FnMut(Question) -> Answer) -> Outcome;

fn run(script: &Script<'_>, mut answers: Box<dyn Answers>) -> Evaluation {
    let mut trace = Trace::default();
    let outcome = script(&mut |question| {
        let answer = answers.answer(&question).unwrap();
        trace.steps.push((question, answer.clone()));
        answer
    });
    Evaluation {
        outcome,
        fuel: 10 + trace.steps.len() as u64,
        trace,
    }
}

/// A memory for policies that may ask for the attribute `known`.
fn reuse(policies: usize, check_every: u64) -> Reuse {
    let needs = Arc::new(BTreeSet::from(["known".into()]));
    let options = ReuseOptions {
        memory_bytes: 4 << 20,
        check_every,
    };
    let policy = |_| Reusable {
        needs: Arc::clone(&needs),
        module_bytes: 0,
        fuel: 1_000,
    };
    Reuse::new((0..policies).map(policy), options)
}

/// A policy whose module has so many bytes.
fn of_bytes(module_bytes: u64) -> Reusable {
    Reusable {
        needs: Arc::default(),
        module_bytes,
        fuel: 1_000,
    }
}

/// Evaluates one policy for some facts; whether the evaluation was reused.
fn is_reused(reuse: &Reuse, script: Script<'_>, facts: &Facts) -> bool {
    let [evaluated] = &*reuse.evaluate(facts.view(), &[script], run) else {
        panic!("one policy, one evaluation");
    };
    // Reused or not, it is what an evaluation would have been.
    assert_eq!(
        *evaluated.evaluation,
        run(&script, Box::new(Arc::new(facts.clone())))
    );
    evaluated.is_reused
}

fn verdict(effect: Effect, code: &str) -> Outcome {
    Outcome::Verdict(Verdict {
        effect,
        reason: Some(Reason {
            code: code.into(),
            params: Vec::new(),
        }),
        signals: Vec::new(),
        obligations: Vec::new(),
    })
}

fn allow() -> Outcome {
    verdict(Effect::Allow, "test.ok")
}

fn fault(kind: FaultKind) -> Outcome {
    Outcome::Fault(Fault::new(kind, "test"))
}

fn key(id: &str, owner: &str) -> Arc<KeyRecord> {
    let line = format!(
        r#"{{"id":"{id}","owner":"{owner}","issued_at":"2026-11-01T00:00:00Z","expires_at":"2027-01-30T00:00:00Z","scopes":["a:read"]}}"#
    );
    let mut keys = read_keys(line.as_bytes(), KeyOptions::default()).unwrap();
    Arc::new(keys.pop().unwrap().into_parts().0)
}

/// A request at a second of a day, with `change` made to it.
fn facts(key: &Arc<KeyRecord>, second: i64, change: impl FnOnce(&mut RequestParts)) -> Facts {
    let time = Timestamp::from_millis(1_764_000_000_000 + second * 1_000);
    let presented = Presented::KeyId(key.id.as_str().into());
    let mut parts = RequestParts::new(time, presented, "GET", "/a");
    parts.host = "a.example".to_owned();
    parts.source = Some("203.0.113.9".parse().unwrap());
    change(&mut parts);
    let request = AccessRequest::new(parts).unwrap();
    Facts {
        path: request.path().unwrap().clone(),
        required_scope: request.required_scope().cloned(),
        key: Arc::clone(key),
        usage: None,
        request,
    }
}

fn at(second: i64) -> Question {
    Question::Reached(Timestamp::from_millis(1_764_000_000_000 + second * 1_000))
}

#[test]
fn what_was_asked_decides_and_nothing_else() {
    type Change = fn(&mut RequestParts);
    let header: Change = |parts| parts.headers = vec![("X-A".to_owned(), "1".to_owned())];
    let attribute: Change = |parts| {
        let value = AttributeValue::Text("x".into());
        parts.attributes = [
            ("known".to_owned(), value.clone()),
            ("other".to_owned(), value),
        ]
        .into();
    };
    let changes: [(Question, Change); 8] = [
        (Question::Attribute("known".into()), attribute),
        (Question::Header("x-a".into()), header),
        (Question::Host, |parts| parts.host = "b.example".to_owned()),
        (Question::Method, |parts| parts.method = "PUT".to_owned()),
        (Question::Path, |parts| parts.target = b"/b".to_vec()),
        (Question::RequiredScope, |parts| {
            parts.required_scope = Some("a:read".to_owned());
        }),
        (Question::SourceAddress, |parts| parts.source = None),
        (at(1), |parts| {
            parts.time = Timestamp::from_millis(1_764_000_001_000);
        }),
    ];
    let key = key("k7Qp2mXw9LaR", "o");
    for (asked, _) in &changes {
        let reuse = reuse(1, 0);
        let script: Script<'_> = &|ask| {
            ask(Question::KeyOwner);
            ask(asked.clone());
            ask(asked.clone());
            allow()
        };
        assert!(!is_reused(&reuse, script, &facts(&key, 0, |_| ())));
        for (other, change) in &changes {
            let changed = facts(&key, 0, change);
            // Once for what is new in it; what it does not ask about is nothing new.
            assert_eq!(
                is_reused(&reuse, script, &changed),
                other != asked,
                "{asked}, {other}"
            );
            assert!(is_reused(&reuse, script, &changed), "{asked}, {other}");
            assert!(is_reused(&reuse, script, &facts(&key, 0, |_| ())));
        }
    }
}

#[test]
fn an_attribute_that_it_may_not_have_is_never_new() {
    let key = key("k7Qp2mXw9LaR", "o");
    let reuse = reuse(1, 0);
    let policies: [Script<'_>; 1] = [&|ask| {
        ask(Question::Attribute("other".into()));
        allow()
    }];
    // As the host does it: what is not among the needs is absent, whatever the request says.
    let hidden = |script: &Script<'_>, _: Box<dyn Answers>| {
        run(script, Box::new(Arc::new(facts(&key, 0, |_| ()))))
    };
    for (value, is_reused) in [("x", false), ("y", true)] {
        let facts = facts(&key, 0, |parts| {
            let value = AttributeValue::Text(value.into());
            parts.attributes = [("other".to_owned(), value)].into();
        });
        let evaluated = reuse.evaluate(facts.view(), &policies, hidden);
        assert_eq!(evaluated[0].is_reused, is_reused);
    }
}

#[test]
fn an_instant_is_before_or_reached() {
    let key = key("k7Qp2mXw9LaR", "o");
    let reuse = reuse(1, 0);
    let script: Script<'_> = &|ask| {
        if ask(at(10)) == Answer::Flag(true) {
            return verdict(Effect::Deny, "test.late");
        }
        ask(at(5));
        allow()
    };
    for (second, expected) in [
        (0, false),
        (4, true),
        (5, false),
        (9, true),
        (10, false),
        (11, true),
        (1, true),
        (7, true),
    ] {
        let facts = facts(&key, second, |_| ());
        assert_eq!(is_reused(&reuse, script, &facts), expected, "{second}");
    }
}

#[test]
fn who_asks_for_the_time_itself_or_a_count_is_always_asked_again() {
    let key = key("k7Qp2mXw9LaR", "o");
    for asked in [
        Question::Now,
        Question::Attribute("usage.requests-1m".into()),
    ] {
        let reuse = reuse(2, 0);
        let asks: Script<'_> = &|ask| {
            ask(asked.clone());
            allow()
        };
        let other: Script<'_> = &|_| allow();
        for round in 0..3 {
            let facts = facts(&key, 0, |_| ());
            let evaluated = reuse.evaluate(facts.view(), &[asks, other], run);
            // The other's is kept, and nothing of its own.
            let reused = [&evaluated[0], &evaluated[1]].map(|it| it.is_reused);
            assert_eq!(reused, [false, round > 0]);
        }
    }
}

#[test]
fn a_fault_is_reused_when_the_host_had_no_part_in_it() {
    let key = key("k7Qp2mXw9LaR", "o");
    for kind in FaultKind::ALL {
        let reuse = reuse(1, 0);
        let script: Script<'_> = &|_| fault(kind);
        let facts = facts(&key, 0, |_| ());
        assert!(!is_reused(&reuse, script, &facts));
        let expected = matches!(
            kind,
            FaultKind::Declared
                | FaultKind::OutOfFuel
                | FaultKind::TooManyQuestions
                | FaultKind::Trap
                | FaultKind::VerdictTooLarge
        );
        assert_eq!(is_reused(&reuse, script, &facts), expected, "{kind:?}");
    }
}

#[test]
fn another_version_of_the_key_begins_anew_and_the_same_one_loaded_again_does_not() {
    let reuse = reuse(1, 0);
    let script: Script<'_> = &|_| allow();
    let [first, again] = [(); 2].map(|()| key("k7Qp2mXw9LaR", "o"));
    let other = key("k7Qp2mXw9LaR", "p");
    for (key, expected) in [
        (&first, false),
        (&first, true),
        (&again, true),
        (&other, false),
        (&other, true),
        // What was known of the version before is gone.
        (&first, false),
    ] {
        assert_eq!(is_reused(&reuse, script, &facts(key, 0, |_| ())), expected);
    }
}

#[test]
fn without_memory_nothing_is_reused() {
    let key = key("k7Qp2mXw9LaR", "o");
    let reuse = Reuse::new(std::iter::once(of_bytes(0)), ReuseOptions::OFF);
    for _ in 0..2 {
        assert!(!is_reused(&reuse, &|_| allow(), &facts(&key, 0, |_| ())));
    }
    assert_eq!(reuse.counts()[0].afresh, 2);
}

#[test]
fn every_nth_reuse_is_evaluated_afresh() {
    let key = key("k7Qp2mXw9LaR", "o");
    let reuse = reuse(3, 4);
    let asked = [(); 3].map(|()| Cell::new(0_u64));
    let script = |policy: usize| {
        let asked = &asked[policy];
        move |_: &mut dyn FnMut(Question) -> Answer| {
            asked.set(asked.get() + 1);
            allow()
        }
    };
    let scripts = [script(0), script(1), script(2)];
    let policies: [Script<'_>; 3] = [&scripts[0], &scripts[1], &scripts[2]];
    for _ in 0..101 {
        reuse.evaluate(facts(&key, 0, |_| ()).view(), &policies, run);
    }
    for (asked, counts) in asked.iter().zip(reuse.counts()) {
        assert_eq!((counts.reused, counts.afresh, counts.checked), (100, 1, 25));
        assert_eq!(asked.get(), 26);
        assert!(!counts.is_off);
    }
}

/// So that the checks of a slow language take no larger part of the time than those of a quick one.
#[test]
fn what_costs_more_is_checked_more_rarely() {
    let key = key("k7Qp2mXw9LaR", "o");
    let options = ReuseOptions {
        memory_bytes: 4 << 20,
        check_every: 4,
    };
    let script: Script<'_> = &|_| allow();
    for (module_bytes, checked) in [
        (0, 25),
        (16 * (CHECK_EXPECTED_COST - 10), 25),
        (16 * 2 * CHECK_EXPECTED_COST, 12),
        (16 * 10 * CHECK_EXPECTED_COST, 2),
        (u64::MAX, 0),
    ] {
        // Of the last row that has begun, the check may be yet to come.
        let checked = checked..=checked + 1;
        let reuse = Reuse::new(std::iter::once(of_bytes(module_bytes)), options);
        for _ in 0..101 {
            reuse.evaluate(facts(&key, 0, |_| ()).view(), &[script], run);
        }
        let found = reuse.counts()[0].checked;
        assert!(checked.contains(&found), "{module_bytes}: {found}");
    }
}

#[test]
fn who_cheats_is_a_fault_and_never_reused_again() {
    let key = key("k7Qp2mXw9LaR", "o");
    let calls = Cell::new(0);
    let counted = || {
        calls.set(calls.get() + 1);
        calls.get() > 1
    };
    let other_verdict: Script<'_> = &|_| verdict(Effect::Allow, if counted() { "b" } else { "a" });
    let other_questions: Script<'_> = &|ask| {
        if counted() {
            ask(Question::KeyId);
        }
        allow()
    };
    for (script, detail) in [
        (
            other_verdict,
            "the same facts gave it another verdict than before",
        ),
        (
            other_questions,
            "the same facts gave it other questions than before",
        ),
    ] {
        calls.set(0);
        let reuse = reuse(2, 3);
        let honest: Script<'_> = &|_| allow();
        let facts = facts(&key, 0, |_| ());
        let mut found_at = None;
        for call in 1..=20 {
            let evaluated = reuse.evaluate(facts.view(), &[script, honest], run);
            if let Outcome::Fault(fault) = &evaluated[0].evaluation.outcome {
                assert_eq!(fault.kind, FaultKind::Unrepeatable);
                assert_eq!(&*fault.detail, detail);
                assert_eq!(found_at.replace(call), None);
            }
            let is_reused = call > 1 && found_at.is_none();
            assert_eq!(evaluated[0].is_reused, is_reused, "{call}");
        }
        // By the check of the first three reuses.
        let found_at = found_at.unwrap();
        assert!((2..=4).contains(&found_at), "{found_at}");
        let [cheat, honest] = &*reuse.counts() else {
            panic!("two policies");
        };
        assert!(cheat.is_off && !honest.is_off);
        assert_eq!((cheat.reused, cheat.checked), (found_at - 1, 1));
        assert_eq!(honest.reused, 19);
        assert!((5..=7).contains(&honest.checked), "{}", honest.checked);
    }
}

#[test]
fn the_hosts_own_clock_is_no_cheating() {
    let key = key("k7Qp2mXw9LaR", "o");
    let calls = Cell::new(0);
    let script: Script<'_> = &|_| {
        calls.set(calls.get() + 1);
        if calls.get() == 2 {
            fault(FaultKind::Deadline)
        } else {
            allow()
        }
    };
    let reuse = reuse(1, 1);
    let facts = facts(&key, 0, |_| ());
    let outcomes = [(); 3].map(|()| {
        let evaluated = reuse.evaluate(facts.view(), &[script], run);
        evaluated[0].evaluation.outcome.clone()
    });
    assert_eq!(outcomes, [allow(), fault(FaultKind::Deadline), allow()]);
    assert!(!reuse.counts()[0].is_off);
}

/// The host gives every evaluation an instance of its own. If it did not, the state that an
/// instance keeps would show in the fuel, and a check finds it.
#[test]
fn an_instance_that_is_kept_is_found_out() {
    let engine = Engine::new(None).unwrap();
    let spec = PolicySpec {
        name: "scope".into(),
        mode: Mode::Enforce,
        module: keyward_policies::SCOPE.into(),
        settings: "{}".into(),
        limits: Limits::default(),
    };
    let policy = Policy::load(&engine, spec).unwrap();
    let limits = policy.spec().limits;
    let state = || interface::State::new(&limits, Arc::clone(&policy.needs));
    let mut store = policy.compiled.store(&engine, &limits, state());
    let world = policy.compiled.pre.instantiate(&mut store).unwrap();
    let store = RefCell::new(store);
    let kept = |policy: &Policy, answers: Box<dyn Answers>| {
        let mut store = store.borrow_mut();
        *store.data_mut() = state();
        store.data_mut().answer_by(answers);
        store.data_mut().open();
        component::set_fuel(&mut store, limits.fuel);
        let verdict = world.keyward_policy_decide().call_evaluate(&mut *store);
        let verdict = policy
            .descriptor
            .check_verdict(verdict.unwrap().unwrap(), &limits);
        Evaluation {
            outcome: Outcome::Verdict(verdict.unwrap()),
            fuel: limits.fuel - store.get_fuel().unwrap(),
            trace: std::mem::replace(store.data_mut(), state()).into_trace(),
        }
    };
    let key = key("k7Qp2mXw9LaR", "o");
    let facts = facts(&key, 0, |parts| {
        parts.required_scope = Some("a:read".to_owned());
    });
    let policies = std::slice::from_ref(&policy);
    for (afresh, is_off) in [
        (
            &Policy::evaluate as &dyn Fn(&Policy, Box<dyn Answers>) -> Evaluation,
            false,
        ),
        (&kept, true),
    ] {
        let reuse = reuse(1, 1);
        // Its allocator never frees: sooner or later a call finds the memory of the ones before.
        for _ in 0..1_000 {
            reuse.evaluate(facts.view(), policies, afresh);
        }
        assert_eq!(reuse.counts()[0].is_off, is_off);
    }
}

#[test]
fn who_varies_what_is_asked_harms_no_other_key() {
    let reuse = reuse(2, 0);
    let address: Script<'_> = &|ask| {
        ask(Question::SourceAddress);
        ask(Question::Header("user-agent".into()));
        allow()
    };
    let scope: Script<'_> = &|ask| {
        ask(Question::Path);
        allow()
    };
    let policies = [address, scope];
    let others: Vec<_> = (0..100)
        .map(|n| key(&format!("other{n:07}"), "o"))
        .collect();
    let of = |key| facts(key, 0, |_| ());
    for other in &others {
        reuse.evaluate(of(other).view(), &policies, run);
    }
    let attacker = key("attacker0000", "o");
    let mut largest = 0;
    for n in 0..50_000_u32 {
        let facts = facts(&attacker, 0, |parts| {
            parts.source = Some(format!("10.{}.{}.1", n / 250, n % 250).parse().unwrap());
            parts.headers = vec![("user-agent".to_owned(), "x".repeat(n as usize % 8_000))];
            parts.target = format!("/{n}").into();
        });
        reuse.evaluate(facts.view(), &policies, run);
        if let Some(known) = reuse.recall(&attacker) {
            largest = largest.max(known.size_bytes());
        }
    }
    assert!(
        (KEY_MAX_BYTES / 2..=KEY_MAX_BYTES).contains(&largest),
        "{largest}"
    );
    for other in &others {
        let evaluated = reuse.evaluate(of(other).view(), &policies, run);
        assert!(evaluated.iter().all(|it| it.is_reused));
    }
}

#[test]
fn all_keys_together_stay_within_the_memory() {
    let reuse = reuse(1, 0);
    let script: Script<'_> = &|ask| {
        ask(Question::KeyScopes);
        allow()
    };
    for n in 0..20_000 {
        let key = key(&format!("k{n:011}"), "o");
        assert!(!is_reused(&reuse, script, &facts(&key, 0, |_| ())));
        assert!(is_reused(&reuse, script, &facts(&key, 0, |_| ())), "{n}");
    }
    let keys = reuse.known.as_ref().unwrap();
    assert!(keys.weight() <= 4 << 20, "{}", keys.weight());
    assert!(keys.len() < 20_000, "{}", keys.len());
}

#[test]
fn an_evaluation_that_is_too_large_to_keep_is_made_again() {
    let key = key("k7Qp2mXw9LaR", "o");
    let long: Script<'_> = &|ask| {
        for n in 0..=tree::DEPTH_MAX {
            ask(at(n as i64));
        }
        allow()
    };
    let heavy: Script<'_> = &|ask| {
        (0..5_000).for_each(|_| drop(ask(Question::KeyScopes)));
        allow()
    };
    for script in [long, heavy] {
        let reuse = reuse(1, 0);
        for _ in 0..2 {
            assert!(!is_reused(&reuse, script, &facts(&key, 0, |_| ())));
        }
    }
}

/// What weighs too little would let the memory grow.
#[test]
fn what_is_kept_is_weighed_in_full() {
    let key = key("k7Qp2mXw9LaR", "o");
    let script: Script<'_> = &|ask| {
        ask(Question::Header("x-a".into()));
        allow()
    };
    let evaluation = run(
        &script,
        Box::new(Arc::new(facts(&key, 0, |parts| {
            parts.headers = (0..100)
                .map(|_| ("x-a".to_owned(), "y".repeat(100)))
                .collect();
        }))),
    );
    let reuse = reuse(1, 0);
    let open = reuse.policies[0]
        .open_steps(&key, &evaluation.trace)
        .unwrap();
    let mut tree = Tree::default();
    tree.insert(&open, Arc::new(evaluation));
    // A hundred values of a hundred bytes, each an allocation of its own.
    assert!(
        tree.size_bytes() >= 100 * (100 + 16),
        "{}",
        tree.size_bytes()
    );
}
