//! `keyward log init`: the log, its key, and the policy file that goes to auditors.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::{Failure, Status, open, policy_path, print, write_result};
use crate::config::LogConfig;
use crate::credential::random::{Randomness as _, operating_system};
use crate::log::{CHECKPOINT_FILE, HEAD_FILE, create_key_file};
use crate::tlog::key::{SEED_BYTES, Signer};
use zeroize::Zeroizing;

pub(super) const EXAMPLES: &str = "\
Example:
  keyward log init     log.key is secret and has to be backed up; log.policy goes to auditors

It creates the log too, unless there is one. From then on every host that writes the log signs it:
a checkpoint every second while there is something new, and one when it ends.";

/// Runs the command.
pub(super) fn run(config: &Path) -> Result<Status, Failure> {
    let config = open::config(config)?;
    let (log, origin) = (&config.log, &*config.log.origin);
    let (key, policy) = (&log.key, policy_path(&log.key));
    if *key == policy {
        return Err(Failure::usage(anyhow!(
            "`{}` is where the policy goes; name the key file otherwise, for example `log.key`",
            key.display()
        )));
    }
    let signers = match (key.exists(), policy.exists()) {
        // What an earlier attempt did not come to.
        (true, false) => open::signers(log)?,
        (false, false) => {
            check_unsigned(log)?;
            make_key(key, origin)?
        }
        (_, true) => {
            return Err(Failure::usage(anyhow!(
                "`{}` is there already, and nothing was written: a log keeps its key",
                policy.display()
            )));
        }
    };
    let mut text = String::new();
    for signer in &signers {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", signer.verifier());
    }
    let trusted = policy_text(origin, &signers);
    open::create_log(&config, signers)?;
    write_result(Some(&policy), &trusted)?;
    let (key, policy) = (key.display(), policy.display());
    let _ = writeln!(
        text,
        "wrote `{key}`, which is secret, and `{policy}`, which auditors need"
    );
    print(&text)
}

/// Refuses to make a key for a log that another one has signed.
fn check_unsigned(log: &LogConfig) -> Result<(), Failure> {
    if [CHECKPOINT_FILE, HEAD_FILE].map(|it| log.path.join(it).exists()) != [false; 2] {
        return Err(Failure::usage(anyhow!(
            "the log `{}` has been signed with a key that is not at `{}`; restore that key",
            log.path.display(),
            log.key.display()
        )));
    }
    Ok(())
}

/// Makes a key file from random seeds.
pub(super) fn make_key(path: &Path, origin: &str) -> Result<Vec<Signer>, Failure> {
    let mut seeds = Zeroizing::new([[0; SEED_BYTES]; 2]);
    for seed in seeds.iter_mut() {
        let filled = operating_system().fill(seed);
        filled.map_err(Failure::storage)?;
    }
    create_key_file(path, origin, &*seeds)
        .with_context(|| format!("`{}`", path.display()))
        .map_err(Failure::Usage)
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
