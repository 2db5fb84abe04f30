//! Who changes keys, in which registry, and that the log is told.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::anyhow;
use nix::unistd::{Uid, User};

use super::super::{Failure, open, say};
use crate::clock;
use crate::config::{Config, RegistrySource};
use crate::governance::principal::{Action, authorize};
use crate::governance::recorded::{RecordError, record};
use crate::key::event::REASON_MAX_BYTES;
use crate::key::json::KeyOptions;
use crate::key::{KeyId, KeyRecord};
use crate::log::{Log, LogError};
use crate::registry::sqlite::{By, SqliteError, SqliteRegistry};
use crate::timestamp::Timestamp;

/// Somebody at work: the registry, and the log if no host is writing it.
pub(in crate::cli) struct Keeper<'a> {
    config: &'a Config,
    pub(in crate::cli) registry: SqliteRegistry,
    log: Option<Log>,
    pub(in crate::cli) now: Timestamp,
    actor: String,
    /// The operating system's user.
    user: String,
}

/// What is to be done, to which key.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Intent {
    pub(in crate::cli) action: Action,
    pub(in crate::cli) key: Option<KeyId>,
}

impl<'a> Keeper<'a> {
    /// Lets somebody begin who may do what is intended. What was changed earlier and is not in the
    /// log is told first, and a registry that is not the one the log knows is refused.
    pub(in crate::cli) fn begin(config: &'a Config, intent: Intent) -> Result<Self, Failure> {
        let open = match intent.action {
            Action::Issue => SqliteRegistry::open,
            action if is_restriction(action) => SqliteRegistry::open_to_restrict,
            _ => SqliteRegistry::open_existing,
        };
        let registry = database(config, open)?;
        let mut keeper = Self {
            config,
            registry,
            log: None,
            now: clock::now(),
            actor: os_user(config),
            user: os_user(config),
        };
        keeper.authorize(intent)?;
        // What takes away is done also where the log is out of order: nobody allows then anyway.
        let told = open_log(config).and_then(|log| {
            keeper.log = log;
            keeper.record()
        });
        match told {
            Ok(()) => {}
            Err(Failure::Storage(error) | Failure::Usage(error))
                if is_restriction(intent.action) =>
            {
                say(format_args!("warning: not recorded for now: {error:#}"));
                keeper.log = None;
            }
            Err(failure) => return Err(failure),
        }
        Ok(keeper)
    }

    /// Lets somebody look who may.
    pub(in crate::cli) fn look(config: &'a Config) -> Result<Self, Failure> {
        let mut keeper = Self {
            config,
            registry: database(config, SqliteRegistry::open_existing)?,
            log: None,
            now: clock::now(),
            actor: os_user(config),
            user: os_user(config),
        };
        keeper.authorize(Intent {
            action: Action::View,
            key: None,
        })?;
        Ok(keeper)
    }

    /// Lets go on who may do something more. A refusal is an event.
    pub(in crate::cli) fn authorize(&mut self, intent: Intent) -> Result<(), Failure> {
        let may = authorize(
            &self.config.principals,
            &self.user,
            (intent.action, self.now),
        );
        match may {
            Ok(actor) => {
                self.actor = actor.to_owned();
                Ok(())
            }
            Err(refused) => {
                let principals = &self.config.principals;
                let known = principals.iter().find(|it| *it.os_user == *self.user);
                self.actor = known.map_or_else(|| self.user.clone(), |it| it.name.to_string());
                self.note_refusal(intent.key, &refused.to_string())?;
                Err(Failure::usage(refused))
            }
        }
    }

    /// A key.
    pub(super) fn key(&self, id: &KeyId) -> Result<KeyRecord, Failure> {
        let found = self.registry.get(id);
        found
            .and_then(|record| record.ok_or(SqliteError::NoKey(*id)))
            .map_err(|error| registry_failed(self.config, error))
    }

    /// Makes an event of an attempt that is refused. The log takes it with the next change; a
    /// refusal does not wait for it.
    pub(super) fn note_refusal(&mut self, key: Option<KeyId>, why: &str) -> Result<(), Failure> {
        let why = why.get(..why.floor_char_boundary(REASON_MAX_BYTES));
        let by = By {
            at: self.now,
            actor: Some(&self.actor),
            user: Some(&self.user),
            reason: why,
        };
        let noted = self.registry.note_refusal(key, by);
        noted.map_err(|error| registry_failed(self.config, error))?;
        Ok(())
    }

    /// Makes a change, and tells the log of it.
    pub(super) fn change<T>(
        &mut self,
        reason: Option<&str>,
        change: impl FnOnce(&mut SqliteRegistry, By<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, Failure> {
        let by = By {
            at: self.now,
            actor: Some(&self.actor),
            user: Some(&self.user),
            reason,
        };
        let changed = change(&mut self.registry, by);
        // A refusal can be an event too.
        let recorded = self.record();
        let changed = changed.map_err(|error| registry_failed(self.config, error))?;
        if let Err(Failure::Storage(error)) = recorded {
            say(format_args!(
                "warning: the change is made and stays, and the log does not have it yet: {error:#}; \
                 the next command or host that opens the log records it"
            ));
        }
        Ok(changed)
    }

    /// What a change would come to, without making it.
    pub(super) fn rehearse<T>(
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

    /// The log, which has all events; `None`: a host is writing it.
    pub(in crate::cli) fn into_log(self) -> Option<Log> {
        self.log
    }

    /// Brings the log up to date.
    fn record(&mut self) -> Result<(), Failure> {
        let Some(log) = &self.log else {
            return Ok(());
        };
        let folder = &self.config.log.path;
        let recorded = record(&mut self.registry, (log, folder));
        let told = recorded.map_err(|error| match error {
            RecordError::Registry(error) => registry_failed(self.config, error),
            error => {
                let error = anyhow::Error::new(error);
                Failure::Storage(error.context(format!("log folder `{}`", folder.display())))
            }
        })?;
        open::warn_of_other_log(self.config, told);
        Ok(())
    }
}

/// Lets somebody do what changes no key, who may.
pub(in crate::cli) fn may(config: &Config, action: Action) -> Result<(), Failure> {
    let user = os_user(config);
    let may = authorize(&config.principals, &user, (action, clock::now()));
    may.map(drop).map_err(Failure::usage)
}

/// The log, unless a host is writing it: that records the change then.
fn open_log(config: &Config) -> Result<Option<Log>, Failure> {
    match open::kept_log(config) {
        Ok(log) => Ok(Some(log)),
        Err(Failure::Storage(error)) => match error.downcast_ref() {
            Some(LogError::InUse { holder }) => {
                say(format_args!(
                    "the log is being written by another process ({holder}), which records this \
                     change if it follows the registry; otherwise whoever opens the log next does, \
                     and that host goes on as before until then"
                ));
                Ok(None)
            }
            _ => Err(Failure::Storage(error)),
        },
        Err(failure) => Err(failure),
    }
}

const fn is_restriction(action: Action) -> bool {
    matches!(
        action,
        Action::Restrict | Action::OrderRevocation | Action::ConfirmRevocation | Action::Emergency
    )
}

/// The person, by the operating system's name. Where the command runs as root or as the owner of
/// the registry, which several people keep, it is the one whom sudo says: whoever can become that
/// owner could write the registry without this command too.
pub(in crate::cli) fn os_user(config: &Config) -> String {
    let uid = Uid::current();
    let registry = match &config.registry.source {
        RegistrySource::Database(path)
        | RegistrySource::JsonLines(path)
        | RegistrySource::Toml(path) => path,
    };
    let owner = std::fs::metadata(registry).or_else(|_| std::fs::metadata(&*config.file));
    let is_shared = uid.is_root() || owner.is_ok_and(|it| it.uid() == uid.as_raw());
    if is_shared
        && let Ok(user) = std::env::var("SUDO_USER")
        && !user.is_empty()
    {
        return user;
    }
    let user = User::from_uid(uid).ok().flatten();
    user.map_or_else(|| format!("uid-{uid}"), |user| user.name)
}

/// The registry's database. A registry that is declared in a file is changed in that file.
pub(super) fn database<F>(config: &Config, open: F) -> Result<SqliteRegistry, Failure>
where
    F: Fn(&Path, KeyOptions) -> Result<SqliteRegistry, SqliteError>,
{
    match &config.registry.source {
        RegistrySource::Database(path) => open(path, open::key_options(&config.registry))
            .map_err(|error| registry_failed(config, error)),
        RegistrySource::JsonLines(path) | RegistrySource::Toml(path) => {
            Err(Failure::usage(anyhow!(
                "this configuration declares its keys in `{}`; edit that file, or write \
                 `path = \"keyward.db\"` under [registry] in place of `keys`",
                path.display()
            )))
        }
    }
}

/// A refusal of what was asked for is usage; everything else is the registry's.
pub(in crate::cli) fn registry_failed(config: &Config, error: SqliteError) -> Failure {
    let is_refusal = error.is_refusal();
    let context = match &config.registry.source {
        RegistrySource::Database(path) => format!("registry `{}`", path.display()),
        RegistrySource::JsonLines(_) | RegistrySource::Toml(_) => "registry".to_owned(),
    };
    let error = anyhow::Error::new(error).context(context);
    if is_refusal {
        Failure::Usage(error)
    } else {
        Failure::Storage(error)
    }
}

impl From<SqliteError> for Failure {
    fn from(error: SqliteError) -> Self {
        Self::storage(error)
    }
}
