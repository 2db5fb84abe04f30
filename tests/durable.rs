//! What the log promises when things end badly: kill -9 at any moment, two processes, a torn end,
//! damage, a full disk.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use crate::util::Folder;

/// Runs of the kill test.
const KILLS: u64 = 50;

/// Killed at a random moment, 50 times on one log: every decision printed is in the log, the log
/// opens, and the replay matches.
#[test]
fn nothing_printed_is_lost_when_killed() {
    let folder = Folder::quickstart();
    let requests = folder.read("requests.jsonl").repeat(100);
    folder.write("many.jsonl", requests);
    let mut printed = HashSet::new();
    let mut random = 0x5eed_u64;
    for _ in 0..KILLS {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let wanted = usize::try_from(random >> 33).unwrap() % 400;
        let mut child = folder
            .command(&["evaluate", "--format", "json", "many.jsonl"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // The moment is random in the decisions, and in where between two of them it falls.
        let mut whole: Vec<String> = lines.by_ref().take(wanted).map(Result::unwrap).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        whole.extend(lines.map_while(Result::ok));
        for line in whole {
            // The last line may have been cut off in the pipe.
            if let Ok(decision) = serde_json::from_str::<serde_json::Value>(&line) {
                printed.insert(decision["decision"].as_str().unwrap().to_owned());
            }
        }
    }
    assert!(printed.len() > 1_000, "{}", printed.len());
    let replayed = folder.run(&["replay", "--format", "json", "log"]).exit(0);
    let logged: HashSet<String> = replayed
        .json()
        .iter()
        .map(|line| line["decision"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(printed.difference(&logged).next(), None);
    // And it can be written again.
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    folder.run(&["replay", "log"]).exit(0);
}

#[test]
fn a_second_process_on_a_log_refuses_by_name() {
    let folder = Folder::quickstart();
    let mut first = folder
        .command(&["evaluate", "--format", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever answers has the log.
    let request = folder
        .read("requests.jsonl")
        .lines()
        .next()
        .unwrap()
        .to_owned();
    let mut stdin = first.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("{request}\n").as_bytes()).unwrap();
    // The first segment is made by whoever has the lock.
    while !folder.file(SEGMENT).exists() {
        assert!(first.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    let second = folder.run(&["evaluate", "requests.jsonl"]).exit(3);
    let text = format!("in use by another keyward process (pid {})", first.id());
    assert!(second.err.contains(&text), "{second:?}");
    assert!(second.out.is_empty());
    // Reading is free.
    folder.run(&["replay"]);
    drop(stdin);
    assert!(first.wait().unwrap().success());
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
}

/// The one segment of a small log.
const SEGMENT: &str = "log/wal/00000000000000000000.wal";

#[test]
fn a_torn_end_is_dropped_and_recorded() {
    let folder = Folder::quickstart();
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let mut bytes = std::fs::read(folder.file(SEGMENT)).unwrap();
    bytes.truncate(bytes.len() - 3);
    folder.write(SEGMENT, &bytes);
    let replayed = folder.run(&["replay"]).exit(0);
    assert!(replayed.out.contains(": 27 match"), "{replayed:?}");
    assert!(replayed.err.contains("torn or damaged"), "{replayed:?}");
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let replayed = folder.run(&["replay"]).exit(0);
    assert!(replayed.out.contains(": 55 match"), "{replayed:?}");
    assert!(replayed.err.is_empty(), "{replayed:?}");
}

#[test]
fn damage_before_the_end_refuses_and_loses_nothing() {
    let folder = Folder::quickstart();
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let mut bytes = std::fs::read(folder.file(SEGMENT)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    folder.write(SEGMENT, &bytes);
    folder.run(&["replay"]).exit(3);
    let ran = folder.run(&["evaluate", "requests.jsonl"]).exit(3);
    assert!(ran.out.is_empty(), "{ran:?}");
    assert_eq!(std::fs::read(folder.file(SEGMENT)).unwrap(), bytes);
}

/// Whether anyone reads what it prints or not: the status says what the log is worth.
#[test]
fn a_replay_without_a_reader_still_says_what_it_found() {
    let folder = Folder::quickstart();
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let unread = |format: &str| {
        let mut child = folder
            .command(&["replay", "--format", format, "log"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        child.wait_with_output().unwrap()
    };
    assert_eq!(unread("table").status.code(), Some(0));
    let whole = std::fs::read(folder.file(SEGMENT)).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    folder.write(SEGMENT, &bytes);
    for format in ["table", "json"] {
        let output = unread(format);
        assert_eq!(output.status.code(), Some(3), "{format}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("damaged"),
            "{output:?}"
        );
    }
    folder.write(SEGMENT, &whole);
    std::fs::remove_dir_all(folder.file("log/blob")).unwrap();
    for format in ["table", "json"] {
        assert_eq!(unread(format).status.code(), Some(1), "{format}");
    }
}

#[test]
fn a_missing_or_changed_blob_is_unreplayable() {
    let folder = Folder::quickstart();
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let digest = keyward::digest::Digest::of(keyward_policies::IP).to_string();
    let blob = folder.file(&format!("log/blob/sha256/{}/{digest}", &digest[..2]));
    let bytes = std::fs::read(&blob).unwrap();
    std::fs::remove_file(&blob).unwrap();
    let ran = folder.run(&["replay"]).exit(1);
    assert!(
        ran.out.contains("unreplayable") && ran.out.contains(&digest),
        "{ran:?}"
    );
    std::fs::write(&blob, &bytes[1..]).unwrap();
    let ran = folder.run(&["replay"]).exit(1);
    assert!(ran.out.contains("unreplayable"), "{ran:?}");
    std::fs::write(&blob, &bytes).unwrap();
    folder.run(&["replay"]).exit(0);
}

#[test]
fn another_origin_is_refused() {
    let folder = Folder::quickstart();
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let toml = folder
        .read("keyward.toml")
        .replace("example/quickstart", "example/other");
    folder.write("keyward.toml", toml);
    let ran = folder.run(&["evaluate", "requests.jsonl"]).exit(3);
    assert!(ran.err.contains("keyward.example/quickstart"), "{ran:?}");
}

#[test]
fn durable_decides_the_same() {
    let folder = Folder::quickstart();
    let toml = folder
        .read("keyward.toml")
        .replace("\"written\"", "\"durable\"");
    folder.write("keyward.toml", toml);
    let ran = folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    assert_eq!(ran.json().len(), 28);
    folder.run(&["replay"]).exit(0);
}

/// A disk of one mebibyte that fills up: what does not fit is denied and says so, what was
/// answered before is kept, and the log goes on when there is room.
#[test]
fn a_full_disk_denies_and_loses_nothing() {
    let folder = Folder::quickstart();
    let requests = folder.read("requests.jsonl").repeat(200);
    folder.write("many.jsonl", requests);
    // A limit on the size of files stands for the disk: a write past it fails, as on a full one.
    let script = format!(
        "ulimit -f 1024; trap '' XFSZ; exec {} evaluate --format json many.jsonl",
        env!("CARGO_BIN_EXE_keyward")
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", crate::util::cache())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let decisions: Vec<serde_json::Value> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(decisions.len(), 28 * 200);
    let unrecorded = decisions
        .iter()
        .filter(|d| d["index"].is_null())
        .inspect(|decision| {
            assert_eq!(decision["effect"], "deny");
            assert_eq!(decision["reason"], "log.unavailable");
        });
    let unrecorded = unrecorded.count();
    assert!(
        unrecorded > 100 && unrecorded < decisions.len() - 100,
        "{unrecorded}"
    );
    let replayed = folder.run(&["replay"]).exit(0);
    let kept = decisions.len() - unrecorded;
    assert!(
        replayed.out.contains(&format!(": {kept} match")),
        "{replayed:?}"
    );
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
}
