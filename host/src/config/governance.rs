//! `[governance]` and `[[principal]]`: what holds for all keys, who keeps them, and what they may
//! grant.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::problem::{ConfigError, Problems};
use super::section::{At, Bounds, Section, not_one_of, note_type, read_text};
use crate::governance::principal::{Certification, MAY_GRANT_MAX, PRINCIPALS_MAX, Principal, Role};
use crate::key::catalogue::CATALOGUE_MAX;
use crate::key::event::ACTOR_MAX_BYTES;
use crate::key::grant::is_grant;
use crate::key::order::{ORDER_DEFAULT_HOURS, ORDER_MAX_HOURS};
use crate::key::rotation::GRACE_MAX_DAYS;
use crate::route::is_exact_scope;
use crate::shown::shown;
use crate::timestamp::Timestamp;

/// The longest life of a key unless `[governance]` says otherwise, in days.
pub const LIFETIME_DEFAULT_DAYS: u64 = 90;
/// The longest life that `[governance]` can allow, in days.
pub const LIFETIME_MAX_DAYS: u64 = 36_500;

/// How long a key that rotates itself stays usable unless `[governance]` says otherwise, in days.
pub const SELF_ROTATION_GRACE_DEFAULT_DAYS: u64 = 7;

/// Where the governance key is unless `[governance]` names it otherwise: beside the log's key.
pub const KEY_FILE: &str = "governance.key";

/// `[governance]`: what holds for all keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GovernanceConfig {
    /// The longest life of a key that is issued or succeeds another, in days: 1 to
    /// [`LIFETIME_MAX_DAYS`], by default [`LIFETIME_DEFAULT_DAYS`].
    pub max_lifetime_days: u64,
    /// How long an order to revoke a key can be confirmed, in hours: 1 to [`ORDER_MAX_HOURS`], by
    /// default [`ORDER_DEFAULT_HOURS`].
    pub order_hours: u64,
    /// Scopes that there are beside those of the routes: at most
    /// [`CATALOGUE_MAX`], none of them with a wildcard.
    pub scopes: Vec<Arc<str>>,
    /// The file with the key that signs as governance; `None`: [`KEY_FILE`] beside the log's key.
    pub key: Option<PathBuf>,
    /// Whether a key with the scope `keyward.self:rotate` may rotate itself.
    pub self_rotation: bool,
    /// How long it stays usable then, at most, in days: 0 to [`GRACE_MAX_DAYS`], by default
    /// [`SELF_ROTATION_GRACE_DEFAULT_DAYS`].
    pub self_rotation_grace_days: u64,
}

impl Default for GovernanceConfig {
    fn default() -> Self {
        Self {
            max_lifetime_days: LIFETIME_DEFAULT_DAYS,
            order_hours: ORDER_DEFAULT_HOURS,
            scopes: Vec::new(),
            key: None,
            self_rotation: false,
            self_rotation_grace_days: SELF_ROTATION_GRACE_DEFAULT_DAYS,
        }
    }
}

pub(super) fn read(
    mut section: Section<'_, '_>,
    file: &Path,
    problems: &mut Problems,
) -> GovernanceConfig {
    const LIFETIME: Bounds = Bounds {
        key: "max_lifetime_days",
        least: 1,
        most: LIFETIME_MAX_DAYS,
    };
    const ORDER: Bounds = Bounds {
        key: "order_hours",
        least: 1,
        most: ORDER_MAX_HOURS,
    };
    const GRACE: Bounds = Bounds {
        key: "self_rotation_grace_days",
        least: 0,
        most: GRACE_MAX_DAYS,
    };
    let governance = GovernanceConfig {
        max_lifetime_days: section.number(LIFETIME, LIFETIME_DEFAULT_DAYS, problems),
        order_hours: section.number(ORDER, ORDER_DEFAULT_HOURS, problems),
        scopes: read_scopes(&mut section, SCOPES, problems).unwrap_or_default(),
        key: section
            .text("key", problems)
            .map(|key| super::beside(file, key.value)),
        self_rotation: section.flag("self_rotation", problems),
        self_rotation_grace_days: section.number(GRACE, SELF_ROTATION_GRACE_DEFAULT_DAYS, problems),
    };
    section.finish(problems);
    governance
}

/// Reads every `[[principal]]`. Names and users are unique: an event names one person.
pub(super) fn read_principals(
    sections: Vec<Section<'_, '_>>,
    problems: &mut Problems,
) -> Vec<Principal> {
    let mut names = BTreeSet::new();
    let mut users = BTreeSet::new();
    let mut principals = Vec::new();
    for (count, mut section) in sections.into_iter().enumerate() {
        if count >= PRINCIPALS_MAX {
            problems.note(section.offset(), ConfigError::TooManyPrincipals);
            break;
        }
        let name = name(section.required_text("name", problems), problems);
        let user = section.text("os_user", problems).or(name);
        for (taken, it) in [(&mut names, name), (&mut users, user)] {
            if let Some(it) = it
                && !taken.insert(it.value)
            {
                let error = ConfigError::PrincipalTwice(crate::shown::shown(it.value));
                problems.note(it.offset, error);
            }
        }
        let roles = roles(&mut section, problems);
        let certification = section
            .section("certification", "[principal.certification]", problems)
            .map(|section| certification(section, problems));
        let may_grant = read_scopes(&mut section, MAY_GRANT, problems);
        section.finish(problems);
        if let (Some(name), Some(user), Some(roles)) = (name, user, roles) {
            principals.push(Principal {
                name: name.value.into(),
                os_user: user.value.into(),
                roles,
                certification: certification.flatten(),
                may_grant,
            });
        }
    }
    principals
}

/// A list of scopes of one kind.
#[derive(Clone, Copy)]
struct Kind {
    key: &'static str,
    /// What a message calls them.
    listed: &'static str,
    most: usize,
    is_one: fn(&str) -> bool,
    error: fn(String) -> ConfigError,
}

const SCOPES: Kind = Kind {
    key: "scopes",
    listed: "`scopes`",
    most: CATALOGUE_MAX,
    is_one: is_exact_scope,
    error: ConfigError::CatalogueScope,
};

const MAY_GRANT: Kind = Kind {
    key: "may_grant",
    listed: "`may_grant`",
    most: MAY_GRANT_MAX,
    is_one: is_grant,
    error: ConfigError::Grant,
};

/// A list of scopes; `None` when it is not there. What is wrong with it is noted, and what is right
/// of it returned.
fn read_scopes(
    section: &mut Section<'_, '_>,
    kind: Kind,
    problems: &mut Problems,
) -> Option<Vec<Arc<str>>> {
    let value = section.value(kind.key)?;
    let Some(items) = value.get_ref().as_array() else {
        note_type(kind.key, "a list of strings", value, problems);
        return Some(Vec::new());
    };
    if items.len() > kind.most {
        let (section, most) = (kind.listed, kind.most);
        problems.note(value.span().start, ConfigError::TooMany { section, most });
        return Some(Vec::new());
    }
    let mut scopes = Vec::new();
    for item in items.iter() {
        let Some(text) = read_text(kind.key, item, problems) else {
            continue;
        };
        if (kind.is_one)(text.value) {
            scopes.push(text.value.into());
        } else {
            problems.note(text.offset, (kind.error)(shown(text.value)));
        }
    }
    Some(scopes)
}

fn name<'t>(name: Option<At<&'t str>>, problems: &mut Problems) -> Option<At<&'t str>> {
    let name = name?;
    if name.value.len() > ACTOR_MAX_BYTES {
        problems.note(name.offset, ConfigError::PrincipalName);
        return None;
    }
    Some(name)
}

fn roles(section: &mut Section<'_, '_>, problems: &mut Problems) -> Option<Vec<Role>> {
    let value = section.required("roles", problems)?;
    let Some(items) = value.get_ref().as_array() else {
        super::note_type("roles", "a list of strings", value, problems);
        return None;
    };
    let mut roles = Vec::new();
    for item in items.iter() {
        let text = read_text("roles", item, problems)?;
        match Role::ALL.into_iter().find(|it| it.as_str() == text.value) {
            Some(role) => roles.push(role),
            None => {
                let known = Role::ALL.iter().map(|it| it.as_str());
                problems.note(text.offset, not_one_of("roles", text.value, known));
            }
        }
    }
    Some(roles)
}

fn certification(mut section: Section<'_, '_>, problems: &mut Problems) -> Option<Certification> {
    const SCORE: Bounds = Bounds {
        key: "score_percent",
        least: 0,
        most: 100,
    };
    let course = section.required_text("course", problems);
    let score = section
        .required("score_percent", problems)
        .map(|_| section.number(SCORE, 0, problems));
    let issued_at = time(&mut section, "issued_at", problems);
    let expires_at = time(&mut section, "expires_at", problems);
    section.finish(problems);
    Some(Certification {
        course: Arc::from(course?.value),
        score_percent: u8::try_from(score?).unwrap_or(0),
        issued_at: issued_at?,
        expires_at: expires_at?,
    })
}

fn time(
    section: &mut Section<'_, '_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<Timestamp> {
    let text = section.required_text(key, problems)?;
    match Timestamp::parse(text.value) {
        Ok(time) => Some(time),
        Err(error) => {
            problems.note(text.offset, ConfigError::Time { key, error });
            None
        }
    }
}
