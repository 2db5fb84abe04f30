//! `keyward log check-proof`: what somebody does who has a proof and the policy file, nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueHint};

use super::cat::entry_line;
use super::{Failure, PolicyFile, Status, open, print, signed_text};
use crate::audit::prove::check;
use crate::cli::complain;
use crate::tlog::proof::{PROOF_MAX_BYTES, Proof};

/// Arguments of `keyward log check-proof`.
#[derive(Args, Debug)]
pub(in crate::cli) struct CheckProofArgs {
    /// The proof
    #[arg(value_hint = ValueHint::FilePath)]
    proof: PathBuf,
    #[command(flatten)]
    policy: PolicyFile,
}

pub(super) const EXAMPLES: &str = "\
Example:
  keyward log check-proof q04.tlog-proof --policy log.policy

Exit status: 0 the entry that it shows is in the log; 1 the proof does not hold.";

/// Runs the command.
pub(super) fn run(config: &Path, args: &CheckProofArgs) -> Result<Status, Failure> {
    let policy = args.policy.read(config)?;
    let shown = args.proof.display();
    let bytes = open::read_limited(&args.proof, PROOF_MAX_BYTES)
        .with_context(|| format!("the proof `{shown}` cannot be read"))
        .map_err(Failure::Usage)?;
    let checked = Proof::parse(&bytes)
        .and_then(|proof| check(&proof, &policy).map(|accepted| (proof, accepted)));
    match checked {
        Ok((proof, accepted)) => {
            print(&entry_line(proof.index(), proof.extra()))?;
            let signed = signed_text(proof.checkpoint(), &accepted);
            print(&format!("entry {} is in the log\n{signed}", proof.index()))
        }
        Err(error) => {
            complain(&anyhow!("the proof `{shown}` does not hold: {error}"));
            Ok(Status::DidNotHold)
        }
    }
}
