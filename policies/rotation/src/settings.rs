//! What the operator can set.

use serde::Deserialize;

/// The settings; `settings.schema.json` documents and bounds them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether a key without an expiry is denied.
    pub require_expiry: bool,
    /// The longest time from issue to expiry, in days of 24 hours.
    pub max_lifetime_days: u32,
    /// From issue to rotation, in days of 24 hours, for a key without an instant of its own.
    pub rotation_period_days: u32,
    /// What happens to a key that is past its rotation.
    pub on_overdue: OnOverdue,
    /// How long before rotation or expiry notice is given, in days of 24 hours; each is a stage.
    pub notice_days: Vec<u32>,
}

/// What happens to a key that is past its rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(rename_all = "lowercase")]
pub enum OnOverdue {
    /// It is refused.
    Deny,
    /// It still works and is reported.
    Warn,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            require_expiry: true,
            max_lifetime_days: 90,
            rotation_period_days: 90,
            on_overdue: OnOverdue::Warn,
            notice_days: vec![60, 30, 14, 7, 1],
        }
    }
}
