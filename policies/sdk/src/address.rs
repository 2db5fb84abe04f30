//! Addresses and networks (CIDR), in the one form in which the host hands them to a policy.
//!
//! `::ffff:a.b.c.d` is the IPv4 address `a.b.c.d`, and `::ffff:a.b.c.d/n` with n of at least 96 the
//! IPv4 network `a.b.c.d/(n-96)`. What two readers may read differently is refused.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// Not an address: letters, a zone id, an IPv4 octet with a leading zero, a port.
    Address,
    /// Bits are set behind the prefix, so that two readers may see two networks. Carries the
    /// network that contains it.
    HostBits(Network),
    /// No `/n` at the end.
    NoPrefixLength,
    /// Not a number, has a leading zero or sign, or is longer than the address.
    PrefixLength,
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
        let (address, prefix_length) = match (address, address.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix_length >= 96 => (v4, prefix_length - 96),
            _ => (address, prefix_length),
        };
        let first = masked(address, prefix_length).ok_or(AddressError::PrefixLength)?;
        let network = Self {
            address: Address(first),
            prefix_length,
        };
        if first == address {
            Ok(network)
        } else {
            Err(AddressError::HostBits(network))
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

    /// Whether the address is in the network. An address of the other family never is.
    #[must_use]
    pub fn contains(self, address: Address) -> bool {
        address.0.is_ipv4() == self.address.0.is_ipv4()
            && masked(address.0, self.prefix_length) == Some(self.address.0)
    }
}

/// The address with only its first `prefix_length` bits; none when it has not that many.
fn masked(address: IpAddr, prefix_length: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let rest = 32_u32.checked_sub(prefix_length.into())?;
            let mask = u32::MAX.checked_shl(rest).unwrap_or(0);
            Some(IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask)))
        }
        IpAddr::V6(v6) => {
            let rest = 128_u32.checked_sub(prefix_length.into())?;
            let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
            Some(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask)))
        }
    }
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

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => {
                f.write_str("not an IP address; zone ids, ports and leading zeros are not accepted")
            }
            Self::HostBits(meant) => {
                write!(f, "bits are set behind the prefix; did you mean `{meant}`?")
            }
            Self::NoPrefixLength => f.write_str(
                "no prefix length; for a single address write `/32` (IPv4) or `/128` (IPv6)",
            ),
            Self::PrefixLength => {
                f.write_str("the prefix length is not a number from 0 to 32 (IPv4) or 128 (IPv6)")
            }
        }
    }
}

impl std::error::Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // The standard library refuses zone ids (IpAddr has none), ports and leading zeros.
        text.parse()
            .map(Self::new)
            .map_err(|_| AddressError::Address)
    }
}

impl FromStr for Network {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (address, prefix_length) = text.split_once('/').ok_or(AddressError::NoPrefixLength)?;
        let address: IpAddr = address.parse().map_err(|_| AddressError::Address)?;
        let canonical = prefix_length == "0" || !prefix_length.starts_with(['0', '+']);
        let prefix_length = prefix_length
            .parse()
            .ok()
            .filter(|_| canonical)
            .ok_or(AddressError::PrefixLength)?;
        Self::new(address, prefix_length)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

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
            assert_eq!(network(given).to_string(), normal, "{given}");
        }
        assert_eq!(
            "::ffff:192.0.2.1".parse::<Address>().unwrap().to_string(),
            "192.0.2.1"
        );
        assert_eq!(network("10.0.0.0/8").address().to_string(), "10.0.0.0");
        assert_eq!(network("10.0.0.0/8").prefix_length(), 8);
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
            assert_eq!(text.parse::<Address>(), Err(E::Address), "{text}");
            assert_eq!(
                format!("{text}/8").parse::<Network>(),
                Err(E::Address),
                "{text}"
            );
        }
        for text in [
            "10.0.0.0/33",
            "::/129",
            "1.0.0.0/",
            "1.0.0.0/08",
            "1.0.0.0/+8",
            "1.0.0.0/-1",
            "::/1/2",
        ] {
            assert_eq!(text.parse::<Network>(), Err(E::PrefixLength), "{text}");
        }
        assert_eq!("10.0.0.1".parse::<Network>(), Err(E::NoPrefixLength));
        assert_eq!(
            "10.0.0.1/8".parse::<Network>(),
            Err(E::HostBits(network("10.0.0.0/8")))
        );
        assert_eq!(
            "::ffff:10.0.0.0/95".parse::<Network>(),
            Err(E::HostBits(network("::fffe:0:0/95"))),
        );
        assert_eq!(
            Network::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 33),
            Err(E::PrefixLength)
        );
    }

    #[test]
    fn says_what_to_write_instead() {
        let error = "10.0.0.1/8".parse::<Network>().unwrap_err().to_string();
        assert_eq!(
            error,
            "bits are set behind the prefix; did you mean `10.0.0.0/8`?"
        );
    }

    #[test]
    fn contains_by_prefix_and_never_across_families() {
        for (net, address, expected) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "9.255.255.255", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "127.0.0.1", false),
            ("::/0", "ffff::", true),
            ("203.0.113.9/32", "203.0.113.9", true),
            ("203.0.113.9/32", "203.0.113.8", false),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("2001:db8::1/128", "2001:db8::1", true),
            ("2001:db8::1/128", "2001:db8::", false),
        ] {
            let inside = network(net).contains(address.parse().unwrap());
            assert_eq!(inside, expected, "{address} in {net}");
        }
    }

    #[test]
    fn reads_settings() {
        let networks: Vec<Network> = serde_json::from_str(r#"["10.0.0.0/8", "::/0"]"#).unwrap();
        assert_eq!(networks, [network("10.0.0.0/8"), network("::/0")]);
        let error = serde_json::from_str::<Address>(r#""10.0.0.0/8""#)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("not an IP address"), "{error}");
    }
}
