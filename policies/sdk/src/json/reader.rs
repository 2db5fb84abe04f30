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
        self.skip_space();
        for (word, token) in [
            ("null", Token::Null),
            ("true", Token::Boolean(true)),
            ("false", Token::Boolean(false)),
        ] {
            if self.take(word) {
                return Ok(token);
            }
        }
        match self.rest.chars().next() {
            Some('"') => self.text().map(Token::Text),
            Some('[') => self.enter(Token::Array),
            Some('{') => self.enter(Token::Object),
            Some('-' | '0'..='9') => self.number(),
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
    pub(super) fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.rest.chars().next()
    }

    /// Whether the next value is `null`, which is then read.
    pub(super) fn null(&mut self) -> bool {
        self.skip_space();
        self.take("null")
    }

    fn enter(&mut self, token: Token) -> Result<Token, Error> {
        self.take(if token == Token::Array { "[" } else { "{" });
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
        let mut chars = self.rest.chars();
        if chars.next() != Some('"') {
            return Err(Error::new("not JSON: a name is not a text"));
        }
        let mut text = String::new();
        loop {
            match chars.next() {
                Some('"') => break,
                Some('\\') => text.push(escaped(&mut chars).ok_or_else(no_text)?),
                None | Some('\0'..='\x1f') => return Err(no_text()),
                Some(plain) => text.push(plain),
            }
        }
        self.rest = chars.as_str();
        Ok(text)
    }

    fn take(&mut self, start: &str) -> bool {
        let rest = self.rest.strip_prefix(start);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
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
