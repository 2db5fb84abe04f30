//! The registry file: copies, the check, migration and lists, with the real command, also killed.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::util::{Folder, root};

/// What stands in the secret's digest of every key, and in no other file than the registry.
const CANARY: &str = "5ec2e7ca5ec2e7ca5ec2e7ca5ec2e7ca5ec2e7ca5ec2e7ca5ec2e7ca5ec2e7ca";

/// So many keys as JSON Lines; a third of them of team 0.
fn keys(count: u32) -> String {
    let mut lines = String::new();
    for id in 0..count {
        writeln!(
            lines,
            r#"{{"id":"{id:012}","owner":"team-{}","issued_at":"2026-01-01T00:00:00Z","expires_at":"20{}-01-01T00:00:00Z","scopes":["inventory.*:write"],"labels":{{"n":"{}"}},"secret_sha256":"{CANARY}"}}"#,
            id % 3,
            90 + id % 2,
            id % 5,
        )
        .unwrap();
    }
    lines
}

/// A folder with a registry of so many keys and its log.
fn imported(count: u32) -> Folder {
    let folder = Folder::quickstart_with_database();
    folder.write("many.jsonl", keys(count));
    folder.run(&["key", "import", "many.jsonl"]).exit(0);
    folder
}

fn names(folder: &Folder) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Starts a command, kills it after a while, and says whether it had ended by itself.
fn killed_after(folder: &Folder, args: &[&str], ms: u64) -> bool {
    let mut child = folder.command(args).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(ms));
    let had_ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    had_ended
}

#[test]
fn a_backup_is_made_while_keys_are_issued_and_can_be_restored() {
    let folder = imported(2_000);
    let issue = [
        "key",
        "issue",
        "--owner",
        "o",
        "--scope",
        "inventory:read",
        "--expires-in-days",
        "9",
    ];
    std::thread::scope(|scope| {
        let issuer = scope.spawn(|| {
            for _ in 0..10 {
                folder.run(&issue).exit(0);
            }
        });
        for n in 0..5 {
            let name = format!("backup-{n}.db");
            let ran = folder.run(&["registry", "backup", &name]).exit(0);
            assert!(
                ran.out.contains(&format!("key events in `{name}`")),
                "{ran:?}"
            );
        }
        issuer.join().unwrap();
    });
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(folder.file("backup-0.db")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }
    let ran = folder.run(&["registry", "backup", "backup-0.db"]).exit(2);
    assert!(ran.err.contains("nothing is written over"), "{ran:?}");
    assert!(!names(&folder).iter().any(|name| name.contains(".tmp")));
    // An older backup is restored: the file is right, and the log knows better.
    for name in ["keyward.db", "keyward.db-wal", "keyward.db-shm"] {
        drop(std::fs::remove_file(folder.file(name)));
    }
    std::fs::copy(folder.file("backup-0.db"), folder.file("keyward.db")).unwrap();
    let ran = folder.run(&["registry", "check", "--log", "log"]).exit(1);
    assert!(ran.out.contains("restore the newest one"), "{ran:?}");
    let last = ran.out.lines().last().unwrap();
    assert!(last.contains("things are wrong"), "{last}");
}

#[test]
fn the_check_names_what_is_wrong_and_exits_with_1() {
    let folder = imported(20);
    let ran = folder.run(&["registry", "check"]).exit(0);
    let expected = "20 keys and 1 key events, 1 of them in the log: 0 things are wrong\n";
    assert_eq!(ran.out, expected);
    let path = folder.file("keyward.db");
    let bytes = std::fs::read(&path).unwrap();
    let (record, mut changed) = (br#""owner":"team-1""#, bytes.clone());
    for at in 0..changed.len() - record.len() {
        if changed[at..].starts_with(record) {
            changed[at + record.len() - 2] = b'9';
        }
    }
    std::fs::write(&path, &changed).unwrap();
    let ran = folder.run(&["registry", "check"]).exit(1);
    assert!(ran.out.contains("key `0000000000"), "{ran:?}");
    let ran = folder.run(&["registry", "backup", "copy.db"]).exit(3);
    assert!(ran.err.contains("things are wrong"), "{ran:?}");
    assert!(!folder.file("copy.db").exists());
    std::fs::write(&path, &bytes).unwrap();
    folder.run(&["registry", "check"]).exit(0);
    // Another registry's log.
    let other = imported(3);
    let log = other.file("log");
    let args = ["registry", "check", "--log", log.to_str().unwrap()];
    let ran = folder.run(&args).exit(1);
    assert!(
        ran.out.contains("is not the one that the log has"),
        "{ran:?}"
    );
    folder
        .run(&["registry", "check", "--log", "nowhere"])
        .exit(3);
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// Whenever an import or a backup is killed, the registry is right, with all keys of the import or
/// none, and a backup is whole or not there.
#[test]
fn a_kill_during_import_or_backup_leaves_all_or_nothing() {
    let folder = imported(1);
    let lines = keys(20_000);
    folder.write("many.jsonl", lines.split_once('\n').unwrap().1);
    let mut last = 0;
    for ms in [5, 50, 150, 300, 600, 1_000, 2_000, 30_000] {
        let had_ended = killed_after(&folder, &["key", "import", "many.jsonl"], ms);
        let ran = folder.run(&["registry", "check"]).exit(0);
        let count = ran.out.split(' ').next().unwrap().parse::<u32>().unwrap();
        assert!(count == 1 || count == 20_000, "{ran:?}");
        last = count;
        if had_ended || count > 1 {
            break;
        }
    }
    assert_eq!(last, 20_000);
    for (n, ms) in [5, 20, 60, 120, 250, 500, 1_000].into_iter().enumerate() {
        let name = format!("backup-{n}.db");
        killed_after(&folder, &["registry", "backup", &name], ms);
        folder.run(&["registry", "check"]).exit(0);
        if folder.file(&name).exists() {
            let copy = Folder::quickstart_with_database();
            std::fs::copy(folder.file(&name), copy.file("keyward.db")).unwrap();
            let ran = copy.run(&["registry", "check"]).exit(0);
            assert!(ran.out.starts_with("20000 keys"), "{ran:?}");
        }
    }
}

/// A file of version 1, as the command of that version left it.
fn version_1() -> Folder {
    let folder = Folder::quickstart_with_database();
    let old = root().join("tests/golden/registry/version-1.db");
    std::fs::copy(old, folder.file("keyward.db")).unwrap();
    folder
}

#[test]
fn a_registry_of_version_1_is_migrated_and_kept() {
    let folder = version_1();
    for args in [
        &["key", "list"][..],
        &["registry", "check"],
        &["key", "export"],
    ] {
        let ran = folder.run(args).exit(3);
        assert!(
            ran.err.contains("run `keyward registry migrate`"),
            "{ran:?}"
        );
    }
    let before = std::fs::read(folder.file("keyward.db")).unwrap();
    folder.write("keyward.db.v1", "precious");
    let ran = folder.run(&["registry", "migrate"]).exit(2);
    assert!(
        ran.err.contains("keyward.db.v1` is there already"),
        "{ran:?}"
    );
    assert_eq!(folder.read("keyward.db.v1"), "precious");
    std::fs::remove_file(folder.file("keyward.db.v1")).unwrap();
    let ran = folder.run(&["registry", "migrate"]).exit(0);
    assert!(ran.out.contains("4 keys are migrated"), "{ran:?}");
    folder.run(&["registry", "migrate"]).exit(0);
    folder.run(&["registry", "check"]).exit(0);
    let listed = folder.run(&["key", "list", "--format", "json", "--no-marks"]);
    assert_eq!(listed.exit(0).json().len(), 4);
    // The log takes the events with the next command.
    let issue = [
        "key",
        "issue",
        "--owner",
        "o",
        "--scope",
        "inventory:read",
        "--expires-in-days",
        "9",
    ];
    folder.run(&issue).exit(0);
    let ran = folder.run(&["registry", "check"]).exit(0);
    assert!(
        ran.out.contains("3 key events, 3 of them in the log"),
        "{ran:?}"
    );
    // The old file is one that an old keyward reads: it can be migrated again.
    let again = Folder::quickstart_with_database();
    std::fs::copy(folder.file("keyward.db.v1"), again.file("keyward.db")).unwrap();
    again.run(&["registry", "migrate"]).exit(0);
    assert!(before.len() > 100);
}

#[test]
fn a_kill_during_migration_leaves_a_file_that_can_be_used() {
    for ms in [1, 3, 6, 10, 20, 40, 80] {
        let folder = version_1();
        killed_after(&folder, &["registry", "migrate"], ms);
        let ran = folder.run(&["registry", "check"]);
        if ran.status != Some(0) {
            assert!(
                ran.err.contains("run `keyward registry migrate`"),
                "{ran:?}"
            );
            drop(std::fs::remove_file(folder.file("keyward.db.v1")));
            folder.run(&["registry", "migrate"]).exit(0);
            folder.run(&["registry", "check"]).exit(0);
        }
    }
}

#[test]
fn a_list_is_filtered_and_told_as_json() {
    let folder = imported(30);
    let suspend = ["key", "suspend", "000000000004", "--reason", "r"];
    folder.run(&suspend).exit(0);
    let count = |args: &[&str]| {
        let all = [&["key", "list", "--no-marks", "--format", "json"], args].concat();
        folder.run(&all).exit(0).json().len()
    };
    for (args, expected) in [
        (&[][..], 30),
        (&["--owner", "team-0"], 10),
        (&["--state", "suspended"], 1),
        (&["--state", "active", "--state", "suspended"], 30),
        (&["--state", "active"], 29),
        (&["--state", "revoked"], 0),
        (&["--ends-before", "2090-01-01T00:00:00Z"], 0),
        (&["--ends-before", "2090-01-01T00:00:01Z"], 15),
        (&["--ends-before", "40000d"], 30),
        (&["--ends-before", "1d"], 0),
        (&["--scope", "inventory.items:read"], 30),
        (&["--scope", "inventory:read"], 0),
        (&["--label", "n=0"], 6),
        (&["--label", "n=0", "--owner", "team-0"], 2),
        (&["--label", "n=9"], 0),
        (&["--limit", "7"], 7),
        (&["--limit", "0"], 0),
    ] {
        assert_eq!(count(args), expected, "{args:?}");
    }
    let args = ["key", "list", "--state", "suspended", "--format", "json"];
    let listed = folder.run(&args).exit(0).json();
    let expected = serde_json::json!({
        "id": "000000000004", "owner": "team-1", "environment": "live", "lifecycle": "suspended",
        "issued_at": "2026-01-01T00:00:00Z", "not_before": null, "rotate_by": null,
        "expires_at": "2090-01-01T00:00:00Z", "grace_until": null,
        "scopes": ["inventory.*:write"], "read_only": false, "allowed_networks": null,
        "labels": {"n": "4"}, "version": 2, "state": "suspended", "predecessor": null,
        "marks": listed[0]["marks"],
    });
    assert_eq!(listed, [expected]);
    for bad in [
        ["--state", "x"],
        ["--ends-before", "soon"],
        ["--scope", "x"],
        ["--label", "x"],
    ] {
        folder.run(&[&["key", "list"][..], &bad].concat()).exit(2);
    }
    // With marks, many keys that are answered the same are marked the same.
    let marked = folder
        .run(&["key", "list", "--format", "json"])
        .exit(0)
        .json();
    assert!(
        marked
            .iter()
            .all(|key| key["marks"][0] == marked[0]["marks"][0])
    );
    assert!(marked[0]["marks"][0].is_string(), "{:?}", marked[0]);
}

/// The digest of a secret is in the registry and its copies alone, which are their owner's alone.
#[test]
fn no_digest_of_a_secret_is_anywhere_else() {
    let folder = imported(10);
    folder.run(&["registry", "backup", "copy.db"]).exit(0);
    for args in [
        &["registry", "check"][..],
        &["key", "list"],
        &["key", "list", "--format", "json"],
    ] {
        let ran = folder.run(args).exit(0);
        assert!(
            !ran.out.contains(CANARY) && !ran.err.contains(CANARY),
            "{ran:?}"
        );
    }
    let digest: Vec<u8> = (0..32)
        .map(|n| u8::from_str_radix(&CANARY[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    let mut found = BTreeSet::new();
    search(folder.path(), &digest, &mut found);
    assert_eq!(found, ["copy.db", "keyward.db"].map(str::to_owned).into());
}

fn search(folder: &Path, digest: &[u8], found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, digest, found);
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = std::fs::read(&path).unwrap();
        let is_text = find(&bytes, CANARY.as_bytes()).is_some();
        assert!(!is_text || name == "many.jsonl", "{path:?}");
        if find(&bytes, digest).is_some() {
            found.insert(name);
        }
    }
}

/// A text that cannot be recorded is told before a registry, a log or anything else is made.
#[test]
fn bad_texts_are_found_before_anything_is_opened() {
    let folder = Folder::quickstart_with_database();
    let before = names(&folder);
    let issue = |more: &[&str]| {
        let issue = ["key", "issue", "--scope", "a:b", "--expires-in-days", "9"];
        folder.run(&[&issue[..], more].concat()).exit(2).err
    };
    let long = "r".repeat(1_025);
    for (more, expected) in [
        (&["--owner", ""][..], "--owner: must not be empty"),
        (
            &["--owner", "syn\u{200b}c"],
            "--owner: contains U+200B, which is not seen",
        ),
        (
            &["--owner", "o", "--label", "a=\u{202e}b"],
            "--label: contains U+202E",
        ),
        (
            &["--owner", "o", "--label", "a\tb=c"],
            "--label: contains the control character U+0009",
        ),
        (
            &["--owner", "o", "--reason", &long],
            "--reason: longer than 1024 bytes",
        ),
        (
            &["--owner", "o", "--reason", "\u{2067}"],
            "--reason: contains U+2067",
        ),
        (
            &["--owner", "o", "--reason", "", "--dry-run"],
            "--reason: must not be empty",
        ),
    ] {
        let said = issue(more);
        assert!(said.contains(expected), "{said}");
    }
    let id = "k7Qp2mXw9LaR";
    for command in [
        "suspend",
        "resume",
        "mask",
        "unmask",
        "end-grace",
        "review",
        "revoke",
        "rotate",
    ] {
        let said = folder.run(&["key", command, id, "--reason", "a\u{feff}"]);
        let said = said.exit(2).err;
        assert!(
            said.contains("--reason: contains U+FEFF"),
            "{command}: {said}"
        );
    }
    let digest = "0".repeat(64);
    for command in [
        &["confirm", &digest][..],
        &["shorten", id, "--in", "1d"],
        &["networks", id, "--nowhere"],
        &["scopes", id, "--set", "a:b"],
    ] {
        let said = folder.run(&[&["key"], command, &["--reason", "\u{2028}"]].concat());
        let said = said.exit(2).err;
        assert!(
            said.contains("--reason: contains U+2028"),
            "{command:?}: {said}"
        );
    }
    assert_eq!(names(&folder), before);
}

/// Whoever may write the file and knows a secret puts in its digest.
#[test]
fn a_secret_that_was_put_in_is_named() {
    let folder = imported(3);
    let path = folder.file("keyward.db");
    let bytes = std::fs::read(&path).unwrap();
    folder.run(&["registry", "check"]).exit(0);
    let digest: Vec<u8> = CANARY.as_bytes().chunks(2).map(hex).collect();
    let place = find(&bytes, &digest).unwrap();
    let mut edited = bytes;
    edited[place] ^= 1;
    std::fs::write(&path, edited).unwrap();
    let ran = folder.run(&["registry", "check"]).exit(1);
    let expected = "key event 1: the keys that it brought are not those that are there";
    assert!(
        format!("{}{}", ran.out, ran.err).contains(expected),
        "{ran:?}"
    );
}

fn hex(digits: &[u8]) -> u8 {
    u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
}
