//! What the host accepts from a policy. A breach there fails the evaluation, and so denies; here it
//! is a line that a test shows.

use serde_json::{Map, Value};

use super::{FakeRequest, Question};
use crate::{Descriptor, Param, Policy, Verdict};

/// How many bytes of texts a verdict may carry.
pub const VERDICT_MAX_BYTES: usize = 16 * 1024;

/// Evaluates the policy.
///
/// # Errors
/// Its fault, or each way in which verdict and questions break the contract: a code, a signal or an
/// obligation that the descriptor does not declare, a placeholder without a value, a parameter
/// given twice, an attribute that the descriptor does not need, a verdict beyond its limits.
pub fn decide<P: Policy>(policy: &P, request: &FakeRequest) -> Result<Verdict, Vec<String>> {
    request.forget();
    let verdict = policy
        .evaluate(request)
        .map_err(|fault| vec![format!("fault {fault}")])?;
    let mut breaches = breaches(&P::DESCRIPTOR, &verdict);
    for question in request.questions() {
        if let Question::Attribute(name) = question
            && !P::DESCRIPTOR.needs.iter().any(|need| need.name == name)
        {
            breaches.push(format!(
                "attribute `{name}` is not listed in the descriptor's needs"
            ));
        }
    }
    if breaches.is_empty() {
        Ok(verdict)
    } else {
        Err(breaches)
    }
}

/// Checks a descriptor; call it in one test of every policy.
///
/// # Errors
/// Everything that the host, or a reader of its explanations, would not accept: a name that is not
/// `namespace:name`, a version that is not three numbers, an empty text, a code or name twice, a
/// schema that is not JSON or does not describe an object.
pub fn check_descriptor(descriptor: &Descriptor) -> Result<(), Vec<String>> {
    let mut wrong = Vec::new();
    let mut check = |holds: bool, message: String| {
        if !holds {
            wrong.push(message);
        }
    };
    let Descriptor {
        name,
        version,
        summary,
        settings_schema,
        ..
    } = *descriptor;
    let named = name.split(':').filter(|part| is_word(part)).count() == 2;
    check(
        named && name.matches(':').count() == 1,
        format!("name `{name}` is not `namespace:name`"),
    );
    let release = version.split(['-', '+']).next().unwrap_or(version);
    let numbers = release
        .split('.')
        .filter(|part| part.parse::<u64>().is_ok())
        .count();
    check(
        numbers == 3 && release.matches('.').count() == 2,
        format!("version `{version}` is not three numbers"),
    );
    check(!summary.is_empty(), "the summary is empty".to_owned());
    for reason in descriptor.reasons {
        let code = reason.code();
        check(
            code.split('.').all(is_word),
            format!("code `{code}` is not words joined by dots"),
        );
        check(
            !reason.text().is_empty(),
            format!("the text of `{code}` is empty"),
        );
        check(
            !reason.remedy().is_empty(),
            format!("the remedy of `{code}` is empty"),
        );
    }
    let codes = descriptor.reasons.iter().map(|reason| reason.code());
    let signals = descriptor.signals.iter().map(|signal| signal.as_str());
    let obligations = descriptor
        .obligations
        .iter()
        .map(|obligation| obligation.as_str());
    let needs = descriptor.needs.iter().map(|need| need.name);
    for twice in duplicates(codes).chain(duplicates(signals)) {
        check(false, format!("`{twice}` is declared twice"));
    }
    for twice in duplicates(obligations).chain(duplicates(needs)) {
        check(false, format!("`{twice}` is declared twice"));
    }
    let object =
        schema(settings_schema).is_some_and(|schema| schema.get("type") == Some(&"object".into()));
    check(
        settings_schema.is_empty() || object,
        "the settings schema is not a JSON Schema of an object".to_owned(),
    );
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// The defaults that the settings' schema documents: one for each property that has one. They
/// should be what the policy's settings are when none are given.
#[must_use]
pub fn schema_defaults(descriptor: &Descriptor) -> Value {
    let schema = schema(descriptor.settings_schema).unwrap_or_default();
    let mut defaults = Map::new();
    for (name, property) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Some(default) = property.get("default") {
            defaults.insert(name.clone(), default.clone());
        }
    }
    Value::Object(defaults)
}

fn schema(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

fn duplicates(names: impl Iterator<Item = &'static str>) -> impl Iterator<Item = &'static str> {
    let mut seen = std::collections::BTreeSet::new();
    names.filter(move |name| !seen.insert(*name))
}

/// Each way in which a verdict breaks the contract.
fn breaches(descriptor: &Descriptor, verdict: &Verdict) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut params: Vec<&[Param]> = Vec::new();
    if let Some(reason) = &verdict.reason {
        params.push(reason.params());
        match descriptor
            .reasons
            .iter()
            .find(|template| template.code() == reason.code())
        {
            None => breaches.push(format!("reason `{}` is not declared", reason.code())),
            Some(template) => breaches.extend(
                placeholders(template.text())
                    .filter(|name| reason.param(name).is_none())
                    .map(|name| format!("reason `{}` has no value for `{name}`", reason.code())),
            ),
        }
    }
    for signal in &verdict.signals {
        params.push(signal.params());
        if !descriptor
            .signals
            .iter()
            .any(|declared| declared.as_str() == signal.name())
        {
            breaches.push(format!("signal `{}` is not declared", signal.name()));
        }
    }
    for obligation in &verdict.obligations {
        params.push(obligation.params());
        if !descriptor
            .obligations
            .iter()
            .any(|name| name.as_str() == obligation.name())
        {
            breaches.push(format!(
                "obligation `{}` is not declared",
                obligation.name()
            ));
        }
    }
    if verdict.signals.len() > Verdict::SIGNALS_MAX {
        breaches.push(format!("more than {} signals", Verdict::SIGNALS_MAX));
    }
    if verdict.obligations.len() > Verdict::OBLIGATIONS_MAX {
        breaches.push(format!(
            "more than {} obligations",
            Verdict::OBLIGATIONS_MAX
        ));
    }
    for params in &params {
        breaches.extend(
            duplicates(params.iter().map(|(name, _)| *name))
                .map(|name| format!("parameter `{name}` is given twice")),
        );
    }
    let bytes: usize = params
        .concat()
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > VERDICT_MAX_BYTES {
        breaches.push(format!("more than {VERDICT_MAX_BYTES} bytes of parameters"));
    }
    breaches
}

/// The names in braces.
fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
}

#[cfg(test)]
mod tests;
