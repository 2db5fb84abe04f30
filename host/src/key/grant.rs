//! Grants: scopes that may hold `*`, their grammar, and which of them covers which.
//!
//! What a grant covers at use is for the scope policy to say; here it is compared with other
//! grants, so that nobody widens a key unnoticed. Which action implies another is a setting of that
//! policy, and an argument here.

use std::collections::{BTreeMap, BTreeSet};

use super::SCOPE_MAX_BYTES;

/// The longest segment of a resource, and the longest action, in bytes.
const SEGMENT_MAX_BYTES: usize = 64;

/// The most actions that imply others, and the most that one of them names, as the scope policy's
/// settings have it.
const IMPLYING_ACTIONS_MAX: usize = 64;
const IMPLIED_ACTIONS_MAX: usize = 32;

/// What an action grants too, as the scope policy has it by default (`implies`).
const STANDARD: [(&str, &[&str]); 2] = [
    ("write", &["read"]),
    ("admin", &["read", "write", "delete"]),
];

/// What the resources of keyward's own scopes begin with. A wildcard for all resources does not
/// mean them.
pub const OWN_PREFIX: &str = "keyward.";

/// Which actions a granted action grants besides itself, every chain followed to its end. By
/// default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Implications(BTreeMap<String, BTreeSet<String>>);

/// Whether a text is a grant: `inventory:read`, `inventory.*:read`, `inventory:*`, `*:read`, `*:*`.
/// A `*` is a whole action, a whole resource, or a resource's last segment; nothing else.
#[must_use]
pub fn is_grant(text: &str) -> bool {
    text.len() <= SCOPE_MAX_BYTES
        && text.split_once(':').is_some_and(|(resource, action)| {
            is_resource(resource) && (action == "*" || is_segment(action))
        })
}

impl Implications {
    /// The setting `implies` of a scope policy. What is larger than such a setting can be implies
    /// nothing: no policy takes it.
    #[must_use]
    pub fn new(implies: &BTreeMap<String, Vec<String>>) -> Self {
        let is_too_large = implies.len() > IMPLYING_ACTIONS_MAX
            || implies.values().any(|it| it.len() > IMPLIED_ACTIONS_MAX);
        if is_too_large {
            return Self::default();
        }
        let follow = |action: &String| {
            let mut reached = BTreeSet::new();
            let mut open = vec![action];
            while let Some(action) = open.pop() {
                for next in implies.get(action).into_iter().flatten() {
                    if reached.insert(next.clone()) {
                        open.push(next);
                    }
                }
            }
            reached
        };
        let closed = implies.keys().map(|it| (it.clone(), follow(it)));
        Self(closed.collect())
    }

    /// What the scope policy has where its settings do not say.
    #[must_use]
    pub fn standard() -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect();
        let rows = STANDARD.map(|(action, implied)| (action.to_owned(), owned(implied)));
        Self::new(&BTreeMap::from(rows))
    }

    /// What both say.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for (action, implied) in &mut self.0 {
            implied.retain(|it| other.hold(action, it));
        }
        self
    }

    /// Whether everything that some grants cover is covered by others: whether the first are no
    /// wider. What is not a grant covers nothing.
    #[must_use]
    pub fn are_covered<'a>(
        &self,
        grants: impl IntoIterator<Item = &'a str>,
        by: &[impl AsRef<str>],
    ) -> bool {
        let is_covered = |grant| by.iter().any(|wider| self.covers(wider.as_ref(), grant));
        grants.into_iter().all(is_covered)
    }

    /// Whether a grant covers all that another one covers.
    #[must_use]
    pub fn covers(&self, wider: &str, narrower: &str) -> bool {
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
                || self.hold(wide_action, narrow_action))
    }

    fn hold(&self, action: &str, implied: &str) -> bool {
        self.0.get(action).is_some_and(|it| it.contains(implied))
    }
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
            let covers = Implications::standard().covers(wider, narrower);
            assert_eq!(covers, expected, "{wider} {narrower}");
        }
        let none = Implications::default();
        assert!(none.are_covered(["a:read", "b:read"], &["a:read", "*:read"]));
        assert!(!none.are_covered(["a:read", "b:read"], &["a:read"]));
        assert!(none.are_covered([], &["a:read"]));
    }

    fn setting(rows: &[(&str, &[&str])]) -> Implications {
        let owned = |texts: &[&str]| texts.iter().map(|it| (*it).to_owned()).collect();
        let rows = rows
            .iter()
            .map(|(it, more)| ((*it).to_owned(), owned(more)));
        Implications::new(&rows.collect())
    }

    #[test]
    fn what_implies_what_is_what_the_policies_say() {
        let none = Implications::default();
        assert!(!none.covers("a:write", "a:read"));
        assert!(none.covers("a:*", "a:read"));
        // Transitive, not backwards, and a circle has an end.
        let chain = setting(&[("own", &["edit"]), ("edit", &["look"]), ("x", &["x", "y"])]);
        for (wider, narrower, expected) in [
            ("a.*:own", "a.b:look", true),
            ("a:edit", "a:look", true),
            ("a:look", "a:edit", false),
            ("a:own", "b:look", false),
            ("a:write", "a:read", false),
            ("a:own", "a:*", false),
            ("a:x", "a:y", true),
        ] {
            assert_eq!(
                chain.covers(wider, narrower),
                expected,
                "{wider} {narrower}"
            );
        }
        // Several: what all of them say.
        let narrower = setting(&[("write", &["read"]), ("admin", &["read"])]);
        let both = Implications::standard().and(&narrower);
        assert_eq!(both, narrower.clone().and(&Implications::standard()));
        assert!(both.covers("a:admin", "a:read"));
        assert!(!both.covers("a:admin", "a:delete"));
        assert!(!narrower.and(&none).covers("a:write", "a:read"));
    }

    #[test]
    fn a_setting_that_no_policy_takes_implies_nothing() {
        let action = |n: usize| format!("a{n}");
        let most: BTreeMap<_, _> = (0..IMPLYING_ACTIONS_MAX)
            .map(|n| (action(n), vec![action(n + 1)]))
            .collect();
        let last = format!("r:{}", action(IMPLYING_ACTIONS_MAX));
        assert!(Implications::new(&most).covers("r:a0", &last));
        let mut more = most;
        more.insert("b".to_owned(), Vec::new());
        assert_eq!(Implications::new(&more), Implications::default());
        let many = (0..=IMPLIED_ACTIONS_MAX).map(action).collect();
        let wide = Implications::new(&[("b".to_owned(), many)].into());
        assert_eq!(wide, Implications::default());
    }

    /// The two defaults stand in two places, for the host does not contain the policy's source.
    #[test]
    fn the_default_is_that_of_the_scope_policy() {
        let settings = keyward_scope::Settings::default();
        assert_eq!(
            Implications::standard(),
            Implications::new(&settings.implies)
        );
    }
}
