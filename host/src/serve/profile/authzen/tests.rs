//! AuthZEN, by its standard's examples and by what no call may have.

use http::{Method, Uri};
use proptest::prelude::*;

use super::*;
use crate::decision::trace::Answer as Fact;
use crate::timestamp::Timestamp;

const ONE: &str = "kw_live_k7Qp2mXw9LaR_0123456789abcdefghijABCDEFGHIJ01_2se4Vx";

fn call(profile: Profile, body: &str) -> Result<Call, Malformed> {
    let mut headers = HeaderMap::new();
    headers.insert(REQUEST_ID, HeaderValue::from_static("r-1"));
    headers.insert(
        "authorization",
        HeaderValue::from_static("Bearer the-callers-own"),
    );
    let head = Head {
        method: &Method::POST,
        uri: &Uri::from_static("/access/v1/evaluation"),
        headers: &headers,
        peer: Some("10.0.0.1".parse().unwrap()),
    };
    read(profile, head, body.as_bytes())
}

fn asked(body: &str) -> Result<Asked, Malformed> {
    match call(Profile::AuthzenOne, body)? {
        Call::One(asked) => Ok(*asked),
        Call::Many(..) => panic!("several"),
    }
}

const SUBJECT: &str = r#""subject":{"type":"user","id":"alice@acmecorp.com"}"#;
const ACTION: &str = r#""action":{"name":"can_read"}"#;
const RESOURCE: &str = r#""resource":{"type":"document","id":"boxcarring.md"}"#;

#[test]
fn type_and_action_are_the_required_scope() {
    let body = format!(
        r#"{{"subject":{{"type":"user","id":"alice","properties":{{"credential":"{ONE}",
            "ip_address":"172.217.22.14","department":"Sales","level":3,"on":true,"load":0.5}}}},
            {ACTION},{RESOURCE},"context":{{"time":"1985-10-26T01:22-07:00","tags":["a","b"]}},
            "page":null,"other":{{}}}}"#
    );
    let asked = asked(&body).unwrap();
    assert_eq!(asked.origin, Origin::of(Profile::AuthzenOne));
    assert!(matches!(asked.presented, Presented::Credential(_)));
    let request = asked.into_request(Timestamp::from_millis(0)).unwrap();
    assert_eq!(request.id().map(|id| &**id), Some("r-1"));
    assert_eq!(
        request.required_scope().map(|it| &**it),
        Some("document:can_read")
    );
    assert_eq!(request.source(), Some("172.217.22.14".parse().unwrap()));
    let client = request.client().unwrap();
    assert_eq!((client.address, client.chain.len()), (request.source(), 0));
    assert_eq!(&**request.path().unwrap().text(), "/access/v1/evaluation");
    for (name, value) in [
        ("subject.id", Fact::Text("alice".into())),
        ("subject.type", Fact::Text("user".into())),
        ("subject.properties.department", Fact::Text("Sales".into())),
        ("subject.properties.level", Fact::Integer(3)),
        ("subject.properties.on", Fact::Flag(true)),
        ("subject.properties.load", Fact::Absent),
        ("subject.properties.credential", Fact::Absent),
        ("action.name", Fact::Text("can_read".into())),
        ("resource.id", Fact::Text("boxcarring.md".into())),
        ("context.tags", Fact::Texts(["a".into(), "b".into()].into())),
    ] {
        assert_eq!(request.attribute(name), value, "{name}");
    }
}

#[test]
fn a_route_is_asked_of_the_route_table() {
    let body = |properties: &str| {
        format!(
            r#"{{{SUBJECT},"action":{{"name":"get"}},"resource":{{"type":"route",
                "id":"/users/{{id}}"{properties}}}}}"#
        )
    };
    let properties = r#","properties":{"path":"/users/7?q","hostname":"Api.Example.com","x":{}}"#;
    for (properties, host, path) in [
        ("", "", "/users/{id}"),
        (properties, "api.example.com", "/users/7"),
    ] {
        let asked = asked(&body(properties)).unwrap();
        assert!(matches!(asked.presented, Presented::None));
        let request = asked.into_request(Timestamp::from_millis(0)).unwrap();
        assert_eq!((&**request.method(), &**request.host()), ("GET", host));
        assert_eq!(&**request.path().unwrap().text(), path);
        assert_eq!((request.required_scope(), request.source()), (None, None));
    }
}

#[test]
fn what_is_no_evaluation_is_refused() {
    let deep = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
    let many = |count| {
        format!(
            r#"{{{SUBJECT},{ACTION},"evaluations":[{}]}}"#,
            vec!["{}"; count].join(",")
        )
    };
    for body in [
        "",
        "[]",
        "1",
        "{",
        "{}",
        "{} {}",
        &deep,
        &format!("{{{SUBJECT},{ACTION}}}"),
        &format!("{{{SUBJECT},{RESOURCE}}}"),
        &format!("{{{ACTION},{RESOURCE}}}"),
        &format!("{{{SUBJECT},{SUBJECT},{ACTION},{RESOURCE}}}"),
        &format!(r#"{{{SUBJECT},"action":{{"name":"a","name":"b"}},{RESOURCE}}}"#),
        &format!(r#"{{{SUBJECT},"action":{{"name":1}},{RESOURCE}}}"#),
        &format!(r#"{{{SUBJECT},"action":"read",{RESOURCE}}}"#),
        &format!(r#"{{"subject":{{"type":"user"}},{ACTION},{RESOURCE}}}"#),
        &format!(r#"{{"subject":{{"id":"a"}},{ACTION},{RESOURCE}}}"#),
        &format!(r#"{{{SUBJECT},{ACTION},"resource":{{"type":"a"}}}}"#),
        &format!(r#"{{{SUBJECT},{ACTION},{RESOURCE},"context":[]}}"#),
        &format!(r#"{{"subject":{{"type":"u","id":"a","properties":[]}},{ACTION},{RESOURCE}}}"#),
        &format!(
            r#"{{"subject":{{"type":"u","id":"a","properties":{{"ip_address":"x"}}}},{ACTION},{RESOURCE}}}"#
        ),
        &format!(r#"{{"subject":{{"type":"u","id":"{ONE}"}},{ACTION},{RESOURCE}}}"#),
        &format!(r#"{{{SUBJECT},{ACTION},{RESOURCE},"context":{{"a":["{ONE}"]}}}}"#),
        &format!(r#"{{{SUBJECT},{ACTION},{RESOURCE},"context":{{"{ONE}":1}}}}"#),
        &format!("{}{}", " ".repeat(BODY_MAX_BYTES), many(1)),
    ] {
        let error = asked(body).map(|it| format!("{it:?}"));
        assert!(error.is_err(), "{body}: {error:?}");
        assert!(call(Profile::AuthzenMany, body).is_err(), "{body}");
        let answer = refusal(error.unwrap_err(), Some("r-1"));
        assert_eq!(answer.status, 400);
        assert_eq!(answer.headers[REQUEST_ID], "r-1");
        assert!(
            !String::from_utf8(answer.body)
                .unwrap()
                .contains("0123456789abcdef")
        );
    }
    assert!(call(Profile::AuthzenMany, &many(EVALUATIONS_MAX)).is_ok());
    assert!(call(Profile::AuthzenMany, &many(EVALUATIONS_MAX + 1)).is_err());
    for options in [
        r#"{"evaluations_semantic":"all"}"#,
        r#"{"evaluations_semantic":1}"#,
    ] {
        let body = format!(
            r#"{{{SUBJECT},{ACTION},{RESOURCE},"options":{options},"evaluations":[{{}}]}}"#
        );
        assert!(call(Profile::AuthzenMany, &body).is_err(), "{options}");
    }
    let body = format!(r#"{{{SUBJECT},{ACTION},{RESOURCE},"evaluations":{{}}}}"#);
    assert!(call(Profile::AuthzenMany, &body).is_err());
}

#[test]
fn a_credential_of_another_form_is_malformed() {
    for credential in ["1", "[]", "\"x\"", "{}", "\"Bearer x\""] {
        let body = format!(
            r#"{{"subject":{{"type":"u","id":"a","properties":{{"credential":{credential}}}}},{ACTION},{RESOURCE}}}"#
        );
        let presented = asked(&body).unwrap().presented;
        assert!(matches!(presented, Presented::Malformed), "{credential}");
    }
}

#[test]
fn several_share_what_is_above_them() {
    let body = format!(
        r#"{{{SUBJECT},{ACTION},"context":{{"a":1}},"evaluations":[
            {RESOURCE},
            {{"resource":{{"type":"book","id":"1"}},"context":{{"b":2}}}},
            {{"resource":{{"type":"book","id":"2"}},"action":{{"name":"can_edit"}}}},
            {{"action":{{"name":"can_edit"}}}},
            7
        ]}}"#
    )
    .replace(RESOURCE, &format!("{{{RESOURCE}}}"));
    let Call::Many(evaluations, semantic) = call(Profile::AuthzenMany, &body).unwrap() else {
        panic!("one");
    };
    assert_eq!(semantic, Semantic::ExecuteAll);
    let scopes: Vec<_> = evaluations
        .iter()
        .map(|it| it.as_ref().ok().and_then(|it| it.required_scope.as_deref()))
        .collect();
    let expected = [
        Some("document:can_read"),
        Some("book:can_read"),
        Some("book:can_edit"),
        None,
        None,
    ];
    assert_eq!(scopes, expected);
    let second = evaluations[1].as_ref().unwrap();
    assert!(second.attributes.contains_key("context.b"));
    assert!(!second.attributes.contains_key("context.a"));
    let error = malformed(*evaluations[3].as_ref().unwrap_err());
    assert_eq!(error["decision"], false);
    assert_eq!(error["context"]["error"]["status"], 400);
    // Without evaluations it is one.
    for more in ["", r#","evaluations":[]"#, r#","evaluations":null"#] {
        let body = format!("{{{SUBJECT},{ACTION},{RESOURCE}{more}}}");
        assert!(
            matches!(call(Profile::AuthzenMany, &body), Ok(Call::One(_))),
            "{more}"
        );
    }
}

#[test]
fn the_semantic_says_when_to_end() {
    use Permission::{Allow, Deny};
    for (name, after_allow, after_deny) in [
        ("execute_all", false, false),
        ("deny_on_first_deny", false, true),
        ("permit_on_first_permit", true, false),
    ] {
        let body = format!(
            r#"{{{SUBJECT},{ACTION},{RESOURCE},"options":{{"evaluations_semantic":"{name}","x":1}},"evaluations":[{{}}]}}"#
        );
        let Ok(Call::Many(_, semantic)) = call(Profile::AuthzenMany, &body) else {
            panic!("{name}");
        };
        let ends = (semantic.ends_after(Allow), semantic.ends_after(Deny));
        assert_eq!(ends, (after_allow, after_deny), "{name}");
    }
}

#[test]
fn answers_are_those_of_the_standard() {
    let answer = one(&json!({"decision": true}), None);
    assert_eq!(
        (answer.status.as_u16(), &*answer.body),
        (200, &br#"{"decision":true}"#[..])
    );
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(!answer.headers.contains_key(REQUEST_ID));
    let answer = many(
        &[json!({"decision": false}), json!({"decision": true})],
        Some("r-1"),
    );
    let body = br#"{"evaluations":[{"decision":false},{"decision":true}]}"#;
    assert_eq!(answer.body, body);
    assert_eq!(answer.headers[REQUEST_ID], "r-1");
}

proptest! {
    #[test]
    fn any_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        let headers = HeaderMap::new();
        let uri = Uri::from_static("/access/v1/evaluation");
        let head = Head { method: &Method::POST, uri: &uri, headers: &headers, peer: None };
        let _ = read(Profile::AuthzenMany, head, &body);
    }

    #[test]
    fn any_texts_make_a_request_or_none(kind in ".{0,8}", id in ".{0,8}", name in ".{0,8}") {
        let body = json!({
            "subject": {"type": kind, "id": id},
            "action": {"name": name},
            "resource": {"type": if id.len() > 4 { "route" } else { &*kind }, "id": id},
        });
        let asked = asked(&body.to_string()).unwrap();
        let _ = asked.into_request(Timestamp::from_millis(0));
    }
}
