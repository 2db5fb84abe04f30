//! The lives of keys with the real command: who may do what, what the log is told, and that nothing
//! is lost when it is killed in between.

use std::fs;
use std::process::Stdio;

use keyward::clock;
use keyward::log::{Entry, Log, LogOptions, LogReader};
use serde_json::{Value, json};

use crate::util::{Folder, Ran};

/// A folder with a registry in a database.
pub(crate) fn folder() -> Folder {
    Folder::quickstart_with_database()
}

/// Issues a key and returns its credential and id.
pub(crate) fn issue(folder: &Folder) -> (String, String) {
    let issued = folder.run(&[
        "key",
        "issue",
        "--owner",
        "sync",
        "--scope",
        "inventory:read",
        "--scope",
        "inventory:write",
        "--expires-in-days",
        "60",
        "--reason",
        "a test",
    ]);
    credential_of(&issued.exit(0))
}

pub(crate) fn credential_of(ran: &Ran) -> (String, String) {
    let credential = ran.out.trim().to_owned();
    let id = credential.split('_').nth(2).unwrap().to_owned();
    (credential, id)
}

/// Decides one request now, and returns the reason.
pub(crate) fn decide(folder: &Folder, credential: &str, method: &str) -> String {
    let request = json!({
        "id": "r", "time": clock::now().to_string(), "credential": credential, "method": method,
        "host": "api.example.com", "path": "/inventory/42", "source": "203.0.113.9",
    });
    let input = format!("{request}\n");
    let ran = folder.run_with(&["evaluate", "--format", "json", "-"], input.as_bytes());
    ran.json()[0]["reason"].as_str().unwrap().to_owned()
}

/// The kinds of the events of a key.
fn history(folder: &Folder, id: &str) -> Vec<String> {
    let events = folder.run(&["key", "history", id]).exit(0).json();
    let kind = |event: &Value| event["kind"].as_str().unwrap().to_owned();
    events.iter().map(kind).collect()
}

/// The numbers and kinds of the key events in the log.
pub(crate) fn logged(folder: &Folder) -> Vec<(u64, String)> {
    let reader = LogReader::open(&folder.file("log")).unwrap();
    let entries = reader.entries().map(|entry| entry.unwrap().1);
    entries
        .filter_map(|bytes| match Entry::decode(&bytes).unwrap() {
            Entry::KeyEvent(event) => Some((event.sequence, event.kind.as_str().to_owned())),
            _ => None,
        })
        .collect()
}

/// Makes this machine's user the one principal.
fn be(folder: &Folder, name: &str, roles: &str, score_percent: u8) {
    let config = folder.read("keyward.toml");
    let config = config.split("\n[[principal]]").next().unwrap();
    folder.write("keyward.toml", config);
    let user = std::process::Command::new("id")
        .arg("-un")
        .output()
        .unwrap();
    let user = String::from_utf8(user.stdout).unwrap();
    add_principal(folder, (name, user.trim()), roles, score_percent);
}

pub(crate) fn add_principal(
    folder: &Folder,
    (name, user): (&str, &str),
    roles: &str,
    score_percent: u8,
) {
    let config = folder.read("keyward.toml");
    let principal = format!(
        "\n[[principal]]\nname = \"{name}\"\nos_user = \"{user}\"\nroles = [{roles}]\n\
         [principal.certification]\ncourse = \"API keys\"\nscore_percent = {score_percent}\n\
         issued_at = \"2026-01-01T00:00:00Z\"\nexpires_at = \"2126-01-01T00:00:00Z\"\n"
    );
    folder.write("keyward.toml", format!("{config}{principal}"));
}

/// Runs a command as another person, who shares the account of this one.
pub(crate) fn run_as(user: &str, folder: &Folder, args: &[&str]) -> Ran {
    let mut command = folder.command(args);
    Ran::of(&command.env("SUDO_USER", user).output().unwrap())
}

#[test]
fn a_key_lives_and_the_log_tells_of_it() {
    let folder = folder();
    folder.run(&["log", "init"]).exit(0);
    let (credential, id) = issue(&folder);
    assert_eq!(decide(&folder, &credential, "GET"), "scope.granted");
    let key = |args: &[&str]| folder.run(&[&["key"], args].concat());

    key(&["suspend", &id, "--reason", "odd addresses"]).exit(0);
    assert_eq!(decide(&folder, &credential, "GET"), "key.suspended");
    let said = key(&["suspend", &id]).exit(2).err;
    assert!(said.contains("it is suspended"), "{said}");
    key(&["resume", &id]).exit(0);
    key(&["mask", &id]).exit(0);
    assert_eq!(decide(&folder, &credential, "POST"), "scope.read-only");
    assert_eq!(decide(&folder, &credential, "GET"), "scope.granted");
    key(&["unmask", &id]).exit(0);
    assert_eq!(decide(&folder, &credential, "POST"), "scope.granted");
    key(&["scopes", &id, "--set", "inventory:read"]).exit(0);
    assert_eq!(decide(&folder, &credential, "POST"), "scope.missing");
    let elsewhere = ["networks", &id, "--allow", "198.51.100.0/24"];
    let said = key(&elsewhere).exit(2).err;
    assert!(said.contains("203.0.113.9"), "{said}");
    key(&[&elsewhere[..], &["--accept-breakage"]].concat()).exit(0);
    assert_eq!(decide(&folder, &credential, "GET"), "ip.not-allowed");
    key(&["networks", &id, "--anywhere"]).exit(0);

    // The end moves earlier and never later.
    key(&["shorten", &id, "--in", "30d"]).exit(0);
    let said = key(&["shorten", &id, "--in", "31d"]).exit(2).err;
    assert!(said.contains("its expiry is locked"), "{said}");
    let said = key(&[
        "issue",
        "--owner",
        "o",
        "--scope",
        "a:b",
        "--expires-in-days",
        "91",
    ]);
    assert!(said.exit(2).err.contains("at most 90 days"));

    let kinds = history(&folder, &id);
    assert_eq!(
        kinds,
        [
            "issued",
            "suspended",
            "resumed",
            "masked",
            "unmasked",
            "scopes-narrowed",
            "networks-changed",
            "networks-changed",
            "expiry-shortened",
            "refused",
        ]
    );
    let in_log: Vec<_> = logged(&folder).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(in_log, kinds);
    folder.run(&["log", "verify"]).exit(0);
    folder.run(&["replay"]).exit(0);
}

#[test]
fn a_rotation_overlaps_and_a_lost_answer_is_asked_for_again() {
    let folder = folder();
    let (old, id) = issue(&folder);
    let rotate = || folder.run(&["key", "rotate", &id, "--grace", "1d"]);
    let (lost, successor) = credential_of(&rotate().exit(0));
    assert_eq!(decide(&folder, &old, "GET"), "scope.granted");
    let repeated = rotate().exit(0);
    assert!(repeated.err.contains("was rotated before"), "{repeated:?}");
    let (new, again) = credential_of(&repeated);
    assert_eq!(again, successor);
    assert_eq!(decide(&folder, &lost, "GET"), "key.unknown");
    assert_eq!(decide(&folder, &new, "GET"), "scope.granted");
    // It is in use now, so that its secret is not replaced again.
    let said = rotate().exit(2).err;
    assert!(said.contains("rotation-in-progress"), "{said}");
    assert_eq!(decide(&folder, &new, "GET"), "scope.granted");
    assert_eq!(
        history(&folder, &successor),
        ["succeeded", "secret-replaced", "activated"]
    );
    let said = folder.run(&["key", "rotate", &successor]).exit(2).err;
    assert!(said.contains("rotation-in-progress"), "{said}");
    folder.run(&["key", "end-grace", &id]).exit(0);
    assert_eq!(decide(&folder, &old, "GET"), "rotation.grace-ended");
    // One that leaked ends at once.
    let leaked = ["key", "rotate", &successor, "--grace", "0"];
    let (newest, _) = credential_of(&folder.run(&leaked).exit(0));
    assert_eq!(decide(&folder, &new, "GET"), "rotation.grace-ended");
    assert_eq!(decide(&folder, &newest, "GET"), "scope.granted");
    // Nothing is due.
    assert_eq!(folder.run(&["key", "rotate", "--due"]).exit(0).out, "");
}

#[test]
fn what_is_due_is_rotated() {
    let folder = folder();
    let due = |id: &str, by: &str| {
        format!(
            r#"{{"id":"{id}","owner":"o","issued_at":"2026-01-01T00:00:00Z","rotate_by":"{by}",
            "expires_at":"2126-01-01T00:00:00Z","scopes":["inventory:read"]}}"#
        )
        .replace('\n', "")
    };
    let (past, future) = ("2026-02-01T00:00:00Z", "2125-01-01T00:00:00Z");
    let keys = [
        due("Due000000001", past),
        due("Due000000002", past),
        due("Later0000001", future),
    ];
    folder.write("due.jsonl", keys.join("\n"));
    folder.run(&["key", "import", "due.jsonl"]).exit(0);
    let rotated = folder
        .run(&["key", "rotate", "--due", "--reason", "due"])
        .exit(0)
        .json();
    let of = |name: &str| -> Vec<_> { rotated.iter().map(|line| line[name].clone()).collect() };
    assert_eq!(of("key"), ["Due000000001", "Due000000002"]);
    for credential in of("credential") {
        assert_eq!(
            decide(&folder, credential.as_str().unwrap(), "GET"),
            "scope.granted"
        );
    }
    assert!(
        folder
            .run(&["key", "rotate", "--due"])
            .exit(0)
            .out
            .is_empty()
    );
}

#[test]
fn a_revocation_needs_two_and_an_emergency_a_review() {
    let folder = folder();
    be(&folder, "ann", "\"manager\"", 80);
    let (credential, id) = issue(&folder);
    let (other, second) = issue(&folder);
    let (_, third) = issue(&folder);
    let order = folder
        .run(&["key", "revoke", &id, "--reason", "the vendor was breached"])
        .exit(0);
    let digest = order.out.trim().to_owned();
    assert_eq!(decide(&folder, &credential, "GET"), "key.suspended");
    let orders = folder.run(&["key", "orders"]).exit(0).json();
    assert_eq!(
        (&orders[0]["order"], &orders[0]["requester"]),
        (&json!(digest), &json!("ann"))
    );
    let said = folder.run(&["key", "confirm", &digest]).exit(2).err;
    assert!(said.contains("another manager has to confirm"), "{said}");
    // Another name in the configuration makes nobody another person.
    be(&folder, "ben", "\"manager\"", 80);
    let said = folder.run(&["key", "confirm", &digest]).exit(2).err;
    assert!(said.contains("another manager has to confirm"), "{said}");
    be(&folder, "ann", "\"manager\"", 80);
    add_principal(&folder, ("ben", "ben1"), "\"manager\"", 80);
    run_as("ben1", &folder, &["key", "confirm", &digest]).exit(0);
    assert_eq!(decide(&folder, &credential, "GET"), "key.revoked");
    let said = folder.run(&["key", "resume", &id]).exit(2).err;
    assert!(said.contains("it is revoked, and that is final"), "{said}");
    assert_eq!(
        history(&folder, &id),
        ["issued", "revocation-ordered", "revoked"]
    );

    let emergency = |id: &str| {
        folder.run(&[
            "key",
            "revoke",
            id,
            "--reason",
            "in use by an attacker",
            "--emergency",
        ])
    };
    emergency(&second).exit(0);
    assert_eq!(decide(&folder, &other, "GET"), "key.revoked");
    let said = emergency(&third).exit(2).err;
    assert!(said.contains("that nobody has reviewed"), "{said}");
    let review = ["key", "review", &second, "--reason", "it was right"];
    let refused = folder.run(&review).exit(2).err;
    assert!(refused.contains("another manager"), "{refused}");
    run_as("ben1", &folder, &review).exit(0);
    folder.run(&["registry", "check"]).exit(0);
    emergency(&third).exit(0);
    let kinds = logged(&folder).into_iter().map(|(_, kind)| kind);
    assert_eq!(kinds.filter(|kind| kind.contains("emergency")).count(), 3);
}

#[test]
fn roles_and_certifications_say_who_may_what() {
    let folder = folder();
    be(&folder, "ann", "\"operator\"", 80);
    let (_, id) = issue(&folder);
    let key = |args: &[&str]| folder.run(&[&["key"], args].concat());
    key(&["suspend", &id]).exit(0);
    key(&["resume", &id]).exit(0);
    for manager_only in [
        &["scopes", &id, "--set", "*:*"][..],
        &["rotate", &id, "--force"],
        &["revoke", &id, "--reason", "r", "--emergency"],
        &["confirm", &"0".repeat(64)],
    ] {
        let said = key(manager_only).exit(2).err;
        assert!(said.contains("that needs the role manager"), "{said}");
    }
    // A score below 70 percent is none, and neither is another user.
    be(&folder, "ann", "\"manager\"", 60);
    let said = key(&["suspend", &id]).exit(2).err;
    assert!(said.contains("was not passed with 60 %"), "{said}");
    key(&["list"]).exit(0);
    be(&folder, "eve", "\"viewer\"", 80);
    let said = key(&["export"]).exit(2).err;
    assert!(said.contains("`eve` may not export keys"), "{said}");
    let said = key(&["mask", &id]).exit(2).err;
    assert!(said.contains("`eve` may not restrict keys"), "{said}");
    let config = folder.read("keyward.toml");
    let (before, after) = config.split_once("os_user = \"").unwrap();
    let after = after.split_once('"').unwrap().1;
    folder.write(
        "keyward.toml",
        format!("{before}os_user = \"nobody-here\"{after}"),
    );
    for command in [
        &["history", &id][..],
        &["suspend", &id],
        &["list"],
        &["show", &id],
    ] {
        assert!(key(command).exit(2).err.contains("is no principal"));
    }
    // As the owner of the registry through sudo, each person is who they are.
    be(&folder, "ann", "\"operator\"", 80);
    let config = folder.read("keyward.toml");
    let (before, after) = config.split_once("os_user = \"").unwrap();
    let after = after.split_once('"').unwrap().1;
    folder.write(
        "keyward.toml",
        format!("{before}os_user = \"ann-at-work\"{after}"),
    );
    assert!(key(&["mask", &id]).exit(2).err.contains("is no principal"));
    let mut through_sudo = folder.command(&["key", "mask", &id]);
    let through_sudo = through_sudo
        .env("SUDO_USER", "ann-at-work")
        .output()
        .unwrap();
    Ran::of(&through_sudo).exit(0);
    // Every refusal of a change is an event, which the next change tells the log.
    be(&folder, "ann", "\"operator\"", 80);
    let refused = history(&folder, &id)
        .iter()
        .filter(|kind| *kind == "refused")
        .count();
    assert!(refused >= 5, "{refused}");
    key(&["suspend", &id]).exit(0);
    let events = logged(&folder);
    assert!(
        events
            .iter()
            .zip(1..)
            .all(|((number, _), expected)| *number == expected)
    );
}

/// A host writes the log: the change is made, and told by whoever opens the log next.
#[test]
fn a_change_beside_a_running_host_is_told_later() {
    let folder = folder();
    let (credential, id) = issue(&folder);
    let options = LogOptions {
        origin: "keyward.example/quickstart".to_owned(),
        ..LogOptions::default()
    };
    let host = Log::open(&folder.file("log"), options, clock::now()).unwrap();
    let suspended = folder.run(&["key", "suspend", &id]).exit(0);
    assert!(
        suspended
            .err
            .contains("is being written by another process"),
        "{suspended:?}"
    );
    assert_eq!(logged(&folder).len(), 1);
    drop(host);
    assert_eq!(decide(&folder, &credential, "GET"), "key.suspended");
    assert_eq!(logged(&folder).len(), 2);
}

/// Nobody had signed it, so that it can be begun anew, but not without a word.
#[test]
fn a_log_that_is_gone_is_missed() {
    let folder = folder();
    folder.run(&["key", "import", "keys.jsonl"]).exit(0);
    fs::remove_dir_all(folder.file("log")).unwrap();
    let said = folder.run(&["key", "mask", "k7Qp2mXw9LaR"]).exit(0).err;
    assert!(said.contains("that log was deleted or restored"), "{said}");
    assert_eq!(logged(&folder).len(), 2);
    // An imported key tells of its import.
    assert_eq!(history(&folder, "k7Qp2mXw9LaR"), ["imported", "masked"]);
    be(&folder, "ann", "\"operator\"", 80);
    for command in ["prune", "rotate-key"] {
        let said = folder.run(&["log", command]).exit(2).err;
        assert!(
            said.contains("replace the log's key or prune the log"),
            "{said}"
        );
    }
}

#[test]
fn a_registry_from_an_older_backup_decides_nothing() {
    let folder = folder();
    let (credential, id) = issue(&folder);
    fs::copy(folder.file("keyward.db"), folder.file("backup.db")).unwrap();
    folder.run(&["key", "suspend", &id]).exit(0);
    fs::copy(folder.file("backup.db"), folder.file("keyward.db")).unwrap();
    let request = format!("{{\"key\":\"{id}\"}}\n");
    for command in [&["evaluate", "-"][..], &["key", "rotate", &id]] {
        let said = folder.run_with(command, request.as_bytes()).exit(3).err;
        assert!(said.contains("was restored from an older backup"), "{said}");
    }
    assert!(!credential.is_empty());
}

/// What a dry run says is what the registry would do, and it does nothing.
#[test]
fn a_dry_run_of_what_takes_away_or_gives_back_changes_nothing() {
    let folder = folder();
    let (credential, id) = issue(&folder);
    let key = |args: &[&str]| folder.run(&[&["key"], args, &["--dry-run"]].concat());
    let revoke = ["revoke", &id, "--reason", "r"];
    let emergency = [&revoke[..], &["--emergency"]].concat();
    let events = || folder.run(&["key", "history", &id]).exit(0).out;
    let before = events();
    for (args, kind) in [
        (&["suspend", &id][..], "suspended"),
        (&["mask", &id], "masked"),
        (&revoke, "revocation-ordered"),
        (&emergency, "revoked-in-emergency"),
    ] {
        let ran = key(args).exit(0);
        let change = format!("ok       change     {kind}, version 2 of a key that is active\n");
        assert!(ran.out.ends_with(&change), "{ran:?}");
        assert!(ran.out.starts_with("ok       authority "), "{ran:?}");
    }
    for (command, why) in [
        ("resume", "it is active"),
        ("unmask", "it is so already"),
        ("end-grace", "it is active"),
    ] {
        let ran = key(&[command, &id]).exit(1);
        assert!(ran.out.contains("refused  change "), "{ran:?}");
        assert!(ran.out.contains(why), "{ran:?}");
    }
    key(&["suspend", "NoSuchKey234"]).exit(2);
    assert_eq!(events(), before);
    assert_eq!(decide(&folder, &credential, "GET"), "scope.granted");
    // While an order is open, the key is neither resumed nor ordered again.
    folder.run(&["key", "revoke", &id, "--reason", "r"]).exit(0);
    let logged_before = logged(&folder).len();
    for args in [&["resume", &id][..], &revoke] {
        let ran = key(args).exit(1);
        assert!(ran.out.contains("an order to revoke key"), "{ran:?}");
    }
    // Who may not, is told, and it is no event.
    be(&folder, "eve", "\"viewer\"", 80);
    for args in [&["suspend", &id][..], &["unmask", &id], &emergency] {
        let ran = key(args).exit(1);
        assert!(
            ran.out.contains("refused  authority  `eve` may not"),
            "{ran:?}"
        );
    }
    assert_eq!(logged(&folder).len(), logged_before);
}

#[test]
fn that_no_order_is_open_is_said() {
    let folder = folder();
    let (_, id) = issue(&folder);
    let none = folder.run(&["key", "orders"]).exit(0);
    assert_eq!(
        (&*none.out, &*none.err),
        ("", "no revocation order is open\n")
    );
    folder.run(&["key", "revoke", &id, "--reason", "r"]).exit(0);
    let one = folder.run(&["key", "orders"]).exit(0);
    assert_eq!((one.json().len(), &*one.err), (1, ""));
}

/// A credential is shown once: where it would be lost, none is made.
#[test]
fn a_credential_is_not_printed_to_nowhere() {
    let folder = folder();
    let (_, id) = issue(&folder);
    let new = "key issue --owner o --scope inventory:read --expires-in-days 9";
    let new: Vec<_> = new.split(' ').collect();
    for args in [
        &new[..],
        &["key", "rotate", &id],
        &["key", "rotate", "--due"],
    ] {
        let ran = folder.command(args).stdout(Stdio::null()).output().unwrap();
        let ran = Ran::of(&ran).exit(2);
        assert!(ran.err.contains("nothing was changed"), "{ran:?}");
        // Closed is the same.
        let closed = std::process::Command::new("sh")
            .args([
                "-c",
                "exec \"$0\" \"$@\" >&-",
                env!("CARGO_BIN_EXE_keyward"),
            ])
            .args(args)
            .current_dir(folder.path())
            .output()
            .unwrap();
        Ran::of(&closed).exit(2);
    }
    assert_eq!(history(&folder, &id), ["issued"]);
    let list = folder.run(&["key", "list", "--format", "json"]).exit(0);
    assert_eq!(list.json().len(), 1);
    // Nothing is lost by a dry run, nor in a file.
    let dry = [&new[..], &["--dry-run"]].concat();
    let ran = folder.command(&dry).stdout(Stdio::null()).output().unwrap();
    Ran::of(&ran).exit(0);
    let file = fs::File::create(folder.file("credential")).unwrap();
    let ran = folder.command(&new).stdout(file).output().unwrap();
    Ran::of(&ran).exit(0);
    assert_eq!(folder.read("credential").lines().count(), 1);
}
