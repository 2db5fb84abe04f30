//! Whose address a request has: the peer of the socket, or what the one configured header says
//! where the peer is a proxy that is trusted.
//!
//! A header is read from the right, where the nearest proxy wrote, and only as far as the proxies
//! are trusted. What a client wrote stands further left and is never reached. What cannot be read
//! makes the address unknown; nothing is guessed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::{FORWARDED, HeaderMap, HeaderName};

use crate::address::{Address, Network};
use crate::client::{CHAIN_MAX_ENTRIES, Client, UNREADABLE};

/// The longest entry of a forwarding header that is read, in bytes.
pub const ENTRY_MAX_BYTES: usize = 256;

pub(super) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The header in which trusted proxies say whom they forward for. No other is ever read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ForwardingHeader {
    /// `X-Forwarded-For`: addresses, joined by commas.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239), of which `for` counts.
    Forwarded,
    /// Another header of the form of `X-Forwarded-For`, for example `X-Real-IP`.
    Named(HeaderName),
}

/// Who is believed about the client's address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The networks of proxies that are trusted.
    pub networks: Vec<Network>,
    /// Where they say it.
    pub header: ForwardingHeader,
}

impl ForwardingHeader {
    /// The name of the header.
    #[must_use]
    pub fn name(&self) -> &HeaderName {
        match self {
            Self::XForwardedFor => &X_FORWARDED_FOR,
            Self::Forwarded => &FORWARDED,
            Self::Named(name) => name,
        }
    }

    /// The address that an entry names.
    fn read(&self, entry: &[u8]) -> Option<Address> {
        let entry = Some(entry).filter(|entry| entry.len() <= ENTRY_MAX_BYTES)?;
        let entry = trimmed(std::str::from_utf8(entry).ok()?);
        match self {
            Self::Forwarded => node(forwarded_for(entry)?),
            Self::XForwardedFor | Self::Named(_) => node(entry),
        }
    }
}

impl Trust {
    /// Whether an address is that of a trusted proxy.
    #[must_use]
    pub fn trusts(&self, address: Address) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(address))
    }
}

/// Where a request came from. A `peer` of `None` is a Unix socket, whose permissions say who may
/// connect: it counts as trusted.
#[must_use]
pub fn client(peer: Option<Address>, headers: &HeaderMap, trust: &Trust) -> Client {
    let mut client = Client {
        peer,
        address: peer,
        chain: Vec::new(),
    };
    if peer.is_some_and(|peer| !trust.trusts(peer)) {
        return client;
    }
    for line in headers.get_all(trust.header.name()).iter().rev() {
        let mut left = Some(line.as_bytes());
        while let Some(entries) = left {
            let entry;
            (left, entry) = last_entry(entries);
            let is_within = client.chain.len() < CHAIN_MAX_ENTRIES;
            let Some(address) = trust.header.read(entry).filter(|_| is_within) else {
                client.address = None;
                if is_within {
                    client.chain.push(UNREADABLE.into());
                }
                return client;
            };
            client.chain.push(address.to_string().into());
            if !trust.trusts(address) {
                client.address = Some(address);
                return client;
            }
        }
    }
    client
}

/// The last of some entries, and those before it. Quotes are counted from the right, so that one
/// that a client left open cannot swallow what a proxy wrote behind it.
fn last_entry(entries: &[u8]) -> (Option<&[u8]>, &[u8]) {
    let mut is_quoted = false;
    let comma = entries.iter().rposition(|byte| {
        is_quoted ^= *byte == b'"';
        *byte == b',' && !is_quoted
    });
    match comma.and_then(|comma| entries.split_at_checked(comma)) {
        Some((before, [_, last @ ..])) => (Some(before), last),
        _ => (None, entries),
    }
}

/// The one `for` of an element of `Forwarded`. A backslash within quotes is not read: no address
/// needs one.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut found = None;
    let mut is_quoted = false;
    let pairs = element.split(|character| {
        is_quoted ^= character == '"';
        character == ';' && !is_quoted
    });
    for pair in pairs.map(trimmed).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        if name.eq_ignore_ascii_case("for") {
            let value = match value.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"')?,
                None => value,
            };
            let is_plain = !value.contains(['"', '\\']);
            if !is_plain || found.replace(value).is_some() {
                return None;
            }
        }
    }
    found
}

/// The address of a node: bare, in brackets, with a port, with a zone. `unknown` and `_names` have
/// none.
fn node(text: &str) -> Option<Address> {
    let address: IpAddr = if let Some(rest) = text.strip_prefix('[') {
        let (address, after) = rest.split_once(']')?;
        if !after.is_empty() && !is_port(after.strip_prefix(':')?) {
            return None;
        }
        v6(address)?.into()
    } else if let Ok(address) = text.parse::<Ipv4Addr>() {
        address.into()
    } else if text.matches(':').count() == 1 {
        let (address, port) = text.split_once(':')?;
        let address: Ipv4Addr = address.parse().ok()?;
        is_port(port).then_some(address)?.into()
    } else {
        v6(text)?.into()
    };
    Some(Address::new(address))
}

/// An IPv6 address without its zone.
fn v6(text: &str) -> Option<Ipv6Addr> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "-"));
    if zone.is_empty() || !zone.bytes().all(is_name_byte) {
        return None;
    }
    address.parse().ok()
}

/// Digits, or a name that stands for them (RFC 7239 §6.3).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(is_name_byte),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'~')
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests;
