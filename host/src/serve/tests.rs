//! An authorizer for the tests of this module.

use std::path::Path;

use crate::authorizer::Authorizer;
use crate::decision::Mode;
use crate::decision::id::IdSource;
use crate::log::{Log, LogOptions};
use crate::policy::{ENGINE, Engine, Limits, Policy, PolicySet, PolicySpec};
use crate::registry::Registry;
use crate::route::{Route, RouteTable};
use crate::rules::Rules;
use crate::timestamp::Timestamp;

/// The time of the tests.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// An authorizer with the scope policy, and a route for `GET /inventory/{item}`.
pub(super) fn authorizer(folder: &Path, registry: Box<dyn Registry>) -> Authorizer {
    let spec = PolicySpec {
        name: "scope".into(),
        mode: Mode::Enforce,
        module: keyward_policies::SCOPE.into(),
        settings: "{}".into(),
        limits: Limits::default(),
    };
    let policy = Policy::load(&Engine::new(None).unwrap(), spec).unwrap();
    let policies = PolicySet::new(vec![policy]).unwrap();
    let options = LogOptions {
        origin: "keyward.example/serve".to_owned(),
        engine: ENGINE.to_owned(),
        policy_set: policies.digest(),
        ..LogOptions::default()
    };
    let log = Log::create(&folder.join("log"), options, NOW).unwrap();
    let route = Route {
        methods: vec!["GET".to_owned()],
        path: "/inventory/{item}".to_owned(),
        scope: "inventory:read".to_owned(),
        ..Route::default()
    };
    let rules = Rules {
        routes: RouteTable::new(&[route]).unwrap(),
        policies,
    };
    Authorizer::new(registry, rules, (log, IdSource::new([1; 10]))).unwrap()
}
