//! What somebody may give to keys, and the checks that no way round leads past: the real command.

use crate::scopes::{add, issue, principal, shown};
use crate::util::Folder;

/// Sets what the scope policy says that one action implies.
fn imply(folder: &Folder, implies: &str) {
    let toml = folder.read("keyward.toml");
    let line = toml.lines().find(|it| it.starts_with("implies = "));
    let toml = toml.replace(line.unwrap(), &format!("implies = {implies}"));
    folder.write("keyward.toml", toml);
}

/// What a grant covers, the scope policy's settings say, before a change as at use.
#[test]
fn what_is_more_is_more_by_the_settings_of_the_scope_policy() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:write"], &[]);
    add(
        &folder,
        &principal("\"operator\"", "may_grant = [\"inventory:write\"]"),
    );
    let new = ["key", "issue", "--owner", "x", "--expires-in-days", "30"];
    let new = [&new[..], &["--scope", "inventory:read"]].concat();
    let narrower = ["key", "scopes", &id, "--set", "inventory:read"];
    imply(&folder, "{}");
    let ran = folder.run(&new).exit(2);
    let beyond = "`ann` may not grant `inventory:read`";
    assert!(ran.err.contains(beyond), "{ran:?}");
    let ran = folder.run(&narrower).exit(2);
    assert!(
        ran.err.contains("`ann` may not grant a key more"),
        "{ran:?}"
    );
    // By way of another action it is implied all the same.
    imply(&folder, "{ write = [\"edit\"], edit = [\"read\"] }");
    folder.run(&new).exit(0);
    imply(&folder, "{ write = [\"read\"] }");
    folder.run(&new).exit(0);
    folder.run(&narrower).exit(0);
    assert_eq!(shown(&folder, &id), (vec!["inventory:read".to_owned()], 2));
    let history = folder.run(&["key", "history", &id]).exit(0);
    assert!(history.out.contains("scopes-narrowed"), "{history:?}");
}

/// Without it, what was needed is not seen to be within what is granted.
#[test]
fn what_is_not_needed_is_told_by_the_settings_of_the_scope_policy() {
    let folder = Folder::quickstart_with_database();
    let id = issue(&folder, &["inventory:write", "invoices:read"], &[]);
    crate::scopes::request(
        &folder,
        &id,
        &[("GET", "/inventory/1", crate::scopes::HERE)],
    );
    let args = ["key", "scopes", &id, "--unused", "90d"];
    let enough = |scope: &str| format!("keyward key scopes {id} --set {scope}\n");
    let ran = folder.run(&args).exit(0);
    assert!(ran.out.contains(&enough("inventory:read")), "{ran:?}");
    imply(&folder, "{}");
    let ran = folder.run(&args).exit(0);
    assert!(ran.out.contains(&enough("inventory:write")), "{ran:?}");
}

/// An allow list that is taken away or longer gives more; one that is shorter takes away.
#[test]
fn more_places_need_a_manager() {
    let folder = Folder::quickstart_with_database();
    let lists = [
        "--allow-network",
        "10.0.0.0/8",
        "--allow-network",
        "192.0.2.0/24",
    ];
    let id = issue(&folder, &["inventory:read"], &lists);
    let toml = folder.read("keyward.toml");
    add(&folder, &principal("\"operator\"", ""));
    let networks = |more: &[&str]| folder.run(&[&["key", "networks", &id], more].concat());
    for wider in [
        &["--anywhere"][..],
        &["--allow", "10.0.0.0/8", "--allow", "198.51.100.0/24"],
        &["--allow", "10.0.0.0/7"],
    ] {
        let dry = networks(&[wider, &["--dry-run"]].concat()).exit(1);
        let refused = "refused  authority  `ann` may not grant a key more";
        assert!(dry.out.contains(refused), "{dry:?}");
        let ran = networks(wider).exit(2);
        assert!(ran.err.contains("that needs the role manager"), "{ran:?}");
    }
    networks(&["--allow", "10.1.0.0/16"]).exit(0);
    networks(&["--nowhere"]).exit(0);
    networks(&["--allow", "10.1.0.0/16"]).exit(2);
    folder.write("keyward.toml", toml);
    add(&folder, &principal("\"manager\"", ""));
    networks(&["--anywhere"]).exit(0);
    // Where there was no list, any is less.
    let toml = folder
        .read("keyward.toml")
        .replace("\"manager\"", "\"operator\"");
    folder.write("keyward.toml", toml);
    networks(&["--allow", "10.0.0.0/8"]).exit(0);
}

/// Whoever looks at no past request does not know whom a new list refuses.
#[test]
fn to_look_back_less_does_not_get_round_the_replay() {
    let folder = Folder::quickstart_with_database();
    let old = r#"{"id":"Old000000001","owner":"o","issued_at":"2026-01-01T00:00:00Z",
        "expires_at":"2126-01-01T00:00:00Z","scopes":["inventory:read"]}"#;
    folder.write("old.jsonl", old.replace('\n', ""));
    folder.run(&["key", "import", "old.jsonl"]).exit(0);
    let list = [
        "key",
        "networks",
        "Old000000001",
        "--allow",
        "203.0.113.0/24",
    ];
    let over =
        |days: &str, more: &[&str]| folder.run(&[&list[..], &["--over", days], more].concat());
    for short in ["0", "1s", "29d"] {
        let dry = over(short, &["--dry-run"]).exit(1);
        assert!(
            dry.out.contains("refused  networks   requests before 2"),
            "{dry:?}"
        );
        let ran = over(short, &[]).exit(2);
        assert!(ran.err.contains("look back further with --over"), "{ran:?}");
    }
    let ran = over("0", &["--accept-breakage", "--dry-run"]).exit(0);
    assert!(
        ran.out.contains("warning  networks   requests before 2"),
        "{ran:?}"
    );
    over("30d", &[]).exit(0);
    // Of a key that is younger than that, all requests are looked at.
    let id = issue(&folder, &["inventory:read"], &[]);
    let young = ["key", "networks", &id, "--nowhere", "--over"];
    folder.run(&[&young[..], &["0"]].concat()).exit(2);
    folder.run(&[&young[..], &["1d"]].concat()).exit(0);
}

#[test]
fn a_successor_is_granted_by_who_rotates() {
    let folder = Folder::quickstart_with_database();
    let toml = folder.read("keyward.toml");
    let id = issue(&folder, &["inventory:read", "invoices:read"], &[]);
    add(
        &folder,
        &principal("\"manager\"", "may_grant = [\"inventory:*\"]"),
    );
    let rotate = |more: &[&str]| folder.run(&[&["key", "rotate", &id], more].concat());
    let beyond = "`ann` may not grant `invoices:read`";
    for more in [&[][..], &["--force"], &["--grace", "0"]] {
        let ran = rotate(more).exit(2);
        assert!(ran.err.contains(beyond) && ran.out.is_empty(), "{ran:?}");
        let dry = rotate(&[more, &["--dry-run"]].concat()).exit(1);
        assert!(
            dry.out.contains(&format!("refused  authority  {beyond}")),
            "{dry:?}"
        );
    }
    folder.write("keyward.toml", &toml);
    rotate(&[]).exit(0);
    // Another secret for the successor is as much.
    add(
        &folder,
        &principal("\"operator\"", "may_grant = [\"inventory:*\"]"),
    );
    assert!(rotate(&[]).exit(2).err.contains(beyond));
    folder.write("keyward.toml", &toml);
    add(
        &folder,
        &principal("\"operator\"", "may_grant = [\"*:read\"]"),
    );
    rotate(&[]).exit(0);
}

/// A file of keys that would not be issued like that: years old, and of years to come.
fn import_file(folder: &Folder) {
    let line = |id: &str, members: &str| {
        format!(r#"{{"id":"{id}","owner":"o","issued_at":"2026-01-01T00:00:00Z",{members}}}"#)
    };
    let lines = [
        line("Endless00001", r#""scopes":["inventory:read"]"#),
        line(
            "Long00000001",
            r#""expires_at":"2126-01-01T00:00:00Z","scopes":["inventory:read"]"#,
        ),
        line(
            "Over00000001",
            r#""expires_at":"2026-01-02T00:00:00Z","scopes":["gone:read"]"#,
        ),
        line(
            "Unknown00001",
            r#""expires_at":"2126-01-01T00:00:00Z","scopes":["inventory:raed"]"#,
        ),
        line(
            "Wild00000001",
            r#""expires_at":"2126-01-01T00:00:00Z","scopes":["inventory:*"]"#,
        ),
    ];
    folder.write("old.jsonl", lines.join("\n"));
}

#[test]
fn an_import_is_checked_before_and_is_no_way_round() {
    let folder = Folder::quickstart_with_database();
    import_file(&folder);
    let import = |more: &[&str]| folder.run(&[&["key", "import", "old.jsonl"], more].concat());
    let expected = [
        "scopes     1 of 5 keys with a scope that there is not, such as `inventory:raed`: Unknown00001",
        "scopes     1 of 5 keys with a wildcard",
        "expiry     1 of 5 keys without an end: Endless00001",
        "expiry     3 of 5 keys that live longer than [governance] max_lifetime_days: Long00000001, ",
        "expiry     1 of 5 keys that are over, and of no use: Over00000001",
    ];
    let toml = folder.read("keyward.toml");
    let dry = import(&["--dry-run"]).exit(0);
    for text in expected {
        assert!(
            dry.out.contains(&format!("warning  {text}")),
            "{text} {dry:?}"
        );
    }
    assert!(
        dry.out.contains("ok       change     5 new keys"),
        "{dry:?}"
    );
    assert!(!folder.file("keyward.db").exists());
    // An operator does not set the rules aside, and a manager does.
    add(&folder, &principal("\"operator\"", ""));
    let refused = "`ann` may not import keys that break the rules for new ones";
    assert!(import(&["--dry-run"]).exit(1).out.contains(refused));
    assert!(import(&[]).exit(2).err.contains(refused));
    folder.write("new.jsonl", r#"{"id":"New000000001","owner":"o","issued_at":"2026-01-01T00:00:00Z","expires_at":"2026-03-01T00:00:00Z","scopes":["inventory:read"]}"#);
    folder.run(&["key", "import", "new.jsonl"]).exit(0);
    folder.write("keyward.toml", &toml);
    add(&folder, &principal("\"manager\"", ""));
    let ran = import(&["--reason", "the old gateway"]).exit(0);
    assert_eq!(ran.out, "imported 5 keys\n");
    for text in expected {
        assert!(
            ran.err.contains(&format!("warning  {text}")),
            "{text} {ran:?}"
        );
    }
    let history = folder.run(&["key", "history", "Wild00000001"]).exit(0);
    assert!(history.out.contains("the old gateway"), "{history:?}");
    // What is there already is said beforehand.
    let dry = import(&["--dry-run"]).exit(1);
    let existing = "refused  change     keys that exist already: `Endless00001`";
    assert!(dry.out.contains(existing), "{dry:?}");
}

/// A file that has no end is no file of keys.
#[cfg(target_os = "linux")]
#[test]
fn an_import_of_what_does_not_end_ends() {
    let folder = Folder::quickstart_with_database();
    let ran = folder.run(&["key", "import", "/dev/zero"]).exit(2);
    assert!(
        ran.err.contains("without a line feed: no file of keys"),
        "{ran:?}"
    );
    std::os::unix::fs::symlink("/dev/zero", folder.file("zero.toml")).unwrap();
    folder.run(&["key", "import", "zero.toml"]).exit(2);
    // A pipe is a file like others.
    let keys = folder.read("keys.jsonl");
    let ran = folder.run_with(&["key", "import", "/dev/stdin"], keys.as_bytes());
    assert_eq!(ran.exit(0).out, "imported 6 keys\n");
    let endless = b"{}\n".repeat(200_000);
    let ran = folder
        .run_with(&["key", "import", "/dev/stdin"], &endless)
        .exit(2);
    assert!(ran.err.contains("more than 100000 problems"), "{ran:?}");
    assert!(ran.err.lines().count() < 110, "{ran:?}");
}
