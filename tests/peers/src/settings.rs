//! What the operator set, the same for every engine, and what a host derives from it once.

use std::net::IpAddr;

use keyward::address::Network;

/// The settings of keyward's three policies.
pub(crate) const KEYWARD: [(&str, &[u8], &str); 3] = [
    (
        "scope",
        keyward_policies::SCOPE,
        r#"{"implies":{"admin":["read","write","delete"],"write":["read"]},"read_only_actions":["read","list"]}"#,
    ),
    (
        "rotation",
        keyward_policies::ROTATION,
        r#"{"max_lifetime_days":90,"notice_days":[60,30,14,7,1],"on_overdue":"warn","require_expiry":true,"rotation_period_days":90}"#,
    ),
    (
        "ip",
        keyward_policies::IP,
        r#"{"blocked":["198.18.0.0/15","2001:db8:bad::/48","10.66.0.0/16"],"require_allow_list":false}"#,
    ),
];
/// Networks from which no key may be used, and so no address that wraps one of theirs.
pub(crate) const BLOCKED: [&str; 3] = ["198.18.0.0/15", "2001:db8:bad::/48", "10.66.0.0/16"];
/// What a key under the read-only mask may still do.
pub(crate) const READ_ONLY_ACTIONS: [&str; 2] = ["read", "list"];
/// A granted action, and what it grants besides.
pub(crate) const IMPLIES: [(&str, &[&str]); 2] = [
    ("admin", &["read", "write", "delete"]),
    ("write", &["read"]),
];
/// The longest life of a key, in milliseconds: 90 days.
pub(crate) const LIFETIME_MAX_MS: i64 = 90 * 24 * 3_600 * 1_000;

/// Every grant that covers a scope, for the engines that look grants up instead of parsing them. A
/// route table is known before any request, so this is made once for each of its scopes.
pub(crate) fn covering(scope: &str) -> Vec<String> {
    let (resource, action) = scope.split_once(':').unwrap();
    let mut resources = vec![resource.to_owned(), "*".to_owned()];
    let dots = resource.match_indices('.');
    resources.extend(dots.map(|(at, _)| format!("{}.*", resource.split_at(at).0)));
    let implying = IMPLIES
        .iter()
        .filter(|(_, granted)| granted.contains(&action));
    let actions = implying.map(|(implying, _)| *implying).chain([action, "*"]);
    let grants = actions.flat_map(|action| {
        let grants = resources.iter();
        grants.map(move |resource| format!("{resource}:{action}"))
    });
    grants.collect()
}

/// The blocked networks, IPv4 and IPv6, for the engines that have no way to unwrap an address: the
/// IPv6 ones have, for each of IPv4, what holds its addresses in NAT64 and 6to4.
pub(crate) fn blocked() -> [Vec<Network>; 2] {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for text in BLOCKED {
        let network: Network = text.parse().unwrap();
        match network.address().ip() {
            IpAddr::V6(_) => v6.push(network),
            IpAddr::V4(address) => {
                let bits = u128::from(address.to_bits());
                let nat64 = (0x64_ff9b << 96) | bits;
                let six_to_four = (0x2002 << 112) | (bits << 80);
                for (address, before) in [(nat64, 96), (six_to_four, 16)] {
                    let length = before + network.prefix_length();
                    v6.push(Network::new(IpAddr::V6(address.into()), length).unwrap());
                }
                v4.push(network);
            }
        }
    }
    [v4, v6]
}
