//! Revocation: ordered, confirmed by somebody else, or done in an emergency that somebody else
//! reviews.

use anyhow::anyhow;
use clap::Args;

use super::super::{Failure, Status, print, say};
use super::OneKey;
use super::change::told;
use super::keeper::{Intent, Keeper};
use super::preflight::rehearsed;
use crate::config::Config;
use crate::digest::Digest;
use crate::governance::principal::Action;

/// Arguments of `keyward key revoke`.
#[derive(Args, Debug)]
pub(in crate::cli) struct RevokeArgs {
    #[command(flatten)]
    key: OneKey,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Revoke at once, alone; another manager has to review that before the next emergency
    #[arg(long)]
    emergency: bool,
    /// Check everything, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(in crate::cli) const EXAMPLES: &str = "\
Examples:
  keyward key revoke k7Qp2mXw9LaR --reason 'the vendor was breached'
  keyward key confirm 4f0c…             another manager, with the order's digest
  keyward key revoke k7Qp2mXw9LaR --reason 'in use by an attacker' --emergency
  keyward key review k7Qp2mXw9LaR --reason 'it was right'      another manager, afterwards

The key is refused from the order on. Revoked is final; a suspended key can be resumed. Another
manager is one with another name and another user of the operating system.";

/// Arguments of `keyward key confirm`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ConfirmArgs {
    /// The order's digest
    order: String,
    /// Why, for the key's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

/// Arguments of `keyward key review`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ReviewArgs {
    #[command(flatten)]
    key: OneKey,
    /// What it came to, for the key's history
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

pub(super) fn revoke(config: &Config, args: &RevokeArgs) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let reason = Some(&*args.reason);
    let valid_ms = config
        .governance
        .order_hours
        .saturating_mul(60 * 60 * 1_000);
    if args.dry_run {
        let mut keeper = Keeper::look(config)?;
        let action = if args.emergency {
            Action::Emergency
        } else {
            Action::OrderRevocation
        };
        return rehearsed(
            config,
            (&mut keeper, id),
            (action, reason),
            |registry, by| {
                if args.emergency {
                    registry.revoke_in_emergency(id, by)
                } else {
                    let ordered = registry.order_revocation(id, valid_ms, by);
                    ordered.map(|(_, changed)| changed)
                }
            },
        );
    }
    if args.emergency {
        let mut keeper = Keeper::begin(config, intent(Action::Emergency, Some(id)))?;
        let changed = keeper.change(reason, |registry, by| registry.revoke_in_emergency(id, by))?;
        say(format_args!(
            "another manager has to review this with `keyward key review {id}`"
        ));
        return print(&told(&changed));
    }
    let mut keeper = Keeper::begin(config, intent(Action::OrderRevocation, Some(id)))?;
    let (order, _) = keeper.change(reason, |registry, by| {
        registry.order_revocation(id, valid_ms, by)
    })?;
    say(format_args!(
        "key {id} is suspended; a manager other than `{}` revokes it until {} with\n  keyward key \
         confirm {}",
        order.requester,
        order.expires_at,
        order.digest()
    ));
    print(&format!("{}\n", order.digest()))
}

pub(super) fn orders(config: &Config) -> Result<Status, Failure> {
    let keeper = Keeper::look(config)?;
    let orders = keeper.core.registry.open_orders(keeper.core.now)?;
    if orders.is_empty() {
        say("no revocation order is open");
    }
    for order in orders {
        let line = serde_json::json!({
            "order": order.digest(),
            "key": order.key,
            "requester": order.requester,
            "reason": order.reason,
            "at": order.at,
            "expires_at": order.expires_at,
        });
        print(&format!("{line}\n"))?;
    }
    Ok(Status::Done)
}

pub(super) fn confirm(config: &Config, args: &ConfirmArgs) -> Result<Status, Failure> {
    let order: Digest = args
        .order
        .parse()
        .map_err(|error| Failure::usage(anyhow!("the order `{}`: {error}", args.order)))?;
    let mut keeper = Keeper::begin(config, intent(Action::ConfirmRevocation, None))?;
    let reason = args.reason.as_deref();
    let changed = keeper.change(reason, |registry, by| {
        registry.confirm_revocation(order, by)
    })?;
    print(&told(&changed))
}

pub(super) fn review(config: &Config, args: &ReviewArgs) -> Result<Status, Failure> {
    let id = args.key.id()?;
    let mut keeper = Keeper::begin(config, intent(Action::Review, Some(id)))?;
    let reason = args.reason.as_deref();
    let event = keeper.change(reason, |registry, by| registry.review_emergency(id, by))?;
    print(&format!(
        "key {id}: {}, event {}\n",
        event.kind.as_str(),
        event.sequence
    ))
}

const fn intent(action: Action, key: Option<crate::key::KeyId>) -> Intent {
    Intent { action, key }
}
