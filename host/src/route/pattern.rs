//! The path pattern of a route: `/inventory/{item}`, `/files/{rest...}`.
//!
//! A pattern is written as the canonical path reads, decoded. What no canonical path can hold, and
//! what reads like another tool's wildcard, is an error: a route that never matches protects
//! nothing.

use super::path::{PATH_MAX_BYTES, has_escape};

/// The longest name in braces, in bytes.
pub const PATTERN_NAME_MAX_BYTES: usize = 64;

/// One piece of a pattern between two slashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Exactly this text; empty only at the end, for a trailing slash.
    Literal(&'a str),
    /// `{name}`: one segment, not empty.
    One,
    /// `{name...}`, only at the end: all that is left behind the slash, also nothing.
    Rest,
}

/// Why a text is no path pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A `{` or `}` that does not enclose a whole segment, or a bad name in them.
    #[error(
        "`{0}` is not `{{name}}` or `{{name...}}`; braces enclose a whole segment and a name of at \
         most {PATTERN_NAME_MAX_BYTES} letters, digits, `_` and `-`"
    )]
    Braces(String),
    /// A segment that no canonical path has.
    #[error("`{0}` never matches: a path is compared without dot segments and empty segments")]
    DotSegment(String),
    /// A percent-escape.
    #[error("`{0}` never matches: a path is compared decoded, so write the character itself")]
    Escape(String),
    /// A character that no path is matched with.
    #[error(
        "`{0}` never matches: a path is compared without query, fragment, `;` parameters, \
         backslashes and control characters"
    )]
    Forbidden(String),
    /// The same name twice.
    #[error("the name `{0}` stands twice")]
    NameTwice(String),
    /// No slash at the start.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// `{name...}` before the end.
    #[error("`{0}` takes the rest of the path, so that nothing can follow it")]
    RestNotLast(String),
    /// Longer than a path can be.
    #[error("the path is longer than {PATH_MAX_BYTES} bytes")]
    TooLong,
    /// `*` or `**` for a segment.
    #[error(
        "`{0}` is no wildcard here; write `{{name}}` for one segment, `{{name...}}` for the rest"
    )]
    Wildcard(String),
}

/// Reads a pattern into its pieces.
pub(super) fn parse(pattern: &str) -> Result<Vec<Piece<'_>>, PatternError> {
    if pattern.len() > PATH_MAX_BYTES {
        return Err(PatternError::TooLong);
    }
    let segments = pattern.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
    let mut pieces = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    let mut segments = segments.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let (piece, name) = read_piece(segment)?;
        match piece {
            Piece::Literal("") if !is_last => {
                return Err(PatternError::DotSegment("//".to_owned()));
            }
            Piece::Rest if !is_last => return Err(PatternError::RestNotLast(segment.to_owned())),
            _ => pieces.push(piece),
        }
        if let Some(name) = name.filter(|name| !names.insert(*name)) {
            return Err(PatternError::NameTwice(name.to_owned()));
        }
    }
    Ok(pieces)
}

/// One segment of a pattern, and the name in its braces.
fn read_piece(segment: &str) -> Result<(Piece<'_>, Option<&str>), PatternError> {
    let enclosed = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    if let Some(inner) = enclosed {
        let (piece, name) = match inner.strip_suffix("...") {
            Some(name) => (Piece::Rest, name),
            None => (Piece::One, inner),
        };
        if !is_name(name) {
            return Err(PatternError::Braces(segment.to_owned()));
        }
        return Ok((piece, Some(name)));
    }
    let error: fn(String) -> PatternError = match segment {
        "." | ".." => PatternError::DotSegment,
        "*" | "**" => PatternError::Wildcard,
        _ if segment.contains(['{', '}']) => PatternError::Braces,
        _ if segment.contains(['?', '#', ';', '\\']) => PatternError::Forbidden,
        _ if segment.chars().any(char::is_control) => PatternError::Forbidden,
        _ if has_escape(segment) => PatternError::Escape,
        _ => return Ok((Piece::Literal(segment), None)),
    };
    Err(error(segment.escape_debug().to_string()))
}

/// Letters, digits, `_` and `-`, 1 to 64 of them.
fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=PATTERN_NAME_MAX_BYTES).contains(&name.len()) && name.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_literals_and_names() {
        use Piece::{Literal, One, Rest};
        for (pattern, pieces) in [
            ("/", vec![Literal("")]),
            ("/a", vec![Literal("a")]),
            ("/a/", vec![Literal("a"), Literal("")]),
            ("/a/{b}", vec![Literal("a"), One]),
            ("/{a}/{b-2_c}/", vec![One, One, Literal("")]),
            ("/a/{rest...}", vec![Literal("a"), Rest]),
            ("/{rest...}", vec![Rest]),
            ("/caf\u{e9}/a b", vec![Literal("café"), Literal("a b")]),
            ("/100%/...", vec![Literal("100%"), Literal("...")]),
        ] {
            assert_eq!(parse(pattern), Ok(pieces), "{pattern}");
        }
    }

    #[test]
    fn refuses_what_never_matches() {
        use PatternError::*;
        let text = str::to_owned;
        for (pattern, error) in [
            ("", NotAbsolute),
            ("a", NotAbsolute),
            (&"/a".repeat(PATH_MAX_BYTES), TooLong),
            ("//", DotSegment(text("//"))),
            ("/a//b", DotSegment(text("//"))),
            ("/a/./b", DotSegment(text("."))),
            ("/a/..", DotSegment(text(".."))),
            ("/{}", Braces(text("{}"))),
            ("/{...}", Braces(text("{...}"))),
            ("/{a}b", Braces(text("{a}b"))),
            ("/a{b}", Braces(text("a{b}"))),
            ("/{a b}", Braces(text("{a b}"))),
            ("/{a.}", Braces(text("{a.}"))),
            ("/{a", Braces(text("{a"))),
            ("/{é}", Braces(text("{é}"))),
            ("/{a...}/b", RestNotLast(text("{a...}"))),
            ("/{a...}/", RestNotLast(text("{a...}"))),
            ("/{a}/b/{a}", NameTwice(text("a"))),
            ("/{a}/{a...}", NameTwice(text("a"))),
            ("/a%20b", Escape(text("a%20b"))),
            ("/a?b", Forbidden(text("a?b"))),
            ("/a;b", Forbidden(text("a;b"))),
            ("/a\nb", Forbidden(text("a\\nb"))),
            ("/a/*", Wildcard(text("*"))),
            ("/**", Wildcard(text("**"))),
        ] {
            assert_eq!(parse(pattern), Err(error), "{pattern}");
        }
        let name = "a".repeat(PATTERN_NAME_MAX_BYTES);
        assert!(parse(&format!("/{{{name}}}")).is_ok());
        assert!(matches!(parse(&format!("/{{{name}a}}")), Err(Braces(_))));
    }
}
