//! The house rules that a program can check.

use std::path::{Path, PathBuf};

use crate::util::{root, text};

/// Every file of the workspace that git would keep, by its path.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in [".ci", "host", "policies", "tests", "wit"] {
        collect(&root().join(folder), &mut files);
    }
    for name in ["Cargo.toml", "README.md"] {
        files.push(root().join(name));
    }
    assert!(files.len() > 100, "{}", files.len());
    files
}

/// Folders that git does not keep.
const MADE: [&str; 6] = [
    "target",
    "corpus",
    "artifacts",
    "node_modules",
    ".venv",
    "__pycache__",
];

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let made = MADE.contains(&name.as_str());
            let is_log = name == "log" && !path.starts_with(root().join("host/src"));
            if !made && !is_log {
                collect(&path, files);
            }
        } else {
            files.push(path);
        }
    }
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

fn name(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn files_open_with_what_they_are_for_and_stay_short() {
    let mut lengths = Vec::new();
    for path in files().iter().filter(|path| is_rust(path)) {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            text.starts_with("//!"),
            "{} does not open with `//!`",
            name(path)
        );
        let lines = text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines", name(path));
        if !name(path).starts_with("tests/") && !name(path).contains("tests") {
            lengths.push(lines);
        }
        for (number, line) in text.lines().enumerate() {
            let columns = line.chars().count();
            let is_data = line.contains('"'); // a text that rustfmt cannot break
            assert!(
                columns <= 100 || is_data,
                "{}:{} has {columns}",
                name(path),
                number + 1
            );
        }
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= 250, "the median file has {median} lines");
}

/// Which modules a module may not know, as absences.
const UNKNOWN: &[(&str, &[&str])] = &[
    (
        "host/src/log",
        &[
            "registry", "policy", "serve", "route", "request", "config", "cli",
        ],
    ),
    (
        "host/src/tlog",
        &[
            "log", "registry", "policy", "serve", "audit", "config", "cli", "clock", "request",
            "decision",
        ],
    ),
    (
        "host/src/policy",
        &["log", "registry", "serve", "audit", "config", "cli"],
    ),
    (
        "host/src/decision",
        &[
            "registry", "policy", "serve", "audit", "config", "cli", "clock", "request",
        ],
    ),
    (
        "host/src/audit",
        &["registry", "serve", "config", "cli", "authorizer", "clock"],
    ),
    (
        "host/src/registry",
        &["policy", "serve", "audit", "cli", "clock", "governance"],
    ),
    (
        "host/src/governance",
        &["policy", "serve", "authorizer", "config", "cli", "clock"],
    ),
    (
        "host/src/serve",
        &["policy", "audit", "cli", "clock", "witness"],
    ),
    (
        "host/src/route",
        &[
            "log", "policy", "registry", "serve", "audit", "cli", "clock",
        ],
    ),
    (
        "host/src/request",
        &[
            "log", "policy", "registry", "serve", "audit", "cli", "clock",
        ],
    ),
];

#[test]
fn modules_do_not_know_what_they_should_not() {
    for (module, unknown) in UNKNOWN {
        // Tests put together what the product keeps apart.
        let is_test = |path: &PathBuf| path.ends_with("tests.rs");
        let sources = files().into_iter().filter(|path| {
            is_rust(path)
                && !is_test(path)
                && (name(path).starts_with(&format!("{module}/"))
                    || name(path) == format!("{module}.rs"))
        });
        for path in sources {
            let text = std::fs::read_to_string(&path).unwrap();
            for other in *unknown {
                for form in [format!("crate::{other}::"), format!("crate::{other};")] {
                    assert!(!text.contains(&form), "{} uses `{form}`", name(&path));
                }
            }
        }
    }
}

/// The clock is read, the process ended and anyhow used where they may be.
#[test]
fn what_stands_in_one_place_stands_there_only() {
    let places: &[(&str, &str)] = &[
        ("SystemTime::now", "host/src/clock.rs"),
        ("anyhow", "host/src/cli"),
        ("std::process::exit", "host/src/main.rs"),
        ("stdout()", "host/src/cli"),
        ("stderr()", "host/src/cli"),
        ("wasmtime", "host/src/policy"),
        ("rusqlite", "host/src/registry/sqlite"),
        // HTTP, gRPC and what runs them.
        ("hyper::", "host/src/serve"),
        ("http::", "host/src/serve"),
        ("tonic::", "host/src/serve"),
        ("tokio::", "host/src/serve"),
    ];
    for path in files()
        .iter()
        .filter(|path| is_rust(path) && name(path).starts_with("host/src"))
    {
        let text = std::fs::read_to_string(path).unwrap();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for (word, place) in places {
                let is_use = line.contains(word) && !line.contains('"');
                assert!(
                    !is_use || name(path).starts_with(place),
                    "{}: {line}",
                    name(path)
                );
            }
        }
    }
}

/// What the manifest and every record call the engine is the engine.
#[test]
fn the_engine_is_the_one_that_records_name() {
    let version = keyward::policy::ENGINE.strip_prefix("wasmtime ").unwrap();
    let lock = text("Cargo.lock");
    assert!(lock.contains(&format!("name = \"wasmtime\"\nversion = \"{version}\"\n")));
}

#[test]
fn nothing_is_left_open() {
    let words = ["TODO", "FIXME", "XXX", "#[ignore"];
    for path in files().iter().filter(|path| name(path) != "tests/tidy.rs") {
        let Ok(text) = std::fs::read_to_string(path) else {
            continue;
        };
        for word in words {
            assert!(!text.contains(word), "{} has `{word}`", name(path));
        }
    }
}

#[test]
fn the_top_level_is_what_was_agreed() {
    let agreed = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "host",
        "policies",
        "tests",
    ];
    for entry in std::fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
        let kept = !name.starts_with('.') && name != "target" && name != "wit";
        assert!(
            !kept || agreed.contains(&name.as_str()),
            "`{name}` stands at the top"
        );
    }
}
