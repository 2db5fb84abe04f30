//! The pipeline, from an access request to a recorded decision.
//!
//! ```text
//! AccessRequest ─► credential ─► registry.lookup ─► policies.evaluate ─► combine ─► log.append
//!                  (hashed)      (its own gate)      (Verdict | Fault)    (deny      (Receipt)
//!                                                                          overrides)    │
//!                                                                                        ▼
//!                                                                                    Decision
//! ```

use std::sync::Arc;

use crate::decision::id::IdSource;
use crate::decision::{Decision, DecisionRecord, Permission, combine};
use crate::facts::Facts;
use crate::log::{AppendError, AppendErrorKind, Log, Receipt};
use crate::policy::PolicySet;
use crate::registry::{KeyEntry, Registry, gate};
use crate::request::AccessRequest;
use crate::route::RouteTable;
use crate::route::path::PathRefusal;

/// Decides access requests: the whole product for a gateway that embeds it. Shared by threads.
#[derive(Debug)]
pub struct Authorizer {
    registry: Box<dyn Registry>,
    routes: RouteTable,
    policies: PolicySet,
    log: Log,
    ids: IdSource,
}

/// The reason of a decision whose record would be larger than the log takes.
pub const RECORD_TOO_LARGE: &str = "log.record-too-large";

impl Authorizer {
    /// An authorizer. The log gets what a replay of its decisions will need: the modules of the
    /// policy set and its manifest.
    ///
    /// # Errors
    /// When the log cannot take them.
    pub fn new(
        registry: Box<dyn Registry>,
        routes: RouteTable,
        policies: PolicySet,
        (log, ids): (Log, IdSource),
    ) -> Result<Self, AppendError> {
        for policy in policies.policies() {
            log.put_blob(policy.module_digest(), || &policy.spec().module)?;
        }
        log.put_blob(policies.digest(), || policies.manifest())?;
        log.sync()?;
        Ok(Self {
            registry,
            routes,
            policies,
            log,
            ids,
        })
    }

    /// Decides and records. Total: whatever goes wrong is a denial with a reason, and nothing is
    /// allowed that is not in the log. The calling thread needs 512 KiB of stack.
    #[must_use]
    pub fn decide(&self, request: &AccessRequest) -> Decision {
        match gate(request.presented(), &*self.registry) {
            Ok(entry) => self.record(self.evaluate(request, &entry), Some(&entry)),
            Err(refusal) => {
                let mut record = self.blank(request);
                record.reason = refusal.reason.into();
                record.detail = refusal.detail.map(Into::into);
                record.key = refusal.key;
                self.record(record, None)
            }
        }
    }

    /// The policies that it asks.
    #[must_use]
    pub const fn policies(&self) -> &PolicySet {
        &self.policies
    }

    /// Makes everything decided so far survive a power cut.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&self) -> Result<(), AppendError> {
        self.log.sync()
    }

    /// Maps the route, asks every policy, combines.
    fn evaluate(&self, request: &AccessRequest, entry: &KeyEntry) -> DecisionRecord {
        let mut record = self.blank(request);
        record.key = Some(entry.record().id.as_str().into());
        record.key_record = Some(entry.digest());
        let facts = match self.facts(request, entry) {
            Ok(facts) => Arc::new(facts),
            Err(refusal) => {
                record.reason = refusal.reason().into();
                record.detail = Some(refusal.as_str().into());
                return record;
            }
        };
        record.evaluations = self.policies.evaluate(|| Box::new(Arc::clone(&facts)));
        let combined = combine(self.policies.outcomes(&record.evaluations));
        record.permission = combined.permission;
        record.reason = combined.reason;
        record
    }

    /// What the policies may ask about. The caller's own required scope stands before the route's,
    /// not before what the route says of the path.
    fn facts(&self, request: &AccessRequest, entry: &KeyEntry) -> Result<Facts, PathRefusal> {
        let path = request.path()?.clone();
        let (method, host) = (request.method(), request.host());
        let route = self.routes.required_scope(method, host, &path)?;
        let required_scope = request.required_scope().cloned().or(route.scope);
        let key = Arc::clone(entry.record());
        Ok(Facts {
            request: request.clone(),
            path,
            key,
            required_scope,
        })
    }

    /// A denial that only lacks its reason.
    fn blank(&self, request: &AccessRequest) -> DecisionRecord {
        let id = self.ids.next(request.time());
        let request_id = request.id().cloned();
        DecisionRecord::denial(id, request.time(), request_id, self.policies.digest())
    }

    fn record(&self, mut record: DecisionRecord, entry: Option<&KeyEntry>) -> Decision {
        let mut appended = self.append(&record, entry);
        let is_too_large = |error: &AppendError| error.kind() == AppendErrorKind::TooLarge;
        if appended.as_ref().is_err_and(is_too_large) {
            record.permission = Permission::Deny;
            record.reason = RECORD_TOO_LARGE.into();
            record.evaluations.clear();
            appended = self.append(&record, entry);
        }
        match appended {
            Ok(receipt) => Decision::recorded(record, receipt),
            Err(error) => Decision::unrecorded(record, &error),
        }
    }

    fn append(
        &self,
        record: &DecisionRecord,
        entry: Option<&KeyEntry>,
    ) -> Result<Receipt, AppendError> {
        if let Some(entry) = entry {
            let key_record = || entry.record().to_canonical_json();
            self.log.put_blob(entry.digest(), key_record)?;
        }
        self.log.append_decision(record)
    }
}
