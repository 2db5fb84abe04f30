//! `keyward log prune`: old entries go, by the policy that the configuration writes down.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{Failure, Status, open, print};
use crate::cli::key::keeper::may;
use crate::clock;
use crate::governance::principal::Action;
use crate::log::{LogReader, prunable};

/// Arguments of `keyward log prune`.
#[derive(Args, Debug)]
pub(in crate::cli) struct PruneArgs {
    /// Say which entries would go, and delete nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward log prune --dry-run     which entries are old enough
  keyward log prune               while no host writes the log

keyward.toml says how long entries are kept, and why:

  [log.retention]
  keep_days = 400
  policy = \"Security handbook 4.2: decisions are kept for 400 days\"

The log records that entries were pruned, below which index and by which policy, and the checkpoint
signs that before anything is deleted. The hashes stay: `keyward log verify` still checks all of the
log, and every proof that was given still holds.";

/// Runs the command.
pub(super) fn run(config: &Path, args: &PruneArgs) -> Result<Status, Failure> {
    let config = open::config(config)?;
    may(&config, Action::KeepLog)?;
    let Some(retention) = &config.log.retention else {
        return Err(Failure::usage(anyhow!(
            "`{}` has no [log.retention], and without a written policy a log is not pruned; \
             `keyward log prune --help` shows one",
            config.file.display()
        )));
    };
    let folder = &config.log.path;
    let context = || format!("log folder `{}`", folder.display());
    let now = clock::now();
    let before = retention.before(now);
    if args.dry_run {
        let below = prunable(folder, before);
        let below = below.with_context(context).map_err(Failure::Storage)?;
        return print(&would_go(kept_from(folder)?, below, before));
    }
    if open::publishing(&config.log)?.is_none() {
        return Err(Failure::usage(anyhow!(
            "the log `{}` is not signed, and only what is signed is pruned; `keyward log init` makes \
             its key",
            folder.display()
        )));
    }
    let log = open::kept_log(&config)?;
    let old = kept_from(folder)?;
    let pruned = log.prune((before, &retention.policy), now);
    let pruned = pruned.with_context(context).map_err(Failure::Storage)?;
    print(&match pruned {
        None => would_go(old, old, before),
        Some(pruned) => format!(
            "pruned: entries {old} to {}, all older than {before}; entry {} says so\n",
            pruned.retention.below.saturating_sub(1),
            pruned.record
        ),
    })
}

/// The first entry that is kept.
fn kept_from(folder: &Path) -> Result<u64, Failure> {
    let pruned = LogReader::open(folder).and_then(|reader| reader.pruned());
    let pruned = pruned.with_context(|| format!("log folder `{}`", folder.display()));
    let pruned = pruned.map_err(Failure::Storage)?;
    Ok(pruned.map_or(0, |it| it.retention.below))
}

fn would_go(kept_from: u64, below: u64, before: crate::timestamp::Timestamp) -> String {
    if below <= kept_from {
        return format!(
            "nothing to prune: from entry {kept_from} on there are no 256 entries in a row that are \
             signed and older than {before}\n"
        );
    }
    let last = below.saturating_sub(1);
    format!("would prune: entries {kept_from} to {last}, all older than {before}\n")
}
