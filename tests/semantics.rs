//! The tables of the standard policies, row by row: each row is asked of the policy as plain Rust
//! and of its component, which must answer the same, ask the same, and answer what the row says.

use std::sync::{Arc, OnceLock};

use keyward::credential::Presented;
use keyward::decision::verdict::{Effect, Verdict};
use keyward::facts::Facts;
use keyward::key::KeyRecord;
use keyward::policy::{Limits, Policy};
use keyward::request::{AccessRequest, RequestParts};

use crate::util::{key, load, native, time};

/// One row of a table in `tests/semantics`.
struct Row {
    /// JSON; empty stands for `{}`.
    settings: &'static str,
    /// Members that a key has beyond id, owner and `issued_at`.
    key: &'static str,
    /// What the request is about: a required scope, a time or a source address; empty: none.
    asked: &'static str,
    /// Effect and reason, `allow rotation.current`; then parameters, and signals with theirs,
    /// `name=value` and `!signal name=value`, in the order given.
    expected: &'static str,
}

/// The time of requests for which it does not matter.
const NOON: &str = "2026-11-15T12:00:00Z";

fn check<P: keyward_policy::Policy>(module: &'static [u8], row: &Row, request: [&str; 3]) {
    let settings = if row.settings.is_empty() {
        "{}"
    } else {
        row.settings
    };
    let facts = facts(row, request);
    let (verdict, asked) = native::<P>(&facts, settings);
    assert_eq!(
        shown(&verdict),
        row.expected,
        "{} / {} / {:?}",
        settings,
        row.key,
        request
    );
    let policy = loaded(module, settings);
    let evaluation = policy.evaluate(Box::new(Arc::clone(&facts)));
    assert_eq!(evaluation.outcome.verdict(), Some(&verdict), "{}", row.key);
    assert_eq!(evaluation.trace, asked, "{}", row.key);
}

/// Each module with each settings is loaded once.
fn loaded(module: &'static [u8], settings: &str) -> Arc<Policy> {
    type Loaded = std::collections::HashMap<(usize, String), Arc<Policy>>;
    static LOADED: OnceLock<std::sync::Mutex<Loaded>> = OnceLock::new();
    let mut loaded = LOADED.get_or_init(Default::default).lock().unwrap();
    let slot = loaded
        .entry((module.as_ptr().addr(), settings.to_owned()))
        .or_insert_with(|| Arc::new(load(module, settings, Limits::default()).unwrap()));
    Arc::clone(slot)
}

/// `request` is time, required scope and source.
fn facts(row: &Row, request: [&str; 3]) -> Arc<Facts> {
    let [at, required_scope, source] = request;
    let json = format!(
        r#"{{"id":"k7Qp2mXw9LaR","owner":"sync"{}{}}}"#,
        if row.key.contains("issued_at") {
            ""
        } else {
            r#","issued_at":"2026-11-01T00:00:00Z""#
        },
        if row.key.contains("scopes") {
            format!(",{}", row.key)
        } else {
            format!(
                r#","scopes":["a:b"]{}{}"#,
                if row.key.is_empty() { "" } else { "," },
                row.key
            )
        },
    );
    let key: KeyRecord = key(&json);
    let mut parts = RequestParts::new(time(at), Presented::None, "POST", "/x");
    parts.required_scope = (!required_scope.is_empty()).then(|| required_scope.to_owned());
    parts.source = (!source.is_empty()).then(|| source.parse().unwrap());
    let request = AccessRequest::new(parts).unwrap();
    let path = request.path().unwrap().clone();
    let required_scope = request.required_scope().cloned();
    Arc::new(Facts {
        request,
        path,
        key: Arc::new(key),
        required_scope,
        usage: None,
    })
}

fn shown(verdict: &Verdict) -> String {
    let params = |params: &[(String, String)]| {
        params
            .iter()
            .map(|(name, value)| format!(" {name}={value}"))
            .collect::<String>()
    };
    let effect = match verdict.effect {
        Effect::Abstain => "abstain",
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    };
    let reason = verdict.reason.as_ref().unwrap();
    let mut text = format!("{effect} {}{}", reason.code, params(&reason.params));
    for signal in &verdict.signals {
        text += &format!(" !{}{}", signal.name, params(&signal.params));
    }
    text
}

#[test]
fn scope_follows_its_table() {
    for row in rows(include_str!("semantics/scope.txt")) {
        let request = [NOON, row.asked, ""];
        check::<keyward_scope::ScopePolicy>(keyward_policies::SCOPE, &row, request);
    }
}

#[test]
fn rotation_follows_its_table() {
    for row in rows(include_str!("semantics/rotation.txt")) {
        let request = [row.asked, "a:b", ""];
        check::<keyward_rotation::RotationPolicy>(keyward_policies::ROTATION, &row, request);
    }
}

#[test]
fn ip_follows_its_table() {
    for row in rows(include_str!("semantics/ip.txt")) {
        let request = [NOON, "a:b", row.asked];
        check::<keyward_ip::IpPolicy>(keyward_policies::IP, &row, request);
    }
}

/// The rows of a table; `#` begins a comment.
fn rows(table: &'static str) -> Vec<Row> {
    let row = |line: &'static str| {
        let [settings, key, asked, expected] = line
            .split('|')
            .map(str::trim)
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        Row {
            settings,
            key,
            asked,
            expected,
        }
    };
    let rows: Vec<Row> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(row)
        .collect();
    assert!(rows.len() > 20);
    rows
}

/// What the schema cannot say is said by `configure`, with the place.
#[test]
fn settings_are_refused_with_their_place() {
    let rows: &[(&[u8], &str, &str)] = &[
        (
            keyward_policies::SCOPE,
            r#"{"implies":{"a":["b"],"b":["a"]}}"#,
            "/implies/",
        ),
        (
            keyward_policies::SCOPE,
            r#"{"read_only_actions":["Read"]}"#,
            "/read_only_actions/0",
        ),
        (keyward_policies::SCOPE, r#"{"implys":{}}"#, "implys"),
        (
            keyward_policies::ROTATION,
            r#"{"max_lifetime_days":0}"#,
            "/max_lifetime_days",
        ),
        (
            keyward_policies::ROTATION,
            r#"{"on_overdue":"maybe"}"#,
            "/on_overdue",
        ),
        (
            keyward_policies::ROTATION,
            r#"{"notice_days":[60,"x"]}"#,
            "/notice_days/1",
        ),
        (
            keyward_policies::IP,
            r#"{"blocked":["10.0.0.1/8"]}"#,
            "/blocked/0",
        ),
        (
            keyward_policies::IP,
            r#"{"blocked":["10.0.0.0/8","nonsense"]}"#,
            "/blocked/1",
        ),
        (
            keyward_policies::IP,
            r#"{"require_allow_list":"yes"}"#,
            "/require_allow_list",
        ),
    ];
    for (module, settings, place) in rows {
        let error = load(module, settings, Limits::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(place), "{settings}: {error}");
    }
}
