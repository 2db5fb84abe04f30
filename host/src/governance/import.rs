//! Which rules for new keys the keys of an import break. They were issued elsewhere, some of them
//! years ago, and are not what would be issued today; but an import is no way round the rules for
//! somebody who may not set them aside.

use std::fmt;

use super::preflight::{Checks, EXPIRY, SCOPES, Verdict};
use crate::key::json::CheckedKey;
use crate::key::state::State;
use crate::key::{KeyId, KeyRecord};
use crate::timestamp::{DAY_MS, Timestamp};

/// How many keys a check names; the rest is counted.
pub const KEYS_NAMED_MAX: usize = 5;

/// What the keys of an import are, each kind with its keys.
#[derive(Debug, Default)]
pub struct Imported {
    total: u64,
    /// They have ended, or are revoked: nothing is done with them any more.
    over: Named,
    endless: Named,
    too_long: Named,
    unknown_scope: Named,
    /// The first scope that there is not.
    example: Option<String>,
    wildcard: Named,
}

/// Some keys.
#[derive(Debug, Default)]
struct Named {
    count: u64,
    // INVARIANT: at most `KEYS_NAMED_MAX`.
    first: Vec<KeyId>,
}

impl Imported {
    /// Looks at keys at a time. `has_scope` says whether there is a scope, and is asked for those
    /// without wildcards.
    pub fn new(
        keys: &[CheckedKey],
        (now, max_lifetime_days): (Timestamp, u64),
        has_scope: impl Fn(&str) -> bool,
    ) -> Self {
        let most_ms = max_lifetime_days.saturating_mul(DAY_MS);
        let mut found = Self::default();
        for record in keys.iter().map(CheckedKey::record) {
            found.total = found.total.saturating_add(1);
            if State::of(record, false, now).is_terminal() {
                found.over.add(record);
                continue;
            }
            match record.expires_at {
                None => found.endless.add(record),
                Some(end) if end.ms_since(record.issued_at) > most_ms => {
                    found.too_long.add(record);
                }
                Some(_) => {}
            }
            let is_wild = |scope: &&str| scope.contains('*');
            let mut scopes = record.scopes.iter().map(|it| &**it);
            if let Some(scope) = scopes.clone().find(|it| !is_wild(it) && !has_scope(it)) {
                found.unknown_scope.add(record);
                found.example.get_or_insert_with(|| scope.to_owned());
            }
            if scopes.any(|it| is_wild(&it)) {
                found.wildcard.add(record);
            }
        }
        found
    }

    /// Whether a key would not be issued like that, and can be used.
    #[must_use]
    pub const fn breaks_rules(&self) -> bool {
        self.endless.count > 0 || self.too_long.count > 0 || self.unknown_scope.count > 0
    }

    /// Says what was found. Nothing of it refuses: whether rules may be broken is a question of
    /// authority.
    pub fn check(&self, checks: &mut Checks) {
        let example = self.example.as_deref().unwrap_or_default();
        let unknown = format!("with a scope that there is not, such as `{example}`");
        for (name, what, keys) in [
            (SCOPES, unknown.as_str(), &self.unknown_scope),
            (
                SCOPES,
                "with a wildcard, which stays as it is and also covers scopes that come later",
                &self.wildcard,
            ),
            (EXPIRY, "without an end", &self.endless),
            (
                EXPIRY,
                "that live longer than [governance] max_lifetime_days",
                &self.too_long,
            ),
            (EXPIRY, "that are over, and of no use", &self.over),
        ] {
            if keys.count > 0 {
                let text = format!("{} of {} keys {what}: {keys}", keys.count, self.total);
                checks.add(name, Verdict::Warning, text);
            }
        }
    }
}

impl Named {
    fn add(&mut self, record: &KeyRecord) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < KEYS_NAMED_MAX {
            self.first.push(record.id);
        }
    }
}

impl fmt::Display for Named {
    /// The first ones, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, id) in self.first.iter().enumerate() {
            write!(f, "{}{id}", if index == 0 { "" } else { ", " })?;
        }
        let named = u64::try_from(self.first.len()).unwrap_or(u64::MAX);
        match self.count.saturating_sub(named) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::json::{KeyOptions, read_keys};

    /// Keys of other members, each with an id of its own.
    fn keys(members: &[&str]) -> Vec<CheckedKey> {
        let line = |(index, members): (usize, &&str)| {
            format!(
                r#"{{"id":"{index:012}","owner":"o","issued_at":"2026-11-01T00:00:00Z",{members}}}"#
            )
        };
        let lines: Vec<_> = members.iter().enumerate().map(line).collect();
        read_keys(lines.join("\n").as_bytes(), KeyOptions::default()).unwrap()
    }

    fn said(members: &[&str]) -> (bool, Vec<String>) {
        let now = Timestamp::parse("2026-12-01T00:00:00Z").unwrap();
        let found = Imported::new(&keys(members), (now, 90), |it| it == "a:read");
        let mut checks = Checks::default();
        found.check(&mut checks);
        assert_eq!(checks.refused(), None);
        let texts = checks.iter().map(|it| format!("{} {}", it.name, it.text));
        (found.breaks_rules(), texts.collect())
    }

    #[test]
    fn what_would_not_be_issued_is_told() {
        let plain = r#""expires_at":"2027-01-30T00:00:00Z","scopes":["a:read"]"#;
        assert_eq!(said(&[plain]), (false, vec![]));
        for (members, breaks, text) in [
            (
                r#""scopes":["a:read"]"#,
                true,
                "expiry 1 of 2 keys without an end: 000000000001",
            ),
            (
                r#""expires_at":"2027-01-30T00:00:00.001Z","scopes":["a:read"]"#,
                true,
                "expiry 1 of 2 keys that live longer than [governance] max_lifetime_days: 000000000001",
            ),
            (
                r#""expires_at":"2027-01-30T00:00:00Z","scopes":["a:read","a:raed"]"#,
                true,
                "scopes 1 of 2 keys with a scope that there is not, such as `a:raed`: 000000000001",
            ),
            (
                r#""expires_at":"2027-01-30T00:00:00Z","scopes":["a:*"]"#,
                false,
                "scopes 1 of 2 keys with a wildcard, which stays as it is and also covers scopes that come later: 000000000001",
            ),
            // What is over breaks no rule, whatever it was.
            (
                r#""expires_at":"2026-12-01T00:00:00Z","scopes":["b:read"]"#,
                false,
                "expiry 1 of 2 keys that are over, and of no use: 000000000001",
            ),
            (
                r#""lifecycle":"revoked","scopes":["b:read"]"#,
                false,
                "expiry 1 of 2 keys that are over, and of no use: 000000000001",
            ),
        ] {
            assert_eq!(said(&[plain, members]), (breaks, vec![text.to_owned()]));
        }
    }

    #[test]
    fn a_few_are_named_and_the_rest_is_counted() {
        let endless = r#""scopes":["a:read"]"#;
        let (_, texts) = said(&[endless; KEYS_NAMED_MAX + 7]);
        assert_eq!(texts.len(), 1);
        assert!(
            texts[0].ends_with("000000000003, 000000000004 and 7 more"),
            "{texts:?}"
        );
    }
}
