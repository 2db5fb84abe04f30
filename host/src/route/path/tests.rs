//! The canonicaliser, by table and by property.

use super::*;
use proptest::prelude::*;

#[test]
fn has_one_form_for_each_path() {
    let longest = format!("/{}", "a".repeat(PATH_MAX_BYTES - 1));
    for (target, path) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/a/b?c=d", "/a/b"),
        ("/a?", "/a"),
        ("/?/../x", "/"),
        ("/a?b=%zz%2f\\..//;", "/a"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/../../c", "/c"),
        ("/a/.", "/a/"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/../", "/"),
        ("/.", "/"),
        ("/./", "/"),
        ("/./a", "/a"),
        ("/.../a", "/.../a"),
        ("/.a/..b/c.", "/.a/..b/c."),
        ("/a%2eb/%2ec", "/a.b/.c"),
        ("/%41%7a", "/Az"),
        ("/caf%C3%A9", "/café"),
        ("/café", "/café"),
        ("/%e6%97%a5%E6%9C%AC", "/日本"),
        ("/a%20b", "/a b"),
        ("/a%3Fb%23c", "/a?b#c"),
        ("/100%25", "/100%"),
        ("/100%25/41", "/100%/41"),
        ("/%25", "/%"),
        ("/a+b", "/a+b"),
        ("/Case/KEPT", "/Case/KEPT"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a%3bv=1", "/a;v=1"),
        (&longest, &longest),
    ] {
        let parsed = CanonicalPath::parse(target);
        assert_eq!(
            parsed.as_ref().map(|path| &**path.text()),
            Ok(path),
            "{target}"
        );
        assert_eq!(
            parsed.unwrap().has_parameters(),
            path.contains(';'),
            "{target}"
        );
    }
}

#[test]
fn refuses_what_has_two_readings() {
    use PathRefusal::*;
    let long = format!("/{}", "a".repeat(PATH_MAX_BYTES));
    for (target, refusal) in [
        ("", Empty),
        ("a", NotAbsolute),
        ("*", NotAbsolute),
        ("?a", NotAbsolute),
        ("http://other.test/abs", NotAbsolute),
        (&long, TooLong),
        ("/..", AboveRoot),
        ("/../a", AboveRoot),
        ("/a/../../b", AboveRoot),
        ("/./..", AboveRoot),
        ("//", EmptySegment),
        ("//a", EmptySegment),
        ("/a//b", EmptySegment),
        ("/a//", EmptySegment),
        ("/a/..//b", EmptySegment),
        ("/;x", EmptySegment),
        ("/a/%3b/b", EmptySegment),
        ("/a%2fb", EncodedSlash),
        ("/a%2Fb", EncodedSlash),
        ("/..%2f", EncodedSlash),
        ("/a%5cb", Backslash),
        ("/a%5Cb", Backslash),
        ("/a\\b", Backslash),
        ("/..\\a", Backslash),
        ("/%2e", DotSegment),
        ("/a/%2E%2e/b", DotSegment),
        ("/a/.%2e", DotSegment),
        ("/a/%2e./b", DotSegment),
        ("/a/..;/b", DotSegment),
        ("/a/.;x", DotSegment),
        ("/a/%2e%2E;x/b", DotSegment),
        ("/a/..%3bx/b", DotSegment),
        ("/a%00", ControlCharacter),
        ("/a%0d%0ab", ControlCharacter),
        ("/a%7f", ControlCharacter),
        ("/a%7Fb", ControlCharacter),
        ("/a%c2%85", ControlCharacter),
        ("/a\u{85}", ControlCharacter),
        ("/a\0", ControlCharacter),
        ("/a\tb", ControlCharacter),
        ("/a\u{7f}", ControlCharacter),
        ("/a?b\r\nc", ControlCharacter),
        ("/a b", Space),
        ("/a?b c", Space),
        ("/a%", Escape),
        ("/a%4", Escape),
        ("/a%4/1", Escape),
        ("/a%zz", Escape),
        ("/a%u002f", Escape),
        ("/a%%32%66", Escape),
        ("/a%+1", Escape),
        ("/%2541", DoubleEncoding),
        ("/%252e%252e", DoubleEncoding),
        ("/%25%32%66", DoubleEncoding),
        ("/%2e%25%35%43", DoubleEncoding),
        ("/%ff", NotUtf8),
        ("/%c0%af", NotUtf8),
        ("/%c0%ae%c0%ae/", NotUtf8),
        ("/%ed%a0%80", NotUtf8),
        ("/a#b", Fragment),
        ("/a?b#c", Fragment),
        ("/#/../b", Fragment),
    ] {
        assert_eq!(CanonicalPath::parse(target), Err(refusal), "{target:?}");
    }
    assert_eq!(CanonicalPath::parse_bytes(b"/a\xff"), Err(NotUtf8));
}

#[test]
fn says_which_reason_and_which_word() {
    for (refusal, reason, word) in [
        (PathRefusal::Empty, "request.malformed", "empty"),
        (
            PathRefusal::NotAbsolute,
            "request.malformed",
            "not-absolute",
        ),
        (PathRefusal::TooLong, "request.malformed", "too-long"),
        (
            PathRefusal::EncodedSlash,
            "request.path-ambiguous",
            "encoded-slash",
        ),
        (
            PathRefusal::Parameters,
            "request.path-ambiguous",
            "parameters",
        ),
        (PathRefusal::NotUtf8, "request.path-ambiguous", "not-utf-8"),
    ] {
        assert_eq!((refusal.reason(), refusal.as_str()), (reason, word));
    }
}

#[test]
fn a_long_query_does_not_count() {
    let target = format!("/a?{}", "b".repeat(PATH_MAX_BYTES));
    assert_eq!(&**CanonicalPath::parse(&target).unwrap().text(), "/a");
}

/// A target that names a canonical path again.
fn encode(path: &str) -> String {
    let mut target = String::new();
    for byte in path.bytes() {
        match byte {
            b'/' | b';' | b'-' | b'.' | b'_' | b'~' => target.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => target.push(byte.into()),
            byte => target.push_str(&format!("%{byte:02x}")),
        }
    }
    target
}

fn check(target: &[u8]) {
    let Ok(path) = CanonicalPath::parse_bytes(target) else {
        return;
    };
    let text = &**path.text();
    assert!(text.starts_with('/'), "{text:?}");
    assert!(!text.contains("//") && !text.contains('\\'), "{text:?}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    for segment in text.split('/') {
        let name = without_parameters(segment);
        assert!(name != "." && name != "..", "{text:?}");
        assert!(!name.is_empty() || segment.is_empty(), "{text:?}");
    }
    // A server that decodes once more sees the same path, or an error.
    assert!(!has_escape(text), "{text:?}");
    let again = encode(text);
    if again.len() <= PATH_MAX_BYTES {
        assert_eq!(CanonicalPath::parse(&again), Ok(path.clone()), "{again}");
    }
}

proptest! {
    #[test]
    fn holds_its_promises_for_pieces_that_matter(
        pieces in proptest::collection::vec(
            prop::sample::select(vec![
                "/", "/", "/", ".", "..", "a", "b;c", ";", "%2e", "%2E", "%2f", "%5c", "%25",
                "%3b", "%41", "25", "2e", "é", "%c3", "%a9", "%", "\\", "?", "#", "%00", " ",
            ]),
            0..12,
        )
    ) {
        check(format!("/{}", pieces.concat()).as_bytes());
        check(pieces.concat().as_bytes());
    }

    #[test]
    fn holds_its_promises_for_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        check(&[b"/", &*bytes].concat());
        check(&bytes);
    }

    #[test]
    fn every_encoding_of_a_byte_is_the_byte(name in "[a-zA-Z0-9._~é日-]{3,12}", upper: bool) {
        let escaped: String = name
            .bytes()
            .map(|byte| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") })
            .collect();
        // `...` and longer are names; nothing shorter is generated.
        prop_assert_eq!(
            CanonicalPath::parse(&format!("/{escaped}")),
            CanonicalPath::parse(&format!("/{name}"))
        );
    }
}
