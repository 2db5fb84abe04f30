//! What a request normalises, bounds and hides.

use super::*;

fn parts() -> RequestParts {
    RequestParts::new(
        Timestamp::from_millis(1),
        Presented::None,
        "get",
        "/a/../b?c",
    )
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::Text(text.into())
}

#[test]
fn normalises_what_it_is_made_of() {
    let request = AccessRequest::new(RequestParts {
        id: Some("r1".into()),
        host: "API.example.com:443".into(),
        headers: vec![
            ("User-Agent".into(), "one".into()),
            ("accept".into(), "x".into()),
            ("USER-AGENT".into(), "two\tthree".into()),
        ],
        source: Some("::ffff:192.0.2.1".parse().unwrap()),
        attributes: BTreeMap::from([("geo.country".into(), text("NG"))]),
        required_scope: Some("Not A Scope".into()),
        ..parts()
    })
    .unwrap();
    assert_eq!(request.id().map(|id| &**id), Some("r1"));
    assert_eq!(request.time().millis(), 1);
    assert!(matches!(request.presented(), Presented::None));
    assert_eq!(
        (&**request.method(), &**request.host()),
        ("GET", "api.example.com")
    );
    assert_eq!(&**request.path().unwrap().text(), "/b");
    assert_eq!(
        *request.header("user-agent"),
        ["one".into(), "two\tthree".into()]
    );
    assert!(request.header("referer").is_empty() && request.header("User-Agent").is_empty());
    assert_eq!(request.source().unwrap().to_string(), "192.0.2.1");
    assert_eq!(request.attribute("geo.country"), Answer::Text("NG".into()));
    assert_eq!(request.attribute("geo"), Answer::Absent);
    assert_eq!(
        request.required_scope().map(|it| &**it),
        Some("Not A Scope")
    );
}

#[test]
fn a_refused_path_is_a_request_all_the_same() {
    let target = b"/a%2fb".to_vec();
    let request = AccessRequest::new(RequestParts { target, ..parts() }).unwrap();
    assert_eq!(request.path(), Err(PathRefusal::EncodedSlash));
    let target = b"/\xff".to_vec();
    let request = AccessRequest::new(RequestParts { target, ..parts() }).unwrap();
    assert_eq!(request.path(), Err(PathRefusal::NotUtf8));
}

#[test]
fn no_header_with_a_credential_can_be_read() {
    let names = [
        "Authorization",
        "PROXY-authorization",
        "X-Api-Key",
        "Cookie",
        "x-trace",
    ];
    let headers = names
        .map(|name| (name.to_owned(), "hunter2".to_owned()))
        .to_vec();
    let request = AccessRequest::new(RequestParts { headers, ..parts() }).unwrap();
    for name in CREDENTIAL_HEADERS {
        assert!(request.header(name).is_empty(), "{name}");
    }
    assert_eq!(request.header("x-trace").len(), 1);
    assert!(!format!("{request:?}").contains("hunter2"));
}

#[test]
fn cannot_be_printed_with_what_may_be_secret() {
    let parts = RequestParts {
        headers: vec![("x-token".into(), "hunter2".into())],
        attributes: BTreeMap::from([("a".into(), text("hunter2"))]),
        target: b"/a?token=hunter2".to_vec(),
        ..parts()
    };
    assert!(!format!("{parts:?}").contains("hunter2"));
    let request = AccessRequest::new(parts).unwrap();
    let printed = format!("{request:?}");
    assert!(
        !printed.contains("hunter2") && printed.contains("/a"),
        "{printed}"
    );
}

#[test]
fn a_clone_is_the_same_request() {
    let request = AccessRequest::new(parts()).unwrap();
    assert!(std::ptr::eq(request.method(), request.clone().method()));
}

/// Checks that one change still makes a request, and gives the error of another.
#[track_caller]
fn bound(
    fits: impl FnOnce(&mut RequestParts),
    over: impl FnOnce(&mut RequestParts),
) -> RequestError {
    let (mut fitting, mut beyond) = (parts(), parts());
    fits(&mut fitting);
    over(&mut beyond);
    assert_eq!(AccessRequest::new(fitting).err(), None);
    AccessRequest::new(beyond).err().unwrap()
}

#[test]
fn texts_are_bounded() {
    let id = |bytes: usize| move |it: &mut RequestParts| it.id = Some("i".repeat(bytes));
    assert_eq!(bound(id(256), id(257)), RequestError::Id);
    let scope = |bytes| move |it: &mut RequestParts| it.required_scope = Some("s".repeat(bytes));
    assert_eq!(
        bound(scope(1_024), scope(1_025)),
        RequestError::RequiredScope
    );
    let method = |text: &'static str| move |it: &mut RequestParts| it.method = text.into();
    assert_eq!(
        bound(method("m-search"), method("")),
        RequestError::Method(MethodError)
    );
    assert_eq!(
        bound(method("PATCH"), method("GET /")),
        RequestError::Method(MethodError)
    );
    let host = |text: &'static str| move |it: &mut RequestParts| it.host = text.into();
    assert_eq!(
        bound(host("a:80"), host("a/b")),
        RequestError::Host(HostError)
    );
}

#[test]
fn headers_are_bounded() {
    let headers = |count: usize, value_bytes: usize| {
        move |it: &mut RequestParts| {
            let value = "v".repeat(value_bytes);
            it.headers = (0..count)
                .map(|index| (format!("h{index:03}"), value.clone()))
                .collect();
        }
    };
    assert_eq!(
        bound(headers(HEADERS_MAX, 0), headers(HEADERS_MAX + 1, 0)),
        RequestError::Headers
    );
    // 128 × (4 + 252) is 32 KiB.
    assert_eq!(
        bound(headers(128, 252), headers(128, 253)),
        RequestError::Headers
    );
    // Empty values cost as much as their name.
    let same = |count: usize| {
        move |it: &mut RequestParts| it.headers = vec![("h".into(), String::new()); count]
    };
    assert_eq!(
        bound(same(HEADERS_MAX_BYTES), same(HEADERS_MAX_BYTES + 1)),
        RequestError::Headers
    );
}

#[test]
fn headers_are_well_formed() {
    let value = |value: &'static str| {
        move |it: &mut RequestParts| it.headers = vec![("X".into(), value.into())]
    };
    let error = RequestError::HeaderValue("x".into());
    for text in ["a\r\nb", "\0", "\u{7f}", "\u{85}"] {
        assert_eq!(bound(value("a\té"), value(text)), error, "{text:?}");
    }
    let name = |name: &'static str| {
        move |it: &mut RequestParts| it.headers = vec![(name.into(), "v".into())]
    };
    for text in ["", "a b", "a:", "é", "a\n"] {
        assert_eq!(
            bound(name("x_y.z"), name(text)),
            RequestError::HeaderName,
            "{text:?}"
        );
    }
}

#[test]
fn attributes_are_bounded() {
    let attributes = |count: usize, value: AttributeValue| {
        move |it: &mut RequestParts| {
            it.attributes = (0..count)
                .map(|index| (format!("a{index:02}"), value.clone()))
                .collect();
        }
    };
    let number = AttributeValue::Integer(1);
    let over = bound(attributes(64, number.clone()), attributes(65, number));
    assert_eq!(over, RequestError::Attributes);
    // 64 × (3 + 253) is 16 KiB.
    let of_bytes = |bytes| attributes(64, text(&"v".repeat(bytes)));
    assert_eq!(
        bound(of_bytes(253), of_bytes(254)),
        RequestError::Attributes
    );
    // 3 + 4,095 × 4 is just below 16 KiB.
    let empty = |count| attributes(1, AttributeValue::Texts(vec!["".into(); count].into()));
    assert_eq!(bound(empty(4_095), empty(4_096)), RequestError::Attributes);
}

#[test]
fn a_client_is_bounded_and_is_the_source() {
    let source = "192.0.2.1".parse().ok();
    let with = |address, entries: usize, bytes: usize| {
        move |it: &mut RequestParts| {
            it.source = source;
            it.client = Some(Arc::new(Client {
                address,
                chain: vec!["a".repeat(bytes).into(); entries],
                ..Client::default()
            }));
        }
    };
    for over in [
        with(source, 33, 45),
        with(source, 32, 46),
        with(source, 1, 0),
        with(None, 0, 1),
        with("192.0.2.2".parse().ok(), 0, 1),
    ] {
        assert_eq!(bound(with(source, 32, 45), over), RequestError::Client);
    }
}

#[test]
fn what_cannot_be_read_says_where_it_came_from() {
    let malformed = |chain| {
        let client = Client {
            chain,
            ..Client::default()
        };
        AccessRequest::malformed(parts().time, "a test", Some(Arc::new(client)))
    };
    assert!(malformed(Vec::new()).client().is_some());
    assert!(malformed(vec!["".into()]).client().is_none());
}

#[test]
fn an_attribute_answers_with_its_own_type() {
    let address: Address = "192.0.2.1".parse().unwrap();
    let instant = Timestamp::from_millis(5);
    let texts: Arc<[Arc<str>]> = vec!["a".into(), "b".into()].into();
    for (value, answer) in [
        (AttributeValue::Address(address), Answer::Address(address)),
        (AttributeValue::Flag(true), Answer::Flag(true)),
        (AttributeValue::Instant(instant), Answer::Instant(instant)),
        (AttributeValue::Integer(-7), Answer::Integer(-7)),
        (text("t"), Answer::Text("t".into())),
        (
            AttributeValue::Texts(Arc::clone(&texts)),
            Answer::Texts(texts),
        ),
    ] {
        assert_eq!(Answer::from(&value), answer);
    }
}
