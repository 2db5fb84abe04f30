//! `keyward log`: the log as a transparency log, for those who keep it and those who check it.

mod cat;
mod check_proof;
mod init;
mod prove;
mod prune;
mod rotate_key;
mod verify;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueHint};

use super::{Failure, Status, log_folder, open, print};
use crate::audit::prove::checkpoint;
use crate::timestamp::Timestamp;
use crate::tlog::checkpoint::SignedCheckpoint;
use crate::tlog::key::KeyType;
use crate::tlog::policy::{Accepted, Policy};
pub(super) use cat::{decision_json, key_event_json};

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum LogCommand {
    /// Create a signed log: the key for its checkpoints, and the policy file for who checks them
    #[command(after_help = init::EXAMPLES)]
    Init,
    /// Hash every entry, and compare with what the last checkpoint signs
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Show the last checkpoint, and whose signatures on it are good
    #[command(after_help = CHECKPOINT_EXAMPLES)]
    Checkpoint(CheckpointArgs),
    /// Write the proof that an entry is in the log, which stands alone
    #[command(after_help = prove::EXAMPLES)]
    Prove(prove::ProveArgs),
    /// Check a proof: with the policy file and nothing else
    #[command(after_help = check_proof::EXAMPLES)]
    CheckProof(check_proof::CheckProofArgs),
    /// Replace the key that signs the log, with the old one vouching for the new
    #[command(after_help = rotate_key::EXAMPLES)]
    RotateKey,
    /// Delete old entries, by the written policy of the configuration; their hashes stay
    #[command(after_help = prune::EXAMPLES)]
    Prune(prune::PruneArgs),
    /// Show the entries as JSON Lines
    #[command(after_help = cat::EXAMPLES)]
    Cat(cat::CatArgs),
}

/// Arguments of `keyward log checkpoint`.
#[derive(Args, Debug)]
pub(super) struct CheckpointArgs {
    #[command(flatten)]
    trusted: TrustedLog,
    /// Print the checkpoint itself, to be kept or passed on
    #[arg(long)]
    raw: bool,
}

const CHECKPOINT_EXAMPLES: &str = "\
Examples:
  keyward log checkpoint                                  how far the log is signed, and by whom
  keyward log checkpoint --raw > checkpoint-2026-11-23    kept, so that no other history can be shown";

/// A log folder, and who is trusted to sign it.
#[derive(Args, Debug)]
pub(super) struct TrustedLog {
    /// The log folder, or a copy of it; by default that of the configuration
    #[arg(value_hint = ValueHint::DirPath)]
    log: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyFile,
}

/// Who is trusted.
#[derive(Args, Debug)]
pub(super) struct PolicyFile {
    /// Who is trusted to sign (C2SP tlog-policy); by default `log.policy` beside the log's key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,
}

/// Runs a command.
pub(super) fn run(config: &Path, command: &LogCommand) -> Result<Status, Failure> {
    match command {
        LogCommand::Init => init::run(config),
        LogCommand::Verify(args) => verify::run(config, args),
        LogCommand::Checkpoint(args) => show_checkpoint(config, args),
        LogCommand::Prove(args) => prove::run(config, args),
        LogCommand::CheckProof(args) => check_proof::run(config, args),
        LogCommand::RotateKey => rotate_key::run(config),
        LogCommand::Prune(args) => prune::run(config, args),
        LogCommand::Cat(args) => cat::run(config, args),
    }
}

fn show_checkpoint(config: &Path, args: &CheckpointArgs) -> Result<Status, Failure> {
    let (folder, policy) = args.trusted.read(config)?;
    let (checkpoint, accepted) = checkpoint(&folder, &policy)
        .with_context(|| format!("log folder `{}`", folder.display()))
        .map_err(Failure::Storage)?;
    if args.raw {
        return print(&checkpoint.to_string());
    }
    print(&signed_text(&checkpoint, &accepted))
}

impl TrustedLog {
    pub(super) fn read(&self, config: &Path) -> Result<(PathBuf, Policy), Failure> {
        let folder = log_folder(self.log.as_deref(), config)?;
        Ok((folder, self.policy.read(config)?))
    }
}

impl PolicyFile {
    pub(super) fn read(&self, config: &Path) -> Result<Policy, Failure> {
        let path = match &self.policy {
            Some(path) => path.clone(),
            None => policy_path(&open::config(config)?.log.key),
        };
        if self.policy.is_none() && !path.exists() {
            return Err(Failure::usage(anyhow!(
                "there is no policy `{}`; name the file that the log's operator gave you with \
                 --policy",
                path.display()
            )));
        }
        open::tlog_policy(&path)
    }
}

/// Where the policy file of a log is: beside its key.
pub(super) fn policy_path(key: &Path) -> PathBuf {
    key.with_extension("policy")
}

/// A checkpoint, and whose signatures on it are good.
pub(super) fn signed_text(checkpoint: &SignedCheckpoint, accepted: &Accepted<'_>) -> String {
    let mut text = String::new();
    let head = checkpoint.checkpoint().head();
    let origin = checkpoint.checkpoint().origin();
    // Writing to a string does not fail.
    let mut line = |line: String| {
        let _ = writeln!(text, "{line}");
    };
    line(format!("{origin}: {} entries", head.size));
    line(format!("  root      {}", head.root));
    for log in &accepted.logs {
        let verifier = &log.verifier;
        line(format!(
            "  signed    {} ({}, key {:08x})",
            verifier.name(),
            key_type(verifier.key_type()),
            verifier.key_id()
        ));
    }
    for (witness, time_secs) in &accepted.witnesses {
        let millis = i64::try_from(time_secs.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let time = Timestamp::from_millis(millis);
        line(format!("  witnessed {} at {time}", witness.name));
    }
    text
}

const fn key_type(key_type: KeyType) -> &'static str {
    match key_type {
        KeyType::Ed25519 => "Ed25519",
        KeyType::Ed25519Cosignature => "Ed25519, cosignature",
        KeyType::MlDsa44Cosignature => "ML-DSA-44",
    }
}

/// Writes a file, whole or not at all; `None`: to standard output. What is no file, such as a
/// terminal or a link, is written to and not replaced.
pub(super) fn write_result(path: Option<&Path>, text: &str) -> Result<(), Failure> {
    match path {
        Some(path) => write_file(path, text.as_bytes()),
        None => print(text).map(drop),
    }
}

/// Writes a file, whole or not at all, as [`write_result`] does.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if std::fs::symlink_metadata(path).is_ok_and(|it| !it.is_file()) {
        return std::fs::write(path, bytes)
            .with_context(|| format!("`{}` cannot be written", path.display()))
            .map_err(Failure::Usage);
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", process::id()));
    let written = || {
        let mut file = std::fs::File::create_new(&temporary)?;
        file.write_all(bytes)?;
        std::fs::rename(&temporary, path)
    };
    written()
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        .with_context(|| format!("`{}` cannot be written", path.display()))
        .map_err(Failure::Usage)
}
