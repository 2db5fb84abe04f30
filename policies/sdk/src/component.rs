//! The component's side of the contract: WIT bindings, and the translation between them and the
//! types of this crate. For [`export!`](crate::export) alone; not part of the API.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use crate::{Address, Lifecycle, Network, Param, Policy, Request, Timestamp, Value};

/// Generated from `wit/`.
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "policy",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "keyward_policy::component::bindings",
    });
}

/// The component's allocator. It only counts up, from the end of the data in the first page: an
/// instance lives for one call, so there is nothing to free, and a small policy fits into one page
/// of memory, all of which is zeroed for each instance.
pub use mini_alloc::MiniAlloc as Allocator;

pub use bindings::export_component;
pub use bindings::exports::keyward::policy::decide::{
    Descriptor, Fault, Guest, SettingError, Verdict,
};
pub(crate) use bindings::keyward::policy::log::{Level, write};

use bindings::exports::keyward::policy::decide;
use bindings::keyward::policy::{request, types};

/// What `describe` answers.
#[must_use]
pub fn describe<P: Policy>() -> Descriptor {
    let own = P::DESCRIPTOR;
    let need = |need: &crate::AttributeNeed| decide::AttributeNeed {
        name: need.name.to_owned(),
        required: need.required,
    };
    let reason = |reason: &crate::ReasonTemplate| decide::ReasonTemplate {
        code: reason.code().to_owned(),
        text: reason.text().to_owned(),
        remedy: reason.remedy().to_owned(),
    };
    Descriptor {
        name: own.name.to_owned(),
        version: own.version.to_owned(),
        summary: own.summary.to_owned(),
        needs: own.needs.iter().map(need).collect(),
        reasons: own.reasons.iter().map(reason).collect(),
        signals: own
            .signals
            .iter()
            .map(|signal| signal.as_str().to_owned())
            .collect(),
        obligations: own
            .obligations
            .iter()
            .map(|name| name.as_str().to_owned())
            .collect(),
        settings_schema: own.settings_schema.to_owned(),
    }
}

/// What `configure` does: makes the policy and keeps it for `evaluate`.
///
/// # Errors
/// What is wrong with the settings, or that the policy has been configured before.
pub fn configure<P: Policy>(
    configured: &OnceLock<P>,
    settings: &str,
) -> Result<(), Vec<SettingError>> {
    let wit = |error: crate::SettingError| SettingError {
        path: error.path().to_owned(),
        message: error.message().to_owned(),
    };
    let policy = crate::configure(settings)
        .map_err(|errors| errors.into_iter().map(wit).collect::<Vec<_>>())?;
    configured.set(policy).map_err(|_| {
        vec![wit(crate::SettingError::at(
            &[],
            "the policy is configured already",
        ))]
    })
}

/// What `evaluate` answers.
///
/// # Errors
/// The policy's own fault, or `not-configured`.
pub fn evaluate<P: Policy>(configured: &OnceLock<P>) -> Result<Verdict, Fault> {
    let verdict = match configured.get() {
        Some(policy) => policy.evaluate(&Host),
        None => Err(crate::Fault::new("not-configured")),
    };
    match verdict {
        Ok(verdict) => Ok(Verdict {
            effect: match verdict.effect {
                crate::Effect::Abstain => types::Effect::Abstain,
                crate::Effect::Allow => types::Effect::Allow,
                crate::Effect::Deny => types::Effect::Deny,
            },
            reason: verdict.reason.map(|reason| types::Reason {
                code: reason.code().to_owned(),
                params: params(reason.into_params()),
            }),
            signals: verdict.signals.into_iter().map(signal).collect(),
            obligations: verdict.obligations.into_iter().map(obligation).collect(),
        }),
        Err(fault) => Err(Fault {
            code: fault.code().to_owned(),
            params: params(fault.into_params()),
        }),
    }
}

fn signal(signal: crate::Signal) -> types::Signal {
    types::Signal {
        name: signal.name().to_owned(),
        params: params(signal.into_params()),
    }
}

fn obligation(obligation: crate::Obligation) -> types::Obligation {
    types::Obligation {
        name: obligation.name().to_owned(),
        required: obligation.required(),
        params: params(obligation.into_params()),
    }
}

fn params(params: Vec<Param>) -> Vec<(String, String)> {
    params
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The request that this instance decides.
struct Host;

impl Request for Host {
    fn reached(&self, instant: Timestamp) -> bool {
        request::reached(instant.millis())
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(request::now())
    }

    fn source_address(&self) -> Option<Address> {
        request::source_address().map(address)
    }

    fn method(&self) -> String {
        request::method()
    }

    fn host(&self) -> String {
        request::host()
    }

    fn path(&self) -> String {
        request::path()
    }

    fn header(&self, name: &str) -> Vec<String> {
        request::header(name)
    }

    fn required_scope(&self) -> Option<String> {
        request::required_scope()
    }

    fn key_id(&self) -> String {
        request::key_id()
    }

    fn key_owner(&self) -> String {
        request::key_owner()
    }

    fn key_lifecycle(&self) -> Lifecycle {
        match request::key_lifecycle() {
            types::Lifecycle::Active => Lifecycle::Active,
            types::Lifecycle::Deprecated => Lifecycle::Deprecated,
        }
    }

    fn key_issued_at(&self) -> Timestamp {
        Timestamp::from_millis(request::key_issued_at())
    }

    fn key_not_before(&self) -> Option<Timestamp> {
        request::key_not_before().map(Timestamp::from_millis)
    }

    fn key_rotate_by(&self) -> Option<Timestamp> {
        request::key_rotate_by().map(Timestamp::from_millis)
    }

    fn key_expires_at(&self) -> Option<Timestamp> {
        request::key_expires_at().map(Timestamp::from_millis)
    }

    fn key_grace_until(&self) -> Option<Timestamp> {
        request::key_grace_until().map(Timestamp::from_millis)
    }

    fn key_scopes(&self) -> Vec<String> {
        request::key_scopes()
    }

    fn key_read_only(&self) -> bool {
        request::key_read_only()
    }

    fn key_allowed_networks(&self) -> Option<Vec<Network>> {
        // The host's networks are well-formed. Were one not, leaving it out could only deny more.
        let network =
            |network: types::Network| Network::new(ip(network.address), network.prefix_length).ok();
        Some(
            request::key_allowed_networks()?
                .into_iter()
                .filter_map(network)
                .collect(),
        )
    }

    fn key_label(&self, name: &str) -> Option<String> {
        request::key_label(name)
    }

    fn attribute(&self, name: &str) -> Option<Value> {
        request::attribute(name).map(|value| match value {
            types::Value::Address(value) => Value::Address(address(value)),
            types::Value::Boolean(value) => Value::Boolean(value),
            types::Value::Instant(value) => Value::Instant(Timestamp::from_millis(value)),
            types::Value::Integer(value) => Value::Integer(value),
            types::Value::Text(value) => Value::Text(value),
            types::Value::Texts(value) => Value::Texts(value),
        })
    }
}

fn address(address: types::IpAddress) -> Address {
    Address::new(ip(address))
}

fn ip(address: types::IpAddress) -> IpAddr {
    match address {
        types::IpAddress::V4(bits) => IpAddr::V4(Ipv4Addr::from_bits(bits)),
        types::IpAddress::V6((high, low)) => IpAddr::V6(Ipv6Addr::from_bits(
            u128::from(high) << 64 | u128::from(low),
        )),
    }
}
