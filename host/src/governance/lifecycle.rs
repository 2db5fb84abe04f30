//! What a new key and a rotation are checked for, and what all changes have in common: who may make
//! them, what may be granted, and whether the registry's row is what its history says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::identity::Identity;
use super::keeper::{Evidence, Keeper, KeeperError};
use super::preflight::{AUTHORITY, CHANGE, Checks, EXPIRY, POLICIES, SCOPES, Verdict};
use super::principal::Action;
use super::rules::KeyRules;
use crate::key::catalogue::Resolved;
use crate::key::edit::Edit;
use crate::key::event::KeyEventKind;
use crate::key::json::KeyFile;
use crate::key::rotation::Rotation;
use crate::key::state::State;
use crate::key::{KeyId, KeyRecord};
use crate::registry::sqlite::{NewKey, SqliteError};
use crate::timestamp::Timestamp;

/// Who asks, by which rules, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The rules.
    pub rules: &'a KeyRules,
    /// Who.
    pub who: &'a Identity,
    /// When.
    pub now: Timestamp,
}

/// How a key is about to be rotated.
#[derive(Clone, Copy, Debug)]
pub struct Rotating {
    /// The rotation.
    pub rotation: Rotation,
    /// Nothing is changed: what the log knows of a use was not noted before.
    pub is_dry_run: bool,
    /// The key rotates itself: nobody else's role counts.
    pub is_own: bool,
}

impl Asking<'_> {
    /// Whether whoever asks may do this, and may have the credential of a key of `owner` with these
    /// grants.
    pub fn authority<'g>(
        &self,
        actions: &[Action],
        granted: (&str, impl IntoIterator<Item = &'g str> + Clone),
        checks: &mut Checks,
    ) {
        let mut may = Ok(self.who.name(&self.rules.principals));
        for action in actions {
            let principals = &self.rules.principals;
            may = may.and_then(|_| self.who.authorize(principals, (*action, self.now)));
        }
        let may = may.and_then(|actor| {
            self.who.authorize_grants(self.rules, granted, self.now)?;
            Ok(format!("`{actor}` may"))
        });
        checks.add_result(AUTHORITY, may);
    }

    /// As [`Asking::authority`], for keys of several owners.
    pub fn authority_for_all(
        &self,
        actions: &[Action],
        granted: &BTreeMap<&str, BTreeSet<&str>>,
        checks: &mut Checks,
    ) {
        let mut all = Checks::default();
        self.authority(actions, ("", []), &mut all);
        for (owner, grants) in granted {
            self.authority(&[], (owner, grants.iter().copied()), &mut all);
        }
        let said = all.refused().or_else(|| all.iter().next());
        if let Some(said) = said {
            checks.add(said.name, said.verdict, said.text.clone());
        }
    }

    /// What a key that has some scopes gets for those that were asked for; `None`: not all of them
    /// can be granted.
    pub fn grants(
        &self,
        (wanted, keep_wildcards): (&[String], bool),
        held: &[Arc<str>],
        checks: &mut Checks,
    ) -> Option<Vec<String>> {
        let catalogue = self.rules.catalogue.clone().with(held);
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
            let text =
                format!("`{wildcard}` stays as it is: it also covers scopes that come later");
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

    /// Checks a key that is to be issued, and puts the scopes that it gets in the place of those
    /// that were asked for.
    pub fn issue(
        &self,
        (new, keep_wildcards): (&mut NewKey, bool),
        evidence: &dyn Evidence,
        checks: &mut Checks,
    ) {
        if let Some(grants) = self.grants((&new.scopes, keep_wildcards), &[], checks) {
            new.scopes = grants;
        }
        let scopes = new.scopes.iter().map(String::as_str);
        self.authority(&[Action::Issue], (&new.owner, scopes), checks);
        checks.expiry((self.now, new.expires_at), self.rules.max_lifetime_days);
        if new.not_before.is_some_and(|start| start >= new.expires_at) {
            let text = "it may not be used before it ends: no use at all";
            checks.add(EXPIRY, Verdict::Refused, text);
        }
        if new.rotate_by.is_some_and(|due| due <= self.now) {
            checks.add(EXPIRY, Verdict::Warning, "it is to be rotated at once");
        }
        // The registry draws its id.
        let Ok(id) = "000000000000".parse() else {
            return;
        };
        let record = new.record(id, self.now);
        policies(evidence, (&record, self.now), checks);
        let checked = KeyFile::new(&record, None).check(self.rules.options);
        checks.add_result(CHANGE, checked.map(|_| "a new key"));
    }
}

impl Keeper {
    /// Whether the registry's row of a key is what its history says.
    ///
    /// # Errors
    /// [`SqliteError`] when the registry cannot be read.
    pub fn check_history(
        &self,
        record: &KeyRecord,
        checks: &mut Checks,
    ) -> Result<(), SqliteError> {
        let mut events = Vec::new();
        self.registry.history(&record.id, |stored| {
            events.push(stored.entry);
            Ok::<(), SqliteError>(())
        })?;
        checks.registry(record, events.iter().map(Vec::as_slice));
        Ok(())
    }

    /// Whether a change is legal in the state that the key is in.
    ///
    /// # Errors
    /// [`SqliteError`] when the registry cannot be read.
    pub fn check_change(
        &self,
        (record, edit): (&KeyRecord, &Edit),
        checks: &mut Checks,
    ) -> Result<(), SqliteError> {
        if let Some((state, _)) = self.registry.state(&record.id, self.now)? {
            let applied = edit
                .apply(record, state)
                .map(|(next, kind)| change_text((kind, &next), state));
            checks.add_result(CHANGE, applied);
        }
        Ok(())
    }

    /// Which of a key and its successor count as unused, and are known to have been used: it can be
    /// rotated then, and its secret is not to be replaced.
    ///
    /// # Errors
    /// [`KeeperError`] when the registry or the evidence cannot be read.
    pub fn unnoticed(&self, id: KeyId, evidence: &dyn Evidence) -> Result<Vec<KeyId>, KeeperError> {
        let state = self.registry.state(&id, self.now)?;
        let pending = matches!(state, Some((State::Pending, _))).then_some(id);
        let successor = self.registry.unused_successor(&id)?;
        let mut used = Vec::new();
        for unused in pending.into_iter().chain(successor) {
            if evidence.used(unused)? {
                used.push(unused);
            }
        }
        Ok(used)
    }

    /// What stands against a rotation. One that is to be made has noted a successor that is at work
    /// before; there is no looking for evidence of that again.
    ///
    /// # Errors
    /// [`KeeperError`] when the registry or the evidence cannot be read.
    pub fn check_rotation(
        &self,
        id: KeyId,
        rotating: Rotating,
        evidence: &dyn Evidence,
    ) -> Result<Checks, KeeperError> {
        let Rotating {
            rotation,
            is_dry_run,
            is_own,
        } = rotating;
        let record = self.key(&id)?;
        let mut checks = Checks::default();
        let unused = self.registry.unused_successor(&id)?;
        let successor = unused.map(|id| self.key(&id)).transpose()?;
        if !is_own {
            let actions = if rotation.force {
                &[Action::Rotate, Action::Force][..]
            } else {
                &[Action::Rotate]
            };
            // Whoever rotates gets a credential for all of it.
            let granted = successor.as_ref().unwrap_or(&record).scopes.iter();
            let granted = (&*record.owner, granted.map(|it| &**it));
            self.asking().authority(actions, granted, &mut checks);
        }
        self.check_history(&record, &mut checks)?;
        let Some((state, predecessor)) = self.registry.state(&id, self.now)? else {
            return Ok(checks);
        };
        let is_at_work = is_dry_run && state == State::Pending && evidence.used(id)?;
        let state = if is_at_work { State::Active } else { state };
        if let Some(successor) = unused {
            if is_dry_run && evidence.used(successor)? {
                let text = format!("its successor {successor} is at work already");
                checks.add(CHANGE, Verdict::Refused, text);
            } else {
                let text = format!(
                    "its successor {successor}, which nobody has used, gets another secret"
                );
                checks.add(CHANGE, Verdict::Ok, text);
            }
            return Ok(checks);
        }
        if let Some(older) = predecessor
            && let Some((State::Deprecated, _)) = self.registry.state(&older, self.now)?
        {
            if rotation.force {
                let text = format!("the grace period of key {older} ends");
                checks.add(CHANGE, Verdict::Warning, text);
            } else {
                let text = format!("key {older}, which it succeeds, is still in its grace period");
                checks.add(CHANGE, Verdict::Refused, text);
            }
        }
        self.check_successor((&record, state), rotation, (evidence, &mut checks));
        Ok(checks)
    }

    fn check_successor(
        &self,
        old: (&KeyRecord, State),
        rotation: Rotation,
        (evidence, checks): (&dyn Evidence, &mut Checks),
    ) {
        match rotation.apply(old, old.0.id, self.now) {
            Err(error) => checks.add(CHANGE, Verdict::Refused, error.to_string()),
            Ok((old, successor)) => {
                let end = old.ends_at();
                let end = end.map_or_else(|| "no time".to_owned(), |end| end.to_string());
                checks.add(CHANGE, Verdict::Ok, format!("this key ends at {end}"));
                let end = successor.expires_at.unwrap_or(self.now);
                checks.expiry((self.now, end), self.rules.max_lifetime_days);
                policies(evidence, (&successor, self.now), checks);
            }
        }
    }
}

/// A change in words.
#[must_use]
pub fn change_text((kind, next): (KeyEventKind, &KeyRecord), state: State) -> String {
    let (kind, version) = (kind.as_str(), next.version);
    format!(
        "{kind}, version {version} of a key that is {}",
        state.as_str()
    )
}

/// What the policies hold against a key. A configuration whose policies do not load is for `check`
/// to complain about.
fn policies(evidence: &dyn Evidence, (record, now): (&KeyRecord, Timestamp), checks: &mut Checks) {
    let Some(reasons) = evidence.marks(record, now) else {
        let text = "they do not load; `keyward check` says why";
        checks.add(POLICIES, Verdict::Warning, text);
        return;
    };
    for reason in &reasons {
        let text = format!("the policies will refuse this key with {reason}");
        checks.add(POLICIES, Verdict::Warning, text);
    }
    if reasons.is_empty() {
        checks.add(POLICIES, Verdict::Ok, "none calls the key not compliant");
    }
}
