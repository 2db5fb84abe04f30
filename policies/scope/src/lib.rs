//! `keyward:scope`: may this key do this?
//!
//! The gateway's route table maps an operation to a required scope, `resource:action`; the key's
//! grants cover it, directly or because one action implies another, or they do not. The read-only
//! mask narrows what a key may do and never grants anything.

mod grammar;
mod implications;
mod settings;
#[cfg(test)]
mod tests;

use keyward_policy::{Descriptor, Fault, Policy, Request, SettingError, Verdict};

use grammar::{Actions, Grant, SCOPE_MAX_BYTES, Scope};
use implications::Implications;
pub use settings::Settings;

keyward_policy::reasons! { REASONS:
    UNMAPPED "scope.unmapped" {
        text: "no route maps this operation to a scope",
        remedy: "check method and path, or ask the gateway's operator to map the operation",
    }
    MALFORMED "scope.malformed" {
        text: "the route requires `{required}`, which is not a scope",
        remedy: "ask the gateway's operator to correct the scope in the route table",
    }
    READ_ONLY "scope.read-only" {
        text: "the key is limited to reading for now, and `{action}` is more than that",
        remedy: "ask the key's manager to lift the mask once the reason for it is settled",
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
/// How much of a method goes into the signal of an unmapped route.
const METHOD_MAX_BYTES: usize = 64;
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
        settings.check()?;
        Ok(Self {
            implications: Implications::new(settings.implies)?,
            read_only_actions: settings.read_only_actions,
        })
    }

    fn evaluate(&self, request: &impl Request) -> Result<Verdict, Fault> {
        let Some(required) = request.required_scope() else {
            let route = UNMAPPED_ROUTE
                .with("method", clip(&request.method(), METHOD_MAX_BYTES))
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
                .signal(EXCESSIVE_SCOPE.with("required", required.as_str())));
        }
        Ok(self.grants(request, &required, scope))
    }
}

impl ScopePolicy {
    /// Whether a key under the read-only mask may do this, if it is granted.
    fn reads_only(&self, scope: Scope<'_>) -> bool {
        self.read_only_actions
            .iter()
            .any(|action| action == scope.action)
    }

    /// The last two rows: whether one of the key's grants covers the scope; and in either case,
    /// which of them are malformed.
    fn grants(&self, request: &impl Request, required: &str, scope: Scope<'_>) -> Verdict {
        let implying = self.implications.implying(scope.action);
        let covers = |grant: Grant<'_>| {
            let action = match grant.actions {
                Actions::Any => true,
                Actions::Exactly(action) => action == scope.action || implying.contains(&action),
            };
            action && grant.resources.cover(scope.resource)
        };
        let grants = request.key_scopes();
        let mut covering = None;
        let mut malformed = Vec::new();
        for text in &grants {
            match Grant::parse(text) {
                None if malformed.len() < MALFORMED_GRANTS_MAX => malformed.push(text),
                Some(grant) if covering.is_none() && covers(grant) => {
                    covering = Some(text.as_str())
                }
                _ => {}
            }
        }
        let verdict = match covering {
            Some(grant) => Verdict::allow(GRANTED.with("grant", grant)),
            None => Verdict::deny(MISSING.with("required", required))
                .signal(EXCESSIVE_SCOPE.with("required", required)),
        };
        malformed.into_iter().fold(verdict, |verdict, grant| {
            verdict.signal(MALFORMED_GRANT.with("grant", clip(grant, SCOPE_MAX_BYTES)))
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
