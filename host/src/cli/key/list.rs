//! `keyward key list`: keys with their states, all or some, for a person or a program.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::rc::Rc;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::super::output::{FAINT, NOTE, clip};
use super::super::{Failure, Status, open};
use super::issue::label;
use super::keeper::{Keeper, registry_failed};
use super::marks::Marks;
use super::{duration_ms, time};
use crate::clock;
use crate::config::{Config, RegistrySource};
use crate::key::grant::{Implications, is_grant};
use crate::key::json::KeyFile;
use crate::key::state::State;
use crate::key::{KeyId, KeyRecord};
use crate::registry::sqlite::{Filter, Listed};
use crate::timestamp::Timestamp;

/// Arguments of `keyward key list`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ListArgs {
    /// Only keys of this owner
    #[arg(long)]
    owner: Option<String>,
    /// Only keys in this state; may be given more than once
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    states: Vec<State>,
    /// Only keys that end before a time, or within a duration from now such as 30d
    #[arg(long, value_name = "TIME|DURATION", value_parser = end)]
    ends_before: Option<End>,
    /// Only keys with a grant that covers this scope
    #[arg(long, value_name = "SCOPE", value_parser = scope)]
    scope: Option<String>,
    /// Only keys with this label; may be given more than once
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// At most this many keys
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Do not ask the policies, which is quicker
    #[arg(long)]
    no_marks: bool,
    /// A table, or JSON Lines
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How keys are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person; may change
    Table,
    /// JSON Lines; stable
    Json,
}

/// When keys have ended.
#[derive(Clone, Copy, Debug)]
enum End {
    At(Timestamp),
    Within(u64),
}

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  keyward key list                                   all keys, with what the policies mark
  keyward key list --state active --ends-before 30d  what has to be rotated within 30 days
  keyward key list --scope orders:write --no-marks   who may write orders
  keyward key list --label team=a --format json      for a program";

fn state(text: &str) -> Result<State, String> {
    let state = State::ALL.into_iter().find(|state| state.as_str() == text);
    let names = State::ALL.map(State::as_str).join(", ");
    state.ok_or_else(|| format!("write one of {names}"))
}

fn end(text: &str) -> Result<End, String> {
    let wrong = |_| "write a time, 2027-01-30T00:00:00Z, or a duration, 30d".to_owned();
    match duration_ms(text) {
        Ok(ms) => Ok(End::Within(ms)),
        Err(_) => time(text).map(End::At).map_err(wrong),
    }
}

fn scope(text: &str) -> Result<String, String> {
    if is_grant(text) {
        Ok(text.to_owned())
    } else {
        Err("write `resource:action`, for example `inventory:read`".to_owned())
    }
}

impl ListArgs {
    fn filter(&self, now: Timestamp) -> Filter {
        Filter {
            owner: self.owner.clone(),
            states: self.states.clone(),
            ends_before: self.ends_before.map(|end| match end {
                End::At(time) => time,
                End::Within(ms) => now.after_ms(ms),
            }),
            after: None,
        }
    }

    /// What the registry does not look at.
    fn takes(&self, record: &KeyRecord, implications: &Implications) -> bool {
        let has = |(name, value): &(String, String)| {
            let found = record.labels.get(name.as_str());
            found.is_some_and(|found| **found == **value)
        };
        let covered = |scope: &String| implications.are_covered([scope.as_str()], &record.scopes);
        self.labels.iter().all(has) && self.scope.as_ref().is_none_or(covered)
    }
}

pub(super) fn run(config: &Config, args: &ListArgs) -> Result<Status, Failure> {
    let policies = if args.no_marks {
        None
    } else {
        let engine = open::engine().map_err(Failure::usage)?;
        let policies = open::policies(&config.policies, &engine)
            .map_err(|problems| Failure::usage(anyhow!("{}", problems.join("\n"))))?;
        Some(policies)
    };
    let mut marks = policies.as_ref().map(Marks::new);
    let now = clock::now();
    let mut out = io::BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()));
    let implications = config.implications();
    let mut count = 0_u64;
    if args.limit != Some(0) {
        each(config, (&args.filter(now), now), |key| {
            if !args.takes(&key.record, &implications) {
                return Ok(ControlFlow::Continue(()));
            }
            let found = marks.as_mut().map(|it| it.of(key.record.clone(), now));
            count = count.saturating_add(1);
            let written = match args.format {
                Format::Table => write_row(&mut out, &key, (count, found.as_deref())),
                Format::Json => write_json(&mut out, &key, found.as_deref()),
            };
            written.map_err(Failure::output)?;
            Ok(if args.limit.is_some_and(|limit| count >= limit) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
    }
    let ended = match args.format {
        Format::Table => writeln!(out, "{count} keys"),
        Format::Json => Ok(()),
    };
    ended.and_then(|()| out.flush()).map_err(Failure::output)?;
    Ok(Status::Done)
}

/// The keys of a configuration that a filter takes, in the order of the ids or of the file.
fn each(
    config: &Config,
    (filter, now): (&Filter, Timestamp),
    mut each: impl FnMut(Listed) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    if let RegistrySource::Database(_) = config.registry.source {
        let keeper = Keeper::look(config)?;
        return keeper
            .core
            .registry
            .select((filter, now), |key| each(key).map_err(Ended::Failed))
            .map_err(|ended| match ended {
                Ended::Failed(failure) => failure,
                Ended::Registry(error) => registry_failed(config, error),
            });
    }
    for key in open::declared_keys(&config.registry)? {
        let (record, _) = key.into_parts();
        let listed = Listed {
            state: State::of(&record, false, now),
            predecessor: None,
            record,
        };
        if filter.takes(&listed) && each(listed)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Why a list was not ended.
enum Ended {
    Failed(Failure),
    Registry(crate::registry::sqlite::SqliteError),
}

impl From<crate::registry::sqlite::SqliteError> for Ended {
    fn from(error: crate::registry::sqlite::SqliteError) -> Self {
        Self::Registry(error)
    }
}

fn write_row(
    out: &mut impl Write,
    key: &Listed,
    (number, marks): (u64, Option<&[Rc<str>]>),
) -> io::Result<()> {
    if number == 1 {
        writeln!(
            out,
            "{FAINT}{:<12} {:<4} {:<20} {:<10} {:<10} {:<24} SCOPES{FAINT:#}",
            "KEY", "ENV", "OWNER", "STATE", "LIFECYCLE", "ENDS"
        )?;
    }
    let record = &key.record;
    let end = record
        .ends_at()
        .map_or_else(|| "never".to_owned(), |end| end.to_string());
    let mask = if record.read_only { " (read-only)" } else { "" };
    write!(
        out,
        "{:<12} {:<4} {:<20} {:<10} {:<10} {:<24} {}{mask}",
        record.id.as_str(),
        record.environment.as_str(),
        clip(&record.owner, 20),
        key.state.as_str(),
        record.lifecycle.as_str(),
        end,
        clip(&record.scopes.join(" "), 60),
    )?;
    for mark in marks.unwrap_or_default() {
        write!(out, "  {NOTE}! {mark}{NOTE:#}")?;
    }
    writeln!(out)
}

/// A key as a line of JSON: its file form without the secret's digest, and what is not in that.
#[derive(Serialize)]
struct KeyJson<'a> {
    #[serde(flatten)]
    file: KeyFile,
    version: u64,
    state: &'a str,
    predecessor: Option<&'a KeyId>,
    marks: Option<Vec<&'a str>>,
}

fn write_json(out: &mut impl Write, key: &Listed, marks: Option<&[Rc<str>]>) -> io::Result<()> {
    let json = KeyJson {
        file: KeyFile::new(&key.record, None),
        version: key.record.version,
        state: key.state.as_str(),
        predecessor: key.predecessor.as_ref(),
        marks: marks.map(|marks| marks.iter().map(|mark| &**mark).collect()),
    };
    serde_json::to_writer(&mut *out, &json)?;
    out.write_all(b"\n")
}
