//! The command line: exit statuses, bad input of every kind, and nothing lost.

use crate::util::{Folder, Ran};

#[test]
fn bad_lines_are_reported_and_the_rest_is_decided() {
    let folder = Folder::quickstart();
    let good = folder
        .read("requests.jsonl")
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let long = format!(r#"{{"id":"{}"}}"#, "x".repeat(300 * 1024));
    let lines = [
        good.as_str(),
        "",
        "not json",
        r#"{"id":"r","key":"k7Qp2mXw9LaR","method":"GET","path":"/","surce":"1.2.3.4"}"#,
        r#"{"id":"r","key":"k7Qp2mXw9LaR","method":"GET","path":"/","source":"1.2.3.400"}"#,
        r#"{"id":"r","key":"k7Qp2mXw9LaR","method":"GET","path":"/","time":"yesterday"}"#,
        r#"{"id":"r","key":"k7Qp2mXw9LaR","path":"/"}"#,
        long.as_str(),
        "[1,2",
        good.as_str(),
    ];
    let input = lines.join("\n");
    let ran = folder
        .run_with(&["evaluate", "-"], input.as_bytes())
        .exit(1);
    assert_eq!(ran.json().len(), 2, "{ran:?}");
    for line in [
        "line 3:", "line 4:", "line 5:", "line 6:", "line 7:", "line 8:", "line 9:",
    ] {
        assert!(ran.err.contains(line), "{line} {}", ran.err);
    }
    assert!(ran.err.contains("`source`"), "{}", ran.err);
    assert!(
        ran.err.contains("7 lines are no access requests"),
        "{}",
        ran.err
    );
    folder.run(&["replay"]).exit(0);
    let ran = folder.run(&["explain", "no-such-request"]).exit(2);
    assert!(
        ran.err
            .contains("has no decision, and no decision of a request, `no-such-request`")
    );
}

#[test]
fn bytes_that_are_no_text_are_a_bad_line() {
    let folder = Folder::quickstart();
    let good = folder
        .read("requests.jsonl")
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let mut input = b"\xff\xfe\x00{}\n".to_vec();
    input.extend_from_slice(good.as_bytes()); // and the last line has no end
    let ran = folder.run_with(&["evaluate", "-"], &input).exit(1);
    assert_eq!(ran.json().len(), 1);
    assert!(
        ran.err.contains("line 1: the line is not UTF-8"),
        "{}",
        ran.err
    );
}

/// No credential ever shows up again, in any file or output, whatever was done with it.
#[test]
fn no_secret_is_kept_or_shown() {
    const SECRET: &str = "QuickStartSecretNotForProduction";
    let folder = Folder::quickstart();
    let requests = folder.read("requests.jsonl");
    let credential = requests
        .split('"')
        .find(|part| part.contains(SECRET))
        .unwrap()
        .to_owned();
    let bad = [
        format!(r#"{{"credential":"{credential}""#),
        format!(r#"{{"credential":{{"a":"{credential}"}},"method":"GET","path":"/"}}"#),
        format!(r#"{{"method":"GET","path":"/","{credential}":1}}"#),
        format!(r#"{{"method":"GET","path":"/","time":"{credential}"}}"#),
        format!(r#"{{"method":"GET","path":"/","key":"{credential}","id":"as-key"}}"#),
        format!(r#"{{"method":"GET","path":"/","key":"k7Qp2mXw9LaR","id":"{credential}"}}"#),
        format!(
            r#"{{"method":"GET","path":"/","headers":{{"authorization":["Bearer {credential}"]}}}}"#
        ),
    ];
    let input = format!("{requests}{}\n", bad.join("\n"));
    let ran = folder
        .run_with(&["evaluate", "-"], input.as_bytes())
        .exit(1);
    assert!(
        !ran.out.contains(SECRET) && !ran.err.contains(SECRET),
        "{ran:?}"
    );
    for request in ["q16", "q17", "q18", "as-key"] {
        let explained = folder.run(&["explain", request]).exit(0);
        assert!(!explained.out.contains(SECRET), "{explained:?}");
    }
    let mut searched = 0;
    search(&folder.file("log"), SECRET.as_bytes(), &mut searched);
    assert!(searched > 5);
}

fn search(folder: &std::path::Path, secret: &[u8], searched: &mut u32) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, secret, searched);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            !bytes.windows(secret.len()).any(|window| window == secret),
            "{path:?}"
        );
        *searched += 1;
    }
}

/// Anyone may name a request like an earlier decision; that does not stand in for it.
#[test]
fn a_request_cannot_pass_for_a_decision() {
    let folder = Folder::quickstart();
    let ran = folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let denial = ran.json()[3]["decision"].as_str().unwrap().to_owned();
    let request = folder
        .read("requests.jsonl")
        .lines()
        .next()
        .unwrap()
        .replace("q01", &denial);
    folder
        .run_with(&["evaluate", "-"], request.as_bytes())
        .exit(0);
    let explained = folder.run(&["explain", &denial]).exit(0);
    assert!(
        explained.out.starts_with("deny scope.missing"),
        "{explained:?}"
    );
}

/// What the log lacks is said, and is not taken for the reason.
#[test]
fn an_explanation_says_what_it_lacks() {
    let folder = Folder::quickstart();
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    std::fs::remove_dir_all(folder.file("log/blob")).unwrap();
    let explained = folder.run(&["explain", "q05"]).exit(1);
    assert!(
        explained.out.starts_with("deny ip.not-allowed\n"),
        "{explained:?}"
    );
    assert!(
        explained.err.contains("damaged: the policy set: "),
        "{explained:?}"
    );
    assert!(
        explained.err.contains("damaged: the key record: "),
        "{explained:?}"
    );
}

/// A request or a key cannot move the cursor, change colours or turn text around.
#[test]
fn nothing_from_outside_controls_the_terminal() {
    let folder = Folder::quickstart();
    let evil = r"\u001b[31m\u202e\u0007\u009b2J";
    let request = format!(
        r#"{{"id":"{evil}","key":"{evil}","method":"GET","path":"/","required_scope":"{evil}"}}
{{"id":"r2{evil}","key":"Warehouse001","method":"GET","path":"/","required_scope":"{evil}"}}
{{"id":"r3","key":"Warehouse001","method":"GET","path":"/","surce{evil}":1}}"#
    );
    let evaluated = folder
        .run_with(&["evaluate", "--format", "table", "-"], request.as_bytes())
        .exit(1);
    let id: String = serde_json::from_str(&format!("\"r2{evil}\"")).unwrap();
    let explained = folder.run(&["explain", &id]).exit(0);
    for text in [&evaluated.out, &evaluated.err, &explained.out] {
        let bad = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
        assert_eq!(text.chars().find(bad), None, "{text:?}");
    }
}

#[test]
fn usage_and_configuration_exit_with_2() {
    let folder = Folder::quickstart();
    let cases: &[(&[&str], &str)] = &[
        (&["evaluate"], "required"),
        (&["evalute", "x"], "similar subcommand exists: 'evaluate'"),
        (
            &["evaluate", "missing.jsonl"],
            "`missing.jsonl` cannot be read",
        ),
        (
            &["evaluate", "--format", "xml", "requests.jsonl"],
            "possible values: table, json",
        ),
        (&["--config", "nowhere.toml", "check"], "nowhere.toml"),
        (&["key", "show", "short"], "`short` is not a key id"),
        (&["key", "show", "NoSuchKey234"], "no key `NoSuchKey234`"),
        (
            &["key", "issue", "--owner", "x", "--scope", "a:b"],
            "--expires-at",
        ),
        (
            &[
                "key",
                "issue",
                "--owner",
                "x",
                "--scope",
                "a:b",
                "--expires-in-days",
                "9",
            ],
            "declares its keys in",
        ),
        (&["policy", "build", "nowhere"], "no `Cargo.toml`"),
    ];
    for (args, text) in cases {
        let ran = folder.run(args).exit(2);
        assert!(ran.err.contains(text), "{args:?}: {}", ran.err);
        assert!(ran.out.is_empty(), "{args:?}");
    }
    // Nothing of this left a log behind.
    assert!(!folder.file("log").exists());
}

#[test]
fn the_log_and_the_registry_exit_with_3() {
    let folder = Folder::quickstart();
    let ran = folder.run(&["replay", "nowhere"]).exit(3);
    assert!(ran.err.contains("nowhere"), "{ran:?}");
    std::fs::create_dir(folder.file("empty")).unwrap();
    folder.run(&["replay", "empty"]).exit(3);
    folder.write("log", "a file where a folder should be");
    let ran = folder.run(&["evaluate", "requests.jsonl"]).exit(3);
    assert!(ran.out.is_empty(), "{ran:?}");
    let toml = folder
        .read("keyward.toml")
        .replace("keys = \"keys.jsonl\"", "path = \"keyward.db\"");
    folder.write("keyward.toml", toml);
    let ran = folder.run(&["key", "list"]).exit(3);
    assert!(ran.err.contains("there is no registry file"), "{ran:?}");
    folder.write(
        "keyward.db",
        "not a database, but longer than one header would have to be".repeat(9),
    );
    let ran = folder.run(&["key", "list"]).exit(3);
    assert!(ran.err.contains("not an SQLite database"), "{ran:?}");
}

/// `check` names every mistake, with its place.
#[test]
fn check_reports_every_error_at_once() {
    let folder = Folder::quickstart();
    let toml = folder
        .read("keyward.toml")
        .replace("origin =", "orign =")
        .replace("durability = \"written\"", "durability = \"maybe\"")
        .replace("module = \"builtin:ip\"", "module = \"builtin:ipp\"");
    folder.write("bad.toml", toml);
    let ran = folder.run(&["check", "--config", "bad.toml"]).exit(2);
    for text in [
        "`orign`",
        "did you mean `origin`?",
        "durability",
        "builtin:ipp",
    ] {
        assert!(ran.err.contains(text), "{text}: {}", ran.err);
    }
    for line in ran.err.lines().filter(|line| line.contains("bad.toml:")) {
        let place = line.split("bad.toml:").nth(1).unwrap();
        let mut numbers = place.split(':').take(2);
        assert!(
            numbers.all(|number| number.trim().parse::<u32>().is_ok()),
            "{line}"
        );
    }
    // With what only loading shows: settings, modules, keys and the log, all of them at once.
    let toml = folder
        .read("keyward.toml")
        .replace("max_lifetime_days = 90", "max_lifetime_days = 0")
        .replace("198.18.0.0/15", "198.18.0.1/15")
        .replace("durability = \"written\"", "durability = \"maybe\"")
        .replace("module = \"builtin:scope\"", "module = \"none.wasm\"");
    folder.write("bad.toml", toml);
    let keys = folder
        .read("keys.jsonl")
        .replace("inventory:write", "inv*:write");
    folder.write("keys.jsonl", keys);
    let ran = folder.run(&["check", "--config", "bad.toml"]).exit(2);
    for text in [
        "durability",
        "`/max_lifetime_days`",
        "`/blocked/0`",
        "none.wasm",
        "line 3",
        "inv*:write",
    ] {
        assert!(ran.err.contains(text), "{text}: {}", ran.err);
    }
    assert!(!folder.file("log").exists());
    // A log that was never begun is no problem.
    std::fs::create_dir_all(folder.file("log/wal")).unwrap();
    folder.write("log/lock", "1");
    let ran = folder.run(&["check"]).exit(2);
    assert!(!ran.err.contains("log folder"), "{}", ran.err);
    std::fs::remove_dir_all(folder.file("log")).unwrap();
    folder.write("log", "a file where a folder should be");
    let ran = folder.run(&["check"]).exit(2);
    assert!(
        ran.err.contains("log folder") && ran.err.contains("inv*:write"),
        "{}",
        ran.err
    );
}

#[test]
fn a_pinned_module_has_to_be_the_one() {
    let folder = Folder::quickstart();
    let scope = "module = \"builtin:scope\"";
    let pin = |digest: &str| format!("{scope}\nsha256 = \"{digest}\"");
    let toml = folder.read("keyward.toml");
    folder.write("keyward.toml", toml.replace(scope, &pin(&"0".repeat(64))));
    let ran = folder.run(&["check"]).exit(2);
    assert!(ran.err.contains("`sha256` pins 0000"), "{}", ran.err);
    let digest = keyward::digest::Digest::of(keyward_policies::SCOPE).to_string();
    folder.write("keyward.toml", toml.replace(scope, &pin(&digest)));
    folder.run(&["check"]).exit(0);
}

#[test]
fn keys_are_issued_once_and_work() {
    let folder = Folder::quickstart_with_database();
    let issued = folder
        .run(&[
            "key",
            "issue",
            "--owner",
            "warehouse",
            "--scope",
            "inventory:read",
            "--expires-in-days",
            "90",
            "--allow-network",
            "203.0.113.0/24",
            "--label",
            "team=a",
            "--reason",
            "a new warehouse",
        ])
        .exit(0);
    let credential = issued.out.trim();
    assert!(issued.err.contains("shown this once"), "{issued:?}");
    let id = credential.split('_').nth(2).unwrap();
    let shown = folder.run(&["key", "show", id]).exit(0);
    assert!(shown.out.contains("\"owner\": \"warehouse\""), "{shown:?}");
    let secret = credential.split('_').nth(3).unwrap();
    let listed = folder.run(&["key", "list"]).exit(0);
    let exported = folder.run(&["key", "export"]).exit(0);
    for ran in [&shown, &listed, &exported] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret));
    }
    for file in ["keyward.db", "keyward.db-wal"] {
        let bytes = std::fs::read(folder.file(file)).unwrap_or_default();
        assert!(
            !bytes
                .windows(secret.len())
                .any(|window| window == secret.as_bytes()),
            "{file}"
        );
    }
    let request = format!(
        r#"{{"id":"r","credential":"{credential}","method":"GET","host":"api.example.com","path":"/inventory/1","source":"203.0.113.9"}}"#
    );
    let ran = folder
        .run_with(&["evaluate", "-"], request.as_bytes())
        .exit(0);
    assert_eq!(ran.json()[0]["effect"], "allow", "{ran:?}");
    assert_eq!(ran.json()[0]["key"], id);
    // An export is an import elsewhere, and the credential works there.
    let other = Folder::quickstart();
    other.write("keyward.toml", folder.read("keyward.toml"));
    other.write("all.jsonl", &exported.out);
    other.run(&["key", "import", "all.jsonl"]).exit(0);
    assert_eq!(other.run(&["key", "export"]).exit(0).out, exported.out);
    let ran = other
        .run_with(&["evaluate", "-"], request.as_bytes())
        .exit(0);
    assert_eq!(ran.json()[0]["effect"], "allow", "{ran:?}");
}

/// Governance allows it, and a policy does not: it is issued, but not without a word.
#[test]
fn a_key_that_will_be_refused_is_issued_with_a_warning() {
    let folder = Folder::quickstart_with_database();
    let toml = folder.read("keyward.toml");
    let governance = "\n[governance]\nmax_lifetime_days = 36_500\n";
    folder.write("keyward.toml", toml + governance);
    let issue = |days: &str| {
        let args = [
            "key",
            "issue",
            "--owner",
            "x",
            "--scope",
            "inventory:read",
            "--expires-in-days",
            days,
        ];
        folder.run(&args).exit(0)
    };
    let long = issue("3000");
    assert!(
        long.err
            .contains("refuse this key with rotation.lifetime-exceeded"),
        "{long:?}"
    );
    assert!(!issue("90").err.contains("warning"));
    let listed = folder.run(&["key", "list"]).exit(0);
    assert_eq!(
        listed.out.matches("! rotation.lifetime-exceeded").count(),
        1,
        "{listed:?}"
    );
}

#[test]
fn an_import_is_whole_or_nothing() {
    let folder = Folder::quickstart_with_database();
    let good = folder.read("keys.jsonl");
    let first = good.lines().next().unwrap();
    let bad = [
        good.replace("203.0.113.0/24", "203.0.113.1/24"),
        good.replace("203.0.113.0/24", "0.0.0.0/0"),
        good.replace("inventory:write", "inventory"),
        format!("{good}{first}\n"),
        good.replace("\"owner\"", "\"ownr\""),
        good.replace("2026-11-01T00:00:00Z", "2026-11-01"),
        format!("{good}{{\n"),
    ];
    for text in bad {
        folder.write("bad.jsonl", text);
        let ran = folder.run(&["key", "import", "bad.jsonl"]).exit(2);
        assert!(ran.err.contains("line "), "{}", ran.err);
        assert!(!folder.file("keyward.db").exists());
    }
    folder.run(&["key", "import", "keys.jsonl"]).exit(0);
    let before = folder.run(&["key", "export"]).exit(0);
    assert_eq!(before.out.lines().count(), 6);
    // Again: every key is there already, and nothing changes.
    let ran = folder.run(&["key", "import", "keys.jsonl"]).exit(2);
    assert!(ran.err.contains("k7Qp2mXw9LaR"), "{}", ran.err);
    assert_eq!(folder.run(&["key", "export"]).exit(0).out, before.out);
}

/// `keyward evaluate | head` ends without a word.
#[test]
fn a_reader_that_stops_is_no_error() {
    let folder = Folder::quickstart();
    let requests = folder.read("requests.jsonl").repeat(200);
    folder.write("many.jsonl", requests);
    let mut child = folder
        .command(&["evaluate", "--format", "json", "many.jsonl"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    folder.run(&["replay"]).exit(0);
}

/// Code that others could have written is not loaded, and the command goes on without it.
#[test]
fn a_cache_that_others_can_change_is_not_used() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::quickstart();
    let cache = folder.file("cache/keyward");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).unwrap();
    let check = || {
        let mut command = folder.command(&["check"]);
        command.env("XDG_CACHE_HOME", folder.file("cache"));
        Ran::of(&command.output().unwrap()).exit(0)
    };
    let entries = || std::fs::read_dir(&cache).unwrap().count();
    let ran = check();
    let error = "is not used: others can enter";
    assert!(ran.err.contains(error), "{}", ran.err);
    assert!(ran.err.contains("remove it"), "{}", ran.err);
    assert_eq!(entries(), 0);
    std::fs::remove_dir(&cache).unwrap();
    assert_eq!(check().err, "");
    assert!(entries() > 0);
}
