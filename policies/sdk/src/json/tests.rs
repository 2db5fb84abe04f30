//! The reader against what it should read, and against a general JSON library.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::*;

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: String,
    #[serde(default)]
    size: Option<u8>,
    #[serde(default)]
    shift: i16,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    pairs: Vec<(bool, Wrapped)>,
    #[serde(default)]
    map: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Off,
    Level(u8),
    Window {
        from: u8,
    },
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Wrapped(String);

fn same_value(text: &str) {
    let expected: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(from_str::<Value>(text), Ok(expected), "{text}");
}

#[test]
fn reads_what_a_general_library_reads() {
    for text in [
        "null",
        " true ",
        "\t[\n]\r\n",
        "{ }",
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        r#""""#,
        r#"[1,[2,[]],{"a":{"b":[null,false]},"c":"d"}]"#,
        r#"{ "a" : 1 , "b" : [ 1 , 2 ] }"#,
        r#""\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00 \u0000""#,
        "\"\u{7f}ä€😀\u{2028}\"",
        r#"{"":"","a b":"\u007f"}"#,
    ] {
        same_value(text);
    }
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    same_value(&nested(DEPTH_MAX));
    let error = from_str::<Value>(&nested(DEPTH_MAX + 1)).unwrap_err();
    assert_eq!(error.message(), "nested more than 32 levels deep");
    same_value(&format!(
        "[{}]",
        [nested(DEPTH_MAX - 1).as_str(); 40].join(",")
    ));
}

#[test]
fn refuses_what_a_general_library_refuses() {
    for text in [
        "",
        " ",
        "nul",
        "nulll",
        "truefalse",
        "True",
        "[",
        "]",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{",
        "}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1 "b":2}"#,
        "{1:2}",
        "{null:2}",
        "[1}",
        "{\"a\":1]",
        "01",
        "-",
        "-01",
        "+1",
        ".5",
        "1 1",
        "\"",
        "\"a",
        "\"\\",
        "\"\\x\"",
        "'a'",
        "\"\n\"",
        "\"\u{1f}\"",
        r#""\u12""#,
        r#""\u12g4""#,
        r#""\ud83d""#,
        r#""\ud83dx""#,
        r#""\ud83d\n""#,
        r#""\ud83d\u0041""#,
        r#""\ude00""#,
        "nan",
        "// a\n1",
        "\u{feff}1",
        "\u{a0}1",
    ] {
        assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
        assert!(from_str::<Value>(text).is_err(), "{text}");
    }
}

#[test]
fn knows_whole_numbers_only() {
    for (text, message) in [
        ("1.0", "not a whole number"),
        ("1e3", "not a whole number"),
        ("-0.5", "not a whole number"),
        ("18446744073709551616", "a number that is too large"),
        ("-9223372036854775809", "a number that is too small"),
    ] {
        assert_eq!(
            from_str::<Value>(text).unwrap_err().message(),
            message,
            "{text}"
        );
    }
    assert_eq!(from_str::<i64>("-0"), Ok(0));
}

#[test]
fn reads_settings_of_every_shape() {
    let text = r#"{"map": {"a": ["b"], "c": []}, "mode": {"window": {"from": 3}}, "name": "n",
        "pairs": [[true, "x"], [false, ""]], "shift": -300, "size": 255}"#;
    let expected = Settings {
        name: "n".to_owned(),
        size: Some(255),
        shift: -300,
        mode: Mode::Window { from: 3 },
        pairs: vec![
            (true, Wrapped("x".to_owned())),
            (false, Wrapped(String::new())),
        ],
        map: BTreeMap::from([
            ("a".to_owned(), vec!["b".to_owned()]),
            ("c".to_owned(), vec![]),
        ]),
    };
    assert_eq!(from_str(text), Ok(expected));
    for (mode, expected) in [(r#""off""#, Mode::Off), (r#"{"level": 7}"#, Mode::Level(7))] {
        let text = format!(r#"{{"name": "", "size": null, "mode": {mode}}}"#);
        let settings: Settings = from_str(&text).unwrap();
        assert_eq!((settings.mode, settings.size), (expected, None), "{text}");
    }
}

#[test]
fn an_error_says_where_and_what() {
    for (text, path, message) in [
        ("7", "", "expected struct Settings"),
        ("{}", "", "missing field `name`"),
        (r#"{"name": 7}"#, "/name", "expected a string"),
        (
            r#"{"name": "a", "name": "b"}"#,
            "",
            "duplicate field `name`",
        ),
        (
            r#"{"nam": "a"}"#,
            "",
            "unknown setting `nam`; expected `name`, `size`, `shift`, `mode`, `pairs`, `map`",
        ),
        (r#"{"size": 256}"#, "/size", "expected u8"),
        (r#"{"size": -1}"#, "/size", "expected u8"),
        (
            r#"{"mode": "on"}"#,
            "/mode",
            "unknown value `on`; expected `off`, `level`, `window`",
        ),
        (
            r#"{"mode": 7}"#,
            "/mode",
            "expected a text, or an object with one name",
        ),
        (r#"{"mode": {"level": "x"}}"#, "/mode/level", "expected u8"),
        (
            r#"{"mode": {"window": {"from": []}}}"#,
            "/mode/window/from",
            "expected u8",
        ),
        (
            r#"{"mode": {"level": 1, "off": 2}}"#,
            "/mode",
            "too many elements",
        ),
        (
            r#"{"pairs": [[true, "x"], [true]]}"#,
            "/pairs/1",
            "invalid length 1, expected a tuple of size 2",
        ),
        (
            r#"{"pairs": [[true, "x", 1]]}"#,
            "/pairs/0",
            "too many elements",
        ),
        (
            r#"{"pairs": [[true, 1]]}"#,
            "/pairs/0/1",
            "expected a string",
        ),
        (
            r#"{"map": {"a/b~": ["x", "y", {}]}}"#,
            "/map/a~1b~0/2",
            "expected a string",
        ),
        (r#"{"map": {"a": [tru]}}"#, "/map/a/0", "not JSON"),
        (r#"{"name": "a"} x"#, "", "more text after the value"),
    ] {
        let error = from_str::<Settings>(text).unwrap_err();
        assert_eq!((error.path(), error.message()), (path, message), "{text}");
    }
}

/// Texts made from pieces of JSON: both readers agree on each, whether it is JSON and what it says.
#[test]
fn agrees_with_a_general_library_on_arbitrary_texts() {
    const PIECES: [&str; 16] = [
        "[", "]", "{", "}", ",", ":", "\"", "\\", "u0041", "null", "true", "1", "-", "0", " ", "a",
    ];
    let mut state = 1_u64;
    let mut read = 0;
    for _ in 0..400_000 {
        // Knuth's MMIX generator; its high bits are the good ones.
        let mut next = |bound: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 40).unwrap() % bound
        };
        let text: String = (0..=next(7)).map(|_| PIECES[next(PIECES.len())]).collect();
        let expected = serde_json::from_str::<Value>(&text).ok();
        if expected
            .as_ref()
            .is_some_and(|value| value.to_string().contains("-0"))
        {
            continue; // a float there, a zero here
        }
        read += usize::from(expected.is_some());
        assert_eq!(from_str::<Value>(&text).ok(), expected, "{text}");
    }
    assert!(read > 10_000, "only {read} of the texts were JSON");
}
