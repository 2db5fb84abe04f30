//! From text to tokens. Nothing here depends on what is being read, so it is compiled once.

use std::str::Chars;

use super::DEPTH_MAX;
use super::error::Error;

/// What is left to read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

/// The next value, or how it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    Null,
    Boolean(bool),
    Negative(i64),
    Number(u64),
    Text(String),
    /// `[` has been read.
    Array,
    /// `{` has been read.
    Object,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            depth: 0,
        }
    }

    /// That nothing is left.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.skip_space();
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::new("more text after the value"))
        }
    }

    pub(super) fn token(&mut self) -> Result<Token, Error> {
        match self.peek() {
            Some(b'"') => self.text().map(Token::Text),
            Some(b'[') => self.enter("[", Token::Array),
            Some(b'{') => self.enter("{", Token::Object),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take("null") => Ok(Token::Null),
            _ if self.take("true") => Ok(Token::Boolean(true)),
            _ if self.take("false") => Ok(Token::Boolean(false)),
            _ => Err(Error::new("not JSON")),
        }
    }

    /// Whether there is another element before this end of an array or object, and the comma
    /// before it unless it is the first. Leaves the array or object at its end.
    pub(super) fn another(&mut self, end: &str, first: bool) -> Result<bool, Error> {
        self.skip_space();
        if self.take(end) {
            self.depth = self.depth.saturating_sub(1);
            Ok(false)
        } else if first || self.take(",") {
            Ok(true)
        } else {
            Err(Error::new(
                "not JSON: no comma between two elements, or no end",
            ))
        }
    }

    /// The name of an object's element, and the colon.
    pub(super) fn key(&mut self) -> Result<String, Error> {
        self.skip_space();
        let key = self.text()?;
        self.skip_space();
        if self.take(":") {
            Ok(key)
        } else {
            Err(Error::new("not JSON: no colon after a name"))
        }
    }

    /// How the next value begins.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.rest.bytes().next()
    }

    /// Whether the next value is `null`, which is then read.
    pub(super) fn null(&mut self) -> bool {
        self.skip_space();
        self.take("null")
    }

    fn enter(&mut self, start: &str, token: Token) -> Result<Token, Error> {
        self.take(start);
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Error::new(format!(
                "nested more than {DEPTH_MAX} levels deep"
            )));
        }
        Ok(token)
    }

    fn number(&mut self) -> Result<Token, Error> {
        let negative = self.take("-");
        let after = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = self.rest.strip_suffix(after).unwrap_or_default();
        if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
            return Err(Error::new("not JSON: not a number"));
        }
        if after.starts_with(['.', 'e', 'E']) {
            return Err(Error::new("not a whole number"));
        }
        self.rest = after;
        let number = digits
            .parse()
            .map_err(|_| Error::new("a number that is too large"))?;
        if !negative {
            return Ok(Token::Number(number));
        }
        match 0_i64.checked_sub_unsigned(number) {
            Some(number) => Ok(Token::Negative(number)),
            None => Err(Error::new("a number that is too small")),
        }
    }

    fn text(&mut self) -> Result<String, Error> {
        if !self.take("\"") {
            return Err(Error::new("not JSON: a name is not a text"));
        }
        let mut text = String::new();
        loop {
            // All three kinds are ASCII, so that this never ends within a character.
            let special = |byte: u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            let length = self.rest.bytes().position(special).ok_or_else(no_text)?;
            let (plain, rest) = self.rest.split_at_checked(length).ok_or_else(no_text)?;
            text.push_str(plain);
            let mut chars = rest.chars();
            let end = match chars.next() {
                Some('"') => true,
                Some('\\') => {
                    text.push(escaped(&mut chars).ok_or_else(no_text)?);
                    false
                }
                _ => return Err(no_text()),
            };
            self.rest = chars.as_str();
            if end {
                return Ok(text);
            }
        }
    }

    fn take(&mut self, start: &str) -> bool {
        let rest = self.rest.strip_prefix(start);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        let length = self.rest.bytes().take_while(space).count();
        self.rest = self.rest.get(length..).unwrap_or_default();
    }
}

fn no_text() -> Error {
    Error::new("not JSON: a text has no end, a control character or a wrong escape")
}

/// The character that an escape stands for; its backslash has been read.
fn escaped(chars: &mut Chars<'_>) -> Option<char> {
    Some(match chars.next()? {
        plain @ ('"' | '\\' | '/') => plain,
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let unit = hex(chars)?;
            let code = match unit {
                // The first half of a surrogate pair: ten bits of the character each.
                0xD800..0xDC00 => {
                    let second =
                        (chars.next()? == '\\' && chars.next()? == 'u').then(|| hex(chars))??;
                    let low = second.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
                    0x10000 + ((unit - 0xD800) << 10) + low
                }
                _ => unit,
            };
            char::from_u32(code)?
        }
        _ => return None,
    })
}

fn hex(chars: &mut Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |number, _| {
        Some(number << 4 | chars.next()?.to_digit(16)?)
    })
}
