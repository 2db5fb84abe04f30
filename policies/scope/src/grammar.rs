//! Scopes and grants: `resource:action`, with a `*` in a grant's legal places.

/// The longest scope or grant.
pub(crate) const SCOPE_MAX_BYTES: usize = 256;
/// The longest segment of a resource, and the longest action.
const NAME_MAX_BYTES: usize = 64;

/// What an operation requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope<'a> {
    /// Names joined by dots.
    pub(crate) resource: &'a str,
    /// A name.
    pub(crate) action: &'a str,
}

/// What a key was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant<'a> {
    pub(crate) resources: Resources<'a>,
    pub(crate) actions: Actions<'a>,
}

/// The resources that a grant covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resources<'a> {
    /// `*`
    Any,
    /// `inventory.*`: at any depth, and not `inventory` itself.
    Below(&'a str),
    /// `inventory`
    Exactly(&'a str),
}

/// The actions that a grant covers directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actions<'a> {
    /// `*`
    Any,
    /// `read`
    Exactly(&'a str),
}

impl<'a> Scope<'a> {
    /// None when the text is malformed, or a grant.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (resource, action) = halves(text)?;
        (is_resource(resource) && is_name(action)).then_some(Self { resource, action })
    }
}

impl<'a> Grant<'a> {
    /// None when the text is malformed.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (resource, action) = halves(text)?;
        let resources = match resource.strip_suffix(".*") {
            _ if resource == "*" => Resources::Any,
            Some(parent) => Resources::Below(Some(parent).filter(|name| is_resource(name))?),
            None => Resources::Exactly(Some(resource).filter(|name| is_resource(name))?),
        };
        let actions = match action {
            "*" => Actions::Any,
            name => Actions::Exactly(Some(name).filter(|name| is_name(name))?),
        };
        Some(Self { resources, actions })
    }
}

impl Resources<'_> {
    pub(crate) fn cover(self, resource: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Below(parent) => resource
                .strip_prefix(parent)
                .is_some_and(|rest| rest.starts_with('.')),
            Self::Exactly(name) => name == resource,
        }
    }
}

/// Whether the text is a segment or an action: `[a-z0-9][a-z0-9_-]*`, 1 to 64 bytes.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_MAX_BYTES
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

fn is_resource(text: &str) -> bool {
    text.split('.').all(is_name)
}

/// Before and after the first colon. A second colon is in no name.
fn halves(text: &str) -> Option<(&str, &str)> {
    text.split_once(':')
        .filter(|_| text.len() <= SCOPE_MAX_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_scopes() {
        let long = "a".repeat(64);
        let deep = format!("{}.a", [long.as_str(); 3].join("."));
        let longest = format!("{deep}:{}", "r".repeat(59));
        assert_eq!(longest.len(), 256);
        for (text, resource, action) in [
            ("inventory:read", "inventory", "read"),
            ("a.b-c.d_e:0-_", "a.b-c.d_e", "0-_"),
            ("0:1", "0", "1"),
            (&format!("{long}:{long}"), &long, &long),
            (&longest, &deep, &"r".repeat(59)),
        ] {
            assert_eq!(
                Scope::parse(text),
                Some(Scope { resource, action }),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_malformed_scopes_and_grants() {
        let long = "a".repeat(65);
        let name = "a".repeat(64);
        let too_long = format!("{}.bb:{}", [name.as_str(); 3].join("."), "r".repeat(59));
        assert_eq!(too_long.len(), 257);
        for text in [
            "",
            ":",
            "inventory",
            "inventory:",
            ":read",
            "inventory:read:write",
            "Inventory:read",
            "inventory:Read",
            "inventory.:read",
            ".inventory:read",
            "a..b:read",
            "_a:read",
            "a:-read",
            "a b:read",
            " a:read",
            "a:read ",
            "a:read\n",
            "ä:read",
            "inv*:read",
            "*.items:read",
            "a.*.b:read",
            "**:read",
            "*.*:read",
            ".*:read",
            "a:re*",
            "a:**",
            "a:*.b",
            &format!("{long}:read"),
            &format!("a.{long}:read"),
            &format!("a:{long}"),
            &too_long,
        ] {
            assert_eq!(Scope::parse(text), None, "{text}");
            assert_eq!(Grant::parse(text), None, "{text}");
        }
        for grant in ["*:read", "a:*", "*:*", "a.*:read", "a.*:*"] {
            assert_eq!(Scope::parse(grant), None, "{grant}");
        }
    }

    #[test]
    fn reads_grants() {
        use Actions as A;
        use Resources as R;
        for (text, resources, actions) in [
            (
                "inventory:read",
                R::Exactly("inventory"),
                A::Exactly("read"),
            ),
            (
                "inventory.*:read",
                R::Below("inventory"),
                A::Exactly("read"),
            ),
            ("a.b.*:*", R::Below("a.b"), A::Any),
            ("inventory:*", R::Exactly("inventory"), A::Any),
            ("*:read", R::Any, A::Exactly("read")),
            ("*:*", R::Any, A::Any),
        ] {
            assert_eq!(
                Grant::parse(text),
                Some(Grant { resources, actions }),
                "{text}"
            );
        }
    }
}
