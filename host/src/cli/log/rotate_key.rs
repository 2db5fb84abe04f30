//! `keyward log rotate-key`: another key signs the log from now on, which the old one vouches for.
//!
//! ```text
//! log.key.next made ─► entry log-key, signed by the old key ─► checkpoint signed by both
//!                          ─► its proof and the policy written ─► log.key.next named log.key
//! ```
//! What is cut off anywhere is ended by running the command again.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use super::super::open::{next_key, read_signers, signed_by, signed_log};
use super::init::make_key;
use super::{Failure, Status, open, policy_path, print, write_result};
use crate::audit::prove::prove;
use crate::cli::key::keeper::may;
use crate::clock;
use crate::config::Config;
use crate::governance::principal::Action;
use crate::log::{Entry, Log, LogKey, LogReader, NO_POLICY_SET, TileReader};
use crate::tlog::key::Signer;

pub(super) const EXAMPLES: &str = "\
Example:
  keyward log rotate-key     while no host writes the log; then give log.policy and
                             log.rotation.tlog-proof to auditors, who check the proof with the
                             policy that they have";

/// Runs the command.
pub(super) fn run(config: &Path) -> Result<Status, Failure> {
    let config = open::config(config)?;
    may(&config, Action::KeepLog)?;
    let (log, folder) = (&config.log, &config.log.path);
    let next = next_key(log);
    let old = read_signers(&log.key)?;
    let new = if next.exists() {
        read_signers(&next)?
    } else {
        make_key(&next, &log.origin)?
    };
    let vkeys = |signers: &[Signer]| -> Vec<String> {
        let vkeys = signers.iter().map(|it| it.verifier().to_string());
        vkeys.collect()
    };
    let (previous, keys) = (vkeys(&old), vkeys(&new));
    let head = TileReader::new(folder).head();
    let head = head
        .with_context(context(&config))
        .map_err(Failure::Storage)?;
    let is_signed = head.is_some_and(|it| it.verify(new.iter().map(Signer::verifier)).is_ok());
    if !is_signed {
        let old = read_signers(&log.key)?;
        let signed = signed_log(&config, NO_POLICY_SET, Some(signed_by(log, old)?))?;
        let time = clock::now();
        let appended = signed.append_log_key(&LogKey {
            time,
            previous,
            keys: keys.clone(),
        });
        appended
            .with_context(context(&config))
            .map_err(Failure::Storage)?;
        close(signed)?;
    }
    sign_by_both(&config, new.into_iter().chain(old).collect())?;
    let index = last_rotation(folder, &keys).with_context(context(&config));
    let proof = prove(folder, index.map_err(Failure::Storage)?);
    let proof = proof
        .with_context(context(&config))
        .map_err(Failure::Storage)?;
    let proof_path = log.key.with_extension("rotation.tlog-proof");
    write_result(Some(&proof_path), &proof.to_string())?;
    let policy = policy_path(&log.key);
    rewrite_policy(&policy, &keys)?;
    std::fs::rename(&next, &log.key)
        .with_context(|| format!("`{}` cannot be renamed", next.display()))
        .map_err(Failure::Storage)?;
    print(&format!(
        "{}\nwrote `{}`, `{}` and `{}`, which the old key vouches with for the new one\n",
        keys.join("\n"),
        log.key.display(),
        policy.display(),
        proof_path.display()
    ))
}

fn context(config: &Config) -> impl Fn() -> String + '_ {
    || format!("log folder `{}`", config.log.path.display())
}

/// A checkpoint that whoever trusts either key believes.
fn sign_by_both(config: &Config, all: Vec<Signer>) -> Result<(), Failure> {
    close(signed_log(
        config,
        NO_POLICY_SET,
        Some(signed_by(&config.log, all)?),
    )?)
}

/// Closes the log, which has to be signed to its end.
fn close(log: Log) -> Result<(), Failure> {
    match log.close().problem {
        None => Ok(()),
        Some(problem) => Err(Failure::storage(anyhow!(
            "the log could not be signed: {problem}; run the command again"
        ))),
    }
}

/// The index of the last entry that says that these keys sign.
fn last_rotation(folder: &Path, keys: &[String]) -> anyhow::Result<u64> {
    let reader = LogReader::open(folder)?;
    let mut found = None;
    for entry in reader.entries() {
        let (index, bytes) = entry?;
        if let Ok(Entry::LogKey(log_key)) = Entry::decode(&bytes)
            && log_key.keys == keys
        {
            found = Some(index);
        }
    }
    found.context("the log has no entry on the rotation of its key")
}

/// Puts the new keys before the old ones, which older checkpoints are still checked with.
fn rewrite_policy(path: &Path, keys: &[String]) -> Result<(), Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "quorum none\n".to_owned(),
        Err(error) => return Err(Failure::usage(error)),
    };
    let is_log = |line: &&str| line.starts_with("log ") || line.starts_with("quorum ");
    let place = text.lines().position(|line| is_log(&line)).unwrap_or(0);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for key in keys.iter().rev() {
        let line = format!("log {key}");
        if !lines.contains(&line) {
            lines.insert(place.min(lines.len()), line);
        }
    }
    write_result(Some(path), &format!("{}\n", lines.join("\n")))
}
