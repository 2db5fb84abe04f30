//! The log: what an append costs, how many decisions a second are acknowledged with so many in
//! flight, and how fast a log is verified.
//!
//! Times of appends are those of one decision, whoever else waits meanwhile: with N in flight,
//! N / time are acknowledged in that time. How long the disk takes for a sync is measured in the
//! same run.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has failed"
)]

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use keyward::audit::verify::{VerifyOptions, verify};
use keyward::decision::trace::{Answer, Question, Trace};
use keyward::decision::verdict::{Effect, Evaluated, Evaluation, Outcome, Reason, Verdict};
use keyward::decision::{DecisionId, DecisionRecord, Permission};
use keyward::digest::Digest;
use keyward::log::{Durability, Log, LogOptions, Publishing};
use keyward::timestamp::Timestamp;
use keyward::tlog::key::{KeyType, Signer};
use keyward::tlog::policy::Policy;

const ORIGIN: &str = "keyward.example/bench";
/// Appended before anything is verified.
const ENTRIES: u64 = 500_000;

/// A decision as three policies make it: some 350 bytes in the log.
fn record() -> DecisionRecord {
    let text = |text: &str| Answer::Text(text.into());
    let instant = |millis| Answer::Instant(Timestamp::from_millis(millis));
    let steps = [
        vec![
            (Question::RequiredScope, text("inventory:read")),
            (Question::KeyReadOnly, Answer::Flag(false)),
            (
                Question::KeyScopes,
                Answer::Texts(Arc::new(["inventory:read".into()])),
            ),
        ],
        vec![
            (Question::KeyNotBefore, Answer::Absent),
            (Question::KeyExpiresAt, instant(1_801_267_200_000)),
            (
                Question::Reached(Timestamp::from_millis(1_801_267_200_000)),
                Answer::Flag(false),
            ),
        ],
        vec![(Question::SourceAddress, Answer::Absent)],
    ];
    let evaluated = steps.map(|steps| {
        Evaluated::afresh(Evaluation {
            outcome: Outcome::Verdict(Verdict {
                effect: Effect::Allow,
                reason: Some(Reason {
                    code: "scope.granted".into(),
                    params: vec![("grant".to_owned(), "inventory:read".to_owned())],
                }),
                signals: Vec::new(),
                obligations: Vec::new(),
            }),
            trace: Trace { steps },
            fuel: 4_509,
        })
    });
    DecisionRecord {
        id: DecisionId(1),
        time: Timestamp::from_millis(1_795_428_000_000),
        request: Some("q01".into()),
        key: Some("k7Qp2mXw9LaR".parse().unwrap()),
        key_record: Some(Digest::of(b"key")),
        policy_set: Digest::of(b"policies"),
        permission: Permission::Allow,
        reason: "scope.granted".into(),
        detail: None,
        evaluations: Vec::from(evaluated).into(),
        client: None,
    }
}

fn signer() -> Signer {
    Signer::from_seed(KeyType::Ed25519, ORIGIN, &[7; 32]).unwrap()
}

fn log(folder: &Path, durability: Durability) -> Log {
    let now = || Timestamp::from_millis(1_795_428_000_000);
    let options = LogOptions {
        origin: ORIGIN.to_owned(),
        durability,
        publishing: Some(Publishing {
            signers: vec![signer()].into(),
            interval_ms: 1_000,
            clock: now,
            witnesses: None,
        }),
        ..LogOptions::default()
    };
    Log::create(folder, options, now()).unwrap()
}

/// What the disk takes for 350 bytes that outlive a power cut.
fn disk(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::create(folder.path().join("file")).unwrap();
    c.bench_function("350 bytes written and synced", |b| {
        b.iter(|| {
            file.write_all(&[7; 350]).unwrap();
            file.sync_data().unwrap();
        });
    });
}

fn append(c: &mut Criterion) {
    let record = record();
    for (name, durability) in [
        ("written", Durability::Written),
        ("durable", Durability::Durable),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), durability);
        for in_flight in [1, 16, 64, 256, 1_024] {
            c.bench_function(&format!("append, {name}, {in_flight} in flight"), |b| {
                b.iter_custom(|iterations| {
                    in_threads(in_flight, iterations, || {
                        black_box(log.append_decision(&record).unwrap());
                    })
                });
            });
        }
    }
}

/// The longest that any of some threads took to do something a number of times.
fn in_threads(threads: usize, iterations: u64, work: impl Fn() + Sync) -> Duration {
    let begin = Barrier::new(threads);
    let run = || {
        begin.wait();
        let start = Instant::now();
        (0..iterations).for_each(|_| work());
        start.elapsed()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let times = threads.into_iter().map(|thread| thread.join().unwrap());
        times.max().unwrap()
    })
}

fn verification(c: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let written = log(folder.path(), Durability::Written);
    let record = record();
    for _ in 1..ENTRIES {
        written.append_decision(&record).unwrap();
    }
    drop(written);
    // What is published, without the segments: what an auditor has.
    std::fs::remove_dir_all(folder.path().join("wal")).unwrap();
    let policy = format!("log {}\nquorum none\n", signer().verifier());
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    for threads in [1, 2] {
        let options = VerifyOptions {
            policy: &policy,
            since: None,
            threads,
            progress: &|_| (),
        };
        let name = format!("{ENTRIES} entries verified, {threads} threads");
        c.benchmark_group("verify")
            .sample_size(10)
            .bench_function(name, |b| {
                b.iter(|| {
                    let verified = verify(folder.path(), &options).unwrap();
                    assert_eq!(verified.problems, []);
                    verified
                });
            });
    }
}

criterion_group!(benches, disk, append, verification);
criterion_main!(benches);
