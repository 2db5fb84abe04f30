//! Reuse by trace with real components: what is reused is what an evaluation would have been, no
//! module gets around it, an attack on one key costs no other, and a reload changes everything at
//! once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward::audit::replay::{Finding, Replay};
use keyward::authorizer::Authorizer;
use keyward::credential::Presented;
use keyward::decision::id::IdSource;
use keyward::decision::verdict::{FaultKind, Outcome};
use keyward::decision::{Mode, Permission};
use keyward::digest::Digest;
use keyward::facts::Facts;
use keyward::key::json::{CheckedKey, KeyOptions, read_keys};
use keyward::log::{Entry, Log, LogOptions, LogReader, Reload};
use keyward::policy::{ENGINE, Engine, Limits, Policy, PolicySet, PolicySpec, ReuseOptions};
use keyward::registry::memory::MemoryRegistry;
use keyward::request::{AccessRequest, RequestParts};
use keyward::route::{Route, RouteTable};
use keyward::rules::Rules;

use crate::util::{Folder, engine, guest, load, plain_key, time};

const STANDARD: [(&str, &[u8]); 3] = [
    ("scope", keyward_policies::SCOPE),
    ("rotation", keyward_policies::ROTATION),
    ("ip", keyward_policies::IP),
];

fn policy(name: &str, module: &[u8]) -> Policy {
    policy_on(&engine(), name, module)
}

fn policy_on(engine: &Engine, name: &str, module: &[u8]) -> Policy {
    let spec = PolicySpec {
        name: name.into(),
        mode: Mode::Enforce,
        module: module.into(),
        settings: "{}".into(),
        limits: Limits::default(),
    };
    Policy::load(engine, spec).unwrap()
}

fn set(policies: Vec<Policy>, check_every: u64) -> PolicySet {
    let options = ReuseOptions {
        check_every,
        ..ReuseOptions::default()
    };
    PolicySet::new(policies).unwrap().with_reuse(options)
}

fn standard() -> PolicySet {
    let policies = STANDARD.map(|(name, module)| policy(name, module));
    set(policies.into(), 0)
}

fn keys(count: usize) -> Vec<CheckedKey> {
    let line = |n| {
        format!(
            r#"{{"id":"key{n:09}","owner":"o","issued_at":"2026-11-01T00:00:00Z","expires_at":"2027-01-30T00:00:00Z","scopes":["inventory:read"],"allowed_networks":["203.0.113.0/24"]}}"#
        )
    };
    let lines: Vec<_> = (0..count).map(line).collect();
    read_keys(lines.join("\n").as_bytes(), KeyOptions::default()).unwrap()
}

fn routes(scope: &str) -> RouteTable {
    let route = Route {
        methods: vec!["GET".to_owned()],
        path: "/inventory/{item}".to_owned(),
        scope: scope.to_owned(),
        ..Route::default()
    };
    RouteTable::new(&[route]).unwrap()
}

fn authorizer(folder: &Path, policies: PolicySet, keys: usize) -> Authorizer {
    let options = LogOptions {
        origin: "keyward.example/reuse".to_owned(),
        engine: ENGINE.to_owned(),
        policy_set: policies.digest(),
        ..LogOptions::default()
    };
    let log = Log::create(&folder.join("log"), options, time("2026-11-20T08:00:00Z")).unwrap();
    let registry = MemoryRegistry::new(self::keys(keys)).unwrap();
    let rules = Rules {
        routes: routes("inventory:read"),
        policies,
    };
    Authorizer::new(Box::new(registry), rules, (log, IdSource::new([3; 10]))).unwrap()
}

/// A request of a key from an address.
fn request(key: usize, source: &str) -> AccessRequest {
    let presented = Presented::KeyId(format!("key{key:09}").into());
    let now = time("2026-11-20T08:00:00Z");
    let mut parts = RequestParts::new(now, presented, "GET", "/inventory/42");
    parts.source = Some(source.parse().unwrap());
    AccessRequest::new(parts).unwrap()
}

/// The entries of a log, and that every decision of it replays.
fn replayed(folder: &Path) -> Vec<Entry> {
    let reader = LogReader::open(&folder.join("log")).unwrap();
    for replayed in Replay::new(&reader, engine()) {
        let replayed = replayed.unwrap();
        assert_eq!(replayed.finding, Finding::Match, "{:?}", replayed.record);
    }
    let entries = reader.entries().map(|entry| entry.unwrap().1);
    entries
        .map(|bytes| Entry::decode(&bytes).unwrap())
        .collect()
}

#[test]
fn a_record_of_what_was_reused_says_so_and_is_otherwise_the_same() {
    let folder = Folder::new();
    let authorizer = authorizer(folder.path(), standard(), 2);
    let from = ["203.0.113.9", "198.51.100.7"];
    let decide = |key: usize, from: &str| authorizer.decide(&request(key, from));
    let first: Vec<_> = from.map(|from| decide(0, from)).into();
    let again: Vec<_> = from.map(|from| decide(0, from)).into();
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(first.permission(), again.permission());
        assert_eq!(first.record().reason, again.record().reason);
        let pairs = first
            .record()
            .evaluations
            .iter()
            .zip(&*again.record().evaluations);
        for (first, again) in pairs {
            assert_eq!(first.evaluation, again.evaluation);
            assert!(again.is_reused);
        }
    }
    let reused = |decision: &keyward::decision::Decision| {
        let evaluations = decision.record().evaluations.iter();
        evaluations.map(|it| it.is_reused).collect::<Vec<_>>()
    };
    // From another address only the policy that asks for it is new.
    assert_eq!(reused(&first[0]), [false, false, false]);
    assert_eq!(reused(&first[1]), [true, true, false]);
    assert_eq!(first[1].permission(), Permission::Deny);
    // Another key shares nothing.
    assert_eq!(reused(&decide(1, from[0])), [false, false, false]);
    let decided: Vec<_> = first.into_iter().chain(again).collect();
    authorizer.sync().unwrap();
    drop(authorizer);
    let records: Vec<_> = replayed(folder.path())
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Decision(record) => Some(record),
            _ => None,
        })
        .collect();
    for (decision, record) in decided.iter().zip(&records) {
        assert_eq!(decision.record(), record);
    }
}

/// Every module that loads, honest or not, evaluated afresh at each reuse.
#[test]
fn no_module_knows_of_an_earlier_call() {
    let facts = Arc::new(Facts::of_key(plain_key(), time("2026-11-02T08:00:00Z")).unwrap());
    let folder = std::fs::read_dir(crate::util::root().join("tests/guests")).unwrap();
    let (mut asked, mut reused) = (0, 0);
    for file in folder {
        let file = file.unwrap().path();
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let Ok(policy) = load(&guest_or_empty(&name), "{}", Limits::default()) else {
            continue;
        };
        asked += 1;
        let set = set(vec![policy], 1);
        for _ in 0..20 {
            let evaluated = set.evaluate(facts.view());
            if let Outcome::Fault(fault) = &evaluated[0].evaluation.outcome {
                assert_ne!(fault.kind, FaultKind::Unrepeatable, "{name}");
            }
        }
        let counts = set.reuse_counts()[0];
        assert!(!counts.is_off, "{name}");
        assert_eq!(counts.reused, counts.checked, "{name}");
        reused += u64::from(counts.reused > 0);
    }
    // Those that load, and of these those whose outcome may be reused at all.
    assert!(
        asked >= 25 && reused >= 10,
        "{asked} asked, {reused} reused"
    );
}

fn guest_or_empty(name: &str) -> Vec<u8> {
    if name == "skeleton" {
        return Vec::new();
    }
    guest(name)
}

/// A policy that burns all of its fuel does so once for a key, not at every request.
#[test]
fn a_policy_at_its_limit_is_denied_from_memory() {
    let folder = Folder::new();
    let policies = vec![
        policy("loop", &guest("endless-loop")),
        policy("ip", keyward_policies::IP),
    ];
    let authorizer = authorizer(folder.path(), set(policies, 0), 1);
    for _ in 0..1_000 {
        let decision = authorizer.decide(&request(0, "203.0.113.9"));
        assert_eq!(decision.permission(), Permission::Deny);
        assert_eq!(&*decision.record().reason, "policy.failed");
    }
    for counts in authorizer.rules().policies.reuse_counts() {
        assert_eq!((counts.reused, counts.afresh), (999, 1));
    }
}

/// One key from thousands of addresses: what other keys have is still there afterwards.
#[test]
fn a_key_used_from_everywhere_costs_no_other() {
    let folder = Folder::new();
    let authorizer = authorizer(folder.path(), standard(), 50);
    let others = || (1..50).map(|key| authorizer.preview(&request(key, "203.0.113.9")));
    assert_eq!(others().count(), 49);
    for n in 0..5_000 {
        let source = format!("198.51.{}.{}", n / 200, n % 200);
        let record = authorizer.preview(&request(0, &source));
        assert_eq!(record.permission, Permission::Deny);
    }
    for record in others() {
        assert!(record.evaluations.iter().all(|it| it.is_reused));
    }
}

#[test]
fn a_reload_changes_everything_at_once_and_is_recorded() {
    let folder = Folder::new();
    let authorizer = authorizer(folder.path(), standard(), 4);
    let two = || {
        let policies = vec![policy("scope", keyward_policies::SCOPE)];
        Rules {
            routes: routes("inventory:write"),
            policies: set(policies, 0),
        }
    };
    let three = || Rules {
        routes: routes("inventory:read"),
        policies: standard(),
    };
    let digests = [three().policies.digest(), two().policies.digest()];
    let stop = AtomicBool::new(false);
    let now = time("2026-11-20T09:00:00Z");
    std::thread::scope(|scope| {
        let decide = |key: usize| {
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let decision = authorizer.decide(&request(key, "203.0.113.9"));
                let record = decision.record();
                // One set's answer or the other's, never a mixture.
                let (policies, permission) = if record.policy_set == digests[0] {
                    (3, Permission::Allow)
                } else {
                    assert_eq!(record.policy_set, digests[1]);
                    (1, Permission::Deny)
                };
                assert_eq!(record.evaluations.len(), policies);
                assert_eq!(record.permission, permission);
                count += 1;
            }
            count
        };
        let threads: Vec<_> = (0..4).map(|key| scope.spawn(move || decide(key))).collect();
        for _ in 0..5 {
            authorizer.reload(two(), now).unwrap();
            authorizer.reload(three(), now).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            assert!(thread.join().unwrap() > 0);
        }
    });
    // The new set begins with nothing to reuse.
    let fresh = authorizer.decide(&request(0, "203.0.113.9"));
    authorizer.reload(three(), now).unwrap();
    let after = authorizer.decide(&request(0, "203.0.113.9"));
    assert_eq!(fresh.record().reason, after.record().reason);
    assert!(after.record().evaluations.iter().all(|it| !it.is_reused));
    drop(authorizer);
    let reloads = reloads(folder.path());
    assert_eq!(reloads.len(), 11);
    for (n, reload) in reloads.iter().enumerate() {
        let [from, to]: [Digest; 2] = match n {
            10 => [digests[0]; 2],
            n if n % 2 == 0 => digests,
            _ => [digests[1], digests[0]],
        };
        assert_eq!(
            *reload,
            Reload {
                time: now,
                previous: from,
                policy_set: to
            }
        );
    }
}

fn reloads(folder: &Path) -> Vec<Reload> {
    replayed(folder)
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Reload(reload) => Some(reload),
            _ => None,
        })
        .collect()
}

#[test]
fn what_the_log_does_not_take_changes_nothing() {
    let folder = Folder::new();
    let authorizer = authorizer(folder.path(), standard(), 1);
    let before = authorizer.rules().policies.digest();
    for segment in std::fs::read_dir(folder.path().join("log/wal")).unwrap() {
        std::fs::remove_file(segment.unwrap().path()).unwrap();
    }
    let rules = Rules {
        routes: routes("inventory:write"),
        policies: set(vec![policy("scope", keyward_policies::SCOPE)], 0),
    };
    assert!(
        authorizer
            .reload(rules, time("2026-11-20T09:00:00Z"))
            .is_err()
    );
    assert_eq!(authorizer.rules().policies.digest(), before);
    let decision = authorizer.decide(&request(0, "203.0.113.9"));
    assert_eq!(&*decision.record().reason, "log.unavailable");
}

#[test]
fn a_second_start_compiles_nothing() {
    let cache = Folder::new();
    let folder = cache.path().join("compiled");
    let load = || {
        let engine = Engine::new(Some(&folder)).unwrap();
        for (name, module) in STANDARD {
            policy_on(&engine, name, module);
        }
        engine.cache_counts()
    };
    let (hits, misses) = load();
    assert!(hits == 0 && misses >= 3, "{hits} {misses}");
    assert_eq!(load(), (misses, 0));
}
