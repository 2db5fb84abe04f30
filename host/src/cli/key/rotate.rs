//! `keyward key rotate`: a successor for one key, or for all that are due.

use anyhow::anyhow;
use clap::{ArgGroup, Args};
use serde_json::json;

use super::super::{Failure, Status, print, say};
use super::change::begin;
use super::issue::must_be_shown;
use super::keeper::{Intent, Keeper};
use super::{OneKey, duration_ms, preflight};
use crate::audit::find_decision;
use crate::config::Config;
use crate::credential::random::operating_system;
use crate::decision::{DecisionRecord, Permission};
use crate::governance::preflight::{CHANGE, Checks, Verdict};
use crate::governance::principal::Action;
use crate::key::edit::Edit;
use crate::key::rotation::{GRACE_MAX_DAYS, Rotation};
use crate::key::state::State;
use crate::key::{KeyId, KeyRecord};
use crate::log::LogReader;
use crate::registry::sqlite::{Rotated, SqliteError};
use crate::timestamp::{DAY_MS, Timestamp};

/// Arguments of `keyward key rotate`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("which").required(true).args(["id", "due"])))]
pub(in crate::cli) struct RotateArgs {
    /// The key's id
    id: Option<String>,
    /// Rotate every key that is due; prints JSON Lines
    #[arg(long)]
    due: bool,
    /// How long the old key stays usable: 30m, 12h, 7d, or 0 for one that leaked; never beyond its
    /// end
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, default_value = "7d")]
    grace: u64,
    /// End the grace period of an earlier rotation that is still open (a manager)
    #[arg(long, conflicts_with = "due")]
    force: bool,
    /// Check everything, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the keys' histories
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  keyward key rotate k7Qp2mXw9LaR --grace 7d
  keyward key rotate k7Qp2mXw9LaR --grace 0 --reason 'found in a public repository'
  keyward key rotate --due --dry-run                 what is due, and what stands against it
  keyward key rotate --due > new-credentials.jsonl

The successor has the old key's scopes, which `may_grant` of who rotates has to cover, and its
networks, labels and length of life, at most [governance] max_lifetime_days. When an answer was
lost, rotate again: as long as nobody has used the successor it gets another secret, and the old key
is left alone.";

/// The time between rotations of a key that does not say when it is due, as in the rotation policy.
const PERIOD_DEFAULT_DAYS: u64 = 90;

pub(super) fn run(config: &Config, args: &RotateArgs) -> Result<Status, Failure> {
    if args.grace > GRACE_MAX_DAYS.saturating_mul(DAY_MS) {
        return Err(Failure::usage(anyhow!(
            "a grace period of more than {GRACE_MAX_DAYS} days"
        )));
    }
    let rotation = Rotation {
        grace_ms: args.grace,
        lifetime_max_ms: config.governance.max_lifetime_days.saturating_mul(DAY_MS),
        force: args.force,
    };
    let id = args
        .id
        .as_ref()
        .map(|id| OneKey { id: id.clone() }.id())
        .transpose()?;
    let intent = Intent {
        action: Action::Rotate,
        key: id,
    };
    if !args.dry_run {
        must_be_shown()?;
    }
    let mut keeper = begin(config, args.dry_run, intent)?;
    let Some(id) = id else {
        return rotate_due(config, &mut keeper, (rotation, args));
    };
    if !args.dry_run {
        activate_if_used(config, &mut keeper, id)?;
    }
    let checks = checks(config, &keeper, (id, args.dry_run), rotation)?;
    if args.dry_run {
        return preflight::report(&checks);
    }
    preflight::proceed(&mut keeper, Some(id), &checks)?;
    let rotated = rotate(&mut keeper, id, (rotation, args))?;
    let (old, successor) = (&rotated.old, &rotated.successor);
    if rotated.is_repeat {
        say(format_args!(
            "key {id} was rotated before, and nobody has used its successor {}: that has another \
             secret now, and the one before is void",
            successor.id
        ));
    }
    say(format_args!(
        "key {id} ends at {}; its successor is key {}, which ends at {}; the credential below is \
         shown this once and cannot be recovered",
        ends(old),
        successor.id,
        ends(successor)
    ));
    print(&format!("{}\n", rotated.secret.expose())).inspect_err(|_| {
        say(format_args!(
            "the credential could not be shown; rotate again to get another"
        ));
    })
}

/// What stands against a rotation. One that is to be made has noted a successor that is at work
/// before; the log is not read for that again.
fn checks(
    config: &Config,
    keeper: &Keeper<'_>,
    (id, is_dry_run): (KeyId, bool),
    rotation: Rotation,
) -> Result<Checks, Failure> {
    let record = keeper.key(&id)?;
    let actions = if rotation.force {
        &[Action::Rotate, Action::Force][..]
    } else {
        &[Action::Rotate]
    };
    let mut checks = Checks::default();
    let unused = keeper.registry.unused_successor(&id)?;
    let successor = unused.map(|id| keeper.key(&id)).transpose()?;
    // Whoever rotates gets a credential for all of it.
    let granted = successor.as_ref().unwrap_or(&record).scopes.iter();
    let granted = granted.map(|it| &**it);
    preflight::authority(config, (actions, keeper.now), granted, &mut checks);
    preflight::registry(keeper, &record, &mut checks)?;
    let state = keeper.registry.state(&id, keeper.now)?;
    let Some((state, predecessor)) = state else {
        return Ok(checks);
    };
    let is_at_work = is_dry_run && state == State::Pending && used(config, id)?;
    let state = if is_at_work { State::Active } else { state };
    if let Some(successor) = unused {
        if is_dry_run && used(config, successor)? {
            let text = format!("its successor {successor} is at work already");
            checks.add(CHANGE, Verdict::Refused, text);
        } else {
            let text =
                format!("its successor {successor}, which nobody has used, gets another secret");
            checks.add(CHANGE, Verdict::Ok, text);
        }
        return Ok(checks);
    }
    if let Some(older) = predecessor
        && let Some((State::Deprecated, _)) = keeper.registry.state(&older, keeper.now)?
    {
        if rotation.force {
            let text = format!("the grace period of key {older} ends");
            checks.add(CHANGE, Verdict::Warning, text);
        } else {
            let text = format!("key {older}, which it succeeds, is still in its grace period");
            checks.add(CHANGE, Verdict::Refused, text);
        }
    }
    match rotation.apply((&record, state), id, keeper.now) {
        Err(error) => checks.add(CHANGE, Verdict::Refused, error.to_string()),
        Ok((old, successor)) => {
            let text = format!("this key ends at {}", ends(&old));
            checks.add(CHANGE, Verdict::Ok, text);
            let end = successor.expires_at.unwrap_or(keeper.now);
            let most_days = config.governance.max_lifetime_days;
            checks.expiry((keeper.now, end), most_days);
            preflight::policies(config, (&successor, keeper.now), &mut checks);
        }
    }
    Ok(checks)
}

fn rotate(
    keeper: &mut Keeper<'_>,
    id: KeyId,
    (rotation, args): (Rotation, &RotateArgs),
) -> Result<Rotated, Failure> {
    keeper.change(args.reason.as_deref(), |registry, by| {
        registry.rotate((id, rotation), by, &mut operating_system())
    })
}

/// Rotates all that is due. What cannot be rotated is told, and does not stop the rest.
fn rotate_due(
    config: &Config,
    keeper: &mut Keeper<'_>,
    change: (Rotation, &RotateArgs),
) -> Result<Status, Failure> {
    let now = keeper.now;
    let mut due = Vec::new();
    keeper.registry.list(|record| -> Result<(), SqliteError> {
        if is_due(&record, now) {
            due.push(record.id);
        }
        Ok(())
    })?;
    let mut status = Status::Done;
    for id in due {
        match keeper.registry.state(&id, now)? {
            Some((State::Active, _)) => {}
            Some((State::Pending, _)) if used(config, id)? => {}
            _ => continue,
        }
        if change.1.dry_run {
            let checks = checks(config, keeper, (id, true), change.0)?;
            print(&format!("key {id}\n"))?;
            if preflight::report(&checks)? == Status::DidNotHold {
                status = Status::DidNotHold;
            }
            continue;
        }
        activate_if_used(config, keeper, id)?;
        let checks = checks(config, keeper, (id, false), change.0)?;
        say(format_args!("key {id}"));
        let rotated =
            preflight::proceed(keeper, Some(id), &checks).and_then(|()| rotate(keeper, id, change));
        match rotated {
            Ok(rotated) => {
                let line = json!({
                    "key": id,
                    "grace_until": rotated.old.grace_until,
                    "successor": rotated.successor.id,
                    "expires_at": rotated.successor.expires_at,
                    "credential": rotated.secret.expose(),
                });
                print(&format!("{line}\n"))?;
            }
            Err(Failure::Usage(error)) => {
                say(format_args!("not rotated: {error:#}"));
                status = Status::DidNotHold;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(status)
}

fn is_due(record: &KeyRecord, now: Timestamp) -> bool {
    let default = || record.issued_at.after_ms(PERIOD_DEFAULT_DAYS * DAY_MS);
    record.rotate_by.unwrap_or_else(default) <= now
}

/// A key that the log has seen at work is in use, whoever has noticed: it can be rotated, and its
/// secret is not to be replaced.
fn activate_if_used(config: &Config, keeper: &mut Keeper<'_>, id: KeyId) -> Result<(), Failure> {
    let state = keeper.registry.state(&id, keeper.now)?;
    let pending = matches!(state, Some((State::Pending, _))).then_some(id);
    let successor = keeper.registry.unused_successor(&id)?;
    for unused in pending.into_iter().chain(successor) {
        if used(config, unused)? {
            let reason = Some("the log has it at work");
            keeper.change(reason, |registry, by| {
                registry.edit(unused, &Edit::Activate, by)
            })?;
        }
    }
    Ok(())
}

/// Whether the log has a key at work.
fn used(config: &Config, key: KeyId) -> Result<bool, Failure> {
    let Ok(reader) = LogReader::open(&config.log.path) else {
        return Ok(false); // A log that is not there has seen nobody.
    };
    // What is pruned could have told: it counts as used, and its secret is left alone.
    if reader.pruned().map_err(Failure::storage)?.is_some() {
        return Ok(true);
    }
    let is_use = |it: &DecisionRecord| it.key == Some(key) && it.permission == Permission::Allow;
    let found = find_decision(&reader, is_use).map_err(Failure::storage)?;
    Ok(found.is_some())
}

fn ends(record: &KeyRecord) -> String {
    let end = record.ends_at();
    end.map_or_else(|| "no time".to_owned(), |end| end.to_string())
}
