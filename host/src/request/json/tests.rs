//! The JSON form: what is read, what is refused, and that no error quotes a value.

use super::*;
use crate::decision::trace::Answer;
use crate::route::path::PathRefusal;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_millis(1_000);
/// A well-formed credential.
const SECRET: &str = "kw_live_k7Qp2mXw9LaR_0123456789abcdefghijABCDEFGHIJ01_2se4Vx";

fn read(line: &str) -> Result<AccessRequest, RequestError> {
    AccessRequest::from_json(line, NOW)
}

/// The secret of it alone.
const SECRET_PART: &str = "0123456789abcdefghijABCDEFGHIJ01";

/// A request with these members besides a method and a path.
fn with(members: &str) -> Result<AccessRequest, RequestError> {
    read(&format!(r#"{{"method":"GET","path":"/a",{members}}}"#))
}

fn error(members: &str) -> String {
    with(members)
        .err()
        .unwrap_or_else(|| panic!("{members} was read"))
        .to_string()
}

#[test]
fn reads_every_member() {
    let request = read(
        r#"{"id":"r1","time":"2026-11-23T10:00:00Z","key":"k7Qp2mXw9LaR","method":"get",
            "host":"API.example.com:443","path":"/inventory/./42?x=y",
            "headers":{"User-Agent":["sync/1.4","two"],"empty":[]},"source":"::ffff:203.0.113.9",
            "attributes":{"geo.country":"NG","n":-3,"vpn":false,"tags":["a","b"],"none":[],
              "at":{"instant":"2026-11-23T10:00:00.5Z"},"hop":{"address":"2001:db8::1"}},
            "required_scope":"inventory:read"}"#,
    )
    .unwrap();
    assert_eq!(request.id().map(|id| &**id), Some("r1"));
    assert_eq!(request.time().to_string(), "2026-11-23T10:00:00Z");
    assert!(matches!(request.presented(), Presented::KeyId(id) if &**id == "k7Qp2mXw9LaR"));
    assert_eq!(
        (&**request.method(), &**request.host()),
        ("GET", "api.example.com")
    );
    assert_eq!(&**request.path().unwrap().text(), "/inventory/42");
    assert_eq!(
        *request.header("user-agent"),
        ["sync/1.4".into(), "two".into()]
    );
    assert_eq!(request.source().unwrap().to_string(), "203.0.113.9");
    assert_eq!(
        request.required_scope().map(|it| &**it),
        Some("inventory:read")
    );
    for (name, answer) in [
        ("geo.country", Answer::Text("NG".into())),
        ("n", Answer::Integer(-3)),
        ("vpn", Answer::Flag(false)),
        ("tags", Answer::Texts(vec!["a".into(), "b".into()].into())),
        ("none", Answer::Texts(vec![].into())),
        (
            "at",
            Answer::Instant(Timestamp::parse("2026-11-23T10:00:00.500Z").unwrap()),
        ),
        ("hop", Answer::Address("2001:db8::1".parse().unwrap())),
        ("other", Answer::Absent),
    ] {
        assert_eq!(request.attribute(name), answer, "{name}");
    }
}

#[test]
fn what_is_left_out_is_absent() {
    for line in [
        r#"{"method":"GET","path":"/a"}"#,
        r#"{"method":"GET","path":"/a","id":null,"time":null,"credential":null,"key":null,
            "host":null,"headers":null,"source":null,"attributes":null,"required_scope":null}"#,
    ] {
        let request = read(line).unwrap();
        assert_eq!(request.time(), NOW);
        assert!(matches!(request.presented(), Presented::None));
        assert_eq!(
            (request.id(), &**request.host(), request.source()),
            (None, "", None)
        );
        assert_eq!(request.required_scope(), None);
    }
}

#[test]
fn says_what_was_presented() {
    let presented = |members: &str| with(members).unwrap().presented().clone();
    for members in [
        format!(r#""credential":"{SECRET}","key":"k7Qp2mXw9LaR""#),
        r#""credential":"","key":"""#.to_owned(),
    ] {
        assert!(
            matches!(presented(&members), Presented::Ambiguous),
            "{members}"
        );
    }
    let members = format!(r#""credential":"{SECRET}""#);
    assert!(matches!(presented(&members), Presented::Credential(_)));
    for text in ["", "kw_", "Bearer x", "k7Qp2mXw9LaR"] {
        let members = format!(r#""credential":"{text}""#);
        assert!(
            matches!(presented(&members), Presented::Malformed),
            "{text}"
        );
    }
    // In the place of an id, a credential would be recorded.
    for secret in [SECRET, "kw_live_", SECRET_PART, &"k".repeat(200)] {
        let misplaced = presented(&format!(r#""key":"{secret}""#));
        assert!(matches!(misplaced, Presented::Malformed), "{secret}");
    }
    assert!(matches!(
        presented(r#""key":"unknown""#),
        Presented::KeyId(_)
    ));
    assert!(matches!(
        presented(r#""credential":null,"key":"x""#),
        Presented::KeyId(_)
    ));
}

#[test]
fn a_path_that_is_refused_is_a_denial_and_no_error() {
    let refusal = |path: &str| {
        read(&format!(r#"{{"method":"GET","path":"{path}"}}"#))
            .unwrap()
            .path()
            .err()
    };
    assert_eq!(refusal("/a%2fb"), Some(PathRefusal::EncodedSlash));
    assert_eq!(refusal("a"), Some(PathRefusal::NotAbsolute));
    assert_eq!(refusal("/\\u0000"), Some(PathRefusal::ControlCharacter));
    assert_eq!(refusal(""), Some(PathRefusal::Empty));
}

#[test]
fn names_the_member_that_is_wrong() {
    for (members, message) in [
        (
            r#""requird_scope":"a:b""#,
            "unknown field `requird_scope`; did you mean `required_scope`?",
        ),
        (
            r#""Host":"a""#,
            "unknown field `Host`; did you mean `host`?",
        ),
        (r#""zzz":1"#, "unknown field `zzz`"),
        (r#""a\u001bb":1"#, r"unknown field `a\u{1b}b`"),
        (r#""method":"PUT""#, "`method` stands twice"),
        (r#""id":null,"id":"a""#, "`id` stands twice"),
        (r#""id":1"#, "`id` is not a text"),
        (r#""credential":[]"#, "`credential` is not a text"),
        (r#""credential":{"a":1}"#, "`credential` is not a text"),
        (
            r#""time":"2026-11-23""#,
            "`time` is not a time in UTC such as 2026-11-23T10:00:00.000Z",
        ),
        (r#""time":1"#, "`time` is not a text"),
        (
            r#""source":"10.0.0.1:80""#,
            "`source` is not an IP address; zone ids, ports and leading zeros are not accepted",
        ),
    ] {
        assert_eq!(error(members), message, "{members}");
    }
}

#[test]
fn names_the_header_or_attribute_that_is_wrong() {
    for (members, message) in [
        (
            r#""headers":[]"#,
            "`headers` is not an object of lists of texts",
        ),
        (
            r#""headers":{"a":"b"}"#,
            "`headers.a` is not a list of texts",
        ),
        (
            r#""headers":{"a":[1]}"#,
            "`headers.a` is not a list of texts",
        ),
        (
            r#""headers":{"A":["1"],"a":["2"]}"#,
            "the header `a` stands twice; give its values as one list",
        ),
        (
            r#""headers":{"a":["1"],"a":["2"]}"#,
            "the header `a` stands twice; give its values as one list",
        ),
        (
            r#""headers":{"a b":["1"]}"#,
            "a header has a name that is none; one is letters, digits and `-`",
        ),
        (
            r#""headers":{"a":["\n"]}"#,
            "the header `a` has a value with a control character",
        ),
        (r#""attributes":"a""#, "`attributes` is not an object"),
        (
            r#""attributes":{"a":1,"a":1}"#,
            "`attributes.a` stands twice",
        ),
        (
            r#""attributes":{"a":{"instant":"x"}}"#,
            "`attributes.a` is not a time in UTC such as 2026-11-23T10:00:00.000Z",
        ),
        (
            r#""host":"a b""#,
            "`host` is not a host; write a name in ASCII of at most 255 bytes, an IPv4 address, \
             or an IPv6 address in brackets",
        ),
    ] {
        assert_eq!(error(members), message, "{members}");
    }
}

#[test]
fn a_line_is_an_object_with_method_and_path() {
    for (line, message) in [
        ("[]", "not an object of JSON"),
        ("\"a\"", "not an object of JSON"),
        ("{}", "`method` is missing"),
        (r#"{"method":null,"path":"/"}"#, "`method` is missing"),
        (r#"{"method":"GET"}"#, "`path` is missing"),
        ("{", "not JSON: it ends too early at column 1"),
        (r#"{"a":01}"#, "not JSON: it cannot be read on at column 7"),
        (r#"{"a":1,}"#, "not JSON: it cannot be read on at column 8"),
        ("{} {}", "not JSON: it cannot be read on at column 4"),
    ] {
        assert_eq!(read(line).err().unwrap().to_string(), message, "{line}");
    }
}

#[test]
fn refuses_attribute_values_without_a_meaning() {
    for value in [
        "null",
        "1.0",
        "1e3",
        "9223372036854775808",
        "-9223372036854775809",
        "[1]",
        "[null]",
        "[[\"a\"]]",
        "{}",
        r#"{"other":"x"}"#,
        r#"{"instant":1}"#,
        r#"{"instant":"2026-11-23T10:00:00Z","address":"::1"}"#,
        r#"{"instant":"2026-11-23T10:00:00Z","instant":"2026-11-23T10:00:00Z"}"#,
    ] {
        let message = error(&format!(r#""attributes":{{"a":{value}}}"#));
        assert!(
            message.starts_with("`attributes.a` is not a text, a whole"),
            "{value}: {message}"
        );
    }
    for value in ["9223372036854775807", "-9223372036854775808"] {
        assert!(
            with(&format!(r#""attributes":{{"a":{value}}}"#)).is_ok(),
            "{value}"
        );
    }
}

#[test]
fn depth_is_bounded() {
    let deep = format!(
        r#""attributes":{{"a":{}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    assert!(matches!(
        with(&deep),
        Err(RequestError::Json(JsonError::Syntax { .. }))
    ));
}

#[test]
fn no_error_quotes_a_value() {
    let templates = [
        r#"{"credential":"$","#,
        r#"{"credential":"$"}"#,
        r#"{"credential":["$"],"method":"GET","path":"/"}"#,
        r#"{"credential":$,"method":"GET","path":"/"}"#,
        r#"{"credential":"$","credential":"$","method":"GET","path":"/"}"#,
        r#"{"credentail":"$","method":"GET","path":"/"}"#,
        r#"{"$":1,"method":"GET","path":"/"}"#,
        r#"{"id":["$"],"method":"GET","path":"/"}"#,
        r#"{"method":"$ ","path":"/"}"#,
        r#"{"method":"GET","path":["$"]}"#,
        r#"{"method":"GET","path":"/","host":"$@a"}"#,
        r#"{"method":"GET","path":"/","time":"$"}"#,
        r#"{"method":"GET","path":"/","source":"$"}"#,
        r#"{"method":"GET","path":"/","headers":"$"}"#,
        r#"{"method":"GET","path":"/","headers":{"a":"$"}}"#,
        r#"{"method":"GET","path":"/","headers":{"a":["$\n"]}}"#,
        r#"{"method":"GET","path":"/","headers":{"$":1}}"#,
        r#"{"method":"GET","path":"/","headers":{"$":[],"$":[]}}"#,
        r#"{"method":"GET","path":"/","headers":{"$":["\n"]}}"#,
        r#"{"method":"GET","path":"/","headers":{"$ ":[""]}}"#,
        r#"{"method":"GET","path":"/","attributes":{"a":{"instant":"$"}}}"#,
        r#"{"method":"GET","path":"/","attributes":{"a":{"address":"$"}}}"#,
        r#"{"method":"GET","path":"/","attributes":{"a":{"$":"$"}}}"#,
        r#"{"method":"GET","path":"/","attributes":{"a":[["$"]]}}"#,
        r#"{"method":"GET","path":"/","attributes":{"$":null}}"#,
        r#"{"method":"GET","path":"/","attributes":{"$":1,"$":1}}"#,
        r#""$""#,
        r#"$"#,
        r#"["$"]"#,
    ];
    for template in templates {
        for secret in [SECRET, SECRET_PART] {
            let line = template.replace('$', secret);
            let Err(error) = read(&line) else {
                panic!("{line} was read");
            };
            let told = format!("{error} {error:?}").to_lowercase();
            assert!(!told.contains("0123456789abcdef"), "{template}: {told}");
        }
    }
}

proptest! {
    #[test]
    fn any_line_is_read_or_refused_without_its_secret(
        pieces in proptest::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ":", ",", "\"", "\"credential\":", "\"method\":\"GET\"",
                "\"path\":\"/\"", "\"headers\":", "\"attributes\":", "\"key\":", "null", "1", "1.5",
                "\"0123456789abcdefghijABCDEFGHIJ01\"", " ", "\\",
            ]),
            0..16,
        )
    ) {
        for line in [pieces.concat(), format!("{{{}}}", pieces.join(","))] {
            if let Err(error) = read(&line) {
                let told = format!("{error} {error:?}");
                prop_assert!(!told.contains("0123456789abcdef"), "{}", line);
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused(line in "\\PC{0,64}") {
        let _ = read(&line);
    }
}
