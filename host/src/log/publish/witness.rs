//! Witnesses (C2SP tlog-witness): others who sign that what a log shows them continues what it has
//! shown them before. They keep nothing of it but the last checkpoint.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::super::tiles::{TileReadError, TileReader};
use super::head::HeadError;
use crate::tlog::checkpoint::{CheckpointError, SignedCheckpoint};
use crate::tlog::merkle::{MerkleError, consistency_proof};
use crate::tlog::note::Signature;
use crate::tlog::policy::{Policy, Witness};
use crate::tlog::witness::{AddCheckpoint, Response, WitnessError};

/// How often a witness is asked for one checkpoint: it may first have to say what it knows.
const TRIES_MAX: usize = 2;

/// Brings requests to witnesses. The log itself speaks no HTTP.
pub trait Courier: fmt::Debug + Send + Sync {
    /// Posts a body to a URL and returns the status and at most
    /// [`RESPONSE_MAX_BYTES`](crate::tlog::witness::RESPONSE_MAX_BYTES) of the answer's body. It
    /// ends within a few seconds and follows no redirection.
    ///
    /// # Errors
    /// A text that says why there is no answer.
    fn post(&self, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String>;
}

/// Whom a log asks to cosign its checkpoints.
#[derive(Clone, Debug)]
pub struct Witnesses {
    /// Every witness in it that has a URL is asked.
    pub policy: Arc<Policy>,
    /// Who brings the requests.
    pub courier: Arc<dyn Courier>,
}

/// Witnesses, and what is known of what they know.
#[derive(Debug)]
pub(super) struct Asked {
    witnesses: Witnesses,
    /// The size that each has cosigned last, by its name.
    cosigned: BTreeMap<String, u64>,
}

/// What came of asking one.
enum Answered {
    /// What it signed, not verified yet.
    Cosigned(Vec<Signature>),
    /// It has cosigned a larger tree.
    Larger(u64),
    /// It has cosigned another history.
    Contradicted,
    Failed(Failure),
}

/// Why a witness has not cosigned.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("{0}")]
    Courier(String),
    #[error("it does not know this log; give it the log's vkey")]
    Refused,
    #[error("it knows another size each time it is asked")]
    Restless,
    #[error(transparent)]
    Tiles(#[from] TileReadError),
    #[error(transparent)]
    Witness(#[from] WitnessError),
}

impl Asked {
    pub(super) const fn new(witnesses: Witnesses) -> Self {
        Self {
            witnesses,
            cosigned: BTreeMap::new(),
        }
    }

    /// Asks all witnesses at once to cosign a checkpoint of the tiles, and adds what they sign to
    /// it. Returns what went wrong: the error of the first who has seen more or something else,
    /// which at a start tells a log that was restored from an older copy, and a text for all.
    pub(super) fn cosign(
        &mut self,
        tiles: &TileReader,
        signed: &mut SignedCheckpoint,
    ) -> (Option<HeadError>, Option<String>) {
        let size = signed.checkpoint().head().size;
        let (courier, cosigned) = (&*self.witnesses.courier, &self.cosigned);
        let asked: Vec<(&Witness, Answered)> = std::thread::scope(|scope| {
            let witnesses = self.witnesses.policy.witnesses().iter();
            let started: Vec<_> = witnesses
                .filter_map(|witness| Some((witness, witness.url.as_deref()?)))
                .map(|(witness, url)| {
                    let known = cosigned.get(&witness.name).copied().unwrap_or(0);
                    let signed = &*signed;
                    let ask = move || ask((courier, url), (tiles, signed), known);
                    (witness, scope.spawn(ask))
                })
                .collect();
            let ended = started.into_iter().map(|(witness, it)| {
                let panicked = |_| Answered::Failed(Failure::Restless);
                (witness, it.join().unwrap_or_else(panicked))
            });
            ended.collect()
        });
        let (mut error, mut problems) = (None, Vec::new());
        for (witness, answered) in asked {
            let name = &witness.name;
            let found = match answered {
                Answered::Cosigned(signatures) => {
                    let keys = std::slice::from_ref(&witness.verifier);
                    match signed.add_cosignatures(&signatures, keys) {
                        Ok(()) => drop(self.cosigned.insert(name.clone(), size)),
                        Err(error) => problems.push(not_cosigned(name, &error.into())),
                    }
                    continue;
                }
                Answered::Larger(seen) => HeadError::Witnessed {
                    witness: name.clone(),
                    seen,
                    signed: size,
                },
                Answered::Contradicted => HeadError::Contradicted(name.clone()),
                Answered::Failed(failure) => {
                    problems.push(not_cosigned(name, &failure));
                    continue;
                }
            };
            problems.push(found.to_string());
            error = error.or(Some(found));
        }
        let problems = (!problems.is_empty()).then(|| problems.join("; "));
        (error, problems)
    }
}

fn not_cosigned(witness: &str, why: &Failure) -> String {
    format!("the witness `{witness}` has not cosigned: {why}")
}

/// Asks one witness to cosign a checkpoint, of which it knows a tree of size `known`.
fn ask(
    (courier, url): (&dyn Courier, &str),
    (tiles, signed): (&TileReader, &SignedCheckpoint),
    mut known: u64,
) -> Answered {
    let size = signed.checkpoint().head().size;
    let url = format!("{}/add-checkpoint", url.trim_end_matches('/'));
    for _ in 0..TRIES_MAX {
        match post((courier, &url), (tiles, signed), known) {
            Ok(Response::Cosigned(signatures)) => return Answered::Cosigned(signatures),
            Ok(Response::Conflict { size: seen }) if seen > size => return Answered::Larger(seen),
            // Of this very size it has another root; later versions of the protocol answer 422.
            Ok(Response::Conflict { size: seen }) if seen == known => {
                return Answered::Contradicted;
            }
            Ok(Response::Conflict { size: seen }) => known = seen,
            Ok(Response::Inconsistent) => return Answered::Contradicted,
            Ok(Response::Malformed | Response::Untrusted | Response::UnknownLog) => {
                return Answered::Failed(Failure::Refused);
            }
            Err(failure) => return Answered::Failed(failure),
        }
    }
    Answered::Failed(Failure::Restless)
}

fn post(
    (courier, url): (&dyn Courier, &str),
    (tiles, signed): (&TileReader, &SignedCheckpoint),
    known: u64,
) -> Result<Response, Failure> {
    let size = signed.checkpoint().head().size;
    let proof = consistency_proof(known, size, |level, index| {
        tiles.node(level, index, size).map_err(Failure::Tiles)
    })?;
    let request = AddCheckpoint::new(known, proof, signed.clone())?.to_string();
    let (status, body) = courier
        .post(url, request.as_bytes())
        .map_err(Failure::Courier)?;
    Ok(Response::parse(status, &body)?)
}

impl From<MerkleError> for Failure {
    fn from(error: MerkleError) -> Self {
        Self::Tiles(error.into())
    }
}
