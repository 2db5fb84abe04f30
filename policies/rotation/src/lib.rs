//! `keyward:rotation`: is this key young enough to be used?
//!
//! The policy never reads the clock. It only asks whether instants have been reached, so that the
//! host knows exactly until when a verdict holds.

mod settings;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;

use keyward_policy::{
    Descriptor, Fault, Lifecycle, Policy, Request, SettingError, Timestamp, Verdict,
};

pub use settings::{OnOverdue, Settings};

keyward_policy::reasons! { REASONS:
    NOT_YET_VALID "rotation.not-yet-valid" {
        text: "the key is not valid before {not_before}",
        remedy: "wait until then, or use the key that this one is to replace",
    }
    NO_EXPIRY "rotation.no-expiry" {
        text: "the key has no expiry, and keys must have one",
        remedy: "ask the key's manager for a key that expires",
    }
    LIFETIME_EXCEEDED "rotation.lifetime-exceeded" {
        text: "the key was issued for longer than the {max_lifetime_days} days that are allowed",
        remedy: "ask the key's manager for a key with a shorter life",
    }
    EXPIRED "rotation.expired" {
        text: "the key expired at {expires_at}",
        remedy: "ask the key's manager for a new key",
    }
    GRACE_ENDED "rotation.grace-ended" {
        text: "the key was replaced, and its grace period ended at {grace_until}",
        remedy: "use the key that replaced it",
    }
    OVERDUE "rotation.overdue" {
        text: "the key was to be rotated by {rotate_by}",
        remedy: "rotate the key and use the new one",
    }
    IN_GRACE "rotation.in-grace" {
        text: "the key was replaced and works only until its grace period ends",
        remedy: "use the key that replaced it",
    }
    OVERDUE_WARNED "rotation.overdue-warned" {
        text: "the key still works, but was to be rotated by {rotate_by}",
        remedy: "rotate the key and use the new one",
    }
    DUE "rotation.due" {
        text: "the key is to be replaced by {due}, in {stage} days or less",
        remedy: "rotate the key before then",
    }
    CURRENT "rotation.current" {
        text: "the key is valid and not due for rotation",
        remedy: "nothing to do",
    }
}

keyward_policy::signals! { SIGNALS:
    KEY_NOT_COMPLIANT "key-not-compliant"
    DEPRECATED_KEY_USED "deprecated-key-used"
    ROTATION_DUE "rotation-due"
}

/// The policy, configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    // INVARIANT: `notice_days` falls strictly.
    settings: Settings,
}

impl Policy for RotationPolicy {
    type Settings = Settings;

    const DESCRIPTOR: Descriptor = Descriptor {
        name: "keyward:rotation",
        version: env!("CARGO_PKG_VERSION"),
        summary: "Allows a key while it is valid, and gives notice before it has to be replaced",
        reasons: REASONS,
        signals: SIGNALS,
        settings_schema: include_str!("../settings.schema.json"),
        ..Descriptor::EMPTY
    };

    fn configure(mut settings: Settings) -> Result<Self, Vec<SettingError>> {
        settings.notice_days.sort_unstable_by(|a, b| b.cmp(a));
        settings.notice_days.dedup();
        Ok(Self { settings })
    }

    fn evaluate(&self, request: &impl Request) -> Result<Verdict, Fault> {
        Ok(self.verdict(request))
    }
}

impl RotationPolicy {
    /// The rows of the specification's table, in its order. Nothing is asked before the row that
    /// needs it.
    fn verdict(&self, request: &impl Request) -> Verdict {
        let issued_at = OnceCell::new();
        let issued_at = || *issued_at.get_or_init(|| request.key_issued_at());

        if let Some(not_before) = request.key_not_before()
            && !request.reached(not_before)
        {
            return Verdict::deny(NOT_YET_VALID.with("not_before", not_before));
        }

        let max_days = self.settings.max_lifetime_days;
        let expires_at = request.key_expires_at();
        match expires_at {
            None if self.settings.require_expiry => {
                return Verdict::deny(NO_EXPIRY).signal(KEY_NOT_COMPLIANT);
            }
            Some(end) if end.is_more_than_days_after(max_days, issued_at()) => {
                return Verdict::deny(LIFETIME_EXCEEDED.with("max_lifetime_days", max_days))
                    .signal(KEY_NOT_COMPLIANT);
            }
            Some(end) if request.reached(end) => {
                return Verdict::deny(EXPIRED.with("expires_at", end));
            }
            _ => {}
        }

        let deprecated = request.key_lifecycle() == Lifecycle::Deprecated;
        let grace_until = if deprecated {
            request.key_grace_until()
        } else {
            None
        };
        if let Some(end) = grace_until
            && request.reached(end)
        {
            return Verdict::deny(GRACE_ENDED.with("grace_until", end)).signal(DEPRECATED_KEY_USED);
        }

        let in_grace = || Verdict::allow(IN_GRACE).signal(DEPRECATED_KEY_USED);
        if deprecated && self.settings.on_overdue == OnOverdue::Warn {
            return in_grace(); // no row before this one depends on `rotate_by`
        }

        let period = self.settings.rotation_period_days;
        let rotate_by = request
            .key_rotate_by()
            .unwrap_or_else(|| issued_at().plus_days(period));
        let due = [expires_at, grace_until]
            .into_iter()
            .flatten()
            .fold(rotate_by, Timestamp::min);
        if request.reached(rotate_by) {
            let verdict = match self.settings.on_overdue {
                OnOverdue::Deny => Verdict::deny(OVERDUE.with("rotate_by", rotate_by)),
                OnOverdue::Warn => Verdict::allow(OVERDUE_WARNED.with("rotate_by", rotate_by)),
            };
            return verdict.signal(ROTATION_DUE.with("stage", "overdue").with("due", due));
        }
        if deprecated {
            return in_grace();
        }
        self.notice(request, due)
    }

    /// The last two rows: the smallest stage that `due` is near enough for.
    fn notice(&self, request: &impl Request, due: Timestamp) -> Verdict {
        // From the earliest instant on, and no further than the first that has not come: that one
        // is when the verdict may change.
        let days = self.settings.notice_days.iter();
        match days
            .take_while(|days| request.reached(due.minus_days(**days)))
            .last()
        {
            None => Verdict::allow(CURRENT),
            Some(stage) => {
                let due = due.to_string();
                Verdict::allow(DUE.with("due", due.as_str()).with("stage", stage))
                    .signal(ROTATION_DUE.with("stage", stage).with("due", due))
            }
        }
    }
}

keyward_policy::export!(RotationPolicy);
