//! The scopes that control keyward itself, and who may put them on a key.
//!
//! A key with such a scope acts in its owner's name. So it is only the owner who gets the
//! credential of one: where somebody else could, two names would no longer be two people.

use std::sync::Arc;

use super::principal::{Action, Principal, Unauthorized};
use super::rules::KeyRules;
use crate::key::grant::{Implications, OWN_PREFIX};
use crate::timestamp::Timestamp;

/// List and show keys, and the open orders.
pub const KEYS_READ: &str = "keyward.keys:read";
/// Issue, rotate, suspend and mask keys, and take that off them.
pub const KEYS_WRITE: &str = "keyward.keys:write";
/// Order, confirm and review revocations, and revoke in an emergency.
pub const KEYS_REVOKE: &str = "keyward.keys:revoke";
/// Read decisions and certificates out of the log.
pub const LOG_READ: &str = "keyward.log:read";
/// Rotate the key itself: the one scope of keyward's that any key can have.
pub const SELF_ROTATE: &str = "keyward.self:rotate";

/// The scopes of administrators.
pub const CONTROL_SCOPES: [&str; 4] = [KEYS_READ, KEYS_WRITE, KEYS_REVOKE, LOG_READ];

/// The resource of [`SELF_ROTATE`].
const SELF_RESOURCE: &str = "keyward.self";

/// Whether a grant is one of keyward's own scopes by name. A wildcard for all resources is not:
/// nobody who writes `*:read` means this.
#[must_use]
pub fn is_own(grant: &str) -> bool {
    grant.starts_with(OWN_PREFIX)
}

/// Whether a grant lets its key keep other keys or read the log.
#[must_use]
pub fn is_control(grant: &str) -> bool {
    let resource = grant.split(':').next().unwrap_or_default();
    is_own(grant) && resource != SELF_RESOURCE
}

/// Whether a key has one of keyward's own scopes by name.
#[must_use]
pub fn has_own(scopes: &[Arc<str>], scope: &str, implications: &Implications) -> bool {
    let mut own = scopes.iter().filter(|grant| is_own(grant));
    own.any(|grant| implications.covers(grant, scope))
}

/// Whether somebody may get or give the credential of a key of an owner with these grants.
/// `principal`: who that is; `None`: there is no governance of people. `held`: what their own key
/// grants; `None`: they did not come by one.
///
/// # Errors
/// [`Unauthorized`] names the first grant that is beyond them.
pub(super) fn check<'g>(
    rules: &KeyRules,
    (principal, held): (Option<&Principal>, Option<&[Arc<str>]>),
    (owner, grants): (&str, impl IntoIterator<Item = &'g str>),
    now: Timestamp,
) -> Result<(), Unauthorized> {
    for grant in grants.into_iter().filter(|grant| is_control(grant)) {
        let refused = |why: &'static str| {
            Err(Unauthorized::Control {
                grant: crate::shown::shown(grant),
                owner: crate::shown::shown(owner),
                why,
            })
        };
        let reads = is_reading(grant, &rules.implications);
        let Some(principal) = principal else {
            if reads {
                continue;
            }
            return refused("without any [[principal]] such a key could only look");
        };
        if !rules.principals.iter().any(|it| &*it.name == owner) {
            return refused("its owner has to be the name of a [[principal]]");
        }
        if held.is_some_and(|held| !has_own(held, grant, &rules.implications)) {
            return refused("the key that asks for it does not have it itself");
        }
        let is_manager = || principal.authorize(Action::Widen, now).is_ok();
        if &*principal.name != owner && !(reads && is_manager()) {
            return refused(if reads {
                "only its owner or a manager gets it"
            } else {
                "only its owner gets it, for it acts in their name"
            });
        }
    }
    Ok(())
}

/// Whether a grant lets look, and nothing else.
fn is_reading(grant: &str, implications: &Implications) -> bool {
    let changes = [KEYS_WRITE, KEYS_REVOKE];
    grant.ends_with(":read") && !changes.iter().any(|it| implications.covers(grant, it))
}
