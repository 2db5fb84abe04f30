//! A secret is shown once: it is in no file, no output, no message and not in a host's memory.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use crate::lifecycle::{credential_of, decide, folder, issue};

/// A secret is shown once and is nowhere else: not in any file, output or message.
#[test]
fn no_secret_is_anywhere() {
    let folder = folder();
    let mut secrets = Vec::new();
    let mut said = String::new();
    let mut run = |args: &[&str], secrets: &mut Vec<String>| {
        let ran = folder.run(args).exit(0);
        let shown = ran.out.trim();
        if shown.starts_with("kw_") {
            secrets.push(shown.split('_').nth(3).unwrap().to_owned());
        } else {
            said.push_str(shown);
        }
        said.push_str(&ran.err);
        ran
    };
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
    let (credential, id) = credential_of(&run(&issue, &mut secrets));
    decide(&folder, &credential, "GET");
    run(&["key", "rotate", &id], &mut secrets);
    run(&["key", "rotate", &id], &mut secrets);
    for args in [
        &["key", "history", &id][..],
        &["key", "list"],
        &["key", "show", &id],
        &["key", "export"],
        &["key", "revoke", &id, "--reason", "r"],
        &["log", "cat"],
        &["replay"],
    ] {
        run(args, &mut secrets);
    }
    assert_eq!(secrets.len(), 3);
    let mut files = vec![folder.path().to_owned()];
    let mut count = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|it| it.unwrap().path()));
            continue;
        }
        count += 1;
        let bytes = fs::read(&path).unwrap();
        for secret in &secrets {
            let found = bytes
                .windows(secret.len())
                .any(|it| it == secret.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    assert!(count > 8, "the search finds the files");
    assert!(secrets.iter().all(|secret| !said.contains(secret)));
}

/// What a core dump of a host would show: not the credential that it has just been asked about,
/// wherever that stood in the line.
#[cfg(target_os = "linux")]
#[test]
fn no_secret_stays_in_memory() {
    use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
    let folder = folder();
    let (credential, _) = issue(&folder);
    let secret = credential.split('_').nth(3).unwrap().as_bytes();
    let mut host = folder
        .command(&["evaluate", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = host.stdin.take().unwrap();
    let mut said = BufReader::new(host.stderr.take().unwrap()).lines();
    // As it should be, as a key's id, with a name that is unknown, in a header, and cut off.
    for line in [
        json!({ "credential": credential, "method": "GET", "path": "/inventory/42" }).to_string(),
        json!({ "key": credential, "method": "GET", "path": "/" }).to_string(),
        json!({ "credentials": credential, "method": "GET", "path": "/" }).to_string(),
        json!({ "method": "GET", "path": "/", "headers": { "authorization": [credential] } })
            .to_string(),
        format!("{{\"credential\":\"{credential}"),
    ] {
        writeln!(stdin, "{line}").unwrap();
    }
    // The last line is none: when that is said, all before it is done.
    assert!(said.any(|line| line.unwrap().starts_with("line 5: ")));
    let process = format!("/proc/{}", host.id());
    let maps = fs::read_to_string(format!("{process}/maps")).unwrap();
    let mut memory = fs::File::open(format!("{process}/mem")).unwrap();
    let mut bytes_read = 0;
    for map in maps.lines() {
        let mut words = map.split_whitespace();
        let (start, end) = words.next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|it| u64::from_str_radix(it, 16).unwrap());
        let is_private = words.next().is_some_and(|mode| mode.starts_with("rw"));
        // What is set aside for instances is mostly empty, and read where it is there.
        if !is_private || end - start > 1 << 28 || map.contains("[v") {
            continue;
        }
        let mut bytes = Vec::new();
        memory.seek(SeekFrom::Start(start)).unwrap();
        if (&mut memory)
            .take(end - start)
            .read_to_end(&mut bytes)
            .is_ok()
        {
            bytes_read += bytes.len();
            let found = bytes.windows(secret.len()).position(|it| it == secret);
            let around =
                |at: usize| String::from_utf8_lossy(&bytes[at.max(60) - 60..at]).into_owned();
            assert_eq!(found.map(around), None, "{map}");
        }
    }
    assert!(bytes_read > 1 << 20, "the search reads memory");
    drop(stdin);
    host.wait().unwrap();
}
