//! Which of a key's grants its requests have needed, and what would have been enough.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::window::decisions;
use super::{AuditError, Coverage};
use crate::decision::trace::{Answer, Question};
use crate::decision::verdict::{Effect, Verdict};
use crate::decision::{DecisionRecord, Permission};
use crate::key::KeyRecord;
use crate::key::grant::Implications;
use crate::log::LogReader;
use crate::timestamp::Timestamp;

/// The reason with which the scope policy allows.
const GRANTED: &str = "scope.granted";
/// Its parameter: the grant that covered the request.
const GRANT: &str = "grant";

/// What a key was granted, and what its requests have needed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeUsage {
    /// Since when the log tells.
    pub coverage: Coverage,
    /// Each grant of the key, in its order.
    pub grants: Vec<GrantUsage>,
    /// How many requests were allowed.
    pub allowed: u64,
    /// How many of them needed something that the key is no longer granted.
    pub no_longer_granted: u64,
    /// How many of them do not say what they needed.
    pub unknown: u64,
    /// The grants that would have been enough, in the order of the grants that they are within.
    pub narrower: Vec<String>,
}

/// One grant, and its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantUsage {
    /// The grant.
    pub grant: Arc<str>,
    /// How many requests it covered.
    pub count: u64,
    /// When it did last.
    pub last: Option<Timestamp>,
    /// The scopes that they required.
    pub required: BTreeSet<Arc<str>>,
}

/// Which grants of a key its allowed requests have needed from a time on, one action implying
/// another as said.
///
/// # Errors
/// [`AuditError`] when the log cannot be read up to its end.
pub fn scope_usage(
    reader: &LogReader,
    (key, from): (&KeyRecord, Timestamp),
    implications: &Implications,
) -> Result<ScopeUsage, AuditError> {
    let mut tally = Tally::new(&key.scopes);
    let coverage = decisions(reader, (from, Some(key.issued_at)), |_, record| {
        let is_of_key = record.key == Some(key.id) && record.time >= from;
        if is_of_key && record.permission == Permission::Allow {
            tally.add(&record, implications);
        }
    })?;
    let narrower = narrower(&tally.grants, implications);
    Ok(ScopeUsage {
        coverage,
        allowed: tally.allowed,
        no_longer_granted: tally.no_longer_granted,
        unknown: tally.unknown,
        grants: tally.grants,
        narrower,
    })
}

impl ScopeUsage {
    /// Whether something can be taken away, and something is left.
    #[must_use]
    pub fn is_narrower(&self) -> bool {
        let grants = self.grants.iter().map(|it| &*it.grant);
        !self.narrower.is_empty() && !grants.eq(self.narrower.iter().map(String::as_str))
    }
}

struct Tally {
    grants: Vec<GrantUsage>,
    allowed: u64,
    no_longer_granted: u64,
    unknown: u64,
}

impl Tally {
    fn new(grants: &[Arc<str>]) -> Self {
        let unused = |grant: &Arc<str>| GrantUsage {
            grant: Arc::clone(grant),
            count: 0,
            last: None,
            required: BTreeSet::new(),
        };
        Self {
            grants: grants.iter().map(unused).collect(),
            allowed: 0,
            no_longer_granted: 0,
            unknown: 0,
        }
    }

    fn add(&mut self, record: &DecisionRecord, implications: &Implications) {
        self.allowed = self.allowed.saturating_add(1);
        let Some((named, required)) = needed(record) else {
            self.unknown = self.unknown.saturating_add(1);
            return;
        };
        // The grants may have been others then; what covers it now counts.
        let is_named = |it: &GrantUsage| named == Some(&*it.grant);
        let index = self.grants.iter().position(is_named).or_else(|| {
            let covers_it = |it: &GrantUsage| implications.covers(&it.grant, &required);
            self.grants.iter().position(covers_it)
        });
        match index.and_then(|index| self.grants.get_mut(index)) {
            None => self.no_longer_granted = self.no_longer_granted.saturating_add(1),
            Some(usage) => {
                usage.count = usage.count.saturating_add(1);
                usage.last = usage.last.max(Some(record.time));
                usage.required.insert(required);
            }
        }
    }
}

/// The grant that covered a request, as far as it is named, and the scope that was required.
fn needed(record: &DecisionRecord) -> Option<(Option<&str>, Arc<str>)> {
    let evaluations = record.evaluations.iter().map(|it| &*it.evaluation);
    let found: Vec<_> = evaluations
        .filter_map(|evaluation| {
            let grant = evaluation.outcome.verdict().and_then(granted);
            let mut steps = evaluation.trace.steps.iter();
            steps.find_map(|step| match step {
                (Question::RequiredScope, Answer::Text(scope)) => Some((grant, Arc::clone(scope))),
                _ => None,
            })
        })
        .collect();
    let named = found.iter().find(|(grant, _)| grant.is_some());
    named.or(found.first()).cloned()
}

fn granted(verdict: &Verdict) -> Option<&str> {
    let reason = verdict.reason.as_ref()?;
    let is_grant = verdict.effect == Effect::Allow && reason.code == GRANTED;
    let params = reason.params.iter().filter(|_| is_grant);
    let mut grants = params.filter(|(name, _)| name == GRANT);
    grants.next().map(|(_, grant)| grant.as_str())
}

/// Of each grant what was required of it, where that is shown to be within it; otherwise the grant.
fn narrower(grants: &[GrantUsage], implications: &Implications) -> Vec<String> {
    let mut narrower: Vec<String> = Vec::new();
    let mut add = |grant: &str| {
        if !narrower.iter().any(|it| it == grant) {
            narrower.push(grant.to_owned());
        }
    };
    for usage in grants {
        for required in &usage.required {
            // What other settings of a policy made it cover is not within it now.
            let is_within = implications.covers(&usage.grant, required);
            add(if is_within { required } else { &usage.grant });
        }
    }
    narrower
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(grant: &str, required: &[&str]) -> GrantUsage {
        GrantUsage {
            grant: grant.into(),
            count: required.len() as u64,
            last: None,
            required: required.iter().map(|it| (*it).into()).collect(),
        }
    }

    #[test]
    fn what_is_left_is_what_was_required() {
        for (grants, expected) in [
            (
                &[("a:*", &["a:read"][..]), ("b:read", &[])][..],
                &["a:read"][..],
            ),
            // The order of the grants stays, and nothing stands twice.
            (
                &[("b:read", &["b:read"]), ("a:write", &["a:read", "a:write"])],
                &["b:read", "a:read", "a:write"],
            ),
            (
                &[("*:*", &["a:read"]), ("a:read", &["a:read"])],
                &["a:read"],
            ),
            // Only other settings of a policy made it cover that.
            (&[("a:manage", &["a:read"])], &["a:manage"]),
            (&[("a:read", &[])], &[]),
        ] {
            let usages: Vec<_> = grants.iter().map(|(it, req)| usage(it, req)).collect();
            let narrower = narrower(&usages, &Implications::standard());
            assert_eq!(narrower, expected, "{grants:?}");
        }
        let written = [usage("a:write", &["a:read"])];
        assert_eq!(narrower(&written, &Implications::standard()), ["a:read"]);
        assert_eq!(narrower(&written, &Implications::default()), ["a:write"]);
    }

    proptest! {
        /// It grants nothing more than before, and all that was required of what covers it.
        #[test]
        fn it_is_within_the_grants_and_enough(
            grants in proptest::collection::vec("[ab](\\.[ab*])?:(read|write|\\*)", 1..4),
            required in proptest::collection::vec("[ab](\\.[ab])?:(read|write)", 0..6),
        ) {
            let implied = Implications::standard();
            let mut usages: Vec<_> = grants.iter().map(|it| usage(it, &[])).collect();
            for scope in &required {
                let mut covering = usages.iter_mut();
                if let Some(usage) = covering.find(|it| implied.covers(&it.grant, scope)) {
                    usage.required.insert(scope.as_str().into());
                }
            }
            let narrower = narrower(&usages, &implied);
            let texts = || narrower.iter().map(String::as_str);
            prop_assert!(implied.are_covered(texts(), &grants));
            for scope in usages.iter().flat_map(|it| &it.required) {
                prop_assert!(texts().any(|grant| implied.covers(grant, scope)));
            }
        }
    }
}
