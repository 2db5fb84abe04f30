//! Looking at keys: show, export, history.

use std::io::{self, Write};

use anyhow::anyhow;

use super::super::log::key_event_json;
use super::super::{Failure, Status, open, print, say};
use super::keeper::{Keeper, database, may, registry_failed};
use crate::config::{Config, RegistrySource};
use crate::governance::principal::Action;
use crate::key::json::KeyFile;
use crate::key::{KeyId, KeyRecord};
use crate::log::Entry;
use crate::registry::sqlite::{SqliteRegistry, StoredEvent};

pub(super) fn export(config: &Config) -> Result<Status, Failure> {
    may(config, Action::Export)?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    each_key(config, |file| {
        serde_json::to_writer(&mut out, &file)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(Failure::output)
    })?;
    out.flush().map_err(Failure::output)?;
    Ok(Status::Done)
}

/// A key of the configuration.
pub(super) fn find(config: &Config, id: KeyId) -> Result<KeyRecord, Failure> {
    may(config, Action::View)?;
    let mut found = None;
    if let RegistrySource::Database(_) = config.registry.source {
        let registry = database(config, SqliteRegistry::open_existing)?;
        found = registry
            .get(&id)
            .map_err(|error| registry_failed(config, error))?;
    } else if let Some(entry) =
        crate::registry::Registry::lookup(&open::registry(&config.registry)?, &id)
    {
        found = Some(KeyRecord::clone(entry.record()));
    }
    found.ok_or_else(|| Failure::usage(anyhow!("the registry has no key `{id}`")))
}

pub(super) fn show(config: &Config, id: KeyId) -> Result<Status, Failure> {
    let record = find(config, id)?;
    let digest = record.digest();
    let value: serde_json::Value =
        serde_json::from_str(&record.to_canonical_json()).map_err(Failure::storage)?;
    let pretty = serde_json::to_string_pretty(&value).map_err(Failure::storage)?;
    say(format_args!(
        "version {} of key {id}, key record {digest}",
        record.version
    ));
    print(&format!("{pretty}\n"))
}

/// Every key in its file form, in the order of the ids.
fn each_key(
    config: &Config,
    mut each: impl FnMut(KeyFile) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if let RegistrySource::Database(_) = config.registry.source {
        let registry = database(config, SqliteRegistry::open_existing)?;
        return registry.export(each);
    }
    open::declared_keys(&config.registry)?
        .iter()
        .map(|key| key.to_file())
        .try_for_each(&mut each)
}

/// The events of a key as JSON Lines, the first one first.
pub(super) fn history(config: &Config, id: KeyId) -> Result<Status, Failure> {
    let keeper = Keeper::look(config)?;
    let show = |stored: StoredEvent| -> Result<(), Failure> {
        let Ok(Entry::KeyEvent(event)) = Entry::decode(&stored.entry) else {
            return Err(Failure::storage(anyhow!(
                "the registry's key event {} is none; restore a backup",
                stored.sequence
            )));
        };
        print(&format!("{}\n", key_event_json(&event))).map(drop)
    };
    if let Some(import) = keeper.core.registry.import_of(&id)? {
        show(import)?;
    }
    keeper.core.registry.history(&id, show)?;
    Ok(Status::Done)
}
