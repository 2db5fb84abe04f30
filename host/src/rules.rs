//! What decides: the route table and the policy set, which are replaced together.

use std::sync::Arc;

use smol_str::SmolStr;

use crate::decision::verdict::{Evaluated, Evaluations};
use crate::decision::{Permission, combine};
use crate::facts::FactsView;
use crate::policy::PolicySet;
use crate::registry::KeyEntry;
use crate::request::AccessRequest;
use crate::route::RouteTable;
use crate::route::path::PathRefusal;
use crate::usage::KeyUsage;

/// A route table and a policy set.
#[derive(Debug)]
pub struct Rules {
    /// Which scope an operation needs.
    pub routes: RouteTable,
    /// Who is asked.
    pub policies: PolicySet,
}

/// What rules come to for one request.
pub(crate) struct Ruling {
    pub(crate) permission: Permission,
    pub(crate) reason: SmolStr,
    pub(crate) detail: Option<Arc<str>>,
    /// Empty when no policy was asked.
    pub(crate) evaluations: Evaluations,
}

impl Rules {
    /// Maps the route, asks every policy, combines. The key is fit to be used. `usage` is called at
    /// most once, and only where a policy may ask for it.
    pub(crate) fn apply(
        &self,
        request: &AccessRequest,
        entry: &KeyEntry,
        usage: impl FnOnce() -> KeyUsage,
    ) -> Ruling {
        let mut facts = match self.facts(request, entry) {
            Ok(facts) => facts,
            Err(refusal) => return Ruling::denial(refusal.reason(), Some(refusal.as_str())),
        };
        let usage = self.policies.needs_usage().then(usage);
        facts.usage = usage.as_ref();
        let evaluations = self.policies.evaluate(facts);
        let combine = |evaluations: &[Evaluated]| combine(self.policies.outcomes(evaluations));
        let combined = evaluations.combined(combine);
        Ruling {
            permission: combined.permission,
            reason: combined.reason,
            detail: None,
            evaluations,
        }
    }

    /// What the policies may ask about. The caller's own required scope stands before the route's,
    /// not before what the route says of the path.
    fn facts<'a>(
        &'a self,
        request: &'a AccessRequest,
        entry: &'a KeyEntry,
    ) -> Result<FactsView<'a>, PathRefusal> {
        let path = request.path()?;
        let (method, host) = (request.method(), request.host());
        let route = self.routes.required_scope(method, host, path)?;
        Ok(FactsView {
            request,
            path,
            key: entry.record(),
            required_scope: request.required_scope().or(route.scope),
            usage: None,
        })
    }
}

impl Ruling {
    /// A denial without asking a policy.
    pub(crate) fn denial(reason: &str, detail: Option<&str>) -> Self {
        Self {
            permission: Permission::Deny,
            reason: reason.into(),
            detail: detail.map(Into::into),
            evaluations: Evaluations::default(),
        }
    }
}
