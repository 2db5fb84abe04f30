//! `keyward key`: keys and their lives. Every change is one of the registry's, made by somebody who
//! may, and told in the log.

mod change;
mod issue;
pub(super) mod keeper;
mod list;
pub(super) mod marks;
pub(super) mod preflight;
mod read;
mod revoke;
mod rotate;
mod scopes;
mod texts;
mod usage;

use std::path::Path;

use clap::{Args, Subcommand};

use super::{Failure, Status, open};
use crate::key::KeyId;
use crate::timestamp::{DAY_MS, Timestamp};

/// The commands about keys.
#[derive(Subcommand, Debug)]
pub(super) enum KeyCommand {
    /// Issue a key; its secret is shown once, here, and kept nowhere
    #[command(after_help = issue::EXAMPLES)]
    Issue(issue::IssueArgs),
    /// Import keys from a file, all of them or none
    #[command(after_help = issue::IMPORT_EXAMPLES)]
    Import(issue::ImportArgs),
    /// Print every key as JSON Lines, with the digests of the secrets
    Export,
    /// List keys, and mark those that break the policies' rules
    #[command(after_help = list::EXAMPLES)]
    List(list::ListArgs),
    /// Show everything about a key
    Show(OneKey),
    /// Show what was done to a key, by whom and why
    History(OneKey),
    /// Show who uses a key: how often, from where, with which outcome
    #[command(after_help = usage::EXAMPLES)]
    Usage(usage::UsageArgs),
    /// Give a key a successor; the old one stays usable until its grace period ends
    #[command(after_help = rotate::EXAMPLES)]
    Rotate(rotate::RotateArgs),
    /// Switch a key off for the time being
    Suspend(Reasoned),
    /// Switch a suspended key on again
    Resume(Reasoned),
    /// Put a key under the read-only mask: it may read what it may, and nothing else
    Mask(Reasoned),
    /// Take a key out of the read-only mask
    Unmask(Reasoned),
    /// Let a key end earlier; later is not possible
    #[command(after_help = change::SHORTEN_EXAMPLES)]
    Shorten(change::ShortenArgs),
    /// End the grace period of a key that has a successor
    EndGrace(Reasoned),
    /// Change what a key may do, or show what of it was not needed
    #[command(after_help = scopes::EXAMPLES)]
    Scopes(scopes::ScopesArgs),
    /// Change from where a key may be used
    #[command(after_help = change::NETWORKS_EXAMPLES)]
    Networks(change::NetworksArgs),
    /// Order the revocation of a key: it is suspended until another manager confirms
    #[command(after_help = revoke::EXAMPLES)]
    Revoke(revoke::RevokeArgs),
    /// Show the revocation orders that can be confirmed
    Orders,
    /// Confirm a revocation order: the key is revoked, for good
    Confirm(revoke::ConfirmArgs),
    /// Review what another manager did in an emergency
    Review(revoke::ReviewArgs),
}

/// A key.
#[derive(Args, Debug)]
pub(super) struct OneKey {
    /// The key's id
    id: String,
}

/// A key, and why something is done to it.
#[derive(Args, Debug)]
pub(super) struct Reasoned {
    #[command(flatten)]
    key: OneKey,
    /// Check everything, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl OneKey {
    pub(super) fn id(&self) -> Result<KeyId, Failure> {
        self.id.parse().map_err(Failure::usage)
    }
}

/// Runs one of the commands.
pub(super) fn run(config: &Path, command: &KeyCommand) -> Result<Status, Failure> {
    texts::check(command)?;
    let config = open::config(config)?;
    match command {
        KeyCommand::Issue(args) => issue::issue(&config, args),
        KeyCommand::Import(args) => issue::import(&config, args),
        KeyCommand::Export => read::export(&config),
        KeyCommand::List(args) => list::run(&config, args),
        KeyCommand::Show(key) => read::show(&config, key.id()?),
        KeyCommand::History(key) => read::history(&config, key.id()?),
        KeyCommand::Usage(args) => usage::run(&config, args),
        KeyCommand::Rotate(args) => rotate::run(&config, args),
        KeyCommand::Suspend(args) => change::suspend(&config, args),
        KeyCommand::Resume(args) => change::resume(&config, args),
        KeyCommand::Mask(args) => change::mask(&config, args, true),
        KeyCommand::Unmask(args) => change::mask(&config, args, false),
        KeyCommand::Shorten(args) => change::shorten(&config, args),
        KeyCommand::EndGrace(args) => change::end_grace(&config, args),
        KeyCommand::Scopes(args) => scopes::run(&config, args),
        KeyCommand::Networks(args) => change::networks(&config, args),
        KeyCommand::Revoke(args) => revoke::revoke(&config, args),
        KeyCommand::Orders => revoke::orders(&config),
        KeyCommand::Confirm(args) => revoke::confirm(&config, args),
        KeyCommand::Review(args) => revoke::review(&config, args),
    }
}

/// A time as an argument.
fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

/// A duration as an argument, in milliseconds: `0`, or a number and `s`, `m`, `h` or `d`.
pub(in crate::cli) fn duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || "write a number and s, m, h or d, for example 7d, or 0".to_owned();
    if text == "0" {
        return Ok(0);
    }
    let unit_ms = match text.chars().last() {
        Some('s') => 1_000,
        Some('m') => 60 * 1_000,
        Some('h') => 60 * 60 * 1_000,
        Some('d') => DAY_MS,
        _ => return Err(wrong()),
    };
    let digits = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit_ms).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("7d", Ok(7 * DAY_MS)),
            ("12h", Ok(DAY_MS / 2)),
            ("30m", Ok(1_800_000)),
            ("5s", Ok(5_000)),
        ] {
            assert_eq!(duration_ms(text), expected, "{text}");
        }
        for text in [
            "",
            "7",
            "d",
            "-7d",
            "+7d",
            "7w",
            "7é",
            "99999999999999999999d",
            "213503982335d",
        ] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }
}
