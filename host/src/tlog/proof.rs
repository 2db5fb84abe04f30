//! [tlog-proof]: that an entry is in a log, in one text that is verified offline.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra base64(<bytes>)      left out when there are none
//! index <index of the entry>
//! (base64(<hash>))*          the inclusion proof
//!                            empty line
//! <checkpoint>
//! ```
//! The extra bytes are anyone's: no signature covers them. A log of ours puts the entry there, and
//! who verifies hashes it; then the proof does cover them.
//!
//! [tlog-proof]: https://c2sp.org/tlog-proof

use std::fmt;

use super::checkpoint::{CHECKPOINT_MAX_BYTES, CheckpointError, SignedCheckpoint};
use super::merkle::{INCLUSION_HASHES_MAX, MerkleError, verify_inclusion};
use super::note::NoteError;
use super::policy::{Accepted, Policy, RejectError};
use super::text::{decode_base64, decode_decimal, decode_hash, encode_base64};
use crate::digest::Digest;

/// The extension of the files that hold a proof.
pub const PROOF_EXTENSION: &str = "tlog-proof";
/// The most extra bytes.
pub const EXTRA_MAX_BYTES: usize = 1 << 20;
/// The largest proof: the extra bytes in base64, the hashes, and a checkpoint.
pub const PROOF_MAX_BYTES: usize = CHECKPOINT_MAX_BYTES + EXTRA_MAX_BYTES / 3 * 4 + 4096;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// A proof that an entry is in a log. It has not been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    // INVARIANT: at most `EXTRA_MAX_BYTES`.
    extra: Vec<u8>,
    index: u64,
    // INVARIANT: at most `INCLUSION_HASHES_MAX`.
    hashes: Vec<Digest>,
    checkpoint: SignedCheckpoint,
}

/// Why there is no such proof, or why it does not prove that the entry is in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// What is behind the empty line is not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The extra bytes are not base64, or none where the line should be left out.
    #[error("the extra bytes of the proof are not base64")]
    Extra,
    /// Over [`EXTRA_MAX_BYTES`].
    #[error("{0} extra bytes; the most is {EXTRA_MAX_BYTES}")]
    ExtraTooLarge(usize),
    /// Not the first line of a proof.
    #[error("not a proof: the first line is not `{FIRST_LINE}`")]
    FirstLine,
    /// A line that is not a hash.
    #[error("line {0} of the proof is not a hash: 32 bytes in base64")]
    Hash(usize),
    /// The checkpoint's tree does not have the entry.
    #[error("the checkpoint does not include the entry")]
    Included(#[from] MerkleError),
    /// No line that says the index.
    #[error("the proof does not say `index` and a number where it has to")]
    Index,
    /// No empty line, and so no checkpoint behind it.
    #[error("the proof has no checkpoint, which follows an empty line")]
    NoCheckpoint,
    /// The checkpoint does not satisfy the policy.
    #[error(transparent)]
    Reject(#[from] RejectError),
    /// Over [`PROOF_MAX_BYTES`].
    #[error("a proof of {0} bytes; the most is {PROOF_MAX_BYTES}")]
    TooLarge(usize),
    /// Over [`INCLUSION_HASHES_MAX`].
    #[error("a proof of more than {INCLUSION_HASHES_MAX} hashes")]
    TooManyHashes,
}

impl Proof {
    /// A proof from the index of the entry, its inclusion proof, and a checkpoint of the tree.
    ///
    /// # Errors
    /// [`ProofError::TooManyHashes`] over [`INCLUSION_HASHES_MAX`].
    pub fn new(
        index: u64,
        hashes: Vec<Digest>,
        checkpoint: SignedCheckpoint,
    ) -> Result<Self, ProofError> {
        if hashes.len() > INCLUSION_HASHES_MAX {
            return Err(ProofError::TooManyHashes);
        }
        Ok(Self {
            extra: Vec::new(),
            index,
            hashes,
            checkpoint,
        })
    }

    /// The proof with these extra bytes; with none, the proof has no such line.
    ///
    /// # Errors
    /// [`ProofError::ExtraTooLarge`] over [`EXTRA_MAX_BYTES`].
    pub fn with_extra(mut self, extra: Vec<u8>) -> Result<Self, ProofError> {
        if extra.len() > EXTRA_MAX_BYTES {
            return Err(ProofError::ExtraTooLarge(extra.len()));
        }
        self.extra = extra;
        Ok(self)
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`ProofError`] when the bytes are not one, or over a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        if bytes.len() > PROOF_MAX_BYTES {
            return Err(ProofError::TooLarge(bytes.len()));
        }
        let text =
            std::str::from_utf8(bytes).map_err(|_| CheckpointError::from(NoteError::Utf8))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError::NoCheckpoint)?;
        let mut lines = (1..).zip(head.split('\n')).peekable();
        lines
            .next_if(|(_, line)| *line == FIRST_LINE)
            .ok_or(ProofError::FirstLine)?;
        let extra = lines
            .next_if(|(_, line)| line.starts_with("extra "))
            .map(|(_, line)| read_extra(line).ok_or(ProofError::Extra))
            .transpose()?
            .unwrap_or_default();
        let index = lines
            .next()
            .and_then(|(_, line)| decode_decimal(line.strip_prefix("index ")?))
            .ok_or(ProofError::Index)?;
        let mut hashes = Vec::new();
        for (number, line) in lines {
            if hashes.len() == INCLUSION_HASHES_MAX {
                return Err(ProofError::TooManyHashes);
            }
            hashes.push(decode_hash(line).ok_or(ProofError::Hash(number))?);
        }
        let checkpoint = SignedCheckpoint::parse(checkpoint.as_bytes())?;
        Self::new(index, hashes, checkpoint)?.with_extra(extra)
    }

    /// Verifies that an entry, by its [`leaf_hash`](super::merkle::leaf_hash), is at the proof's
    /// index in a tree whose checkpoint satisfies a policy; and answers by whose signatures.
    ///
    /// # Errors
    /// [`ProofError::Reject`] and [`ProofError::Included`] when it does not.
    pub fn verify<'a>(
        &self,
        leaf: &Digest,
        policy: &'a Policy,
    ) -> Result<Accepted<'a>, ProofError> {
        let accepted = policy.check(&self.checkpoint)?;
        let head = self.checkpoint.checkpoint().head();
        verify_inclusion(leaf, self.index, &self.hashes, &head)?;
        Ok(accepted)
    }

    /// The extra bytes, which nobody has signed.
    #[must_use]
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }

    /// The index of the entry.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion proof.
    #[must_use]
    pub fn hashes(&self) -> &[Digest] {
        &self.hashes
    }

    /// The checkpoint of the tree.
    #[must_use]
    pub const fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }
}

/// The extra bytes that a line says: at least one.
fn read_extra(line: &str) -> Option<Vec<u8>> {
    decode_base64(line.strip_prefix("extra ")?).filter(|extra| !extra.is_empty())
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", encode_base64(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", encode_base64(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests;
