//! `keyward key rotate`: a successor for one key, or for all that are due.

use anyhow::anyhow;
use clap::{ArgGroup, Args};
use serde_json::json;

use super::super::{Failure, Status, print, say};
use super::change::begin;
use super::issue::must_be_shown;
use super::keeper::{Intent, Keeper, keeper_failed};
use super::preflight::{Known, is_used};
use super::{OneKey, duration_ms, preflight};
use crate::config::Config;
use crate::credential::random::operating_system;
use crate::governance::lifecycle::Rotating;
use crate::governance::preflight::Checks;
use crate::governance::principal::Action;
use crate::key::edit::Edit;
use crate::key::rotation::{GRACE_MAX_DAYS, Rotation};
use crate::key::state::State;
use crate::key::{KeyId, KeyRecord};
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
    preflight::proceed(config, &mut keeper, Some(id), &checks)?;
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

/// What stands against a rotation.
fn checks(
    config: &Config,
    keeper: &Keeper<'_>,
    (id, is_dry_run): (KeyId, bool),
    rotation: Rotation,
) -> Result<Checks, Failure> {
    let rotating = Rotating {
        rotation,
        is_dry_run,
        is_own: false,
    };
    let checks = keeper.core.check_rotation(id, rotating, &Known(config));
    checks.map_err(|error| keeper_failed(config, error))
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
    let now = keeper.core.now;
    let mut due = Vec::new();
    keeper
        .core
        .registry
        .list(|record| -> Result<(), SqliteError> {
            if is_due(&record, now) {
                due.push(record.id);
            }
            Ok(())
        })?;
    let mut status = Status::Done;
    for id in due {
        match keeper.core.registry.state(&id, now)? {
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
        let rotated = preflight::proceed(config, keeper, Some(id), &checks)
            .and_then(|()| rotate(keeper, id, change));
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

/// A key that the log has seen at work is in use, whoever has noticed.
fn activate_if_used(config: &Config, keeper: &mut Keeper<'_>, id: KeyId) -> Result<(), Failure> {
    let unnoticed = keeper.core.unnoticed(id, &Known(config));
    for used in unnoticed.map_err(|error| keeper_failed(config, error))? {
        let reason = Some("the log has it at work");
        keeper.change(reason, |registry, by| {
            registry.edit(used, &Edit::Activate, by)
        })?;
    }
    Ok(())
}

fn used(config: &Config, key: KeyId) -> Result<bool, Failure> {
    is_used(&config.log.path, key).map_err(Failure::storage)
}

fn ends(record: &KeyRecord) -> String {
    let end = record.ends_at();
    end.map_or_else(|| "no time".to_owned(), |end| end.to_string())
}
