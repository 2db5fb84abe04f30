//! Kills in the middle of changes of keys: each is made wholly or not at all, and told once.

use std::process::Stdio;
use std::time::Duration;

use keyward::clock;
use serde_json::json;

use crate::lifecycle::{folder, issue, logged};
use crate::util::{Folder, copy};

/// Killed at any moment of any change: the registry is whole, and the log is told of each change
/// once and in order.
#[test]
fn a_change_that_is_killed_is_made_and_told_or_not_made() {
    let folder = folder();
    folder.run(&["log", "init"]).exit(0);
    let (_, id) = issue(&folder);
    let commands: [&[&str]; 6] = [
        &["key", "suspend", &id],
        &["key", "resume", &id],
        &["key", "mask", &id],
        &["key", "unmask", &id],
        &["key", "rotate", &id, "--grace", "30d"],
        &[
            "key",
            "issue",
            "--owner",
            "o",
            "--scope",
            "inventory:read",
            "--expires-in-days",
            "9",
        ],
    ];
    for round in 0..48_u64 {
        let command = commands[usize::try_from(round).unwrap() % commands.len()];
        let mut child = folder
            .command(command)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Spread over the time that a change takes, from its start to its end.
        std::thread::sleep(Duration::from_millis(round * 37 % 150));
        let _ = child.kill();
        child.wait().unwrap();
    }
    folder
        .run(&[
            "key",
            "issue",
            "--owner",
            "o",
            "--scope",
            "inventory:read",
            "--expires-in-days",
            "9",
        ])
        .exit(0);
    let events = logged(&folder);
    assert!(
        events
            .iter()
            .zip(1..)
            .all(|((number, _), expected)| *number == expected),
        "{events:?}"
    );
    let rotated = events
        .iter()
        .filter(|(_, kind)| kind == "succeeded")
        .count();
    assert!(rotated <= 1);
    folder.run(&["key", "list"]).exit(0);
    folder.run(&["log", "verify"]).exit(0);
}

/// The seed of the moments at which the trial below kills.
const KILL_SEED: u64 = 20_261_123;
/// How often the trial kills each command.
const KILLS_PER_COMMAND: u64 = 4;

/// Killed at moments spread over the time that it takes, each of the changes that are made of
/// several parts is made wholly or not at all, and told once.
#[test]
fn a_change_of_several_parts_is_made_wholly_or_not_at_all() {
    let before = folder();
    before.run(&["log", "init"]).exit(0);
    let (_, id) = issue(&before);
    let (_, ordered) = issue(&before);
    let order = before.run(&["key", "revoke", &ordered, "--reason", "r"]);
    let order = order.exit(0).out.trim().to_owned();
    let lines = (0..500).map(|n| {
        json!({ "id": format!("{n:012}"), "owner": "o", "issued_at": "2026-01-01T00:00:00Z",
            "expires_at": "2126-01-01T00:00:00Z", "scopes": ["inventory:read"] })
    });
    let lines: Vec<_> = lines.map(|line| line.to_string()).collect();
    before.write("many.jsonl", lines.join("\n"));
    let commands: [(String, &[&str]); 5] = [
        (format!("key rotate {id}"), &["rotated", "succeeded"]),
        ("key import many.jsonl".to_owned(), &["imported"]),
        (
            format!("key revoke {id} --reason r --emergency"),
            &["revoked-in-emergency"],
        ),
        (
            format!("key revoke {id} --reason r"),
            &["revocation-ordered"],
        ),
        (format!("key confirm {order}"), &["revoked"]),
    ];
    let mut random = KILL_SEED;
    let mut made = [0, 0];
    for (command, kinds) in &commands {
        let mut whole_ms = 0;
        for round in 0..=KILLS_PER_COMMAND {
            let folder = Folder::new();
            copy(before.path(), folder.path());
            // Let alone at first, it says how long it takes.
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let kill = (round > 0).then(|| {
                let ms: u64 = whole_ms * (round - 1) + (random >> 33) % whole_ms;
                ms / KILLS_PER_COMMAND
            });
            let ms = run_as_ben(&folder, command, kill);
            whole_ms = if round == 0 { ms } else { whole_ms };
            let is_made = is_whole(&before, &folder, kinds);
            assert!(is_made || round > 0, "{command}");
            made[usize::from(is_made)] += 1;
        }
    }
    assert!(made.iter().all(|count| *count > 0), "{made:?}");
}

/// Runs a command for so long, or to its end, and says how many milliseconds it ran: at least one.
fn run_as_ben(folder: &Folder, command: &str, kill_ms: Option<u64>) -> u64 {
    let args: Vec<_> = command.split(' ').collect();
    let mut child = folder.command(&args);
    child.env("SUDO_USER", "ben");
    // A credential is not printed to nowhere.
    child.stdout(Stdio::piped()).stderr(Stdio::null());
    let started = clock::now();
    let mut child = child.spawn().unwrap();
    if let Some(ms) = kill_ms {
        std::thread::sleep(Duration::from_millis(ms));
        child.kill().unwrap();
        child.wait().unwrap();
    } else {
        assert!(child.wait().unwrap().success(), "{command}");
    }
    let ms = clock::now().millis() - started.millis();
    u64::try_from(ms).unwrap().max(1)
}

/// Whether a change was made that has events of these kinds; it was made wholly or not at all, and
/// the next command finds nothing wrong.
fn is_whole(before: &Folder, folder: &Folder, kinds: &[&str]) -> bool {
    folder.run(&["registry", "check"]).exit(0);
    let issue = "key issue --owner o --scope inventory:read --expires-in-days 9";
    let issue: Vec<_> = issue.split(' ').collect();
    folder.run(&issue).exit(0);
    folder.run(&["registry", "check"]).exit(0);
    folder.run(&["log", "verify"]).exit(0);
    let told = logged(before);
    let found = logged(folder);
    let is_made = found.len() > told.len() + 1;
    let mut expected: Vec<_> = told.iter().map(|(_, kind)| kind.as_str()).collect();
    if is_made {
        expected.extend(kinds);
    }
    expected.push("issued");
    let expected = (1..).zip(expected).map(|(n, kind)| (n, kind.to_owned()));
    assert_eq!(found, expected.collect::<Vec<_>>(), "seed {KILL_SEED}");
    is_made
}
