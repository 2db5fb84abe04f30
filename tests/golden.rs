//! Frozen cases: decisions that an independent reading of the specification expects, and a log that
//! was written once and has to replay for ever.

use serde_json::Value;

use crate::util::{Folder, root, text};

/// One row of the expected decisions, as the command prints it.
fn row(decision: &Value) -> Value {
    let signal = |signal: &Value| match signal["name"].as_str().unwrap() {
        "rotation-due" => format!(
            "rotation-due:{}",
            signal["params"]["stage"].as_str().unwrap()
        ),
        name => name.to_owned(),
    };
    let policy = |policy: &Value| {
        let params = &policy["params"];
        let network = if policy["effect"] == "allow" {
            &params["network"]
        } else {
            &Value::Null
        };
        let detail = if params["grant"].is_null() {
            network
        } else {
            &params["grant"]
        };
        let signals: Vec<_> = policy["signals"]
            .as_array()
            .unwrap()
            .iter()
            .map(signal)
            .collect();
        serde_json::json!({
            "name": policy["name"], "effect": policy["effect"], "reason": policy["reason"],
            "signals": signals, "detail": detail,
        })
    };
    let policies: Vec<_> = decision["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(policy)
        .collect();
    serde_json::json!({
        "request": decision["request"], "effect": decision["effect"],
        "reason": decision["reason"], "policies": policies,
    })
}

#[test]
fn decisions_are_as_expected() {
    let folder = Folder::new();
    for name in ["keyward.toml", "keys.jsonl", "requests.jsonl"] {
        folder.write(name, text(&format!("tests/golden/{name}")));
    }
    folder.run(&["key", "import", "keys.jsonl"]).exit(0);
    let decisions = folder.run(&["evaluate", "requests.jsonl"]).exit(0).json();
    let expected = text("tests/golden/expected.jsonl");
    let expected: Vec<Value> = expected
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(decisions.len(), expected.len());
    for (decision, expected) in decisions.iter().zip(&expected) {
        assert_eq!(&row(decision), expected);
    }
    folder.run(&["replay"]).exit(0);
}

/// Logs of a quick start, written when the format was: `log` before verdicts were reused,
/// `reuse/log` when they were. The components that decided are in them.
#[test]
fn frozen_logs_replay() {
    for name in ["log", "reuse/log"] {
        let folder = Folder::new();
        let log = root().join("tests/golden").join(name);
        let ran = folder.run(&["replay", log.to_str().unwrap()]).exit(0);
        let match_all = ": 28 match, 0 mismatch, 0 unreplayable";
        assert!(ran.out.starts_with("28 decisions, "), "{name}: {ran:?}");
        assert!(ran.out.contains(match_all), "{name}: {ran:?}");
        let explain = ["explain", "--log", log.to_str().unwrap(), "q13"];
        let ran = folder.run(&explain).exit(0);
        assert!(ran.out.starts_with("deny scope.read-only: "), "{ran:?}");
        let is_reused = ran.out.contains("evaluated for an earlier request");
        assert_eq!(is_reused, name == "reuse/log", "{ran:?}");
    }
}
