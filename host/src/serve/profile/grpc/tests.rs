//! Envoy's gRPC check, by what Envoy sends.

use envoy_types::pb::envoy::config::core::v3::{
    Address as CoreAddress, EnvoyInternalAddress, HeaderMap as EnvoyHeaders, Pipe, SocketAddress,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{Peer, Request};
use proptest::prelude::*;

use super::*;
use crate::credential::Presented;
use crate::serve::profile::tests::settings;

const ONE: &str = "kw_live_k7Qp2mXw9LaR_0123456789abcdefghijABCDEFGHIJ01_2se4Vx";

fn http(headers: &[(&str, &str)]) -> HttpRequest {
    let headers = headers.iter();
    HttpRequest {
        id: "8132870911113222201".to_owned(),
        method: "POST".to_owned(),
        path: "/v1/a?q=1".to_owned(),
        host: "api.example.com".to_owned(),
        scheme: "http".to_owned(),
        headers: headers
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        ..HttpRequest::default()
    }
}

fn socket(address: &str) -> Option<EnvoyAddress> {
    Some(EnvoyAddress::SocketAddress(SocketAddress {
        address: address.to_owned(),
        ..SocketAddress::default()
    }))
}

fn check(source: Option<EnvoyAddress>, http: HttpRequest) -> Result<Asked, Malformed> {
    let source = Peer {
        address: Some(CoreAddress { address: source }),
        ..Peer::default()
    };
    let request = Request {
        time: None,
        http: Some(http),
    };
    let attributes = AttributeContext {
        source: Some(source),
        request: Some(request),
        ..AttributeContext::default()
    };
    let check = CheckRequest {
        attributes: Some(attributes),
    };
    read(&check, &settings())
}

fn from_envoy(headers: &[(&str, &str)]) -> Asked {
    check(socket("192.0.2.7"), http(headers)).unwrap()
}

#[test]
fn a_check_is_the_original_request() {
    let bearer = format!("Bearer {ONE}");
    let asked = from_envoy(&[
        (":method", "POST"),
        (":path", "/v1/a?q=1"),
        (":authority", "api.example.com"),
        (":scheme", "http"),
        ("authorization", &bearer),
        ("user-agent", "sync/1.4"),
        ("x-forwarded-proto", "http"),
        ("x-envoy-internal", "true"),
        ("x-request-id", "r-1"),
        ("X_Keyward_Subject", "boss"),
    ]);
    assert_eq!(asked.origin.profile, Profile::Grpc);
    assert_eq!(asked.origin.place, Some(Place::Bearer));
    assert_eq!(asked.origin.aliases, ["x_keyward_subject"]);
    assert_eq!(
        (asked.method.as_str(), asked.host.as_str()),
        ("POST", "api.example.com")
    );
    assert_eq!(asked.target, b"/v1/a?q=1");
    assert_eq!(asked.id.as_deref(), Some("r-1"));
    assert_eq!(asked.client.address, Some("192.0.2.7".parse().unwrap()));
    assert!(matches!(asked.presented, Presented::Credential(_)));
    let mut names: Vec<_> = asked
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["user-agent", "x-request-id"]);
}

#[test]
fn two_credentials_are_none_joined_or_apart() {
    let joined = format!("{ONE},{ONE}");
    let asked = from_envoy(&[("x-api-key", &joined)]);
    assert!(matches!(asked.presented, Presented::Ambiguous));
    let line = || EnvoyHeader {
        key: "x-api-key".to_owned(),
        raw_value: ONE.into(),
        ..EnvoyHeader::default()
    };
    for (lines, is_one) in [(vec![line()], true), (vec![line(), line()], false)] {
        let mut http = http(&[]);
        http.header_map = Some(EnvoyHeaders { headers: lines });
        let asked = check(socket("192.0.2.7"), http).unwrap();
        assert_eq!(matches!(asked.presented, Presented::Credential(_)), is_one);
        assert_eq!(matches!(asked.presented, Presented::Ambiguous), !is_one);
    }
}

#[test]
fn the_source_is_the_peer() {
    let forwarded = [("x-forwarded-for", "203.0.113.9, 192.0.2.8")];
    for (source, expected) in [
        (socket("192.0.2.7"), Some("192.0.2.7")),
        (socket("::ffff:192.0.2.7"), Some("192.0.2.7")),
        (socket("10.0.0.2"), Some("192.0.2.8")),
        (Some(EnvoyAddress::Pipe(Pipe::default())), Some("192.0.2.8")),
        (
            Some(EnvoyAddress::EnvoyInternalAddress(
                EnvoyInternalAddress::default(),
            )),
            None,
        ),
        (None, None),
    ] {
        let asked = check(source.clone(), http(&forwarded)).unwrap();
        let expected = expected.map(|it| it.parse().unwrap());
        assert_eq!(asked.client.address, expected, "{source:?}");
    }
    assert!(check(socket("localhost"), http(&[])).is_err());
    assert!(check(socket(""), http(&[])).is_err());
}

#[test]
fn what_is_missing_or_disagrees_is_malformed() {
    let mut checks = Vec::new();
    let mut add = |change: &dyn Fn(&mut HttpRequest)| {
        let mut http = http(&[]);
        change(&mut http);
        checks.push(http);
    };
    add(&|http| http.method.clear());
    add(&|http| http.path.clear());
    add(&|http| http.host.clear());
    add(&|http| http.path = "http://other.test/".to_owned());
    let mut header = |name: &str, value: &str| {
        add(&|http| {
            http.headers.insert(name.to_owned(), value.to_owned());
        });
    };
    header(":path", "/b");
    header(":method", "GET");
    header(":authority", "other.test");
    header("a b", "");
    header("", "");
    header("a", "b\r\nc: d");
    add(&|http| {
        let names = 0..=HEADER_LINES_MAX;
        http.headers = names
            .map(|name| (format!("a{name}"), String::new()))
            .collect();
    });
    add(&|http| {
        let line = EnvoyHeader::default();
        http.header_map = Some(EnvoyHeaders {
            headers: vec![line],
        });
    });
    add(&|http| {
        let line = EnvoyHeader {
            key: "a".to_owned(),
            ..EnvoyHeader::default()
        };
        http.headers.insert("b".to_owned(), String::new());
        http.header_map = Some(EnvoyHeaders {
            headers: vec![line],
        });
    });
    for http in checks {
        let shown = format!("{http:?}");
        assert!(check(socket("192.0.2.7"), http).is_err(), "{shown}");
    }
    assert!(read(&CheckRequest::default(), &settings()).is_err());
}

/// The headers of a response, by name.
fn texts(headers: &[HeaderValueOption]) -> Vec<(&str, &str)> {
    let overwrite = HeaderAppendAction::OverwriteIfExistsOrAdd;
    assert!(headers.iter().all(|it| it.append_action() == overwrite));
    let headers = headers.iter().filter_map(|it| it.header.as_ref());
    headers
        .map(|it| (it.key.as_str(), it.value.as_str()))
        .collect()
}

fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Answer {
    let headers = headers.iter();
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect(),
        body: b"{}".to_vec(),
    }
}

#[test]
fn an_allow_sets_the_upstreams_headers_and_takes_the_others_away() {
    let answer = answer(
        200,
        &[
            ("cache-control", "no-store"),
            ("x-keyward-subject", "sync"),
            ("keyward-key-status", "deprecated"),
        ],
    );
    let key = ("x-api-key", ONE);
    let asked = from_envoy(&[key, ("x-keyward-subject", "a"), ("x-keyward_subject", "b")]);
    let response = respond(&answer, &asked.origin, &settings());
    assert_eq!(response.status.unwrap().code, 0);
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else {
        panic!("no allow");
    };
    assert_eq!(texts(&ok.headers), [("x-keyward-subject", "sync")]);
    assert_eq!(
        texts(&ok.response_headers_to_add),
        [("keyward-key-status", "deprecated")]
    );
    let removed = |name: &str| ok.headers_to_remove.iter().any(|it| it == name);
    for name in [
        "x-api-key",
        "x-keyward_subject",
        "x_keyward_subject",
        "x.keyward.key.id",
    ] {
        assert!(removed(name), "{name}");
    }
    assert!(!removed("x-keyward-subject") && !removed("authorization"));
    assert!(ok.query_parameters_to_remove.is_empty());
}

#[test]
fn a_key_in_the_query_is_taken_away() {
    let mut settings = settings();
    settings.credential.query = Some("api_key".to_owned());
    let origin = Origin {
        place: Some(Place::Query),
        ..Origin::of(Profile::Grpc)
    };
    let response = respond(&answer(200, &[]), &origin, &settings);
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else {
        panic!("no allow");
    };
    assert_eq!(ok.query_parameters_to_remove, ["api_key"]);
}

#[test]
fn every_denial_is_a_denied_response() {
    for (status, code) in [(401, 16), (403, 7), (429, 8), (503, 14)] {
        let answer = answer(status, &[("retry-after", "7")]);
        let response = respond(&answer, &Origin::of(Profile::Grpc), &settings());
        assert_eq!(response.status.unwrap().code, code);
        let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else {
            panic!("not denied");
        };
        assert_eq!(denied.status.unwrap().code, i32::from(status));
        assert_eq!(texts(&denied.headers), [("retry-after", "7")]);
        assert_eq!(denied.body, "{}");
    }
}

proptest! {
    #[test]
    fn any_check_is_read_or_refused(
        name in ".{0,12}", value in ".{0,12}", path in ".{0,12}", source in ".{0,12}",
    ) {
        let mut http = http(&[(&name, &value)]);
        http.path = path;
        if let Ok(asked) = check(socket(&source), http) {
            let _ = asked.into_request(crate::timestamp::Timestamp::from_millis(0));
        }
    }
}
