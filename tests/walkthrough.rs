//! The walk-throughs of the manual, run by a shell as they stand there.

use std::process::Command;

use crate::util::{Folder, cache, text};

/// Each block that is marked is run, one behind the other in one shell, and what stands under it is
/// what it prints, line by line and in this order; `…` stands for anything.
#[test]
fn the_walk_throughs_do_what_they_say() {
    run("host/docs/governance.md");
}

#[test]
fn the_walk_through_of_the_admin_api_does_what_it_says() {
    run("host/docs/admin.md");
}

fn run(page: &str) {
    let page = text(page);
    // What it starts ends with it.
    let mut script =
        "set -eu\nexec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null || :' EXIT\n".to_owned();
    let mut expected = Vec::new();
    let mut number = 0;
    let mut blocks = page.split("\n```").skip(1).step_by(2);
    let marked = page.matches("<!-- run -->\n```sh\n").count();
    while number < marked {
        let block = blocks.next().unwrap();
        if let Some(commands) = block.strip_prefix("sh\n") {
            number += 1;
            script.push_str(&format!("{commands}\necho '== {number}'\n"));
        } else if let Some(lines) = block.strip_prefix("text\n") {
            expected.push((number, lines.to_owned()));
        }
    }
    expected.push((
        number,
        blocks
            .next()
            .unwrap()
            .strip_prefix("text\n")
            .unwrap()
            .to_owned(),
    ));
    assert!(number >= 3 && expected.len() >= 3);

    let folder = Folder::new();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_keyward"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let ran = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .env("XDG_CACHE_HOME", cache())
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let out = String::from_utf8(ran.stdout).unwrap();
    assert!(ran.status.success(), "{out}");
    for (number, lines) in expected {
        let end = format!("== {number}\n");
        let begin = format!("== {}\n", number - 1);
        let section = out.split(&end).next().unwrap();
        let section = section.rsplit(&begin).next().unwrap();
        let mut printed = section.lines();
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let found = printed.any(|it| matches(it, line));
            assert!(
                found,
                "block {number} does not print, or not in this order:\n{line}\n{section}"
            );
        }
    }
}

/// Whether a line is what is shown, where `…` stands for anything.
fn matches(line: &str, shown: &str) -> bool {
    let mut rest = line;
    let mut parts = shown.split('…').map(str::trim);
    let first = parts.next().unwrap();
    if !rest.starts_with(first) {
        return false;
    }
    rest = &rest[first.len()..];
    parts.all(|part| match rest.find(part) {
        Some(place) => {
            rest = &rest[place + part.len()..];
            true
        }
        None => false,
    })
}
