//! Access requests from a stream: JSON Lines of any number, in constant memory.
//!
//! A bad line is reported with its number and never stops the rest.

use std::io::{self, BufRead, Read as _};

use crate::timestamp::Timestamp;

use super::{AccessRequest, RequestError};

/// The longest line, in bytes, without what ends it.
pub const REQUEST_LINE_MAX_BYTES: usize = 256 * 1024;
/// What may end a line: CR LF.
const LINE_END_MAX_BYTES: usize = 2;
/// UTF-8's byte order mark, which some editors put at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads access requests line by line. An iterator of line numbers, from 1, each with the request
/// or what is wrong with the line. Blank lines are counted and skipped. After an error of the
/// stream itself it ends.
#[derive(Debug)]
pub struct RequestReader<R, C> {
    input: R,
    clock: C,
    line: Vec<u8>,
    number: u64,
    is_done: bool,
}

/// Why a line holds no request.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// The stream failed; nothing follows.
    #[error("the input cannot be read: {0}")]
    Read(#[source] io::Error),
    /// Not a request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Longer than [`REQUEST_LINE_MAX_BYTES`]; it was skipped to its end.
    #[error("the line is longer than {REQUEST_LINE_MAX_BYTES} bytes")]
    TooLong,
}

impl<R: BufRead, C: FnMut() -> Timestamp> RequestReader<R, C> {
    /// Reads from `input`. `clock` is asked once for each line, when the line is there, and gives
    /// the time of a request that names none.
    pub const fn new(input: R, clock: C) -> Self {
        Self {
            input,
            clock,
            line: Vec::new(),
            number: 0,
            is_done: false,
        }
    }

    /// Reads the next line, without its end, into `self.line`; `false` when there is none.
    fn read_line(&mut self) -> Result<bool, LineError> {
        self.line.clear();
        let is_first = self.number == 0;
        self.number = self.number.saturating_add(1);
        let mark_bytes = if is_first { BYTE_ORDER_MARK.len() } else { 0 };
        let limit = REQUEST_LINE_MAX_BYTES + LINE_END_MAX_BYTES + mark_bytes;
        let mut bounded = (&mut self.input).take(u64::try_from(limit).unwrap_or(u64::MAX));
        let read = bounded
            .read_until(b'\n', &mut self.line)
            .map_err(LineError::Read)?;
        if read == 0 {
            return Ok(false);
        }
        if is_first && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            self.line.pop_if(|byte| *byte == b'\r');
        } else if read == limit {
            self.input.skip_until(b'\n').map_err(LineError::Read)?;
            return Err(LineError::TooLong);
        }
        if self.line.len() > REQUEST_LINE_MAX_BYTES {
            Err(LineError::TooLong)
        } else {
            Ok(true)
        }
    }
}

impl<R: BufRead, C: FnMut() -> Timestamp> Iterator for RequestReader<R, C> {
    type Item = (u64, Result<AccessRequest, LineError>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_done {
            match self.read_line() {
                Ok(false) => self.is_done = true,
                Ok(true) if self.line.iter().all(u8::is_ascii_whitespace) => {}
                Ok(true) => {
                    let request = match std::str::from_utf8(&self.line) {
                        Ok(line) => AccessRequest::from_json(line, (self.clock)())
                            .map_err(LineError::Request),
                        Err(_) => Err(LineError::NotUtf8),
                    };
                    return Some((self.number, request));
                }
                Err(error) => {
                    self.is_done = matches!(error, LineError::Read(_));
                    return Some((self.number, Err(error)));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
