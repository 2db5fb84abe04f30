//! The pipeline, from an access request to a recorded decision.
//!
//! ```text
//! AccessRequest ─► credential ─► registry.lookup ─► policies.evaluate ─► combine ─► log.append
//!                  (hashed)      (its own gate)      (Verdict | Fault)    (deny      (Receipt)
//!                                                                          overrides)    │
//!                                                                                        ▼
//!                                                                                    Decision
//! ```

mod flood;

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::decision::id::IdSource;
use crate::decision::verdict::Evaluations;
use crate::decision::{Decision, DecisionRecord, Permission};
#[cfg(feature = "sqlite")]
use crate::governance::{follow::Follower, recorded::RecordError};
use crate::key::KeyId;
use crate::log::{AppendError, AppendErrorKind, Log, Published, Receipt, Reload};
use crate::policy::PolicySet;
use crate::registry::watch::KeyWatch;
use crate::registry::{KeyEntry, Refusal, Registry, gate};
use crate::request::AccessRequest;
use crate::rules::{Rules, Ruling};
use crate::timestamp::Timestamp;
use crate::usage::{KeyUsage, UsageCounters};

use flood::FloodLimit;

/// Decides access requests: the whole product for a gateway that embeds it. Shared by threads.
#[derive(Debug)]
pub struct Authorizer {
    registry: Box<dyn Registry>,
    rules: ArcSwap<Rules>,
    /// Held by a reload: the log tells them in the order in which they happen.
    reloading: Mutex<()>,
    log: Log,
    ids: IdSource,
    unknown_keys: Option<FloodLimit>,
    usage: UsageCounters,
}

/// What becomes of a count: made, or only looked at.
type Usage = fn(&UsageCounters, &KeyId, Timestamp) -> KeyUsage;

/// How many denials of requests whose credential names no key are recorded one by one in a second
/// of request time, unless [`Authorizer::with_unknown_keys_per_second`] says otherwise.
pub const UNKNOWN_KEYS_PER_SECOND_DEFAULT: u32 = 100;

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
        rules: Rules,
        (log, ids): (Log, IdSource),
    ) -> Result<Self, AppendError> {
        put_policies(&log, &rules.policies)?;
        log.sync()?;
        Ok(Self {
            registry,
            rules: ArcSwap::from_pointee(rules),
            reloading: Mutex::new(()),
            log,
            ids,
            unknown_keys: Some(FloodLimit::new(UNKNOWN_KEYS_PER_SECOND_DEFAULT)),
            usage: UsageCounters::new(),
        })
    }

    /// How many denials of requests whose credential names no key are recorded one by one in a
    /// second of request time; `None`: all of them, as for requests from a file, whose number is
    /// known. Those above are denied alike and counted, and the log says how many there were.
    #[must_use]
    pub fn with_unknown_keys_per_second(mut self, limit: Option<u32>) -> Self {
        self.unknown_keys = limit.map(FloodLimit::new);
        self
    }

    /// Decides and records. Total: whatever goes wrong is a denial with a reason, and nothing is
    /// allowed that is not in the log. Denials of a flood of requests whose credentials name no key
    /// are counted there and not recorded one by one
    /// ([`with_unknown_keys_per_second`](Self::with_unknown_keys_per_second)). The calling thread
    /// needs 512 KiB of stack.
    #[must_use]
    pub fn decide(&self, request: &AccessRequest) -> Decision {
        self.decide_with_key(request).0
    }

    /// As [`decide`](Self::decide), with the key that it is about; `None`: none, or one that the
    /// gate refused. The key may have ended since.
    #[must_use]
    pub fn decide_with_key(&self, request: &AccessRequest) -> (Decision, Option<Arc<KeyEntry>>) {
        match self.evaluate(request, UsageCounters::count) {
            (record, Err(refusal)) if self.is_flood(&refusal, record.time) => {
                (self.count(record, &refusal), None)
            }
            (record, entry) => (self.record(record, entry.as_deref().ok()), entry.ok()),
        }
    }

    /// What [`decide`](Self::decide) would record, without recording it or counting the use of the
    /// key. It authorises nothing: a gateway needs a [`Decision`], and there is none without a
    /// record.
    #[must_use]
    pub fn preview(&self, request: &AccessRequest) -> DecisionRecord {
        self.evaluate(request, UsageCounters::preview).0
    }

    /// Decides by other rules from here on, and records that. Requests that are being decided end
    /// by the rules that they began with. The new rules begin with nothing to reuse.
    ///
    /// # Errors
    /// When the log does not take the change: the rules are then what they were. Its entry may be
    /// found in the log all the same, as any that was refused.
    pub fn reload(&self, rules: Rules, now: Timestamp) -> Result<(), AppendError> {
        let _turn = self.reloading.lock();
        put_policies(&self.log, &rules.policies)?;
        self.log.append_reload(&Reload {
            time: now,
            previous: self.rules.load().policies.digest(),
            policy_set: rules.policies.digest(),
        })?;
        self.rules.store(Arc::new(rules));
        Ok(())
    }

    /// The rules that it decides by now.
    #[must_use]
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// A handle that is ready when a key ends, for whoever holds something open in its name;
    /// `None`: the registry does not tell.
    #[must_use]
    pub fn watch(&self, key: &KeyId) -> Option<KeyWatch> {
        self.registry.watch(key)
    }

    /// Whether what is known of the registry is too old to decide on: every key is refused, and
    /// nothing may be held open in the name of one.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.registry.is_stale()
    }

    /// Takes over what has changed in the registry, after the log has been told of it. Called by a
    /// host as often as a change may take to be in force.
    ///
    /// # Errors
    /// [`RecordError`]: suspensions and revocations are in force, and nothing else.
    #[cfg(feature = "sqlite")]
    pub fn follow(&self, follower: &mut Follower) -> Result<usize, RecordError> {
        follower.follow(&self.log)
    }

    /// Makes everything decided so far survive a power cut.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn sync(&self) -> Result<(), AppendError> {
        self.log.sync()
    }

    /// Ends it: makes everything durable and publishes it, as far as the disk takes it.
    #[must_use]
    pub fn close(self) -> Published {
        self.log.close()
    }

    fn evaluate(
        &self,
        request: &AccessRequest,
        usage: Usage,
    ) -> (DecisionRecord, Result<Arc<KeyEntry>, Refusal>) {
        let rules = self.rules.load();
        let entry = match request.problem() {
            Some(problem) => Err(Refusal::malformed(problem)),
            None => gate(request.presented(), &*self.registry),
        };
        let (key, ruling) = match &entry {
            Ok(entry) => {
                let key = entry.record().id;
                let usage = || usage(&self.usage, &key, request.time());
                (Some(key), rules.apply(request, entry, usage))
            }
            Err(refusal) => {
                let ruling = Ruling::denial(refusal.reason, refusal.detail);
                (refusal.key, ruling)
            }
        };
        let record = DecisionRecord {
            id: self.ids.next(request.time()),
            time: request.time(),
            request: request.id().cloned(),
            key,
            key_record: entry.as_ref().ok().map(|entry| entry.digest()),
            policy_set: rules.policies.digest(),
            permission: ruling.permission,
            reason: ruling.reason,
            detail: ruling.detail,
            evaluations: ruling.evaluations,
            client: request.client().cloned(),
        };
        (record, entry)
    }

    /// Whether a denial is one of too many in a second.
    fn is_flood(&self, refusal: &Refusal, time: Timestamp) -> bool {
        let is_over = |limit: &FloodLimit| refusal.names_no_key() && !limit.admits(time);
        self.unknown_keys.as_ref().is_some_and(is_over)
    }

    /// A denial by the gate, counted.
    fn count(&self, record: DecisionRecord, refusal: &Refusal) -> Decision {
        match self.log.count_denial(refusal.reason, record.time) {
            Ok(counted) => Decision::counted(record, counted),
            Err(error) => Decision::unrecorded(record, &error),
        }
    }

    fn record(&self, mut record: DecisionRecord, entry: Option<&KeyEntry>) -> Decision {
        let mut appended = self.append(&record, entry);
        let is_too_large = |error: &AppendError| error.kind() == AppendErrorKind::TooLarge;
        if appended.as_ref().is_err_and(is_too_large) {
            record.permission = Permission::Deny;
            record.reason = RECORD_TOO_LARGE.into();
            record.evaluations = Evaluations::default();
            appended = self.append(&record, entry);
        }
        match appended {
            Ok(receipt) => {
                if let (Permission::Allow, Some(key)) = (record.permission, &record.key) {
                    self.registry.note_use(key);
                }
                Decision::recorded(record, receipt)
            }
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
            let put = self.log.put_blob(entry.digest(), key_record);
            put.inspect_err(|error| self.log.count_refused(record.time, error))?;
        }
        self.log.append_decision(record)
    }
}

/// Puts into the log what a replay of a policy set's decisions needs.
fn put_policies(log: &Log, policies: &PolicySet) -> Result<(), AppendError> {
    for policy in policies.policies() {
        log.put_blob(policy.module_digest(), || &policy.spec().module)?;
    }
    log.put_blob(policies.digest(), || policies.manifest())
}
