//! Changes of one key that are one edit of its record.

use clap::{ArgGroup, Args};

use super::super::{Failure, Status, print};
use super::keeper::{Intent, Keeper};
use super::{OneKey, Reasoned, duration_ms, preflight, time};
use crate::address::Network;
use crate::config::Config;
use crate::governance::preflight::{Checks, NETWORKS};
use crate::governance::principal::Action;
use crate::key::KeyId;
use crate::key::edit::Edit;
use crate::registry::sqlite::Changed;
use crate::timestamp::{DAY_MS, Timestamp};

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
    /// Check everything, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

pub(in crate::cli) const SHORTEN_EXAMPLES: &str = "\
Example:
  keyward key shorten k7Qp2mXw9LaR --in 7d --reason 'the contract ends'

The end of a key is locked: it moves earlier, never later. An attempt at a longer life is refused
and stands in the key's history; for a longer life issue another key.";

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
    /// How far back to look for requests that would be refused: 12h, 30d
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, default_value = "30d")]
    over: u64,
    /// Save it although requests that were allowed would be refused
    #[arg(long)]
    accept_breakage: bool,
    /// Check everything, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

pub(in crate::cli) const NETWORKS_EXAMPLES: &str = "\
Examples:
  keyward key networks k7Qp2mXw9LaR --allow 203.0.113.0/24 --dry-run     who would be refused
  keyward key networks k7Qp2mXw9LaR --allow 203.0.113.0/24 --over 90d
  keyward key networks k7Qp2mXw9LaR --nowhere --accept-breakage

The requests that the log has allowed are evaluated again with the new list. Where some would be
refused, or that cannot be told, nothing is saved without --accept-breakage; nor where --over looks
back less than 30 days, and the key is older than that. From fewer places needs an operator, from
any other place than before a manager.";

/// How many days back requests are looked at, at least: else it is not known who is refused.
const REPLAYED_LEAST_DAYS: u64 = 30;

pub(super) fn suspend(config: &Config, args: &Reasoned) -> Result<Status, Failure> {
    edit(config, args, (Action::Restrict, &Edit::Suspend))
}

pub(super) fn resume(config: &Config, args: &Reasoned) -> Result<Status, Failure> {
    edit(config, args, (Action::Restore, &Edit::Resume))
}

pub(super) fn mask(config: &Config, args: &Reasoned, on: bool) -> Result<Status, Failure> {
    let action = if on {
        Action::Restrict
    } else {
        Action::Restore
    };
    edit(config, args, (action, &Edit::Mask(on)))
}

pub(super) fn shorten(config: &Config, args: &ShortenArgs) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let mut keeper = begin(config, args.dry_run, intent(id, Action::Restrict))?;
    let record = keeper.key(&id)?;
    let end = args
        .expires_at
        .unwrap_or_else(|| keeper.core.now.after_ms(args.in_ms.unwrap_or(0)));
    let edit = Edit::Shorten(end);
    let mut checks = Checks::default();
    let nothing = ("", []);
    keeper
        .core
        .asking()
        .authority(&[Action::Restrict], nothing, &mut checks);
    // What is later than the end that is locked is refused by the registry, which tells of it.
    if args.dry_run || record.expires_at.is_none_or(|locked| end <= locked) {
        checks.shortening(&record, (keeper.core.now, end));
    }
    keeper.core.check_history(&record, &mut checks)?;
    keeper.core.check_change((&record, &edit), &mut checks)?;
    let reason = args.reason.as_deref();
    let which = (id, args.dry_run);
    finish((config, &mut keeper), which, (&edit, reason), &checks)
}

pub(super) fn end_grace(config: &Config, args: &Reasoned) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let mut keeper = begin(config, args.dry_run, intent(id, Action::Restrict))?;
    let edit = Edit::EndGrace(keeper.core.now);
    make_or_rehearse(config, &mut keeper, args, (Action::Restrict, &edit))
}

pub(super) fn networks(config: &Config, args: &NetworksArgs) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let mut keeper = begin(config, args.dry_run, intent(id, Action::Adjust))?;
    let record = keeper.key(&id)?;
    let edit = Edit::Networks((!args.anywhere).then(|| args.networks.clone()));
    let mut checks = Checks::default();
    let wanted = (!args.anywhere).then_some(&*args.networks);
    let actions = if is_wider(record.allowed_networks.as_deref(), wanted) {
        &[Action::Adjust, Action::Widen][..]
    } else {
        &[Action::Adjust]
    };
    keeper
        .core
        .asking()
        .authority(actions, ("", []), &mut checks);
    checks.expiry_of(&record, config.governance.max_lifetime_days);
    let from = keeper.core.now.before_ms(args.over);
    let least = keeper.core.now.before_ms(REPLAYED_LEAST_DAYS * DAY_MS);
    if from > least.max(record.issued_at) {
        checks.not_replayed(NETWORKS, from, args.accept_breakage);
    }
    let accepted = (&edit, args.accept_breakage);
    preflight::replayed(config, (&record, from), accepted, &mut checks)?;
    keeper.core.check_history(&record, &mut checks)?;
    keeper.core.check_change((&record, &edit), &mut checks)?;
    let reason = args.reason.as_deref();
    let which = (id, args.dry_run);
    finish((config, &mut keeper), which, (&edit, reason), &checks)
}

const fn intent(id: KeyId, action: Action) -> Intent {
    Intent {
        action,
        key: Some(id),
    }
}

/// Whether a key may be used from somewhere where it could not be used before.
fn is_wider(held: Option<&[Network]>, wanted: Option<&[Network]>) -> bool {
    match (held, wanted) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(held), Some(wanted)) => {
            let is_held = |network: &Network| held.iter().any(|it| it.covers(*network));
            !wanted.iter().all(is_held)
        }
    }
}

/// Begins a change, or a look at what it would be.
pub(super) fn begin(
    config: &Config,
    is_dry_run: bool,
    intent: Intent,
) -> Result<Keeper<'_>, Failure> {
    if is_dry_run {
        Keeper::look(config)
    } else {
        Keeper::begin(config, intent)
    }
}

/// Prints what the checks found, or goes by it and makes the change.
pub(super) fn finish(
    (config, keeper): (&Config, &mut Keeper<'_>),
    (id, is_dry_run): (KeyId, bool),
    change: (&Edit, Option<&str>),
    checks: &Checks,
) -> Result<Status, Failure> {
    if is_dry_run {
        return preflight::report(checks);
    }
    preflight::proceed(config, keeper, Some(id), checks)?;
    make(keeper, id, change)
}

fn edit(
    config: &Config,
    args: &Reasoned,
    (action, edit): (Action, &Edit),
) -> Result<Status, Failure> {
    let intent = intent(args.key.id()?, action);
    let mut keeper = begin(config, args.dry_run, intent)?;
    make_or_rehearse(config, &mut keeper, args, (action, edit))
}

fn make_or_rehearse(
    config: &Config,
    keeper: &mut Keeper<'_>,
    args: &Reasoned,
    (action, edit): (Action, &Edit),
) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let reason = args.reason.as_deref();
    if args.dry_run {
        return preflight::rehearsed(config, (keeper, id), (action, reason), |registry, by| {
            registry.edit(id, edit, by)
        });
    }
    make(keeper, id, (edit, reason))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_places_are_wider() {
        let networks = |texts: &[&str]| -> Vec<Network> {
            texts.iter().map(|it| it.parse().unwrap()).collect()
        };
        let held = networks(&["10.0.0.0/8", "2001:db8::/32"]);
        for (wanted, expected) in [
            (&["10.0.0.0/8", "2001:db8::/32"][..], false),
            (&["10.1.0.0/16", "10.2.0.1/32"], false),
            (&["2001:db8:1::/48", "::ffff:10.0.0.0/104"], false),
            (&[], false),
            (&["10.0.0.0/7"], true),
            (&["10.1.0.0/16", "11.0.0.1/32"], true),
            (&["::/0"], true),
        ] {
            let wanted = networks(wanted);
            assert_eq!(is_wider(Some(&held), Some(&wanted)), expected, "{wanted:?}");
            assert!(!is_wider(None, Some(&wanted)));
            assert_eq!(is_wider(Some(&[]), Some(&wanted)), !wanted.is_empty());
        }
        assert!(is_wider(Some(&held), None));
        assert!(is_wider(Some(&[]), None));
        assert!(!is_wider(None, None));
    }
}
