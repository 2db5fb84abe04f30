//! `keyward cert`: what governance signs with a key of its own, and what its receivers check.

mod check;
mod init;
pub(super) mod revocation;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueHint};

use super::{Failure, Status, open};
use crate::config::Config;
use crate::governance::{GOVERNANCE_KEYS_MAX_BYTES, parse_governance_keys};
use crate::log::{KeyFileError, read_key_file};
use crate::tlog::key::{Signer, Verifier};

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum CertCommand {
    /// Make the governance key, and the public part for who checks what it signs
    #[command(after_help = init::EXAMPLES)]
    Init,
    /// Certify that a key was revoked, in the log, and write the proof of that
    #[command(after_help = revocation::EXAMPLES)]
    Revocation(revocation::RevocationArgs),
    /// Check a certificate or a statement: with the policy file, the public key and nothing else
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
}

/// Whom to believe as governance.
#[derive(Args, Debug)]
struct PublicKey {
    /// The governance keys that are trusted; by default `governance.pub` beside the governance key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key: Option<PathBuf>,
}

/// Runs a command.
pub(super) fn run(config: &Path, command: &CertCommand) -> Result<Status, Failure> {
    match command {
        CertCommand::Init => init::run(config),
        CertCommand::Revocation(args) => revocation::run(config, args),
        CertCommand::Check(args) => check::run(config, args),
    }
}

/// Where the public part of a governance key is: beside it.
fn public_path(key: &Path) -> PathBuf {
    key.with_extension("pub")
}

/// The governance key of a configuration.
pub(super) fn governance_signer(config: &Config) -> Result<Signer, Failure> {
    let path = config.governance_key();
    let failed = |problem: &dyn std::fmt::Display| {
        Failure::usage(anyhow!(
            "the governance key `{}`: {problem}",
            path.display()
        ))
    };
    let mut signers = match read_key_file(&path) {
        Ok(signers) => signers,
        Err(KeyFileError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(failed(&"it is not there; make it with `keyward cert init`"));
        }
        Err(error) => return Err(failed(&error)),
    };
    match (signers.pop(), signers.pop()) {
        (Some(signer), None) => Ok(signer),
        _ => Err(failed(
            &"it has to hold one Ed25519 key, and is perhaps the log's key",
        )),
    }
}

impl PublicKey {
    fn read(&self, config: &Path) -> Result<Vec<Verifier>, Failure> {
        let path = match &self.key {
            Some(path) => path.clone(),
            None => public_path(&open::config(config)?.governance_key()),
        };
        let shown = path.display();
        let bytes = open::read_limited(&path, GOVERNANCE_KEYS_MAX_BYTES)
            .with_context(|| format!("the governance keys `{shown}` cannot be read"))
            .map_err(Failure::Usage)?;
        let failed = |error: &dyn std::fmt::Display| {
            Failure::usage(anyhow!("the governance keys `{shown}`: {error}"))
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| failed(&error))?;
        parse_governance_keys(text).map_err(|error| failed(&error))
    }
}
