//! The quick start tells its story, and the README shows what it prints.

use crate::util::{Folder, text};

/// What the README shows is what the commands print, to the letter.
#[test]
fn the_readme_shows_real_output() {
    let folder = Folder::quickstart();
    let readme = text("README.md");
    let evaluated = folder
        .run(&["evaluate", "--format", "table", "requests.jsonl"])
        .exit(0);
    for line in shown(&readme, "TIME ") {
        assert!(evaluated.out.contains(&line), "{line}");
    }
    let explained = folder.run(&["explain", "q04"]).exit(0);
    for line in shown(&readme, "deny scope.missing: ") {
        // Ids and indexes differ from run to run.
        if !line.contains("decision  ") {
            assert!(explained.out.contains(&line), "{line}");
        }
    }
    let replayed = folder.run(&["replay", "log"]).exit(0);
    let folder = Folder::quickstart();
    folder.run(&["log", "init"]).exit(0);
    folder.run(&["evaluate", "requests.jsonl"]).exit(0);
    let verified = folder.run(&["log", "verify"]).exit(0);
    for line in shown(&readme, "  signed ") {
        let start = line.split('…').next().unwrap();
        assert!(verified.out.contains(start), "{line}");
    }
    assert!(readme.contains(replayed.out.trim_end()), "{}", replayed.out);
}

/// The lines of the README's code block that starts with this text; an ellipsis leaves lines out.
fn shown(readme: &str, start: &str) -> Vec<String> {
    let mut blocks = readme
        .split("```")
        .map(|block| block.split_once('\n').unwrap_or_default().1);
    let block = blocks.find(|block| block.starts_with(start)).expect(start);
    let lines: Vec<String> = block
        .lines()
        .filter(|line| *line != "…")
        .map(str::to_owned)
        .collect();
    assert!(lines.len() >= 3, "{lines:?}");
    lines
}

/// The story, request by request.
#[test]
fn the_story_holds() {
    let folder = Folder::quickstart();
    let decisions = folder.run(&["evaluate", "requests.jsonl"]).exit(0).json();
    let story = [
        ("q01", "allow", "scope.granted", ""),
        ("q04", "deny", "scope.missing", "excessive-scope"),
        ("q05", "deny", "ip.not-allowed", "unauthorized-ip"),
        ("q06", "deny", "ip.blocked", "unauthorized-ip"),
        ("q07", "deny", "ip.source-unknown", "unauthorized-ip"),
        ("q08", "deny", "scope.unmapped", "unmapped-route"),
        ("q09", "deny", "request.path-ambiguous", ""),
        ("q10", "allow", "scope.granted", "deprecated-key-used"),
        ("q11", "deny", "rotation.grace-ended", "deprecated-key-used"),
        ("q13", "deny", "scope.read-only", "excessive-scope"),
        ("q14", "deny", "rotation.no-expiry", "key-not-compliant"),
        ("q15", "deny", "key.suspended", ""),
        ("q16", "allow", "scope.granted", ""),
        ("q17", "deny", "key.malformed", ""),
        ("q18", "deny", "key.unknown", ""),
        ("q19", "deny", "key.unknown", ""),
        ("q20", "deny", "key.missing", ""),
        ("q21", "allow", "scope.granted", "rotation-due"),
        ("q26", "allow", "scope.granted", "rotation-due"),
        ("q27", "allow", "scope.granted", "rotation-due"),
        ("q28", "deny", "rotation.expired", ""),
    ];
    for (request, effect, reason, signal) in story {
        let decision = decisions
            .iter()
            .find(|decision| decision["request"] == request)
            .unwrap();
        assert_eq!(decision["effect"], effect, "{request}");
        assert_eq!(decision["reason"], reason, "{request}");
        let signals: Vec<_> = decision["policies"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|policy| policy["signals"].as_array().unwrap())
            .map(|signal| signal["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            signals.contains(&signal),
            !signal.is_empty(),
            "{request} {signals:?}"
        );
    }
}

#[test]
fn init_writes_the_quick_start_and_overwrites_nothing() {
    let folder = Folder::new();
    folder.run(&["init", "demo"]).exit(0);
    for name in ["keyward.toml", "keys.jsonl", "requests.jsonl"] {
        let written = folder.read(&format!("demo/{name}"));
        assert_eq!(written, text(&format!("host/examples/quickstart/{name}")));
    }
    folder.write("demo/keys.jsonl", "mine");
    std::fs::remove_file(folder.file("demo/keyward.toml")).unwrap();
    let ran = folder.run(&["init", "demo"]).exit(2);
    assert!(ran.err.contains("has a `keys.jsonl` already"), "{ran:?}");
    assert_eq!(folder.read("demo/keys.jsonl"), "mine");
    assert!(!folder.file("demo/keyward.toml").exists());
}

#[test]
fn every_command_teaches() {
    let folder = Folder::new();
    let commands: &[&[&str]] = &[
        &[],
        &["init"],
        &["check"],
        &["evaluate"],
        &["replay"],
        &["explain"],
        &["key"],
        &["key", "issue"],
        &["key", "import"],
        &["key", "export"],
        &["key", "list"],
        &["key", "show"],
        &["policy"],
        &["policy", "build"],
        &["completions"],
    ];
    for command in commands {
        let args: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let ran = folder.run(&args).exit(0);
        assert!(ran.out.contains("Usage: keyward"), "{command:?}");
        assert!(ran.err.is_empty(), "{command:?}");
    }
    let version = folder.run(&["--version"]).exit(0);
    assert!(version.out.starts_with("keyward ") && version.out.contains("wasmtime 48."));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            folder
                .run(&["completions", shell])
                .exit(0)
                .out
                .contains("keyward"),
            "{shell}"
        );
    }
}
