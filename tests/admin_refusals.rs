//! Whom and what the Admin API refuses: by scope, role, certification, ownership and rule, and what
//! is no request.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::{
    ALL, TRIES, ask, done, folder, issue, of, operations, refused, send, try_issue,
};
use crate::lifecycle::{credential_of, run_as};
use crate::serve::{Service, reasons};

#[test]
fn every_operation_needs_the_scope_that_the_document_says() {
    let folder = folder();
    let (client, client_id) = issue(&folder, "ann1", ("sync", &["inventory:read"]));
    let (masked, masked_id) = issue(&folder, "ann1", ("ann", &ALL));
    run_as("ann1", &folder, &["key", "mask", &masked_id]).exit(0);
    let any = [
        "key",
        "issue",
        "--owner",
        "ann",
        "--scope",
        "*:*",
        "--keep-wildcard",
    ];
    let any = [&any[..], &["--expires-in-days", "9"]].concat();
    let (any, _) = credential_of(&run_as("ann1", &folder, &any).exit(0));
    let service = Service::start(&folder);
    let all = operations();
    for (method, path, scope) in &all {
        let asked = (method.as_str(), path.as_str());
        let nobody = send(&service, asked, &[], b"{}");
        assert_eq!(nobody.status, 401, "{asked:?}");
        assert!(nobody.header("www-authenticate").is_some());
        let unknown = "kw_live_000000000000_0123456789abcdefghijABCDEFGHIJ01_000000";
        assert_eq!(refused(&service, asked, unknown, &json!({})).0, 401);
        let without = ask(&service, asked, &client, &json!({}));
        assert_eq!(without.status, 403, "{asked:?}");
        let challenge = format!("error=\"insufficient_scope\", scope=\"{scope}\"");
        let said = without.header("www-authenticate").unwrap();
        assert!(said.ends_with(&challenge), "{said}");
        // A wildcard for everything is not meant for keyward.
        let wildcard = refused(&service, asked, &any, &json!({}));
        assert_eq!((wildcard.0, &*wildcard.1), (403, "scope-not-named"));
        if !scope.ends_with(":read") {
            assert_eq!(refused(&service, asked, &masked, &json!({})).0, 403);
        }
        // Two credentials are none, and the query holds none.
        let bearer = format!("Bearer {any}");
        let two = [("Authorization", &*bearer), ("X-API-Key", &*any)];
        assert_eq!(send(&service, asked, &two, b"{}").status, 401);
        let query = format!("{path}?api_key={any}");
        assert_eq!(send(&service, (method, &query), &[], b"{}").status, 401);
    }
    service.end();
    // Each of them is a decision in the log, with the key that asked.
    let reasons = reasons(&folder);
    assert!(reasons.iter().filter(|it| *it == "scope.missing").count() >= all.len());
    let cat = folder.run(&["log", "cat", "log"]).exit(0).json();
    let by = |key: &str| {
        cat.iter()
            .filter(|it| it["key"] == *key && it["effect"] == "deny")
            .count()
    };
    assert!(by(&client_id) >= all.len());
}

#[test]
fn the_owner_needs_the_role_and_the_certification() {
    let folder = folder();
    let (ann, _) = issue(&folder, "ann1", ("ann", &ALL));
    let (olga, olga_id) = issue(&folder, "olga1", ("olga", &ALL));
    // Whoever may not issue gets a key that only looks, from a manager.
    let (vic, _) = issue(&folder, "ann1", ("vic", &["keyward.keys:read"]));
    let (otto, _) = issue(&folder, "ann1", ("otto", &["keyward.keys:read"]));
    let (_, id) = issue(&folder, "ann1", ("sync", &["inventory:read"]));
    let service = Service::start(&folder);
    for key in [&vic, &otto, &olga] {
        let list = done(&service, ("GET", "/admin/v1/keys"), key, &Value::Null);
        assert_eq!(list["keys"].as_array().unwrap().len(), 5);
    }
    let new = json!({"owner": "sync", "scopes": ["inventory:read"], "expires_in_days": 9});
    assert_eq!(
        refused(&service, ("POST", "/admin/v1/keys"), &vic, &new).0,
        403
    );
    done(&service, ("POST", &of(&id, "suspend")), &olga, &json!({}));
    let why = json!({"reason": "x"});
    for (what, body) in [
        ("emergency-revocation", &why),
        ("emergency-review", &why),
        ("rotate", &json!({"force": true})),
    ] {
        let (status, code, detail) = refused(&service, ("POST", &of(&id, what)), &olga, body);
        assert_eq!((status, &*code), (403, "not-authorized"), "{what}");
        assert!(detail.contains("needs the role manager"), "{detail}");
    }
    // The certification is read anew with the configuration.
    let toml = folder
        .read("keyward.toml")
        .replacen("score_percent = 80", "score_percent = 60", 1);
    folder.write("keyward.toml", toml);
    let is_refused = (0..TRIES).any(|_| {
        thread::sleep(Duration::from_millis(50));
        let (_, _, detail) = refused(&service, ("POST", &of(&id, "suspend")), &ann, &json!({}));
        detail.contains("was not passed")
    });
    assert!(is_refused);
    // A key of somebody who is no principal any more.
    let toml = folder
        .read("keyward.toml")
        .replace("name = \"vic\"", "name = \"victor\"");
    folder.write("keyward.toml", toml);
    let is_refused = (0..TRIES).any(|_| {
        thread::sleep(Duration::from_millis(50));
        ask(&service, ("GET", "/admin/v1/keys"), &vic, &Value::Null).status == 403
    });
    assert!(is_refused);
    service.end();
    let cat = folder.run(&["log", "cat", "log"]).exit(0).json();
    let user = format!("key:{olga_id}");
    assert!(
        cat.iter()
            .any(|it| it["kind"] == "refused" && it["user"] == *user)
    );
}

#[test]
fn nobody_gets_a_key_in_another_name() {
    let folder = folder();
    let write = ["keyward.keys:read", "keyward.keys:write"];
    let (ann, _) = issue(&folder, "ann1", ("ann", &write));
    let (bob, bob_id) = issue(&folder, "bob1", ("bob", &ALL));
    // On the command line.
    for (user, owner, scope) in [
        ("ann1", "bob", "keyward.keys:revoke"),
        ("ann1", "bob", "keyward.keys:write"),
        ("ann1", "sync", "keyward.keys:read"),
        ("olga1", "vic", "keyward.keys:read"),
        ("olga1", "ann", "keyward.keys:write"),
    ] {
        let said = try_issue(&folder, user, (owner, &[scope])).exit(2);
        assert!(said.err.contains("does not get"), "{said:?}");
    }
    let rotate = run_as("ann1", &folder, &["key", "rotate", &bob_id]).exit(2);
    assert!(rotate.err.contains("only its owner"), "{rotate:?}");
    let service = Service::start(&folder);
    // And over HTTP; there, no key grants more than it has.
    for (owner, scope) in [
        ("bob", "keyward.keys:revoke"),
        ("bob", "keyward.keys:write"),
        ("bob", "keyward.*:*"),
        ("ann", "keyward.keys:revoke"),
        ("ann", "keyward.keys:*"),
        ("sync", "keyward.keys:read"),
    ] {
        let new = json!({"owner": owner, "scopes": [scope], "expires_in_days": 9,
            "keep_wildcards": true});
        let (status, code, detail) = refused(&service, ("POST", "/admin/v1/keys"), &ann, &new);
        assert_eq!(
            (status, &*code),
            (403, "not-authorized"),
            "{owner} {scope}: {detail}"
        );
    }
    let (status, _, _) = refused(&service, ("POST", &of(&bob_id, "rotate")), &ann, &json!({}));
    assert_eq!(status, 403);
    // What is one's own, and no more than the key has.
    let new = json!({"owner": "ann", "scopes": write, "expires_in_days": 9});
    done(&service, ("POST", "/admin/v1/keys"), &ann, &new);
    done(&service, ("POST", &of(&bob_id, "rotate")), &bob, &json!({}));
    // A wildcard that is written out does not come to them.
    let new = json!({"owner": "sync", "scopes": ["*:read"], "expires_in_days": 9});
    let issued = done(&service, ("POST", "/admin/v1/keys"), &ann, &new);
    assert_eq!(
        issued["key"]["scopes"],
        json!(["inventory:read", "invoices:read"])
    );
}

#[test]
fn rules_for_keys_hold_over_http() {
    let folder = folder();
    let toml = folder.read("keyward.toml").replacen(
        "os_user = \"olga1\"",
        "os_user = \"olga1\"\nmay_grant = [\"inventory:read\", \"keyward.*:*\"]",
        1,
    );
    folder.write("keyward.toml", toml);
    let (ann, _) = issue(&folder, "ann1", ("ann", &ALL));
    let (olga, _) = issue(&folder, "olga1", ("olga", &ALL));
    let (_, id) = issue(&folder, "ann1", ("sync", &["inventory:write"]));
    let service = Service::start(&folder);
    let new = |change: Value| {
        let mut new = json!({"owner": "sync", "scopes": ["inventory:read"], "expires_in_days": 9});
        for (name, value) in change.as_object().unwrap() {
            new[name] = value.clone();
        }
        new
    };
    for (change, key, status) in [
        (json!({"expires_in_days": 91}), &ann, 422),
        (json!({"expires_in_days": 0}), &ann, 422),
        (json!({"expires_in_days": null}), &ann, 422),
        (
            json!({"expires_at": "2026-13-01T00:00:00Z", "expires_in_days": null}),
            &ann,
            422,
        ),
        (json!({"not_before": "2126-01-01T00:00:00Z"}), &ann, 422),
        (json!({"scopes": ["inventory:raed"]}), &ann, 422),
        (json!({"scopes": []}), &ann, 422),
        (json!({"scopes": ["no scope"]}), &ann, 422),
        (json!({"owner": ""}), &ann, 422),
        (json!({"owner": "a\u{7}"}), &ann, 422),
        (json!({"allowed_networks": ["0.0.0.0/0"]}), &ann, 422),
        (json!({"allowed_networks": ["x"]}), &ann, 422),
        (json!({"reason": "x".repeat(1025)}), &ann, 422),
        (json!({"scopes": ["inventory:write"]}), &olga, 403),
        (json!({"owner": 1}), &ann, 400),
        (json!({"environment": "prod"}), &ann, 400),
        (json!({"secret": "x"}), &ann, 400),
    ] {
        let asked = ("POST", "/admin/v1/keys");
        let (is, _, detail) = refused(&service, asked, key, &new(change.clone()));
        assert_eq!(is, status, "{change}: {detail}");
    }
    assert_eq!(
        refused(&service, ("POST", &of(&id, "rotate")), &olga, &json!({})).0,
        403
    );
    let long = json!({"grace_seconds": 31_536_001});
    assert_eq!(
        refused(&service, ("POST", &of(&id, "rotate")), &ann, &long).0,
        422
    );
    let id = "k7Qp2mXw9LaR";
    assert_eq!(
        refused(&service, ("POST", &of(id, "suspend")), &ann, &json!({})).0,
        404
    );
    assert_eq!(
        refused(&service, ("POST", &of("x", "suspend")), &ann, &json!({})).0,
        404
    );
}

#[test]
fn what_is_no_request_is_a_problem_and_tells_no_secret() {
    let folder = folder();
    let (ann, _) = issue(&folder, "ann1", ("ann", &ALL));
    let service = Service::start(&folder);
    let bearer = format!("Bearer {ann}");
    let send = |asked, content_type: &str, body: &[u8]| {
        let headers = [("Authorization", &*bearer), ("Content-Type", content_type)];
        send(&service, asked, &headers, body)
    };
    let issue = ("POST", "/admin/v1/keys");
    let json = "application/json; charset=utf-8";
    assert_eq!(send(issue, "text/plain", b"{}").status, 415);
    assert_eq!(send(issue, json, b"").status, 400);
    assert_eq!(send(issue, json, b"\xff").status, 400);
    assert_eq!(send(issue, json, &[b'['; 1000]).status, 400);
    assert_eq!(send(issue, json, &vec![b' '; 64 * 1024 + 1]).status, 413);
    assert_eq!(send(("DELETE", "/admin/v1/keys"), json, b"").status, 405);
    assert_eq!(send(("GET", "/admin/v1/odd"), json, b"").status, 404);
    assert_eq!(send(("GET", "/admin/"), json, b"").status, 404);
    assert_eq!(send(("GET", "/self/v1/odd"), json, b"").status, 404);
    let odd = format!("{{\"{ann}\": 1}}");
    for body in [
        odd.clone(),
        format!("{{\"owner\": {odd}}}"),
        format!("{{\"environment\": \"{ann}\"}}"),
    ] {
        let answer = send(issue, json, body.as_bytes());
        assert_eq!(answer.status, 400, "{answer:?}");
        let secret = ann.split('_').nth(3).unwrap();
        assert!(!answer.body.contains(secret), "{answer:?}");
    }
    let owner =
        format!("{{\"owner\": \"{ann}\", \"scopes\": [\"{ann}\"], \"expires_in_days\": 1}}");
    let answer = send(issue, json, owner.as_bytes());
    assert_eq!(answer.status, 422);
    assert!(
        !answer.body.contains(ann.split('_').nth(3).unwrap()),
        "{answer:?}"
    );
}

/// Where the scope policy only watches, keyward's own scopes and the mask still count.
#[test]
fn a_masked_key_only_reads_whatever_the_policies_say() {
    let folder = folder();
    let config = folder.read("keyward.toml");
    let scope = "module = \"builtin:scope\"\n";
    let watching = config.replace(scope, &format!("{scope}mode = \"shadow\"\n"));
    assert_ne!(watching, config);
    folder.write("keyward.toml", watching);
    let (client, client_id) = issue(&folder, "ann1", ("sync", &["inventory:read"]));
    let (masked, masked_id) = issue(&folder, "ann1", ("ann", &ALL));
    run_as("ann1", &folder, &["key", "mask", &masked_id]).exit(0);
    let service = Service::start(&folder);
    let suspend = of(&client_id, "suspend");
    let asked = ("POST", suspend.as_str());
    let (status, code, _) = refused(&service, asked, &masked, &json!({}));
    assert_eq!((status, code.as_str()), (403, "read-only"));
    let (status, code, _) = refused(&service, asked, &client, &json!({}));
    assert_eq!((status, code.as_str()), (403, "scope-not-named"));
    done(&service, ("GET", "/admin/v1/keys"), &masked, &Value::Null);
}
