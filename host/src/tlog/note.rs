//! [signed-note]: a text, and signatures of the text by keys that have names.
//!
//! ```text
//! note        text, which ends in a newline
//!             empty line
//!             signature+
//!
//! signature   — <key name> base64(key id (4 bytes), signature)
//! ```
//! A note is UTF-8 without ASCII control characters but newline. What the signature's bytes are
//! depends on the key: see [`key`](super::key). Nothing here verifies one.
//!
//! [signed-note]: https://c2sp.org/signed-note

use std::fmt;
use std::str::FromStr;

use super::key::is_signer_name;
use super::text::{decode_base64, encode_base64};

/// The largest note, and so the largest checkpoint.
pub const NOTE_MAX_BYTES: usize = 512 << 10;
/// The most signatures of a note. The specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 100;

const KEY_ID_BYTES: usize = 4;
const SIGNATURE_START: &str = "— ";

/// A signed note. Its signatures have not been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    // INVARIANT: ends in a newline; no control character but newline.
    text: String,
    // INVARIANT: 1 to `SIGNATURES_MAX`.
    signatures: Vec<Signature>,
}

/// One signature line, written and read without its newline. It has not been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    // INVARIANT: as `is_signer_name` says.
    name: String,
    key_id: u32,
    // INVARIANT: at least one.
    bytes: Vec<u8>,
}

/// Why some bytes are not a signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// A control character other than newline.
    #[error("a note with the control character U+{0:04X}")]
    Control(u32),
    /// No empty line between a text and its signatures.
    #[error("a note without signatures; they follow the text and an empty line")]
    NoSignatures,
    /// A line that is not a signature where one has to be.
    #[error("not a signature line: `— <key name> <base64>` and a newline")]
    Signature,
    /// Over [`NOTE_MAX_BYTES`].
    #[error("a note of {0} bytes; the most is {NOTE_MAX_BYTES}")]
    TooLarge(usize),
    /// Over [`SIGNATURES_MAX`].
    #[error("a note with {0} signatures; the most is {SIGNATURES_MAX}")]
    TooManySignatures(usize),
    /// Not UTF-8.
    #[error("a note that is not UTF-8")]
    Utf8,
}

impl Note {
    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`] when the bytes are not one, or over a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let note = checked_text(bytes)?;
        // The last empty line is the border: the text may have empty lines itself.
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        if signatures.is_empty() {
            return Err(NoteError::NoSignatures);
        }
        Ok(Self {
            text: format!("{text}\n"),
            signatures: parse_lines(signatures)?,
        })
    }

    /// What is signed, with the newline at its end.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The text and the signatures.
    #[must_use]
    pub fn into_parts(self) -> (String, Vec<Signature>) {
        (self.text, self.signatures)
    }
}

/// Reads signature lines: at least one, each with its newline. A witness answers so.
///
/// # Errors
/// [`NoteError`] when the bytes are anything else, or over a limit of a note.
pub fn parse_signatures(bytes: &[u8]) -> Result<Vec<Signature>, NoteError> {
    parse_lines(checked_text(bytes)?)
}

impl Signature {
    pub(super) const fn new(name: String, key_id: u32, bytes: Vec<u8>) -> Self {
        Self {
            name,
            key_id,
            bytes,
        }
    }

    /// The name of the key.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of the key.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The signature as its key makes it, with its time if the key is one that says a time.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes as the text that a note can be.
fn checked_text(bytes: &[u8]) -> Result<&str, NoteError> {
    if bytes.len() > NOTE_MAX_BYTES {
        return Err(NoteError::TooLarge(bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| NoteError::Utf8)?;
    match text.chars().find(|it| *it < ' ' && *it != '\n') {
        Some(control) => Err(NoteError::Control(control.into())),
        None => Ok(text),
    }
}

fn parse_lines(lines: &str) -> Result<Vec<Signature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::Signature)?;
    let count = lines.split('\n').count();
    if count > SIGNATURES_MAX {
        return Err(NoteError::TooManySignatures(count));
    }
    lines.split('\n').map(str::parse).collect()
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_note(&self.text, &self.signatures, f)
    }
}

/// Writes a note from its parts.
pub(super) fn write_note(
    text: impl fmt::Display,
    signatures: &[Signature],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    writeln!(f, "{text}")?;
    signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob: Vec<u8> = [&self.key_id.to_be_bytes(), &*self.bytes].concat();
        write!(f, "{SIGNATURE_START}{} {}", self.name, encode_base64(blob))
    }
}

impl FromStr for Signature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        let (name, blob) = line
            .strip_prefix(SIGNATURE_START)
            .and_then(|rest| rest.split_once(' '))
            .filter(|(name, _)| is_signer_name(name))
            .ok_or(NoteError::Signature)?;
        let blob = decode_base64(blob).ok_or(NoteError::Signature)?;
        let (key_id, bytes) = blob
            .split_first_chunk::<KEY_ID_BYTES>()
            .filter(|(_, bytes)| !bytes.is_empty())
            .ok_or(NoteError::Signature)?;
        let key_id = u32::from_be_bytes(*key_id);
        Ok(Self::new(name.to_owned(), key_id, bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests;
