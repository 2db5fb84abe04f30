//! Access requests from a stream: JSON Lines of any number, in constant memory.
//!
//! A bad line is reported with its number and never stops the rest.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::ops::Range;

use zeroize::{Zeroize as _, Zeroizing};

use crate::timestamp::Timestamp;

use super::{AccessRequest, RequestError};

/// The longest line, in bytes, without what ends it.
pub const REQUEST_LINE_MAX_BYTES: usize = 256 * 1024;
/// What may end a line: CR LF.
const LINE_END_MAX_BYTES: usize = 2;
/// The longest line with all that can stand around it.
const LINE_CAPACITY_BYTES: usize = REQUEST_LINE_MAX_BYTES + LINE_END_MAX_BYTES + 3;
/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;
/// UTF-8's byte order mark, which some editors put at the start of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads access requests line by line. An iterator of line numbers, from 1, each with the request
/// or what is wrong with the line. Blank lines are counted and skipped. After an error of the
/// stream itself it ends.
pub struct RequestReader<R, C> {
    input: R,
    clock: C,
    /// Wiped: it holds credentials. As large as a line can be, so that it never moves.
    line: Zeroizing<Vec<u8>>,
    number: u64,
    is_done: bool,
}

/// A buffer for a stream of requests that is wiped as it is read: it holds credentials.
pub struct WipedReader<R> {
    input: R,
    buffer: Zeroizing<Vec<u8>>,
    /// What of the buffer has not been taken.
    rest: Range<usize>,
}

impl<R: Read> WipedReader<R> {
    /// Reads from `input`, which should have no buffer of its own.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: Zeroizing::new(vec![0; BUFFER_BYTES]),
            rest: 0..0,
        }
    }
}

impl<R: Read> Read for WipedReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..count), available.get(..count)) {
            to.copy_from_slice(from);
        }
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for WipedReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.rest.is_empty() {
            self.rest = 0..0;
            self.rest.end = self.input.read(&mut self.buffer)?;
        }
        Ok(self.buffer.get(self.rest.clone()).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        let end = self.rest.start.saturating_add(count).min(self.rest.end);
        if let Some(taken) = self.buffer.get_mut(self.rest.start..end) {
            taken.zeroize();
        }
        self.rest.start = end;
    }
}

impl<R> fmt::Debug for WipedReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WipedReader").finish_non_exhaustive()
    }
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

impl<R, C> fmt::Debug for RequestReader<R, C> {
    /// Shows where it is, and nothing of the line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestReader")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<R: BufRead, C: FnMut() -> Timestamp> RequestReader<R, C> {
    /// Reads from `input`. `clock` is asked once for each line, when the line is there, and gives
    /// the time of a request that names none.
    pub fn new(input: R, clock: C) -> Self {
        Self {
            input,
            clock,
            line: Zeroizing::new(Vec::with_capacity(LINE_CAPACITY_BYTES)),
            number: 0,
            is_done: false,
        }
    }

    /// Forgets the line. It never moves, so that there is no other copy.
    fn wipe(&mut self) {
        self.line.as_mut_slice().zeroize();
        self.line.clear();
    }

    /// Reads the next line, without its end, into `self.line`; `false` when there is none.
    fn read_line(&mut self) -> Result<bool, LineError> {
        self.wipe();
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
                    self.wipe();
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
