//! What the figures were measured on: absolute ones hold for that machine alone.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use keyward::timestamp::Timestamp;

/// The machine, the compiler and the day, on one line.
pub(crate) fn line() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores; {}; {}", processor(), compiler(), day())
}

/// The version of a package, from the lock file that it was built with.
pub(crate) fn version(package: &str) -> &'static str {
    let named = format!("name = \"{package}\"");
    let mut lines = include_str!("../Cargo.lock").lines();
    lines.find(|line| *line == named);
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix("version = "));
    version.map_or("?", |version| version.trim_matches('"'))
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": "));
    model
        .map_or("unknown processor", |(_, model)| model)
        .to_owned()
}

/// What is on the path, which is what cargo built with.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let version = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    version.unwrap_or_else(|_| "unknown compiler".to_owned())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a table of figures states the day"
)]
fn day() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = now.map_or(0, |now| now.as_millis());
    let now = Timestamp::from_millis(i64::try_from(millis).unwrap_or(0));
    now.to_string().chars().take("2026-11-23".len()).collect()
}
