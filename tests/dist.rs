//! The canonical components: their digests, their sources, and, where this machine has the
//! compiler that made them, their bytes.

use std::process::Command;

use keyward::digest::Digest;
use serde::Deserialize;

use crate::util::{Folder, root, text};

#[derive(Deserialize)]
struct Lock {
    rustc: String,
    policy: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    sha256: Digest,
    source_sha256: Digest,
}

fn lock() -> Lock {
    toml::from_str(keyward_policies::LOCK).unwrap()
}

/// The policies in the order of the lock.
const CRATES: [&str; 4] = [
    "policies/ip",
    "policies/rate",
    "policies/rotation",
    "policies/scope",
];

#[test]
fn the_lock_names_what_is_embedded() {
    let lock = lock();
    let names: Vec<_> = lock
        .policy
        .iter()
        .map(|policy| policy.name.as_str())
        .collect();
    assert_eq!(names, ["ip", "rate", "rotation", "scope"]);
    let modules = [
        keyward_policies::IP,
        keyward_policies::RATE,
        keyward_policies::ROTATION,
        keyward_policies::SCOPE,
    ];
    for (policy, module) in lock.policy.iter().zip(modules) {
        assert_eq!(policy.sha256, Digest::of(module), "{}", policy.name);
        assert!(
            module.len() <= 80 << 10,
            "{} has {} bytes",
            policy.name,
            module.len()
        );
    }
}

/// A source that changed makes another digest; then `policies/dist` has to be built again, with the
/// command that the message gives.
#[test]
fn the_sources_are_those_that_were_built() {
    for (folder, locked) in CRATES.into_iter().zip(lock().policy) {
        let digest = keyward::cli::source_digest(&root().join(folder)).unwrap();
        assert_eq!(
            digest,
            locked.source_sha256,
            "{folder} has changed since its component was built; run: cargo run -- policy build \
             --lock --out-dir policies/dist {}",
            CRATES.join(" ")
        );
    }
}

/// Whether a rustc here makes wasm; `None` says why the test cannot run. CI sets
/// `KEYWARD_REQUIRE_WASM` and so requires it.
fn wasm_compiler() -> Option<String> {
    let found = keyward::cli::wasm_compiler();
    let required = std::env::var_os("KEYWARD_REQUIRE_WASM").is_some();
    assert!(
        found.is_some() || !required,
        "this run requires a compiler for wasm32"
    );
    found
}

/// Needs a compiler for wasm32; without one there is nothing to compare.
#[test]
fn the_same_compiler_makes_the_same_bytes() {
    if wasm_compiler() != Some(lock().rustc) {
        println!("not compared: the compiler of the lock file is not on this machine");
        return;
    }
    let folder = Folder::new();
    let out = folder.path().to_str().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args(["policy", "build", "--lock", "--out-dir", out])
        .args(CRATES)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(folder.read("lock.toml"), text("policies/dist/lock.toml"));
}

/// The example of the policy author's guide, from its source to a decision. Needs a compiler for
/// wasm32.
#[test]
fn the_example_policy_is_built_and_decides() {
    if wasm_compiler().is_none() {
        println!("not built: no compiler on this machine makes wasm");
        return;
    }
    let folder = Folder::quickstart();
    let out = folder.path().to_str().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_keyward"))
        .args([
            "policy",
            "build",
            "--out-dir",
            out,
            "policies/examples/office-hours",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report = String::from_utf8_lossy(&output.stdout);
    let imports: Vec<&str> = report
        .lines()
        .filter(|line| line.contains("imports"))
        .collect();
    let [key_label, now] = ["key-label", "now"]
        .map(|function| format!("  imports keyward:policy/request@0.1.0 {function}"));
    assert_eq!(imports.len(), 2, "{report}");
    assert!(
        imports.contains(&&*key_label) && imports.contains(&&*now),
        "{report}"
    );
    let policy = "\n[[policy]]\nname = \"hours\"\nmodule = \"office-hours.wasm\"\n";
    folder.write("keyward.toml", folder.read("keyward.toml") + policy);
    let keys = folder
        .read("keys.jsonl")
        .replace("\"quickbooks\"", "\"quickbooks\",\"hours\":\"office\"");
    folder.write("keys.jsonl", keys);
    folder.run(&["check"]).exit(0);
    let request = |time: &str| {
        format!(
            r#"{{"id":"{time}","time":"{time}","key":"k7Qp2mXw9LaR","method":"GET","host":"api.example.com","path":"/inventory/1","source":"203.0.113.9"}}"#
        )
    };
    // A Monday at ten, the same day at eleven in the evening, and a Sunday.
    let times = [
        "2026-11-09T10:00:00Z",
        "2026-11-09T23:00:00Z",
        "2026-11-08T10:00:00Z",
    ];
    let input = times.map(request).join("\n");
    let ran = folder
        .run_with(&["evaluate", "-"], input.as_bytes())
        .exit(0);
    let effects: Vec<_> = ran
        .json()
        .iter()
        .map(|line| line["effect"].clone())
        .collect();
    assert_eq!(effects, ["allow", "deny", "deny"], "{ran:?}");
    folder.run(&["replay"]).exit(0);
}

/// A crate that is no policy, and one that does not compile: said, and nothing written.
#[test]
fn what_is_no_policy_is_not_built() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.file("plain/src")).unwrap();
    let manifest = "[package]\nname = \"plain\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
    folder.write("plain/Cargo.toml", manifest);
    folder.write("plain/src/lib.rs", "");
    let ran = folder.run(&["policy", "build", "plain"]).exit(2);
    if wasm_compiler().is_none() {
        assert!(
            ran.err.contains("rustup target add wasm32-unknown-unknown"),
            "{ran:?}"
        );
        return;
    }
    assert!(ran.err.contains("keyward_policy::export!"), "{ran:?}");
    folder.write("plain/src/lib.rs", "fn broken(");
    let ran = folder.run(&["policy", "build", "plain"]).exit(2);
    assert!(ran.err.contains("the compiler refused it"), "{ran:?}");
    assert!(!folder.file("plain.wasm").exists());
}
