//! Preflight: what is checked before a change of a key is saved, each check with its verdict. The
//! same list is what a dry run prints and what saving goes by.

use std::fmt;

use crate::audit::what_if::{Breakage, Listed};
use crate::audit::{Coverage, Shortfall};
use crate::key::KeyRecord;
use crate::key::event::Subject;
use crate::log::Entry;
use crate::timestamp::Timestamp;

/// Whether whoever asks may.
pub const AUTHORITY: &str = "authority";
/// Whether the change is legal in the key's state, and is one.
pub const CHANGE: &str = "change";
/// When the key ends.
pub const EXPIRY: &str = "expiry";
/// What the key is granted.
pub const SCOPES: &str = "scopes";
/// From where the key is used.
pub const NETWORKS: &str = "networks";
/// What the policies say of the key.
pub const POLICIES: &str = "policies";
/// Whether the registry's row of the key is what its history says.
pub const REGISTRY: &str = "registry";

/// What a check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing is against it.
    Ok,
    /// Somebody should look at it.
    Warning,
    /// It is not saved.
    Refused,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which.
    pub name: &'static str,
    /// What it says.
    pub verdict: Verdict,
    /// Why.
    pub text: String,
}

/// Checks in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks(Vec<Check>);

/// The milliseconds of a day.
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// How many source addresses a check names; the rest is counted.
const SOURCES_SHOWN_MAX: usize = 10;

impl Checks {
    /// Adds a check.
    pub fn add(&mut self, name: &'static str, verdict: Verdict, text: impl Into<String>) {
        let text = text.into();
        self.0.push(Check {
            name,
            verdict,
            text,
        });
    }

    /// Adds a check that refuses when there is an error.
    pub fn add_result(
        &mut self,
        name: &'static str,
        result: Result<impl Into<String>, impl fmt::Display>,
    ) {
        match result {
            Ok(text) => self.add(name, Verdict::Ok, text),
            Err(error) => self.add(name, Verdict::Refused, error.to_string()),
        }
    }

    /// The first check that refuses.
    #[must_use]
    pub fn refused(&self) -> Option<&Check> {
        self.0.iter().find(|it| it.verdict == Verdict::Refused)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Check> {
        self.0.iter()
    }

    /// That a key ends within the longest life, counted from its issue at `now`.
    pub fn expiry(&mut self, (now, end): (Timestamp, Timestamp), max_lifetime_days: u64) {
        let most_ms = i64::try_from(max_lifetime_days.saturating_mul(DAY_MS)).unwrap_or(i64::MAX);
        let latest = Timestamp::from_millis(now.millis().saturating_add(most_ms));
        if end > latest {
            let text = format!(
                "a key lives at most {max_lifetime_days} days ([governance] max_lifetime_days), so \
                 until {latest}"
            );
            self.add(EXPIRY, Verdict::Refused, text);
        } else if end <= now {
            self.add(
                EXPIRY,
                Verdict::Warning,
                format!("it ends at {end}: no use at all"),
            );
        } else {
            self.add(EXPIRY, Verdict::Ok, format!("ends at {end}"));
        }
    }

    /// That a key that there is ends, and at `end`, which is not later than it was said to.
    pub fn shortening(&mut self, record: &KeyRecord, (now, end): (Timestamp, Timestamp)) {
        match record.expires_at {
            Some(locked) if end > locked => {
                let text = format!("it is locked: the key ends at {locked}, and can end earlier");
                self.add(EXPIRY, Verdict::Refused, text);
            }
            _ if end <= now => self.add(EXPIRY, Verdict::Warning, "it ends at once"),
            Some(locked) => self.add(EXPIRY, Verdict::Ok, format!("{end} in place of {locked}")),
            None => self.add(EXPIRY, Verdict::Ok, format!("{end} in place of no end")),
        }
    }

    /// That a key has an end that is within its longest life, for a change of something else.
    pub fn expiry_of(&mut self, record: &KeyRecord, max_lifetime_days: u64) {
        let days = max_lifetime_days;
        let most_ms = i64::try_from(days.saturating_mul(DAY_MS)).unwrap_or(i64::MAX);
        match record.expires_at {
            None => self.add(
                EXPIRY,
                Verdict::Warning,
                "the key has no end; give it one with `keyward key shorten`",
            ),
            Some(end) if end.millis().saturating_sub(record.issued_at.millis()) > most_ms => {
                let text = format!("it ends at {end}, and lives longer than {days} days");
                self.add(EXPIRY, Verdict::Warning, text);
            }
            Some(end) => self.add(EXPIRY, Verdict::Ok, format!("ends at {end}, as before")),
        }
    }

    /// That a key's row is the one that its last event made. `events` are the stored entries of
    /// its events, in order.
    pub fn registry<'e>(&mut self, record: &KeyRecord, events: impl IntoIterator<Item = &'e [u8]>) {
        let mut last = None;
        for entry in events {
            match Entry::decode(entry) {
                Ok(Entry::KeyEvent(event)) => {
                    if let Subject::Key { version, after, .. } = event.subject {
                        last = Some((event.sequence, version, after));
                    }
                }
                Ok(_) | Err(_) => {
                    let text = "its history has an event that is none; restore a backup";
                    self.add(REGISTRY, Verdict::Refused, text);
                    return;
                }
            }
        }
        match last {
            None => {
                let text = format!("version {}, as it was imported", record.version);
                self.add(REGISTRY, Verdict::Ok, text);
            }
            Some((sequence, version, after))
                if version == record.version && after == record.digest() =>
            {
                let text = format!("version {version}, as key event {sequence} left it");
                self.add(REGISTRY, Verdict::Ok, text);
            }
            Some((sequence, version, _)) => {
                let text = format!(
                    "the row is not what key event {sequence} (version {version}) left: it was \
                     changed behind keyward's back; restore a backup"
                );
                self.add(REGISTRY, Verdict::Refused, text);
            }
        }
    }

    /// That a change of a key refuses nothing that was allowed. `is_accepted`: it may.
    pub fn breakage(&mut self, name: &'static str, breakage: &Breakage, is_accepted: bool) {
        let Breakage {
            coverage,
            allowed,
            refused,
            unknown,
            ..
        } = breakage;
        let since = covered(*coverage);
        let verdict = if is_accepted {
            Verdict::Warning
        } else {
            Verdict::Refused
        };
        if refused.count > 0 {
            let text = format!(
                "{} of {} requests that were allowed {since} would be refused, {}{}",
                refused.count,
                allowed.count,
                at(refused),
                sources(breakage)
            );
            self.add(name, verdict, text);
        }
        if unknown.count > 0 {
            let missing = breakage.missing.as_deref().unwrap_or_default();
            let text = format!(
                "{} of {} requests that were allowed {since} cannot be told, {}: {missing}, and the \
                 record has no answer",
                unknown.count,
                allowed.count,
                at(unknown)
            );
            self.add(name, verdict, text);
        }
        if refused.count == 0 && unknown.count == 0 {
            let text = format!(
                "none of {} requests that were allowed {since} would be refused",
                allowed.count
            );
            self.add(name, Verdict::Ok, text);
        }
        if breakage.earlier.count > 0 {
            let text = format!(
                "{} older requests that were allowed would be refused, {}",
                breakage.earlier.count,
                at(&breakage.earlier)
            );
            self.add(name, Verdict::Warning, text);
        }
    }
}

/// Since when a log tells, in words.
#[must_use]
pub fn covered(coverage: Coverage) -> String {
    let since = coverage.since;
    match coverage.shortfall {
        None => format!("since {since}"),
        Some(Shortfall::Empty) => format!("({})", Shortfall::Empty.as_str()),
        Some(shortfall) => format!("since {since} ({})", shortfall.as_str()),
    }
}

/// When the last was, and at which indexes they are.
#[must_use]
pub fn at(listed: &Listed) -> String {
    let indexes: Vec<_> = listed.indexes.iter().map(u64::to_string).collect();
    let more = listed
        .count
        .saturating_sub(u64::try_from(indexes.len()).unwrap_or(u64::MAX));
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let last = listed
        .last
        .map_or_else(String::new, |last| format!(", the last at {last}"));
    format!("at index {}{more}{last}", indexes.join(", "))
}

fn sources(breakage: &Breakage) -> String {
    let mut text = String::new();
    for (source, listed) in breakage.sources.iter().take(SOURCES_SHOWN_MAX) {
        let source = source.map_or_else(
            || "an unknown address".to_owned(),
            |source| source.to_string(),
        );
        let last = listed
            .last
            .map_or_else(String::new, |it| format!(", last {it}"));
        text.push_str(&format!("\n    {source}: {}{last}", listed.count));
    }
    let more = breakage.sources.len().saturating_sub(SOURCES_SHOWN_MAX);
    if more > 0 {
        text.push_str(&format!("\n    and {more} more addresses"));
    }
    text
}

impl Verdict {
    /// The name in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.verdict.as_str();
        write!(f, "{verdict:<8} {:<10} {}", self.name, self.text)
    }
}

impl fmt::Display for Checks {
    /// One check a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, check) in self.0.iter().enumerate() {
            write!(f, "{}{check}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}
