//! The statement that nothing was allowed with a key: with the real command, as an auditor makes it
//! and as a stranger checks it.

use std::fs;

use keyward::governance::certificate::check;
use keyward::governance::statement::Statement;
use keyward::log::read_key_file;

use crate::certificate::{CERTIFICATE, Kept, STATEMENT, check_there, trusted};
use crate::util::copy;

#[test]
fn that_nothing_was_allowed_is_stated_and_checked() {
    let kept = Kept::new();
    let key = kept.key.clone();
    let state = ["audit", "no-allow-after", &key, "--out", STATEMENT];
    let early = kept.run(&state).exit(2);
    assert!(early.err.contains("has revoked key"), "{early:?}");
    kept.revoke(&key);
    kept.evaluate();
    let decisions = kept.decisions(&key);
    let stated = kept.run(&state).exit(0);
    assert!(stated.out.contains(": nothing was allowed\n"), "{stated:?}");

    // Before the revocation something was: the entries are named, and nothing is signed.
    let allowed = decisions.iter().find(|it| it["effect"] == "allow").unwrap();
    let from = [
        "audit",
        "no-allow-after",
        &key,
        "--from",
        "0",
        "--out",
        "all",
    ];
    let ran = kept.run(&from).exit(1);
    assert!(
        ran.out
            .contains(&format!("  allowed: entry {} at ", allowed["index"])),
        "{ran:?}"
    );
    assert!(!kept.folder.file("all").exists());

    let other = kept.handed_over(STATEMENT);
    let checked = check_there(&other, STATEMENT).exit(0);
    let since = decisions
        .iter()
        .filter(|it| it["reason"] == "key.revoked")
        .count();
    assert!(since > 0);
    let says = format!("key {key}: {since} decisions in entries ");
    assert!(checked.out.starts_with(&says), "{checked:?}");
    assert!(
        checked.out.contains("not looked up in the log"),
        "{checked:?}"
    );
}

#[test]
fn a_statement_is_looked_up_in_a_copy_of_a_log_that_has_gone_on() {
    let kept = Kept::new();
    kept.revoke(&kept.key);
    kept.evaluate();
    let state = ["audit", "no-allow-after", &kept.key, "--out", STATEMENT];
    kept.run(&state).exit(0);
    let other = kept.handed_over(STATEMENT);
    kept.evaluate();
    copy(
        &kept.folder.file("log").join("tile"),
        &other.file("copy/tile"),
    );
    fs::copy(
        kept.folder.file("log/checkpoint"),
        other.file("copy/checkpoint"),
    )
    .unwrap();
    let with_log = |log: &str| {
        let check = ["cert", "check", STATEMENT, "--policy", "log.policy"];
        other.run(&[&check[..], &["--key", "governance.pub", "--log", log]].concat())
    };
    let checked = with_log("copy").exit(0);
    assert!(checked.out.contains("the log bears it out"), "{checked:?}");
    let (policy, keys) = trusted(&other);
    let statement = fs::read(other.file(STATEMENT)).unwrap();
    let (statement, _) = Statement::check(&statement, &policy, &keys).unwrap();
    let size = statement.claims.checkpoint.checkpoint().head().size;
    let bundle = other.file(&format!("copy/tile/entries/000.p/{size}"));
    let bytes = fs::read(&bundle).unwrap();
    let mut changed = bytes;
    let half = changed.len() / 2;
    changed[half] ^= 1;
    fs::write(&bundle, changed).unwrap();
    let refused = with_log("copy").exit(1);
    assert!(
        refused.err.contains("do not lead to the root hash"),
        "{refused:?}"
    );
    fs::remove_file(&bundle).unwrap();
    with_log("copy").exit(1);
}

/// The oldest entries are gone, and both say from where on the log was read.
#[test]
fn what_was_pruned_is_not_vouched_for() {
    const KEPT_FROM: u64 = 512;
    let kept = Kept::new();
    let lines = kept.folder.read("requests.jsonl").repeat(200);
    kept.folder.write("many.jsonl", lines);
    let evaluate = ["evaluate", "--format", "json", "many.jsonl"];
    kept.run(&evaluate).exit(0);
    let log = kept.open_log();
    let now = keyward::clock::now();
    let later = keyward::timestamp::Timestamp::from_millis(now.millis() + 1_000);
    let pruned = log.prune((later, "no longer needed"), now).unwrap();
    assert_eq!(pruned.unwrap().retention.below, KEPT_FROM);
    drop(log);
    kept.revoke(&kept.key);
    kept.evaluate();
    kept.certify(&kept.key).exit(0);
    let (policy, keys) = trusted(&kept.folder);
    let bytes = kept.folder.read(CERTIFICATE);
    let (certificate, _) = check(bytes.as_bytes(), &policy, &keys).unwrap();
    let claims = certificate.claims;
    assert_eq!(claims.read_from, KEPT_FROM);
    assert!(claims.last_allowed.unwrap().index > KEPT_FROM);
    let state = ["audit", "no-allow-after", &kept.key];
    let all = kept.run(&[&state[..], &["--from", "511"]].concat()).exit(3);
    assert!(
        all.err.contains("entries under 512 are no longer kept"),
        "{all:?}"
    );
    let some = kept.run(&[&state[..], &["--from", "530"]].concat()).exit(1);
    let allowed = (530..claims.event).filter(|index| {
        let cat = ["log", "cat", "--from", &index.to_string(), "--count", "1"];
        kept.run(&cat).exit(0).json()[0]["effect"] == "allow"
    });
    let says = format!(": {} of them allowed", allowed.count());
    assert!(some.out.contains(&says), "{says} {some:?}");
    let since = kept
        .run(&[&state[..], &["--out", STATEMENT]].concat())
        .exit(0);
    assert!(since.out.contains(": 3 decisions in entries "), "{since:?}");
    check_there(&kept.folder, STATEMENT).exit(0);
    let nothing = kept
        .run(&[&state[..], &["--from", "100000"]].concat())
        .exit(2);
    assert!(
        nothing.err.contains("none from entry 100000 on"),
        "{nothing:?}"
    );
}

/// A statement that governance has signed wrongly: the log tells.
#[test]
fn a_log_contradicts_a_statement_that_is_wrong() {
    let kept = Kept::new();
    let key = kept.key.clone();
    let (policy, keys) = trusted(&kept.folder);
    let log = kept.folder.file("log");
    let from = (key.parse().unwrap(), Some(0));
    let mut uses = keyward::audit::uses::uses_after(&log, &policy, from).unwrap();
    assert!(uses.allowed > 0);
    let signer = read_key_file(&kept.folder.file("governance.key")).unwrap();
    let now = keyward::clock::now();
    assert!(keyward::governance::statement::NoAllowClaims::of(&uses, now).is_none());
    uses.allowed = 0;
    let claims = keyward::governance::statement::NoAllowClaims::of(&uses, now).unwrap();
    let wrong = claims.sign(&signer[0]).unwrap();
    let (statement, _) = Statement::check(&wrong, &policy, &keys).unwrap();
    let found = statement.check_content(&log).unwrap_err().to_string();
    assert!(found.contains("of them allowed"), "{found}");
}
