//! Answers, by table and by property.

use std::collections::BTreeMap;
use std::sync::Arc;

use keyward_policy::Policy as _;
use serde_json::Value;

use super::*;
use crate::decision::id::DecisionId;
use crate::decision::reasons::HOST_REASONS;
use crate::decision::trace::Trace;
use crate::decision::verdict::{
    Effect, Evaluated, Evaluation, Evaluations, Outcome, Reason, Signal, Verdict,
};
use crate::digest::Digest;
use crate::key::{Environment, Lifecycle};
use crate::timestamp::Timestamp;

const ALL: [Profile; 4] = [
    Profile::Envoy,
    Profile::Forward,
    Profile::Grpc,
    Profile::Nginx,
];
const NOW: &str = "2026-11-23T10:00:00Z";

fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

/// A decision with this reason, by a policy whose reason and signal have these parameters.
fn record(reason: &str, params: &[(&str, &str)], signal: &[(&str, &str)]) -> DecisionRecord {
    let owned = |params: &[(&str, &str)]| {
        let params = params.iter();
        params
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    let verdict = Verdict {
        effect: Effect::Deny,
        reason: Some(Reason {
            code: reason.into(),
            params: owned(params),
        }),
        signals: vec![Signal {
            name: "excessive-scope".to_owned(),
            params: owned(signal),
        }],
        obligations: Vec::new(),
    };
    let evaluation = Evaluation {
        outcome: Outcome::Verdict(verdict),
        trace: Trace::default(),
        fuel: 0,
    };
    DecisionRecord {
        id: DecisionId(7),
        time: time(NOW),
        request: None,
        key: Some("k7Qp2mXw9LaR".parse().unwrap()),
        key_record: None,
        policy_set: Digest::of(b""),
        permission: Permission::Deny,
        reason: reason.into(),
        detail: Some("wrong-secret".into()),
        evaluations: Evaluations::from(vec![Evaluated::afresh(evaluation)]),
        client: None,
    }
}

fn allowed() -> DecisionRecord {
    DecisionRecord {
        permission: Permission::Allow,
        ..record("scope.granted", &[], &[])
    }
}

fn key() -> KeyRecord {
    KeyRecord {
        id: "k7Qp2mXw9LaR".parse().unwrap(),
        version: 1,
        owner: "inventory-sync".into(),
        environment: Environment::Live,
        lifecycle: Lifecycle::Active,
        issued_at: time("2026-11-01T00:00:00Z"),
        not_before: None,
        rotate_by: None,
        expires_at: Some(time("2027-01-30T00:00:00Z")),
        grace_until: None,
        scopes: ["inventory:read".into(), Arc::from("orders:*")].into(),
        read_only: false,
        allowed_networks: None,
        labels: BTreeMap::new(),
    }
}

fn denied(profile: Profile, record: &DecisionRecord) -> Answer {
    Answers::default().of_record(record, Some(&key()), &Origin::of(profile))
}

fn allow(record: &DecisionRecord, key: Option<&KeyRecord>) -> Answer {
    Answers::default().of_record(record, key, &Origin::of(Profile::Forward))
}

fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// Every reason that there is, and what the client gets. `allow`: it never denies.
const TABLE: &[(&str, &str)] = &[
    ("ip.allowed", "allow"),
    ("ip.blocked", "403"),
    ("ip.no-allow-list", "403"),
    ("ip.not-allowed", "403"),
    ("ip.source-unknown", "403"),
    ("ip.unrestricted", "allow"),
    ("key.ambiguous", "401 invalid_token"),
    ("key.malformed", "401 invalid_token"),
    ("key.missing", "401"),
    ("key.revoked", "401 invalid_token"),
    ("key.suspended", "401 invalid_token"),
    ("key.unknown", "401 invalid_token"),
    ("log.record-too-large", "403"),
    ("log.unavailable", "503"),
    ("policy.failed", "403"),
    ("policy.none-allowed", "403"),
    ("rate.label-malformed", "403"),
    ("rate.limited", "429"),
    ("registry.stale", "503"),
    ("request.malformed", "403"),
    ("request.path-ambiguous", "403"),
    ("rotation.current", "allow"),
    ("rotation.due", "allow"),
    ("rotation.expired", "401 invalid_token"),
    ("rotation.grace-ended", "401 invalid_token"),
    ("rotation.in-grace", "allow"),
    ("rotation.lifetime-exceeded", "401 invalid_token"),
    ("rotation.no-expiry", "401 invalid_token"),
    ("rotation.not-yet-valid", "401 invalid_token"),
    ("rotation.overdue", "401 invalid_token"),
    ("rotation.overdue-warned", "allow"),
    ("scope.granted", "allow"),
    ("scope.malformed", "403"),
    ("scope.missing", "403 insufficient_scope"),
    ("scope.read-only", "403 insufficient_scope"),
    ("scope.unmapped", "403"),
];

/// What the client gets, in the words of the table.
fn shown(answer: &Answer) -> String {
    let challenge = text(answer, "www-authenticate");
    let error = challenge.split_once("error=\"").map(|(_, rest)| rest);
    let error = error.and_then(|rest| rest.split_once('"'));
    let error = error.map_or_else(String::new, |(error, _)| format!(" {error}"));
    assert_eq!(
        challenge.is_empty(),
        answer.status != 401 && error.is_empty()
    );
    assert!(challenge.is_empty() || challenge.starts_with("Bearer realm=\"keyward\""));
    format!("{}{error}", answer.status.as_u16())
}

#[test]
fn every_reason_stands_in_the_table() {
    let mut reasons: Vec<&str> = HOST_REASONS.iter().map(|reason| reason.code).collect();
    for policy in [
        keyward_ip::IpPolicy::DESCRIPTOR,
        keyward_rate::RatePolicy::DESCRIPTOR,
        keyward_rotation::RotationPolicy::DESCRIPTOR,
        keyward_scope::ScopePolicy::DESCRIPTOR,
    ] {
        reasons.extend(policy.reasons.iter().map(|reason| reason.code()));
    }
    reasons.sort_unstable();
    let table: Vec<&str> = TABLE.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(reasons, table);
}

#[test]
fn every_denial_is_answered_as_the_table_says() {
    let more = [("office-hours.closed", "403"), ("key.custom", "403")];
    for (reason, expected) in TABLE.iter().chain(&more).filter(|(_, it)| *it != "allow") {
        for profile in ALL {
            let answer = denied(profile, &record(reason, &[], &[]));
            let nginx = profile == Profile::Nginx && *expected == "429";
            assert_eq!(
                shown(&answer),
                if nginx { "403" } else { expected },
                "{reason}"
            );
            assert_eq!(
                text(&answer, "x-keyward-status"),
                if nginx { "429" } else { "" }
            );
            assert_eq!(text(&answer, "retry-after").is_empty(), *expected != "429");
        }
    }
}

#[test]
fn a_denial_tells_its_class_and_its_id_and_no_more() {
    for (reason, _) in TABLE.iter().filter(|(_, expected)| *expected != "allow") {
        for profile in ALL {
            let secret = [("address", "203.0.113.9"), ("policy", "very-private")];
            let record = record(reason, &secret, &secret);
            let answer = denied(profile, &record);
            assert_eq!(text(&answer, "content-type"), "application/problem+json");
            assert_eq!(text(&answer, "cache-control"), "no-store");
            assert_eq!(text(&answer, "x-keyward-decision"), record.id.to_string());
            assert!(answer.body.len() <= BODY_MAX_BYTES);
            let body: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(body["decision"], record.id.to_string());
            assert_eq!(body["type"], "about:blank");
            let all = format!("{:?} {body}", answer.headers);
            for told in [
                *reason,
                "203.0.113.9",
                "very-private",
                "wrong-secret",
                "inventory",
            ] {
                assert!(!all.contains(told), "{told}: {all}");
            }
            for name in [
                "location",
                "set-cookie",
                "x-keyward-subject",
                "x-keyward-key-id",
            ] {
                assert!(!answer.headers.contains_key(name));
            }
        }
    }
    // Who has no secret learns nothing of the key.
    let body = |reason| denied(Profile::Forward, &record(reason, &[], &[])).body;
    assert_eq!(body("key.unknown"), body("key.revoked"));
}

#[test]
fn the_scope_that_is_needed_is_told() {
    let required = [("required", "inventory:write")];
    for (params, signal) in [(&required[..], &[][..]), (&[][..], &required[..])] {
        let answer = denied(Profile::Forward, &record("scope.missing", params, signal));
        let expected = "Bearer realm=\"keyward\", error=\"insufficient_scope\", \
                        scope=\"inventory:write\"";
        assert_eq!(text(&answer, "www-authenticate"), expected);
    }
    for required in ["", "a", "a:b\"", "a:b, c=\"d\"", "\u{e9}:a"] {
        let answer = denied(
            Profile::Forward,
            &record("scope.missing", &[("required", required)], &[]),
        );
        let expected = "Bearer realm=\"keyward\", error=\"insufficient_scope\"";
        assert_eq!(text(&answer, "www-authenticate"), expected);
    }
    // Another policy's parameters are not the reason's.
    let mut other = record("scope.missing", &required, &required);
    other.reason = "scope.read-only".into();
    assert!(!text(&denied(Profile::Forward, &other), "www-authenticate").contains("inventory"));
}

#[test]
fn how_long_to_wait_is_bounded() {
    for (given, seconds) in [
        ("7", "7"),
        ("0", "1"),
        ("86400", "86400"),
        ("86401", "86400"),
        ("99999999999", "1"),
        ("-1", "1"),
        ("soon", "1"),
    ] {
        for profile in ALL {
            let answer = denied(
                profile,
                &record("rate.limited", &[("retry-after", given)], &[]),
            );
            assert_eq!(text(&answer, "retry-after"), seconds, "{given}");
        }
    }
}

#[test]
fn the_limit_is_told_where_the_verdict_tells_it() {
    let wait = ("retry-after", "30");
    let policy = "\"key\";q=600;w=60";
    for profile in ALL {
        let params = [("limit", "600"), ("window", "60"), wait];
        let answer = denied(profile, &record("rate.limited", &params, &[]));
        assert_eq!(text(&answer, "ratelimit-policy"), policy);
        assert_eq!(text(&answer, "ratelimit"), "\"key\";r=0;t=30");
        // Another denial says nothing of it.
        let answer = denied(profile, &record("ip.blocked", &params, &[]));
        assert_eq!(text(&answer, "ratelimit-policy"), "");
        for (limit, window) in [("many", "60"), ("600", "-1"), ("600", "60\"")] {
            let params = [("limit", limit), ("window", window), wait];
            let answer = denied(profile, &record("rate.limited", &params, &[]));
            assert_eq!(text(&answer, "ratelimit-policy"), "");
            assert_eq!(text(&answer, "ratelimit"), "");
            assert_eq!(text(&answer, "retry-after"), "30");
        }
    }
}

#[test]
fn an_allow_is_200_empty_and_complete() {
    let answer = allow(&allowed(), Some(&key()));
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    let id = allowed().id.to_string();
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-keyward-key-id", "k7Qp2mXw9LaR"),
        ("x-keyward-subject", "inventory-sync"),
        ("x-keyward-scopes", "inventory:read orders:*"),
        ("x-keyward-decision", &id),
        ("x-keyward-warning", "-"),
    ] {
        assert_eq!(text(&answer, name), value);
    }
    assert_eq!(answer.headers.len(), 6);
    let nobody = DecisionRecord {
        key: None,
        ..allowed()
    };
    let answer = allow(&nobody, None);
    assert_eq!(answer.headers.len(), 6);
    for name in ["x-keyward-key-id", "x-keyward-subject", "x-keyward-scopes"] {
        assert_eq!(text(&answer, name), "-");
    }
}

#[test]
fn an_owner_is_one_word_that_nothing_else_can_be() {
    for (owner, expected) in [
        ("a b", "a%20b"),
        ("-", "%2D"),
        ("--", "--"),
        ("100%", "100%25"),
        ("caf\u{e9}\r\nX: y", "caf%C3%A9%0D%0AX:%20y"),
        ("a\tb", "a%09b"),
    ] {
        let key = KeyRecord {
            owner: owner.into(),
            ..key()
        };
        assert_eq!(
            text(&allow(&allowed(), Some(&key)), "x-keyward-subject"),
            expected
        );
    }
}

#[test]
fn scopes_are_told_whole_and_within_their_limit() {
    let scope: Arc<str> = format!("{}:read", "a".repeat(250)).into();
    let key = KeyRecord {
        scopes: vec![Arc::clone(&scope); 128].into(),
        ..key()
    };
    let answer = allow(&allowed(), Some(&key));
    let scopes = text(&answer, "x-keyward-scopes");
    assert!(scopes.len() <= SCOPES_MAX_BYTES);
    assert_eq!(
        scopes.split(' ').count(),
        SCOPES_MAX_BYTES / (scope.len() + 1)
    );
    assert!(scopes.split(' ').all(|it| it == &*scope));
    let none = KeyRecord {
        scopes: Vec::new().into(),
        ..key
    };
    assert_eq!(
        text(&allow(&allowed(), Some(&none)), "x-keyward-scopes"),
        "-"
    );
}

/// A key with these changes, and what its holder is told: warning, expiry, status.
fn check_end(change: impl FnOnce(&mut KeyRecord), [warning, expires, status]: [&str; 3]) {
    let mut key = key();
    change(&mut key);
    let answer = allow(&allowed(), Some(&key));
    assert_eq!(text(&answer, "x-keyward-warning"), warning);
    assert_eq!(text(&answer, "keyward-key-expires"), expires, "{warning}");
    assert_eq!(text(&answer, "keyward-key-status"), status, "{warning}");
    assert!(!answer.headers.contains_key("sunset"));
    assert!(!answer.headers.contains_key("deprecation"));
}

#[test]
fn who_holds_a_key_near_its_end_is_told() {
    let near = "2026-12-23T10:00:00Z";
    let far = "2026-12-23T10:00:00.001Z";
    let expires = format!("expires={near}");
    check_end(|key| key.expires_at = Some(time(far)), ["-", "", ""]);
    check_end(
        |key| key.expires_at = Some(time(near)),
        [&expires, near, ""],
    );
    check_end(|key| key.expires_at = None, ["-", "", ""]);
    // Only a deprecated key has a grace period.
    check_end(|key| key.grace_until = Some(time(near)), ["-", "", ""]);
    let deprecated = |key: &mut KeyRecord| key.lifecycle = Lifecycle::Deprecated;
    let end = "2027-01-30T00:00:00Z";
    check_end(deprecated, ["deprecated", end, "deprecated"]);
    let in_grace = |key: &mut KeyRecord| {
        deprecated(key);
        key.grace_until = Some(time(near));
    };
    check_end(
        in_grace,
        [&format!("deprecated {expires}"), near, "deprecated"],
    );
    check_end(|key| key.rotate_by = Some(time(near)), ["-", "", ""]);
    let overdue = |key: &mut KeyRecord| {
        key.rotate_by = Some(time(NOW));
        key.read_only = true;
    };
    check_end(overdue, ["overdue read-only", "", ""]);
}

#[test]
fn the_end_is_announced_where_that_is_wanted() {
    let answers = Answers {
        announce: true,
        ..Answers::default()
    };
    let origin = Origin::of(Profile::Forward);
    let near = KeyRecord {
        expires_at: Some(time("2026-12-01T00:00:00Z")),
        rotate_by: Some(time("2026-11-30T00:00:00Z")),
        ..key()
    };
    let deprecated = KeyRecord {
        lifecycle: Lifecycle::Deprecated,
        ..near.clone()
    };
    let over = KeyRecord {
        expires_at: Some(time("2026-11-20T00:00:00Z")),
        ..deprecated.clone()
    };
    for (key, deprecation, sunset) in [
        (key(), "", ""),
        (near, "@1795996800", "Tue, 01 Dec 2026 00:00:00 GMT"),
        (deprecated, "@1795428000", "Tue, 01 Dec 2026 00:00:00 GMT"),
        (over, "@1795132800", "Fri, 20 Nov 2026 00:00:00 GMT"),
    ] {
        let answer = answers.of_record(&allowed(), Some(&key), &origin);
        assert_eq!(text(&answer, "deprecation"), deprecation);
        assert_eq!(text(&answer, "sunset"), sunset);
    }
}

#[test]
fn envoy_is_told_what_to_take_away() {
    let origin = |place| Origin {
        place,
        aliases: vec!["x-keyward-subject".into(), "x_keyward-key.id".into()],
        ..Origin::of(Profile::Envoy)
    };
    for (place, name) in [
        (Some(Place::Bearer), Some("authorization")),
        (Some(Place::Key), Some("x-api-key")),
        (Some(Place::Query), None),
        (None, None),
    ] {
        let answer = Answers::default().of_record(&allowed(), Some(&key()), &origin(place));
        let removed: Vec<_> = text(&answer, "x-envoy-auth-headers-to-remove")
            .split(',')
            .collect();
        for header in ["authorization", "x-api-key"] {
            assert_eq!(removed.contains(&header), Some(header) == name, "{place:?}");
        }
        for name in FOR_UPSTREAM {
            assert!(!removed.contains(&name));
            assert!(removed.contains(&&*name.replace('-', "_")));
            assert!(removed.contains(&&*name.replace('-', ".")));
        }
        assert!(removed.contains(&"x_keyward-key.id"));
    }
    let answer = allow(&allowed(), Some(&key()));
    assert!(
        !answer
            .headers
            .contains_key("x-envoy-auth-headers-to-remove")
    );
}

#[test]
fn authzen_gets_the_same_as_json() {
    let answers = Answers::default();
    let evaluation = answers.evaluation_of(&allowed(), Some(&key()));
    assert_eq!(evaluation["decision"], true);
    let context = &evaluation["context"];
    assert_eq!(context["decision_id"], allowed().id.to_string());
    assert_eq!(context["subject"], "inventory-sync");
    assert_eq!(context["scopes"], json!(["inventory:read", "orders:*"]));
    for (reason, params, more) in [
        ("key.unknown", [("a", "b")], json!({"status": 401})),
        (
            "scope.missing",
            [("required", "a:b")],
            json!({"status": 403, "scope": "a:b"}),
        ),
        (
            "rate.limited",
            [("retry-after", "7")],
            json!({"status": 429, "retry_after": 7}),
        ),
        ("log.unavailable", [("a", "b")], json!({"status": 503})),
    ] {
        let evaluation = answers.evaluation_of(&record(reason, &params, &[]), Some(&key()));
        assert_eq!(evaluation["decision"], false);
        let mut context = evaluation["context"].clone();
        let context = context.as_object_mut().unwrap();
        assert!(context.remove("decision_id").is_some() && context.remove("detail").is_some());
        assert_eq!(Value::Object(context.clone()), more, "{reason}");
    }
}

mod any;
