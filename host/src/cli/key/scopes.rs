//! `keyward key scopes`: other grants for a key, and those that its requests have not needed.

use std::fmt::Write as _;

use anyhow::{Context as _, anyhow};
use clap::{ArgGroup, Args};

use super::super::output::{FAINT, NOTE, clip, printable};
use super::super::{Failure, Status, print};
use super::change::{begin, finish};
use super::keeper::{Intent, Keeper};
use super::read::find;
use super::{OneKey, duration_ms, preflight};
use crate::audit::scopes::{GrantUsage, ScopeUsage, scope_usage};
use crate::clock;
use crate::config::Config;
use crate::governance::preflight::{Checks, SCOPES, Verdict, covered};
use crate::governance::principal::Action;
use crate::key::edit::Edit;
use crate::key::{KeyId, KeyRecord};
use crate::log::LogReader;
use crate::timestamp::Timestamp;

/// Arguments of `keyward key scopes`.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["scopes", "unused"])))]
pub(in crate::cli) struct ScopesArgs {
    #[command(flatten)]
    key: OneKey,
    /// What it may do from here on, and nothing else: `resource:action`; may be given more than
    /// once. A wildcard becomes the scopes that it stands for now
    #[arg(long = "set", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Grant wildcards as they are: they also cover scopes that come later
    #[arg(long, requires = "scopes")]
    keep_wildcard: bool,
    /// Show which of its grants no request has needed for so long: 12h, 90d
    #[arg(long, value_name = "DURATION", value_parser = duration_ms)]
    unused: Option<u64>,
    /// Take away what was not needed, unless a request that was allowed would have been refused
    #[arg(long, requires = "unused")]
    apply: bool,
    /// Check everything, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  keyward key scopes k7Qp2mXw9LaR --set inventory:read --reason 'it never writes'
  keyward key scopes k7Qp2mXw9LaR --set 'inventory.*:read' --dry-run     what that would be
  keyward key scopes k7Qp2mXw9LaR --unused 90d                           what it has not needed
  keyward key scopes k7Qp2mXw9LaR --unused 90d --apply                   take that away

Granting less needs an operator, granting anything more a manager. What is more, `implies` of the
scope policy says; which scopes there are, the routes and `scopes` in [governance].";

/// The widest grant that is shown in full.
const GRANT_COLUMNS: usize = 40;
/// The longest list of scopes that is shown for a grant, in characters.
const REQUIRED_MAX_CHARS: usize = 400;

/// Runs the command.
pub(super) fn run(config: &Config, args: &ScopesArgs) -> Result<Status, Failure> {
    match args.unused {
        Some(window_ms) => unused(config, args, window_ms),
        None => set(config, args),
    }
}

const fn intent(id: KeyId) -> Intent {
    Intent {
        action: Action::Adjust,
        key: Some(id),
    }
}

fn set(config: &Config, args: &ScopesArgs) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let mut keeper = begin(config, args.dry_run, intent(id))?;
    let record = keeper.key(&id)?;
    let mut checks = Checks::default();
    let wanted = (&*args.scopes, args.keep_wildcard);
    let grants = keeper
        .core
        .asking()
        .grants(wanted, &record.scopes, &mut checks);
    let is_resolved = grants.is_some();
    let grants = grants.unwrap_or_else(|| args.scopes.clone());
    let implications = config.implications();
    let is_new = |grant: &&str| !implications.are_covered([*grant], &record.scopes);
    let new: Vec<_> = grants.iter().map(String::as_str).filter(is_new).collect();
    let actions = if new.is_empty() {
        &[Action::Adjust][..]
    } else {
        &[Action::Adjust, Action::Widen]
    };
    let granted = (&*record.owner, new);
    keeper
        .core
        .asking()
        .authority(actions, granted, &mut checks);
    checks.expiry_of(&record, config.governance.max_lifetime_days);
    let edit = Edit::Scopes {
        grants,
        implications,
    };
    keeper.core.check_history(&record, &mut checks)?;
    if is_resolved {
        keeper.core.check_change((&record, &edit), &mut checks)?;
    }
    let reason = args.reason.as_deref();
    let which = (id, args.dry_run);
    finish((config, &mut keeper), which, (&edit, reason), &checks)
}

fn unused(config: &Config, args: &ScopesArgs, window_ms: u64) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let record = find(config, id)?;
    let folder = &config.log.path;
    let context = || format!("log folder `{}`", folder.display());
    let reader = LogReader::open(folder)
        .with_context(context)
        .map_err(Failure::Storage)?;
    let from = clock::now().before_ms(window_ms);
    let usage = scope_usage(&reader, (&record, from), &config.implications())
        .with_context(context)
        .map_err(Failure::Storage)?;
    let text = shown(&record, &usage);
    print(&text)?;
    if args.apply {
        return apply(config, args, (&record, from), &usage);
    }
    Ok(Status::Done)
}

/// Takes away what was not needed, as far as no request that was allowed says otherwise.
fn apply(
    config: &Config,
    args: &ScopesArgs,
    (record, from): (&KeyRecord, Timestamp),
    usage: &ScopeUsage,
) -> Result<Status, Failure> {
    let id = record.id;
    if !usage.is_narrower() {
        return if usage.narrower.is_empty() {
            Err(Failure::usage(anyhow!(
                "no request has needed any of its grants, and a key has at least one; end it with \
                 `keyward key shorten` or `revoke`"
            )))
        } else {
            print(&format!(
                "key {id}: every grant was needed; nothing changed\n"
            ))
        };
    }
    let mut keeper: Keeper<'_> = begin(config, args.dry_run, intent(id))?;
    let now = keeper.key(&id)?;
    if now.version != record.version {
        return Err(Failure::usage(anyhow!(
            "key {id} was changed meanwhile; ask again"
        )));
    }
    let edit = Edit::Scopes {
        grants: usage.narrower.clone(),
        implications: config.implications(),
    };
    let mut checks = Checks::default();
    if usage.coverage.shortfall.is_some() {
        let text = format!("the log tells {} only", covered(usage.coverage));
        checks.add(SCOPES, Verdict::Warning, text);
    }
    let nothing = ("", []);
    keeper
        .core
        .asking()
        .authority(&[Action::Adjust], nothing, &mut checks);
    preflight::replayed(config, (record, from), (&edit, false), &mut checks)?;
    keeper.core.check_history(record, &mut checks)?;
    keeper.core.check_change((record, &edit), &mut checks)?;
    let default = format!("not needed since {}", usage.coverage.since);
    let reason = args.reason.as_deref().unwrap_or(&default);
    let change = (&edit, Some(reason));
    finish((config, &mut keeper), (id, args.dry_run), change, &checks)
}

fn shown(record: &KeyRecord, usage: &ScopeUsage) -> String {
    let mut text = String::new();
    let used = usage.grants.iter().filter(|it| it.count > 0).count();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "key {}: {} of {} grants were needed by {} requests that were allowed {}",
        record.id,
        used,
        usage.grants.len(),
        usage.allowed,
        covered(usage.coverage)
    );
    let _ = writeln!(
        text,
        "{FAINT}{:<GRANT_COLUMNS$} {:>8} {:<24} FOR{FAINT:#}",
        "GRANT", "NEEDED", "LAST"
    );
    for grant in &usage.grants {
        let _ = writeln!(text, "{}", grant_text(grant));
    }
    if usage.no_longer_granted > 0 {
        let count = usage.no_longer_granted;
        let _ = writeln!(text, "{count} requests needed what is no longer granted");
    }
    if usage.unknown > 0 {
        let count = usage.unknown;
        let _ = writeln!(text, "{count} requests do not say which scope they needed");
    }
    if usage.is_narrower() {
        let sets: String = usage
            .narrower
            .iter()
            .map(|scope| format!(" --set {scope}"))
            .collect();
        let _ = writeln!(
            text,
            "enough would have been: keyward key scopes {}{sets}",
            record.id
        );
    } else if usage.narrower.is_empty() {
        text.push_str("none was needed: the key can probably go\n");
    }
    text
}

fn grant_text(usage: &GrantUsage) -> String {
    let grant = clip(&usage.grant, GRANT_COLUMNS);
    let Some(last) = usage.last else {
        return format!("{grant:<GRANT_COLUMNS$} {:>8} {NOTE}not needed{NOTE:#}", 0);
    };
    let required: Vec<_> = usage.required.iter().map(|it| &**it).collect();
    let required = clip(&printable(&required.join(" ")), REQUIRED_MAX_CHARS);
    format!(
        "{grant:<GRANT_COLUMNS$} {:>8} {:<24} {required}",
        usage.count,
        last.to_string()
    )
}
