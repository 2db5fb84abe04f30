//! `keyward log verify`: whether the log holds exactly what its checkpoint signs.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueHint};

use super::super::output::{ALLOW, DENY, NOTE};
use super::{Failure, Status, TrustedLog, open, print, signed_text};
use crate::audit::verify::{PROBLEMS_MAX, Verification, VerifyError, VerifyOptions, verify};
use crate::cli::{complain, say};
use crate::tlog::checkpoint::{CHECKPOINT_MAX_BYTES, SignedCheckpoint};

/// Arguments of `keyward log verify`.
#[derive(Args, Debug)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    trusted: TrustedLog,
    /// A checkpoint that you kept when the log was last verified: only what is new is
    /// hashed, and the log has to continue it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    since: Option<PathBuf>,
    /// How many threads hash; by default one for each processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: Option<u16>,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward log verify                                         the log of the configuration
  keyward log verify copy --policy log.policy                a copy, trusting the keys in that file
  keyward log verify --since checkpoint-2026-11-23           only what is new, and that it continues

Exit status: 0 everything is as signed; 1 something is not, and which entries are concerned;
3 the log cannot be read.";

/// Entries between two words on the progress.
const PROGRESS_ENTRIES: u64 = 1 << 20;

/// Runs the command.
pub(super) fn run(config: &Path, args: &VerifyArgs) -> Result<Status, Failure> {
    let (folder, policy) = args.trusted.read(config)?;
    let since = args.since.as_deref().map(read_checkpoint).transpose()?;
    let told = AtomicU64::new(0);
    let shows_progress = std::io::stderr().is_terminal();
    let progress = |done: u64| {
        let step = done / PROGRESS_ENTRIES;
        if shows_progress && told.fetch_max(step, Ordering::Relaxed) < step {
            say(format_args!("{done} entries verified"));
        }
    };
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = VerifyOptions {
        policy: &policy,
        since: since.as_ref(),
        threads: args.threads.map_or_else(available, usize::from),
        progress: &progress,
    };
    let context = format!("log folder `{}`", folder.display());
    let verified = match verify(&folder, &options) {
        Ok(verified) => verified,
        // What is signed wrongly was read, and does not hold.
        Err(error @ (VerifyError::Reject(_) | VerifyError::Since(_))) => {
            complain(&anyhow::Error::new(error).context(context));
            return Ok(Status::DidNotHold);
        }
        Err(error) => return Err(Failure::Storage(anyhow::Error::new(error).context(context))),
    };
    let accepted = policy.check(&verified.checkpoint);
    let accepted = accepted.map_err(Failure::storage)?;
    print(&signed_text(&verified.checkpoint, &accepted))?;
    print(&findings(&verified))?;
    Ok(if verified.problems.is_empty() {
        Status::Done
    } else {
        Status::DidNotHold
    })
}

fn findings(verified: &Verification) -> String {
    let entries = &verified.entries;
    let count = entries.end.saturating_sub(entries.start);
    let mut text = String::new();
    for problem in &verified.problems {
        let (first, last) = (problem.first, problem.last);
        let place = if first == last {
            format!("entry {first}")
        } else {
            format!("entries {first} to {last}")
        };
        text.push_str(&format!(
            "{DENY}wrong{DENY:#}     {place}: {}\n",
            problem.what
        ));
    }
    if verified.problems.len() >= PROBLEMS_MAX {
        text.push_str(&format!(
            "the first {PROBLEMS_MAX} problems; there may be more\n"
        ));
    }
    if let Some(pruned) = &verified.pruned {
        let retention = &pruned.retention;
        text.push_str(&format!(
            "{NOTE}pruned{NOTE:#}    entries under {}, all older than {}: their hashes were verified\n  \
             by entry {} of {}: {}\n",
            retention.below,
            retention.before,
            pruned.record,
            retention.time,
            retention.policy.escape_debug()
        ));
    }
    if let Some(unsigned) = verified.unsigned.filter(|unsigned| *unsigned > 0) {
        text.push_str(&format!(
            "{NOTE}not yet signed{NOTE:#}: the last {unsigned} entries\n"
        ));
    }
    if verified.problems.is_empty() {
        text.push_str(&format!("{ALLOW}verified{ALLOW:#}: {count} entries\n"));
    }
    text
}

/// A checkpoint that somebody kept.
fn read_checkpoint(path: &Path) -> Result<SignedCheckpoint, Failure> {
    let shown = path.display();
    let bytes = open::read_limited(path, CHECKPOINT_MAX_BYTES)
        .with_context(|| format!("the checkpoint `{shown}` cannot be read"))
        .map_err(Failure::Usage)?;
    SignedCheckpoint::parse(&bytes)
        .map_err(|error| Failure::usage(anyhow!("the checkpoint `{shown}`: {error}")))
}
