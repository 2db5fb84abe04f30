//! `head`: the last checkpoint that this log has signed. It is durable before anyone is shown it,
//! and what is there when a log is opened has to fit it.

use std::fs;
use std::path::Path;

use super::super::tiles::{CHECKPOINT_FILE, TileReadError, TileReader};
use crate::tlog::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::tlog::key::Signer;

/// The file in a log folder.
pub const HEAD_FILE: &str = "head";

/// Why a log that was published is not gone on with.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The entries or tiles are not those that were signed.
    #[error(
        "the entries behind its last full bundle and its tiles do not lead to the root hash that \
         was signed at {size} entries: they were changed or damaged; keep the folder as it is, \
         restore a copy of it, and compare with `keyward log verify`"
    )]
    Fork {
        /// The size of the checkpoint.
        size: u64,
    },
    /// `head` is not a checkpoint of this log's key.
    #[error(
        "`{HEAD_FILE}` is not a checkpoint signed by the log's key ({0}); give keyward the key that \
         has signed the log so far, or restore the file from a copy"
    )]
    Head(CheckpointError),
    /// A checkpoint was shown, and `head` is not there.
    #[error("`{HEAD_FILE}` is missing beside `{CHECKPOINT_FILE}`; restore it from a copy")]
    Missing,
    /// The log has been signed, and no key is given.
    #[error(
        "the log is signed up to entry {size}, and no key is given to go on with; restore the key \
         file"
    )]
    NoKey {
        /// The size of the last checkpoint.
        size: u64,
    },
    /// The checkpoint of another log.
    #[error("`{HEAD_FILE}` is of the log `{0}`; move the file away")]
    Origin(String),
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] TileReadError),
    /// The log has fewer entries than were signed.
    #[error(
        "the log has {found} entries, and {signed} were signed: it was restored from an older copy \
         or cut off; restore the newest copy, or keep this folder as evidence and begin a new log \
         with another origin"
    )]
    Rollback {
        /// How many entries there are.
        found: u64,
        /// How many were signed.
        signed: u64,
    },
    /// A witness has cosigned another history.
    #[error(
        "the witness `{0}` has cosigned a history that this log does not continue: its entries were \
         changed, or another log was written under its name; keep the folder, and compare"
    )]
    Contradicted(String),
    /// A witness has seen more of the log than is there.
    #[error(
        "the witness `{witness}` has cosigned {seen} entries, and {signed} are signed here: the log \
         was restored from an older copy; restore the newest one"
    )]
    Witnessed {
        /// Its name in the policy.
        witness: String,
        /// How many entries it has seen.
        seen: u64,
        /// How many there are.
        signed: u64,
    },
    /// A checkpoint was shown that is newer than `head`, or another of its size.
    #[error(
        "`{CHECKPOINT_FILE}` has {shown} entries and is not one that `{HEAD_FILE}`, with {signed}, \
         continues: a part of the folder was restored from an older copy; restore all of the \
         newest copy"
    )]
    Shown {
        /// The size of the checkpoint that was shown.
        shown: u64,
        /// The size of `head`.
        signed: u64,
    },
}

/// The last checkpoint that a log of `end` entries has signed; `None`: none was ever.
pub(super) fn read(
    folder: &Path,
    (origin, signers): (&str, &[Signer]),
    end: u64,
) -> Result<Option<SignedCheckpoint>, HeadError> {
    let Some(head) = stored(folder)? else {
        return Ok(None);
    };
    let verifiers = || signers.iter().map(Signer::verifier);
    head.verify(verifiers()).map_err(HeadError::Head)?;
    let checkpoint = head.checkpoint();
    if checkpoint.origin() != origin {
        return Err(HeadError::Origin(checkpoint.origin().to_owned()));
    }
    let signed = checkpoint.head().size;
    if end < signed {
        return Err(HeadError::Rollback { found: end, signed });
    }
    // What is not a checkpoint of ours was torn by a power cut, and is written again.
    let shown = TileReader::new(folder).checkpoint().ok();
    let shown = shown.filter(|it| it.verify(verifiers()).is_ok());
    if let Some(shown) = shown.map(|it| it.checkpoint().head()) {
        let is_other = shown.size == signed && shown != checkpoint.head();
        if shown.size > signed || is_other {
            let shown = shown.size;
            return Err(HeadError::Shown { shown, signed });
        }
    }
    Ok(Some(head))
}

/// Refuses a log of fewer entries than were signed, before anything of it is changed. Whose the
/// signature is, is for [`read`] to say.
pub(in crate::log) fn check_end(folder: &Path, found: u64) -> Result<(), HeadError> {
    match stored(folder)?.map(|head| head.checkpoint().head().size) {
        Some(signed) if found < signed => Err(HeadError::Rollback { found, signed }),
        _ => Ok(()),
    }
}

/// Refuses to go on without a key where a log was signed: its checkpoints would silently end.
pub(in crate::log) fn check_unsigned(folder: &Path) -> Result<(), HeadError> {
    match stored(folder)?.map(|head| head.checkpoint().head().size) {
        Some(size) => Err(HeadError::NoKey { size }),
        None => Ok(()),
    }
}

/// `head` as it stands there; `None`: nothing was ever signed.
fn stored(folder: &Path) -> Result<Option<SignedCheckpoint>, HeadError> {
    match TileReader::new(folder).head() {
        Ok(None) if fs::exists(folder.join(CHECKPOINT_FILE)).unwrap_or(true) => {
            Err(HeadError::Missing)
        }
        Err(TileReadError::Checkpoint { source, .. }) => Err(HeadError::Head(source)),
        other => Ok(other?),
    }
}
