//! The log as others see it: that every change of what is published is noticed and placed, that
//! proofs stand alone, and the commands that an operator and an auditor run.

use std::fs;
use std::path::{Path, PathBuf};

use keyward::audit::prove::{check, prove};
use keyward::audit::verify::{Verification, VerifyError, VerifyOptions, verify};
use keyward::log::{Log, LogOptions, Publishing, TileReader, has_begun};
use keyward::timestamp::Timestamp;
use keyward::tlog::checkpoint::SignedCheckpoint;
use keyward::tlog::key::{KeyType, Signer};
use keyward::tlog::policy::Policy;
use keyward::tlog::proof::Proof;

use crate::util::{Folder, copy};

const ORIGIN: &str = "keyward.example/test";

/// A log of its own, published, with the policy that trusts its key.
struct Published {
    folder: Folder,
    policy: Policy,
}

impl Published {
    fn new(entries: usize) -> Self {
        let policy = format!("log {}\nquorum none\n", signer().verifier());
        let log = Self {
            folder: Folder::new(),
            policy: Policy::parse(policy.as_bytes()).unwrap(),
        };
        log.append(entries);
        log
    }

    /// Appends reloads, the boot record the first entry of all.
    fn append(&self, entries: usize) {
        let options = LogOptions {
            origin: ORIGIN.to_owned(),
            publishing: Some(Publishing {
                signers: vec![signer()].into(),
                interval_ms: 1_000,
                clock: || Timestamp::from_millis(1_795_428_000_000),
                witnesses: None,
            }),
            ..LogOptions::default()
        };
        let now = Timestamp::from_millis(1_795_428_000_000);
        let log = if has_begun(&self.path()).unwrap() {
            Log::open(&self.path(), options, now).unwrap()
        } else {
            Log::create(&self.path(), options, now).unwrap()
        };
        for number in 1..entries {
            let record = keyward::decision::DecisionRecord {
                id: keyward::decision::DecisionId(number as u128),
                time: now,
                request: Some(format!("r{number}").into()),
                key: None,
                key_record: None,
                policy_set: keyward::digest::Digest::of(b""),
                permission: keyward::decision::Permission::Deny,
                reason: "key.missing".into(),
                detail: None,
                evaluations: Default::default(),
                client: None,
            };
            log.append_decision(&record).unwrap();
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.file("log")
    }

    /// A copy of what is published: no segments, no blobs.
    fn copy(&self) -> Folder {
        let to = Folder::new();
        copy(&self.path().join("tile"), &to.file("tile"));
        fs::copy(self.path().join("checkpoint"), to.file("checkpoint")).unwrap();
        to
    }

    fn verify(&self, folder: &Path) -> Result<Verification, VerifyError> {
        self.verify_since(folder, None)
    }

    fn verify_since(
        &self,
        folder: &Path,
        since: Option<&SignedCheckpoint>,
    ) -> Result<Verification, VerifyError> {
        let options = VerifyOptions {
            policy: &self.policy,
            since,
            threads: 2,
            progress: &|_| (),
        };
        verify(folder, &options)
    }
}

fn signer() -> Signer {
    Signer::from_seed(KeyType::Ed25519, ORIGIN, &[7; 32]).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn a_whole_log_verifies_whole_and_in_parts() {
    let log = Published::new(700);
    let since = TileReader::new(&log.path()).checkpoint().unwrap();
    log.append(400);
    let all = log.verify(&log.path()).unwrap();
    assert_eq!((all.entries, all.problems), (0..1_100, vec![]));
    assert_eq!(all.unsigned, Some(0));
    let copy = log.copy();
    let all = log.verify(copy.path()).unwrap();
    assert_eq!((all.unsigned, all.problems), (None, vec![]));
    let new = log.verify_since(&log.path(), Some(&since)).unwrap();
    assert_eq!((new.entries, new.problems), (512..1_100, vec![]));
    // To the checkpoint that it shows itself, there is nothing new but the last bundle.
    let same = log
        .verify_since(&log.path(), Some(&all.checkpoint))
        .unwrap();
    assert_eq!((same.entries, same.problems), (1_024..1_100, vec![]));
}

/// Every file, each at places that lie apart, each bit once.
#[test]
fn any_flipped_bit_is_noticed_and_placed() {
    let log = Published::new(600);
    let copy = log.copy();
    let mut flips = 0;
    for file in files(copy.path()) {
        let bytes = fs::read(&file).unwrap();
        let is_checkpoint = file.ends_with("checkpoint");
        let stride = if is_checkpoint {
            1
        } else {
            bytes.len() / 60 + 1
        };
        for (number, at) in (0..bytes.len()).step_by(stride).enumerate() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (number % 8);
            fs::write(&file, &changed).unwrap();
            let name = file.strip_prefix(copy.path()).unwrap().display();
            match log.verify(copy.path()) {
                Ok(found) => {
                    assert!(!found.problems.is_empty(), "{name} at {at}");
                    let problem = &found.problems[0];
                    assert!(problem.first < 600 && problem.last < 600, "{problem:?}");
                    let bundle = name.to_string();
                    if let Some(bundle) = bundle.strip_prefix("tile/entries/") {
                        let bundle: u64 = bundle[..3].parse().unwrap();
                        let (first, last) = (problem.first / 256, problem.last / 256);
                        assert_eq!((first, last), (bundle, bundle), "{problem:?}");
                    }
                }
                Err(_) => assert!(is_checkpoint, "{name} at {at}"),
            }
            flips += 1;
        }
        fs::write(&file, bytes).unwrap();
    }
    assert!(flips > 500, "{flips}");
    assert_eq!(log.verify(copy.path()).unwrap().problems, []);
}

#[test]
fn files_that_are_missing_cut_off_or_swapped_are_noticed_and_placed() {
    let log = Published::new(600);
    let copy = log.copy();
    let problems = |what: &str| {
        let problems = log.verify(copy.path()).unwrap().problems;
        assert!(!problems.is_empty(), "{what}");
        problems
    };
    let paths = files(&copy.file("tile"));
    for path in &paths {
        let bytes = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let found = problems("missing");
        assert!(
            found.iter().any(|it| it.what.contains("is missing")),
            "{found:?}"
        );
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            fs::write(path, &bytes[..length]).unwrap();
            problems("cut off");
        }
        // A byte, an entry, a hash: nothing may stand behind what belongs there.
        for more in [&b"\0"[..], b"\0\x02xx", &[0; 32]] {
            fs::write(path, [&bytes[..], more].concat()).unwrap();
            problems("longer");
        }
        fs::write(path, bytes).unwrap();
    }
    let (one, two) = (copy.file("tile/entries/000"), copy.file("tile/entries/001"));
    let swap = || {
        let bytes = [&one, &two].map(|it| fs::read(it).unwrap());
        fs::write(&one, &bytes[1]).unwrap();
        fs::write(&two, &bytes[0]).unwrap();
    };
    swap();
    let found = problems("swapped");
    let places: Vec<_> = found.iter().map(|it| (it.first, it.last)).collect();
    assert_eq!(places, [(0, 255), (256, 511)]);
    assert!(
        found[0].what.contains("other entries than were signed"),
        "{found:?}"
    );
    swap();
    assert_eq!(log.verify(copy.path()).unwrap().problems, []);
}

/// Everything replaced but the signature: entries, tiles, and all that leads to another root.
#[test]
fn a_log_that_was_replaced_as_a_whole_is_noticed() {
    let (log, other) = (Published::new(300), Published::new(301));
    let copy = other.copy();
    let shown = TileReader::new(copy.path()).checkpoint().unwrap();
    // Its own checkpoint is as good as any: who kept none cannot tell.
    assert_eq!(log.verify(copy.path()).unwrap().problems, []);
    // Who kept one can: rolled back, and another history.
    let found = log.verify_since(&log.path(), Some(&shown)).unwrap();
    assert!(found.problems[0].what.contains("rolled back"), "{found:?}");
    let kept = TileReader::new(&log.path()).checkpoint().unwrap();
    let found = log.verify_since(copy.path(), Some(&kept)).unwrap();
    assert_eq!(found.problems, [], "the two begin alike");
    let forged = Published::new(2);
    forged.append(400);
    let found = log.verify_since(&forged.path(), Some(&kept)).unwrap();
    assert!(
        found.problems[0].what.contains("another history"),
        "{found:?}"
    );
    // The checkpoint of another log does not fit.
    fs::copy(forged.path().join("checkpoint"), copy.file("checkpoint")).unwrap();
    assert!(!log.verify(copy.path()).unwrap().problems.is_empty());
}

/// What a second implementation is tried on stays as it is.
#[test]
fn the_frozen_log_verifies() {
    let golden = crate::util::root().join("tests/golden/published");
    let policy = fs::read(golden.join("log.policy")).unwrap();
    let policy = Policy::parse(&policy).unwrap();
    let options = VerifyOptions {
        policy: &policy,
        since: None,
        threads: 1,
        progress: &|_| (),
    };
    let verified = verify(&golden, &options).unwrap();
    assert_eq!((verified.entries, verified.problems), (0..300, vec![]));
    let proof = fs::read(golden.join("299.tlog-proof")).unwrap();
    let proof = Proof::parse(&proof).unwrap();
    check(&proof, &policy).unwrap();
    assert_eq!(prove(&golden, 299).unwrap(), proof);
}

#[test]
fn another_key_is_not_believed() {
    let log = Published::new(3);
    let other = Signer::from_seed(KeyType::Ed25519, ORIGIN, &[8; 32]).unwrap();
    let policy = format!("log {}\nquorum none\n", other.verifier());
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let options = VerifyOptions {
        policy: &policy,
        since: None,
        threads: 1,
        progress: &|_| (),
    };
    let refused = verify(&log.path(), &options).unwrap_err();
    assert!(matches!(refused, VerifyError::Reject(_)), "{refused}");
}

#[test]
fn entries_in_the_segments_are_compared_with_the_tiles() {
    let (log, other) = (Published::new(20), Published::new(20));
    other.append(1);
    let segment = "wal/00000000000000000000.wal";
    let options = |log: &Published| log.path().join(segment);
    // Of two logs that differ in one entry, the segments of one and the tiles of the other.
    let unsigned = Published::new(20);
    fs::copy(options(&other), unsigned.path().join(segment)).unwrap();
    let found = unsigned.verify(&unsigned.path()).unwrap();
    assert_eq!((found.problems, found.unsigned), (vec![], Some(1)));
    let mut bytes = fs::read(options(&log)).unwrap();
    bytes.truncate(bytes.len() - 1);
    fs::write(options(&log), bytes).unwrap();
    let found = log.verify(&log.path()).unwrap();
    assert_eq!((found.problems[0].first, found.problems[0].last), (19, 19));
    assert!(
        found.problems[0].what.contains("segments end before"),
        "{found:?}"
    );
}

#[test]
fn every_entry_has_a_proof_that_stands_alone() {
    let log = Published::new(700);
    for index in [0, 1, 255, 256, 511, 512, 698, 699] {
        let text = prove(&log.path(), index).unwrap().to_string();
        let proof = Proof::parse(text.as_bytes()).unwrap();
        assert_eq!(proof.index(), index);
        check(&proof, &log.policy).unwrap();
        let mut forged = proof.extra().to_vec();
        forged[3] ^= 1;
        let forged = proof.with_extra(forged).unwrap();
        assert!(check(&forged, &log.policy).is_err());
    }
    assert!(prove(&log.path(), 700).is_err());
}

#[test]
fn an_operator_signs_and_an_auditor_verifies() {
    let folder = Folder::quickstart();
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let said = folder.run(&["log", "verify"]).exit(2).err;
    assert!(said.contains("there is no policy `log.policy`"), "{said}");
    let made = folder.run(&["log", "init"]).exit(0).out;
    assert!(made.starts_with("keyward.example/quickstart+"), "{made}");
    let said = folder.run(&["log", "verify"]).exit(3).err;
    assert!(said.contains("the log has no checkpoint"), "{said}");
    let said = folder.run(&["log", "init"]).exit(2).err;
    assert!(said.contains("is there already"), "{said}");
    // What was cut off between the two files is made up for.
    let policy = folder.read("log.policy");
    fs::remove_file(folder.file("log.policy")).unwrap();
    assert_eq!(folder.run(&["log", "init"]).exit(0).out, made);
    assert_eq!(folder.read("log.policy"), policy);
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let said = folder.run(&["log", "verify"]).exit(0).out;
    assert!(said.contains("(ML-DSA-44, key "), "{said}");
    assert!(said.ends_with("verified: 58 entries\n"), "{said}");

    an_auditor_verifies(&folder);

    // Without its key the log is not gone on with, and nothing is lost.
    fs::rename(folder.file("log.key"), folder.file("away")).unwrap();
    let said = folder.run(&["evaluate", "requests.jsonl"]).exit(3).err;
    assert!(said.contains("restore the key file"), "{said}");
    fs::rename(folder.file("away"), folder.file("log.key")).unwrap();
    folder.run(&["log", "verify"]).exit(0);
}

/// With a copy and the policy file, in a folder of their own.
fn an_auditor_verifies(folder: &Folder) {
    let auditor = Folder::new();
    copy(&folder.file("log/tile"), &auditor.file("copy/tile"));
    fs::copy(
        folder.file("log/checkpoint"),
        auditor.file("copy/checkpoint"),
    )
    .unwrap();
    auditor.write("log.policy", folder.read("log.policy"));
    let policy = ["--policy", "log.policy"];
    let verify = ["log", "verify", "copy"];
    auditor.run(&[&verify[..], &policy].concat()).exit(0);
    let kept = auditor.run(&[&["log", "checkpoint", "copy", "--raw"][..], &policy].concat());
    auditor.write("kept", kept.exit(0).out);
    let since = [&verify[..], &policy, &["--since", "kept"]].concat();
    let said = auditor.run(&since).exit(0).out;
    assert!(said.ends_with("verified: 58 entries\n"), "{said}");
    let lines = auditor
        .run(&["log", "cat", "copy", "--from", "57"])
        .exit(0)
        .out;
    assert!(lines.contains("\"request\":\"q28\""), "{lines}");
    assert_eq!(
        lines,
        folder.run(&["log", "cat", "--from", "57"]).exit(0).out
    );

    let proof = folder.run(&["log", "prove", "q04"]).exit(0).out;
    auditor.write("q04.tlog-proof", &proof);
    let checked = ["log", "check-proof", "q04.tlog-proof"];
    let said = auditor.run(&[&checked[..], &policy].concat()).exit(0).out;
    assert!(said.contains("\"reason\":\"scope.missing\""), "{said}");
    assert!(said.contains("entry 33 is in the log"), "{said}");
    auditor.write("q04.tlog-proof", proof.replace("index 33", "index 32"));
    let said = auditor.run(&[&checked[..], &policy].concat()).exit(1).err;
    assert!(said.contains("does not hold"), "{said}");

    let bundle = auditor.file("copy/tile/entries/000.p/58");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[700] ^= 1;
    fs::write(bundle, bytes).unwrap();
    let said = auditor.run(&[&verify[..], &policy].concat()).exit(1).out;
    assert!(
        said.contains("wrong     entry 2: `tile/entries/000.p/58`"),
        "{said}"
    );

    // A checkpoint that is signed wrongly does not hold; no checkpoint cannot be read.
    let checkpoint = auditor.read("copy/checkpoint");
    auditor.write(
        "copy/checkpoint",
        checkpoint.replacen("\n58\n", "\n57\n", 1),
    );
    let said = auditor.run(&[&verify[..], &policy].concat()).exit(1).err;
    assert_eq!(said.matches("is wrong").count(), 1, "{said}");
    fs::remove_file(auditor.file("copy/checkpoint")).unwrap();
    auditor.run(&[&verify[..], &policy].concat()).exit(3);
}

/// The old key vouches for the new one; auditors go from one policy to the next by a proof.
#[test]
fn a_key_is_rotated_and_cut_off_rotations_are_ended() {
    let folder = Folder::quickstart();
    folder.run(&["log", "init"]).exit(0);
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    fs::copy(folder.file("log.policy"), folder.file("old.policy")).unwrap();
    fs::copy(folder.file("log.key"), folder.file("old.key")).unwrap();
    let old = ["--policy", "old.policy"];

    let rotated = folder.run(&["log", "rotate-key"]).exit(0).out;
    let new = rotated.lines().next().unwrap();
    assert!(new.starts_with("keyward.example/quickstart+"), "{rotated}");
    let proof = ["log", "check-proof", "log.rotation.tlog-proof"];
    let said = folder.run(&[&proof[..], &old].concat()).exit(0).out;
    assert!(
        said.contains("\"type\":\"log-key\"") && said.contains(new),
        "{said}"
    );
    assert_ne!(folder.read("log.key"), folder.read("old.key"));

    // From here on the new key signs, and the old policy does not believe it.
    folder.run(&["log", "verify"]).exit(0);
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    folder.run(&["log", "verify"]).exit(0);
    let said = folder
        .run(&[&["log", "verify"][..], &old].concat())
        .exit(1)
        .err;
    assert!(said.contains("no log of the policy has signed"), "{said}");
    folder.run(&["replay"]).exit(0);

    // Cut off behind the checkpoint of both keys, and at once: the command ends it.
    folder.run(&["log", "rotate-key"]).exit(0);
    let (newest, before) = (folder.read("log.key"), folder.read("log.policy"));
    fs::rename(folder.file("log.key"), folder.file("log.key.next")).unwrap();
    folder.write("log.key", folder.read("old.key"));
    make_private(&folder.file("log.key"));
    let said = folder.run(&["evaluate", "requests.jsonl"]).exit(2).err;
    assert!(
        said.contains("a rotation of the log's key was cut off"),
        "{said}"
    );
    folder.run(&["log", "rotate-key"]).exit(0);
    assert_eq!(
        (folder.read("log.key"), folder.read("log.policy")),
        (newest, before)
    );
    assert!(!folder.file("log.key.next").exists());
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    folder.run(&["log", "verify"]).exit(0);
}

fn make_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}
