//! Networks from which no key may be used.

use std::net::{IpAddr, Ipv4Addr};

use keyward_policy::{Address, Network, SettingError};

/// The operator's `blocked` networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DenyList(Vec<Network>);

impl DenyList {
    /// Reads the setting `blocked`.
    ///
    /// # Errors
    /// Every text that is not a network, at its place.
    pub(crate) fn parse(blocked: &[String]) -> Result<Self, Vec<SettingError>> {
        let mut networks = Vec::with_capacity(blocked.len());
        let mut errors = Vec::new();
        for (index, text) in blocked.iter().enumerate() {
            match text.parse() {
                Ok(network) => networks.push(network),
                Err(error) => errors.push(SettingError::at(
                    &["blocked", &index.to_string()],
                    format!("`{text}`: {error}"),
                )),
            }
        }
        if errors.is_empty() {
            Ok(Self(networks))
        } else {
            Err(errors)
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a network contains the address, or the IPv4 address that it wraps.
    pub(crate) fn contains(&self, address: Address) -> bool {
        let any = |address| self.0.iter().any(|network| network.contains(address));
        any(address) || wrapped(address).is_some_and(any)
    }
}

/// The IPv4 address inside a NAT64 (`64:ff9b::/96`, RFC 6052) or 6to4 (`2002::/16`, RFC 3056)
/// address.
fn wrapped(address: Address) -> Option<Address> {
    let IpAddr::V6(v6) = address.ip() else {
        return None;
    };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let (high, low) = match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] => (g, h),
        [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    let bits = u32::from(high) << 16 | u32::from(low);
    Some(Address::new(IpAddr::V4(Ipv4Addr::from_bits(bits))))
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
            ("198.18.0.1", None),
            ("::198.18.0.1", None),
        ] {
            let address: Address = address.parse().unwrap();
            assert_eq!(
                wrapped(address),
                inner.map(|inner| inner.parse().unwrap()),
                "{address}"
            );
        }
    }
}
