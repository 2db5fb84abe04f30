//! The statement that nothing was allowed with a key from an entry of a log on. A proof of
//! inclusion cannot show that something is not there: somebody has to read the log and vouch for
//! it. The statement names the checkpoint to which the log was read, so that whoever has the log
//! can read it again ([`Statement::check_content`]); a log that contradicts it is another log.

use std::path::Path;

use crate::audit::uses::{Uses, UsesError, uses_in};
use crate::key::KeyId;
use crate::log::ORIGIN_MAX_BYTES;
use crate::timestamp::Timestamp;
use crate::tlog::checkpoint::{CHECKPOINT_MAX_BYTES, CheckpointError, SignedCheckpoint};
use crate::tlog::key::{KeyError, Signer, Verifier};
use crate::tlog::policy::{Accepted, Policy, RejectError};

use super::certificate::is_key_of_log;
use super::codec::{Read, Reader, Writer, Written, not};
use super::sign1::{self, Sign1Error, written};

/// As what the statement is signed.
pub const NO_ALLOW_CONTENT_TYPE: &str = "application/vnd.keyward.no-allow+cbor";
/// The largest statement.
pub const STATEMENT_MAX_BYTES: usize = CHECKPOINT_MAX_BYTES + 1_024;

const VERSION: u64 = 1;

/// What governance says of the uses of a key: that none was allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAllowClaims {
    /// When it was said.
    pub issued_at: Timestamp,
    /// The key.
    pub key: KeyId,
    /// The first entry that was read; the last is the last of the checkpoint.
    pub from: u64,
    /// How many decisions on the key there are among them, all of them denials.
    pub decisions: u64,
    /// The checkpoint to which the log was read.
    pub checkpoint: SignedCheckpoint,
}

/// A statement whose signatures hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// What it says.
    pub claims: NoAllowClaims,
    /// The governance key that has signed it.
    pub key: Verifier,
}

/// Which link of a statement is broken.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Governance's signature.
    #[error("governance's signature does not hold")]
    Sign1(#[from] Sign1Error),
    /// Over [`STATEMENT_MAX_BYTES`].
    #[error("a statement of {0} bytes; the most is {STATEMENT_MAX_BYTES}")]
    TooLarge(usize),
    /// What governance has signed is not readable.
    #[error("what governance has signed is not a statement in a form that this version knows")]
    Claims,
    /// The checkpoint in it is none.
    #[error("the checkpoint in it is none")]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint in it is not one of a log that the policy names.
    #[error("the checkpoint in it is not to be believed")]
    Reject(#[from] RejectError),
    /// One key would vouch for itself.
    #[error("the governance key is also a key of the log; it has to be one of its own")]
    SameKey,
    /// The log cannot be read, or is not the one that is signed.
    #[error("the log does not bear it out")]
    Log(#[from] UsesError),
    /// The log says something else.
    #[error(
        "the log says otherwise: {decisions} decisions on the key, {allowed} of them allowed; the \
         statement says {claimed}, all denied"
    )]
    Content {
        /// How many decisions there are.
        decisions: u64,
        /// How many allowed something.
        allowed: u64,
        /// How many the statement says.
        claimed: u64,
    },
}

impl NoAllowClaims {
    /// What can be said of what was read; `None`: something was allowed.
    #[must_use]
    pub fn of(uses: &Uses, issued_at: Timestamp) -> Option<Self> {
        (uses.allowed == 0).then(|| Self {
            issued_at,
            key: uses.key,
            from: uses.entries.start,
            decisions: uses.decisions,
            checkpoint: uses.checkpoint.clone(),
        })
    }

    /// The statement, signed.
    ///
    /// # Errors
    /// [`KeyError`] when the key does not sign.
    pub fn sign(&self, governance: &Signer) -> Result<Vec<u8>, KeyError> {
        sign1::sign(governance, (NO_ALLOW_CONTENT_TYPE, &self.encode()))
    }

    fn encode(&self) -> Vec<u8> {
        written(|cbor| self.write(Writer(cbor)))
    }

    fn write(&self, mut to: Writer<'_, '_>) -> Written {
        let checkpoint = self.checkpoint.checkpoint();
        to.0.array(9)?.u64(VERSION)?.str(checkpoint.origin())?;
        to.0.str(self.key.as_str())?;
        to.instant(self.issued_at)?;
        to.0.u64(self.from)?.u64(checkpoint.head().size)?;
        to.0.u64(self.decisions)?.u64(0)?;
        to.0.str(&self.checkpoint.to_string()).map(drop)
    }

    /// Refuses anything but the bytes of [`Self::encode`]: so the origin and the end are those of
    /// the checkpoint, and nothing was allowed.
    fn decode(bytes: &[u8]) -> Result<Self, StatementError> {
        let unread = Self::read(Reader::new(bytes)).map_err(|_| StatementError::Claims)?;
        let (issued_at, key, from, decisions, checkpoint) = unread;
        let claims = Self {
            issued_at,
            key,
            from,
            decisions,
            checkpoint: SignedCheckpoint::parse(checkpoint.as_bytes())?,
        };
        let is_range = from < claims.checkpoint.checkpoint().head().size;
        if is_range && claims.encode() == bytes {
            Ok(claims)
        } else {
            Err(StatementError::Claims)
        }
    }

    fn read(mut from: Reader<'_>) -> Read<(Timestamp, KeyId, u64, u64, &str)> {
        from.array_of(9)?;
        if from.number()? != VERSION {
            return Err(not("a version that is known"));
        }
        from.text(ORIGIN_MAX_BYTES)?;
        let (key, issued_at, first) = (from.key_id()?, from.instant()?, from.number()?);
        from.number()?;
        let decisions = from.number()?;
        from.number()?;
        let checkpoint = from.text(CHECKPOINT_MAX_BYTES)?;
        Ok((issued_at, key, first, decisions, checkpoint))
    }
}

impl Statement {
    /// Checks a statement's form and signatures with the log's policy and the keys of governance,
    /// and answers what it says and by whose signatures. The bytes may come from anywhere. Whether
    /// the log bears it out is for [`Self::check_content`].
    ///
    /// # Errors
    /// [`StatementError`] says which link is broken.
    pub fn check<'p>(
        bytes: &[u8],
        policy: &'p Policy,
        governance: &[Verifier],
    ) -> Result<(Self, Accepted<'p>), StatementError> {
        if bytes.len() > STATEMENT_MAX_BYTES {
            return Err(StatementError::TooLarge(bytes.len()));
        }
        let (payload, key) = sign1::open(bytes, NO_ALLOW_CONTENT_TYPE, governance)?;
        if is_key_of_log(key, policy) {
            return Err(StatementError::SameKey);
        }
        let claims = NoAllowClaims::decode(payload)?;
        let accepted = policy.check(&claims.checkpoint)?;
        let key = key.clone();
        Ok((Self { claims, key }, accepted))
    }

    /// Reads the log, or a copy of it, again. It may have gone on since.
    ///
    /// # Errors
    /// [`StatementError::Log`] and [`StatementError::Content`] when the log does not bear out what
    /// the statement says.
    pub fn check_content(&self, log: &Path) -> Result<(), StatementError> {
        let claims = &self.claims;
        let of = (claims.key, Some(claims.from));
        let uses = uses_in(log, claims.checkpoint.clone(), of)?;
        let (decisions, allowed, claimed) = (uses.decisions, uses.allowed, claims.decisions);
        if (decisions, allowed) == (claimed, 0) {
            return Ok(());
        }
        Err(StatementError::Content {
            decisions,
            allowed,
            claimed,
        })
    }
}

#[cfg(test)]
mod tests;
