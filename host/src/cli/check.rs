//! `keyward check`: loads everything, and reports every error at once; with `--against-log` also
//! which recorded decisions the policies would change.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::key::duration_ms;
use super::output::{ALLOW, DENY, NOTE, clip};
use super::{Failure, Status, open, print};
use crate::audit::against::{Against, Kind, against};
use crate::clock;
use crate::config::{Config, ConfigParts, LogConfig};
use crate::governance::preflight::{at, covered};
use crate::key::KeyId;
use crate::log::{LogError, LogReader, has_begun};
use crate::policy::{Engine, PolicySet};

/// Arguments of `keyward check`.
#[derive(Args, Debug)]
pub(super) struct CheckArgs {
    /// Evaluate the recorded decisions again with the policies of the configuration, and show
    /// which would change
    #[arg(long)]
    against_log: bool,
    /// How far back: 12h, 30d
    #[arg(long, value_name = "DURATION", value_parser = duration_ms, default_value = "30d")]
    #[arg(requires = "against_log")]
    over: u64,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward check                             before a start
  keyward check --against-log --over 90d    before other policies or settings are used

The policies are asked again with the recorded answers and scopes; routes are not applied anew. What
a record has no answer for is counted as unknown.

Exit status: 0 nothing changes; 1 a decision would change; 2 the configuration does not hold.";

/// How many kinds of changes are shown; the rest is counted.
const KINDS_SHOWN_MAX: usize = 50;
/// The longest text of a kind, in characters.
const KIND_MAX_CHARS: usize = 200;

/// Runs the command. What stands in the file and what it names are checked alike: a mistake in one
/// does not hide those in the other.
pub(super) fn run(path: &Path, args: &CheckArgs) -> Result<Status, Failure> {
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
        (Some(policies), true) => {
            let config = open::config(path)?;
            report(&config, &policies, keys)?;
            if args.against_log {
                return against_log(&config, (&policies, engine), args.over);
            }
            Ok(Status::Done)
        }
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

/// Evaluates the recorded decisions with the policies of the configuration.
fn against_log(
    config: &Config,
    (policies, engine): (&PolicySet, Engine),
    over_ms: u64,
) -> Result<Status, Failure> {
    let context = || format!("log folder `{}`", config.log.path.display());
    let reader = LogReader::open(&config.log.path)
        .with_context(context)
        .map_err(Failure::Storage)?;
    let from = clock::now().before_ms(over_ms);
    let found = against(&reader, engine, policies.policies(), from)
        .with_context(context)
        .map_err(Failure::Storage)?;
    print(&against_text(&found))?;
    Ok(if found.changed == 0 {
        Status::Done
    } else {
        Status::DidNotHold
    })
}

fn against_text(found: &Against) -> String {
    let style = if found.changed == 0 { ALLOW } else { DENY };
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "  {style}{} of {} decisions {} would change{style:#}, {} are unknown",
        found.changed,
        found.decisions,
        covered(found.coverage),
        found.unknown_count
    );
    let mut kinds: Vec<_> = found.changes.iter().collect();
    kinds.sort_by_key(|(_, listed)| std::cmp::Reverse(listed.count));
    for (kind, listed) in kinds.iter().take(KINDS_SHOWN_MAX) {
        let (count, at) = (listed.count, at(listed));
        let kind = clip(&kind_text(kind), KIND_MAX_CHARS);
        let _ = writeln!(text, "  {count:>6} {kind}, {at}");
    }
    for (missing, listed) in found.unknown.iter().take(KINDS_SHOWN_MAX) {
        let (count, at) = (listed.count, at(listed));
        let missing = clip(missing, KIND_MAX_CHARS);
        let _ = writeln!(text, "  {count:>6} {NOTE}unknown{NOTE:#}: {missing}, {at}");
    }
    for left in [found.changes.len(), found.unknown.len()] {
        let left = left.saturating_sub(KINDS_SHOWN_MAX);
        if left > 0 {
            let _ = writeln!(text, "  and {left} more kinds");
        }
    }
    text
}

fn kind_text(kind: &Kind) -> String {
    let key = kind.key.as_ref().map_or("none", KeyId::as_str);
    let change = if kind.is_allowed {
        "deny -> allow"
    } else {
        "allow -> deny"
    };
    format!("{change}  key {key}: {} -> {}", kind.before, kind.after)
}
