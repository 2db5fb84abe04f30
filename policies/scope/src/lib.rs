//! `keyward:scope`: may this key do this?
//!
//! The gateway's route table maps an operation to a required scope, `resource:action`; the key's
//! grants cover it, directly or because one action implies another, or they do not. The read-only
//! mask narrows what a key may do and never grants anything.

mod grammar;
mod settings;
#[cfg(test)]
mod tests;

use keyward_policy::{Descriptor, Fault, Policy, Request, SettingError, Verdict};

use grammar::{Actions, Grant, SCOPE_MAX_BYTES, Scope};
use settings::Implications;
pub use settings::Settings;

keyward_policy::reasons! { REASONS:
    UNMAPPED "scope.unmapped" {
        text: "no route maps this operation to a scope",
        remedy: "ask the gateway's operator to map the operation to a scope, or correct the method and path",
    }
    MALFORMED "scope.malformed" {
        text: "the route requires `{required}`, which is not a scope",
        remedy: "ask the gateway's operator to correct the scope in the route table",
    }
    READ_ONLY "scope.read-only" {
        text: "the key is limited to reading for now, and `{action}` is more than that",
        remedy: "ask the key's manager to lift the read-only mask once the reason for it is settled",
    }
    MISSING "scope.missing" {
        text: "no grant of the key covers `{required}`",
        remedy: "ask the key's manager for a key with this scope, if it is needed",
    }
    GRANTED "scope.granted" {
        text: "the grant `{grant}` covers this operation",
        remedy: "nothing to do",
    }
}

keyward_policy::signals! { SIGNALS:
    UNMAPPED_ROUTE "unmapped-route"
    EXCESSIVE_SCOPE "excessive-scope"
    MALFORMED_GRANT "malformed-grant"
}

/// How many malformed grants one verdict names.
const MALFORMED_GRANTS_MAX: usize = 4;
/// How much of a path goes into the signal of an unmapped route.
const PATH_MAX_BYTES: usize = 1024;

/// The policy, configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePolicy {
    implications: Implications,
    read_only_actions: Vec<String>,
}

impl Policy for ScopePolicy {
    type Settings = Settings;

    const DESCRIPTOR: Descriptor = Descriptor {
        name: "keyward:scope",
        version: env!("CARGO_PKG_VERSION"),
        summary: "Allows what a grant of the key covers, and under the read-only mask only reading",
        reasons: REASONS,
        signals: SIGNALS,
        settings_schema: include_str!("../settings.schema.json"),
        ..Descriptor::EMPTY
    };

    fn configure(settings: Settings) -> Result<Self, Vec<SettingError>> {
        Ok(Self {
            implications: settings.check()?,
            read_only_actions: settings.read_only_actions,
        })
    }

    fn evaluate(&self, request: &impl Request) -> Result<Verdict, Fault> {
        let Some(required) = request.required_scope() else {
            let route = UNMAPPED_ROUTE
                .with("method", request.method())
                .with("path", clip(&request.path(), PATH_MAX_BYTES));
            return Ok(Verdict::deny(UNMAPPED).signal(route));
        };
        let Some(scope) = Scope::parse(&required) else {
            return Ok(Verdict::deny(
                MALFORMED.with("required", clip(&required, SCOPE_MAX_BYTES)),
            ));
        };
        if request.key_read_only() && !self.reads_only(scope) {
            return Ok(Verdict::deny(READ_ONLY.with("action", scope.action))
                .signal(EXCESSIVE_SCOPE.with("required", &required)));
        }
        let grants = request.key_scopes();
        let verdict = match grants.iter().find(|grant| self.covers(grant, scope)) {
            Some(grant) => Verdict::allow(GRANTED.with("grant", grant)),
            None => Verdict::deny(MISSING.with("required", &required))
                .signal(EXCESSIVE_SCOPE.with("required", &required)),
        };
        let malformed = grants.iter().filter(|grant| Grant::parse(grant).is_none());
        Ok(malformed
            .take(MALFORMED_GRANTS_MAX)
            .fold(verdict, |verdict, grant| {
                verdict.signal(MALFORMED_GRANT.with("grant", clip(grant, SCOPE_MAX_BYTES)))
            }))
    }
}

impl ScopePolicy {
    /// Whether a key under the read-only mask may do this, if it is granted.
    fn reads_only(&self, scope: Scope<'_>) -> bool {
        self.read_only_actions
            .iter()
            .any(|action| action == scope.action)
    }

    /// Whether the grant is well-formed and covers the scope, directly or by implication.
    fn covers(&self, grant: &str, scope: Scope<'_>) -> bool {
        Grant::parse(grant).is_some_and(|grant| {
            grant.resources.cover(scope.resource)
                && match grant.actions {
                    Actions::Any => true,
                    Actions::Exactly(action) => {
                        action == scope.action || self.implications.imply(action, scope.action)
                    }
                }
        })
    }
}

/// At most `max_bytes` of a text that anyone may have written, so that a verdict stays small; what
/// was left out is marked.
fn clip(text: &str, max_bytes: usize) -> String {
    match text.get(..text.floor_char_boundary(max_bytes)) {
        Some(start) if start.len() < text.len() => format!("{start}…"),
        _ => text.to_owned(),
    }
}

keyward_policy::export!(ScopePolicy);
