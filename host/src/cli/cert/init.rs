//! `keyward cert init`: the governance key, and its public part.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use zeroize::Zeroizing;

use super::super::log::write_result;
use super::super::{Failure, Status, open, print};
use super::{governance_signer, public_path};
use crate::credential::random::{Randomness as _, operating_system};
use crate::log::create_key_file;
use crate::tlog::key::SEED_BYTES;

pub(super) const EXAMPLES: &str = "\
Example:
  keyward cert init     governance.key is secret and has to be backed up; governance.pub goes to
                        whoever checks certificates

Whoever holds this key can certify. Where the log is kept by others than those who govern keys, let
[governance] key name a file that the log's keepers cannot read.";

/// Runs the command.
pub(super) fn run(config: &Path) -> Result<Status, Failure> {
    let config = open::config(config)?;
    let key = config.governance_key();
    let public = public_path(&key);
    if key == public {
        return Err(Failure::usage(anyhow!(
            "`{}` is where the public part goes; name the key file otherwise, for example \
             `governance.key`",
            key.display()
        )));
    }
    let signer = match (key.exists(), public.exists()) {
        // What an earlier attempt did not come to.
        (true, false) => governance_signer(&config)?,
        (false, false) => {
            let mut seed = Zeroizing::new([[0; SEED_BYTES]]);
            for seed in seed.iter_mut() {
                let filled = operating_system().fill(seed);
                filled.map_err(Failure::storage)?;
            }
            let name = format!("{}/governance", config.log.origin);
            create_key_file(&key, &name, &*seed)
                .with_context(|| format!("`{}`", key.display()))
                .map_err(Failure::Usage)?;
            governance_signer(&config)?
        }
        (_, true) => {
            return Err(Failure::usage(anyhow!(
                "`{}` is there already, and nothing was written",
                public.display()
            )));
        }
    };
    let vkey = signer.verifier();
    let text = format!(
        "# Who signs as governance beside the log {} (a vkey of C2SP signed-note, Ed25519).\n{vkey}\n",
        config.log.origin
    );
    write_result(Some(&public), &text)?;
    print(&format!(
        "{vkey}\nwrote `{}`, which is secret, and `{}`, which auditors need\n",
        key.display(),
        public.display()
    ))
}
