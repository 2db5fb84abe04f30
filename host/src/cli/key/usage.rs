//! `keyward key usage`: who uses a key, from the log.

use std::fmt::Write as _;

use anyhow::Context as _;
use clap::Args;

use super::super::output::{FAINT, NOTE, clip};
use super::super::{Failure, Status, print};
use super::read::find;
use super::{OneKey, duration_ms};
use crate::audit::usage::{KeyUsage, Source, Tally, key_usage};
use crate::clock;
use crate::config::Config;
use crate::governance::preflight::covered;
use crate::key::state::State;
use crate::key::{KeyId, KeyRecord, Lifecycle};
use crate::log::LogReader;
use crate::timestamp::Timestamp;

/// Arguments of `keyward key usage`.
#[derive(Args, Debug)]
pub(in crate::cli) struct UsageArgs {
    #[command(flatten)]
    key: OneKey,
    /// How far back: 12h, 30d
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, default_value = "30d")]
    over: u64,
}

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  keyward key usage k7Qp2mXw9LaR               by address and by reason, over 30 days
  keyward key usage k7Qp2mXw9LaR --over 1d     whether anybody still uses a key that was replaced

A request whose address no policy asked for has none in its record. Counts are of all who presented
the key's id, with the right secret or not; the reason says which.";

/// How many addresses, and reasons, are shown; the rest is counted.
const ROWS_SHOWN_MAX: usize = 50;
/// The widest address or reason, in characters.
const ROW_COLUMNS: usize = 40;

/// Runs the command.
pub(super) fn run(config: &Config, args: &UsageArgs) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let record = find(config, id)?;
    let context = || format!("log folder `{}`", config.log.path.display());
    let reader = LogReader::open(&config.log.path)
        .with_context(context)
        .map_err(Failure::Storage)?;
    let now = clock::now();
    let usage = key_usage(
        &reader,
        (id, Some(record.issued_at)),
        now.before_ms(args.over),
    )
    .with_context(context)
    .map_err(Failure::Storage)?;
    print(&text(id, (&record, now), &usage))
}

fn text(id: KeyId, (record, now): (&KeyRecord, Timestamp), usage: &KeyUsage) -> String {
    let mut text = format!(
        "key {id}: {} requests allowed and {} denied {}\n",
        usage.all.allowed,
        usage.all.denied,
        covered(usage.coverage)
    );
    if let Some(grace) = grace_text(record, now, &usage.all) {
        text.push_str(&grace);
    }
    if usage.all.last.is_none() {
        text.push_str("nobody has used it\n");
        return text;
    }
    let source = |source: &Source| match source {
        Source::Address(address) => address.to_string(),
        Source::Unknown => "an unknown address".to_owned(),
        Source::NotAsked => "not asked for".to_owned(),
        Source::Others => "other addresses".to_owned(),
    };
    let sources = usage.sources.iter();
    rows(
        &mut text,
        "FROM",
        sources.map(|(it, tally)| (source(it), tally)),
    );
    let reasons = usage.reasons.iter();
    rows(
        &mut text,
        "REASON",
        reasons.map(|(it, tally)| (it.to_string(), tally)),
    );
    text
}

/// What is left of the grace period of a key that has a successor.
fn grace_text(record: &KeyRecord, now: Timestamp, all: &Tally) -> Option<String> {
    let is_replaced = record.lifecycle == Lifecycle::Deprecated || record.grace_until.is_some();
    let end = record.grace_until.or(record.expires_at);
    let end = end.filter(|_| is_replaced)?;
    let use_ = match all.last_allowed {
        Some(last) => format!("it was last allowed at {last}"),
        None => "nobody was allowed with it".to_owned(),
    };
    Some(match State::of(record, false, now) {
        State::Deprecated => format!(
            "{NOTE}deprecated: {} of its grace period are left, until {end}; {use_}{NOTE:#}\n",
            duration_text(end.millis().saturating_sub(now.millis()))
        ),
        state => {
            let ends = if end <= now { "ended" } else { "ends" };
            let state = state.as_str();
            format!("{state}: its grace period {ends} at {end}; {use_}\n")
        }
    })
}

/// A duration in its two largest units.
fn duration_text(ms: i64) -> String {
    let minutes = ms.max(0) / 60_000;
    let (days, hours) = (minutes / (24 * 60), minutes / 60 % 24);
    match (days, hours, minutes % 60) {
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn rows<'a>(text: &mut String, heading: &str, rows: impl Iterator<Item = (String, &'a Tally)>) {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.last));
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{FAINT}{heading:<ROW_COLUMNS$} {:>8} {:>8} {:<24} LAST{FAINT:#}",
        "ALLOWED", "DENIED", "FIRST"
    );
    for (name, tally) in rows.iter().take(ROWS_SHOWN_MAX) {
        let time = |time: Option<Timestamp>| time.map_or_else(String::new, |it| it.to_string());
        let name = clip(name, ROW_COLUMNS);
        let (allowed, denied) = (tally.allowed, tally.denied);
        let (first, last) = (time(tally.first), time(tally.last));
        let _ = writeln!(
            text,
            "{name:<ROW_COLUMNS$} {allowed:>8} {denied:>8} {first:<24} {last}"
        );
    }
    let more = rows.len().saturating_sub(ROWS_SHOWN_MAX);
    if more > 0 {
        let _ = writeln!(text, "and {more} more");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_two_units() {
        for (ms, text) in [
            (-1, "0 min"),
            (59_999, "0 min"),
            (3_600_000, "1 h 0 min"),
            (90_061_000, "1 d 1 h"),
        ] {
            assert_eq!(duration_text(ms), text);
        }
    }
}
