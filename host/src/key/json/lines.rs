//! Reads files of keys, JSON Lines or TOML: all keys of a file or none, every bad one named by its
//! line.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, BufRead, Read as _};

use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

use super::members::unknown_members;
use super::{CheckedKey, KeyFile, KeyOptions, KeyProblems};
use crate::config::long_key;
use crate::key::KeyId;
use crate::shown::is_misleading;

/// The longest line of a JSON Lines file, in bytes, without its line feed.
pub const KEY_LINE_MAX_BYTES: usize = 256 * 1024;
/// The longest TOML file of keys, in bytes: unlike JSON Lines it is parsed as a whole.
pub const KEY_TOML_MAX_BYTES: usize = 64 * 1024 * 1024;
/// The most keys in one file.
pub const KEY_FILE_KEYS_MAX: usize = 10_000_000;
/// The longest JSON Lines file, in bytes: ten million keys have some 4 GB.
pub const KEY_FILE_MAX_BYTES: u64 = 16 * 1024 * 1024 * 1024;
/// The most lines of a JSON Lines file, blank ones included.
pub const KEY_FILE_LINES_MAX: u64 = 2 * KEY_FILE_KEYS_MAX as u64;
/// How much of a line that is too long is passed over, in bytes. What has no line feed in that is
/// no file of keys.
pub const KEY_LINE_SKIPPED_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// How many problems of one file are counted.
pub const LINE_PROBLEMS_MAX: u64 = 100_000;
/// How many problems of one file are listed; the rest is counted.
pub const LINE_PROBLEMS_LISTED_MAX: usize = 100;

/// U+FEFF in UTF-8, with which some editors begin a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The longest message of a parser that is passed on, in characters.
const MESSAGE_MAX_CHARS: usize = 300;

/// Everything that is wrong with a file of keys: at least one problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LineProblems {
    // INVARIANT: at most `LINE_PROBLEMS_LISTED_MAX`, and never more than `total`.
    listed: Vec<LineProblem>,
    total: u64,
}

/// What is wrong with one line, or with the `[[key]]` that begins there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct LineProblem {
    /// The line's number, counted from 1.
    pub line: u64,
    /// What is wrong.
    pub error: LineError,
}

/// The most parts of a dotted name in a TOML file of keys: `key.labels.team` has three. The parser
/// recurses once for each, in each of its nested tables.
const KEY_PARTS_MAX: usize = 4;

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The file could not be read on from here.
    #[error("cannot be read: {0}")]
    Read(String),
    /// Over [`KEY_LINE_MAX_BYTES`], or over [`KEY_TOML_MAX_BYTES`] for a TOML file.
    #[error("longer than {max_bytes} bytes")]
    TooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// Not JSON or TOML, a member that no key has or has twice, or a value of another type.
    #[error("{}{message}", Column(*.column))]
    Syntax {
        /// Where in the line, counted from 1 in bytes, where the parser says so.
        column: Option<usize>,
        /// What the parser found.
        message: String,
    },
    /// Parsed, and not representable.
    #[error("{0}")]
    Key(KeyProblems),
    /// A second key with the same id.
    #[error("key `{id}` stands already in line {first_line}")]
    Duplicate {
        /// The id.
        id: KeyId,
        /// Where it stood first.
        first_line: u64,
    },
    /// Over [`KEY_FILE_KEYS_MAX`] keys; reading ended here.
    #[error("more than {KEY_FILE_KEYS_MAX} keys in one file; split it")]
    TooMany,
    /// Over [`KEY_FILE_MAX_BYTES`] or [`KEY_FILE_LINES_MAX`]; reading ended here.
    #[error(
        "the file has more than {KEY_FILE_MAX_BYTES} bytes or {KEY_FILE_LINES_MAX} lines, and was \
         read up to here; split it"
    )]
    FileTooLong,
    /// Over [`KEY_LINE_SKIPPED_MAX_BYTES`]; reading ended here.
    #[error("{KEY_LINE_SKIPPED_MAX_BYTES} bytes without a line feed: no file of keys")]
    Endless,
    /// Over [`LINE_PROBLEMS_MAX`]; reading ended here.
    #[error("more than {LINE_PROBLEMS_MAX} problems; the file was read up to here")]
    TooManyProblems,
}

/// Reads JSON Lines, one key a line; blank lines and a byte order mark are skipped. The order of
/// the file is kept.
///
/// # Errors
/// [`LineProblems`] when any line is not a key, or two have the same id.
pub fn read_keys(
    reader: impl BufRead,
    options: KeyOptions,
) -> Result<Vec<CheckedKey>, LineProblems> {
    let mut collected = Collected::new(options);
    let mut reader = reader.take(KEY_FILE_MAX_BYTES);
    // Wiped: people put whole credentials where they do not belong.
    let mut line = Zeroizing::new(Vec::with_capacity(KEY_LINE_MAX_BYTES + 1));
    for number in 1.. {
        let read = read_line(&mut reader, &mut line);
        if number == 1 && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        match read {
            Ok(Line::End) => break,
            Ok(Line::Endless) => {
                collected.problems.end(number, LineError::Endless);
                break;
            }
            Ok(Line::TooLong) => {
                let max_bytes = KEY_LINE_MAX_BYTES;
                collected
                    .problems
                    .report(number, LineError::TooLong { max_bytes });
            }
            Ok(Line::Whole) if line.trim_ascii().is_empty() => {}
            Ok(Line::Whole) => collected.take(number, parse_json(&line)),
            Err(error) => {
                collected
                    .problems
                    .report(number, LineError::Read(error.to_string()));
                break;
            }
        }
        if collected.is_full(number) {
            break;
        }
        if reader.limit() == 0 || number >= KEY_FILE_LINES_MAX {
            collected.problems.end(number, LineError::FileTooLong);
            break;
        }
    }
    collected.finish()
}

/// Reads a TOML file of `[[key]]` tables. A time may be written as text or as TOML's own.
///
/// # Errors
/// [`LineProblems`] as for [`read_keys`]; the line is that of the key's `[[key]]`.
pub fn read_toml(text: &str, options: KeyOptions) -> Result<Vec<CheckedKey>, LineProblems> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        key: Vec<toml::Spanned<toml::Table>>,
    }

    let mut collected = Collected::new(options);
    if text.len() > KEY_TOML_MAX_BYTES {
        let max_bytes = KEY_TOML_MAX_BYTES;
        collected
            .problems
            .report(1, LineError::TooLong { max_bytes });
        return collected.finish();
    }
    let mut position = Position {
        text: text.as_bytes(),
        offset: 0,
        line: 1,
    };
    if let Some(offset) = long_key(text, KEY_PARTS_MAX) {
        let message = format!("a dotted name has more than {KEY_PARTS_MAX} parts");
        let column = Some(position.column_of(offset));
        let line = position.line_of(offset);
        collected
            .problems
            .report(line, LineError::Syntax { column, message });
        return collected.finish();
    }
    match toml::from_str::<File>(text) {
        Ok(file) => {
            for table in file.key {
                let line = position.line_of(table.span().start);
                collected.take(line, parse_table(table.into_inner()));
                if collected.is_full(line) {
                    break;
                }
            }
        }
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            let line = position.line_of(offset);
            let column = error.span().map(|_| position.column_of(offset));
            let message = message(error.message());
            collected
                .problems
                .report(line, LineError::Syntax { column, message });
        }
    }
    collected.finish()
}

/// The keys of a file so far, until the first problem: from then on only problems count.
struct Collected {
    options: KeyOptions,
    keys: Vec<CheckedKey>,
    lines: HashMap<KeyId, u64>,
    problems: LineProblems,
}

impl Collected {
    fn new(options: KeyOptions) -> Self {
        let problems = LineProblems::default();
        Self {
            options,
            keys: Vec::new(),
            lines: HashMap::new(),
            problems,
        }
    }

    fn take(&mut self, line: u64, parsed: Result<KeyFile, LineError>) {
        let file = match parsed {
            Ok(file) => file,
            Err(error) => return self.problems.report(line, error),
        };
        if let Ok(id) = file.id.parse::<KeyId>() {
            if let Some(&first_line) = self.lines.get(&id) {
                self.problems
                    .report(line, LineError::Duplicate { id, first_line });
            } else {
                self.lines.insert(id, line);
            }
        }
        match file.check(self.options) {
            Ok(key) if self.problems.total == 0 => self.keys.push(key),
            Ok(_) => self.keys = Vec::new(),
            Err(problems) => self.problems.report(line, LineError::Key(problems)),
        }
    }

    /// Whether no further key is taken; reports it.
    fn is_full(&mut self, line: u64) -> bool {
        let error = if self.lines.len() > KEY_FILE_KEYS_MAX {
            LineError::TooMany
        } else if self.problems.total >= LINE_PROBLEMS_MAX {
            LineError::TooManyProblems
        } else {
            return false;
        };
        self.problems.end(line, error);
        true
    }

    fn finish(self) -> Result<Vec<CheckedKey>, LineProblems> {
        if self.problems.total == 0 {
            Ok(self.keys)
        } else {
            Err(self.problems)
        }
    }
}

/// What [`read_line`] found.
enum Line {
    End,
    Endless,
    TooLong,
    Whole,
}

/// Reads one line into `line`, never more than [`KEY_LINE_MAX_BYTES`] of it; passes over the rest,
/// if that has an end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let max_bytes = KEY_LINE_MAX_BYTES as u64 + 1;
    if reader.by_ref().take(max_bytes).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() > KEY_LINE_MAX_BYTES {
        let mut rest = reader.take(KEY_LINE_SKIPPED_MAX_BYTES);
        rest.skip_until(b'\n')?;
        return Ok(if rest.limit() == 0 {
            Line::Endless
        } else {
            Line::TooLong
        });
    }
    Ok(Line::Whole)
}

fn parse_json(line: &[u8]) -> Result<KeyFile, LineError> {
    // A list would be taken for the members in their order, without their names.
    if line.trim_ascii_start().first() == Some(&b'[') {
        let message = "a list; one line holds one key, `{…}`".to_owned();
        return Err(LineError::Syntax {
            column: None,
            message,
        });
    }
    serde_json::from_slice(line).map_err(|error| {
        let members: BTreeMap<String, IgnoredAny> =
            serde_json::from_slice(line).unwrap_or_default();
        let message = unknown_members(members.keys()).unwrap_or_else(|| {
            // serde_json counts lines within the text it was given, which is one line.
            let text = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            message(text.strip_suffix(&place).unwrap_or(&text))
        });
        LineError::Syntax {
            column: Some(error.column()),
            message,
        }
    })
}

fn parse_table(table: toml::Table) -> Result<KeyFile, LineError> {
    let unknown = unknown_members(table.keys());
    table
        .try_into()
        .map_err(|error: toml::de::Error| LineError::Syntax {
            column: None,
            message: unknown.unwrap_or_else(|| message(error.message())),
        })
}

/// A parser's message, which may hold a text of the file: cut short, control characters replaced.
fn message(text: &str) -> String {
    text.chars()
        .take(MESSAGE_MAX_CHARS)
        .map(|c| if is_misleading(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Lines of ascending offsets, without counting from the beginning each time.
struct Position<'a> {
    text: &'a [u8],
    offset: usize,
    line: u64,
}

impl Position<'_> {
    fn line_of(&mut self, offset: usize) -> u64 {
        let between = self.text.iter().take(offset).skip(self.offset);
        self.line += between
            .filter(|byte| **byte == b'\n')
            .map(|_| 1)
            .sum::<u64>();
        self.offset = self.offset.max(offset);
        self.line
    }

    fn column_of(&self, offset: usize) -> usize {
        1 + self
            .text
            .iter()
            .take(offset)
            .rev()
            .take_while(|byte| **byte != b'\n')
            .count()
    }
}

impl LineProblems {
    /// The first problems, in the order of the file: at most [`LINE_PROBLEMS_LISTED_MAX`].
    #[must_use]
    pub fn listed(&self) -> &[LineProblem] {
        &self.listed
    }

    /// How many there are, listed or not.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Why reading ended, which is listed in any case: in place of the last one of a full list.
    fn end(&mut self, line: u64, error: LineError) {
        self.listed.truncate(LINE_PROBLEMS_LISTED_MAX - 1);
        self.report(line, error);
    }

    fn report(&mut self, line: u64, error: LineError) {
        self.total += 1;
        if self.listed.len() < LINE_PROBLEMS_LISTED_MAX {
            self.listed.push(LineProblem { line, error });
        }
    }
}

impl fmt::Display for LineProblems {
    /// One problem a line, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.listed.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.total.saturating_sub(self.listed.len() as u64) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for LineProblems {}

/// `column 5: `, or nothing.
struct Column(Option<usize>);

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .map_or(Ok(()), |column| write!(f, "column {column}: "))
    }
}
