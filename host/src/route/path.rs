//! The canonicaliser of request paths: one for every way a request comes in, and run once, before a
//! route is looked for.
//!
//! A path is percent-decoded once and its literal dot segments are removed. A path that two servers
//! may read differently is refused rather than guessed: the one that is authorised has to be the
//! one that is served. Gateways hand over raw targets (nginx, Caddy, HAProxy) and normalised ones
//! (Envoy, Traefik); both end here.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The longest path, in bytes, before decoding and without the query.
pub const PATH_MAX_BYTES: usize = 8 * 1024;

/// A path that has one reading: absolute, decoded once, without dot segments, empty segments,
/// backslashes, control characters and query. A trailing slash is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CanonicalPath {
    // INVARIANT: starts with `/`, has neither `//` nor a dot segment, also not when what follows a
    // `;` in a segment is taken away, and no `%` followed by two hex digits.
    text: Arc<str>,
    has_parameters: bool,
}

/// Why a path is refused. The request is then denied with [`PathRefusal::reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathRefusal {
    /// `..` leads above the root, where some servers stop and others fail.
    #[error("the path leads above the root")]
    AboveRoot,
    /// `\`, literal or encoded, which some servers take for `/`.
    #[error("the path has a backslash")]
    Backslash,
    /// A control character, literal or encoded.
    #[error("the path has a control character")]
    ControlCharacter,
    /// A dot segment that only appears after decoding, or once parameters are taken away.
    #[error("the path has a dot segment in disguise")]
    DotSegment,
    /// An escape that only appears after decoding, so that decoding twice gives another path.
    #[error("the path is encoded twice")]
    DoubleEncoding,
    /// No target at all.
    #[error("the path is empty")]
    Empty,
    /// `//`, which some servers merge and others do not; also a segment that is all parameters.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// An encoded `/`.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// A `%` that two hex digits do not follow.
    #[error("the path has a percent sign that two hex digits do not follow")]
    Escape,
    /// A `#`: never part of a request target.
    #[error("the path has a fragment")]
    Fragment,
    /// Not starting with `/`: an absolute URI, `*`, or an authority.
    #[error("the path does not start with a slash")]
    NotAbsolute,
    /// Not UTF-8 once decoded.
    #[error("the path is not UTF-8 when decoded")]
    NotUtf8,
    /// `;` parameters, literal or encoded, and the route does not allow them.
    #[error("the path has `;` parameters and its route does not allow them")]
    Parameters,
    /// A literal space, at which a request line ends.
    #[error("the path has a literal space")]
    Space,
    /// Longer than [`PATH_MAX_BYTES`].
    #[error("the path is longer than {PATH_MAX_BYTES} bytes")]
    TooLong,
}

impl CanonicalPath {
    /// Canonicalises a request target: a path, and a query that is dropped.
    ///
    /// # Errors
    /// [`PathRefusal`] when there is no path or it has more than one reading.
    pub fn parse(target: &str) -> Result<Self, PathRefusal> {
        Self::parse_bytes(target.as_bytes())
    }

    /// Like [`CanonicalPath::parse`], for a target that may not be text, as a header's value.
    ///
    /// # Errors
    /// [`PathRefusal`] when there is no path or it has more than one reading.
    pub fn parse_bytes(target: &[u8]) -> Result<Self, PathRefusal> {
        let path = path_of(target)?;
        let mut text = String::with_capacity(path.len());
        let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
        while let Some(raw) = segments.next() {
            let is_last = segments.peek().is_none();
            match raw {
                b"" if is_last => text.push('/'),
                b"" => return Err(PathRefusal::EmptySegment),
                b"." | b".." => {
                    if raw == b".." {
                        text.truncate(text.rfind('/').ok_or(PathRefusal::AboveRoot)?);
                    }
                    if is_last {
                        text.push('/');
                    }
                }
                _ => {
                    text.push('/');
                    text.push_str(&segment(raw)?);
                }
            }
        }
        let has_parameters = text.contains(';');
        Ok(Self {
            text: text.into(),
            has_parameters,
        })
    }

    /// The path.
    #[must_use]
    pub const fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether a segment has `;` parameters, which only a route that allows them lets pass.
    #[must_use]
    pub const fn has_parameters(&self) -> bool {
        self.has_parameters
    }
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PathRefusal {
    /// The reason of the denial: `request.malformed` where there is no path to speak of,
    /// `request.path-ambiguous` where there is more than one.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty | Self::NotAbsolute | Self::TooLong => "request.malformed",
            _ => "request.path-ambiguous",
        }
    }

    /// A fixed word for the record, which never holds anything of the request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AboveRoot => "above-root",
            Self::Backslash => "backslash",
            Self::ControlCharacter => "control-character",
            Self::DotSegment => "dot-segment",
            Self::DoubleEncoding => "double-encoding",
            Self::Empty => "empty",
            Self::EmptySegment => "empty-segment",
            Self::EncodedSlash => "encoded-slash",
            Self::Escape => "escape",
            Self::Fragment => "fragment",
            Self::NotAbsolute => "not-absolute",
            Self::NotUtf8 => "not-utf-8",
            Self::Parameters => "parameters",
            Self::Space => "space",
            Self::TooLong => "too-long",
        }
    }
}

/// The part of a target before its query. What no target may hold is refused in the query too: a
/// server that takes another byte for the query's start would see it in the path.
fn path_of(target: &[u8]) -> Result<&[u8], PathRefusal> {
    match target.first() {
        None => return Err(PathRefusal::Empty),
        Some(b'/') => {}
        Some(_) => return Err(PathRefusal::NotAbsolute),
    }
    let path = target
        .split(|byte| *byte == b'?')
        .next()
        .unwrap_or_default();
    if path.len() > PATH_MAX_BYTES {
        return Err(PathRefusal::TooLong);
    }
    for byte in target {
        match byte {
            b'#' => return Err(PathRefusal::Fragment),
            b' ' => return Err(PathRefusal::Space),
            byte if byte.is_ascii_control() => return Err(PathRefusal::ControlCharacter),
            _ => {}
        }
    }
    Ok(path)
}

/// One segment, decoded. It is neither empty nor a literal dot segment.
fn segment(raw: &[u8]) -> Result<Cow<'_, str>, PathRefusal> {
    let text = match decode(raw)? {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes)
            .map(Cow::Owned)
            .map_err(|e| e.utf8_error()),
    };
    let text = text.map_err(|_| PathRefusal::NotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(PathRefusal::ControlCharacter);
    }
    if has_escape(&text) {
        return Err(PathRefusal::DoubleEncoding);
    }
    match without_parameters(&text) {
        "" => Err(PathRefusal::EmptySegment),
        "." | ".." => Err(PathRefusal::DotSegment),
        _ => Ok(text),
    }
}

/// Percent-decodes once.
fn decode(raw: &[u8]) -> Result<Cow<'_, [u8]>, PathRefusal> {
    if raw.contains(&b'\\') {
        return Err(PathRefusal::Backslash);
    }
    if !raw.contains(&b'%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => match escape(bytes.next(), bytes.next()).ok_or(PathRefusal::Escape)? {
                b'/' => return Err(PathRefusal::EncodedSlash),
                b'\\' => return Err(PathRefusal::Backslash),
                byte => byte,
            },
            byte => byte,
        });
    }
    Ok(Cow::Owned(decoded))
}

/// The byte that two hex digits write.
fn escape(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    Some(digit(high?)? << 4 | digit(low?)?)
}

/// Whether a percent sign is followed by two hex digits.
pub(super) fn has_escape(text: &str) -> bool {
    text.as_bytes().windows(3).any(|window| match window {
        [b'%', high, low] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    })
}

/// A segment without its `;` parameters.
pub(super) fn without_parameters(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(name, _)| name)
}

#[cfg(test)]
mod tests;
