//! What the operator can set.

use serde::Deserialize;

/// The settings; `settings.schema.json` documents and bounds them.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Networks from which no key may be used. Texts, so that an error can name the one at fault.
    pub blocked: Vec<String>,
    /// Whether a key without an allow list is denied.
    pub require_allow_list: bool,
}
