//! The checks before a change of a key, made of what the configuration and the log say, and what
//! becomes of them: a dry run prints them, saving goes by them.

use std::sync::Arc;

use anyhow::anyhow;

use super::super::{Failure, Status, open, print, say};
use super::keeper::{Keeper, os_user, registry_failed};
use super::marks::Marks;
use crate::audit::what_if::breakage;
use crate::config::Config;
use crate::config::catalogue::Resolved;
use crate::governance::preflight::{
    AUTHORITY, CHANGE, Checks, NETWORKS, POLICIES, REGISTRY, SCOPES, Verdict,
};
use crate::governance::principal::{Action, authorize, authorize_grants};
use crate::key::edit::Edit;
use crate::key::event::KeyEventKind;
use crate::key::state::State;
use crate::key::{KeyId, KeyRecord};
use crate::log::{LogReadError, LogReader};
use crate::registry::sqlite::{By, Changed, SqliteError, SqliteRegistry};
use crate::timestamp::Timestamp;

/// Prints the checks of a dry run.
pub(super) fn report(checks: &Checks) -> Result<Status, Failure> {
    print(&format!(
        "{}\n",
        super::super::output::printable(&checks.to_string())
    ))?;
    Ok(match checks.refused() {
        None => Status::Done,
        Some(_) => Status::DidNotHold,
    })
}

/// Says what the checks found, and goes on unless one of them refuses. What is refused because
/// somebody may not do it is an event. Whether the change is legal is for the registry to say.
pub(super) fn proceed(
    keeper: &mut Keeper<'_>,
    key: Option<KeyId>,
    checks: &Checks,
) -> Result<(), Failure> {
    say(checks);
    match checks.refused() {
        Some(refused) if refused.name != CHANGE => {
            if refused.name == AUTHORITY {
                keeper.note_refusal(key, &refused.text)?;
            }
            Err(Failure::usage(anyhow!(
                "not saved, and nothing was changed: {}",
                refused.text
            )))
        }
        _ => Ok(()),
    }
}

/// Whether whoever asks may do this, and may grant that.
pub(super) fn authority<'g>(
    config: &Config,
    (actions, now): (&[Action], Timestamp),
    grants: impl IntoIterator<Item = &'g str>,
    checks: &mut Checks,
) {
    let user = os_user(config);
    let mut may = Ok(user.as_str());
    for action in actions {
        may = may.and_then(|_| authorize(&config.principals, &user, (*action, now)));
    }
    let may = may.and_then(|actor| {
        let implications = config.implications();
        authorize_grants(&config.principals, &user, (grants, &implications))?;
        Ok(format!("`{actor}` may"))
    });
    checks.add_result(AUTHORITY, may);
}

/// What a key that has some scopes gets for those that were asked for; `None`: not all of them can
/// be granted.
pub(super) fn grants(
    config: &Config,
    (wanted, keep_wildcards): (&[String], bool),
    held: &[Arc<str>],
    checks: &mut Checks,
) -> Option<Vec<String>> {
    let catalogue = config.catalogue().with(held);
    let Resolved {
        grants,
        frozen,
        kept,
    } = match catalogue.resolve(wanted, keep_wildcards) {
        Ok(resolved) => resolved,
        Err(error) => {
            checks.add(SCOPES, Verdict::Refused, error.to_string());
            return None;
        }
    };
    for (wildcard, scopes) in &frozen {
        let text = format!("`{wildcard}` is {}", scopes.join(", "));
        checks.add(SCOPES, Verdict::Ok, text);
    }
    for wildcard in &kept {
        let text = format!("`{wildcard}` stays as it is: it also covers scopes that come later");
        checks.add(SCOPES, Verdict::Warning, text);
    }
    if catalogue.is_empty() {
        let text = "no route and no `scopes` in [governance] say which scopes there are";
        checks.add(SCOPES, Verdict::Warning, text);
    } else if frozen.is_empty() && kept.is_empty() {
        checks.add(SCOPES, Verdict::Ok, grants.join(", "));
    }
    Some(grants)
}

/// Whether the registry's row of a key is what its history says.
pub(super) fn registry(
    keeper: &Keeper<'_>,
    record: &KeyRecord,
    checks: &mut Checks,
) -> Result<(), Failure> {
    let mut events = Vec::new();
    keeper.registry.history(&record.id, |stored| {
        events.push(stored.entry);
        Ok::<(), Failure>(())
    })?;
    checks.registry(record, events.iter().map(Vec::as_slice));
    Ok(())
}

/// Whether a change is legal in the state that the key is in.
pub(super) fn change(
    keeper: &Keeper<'_>,
    (record, edit): (&KeyRecord, &Edit),
    checks: &mut Checks,
) -> Result<(), Failure> {
    let state = keeper.registry.state(&record.id, keeper.now)?;
    if let Some((state, _)) = state {
        let applied = edit
            .apply(record, state)
            .map(|(next, kind)| change_text((kind, &next), state));
        checks.add_result(CHANGE, applied);
    }
    Ok(())
}

fn change_text((kind, next): (KeyEventKind, &KeyRecord), state: State) -> String {
    let (kind, version) = (kind.as_str(), next.version);
    format!(
        "{kind}, version {version} of a key that is {}",
        state.as_str()
    )
}

/// A dry run of a change that nothing is compared for: who may make it, and what the registry makes
/// of it.
pub(super) fn rehearsed(
    config: &Config,
    (keeper, id): (&mut Keeper<'_>, KeyId),
    (action, reason): (Action, Option<&str>),
    change: impl FnOnce(&mut SqliteRegistry, By<'_>) -> Result<Changed, SqliteError>,
) -> Result<Status, Failure> {
    let mut checks = Checks::default();
    authority(config, (&[action], keeper.now), [], &mut checks);
    let state = keeper.registry.state(&id, keeper.now)?;
    match (keeper.rehearse(reason, change), state) {
        (Ok(changed), Some((state, _))) => {
            let text = change_text((changed.event.kind, &changed.record), state);
            checks.add(CHANGE, Verdict::Ok, text);
        }
        (Err(error @ SqliteError::Edited(_)), _) => {
            checks.add(REGISTRY, Verdict::Refused, error.to_string());
        }
        (Err(error), Some(_)) if error.is_refusal() => {
            checks.add(CHANGE, Verdict::Refused, error.to_string());
        }
        (Err(error), _) => return Err(registry_failed(config, error)),
        (Ok(_), None) => {}
    }
    report(&checks)
}

/// What the policies hold against a key. A configuration whose policies do not load is for `check`
/// to complain about.
pub(super) fn policies(
    config: &Config,
    (record, now): (&KeyRecord, Timestamp),
    checks: &mut Checks,
) {
    let Ok(engine) = open::engine() else { return };
    let Ok(policies) = open::policies(&config.policies, &engine) else {
        let text = "they do not load; `keyward check` says why";
        checks.add(POLICIES, Verdict::Warning, text);
        return;
    };
    let reasons = Marks::new(policies).of(record.clone(), now);
    for reason in &reasons {
        let text = format!("the policies will refuse this key with {reason}");
        checks.add(POLICIES, Verdict::Warning, text);
    }
    if reasons.is_empty() {
        checks.add(POLICIES, Verdict::Ok, "none calls the key not compliant");
    }
}

/// Whom a change of a key would have refused from a time on.
pub(super) fn replayed(
    config: &Config,
    (record, from): (&KeyRecord, Timestamp),
    (edit, is_accepted): (&Edit, bool),
    checks: &mut Checks,
) -> Result<(), Failure> {
    // Networks are changed also where the log is out of order: that can be urgent.
    let (name, unread) = match edit {
        Edit::Scopes { .. } => (SCOPES, Verdict::Refused),
        _ => (NETWORKS, Verdict::Warning),
    };
    let reader = match LogReader::open(&config.log.path) {
        Ok(reader) => reader,
        Err(LogReadError::Missing | LogReadError::Empty | LogReadError::NotALog) => {
            checks.add(name, Verdict::Ok, "the log has no request yet");
            return Ok(());
        }
        Err(error) => {
            checks.add(name, unread, unread_text(&error));
            return Ok(());
        }
    };
    let engine = open::engine().map_err(Failure::usage)?;
    let change = |record: &mut KeyRecord| match edit {
        Edit::Scopes { grants, .. } => {
            record.scopes = grants.iter().map(|it| it.as_str().into()).collect();
        }
        Edit::Networks(networks) => {
            record.allowed_networks = networks.as_deref().map(Into::into);
        }
        _ => {}
    };
    match breakage(&reader, engine, (record, from), &change) {
        Ok(breakage) => checks.breakage(name, &breakage, is_accepted),
        Err(error) => checks.add(name, unread, unread_text(&error)),
    }
    Ok(())
}

fn unread_text(error: &dyn std::error::Error) -> String {
    format!("the log cannot be read, and nothing was compared: {error}")
}
