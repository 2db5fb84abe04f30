//! `keyward:rate`: is this key used too often?
//!
//! The host counts the requests of each key; the policy asks for a count and compares. It never
//! grants: within its limits it abstains. A request that is denied counts too, so a client that
//! does not wait stays limited.

mod settings;
mod span;
#[cfg(test)]
mod tests;

use keyward_policy::{Descriptor, Fault, Policy, Request, SettingError, Value, Verdict};

pub use settings::{Limit, REQUESTS_MAX, Settings};
pub use span::Span;

keyward_policy::reasons! { REASONS:
    LIMITED "rate.limited" {
        text: "the key made {requests} requests in {per}, and {limit} are allowed",
        remedy: "wait {retry-after} seconds without a request, and send fewer from then on",
    }
    LABEL_MALFORMED "rate.label-malformed" {
        text: "the key's label {label} sets its limit, and is no whole number from 1 to 1000000000",
        remedy: "ask the key's manager to correct the label",
    }
}

keyward_policy::signals! { SIGNALS:
    RATE_LIMITED "rate-limited"
    KEY_NOT_COMPLIANT "key-not-compliant"
}

/// The policy, configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RatePolicy {
    // INVARIANT: no two for the same span.
    limits: Vec<Limit>,
}

/// A limit that a request is over.
struct Exceeded {
    span: Span,
    requests: u32,
    limit: u32,
    wait_seconds: u32,
}

impl Policy for RatePolicy {
    type Settings = Settings;

    const DESCRIPTOR: Descriptor = Descriptor {
        name: "keyward:rate",
        version: env!("CARGO_PKG_VERSION"),
        summary: "Denies a key that is used more often than its limits allow",
        needs: &span::NEEDS,
        reasons: REASONS,
        signals: SIGNALS,
        settings_schema: include_str!("../settings.schema.json"),
        ..Descriptor::EMPTY
    };

    fn configure(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let limits = settings.limits;
        let repeated = limits.iter().enumerate().filter(|(index, limit)| {
            let mut before = limits.iter().take(*index);
            before.any(|it| it.per == limit.per)
        });
        let error = |(index, limit): (usize, &Limit)| {
            let path = ["limits", &index.to_string(), "per"];
            SettingError::at(&path, format!("another limit is per {}", limit.per))
        };
        let errors: Vec<_> = repeated.map(error).collect();
        if errors.is_empty() {
            Ok(Self { limits })
        } else {
            Err(errors)
        }
    }

    fn evaluate(&self, request: &impl Request) -> Result<Verdict, Fault> {
        let mut exceeded = Vec::new();
        for limit in &self.limits {
            let allowed = match &limit.label {
                Some(label) => match request.key_label(label).as_deref().map(settings::number) {
                    None => limit.requests,
                    Some(Some(own)) => own,
                    Some(None) => {
                        let malformed = LABEL_MALFORMED.with("label", label);
                        return Ok(Verdict::deny(malformed).signal(KEY_NOT_COMPLIANT));
                    }
                },
                None => limit.requests,
            };
            let requests = count(request, limit.per)?;
            if requests > allowed {
                exceeded.push(Exceeded {
                    span: limit.per,
                    requests,
                    limit: allowed,
                    wait_seconds: wait_seconds(request, limit.per, allowed)?,
                });
            }
        }
        let Some(longest) = exceeded.iter().max_by_key(|it| it.wait_seconds) else {
            return Ok(Verdict::abstain());
        };
        let reason = LIMITED
            .with("requests", longest.requests)
            .with("per", longest.span)
            .with("limit", longest.limit)
            .with("window", longest.span.seconds())
            .with("retry-after", longest.wait_seconds);
        let signal = |it: &Exceeded| {
            RATE_LIMITED
                .with("limit", it.limit)
                .with("window", it.span.seconds())
                .with("retry-after", it.wait_seconds)
        };
        Ok((exceeded.iter().map(signal)).fold(Verdict::deny(reason), Verdict::signal))
    }
}

/// The requests in a span, this one included. A count that does not fit is more than any limit.
fn count(request: &impl Request, span: Span) -> Result<u32, Fault> {
    match request.attribute(span.attribute()) {
        Some(Value::Integer(count)) if count >= 0 => Ok(u32::try_from(count).unwrap_or(u32::MAX)),
        _ => Err(Fault::new("the host counts no requests")),
    }
}

/// How long to wait so that one more request is allowed, if there is none until then. With fewer
/// requests in a shorter span than are allowed, those before it have to leave the longer one; with
/// too many in each, all have to, and the part of the window that is half over with them.
fn wait_seconds(request: &impl Request, span: Span, allowed: u32) -> Result<u32, Fault> {
    for shorter in span.shorter() {
        if count(request, shorter)? < allowed {
            return Ok(span.seconds().saturating_sub(shorter.seconds()));
        }
    }
    Ok(span.seconds().saturating_add(span.part_seconds()))
}

keyward_policy::export!(RatePolicy);
