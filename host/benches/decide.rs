//! What a decision costs: one policy evaluated afresh, all three, reused, with the record, by two
//! threads, among a million keys; a denial that is counted instead of recorded; a start with cached
//! code; and the same three checks as plain Rust in the same run as the baseline.
#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark that cannot start has nothing to measure"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use keyward::authorizer::Authorizer;
use keyward::credential::Presented;
use keyward::decision::Mode;
use keyward::decision::id::IdSource;
use keyward::facts::Facts;
use keyward::key::json::{CheckedKey, KeyOptions, read_keys};
use keyward::log::{Log, LogOptions, encode_decision_into};
use keyward::policy::{ENGINE, Engine, Limits, Policy, PolicySet, PolicySpec, ReuseOptions};
use keyward::registry::memory::MemoryRegistry;
use keyward::request::{AccessRequest, RequestParts};
use keyward::route::{Route, RouteTable};
use keyward::rules::Rules;
use keyward::timestamp::Timestamp;
use keyward::usage::UsageCounters;
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

fn keys() -> Vec<CheckedKey> {
    read_keys(KEY.replace('\n', "").as_bytes(), KeyOptions::default()).unwrap()
}

fn key_id(n: usize) -> String {
    format!("key{n:09}")
}

fn many_keys(count: usize) -> Vec<CheckedKey> {
    let line = |n| KEY.replace('\n', "").replace("k7Qp2mXw9LaR", &key_id(n));
    let lines: Vec<_> = (0..count).map(line).collect();
    read_keys(lines.join("\n").as_bytes(), KeyOptions::default()).unwrap()
}

fn policy(engine: &Engine, name: &str, module: &[u8], settings: &str) -> Policy {
    let spec = PolicySpec {
        name: name.into(),
        mode: Mode::Enforce,
        module: module.into(),
        settings: settings.into(),
        limits: Limits::default(),
    };
    Policy::load(engine, spec).unwrap()
}

fn policies(engine: &Engine) -> Vec<Policy> {
    let policy = |(name, module): (&str, &[u8])| policy(engine, name, module, "{}");
    MODULES.map(policy).into()
}

/// Settings that make ten policies of three modules ten different snapshots.
fn settings(n: usize) -> String {
    match n % 3 {
        0 => format!(r#"{{"read_only_actions":["read{n}"]}}"#),
        1 => format!(r#"{{"notice_days":[{}]}}"#, n + 1),
        _ => format!(r#"{{"blocked":["10.{n}.0.0/16"]}}"#),
    }
}

fn authorizer(folder: &Path, keys: Vec<CheckedKey>, options: ReuseOptions) -> Authorizer {
    let set = PolicySet::new(policies(&Engine::new(None).unwrap())).unwrap();
    authorizer_of(folder, keys, set.with_reuse(options))
}

fn authorizer_of(folder: &Path, keys: Vec<CheckedKey>, set: PolicySet) -> Authorizer {
    let options = LogOptions {
        origin: "keyward.example/bench".to_owned(),
        engine: ENGINE.to_owned(),
        policy_set: set.digest(),
        ..LogOptions::default()
    };
    let log = Log::create(folder, options, Timestamp::from_millis(0)).unwrap();
    let registry = Box::new(MemoryRegistry::new(keys).unwrap());
    let route = Route {
        methods: vec!["GET".to_owned()],
        path: "/inventory/{item}".to_owned(),
        scope: "inventory:read".to_owned(),
        ..Route::default()
    };
    let rules = Rules {
        routes: RouteTable::new(&[route]).unwrap(),
        policies: set,
    };
    Authorizer::new(registry, rules, (log, IdSource::new([0; 10]))).unwrap()
}

fn request(key: &str) -> AccessRequest {
    let time = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
    let presented = Presented::KeyId(key.into());
    let mut parts = RequestParts::new(time, presented, "GET", "/inventory/42");
    parts.host = "api.example.com".to_owned();
    parts.source = Some("203.0.113.9".parse().unwrap());
    AccessRequest::new(parts).unwrap()
}

fn facts() -> Arc<Facts> {
    let request = request("k7Qp2mXw9LaR");
    let path = request.path().unwrap().clone();
    let key = Arc::new(keys().pop().unwrap().into_parts().0);
    Arc::new(Facts {
        request,
        path,
        key,
        required_scope: Some("inventory:read".into()),
        usage: None,
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
    let afresh = PolicySet::new(policies)
        .unwrap()
        .with_reuse(ReuseOptions::OFF);
    c.bench_function("three policies afresh", |b| {
        b.iter(|| black_box(afresh.evaluate(facts.view())));
    });
    let reusing = afresh.with_reuse(ReuseOptions::default());
    c.bench_function("three policies reused", |b| {
        b.iter(|| black_box(reusing.evaluate(facts.view())));
    });
}

/// Whole decisions, without and with their record.
fn decide(c: &mut Criterion) {
    for (name, options) in [
        ("afresh", ReuseOptions::OFF),
        ("reused", ReuseOptions::default()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let authorizer = authorizer(folder.path(), keys(), options);
        let request = request("k7Qp2mXw9LaR");
        c.bench_function(&format!("decision of three {name}, not recorded"), |b| {
            b.iter(|| black_box(authorizer.preview(&request)));
        });
        c.bench_function(&format!("decision of three {name}, recorded"), |b| {
            b.iter(|| black_box(authorizer.decide(&request)));
        });
    }
}

/// What it costs that a policy asks how often the key is used: the count, and that this policy is
/// never reused.
fn usage(c: &mut Criterion) {
    let engine = Engine::new(None).unwrap();
    let limit = r#"{"limits":[{"requests":1000000000,"per":"1m"}]}"#;
    let mut policies = policies(&engine);
    policies.push(policy(&engine, "rate", keyward_policies::RATE, limit));
    let folder = tempfile::tempdir().unwrap();
    let set = PolicySet::new(policies).unwrap();
    let authorizer = authorizer_of(folder.path(), keys(), set);
    let request = request("k7Qp2mXw9LaR");
    c.bench_function("decision of three reused and a rate limit, recorded", |b| {
        b.iter(|| black_box(authorizer.decide(&request)));
    });
    let counters = UsageCounters::new();
    let (key, time) = ("k7Qp2mXw9LaR".parse().unwrap(), request.time());
    c.bench_function("use of a key counted", |b| {
        b.iter(|| black_box(counters.count(&key, time)));
    });
}

/// A flood of requests whose credentials name no key: recorded one by one, and counted.
fn flood(c: &mut Criterion) {
    for (name, limit) in [("recorded", None), ("counted", Some(0))] {
        let folder = tempfile::tempdir().unwrap();
        let authorizer = authorizer(folder.path(), keys(), ReuseOptions::OFF);
        let authorizer = authorizer.with_unknown_keys_per_second(limit);
        let request = request("unknownkey00");
        for threads in [1, 2] {
            c.bench_function(
                &format!("denial of an unknown key, {name}, each of {threads} threads"),
                |b| {
                    b.iter_custom(|iterations| {
                        in_threads(threads, iterations, |_| {
                            black_box(authorizer.decide(&request));
                        })
                    });
                },
            );
        }
    }
}

/// The bytes of a record, without writing them.
fn encode(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let authorizer = authorizer(folder.path(), keys(), ReuseOptions::default());
    let [_, record] = [(); 2].map(|()| authorizer.preview(&request("k7Qp2mXw9LaR")));
    let mut buffer = Vec::new();
    c.bench_function("record of a decision of three encoded", |b| {
        b.iter(|| {
            buffer.clear();
            encode_decision_into(black_box(&record), &mut buffer);
            black_box(buffer.len())
        });
    });
}

/// Two threads over one: what every thread does is the same, so that the time of a batch stays the
/// same when they do not get in each other's way.
fn threads(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let authorizer = authorizer(folder.path(), many_keys(1_000), ReuseOptions::default());
    let requests: Vec<_> = (0..1_000).map(|n| request(&key_id(n))).collect();
    let (first, second) = requests.split_at(500);
    // Each thread begins at another key, as threads of a gateway do.
    let all = |thread: usize, record: bool| {
        let (first, second) = if thread == 0 {
            (first, second)
        } else {
            (second, first)
        };
        for request in first.iter().chain(second) {
            if record {
                black_box(authorizer.decide(request));
            } else {
                black_box(authorizer.preview(request));
            }
        }
    };
    all(0, true);
    for (name, record) in [("not recorded", false), ("recorded", true)] {
        for threads in [1, 2] {
            c.bench_function(
                &format!("1,000 decisions reused, {name}, each of {threads} threads"),
                |b| {
                    b.iter_custom(|iterations| {
                        in_threads(threads, iterations, |thread| all(thread, record))
                    });
                },
            );
        }
    }
}

/// The time in which each of some threads has done something a number of times.
fn in_threads(threads: usize, iterations: u64, work: impl Fn(usize) + Sync) -> Duration {
    let begin = Barrier::new(threads);
    let run = |thread| {
        begin.wait();
        let start = Instant::now();
        (0..iterations).for_each(|_| work(thread));
        start.elapsed()
    };
    let run = &run;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || run(thread)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .max()
            .unwrap()
    })
}

/// A thousand keys in use among a thousand and among a million, and a million in use.
fn million(c: &mut Criterion) {
    let options = ReuseOptions {
        memory_bytes: 8 << 30,
        ..ReuseOptions::default()
    };
    for (loaded, used) in [(1_000, 1_000), (1_000_000, 1_000), (1_000_000, 1_000_000)] {
        let folder = tempfile::tempdir().unwrap();
        let authorizer = authorizer(folder.path(), many_keys(loaded), options);
        // Spread over all keys, in no order.
        let requests: Vec<_> = (0..used)
            .map(|n| request(&key_id(n * 611_953 % loaded)))
            .collect();
        for request in &requests {
            black_box(authorizer.preview(request));
        }
        let mut next = requests.iter().cycle();
        c.bench_function(
            &format!("decision of three reused, {used} of {loaded} keys in use"),
            |b| {
                b.iter(|| black_box(authorizer.preview(next.next().unwrap())));
            },
        );
    }
}

/// A start with ten policies whose compiled code is cached.
fn start(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let load = || {
        let engine = Engine::new(Some(folder.path())).unwrap();
        let policies = (0..10).map(|n| {
            let (_, module) = MODULES[n % 3];
            policy(&engine, &format!("p{n}"), module, &settings(n))
        });
        PolicySet::new(policies.collect()).unwrap()
    };
    drop(load());
    c.bench_function("ten cached policies loaded", |b| {
        b.iter(|| black_box(load()))
    });
}

criterion_group!(
    benches, native, evaluate, decide, usage, flood, encode, threads, million, start
);
criterion_main!(benches);
