//! The names of a key's members, and what was probably meant by another name.

use crate::config::suggest::{hint, nearest};
use crate::shown::shown;

/// The members of a key's file form.
pub(super) const MEMBERS: [&str; 14] = [
    "allowed_networks",
    "environment",
    "expires_at",
    "grace_until",
    "id",
    "issued_at",
    "labels",
    "lifecycle",
    "not_before",
    "owner",
    "read_only",
    "rotate_by",
    "scopes",
    "secret_sha256",
];

/// How many unknown names are listed.
const NAMES_LISTED_MAX: usize = 8;

/// A message about the names that are no member's, if there are any. `version` is known, and
/// refused by the check that says why.
pub(super) fn unknown_members<'a>(names: impl Iterator<Item = &'a String>) -> Option<String> {
    let listed: Vec<_> = names
        .filter(|name| !MEMBERS.contains(&name.as_str()) && *name != "version")
        .take(NAMES_LISTED_MAX)
        .map(|name| {
            format!(
                "unknown field `{}`{}",
                shown(name),
                hint(nearest(name, MEMBERS))
            )
        })
        .collect();
    (!listed.is_empty()).then(|| listed.join("; "))
}
