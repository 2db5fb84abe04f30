//! Source addresses and networks (CIDR, RFC 4632 and RFC 4291), normalised once.
//!
//! `::ffff:a.b.c.d` is the IPv4 address `a.b.c.d` and `::ffff:a.b.c.d/n` with n of at least 96 the
//! IPv4 network `a.b.c.d/(n-96)`, so that one address has one form everywhere.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// An IP address that is never an IPv4-mapped IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(IpAddr);

/// An address and a prefix length, with no bit set behind the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    // INVARIANT: `prefix_length` is at most 32 for IPv4 and 128 for IPv6, and the bits of
    // `address` behind it are zero.
    address: Address,
    prefix_length: u8,
}

/// Why a text is not an address or a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address: letters, a zone id, an IPv4 octet with a leading zero, a port.
    #[error("`{0}` is not an IP address; zone ids, ports and leading zeros are not accepted")]
    Address(String),
    /// Bits are set behind the prefix, so that two readers may see two networks.
    #[error("`{given}` has bits set behind its prefix; did you mean `{meant}`?")]
    HostBits {
        /// What was written.
        given: String,
        /// The network that contains it.
        meant: Network,
    },
    /// No `/n` at the end.
    #[error("`{0}` has no prefix length; for a single address write `/32` (IPv4) or `/128` (IPv6)")]
    NoPrefixLength(String),
    /// Not a number, has a leading zero or sign, or is longer than the address.
    #[error("`{0}` has a prefix length that is not a number from 0 to 32 (IPv4) or 128 (IPv6)")]
    PrefixLength(String),
}

impl Address {
    /// Normalises an address: IPv4-mapped IPv6 becomes IPv4.
    #[must_use]
    pub const fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The normalised address.
    #[must_use]
    pub const fn ip(self) -> IpAddr {
        self.0
    }
}

impl Network {
    /// A network of an address and a prefix length in bits, normalised.
    ///
    /// # Errors
    /// [`AddressError::PrefixLength`] when it is too long, [`AddressError::HostBits`] when bits are
    /// set behind it.
    pub fn new(address: IpAddr, prefix_length: u8) -> Result<Self, AddressError> {
        let given = || format!("{address}/{prefix_length}");
        let (address, prefix_length) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix_length >= 96 => (v4, prefix_length - 96),
            _ => (address, prefix_length),
        };
        let network = match address {
            IpAddr::V4(v4) => {
                let mask =
                    v4_mask(prefix_length).ok_or_else(|| AddressError::PrefixLength(given()))?;
                IpAddr::V4((v4.to_bits() & mask).into())
            }
            IpAddr::V6(v6) => {
                let mask =
                    v6_mask(prefix_length).ok_or_else(|| AddressError::PrefixLength(given()))?;
                IpAddr::V6((v6.to_bits() & mask).into())
            }
        };
        let meant = Self {
            address: Address(network),
            prefix_length,
        };
        if network == address {
            Ok(meant)
        } else {
            Err(AddressError::HostBits {
                given: given(),
                meant,
            })
        }
    }

    /// The first address of the network.
    #[must_use]
    pub const fn address(self) -> Address {
        self.address
    }

    /// How many bits an address must share: 0 to 32 for IPv4, 0 to 128 for IPv6.
    #[must_use]
    pub const fn prefix_length(self) -> u8 {
        self.prefix_length
    }

    /// Whether every address of another network is in this one.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.prefix_length <= other.prefix_length && self.contains(other.address)
    }

    /// Whether an address is in it. IPv4 and IPv6 never meet.
    #[must_use]
    pub fn contains(self, address: Address) -> bool {
        match (self.address.0, address.0) {
            (IpAddr::V4(network), IpAddr::V4(address)) => v4_mask(self.prefix_length)
                .is_some_and(|mask| address.to_bits() & mask == network.to_bits()),
            (IpAddr::V6(network), IpAddr::V6(address)) => v6_mask(self.prefix_length)
                .is_some_and(|mask| address.to_bits() & mask == network.to_bits()),
            _ => false,
        }
    }

    /// Whether every address of its family is in it (`/0`).
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.prefix_length == 0
    }
}

/// The bits of an IPv4 address that a prefix of this length covers.
fn v4_mask(prefix_length: u8) -> Option<u32> {
    let rest = 32_u32.checked_sub(prefix_length.into())?;
    Some(u32::MAX.checked_shl(rest).unwrap_or(0))
}

/// The bits of an IPv6 address that a prefix of this length covers.
fn v6_mask(prefix_length: u8) -> Option<u128> {
    let rest = 128_u32.checked_sub(prefix_length.into())?;
    Some(u128::MAX.checked_shl(rest).unwrap_or(0))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_length)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // The standard library refuses zone ids (IpAddr has none), ports and leading zeros.
        text.parse()
            .map(Self::new)
            .map_err(|_| AddressError::Address(text.to_owned()))
    }
}

impl FromStr for Network {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (address, prefix_length) = text
            .split_once('/')
            .ok_or_else(|| AddressError::NoPrefixLength(text.to_owned()))?;
        let ip: IpAddr = address
            .parse()
            .map_err(|_| AddressError::Address(address.to_owned()))?;
        let canonical = prefix_length == "0" || !prefix_length.starts_with(['0', '+']);
        let prefix_length = prefix_length
            .parse()
            .ok()
            .filter(|_| canonical)
            .ok_or_else(|| AddressError::PrefixLength(text.to_owned()))?;
        Self::new(ip, prefix_length).map_err(|error| match error {
            AddressError::PrefixLength(_) => AddressError::PrefixLength(text.to_owned()),
            other => other,
        })
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Self {
        Self::new(IpAddr::V6(address))
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_mapped_addresses_and_networks() {
        for (given, normal) in [
            ("203.0.113.9/32", "203.0.113.9/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(given.parse::<Network>().unwrap().to_string(), normal);
        }
        assert_eq!(
            "::ffff:192.0.2.1".parse::<Address>().unwrap().to_string(),
            "192.0.2.1"
        );
    }

    #[test]
    fn refuses_what_two_readers_may_read_differently() {
        use AddressError as E;
        for text in [
            "010.0.0.1",
            "fe80::1%eth0",
            "1.2.3.4:80",
            "[::1]",
            "1.2.3",
            "",
            " 1.2.3.4",
        ] {
            assert_eq!(
                text.parse::<Address>(),
                Err(E::Address(text.to_owned())),
                "{text}"
            );
        }
        for text in [
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(
                text.parse::<Network>(),
                Err(E::PrefixLength(text.to_owned())),
                "{text}"
            );
        }
        assert!(
            matches!("10.0.0.1/8".parse::<Network>(), Err(E::HostBits { meant, .. })
            if meant.to_string() == "10.0.0.0/8")
        );
        assert!(matches!(
            "::ffff:10.0.0.0/95".parse::<Network>(),
            Err(E::HostBits { .. })
        ));
        assert!(matches!(
            "10.0.0.1".parse::<Network>(),
            Err(E::NoPrefixLength(_))
        ));
    }

    #[test]
    fn contains_by_prefix_and_never_across_families() {
        for (network, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.0", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "192.0.2.1", false),
            ("2001:db8::/32", "2001:db8:ffff::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::1/128", "::1", true),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(
                network.contains(address.parse().unwrap()),
                is_in,
                "{network} {address}"
            );
        }
    }
}
