//! Networks from which no key may be used.

use std::net::{IpAddr, Ipv4Addr};

use keyward_policy::{Address, Network, SettingError};

/// The operator's `blocked` networks, for a search that takes few steps however many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DenyList {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// First and last number of each range.
// INVARIANT: sorted, and no two overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges<T>(Vec<(T, T)>);

impl DenyList {
    /// Reads the setting `blocked`.
    ///
    /// # Errors
    /// Every text that is not a network, at its place.
    pub(crate) fn parse(blocked: &[String]) -> Result<Self, Vec<SettingError>> {
        let mut errors = Vec::new();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (index, text) in blocked.iter().enumerate() {
            match text
                .parse::<Network>()
                .map(|network| (network.address().ip(), network))
            {
                Ok((IpAddr::V4(first), network)) => {
                    let rest = u32::MAX
                        .checked_shr(network.prefix_length().into())
                        .unwrap_or(0);
                    v4.push((first.to_bits(), first.to_bits() | rest));
                }
                Ok((IpAddr::V6(first), network)) => {
                    let rest = u128::MAX
                        .checked_shr(network.prefix_length().into())
                        .unwrap_or(0);
                    v6.push((first.to_bits(), first.to_bits() | rest));
                }
                Err(error) => errors.push(SettingError::at(
                    &["blocked", &index.to_string()],
                    format!("`{text}`: {error}"),
                )),
            }
        }
        if errors.is_empty() {
            Ok(Self {
                v4: Ranges::new(v4),
                v6: Ranges::new(v6),
            })
        } else {
            Err(errors)
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.v4.0.is_empty() && self.v6.0.is_empty()
    }

    /// Whether a network contains the address, or the IPv4 address that it wraps.
    pub(crate) fn contains(&self, address: Address) -> bool {
        match address.ip() {
            IpAddr::V4(v4) => self.v4.contain(v4.to_bits()),
            IpAddr::V6(v6) => {
                self.v6.contain(v6.to_bits())
                    || wrapped(v6.segments()).is_some_and(|v4| self.v4.contain(v4.to_bits()))
            }
        }
    }
}

impl<T: Copy + Ord> Ranges<T> {
    /// Of two networks that share an address, one contains the other: keeping those that begin
    /// behind the end of the one before leaves out nothing.
    fn new(mut ranges: Vec<(T, T)>) -> Self {
        ranges.sort_unstable_by(|(first, last), (other, other_last)| {
            first.cmp(other).then(other_last.cmp(last))
        });
        ranges.dedup_by(|(first, _), (_, kept_last)| *first <= *kept_last);
        Self(ranges)
    }

    fn contain(&self, number: T) -> bool {
        let before = self.0.partition_point(|(first, _)| *first <= number);
        let last = before.checked_sub(1).and_then(|index| self.0.get(index));
        last.is_some_and(|(_, last)| number <= *last)
    }
}

/// The IPv4 address inside a NAT64 (`64:ff9b::/96`, RFC 6052) or 6to4 (`2002::/16`, RFC 3056)
/// address.
fn wrapped(segments: [u16; 8]) -> Option<Ipv4Addr> {
    let ([0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..]) = segments else {
        return None;
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_nat64_and_6to4_and_nothing_else() {
        for (address, inner) in [
            ("64:ff9b::198.18.0.1", Some("198.18.0.1")),
            ("64:ff9b::ffff:ffff", Some("255.255.255.255")),
            ("64:ff9b::1:198.18.0.1", None),
            ("64:ff9b:1::198.18.0.1", None), // RFC 8215, local use
            ("64:ff9c::198.18.0.1", None),
            ("2002:c612:1::", Some("198.18.0.1")),
            ("2002:c612:1:2:3:4:5:6", Some("198.18.0.1")),
            ("2003:c612:1::", None),
            ("::198.18.0.1", None),
        ] {
            let v6: std::net::Ipv6Addr = address.parse().unwrap();
            assert_eq!(
                wrapped(v6.segments()),
                inner.map(|v4| v4.parse().unwrap()),
                "{address}"
            );
        }
    }

    /// The search against asking every network, at and around both ends of each.
    #[test]
    fn agrees_with_asking_every_network() {
        let blocked = [
            "10.0.0.0/8",
            "10.0.0.0/16",
            "10.255.0.0/16",
            "10.1.2.3/32",
            "11.0.0.0/32",
            "11.0.0.1/32",
            "0.0.0.0/32",
            "255.255.255.255/32",
            "192.0.2.0/25",
            "192.0.2.128/25",
            "192.0.2.0/25",
            "::/128",
            "2001:db8::/32",
            "2001:db8:1::/48",
            "2001:db9::/32",
            "ffff::/16",
            "2001:db8:ffff:ffff::/64",
        ];
        let networks: Vec<Network> = blocked.iter().map(|text| text.parse().unwrap()).collect();
        let list = DenyList::parse(&blocked.map(ToOwned::to_owned)).unwrap();
        let mut contained = 0;
        for (first, last) in &list.v4.0 {
            for number in [
                first.wrapping_sub(1),
                *first,
                first / 2 + last / 2,
                *last,
                last.wrapping_add(1),
            ] {
                let address = Address::new(IpAddr::V4(number.into()));
                let expected = networks.iter().any(|network| network.contains(address));
                assert_eq!(list.contains(address), expected, "{address}");
                contained += usize::from(expected);
            }
        }
        for (first, last) in &list.v6.0 {
            for number in [
                first.wrapping_sub(1),
                *first,
                first / 2 + last / 2,
                *last,
                last.wrapping_add(1),
            ] {
                let address = Address::new(IpAddr::V6(number.into()));
                let expected = networks.iter().any(|network| network.contains(address));
                assert_eq!(list.contains(address), expected, "{address}");
                contained += usize::from(expected);
            }
        }
        assert_eq!((list.v4.0.len(), list.v6.0.len()), (7, 4));
        assert!(contained > 30, "{contained}");
        let everything =
            DenyList::parse(&["0.0.0.0/0".to_owned(), "10.0.0.0/8".to_owned()]).unwrap();
        assert_eq!(everything.v4.0, [(0, u32::MAX)]);
        assert!(!everything.contains("2001:db8::".parse().unwrap()));
    }
}
