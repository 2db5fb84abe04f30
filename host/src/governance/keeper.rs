//! Somebody at work on keys: who may do what is checked before a change, a refusal is an event, and
//! every change is made under the name of whoever makes it. The command line and the service go
//! through here, so that they refuse for the same causes.

use std::error::Error;
use std::sync::Arc;

use super::identity::Identity;
use super::lifecycle::Asking;
use super::preflight::{AUTHORITY, CHANGE, Check, Checks};
use super::principal::{Action, Unauthorized};
use super::rules::KeyRules;
use crate::key::event::REASON_MAX_BYTES;
use crate::key::{KeyId, KeyRecord};
use crate::registry::sqlite::{By, SqliteError, SqliteRegistry};
use crate::timestamp::Timestamp;

/// Somebody at work.
#[derive(Debug)]
pub struct Keeper {
    /// The registry.
    pub registry: SqliteRegistry,
    /// The time of what is done.
    pub now: Timestamp,
    /// By which rules.
    pub rules: Arc<KeyRules>,
    who: Identity,
    actor: String,
    user: String,
}

/// What is to be done, to which key.
#[derive(Clone, Copy, Debug)]
pub struct Intent {
    /// What.
    pub action: Action,
    /// The key; `None`: none that there is.
    pub key: Option<KeyId>,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Somebody may not do it.
    #[error(transparent)]
    Unauthorized(#[from] Unauthorized),
    /// A check before a change says no.
    #[error("not saved, and nothing was changed: {}", .0.text)]
    Refused(Check),
    /// The registry does not do it.
    #[error(transparent)]
    Registry(#[from] SqliteError),
    /// What a key has done could not be told.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

/// Why there is no evidence.
pub type EvidenceError = Box<dyn Error + Send + Sync>;

/// What neither the registry nor the rules say of a key.
pub trait Evidence {
    /// Whether a key was ever used.
    ///
    /// # Errors
    /// When that cannot be told.
    fn used(&self, key: KeyId) -> Result<bool, EvidenceError>;

    /// With which reasons the policies will refuse a key, whatever it asks for; `None`: they could
    /// not be asked.
    fn marks(&self, record: &KeyRecord, now: Timestamp) -> Option<Vec<String>>;
}

impl Keeper {
    /// Somebody who was not yet checked.
    #[must_use]
    pub fn new(
        registry: SqliteRegistry,
        rules: Arc<KeyRules>,
        (who, now): (Identity, Timestamp),
    ) -> Self {
        Self {
            registry,
            now,
            actor: who.name(&rules.principals).to_owned(),
            user: who.user(),
            who,
            rules,
        }
    }

    /// Who asks, by which rules, and when.
    #[must_use]
    pub fn asking(&self) -> Asking<'_> {
        Asking {
            rules: &self.rules,
            who: &self.who,
            now: self.now,
        }
    }

    /// Lets go on who may do something. A refusal is an event.
    ///
    /// # Errors
    /// [`KeeperError::Unauthorized`], or that of the registry.
    pub fn authorize(&mut self, intent: Intent) -> Result<(), KeeperError> {
        let principals = &self.rules.principals;
        match self.who.authorize(principals, (intent.action, self.now)) {
            Ok(actor) => {
                self.actor = actor.to_owned();
                Ok(())
            }
            Err(refused) => {
                self.note_refusal(intent.key, &refused.to_string())?;
                Err(refused.into())
            }
        }
    }

    /// A key.
    ///
    /// # Errors
    /// [`SqliteError`], also when there is none.
    pub fn key(&self, id: &KeyId) -> Result<KeyRecord, SqliteError> {
        self.registry.get(id)?.ok_or(SqliteError::NoKey(*id))
    }

    /// Makes an event of an attempt that is refused. The log takes it with the next change; a
    /// refusal does not wait for it.
    ///
    /// # Errors
    /// [`SqliteError`] when the registry does not take it.
    pub fn note_refusal(&mut self, key: Option<KeyId>, why: &str) -> Result<(), SqliteError> {
        let why = why.get(..why.floor_char_boundary(REASON_MAX_BYTES));
        let by = By {
            at: self.now,
            actor: Some(&self.actor),
            user: Some(&self.user),
            reason: why,
        };
        self.registry.note_refusal(key, by).map(drop)
    }

    /// Goes on unless a check refuses. What is refused because somebody may not do it is an event.
    /// Whether the change is legal is for the registry to say.
    ///
    /// # Errors
    /// [`KeeperError::Refused`], or that of the registry.
    pub fn proceed(&mut self, key: Option<KeyId>, checks: &Checks) -> Result<(), KeeperError> {
        match checks.refused() {
            Some(refused) if refused.name != CHANGE => {
                if refused.name == AUTHORITY {
                    self.note_refusal(key, &refused.text)?;
                }
                Err(KeeperError::Refused(refused.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Makes a change.
    ///
    /// # Errors
    /// That of the change.
    pub fn change<T>(
        &mut self,
        reason: Option<&str>,
        change: impl FnOnce(&mut SqliteRegistry, By<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        let by = By {
            at: self.now,
            actor: Some(&self.actor),
            user: Some(&self.user),
            reason,
        };
        change(&mut self.registry, by)
    }

    /// What a change would come to, without making it.
    ///
    /// # Errors
    /// That of the change.
    pub fn rehearse<T>(
        &mut self,
        reason: Option<&str>,
        change: impl FnOnce(&mut SqliteRegistry, By<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, SqliteError> {
        let by = By {
            at: self.now,
            actor: Some(&self.actor),
            user: Some(&self.user),
            reason,
        };
        self.registry.rehearse(|registry| change(registry, by))
    }
}

impl Action {
    /// Whether it takes away, and nothing else: that is done also where the disk is full or the log
    /// out of order, for nobody allows then anyway.
    #[must_use]
    pub const fn is_restriction(self) -> bool {
        matches!(
            self,
            Self::Restrict | Self::OrderRevocation | Self::ConfirmRevocation | Self::Emergency
        )
    }
}
