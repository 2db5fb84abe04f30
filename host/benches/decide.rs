//! What a decision costs: one policy evaluated afresh, all three, with the record, and the same
//! three checks as plain Rust in the same run as the baseline.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot start has nothing to measure"
)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use keyward::authorizer::Authorizer;
use keyward::credential::Presented;
use keyward::decision::Mode;
use keyward::decision::id::IdSource;
use keyward::facts::Facts;
use keyward::key::json::{KeyOptions, read_keys};
use keyward::log::{Log, LogOptions};
use keyward::policy::{ENGINE, Engine, Limits, Policy, PolicySet, PolicySpec};
use keyward::registry::memory::MemoryRegistry;
use keyward::request::{AccessRequest, RequestParts};
use keyward::route::{Route, RouteTable};
use keyward::timestamp::Timestamp;
use keyward_policy::Policy as _;
use native::Native;

#[path = "../../tests/native.rs"]
mod native;

const KEY: &str = r#"{"id":"k7Qp2mXw9LaR","owner":"sync","issued_at":"2026-11-01T00:00:00Z",
"rotate_by":"2027-01-15T00:00:00Z","expires_at":"2027-01-30T00:00:00Z",
"scopes":["orders:read","inventory:read"],"allowed_networks":["203.0.113.0/24","2001:db8::/32"]}"#;
const MODULES: [(&str, &[u8]); 3] = [
    ("scope", keyward_policies::SCOPE),
    ("rotation", keyward_policies::ROTATION),
    ("ip", keyward_policies::IP),
];

fn keys() -> Vec<keyward::key::json::CheckedKey> {
    read_keys(KEY.replace('\n', "").as_bytes(), KeyOptions::default()).unwrap()
}

fn policies(engine: &Engine) -> Vec<Policy> {
    let policy = |(name, module): (&str, &[u8])| {
        let spec = PolicySpec {
            name: name.into(),
            mode: Mode::Enforce,
            module: module.into(),
            settings: "{}".into(),
            limits: Limits::default(),
        };
        Policy::load(engine, spec).unwrap()
    };
    MODULES.map(policy).into()
}

fn request() -> AccessRequest {
    let time = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
    let presented = Presented::KeyId("k7Qp2mXw9LaR".into());
    let mut parts = RequestParts::new(time, presented, "GET", "/inventory/42");
    parts.host = "api.example.com".to_owned();
    parts.source = Some("203.0.113.9".parse().unwrap());
    AccessRequest::new(parts).unwrap()
}

fn facts() -> Arc<Facts> {
    let request = request();
    let path = request.path().unwrap().clone();
    let key = Arc::new(keys().pop().unwrap().into_parts().0);
    Arc::new(Facts {
        request,
        path,
        key,
        required_scope: Some("inventory:read".into()),
    })
}

/// The checks as plain Rust: what the sandbox is compared with.
fn native(c: &mut Criterion) {
    let scope = keyward_scope::ScopePolicy::configure(Default::default()).unwrap();
    let rotation = keyward_rotation::RotationPolicy::configure(Default::default()).unwrap();
    let ip = keyward_ip::IpPolicy::configure(Default::default()).unwrap();
    native_one(c, "scope", &scope);
    native_one(c, "rotation", &rotation);
    native_one(c, "ip", &ip);
    let facts = facts();
    c.bench_function("three policies, native Rust", |b| {
        b.iter(|| {
            let native = Native::new(Arc::clone(&facts));
            let verdicts = (
                scope.evaluate(&native).unwrap(),
                rotation.evaluate(&native).unwrap(),
                ip.evaluate(&native).unwrap(),
            );
            black_box((verdicts, native.into_trace()))
        });
    });
}

fn native_one(c: &mut Criterion, name: &str, policy: &impl keyward_policy::Policy) {
    let facts = facts();
    c.bench_function(&format!("one policy, native Rust, {name}"), |b| {
        b.iter(|| {
            let native = Native::new(Arc::clone(&facts));
            black_box((policy.evaluate(&native).unwrap(), native.into_trace()))
        });
    });
}

fn evaluate(c: &mut Criterion) {
    let engine = Engine::new(None).unwrap();
    let policies = policies(&engine);
    let facts = facts();
    for policy in &policies {
        c.bench_function(&format!("one policy afresh, {}", policy.spec().name), |b| {
            b.iter(|| black_box(policy.evaluate(Box::new(Arc::clone(&facts)))));
        });
    }
    c.bench_function("three policies afresh", |b| {
        b.iter(|| {
            for policy in &policies {
                black_box(policy.evaluate(Box::new(Arc::clone(&facts))));
            }
        });
    });
}

fn decide(c: &mut Criterion) {
    let engine = Engine::new(None).unwrap();
    let set = PolicySet::new(policies(&engine)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        origin: "keyward.example/bench".to_owned(),
        engine: ENGINE.to_owned(),
        policy_set: set.digest(),
        ..LogOptions::default()
    };
    let log = Log::open(folder.path(), options, Timestamp::from_millis(0)).unwrap();
    let registry = Box::new(MemoryRegistry::new(keys()).unwrap());
    let route = Route {
        methods: vec!["GET".to_owned()],
        path: "/inventory/{item}".to_owned(),
        scope: "inventory:read".to_owned(),
        ..Route::default()
    };
    let routes = RouteTable::new(&[route]).unwrap();
    let authorizer = Authorizer::new(registry, routes, set, (log, IdSource::new([0; 10]))).unwrap();
    let request = request();
    c.bench_function("decision of three with the record", |b| {
        b.iter(|| black_box(authorizer.decide(&request)));
    });
}

criterion_group!(benches, native, evaluate, decide);
criterion_main!(benches);
