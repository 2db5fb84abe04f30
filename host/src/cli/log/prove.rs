//! `keyward log prove`: a proof that stands alone.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueHint};

use super::super::pruned_text;
use super::{Failure, Status, log_folder, write_result};
use crate::audit::find_decision;
use crate::audit::prove::prove;
use crate::decision::DecisionId;
use crate::log::LogReader;

/// Arguments of `keyward log prove`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ProveArgs {
    /// The entry: its index (any number is one), its decision id, or the id of the request that it
    /// decided
    entry: String,
    /// The log folder, or a copy of it; by default that of the configuration
    #[arg(value_hint = ValueHint::DirPath)]
    log: Option<PathBuf>,
    /// Where to write the proof; by default to standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    out: Option<PathBuf>,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward log prove 4 --out 4.tlog-proof
  keyward log prove q04 log > q04.tlog-proof     by the id of the request
  keyward log check-proof q04.tlog-proof         what the receiver does";

/// Runs the command.
pub(super) fn run(config: &Path, args: &ProveArgs) -> Result<Status, Failure> {
    let folder = log_folder(args.log.as_deref(), config)?;
    let context = || format!("log folder `{}`", folder.display());
    let index = match args.entry.parse::<u64>() {
        Ok(index) => index,
        Err(_) => find(&folder, &args.entry)?,
    };
    let proof = prove(&folder, index)
        .with_context(context)
        .map_err(Failure::Storage)?;
    write_result(args.out.as_deref(), &proof.to_string())?;
    Ok(Status::Done)
}

/// The index of the last decision with this id, or for the request with this id.
fn find(folder: &Path, name: &str) -> Result<u64, Failure> {
    let context = || format!("log folder `{}`", folder.display());
    let reader = LogReader::open(folder)
        .with_context(context)
        .map_err(Failure::Storage)?;
    let id: Option<DecisionId> = name.parse().ok();
    let found = find_decision(&reader, |record| {
        Some(record.id) == id || record.request.as_deref() == Some(name)
    });
    let found = found.with_context(context).map_err(Failure::Storage)?;
    found.map(|(index, _)| index).ok_or_else(|| {
        Failure::usage(anyhow!(
            "`{name}` is neither an index nor the id of a decision or request in `{}`{}",
            folder.display(),
            pruned_text(&reader).map_or_else(String::new, |it| format!("; {it}"))
        ))
    })
}
