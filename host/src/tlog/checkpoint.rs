//! [tlog-checkpoint]: what a log says its tree is, signed by the log and cosigned by witnesses.
//!
//! ```text
//! text   <origin>
//!        <size, decimal>
//!        base64(<root hash>)
//!        <extension line>*
//! ```
//! A checkpoint is a [note](super::note) with this text. A key signs, by its type:
//!
//! ```text
//! 0x01   text                                              signature (64 bytes)
//! 0x04   "cosignature/v1\ntime <seconds>\n" text           time (u64), signature (64 bytes)
//! 0x06   "subtree/v1\n\0" u8 size, key name, u64 time,     time (u64), signature (2420 bytes)
//!        u8 size, origin, u64 0, u64 size, root hash
//! ```
//! The last two are of [tlog-cosignature]. The last one does not sign extension lines. A log of
//! ours writes none; those of other logs are kept, because the first two do sign them.
//!
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [tlog-cosignature]: https://c2sp.org/tlog-cosignature

use std::fmt;
use std::str::FromStr;

use super::key::{KeyError, KeyType, Signer, Verifier};
use super::merkle::{SIZE_MAX, TreeHead, empty_root};
use super::note::{NOTE_MAX_BYTES, Note, NoteError, SIGNATURES_MAX, Signature, write_note};
use super::text::{decode_decimal, decode_hash, encode_base64, shown};

/// The largest signed checkpoint.
pub const CHECKPOINT_MAX_BYTES: usize = NOTE_MAX_BYTES;
/// The longest origin: an ML-DSA cosignature says its size in 8 bits.
pub const ORIGIN_MAX_BYTES: usize = 255;
/// The latest time that a cosignature can say, in seconds since 1970.
pub const TIME_MAX_SECS: u64 = (1 << 63) - 1;

/// What a log says its tree is, not signed by anyone. It is written and read as the text of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    // INVARIANT: 1 to `ORIGIN_MAX_BYTES`, without ASCII control characters.
    origin: String,
    // INVARIANT: at most `SIZE_MAX` leaves; those of none have the empty root.
    head: TreeHead,
    // INVARIANT: none is empty or has an ASCII control character.
    extensions: Vec<String>,
}

/// A checkpoint and its signatures, which have not been verified. It is written as a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    // INVARIANT: 1 to `SIGNATURES_MAX`.
    signatures: Vec<Signature>,
}

/// A key that has signed a checkpoint. Only [`SignedCheckpoint::verify`] makes one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verified<'a> {
    verifier: &'a Verifier,
    time_secs: Option<u64>,
}

/// Why there is no such checkpoint, or why its signatures do not say what they should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Signed by none of the keys that were asked for.
    #[error("the checkpoint is signed by none of the known keys")]
    NoKnownSignature,
    /// A witness has not said when it cosigned.
    #[error("the cosignature of `{0}` says no time")]
    NoTime(String),
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The key has not made a signature.
    #[error(transparent)]
    Sign(#[from] KeyError),
    /// A line that is not what has to be there.
    #[error("line {line} of the checkpoint is not {expected}")]
    Text {
        /// The number of the line, from 1.
        line: usize,
        /// What has to be there.
        expected: &'static str,
    },
    /// Over [`TIME_MAX_SECS`].
    #[error("a cosignature cannot say the time {0}; the latest is {TIME_MAX_SECS}")]
    Time(u64),
    /// A signature of a known key is not one of this checkpoint.
    #[error("the signature of `{name}` with the key id {key_id:08x} is wrong")]
    WrongSignature {
        /// The name of the key.
        name: String,
        /// Its id.
        key_id: u32,
    },
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    ///
    /// # Errors
    /// [`CheckpointError::Text`] when the origin is not 1 to [`ORIGIN_MAX_BYTES`] bytes without
    /// control characters, when the size is over [`SIZE_MAX`], and when the root hash is not that
    /// of the empty tree and the size is 0.
    pub fn new(origin: &str, head: TreeHead) -> Result<Self, CheckpointError> {
        if !is_line(origin) || origin.len() > ORIGIN_MAX_BYTES {
            let expected = "an origin: 1 to 255 bytes without control characters";
            return Err(CheckpointError::Text { line: 1, expected });
        }
        if head.size > SIZE_MAX {
            let expected = "a tree size: at most 9223372036854775807";
            return Err(CheckpointError::Text { line: 2, expected });
        }
        if head.size == 0 && head.root != empty_root() {
            let expected = "the root hash of an empty tree";
            return Err(CheckpointError::Text { line: 3, expected });
        }
        Ok(Self {
            origin: origin.to_owned(),
            head,
            extensions: Vec::new(),
        })
    }

    /// The name of the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The size and the root hash of its tree.
    #[must_use]
    pub const fn head(&self) -> TreeHead {
        self.head
    }

    /// The extension lines, without newlines. No ML-DSA signature covers them.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// What a key signs; the time counts for cosignatures only.
    fn message(&self, key_type: KeyType, name: &str, time_secs: u64) -> Vec<u8> {
        match key_type {
            KeyType::Ed25519 => self.to_string().into_bytes(),
            KeyType::Ed25519Cosignature => {
                format!("cosignature/v1\ntime {time_secs}\n{self}").into_bytes()
            }
            KeyType::MlDsa44Cosignature => {
                let mut message = b"subtree/v1\n\0".to_vec();
                push_short(&mut message, name);
                message.extend(time_secs.to_be_bytes());
                push_short(&mut message, &self.origin);
                message.extend(0_u64.to_be_bytes());
                message.extend(self.head.size.to_be_bytes());
                message.extend(self.head.root.as_bytes());
                message
            }
        }
    }
}

impl SignedCheckpoint {
    /// Signs a checkpoint. The time, in seconds since 1970, is that of the cosignatures; 0 says
    /// none. Whether the checkpoint continues all that the keys have signed before is the caller's
    /// to know.
    ///
    /// # Errors
    /// [`CheckpointError::Time`] over [`TIME_MAX_SECS`], [`CheckpointError::Note`] when there are
    /// no signers or more than [`SIGNATURES_MAX`], and [`CheckpointError::Sign`].
    pub fn sign(
        checkpoint: Checkpoint,
        signers: &[Signer],
        time_secs: u64,
    ) -> Result<Self, CheckpointError> {
        if time_secs > TIME_MAX_SECS {
            return Err(CheckpointError::Time(time_secs));
        }
        check_count(signers.len())?;
        let signatures: Result<Vec<_>, CheckpointError> = signers
            .iter()
            .map(|signer| sign_one(&checkpoint, signer, time_secs))
            .collect();
        Ok(Self {
            signatures: signatures?,
            checkpoint,
        })
    }

    /// Reads a signed checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] and [`CheckpointError::Text`] when the bytes are not one, or over
    /// a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let (text, signatures) = Note::parse(bytes)?.into_parts();
        Ok(Self {
            checkpoint: text.parse()?,
            signatures,
        })
    }

    /// The checkpoint. It may be anyone's until [`SignedCheckpoint::verify`] says whose.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signatures, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// The checkpoint with some of its signatures; `None`: none is left.
    #[must_use]
    pub fn with_signatures(&self, is_kept: impl Fn(&Signature) -> bool) -> Option<Self> {
        let kept = self.signatures.iter().filter(|it| is_kept(it));
        let signatures: Vec<_> = kept.cloned().collect();
        (!signatures.is_empty()).then(|| Self {
            checkpoint: self.checkpoint.clone(),
            signatures,
        })
    }

    /// Which of some keys have signed, and when: in the order of the signatures, and once for each.
    /// Signatures of other keys are ignored.
    ///
    /// # Errors
    /// [`CheckpointError::WrongSignature`] when a signature has the name and the id of one of the
    /// keys and is not by it, and [`CheckpointError::NoKnownSignature`] when no key has signed.
    pub fn verify<'a>(
        &self,
        verifiers: impl IntoIterator<Item = &'a Verifier>,
    ) -> Result<Vec<Verified<'a>>, CheckpointError> {
        let verifiers: Vec<_> = verifiers.into_iter().collect();
        let mut all = Vec::new();
        for signature in &self.signatures {
            all.extend(verify_one(&self.checkpoint, signature, &verifiers)?);
        }
        if all.is_empty() {
            return Err(CheckpointError::NoKnownSignature);
        }
        Ok(all)
    }

    /// Adds the cosignatures of some witnesses; a witness that has cosigned before is listed with
    /// the new one only. Signatures of other keys are ignored.
    ///
    /// # Errors
    /// [`CheckpointError::WrongSignature`] when a signature has the name and the id of a witness
    /// and is not by it, [`CheckpointError::NoTime`] when it says no time,
    /// [`CheckpointError::NoKnownSignature`] when no witness has signed, and
    /// [`CheckpointError::Note`] when there would be more than [`SIGNATURES_MAX`]. The signatures
    /// are then as before.
    pub fn add_cosignatures(
        &mut self,
        cosignatures: &[Signature],
        witnesses: &[Verifier],
    ) -> Result<(), CheckpointError> {
        let known: Vec<_> = witnesses.iter().collect();
        let mut signatures = self.signatures.clone();
        let mut is_cosigned = false;
        for cosignature in cosignatures {
            let verified = verify_one(&self.checkpoint, cosignature, &known)?;
            let Some(first) = verified.first() else {
                continue;
            };
            if first.time_secs.unwrap_or(0) == 0 {
                return Err(CheckpointError::NoTime(shown(
                    cosignature.name().as_bytes(),
                )));
            }
            signatures.retain(|it| !is_same_signer(it, cosignature));
            signatures.push(cosignature.clone());
            is_cosigned = true;
        }
        if !is_cosigned {
            return Err(CheckpointError::NoKnownSignature);
        }
        check_count(signatures.len())?;
        self.signatures = signatures;
        Ok(())
    }
}

impl<'a> Verified<'a> {
    /// The key.
    #[must_use]
    pub const fn verifier(&self) -> &'a Verifier {
        self.verifier
    }

    /// When it signed, in seconds since 1970. `None` for keys that do not say; 0 where one could
    /// have.
    #[must_use]
    pub const fn time_secs(&self) -> Option<u64> {
        self.time_secs
    }
}

fn sign_one(
    checkpoint: &Checkpoint,
    signer: &Signer,
    time_secs: u64,
) -> Result<Signature, CheckpointError> {
    let verifier = signer.verifier();
    let message = checkpoint.message(verifier.key_type(), verifier.name(), time_secs);
    let mut bytes = Vec::new();
    if verifier.key_type().is_cosignature() {
        bytes.extend(time_secs.to_be_bytes());
    }
    bytes.extend(signer.sign(&message)?);
    let name = verifier.name().to_owned();
    Ok(Signature::new(name, verifier.key_id(), bytes))
}

/// By which of the keys a signature is: none when it has the name and the id of none of them. Ids
/// are short, so that two keys can have the same name and id; the signature has to be by one.
fn verify_one<'a>(
    checkpoint: &Checkpoint,
    signature: &Signature,
    verifiers: &[&'a Verifier],
) -> Result<Vec<Verified<'a>>, CheckpointError> {
    let (name, key_id) = (signature.name(), signature.key_id());
    let mut candidates = verifiers
        .iter()
        .filter(|it| it.name() == name && it.key_id() == key_id)
        .peekable();
    if candidates.peek().is_none() {
        return Ok(Vec::new());
    }
    let verified: Vec<_> = candidates
        .filter_map(|verifier| verify_by(checkpoint, signature, verifier))
        .collect();
    if verified.is_empty() {
        let name = shown(name.as_bytes());
        return Err(CheckpointError::WrongSignature { name, key_id });
    }
    Ok(verified)
}

fn verify_by<'a>(
    checkpoint: &Checkpoint,
    signature: &Signature,
    verifier: &'a Verifier,
) -> Option<Verified<'a>> {
    let key_type = verifier.key_type();
    let (time_secs, bytes) = if key_type.is_cosignature() {
        let (time, bytes) = signature.bytes().split_first_chunk()?;
        (Some(u64::from_be_bytes(*time)), bytes)
    } else {
        (None, signature.bytes())
    };
    let message = checkpoint.message(key_type, verifier.name(), time_secs.unwrap_or(0));
    let is_valid = time_secs.is_none_or(|it| it <= TIME_MAX_SECS);
    (is_valid && verifier.verifies(&message, bytes)).then_some(Verified {
        verifier,
        time_secs,
    })
}

fn is_same_signer(one: &Signature, other: &Signature) -> bool {
    one.name() == other.name() && one.key_id() == other.key_id()
}

const fn check_count(signatures: usize) -> Result<(), CheckpointError> {
    match signatures {
        0 => Err(CheckpointError::Note(NoteError::NoSignatures)),
        1..=SIGNATURES_MAX => Ok(()),
        _ => Err(CheckpointError::Note(NoteError::TooManySignatures(
            signatures,
        ))),
    }
}

/// Appends a text behind its size in 8 bits. Names and origins have no more than 255 bytes.
fn push_short(message: &mut Vec<u8>, text: &str) {
    message.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    message.extend(text.as_bytes());
}

/// Whether a text can be a line of a checkpoint.
fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.contains(|it: char| it < ' ')
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TreeHead { size, root } = self.head;
        let root = encode_base64(root.as_bytes());
        write!(f, "{}\n{size}\n{root}\n", self.origin)?;
        self.extensions
            .iter()
            .try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let wrong = |line, expected| CheckpointError::Text { line, expected };
        if text.len() > CHECKPOINT_MAX_BYTES {
            return Err(NoteError::TooLarge(text.len()).into());
        }
        let lines = text.lines().count();
        let text = text
            .strip_suffix('\n')
            .ok_or_else(|| wrong(lines, "ended by a newline"))?;
        let mut lines = text.split('\n');
        let origin = lines.next().unwrap_or_default();
        let size = lines
            .next()
            .and_then(decode_decimal)
            .ok_or_else(|| wrong(2, "a tree size: a decimal number without leading zeros"))?;
        let root = lines
            .next()
            .and_then(decode_hash)
            .ok_or_else(|| wrong(3, "a root hash: 32 bytes in base64"))?;
        let mut checkpoint = Self::new(origin, TreeHead { size, root })?;
        for (line, extension) in (4..).zip(lines) {
            if !is_line(extension) {
                return Err(wrong(line, "an extension line, which has characters"));
            }
            checkpoint.extensions.push(extension.to_owned());
        }
        Ok(checkpoint)
    }
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_note(&self.checkpoint, &self.signatures, f)
    }
}

#[cfg(test)]
mod tests;
