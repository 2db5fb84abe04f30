//! `keyward key`: issue, import, export, list and show keys.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use clap::{ArgGroup, Args, Subcommand, ValueEnum, ValueHint};

use super::output::{FAINT, NOTE, clip};
use super::{Failure, Status, open, print, say};
use crate::address::Network;
use crate::clock;
use crate::config::{Config, RegistrySource};
use crate::credential::random::operating_system;
use crate::facts::Facts;
use crate::key::json::KeyFile;
use crate::key::{Environment, KeyId, KeyRecord};
use crate::policy::PolicySet;
use crate::registry::sqlite::{Change, NewKey, SqliteError, SqliteRegistry};
use crate::timestamp::Timestamp;

/// The commands about keys.
#[derive(Subcommand, Debug)]
pub(super) enum KeyCommand {
    /// Issue a key; its secret is shown once, here, and kept nowhere
    #[command(after_help = ISSUE_EXAMPLES)]
    Issue(IssueArgs),
    /// Import keys from a file, all of them or none
    Import {
        /// JSON Lines, or TOML with [[key]] when the name ends in .toml
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Who imports them, for the key events
        #[arg(long, value_name = "NAME")]
        actor: Option<String>,
    },
    /// Print every key as JSON Lines, with the digests of the secrets
    Export,
    /// List keys, and mark those that break the policies' rules
    List,
    /// Show everything about a key
    Show {
        /// The key's id
        id: String,
    },
}

/// Arguments of `keyward key issue`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("end").required(true).args(["expires_at", "expires_in_days"])))]
pub(super) struct IssueArgs {
    /// Who answers for the key
    #[arg(long)]
    owner: String,
    /// What it may do: `resource:action`; may be given more than once
    #[arg(long = "scope", required = true, value_name = "SCOPE")]
    scopes: Vec<String>,
    /// When it ends, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires_at: Option<Timestamp>,
    /// When it ends, counted from now
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in_days: Option<u32>,
    /// From when it may be used
    #[arg(long, value_name = "TIME", value_parser = time)]
    not_before: Option<Timestamp>,
    /// When it should be rotated
    #[arg(long, value_name = "TIME", value_parser = time)]
    rotate_by: Option<Timestamp>,
    /// From where it may be used, for example 203.0.113.0/24; may be given more than once
    #[arg(long = "allow-network", value_name = "NETWORK")]
    networks: Vec<Network>,
    /// Put it under the read-only mask
    #[arg(long)]
    read_only: bool,
    /// A label, `name=value`; may be given more than once
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The environment that its credential names
    #[arg(long, value_enum, default_value = "live")]
    environment: EnvironmentArg,
    /// Who issues it, for the key events
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
}

/// The environments, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EnvironmentArg {
    /// Production
    Live,
    /// Everything else
    Test,
}

const ISSUE_EXAMPLES: &str = "\
Example:
  keyward key issue --owner inventory-sync --scope inventory:read --expires-in-days 90 \\
    --allow-network 203.0.113.0/24 --label connector=quickbooks";

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write `name=value`")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs one of the commands.
pub(super) fn run(config: &Path, command: &KeyCommand) -> Result<Status, Failure> {
    let config = open::config(config)?;
    match command {
        KeyCommand::Issue(args) => issue(&config, args),
        KeyCommand::Import { file, actor } => import(&config, file, actor.as_deref()),
        KeyCommand::Export => export(&config),
        KeyCommand::List => list(&config),
        KeyCommand::Show { id } => show(&config, id),
    }
}

fn issue(config: &Config, args: &IssueArgs) -> Result<Status, Failure> {
    let now = clock::now();
    check_arguments(args)?;
    let end = args
        .expires_in_days
        .map(|days| Timestamp::from_millis(now.millis().saturating_add(i64::from(days) * DAY_MS)));
    let new = NewKey {
        owner: args.owner.clone(),
        environment: match args.environment {
            EnvironmentArg::Live => Environment::Live,
            EnvironmentArg::Test => Environment::Test,
        },
        scopes: args.scopes.clone(),
        expires_at: args.expires_at.or(end).ok_or_else(|| {
            Failure::usage(anyhow!(
                "a key needs an end; give --expires-at or --expires-in-days"
            ))
        })?,
        not_before: args.not_before,
        rotate_by: args.rotate_by,
        allowed_networks: (!args.networks.is_empty()).then(|| args.networks.clone()),
        read_only: args.read_only,
        labels: args.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
    };
    let change = Change {
        at: now,
        actor: args.actor.as_deref(),
    };
    let (record, secret) = database(config, SqliteRegistry::open)?
        .issue(&new, change, &mut operating_system())
        .map_err(|error| registry_failed(config, error))?;
    warn_of(config, &record, now);
    let (id, owner) = (record.id, clip(&record.owner, 80));
    say(format_args!(
        "key {id} of {owner}; the credential below is shown this once and cannot be recovered"
    ));
    print(&format!("{}\n", secret.expose())).inspect_err(|_| {
        say(format_args!(
            "key {id} was issued, but its credential could not be shown and is lost; issue another"
        ));
    })
}

/// Says what the policies will hold against a key that was just issued. A configuration whose
/// policies do not load is for `check` to complain about.
fn warn_of(config: &Config, record: &KeyRecord, now: Timestamp) {
    let Ok(engine) = open::engine() else { return };
    let Ok(policies) = open::policies(&config.policies, &engine) else {
        return;
    };
    for reason in not_compliant(&policies, record.clone(), now) {
        say(format_args!(
            "warning: the policies will refuse this key with {reason}"
        ));
    }
}

/// What no single argument shows.
fn check_arguments(args: &IssueArgs) -> Result<(), Failure> {
    let mut names = BTreeSet::new();
    if let Some((name, _)) = args.labels.iter().find(|(name, _)| !names.insert(name)) {
        return Err(Failure::usage(anyhow!("the label `{name}` is given twice")));
    }
    match (args.not_before, args.expires_at) {
        (Some(start), Some(end)) if start >= end => Err(Failure::usage(anyhow!(
            "--not-before is not before --expires-at: no use at all"
        ))),
        _ => Ok(()),
    }
}

fn import(config: &Config, file: &Path, actor: Option<&str>) -> Result<Status, Failure> {
    let options = open::key_options(&config.registry);
    let is_toml = file
        .extension()
        .is_some_and(|extension| extension == "toml");
    let keys = if is_toml {
        open::key_toml(file, options)
    } else {
        open::key_file(file, options)
    }?;
    let change = Change {
        at: clock::now(),
        actor,
    };
    let count = database(config, SqliteRegistry::open)?
        .import(keys, change)
        .map_err(|error| registry_failed(config, error))?;
    print(&format!("imported {count} keys\n"))
}

fn export(config: &Config) -> Result<Status, Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    each_key(config, |file| {
        serde_json::to_writer(&mut out, &file)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(Failure::output)
    })?;
    out.flush().map_err(Failure::output)?;
    Ok(Status::Done)
}

/// Lists keys. What breaks the rules is not decided here: the policies are asked, each key with a
/// request of its own at a time when it may be used, and what raises `key-not-compliant` is shown.
fn list(config: &Config) -> Result<Status, Failure> {
    let engine = open::engine().map_err(Failure::usage)?;
    let policies = open::policies(&config.policies, &engine)
        .map_err(|problems| Failure::usage(anyhow!("{}", problems.join("\n"))))?;
    let now = clock::now();
    let mut out = io::BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()));
    let options = open::key_options(&config.registry);
    let mut count = 0_u64;
    each_key(config, |file| {
        let checked = file.check(options).map_err(Failure::storage)?;
        let (record, _) = checked.into_parts();
        let marks = not_compliant(&policies, record.clone(), now);
        if count == 0 {
            write_heading(&mut out).map_err(Failure::output)?;
        }
        count += 1;
        write_key(&mut out, &record, &marks).map_err(Failure::output)
    })?;
    writeln!(out, "{count} keys")
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(Status::Done)
}

fn write_heading(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{FAINT}{:<12} {:<4} {:<20} {:<10} {:<24} SCOPES{FAINT:#}",
        "KEY", "ENV", "OWNER", "LIFECYCLE", "ENDS"
    )
}

fn write_key(out: &mut impl Write, record: &KeyRecord, marks: &[String]) -> io::Result<()> {
    let end = record
        .expires_at
        .map_or_else(|| "never".to_owned(), |end| end.to_string());
    let mask = if record.read_only { " (read-only)" } else { "" };
    write!(
        out,
        "{:<12} {:<4} {:<20} {:<10} {:<24} {}{mask}",
        record.id.as_str(),
        record.environment.as_str(),
        clip(&record.owner, 20),
        record.lifecycle.as_str(),
        end,
        clip(&record.scopes.join(" "), 60),
    )?;
    for mark in marks {
        write!(out, "  {NOTE}! {mark}{NOTE:#}")?;
    }
    writeln!(out)
}

/// The reasons with which policies call a key not compliant.
fn not_compliant(policies: &PolicySet, record: KeyRecord, now: Timestamp) -> Vec<String> {
    let at = record.not_before.map_or(now, |start| start.max(now));
    let Some(facts) = Facts::of_key(record, at).map(Arc::new) else {
        return Vec::new();
    };
    let verdicts = policies.policies().iter().filter_map(|policy| {
        policy
            .evaluate(Box::new(Arc::clone(&facts)))
            .outcome
            .verdict()
            .cloned()
    });
    verdicts
        .filter(|verdict| {
            verdict
                .signals
                .iter()
                .any(|s| s.name == "key-not-compliant")
        })
        .filter_map(|verdict| verdict.reason.map(|reason| reason.code.to_string()))
        .collect()
}

fn show(config: &Config, id: &str) -> Result<Status, Failure> {
    let id: KeyId = id.parse().map_err(Failure::usage)?;
    let mut found = None;
    if let RegistrySource::Database(_) = config.registry.source {
        let registry = database(config, SqliteRegistry::open_existing)?;
        found = registry
            .get(&id)
            .map_err(|error| registry_failed(config, error))?;
    } else if let Some(entry) =
        crate::registry::Registry::lookup(&open::registry(&config.registry)?, &id)
    {
        found = Some(KeyRecord::clone(entry.record()));
    }
    let record = found.ok_or_else(|| Failure::usage(anyhow!("the registry has no key `{id}`")))?;
    let digest = record.digest();
    let value: serde_json::Value =
        serde_json::from_str(&record.to_canonical_json()).map_err(Failure::storage)?;
    let pretty = serde_json::to_string_pretty(&value).map_err(Failure::storage)?;
    say(format_args!(
        "version {} of key {id}, key record {digest}",
        record.version
    ));
    print(&format!("{pretty}\n"))
}

/// Every key in its file form, in the order of the ids.
fn each_key(
    config: &Config,
    mut each: impl FnMut(KeyFile) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let RegistrySource::Database(_) = config.registry.source {
        let registry = database(config, SqliteRegistry::open_existing)?;
        return registry.export(each);
    }
    open::declared_keys(&config.registry)?
        .iter()
        .map(|key| key.to_file())
        .try_for_each(&mut each)
}

/// The registry's database. A registry that is declared in a file is changed in that file.
fn database<F>(config: &Config, open: F) -> Result<SqliteRegistry, Failure>
where
    F: Fn(&Path, crate::key::json::KeyOptions) -> Result<SqliteRegistry, SqliteError>,
{
    match &config.registry.source {
        RegistrySource::Database(path) => open(path, open::key_options(&config.registry))
            .map_err(|error| registry_failed(config, error)),
        RegistrySource::JsonLines(path) | RegistrySource::Toml(path) => {
            Err(Failure::usage(anyhow!(
                "this configuration declares its keys in `{}`; edit that file, or write \
                 `path = \"keyward.db\"` under [registry] in place of `keys`",
                path.display()
            )))
        }
    }
}

/// A refusal of what was asked for is usage; everything else is the registry's.
fn registry_failed(config: &Config, error: SqliteError) -> Failure {
    let asked = matches!(
        error,
        SqliteError::Existing { .. }
            | SqliteError::Twice(_)
            | SqliteError::NoScope
            | SqliteError::NewKey(_)
            | SqliteError::Actor(_)
    );
    let context = match &config.registry.source {
        RegistrySource::Database(path) => format!("registry `{}`", path.display()),
        RegistrySource::JsonLines(_) | RegistrySource::Toml(_) => "registry".to_owned(),
    };
    let error = anyhow::Error::new(error).context(context);
    if asked {
        Failure::Usage(error)
    } else {
        Failure::Storage(error)
    }
}

impl From<SqliteError> for Failure {
    fn from(error: SqliteError) -> Self {
        Self::storage(error)
    }
}
