//! Grants: scopes that may hold `*`, their grammar, and which of them covers which.
//!
//! What a grant covers at use is for the scope policy to say; here it is compared with other
//! grants, so that nobody widens a key unnoticed.

use super::SCOPE_MAX_BYTES;

/// The longest segment of a resource, and the longest action, in bytes.
const SEGMENT_MAX_BYTES: usize = 64;

/// What an action grants too, as the scope policy has it by default (`implies`).
const IMPLIED: [(&str, &[&str]); 2] = [
    ("write", &["read"]),
    ("admin", &["read", "write", "delete"]),
];

/// Whether a text is a grant: `inventory:read`, `inventory.*:read`, `inventory:*`, `*:read`, `*:*`.
/// A `*` is a whole action, a whole resource, or a resource's last segment; nothing else.
#[must_use]
pub fn is_grant(text: &str) -> bool {
    text.len() <= SCOPE_MAX_BYTES
        && text.split_once(':').is_some_and(|(resource, action)| {
            is_resource(resource) && (action == "*" || is_segment(action))
        })
}

/// Whether everything that some grants cover is covered by others: whether the first are no wider.
/// What is not a grant covers nothing.
#[must_use]
pub fn are_covered<'a>(grants: impl IntoIterator<Item = &'a str>, by: &[impl AsRef<str>]) -> bool {
    let is_covered = |grant| by.iter().any(|wider| covers(wider.as_ref(), grant));
    grants.into_iter().all(is_covered)
}

/// Whether a grant covers all that another one covers.
#[must_use]
pub fn covers(wider: &str, narrower: &str) -> bool {
    let (Some((wide, wide_action)), Some((narrow, narrow_action))) =
        (wider.split_once(':'), narrower.split_once(':'))
    else {
        return false;
    };
    is_grant(wider)
        && is_grant(narrower)
        && covers_resource(wide, narrow)
        && (wide_action == "*"
            || wide_action == narrow_action
            || implies(wide_action, narrow_action))
}

/// Whether a grant names an exact scope by its text alone, without what one action implies for
/// another: what a wildcard stands for when it is written out.
#[must_use]
pub fn names(grant: &str, scope: &str) -> bool {
    let (Some((wide, wide_action)), Some((resource, action))) =
        (grant.split_once(':'), scope.split_once(':'))
    else {
        return false;
    };
    is_grant(grant)
        && is_grant(scope)
        && covers_resource(wide, resource)
        && (wide_action == "*" || wide_action == action)
}

fn covers_resource(wider: &str, narrower: &str) -> bool {
    if wider == "*" || wider == narrower {
        return true;
    }
    wider.strip_suffix(".*").is_some_and(|below| {
        let rest = narrower.strip_prefix(below);
        rest.is_some_and(|rest| rest.starts_with('.'))
    })
}

fn implies(action: &str, implied: &str) -> bool {
    IMPLIED
        .iter()
        .any(|(it, others)| *it == action && others.contains(&implied))
}

/// `*`, or segments joined by dots, the last of which may be `*` behind another.
fn is_resource(text: &str) -> bool {
    text == "*"
        || text
            .strip_suffix(".*")
            .unwrap_or(text)
            .split('.')
            .all(is_segment)
}

/// A segment of a resource, or an action: `[a-z0-9][a-z0-9_-]*`, 1 to 64 bytes.
fn is_segment(text: &str) -> bool {
    text.len() <= SEGMENT_MAX_BYTES
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_covers_what_it_says() {
        for (wider, narrower, expected) in [
            ("inventory:read", "inventory:read", true),
            ("inventory:read", "inventory.items:read", false),
            ("inventory:read", "inventory:write", false),
            ("inventory.*:read", "inventory.items:read", true),
            ("inventory.*:read", "inventory.items.*:read", true),
            ("inventory.*:read", "inventory:read", false),
            ("inventory.*:read", "inventory2.items:read", false),
            ("inventory.items:read", "inventory.*:read", false),
            ("inventory:*", "inventory:read", true),
            ("inventory:read", "inventory:*", false),
            ("*:read", "inventory.*:read", true),
            ("*:read", "*:read", true),
            ("inventory.*:read", "*:read", false),
            ("*:*", "*:*", true),
            ("*:*", "orders:delete", true),
            ("inventory:write", "inventory:read", true),
            ("inventory:admin", "inventory:delete", true),
            ("inventory:read", "inventory:list", false),
            ("inventory:admin", "inventory:*", false),
            ("inv*:read", "inv*:read", false),
            ("inventory", "inventory", false),
        ] {
            assert_eq!(covers(wider, narrower), expected, "{wider} {narrower}");
        }
        assert!(are_covered(["a:read", "b:read"], &["a:read", "*:read"]));
        assert!(!are_covered(["a:read", "b:read"], &["a:read"]));
        assert!(are_covered([], &["a:read"]));
    }
}
