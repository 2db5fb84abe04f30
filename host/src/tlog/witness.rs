//! The bodies of [tlog-witness]'s `add-checkpoint`: what a log asks a witness, and what the witness
//! answers. Sending them is somebody else's.
//!
//! ```text
//! request    old <size>
//!            (base64(<hash>))*    the consistency proof from the old size
//!                                 empty line
//!            <checkpoint>
//!
//! response   200   signature+     the cosignatures, as in a note
//!            400                  the request is malformed
//!            403                  no signature of a key that the witness knows for the log
//!            404                  the witness does not know the log
//!            409   <size>         the witness has last cosigned a tree of another size
//!            422                  the proof does not verify
//! ```
//! [tlog-witness]: https://c2sp.org/tlog-witness

use std::fmt;

use super::checkpoint::{CHECKPOINT_MAX_BYTES, CheckpointError, SignedCheckpoint};
use super::note::{NOTE_MAX_BYTES, NoteError, Signature, parse_signatures};
use super::text::{decode_decimal, decode_hash, encode_base64};
use crate::digest::Digest;

/// The most hashes in a request.
pub const PROOF_HASHES_MAX: usize = 63;
/// The largest request: 63 lines of 45 bytes, the first line, and a checkpoint.
pub const REQUEST_MAX_BYTES: usize = CHECKPOINT_MAX_BYTES + 4096;
/// The largest response worth reading.
pub const RESPONSE_MAX_BYTES: usize = NOTE_MAX_BYTES;
/// The content type of a response that says a size.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// What a log asks of a witness: to cosign a checkpoint that continues the one it cosigned last.
/// Whether the proof proves it is not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    // INVARIANT: at most the size of the checkpoint.
    old: u64,
    // INVARIANT: at most `PROOF_HASHES_MAX`, and none when `old` is 0.
    proof: Vec<Digest>,
    checkpoint: SignedCheckpoint,
}

/// What a witness answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// 409: it has last cosigned a tree of another size. One that is larger than the log's own
    /// means that the log has lost entries.
    Conflict {
        /// Which size.
        size: u64,
    },
    /// 200: its cosignatures, not verified. [`SignedCheckpoint::add_cosignatures`] does.
    Cosigned(Vec<Signature>),
    /// 422: the checkpoint does not continue the one it cosigned last.
    Inconsistent,
    /// 400: it does not understand the request.
    Malformed,
    /// 404: it does not know the log.
    UnknownLog,
    /// 403: it has no key for the log that the checkpoint is signed with.
    Untrusted,
}

/// Why some bytes are not a request or a response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// What is behind the empty line is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The response to 200 is not signature lines.
    #[error("the witness answers 200 and no cosignatures")]
    Cosignatures(#[source] NoteError),
    /// No empty line, and so no checkpoint behind it.
    #[error("the request has no checkpoint, which follows an empty line")]
    NoCheckpoint,
    /// Not the first line of a request.
    #[error("the first line of the request is not `old` and a size")]
    Old,
    /// The old size is over that of the checkpoint.
    #[error("the old size {old} is larger than the checkpoint's, {new}")]
    OldTooLarge {
        /// The old size.
        old: u64,
        /// The size of the checkpoint.
        new: u64,
    },
    /// A line that is not a hash.
    #[error("line {0} of the request is not a hash: 32 bytes in base64")]
    Proof(usize),
    /// Hashes where there have to be none.
    #[error("a proof from the old size 0 has no hashes")]
    ProofFromEmpty,
    /// The response to 409 is not a size.
    #[error("the witness answers 409 and no tree size")]
    Size,
    /// A status that the protocol does not have.
    #[error("the witness answers with the status {0}, which the protocol does not have")]
    Status(u16),
    /// Over [`REQUEST_MAX_BYTES`] or [`RESPONSE_MAX_BYTES`].
    #[error("a body of {found} bytes; the most is {max}")]
    TooLarge {
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Over [`PROOF_HASHES_MAX`].
    #[error("a proof of more than {PROOF_HASHES_MAX} hashes")]
    TooManyHashes,
}

impl AddCheckpoint {
    /// A request.
    ///
    /// # Errors
    /// [`WitnessError::OldTooLarge`], [`WitnessError::ProofFromEmpty`] and
    /// [`WitnessError::TooManyHashes`]: a witness would refuse them all.
    pub fn new(
        old: u64,
        proof: Vec<Digest>,
        checkpoint: SignedCheckpoint,
    ) -> Result<Self, WitnessError> {
        let new = checkpoint.checkpoint().head().size;
        if old > new {
            return Err(WitnessError::OldTooLarge { old, new });
        }
        if old == 0 && !proof.is_empty() {
            return Err(WitnessError::ProofFromEmpty);
        }
        if proof.len() > PROOF_HASHES_MAX {
            return Err(WitnessError::TooManyHashes);
        }
        Ok(Self {
            old,
            proof,
            checkpoint,
        })
    }

    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`WitnessError`] when the bytes are not one, over a limit, or refused by
    /// [`AddCheckpoint::new`].
    pub fn parse(body: &[u8]) -> Result<Self, WitnessError> {
        check_size(body, REQUEST_MAX_BYTES)?;
        let body = std::str::from_utf8(body).map_err(|_| CheckpointError::from(NoteError::Utf8))?;
        let (head, checkpoint) = body.split_once("\n\n").ok_or(WitnessError::NoCheckpoint)?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|line| decode_decimal(line.strip_prefix("old ")?))
            .ok_or(WitnessError::Old)?;
        let mut proof = Vec::new();
        for (number, line) in (2..).zip(lines) {
            if proof.len() == PROOF_HASHES_MAX {
                return Err(WitnessError::TooManyHashes);
            }
            proof.push(decode_hash(line).ok_or(WitnessError::Proof(number))?);
        }
        Self::new(old, proof, SignedCheckpoint::parse(checkpoint.as_bytes())?)
    }

    /// The size of the tree that the witness has last cosigned, as the log knows; 0 for none.
    #[must_use]
    pub const fn old(&self) -> u64 {
        self.old
    }

    /// The consistency proof from the old size to that of the checkpoint.
    #[must_use]
    pub fn proof(&self) -> &[Digest] {
        &self.proof
    }

    /// The checkpoint to cosign.
    #[must_use]
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

impl Response {
    /// Reads a response from its status and its body. The body counts for 200 and 409 only.
    ///
    /// # Errors
    /// [`WitnessError`] when it is none.
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, WitnessError> {
        check_size(body, RESPONSE_MAX_BYTES)?;
        match status {
            200 => parse_signatures(body)
                .map(Self::Cosigned)
                .map_err(WitnessError::Cosignatures),
            400 => Ok(Self::Malformed),
            403 => Ok(Self::Untrusted),
            404 => Ok(Self::UnknownLog),
            409 => std::str::from_utf8(body)
                .ok()
                .and_then(|body| decode_decimal(body.strip_suffix('\n')?))
                .map(|size| Self::Conflict { size })
                .ok_or(WitnessError::Size),
            422 => Ok(Self::Inconsistent),
            other => Err(WitnessError::Status(other)),
        }
    }
}

const fn check_size(body: &[u8], max: usize) -> Result<(), WitnessError> {
    let found = body.len();
    if found > max {
        return Err(WitnessError::TooLarge { found, max });
    }
    Ok(())
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", encode_base64(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests;
