//! Changes of one key that are one edit of its record.

use clap::{ArgGroup, Args};

use super::super::{Failure, Status, print};
use super::keeper::{Intent, Keeper};
use super::{OneKey, Reasoned, after, duration_ms, time};
use crate::address::Network;
use crate::config::Config;
use crate::governance::principal::Action;
use crate::key::KeyId;
use crate::key::edit::Edit;
use crate::key::grant::are_covered;
use crate::registry::sqlite::Changed;
use crate::timestamp::Timestamp;

/// Arguments of `keyward key shorten`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("end").required(true).args(["expires_at", "in_"])))]
pub(in crate::cli) struct ShortenArgs {
    #[command(flatten)]
    key: OneKey,
    /// When it ends, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = time)]
    expires_at: Option<Timestamp>,
    /// When it ends, counted from now: 30m, 12h, 7d, or 0
    #[arg(long = "in", id = "in_", value_name = "DURATION", value_parser = duration_ms)]
    in_ms: Option<u64>,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(in crate::cli) const SHORTEN_EXAMPLES: &str = "\
Example:
  keyward key shorten k7Qp2mXw9LaR --in 7d --reason 'the contract ends'

The end of a key is locked: it moves earlier, never later. An attempt at a longer life is refused
and stands in the key's history; for a longer life issue another key.";

/// Arguments of `keyward key scopes`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ScopesArgs {
    #[command(flatten)]
    key: OneKey,
    /// What it may do from here on, and nothing else: `resource:action`; may be given more than
    /// once
    #[arg(long = "set", required = true, value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(in crate::cli) const SCOPES_EXAMPLES: &str = "\
Example:
  keyward key scopes k7Qp2mXw9LaR --set inventory:read --reason 'it never writes'

Granting less needs an operator, granting anything more a manager.";

/// Arguments of `keyward key networks`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("from").required(true).args(["networks", "anywhere", "nowhere"])))]
pub(in crate::cli) struct NetworksArgs {
    #[command(flatten)]
    key: OneKey,
    /// From where it may be used, and from nowhere else, for example 203.0.113.0/24; may be given
    /// more than once
    #[arg(long = "allow", value_name = "NETWORK")]
    networks: Vec<Network>,
    /// Without an allow list
    #[arg(long)]
    anywhere: bool,
    /// With an empty allow list
    #[arg(long)]
    nowhere: bool,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn suspend(config: &Config, args: &Reasoned) -> Result<Status, Failure> {
    edit(
        config,
        (args.key.id()?, Action::Restrict),
        (&Edit::Suspend, args.reason.as_deref()),
    )
}

pub(super) fn resume(config: &Config, args: &Reasoned) -> Result<Status, Failure> {
    edit(
        config,
        (args.key.id()?, Action::Restore),
        (&Edit::Resume, args.reason.as_deref()),
    )
}

pub(super) fn mask(config: &Config, args: &Reasoned, on: bool) -> Result<Status, Failure> {
    let action = if on {
        Action::Restrict
    } else {
        Action::Restore
    };
    edit(
        config,
        (args.key.id()?, action),
        (&Edit::Mask(on), args.reason.as_deref()),
    )
}

pub(super) fn shorten(config: &Config, args: &ShortenArgs) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let mut keeper = Keeper::begin(config, intent(id, Action::Restrict))?;
    let end = args
        .expires_at
        .unwrap_or_else(|| after(keeper.now, args.in_ms.unwrap_or(0)));
    make(
        &mut keeper,
        id,
        (&Edit::Shorten(end), args.reason.as_deref()),
    )
}

pub(super) fn end_grace(config: &Config, args: &Reasoned) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let mut keeper = Keeper::begin(config, intent(id, Action::Restrict))?;
    let edit = Edit::EndGrace(keeper.now);
    make(&mut keeper, id, (&edit, args.reason.as_deref()))
}

pub(super) fn scopes(config: &Config, args: &ScopesArgs) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let mut keeper = Keeper::begin(config, intent(id, Action::Restrict))?;
    let record = keeper.registry.get(&id)?;
    let is_wider = record.is_some_and(|record| {
        let new = args.scopes.iter().map(String::as_str);
        !are_covered(new, &record.scopes)
    });
    if is_wider {
        keeper.authorize(intent(id, Action::Widen))?;
    }
    let edit = Edit::Scopes(args.scopes.clone());
    make(&mut keeper, id, (&edit, args.reason.as_deref()))
}

pub(super) fn networks(config: &Config, args: &NetworksArgs) -> Result<Status, Failure> {
    let networks = (!args.anywhere).then(|| args.networks.clone());
    let edit_ = Edit::Networks(networks);
    edit(
        config,
        (args.key.id()?, Action::Restrict),
        (&edit_, args.reason.as_deref()),
    )
}

const fn intent(id: KeyId, action: Action) -> Intent {
    Intent {
        action,
        key: Some(id),
    }
}

fn edit(
    config: &Config,
    (id, action): (KeyId, Action),
    change: (&Edit, Option<&str>),
) -> Result<Status, Failure> {
    make(&mut Keeper::begin(config, intent(id, action))?, id, change)
}

fn make(
    keeper: &mut Keeper<'_>,
    id: KeyId,
    (edit, reason): (&Edit, Option<&str>),
) -> Result<Status, Failure> {
    let changed = keeper.change(reason, |registry, by| registry.edit(id, edit, by))?;
    print(&told(&changed))
}

/// A change in one line.
pub(super) fn told(changed: &Changed) -> String {
    let (record, event) = (&changed.record, &changed.event);
    let (id, version) = (&record.id, record.version);
    format!(
        "key {id}: {}, version {version}, event {}\n",
        event.kind.as_str(),
        event.sequence
    )
}
