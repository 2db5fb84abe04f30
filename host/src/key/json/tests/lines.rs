//! Tests of whole files of keys.

use std::io::{self, BufReader, Read};

use super::*;

fn line(id: usize) -> String {
    with(least(), "id", json!(format!("{id:012}"))).to_string()
}

fn listed(text: &[u8]) -> Vec<(u64, String)> {
    let problems = read_keys(text, STRICT).unwrap_err();
    problems
        .listed()
        .iter()
        .map(|p| (p.line, p.error.to_string()))
        .collect()
}

fn listed_toml(text: &str) -> Vec<(u64, String)> {
    let problems = read_toml(text, STRICT).unwrap_err();
    problems
        .listed()
        .iter()
        .map(|p| (p.line, p.error.to_string()))
        .collect()
}

#[test]
fn keeps_the_order_and_skips_blank_lines() {
    let text = format!("\n{}\r\n  \t\n{}\n\n{}", line(3), line(1), line(2));
    let keys = read_keys(text.as_bytes(), STRICT).unwrap();
    let ids: Vec<_> = keys.iter().map(|key| key.record().id.to_string()).collect();
    assert_eq!(ids, ["000000000003", "000000000001", "000000000002"]);
    assert_eq!(read_keys(&b""[..], STRICT).unwrap(), []);
}

#[test]
fn every_bad_line_is_reported_with_its_number_and_nothing_is_imported() {
    let (time, none) = ("2026-11-01T00:00:00Z", Value::Null);
    let positional = json!([
        "k7Qp2mXw9LaR",
        "o",
        "live",
        "active",
        time,
        none,
        none,
        none,
        none,
        [],
        false,
        none,
        {},
        none,
        none,
    ]);
    let text = [
        line(1),
        "{".to_owned(),
        String::new(),
        with(least(), "owner", json!("")).to_string(),
        line(2),
        line(1),
        positional.to_string(),
        r#"{"id":"000000000009","owner":"o","issued_at":"2026-11-01T00:00:00Z","scopes":null}"#
            .to_owned(),
        with(with(least(), "lables", json!({})), "Owner", json!(1)).to_string(),
        format!("{} x", line(7)),
    ];
    let owner = "`owner`: must not be empty".to_owned();
    assert_eq!(
        listed(text.join("\n").as_bytes()),
        [
            (2, "column 1: EOF while parsing an object".to_owned()),
            (4, owner),
            (6, "key `000000000001` stands already in line 1".to_owned()),
            (7, "a list; one line holds one key, `{…}`".to_owned()),
            (
                8,
                "column 81: invalid type: null, expected a sequence".to_owned()
            ),
            (
                9,
                "column 8: unknown field `Owner`; did you mean `owner`?; \
             unknown field `lables`; did you mean `labels`?"
                    .to_owned()
            ),
            (10, "column 82: trailing characters".to_owned()),
        ]
    );
}

#[test]
fn a_member_or_label_that_stands_twice_is_refused() {
    let twice = line(1).replacen('{', r#"{"owner":"x","#, 1);
    let label = with(least(), "labels", json!({"a": "1"}))
        .to_string()
        .replace(r#"{"a":"1"}"#, r#"{"a":"1","\u0061":"2"}"#);
    let errors = listed(format!("{twice}\n{label}").as_bytes());
    assert!(
        errors[0].1.ends_with("duplicate field `owner`"),
        "{errors:?}"
    );
    assert!(errors[1].1.ends_with("duplicate label `a`"), "{errors:?}");
}

#[test]
fn an_id_is_a_duplicate_also_when_the_key_is_bad_for_other_reasons() {
    let bad = with(least(), "owner", json!("")).to_string();
    let good = least().to_string();
    let errors = listed(format!("{bad}\n{good}\n{good}").as_bytes());
    let lines: Vec<_> = errors.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 2, 3]);
    assert_eq!(errors[2].1, "key `k7Qp2mXw9LaR` stands already in line 1");
}

#[test]
fn the_list_of_problems_is_bounded_and_the_rest_counted() {
    let text = "x\n".repeat(LINE_PROBLEMS_LISTED_MAX + 23);
    let problems = read_keys(text.as_bytes(), STRICT).unwrap_err();
    assert_eq!(problems.listed().len(), LINE_PROBLEMS_LISTED_MAX);
    assert_eq!(problems.total(), LINE_PROBLEMS_LISTED_MAX as u64 + 23);
    let message = problems.to_string();
    assert!(
        message.starts_with("line 1: column 1: expected value\nline 2: "),
        "{message}"
    );
    assert!(message.ends_with("\nand 23 more"), "{message}");
}

#[test]
fn a_line_has_a_longest_length() {
    let padded = |bytes: usize| format!("{}{}", line(1), " ".repeat(bytes - line(1).len()));
    let longest = padded(KEY_LINE_MAX_BYTES);
    for end in ["", "\n"] {
        assert_eq!(
            read_keys(format!("{longest}{end}").as_bytes(), STRICT)
                .unwrap()
                .len(),
            1
        );
        let too_long = format!("{longest} {end}");
        let expected = format!("longer than {KEY_LINE_MAX_BYTES} bytes");
        assert_eq!(listed(too_long.as_bytes()), [(1, expected)]);
    }
    // The lines after it keep their numbers.
    let text = format!("{}\n{}\nx\n", padded(3 * KEY_LINE_MAX_BYTES), line(2));
    let lines: Vec<_> = listed(text.as_bytes())
        .into_iter()
        .map(|(line, _)| line)
        .collect();
    assert_eq!(lines, [1, 3]);
}

#[test]
fn text_that_is_not_utf_8_is_refused() {
    let errors = listed(b"{\"id\":\"\xff\"}");
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].1.contains("invalid unicode code point"),
        "{errors:?}"
    );
}

#[test]
fn a_file_that_cannot_be_read_on_is_refused_as_a_whole() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let first = format!("{}\n", line(1));
    let problems = read_keys(BufReader::new(first.as_bytes().chain(Broken)), STRICT).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "line 2: cannot be read: the disk is gone"
    );
}

#[test]
fn toml_says_the_same_as_json() {
    let text = r#"
        [[key]]
        id = "k7Qp2mXw9LaR"
        owner = "inventory-sync"
        environment = "test"
        lifecycle = "deprecated"
        issued_at = 2026-11-01T00:00:00Z
        not_before = "2026-11-02T00:00:00.5Z"
        rotate_by = 2027-01-15T00:00:00Z
        expires_at = 2027-01-30T00:00:00Z
        grace_until = 2026-12-01T00:00:00Z
        scopes = ["inventory.*:read", "a:b"]
        read_only = true
        allowed_networks = ["203.0.113.0/24", "2001:db8::/32"]
        labels = { connector = "quickbooks", b = "" }
        secret_sha256 = "SECRET"

        [[key]]
        id = "000000000001"
        owner = "o"
        issued_at = 2026-11-01T00:00:00Z
        scopes = []
        [key.labels]
        team = "a"
    "#
    .replace("SECRET", &"ab".repeat(32));
    let second = with(
        with(least(), "id", json!("000000000001")),
        "labels",
        json!({"team": "a"}),
    );
    let lines = format!("{}\n{second}", full());
    let keys = read_toml(&text, STRICT).unwrap();
    assert_eq!(keys, read_keys(lines.as_bytes(), STRICT).unwrap());
    assert_eq!(read_toml("", STRICT).unwrap(), []);
}

#[test]
fn toml_problems_name_the_line_of_their_key() {
    let key = |id: &str, more: &str| {
        format!(
            "[[key]]\nid = \"{id}\"\nowner = \"o\"\nissued_at = 2026-11-01T00:00:00Z\n\
             scopes = []\n{more}\n"
        )
    };
    let text = [
        key("000000000001", ""),
        key("000000000002", "expires_at = 2026-11-01T00:00:00"),
        key("000000000001", ""),
        key("000000000003", "lables = {}"),
        key("000000000004", "read_only = 1"),
        key("000000000005", "labels = { at = 1 }"),
    ]
    .concat();
    let errors = listed_toml(&text);
    let lines: Vec<_> = errors.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [7, 13, 19, 25, 31], "{errors:?}");
    assert!(
        errors[0]
            .1
            .starts_with("`expires_at`: `2026-11-01T00:00:00` is not"),
        "{errors:?}"
    );
    assert_eq!(errors[1].1, "key `000000000001` stands already in line 1");
    assert_eq!(
        errors[2].1,
        "unknown field `lables`; did you mean `labels`?"
    );
    assert!(errors[3].1.contains("expected a boolean"), "{errors:?}");
    assert!(errors[4].1.contains("expected a string"), "{errors:?}");
}

#[test]
fn toml_that_cannot_be_parsed_names_line_and_column() {
    for (text, line, column) in [
        ("[[key]]\nid = \"a\"\nid = \"b\"\n", 3, 1),
        ("\n[[key]]\nid = !\n", 3, 6),
        ("\n[[keys]]\n", 2, 3),
        ("key = 1\n", 1, 7),
    ] {
        let errors = listed_toml(text);
        assert_eq!(errors[0].0, line, "{text}: {errors:?}");
        assert!(
            errors[0].1.starts_with(&format!("column {column}: ")),
            "{text}: {errors:?}"
        );
    }
    let long = " ".repeat(KEY_TOML_MAX_BYTES + 1);
    assert_eq!(
        listed_toml(&long),
        [(1, format!("longer than {KEY_TOML_MAX_BYTES} bytes"))]
    );
}

/// Less than 5 KiB of dotted names in nested tables make a tree 2,370 levels deep, which no parser
/// that recurses survives on a thread's stack.
#[test]
fn toml_that_is_too_deep_is_refused_before_it_is_parsed() {
    let table = format!("{{{}a=", "a.".repeat(78));
    let text = format!("[[key]]\nx={}1{}", table.repeat(30), "}".repeat(30));
    let errors = listed_toml(&text);
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].0, 2);
    assert!(errors[0].1.contains("more than 4 parts"), "{errors:?}");
    // As deep as the limit allows is read, or refused by the parser.
    let table = format!("{{{}a=", "a.".repeat(3));
    let text = format!("[[key]]\nx={}1{}", table.repeat(79), "}".repeat(79));
    assert!(!listed_toml(&text).is_empty());
}

#[test]
fn a_byte_order_mark_is_skipped_at_the_beginning_only() {
    let marked = format!("\u{feff}{}\r\n{}", line(1), line(2));
    assert_eq!(read_keys(marked.as_bytes(), STRICT).unwrap().len(), 2);
    assert_eq!(read_keys("\u{feff}".as_bytes(), STRICT).unwrap(), []);
    let twice = format!("{}\n\u{feff}{}\n", line(1), line(2));
    assert_eq!(listed(twice.as_bytes())[0].0, 2);
}

#[test]
fn nul_is_refused_wherever_it_stands() {
    let raw = line(1).replace("\"owner\":\"", "\"owner\":\"\0");
    let escaped = line(2).replace("\"owner\":\"", "\"owner\":\"\\u0000");
    let text = format!("\0\n{raw}\n{escaped}\n{}\0\n", line(3));
    let errors = listed(text.as_bytes());
    let lines: Vec<_> = errors.iter().map(|(line, _)| *line).collect();
    assert_eq!(lines, [1, 2, 3, 4]);
    assert!(
        errors[2].1.contains("control character U+0000"),
        "{errors:?}"
    );
    assert!(errors.iter().all(|(_, error)| !error.contains('\0')));
}

/// The parser ends at 128 levels, so that no line uses up the stack.
#[test]
fn a_line_that_is_too_deep_is_refused() {
    let depth = KEY_LINE_MAX_BYTES / 8;
    let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    for deep in [&lists, &objects] {
        for member in ["scopes", "labels", "unknown"] {
            let text = format!(r#"{{"{member}":{deep}}}"#);
            assert_eq!(listed(text.as_bytes()).len(), 1);
        }
        assert_eq!(listed(deep.as_bytes()).len(), 1);
    }
}

/// What is read is not kept: ten million lines that hold no key take a line's memory, and a line
/// without an end is passed over.
#[test]
fn many_lines_and_an_endless_one_take_no_memory() {
    let blank = io::repeat(b'\n').take(10_000_000);
    assert_eq!(read_keys(BufReader::new(blank), STRICT).unwrap(), []);
    let endless = io::repeat(b'x').take(64 << 20).chain(&b"\nx\n"[..]);
    let problems = read_keys(BufReader::new(endless), STRICT).unwrap_err();
    let lines: Vec<_> = problems.listed().iter().map(|it| it.line).collect();
    assert_eq!(lines, [1, 2]);
}

/// A device or a pipe that does not end is left at a bound, and that is said.
#[test]
fn what_does_not_end_is_not_read_for_ever() {
    let last = |reader: &mut dyn io::Read| {
        let problems = read_keys(BufReader::new(reader), STRICT).unwrap_err();
        assert!(problems.listed().len() <= LINE_PROBLEMS_LISTED_MAX);
        let last = problems.listed().last().unwrap();
        (last.line, last.error.clone(), problems.total())
    };
    let zeros = last(&mut io::repeat(0));
    assert_eq!(zeros, (1, LineError::Endless, 1));
    let blank = last(&mut io::repeat(b'\n'));
    assert_eq!(blank, (KEY_FILE_LINES_MAX, LineError::FileTooLong, 1));
    let bad = last(&mut Repeat(b"x\n"));
    let expected = (
        LINE_PROBLEMS_MAX,
        LineError::TooManyProblems,
        LINE_PROBLEMS_MAX + 1,
    );
    assert_eq!(bad, expected);
}

/// The same bytes again and again.
struct Repeat(&'static [u8; 2]);

impl io::Read for Repeat {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let whole = buffer.len() / 2 * 2;
        let pairs = buffer.chunks_exact_mut(2);
        pairs.for_each(|pair| pair.copy_from_slice(self.0));
        Ok(whole)
    }
}
