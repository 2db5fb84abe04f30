//! Retention from the command line: what goes, what stays, and what everyone is told of it.

use std::fs;

use keyward::decision::{DecisionId, DecisionRecord, Permission};
use keyward::digest::Digest;
use keyward::log::{Log, LogOptions, Publishing, create_key_file};
use keyward::timestamp::Timestamp;

use crate::util::{Folder, copy};

const RETENTION: &str = "
[log.retention]
keep_days = 30
policy = \"Handbook 4.2: kept for 30 days\"
";

/// The quick start with a signed log of 600 decisions of the year 2020.
fn aged() -> Folder {
    let folder = Folder::quickstart();
    let now = Timestamp::parse("2020-02-02T02:02:02Z").unwrap();
    let origin = "keyward.example/quickstart";
    let signers = create_key_file(&folder.file("log.key"), origin, &[[1; 32], [2; 32]]).unwrap();
    let options = LogOptions {
        origin: origin.to_owned(),
        publishing: Some(Publishing {
            signers: signers.into(),
            interval_ms: 1_000,
            clock: || Timestamp::from_millis(1_580_608_922_000),
            witnesses: None,
        }),
        ..LogOptions::default()
    };
    let log = Log::create(&folder.file("log"), options, now).unwrap();
    for number in 0..600_u128 {
        let record = DecisionRecord {
            id: DecisionId(number),
            time: now,
            request: Some(format!("old{number}").into()),
            key: None,
            key_record: None,
            policy_set: Digest::of(b""),
            permission: Permission::Deny,
            reason: "key.missing".into(),
            detail: None,
            evaluations: Default::default(),
            client: None,
        };
        log.append_decision(&record).unwrap();
    }
    assert_eq!(log.close().problem, None);
    folder.run(&["log", "init"]).exit(0);
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    folder
}

#[test]
fn old_entries_go_by_a_written_policy_and_everyone_is_told() {
    let folder = aged();
    let said = folder.run(&["log", "prune"]).exit(2).err;
    assert!(said.contains("without a written policy"), "{said}");
    let config = folder.read("keyward.toml");
    folder.write("keyward.toml", format!("{config}{RETENTION}"));

    let said = folder.run(&["log", "prune", "--dry-run"]).exit(0).out;
    assert!(
        said.starts_with("would prune: entries 0 to 511, "),
        "{said}"
    );
    assert!(folder.file("log/tile/entries/000").exists());
    let said = folder.run(&["log", "prune"]).exit(0).out;
    assert!(said.starts_with("pruned: entries 0 to 511, "), "{said}");
    assert!(!folder.file("log/tile/entries/000").exists());
    let said = folder.run(&["log", "prune"]).exit(0).out;
    assert!(
        said.starts_with("nothing to prune: from entry 512 on"),
        "{said}"
    );

    let said = folder.run(&["log", "verify"]).exit(0).out;
    assert!(said.contains("pruned    entries under 512, "), "{said}");
    assert!(said.contains("Handbook 4.2: kept for 30 days"), "{said}");
    let said = folder.run(&["log", "prove", "3"]).exit(3).err;
    assert!(said.contains("entry 3 is no longer kept"), "{said}");
    for command in [&["log", "prove", "old3"][..], &["explain", "old3"]] {
        let said = folder.run(command).exit(2).err;
        assert!(
            said.contains("entries under 512 are no longer kept"),
            "{said}"
        );
    }
    let proved = ["log", "prove", "old550", "--out", "old550.tlog-proof"];
    folder.run(&proved).exit(0);
    folder
        .run(&["log", "check-proof", "old550.tlog-proof"])
        .exit(0);
    let shown = folder.run(&["log", "cat"]).exit(0).out;
    let first = shown.lines().next().unwrap();
    assert!(first.contains("\"index\":512"), "{first}");
    assert!(shown.contains("\"type\":\"retention\""));
    let said = folder.run(&["replay"]).exit(0).err;
    assert!(said.contains("not replayed: entries under 512"), "{said}");

    // A copy needs the note beside the tiles; a host goes on with the log.
    let auditor = Folder::new();
    copy(&folder.file("log/tile"), &auditor.file("copy/tile"));
    fs::copy(
        folder.file("log/checkpoint"),
        auditor.file("copy/checkpoint"),
    )
    .unwrap();
    fs::copy(folder.file("log.policy"), auditor.file("log.policy")).unwrap();
    let verify = ["log", "verify", "copy", "--policy", "log.policy"];
    let said = auditor.run(&verify).exit(1).out;
    assert!(
        said.contains("entries 0 to 255: `tile/entries/000` is missing"),
        "{said}"
    );
    fs::copy(folder.file("log/retention"), auditor.file("copy/retention")).unwrap();
    auditor.run(&verify).exit(0);
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    folder.run(&["log", "verify"]).exit(0);
}

#[test]
fn what_is_not_signed_is_not_pruned() {
    let folder = Folder::quickstart();
    let config = folder.read("keyward.toml");
    folder.write("keyward.toml", format!("{config}{RETENTION}"));
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let said = folder.run(&["log", "prune"]).exit(2).err;
    assert!(said.contains("is not signed"), "{said}");
    for (bad, expected) in [
        (
            RETENTION.replace("30\n", "0\n"),
            "`keep_days` is out of bounds",
        ),
        (
            RETENTION.replace("keep_days = 30\n", ""),
            "`keep_days` is missing",
        ),
        (
            RETENTION.replace("policy", "polcy"),
            "did you mean `policy`",
        ),
    ] {
        folder.write("keyward.toml", format!("{config}{bad}"));
        let said = folder.run(&["check"]).exit(2).err;
        assert!(said.contains(expected), "{said}");
    }
}

/// The folder of a signed log that is gone is not quietly begun again.
#[test]
fn a_signed_log_that_is_gone_is_noticed() {
    let folder = Folder::quickstart();
    folder.run(&["log", "init"]).exit(0);
    // It is there and signed before the first decision.
    folder.run(&["log", "verify"]).exit(0);
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    fs::remove_dir_all(folder.file("log")).unwrap();
    let said = folder.run(&["evaluate", "requests.jsonl"]).exit(3).err;
    assert!(said.contains("there is no log in it"), "{said}");
    assert!(!folder.file("log").exists());
    let said = folder.run(&["check"]).exit(3).err;
    assert!(said.contains("there is no log in it"), "{said}");
}
