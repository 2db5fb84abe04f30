//! `keyward check`: loads everything, evaluates nothing, reports every error at once.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::anyhow;

use super::{Failure, Status, open, print};
use crate::config::{Config, ConfigParts, LogConfig};
use crate::log::{LogError, LogReader, has_begun};
use crate::policy::PolicySet;

/// Runs the command. What stands in the file and what it names are checked alike: a mistake in one
/// does not hide those in the other.
pub(super) fn run(path: &Path) -> Result<Status, Failure> {
    let (parts, errors) = ConfigParts::load(path);
    let mut problems: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let engine = open::engine().map_err(Failure::usage)?;
    let policies = if parts.policies.is_empty() {
        None
    } else {
        let policies = open::policies(&parts.policies, &engine);
        policies.map_err(|found| problems.extend(found)).ok()
    };
    let mut storage_failed = false;
    let mut keys = 0;
    match parts.registry.as_ref().map(open::registry) {
        Some(Ok(registry)) => keys = registry.len(),
        Some(Err(Failure::Usage(error))) => problems.push(format!("{error:#}")),
        Some(Err(Failure::Storage(error))) => {
            storage_failed = problems.is_empty();
            problems.push(format!("{error:#}"));
        }
        Some(Err(Failure::Closed)) | None => {}
    }
    if let Some(problem) = parts.log.as_ref().and_then(log_problem) {
        storage_failed = problems.is_empty() || storage_failed;
        problems.push(problem);
    }
    match (policies, problems.is_empty()) {
        (Some(policies), true) => report(&open::config(path)?, &policies, keys),
        _ => {
            let error = anyhow!("the configuration does not hold:\n{}", problems.join("\n"));
            Err(if storage_failed {
                Failure::Storage(error)
            } else {
                Failure::Usage(error)
            })
        }
    }
}

/// Why decisions could not be recorded in this log folder, as far as reading it tells.
fn log_problem(config: &LogConfig) -> Option<String> {
    let folder = config.path.display();
    let problem = |text: String| Some(format!("log folder `{folder}`: {text}"));
    match has_begun(&config.path) {
        Err(error) => return problem(format!("{:#}", anyhow::Error::new(error))),
        Ok(false) if config.key.exists() => {
            return problem(LogError::NotBegun.to_string());
        }
        Ok(false) => return None, // It will be made.
        Ok(true) => {}
    }
    match LogReader::open(&config.path) {
        Err(error) => problem(format!("{:#}", anyhow::Error::new(error))),
        Ok(reader) if reader.origin() != &*config.origin => problem(format!(
            "the log there is `{}`, not `{}`; name another folder",
            reader.origin(),
            config.origin
        )),
        Ok(_) => None,
    }
}

fn report(config: &Config, policies: &PolicySet, keys: usize) -> Result<Status, Failure> {
    let mut text = format!("{}: in order\n", config.file.display());
    for policy in policies.policies() {
        let descriptor = policy.descriptor();
        let configured = if policy.snapshot().is_some() {
            "configured once"
        } else {
            "configured for each request: it cannot be snapshotted"
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "  policy {}: {} {}, {}, {configured}",
            policy.spec().name,
            descriptor.name,
            descriptor.version,
            policy.spec().mode.as_str(),
        );
    }
    let _ = writeln!(text, "  routes: {}, keys: {keys}", config.routes.len());
    let _ = writeln!(text, "  policy set {}", policies.digest());
    print(&text)
}
