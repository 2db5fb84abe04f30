//! What a policy says of itself, checked once at load, and the check of every verdict against it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::budget::Limits;
use super::interface::bindings::exports::keyward::policy::decide as wit;
use super::interface::bindings::keyward::policy::types;
use crate::decision::verdict::{
    Effect, Fault, FaultKind, Obligation, Params, Reason, Signal, Verdict,
};

/// What a policy says of itself: `describe` of `keyward:policy/decide`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// `namespace:name`.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// Attributes beyond the fixed questions.
    pub needs: Vec<AttributeNeed>,
    /// Every reason that a verdict may give.
    pub reasons: Vec<ReasonTemplate>,
    /// Every signal that a verdict may raise.
    pub signals: BTreeSet<String>,
    /// Every obligation that a verdict may impose.
    pub obligations: BTreeSet<String>,
    /// JSON Schema (2020-12) of the settings; empty when there are none.
    pub settings_schema: String,
}

/// An attribute that a policy may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeNeed {
    /// For example `geo.country`.
    pub name: Arc<str>,
    /// Whether a request without it is denied before the policy is called.
    pub required: bool,
}

/// A reason with the text that explains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonTemplate {
    /// Stable code, for example `scope.missing`.
    pub code: String,
    /// `{name}` stands for the parameter of that name.
    pub text: String,
    /// What the key's owner can do about it.
    pub remedy: String,
}

/// The most reasons, signals, obligations or needs, each, that a descriptor may list.
const LIST_MAX: usize = 256;
/// The most text in a descriptor, in bytes.
pub(super) const DESCRIPTOR_MAX_BYTES: usize = 256 << 10;
/// Beginnings of the host's own reasons, which no policy may give.
const RESERVED: [&str; 5] = ["key.", "log.", "policy.", "registry.", "request."];
/// The longest name, code or version, in bytes.
const NAME_MAX_BYTES: usize = 128;
/// The most parameters of one reason, signal, obligation or fault.
const PARAMS_MAX: usize = 16;

impl Descriptor {
    /// Checks what a component returned from `describe`.
    pub(super) fn check(given: wit::Descriptor) -> Result<Self, String> {
        if !is_package_name(&given.name) {
            return Err(format!(
                "its name `{}` is not of the form `namespace:name`",
                given.name
            ));
        }
        let lists = [
            given.needs.len(),
            given.reasons.len(),
            given.signals.len(),
            given.obligations.len(),
        ];
        if lists.into_iter().any(|length| length > LIST_MAX) {
            return Err(format!("it lists more than {LIST_MAX} of a kind"));
        }
        let names = (given.needs.iter().map(|need| &need.name))
            .chain(given.reasons.iter().map(|reason| &reason.code))
            .chain(&given.signals)
            .chain(&given.obligations)
            .chain([&given.version]);
        if let Some(bad) = names.into_iter().find(|name| !is_name(name)) {
            return Err(format!(
                "`{bad}` is not a name: 1 to {NAME_MAX_BYTES} letters, digits and `._:+-`"
            ));
        }
        let reserved = |code: &&wit::ReasonTemplate| {
            RESERVED.iter().any(|prefix| code.code.starts_with(prefix))
        };
        if let Some(reason) = given.reasons.iter().find(reserved) {
            return Err(format!(
                "the reason `{}` is the host's own; name it otherwise",
                reason.code
            ));
        }
        let descriptor = Self {
            name: given.name,
            version: given.version,
            summary: given.summary,
            needs: given.needs.into_iter().map(AttributeNeed::from).collect(),
            reasons: given
                .reasons
                .into_iter()
                .map(ReasonTemplate::from)
                .collect(),
            signals: given.signals.into_iter().collect(),
            obligations: given.obligations.into_iter().collect(),
            settings_schema: given.settings_schema,
        };
        let codes: BTreeSet<_> = descriptor
            .reasons
            .iter()
            .map(|reason| &reason.code)
            .collect();
        if codes.len() < descriptor.reasons.len() {
            return Err("it lists a reason twice".to_owned());
        }
        Ok(descriptor)
    }

    /// The template of a reason.
    #[must_use]
    pub fn reason(&self, code: &str) -> Option<&ReasonTemplate> {
        self.reasons.iter().find(|reason| reason.code == code)
    }

    /// Checks a verdict against the contract and the limits.
    pub(super) fn check_verdict(
        &self,
        given: types::Verdict,
        limits: &Limits,
    ) -> Result<Verdict, Fault> {
        let verdict = verdict(given);
        self.check_contract(&verdict)
            .map_err(|broken| Fault::new(FaultKind::Contract, broken))?;
        let over = |text: String| Err(Fault::new(FaultKind::VerdictTooLarge, text));
        if verdict.signals.len() as u64 > limits.signals.into() {
            return over(format!("more than {} signals", limits.signals));
        }
        if verdict.obligations.len() as u64 > limits.obligations.into() {
            return over(format!("more than {} obligations", limits.obligations));
        }
        if size_bytes(&verdict) > limits.verdict_bytes {
            return over(format!("more than {} bytes of text", limits.verdict_bytes));
        }
        Ok(verdict)
    }

    fn check_contract(&self, verdict: &Verdict) -> Result<(), String> {
        match &verdict.reason {
            None if verdict.effect == Effect::Deny => {
                return Err("it denied without a reason".to_owned());
            }
            Some(reason) if self.reason(&reason.code).is_none() => {
                return Err(format!(
                    "the reason `{}` is not declared",
                    clip(&reason.code)
                ));
            }
            _ => {}
        }
        if let Some(signal) = verdict
            .signals
            .iter()
            .find(|s| !self.signals.contains(&s.name))
        {
            return Err(format!(
                "the signal `{}` is not declared",
                clip(&signal.name)
            ));
        }
        let undeclared = |o: &&Obligation| !self.obligations.contains(&o.name);
        if let Some(obligation) = verdict.obligations.iter().find(undeclared) {
            return Err(format!(
                "the obligation `{}` is not declared",
                clip(&obligation.name)
            ));
        }
        all_params(verdict).try_for_each(check_params)
    }
}

/// The fault that a policy declared itself.
pub(super) fn declared_fault(given: &types::Fault) -> Fault {
    let small = given
        .params
        .iter()
        .map(|(n, v)| n.len() + v.len())
        .sum::<usize>()
        <= 1024;
    if !is_name(&given.code) || !small || check_params(&given.params).is_err() {
        let text = "its fault has a code or parameters that are too long or malformed";
        return Fault::new(FaultKind::Contract, text);
    }
    let params: String = given
        .params
        .iter()
        .map(|(n, v)| format!(", {n:?} = {v:?}"))
        .collect();
    Fault::new(FaultKind::Declared, format!("{}{params}", given.code))
}

fn check_params(params: &Params) -> Result<(), String> {
    let names: BTreeSet<_> = params.iter().map(|(name, _)| name).collect();
    match params {
        _ if names.len() < params.len() => Err("it gave a parameter twice".to_owned()),
        _ if params.len() > PARAMS_MAX => Err(format!("it gave more than {PARAMS_MAX} parameters")),
        _ => Ok(()),
    }
}

fn all_params(verdict: &Verdict) -> impl Iterator<Item = &Params> {
    (verdict.reason.iter().map(|reason| &reason.params))
        .chain(verdict.signals.iter().map(|signal| &signal.params))
        .chain(
            verdict
                .obligations
                .iter()
                .map(|obligation| &obligation.params),
        )
}

/// Bytes of text in a verdict.
fn size_bytes(verdict: &Verdict) -> u64 {
    let names = (verdict.reason.iter().map(|reason| reason.code.len()))
        .chain(verdict.signals.iter().map(|signal| signal.name.len()))
        .chain(
            verdict
                .obligations
                .iter()
                .map(|obligation| obligation.name.len()),
        );
    let params = all_params(verdict)
        .flatten()
        .map(|(name, value)| name.len() + value.len());
    names.chain(params).sum::<usize>() as u64
}

fn verdict(given: types::Verdict) -> Verdict {
    let signal = |s: types::Signal| Signal {
        name: s.name,
        params: s.params,
    };
    let obligation = |o: types::Obligation| Obligation {
        name: o.name,
        params: o.params,
        required: o.required,
    };
    Verdict {
        effect: match given.effect {
            types::Effect::Abstain => Effect::Abstain,
            types::Effect::Allow => Effect::Allow,
            types::Effect::Deny => Effect::Deny,
        },
        reason: given.reason.map(|r| Reason {
            code: r.code.into(),
            params: r.params,
        }),
        signals: given.signals.into_iter().map(signal).collect(),
        obligations: given.obligations.into_iter().map(obligation).collect(),
    }
}

fn is_package_name(name: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase())
            && part
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    name.len() <= NAME_MAX_BYTES
        && name
            .split_once(':')
            .is_some_and(|(space, name)| part(space) && part(name))
}

fn is_name(name: &str) -> bool {
    (1..=NAME_MAX_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._:+-".contains(&b))
}

/// A name for an error: at most 64 characters of it, control characters escaped.
fn clip(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

impl From<wit::AttributeNeed> for AttributeNeed {
    fn from(need: wit::AttributeNeed) -> Self {
        Self {
            name: need.name.into(),
            required: need.required,
        }
    }
}

impl From<wit::ReasonTemplate> for ReasonTemplate {
    fn from(reason: wit::ReasonTemplate) -> Self {
        Self {
            code: reason.code,
            text: reason.text,
            remedy: reason.remedy,
        }
    }
}
