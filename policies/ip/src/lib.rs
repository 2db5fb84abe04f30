//! `keyward:ip`: may this key be used from there?
//!
//! The host resolves the client's address and normalises it; the policy sees an address or none.
//! The operator's deny list speaks of machines, and so also matches an IPv4 address that is wrapped
//! for NAT64 or 6to4; a key's allow list means exactly the networks it names.

mod deny_list;
mod settings;
#[cfg(test)]
mod tests;

use keyward_policy::{Descriptor, Fault, Policy, Request, SettingError, Verdict};

use deny_list::DenyList;
pub use settings::Settings;

keyward_policy::reasons! { REASONS:
    BLOCKED "ip.blocked" {
        text: "the address {address} is in a blocked network",
        remedy: "use the key from another network, or ask the gateway's operator to lift the block",
    }
    UNRESTRICTED "ip.unrestricted" {
        text: "the key may be used from anywhere",
        remedy: "nothing to do; an allow list would limit the harm if the key were stolen",
    }
    NO_ALLOW_LIST "ip.no-allow-list" {
        text: "the key has no list of allowed networks, and keys must have one",
        remedy: "ask the key's manager to list the networks that the key is used from",
    }
    SOURCE_UNKNOWN "ip.source-unknown" {
        text: "where the request comes from could not be established",
        remedy: "ask the gateway's operator to check the trusted proxies and the forwarding header",
    }
    NOT_ALLOWED "ip.not-allowed" {
        text: "the address {address} is in none of the key's allowed networks",
        remedy: "use the key from an allowed network, or ask the key's manager to add this one",
    }
    ALLOWED "ip.allowed" {
        text: "the address is in the key's allowed network {network}",
        remedy: "nothing to do",
    }
}

keyward_policy::signals! { SIGNALS:
    UNAUTHORIZED_IP "unauthorized-ip"
    KEY_NOT_COMPLIANT "key-not-compliant"
}

/// The policy, configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpPolicy {
    blocked: DenyList,
    require_allow_list: bool,
}

impl Policy for IpPolicy {
    type Settings = Settings;

    const DESCRIPTOR: Descriptor = Descriptor {
        name: "keyward:ip",
        version: env!("CARGO_PKG_VERSION"),
        summary: "Allows a key from the networks on its list, and none from a blocked network",
        reasons: REASONS,
        signals: SIGNALS,
        settings_schema: include_str!("../settings.schema.json"),
        ..Descriptor::EMPTY
    };

    fn configure(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let require_allow_list = settings.require_allow_list;
        Ok(Self {
            blocked: DenyList::parse(&settings.blocked)?,
            require_allow_list,
        })
    }

    fn evaluate(&self, request: &impl Request) -> Result<Verdict, Fault> {
        // Without a deny list, a key without an allow list gets its verdict from anywhere, and the
        // address is not asked for.
        let asked = (!self.blocked.is_empty()).then(|| request.source_address());
        if let Some(Some(address)) = asked
            && self.blocked.contains(address)
        {
            return Ok(Verdict::deny(BLOCKED.with("address", address))
                .signal(UNAUTHORIZED_IP.with("address", address)));
        }
        let Some(networks) = request.key_allowed_networks() else {
            return Ok(if self.require_allow_list {
                Verdict::deny(NO_ALLOW_LIST).signal(KEY_NOT_COMPLIANT)
            } else {
                Verdict::allow(UNRESTRICTED)
            });
        };
        let Some(address) = asked.unwrap_or_else(|| request.source_address()) else {
            return Ok(Verdict::deny(SOURCE_UNKNOWN).signal(UNAUTHORIZED_IP));
        };
        let containing = networks.iter().filter(|network| network.contains(address));
        Ok(
            match containing.max_by_key(|network| network.prefix_length()) {
                Some(network) => Verdict::allow(ALLOWED.with("network", network)),
                None => Verdict::deny(NOT_ALLOWED.with("address", address))
                    .signal(UNAUTHORIZED_IP.with("address", address)),
            },
        )
    }
}

keyward_policy::export!(IpPolicy);
