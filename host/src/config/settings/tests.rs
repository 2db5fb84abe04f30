//! Settings: the canonical JSON, what cannot be written in it, and the way back from a pointer.

use std::path::Path;

use crate::config::Config;
use crate::config::policy::PolicyConfig;

/// The lines of a `[policy.settings]` table begin at line 10.
const BEFORE: &str = "\
[registry]
path = \"keyward.db\"
[log]
path = \"log\"
origin = \"o\"
[[policy]]
name = \"a\"
module = \"builtin:scope\"
[policy.settings]
";

fn read(lines: &str) -> Result<PolicyConfig, String> {
    let text = format!("{BEFORE}{lines}");
    match Config::parse(&text, Path::new("k.toml")) {
        Ok(mut config) => Ok(config.policies.remove(0)),
        Err(errors) => Err(errors.to_string()),
    }
}

#[test]
fn settings_become_canonical_json() {
    for (lines, json) in [
        ("", "{}"),
        ("b = 1\na = -2\n", r#"{"a":-2,"b":1}"#),
        (
            "a = 0x1F\nb = 0o17\nc = 0b11\nd = 1_000\ne = +5",
            r#"{"a":31,"b":15,"c":3,"d":1000,"e":5}"#,
        ),
        (
            "a = true\nb = [60, 30]\nc = []\n",
            r#"{"a":true,"b":[60,30],"c":[]}"#,
        ),
        ("a = [[1], {b = 'c'}]", r#"{"a":[[1],{"b":"c"}]}"#),
        (
            "[policy.settings.implies]\nwrite = [\"read\"]",
            r#"{"implies":{"write":["read"]}}"#,
        ),
        ("x.y.z = 1\nx.a = 2", r#"{"x":{"a":2,"y":{"z":1}}}"#),
        (
            "[[policy.settings.t]]\na = 1\n[[policy.settings.t]]\na = 2",
            r#"{"t":[{"a":1},{"a":2}]}"#,
        ),
        (
            r#"a = "é\u0001\n\"\\/""#,
            "{\"a\":\"é\\u0001\\n\\\"\\\\/\"}",
        ),
        // RFC 8785 sorts by UTF-16, in which U+1F600 comes before U+FB33.
        (
            "\"\u{fb33}\" = 1\n\"\u{1f600}\" = 2",
            "{\"\u{1f600}\":2,\"\u{fb33}\":1}",
        ),
        (
            "a = 9007199254740991\nb = -9007199254740991",
            r#"{"a":9007199254740991,"b":-9007199254740991}"#,
        ),
        (
            "a = 2026-11-23T10:00:00Z",
            r#"{"a":"2026-11-23T10:00:00Z"}"#,
        ),
        (
            "a = 2026-11-23 10:00:00.5Z",
            r#"{"a":"2026-11-23T10:00:00.500Z"}"#,
        ),
        ("a = 2026-11-23T10:00Z", r#"{"a":"2026-11-23T10:00:00Z"}"#),
    ] {
        assert_eq!(&**read(lines).unwrap().settings_json(), json, "{lines}");
    }
}

#[test]
fn what_json_readers_differ_on_is_refused() {
    let float = |place| {
        format!(
            "k.toml:{place}: `a` is a float; settings have none, since their bits \
             differ between machines"
        )
    };
    let integer = |place| {
        format!(
            "k.toml:{place}: `a` is out of bounds; an integer in settings can be from \
             -(2^53-1) to 2^53-1"
        )
    };
    let time = |place, problem| format!("k.toml:{place}: `a` is {problem}");
    let malformed = "not a time; write RFC 3339 in UTC, for example 2026-11-23T10:00:00Z";
    for (lines, problem) in [
        ("a = 1.5", float("10:5")),
        ("\na = 1e3", float("11:5")),
        ("a = nan", float("10:5")),
        ("b = 'é'\na = [1, -inf]", float("11:9")),
        ("b = {'é' = 1, a = 0.1}", float("10:19")),
        ("a = 9007199254740992", integer("10:5")),
        ("a = -9007199254740992", integer("10:5")),
        ("a = 99999999999999999999999", integer("10:5")),
        ("a = 0xFFFFFFFFFFFFFFFF", integer("10:5")),
        ("a = 2026-11-23T10:00:00", time("10:5", malformed)),
        ("a = 2026-11-23", time("10:5", malformed)),
        ("a = 10:00:00", time("10:5", malformed)),
        (
            "a = 2026-11-23T10:00:00+01:00",
            time("10:5", "not in UTC; end the time with `Z`"),
        ),
        (
            "a = 2026-11-23T10:00:00.0001Z",
            time(
                "10:5",
                "finer than a millisecond; write at most three digits after the second",
            ),
        ),
    ] {
        assert_eq!(read(lines).unwrap_err(), problem, "{lines}");
    }
    let all = read("a = 1.5\nb = [2.5, 10:00:00]\nc = 9007199254740992").unwrap_err();
    assert_eq!(all.lines().count(), 4, "{all}");
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| format!("a = {}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(&nested(31)).is_ok());
    let problem = "k.toml:10:37: settings are nested deeper than 32 levels";
    assert_eq!(read(&nested(32)).unwrap_err(), problem);
    for levels in [100, 10_000] {
        assert!(read(&nested(levels)).is_err());
    }
}

#[test]
fn dotted_keys_are_bounded() {
    // Inline tables in inline tables, each below a dotted key.
    let nested = |parts: usize, levels: usize| {
        let open = format!("{} = {{", vec!["a"; parts].join("."));
        format!("{}b = 1{}", open.repeat(levels), "}".repeat(levels))
    };
    let too_long = |column| format!("k.toml:10:{column}: a dotted key has more than 16 parts");
    assert!(read(&nested(16, 1)).is_ok());
    assert_eq!(read(&nested(17, 1)).unwrap_err(), too_long(32));
    assert_eq!(read(&nested(79, 79)).unwrap_err(), too_long(32));
    let spaced = vec![" a "; 17].join(".");
    assert!(
        read(&format!("{spaced} = 1"))
            .unwrap_err()
            .ends_with("16 parts")
    );
    assert!(
        read(&format!("{} = 1", vec!["'a'"; 17].join(".")))
            .unwrap_err()
            .ends_with("16 parts")
    );
    assert!(
        read(&format!("[{spaced}]"))
            .unwrap_err()
            .ends_with("16 parts")
    );
    // The deepest tree that is left: too deep for settings, and not for the stack.
    let deepest = read(&nested(16, 79)).unwrap_err();
    assert!(
        deepest.contains("nested deeper than 32 levels"),
        "{deepest}"
    );
    // Dots elsewhere are no parts.
    let dots = format!("a = '{0}' # {0}\nb.c = 1\nb.d = 1\n", ".".repeat(99));
    assert!(read(&dots).is_ok());
}

#[test]
fn a_pointer_leads_to_its_place() {
    let policy = read(
        "notice_days = [60, 30,\n  14]\n\n[policy.settings.implies]\nwrite = [\"read\"]\n\
         \"a/b~c\" = { \"\" = 1 }\n[[policy.settings.rows]]\nx = 1\n\
         [[policy.settings.rows]]\ny = 2\n",
    )
    .unwrap();
    for (pointer, place) in [
        ("", "9:1"),
        ("/notice_days", "10:1"),
        ("/notice_days/0", "10:16"),
        ("/notice_days/1", "10:20"),
        ("/notice_days/2", "11:3"),
        ("/notice_days/3", "10:1"),
        ("/notice_days/-", "10:1"),
        ("/notice_days/0/x", "10:16"),
        ("/implies", "13:18"),
        ("/implies/write", "14:1"),
        ("/implies/write/0", "14:10"),
        ("/implies/admin", "13:18"),
        ("/implies/a~1b~0c", "15:1"),
        ("/implies/a~1b~0c/", "15:13"),
        ("/rows/0", "16:1"),
        ("/rows/0/x", "17:1"),
        ("/rows/1", "18:1"),
        ("/rows/1/y", "19:1"),
        ("/rows/1/z", "18:1"),
        ("/nowhere/at/all", "9:1"),
        ("/", "9:1"),
        ("no pointer", "9:1"),
    ] {
        assert_eq!(policy.locate(pointer).to_string(), place, "{pointer}");
    }
    assert_eq!(policy.file(), Path::new("k.toml"));
    assert_eq!(policy.position().to_string(), "6:1");
}
