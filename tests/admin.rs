//! The Admin API of the real process: every operation, who may not, and what the log has of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lifecycle::{add_principal, credential_of, run_as};
use crate::serve::{Answer, Service, add_server, reasons};
use crate::util::{Folder, text};

/// How often something is asked again that takes a moment to be in force.
const TRIES: usize = 200;
const ALL: [&str; 4] = [
    "keyward.keys:read",
    "keyward.keys:write",
    "keyward.keys:revoke",
    "keyward.log:read",
];

/// Two managers, an operator, one who has not passed, and a viewer; each has a user of their name
/// and a one.
fn folder() -> Folder {
    let folder = Folder::quickstart_with_database();
    let more = "allow_loopback = true\nadmin = true\n\n[governance]\nself_rotation = true\n";
    add_server(&folder, more);
    for (name, role, score_percent) in [
        ("ann", "\"manager\"", 80),
        ("bob", "\"manager\"", 80),
        ("olga", "\"operator\"", 80),
        ("otto", "\"operator\"", 60),
        ("vic", "\"viewer\"", 80),
    ] {
        let user = format!("{name}1");
        add_principal(&folder, (name, &user), role, score_percent);
    }
    folder
}

/// Issues a key by the command line: its credential and id.
fn issue(folder: &Folder, user: &str, (owner, scopes): (&str, &[&str])) -> (String, String) {
    credential_of(&try_issue(folder, user, (owner, scopes)).exit(0))
}

fn try_issue(folder: &Folder, user: &str, (owner, scopes): (&str, &[&str])) -> crate::util::Ran {
    let mut args = vec!["key", "issue", "--owner", owner, "--expires-in-days", "60"];
    for scope in scopes {
        args.extend(["--scope", scope]);
    }
    run_as(user, folder, &args)
}

/// A request; `body`: JSON, none where it is null.
fn ask(service: &Service, asked: (&str, &str), key: &str, body: &Value) -> Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let json = ("Content-Type", "application/json");
    let bearer = format!("Bearer {key}");
    let headers = [json, ("Authorization", &bearer)];
    send(service, asked, &headers, body.as_bytes())
}

fn send(
    service: &Service,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(&service.address).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: keyward\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).unwrap();
    // An answer can come before all of a body is read.
    let _sent = stream.write_all(body);
    let mut answer = Vec::new();
    let _whole = stream.read_to_end(&mut answer);
    let answer = Answer::read(&String::from_utf8(answer).unwrap());
    let is_problem = answer.header("content-type") == Some("application/problem+json");
    assert_eq!(is_problem, answer.status >= 400, "{answer:?}");
    assert_eq!(
        answer.header("cache-control"),
        Some("no-store"),
        "{answer:?}"
    );
    answer
}

fn read(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

/// A request that succeeds.
#[track_caller]
fn done(service: &Service, asked: (&str, &str), key: &str, body: &Value) -> Value {
    let answer = ask(service, asked, key, body);
    assert!((200..300).contains(&answer.status), "{asked:?} {answer:?}");
    read(&answer)
}

/// A request that is refused: the status and the code of the problem.
#[track_caller]
fn refused(
    service: &Service,
    asked: (&str, &str),
    key: &str,
    body: &Value,
) -> (u16, String, String) {
    let answer = ask(service, asked, key, body);
    let problem = read(&answer);
    assert_eq!(
        problem["status"],
        json!(answer.status),
        "{asked:?} {answer:?}"
    );
    assert_eq!(problem["type"], "about:blank");
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    (answer.status, text("code"), text("detail"))
}

/// Waits until a check of a credential has a status.
fn until(service: &Service, credential: &str, method: &str, status: u16) {
    let is_so = (0..TRIES).any(|_| {
        thread::sleep(Duration::from_millis(50));
        service.check(credential, method, "/inventory/42").status == status
    });
    assert!(is_so, "never {status}");
}

fn of(id: &str, what: &str) -> String {
    format!("/admin/v1/keys/{id}/{what}")
}

#[test]
fn a_key_lives_over_http() {
    let folder = folder();
    let (ann, ann_id) = issue(&folder, "ann1", ("ann", &ALL));
    let (bob, _) = issue(&folder, "bob1", ("bob", &ALL));
    let service = Service::start(&folder);
    let new = json!({
        "owner": "sync", "scopes": ["inventory:*"], "expires_in_days": 60,
        "labels": {"team": "stock"}, "reason": "a test",
    });
    let issued = done(&service, ("POST", "/admin/v1/keys"), &ann, &new);
    let id = issued["key"]["id"].as_str().unwrap().to_owned();
    let credential = issued["credential"].as_str().unwrap().to_owned();
    let scopes = json!(["inventory:read", "inventory:write"]);
    assert_eq!(issued["key"]["scopes"], scopes);
    until(&service, &credential, "GET", 200);

    let path = format!("/admin/v1/keys/{id}");
    let shown = done(&service, ("GET", &path), &ann, &Value::Null);
    assert_eq!(shown["state"], "active");
    assert_eq!(shown["labels"], json!({"team": "stock"}));
    let change = |what: &str, kind: &str, body: Value| {
        let changed = done(&service, ("POST", &of(&id, what)), &ann, &body);
        assert_eq!(changed["event"]["kind"], kind);
        assert_eq!(changed["event"]["actor"], "ann");
        assert_eq!(changed["event"]["user"], format!("key:{ann_id}"));
        changed
    };
    let suspended = change("suspend", "suspended", json!({"reason": "odd"}));
    assert_eq!(suspended["key"]["state"], "suspended");
    assert_eq!(suspended["event"]["reason"], "odd");
    until(&service, &credential, "GET", 401);
    let again = refused(&service, ("POST", &of(&id, "suspend")), &ann, &json!({}));
    assert_eq!((again.0, &*again.1), (409, "state"));
    change("resume", "resumed", json!({}));
    until(&service, &credential, "GET", 200);
    change("mask", "masked", json!({}));
    until(&service, &credential, "POST", 403);
    change("unmask", "unmasked", json!({}));
    until(&service, &credential, "POST", 200);

    let rotated = done(
        &service,
        ("POST", &of(&id, "rotate")),
        &ann,
        &json!({"grace_seconds": 3600}),
    );
    assert_eq!(rotated["key"]["state"], "deprecated");
    assert_eq!(rotated["successor"]["state"], "pending");
    let successor = rotated["credential"].as_str().unwrap();
    until(&service, successor, "GET", 200);
    let again = refused(&service, ("POST", &of(&id, "rotate")), &ann, &json!({}));
    assert_eq!((again.0, &*again.1), (409, "rotation-in-progress"));

    // Four eyes.
    let why = json!({"reason": "the vendor was breached"});
    let order = done(&service, ("POST", &of(&id, "revocation-order")), &ann, &why);
    let orders = done(
        &service,
        ("GET", "/admin/v1/revocation-orders"),
        &bob,
        &Value::Null,
    );
    assert_eq!(orders["orders"], json!([order]));
    let digest = order["order"].as_str().unwrap();
    let confirm = format!("/admin/v1/revocation-orders/{digest}/confirm");
    let own = refused(&service, ("POST", &confirm), &ann, &json!({}));
    assert_eq!((own.0, &*own.1), (403, "four-eyes"));
    let said = run_as("ann1", &folder, &["key", "confirm", digest]).exit(2);
    assert!(said.err.contains("`ann`'s own"), "{said:?}");
    let revoked = done(&service, ("POST", &confirm), &bob, &json!({}));
    assert_eq!(revoked["key"]["state"], "revoked");
    assert_eq!(revoked["event"]["actor"], "bob");
    let gone = refused(&service, ("POST", &confirm), &bob, &json!({}));
    assert_eq!((gone.0, &*gone.1), (404, "no-order"));

    let next = rotated["successor"]["id"].as_str().unwrap();
    let path = of(next, "emergency-revocation");
    done(
        &service,
        ("POST", &path),
        &ann,
        &json!({"reason": "attack"}),
    );
    until(&service, successor, "GET", 401);
    let review = of(next, "emergency-review");
    let own = refused(&service, ("POST", &review), &ann, &why);
    assert_eq!((own.0, &*own.1), (403, "four-eyes"));
    let reviewed = done(&service, ("POST", &review), &bob, &why);
    assert_eq!(reviewed["kind"], "emergency-reviewed");
    let none = refused(
        &service,
        ("GET", &of(&id, "certificate")),
        &ann,
        &Value::Null,
    );
    assert_eq!((none.0, &*none.1), (404, "no-certificate"));

    let page = |after: &str| {
        let path = of(&id, &format!("events?limit=4{after}"));
        done(&service, ("GET", &path), &ann, &Value::Null)
    };
    let first = page("");
    let next = first["next"].as_u64().unwrap();
    let events = [first, page(&format!("&after={next}"))];
    let kinds: Vec<_> = events
        .iter()
        .flat_map(|page| page["events"].as_array().unwrap())
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    let expected = [
        "issued",
        "suspended",
        "resumed",
        "masked",
        "unmasked",
        "rotated",
        "revocation-ordered",
        "revoked",
    ];
    assert_eq!(kinds, expected);
    assert!(events[1]["next"].is_null());
    service.end();
    let cat = folder.run(&["log", "cat", "log"]).exit(0);
    assert!(!cat.out.contains(&credential) && !cat.out.contains(successor));
    let logged = crate::lifecycle::logged(&folder);
    for kind in expected {
        assert!(logged.iter().any(|(_, it)| it == kind), "{kind}");
    }
    run_as("ann1", &folder, &["registry", "check"]).exit(0);
}

#[test]
fn keys_are_listed_page_by_page() {
    let folder = folder();
    let (ann, ann_id) = issue(&folder, "ann1", ("ann", &ALL));
    let mut ids = vec![ann_id];
    for _ in 0..4 {
        ids.push(issue(&folder, "ann1", ("sync", &["inventory:read"])).1);
    }
    ids.sort();
    let service = Service::start(&folder);
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/admin/v1/keys?limit=2{after}");
        let page = done(&service, ("GET", &path), &ann, &Value::Null);
        let keys = page["keys"].as_array().unwrap();
        assert!((1..=2).contains(&keys.len()));
        found.extend(keys.iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(found, ids);
    let path = "/admin/v1/keys?owner=sync&state=active";
    let some = done(&service, ("GET", path), &ann, &Value::Null);
    assert_eq!(some["keys"].as_array().unwrap().len(), 4);
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "state=odd",
        "after=x",
        "odd=1",
    ] {
        let path = format!("/admin/v1/keys?{query}");
        assert_eq!(
            refused(&service, ("GET", &path), &ann, &Value::Null).0,
            400,
            "{query}"
        );
    }
}

/// Every operation of the document, with a path that could be.
fn operations() -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(&text("host/docs/openapi.json")).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{id}", "k7Qp2mXw9LaR")
            .replace("{order}", &"0".repeat(64));
        for (method, operation) in methods.as_object().unwrap() {
            let scope = operation["security"][0]["bearer"][0].as_str().unwrap();
            let method = method.to_ascii_uppercase();
            operations.push((method, path.clone(), scope.to_owned()));
        }
    }
    assert!(operations.len() >= 16);
    operations
}

#[test]
fn the_document_is_what_the_code_says() {
    let folder = folder();
    let made = folder.run(&["serve", "--openapi"]).exit(0).out;
    assert_eq!(
        made,
        text("host/docs/openapi.json"),
        "write it with `keyward serve --openapi`"
    );
    issue(&folder, "ann1", ("ann", &ALL));
    let service = Service::start(&folder);
    let answer = send(&service, ("GET", "/admin/v1/openapi.json"), &[], b"");
    assert_eq!((answer.status, answer.body), (200, made));
}

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
        assert_eq!((wildcard.0, &*wildcard.1), (403, "scope-by-wildcard"));
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

#[test]
fn a_key_rotates_itself_with_the_scope_for_it() {
    let folder = folder();
    let scopes = ["inventory:read", "keyward.self:rotate"];
    let (credential, id) = issue(&folder, "olga1", ("sync", &scopes));
    let service = Service::start(&folder);
    let rotate = ("POST", "/self/v1/rotate");
    let long = json!({"grace_seconds": 8 * 24 * 3600});
    assert_eq!(refused(&service, rotate, &credential, &long).0, 422);
    let rotated = done(
        &service,
        rotate,
        &credential,
        &json!({"grace_seconds": 600}),
    );
    assert_eq!(rotated["successor"]["scopes"], json!(scopes));
    assert_eq!(rotated["is_repeat"], false);
    let first = rotated["credential"].as_str().unwrap();
    // The answer was lost: the successor gets another secret.
    let again = done(&service, rotate, &credential, &json!({}));
    assert_eq!(again["is_repeat"], true);
    assert_eq!(again["successor"]["id"], rotated["successor"]["id"]);
    let second = again["credential"].as_str().unwrap();
    until(&service, second, "GET", 200);
    assert_eq!(service.check(first, "GET", "/inventory/42").status, 401);
    // The successor is at work, so that there are two: none more.
    let third = refused(&service, rotate, &credential, &json!({}));
    assert_eq!((third.0, &*third.1), (409, "rotation-in-progress"));
    let third = refused(&service, rotate, second, &json!({}));
    assert_eq!((third.0, &*third.1), (409, "rotation-in-progress"));
    service.end();
    let events = folder.run(&["key", "history", &id]).exit(2);
    assert!(events.err.contains("principal"), "{events:?}");
    let events = run_as("ann1", &folder, &["key", "history", &id])
        .exit(0)
        .json();
    let last = events.last().unwrap();
    assert_eq!(last["kind"], "rotated");
    assert_eq!(
        (&last["actor"], &last["user"]),
        (&json!("sync"), &json!(format!("key:{id}")))
    );
}

#[test]
fn a_successor_rotates_itself_at_once() {
    let folder = folder();
    let scopes = ["inventory:read", "keyward.self:rotate"];
    let (credential, _) = issue(&folder, "olga1", ("sync", &scopes));
    let service = Service::start(&folder);
    let rotate = ("POST", "/self/v1/rotate");
    let now = json!({"grace_seconds": 0});
    let mut credential = credential;
    for _ in 0..3 {
        let next = (0..TRIES).find_map(|_| {
            thread::sleep(Duration::from_millis(50));
            let answer = ask(&service, rotate, &credential, &now);
            // Until the service has seen the key, it is not known.
            assert!(matches!(answer.status, 201 | 401), "{answer:?}");
            let next = read(&answer)["credential"].as_str().map(str::to_owned);
            next.filter(|_| answer.status == 201)
        });
        credential = next.unwrap();
    }
}

#[test]
fn decisions_are_explained() {
    let folder = folder();
    let (ann, ann_id) = issue(&folder, "ann1", ("ann", &ALL));
    let (client, client_id) = issue(&folder, "ann1", ("sync", &["inventory:read"]));
    let service = Service::start(&folder);
    let denied = service.check(&client, "POST", "/inventory/42");
    let id = denied
        .header("x-keyward-decision")
        .unwrap()
        .to_ascii_uppercase();
    let path = format!("/admin/v1/decisions/{id}");
    let shown = done(&service, ("GET", &path), &ann, &Value::Null);
    assert_eq!(shown["record"]["reason"], "scope.missing");
    assert_eq!(shown["record"]["key"], *client_id);
    assert!(!shown["text"].as_str().unwrap().is_empty());
    let path = "/admin/v1/decisions/01M83XJ880E5T6NSVVM4JFGJ6Q";
    assert_eq!(refused(&service, ("GET", path), &ann, &Value::Null).0, 404);
    let path = "/admin/v1/decisions/x";
    assert_eq!(refused(&service, ("GET", path), &ann, &Value::Null).0, 404);
    service.end();
    // Who looked is in the log too.
    let cat = folder.run(&["log", "cat", "log"]).exit(0).json();
    assert!(
        cat.iter()
            .any(|it| it["key"] == *ann_id && it["effect"] == "allow")
    );
}

#[test]
fn it_is_off_unless_it_is_switched_on() {
    let folder = Folder::quickstart_with_database();
    add_server(&folder, "allow_loopback = true\n");
    let args = [
        "key",
        "issue",
        "--owner",
        "me",
        "--scope",
        "*:*",
        "--keep-wildcard",
    ];
    let issued = folder.run(&[&args[..], &["--expires-in-days", "9"]].concat());
    let (credential, _) = credential_of(&issued.exit(0));
    let service = Service::start(&folder);
    for (method, path, _) in operations() {
        let asked = (method.as_str(), path.as_str());
        assert_eq!(
            ask(&service, asked, &credential, &json!({})).status,
            404,
            "{asked:?}"
        );
    }
}

#[test]
fn without_principals_a_key_only_looks() {
    let folder = Folder::quickstart_with_database();
    add_server(&folder, "allow_loopback = true\nadmin = true\n");
    let me = "nobody-in-particular";
    let said = try_issue(&folder, me, ("me", &["keyward.keys:write"])).exit(2);
    assert!(said.err.contains("could only look"), "{said:?}");
    let (credential, id) = issue(
        &folder,
        me,
        ("me", &["keyward.keys:read", "keyward.log:read"]),
    );
    let service = Service::start(&folder);
    done(
        &service,
        ("GET", "/admin/v1/keys"),
        &credential,
        &Value::Null,
    );
    done(
        &service,
        ("GET", &format!("/admin/v1/keys/{id}")),
        &credential,
        &Value::Null,
    );
    let (status, code, _) = refused(
        &service,
        ("GET", &of(&id, "certificate")),
        &credential,
        &Value::Null,
    );
    assert_eq!((status, &*code), (403, "not-authorized"));
    assert_eq!(
        refused(
            &service,
            ("POST", &of(&id, "suspend")),
            &credential,
            &json!({})
        )
        .0,
        403
    );
}

#[test]
fn keys_of_a_file_are_edited_there() {
    let folder = Folder::quickstart_with_database();
    let (_, id) = issue(&folder, "me", ("me", &["inventory:read"]));
    let (credential, _) = {
        add_server(&folder, "allow_loopback = true\nadmin = true\n");
        issue(&folder, "me", ("me", &["keyward.keys:read"]))
    };
    let keys = folder.run(&["key", "export"]).exit(0).out;
    folder.write("keys.jsonl", keys);
    let toml = folder
        .read("keyward.toml")
        .replace("path = \"keyward.db\"", "keys = \"keys.jsonl\"");
    folder.write("keyward.toml", toml);
    let service = Service::start(&folder);
    let path = format!("/admin/v1/keys/{id}");
    let (status, code, _) = refused(&service, ("GET", &path), &credential, &Value::Null);
    assert_eq!((status, &*code), (409, "registry-is-a-file"));
}
