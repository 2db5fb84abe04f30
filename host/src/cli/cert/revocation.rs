//! `keyward cert revocation`: certifies a revocation in the log, and writes the proof of that.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueHint};

use super::super::key::OneKey;
use super::super::key::keeper::{Intent, Keeper};
use super::super::log::write_result;
use super::super::{Failure, Status, open, say};
use super::governance_signer;
use crate::audit::prove::{ProveError, prove};
use crate::config::Config;
use crate::governance::certificate::{CERTIFICATE_MAX_BYTES, Gathered, gather, limited};
use crate::governance::principal::Action;
use crate::key::KeyId;
use crate::key::state::State;
use crate::log::{Log, LogReader, Revocation};
use crate::timestamp::Timestamp;
use crate::tlog::key::Signer;
use crate::tlog::proof::Proof;

/// Arguments of `keyward cert revocation`.
#[derive(Args, Debug)]
pub(in crate::cli) struct RevocationArgs {
    #[command(flatten)]
    key: OneKey,
    /// Where to write the certificate; by default to standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward cert revocation k7Qp2mXw9LaR --out k7Qp2mXw9LaR.tlog-proof
  keyward cert check k7Qp2mXw9LaR.tlog-proof      what the receiver does

It needs a manager or an auditor, the governance key, and for the first certificate of a revocation
the log, which no host may be writing then. The second time the same entry is proved again.

A certificate has at most 6,144 bytes. A reason of more than 192 bytes is cut and committed to by
its digest; signatures of the checkpoint that do not fit are left out and named.";

/// Runs the command.
pub(super) fn run(config: &Path, args: &RevocationArgs) -> Result<Status, Failure> {
    let config = open::config(config)?;
    let key = args.key.id()?;
    let intent = Intent {
        action: Action::Certify,
        key: Some(key),
    };
    let mut keeper = Keeper::look(&config)?;
    keeper.authorize(intent)?;
    check_revoked(&keeper, key)?;
    drop(keeper);
    let governance = governance_signer(&config)?;
    let proof = match issued(&config, key, &governance)? {
        Some((index, proof)) => {
            say(format_args!("certified before, as entry {index}"));
            proof
        }
        None => issue(&config, intent, (key, &governance))?,
    };
    let limited = limited(&proof).map_err(Failure::usage)?;
    if !limited.left_out.is_empty() {
        say(format_args!(
            "{} of the checkpoint's {} signatures do not fit into the {CERTIFICATE_MAX_BYTES} bytes of \
             a certificate and are left out: {}",
            limited.left_out.len(),
            proof.checkpoint().signatures().len(),
            limited.left_out.join(", ")
        ));
    }
    write_result(args.out.as_deref(), &limited.proof.to_string())?;
    Ok(Status::Done)
}

fn check_revoked(keeper: &Keeper<'_>, key: KeyId) -> Result<(), Failure> {
    match keeper.core.registry.state(&key, keeper.core.now)? {
        Some((State::Revoked, _)) => Ok(()),
        Some((state, _)) => Err(Failure::usage(anyhow!(
            "key {key} is {}, and only a revoked key is certified as that",
            state.as_str()
        ))),
        None => Err(Failure::usage(anyhow!("the registry has no key `{key}`"))),
    }
}

/// The certificate that there is; `None`: there is none, or none that a checkpoint signs yet. A
/// host may be writing the log.
pub(in crate::cli) fn issued(
    config: &Config,
    key: KeyId,
    governance: &Signer,
) -> Result<Option<(u64, Proof)>, Failure> {
    let folder = &config.log.path;
    let Ok(reader) = LogReader::open(folder) else {
        return Ok(None);
    };
    let Some(index) = gathered(&reader, key, governance)
        .ok()
        .and_then(|it| it.issued)
    else {
        return Ok(None);
    };
    match prove(folder, index) {
        Ok(proof) => Ok(Some((index, proof))),
        Err(ProveError::NotSigned { .. }) => Ok(None),
        Err(error) => Err(failed(config, error)),
    }
}

/// Certifies the revocation in the log, unless that was cut off behind the entry.
fn issue(
    config: &Config,
    intent: Intent,
    (key, governance): (KeyId, &Signer),
) -> Result<Proof, Failure> {
    let Some(publishing) = open::publishing(&config.log)? else {
        return Err(Failure::usage(anyhow!(
            "the log `{}` is not signed, and a certificate is a proof of what is; `keyward log init` \
             makes its key",
            config.log.path.display()
        )));
    };
    let is_own = |log: &Signer| log.verifier().is_same_key(governance.verifier());
    if publishing.signers.iter().any(is_own) {
        return Err(Failure::usage(anyhow!(
            "the governance key is the log's; make another with `keyward cert init`"
        )));
    }
    let keeper = Keeper::begin(config, intent)?;
    let now = keeper.core.now;
    let Some(log) = keeper.into_log() else {
        return Err(Failure::storage(anyhow!(
            "a host is writing the log, and a certificate is an entry of its own; stop the host, or \
             certify when it has ended"
        )));
    };
    let reader = LogReader::open(&config.log.path).map_err(|error| failed(config, error))?;
    let gathered = gathered(&reader, key, governance)?;
    let index = match gathered.issued {
        Some(index) => index,
        None => append(&log, &gathered, (governance, now)).map_err(|it| failed(config, it))?,
    };
    let closed = log.close();
    if let Some(problem) = closed.problem {
        return Err(Failure::storage(anyhow!(
            "entry {index} certifies the revocation and could not be signed: {problem}; run the \
             command again"
        )));
    }
    prove(&config.log.path, index).map_err(|error| failed(config, error))
}

fn append(
    log: &Log,
    gathered: &Gathered,
    (governance, time): (&Signer, Timestamp),
) -> anyhow::Result<u64> {
    let cose = gathered.claims.sign(governance)?;
    let receipt = log.append_revocation(&Revocation { time, cose });
    Ok(receipt
        .context("the log does not take the revocation")?
        .index())
}

fn gathered(reader: &LogReader, key: KeyId, governance: &Signer) -> Result<Gathered, Failure> {
    gather(reader, key, governance.verifier()).map_err(Failure::storage)
}

fn failed(config: &Config, error: impl Into<anyhow::Error>) -> Failure {
    let context = format!("log folder `{}`", config.log.path.display());
    Failure::Storage(error.into().context(context))
}
