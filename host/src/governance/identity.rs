//! Who asks for a change of keys: a person at this machine, or one who has a key.

use std::sync::Arc;

use super::control;
use super::principal::{Action, Principal, Unauthorized};
use super::rules::KeyRules;
use crate::key::KeyId;
use crate::timestamp::Timestamp;

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A user of the operating system. Where a configuration names no principals, anybody may who
    /// may write the registry, under that name.
    OsUser(String),
    /// Whoever holds a key: its owner. Where a configuration names no principals, they may look.
    Key {
        /// The key's owner, who is the principal of that name.
        owner: Arc<str>,
        /// The key.
        id: KeyId,
        /// What it grants.
        scopes: Arc<[Arc<str>]>,
    },
}

impl Identity {
    /// Who may do something: the name in key events.
    ///
    /// # Errors
    /// [`Unauthorized`] when there are principals and this is none, or one who may not.
    pub fn authorize<'a>(
        &'a self,
        principals: &'a [Principal],
        (action, now): (Action, Timestamp),
    ) -> Result<&'a str, Unauthorized> {
        match (self.principal(principals)?, self) {
            (Some(principal), _) => {
                principal.authorize(action, now)?;
                Ok(&principal.name)
            }
            (None, Self::OsUser(user)) => Ok(user),
            (None, Self::Key { owner, .. }) if action == Action::View => Ok(owner),
            (None, Self::Key { .. }) => Err(Unauthorized::Nobody),
        }
    }

    /// Whether they may get or give the credential of a key of an owner with these grants.
    ///
    /// # Errors
    /// [`Unauthorized`] names the first grant that is beyond them.
    pub fn authorize_grants<'g>(
        &self,
        rules: &KeyRules,
        (owner, grants): (&str, impl IntoIterator<Item = &'g str> + Clone),
        now: Timestamp,
    ) -> Result<(), Unauthorized> {
        let principal = self.principal(&rules.principals)?;
        if let Some(principal) = principal {
            principal.check_grants(grants.clone(), &rules.implications)?;
        }
        let held = match self {
            Self::OsUser(_) => None,
            Self::Key { scopes, .. } => Some(&**scopes),
        };
        control::check(rules, (principal, held), (owner, grants), now)
    }

    /// The name under which a refusal is noted.
    #[must_use]
    pub fn name<'a>(&'a self, principals: &'a [Principal]) -> &'a str {
        match (self.principal(principals), self) {
            (Ok(Some(principal)), _) => &principal.name,
            (_, Self::OsUser(user)) => user,
            (_, Self::Key { owner, .. }) => owner,
        }
    }

    /// How they came: what key events have as the user.
    #[must_use]
    pub fn user(&self) -> String {
        match self {
            Self::OsUser(user) => user.clone(),
            Self::Key { id, .. } => format!("key:{id}"),
        }
    }

    /// Which principal it is; `None`: there are none.
    fn principal<'p>(
        &self,
        principals: &'p [Principal],
    ) -> Result<Option<&'p Principal>, Unauthorized> {
        if principals.is_empty() {
            return Ok(None);
        }
        let (name, found) = match self {
            Self::OsUser(user) => {
                let found = principals.iter().find(|it| *it.os_user == **user);
                (user.as_str(), found)
            }
            Self::Key { owner, .. } => {
                let found = principals.iter().find(|it| it.name == *owner);
                (&**owner, found)
            }
        };
        let found = found.ok_or_else(|| Unauthorized::Stranger(name.to_owned()))?;
        Ok(Some(found))
    }
}
