//! Preflight: what is checked before a change of a key is saved, each check with its verdict. The
//! same list is what a dry run prints and what saving goes by.

use std::fmt;

use crate::audit::what_if::{Breakage, Listed};
use crate::audit::{Coverage, Shortfall};
use crate::key::KeyRecord;
use crate::key::event::Subject;
use crate::log::Entry;
use crate::timestamp::{DAY_MS, Timestamp};

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
        let most_ms = max_lifetime_days.saturating_mul(DAY_MS);
        let latest = now.after_ms(most_ms);
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
        let most_ms = days.saturating_mul(DAY_MS);
        match record.expires_at {
            None => self.add(
                EXPIRY,
                Verdict::Warning,
                "the key has no end; give it one with `keyward key shorten`",
            ),
            Some(end) if end.ms_since(record.issued_at) > most_ms => {
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

    /// That less was looked at than would tell who is refused: nothing before `from`.
    /// `is_accepted`: somebody may be.
    pub fn not_replayed(&mut self, name: &'static str, from: Timestamp, is_accepted: bool) {
        let verdict = if is_accepted {
            Verdict::Warning
        } else {
            Verdict::Refused
        };
        let text = format!(
            "requests before {from} are not looked at; look back further with --over, or accept with \
             --accept-breakage that some would be refused"
        );
        self.add(name, verdict, text);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::key::event::{KeyEvent, KeyEventKind};
    use crate::key::json::{KeyOptions, read_keys};
    use crate::key::state::State;

    const DAY: i64 = 24 * 60 * 60 * 1_000;

    fn at(days: i64) -> Timestamp {
        Timestamp::from_millis(days * DAY)
    }

    fn key() -> KeyRecord {
        let line = r#"{"id":"k7Qp2mXw9LaR","owner":"o","issued_at":"2026-11-01T00:00:00Z","expires_at":"2027-01-30T00:00:00Z","scopes":["a:read"]}"#;
        let mut keys = read_keys(line.as_bytes(), KeyOptions::default()).unwrap();
        keys.pop().unwrap().into_parts().0
    }

    fn verdict(check: impl FnOnce(&mut Checks)) -> Verdict {
        let mut checks = Checks::default();
        check(&mut checks);
        checks.iter().map(|check| check.verdict).max().unwrap()
    }

    #[test]
    fn a_key_ends_within_its_longest_life() {
        for (end, expected) in [
            (at(100), Verdict::Ok),
            (Timestamp::from_millis(100 * DAY + 1), Verdict::Refused),
            (Timestamp::from_millis(10 * DAY + 1), Verdict::Ok),
            (at(10), Verdict::Warning),
        ] {
            assert_eq!(
                verdict(|it| it.expiry((at(10), end), 90)),
                expected,
                "{end}"
            );
        }
        assert_eq!(
            verdict(|it| it.expiry((at(10), at(20)), u64::MAX)),
            Verdict::Ok
        );
        let record = key();
        assert_eq!(verdict(|it| it.expiry_of(&record, 90)), Verdict::Ok);
        assert_eq!(verdict(|it| it.expiry_of(&record, 89)), Verdict::Warning);
        let endless = KeyRecord {
            expires_at: None,
            ..record.clone()
        };
        assert_eq!(verdict(|it| it.expiry_of(&endless, 90)), Verdict::Warning);
        let now = record.issued_at;
        let locked = record.expires_at.unwrap();
        let later = Timestamp::from_millis(locked.millis() + 1);
        let shortened = |record, end| verdict(|it| it.shortening(record, (now, end)));
        assert_eq!(shortened(&record, locked), Verdict::Ok);
        assert_eq!(shortened(&record, later), Verdict::Refused);
        assert_eq!(shortened(&record, now), Verdict::Warning);
        assert_eq!(shortened(&endless, later), Verdict::Ok);
    }

    #[test]
    fn a_row_is_what_its_last_event_left() {
        let record = key();
        let event = |sequence, subject| {
            Entry::KeyEvent(KeyEvent {
                time: record.issued_at,
                sequence,
                previous: None,
                kind: KeyEventKind::Issued,
                subject,
                actor: None,
                user: None,
                reason: None,
                order: None,
            })
            .encode()
        };
        let changed = |version, after| {
            let (id, state) = (record.id, State::Active);
            event(
                version,
                Subject::Key {
                    id,
                    version,
                    before: None,
                    after,
                    state,
                    other: None,
                    secret: None,
                },
            )
        };
        let same = changed(record.version, record.digest());
        let other = changed(record.version, Digest::of(b"other"));
        let older = changed(record.version + 1, record.digest());
        let refusal = event(9, Subject::Nothing { id: None });
        let said = |events: &[&Vec<u8>]| {
            verdict(|it| it.registry(&record, events.iter().map(|it| it.as_slice())))
        };
        assert_eq!(said(&[]), Verdict::Ok);
        assert_eq!(said(&[&other, &same, &refusal]), Verdict::Ok);
        assert_eq!(said(&[&same, &other]), Verdict::Refused);
        assert_eq!(said(&[&older]), Verdict::Refused);
        assert_eq!(said(&[&same, &b"no entry".to_vec()]), Verdict::Refused);
    }

    #[test]
    fn what_would_break_is_refused_unless_it_is_accepted() {
        let listed = |count| Listed {
            count,
            last: Some(at(3)),
            indexes: vec![7],
        };
        let breakage = |refused, unknown| Breakage {
            coverage: Coverage {
                since: at(1),
                shortfall: None,
            },
            allowed: listed(5),
            refused: listed(refused),
            unknown: listed(unknown),
            missing: None,
            sources: [(None, listed(refused))].into(),
            earlier: Listed::default(),
        };
        let said = |refused, unknown, is_accepted| {
            let breakage = breakage(refused, unknown);
            verdict(|it| it.breakage(NETWORKS, &breakage, is_accepted))
        };
        assert_eq!(said(0, 0, false), Verdict::Ok);
        for (refused, unknown) in [(1, 0), (0, 1), (2, 3)] {
            assert_eq!(said(refused, unknown, false), Verdict::Refused);
            assert_eq!(said(refused, unknown, true), Verdict::Warning);
        }
        let mut checks = Checks::default();
        checks.breakage(NETWORKS, &breakage(3, 0), false);
        assert_eq!(
            checks.to_string(),
            "refused  networks   3 of 5 requests that were allowed since 1970-01-02T00:00:00Z would be refused, at index 7 and 2 more, the last at 1970-01-04T00:00:00Z\n    an unknown address: 3, last 1970-01-04T00:00:00Z"
        );
    }
}
