//! `keyward key issue` and `import`: new keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::{ArgGroup, Args, ValueEnum, ValueHint};

use super::super::output::{clip, is_discarded};
use super::super::{Failure, Status, open, print, say};
use super::keeper::{Intent, Keeper, database, os_user, registry_failed};
use super::preflight::Known;
use super::{preflight, time};
use crate::address::Network;
use crate::clock;
use crate::config::{Config, RegistrySource};
use crate::credential::random::operating_system;
use crate::governance::identity::Identity;
use crate::governance::import::Imported;
use crate::governance::lifecycle::Asking;
use crate::governance::preflight::{CHANGE, Checks};
use crate::governance::principal::Action;
use crate::key::Environment;
use crate::key::json::CheckedKey;
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
        let who = Identity::OsUser(os_user(config));
        let asking = Asking {
            rules: &config.key_rules(),
            who: &who,
            now: clock::now(),
        };
        new_key(config, args, asking, &mut checks)?;
        return preflight::report(&checks);
    }
    must_be_shown()?;
    let mut keeper = Keeper::begin(config, intent)?;
    let new = new_key(config, args, keeper.core.asking(), &mut checks)?;
    preflight::proceed(config, &mut keeper, None, &checks)?;
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
    asking: Asking<'_>,
    checks: &mut Checks,
) -> Result<NewKey, Failure> {
    let in_days = |days: u32| asking.now.after_ms(u64::from(days).saturating_mul(DAY_MS));
    let end = args.expires_in_days.map(in_days);
    let mut new = NewKey {
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
    asking.issue((&mut new, args.keep_wildcard), &Known(config), checks);
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
        let who = Identity::OsUser(os_user(config));
        let rules = config.key_rules();
        let asking = Asking {
            rules: &rules,
            who: &who,
            now: clock::now(),
        };
        let mut checks = import_checks(asking, &keys);
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
    let checks = import_checks(keeper.core.asking(), &keys);
    preflight::proceed(config, &mut keeper, None, &checks)?;
    let reason = args.reason.as_deref();
    let count = keeper.change(reason, |registry, by| registry.import(keys, by))?;
    print(&format!("imported {count} keys\n"))
}

fn import_checks(asking: Asking<'_>, keys: &[CheckedKey]) -> Checks {
    let rules = asking.rules;
    let most_days = rules.max_lifetime_days;
    let imported = Imported::new(keys, (asking.now, most_days), |it| rules.catalogue.has(it));
    let actions = if imported.breaks_rules() {
        &[Action::Issue, Action::SetRulesAside][..]
    } else {
        &[Action::Issue]
    };
    let mut granted: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in keys.iter().map(CheckedKey::record) {
        let scopes = record.scopes.iter().map(|it| &**it);
        granted.entry(&record.owner).or_default().extend(scopes);
    }
    // What is refused to one owner's keys is refused as a whole.
    let mut checks = Checks::default();
    asking.authority_for_all(actions, &granted, &mut checks);
    imported.check(&mut checks);
    checks
}
