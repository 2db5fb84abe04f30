//! The checks before a change of a key, made of what the configuration and the log say, and what
//! becomes of them: a dry run prints them, saving goes by them.

use std::path::Path;

use super::super::{Failure, Status, open, print, say};
use super::keeper::{Keeper, keeper_failed, registry_failed};
use super::marks::Marks;
use crate::audit::what_if::breakage;
use crate::audit::{AuditError, find_decision};
use crate::config::Config;
use crate::decision::{DecisionRecord, Permission};
use crate::governance::keeper::{Evidence, EvidenceError};
use crate::governance::lifecycle::change_text;
use crate::governance::preflight::{CHANGE, Checks, NETWORKS, REGISTRY, SCOPES, Verdict};
use crate::governance::principal::Action;
use crate::key::edit::Edit;
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
    config: &Config,
    keeper: &mut Keeper<'_>,
    key: Option<KeyId>,
    checks: &Checks,
) -> Result<(), Failure> {
    say(checks);
    let may = keeper.core.proceed(key, checks);
    may.map_err(|error| keeper_failed(config, error))
}

/// What the configuration and its log say of keys.
pub(super) struct Known<'a>(pub(super) &'a Config);

impl Evidence for Known<'_> {
    /// Whether the log has a key at work.
    fn used(&self, key: KeyId) -> Result<bool, EvidenceError> {
        Ok(is_used(&self.0.log.path, key)?)
    }

    fn marks(&self, record: &KeyRecord, now: Timestamp) -> Option<Vec<String>> {
        let engine = open::engine().ok()?;
        let policies = open::policies(&self.0.policies, &engine).ok()?;
        Some(Marks::new(&policies).reasons(record, now))
    }
}

/// Whether a log has a key at work.
pub(in crate::cli) fn is_used(log: &Path, key: KeyId) -> Result<bool, AuditError> {
    let Ok(reader) = LogReader::open(log) else {
        return Ok(false); // A log that is not there has seen nobody.
    };
    // What is pruned could have told: it counts as used, and its secret is left alone.
    if reader.pruned()?.is_some() {
        return Ok(true);
    }
    let is_use = |it: &DecisionRecord| it.key == Some(key) && it.permission == Permission::Allow;
    Ok(find_decision(&reader, is_use)?.is_some())
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
    let nothing = ("", []);
    keeper
        .core
        .asking()
        .authority(&[action], nothing, &mut checks);
    let state = keeper.core.registry.state(&id, keeper.core.now)?;
    match (keeper.core.rehearse(reason, change), state) {
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
