//! Rate limits from the configuration to the answer: what is counted, what is denied and until
//! when, what a replay makes of it, and what a gateway is told.

use serde_json::Value;

use crate::lifecycle::issue;
use crate::serve::{self, Service};
use crate::util::{Folder, Ran};

/// Puts the policy, limited so, before the others of a configuration.
fn limit(folder: &Folder, mode: &str, limits: &str) {
    let toml = folder.read("keyward.toml");
    let (before, others) = toml.split_once("[[policy]]").unwrap();
    let rate = format!(
        "[[policy]]\nname = \"rate\"\nmodule = \"builtin:rate\"\nmode = \"{mode}\"\n\
         [policy.settings]\nlimits = [{limits}]\n"
    );
    folder.write("keyward.toml", format!("{before}{rate}[[policy]]{others}"));
}

/// A request of a key in the quick start, at so many seconds past ten.
fn request(key: &str, second: u32) -> String {
    format!(
        r#"{{"time":"2026-11-09T10:{:02}:{:02}Z","key":"{key}","method":"GET","host":"api.example.com","path":"/inventory/1","source":"203.0.113.9"}}"#,
        second / 60,
        second % 60
    )
}

fn evaluate(folder: &Folder, requests: &[String]) -> Ran {
    folder.run_with(&["evaluate", "-"], requests.join("\n").as_bytes())
}

/// The reasons of decisions, and how long each says is to be waited.
fn shown(ran: &Ran) -> Vec<String> {
    let show = |line: &Value| {
        let reason = line["reason"].as_str().unwrap();
        let policies = line["policies"].as_array().unwrap();
        let wait = policies.iter().find_map(|policy| {
            let of_rate = policy["name"] == "rate";
            policy["params"]["retry-after"].as_str().filter(|_| of_rate)
        });
        wait.map_or(reason.to_owned(), |wait| format!("{reason} {wait}"))
    };
    ran.json().iter().map(show).collect()
}

const KEY: &str = "k7Qp2mXw9LaR";

#[test]
fn a_key_is_limited_until_its_window_has_moved_on() {
    let folder = Folder::quickstart();
    limit(&folder, "enforce", r#"{ requests = 3, per = "1m" }"#);
    folder.run(&["check"]).exit(0);
    // With each denied one in the window, there has to be room for one more.
    let at = |seconds: &[u32]| {
        seconds
            .iter()
            .map(|it| request(KEY, *it))
            .collect::<Vec<_>>()
    };
    let ran = evaluate(&folder, &at(&[0, 5, 30, 35, 65])).exit(0);
    let granted = "scope.granted";
    let expected = [
        granted,
        granted,
        granted,
        "rate.limited 40",
        "rate.limited 30",
    ];
    assert_eq!(shown(&ran), expected);
    // Who waits as long as it was told is allowed.
    let ran = evaluate(&folder, &at(&[0, 5, 30, 35, 65, 95])).exit(0);
    assert_eq!(shown(&ran)[5], granted);
    let replay = folder.run(&["replay"]).exit(0);
    assert!(replay.out.contains("11"), "{replay:?}");
}

#[test]
fn every_request_of_the_key_counts_and_no_other() {
    let folder = Folder::quickstart();
    limit(
        &folder,
        "enforce",
        r#"{ requests = 2, per = "1h", label = "rate-1h" }"#,
    );
    let unmapped = request(KEY, 0).replace("/inventory/1", "/elsewhere");
    let other = request("Ck4Demo0Test", 1);
    let ran = evaluate(
        &folder,
        &[unmapped, other, request(KEY, 2), request(KEY, 3)],
    )
    .exit(0);
    let reasons = shown(&ran);
    assert_eq!(reasons[0], "scope.unmapped");
    assert!(!reasons[1].starts_with("rate"), "{reasons:?}");
    assert_eq!(reasons[2..], ["scope.granted", "rate.limited 3660"]);
    // A limit of its own, by a label.
    let keys = folder.read("keys.jsonl");
    for (own, expected) in [("3", "scope.granted"), ("three", "rate.label-malformed")] {
        let own = format!("\"quickbooks\",\"rate-1h\":\"{own}\"");
        folder.write("keys.jsonl", keys.replace("\"quickbooks\"", &own));
        let requests = [0, 1, 2].map(|second| request(KEY, second));
        assert_eq!(shown(&evaluate(&folder, &requests).exit(0))[2], expected);
    }
    folder.run(&["replay"]).exit(0);
}

#[test]
fn a_shadow_counts_and_changes_nothing() {
    let folder = Folder::quickstart();
    limit(&folder, "shadow", r#"{ requests = 1, per = "1m" }"#);
    let ran = evaluate(&folder, &[request(KEY, 0), request(KEY, 0)]).exit(0);
    assert_eq!(shown(&ran), ["scope.granted", "scope.granted 61"]);
    folder.run(&["replay"]).exit(0);
}

#[test]
fn nobody_brings_a_count_of_its_own() {
    let folder = Folder::quickstart();
    limit(&folder, "enforce", r#"{ requests = 1, per = "1m" }"#);
    let own = r#""attributes":{"usage.requests-1m":1},"path""#;
    let brings = request(KEY, 0).replace("\"path\"", own);
    let ran = evaluate(&folder, &[request(KEY, 0), brings, request(KEY, 0)]).exit(1);
    assert_eq!(shown(&ran), ["scope.granted", "rate.limited 61"]);
    assert!(ran.err.contains("leave them out"), "{ran:?}");
}

#[test]
fn a_gateway_gets_429_and_when_to_come_back() {
    let folder = serve::folder();
    limit(&folder, "enforce", r#"{ requests = 2, per = "1d" }"#);
    let [(credential, _), (other, _)] = [(); 2].map(|()| issue(&folder));
    let service = Service::start(&folder);
    for _ in 0..2 {
        let allowed = service.check(&credential, "GET", "/inventory/42");
        assert_eq!(allowed.status, 200, "{allowed:?}");
        assert_eq!(allowed.header("ratelimit"), None);
    }
    let limited = service.check(&credential, "GET", "/inventory/42");
    let nginx = [
        ("X-API-Key", &*credential),
        ("X-Original-Method", "GET"),
        ("X-Original-URI", "/inventory/42"),
    ];
    let by_nginx = service.ask("/check/nginx", &nginx);
    assert_eq!((limited.status, by_nginx.status), (429, 403));
    assert_eq!(by_nginx.header("x-keyward-status"), Some("429"));
    for answer in [limited, by_nginx] {
        assert_eq!(answer.header("retry-after"), Some("86400"), "{answer:?}");
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"key\";q=2;w=86400")
        );
        assert_eq!(answer.header("ratelimit"), Some("\"key\";r=0;t=86400"));
    }
    // Another key has its own count.
    assert_eq!(service.check(&other, "GET", "/inventory/42").status, 200);
    service.end();
    let reasons = serve::reasons(&folder);
    assert_eq!(reasons[2..4], ["rate.limited", "rate.limited"]);
    folder.run(&["replay"]).exit(0);
}
