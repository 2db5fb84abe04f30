//! Plain Rust on key records as a registry's file holds them: scopes and networks are texts, parsed
//! for every request, and no further than the first check that denies.

use std::collections::HashMap;

use keyward::key::Lifecycle;

use crate::native::{Grant, Network, Networks};
use crate::peer::{Answer, Peer};
use crate::settings::{BLOCKED, LIFETIME_MAX_MS, READ_ONLY_ACTIONS};
use crate::workload::{Key, Request};

/// Keys by id.
pub(crate) struct Records {
    keys: HashMap<String, Record>,
    blocked: Networks,
}

struct Record {
    key: Key,
    networks: Option<Vec<String>>,
}

impl Records {
    pub(crate) fn new(keys: &[Key]) -> Self {
        let record = |key: &Key| {
            let networks = key.allowed_networks.as_ref();
            let record = Record {
                networks: networks
                    .map(|networks| networks.iter().map(ToString::to_string).collect()),
                key: key.clone(),
            };
            (key.id.clone(), record)
        };
        Self {
            keys: keys.iter().map(record).collect(),
            blocked: Networks::parse(BLOCKED),
        }
    }
}

impl Peer for Records {
    fn decide(&mut self, request: &Request) -> Answer {
        let Some(record) = self.keys.get(&request.key) else {
            return Answer::deny("key.unknown");
        };
        let denied = lifecycle(&record.key)
            .or_else(|| scope(&record.key, request))
            .or_else(|| rotation(&record.key, request))
            .or_else(|| ip(record, &self.blocked, request));
        denied.map_or(Answer::allow(), Answer::deny)
    }
}

const fn lifecycle(key: &Key) -> Option<&'static str> {
    match key.lifecycle {
        Lifecycle::Revoked => Some("key.revoked"),
        Lifecycle::Suspended => Some("key.suspended"),
        Lifecycle::Active | Lifecycle::Deprecated => None,
    }
}

fn scope(key: &Key, request: &Request) -> Option<&'static str> {
    let Some(scope) = &request.scope else {
        return Some("scope.unmapped");
    };
    let (resource, action) = scope.split_once(':').unwrap();
    if key.read_only && !READ_ONLY_ACTIONS.contains(&action) {
        return Some("scope.read-only");
    }
    let mut grants = key.scopes.iter().map(|grant| Grant::parse(grant));
    let is_covered = grants.any(|grant| grant.covers(resource, action));
    (!is_covered).then_some("scope.missing")
}

fn rotation(key: &Key, request: &Request) -> Option<&'static str> {
    let now = request.time;
    if key.not_before.is_some_and(|start| now < start) {
        return Some("rotation.not-yet-valid");
    }
    let Some(end) = key.expires_at else {
        return Some("rotation.no-expiry");
    };
    if end.millis() - key.issued_at.millis() > LIFETIME_MAX_MS {
        return Some("rotation.lifetime-exceeded");
    }
    if now >= end {
        return Some("rotation.expired");
    }
    let is_deprecated = key.lifecycle == Lifecycle::Deprecated;
    let has_ended = is_deprecated && key.grace_until.is_some_and(|end| now >= end);
    has_ended.then_some("rotation.grace-ended")
}

fn ip(record: &Record, blocked: &Networks, request: &Request) -> Option<&'static str> {
    let source = request.source.map(|source| source.ip());
    if source.is_some_and(|source| blocked.block(source)) {
        return Some("ip.blocked");
    }
    let networks = record.networks.as_ref()?;
    let Some(source) = source else {
        return Some("ip.source-unknown");
    };
    let mut networks = networks.iter();
    let is_allowed = networks.any(|network| Network::parse(network).contains(source));
    (!is_allowed).then_some("ip.not-allowed")
}
