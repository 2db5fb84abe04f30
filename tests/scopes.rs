//! Scopes of keys, the checks before a key is changed, and who uses a key: the real command.

use keyward::audit::what_if::{Ruling, WhatIf};
use keyward::log::{Entry, LogReader};

use crate::util::{Folder, Ran, engine};

/// An issued key, by its id.
#[track_caller]
pub(crate) fn issue(folder: &Folder, scopes: &[&str], more: &[&str]) -> String {
    let mut args = vec!["key", "issue", "--owner", "x", "--expires-in-days", "30"];
    scopes.iter().for_each(|it| args.extend(["--scope", *it]));
    args.extend(more);
    let issued = folder.run(&args).exit(0);
    issued.out.trim().split('_').nth(2).unwrap().to_owned()
}

/// Requests of a key, now: method, path and address.
#[track_caller]
pub(crate) fn request(folder: &Folder, key: &str, requests: &[(&str, &str, &str)]) -> Vec<String> {
    let lines: Vec<_> = requests
        .iter()
        .map(|(method, path, source)| {
            serde_json::json!({
                "key": key,
                "method": method,
                "host": "api.example.com",
                "path": path,
                "source": source,
            })
            .to_string()
        })
        .collect();
    let args = ["evaluate", "--format", "json", "-"];
    let ran = folder.run_with(&args, lines.join("\n").as_bytes()).exit(0);
    let reason = |it: &serde_json::Value| it["reason"].as_str().unwrap().to_owned();
    ran.json().iter().map(reason).collect()
}

pub(crate) const HERE: &str = "203.0.113.9";

/// The scopes and the version of a key.
pub(crate) fn shown(folder: &Folder, key: &str) -> (Vec<String>, u64) {
    let ran = folder.run(&["key", "show", key]).exit(0);
    let value: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let scopes = value["scopes"].as_array().unwrap().iter();
    let scopes = scopes.map(|it| it.as_str().unwrap().to_owned()).collect();
    (scopes, value["version"].as_u64().unwrap())
}

/// The user who runs the tests.
fn user() -> String {
    let ran = Ran::of(
        &std::process::Command::new("id")
            .arg("-un")
            .output()
            .unwrap(),
    );
    ran.out.trim().to_owned()
}

pub(crate) fn add(folder: &Folder, toml: &str) {
    folder.write("keyward.toml", folder.read("keyward.toml") + toml);
}

pub(crate) fn principal(roles: &str, more: &str) -> String {
    format!(
        "\n[[principal]]\nname = \"ann\"\nos_user = \"{}\"\nroles = [{roles}]\n{more}\n\
         [principal.certification]\ncourse = \"keys\"\nscore_percent = 90\n\
         issued_at = \"2020-01-01T00:00:00Z\"\nexpires_at = \"2100-01-01T00:00:00Z\"\n",
        user()
    )
}

#[test]
fn a_scope_that_there_is_not_is_refused_with_the_nearest() {
    let folder = Folder::quickstart_with_database();
    let args = [
        "key",
        "issue",
        "--owner",
        "x",
        "--expires-in-days",
        "30",
        "--scope",
    ];
    let issue_ = |scope: &str| folder.run(&[&args[..], &[scope]].concat());
    let ran = issue_("inventory:raed").exit(2);
    assert!(
        ran.err.contains("did you mean `inventory:read`?"),
        "{ran:?}"
    );
    assert_eq!(ran.out, "");
    let ran = issue_("orders.*:read").exit(2);
    assert!(ran.err.contains("stands for none of the scopes"), "{ran:?}");
    let list = folder.run(&["key", "list"]).exit(0);
    assert!(list.out.contains("0 keys"), "{list:?}");
    // What [governance] adds is there.
    add(
        &folder,
        "\n[governance]\nscopes = [\"orders.items:read\"]\n",
    );
    issue_("orders.items:read").exit(0);
    let id = issue(&folder, &["inventory:read"], &[]);
    let ran = folder
        .run(&["key", "scopes", &id, "--set", "orders.item:read"])
        .exit(2);
    assert!(
        ran.err.contains("did you mean `orders.items:read`?"),
        "{ran:?}"
    );
    assert_eq!(shown(&folder, &id), (vec!["inventory:read".to_owned()], 1));
    // A broken list is a problem of the configuration, each with its place.
    add(
        &folder,
        "\n[[principal]]\nname = \"a\"\nroles = []\nmay_grant = [\"a\"]\n",
    );
    let toml = folder.read("keyward.toml");
    folder.write(
        "keyward.toml",
        toml.replace("orders.items:read", "orders.*:read"),
    );
    let ran = folder.run(&["check"]).exit(2);
    assert!(
        ran.err.contains("`orders.*:read` is not a scope"),
        "{ran:?}"
    );
    assert!(ran.err.contains("`a` is not a grant"), "{ran:?}");
}

#[test]
fn a_wildcard_is_frozen_and_does_not_cover_what_comes_later() {
    let folder = Folder::quickstart_with_database();
    let frozen = issue(&folder, &["*:read"], &[]);
    let kept = issue(&folder, &["*:read"], &["--keep-wildcard"]);
    assert_eq!(
        shown(&folder, &frozen).0,
        ["inventory:read", "invoices:read"]
    );
    assert_eq!(shown(&folder, &kept).0, ["*:read"]);
    add(
        &folder,
        "\n[[route]]\nmethod = \"GET\"\npath = \"/orders\"\nscope = \"orders:read\"\n",
    );
    let orders = [("GET", "/orders", HERE)];
    assert_eq!(request(&folder, &frozen, &orders), ["scope.missing"]);
    assert_eq!(request(&folder, &kept, &orders), ["scope.granted"]);
    // It is said what it became, before and when it is saved.
    let args = ["key", "scopes", &frozen, "--set", "*:read"];
    let ran = folder.run(&[&args[..], &["--dry-run"]].concat()).exit(0);
    let became = "`*:read` is inventory:read, invoices:read, orders:read";
    assert!(ran.out.contains(became), "{ran:?}");
    assert_eq!(shown(&folder, &frozen).1, 1);
    let ran = folder.run(&args).exit(0);
    assert!(ran.err.contains(became), "{ran:?}");
    assert!(ran.out.contains("scopes-widened, version 2"), "{ran:?}");
}

#[test]
fn nobody_grants_beyond_what_they_may() {
    let folder = Folder::quickstart_with_database();
    add(
        &folder,
        &principal("\"manager\"", "may_grant = [\"inventory:*\"]"),
    );
    let id = issue(&folder, &["inventory:read"], &[]);
    let beyond = "`ann` may not grant `invoices:read`";
    let args = ["key", "issue", "--owner", "x", "--expires-in-days", "30"];
    let args = [&args[..], &["--scope", "invoices:read"]].concat();
    let dry = folder.run(&[&args[..], &["--dry-run"]].concat()).exit(1);
    assert!(
        dry.out.contains(&format!("refused  authority  {beyond}")),
        "{dry:?}"
    );
    for ran in [
        folder.run(&args),
        folder.run(&["key", "scopes", &id, "--set", "invoices:read"]),
        folder.run(&["key", "import", "keys.jsonl"]),
    ] {
        assert!(ran.err.contains("`ann` may not grant `"), "{ran:?}");
        ran.exit(2);
    }
    // Each of the three is an event; the dry run is none.
    folder
        .run(&["key", "scopes", &id, "--set", "inventory:write"])
        .exit(0);
    let events = folder.run(&["log", "cat"]).exit(0);
    assert_eq!(events.out.matches("\"refused\"").count(), 3, "{events:?}");
    assert_eq!(shown(&folder, &id).0, ["inventory:write"]);
}

#[test]
fn an_operator_narrows_and_does_not_widen() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:write"], &[]);
    add(&folder, &principal("\"operator\"", ""));
    let wider = ["key", "scopes", &id, "--set", "invoices:read"];
    let ran = folder.run(&wider).exit(2);
    assert!(
        ran.err.contains("`ann` may not grant a key more"),
        "{ran:?}"
    );
    let history = folder.run(&["key", "history", &id]).exit(0);
    assert!(history.out.contains("\"refused\""), "{history:?}");
    folder
        .run(&["key", "scopes", &id, "--set", "inventory:read"])
        .exit(0);
}

#[test]
fn what_was_not_needed_is_shown_and_taken_away() {
    let folder = Folder::quickstart_with_database();
    // The log begins before the key.
    issue(&folder, &["inventory:read"], &[]);
    let id = issue(
        &folder,
        &["inventory:*", "invoices:read"],
        &["--keep-wildcard"],
    );
    let args = ["key", "scopes", &id, "--unused", "90d"];
    let ran = folder.run(&args).exit(0);
    assert!(ran.out.contains("none was needed"), "{ran:?}");
    let apply = [&args[..], &["--apply"]].concat();
    folder.run(&apply).exit(2);
    let read = ("GET", "/inventory/1", HERE);
    assert_eq!(
        request(&folder, &id, &[read, read, ("GET", "/admin", HERE)]),
        ["scope.granted", "scope.granted", "scope.unmapped"]
    );
    let ran = folder.run(&args).exit(0);
    let enough = format!("keyward key scopes {id} --set inventory:read\n");
    assert!(ran.out.contains(&enough), "{ran:?}");
    assert!(
        ran.out.contains("1 of 2 grants were needed by 2 requests"),
        "{ran:?}"
    );
    // The key is younger than the window, and that is said.
    assert!(ran.out.contains("(the key was issued then)"), "{ran:?}");
    let line = |start: &str| {
        let line = ran.out.lines().find(|line| line.starts_with(start));
        line.unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(line("inventory:*").starts_with("inventory:* 2 20"));
    assert!(line("inventory:*").ends_with(" inventory:read"));
    assert_eq!(line("invoices:read"), "invoices:read 0 not needed");
    let dry = folder.run(&[&apply[..], &["--dry-run"]].concat()).exit(0);
    assert!(dry.out.contains("none of 2 requests"), "{dry:?}");
    assert_eq!(shown(&folder, &id).1, 1);
    folder.run(&apply).exit(0);
    assert_eq!(shown(&folder, &id), (vec!["inventory:read".to_owned()], 2));
    let history = folder.run(&["key", "history", &id]).exit(0);
    assert!(history.out.contains("scopes-narrowed"), "{history:?}");
    let again = folder.run(&apply).exit(0);
    assert!(again.out.contains("every grant was needed"), "{again:?}");
    assert_eq!(request(&folder, &id, &[read]), ["scope.granted"]);
    folder.run(&["replay"]).exit(0);
}

/// What cannot be evaluated again is not guessed.
#[test]
fn nothing_is_taken_away_that_the_log_cannot_vouch_for() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:read", "invoices:read"], &[]);
    request(&folder, &id, &[("GET", "/inventory/1", HERE)]);
    let shown_ = folder.run(&["key", "show", &id]).exit(0);
    let digest = shown_.err.trim().rsplit(' ').next().unwrap();
    let blob = format!("log/blob/sha256/{}/{digest}", &digest[..2]);
    std::fs::remove_file(folder.file(&blob)).unwrap();
    let args = ["key", "scopes", &id, "--unused", "90d", "--apply"];
    let ran = folder.run(&args).exit(2);
    assert!(ran.err.contains("1 of 1 requests"), "{ran:?}");
    assert!(ran.err.contains("cannot be told, at index "), "{ran:?}");
    assert_eq!(shown(&folder, &id).1, 1);
}

#[test]
fn an_allow_list_is_held_against_who_uses_the_key() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:read"], &[]);
    let from = |source| ("GET", "/inventory/1", source);
    let sources = [
        "203.0.113.1",
        "203.0.113.2",
        "198.51.100.7",
        "203.0.113.3",
        "2001:db8::1",
        "198.51.100.7",
    ];
    request(&folder, &id, &sources.map(from));
    let args = ["key", "networks", &id, "--allow", "203.0.113.0/24"];
    let dry = folder.run(&[&args[..], &["--dry-run"]].concat()).exit(1);
    assert!(
        dry.out.contains("refused  networks   3 of 6 requests"),
        "{dry:?}"
    );
    assert!(
        dry.out.contains("\n    198.51.100.7: 2, last 20"),
        "{dry:?}"
    );
    assert!(dry.out.contains("\n    2001:db8::1: 1, last 20"), "{dry:?}");
    assert!(!dry.out.contains("203.0.113.1:"), "{dry:?}");
    let ran = folder.run(&args).exit(2);
    assert!(ran.err.contains("nothing was changed"), "{ran:?}");
    assert_eq!(shown(&folder, &id).1, 1);
    let ran = folder
        .run(&[&args[..], &["--accept-breakage"]].concat())
        .exit(0);
    assert!(
        ran.err.contains("warning  networks   3 of 6 requests"),
        "{ran:?}"
    );
    assert_eq!(
        request(&folder, &id, &[from("198.51.100.7"), from("203.0.113.1")]),
        ["ip.not-allowed", "scope.granted"]
    );
    // A list that everybody is on.
    let all = ["key", "networks", &id, "--allow", "203.0.113.0/24"];
    let more = ["--allow", "198.51.100.0/24", "--allow", "2001:db8::/32"];
    let ran = folder.run(&[&all[..], &more].concat()).exit(0);
    assert!(ran.err.contains("none of 7 requests"), "{ran:?}");
}

/// Without a policy that asks for the address, the record does not have it.
#[test]
fn an_address_that_was_not_recorded_is_not_guessed() {
    let folder = Folder::quickstart_with_database();
    let toml = folder.read("keyward.toml");
    folder.write(
        "keyward.toml",
        toml.replace("blocked = [\"198.18.0.0/15\"]", "blocked = []"),
    );
    let id = issue(&folder, &["inventory:read"], &[]);
    request(&folder, &id, &[("GET", "/inventory/1", HERE)]);
    let args = ["key", "networks", &id, "--allow", "203.0.113.0/24"];
    let ran = folder.run(&args).exit(2);
    assert!(
        ran.err.contains("policy `ip` asks `source-address`"),
        "{ran:?}"
    );
    let anywhere = folder.run(&["key", "networks", &id, "--anywhere", "--dry-run"]);
    assert!(anywhere.out.contains("none of 1 requests"), "{anywhere:?}");
}

#[test]
fn a_dry_run_checks_what_saving_checks_and_changes_nothing() {
    let folder = Folder::quickstart_with_database();
    let new = [
        "key",
        "issue",
        "--owner",
        "x",
        "--scope",
        "inventory:read",
        "--dry-run",
    ];
    let days = |days| [&new[..], &["--expires-in-days", days]].concat();
    let ran = folder.run(&days("30")).exit(0);
    for name in ["scopes", "authority", "expiry", "policies", "change"] {
        assert!(
            ran.out.contains(&format!("ok       {name} ")),
            "{name} {ran:?}"
        );
    }
    assert!(!folder.file("keyward.db").exists());
    let ran = folder.run(&days("91")).exit(1);
    assert!(
        ran.out
            .contains("refused  expiry     a key lives at most 90 days"),
        "{ran:?}"
    );
    let id = issue(&folder, &["inventory:read"], &[]);
    let before = folder.run(&["log", "cat"]).exit(0).out;
    let later = ["key", "shorten", &id, "--in", "31d", "--dry-run"];
    let ran = folder.run(&later).exit(1);
    assert!(
        ran.out.contains("refused  expiry     it is locked"),
        "{ran:?}"
    );
    for args in [
        &["key", "shorten", &id, "--in", "1d"][..],
        &["key", "rotate", &id],
        &["key", "scopes", &id, "--set", "inventory:write"],
        &["key", "networks", &id, "--allow", "203.0.113.0/24"],
    ] {
        let ran = folder.run(&[args, &["--dry-run"]].concat()).exit(0);
        assert!(ran.out.contains("ok       registry   version 1"), "{ran:?}");
        assert!(ran.out.contains("ok       change "), "{ran:?}");
    }
    assert_eq!(shown(&folder, &id).1, 1);
    assert_eq!(folder.run(&["log", "cat"]).exit(0).out, before);
    // A longer life that is really asked for is refused, and told.
    folder.run(&["key", "shorten", &id, "--in", "31d"]).exit(2);
    let history = folder.run(&["key", "history", &id]).exit(0);
    assert!(
        history.out.contains("a longer life was asked for"),
        "{history:?}"
    );
    folder.run(&["key", "rotate", &id]).exit(0);
    let ran = folder.run(&["key", "rotate", &id, "--dry-run"]).exit(0);
    assert!(ran.out.contains("gets another secret"), "{ran:?}");
    let ran = folder.run(&["key", "rotate", "--due", "--dry-run"]).exit(0);
    assert_eq!(ran.out, "");
}

/// A row that says something else than its last event is not built upon.
#[test]
fn a_row_that_was_changed_behind_the_registry_is_noticed() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:read"], &[]);
    let database = rusqlite::Connection::open(folder.file("keyward.db")).unwrap();
    let changed = database.execute(
        "UPDATE key SET record = replace(record, 'inventory:read', 'inventory:write')",
        [],
    );
    assert_eq!(changed, Ok(1));
    drop(database);
    let args = ["key", "networks", &id, "--allow", "203.0.113.0/24"];
    let ran = folder.run(&args).exit(2);
    assert!(ran.err.contains("changed behind keyward's back"), "{ran:?}");
}

#[test]
fn other_policies_are_held_against_the_log() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:write"], &[]);
    let read = ("GET", "/inventory/1", HERE);
    request(
        &folder,
        &id,
        &[
            read,
            read,
            ("GET", "/invoices/1", HERE),
            ("GET", "/inventory/1", "198.18.0.1"),
        ],
    );
    let same = folder.run(&["check", "--against-log"]).exit(0);
    assert!(same.out.contains("0 of 4 decisions"), "{same:?}");
    assert!(same.out.contains("would change, 0 are unknown"), "{same:?}");
    let toml = folder.read("keyward.toml");
    // Writing no longer implies reading, and the block is lifted.
    folder.write(
        "keyward.toml",
        toml.replace("write = [\"read\"], ", "")
            .replace("198.18.0.0/15", "198.19.0.0/16"),
    );
    let ran = folder.run(&["check", "--against-log"]).exit(1);
    assert!(ran.out.contains("2 of 4 decisions"), "{ran:?}");
    let change = format!("2 allow -> deny  key {id}: scope.granted -> scope.missing, at index ");
    assert!(ran.out.contains(&change), "{ran:?}");
    // With the old scopes, the one that was blocked is allowed.
    folder.write(
        "keyward.toml",
        toml.replace("198.18.0.0/15", "198.19.0.0/16"),
    );
    let ran = folder
        .run(&["check", "--against-log", "--over", "1d"])
        .exit(1);
    let change = format!("1 deny -> allow  key {id}: ip.blocked -> scope.granted, at index ");
    assert!(ran.out.contains(&change), "{ran:?}");
    let ran = folder
        .run(&["check", "--against-log", "--over", "0"])
        .exit(0);
    assert!(ran.out.contains("0 of 0 decisions"), "{ran:?}");
    // Without --against-log nothing is evaluated; --over alone means nothing.
    folder.run(&["check"]).exit(0);
    folder.run(&["check", "--over", "1d"]).exit(2);
}

/// A policy that asks what no policy asked before cannot be answered from the record.
#[test]
fn a_question_without_a_recorded_answer_is_unknown() {
    let folder = Folder::quickstart_with_database();
    let toml = folder.read("keyward.toml");
    let without_ip = toml.split("[[policy]]\nname = \"ip\"").next().unwrap();
    folder.write("keyward.toml", without_ip);
    let id = issue(&folder, &["inventory:read"], &[]);
    request(
        &folder,
        &id,
        &[("GET", "/inventory/1", HERE), ("GET", "/invoices/1", HERE)],
    );
    folder.write("keyward.toml", toml);
    let ran = folder.run(&["check", "--against-log"]).exit(0);
    // What another policy denies is denied, whatever is unknown.
    assert!(ran.out.contains("0 of 2 decisions"), "{ran:?}");
    assert!(ran.out.contains("1 are unknown"), "{ran:?}");
    assert!(
        ran.out
            .contains("1 unknown: policy `ip` asks `source-address`, at index "),
        "{ran:?}"
    );
}

/// Where nothing is changed nothing changes, of every decision of the quick start: what a record
/// says is enough to decide it again.
#[test]
fn what_if_nothing_were_changed_is_what_was_recorded() {
    let folder = Folder::quickstart();
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let ran = folder.run(&["check", "--against-log", "--over", "36500d"]);
    assert!(ran.out.contains("0 of 28 decisions"), "{ran:?}");
    assert!(ran.exit(0).out.contains("would change, 0 are unknown"));
    let reader = LogReader::open(&folder.file("log")).unwrap();
    let mut what_if = WhatIf::new(&reader, engine());
    let (mut asked, mut refused) = (0, 0);
    for entry in reader.entries() {
        let Entry::Decision(record) = Entry::decode(&entry.unwrap().1).unwrap() else {
            continue;
        };
        match what_if.with_key(&record, &|_| ()) {
            Ruling::Known(combined) => {
                assert_eq!(combined.permission, record.permission, "{record:?}");
                assert_eq!(combined.reason, record.reason, "{record:?}");
                asked += 1;
            }
            Ruling::NotAsked => refused += 1,
            Ruling::Unknown(missing) => panic!("{missing} {record:?}"),
        }
    }
    assert_eq!((asked, refused), (22, 6));
}

#[test]
fn who_still_uses_the_old_key_is_shown() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:read"], &[]);
    let ran = folder.run(&["key", "usage", &id]).exit(0);
    assert!(ran.out.contains("nobody has used it"), "{ran:?}");
    folder.run(&["key", "rotate", &id, "--grace", "7d"]).exit(0);
    let from = |source| ("GET", "/inventory/1", source);
    let post = ("POST", "/inventory/1", HERE);
    request(&folder, &id, &[from(HERE), from("198.51.100.7"), post]);
    let ran = folder.run(&["key", "usage", &id, "--over", "1d"]).exit(0);
    assert!(
        ran.out.contains("2 requests allowed and 1 denied"),
        "{ran:?}"
    );
    assert!(
        ran.out
            .contains("deprecated: 6 d 23 h of its grace period are left"),
        "{ran:?}"
    );
    assert!(ran.out.contains("it was last allowed at 20"), "{ran:?}");
    let row = |start: &str| {
        let line = ran.out.lines().find(|line| line.starts_with(start));
        let words = line.unwrap_or_else(|| panic!("{start} {ran:?}"));
        words
            .split_whitespace()
            .skip(1)
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(row(HERE), "1 1");
    assert_eq!(row("198.51.100.7"), "1 0");
    assert_eq!(row("scope.granted"), "2 0");
    assert_eq!(row("scope.missing"), "0 1");
    folder.run(&["key", "usage", "NoSuchKey234"]).exit(2);
}
