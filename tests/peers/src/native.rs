//! Plain Rust on keys that are compiled when they are loaded: the baseline, and what no sandbox can
//! beat.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use keyward::key::Lifecycle;

use crate::peer::{Answer, Peer};
use crate::settings::{BLOCKED, IMPLIES, LIFETIME_MAX_MS, READ_ONLY_ACTIONS};
use crate::workload::{Key, Request};

/// Keys by id.
#[derive(Default)]
pub(crate) struct Native {
    keys: HashMap<Box<str>, Compiled>,
    blocked: Networks,
}

/// A key with everything parsed and every default filled in.
struct Compiled {
    lifecycle: Lifecycle,
    read_only: bool,
    grants: Box<[Grant<Box<str>>]>,
    is_too_long: bool,
    not_before_ms: i64,
    expires_at_ms: Option<i64>,
    grace_until_ms: i64,
    networks: Option<Networks>,
}

/// A grant, parsed. `T` is how it holds text.
pub(crate) struct Grant<T> {
    resource: Resource<T>,
    /// `None`: every one.
    action: Option<T>,
}

enum Resource<T> {
    Any,
    /// With the dot that is its last byte.
    Below(T),
    Exactly(T),
}

/// A network as address and mask.
pub(crate) enum Network {
    V4(u32, u32),
    V6(u128, u128),
}

/// Networks of both families.
#[derive(Default)]
pub(crate) struct Networks {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Native {
    pub(crate) fn new(keys: &[Key]) -> Self {
        let mut native = Self {
            blocked: Networks::parse(BLOCKED),
            ..Self::default()
        };
        native.add(keys);
        native
    }

    pub(crate) fn add(&mut self, keys: &[Key]) {
        let keys = keys.iter();
        self.keys
            .extend(keys.map(|key| (key.id.as_str().into(), Compiled::new(key))));
    }
}

impl Peer for Native {
    fn decide(&mut self, request: &Request) -> Answer {
        self.answer(request)
    }
}

impl Native {
    /// Shared by threads.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let Some(key) = self.keys.get(request.key.as_str()) else {
            return Answer::deny("key.unknown");
        };
        match key.lifecycle {
            Lifecycle::Revoked => return Answer::deny("key.revoked"),
            Lifecycle::Suspended => return Answer::deny("key.suspended"),
            Lifecycle::Active | Lifecycle::Deprecated => {}
        }
        let denied = key
            .scope(request.scope.as_deref())
            .or_else(|| key.rotation(request.time.millis()))
            .or_else(|| {
                let source = request.source.map(|source| source.ip());
                ip(source, &self.blocked, key.networks.as_ref())
            });
        denied.map_or(Answer::allow(), Answer::deny)
    }
}

impl Compiled {
    fn new(key: &Key) -> Self {
        let is_deprecated = key.lifecycle == Lifecycle::Deprecated;
        let grace_until = key.grace_until.filter(|_| is_deprecated);
        let lifetime = |end: i64| end - key.issued_at.millis();
        let expires_at_ms = key.expires_at.map(|end| end.millis());
        let grants = key.scopes.iter().map(|scope| Grant::parse(scope));
        let networks = key.allowed_networks.as_ref();
        Self {
            lifecycle: key.lifecycle,
            read_only: key.read_only,
            grants: grants.map(Grant::into_owned).collect(),
            is_too_long: expires_at_ms.is_some_and(|end| lifetime(end) > LIFETIME_MAX_MS),
            not_before_ms: key.not_before.map_or(i64::MIN, |start| start.millis()),
            expires_at_ms,
            grace_until_ms: grace_until.map_or(i64::MAX, |end| end.millis()),
            networks: networks
                .map(|networks| Networks::parse(networks.iter().map(ToString::to_string))),
        }
    }

    fn scope(&self, scope: Option<&str>) -> Option<&'static str> {
        let Some((resource, action)) = scope.and_then(|scope| scope.split_once(':')) else {
            return Some("scope.unmapped");
        };
        if self.read_only && !READ_ONLY_ACTIONS.contains(&action) {
            return Some("scope.read-only");
        }
        let mut grants = self.grants.iter();
        let is_covered = grants.any(|grant| grant.covers(resource, action));
        (!is_covered).then_some("scope.missing")
    }

    fn rotation(&self, now_ms: i64) -> Option<&'static str> {
        match self.expires_at_ms {
            _ if now_ms < self.not_before_ms => Some("rotation.not-yet-valid"),
            None => Some("rotation.no-expiry"),
            Some(_) if self.is_too_long => Some("rotation.lifetime-exceeded"),
            Some(end) if now_ms >= end => Some("rotation.expired"),
            Some(_) if now_ms >= self.grace_until_ms => Some("rotation.grace-ended"),
            Some(_) => None,
        }
    }
}

/// Why an address is refused.
fn ip(
    source: Option<IpAddr>,
    blocked: &Networks,
    allowed: Option<&Networks>,
) -> Option<&'static str> {
    match (source, allowed) {
        (Some(source), _) if blocked.block(source) => Some("ip.blocked"),
        (_, None) => None,
        (None, Some(_)) => Some("ip.source-unknown"),
        (Some(source), Some(allowed)) => (!allowed.contain(source)).then_some("ip.not-allowed"),
    }
}

impl<'a> Grant<&'a str> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let (resource, action) = text.split_once(':').unwrap();
        let resource = match resource.strip_suffix('*') {
            Some("") => Resource::Any,
            Some(parent) => Resource::Below(parent),
            None => Resource::Exactly(resource),
        };
        Self {
            resource,
            action: (action != "*").then_some(action),
        }
    }

    fn into_owned(self) -> Grant<Box<str>> {
        Grant {
            resource: match self.resource {
                Resource::Any => Resource::Any,
                Resource::Below(parent) => Resource::Below(parent.into()),
                Resource::Exactly(name) => Resource::Exactly(name.into()),
            },
            action: self.action.map(Into::into),
        }
    }
}

impl<T: AsRef<str>> Grant<T> {
    pub(crate) fn covers(&self, resource: &str, action: &str) -> bool {
        let covers_action = self.action.as_ref().is_none_or(|granted| {
            let granted = granted.as_ref();
            let mut implies = IMPLIES.iter();
            granted == action
                || implies
                    .any(|(implying, implied)| *implying == granted && implied.contains(&action))
        });
        covers_action
            && match &self.resource {
                Resource::Any => true,
                Resource::Below(parent) => resource.starts_with(parent.as_ref()),
                Resource::Exactly(name) => resource == name.as_ref(),
            }
    }
}

impl Network {
    pub(crate) fn parse(text: &str) -> Self {
        let (address, length) = text.split_once('/').unwrap();
        let length: u32 = length.parse().unwrap();
        match address.parse().unwrap() {
            IpAddr::V4(first) => {
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                Self::V4(first.to_bits(), mask)
            }
            IpAddr::V6(first) => {
                let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
                Self::V6(first.to_bits(), mask)
            }
        }
    }

    pub(crate) fn contains(&self, source: IpAddr) -> bool {
        match (self, source) {
            (Self::V4(first, mask), IpAddr::V4(v4)) => v4.to_bits() & mask == *first,
            (Self::V6(first, mask), IpAddr::V6(v6)) => v6.to_bits() & mask == *first,
            _ => false,
        }
    }
}

impl Networks {
    pub(crate) fn parse(networks: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut parsed = Self::default();
        for network in networks {
            match Network::parse(network.as_ref()) {
                Network::V4(first, mask) => parsed.v4.push((first, mask)),
                Network::V6(first, mask) => parsed.v6.push((first, mask)),
            }
        }
        parsed
    }

    fn contain(&self, source: IpAddr) -> bool {
        match source {
            IpAddr::V4(v4) => self.contain_v4(v4),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                self.v6.iter().any(|(first, mask)| bits & mask == *first)
            }
        }
    }

    /// Whether one contains the address, or the IPv4 address inside a NAT64 or 6to4 address.
    pub(crate) fn block(&self, source: IpAddr) -> bool {
        let wrapped = match source {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => unwrap(v6),
        };
        self.contain(source) || wrapped.is_some_and(|v4| self.contain_v4(v4))
    }

    fn contain_v4(&self, address: Ipv4Addr) -> bool {
        let bits = address.to_bits();
        self.v4.iter().any(|(first, mask)| bits & mask == *first)
    }
}

fn unwrap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let ([0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..]) = address.segments()
    else {
        return None;
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}
