//! The text of a configuration file, and where in it something stands.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A place in a file, as editors count: the first character is line 1, column 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub column: usize,
}

/// A file's name and text, with an index of its lines.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) file: Arc<Path>,
    text: Arc<str>,
    /// Where each line begins, in bytes.
    line_starts: Arc<[usize]>,
}

impl Source {
    pub(super) fn new(text: &str, file: &Path) -> Self {
        let after_ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(after_ends.map(|(at, _)| at.saturating_add(1)));
        Self {
            file: file.into(),
            text: text.into(),
            line_starts: starts.collect(),
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The place of a byte; one behind the text is the place of its end.
    pub(super) fn position(&self, offset: usize) -> Position {
        let offset = offset.min(self.text.len());
        let line = self
            .line_starts
            .partition_point(|start| *start <= offset)
            .max(1);
        let start = self
            .line_starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let before = self
            .text
            .bytes()
            .skip(start)
            .take(offset.saturating_sub(start));
        // Each character has exactly one byte that does not continue one.
        let characters = before
            .filter(|byte| byte & 0b1100_0000 != 0b1000_0000)
            .count();
        Position {
            line,
            column: characters.saturating_add(1),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters_from_one() {
        let source = Source::new("ab\r\né=日\n\nx", Path::new("k.toml"));
        for (offset, place) in [
            (0, "1:1"),
            (2, "1:3"),
            (4, "2:1"),
            (6, "2:2"),
            (7, "2:3"),
            (11, "3:1"),
            (12, "4:1"),
            (13, "4:2"),
            (99, "4:2"),
        ] {
            assert_eq!(source.position(offset).to_string(), place, "{offset}");
        }
        assert_eq!(
            Source::new("", Path::new("")).position(0).to_string(),
            "1:1"
        );
    }
}
