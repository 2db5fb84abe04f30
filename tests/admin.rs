//! The Admin API of the real process: every operation, who may not, and what the log has of it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::certificate::{CERTIFICATE, Kept, check_there};
use crate::lifecycle::{add_principal, credential_of, run_as};
use crate::serve::{Answer, Service, add_server};
use crate::util::{Folder, text};

/// How often something is asked again that takes a moment to be in force.
pub(crate) const TRIES: usize = 200;
pub(crate) const ALL: [&str; 4] = [
    "keyward.keys:read",
    "keyward.keys:write",
    "keyward.keys:revoke",
    "keyward.log:read",
];

/// Two managers, an operator, one who has not passed, and a viewer; each has a user of their name
/// and a one.
pub(crate) fn folder() -> Folder {
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
pub(crate) fn issue(
    folder: &Folder,
    user: &str,
    (owner, scopes): (&str, &[&str]),
) -> (String, String) {
    credential_of(&try_issue(folder, user, (owner, scopes)).exit(0))
}

pub(crate) fn try_issue(
    folder: &Folder,
    user: &str,
    (owner, scopes): (&str, &[&str]),
) -> crate::util::Ran {
    let mut args = vec!["key", "issue", "--owner", owner, "--expires-in-days", "60"];
    for scope in scopes {
        args.extend(["--scope", scope]);
    }
    run_as(user, folder, &args)
}

/// A request; `body`: JSON, none where it is null.
pub(crate) fn ask(service: &Service, asked: (&str, &str), key: &str, body: &Value) -> Answer {
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

pub(crate) fn send(
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
pub(crate) fn done(service: &Service, asked: (&str, &str), key: &str, body: &Value) -> Value {
    let answer = ask(service, asked, key, body);
    assert!((200..300).contains(&answer.status), "{asked:?} {answer:?}");
    read(&answer)
}

/// A request that is refused: the status and the code of the problem.
#[track_caller]
pub(crate) fn refused(
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

pub(crate) fn of(id: &str, what: &str) -> String {
    format!("/admin/v1/keys/{id}/{what}")
}

/// Somebody who keeps keys of a service.
struct At<'a> {
    service: &'a Service,
    key: &'a str,
}

impl At<'_> {
    #[track_caller]
    fn post(&self, path: &str, body: &Value) -> Value {
        done(self.service, ("POST", path), self.key, body)
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        done(self.service, ("GET", path), self.key, &Value::Null)
    }

    /// The status and the code of a refusal.
    #[track_caller]
    fn refused(&self, asked: (&str, &str), body: &Value) -> (u16, String) {
        let (status, code, _) = refused(self.service, asked, self.key, body);
        (status, code)
    }
}

fn refusal(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_key_lives_over_http() {
    let folder = folder();
    let (ann, ann_id) = issue(&folder, "ann1", ("ann", &ALL));
    let service = Service::start(&folder);
    let ann = At {
        service: &service,
        key: &ann,
    };
    let new = json!({
        "owner": "sync", "scopes": ["inventory:*"], "expires_in_days": 60,
        "labels": {"team": "stock"}, "reason": "a test",
    });
    let issued = ann.post("/admin/v1/keys", &new);
    let id = issued["key"]["id"].as_str().unwrap().to_owned();
    let credential = issued["credential"].as_str().unwrap().to_owned();
    let scopes = json!(["inventory:read", "inventory:write"]);
    assert_eq!(issued["key"]["scopes"], scopes);
    until(&service, &credential, "GET", 200);
    let shown = ann.get(&format!("/admin/v1/keys/{id}"));
    assert_eq!(shown["state"], "active");
    assert_eq!(shown["labels"], json!({"team": "stock"}));

    for (what, kind, method, status) in [
        ("suspend", "suspended", "GET", 401),
        ("resume", "resumed", "GET", 200),
        ("mask", "masked", "POST", 403),
        ("unmask", "unmasked", "POST", 200),
    ] {
        let changed = ann.post(&of(&id, what), &json!({"reason": "odd"}));
        let event = &changed["event"];
        assert_eq!(event["kind"], kind);
        assert_eq!(
            (&event["actor"], &event["reason"]),
            (&json!("ann"), &json!("odd"))
        );
        assert_eq!(event["user"], format!("key:{ann_id}"));
        until(&service, &credential, method, status);
        let again = ann.refused(("POST", &of(&id, what)), &json!({}));
        assert_eq!(again, refusal(409, "state"));
    }
    let grace = json!({"grace_seconds": 3600});
    let rotated = ann.post(&of(&id, "rotate"), &grace);
    assert_eq!(rotated["key"]["state"], "deprecated");
    assert_eq!(rotated["successor"]["state"], "pending");
    let successor = rotated["credential"].as_str().unwrap();
    until(&service, successor, "GET", 200);
    let again = ann.refused(("POST", &of(&id, "rotate")), &json!({}));
    assert_eq!(again, refusal(409, "rotation-in-progress"));

    let first = ann.get(&of(&id, "events?limit=4"));
    let next = first["next"].as_u64().unwrap();
    let second = ann.get(&of(&id, &format!("events?limit=4&after={next}")));
    assert!(second["next"].is_null());
    let kinds: Vec<_> = [first, second]
        .iter()
        .flat_map(|page| page["events"].as_array().unwrap().clone())
        .map(|event| event["kind"].as_str().unwrap().to_owned())
        .collect();
    let expected = [
        "issued",
        "suspended",
        "resumed",
        "masked",
        "unmasked",
        "rotated",
    ];
    assert_eq!(kinds, expected);
    service.end();
    let cat = folder.run(&["log", "cat", "log"]).exit(0);
    assert!(!cat.out.contains(&credential) && !cat.out.contains(successor));
    let logged = crate::lifecycle::logged(&folder);
    let is_logged = |kind| logged.iter().any(|(_, it)| it == kind);
    assert!(expected.into_iter().all(is_logged), "{logged:?}");
}

#[test]
fn a_revocation_takes_two() {
    let folder = folder();
    let (ann, _) = issue(&folder, "ann1", ("ann", &ALL));
    let (bob, _) = issue(&folder, "bob1", ("bob", &ALL));
    let scopes: (&str, &[&str]) = ("sync", &["inventory:read"]);
    let (_, id) = issue(&folder, "ann1", scopes);
    let (leaked, next) = issue(&folder, "ann1", scopes);
    let service = Service::start(&folder);
    let at = |key| At {
        service: &service,
        key,
    };
    let (ann, bob) = (at(&ann), at(&bob));
    let why = json!({"reason": "the vendor was breached"});
    let order = ann.post(&of(&id, "revocation-order"), &why);
    let orders = bob.get("/admin/v1/revocation-orders");
    assert_eq!(orders["orders"], json!([order]));
    let again = bob.refused(("POST", &of(&id, "revocation-order")), &why);
    assert_eq!(again, refusal(409, "order-open"));
    let digest = order["order"].as_str().unwrap();
    let confirm = format!("/admin/v1/revocation-orders/{digest}/confirm");
    let own = ann.refused(("POST", &confirm), &json!({}));
    assert_eq!(own, refusal(403, "four-eyes"));
    let said = run_as("ann1", &folder, &["key", "confirm", digest]).exit(2);
    assert!(said.err.contains("`ann`'s own"), "{said:?}");
    let revoked = bob.post(&confirm, &json!({}));
    assert_eq!(revoked["key"]["state"], "revoked");
    assert_eq!(revoked["event"]["actor"], "bob");
    let gone = bob.refused(("POST", &confirm), &json!({}));
    assert_eq!(gone, refusal(404, "no-order"));

    ann.post(
        &of(&next, "emergency-revocation"),
        &json!({"reason": "attack"}),
    );
    until(&service, &leaked, "GET", 401);
    let review = of(&next, "emergency-review");
    let own = ann.refused(("POST", &review), &why);
    assert_eq!(own, refusal(403, "four-eyes"));
    assert_eq!(bob.post(&review, &why)["kind"], "emergency-reviewed");
    let none = ann.refused(("GET", &of(&id, "certificate")), &Value::Null);
    assert_eq!(none, refusal(404, "no-certificate"));
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
pub(crate) fn operations() -> Vec<(String, String, String)> {
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

/// What `keyward cert revocation` has made is read over HTTP, and holds where it is handed to.
#[test]
fn a_certificate_is_read() {
    let kept = Kept::new();
    add_server(&kept.folder, "allow_loopback = true\nadmin = true\n");
    add_principal(&kept.folder, ("ann", "ann1"), "\"manager\"", 80);
    let run = |args: &[&str]| run_as("ann1", &kept.folder, args).exit(0);
    run(&[
        "key",
        "revoke",
        &kept.key,
        "--reason",
        "it leaked",
        "--emergency",
    ]);
    run(&["cert", "revocation", &kept.key, "--out", CERTIFICATE]);
    let (ann, _) = issue(&kept.folder, "ann1", ("ann", &ALL));
    let service = Service::start(&kept.folder);
    let asked = of(&kept.key, "certificate");
    let answer = ask(&service, ("GET", &asked), &ann, &Value::Null);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    // Its checkpoint is a later one, of the same log.
    kept.folder.write(CERTIFICATE, &answer.body);
    check_there(&kept.handed_over(CERTIFICATE), CERTIFICATE).exit(0);
}
