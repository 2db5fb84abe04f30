//! Looking at keys: list, show, export, history.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::anyhow;

use super::super::log::key_event_json;
use super::super::output::{FAINT, NOTE, clip};
use super::super::{Failure, Status, open, print, say};
use super::keeper::{Keeper, database, registry_failed};
use crate::clock;
use crate::config::{Config, RegistrySource};
use crate::facts::Facts;
use crate::key::json::KeyFile;
use crate::key::{KeyId, KeyRecord};
use crate::log::Entry;
use crate::policy::PolicySet;
use crate::registry::sqlite::SqliteRegistry;
use crate::timestamp::Timestamp;

pub(super) fn export(config: &Config) -> Result<Status, Failure> {
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

/// Lists keys. What breaks the rules is not decided here: the policies are asked, each key with a
/// request of its own at a time when it may be used, and what raises `key-not-compliant` is shown.
pub(super) fn list(config: &Config) -> Result<Status, Failure> {
    let engine = open::engine().map_err(Failure::usage)?;
    let policies = open::policies(&config.policies, &engine)
        .map_err(|problems| Failure::usage(anyhow!("{}", problems.join("\n"))))?;
    let now = clock::now();
    let mut out = io::BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()));
    let options = open::key_options(&config.registry);
    let mut count = 0_u64;
    each_key(config, |file| {
        let checked = file.check(options).map_err(Failure::storage)?;
        let (record, _) = checked.into_parts();
        let marks = not_compliant(&policies, record.clone(), now);
        if count == 0 {
            write_heading(&mut out).map_err(Failure::output)?;
        }
        count += 1;
        write_key(&mut out, &record, &marks).map_err(Failure::output)
    })?;
    writeln!(out, "{count} keys")
        .and_then(|()| out.flush())
        .map_err(Failure::output)?;
    Ok(Status::Done)
}

fn write_heading(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{FAINT}{:<12} {:<4} {:<20} {:<10} {:<24} SCOPES{FAINT:#}",
        "KEY", "ENV", "OWNER", "LIFECYCLE", "ENDS"
    )
}

fn write_key(out: &mut impl Write, record: &KeyRecord, marks: &[String]) -> io::Result<()> {
    let end = record
        .expires_at
        .map_or_else(|| "never".to_owned(), |end| end.to_string());
    let mask = if record.read_only { " (read-only)" } else { "" };
    write!(
        out,
        "{:<12} {:<4} {:<20} {:<10} {:<24} {}{mask}",
        record.id.as_str(),
        record.environment.as_str(),
        clip(&record.owner, 20),
        record.lifecycle.as_str(),
        end,
        clip(&record.scopes.join(" "), 60),
    )?;
    for mark in marks {
        write!(out, "  {NOTE}! {mark}{NOTE:#}")?;
    }
    writeln!(out)
}

/// The reasons with which policies call a key not compliant.
pub(super) fn not_compliant(
    policies: &PolicySet,
    record: KeyRecord,
    now: Timestamp,
) -> Vec<String> {
    let at = record.not_before.map_or(now, |start| start.max(now));
    let Some(facts) = Facts::of_key(record, at).map(Arc::new) else {
        return Vec::new();
    };
    let verdicts = policies.policies().iter().filter_map(|policy| {
        policy
            .evaluate(Box::new(Arc::clone(&facts)))
            .outcome
            .verdict()
            .cloned()
    });
    verdicts
        .filter(|verdict| {
            verdict
                .signals
                .iter()
                .any(|s| s.name == "key-not-compliant")
        })
        .filter_map(|verdict| verdict.reason.map(|reason| reason.code.to_string()))
        .collect()
}

/// A key of the configuration.
pub(super) fn find(config: &Config, id: KeyId) -> Result<KeyRecord, Failure> {
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
    keeper.registry.history(&id, |stored| {
        let Ok(Entry::KeyEvent(event)) = Entry::decode(&stored.entry) else {
            return Err(Failure::storage(anyhow!(
                "the registry's key event {} is none; restore a backup",
                stored.sequence
            )));
        };
        print(&format!("{}\n", key_event_json(&event))).map(drop)
    })?;
    Ok(Status::Done)
}
