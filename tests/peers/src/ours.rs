//! keyward itself: the three standard policies as their components.
//!
//! It does more than the other rows: all three policies have their say also after a denial, every
//! verdict has its parameters and signals, and what was asked is in the trace.

use std::sync::Arc;

use keyward::authorizer::Authorizer;
use keyward::credential::Presented;
use keyward::decision::id::IdSource;
use keyward::decision::{DecisionRecord, LOG_UNAVAILABLE, Mode, Permission};
use keyward::key::json::{KeyOptions, read_keys};
use keyward::log::{Log, LogOptions};
use keyward::policy::{ENGINE, Engine, Limits, Policy, PolicySet, PolicySpec, ReuseOptions};
use keyward::registry::memory::{MemoryLoader, MemoryRegistry};
use keyward::request::{AccessRequest, RequestParts};
use keyward::route::RouteTable;
use keyward::rules::Rules;
use keyward::timestamp::Timestamp;
use tempfile::TempDir;

use crate::peer::{Answer, Peer};
use crate::settings::KEYWARD;
use crate::workload::{Request, Workload};

/// How often a slow disk is waited for, a second or so each time.
const TRIES_MAX: u32 = 60;

/// An authorizer with its log. Shared by threads.
pub(crate) struct Host {
    authorizer: Authorizer,
    _folder: TempDir,
}

/// Decides without recording.
pub(crate) struct Unrecorded {
    pub(crate) host: Arc<Host>,
    pub(crate) requests: Arc<[AccessRequest]>,
}

/// The same, and the access request is made from its parts within the measurement.
pub(crate) struct FromParts(pub(crate) Arc<Host>);

/// The same, and begins each pass over the requests with nothing to reuse.
pub(crate) struct FromEmpty(pub(crate) Unrecorded);

/// The decision is in the log before it is answered. Entries outlive the process; the disk has them
/// within 50 ms.
pub(crate) struct Recorded {
    pub(crate) host: Arc<Host>,
    pub(crate) requests: Arc<[AccessRequest]>,
}

impl Host {
    /// With the three standard policies.
    pub(crate) fn new(engine: &Engine, registry: MemoryRegistry, options: ReuseOptions) -> Self {
        Self::with(registry, policies(engine).with_reuse(options))
    }

    /// With any policies.
    pub(crate) fn with(registry: MemoryRegistry, policies: PolicySet) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = LogOptions {
            origin: "keyward.example/peers".to_owned(),
            engine: ENGINE.to_owned(),
            policy_set: policies.digest(),
            ..LogOptions::default()
        };
        let log = Log::create(folder.path(), options, Timestamp::from_millis(0)).unwrap();
        let rules = Rules {
            routes: RouteTable::default(),
            policies,
        };
        let record = (log, IdSource::new([0; 10]));
        Self {
            authorizer: Authorizer::new(Box::new(registry), rules, record).unwrap(),
            _folder: folder,
        }
    }

    pub(crate) fn unrecorded(&self, request: &AccessRequest) -> Answer {
        answer(&self.authorizer.preview(request))
    }

    /// Whether each policy says the same as another host's, parameters and signals included.
    pub(crate) fn agrees(&self, other: &Self, request: &AccessRequest) -> bool {
        let outcomes = |host: &Self| {
            let record = host.authorizer.preview(request);
            let evaluations = record.evaluations.iter();
            evaluations
                .map(|it| it.evaluation.outcome.clone())
                .collect::<Vec<_>>()
        };
        outcomes(self) == outcomes(other)
    }

    /// A disk that is slow for a second denies for that second: here it gets the time it needs.
    pub(crate) fn recorded(&self, request: &AccessRequest) -> Answer {
        let mut decision = self.authorizer.decide(request);
        for _ in 1..TRIES_MAX {
            if &*decision.record().reason != LOG_UNAVAILABLE {
                break;
            }
            decision = self.authorizer.decide(request);
        }
        answer(decision.record())
    }
}

fn answer(record: &DecisionRecord) -> Answer {
    let is_allowed = record.permission == Permission::Allow;
    Answer::shared(is_allowed, record.reason.clone())
}

impl Peer for Unrecorded {
    fn decide(&mut self, request: &Request) -> Answer {
        self.host.unrecorded(&self.requests[request.index])
    }
}

impl Peer for FromParts {
    fn decide(&mut self, request: &Request) -> Answer {
        self.0.unrecorded(&access_request(request))
    }
}

impl Peer for FromEmpty {
    fn decide(&mut self, request: &Request) -> Answer {
        self.0.decide(request)
    }

    fn pass(&mut self, requests: &[Request]) {
        self.0.host.authorizer.rules().policies.forget();
        self.0.pass(requests);
    }
}

impl Peer for Recorded {
    fn decide(&mut self, request: &Request) -> Answer {
        self.host.recorded(&self.requests[request.index])
    }
}

/// A registry of the workload's keys.
pub(crate) fn registry(workload: &Workload) -> MemoryRegistry {
    let mut loader = MemoryLoader::default();
    add(&mut loader, &workload.key_lines);
    loader.finish()
}

/// Adds keys, one to a line of JSON.
pub(crate) fn add(loader: &mut MemoryLoader, lines: &str) {
    for key in read_keys(lines.as_bytes(), KeyOptions::default()).unwrap() {
        loader.add(key).unwrap();
    }
}

/// The access requests as an adapter of a gateway makes them.
pub(crate) fn access_requests(requests: &[Request]) -> Arc<[AccessRequest]> {
    requests.iter().map(access_request).collect()
}

fn access_request(request: &Request) -> AccessRequest {
    let presented = Presented::KeyId(request.key.as_str().into());
    let (method, path) = (request.method.as_str(), request.path.as_str());
    let mut parts = RequestParts::new(request.time, presented, method, path);
    parts.host.clone_from(&request.host);
    parts.source = request.source;
    parts.required_scope.clone_from(&request.scope);
    AccessRequest::new(parts).unwrap()
}

fn policies(engine: &Engine) -> PolicySet {
    let policy =
        |(name, module, settings): (&str, &[u8], &str)| policy(engine, (name, module, settings));
    PolicySet::new(KEYWARD.map(policy).into()).unwrap()
}

/// A policy with limits that a module in any language keeps to.
pub(crate) fn policy(engine: &Engine, (name, module, settings): (&str, &[u8], &str)) -> Policy {
    let spec = PolicySpec {
        name: name.into(),
        mode: Mode::Enforce,
        module: module.into(),
        settings: settings.into(),
        limits: Limits {
            fuel: 10_000_000,
            ..Limits::default()
        },
    };
    Policy::load(engine, spec).unwrap()
}
