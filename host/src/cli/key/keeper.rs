//! Who changes keys, in which registry, and that the log is told.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use nix::unistd::{Uid, User};

use super::super::{Failure, open, say};
use crate::clock;
use crate::config::{Config, RegistrySource};
use crate::governance;
use crate::governance::identity::Identity;
pub(in crate::cli) use crate::governance::keeper::Intent;
use crate::governance::keeper::KeeperError;
use crate::governance::principal::{Action, authorize};
use crate::governance::recorded::{RecordError, record};
use crate::key::json::KeyOptions;
use crate::key::{KeyId, KeyRecord};
use crate::log::{Log, LogError};
use crate::registry::sqlite::{By, SqliteError, SqliteRegistry};

/// Somebody at work: with the registry, and the log if no host is writing it.
pub(in crate::cli) struct Keeper<'a> {
    config: &'a Config,
    pub(in crate::cli) core: governance::keeper::Keeper,
    log: Option<Log>,
}

impl<'a> Keeper<'a> {
    /// Lets somebody begin who may do what is intended. What was changed earlier and is not in the
    /// log is told first, and a registry that is not the one the log knows is refused.
    pub(in crate::cli) fn begin(config: &'a Config, intent: Intent) -> Result<Self, Failure> {
        let open = match intent.action {
            Action::Issue => SqliteRegistry::open,
            action if action.is_restriction() => SqliteRegistry::open_to_restrict,
            _ => SqliteRegistry::open_existing,
        };
        let mut keeper = Self::new(config, database(config, open)?);
        keeper.authorize(intent)?;
        // What takes away is done also where the log is out of order: nobody allows then anyway.
        let told = open_log(config).and_then(|log| {
            keeper.log = log;
            keeper.record()
        });
        match told {
            Ok(()) => {}
            Err(Failure::Storage(error) | Failure::Usage(error))
                if intent.action.is_restriction() =>
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
        let mut keeper = Self::new(config, database(config, SqliteRegistry::open_existing)?);
        keeper.authorize(Intent {
            action: Action::View,
            key: None,
        })?;
        Ok(keeper)
    }

    fn new(config: &'a Config, registry: SqliteRegistry) -> Self {
        let who = Identity::OsUser(os_user(config));
        let rules = Arc::new(config.key_rules());
        Self {
            config,
            core: governance::keeper::Keeper::new(registry, rules, (who, clock::now())),
            log: None,
        }
    }

    /// Lets go on who may do something more. A refusal is an event.
    pub(in crate::cli) fn authorize(&mut self, intent: Intent) -> Result<(), Failure> {
        let may = self.core.authorize(intent);
        may.map_err(|error| keeper_failed(self.config, error))
    }

    /// A key.
    pub(super) fn key(&self, id: &KeyId) -> Result<KeyRecord, Failure> {
        let found = self.core.key(id);
        found.map_err(|error| registry_failed(self.config, error))
    }

    /// Makes a change, and tells the log of it.
    pub(super) fn change<T>(
        &mut self,
        reason: Option<&str>,
        change: impl FnOnce(&mut SqliteRegistry, By<'_>) -> Result<T, SqliteError>,
    ) -> Result<T, Failure> {
        let changed = self.core.change(reason, change);
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
        let recorded = record(&mut self.core.registry, (log, folder));
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

/// Why a keeper did not do something, as a command ends with it.
pub(super) fn keeper_failed(config: &Config, error: KeeperError) -> Failure {
    match error {
        KeeperError::Registry(error) => registry_failed(config, error),
        KeeperError::Evidence(error) => Failure::Storage(anyhow!(error)),
        KeeperError::Unauthorized(_) | KeeperError::Refused(_) => Failure::usage(error),
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
