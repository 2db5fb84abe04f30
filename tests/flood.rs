//! Floods of requests whose credentials name no key: each is denied for what it is, the log says
//! how many there were, and nothing that is about a key is only counted.

use std::path::Path;
use std::thread;

use keyward::audit::replay::{Finding, Replay};
use keyward::authorizer::{Authorizer, UNKNOWN_KEYS_PER_SECOND_DEFAULT};
use keyward::credential::random::RandomnessError;
use keyward::credential::{Credential, IssuedSecret, Presented};
use keyward::decision::id::IdSource;
use keyward::decision::{Decision, Mode, Permission};
use keyward::digest::Digest;
use keyward::key::Environment;
use keyward::key::json::{KeyOptions, read_keys};
use keyward::log::{Coalesced, Entry, Log, LogOptions, LogReader};
use keyward::policy::{ENGINE, Limits, Policy, PolicySet, PolicySpec};
use keyward::registry::memory::MemoryRegistry;
use keyward::request::{AccessRequest, RequestParts};
use keyward::route::RouteTable;
use keyward::rules::Rules;
use keyward::timestamp::Timestamp;

use crate::util::{Folder, engine, time};

const NOW: &str = "2026-11-20T08:00:00Z";

/// The credential of a key in the live environment, with a secret of one byte again and again.
fn credential(environment: Environment, key: &str, byte: u8) -> IssuedSecret {
    let mut random = |bytes: &mut [u8]| {
        bytes.fill(byte);
        Ok::<_, RandomnessError>(())
    };
    IssuedSecret::generate(environment, key.parse().unwrap(), &mut random).unwrap()
}

fn presented(environment: Environment, key: &str, byte: u8) -> Presented {
    let text = credential(environment, key, byte);
    Presented::Credential(Credential::parse(text.expose()).unwrap())
}

/// Keys in every state, one of them without a known secret.
fn registry() -> MemoryRegistry {
    let line = |(key, lifecycle, secret): (&str, &str, Option<Digest>)| {
        let secret = secret.map_or("null".to_owned(), |digest| format!("\"{digest}\""));
        format!(
            r#"{{"id":"{key}","owner":"o","lifecycle":"{lifecycle}","issued_at":"2026-11-01T00:00:00Z","expires_at":"2027-01-30T00:00:00Z","scopes":["a:read"],"secret_sha256":{secret}}}"#
        )
    };
    let lines = [
        ("aaaaaaaaaaaa", "active"),
        ("ssssssssssss", "suspended"),
        ("rrrrrrrrrrrr", "revoked"),
    ];
    let mut lines: Vec<_> = lines
        .map(|(key, state)| {
            line((
                key,
                state,
                Some(credential(Environment::Live, key, 1).digest()),
            ))
        })
        .into();
    lines.push(line(("nnnnnnnnnnnn", "active", None)));
    let keys = read_keys(lines.join("\n").as_bytes(), KeyOptions::default()).unwrap();
    MemoryRegistry::new(keys).unwrap()
}

fn authorizer(folder: &Path) -> Authorizer {
    let spec = PolicySpec {
        name: "scope".into(),
        mode: Mode::Enforce,
        module: keyward_policies::SCOPE.into(),
        settings: "{}".into(),
        limits: Limits::default(),
    };
    let policies = PolicySet::new(vec![Policy::load(&engine(), spec).unwrap()]).unwrap();
    let options = LogOptions {
        origin: "keyward.example/flood".to_owned(),
        engine: ENGINE.to_owned(),
        policy_set: policies.digest(),
        ..LogOptions::default()
    };
    let log = Log::create(&folder.join("log"), options, time(NOW)).unwrap();
    let rules = Rules {
        routes: RouteTable::new(&[]).unwrap(),
        policies,
    };
    Authorizer::new(Box::new(registry()), rules, (log, IdSource::new([3; 10]))).unwrap()
}

fn request(presented: Presented, millis: i64) -> AccessRequest {
    let time = Timestamp::from_millis(time(NOW).millis() + millis);
    AccessRequest::new(RequestParts::new(time, presented, "GET", "/a")).unwrap()
}

/// How many denials are recorded one by one, and the counts of the others.
fn read(folder: &Path) -> (u64, Vec<Coalesced>) {
    let reader = LogReader::open(&folder.join("log")).unwrap();
    let mut recorded = 0;
    let mut coalesced = Vec::new();
    for entry in reader.entries() {
        match Entry::decode(&entry.unwrap().1).unwrap() {
            Entry::Decision(_) => recorded += 1,
            Entry::Coalesced(it) => coalesced.push(it),
            Entry::Boot(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let replayed = Replay::new(&reader, engine()).map(Result::unwrap);
    assert_eq!(
        replayed.filter(|it| it.finding == Finding::Match).count() as u64,
        recorded
    );
    (recorded, coalesced)
}

fn reason(decision: &Decision) -> &str {
    assert_eq!(decision.permission(), Permission::Deny);
    &decision.record().reason
}

/// Everything that the gate refuses, with its reason and whether it names no key that there is.
fn refusals() -> Vec<(Presented, &'static str, bool)> {
    use Environment::{Live, Test};
    vec![
        (Presented::None, "key.missing", true),
        (Presented::Ambiguous, "key.ambiguous", true),
        (Presented::Malformed, "key.malformed", true),
        (presented(Live, "xxxxxxxxxxxx", 1), "key.unknown", true),
        (Presented::KeyId("xxxxxxxxxxxx".into()), "key.unknown", true),
        (Presented::KeyId("no id".into()), "key.unknown", true),
        (presented(Live, "aaaaaaaaaaaa", 2), "key.unknown", false),
        (presented(Live, "rrrrrrrrrrrr", 2), "key.unknown", false),
        (presented(Test, "aaaaaaaaaaaa", 1), "key.unknown", false),
        (presented(Live, "nnnnnnnnnnnn", 1), "key.unknown", false),
        (presented(Live, "rrrrrrrrrrrr", 1), "key.revoked", false),
        (presented(Live, "ssssssssssss", 1), "key.suspended", false),
        (presented(Live, "aaaaaaaaaaaa", 1), "scope.unmapped", false),
    ]
}

#[test]
fn only_what_names_no_key_is_counted() {
    for (presented, expected, is_counted) in refusals() {
        let folder = Folder::new();
        let authorizer = authorizer(folder.path()).with_unknown_keys_per_second(Some(2));
        for millis in [0, 1, 2, 3, 4] {
            let decision = authorizer.decide(&request(presented.clone(), millis));
            assert_eq!(reason(&decision), expected);
            let is_recorded = millis < 2 || !is_counted;
            assert_eq!(
                decision.receipt().is_some(),
                is_recorded,
                "{presented:?} {millis}"
            );
        }
        // A second later the limit is there again.
        let decision = authorizer.decide(&request(presented.clone(), 1_000));
        assert!(decision.receipt().is_some());
        drop(authorizer);
        let (recorded, coalesced) = read(folder.path());
        if is_counted {
            let start = time(NOW).millis();
            let [first] = &coalesced[..] else {
                panic!("{coalesced:?}");
            };
            assert_eq!(recorded, 3);
            assert_eq!((&*first.reason, first.count), (expected, 3));
            assert_eq!(
                (first.from.millis(), first.to.millis()),
                (start + 2, start + 4)
            );
        } else {
            assert_eq!((recorded, coalesced), (6, vec![]));
        }
    }
}

#[test]
fn the_limit_is_on_by_default_and_can_be_switched_off() {
    let limit = u64::from(UNKNOWN_KEYS_PER_SECOND_DEFAULT);
    for (is_off, expected) in [(false, (limit, limit)), (true, (2 * limit, 0))] {
        let folder = Folder::new();
        let mut authorizer = authorizer(folder.path());
        if is_off {
            authorizer = authorizer.with_unknown_keys_per_second(None);
        }
        for _ in 0..2 * limit {
            let decision = authorizer.decide(&request(Presented::None, 0));
            assert_eq!(reason(&decision), "key.missing");
        }
        authorizer.sync().unwrap();
        let (recorded, coalesced) = read(folder.path());
        let counted = coalesced.iter().map(|it| it.count).sum::<u64>();
        assert_eq!((recorded, counted), expected);
    }
}

/// Threads that flood while others decide: each request is in the log, by itself or in a count.
#[test]
fn every_denial_of_a_flood_is_accounted_for() {
    const EACH: i64 = 2_000;
    let folder = Folder::new();
    let authorizer = authorizer(folder.path());
    let refusals = refusals();
    let receipts: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let (authorizer, refusals) = (&authorizer, &refusals);
                scope.spawn(move || {
                    let mut all = refusals.iter().cycle().skip(thread);
                    let decided = (0..EACH).map(|millis| {
                        let (presented, expected, _) = all.next().unwrap();
                        let decision = authorizer.decide(&request(presented.clone(), millis));
                        assert_eq!(reason(&decision), *expected);
                        u64::from(decision.receipt().is_some())
                    });
                    decided.sum::<u64>()
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().unwrap()).sum()
    });
    drop(authorizer);
    let (recorded, coalesced) = read(folder.path());
    let counted: u64 = coalesced.iter().map(|it| it.count).sum();
    assert_eq!(recorded, receipts);
    assert_eq!(recorded + counted, 4 * EACH as u64);
    // 6 of 13 name no key. Their times span two seconds, each with its limit.
    let about_keys = coalesced.iter().all(|it| it.reason.starts_with("key."));
    assert!(
        about_keys && counted >= 4 * EACH as u64 * 6 / 13 - 250,
        "{counted}"
    );
}

#[test]
fn evaluate_records_every_line() {
    let folder = Folder::quickstart();
    let line = r#"{"time":"2026-11-20T08:00:00Z","method":"GET","path":"/a"}"#;
    let lines = 3 * UNKNOWN_KEYS_PER_SECOND_DEFAULT as usize;
    folder.write("flood.jsonl", [line].repeat(lines).join("\n"));
    let decisions = folder.run(&["evaluate", "flood.jsonl"]).exit(0).json();
    assert_eq!(decisions.len(), lines);
    assert!(decisions.iter().all(|it| it["reason"] == "key.missing"));
    assert!(decisions.iter().all(|it| it["index"].is_u64()));
}
