//! `keyward check`: loads everything, evaluates nothing, reports every error at once.

use std::path::Path;

use anyhow::anyhow;

use super::{Failure, Status, open, print};

/// Runs the command.
pub(super) fn run(config: &Path) -> Result<Status, Failure> {
    let config = open::config(config)?;
    let engine = open::engine().map_err(Failure::usage)?;
    let policies = open::policies(&config, &engine);
    let registry = open::registry(&config);
    let mut problems = policies.as_ref().err().cloned().unwrap_or_default();
    let keys = match registry {
        Ok(registry) => registry.len(),
        Err(Failure::Storage(error)) if problems.is_empty() => return Err(Failure::Storage(error)),
        Err(Failure::Usage(error) | Failure::Storage(error)) => {
            problems.push(format!("{error:#}"));
            0
        }
        Err(Failure::Closed) => 0,
    };
    let Ok(policies) = policies.as_ref().map_err(|_| ()).and_then(|policies| {
        if problems.is_empty() {
            Ok(policies)
        } else {
            Err(())
        }
    }) else {
        return Err(Failure::usage(anyhow!(
            "the configuration does not hold:\n{}",
            problems.join("\n")
        )));
    };
    let mut text = format!("{}: in order\n", config.file.display());
    for policy in policies.policies() {
        let descriptor = policy.descriptor();
        text.push_str(&format!(
            "  policy {}: {} {}, {}, {}\n",
            policy.spec().name,
            descriptor.name,
            descriptor.version,
            policy.spec().mode.as_str(),
            if policy.snapshot().is_some() {
                "configured once"
            } else {
                "configured for each request: it cannot be snapshotted"
            },
        ));
    }
    text.push_str(&format!("  {} routes, {keys} keys\n", config.routes.len()));
    text.push_str(&format!("  policy set {}\n", policies.digest()));
    print(&text)
}
