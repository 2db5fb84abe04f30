//! Proofs that stand alone: that an entry is in a log whose checkpoint is signed. They are files of
//! C2SP tlog-proof with the entry in them; who checks one needs a policy file and nothing else.

use std::path::Path;

use crate::log::{TileReadError, TileReader};
use crate::tlog::checkpoint::SignedCheckpoint;
use crate::tlog::merkle::{inclusion_proof, leaf_hash};
use crate::tlog::policy::{Accepted, Policy};
use crate::tlog::proof::{Proof, ProofError};

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// No checkpoint signs the entry yet.
    #[error(
        "entry {index} is not in the last checkpoint, which has {size} entries; a host that is \
         running signs it within its checkpoint interval"
    )]
    NotSigned {
        /// The index that was asked for.
        index: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// The proof cannot be made.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The entry is no longer kept.
    #[error(
        "entry {index} is no longer kept: entries below {below} were pruned by a written policy, \
         which is entry {record}"
    )]
    Pruned {
        /// The index that was asked for.
        index: u64,
        /// Below which index entries are not kept.
        below: u64,
        /// The entry that says so.
        record: u64,
    },
    /// A published file cannot be used.
    #[error(transparent)]
    Read(#[from] TileReadError),
}

/// The proof that an entry is in the last checkpoint of a log folder, or of a copy of it. Nothing
/// of it is verified; who checks the proof does that.
///
/// # Errors
/// [`ProveError`] when the entry is not in it, or the tiles cannot be used.
pub fn prove(folder: &Path, index: u64) -> Result<Proof, ProveError> {
    let tiles = TileReader::new(folder);
    let checkpoint = tiles.checkpoint()?;
    let size = checkpoint.checkpoint().head().size;
    if index >= size {
        return Err(ProveError::NotSigned { index, size });
    }
    if let Some(pruned) = tiles.pruned()?.filter(|it| index < it.retention.below) {
        let (below, record) = (pruned.retention.below, pruned.record);
        return Err(ProveError::Pruned {
            index,
            below,
            record,
        });
    }
    let entry = tiles.entry(index, size)?;
    let hashes = inclusion_proof(index, size, |level, index| tiles.node(level, index, size))?;
    Ok(Proof::new(index, hashes, checkpoint)?.with_extra(entry)?)
}

/// Checks a proof with the entry in it, and answers whose signatures vouch for it.
///
/// # Errors
/// [`ProofError`] when the proof does not hold.
pub fn check<'p>(proof: &Proof, policy: &'p Policy) -> Result<Accepted<'p>, ProofError> {
    proof.verify(&leaf_hash(proof.extra()), policy)
}

/// The last checkpoint of a log folder, or of a copy of it, and whose signatures satisfy a policy.
///
/// # Errors
/// When there is none, or none that the policy believes.
pub fn checkpoint<'p>(
    folder: &Path,
    policy: &'p Policy,
) -> Result<(SignedCheckpoint, Accepted<'p>), super::verify::VerifyError> {
    let checkpoint = TileReader::new(folder).checkpoint()?;
    let accepted = policy.check(&checkpoint)?;
    Ok((checkpoint, accepted))
}
