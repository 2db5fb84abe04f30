//! `keyward key issue` and `import`: new keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{ArgGroup, Args, ValueEnum, ValueHint};

use super::super::output::{clip, is_discarded};
use super::super::{Failure, Status, open, print, say};
use super::keeper::{Intent, Keeper, database, registry_failed};
use super::{preflight, time};
use crate::address::Network;
use crate::clock;
use crate::config::{Config, RegistrySource};
use crate::credential::random::operating_system;
use crate::governance::import::Imported;
use crate::governance::preflight::{CHANGE, Checks, EXPIRY, Verdict};
use crate::governance::principal::Action;
use crate::key::json::{CheckedKey, KeyFile};
use crate::key::{Environment, KeyId};
use crate::registry::sqlite::{NewKey, SqliteRegistry};
use crate::timestamp::{DAY_MS, Timestamp};

/// Arguments of `keyward key issue`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("end").required(true).args(["expires_at", "expires_in_days"])))]
pub(in crate::cli) struct IssueArgs {
    /// Who answers for the key
    #[arg(long)]
    pub(super) owner: String,
    /// What it may do: `resource:action`; may be given more than once. A wildcard becomes the
    /// scopes that it stands for now
    #[arg(long = "scope", required = true, value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Grant wildcards as they are: they also cover scopes that come later
    #[arg(long)]
    keep_wildcard: bool,
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
    pub(super) labels: Vec<(String, String)>,
    /// The environment that its credential names
    #[arg(long, value_enum, default_value = "live")]
    environment: EnvironmentArg,
    /// Check everything, and issue nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

/// The environments, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EnvironmentArg {
    /// Production
    Live,
    /// Everything else
    Test,
}

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  keyward key issue --owner inventory-sync --scope inventory:read --expires-in-days 90 \\
    --allow-network 203.0.113.0/24 --label connector=quickbooks
  keyward key issue --owner reports --scope '*:read' --expires-in-days 30 --dry-run

Which scopes there are, the routes and `scopes` in [governance] say. A wildcard is written out as
those that it stands for, and does not cover what comes later, unless with --keep-wildcard.";

pub(super) fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write `name=value`")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn issue(config: &Config, args: &IssueArgs) -> Result<Status, Failure> {
    check_arguments(args)?;
    let intent = Intent {
        action: Action::Issue,
        key: None,
    };
    let mut checks = Checks::default();
    if args.dry_run {
        existing(config)?;
        new_key(config, args, clock::now(), &mut checks)?;
        return preflight::report(&checks);
    }
    must_be_shown()?;
    let mut keeper = Keeper::begin(config, intent)?;
    let new = new_key(config, args, keeper.now, &mut checks)?;
    preflight::proceed(&mut keeper, None, &checks)?;
    let (record, secret) = keeper.change(args.reason.as_deref(), |registry, by| {
        registry.issue(&new, by, &mut operating_system())
    })?;
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

/// The registry for a dry run; `None`: it will be made.
fn existing(config: &Config) -> Result<Option<SqliteRegistry>, Failure> {
    match &config.registry.source {
        RegistrySource::Database(path) if !path.exists() => Ok(None),
        _ => database(config, SqliteRegistry::open_existing).map(Some),
    }
}

/// That a credential can be printed. It is shown once, and what goes to the null device is lost.
pub(super) fn must_be_shown() -> Result<(), Failure> {
    if is_discarded() {
        return Err(Failure::usage(anyhow!(
            "standard output is closed or the null device, and a credential is shown there once; \
             nothing was changed; run this again with a terminal, a pipe or a file"
        )));
    }
    Ok(())
}

/// What to issue, and what is to be said of it.
fn new_key(
    config: &Config,
    args: &IssueArgs,
    now: Timestamp,
    checks: &mut Checks,
) -> Result<NewKey, Failure> {
    let in_days = |days: u32| now.after_ms(u64::from(days).saturating_mul(DAY_MS));
    let end = args.expires_in_days.map(in_days);
    let grants = preflight::grants(config, (&args.scopes, args.keep_wildcard), &[], checks);
    let new = NewKey {
        owner: args.owner.clone(),
        environment: match args.environment {
            EnvironmentArg::Live => Environment::Live,
            EnvironmentArg::Test => Environment::Test,
        },
        scopes: grants.unwrap_or_else(|| args.scopes.clone()),
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
    let scopes = new.scopes.iter().map(String::as_str);
    preflight::authority(config, (&[Action::Issue], now), scopes, checks);
    checks.expiry((now, new.expires_at), config.governance.max_lifetime_days);
    if args.not_before.is_some_and(|start| start >= new.expires_at) {
        let text = "it may not be used before it ends: no use at all";
        checks.add(EXPIRY, Verdict::Refused, text);
    }
    if args.rotate_by.is_some_and(|due| due <= now) {
        checks.add(EXPIRY, Verdict::Warning, "it is to be rotated at once");
    }
    let id: KeyId = "000000000000".parse().map_err(Failure::usage)?;
    let record = new.record(id, now);
    preflight::policies(config, (&record, now), checks);
    let checked = KeyFile::new(&record, None).check(open::key_options(&config.registry));
    checks.add_result(CHANGE, checked.map(|_| "a new key"));
    Ok(new)
}

/// What no single argument shows.
fn check_arguments(args: &IssueArgs) -> Result<(), Failure> {
    let mut names = BTreeSet::new();
    if let Some((name, _)) = args.labels.iter().find(|(name, _)| !names.insert(name)) {
        return Err(Failure::usage(anyhow!("the label `{name}` is given twice")));
    }
    Ok(())
}

/// Arguments of `keyward key import`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ImportArgs {
    /// JSON Lines, or TOML with [[key]] when the name ends in .toml
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Check everything, and import nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the registry's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

pub(in crate::cli) const IMPORT_EXAMPLES: &str = "\
Examples:
  keyward key import keys.jsonl --dry-run      what the keys are, and what stands against them
  keyward key import keys.jsonl --reason 'from the old gateway'

Keys that would not be issued like that (without an end, with a longer life than [governance]
max_lifetime_days, or with a scope that there is not) are imported with a warning, by a manager.";

pub(super) fn import(config: &Config, args: &ImportArgs) -> Result<Status, Failure> {
    let file = &*args.file;
    let options = open::key_options(&config.registry);
    let is_toml = file
        .extension()
        .is_some_and(|extension| extension == "toml");
    let keys = if is_toml {
        open::key_toml(file, options)
    } else {
        open::key_file(file, options)
    }?;
    if args.dry_run {
        let mut checks = import_checks(config, &keys, clock::now());
        let importable = match existing(config)? {
            Some(registry) => registry.check_import(&keys, clock::now()),
            None => Ok(()),
        };
        match importable {
            Err(error) if !error.is_refusal() => return Err(registry_failed(config, error)),
            it => checks.add_result(CHANGE, it.map(|()| format!("{} new keys", keys.len()))),
        }
        return preflight::report(&checks);
    }
    let intent = Intent {
        action: Action::Issue,
        key: None,
    };
    let mut keeper = Keeper::begin(config, intent)?;
    let checks = import_checks(config, &keys, keeper.now);
    preflight::proceed(&mut keeper, None, &checks)?;
    let reason = args.reason.as_deref();
    let count = keeper.change(reason, |registry, by| registry.import(keys, by))?;
    print(&format!("imported {count} keys\n"))
}

fn import_checks(config: &Config, keys: &[CheckedKey], now: Timestamp) -> Checks {
    let catalogue = config.catalogue();
    let most_days = config.governance.max_lifetime_days;
    let imported = Imported::new(keys, (now, most_days), |it| catalogue.has(it));
    let actions = if imported.breaks_rules() {
        &[Action::Issue, Action::SetRulesAside][..]
    } else {
        &[Action::Issue]
    };
    let scopes = keys.iter().flat_map(|key| key.record().scopes.iter());
    let scopes: BTreeSet<&str> = scopes.map(|it| &**it).collect();
    let mut checks = Checks::default();
    preflight::authority(config, (actions, now), scopes, &mut checks);
    imported.check(&mut checks);
    checks
}
