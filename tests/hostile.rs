//! Hostile modules: each is refused when it is loaded, or becomes a fault and a denial within its
//! budget, and the next evaluation is served.

use std::collections::BTreeSet;
use std::sync::Arc;

use keyward::decision::verdict::{Effect, FaultKind, Outcome};
use keyward::facts::Facts;
use keyward::policy::{Limits, LoadError, Policy};

use crate::util::{Folder, guest, key, load, root, time};

/// What becomes of a guest.
enum Fate {
    /// It does not load; the error holds this text.
    Refused(&'static str),
    /// It loads, and evaluating it is a fault of this kind whose detail holds this text.
    Faults(FaultKind, &'static str),
    /// It loads and allows.
    Allows,
}

use Fate::{Allows, Faults, Refused};
use FaultKind as K;

/// Every guest of the folder.
const GUESTS: &[(&str, Fate)] = &[
    ("allow", Allows),
    (
        "asks-in-configure",
        Refused("called `key-read-only` outside `evaluate`"),
    ),
    (
        "asks-in-describe",
        Refused("called `now` outside `evaluate`"),
    ),
    ("asks-undeclared", Allows),
    ("bad-effect", Faults(K::Contract, "bad data")),
    ("bad-name", Refused("is not of the form `namespace:name`")),
    ("bad-pointer", Faults(K::Contract, "bad data")),
    ("bad-utf8", Faults(K::Contract, "bad data")),
    ("chatty", Faults(K::OutOfFuel, "fuel")),
    ("core-module", Refused("a core module, not a component")),
    ("declared-fault", Faults(K::Declared, "guest.deny")),
    ("deep-recursion", Faults(K::Trap, "call stack exhausted")),
    (
        "deny-without-reason",
        Faults(K::Contract, "denied without a reason"),
    ),
    (
        "doubled-parameter",
        Faults(K::Contract, "a parameter twice"),
    ),
    ("endless-loop", Faults(K::OutOfFuel, "fuel")),
    (
        "endless-loop-in-configure",
        Refused("`configure` failed: out-of-fuel"),
    ),
    (
        "endless-loop-in-describe",
        Refused("`describe` failed: out-of-fuel"),
    ),
    (
        "endless-loop-in-start",
        Refused("`describe` failed: out-of-fuel"),
    ),
    (
        "greedy-questions",
        Faults(K::TooManyQuestions, "more bytes of answers"),
    ),
    (
        "huge-answer",
        Faults(K::VerdictTooLarge, "more data to the host"),
    ),
    (
        "huge-params",
        Faults(K::VerdictTooLarge, "more than 16384 bytes of text"),
    ),
    ("long-name", Faults(K::Contract, "a name of 60000 bytes")),
    (
        "memory-bomb",
        Faults(K::OutOfMemory, "more memory than its budget"),
    ),
    ("memory-too-large", Refused("out-of-memory")),
    (
        "million-questions",
        Faults(K::TooManyQuestions, "more questions than its budget"),
    ),
    (
        "needs-two",
        Faults(
            K::Contract,
            "the attribute `guest.allow`, which has no value",
        ),
    ),
    ("no-exports", Refused("does not fit the interface")),
    ("not-snapshottable", Allows),
    ("remembers", Allows),
    (
        "reserved-reason",
        Refused("the reason `key.revoked` is the host's own"),
    ),
    ("schema-bomb", Refused("it uses a reference (`$ref`)")),
    ("smuggles", Allows),
    (
        "too-many-signals",
        Faults(K::VerdictTooLarge, "more than 8 signals"),
    ),
    ("trap-in-configure", Refused("`configure` failed: trap")),
    ("trap-in-describe", Refused("`describe` failed: trap")),
    ("trap-in-evaluate", Faults(K::Trap, "unreachable")),
    ("trap-out-of-bounds", Faults(K::Trap, "out of bounds")),
    (
        "undeclared-obligation",
        Faults(K::Contract, "the obligation `guest.signal` is not declared"),
    ),
    (
        "undeclared-reason",
        Faults(K::Contract, "the reason `test:guest` is not declared"),
    ),
    (
        "undeclared-signal",
        Faults(K::Contract, "the signal `guest.signal` is not declared"),
    ),
    (
        "wasi",
        Refused("`wasi:clocks/wall-clock@0.2.0`, `wasi:random/random@0.2.0`"),
    ),
    ("wrong-shape", Refused("does not fit the interface")),
];

/// A request with a key whose scopes take a kilobyte.
fn facts() -> Arc<Facts> {
    let long = "a".repeat(60);
    let scopes: Vec<String> = (0..10)
        .map(|n| format!("\"{long}.{long}{n}:read\""))
        .collect();
    let key = key(&format!(
        r#"{{"id":"k7Qp2mXw9LaR","owner":"sync","issued_at":"2026-11-01T00:00:00Z",
            "expires_at":"2027-01-30T00:00:00Z","scopes":[{}]}}"#,
        scopes.join(",")
    ));
    Arc::new(Facts::of_key(key, time("2026-11-02T08:00:00Z")).unwrap())
}

#[test]
fn every_guest_meets_its_fate() {
    for (name, fate) in GUESTS {
        let loaded = load(&guest(name), "{}", Limits::default());
        match (fate, loaded) {
            (Refused(text), Err(error)) => {
                assert!(error.to_string().contains(text), "{name}: {error}");
            }
            (Refused(_), Ok(_)) => panic!("{name} loads"),
            (_, Err(error)) => panic!("{name} does not load: {error}"),
            (Faults(kind, text), Ok(policy)) => faults(name, &policy, *kind, text),
            (Allows, Ok(policy)) => allows(name, &policy),
        }
    }
}

/// Twice, since the second evaluation must not notice the first; then a good guest is served.
fn faults(name: &str, policy: &Policy, kind: FaultKind, text: &str) {
    let evaluations = [(); 2].map(|()| policy.evaluate(Box::new(facts())));
    for evaluation in &evaluations {
        let Outcome::Fault(fault) = &evaluation.outcome else {
            panic!("{name} answers {:?}", evaluation.outcome)
        };
        assert_eq!(fault.kind, kind, "{name}: {fault}");
        assert!(fault.detail.contains(text), "{name}: {fault}");
    }
    assert_eq!(evaluations[0], evaluations[1], "{name}");
    allows(
        "allow",
        &load(&guest("allow"), "{}", Limits::default()).unwrap(),
    );
}

fn allows(name: &str, policy: &Policy) {
    for _ in 0..3 {
        let evaluation = policy.evaluate(Box::new(facts()));
        let verdict = evaluation.outcome.verdict();
        assert_eq!(
            verdict.map(|verdict| verdict.effect),
            Some(Effect::Allow),
            "{name}"
        );
    }
}

/// Configured once and snapshotted, or in each instance: the same to the policy.
#[test]
fn what_cannot_be_snapshotted_is_configured_each_time() {
    let load = |name| load(&guest(name), "{}", Limits::default()).unwrap();
    assert_eq!(load("not-snapshottable").snapshot(), None);
    assert!(load("remembers").snapshot().is_some());
}

#[test]
fn every_guest_file_has_a_fate() {
    let files: BTreeSet<String> = std::fs::read_dir(root().join("tests/guests"))
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .filter(|name| name != "skeleton")
        .collect();
    let fates: BTreeSet<String> = GUESTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(files, fates);
}

#[test]
fn files_that_are_no_components_are_refused() {
    let whole = guest("allow");
    for length in [0, 1, 4, 8, 9, whole.len() / 2, whole.len() - 1] {
        let error = load(&whole[..length], "{}", Limits::default()).unwrap_err();
        assert!(
            matches!(error, LoadError::Module(_) | LoadError::Interface(_)),
            "{length}: {error}"
        );
    }
    for bytes in [b"hello".as_slice(), b"\x7fELF\x02\x01\x01\0", &[0; 4096]] {
        let error = load(bytes, "{}", Limits::default()).unwrap_err();
        assert!(
            error.to_string().contains("not a wasm component"),
            "{error}"
        );
    }
}

/// Code that was compiled elsewhere would run as it is.
#[test]
fn precompiled_code_is_refused() {
    let wasm = wasmtime::Engine::default();
    let compiled = wasm.precompile_component(&guest("allow")).unwrap();
    let error = load(&compiled, "{}", Limits::default()).unwrap_err();
    assert!(error.to_string().contains("precompiled code"), "{error}");
}

#[test]
fn a_budget_is_the_budget() {
    let module = guest("million-questions");
    let limits = Limits {
        questions: 10,
        ..Limits::default()
    };
    let evaluation = load(&module, "{}", limits)
        .unwrap()
        .evaluate(Box::new(facts()));
    assert_eq!(evaluation.trace.steps.len(), 10);
    let limits = Limits {
        questions: 100_000,
        fuel: 5_000,
        ..Limits::default()
    };
    let evaluation = load(&module, "{}", limits)
        .unwrap()
        .evaluate(Box::new(facts()));
    assert!(matches!(evaluation.outcome, Outcome::Fault(fault) if fault.kind == K::OutOfFuel));
}

/// Behind the fuel stands the clock: with fuel for much longer, an endless loop still ends.
#[test]
fn the_deadline_ends_what_fuel_does_not() {
    let limits = Limits {
        fuel: Limits::MOST.fuel,
        deadline_ms: 10,
        ..Limits::default()
    };
    let policy = load(&guest("endless-loop"), "{}", limits).unwrap();
    let evaluation = policy.evaluate(Box::new(facts()));
    assert!(matches!(evaluation.outcome, Outcome::Fault(fault) if fault.kind == K::Deadline));
}

/// Through the whole pipeline: a failing policy is recorded, denies, is named, replays, and the
/// next request is decided.
#[test]
fn a_failing_policy_denies_and_is_recorded() {
    let folder = Folder::quickstart();
    folder.write("bad.wasm", guest("trap-in-evaluate"));
    let policy = "\n[[policy]]\nname = \"bad\"\nmodule = \"bad.wasm\"\n";
    folder.write("keyward.toml", folder.read("keyward.toml") + policy);
    let ran = folder
        .run(&["evaluate", "--format", "json", "requests.jsonl"])
        .exit(0);
    let first = &ran.json()[0];
    assert_eq!(first["effect"], "deny");
    assert_eq!(first["reason"], "policy.failed");
    let row = &first["policies"][3];
    assert_eq!(row["effect"], "fault");
    assert_eq!(row["reason"], "policy.failed");
    assert_eq!(row["fault"]["kind"], "trap");
    assert_eq!(ran.json().len(), 28);
    folder.run(&["replay"]).exit(0);
    let explained = folder.run(&["explain", "q01"]).exit(0);
    assert!(
        explained.out.contains("bad (test:guest 1.0.0): fault trap"),
        "{explained:?}"
    );
}

/// Whatever a guest does in an evaluation, its record replays: in shadow all of them, so that every
/// request is decided and every guest asked.
#[test]
fn what_a_guest_does_replays() {
    let folder = Folder::quickstart();
    let mut toml = folder.read("keyward.toml");
    let mut count = 0;
    for (name, _) in GUESTS
        .iter()
        .filter(|(_, fate)| !matches!(fate, Refused(_)))
    {
        folder.write(&format!("{name}.wasm"), guest(name));
        toml += &format!(
            "\n[[policy]]\nname = \"{name}\"\nmodule = \"{name}.wasm\"\nmode = \"shadow\"\n\
             [policy.limits]\nanswers_kib = 1\nquestions = 100\n"
        );
        count += 1;
    }
    assert!(count > 20, "{count}");
    folder.write("keyward.toml", toml);
    let ran = folder
        .run(&["evaluate", "--format", "json", "requests.jsonl"])
        .exit(0);
    let first = &ran.json()[0];
    let fault = |name: &str| {
        let rows = first["policies"].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap()["fault"]["kind"].clone()
    };
    assert_eq!(fault("greedy-questions"), "too-many-questions");
    assert_eq!(fault("million-questions"), "too-many-questions");
    assert_eq!(fault("asks-undeclared"), serde_json::Value::Null);
    let replayed = folder.run(&["replay"]).exit(0);
    assert!(replayed.out.contains(": 28 match"), "{replayed:?}");
}

/// With what it needs a policy is called, without it is not; the replay is told the same.
#[test]
fn what_a_policy_needs_it_has_or_is_not_called() {
    let folder = Folder::quickstart();
    folder.write("needs.wasm", guest("needs-two"));
    let policy = "\n[[policy]]\nname = \"needs\"\nmodule = \"needs.wasm\"\n";
    folder.write("keyward.toml", folder.read("keyward.toml") + policy);
    let request = |attributes: &str| {
        format!(
            r#"{{"time":"2026-11-02T08:00:00Z","key":"k7Qp2mXw9LaR","method":"GET","host":"api.example.com","path":"/inventory/1","source":"203.0.113.9","attributes":{{{attributes}}}}}"#
        )
    };
    let attributes = [
        "",
        r#""guest.allow":"x""#,
        r#""guest.allow":"x","guest.deny":7"#,
    ];
    let input = attributes.map(request);
    let ran = folder
        .run_with(&["evaluate", "-"], input.join("\n").as_bytes())
        .exit(0);
    let reasons: Vec<_> = ran
        .json()
        .iter()
        .map(|line| line["reason"].clone())
        .collect();
    assert_eq!(
        reasons,
        ["policy.failed", "policy.failed", "scope.granted"],
        "{ran:?}"
    );
    let detail = &ran.json()[1]["policies"][3]["fault"]["detail"];
    assert!(
        detail.as_str().unwrap().contains("`guest.deny`"),
        "{detail}"
    );
    folder.run(&["replay"]).exit(0);
}

#[test]
fn limits_have_limits() {
    let module = guest("allow");
    for limits in [
        Limits {
            fuel: u64::MAX,
            ..Limits::default()
        },
        Limits {
            memory_bytes: 1 << 40,
            ..Limits::default()
        },
        Limits {
            deadline_ms: 0,
            ..Limits::default()
        },
    ] {
        assert!(matches!(
            load(&module, "{}", limits),
            Err(LoadError::Limits)
        ));
    }
}

/// In shadow it changes nothing.
#[test]
fn a_failing_policy_in_shadow_changes_nothing() {
    let folder = Folder::quickstart();
    let before = folder
        .run(&["evaluate", "--format", "json", "requests.jsonl"])
        .exit(0);
    folder.write("bad.wasm", guest("trap-in-evaluate"));
    let policy = "\n[[policy]]\nname = \"bad\"\nmodule = \"bad.wasm\"\nmode = \"shadow\"\n";
    folder.write("keyward.toml", folder.read("keyward.toml") + policy);
    let after = folder
        .run(&["evaluate", "--format", "json", "requests.jsonl"])
        .exit(0);
    for (before, after) in before.json().iter().zip(after.json()) {
        assert_eq!(before["effect"], after["effect"]);
        assert_eq!(before["reason"], after["reason"]);
    }
    assert_eq!(after.json()[0]["policies"][3]["fault"]["kind"], "trap");
    folder.run(&["replay"]).exit(0);
}
