//! Profiles over HTTP, by what gateways send.

use proptest::prelude::*;

use super::*;
use crate::route::path::PathRefusal;

const ONE: &str = "kw_live_k7Qp2mXw9LaR_0123456789abcdefghijABCDEFGHIJ01_2se4Vx";

pub(super) fn settings() -> CheckSettings {
    CheckSettings {
        trust: Trust {
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..Trust::default()
        },
        private: vec![HeaderName::from_static("x-gate-secret")],
        ..CheckSettings::default()
    }
}

/// What a call says, its headers as `name: value`.
pub(super) fn call(method: &str, uri: &str, lines: &[&str]) -> Result<Asked, Malformed> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let head = Head {
        method: &method.parse().unwrap(),
        uri: &uri.parse().unwrap(),
        headers: &headers,
        peer: Some("10.0.0.1".parse().unwrap()),
    };
    settings().read(head).unwrap()
}

/// What is common to the calls of a profile: its URL, and the headers that are its own.
fn forward(uri: &str, more: &[&str]) -> Result<Asked, Malformed> {
    let uri = format!("X-Forwarded-Uri: {uri}");
    let own = [
        &*uri,
        "X-Forwarded-Method: POST",
        "X-Forwarded-Host: Api.Example.com",
    ];
    call("GET", "/check/forward", &[&own[..], more].concat())
}

fn nginx(uri: &str, more: &[&str]) -> Result<Asked, Malformed> {
    let uri = format!("X-Original-URI: {uri}");
    let own = [&*uri, "X-Original-Method: POST", "Host: api.example.com"];
    call("GET", "/check/nginx", &[&own[..], more].concat())
}

fn envoy(uri: &str, more: &[&str]) -> Result<Asked, Malformed> {
    let own = ["Host: api.example.com"];
    call(
        "POST",
        &format!("/check/envoy{uri}"),
        &[&own[..], more].concat(),
    )
}

type Call = fn(&str, &[&str]) -> Result<Asked, Malformed>;
const ALL: [(Profile, Call); 3] = [
    (Profile::Forward, forward),
    (Profile::Nginx, nginx),
    (Profile::Envoy, envoy),
];

fn request(asked: Result<Asked, Malformed>) -> AccessRequest {
    let now = Timestamp::parse("2026-11-23T10:00:00Z").unwrap();
    asked.unwrap().into_request(now).unwrap()
}

#[test]
fn the_path_alone_chooses_the_profile() {
    for (path, expected) in [
        ("/check/forward", Some((Profile::Forward, ""))),
        ("/check/forward/", Some((Profile::Forward, "/"))),
        ("/check/forward/a/../b", Some((Profile::Forward, "/a/../b"))),
        ("/check/forwards", None),
        ("/check/nginx", Some((Profile::Nginx, ""))),
        ("/check/envoy/a//b", Some((Profile::Envoy, "/a//b"))),
        (
            "/check/envoy//check/nginx",
            Some((Profile::Envoy, "//check/nginx")),
        ),
        ("/access/v1/evaluation", Some((Profile::AuthzenOne, ""))),
        ("/access/v1/evaluations", Some((Profile::AuthzenMany, ""))),
        ("/access/v1/evaluation/", None),
        (GRPC_PATH, Some((Profile::Grpc, ""))),
        ("/check", None),
        ("//check/forward", None),
        ("/CHECK/forward", None),
        ("/", None),
        ("", None),
    ] {
        assert_eq!(Profile::of(path), expected, "{path}");
    }
}

#[test]
fn every_profile_finds_the_original_request() {
    for (profile, call) in ALL {
        let key = format!("X-API-Key: {ONE}");
        let more = ["X-Forwarded-For: 192.0.2.7", &*key, "X-Request-Id: r-1"];
        let asked = call("/v1/pay%20ments/42?q=1&q=2", &more).unwrap();
        assert_eq!(asked.origin.profile, profile);
        assert_eq!(asked.origin.place, Some(Place::Key));
        assert_eq!(asked.target, b"/v1/pay%20ments/42?q=1&q=2");
        assert_eq!(asked.client.chain.len(), 1);
        assert!(!format!("{asked:?}").contains("0123456789abcdefghij"));
        let request = request(Ok(asked));
        assert_eq!(request.id().map(|id| &**id), Some("r-1"));
        assert_eq!(&**request.method(), "POST");
        assert_eq!(&**request.host(), "api.example.com");
        assert_eq!(&**request.path().unwrap().text(), "/v1/pay ments/42");
        assert_eq!(request.source(), Some("192.0.2.7".parse().unwrap()));
        let client = request.client().unwrap();
        assert_eq!((client.address, client.chain.len()), (request.source(), 1));
        assert!(matches!(request.presented(), Presented::Credential(_)));
    }
}

/// The query of the check URL, to which Caddy 2.6 appends the client's, its method, its sub-path
/// and its body's length say nothing.
#[test]
fn the_rest_of_the_call_is_ignored() {
    let own = [
        "X-Forwarded-Uri: /a",
        "X-Forwarded-Method: GET",
        "X-Forwarded-Host: h",
    ];
    for (method, uri) in [
        ("GET", "/check/forward?x=1&X-Forwarded-Uri=/b"),
        ("DELETE", "/check/forward/b/../c"),
        ("HEAD", "/check/forward/?/check/nginx"),
    ] {
        let request = request(call(method, uri, &own));
        assert_eq!(
            (&**request.method(), &**request.path().unwrap().text()),
            ("GET", "/a")
        );
    }
}

/// What gateways were seen to send for `/v1/pay%20ments/../a//b;x` and other odd targets.
#[test]
fn odd_targets_are_refused_whoever_hands_them_over() {
    use PathRefusal as P;
    for (target, refusal) in [
        ("/v1/pay%20ments/../a//b;x?q=1", P::EmptySegment),
        ("//double//slash", P::EmptySegment),
        ("/a%2fb", P::EncodedSlash),
        ("/a/%2e%2e/b", P::DotSegment),
        ("/a\\b", P::Backslash),
        ("/a/..;/b", P::DotSegment),
        ("/../a", P::AboveRoot),
        ("/a%00", P::ControlCharacter),
        ("/%252e%252e/a", P::DoubleEncoding),
    ] {
        for (profile, call) in ALL {
            let request = request(call(target, &[]));
            assert_eq!(request.path().err(), Some(refusal), "{profile:?} {target}");
        }
    }
    for call in [forward, nginx] {
        assert_eq!(
            request(call("/a#frag", &[])).path().err(),
            Some(P::Fragment)
        );
        assert_eq!(request(call("*", &[])).path().err(), Some(P::NotAbsolute));
        assert_eq!(request(call("a", &[])).path().err(), Some(P::NotAbsolute));
    }
    // Traefik and Envoy normalise, Caddy makes `%23` of `#`.
    for (target, path, has_parameters) in [
        ("/v1/a/b;x", "/v1/a/b;x", true),
        ("/v1/a/../b", "/v1/b", false),
        ("/a%23frag", "/a#frag", false),
    ] {
        for (_, call) in ALL {
            let request = request(call(target, &[]));
            let found = request.path().unwrap();
            assert_eq!(
                (&**found.text(), found.has_parameters()),
                (path, has_parameters)
            );
        }
    }
}

#[test]
fn a_whole_uri_counts_when_its_host_is_the_host() {
    for target in [
        "http://api.example.com/abs?q",
        "HTTPS://API.example.com:443/abs?q",
    ] {
        for call in [forward, nginx] {
            let asked = call(target, &[]).unwrap();
            assert_eq!(asked.target, b"/abs?q");
            assert_eq!(&**request(Ok(asked)).host(), "api.example.com");
        }
    }
    for target in [
        "http://other.test/abs",
        "http://api.example.com",
        "http://api.example.com?x/abs",
        "http://api.example.com#x/abs",
        "http://api.example.com\\x/abs",
        "http://u@api.example.com/abs",
        "http:///abs",
        "http://",
    ] {
        for call in [forward, nginx] {
            assert!(call(target, &[]).is_err(), "{target}");
        }
    }
    assert_eq!(
        request(forward("ftp://a/b", &[])).path().err(),
        Some(PathRefusal::NotAbsolute)
    );
}

#[test]
fn what_is_missing_or_disagrees_is_malformed() {
    let own = [
        "X-Forwarded-Uri: /a",
        "X-Forwarded-Method: GET",
        "X-Forwarded-Host: h",
        "X-Original-URI: /a",
        "X-Original-Method: GET",
        "Host: h",
    ];
    for (uri, needed) in [
        ("/check/forward", &own[..3]),
        ("/check/nginx", &own[3..]),
        ("/check/envoy/a", &own[5..]),
    ] {
        assert!(call("GET", uri, needed).is_ok(), "{uri}");
        // The others' headers are no help.
        for missing in needed {
            let others: Vec<_> = own.iter().copied().filter(|line| line != missing).collect();
            assert!(
                call("GET", uri, &others).is_err(),
                "{uri} without {missing}"
            );
        }
        for twice in needed {
            let (name, value) = twice.split_once(": ").unwrap();
            let same = [needed, &[twice]].concat();
            assert!(call("GET", uri, &same).is_ok(), "{uri}: {twice} twice");
            let other = format!("{name}: {value}x");
            let others = [needed, &[&*other]].concat();
            assert!(
                call("GET", uri, &others).is_err(),
                "{uri}: {name} with two values"
            );
            let empty = format!("{name}: ");
            let empty: Vec<_> = needed
                .iter()
                .map(|it| if it == twice { &*empty } else { it })
                .collect();
            assert!(call("GET", uri, &empty).is_err(), "{uri}: {name} empty");
        }
    }
    assert!(call("GET", "/check/envoy", &own).is_err());
    assert!(call("GET", "/check/envoy?/a", &own).is_err());
}

#[test]
fn ingress_nginx_sends_a_whole_url_and_its_own_host() {
    let method = "X-Original-Method: GET";
    let url = "X-Original-URL: https://api.example.com/a?b";
    let host = "Host: keyward.internal";
    let asked = call("GET", "/check/nginx", &[method, url, host]).unwrap();
    assert_eq!(
        (asked.host.as_str(), asked.target.as_slice()),
        ("api.example.com", &b"/a?b"[..])
    );
    assert!(
        call(
            "GET",
            "/check/nginx",
            &[method, url, host, "X-Original-URI: /a?b"]
        )
        .is_ok()
    );
    assert!(
        call(
            "GET",
            "/check/nginx",
            &[method, url, host, "X-Original-URI: /a"]
        )
        .is_err()
    );
    // A host that would end the authority early, so that the path is taken for a query.
    let url = "X-Original-URL: https://api.example.com?x/admin";
    assert!(call("GET", "/check/nginx", &[method, url, host]).is_err());
}

#[test]
fn over_http_2_the_host_is_in_the_target() {
    let asked = call("GET", "http://api.example.com/check/envoy/a", &[]).unwrap();
    assert_eq!(asked.host, "api.example.com");
    assert!(
        call(
            "GET",
            "http://api.example.com/check/envoy/a",
            &["Host: other"]
        )
        .is_err()
    );
}

#[test]
fn policies_see_the_clients_headers_and_no_others() {
    let key = format!("X-API-Key: {ONE}");
    let more = [
        "User-Agent: sync/1.4",
        "Accept: a",
        "Accept: b",
        "X-Latin: caf\u{e9}",
        "Connection: keep-alive, User-Agent",
        "Content-Length: 0",
        "X-Forwarded-For: 192.0.2.7",
        "X-Gate-Secret: hush",
        "X-Keyward-Subject: boss",
        "X_Keyward_Subject: boss",
        "X.Keyward-Key.Id: boss",
        "X-Keywards: kept",
        &*key,
        "Cookie: a=b",
        "X-Envoy-Internal: true",
        "X-Real-IP: 192.0.2.8",
    ];
    let client = ["accept", "accept", "user-agent", "x-keywards", "x-latin"];
    for (profile, call) in ALL {
        let asked = call("/a", &more).unwrap();
        let mut names: Vec<_> = asked
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        let foreign: &[&str] = match profile {
            Profile::Nginx => &["x-envoy-internal"],
            Profile::Envoy => &["x-real-ip"],
            _ => &["x-envoy-internal", "x-real-ip"],
        };
        let mut expected = [&client[..], foreign].concat();
        expected.sort_unstable();
        assert_eq!(names, expected, "{profile:?}");
        let mut aliases = asked.origin.aliases.clone();
        aliases.sort_unstable();
        assert_eq!(
            aliases,
            ["x-keyward-subject", "x.keyward-key.id", "x_keyward_subject"]
        );
    }
}

#[test]
fn a_name_of_a_request_is_sane_or_none() {
    let long = "a".repeat(REQUEST_ID_MAX_BYTES + 1);
    for (lines, expected) in [
        (&["X-Request-Id: bfe9eb29-ab87"][..], Some("bfe9eb29-ab87")),
        (&[], None),
        (&["X-Request-Id: "], None),
        (&["X-Request-Id: a b"], None),
        (&["X-Request-Id: \u{e9}"], None),
        (&["X-Request-Id: kw_live_x"], None),
        (&["X-Request-Id: a", "X-Request-Id: a"], None),
        (&[&*format!("X-Request-Id: {long}")], None),
    ] {
        assert_eq!(
            forward("/a", lines).unwrap().id.as_deref(),
            expected,
            "{lines:?}"
        );
    }
}

/// Names and values, most of them ones that matter. The key stands where a key may stand.
fn any_headers() -> impl Strategy<Value = HeaderMap> {
    let name = prop::sample::select(vec![
        "x-forwarded-uri",
        "x-forwarded-method",
        "x-forwarded-host",
        "x-forwarded-for",
        "host",
        "x-original-uri",
        "x-original-url",
        "x-original-method",
        "x-request-id",
        "x-keyward-subject",
        "x_keyward_subject",
        "forwarded",
        "user-agent",
    ]);
    let sample = |values: Vec<&'static str>| {
        prop::sample::select(values).prop_map(|text| text.as_bytes().to_vec())
    };
    let value = prop_oneof![
        sample(vec![
            "/a",
            "/a/../b",
            "http://h/a",
            "https://h?x/a",
            "GET",
            "h",
            "h:80",
            "",
            "\""
        ]),
        sample(vec!["10.0.0.2", "192.0.2.7, 10.0.0.2"]),
        proptest::collection::vec(any::<u8>(), 0..12),
    ];
    let key_name = prop::sample::select(vec!["authorization", "x-api-key"]);
    let key = sample(vec![
        "Bearer x",
        ONE,
        "Bearer kw_live_k7Qp2mXw9LaR_0123456789abcdefghij",
        ",",
    ]);
    let line = prop_oneof![4 => (name, value), 1 => (key_name, key)];
    proptest::collection::vec(line, 0..16).prop_map(|lines| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name, value);
            }
        }
        headers
    })
}

proptest! {
    #[test]
    fn any_headers_give_a_request_or_none_and_never_a_secret(
        headers in any_headers(),
        uri in "/check/(forward|nginx|envoy)[/a-z.;%?]{0,8}",
    ) {
        let uri = uri.parse::<Uri>().unwrap();
        let head = Head { method: &Method::GET, uri: &uri, headers: &headers, peer: None };
        if let Some(Ok(asked)) = settings().read(head) {
            prop_assert!(!asked.host.is_empty());
            for (name, value) in &asked.headers {
                prop_assert!(!is_alias(name) && !value.contains("kw_live_"), "{name}: {value}");
            }
            if let Ok(request) = asked.into_request(Timestamp::from_millis(0)) {
                let shown = format!("{request:?}");
                prop_assert!(!shown.contains("kw_live_"), "{shown}");
            }
        }
    }
}
