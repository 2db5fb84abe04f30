//! The reader of JSON Lines: what ends a line, what is too long, and that the rest goes on.

use super::*;
use std::io::{BufReader, Cursor, Read};

const GOOD: &str = r#"{"method":"GET","path":"/"}"#;

/// Line numbers, each with `ok` or the error.
fn read(input: &[u8]) -> Vec<(u64, String)> {
    // A small buffer, so that lines and ends of lines fall across it.
    let input = BufReader::with_capacity(3, Cursor::new(input.to_vec()));
    collect(RequestReader::new(input, || Timestamp::from_millis(7)))
}

fn collect(
    reader: impl Iterator<Item = (u64, Result<AccessRequest, LineError>)>,
) -> Vec<(u64, String)> {
    reader
        .map(|(number, request)| match request {
            Ok(_) => (number, "ok".to_owned()),
            Err(error) => (number, error.to_string()),
        })
        .collect()
}

fn ok(numbers: &[u64]) -> Vec<(u64, String)> {
    numbers
        .iter()
        .map(|number| (*number, "ok".to_owned()))
        .collect()
}

#[test]
fn lines_end_in_every_usual_way() {
    for (input, numbers) in [
        (String::new(), &[][..]),
        ("\n\r\n  \t\n".to_owned(), &[]),
        (GOOD.to_owned(), &[1]),
        (format!("{GOOD}\n{GOOD}\n"), &[1, 2]),
        (format!("{GOOD}\r\n\r\n{GOOD}\r\n"), &[1, 3]),
        (format!("\n \n{GOOD}\n\n{GOOD}"), &[3, 5]),
        (format!("\u{feff}{GOOD}\n{GOOD}"), &[1, 2]),
        (format!("\u{feff}\n{GOOD}"), &[2]),
        ("\u{feff}".to_owned(), &[]),
        (format!("{GOOD}\r"), &[1]),
    ] {
        assert_eq!(read(input.as_bytes()), ok(numbers), "{input:?}");
    }
}

#[test]
fn a_bad_line_does_not_stop_the_rest() {
    let input = [
        GOOD.as_bytes(),
        b"\n{\"a\":\xff}\n",
        GOOD.as_bytes(),
        b"\nnonsense\n\xef\xbb\xbf",
        GOOD.as_bytes(),
        b"\n",
        GOOD.as_bytes(),
    ]
    .concat();
    let found = read(&input);
    let bad = |number: u64, message: &str| (number, message.to_owned());
    let expected = [
        bad(1, "ok"),
        bad(2, "the line is not UTF-8"),
        bad(3, "ok"),
        bad(4, "not JSON: it cannot be read on at column 2"),
        // A byte order mark belongs at the start of the file alone.
        bad(5, "not JSON: it cannot be read on at column 1"),
        bad(6, "ok"),
    ];
    assert_eq!(found, expected);
}

/// A request as long as this, padded with spaces.
fn padded(bytes: usize) -> String {
    format!("{GOOD}{}", " ".repeat(bytes - GOOD.len()))
}

#[test]
fn a_line_that_is_too_long_is_skipped_to_its_end() {
    let longest = padded(REQUEST_LINE_MAX_BYTES);
    let message = format!("the line is longer than {REQUEST_LINE_MAX_BYTES} bytes");
    for (first, is_read) in [
        (format!("{longest}\n"), true),
        (format!("{longest}\r\n"), true),
        (format!("\u{feff}{longest}\r\n"), true),
        (format!("{longest} \n"), false),
        (format!("{longest} \r\n"), false),
        (format!("{longest}  \n"), false),
        (format!("\u{feff}{longest} \n"), false),
        (format!("{}\n", padded(3 * REQUEST_LINE_MAX_BYTES)), false),
    ] {
        let first_line = if is_read {
            "ok".to_owned()
        } else {
            message.clone()
        };
        let found = read(format!("{first}{GOOD}\n{GOOD}").as_bytes());
        let expected = [(1, first_line), (2, "ok".to_owned()), (3, "ok".to_owned())];
        assert_eq!(found, expected, "{} bytes", first.len());
    }
    let unended = padded(2 * REQUEST_LINE_MAX_BYTES);
    assert_eq!(read(unended.as_bytes()), [(1, message.clone())]);
    assert_eq!(read(longest.as_bytes()), ok(&[1]));
    assert_eq!(read(format!("{longest}   ").as_bytes()), [(1, message)]);
}

#[test]
fn memory_does_not_grow_with_the_input() {
    let endless = BufReader::new(std::io::repeat(b'x').take(64 * 1024 * 1024));
    let mut reader = RequestReader::new(endless, || Timestamp::from_millis(7));
    assert!(matches!(reader.next(), Some((1, Err(LineError::TooLong)))));
    assert!(reader.next().is_none());
    assert!(reader.line.capacity() <= 4 * REQUEST_LINE_MAX_BYTES);
}

#[test]
fn the_clock_is_asked_when_the_line_is_there() {
    let own = r#"{"time":"1970-01-01T00:00:09Z","method":"GET","path":"/"}"#;
    let input = format!("{GOOD}\n\n{GOOD}\n{own}");
    let mut ticks = 0;
    let clock = || {
        ticks += 1;
        Timestamp::from_millis(ticks)
    };
    let times: Vec<_> = RequestReader::new(input.as_bytes(), clock)
        .map(|(_, request)| request.unwrap().time().millis())
        .collect();
    assert_eq!(times, [1, 2, 9_000]);
}

/// A stream that fails after its first line.
struct Broken(Cursor<Vec<u8>>);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("gone")),
            read => Ok(read),
        }
    }
}

#[test]
fn a_stream_that_fails_ends_the_reading() {
    for second in [
        String::new(),
        "{".to_owned(),
        padded(2 * REQUEST_LINE_MAX_BYTES),
    ] {
        let input = Broken(Cursor::new(format!("{GOOD}\n{second}").into_bytes()));
        let reader = RequestReader::new(BufReader::new(input), || Timestamp::from_millis(7));
        let broken = (2, "the input cannot be read: gone".to_owned());
        assert_eq!(collect(reader), [(1, "ok".to_owned()), broken]);
    }
}
