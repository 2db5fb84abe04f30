//! Revocation certificates: with the real command, as an operator issues them and as a stranger
//! checks them.

use std::fs;

use keyward::governance::certificate::{ReasonClaim, RevocationClaims, check};
use keyward::governance::parse_governance_keys;
use keyward::key::json::KeyOptions;
use keyward::log::{Entry, Log, LogOptions, Publishing, Revocation, read_key_file};
use keyward::registry::sqlite::{By, SqliteRegistry};
use keyward::tlog::checkpoint::SignedCheckpoint;
use keyward::tlog::key::{KeyType, Signer};
use keyward::tlog::policy::Policy;
use keyward::tlog::proof::Proof;
use serde_json::Value;

use crate::util::{Folder, Ran, copy, root};

pub(crate) const CERTIFICATE: &str = "k.tlog-proof";
pub(crate) const STATEMENT: &str = "k.no-allow";

/// A quick start with a registry, a signed log, a governance key, and a key that is in use.
pub(crate) struct Kept {
    pub(crate) folder: Folder,
    pub(crate) key: String,
}

impl Kept {
    pub(crate) fn new() -> Self {
        let folder = Folder::quickstart_with_database();
        folder.run(&["log", "init"]).exit(0);
        folder.run(&["cert", "init"]).exit(0);
        let issue = [
            "key",
            "issue",
            "--owner",
            "sync",
            "--scope",
            "inventory:read",
        ];
        let days = ["--expires-in-days", "30"];
        let issued = folder.run(&[&issue[..], &days].concat()).exit(0);
        let key = issued.out.split('_').nth(2).unwrap().to_owned();
        // Without times: what is decided is decided now.
        let request = |method: &str| {
            format!(
                r#"{{"key":"{key}","method":"{method}","host":"api.example.com","path":"/inventory/4"}}"#
            )
        };
        let requests = [request("GET"), request("PUT"), request("GET")].join("\n");
        folder.write("requests.jsonl", requests + "\n");
        let kept = Self { folder, key };
        kept.evaluate();
        kept
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.folder.run(args)
    }

    /// Decides the requests of the quick start.
    pub(crate) fn evaluate(&self) {
        let evaluate = ["evaluate", "--format", "json", "requests.jsonl"];
        self.run(&evaluate);
    }

    /// The decisions of the log with a key.
    pub(crate) fn decisions(&self, key: &str) -> Vec<Value> {
        let entries = self.run(&["log", "cat"]).exit(0).json();
        let of_key = |it: &Value| it["type"] == "decision" && it["key"] == key;
        entries.into_iter().filter(of_key).collect()
    }

    pub(crate) fn revoke(&self, key: &str) {
        let revoke = ["key", "revoke", key, "--reason", "it leaked", "--emergency"];
        self.run(&revoke).exit(0);
    }

    pub(crate) fn certify(&self, key: &str) -> Ran {
        self.run(&["cert", "revocation", key, "--out", CERTIFICATE])
    }

    /// Writes the log, as a host does.
    pub(crate) fn open_log(&self) -> Log {
        let options = LogOptions {
            origin: "keyward.example/quickstart".to_owned(),
            publishing: Some(Publishing {
                signers: read_key_file(&self.folder.file("log.key")).unwrap().into(),
                interval_ms: 1_000,
                clock: keyward::clock::now,
                witnesses: None,
            }),
            ..LogOptions::default()
        };
        Log::open(&self.folder.file("log"), options, keyward::clock::now()).unwrap()
    }

    /// What is left when only the files that a stranger needs are there.
    pub(crate) fn handed_over(&self, file: &str) -> Folder {
        let other = Folder::new();
        for name in [file, "log.policy", "governance.pub"] {
            fs::copy(self.folder.file(name), other.file(name)).unwrap();
        }
        other
    }
}

pub(crate) fn check_there(folder: &Folder, file: &str) -> Ran {
    let (policy, key) = ("log.policy", "governance.pub");
    folder.run(&["cert", "check", file, "--policy", policy, "--key", key])
}

#[test]
fn a_revocation_is_certified_and_checked_offline() {
    let kept = Kept::new();
    let key = kept.key.clone();
    let early = kept.certify(&key).exit(2);
    assert!(
        early.err.contains("is active, and only a revoked key"),
        "{early:?}"
    );
    kept.revoke(&key);
    kept.evaluate();
    kept.certify(&key).exit(0);

    let decisions = kept.decisions(&key);
    let allowed = decisions
        .iter()
        .rfind(|it| it["effect"] == "allow")
        .unwrap();
    let entries = kept.run(&["log", "cat"]).exit(0).json();
    let event = entries
        .iter()
        .find(|it| it["kind"] == "revoked-in-emergency");
    let event = event.unwrap()["index"].as_u64().unwrap();
    let denied = decisions
        .iter()
        .find(|it| it["index"].as_u64().unwrap() > event);
    let denied = denied.unwrap();
    assert_eq!(denied["reason"], "key.revoked");

    let other = kept.handed_over(CERTIFICATE);
    let checked = check_there(&other, CERTIFICATE).exit(0);
    for line in [
        format!("key {key} was revoked at "),
        "  reason         it leaked\n".to_owned(),
        "  order          none: in an emergency\n".to_owned(),
        format!("  revoked in     entry {event}\n"),
        format!("  last allowed   entry {} at ", allowed["index"]),
        format!("  first denied   entry {} at ", denied["index"]),
        "  by             keyward.example/quickstart/governance (Ed25519, key ".to_owned(),
        "  signed    keyward.example/quickstart (ML-DSA-44, key ".to_owned(),
    ] {
        assert!(checked.out.contains(&line), "{line}\n{checked:?}");
    }
    assert_eq!(checked.err, "");

    // The leaf hash that it names is the one of the last allowed entry, as its own proof has it.
    let index = allowed["index"].to_string();
    kept.run(&["log", "prove", &index, "--out", "allowed.tlog-proof"])
        .exit(0);
    let proof = Proof::parse(kept.folder.read("allowed.tlog-proof").as_bytes()).unwrap();
    let leaf = keyward::tlog::merkle::leaf_hash(proof.extra());
    assert!(checked.out.contains(&format!("leaf {leaf}")), "{checked:?}");

    // It is an entry like all others: shown, replayed past, verified, and proved by any tool.
    let shown = kept.run(&["log", "cat"]).exit(0).json();
    let entry = shown.last().unwrap();
    assert_eq!(
        (&entry["type"], &entry["claims"]["key"]),
        (&"revocation".into(), &key.as_str().into())
    );
    kept.run(&["log", "verify"]).exit(0);
    kept.run(&["replay"]).exit(0);
    other
        .run(&["log", "check-proof", CERTIFICATE, "--policy", "log.policy"])
        .exit(0);
}

#[test]
fn a_revocation_is_certified_once() {
    let kept = Kept::new();
    let key = kept.key.clone();
    kept.revoke(&key);
    kept.certify(&key).exit(0);
    let first = proof(&kept.folder);
    kept.evaluate();
    let again = kept.certify(&key).exit(0);
    assert!(
        again.err.contains("certified before, as entry "),
        "{again:?}"
    );
    let second = proof(&kept.folder);
    assert_eq!(
        (first.index(), first.extra()),
        (second.index(), second.extra())
    );
    assert_ne!(first.checkpoint(), second.checkpoint());
    check_there(&kept.folder, CERTIFICATE).exit(0);
    // Another governance key has not said so yet.
    for name in ["governance.key", "governance.pub"] {
        fs::remove_file(kept.folder.file(name)).unwrap();
    }
    kept.run(&["cert", "init"]).exit(0);
    check_there(&kept.folder, CERTIFICATE).exit(1);
    kept.certify(&key).exit(0);
    assert!(proof(&kept.folder).index() > first.index());
    check_there(&kept.folder, CERTIFICATE).exit(0);
}

fn proof(folder: &Folder) -> Proof {
    Proof::parse(folder.read(CERTIFICATE).as_bytes()).unwrap()
}

#[test]
fn each_link_that_breaks_is_named() {
    let kept = Kept::new();
    let key = kept.key.clone();
    kept.revoke(&key);
    kept.certify(&key).exit(0);
    let other = kept.handed_over(CERTIFICATE);
    let good = other.read(CERTIFICATE);
    let refused = |what: &str, says: &str| {
        let ran = check_there(&other, CERTIFICATE).exit(1);
        assert!(ran.err.contains(says), "{what}: {ran:?}");
        assert_eq!(ran.out, "", "{what}");
    };
    // Another log's policy, another governance key.
    let strangers = Kept::new();
    let [policy, public] = ["log.policy", "governance.pub"].map(|name| other.read(name));
    other.write("log.policy", strangers.folder.read("log.policy"));
    refused("policy", "no log of the policy has signed the checkpoint");
    other.write("log.policy", &policy);
    other.write("governance.pub", strangers.folder.read("governance.pub"));
    refused("governance", "which is not a governance key that you trust");
    other.write("governance.pub", &public);
    // A quorum that has not cosigned.
    let witness = Signer::from_seed(KeyType::Ed25519Cosignature, "w", &[9; 32]).unwrap();
    let asks = format!("witness w {}\nquorum w\n", witness.verifier());
    other.write("log.policy", policy.replace("quorum none\n", &asks));
    refused("witness", "are not the quorum");
    other.write("log.policy", &policy);
    // The file itself: another index, another entry, a checkpoint that was changed, no proof.
    let index = proof(&other).index();
    other.write(
        CERTIFICATE,
        good.replace(&format!("index {index}"), "index 0"),
    );
    refused("index", "the checkpoint does not include the entry");
    kept.run(&["log", "prove", "0", "--out", "0.tlog-proof"])
        .exit(0);
    other.write(CERTIFICATE, kept.folder.read("0.tlog-proof"));
    refused("entry", "entry 0 of the log is not the revocation of a key");
    let size = proof(&kept.folder).checkpoint().checkpoint().head().size;
    other.write(
        CERTIFICATE,
        good.replace(&format!("\n{size}\n"), &format!("\n{}\n", size + 1)),
    );
    refused("checkpoint", "is wrong");
    other.write(CERTIFICATE, "certificate");
    refused("no proof", "the log's proof does not hold");
    other.write(CERTIFICATE, &good);
    check_there(&other, CERTIFICATE).exit(0);
    // A file that is not there, and one of public keys that is none.
    check_there(&other, "absent").exit(2);
    other.write("governance.pub", "# none\n");
    check_there(&other, CERTIFICATE).exit(2);
}

#[test]
fn who_may_not_certify_does_not() {
    let kept = Kept::new();
    let key = kept.key.clone();
    kept.revoke(&key);
    let toml = kept.folder.read("keyward.toml");
    let user = kept.run(&["key", "history", &key]).exit(0).json();
    let user = user.last().unwrap()["actor"].as_str().unwrap().to_owned();
    let principal = |role: &str, score: u8| {
        let certification = format!(
            "[principal.certification]\ncourse = \"keys\"\nscore_percent = {score}\n\
             issued_at = \"2020-01-01T00:00:00Z\"\nexpires_at = \"2100-01-01T00:00:00Z\"\n"
        );
        let principal =
            format!("[[principal]]\nname = \"ann\"\nos_user = \"{user}\"\nroles = [\"{role}\"]\n");
        kept.folder.write(
            "keyward.toml",
            format!("{toml}\n{principal}{certification}"),
        );
    };
    let state = ["audit", "no-allow-after", &key, "--out", STATEMENT];
    for (role, score) in [
        ("viewer", 80),
        ("operator", 80),
        ("manager", 69),
        ("auditor", 60),
    ] {
        principal(role, score);
        let refused = kept.certify(&key).exit(2);
        assert!(refused.err.contains("`ann` may not certify"), "{refused:?}");
        let refused = kept.run(&state).exit(2);
        assert!(refused.err.contains("`ann` may not certify"), "{refused:?}");
        assert!(!kept.folder.file(CERTIFICATE).exists() && !kept.folder.file(STATEMENT).exists());
    }
    for role in ["auditor", "manager"] {
        principal(role, 70);
        kept.certify(&key).exit(0);
        kept.run(&state).exit(0);
    }
}

#[test]
fn what_is_missing_is_said() {
    let kept = Kept::new();
    let key = kept.key.clone();
    kept.revoke(&key);
    let missing = kept.run(&["cert", "revocation", "AAAAAAAAAAAA"]).exit(2);
    assert!(
        missing.err.contains("the registry has no key"),
        "{missing:?}"
    );
    let again = kept.run(&["cert", "init"]).exit(2);
    assert!(again.err.contains("is there already"), "{again:?}");
    fs::rename(kept.folder.file("governance.key"), kept.folder.file("away")).unwrap();
    let no_key = kept.certify(&key).exit(2);
    assert!(no_key.err.contains("keyward cert init"), "{no_key:?}");
    // The log's own key is not governance's, whatever file it is in.
    fs::copy(
        kept.folder.file("log.key"),
        kept.folder.file("governance.key"),
    )
    .unwrap();
    let own = kept.certify(&key).exit(2);
    assert!(
        own.err.contains("it has to hold one Ed25519 key"),
        "{own:?}"
    );
    let one = kept
        .folder
        .read("log.key")
        .lines()
        .next()
        .unwrap()
        .to_owned()
        + "\n";
    kept.folder.write("governance.key", one);
    let own = kept.certify(&key).exit(2);
    assert!(
        own.err.contains("the governance key is the log's"),
        "{own:?}"
    );
    // The configuration may name the key otherwise.
    let toml = kept.folder.read("keyward.toml");
    kept.folder.write(
        "keyward.toml",
        format!("{toml}\n[governance]\nkey = \"away\"\n"),
    );
    kept.certify(&key).exit(0);
    check_there(&kept.folder, CERTIFICATE).exit(0);
}

/// A host is writing the log: a certificate that there is can be proved, and none can be issued.
#[test]
fn a_running_host_is_in_the_way_of_new_certificates_only() {
    let kept = Kept::new();
    let key = kept.key.clone();
    kept.revoke(&key);
    let running = kept.open_log();
    let refused = kept.certify(&key).exit(3);
    assert!(
        refused.err.contains("a host is writing the log"),
        "{refused:?}"
    );
    drop(running);
    kept.certify(&key).exit(0);
    let running = kept.open_log();
    kept.certify(&key).exit(0);
    drop(running);
}

pub(crate) fn trusted(folder: &Folder) -> (Policy, Vec<keyward::tlog::key::Verifier>) {
    let policy = Policy::parse(folder.read("log.policy").as_bytes()).unwrap();
    let keys = parse_governance_keys(&folder.read("governance.pub")).unwrap();
    (policy, keys)
}

/// Both signatures of the log and a witness, with the path of a log of a billion entries and the
/// longest reason. The largest of all is built where its claims are.
#[test]
fn a_certificate_has_at_most_6_kb() {
    const MOST_BYTES: usize = 6 * 1_024;
    const HASH_LINE_BYTES: usize = 45;
    let kept = Kept::new();
    let key = kept.key.clone();
    let reason = "r".repeat(1_024);
    let revoke = ["key", "revoke", &key, "--reason", &reason, "--emergency"];
    kept.run(&revoke).exit(0);
    kept.certify(&key).exit(0);
    let proof = proof(&kept.folder);
    let witness = Signer::from_seed(KeyType::Ed25519Cosignature, "witness.example/w1", &[9; 32]);
    let witness = witness.unwrap();
    let checkpoint = proof.checkpoint().checkpoint().clone();
    let cosigned = SignedCheckpoint::sign(checkpoint, &[witness], 1_795_428_000).unwrap();
    let cosignature = cosigned.to_string();
    let cosignature = cosignature.lines().last().unwrap();
    let text = format!("{proof}{cosignature}\n");
    let hashes = 30_usize.saturating_sub(proof.hashes().len());
    let bytes = text.len() + hashes * HASH_LINE_BYTES;
    assert!(bytes <= MOST_BYTES, "{bytes}");
    // The witness counts for who asks for it.
    let policy = kept.folder.read("log.policy");
    let vkey = cosigned.signatures()[0].name();
    assert_eq!(vkey, "witness.example/w1");
    let witness = Signer::from_seed(KeyType::Ed25519Cosignature, vkey, &[9; 32]).unwrap();
    let asks = format!("witness w {}\nquorum w\n", witness.verifier());
    kept.folder
        .write("log.policy", policy.replace("quorum none\n", &asks));
    kept.folder.write(CERTIFICATE, text);
    let checked = check_there(&kept.folder, CERTIFICATE).exit(0);
    assert!(checked.out.contains("  witnessed w at "), "{checked:?}");
    let whole = keyward::digest::Digest::of(reason.as_bytes());
    let cut = format!("r… (the log has the whole, SHA-256 {whole})\n");
    assert!(checked.out.contains(&cut), "{checked:?}");
}

/// Two people, of whom this machine has one: the second confirms with the library.
#[test]
fn an_order_is_certified_with_who_gave_and_who_confirmed_it() {
    let kept = Kept::new();
    let key = kept.key.clone();
    let revoke = ["key", "revoke", &key, "--reason", "the vendor was breached"];
    let order = kept.run(&revoke).exit(0).out.trim().to_owned();
    let orders = kept.run(&["key", "orders"]).exit(0).json();
    let path = kept.folder.file("keyward.db");
    let mut registry = SqliteRegistry::open_existing(&path, KeyOptions::default()).unwrap();
    let by = By {
        at: keyward::clock::now(),
        actor: Some("bea"),
        user: Some("bea"),
        reason: None,
    };
    registry
        .confirm_revocation(order.parse().unwrap(), by)
        .unwrap();
    drop(registry);
    kept.certify(&key).exit(0);
    let checked = check_there(&kept.folder, CERTIFICATE).exit(0);
    let (by, at) = (&orders[0]["requester"], &orders[0]["at"]);
    let (by, at) = (by.as_str().unwrap(), at.as_str().unwrap());
    for line in [
        " by `bea`\n".to_owned(),
        "  reason         the vendor was breached\n".to_owned(),
        format!("  order          {order} by `{by}` at {at}\n"),
        "  first denied   none until it was certified\n".to_owned(),
    ] {
        assert!(checked.out.contains(&line), "{line}\n{checked:?}");
    }
}

/// What governance signs is shown as what it is, whatever it is: no line of it passes for another.
#[test]
fn a_claim_does_not_write_lines_of_its_own() {
    let kept = Kept::new();
    kept.revoke(&kept.key);
    kept.certify(&kept.key).exit(0);
    let (policy, keys) = trusted(&kept.folder);
    let bytes = kept.folder.read(CERTIFICATE);
    let (certificate, _) = check(bytes.as_bytes(), &policy, &keys).unwrap();
    let mut claims = certificate.claims;
    claims.reason = Some(ReasonClaim::of(
        "x\n  witnessed w at 2026-01-01T00:00:00Z\u{1b}[2J",
    ));
    let governance = read_key_file(&kept.folder.file("governance.key")).unwrap();
    let cose = claims.sign(&governance[0]).unwrap();
    let log = kept.open_log();
    let time = keyward::clock::now();
    let receipt = log.append_revocation(&Revocation { time, cose }).unwrap();
    let index = receipt.index().to_string();
    assert_eq!(log.close().problem, None);
    let prove = ["log", "prove", &index, "--out", CERTIFICATE];
    kept.run(&prove).exit(0);
    let checked = check_there(&kept.folder, CERTIFICATE).exit(0);
    assert!(
        !checked.out.contains("\n  witnessed") && !checked.out.contains('\u{1b}'),
        "{checked:?}"
    );
    // Somebody else's folder is not there.
    let args = ["cert", "check", CERTIFICATE, "--log", "absent"];
    kept.run(&args).exit(2);
}

/// Frozen: what a second implementation can be tested with.
#[test]
fn frozen_certificates_are_checked() {
    let folder = Folder::new();
    copy(&root().join("tests/golden/governance"), folder.path());
    let expected: Value = serde_json::from_str(&folder.read("claims.json")).unwrap();
    let proof = Proof::parse(folder.read("revocation.tlog-proof").as_bytes()).unwrap();
    let Ok(Entry::Revocation(revocation)) = Entry::decode(proof.extra()) else {
        panic!("no revocation");
    };
    let (policy, keys) = trusted(&folder);
    let bytes = folder.read("revocation.tlog-proof");
    let (certificate, _) = check(bytes.as_bytes(), &policy, &keys).unwrap();
    let claims = certificate.claims;
    assert_eq!(
        RevocationClaims::unverified(&revocation.cose),
        Some(claims.clone())
    );
    let order = claims.order.unwrap();
    let allowed = claims.last_allowed.unwrap();
    let denied = claims.first_denied.unwrap();
    let found = serde_json::json!({
        "origin": claims.origin,
        "key": claims.key,
        "key_record": claims.key_record,
        "revoked_at": claims.revoked_at,
        "by": claims.by,
        "reason": claims.reason.unwrap().text,
        "order": { "digest": order.digest, "at": order.at, "by": order.by },
        "event": claims.event,
        "read_from": claims.read_from,
        "last_allowed": { "index": allowed.index, "time": allowed.time, "leaf": allowed.leaf },
        "first_denied": { "index": denied.index, "time": denied.time },
    });
    assert_eq!(found, expected);
    check_there(&folder, "revocation.tlog-proof").exit(0);
    check_there(&folder, "nothing.no-allow").exit(0);
}
