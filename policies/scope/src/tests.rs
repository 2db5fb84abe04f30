//! Each row of the specification's tables, what each row asks, and the matcher against a naive one.

use keyward_policy::testing::{self, FakeRequest, summary};
use keyward_policy::{Effect, Verdict};

use super::*;

fn policy() -> ScopePolicy {
    keyward_policy::configure("{}").unwrap()
}

fn request(required: &str, grants: &[&str]) -> FakeRequest {
    FakeRequest::new()
        .required_scope(required)
        .key_scopes(grants.iter().copied())
}

fn decide(request: &FakeRequest) -> Verdict {
    testing::decide(&policy(), request).unwrap()
}

#[test]
fn the_descriptor_is_sound() {
    assert_eq!(testing::check_descriptor(&ScopePolicy::DESCRIPTOR), Ok(()));
    let codes: Vec<_> = REASONS.iter().map(|reason| reason.code()).collect();
    let rows = ["unmapped", "malformed", "read-only", "missing", "granted"];
    assert_eq!(codes, rows.map(|row| format!("scope.{row}")));
}

#[test]
fn each_row_decides_and_asks_no_more_than_it_needs() {
    let scope = &["required-scope"][..];
    let route = &["required-scope", "method", "path"][..];
    let mask = &["required-scope", "key-read-only"][..];
    let all = &["required-scope", "key-read-only", "key-scopes"][..];
    let unmapped = FakeRequest::new()
        .method("PUT")
        .path("/x")
        .key_scopes(["*:*"]);
    for (request, verdict, questions) in [
        (
            unmapped,
            "deny scope.unmapped | unmapped-route method=PUT path=/x",
            route,
        ),
        (
            request("a", &["*:*"]),
            "deny scope.malformed required=a",
            scope,
        ),
        (
            request("", &["*:*"]),
            "deny scope.malformed required=",
            scope,
        ),
        (
            request("*:read", &["*:*"]),
            "deny scope.malformed required=*:read",
            scope,
        ),
        (
            request("a:write", &["*:*"]).key_read_only(true),
            "deny scope.read-only action=write | excessive-scope required=a:write",
            mask,
        ),
        (
            request("a:read", &[]),
            "deny scope.missing required=a:read | excessive-scope required=a:read",
            all,
        ),
        (
            request("a:read", &["b:read", "a:read"]),
            "allow scope.granted grant=a:read",
            all,
        ),
    ] {
        assert_eq!(summary(&decide(&request)), verdict);
        assert_eq!(request.asked(), questions, "{verdict}");
    }
}

#[test]
fn a_grant_covers_what_the_table_says() {
    for (grant, covered, not_covered) in [
        (
            "inventory:read",
            &["inventory:read"][..],
            &[
                "inventory.items:read",
                "inventory:list",
                "inventor:read",
                "inventory2:read",
            ][..],
        ),
        (
            "inventory.*:read",
            &["inventory.items:read", "inventory.items.images:read"],
            &[
                "inventory:read",
                "inventory.items:list",
                "inventory2.items:read",
                "x.inventory.y:read",
            ],
        ),
        (
            "inventory:*",
            &["inventory:read", "inventory:anything"],
            &["inventory.items:read", "items:read"],
        ),
        (
            "*:read",
            &["inventory:read", "a.b.c:read"],
            &["inventory:write", "a.b.c:list"],
        ),
        ("*:*", &["inventory:read", "a.b.c:anything"], &[]),
        (
            "inventory.*:*",
            &["inventory.items:read", "inventory.items:anything"],
            &["inventory:read", "items:read"],
        ),
        ("inv*:read", &[], &["inventory:read", "inv:read"]),
        ("*.items:read", &[], &["inventory.items:read", "items:read"]),
    ] {
        for (scopes, effect) in [(covered, Effect::Allow), (not_covered, Effect::Deny)] {
            for scope in scopes {
                let verdict = decide(&request(scope, &[grant]));
                assert_eq!(verdict.effect, effect, "{grant} for {scope}");
            }
        }
    }
}

#[test]
fn actions_imply_others_as_configured() {
    for (grant, actions) in [
        ("write", "write read"),
        ("admin", "admin read write delete"),
        ("read", "read"),
        ("delete", "delete"),
    ] {
        for action in ["read", "write", "delete", "admin", "list"] {
            let request = request(&format!("a.b:{action}"), &[&format!("a.*:{grant}")]);
            let allowed = decide(&request).effect == Effect::Allow;
            let expected = actions.split(' ').any(|name| name == action);
            assert_eq!(allowed, expected, "{grant} for {action}");
        }
    }
    let none: ScopePolicy = keyward_policy::configure(r#"{"implies": {}}"#).unwrap();
    let verdict = testing::decide(&none, &request("a:read", &["a:admin"])).unwrap();
    assert_eq!(verdict.effect, Effect::Deny);
}

#[test]
fn the_first_covering_grant_in_the_keys_order_is_named() {
    for (grants, named) in [
        (["*:*", "a:write", "a:read"], "*:*"),
        (["b:read", "a:write", "a:read"], "a:write"),
        (["a.*:read", "a:read", "*:*"], "a:read"),
        (["a:*:read", "a:list", "*:read"], "*:read"),
    ] {
        let verdict = decide(&request("a:read", &grants));
        assert_eq!(verdict.reason.unwrap().param("grant"), Some(named));
    }
}

#[test]
fn the_mask_narrows_and_never_grants() {
    let masked = |required, grants| decide(&request(required, grants).key_read_only(true));
    assert_eq!(
        summary(&masked("inventory:read", &["inventory:write"])),
        "allow scope.granted grant=inventory:write",
    );
    assert_eq!(
        masked("inventory:list", &["inventory:list"]).effect,
        Effect::Allow
    );
    let missing = "deny scope.missing required=b:read | excessive-scope required=b:read";
    assert_eq!(summary(&masked("b:read", &["a:read"])), missing);
    let denied = masked("inventory:write", &["inventory:write"]);
    assert_eq!(denied.reason.unwrap().code(), "scope.read-only");

    let policy: ScopePolicy =
        keyward_policy::configure(r#"{"read_only_actions": ["export"]}"#).unwrap();
    for (action, effect) in [("export", Effect::Allow), ("read", Effect::Deny)] {
        let request = request(&format!("a:{action}"), &["*:*"]).key_read_only(true);
        assert_eq!(
            testing::decide(&policy, &request).unwrap().effect,
            effect,
            "{action}"
        );
    }
}

#[test]
fn malformed_grants_are_signalled_and_match_nothing() {
    assert_eq!(
        summary(&decide(&request(
            "a:read",
            &["A:read", "a:read", "a.*.b:*"]
        ))),
        "allow scope.granted grant=a:read | malformed-grant grant=A:read \
         | malformed-grant grant=a.*.b:*",
    );
    assert_eq!(
        summary(&decide(&request("a:read", &["a", "b", "c", "d", "e", "f"]))),
        "deny scope.missing required=a:read | excessive-scope required=a:read \
         | malformed-grant grant=a | malformed-grant grant=b | malformed-grant grant=c \
         | malformed-grant grant=d",
    );
}

#[test]
fn texts_of_any_length_fit_into_a_verdict() {
    let long = "ä".repeat(20_000);
    let clipped = |bytes: usize| format!("{}…", "ä".repeat(bytes / 2));
    let verdict = decide(&request("a:read", &[long.as_str(); 9]));
    assert_eq!(verdict.signals.len(), 5);
    assert_eq!(
        verdict.signals[1].param("grant"),
        Some(clipped(256).as_str())
    );
    let verdict = decide(&request(&long, &[]));
    assert_eq!(
        verdict.reason.unwrap().param("required"),
        Some(clipped(256).as_str())
    );
    let verdict = decide(&FakeRequest::new().path(&long));
    assert_eq!(
        verdict.signals[0].param("path"),
        Some(clipped(1024).as_str())
    );
    let exact = "x".repeat(256);
    assert_eq!(clip(&exact, 256), exact);
    assert_eq!(clip("ää", 3), "ä…");
}

/// Every grant against every scope that can be made of few names, by a matcher that compares
/// segment by segment and follows `implies` step by step.
#[test]
fn agrees_with_a_naive_matcher_exhaustively() {
    const NAMES: [&str; 3] = ["a", "ab", "b"];
    const ACTIONS: [&str; 4] = ["admin", "write", "read", "list"];
    let below = |parents: &[Vec<&'static str>]| -> Vec<Vec<&'static str>> {
        let children = |parent: &Vec<_>| NAMES.map(|name| [parent.as_slice(), &[name]].concat());
        parents.iter().flat_map(children).collect()
    };
    let one = NAMES.map(|name| vec![name]).to_vec();
    let two = below(&one);
    let resources = [one, two.clone(), below(&two)].concat();
    let mut patterns = resources.clone();
    patterns.extend(
        resources
            .iter()
            .map(|resource| [resource.as_slice(), &["*"]].concat()),
    );
    patterns.push(vec!["*"]);
    let policy = policy();
    let mut covered = 0;
    for pattern in &patterns {
        for granted in ACTIONS.iter().chain(&["*"]) {
            let grant = format!("{}:{granted}", pattern.join("."));
            for resource in &resources {
                for action in ACTIONS {
                    let scope = Scope {
                        resource: &resource.join("."),
                        action,
                    };
                    let expected =
                        naive_resource(pattern, resource) && naive_action(granted, action);
                    let request = request(&format!("{}:{action}", scope.resource), &[&grant]);
                    let verdict = policy.evaluate(&request).unwrap();
                    assert_eq!(
                        verdict.effect == Effect::Allow,
                        expected,
                        "{grant} for {scope:?}"
                    );
                    covered += usize::from(expected);
                }
            }
        }
    }
    assert!(covered > 1000, "only {covered} pairs are covered");
}

fn naive_resource(pattern: &[&str], resource: &[&str]) -> bool {
    match (pattern, resource) {
        ([], []) => true,
        (["*"], [_, ..]) => true,
        ([name, pattern @ ..], [segment, resource @ ..]) => {
            name == segment && naive_resource(pattern, resource)
        }
        _ => false,
    }
}

fn naive_action(granted: &str, required: &str) -> bool {
    granted == "*"
        || granted == required
        || match granted {
            "admin" => ["read", "write", "delete"]
                .iter()
                .any(|next| naive_action(next, required)),
            "write" => naive_action("read", required),
            _ => false,
        }
}
