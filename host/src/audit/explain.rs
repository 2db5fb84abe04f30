//! Why a decision was what it was, for a person: which policy decided, what each asked and was
//! told, and what the key's owner can do. From the log folder alone.

use super::sets::{key_record, manifest};
use crate::decision::reasons::host_reason;
use crate::decision::verdict::{Effect, Evaluated, Outcome, Params};
use crate::decision::{DecisionRecord, combine};
use crate::key::KeyRecord;
use crate::log::LogReader;
use crate::policy::{Descriptor, Manifest, ManifestPolicy};

/// A decision explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The key record that it was decided on, when there was one.
    pub key: Option<KeyRecord>,
    /// What happened, in a sentence.
    pub text: String,
    /// What the key's owner can do about it; `None` for an allow.
    pub remedy: Option<String>,
    /// Each policy's part, in the order of the set; empty when the host's own gate denied.
    pub policies: Vec<PolicyExplanation>,
    /// What the log folder lacks or holds damaged, so that the explanation is not whole.
    pub missing: Vec<String>,
}

/// One policy's part in a decision.
#[derive(Clone, Debug)]
pub struct PolicyExplanation {
    /// Its name in the set, and the module's own name and version.
    pub title: String,
    /// Whether its answer made the decision.
    pub decided: bool,
    /// Whether it only watched.
    pub shadow: bool,
    /// `allow`, `deny`, `abstain` or `fault`.
    pub effect: &'static str,
    /// The code of its reason, or the kind of its fault.
    pub reason: String,
    /// What that means.
    pub text: String,
    /// What the key's owner can do about it, where the policy says so.
    pub remedy: Option<String>,
    /// What it asked and was told, in order.
    pub steps: Vec<(String, String)>,
    /// What it raised and imposed.
    pub notes: Vec<String>,
    /// The fuel that it used.
    pub fuel: u64,
    /// Whether it was evaluated for an earlier request of the key that it could not tell from this
    /// one.
    pub reused: bool,
}

/// Explains a decision. What the log folder lacks is said in the explanation itself, and what there
/// is is explained without it.
#[must_use]
pub fn explain(reader: &LogReader, record: &DecisionRecord) -> Explanation {
    let mut missing = Vec::new();
    let key = record.key_record.and_then(|digest| {
        let read = key_record(reader, digest).map_err(|reason| format!("the key record: {reason}"));
        read.map_err(|reason| missing.push(reason)).ok()
    });
    let manifest = if record.evaluations.is_empty() {
        None
    } else {
        let read = manifest(reader, record.policy_set);
        read.map_err(|reason| missing.push(format!("the policy set: {reason}")))
            .ok()
    };
    let policies = manifest.map_or_else(Vec::new, |manifest| explain_set(&manifest, record));
    let decider = policies.iter().find(|policy| policy.decided);
    let (text, remedy) = match (host_reason(&record.reason), decider) {
        (None, Some(policy)) => (policy.text.clone(), policy.remedy.clone()),
        (Some(host), _) => (host.text.to_owned(), Some(host.remedy.to_owned())),
        (None, None) => (String::new(), None),
    };
    Explanation {
        key,
        text,
        remedy,
        policies,
        missing,
    }
}

fn explain_set(manifest: &Manifest, record: &DecisionRecord) -> Vec<PolicyExplanation> {
    let outcomes = manifest.policies.iter().zip(&*record.evaluations);
    let decided_by = combine(
        outcomes
            .clone()
            .map(|(policy, e)| (policy.mode, &e.evaluation.outcome)),
    )
    .decided_by;
    let explain =
        |(index, (policy, evaluated))| explain_policy(policy, evaluated, decided_by == Some(index));
    outcomes.enumerate().map(explain).collect()
}

fn explain_policy(
    policy: &ManifestPolicy,
    evaluated: &Evaluated,
    decided: bool,
) -> PolicyExplanation {
    let evaluation = &evaluated.evaluation;
    let Descriptor { name, version, .. } = &policy.descriptor;
    let steps = evaluation.trace.steps.iter();
    let mut explanation = PolicyExplanation {
        title: format!("{} ({name} {version})", policy.name),
        decided,
        shadow: policy.mode == crate::decision::Mode::Shadow,
        effect: "fault",
        reason: String::new(),
        text: String::new(),
        remedy: None,
        steps: steps.map(|(q, a)| (q.to_string(), a.to_string())).collect(),
        notes: Vec::new(),
        fuel: evaluation.fuel,
        reused: evaluated.is_reused,
    };
    match &evaluation.outcome {
        Outcome::Fault(fault) => {
            fault.kind.as_str().clone_into(&mut explanation.reason);
            explanation.text.clone_from(&fault.detail);
        }
        Outcome::Verdict(verdict) => {
            explanation.effect = verdict.effect.as_str();
            if let Some(reason) = &verdict.reason {
                reason.code.as_str().clone_into(&mut explanation.reason);
                if let Some(template) = policy.descriptor.reason(&reason.code) {
                    explanation.text = render(&template.text, &reason.params);
                    let denied = verdict.effect == Effect::Deny;
                    let remedy = || render(&template.remedy, &reason.params);
                    explanation.remedy = (denied && !template.remedy.is_empty()).then(remedy);
                }
            }
            let note = |kind: &str, name: &str, params: &Params| {
                let params: String = params.iter().map(|(n, v)| format!(", {n} {v}")).collect();
                format!("{kind} {name}{params}")
            };
            let signals = verdict
                .signals
                .iter()
                .map(|s| note("signal", &s.name, &s.params));
            let obligations = verdict
                .obligations
                .iter()
                .map(|o| note("obligation", &o.name, &o.params));
            explanation.notes = signals.chain(obligations).collect();
        }
    }
    explanation
}

/// Fills a template: `{name}` stands for the parameter of that name, and stays where there is none.
fn render(template: &str, params: &Params) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let value = after.split_once('}').and_then(|(name, after)| {
            let (_, value) = params.iter().find(|(param, _)| param == name)?;
            Some((value, after))
        });
        match value {
            Some((value, after)) => {
                text.push_str(value);
                rest = after;
            }
            None => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_what_it_knows_and_leaves_the_rest() {
        let params = vec![("grant".to_owned(), "a:{x}".to_owned())];
        for (template, text) in [
            ("covered by {grant}", "covered by a:{x}"),
            ("{grant}{grant}", "a:{x}a:{x}"),
            ("{other} and {", "{other} and {"),
            ("", ""),
        ] {
            assert_eq!(render(template, &params), text);
        }
    }
}
