//! `keyward registry`: the registry file as a file.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand, ValueHint};

use super::key::keeper::{Intent, Keeper, os_user, registry_failed};
use super::{Failure, Status, open, print, say};
use crate::clock;
use crate::config::{Config, RegistrySource};
use crate::governance::principal::{Action, authorize};
use crate::governance::recorded::{RecordError, compare};
use crate::log::{LogReader, has_begun};
use crate::registry::sqlite::{Finding, SqliteError, SqliteRegistry};

/// The commands about the registry file.
#[derive(Subcommand, Debug)]
pub(super) enum RegistryCommand {
    /// Write a checked copy of the registry, while hosts and commands use it
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup {
        /// The copy, which must not be there yet
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Check everything that can be checked of the registry, and against the log
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Bring a registry of an earlier version of keyward up to date, and keep the old file
    #[command(after_help = MIGRATE_EXAMPLES)]
    Migrate,
}

/// Arguments of `keyward registry check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// The log that has to tell the same; by default that of the configuration, if it has begun
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    log: Option<PathBuf>,
}

const BACKUP_EXAMPLES: &str = "\
Example:
  keyward registry backup /backup/keyward-2026-11-23.db

To restore: stop every host, move `keyward.db`, `keyward.db-wal` and `keyward.db-shm` away, copy the
backup to `keyward.db`, and run `keyward registry check`.";

const CHECK_EXAMPLES: &str = "\
Examples:
  keyward registry check                 the registry, and that the log tells the same
  keyward registry check --log copy      with a copy of the log

Exit status: 0 nothing is wrong; 1 something is, each named on a line of its own; 3 the registry or
the log cannot be read.";

const MIGRATE_EXAMPLES: &str = "\
Example:
  keyward registry migrate     keyward.db is then of this version, keyward.db.v1 what it was before";

/// Runs one of the commands.
pub(super) fn run(config: &Path, command: &RegistryCommand) -> Result<Status, Failure> {
    let config = open::config(config)?;
    match command {
        RegistryCommand::Backup { file } => backup(&config, file),
        RegistryCommand::Check(args) => check(&config, args),
        RegistryCommand::Migrate => migrate(&config),
    }
}

fn backup(config: &Config, file: &Path) -> Result<Status, Failure> {
    let mut keeper = Keeper::look(config)?;
    // A copy has the digests of the secrets.
    keeper.authorize(Intent {
        action: Action::Export,
        key: None,
    })?;
    let checked = keeper
        .core
        .registry
        .backup(file, keeper.core.now)
        .map_err(|error| registry_failed(config, error))?;
    print(&format!(
        "{} keys and {} key events in `{}`\n",
        checked.keys,
        checked.events,
        file.display()
    ))
}

fn check(config: &Config, args: &CheckArgs) -> Result<Status, Failure> {
    let keeper = Keeper::look(config)?;
    let mut out = io::BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()));
    let mut write = |text: String| {
        let text = super::output::printable(&text);
        writeln!(out, "{text}").map_err(Failure::output)
    };
    let checked = keeper
        .core
        .registry
        .check(keeper.core.now, |finding: Finding| {
            write(finding.to_string())
        })?;
    let mut findings = checked.findings;
    let mut told = String::new();
    if let Some(folder) = log_folder(config, args)? {
        let compared = compare_with(&keeper.core.registry, &folder, |error| {
            findings = findings.saturating_add(1);
            write(format!("log `{}`: {error}", folder.display()))
        })?;
        told = format!(", {} of them in the log", compared.logged);
        if compared.pending > 0 {
            say(format_args!(
                "{} key events are not in the log yet; the next command or host that opens it \
                 records them",
                compared.pending
            ));
        }
    }
    if let Some(missing) = missing_log(config, args, &keeper.core.registry)? {
        // Without the log's key this may be a copy that is looked at elsewhere.
        if open::publishing(&config.log)?.is_some() {
            findings = findings.saturating_add(1);
            write(missing)?;
        } else {
            say(missing);
        }
    }
    let (keys, events) = (checked.keys, checked.events);
    write(format!(
        "{keys} keys and {events} key events{told}: {findings} things are wrong"
    ))?;
    out.flush().map_err(Failure::output)?;
    Ok(if findings == 0 {
        Status::Done
    } else {
        Status::DidNotHold
    })
}

/// The log to compare with; `None`: there is none yet.
fn log_folder(config: &Config, args: &CheckArgs) -> Result<Option<PathBuf>, Failure> {
    if let Some(folder) = &args.log {
        return Ok(Some(folder.clone()));
    }
    let folder = &config.log.path;
    let has_begun = has_begun(folder)
        .with_context(|| format!("log folder `{}`", folder.display()))
        .map_err(Failure::Storage)?;
    Ok(has_begun.then(|| folder.clone()))
}

/// What tells that there was a log which is not there any more.
fn missing_log(
    config: &Config,
    args: &CheckArgs,
    registry: &SqliteRegistry,
) -> Result<Option<String>, Failure> {
    if log_folder(config, args)?.is_some() {
        return Ok(None);
    }
    let known = registry.recorded(&config.log.origin)?;
    let folder = config.log.path.display();
    Ok(known.map(|known| {
        format!(
            "log `{folder}`: there is none, and the registry knows one `{}` that has its key events \
             up to {}: the folder was deleted or moved, or the configuration names another",
            config.log.origin, known.sequence
        )
    }))
}

fn compare_with(
    registry: &SqliteRegistry,
    folder: &Path,
    each: impl FnMut(RecordError) -> Result<(), Failure>,
) -> Result<crate::governance::recorded::Compared, Failure> {
    let reader = LogReader::open(folder)
        .with_context(|| format!("log folder `{}`", folder.display()))
        .map_err(Failure::Storage)?;
    compare(registry, &reader, each)
}

fn migrate(config: &Config) -> Result<Status, Failure> {
    let RegistrySource::Database(path) = &config.registry.source else {
        return Err(Failure::usage(anyhow!(
            "this configuration declares its keys in a file; there is nothing to migrate"
        )));
    };
    let now = clock::now();
    // A file of version 1 takes no event of a refusal.
    authorize(&config.principals, &os_user(config), (Action::Issue, now))
        .map_err(Failure::usage)?;
    let migrated = SqliteRegistry::migrate(path, now)
        .map_err(|error: SqliteError| registry_failed(config, error))?;
    match migrated {
        None => print("the registry is of this version already\n"),
        Some(migrated) => print(&format!(
            "{} keys are migrated; the old file is kept as `{}`\n",
            migrated.checked.keys,
            migrated.kept.display()
        )),
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::storage(error)
    }
}
