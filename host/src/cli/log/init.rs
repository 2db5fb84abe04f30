//! `keyward log init`: the log's key and the policy file that goes to auditors.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::{Failure, Status, open, policy_path, print, write_result};
use crate::credential::random::{Randomness as _, operating_system};
use crate::log::{CHECKPOINT_FILE, create_key_file};
use crate::tlog::key::{SEED_BYTES, Signer};
use zeroize::Zeroizing;

pub(super) const EXAMPLES: &str = "\
Example:
  keyward log init     log.key is secret and has to be backed up; log.policy goes to auditors

From then on every host that writes the log signs it: a checkpoint within a second of a decision.";

/// Runs the command.
pub(super) fn run(config: &Path) -> Result<Status, Failure> {
    let config = open::config(config)?;
    let (log, origin) = (&config.log, &*config.log.origin);
    let (key, policy) = (&log.key, policy_path(&log.key));
    let is_signed = log.path.join(CHECKPOINT_FILE).exists();
    for taken in [key, &policy] {
        if taken.exists() {
            let taken = taken.display();
            return Err(Failure::usage(anyhow!(
                "`{taken}` is there already, and nothing was written: a log keeps its key"
            )));
        }
    }
    if is_signed {
        return Err(Failure::usage(anyhow!(
            "the log `{}` has been signed with a key that is not at `{}`; restore that key",
            log.path.display(),
            key.display()
        )));
    }
    let mut seeds = Zeroizing::new([[0; SEED_BYTES]; 2]);
    for seed in seeds.iter_mut() {
        let filled = operating_system().fill(seed);
        filled.map_err(Failure::storage)?;
    }
    let signers = create_key_file(key, origin, &seeds)
        .with_context(|| format!("`{}`", key.display()))
        .map_err(Failure::Usage)?;
    write_result(Some(&policy), &policy_text(origin, &signers))?;
    let mut text = String::new();
    for signer in &signers {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", signer.verifier());
    }
    let (key, policy) = (key.display(), policy.display());
    let _ = writeln!(
        text,
        "wrote `{key}`, which is secret, and `{policy}`, which auditors need"
    );
    print(&text)
}

/// Whom to trust, for an auditor: the log's keys, and no witness yet.
fn policy_text(origin: &str, signers: &[Signer]) -> String {
    let mut text = format!(
        "# Who signs the checkpoints of the log {origin} (C2SP tlog-policy).\n\
         # To ask for witnesses, add `witness <name> <vkey>` lines and name a quorum.\n"
    );
    for signer in signers {
        // Writing to a string does not fail.
        let _ = writeln!(text, "log {}", signer.verifier());
    }
    text.push_str("quorum none\n");
    text
}
