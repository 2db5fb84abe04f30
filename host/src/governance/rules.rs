//! What a configuration says of keys and of the people who keep them.

use crate::key::catalogue::Catalogue;
use crate::key::grant::Implications;
use crate::key::json::KeyOptions;

use super::principal::Principal;

/// The rules that changes of keys are checked by.
#[derive(Clone, Debug, Default)]
pub struct KeyRules {
    /// Who keeps keys; none: whoever may write the registry.
    pub principals: Vec<Principal>,
    /// Which scopes there are.
    pub catalogue: Catalogue,
    /// Which action implies another when grants are compared.
    pub implications: Implications,
    /// The longest life of a key, in days.
    pub max_lifetime_days: u64,
    /// How long an order to revoke a key can be confirmed, in ms.
    pub order_ms: u64,
    /// How long a key that rotates itself stays usable, at most, in ms; `None`: no key does.
    pub self_rotation_grace_ms: Option<u64>,
    /// What an operator has switched on for keys.
    pub options: KeyOptions,
}
