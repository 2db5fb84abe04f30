//! What people do by mistake: credentials in the wrong place, a log that is gone, successors that
//! are used before anybody says so.

use std::fs;

use crate::lifecycle::{credential_of, folder, issue};
use crate::util::Folder;

#[test]
fn a_credential_in_the_wrong_place_is_neither_kept_nor_shown() {
    let folder = folder();
    let (credential, id) = issue(&folder);
    let secret = credential.split('_').nth(3).unwrap();
    let label = format!("x={credential}");
    let new = [
        "key",
        "issue",
        "--scope",
        "inventory:read",
        "--expires-in-days",
        "9",
    ];
    let refused: [&[&str]; 9] = [
        &[&new[..], &["--owner", &credential]].concat(),
        &[&new[..], &["--owner", "o", "--label", &label]].concat(),
        &[&new[..], &["--owner", "o", "--reason", &credential]].concat(),
        &[&new[..], &["--owner", "o", "--scope", &credential]].concat(),
        &[&new[..], &["--owner", "o", "--rotate-by", &credential]].concat(),
        &["key", "suspend", &id, "--reason", &credential],
        &["key", "show", &credential],
        &["key", "confirm", &credential],
        &["explain", &credential],
    ];
    for args in refused {
        let ran = folder.run(args);
        assert!(matches!(ran.status, Some(1..=3)), "{ran:?}");
        assert!(
            !ran.err.contains(secret) && !ran.out.contains(secret),
            "{ran:?}"
        );
    }
    let key = format!(
        r#"{{"id":"000000000001","owner":"{credential}","issued_at":"2026-11-01T00:00:00Z",
        "expires_at":"2026-12-01T00:00:00Z","scopes":["inventory:read"]}}"#
    );
    folder.write("keys.jsonl", key.replace('\n', ""));
    let ran = folder.run(&["key", "import", "keys.jsonl"]).exit(2);
    assert!(
        ran.err.contains("kw_live_") && !ran.err.contains(secret),
        "{ran:?}"
    );
    fs::remove_file(folder.file("keys.jsonl")).unwrap();
    assert!(!holds(&folder, secret));
}

/// Whether a text stands in any file.
fn holds(folder: &Folder, text: &str) -> bool {
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::read(path)
                .unwrap()
                .windows(text.len())
                .any(|it| it == text.as_bytes())
            {
                return true;
            }
        }
    }
    false
}

#[test]
fn a_successor_that_is_at_work_is_rotated_like_any_key() {
    let folder = folder();
    let (_, id) = issue(&folder);
    let leaked = ["key", "rotate", &id, "--grace", "0"];
    let (credential, successor) = credential_of(&folder.run(&leaked).exit(0));
    let again = ["key", "rotate", &successor, "--grace", "0"];
    let unused = folder.run(&again);
    assert!(
        unused.status != Some(0) && unused.err.contains("nobody has used"),
        "{unused:?}"
    );
    let request = format!(
        r#"{{"credential":"{credential}","method":"GET","host":"api.example.com","path":"/inventory/1"}}"#
    );
    let used = folder.run_with(&["evaluate", "--format", "json", "-"], request.as_bytes());
    assert_eq!(used.exit(0).json()[0]["effect"], "allow");
    folder.run(&[&again[..], &["--dry-run"]].concat()).exit(0);
    folder.run(&again).exit(0);
    let history = folder.run(&["key", "history", &successor]).exit(0);
    assert!(
        history.out.contains("activated") && history.out.contains("rotated"),
        "{history:?}"
    );
}

#[test]
fn a_log_that_is_gone_is_something_wrong() {
    let folder = folder();
    folder.run(&["log", "init"]).exit(0);
    issue(&folder);
    folder.run(&["registry", "check"]).exit(0);
    fs::remove_dir_all(folder.file("log")).unwrap();
    let ran = folder.run(&["registry", "check"]).exit(1);
    assert!(ran.out.contains("deleted or moved"), "{ran:?}");
    // Without its key it may be a copy, which is looked at elsewhere.
    fs::remove_file(folder.file("log.key")).unwrap();
    let ran = folder.run(&["registry", "check"]).exit(0);
    assert!(ran.err.contains("deleted or moved"), "{ran:?}");
}

#[test]
fn a_key_that_can_never_be_used_is_not_issued() {
    let folder = folder();
    let new = ["key", "issue", "--owner", "o", "--scope", "inventory:read"];
    let never = [
        "--expires-in-days",
        "1",
        "--not-before",
        "2126-01-01T00:00:00Z",
    ];
    let ran = folder.run(&[&new[..], &never].concat());
    assert!(
        ran.status != Some(0) && ran.err.contains("no use at all"),
        "{ran:?}"
    );
    let blank = ["--expires-in-days", "1", "--reason", " "];
    folder.run(&[&new[..], &blank].concat()).exit(2);
}
