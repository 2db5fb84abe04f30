//! The texts of a command about keys, checked before anything is opened, asked or recorded.

use anyhow::anyhow;

use super::super::Failure;
use super::KeyCommand;
use crate::key::OWNER_MAX_BYTES;
use crate::key::event::REASON_MAX_BYTES;
use crate::key::json::{FieldProblem, check_label, check_text};

/// Checks the owner, the labels and the reason of a command.
pub(super) fn check(command: &KeyCommand) -> Result<(), Failure> {
    if let KeyCommand::Issue(args) = command {
        one("--owner", check_text(&args.owner, OWNER_MAX_BYTES))?;
        for (name, value) in &args.labels {
            one("--label", check_label(name, value))?;
        }
    }
    match reason(command) {
        Some(reason) => one("--reason", check_text(reason, REASON_MAX_BYTES)),
        None => Ok(()),
    }
}

fn one(argument: &str, checked: Result<(), FieldProblem>) -> Result<(), Failure> {
    checked.map_err(|problem| Failure::usage(anyhow!("{argument}: {problem}")))
}

/// The reason that a command gives.
fn reason(command: &KeyCommand) -> Option<&str> {
    match command {
        KeyCommand::Issue(args) => args.reason.as_deref(),
        KeyCommand::Rotate(args) => args.reason.as_deref(),
        KeyCommand::Suspend(args)
        | KeyCommand::Resume(args)
        | KeyCommand::Mask(args)
        | KeyCommand::Unmask(args)
        | KeyCommand::EndGrace(args) => args.reason.as_deref(),
        KeyCommand::Review(args) => args.reason.as_deref(),
        KeyCommand::Import(args) => args.reason.as_deref(),
        KeyCommand::Shorten(args) => args.reason.as_deref(),
        KeyCommand::Scopes(args) => args.reason.as_deref(),
        KeyCommand::Networks(args) => args.reason.as_deref(),
        KeyCommand::Revoke(args) => Some(&args.reason),
        KeyCommand::Confirm(args) => args.reason.as_deref(),
        KeyCommand::Export
        | KeyCommand::List(_)
        | KeyCommand::Show(_)
        | KeyCommand::History(_)
        | KeyCommand::Usage(_)
        | KeyCommand::Orders => None,
    }
}
