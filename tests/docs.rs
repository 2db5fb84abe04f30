//! The manual's examples are accepted by what they are examples of.

use std::path::Path;

use keyward::config::Config;
use keyward::key::KeyRecord;
use keyward::key::json::{KeyFile, KeyOptions};
use keyward::request::AccessRequest;

use crate::util::{text, time};

const PAGES: [&str; 10] = [
    "README.md",
    "host/docs/admin.md",
    "host/docs/architecture.md",
    "host/docs/formats.md",
    "host/docs/gateway.md",
    "host/docs/gateways.md",
    "host/docs/governance.md",
    "host/docs/log.md",
    "host/docs/policies.md",
    "host/docs/security.md",
];

/// The code blocks of a language, with the page that they stand on.
fn blocks(language: &str) -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    for page in PAGES {
        let text = text(page);
        let fenced = text.split("\n```").skip(1).step_by(2);
        let body = fenced.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
        blocks.extend(body.map(|body| (page, body.to_owned())));
    }
    blocks
}

#[test]
fn configurations_load() {
    let mut whole = 0;
    for (page, block) in blocks("toml") {
        let parsed: Result<toml::Table, _> = toml::from_str(&block);
        assert!(parsed.is_ok(), "{page}: {block}");
        if block.contains("[registry]") && block.contains("[[policy]]") {
            let config = Config::parse(&block, Path::new("keyward.toml"));
            assert!(config.is_ok(), "{page}: {:?}\n{block}", config.err());
            whole += 1;
        }
    }
    assert!(whole >= 1);
}

#[test]
fn keys_and_requests_are_accepted() {
    let (mut keys, mut requests) = (0, 0);
    for (page, block) in blocks("json") {
        let value: serde_json::Value =
            serde_json::from_str(&block).unwrap_or_else(|error| panic!("{page}: {error}\n{block}"));
        let line = value.to_string();
        if value.get("version").is_some() {
            assert!(
                KeyRecord::from_canonical_json(block.trim()).is_ok(),
                "{page}: {block}"
            );
        } else if value.get("owner").is_some() {
            let file: KeyFile = serde_json::from_str(&line).unwrap();
            assert!(file.check(KeyOptions::default()).is_ok(), "{page}: {block}");
            keys += 1;
        } else if value.get("method").is_some() {
            let now = time("2026-11-23T10:00:00Z");
            let request = AccessRequest::from_json(&line, now);
            assert!(request.is_ok(), "{page}: {:?}\n{block}", request.err());
            requests += 1;
        }
    }
    assert!(
        keys >= 1 && requests >= 1,
        "{keys} keys, {requests} requests"
    );
}

/// The crate of the policy author's guide, pasted together from the page, passes its own tests.
#[test]
fn the_guide_is_a_crate() {
    let folder = crate::util::Folder::new();
    let page = |language| {
        let blocks = blocks(language).into_iter();
        let of_page = blocks.filter(|(page, _)| *page == "host/docs/policies.md");
        of_page.map(|(_, block)| block).collect::<Vec<_>>()
    };
    let manifest = page("toml")
        .into_iter()
        .find(|block| block.starts_with("[package]"))
        .unwrap();
    let sdk = crate::util::root()
        .join("policies/sdk")
        .canonicalize()
        .unwrap();
    std::fs::create_dir(folder.file("src")).unwrap();
    folder.write(
        "Cargo.toml",
        manifest.replace("../keyward/policies/sdk", sdk.to_str().unwrap()),
    );
    folder.write("src/lib.rs", [page("rust"), page("rs")].concat().join("\n"));
    folder.write("Cargo.lock", text("Cargo.lock"));
    let output = std::process::Command::new(env!("CARGO"))
        .args(["test", "--offline", "--lib"])
        .current_dir(folder.path())
        .env(
            "CARGO_TARGET_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/guide"),
        )
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        out.contains("2 passed"),
        "{out}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The tests that the threat model names exist.
#[test]
fn the_tests_that_are_named_exist() {
    let page = text("host/docs/security.md");
    let sources: String = ["tests", "host/src", "policies"].map(all_sources).concat();
    let mut named = 0;
    let is_test = |name: &&str| {
        let words = name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        words && name.matches('_').count() >= 2
    };
    let rows = page.lines().filter(|line| line.starts_with('|'));
    for name in rows
        .flat_map(|row| row.split('`').skip(1).step_by(2))
        .filter(is_test)
    {
        assert!(sources.contains(&format!("fn {name}(")), "{name}");
        named += 1;
    }
    assert!(named > 10, "{named}");
}

fn all_sources(folder: &str) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(crate::util::root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            let relative = path.strip_prefix(crate::util::root()).unwrap();
            text += &all_sources(relative.to_str().unwrap());
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &std::fs::read_to_string(&path).unwrap();
        }
    }
    text
}
