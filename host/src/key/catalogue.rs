//! The catalogue: the scopes that there are. A grant is made of them when it is made, so that a key
//! does not get more when a scope is added later.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::config::suggest::{hint, nearest};
use crate::key::SCOPES_MAX;
use crate::key::grant::{OWN_PREFIX, is_grant, names};
use crate::shown::shown;

/// The most scopes that `[governance]` can add to those of the routes.
pub const CATALOGUE_MAX: usize = 4_096;

/// The scopes that there are, each once and in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue(BTreeSet<Arc<str>>);

/// What a key gets for what was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// What it gets: each once, in the order of what was asked for.
    pub grants: Vec<String>,
    /// Each wildcard that was written out, with what it came to.
    pub frozen: Vec<(String, Vec<String>)>,
    /// Wildcards that stay: they also cover what is added later.
    pub kept: Vec<String>,
}

/// Why something cannot be granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// Not a grant.
    #[error("`{0}` is not a scope; write `resource:action`, for example `inventory:read`")]
    Malformed(String),
    /// No such scope.
    #[error(
        "there is no scope `{scope}`{}; `scopes` in [governance] and the routes say which there are",
        hint(.nearest.as_deref())
    )]
    Unknown {
        /// What was asked for.
        scope: String,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// A wildcard that stands for nothing.
    #[error(
        "`{0}` stands for none of the scopes that there are; `--keep-wildcard` grants it as it is"
    )]
    Nothing(String),
    /// More than a key can have.
    #[error(
        "that comes to {0} scopes, and a key has at most {SCOPES_MAX}; ask for less, or for the \
         wildcard itself with `--keep-wildcard`"
    )]
    TooMany(usize),
}

impl Catalogue {
    /// A catalogue of exact scopes.
    #[must_use]
    pub fn new(scopes: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self(scopes.into_iter().collect())
    }

    /// The same with what a key has already, so that it can keep it. An empty one stays empty.
    #[must_use]
    pub fn with(mut self, held: &[Arc<str>]) -> Self {
        if !self.is_empty() {
            let held = held.iter().filter(|grant| !grant.contains('*'));
            self.0.extend(held.cloned());
        }
        self
    }

    /// Whether it names none: then nobody knows which scopes there are, and nothing is compared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a scope; in an empty one, every scope.
    #[must_use]
    pub fn has(&self, scope: &str) -> bool {
        self.is_empty() || self.0.contains(scope)
    }

    /// What a wildcard stands for now. What one action implies for another is for the scope policy
    /// to say, and is not written out. Keyward's own scopes are meant only where they are named.
    pub fn expand(&self, grant: &str) -> impl Iterator<Item = &str> {
        let scopes = self.0.iter().map(|scope| &**scope);
        let is_meant =
            move |scope: &&str| grant.starts_with(OWN_PREFIX) || !scope.starts_with(OWN_PREFIX);
        scopes
            .filter(move |scope| names(grant, scope))
            .filter(is_meant)
    }

    /// What a key gets for what was asked for. A wildcard is written out as the scopes that it
    /// stands for now, unless `keep_wildcards` says that it stays, or the catalogue is empty.
    ///
    /// # Errors
    /// [`CatalogueError`] for the first that cannot be granted.
    pub fn resolve(
        &self,
        wanted: &[String],
        keep_wildcards: bool,
    ) -> Result<Resolved, CatalogueError> {
        let mut resolved = Resolved::default();
        for grant in wanted {
            let grant = grant.as_str();
            if !is_grant(grant) {
                return Err(CatalogueError::Malformed(shown(grant)));
            }
            if !grant.contains('*') {
                self.check(grant)?;
                resolved.add([grant]);
            } else if keep_wildcards || self.is_empty() {
                resolved.kept.push(grant.to_owned());
                resolved.add([grant]);
            } else {
                let scopes: Vec<_> = self.expand(grant).map(str::to_owned).collect();
                if scopes.is_empty() {
                    return Err(CatalogueError::Nothing(grant.to_owned()));
                }
                resolved.add(scopes.iter().map(String::as_str));
                resolved.frozen.push((grant.to_owned(), scopes));
            }
        }
        let count = resolved.grants.len();
        if count > SCOPES_MAX {
            return Err(CatalogueError::TooMany(count));
        }
        Ok(resolved)
    }

    fn check(&self, scope: &str) -> Result<(), CatalogueError> {
        if self.has(scope) {
            return Ok(());
        }
        let nearest = nearest(scope, self.0.iter().map(|it| &**it));
        Err(CatalogueError::Unknown {
            scope: shown(scope),
            nearest: nearest.map(str::to_owned),
        })
    }
}

impl Resolved {
    fn add<'a>(&mut self, grants: impl IntoIterator<Item = &'a str>) {
        for grant in grants {
            if !self.grants.iter().any(|it| it == grant) {
                self.grants.push(grant.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::key::grant::Implications;

    fn catalogue(scopes: &[&str]) -> Catalogue {
        Catalogue::new(scopes.iter().map(|it| (*it).into()))
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|it| (*it).to_owned()).collect()
    }

    #[test]
    fn a_wildcard_becomes_what_it_stands_for() {
        let all = catalogue(&[
            "inventory:read",
            "inventory.items:read",
            "inventory.items:write",
            "invoices:read",
        ]);
        for (wanted, grants) in [
            (
                &["inventory.*:*"][..],
                &["inventory.items:read", "inventory.items:write"][..],
            ),
            (&["inventory:*"], &["inventory:read"]),
            // A write implies reading at use; what is written out is the write.
            (&["*:write"], &["inventory.items:write"]),
            (
                &["invoices:read", "*:read"],
                &["invoices:read", "inventory.items:read", "inventory:read"],
            ),
            (&["invoices:read", "invoices:read"], &["invoices:read"]),
        ] {
            let resolved = all.resolve(&owned(wanted), false).unwrap();
            assert_eq!(resolved.grants, grants, "{wanted:?}");
            assert!(resolved.kept.is_empty());
        }
        let kept = all.resolve(&owned(&["inventory.*:read"]), true).unwrap();
        assert_eq!(kept.grants, ["inventory.*:read"]);
        assert_eq!(kept.kept, kept.grants);
        assert!(kept.frozen.is_empty());
    }

    #[test]
    fn what_there_is_not_is_refused() {
        let all = catalogue(&["inventory:read", "inventory.items:write"]);
        let refused = |grant: &str, keep| all.resolve(&owned(&[grant]), keep).unwrap_err();
        assert_eq!(
            refused("inventory:raed", false),
            CatalogueError::Unknown {
                scope: "inventory:raed".to_owned(),
                nearest: Some("inventory:read".to_owned()),
            }
        );
        let unknown = refused("inventory:raed", true).to_string();
        assert!(
            unknown.contains("did you mean `inventory:read`?"),
            "{unknown}"
        );
        assert_eq!(
            refused("orders:*", false),
            CatalogueError::Nothing("orders:*".to_owned())
        );
        for malformed in ["inventory", "inv*:read", "inventory:Read", ""] {
            let error = refused(malformed, true);
            assert!(matches!(error, CatalogueError::Malformed(_)), "{malformed}");
        }
    }

    #[test]
    fn a_key_keeps_what_it_has() {
        let held = [Arc::from("old:read"), Arc::from("old.*:write")];
        let all = catalogue(&["inventory:read"]).with(&held);
        let resolved = all.resolve(&owned(&["old:read"]), false).unwrap();
        assert_eq!(resolved.grants, ["old:read"]);
        assert!(all.resolve(&owned(&["old.*:write"]), false).is_err());
        assert!(Catalogue::default().with(&held).is_empty());
    }

    #[test]
    fn an_empty_catalogue_knows_nothing_and_refuses_nothing() {
        let resolved = Catalogue::default().resolve(&owned(&["a:b", "a.*:b"]), false);
        let resolved = resolved.unwrap();
        assert_eq!(resolved.grants, ["a:b", "a.*:b"]);
        assert_eq!(resolved.kept, ["a.*:b"]);
    }

    #[test]
    fn a_key_has_only_so_many_scopes() {
        let many: Vec<String> = (0..=SCOPES_MAX).map(|n| format!("r{n}:read")).collect();
        let all = Catalogue::new(many.iter().map(|it| it.as_str().into()));
        let error = all.resolve(&owned(&["*:read"]), false).unwrap_err();
        assert_eq!(error, CatalogueError::TooMany(SCOPES_MAX + 1));
        assert!(all.resolve(&owned(&["*:read"]), true).is_ok());
    }

    fn scope() -> impl Strategy<Value = String> {
        "[ab](\\.[ab]){0,2}:(read|write|list)"
    }

    fn grant() -> impl Strategy<Value = String> {
        prop_oneof![
            scope(),
            "([ab](\\.[ab]){0,1}\\.)?\\*:(read|write|\\*)",
            "[ab](\\.[ab]){0,2}:\\*",
        ]
    }

    proptest! {
        /// Freezing never grants more than was asked for, leaves no wildcard, loses nothing that
        /// was there, and done again changes nothing.
        #[test]
        fn freezing_is_within_what_was_asked_for(
            scopes in proptest::collection::vec(scope(), 1..12),
            wanted in proptest::collection::vec(grant(), 1..4),
        ) {
            let all = Catalogue::new(scopes.iter().map(|it| it.as_str().into()));
            if let Ok(resolved) = all.resolve(&wanted, false) {
                let grants = || resolved.grants.iter().map(String::as_str);
                let none = Implications::default();
                prop_assert!(none.are_covered(grants(), &wanted));
                prop_assert!(grants().all(|grant| !grant.contains('*')));
                for scope in &scopes {
                    let was_named = wanted.iter().any(|grant| names(grant, scope));
                    prop_assert_eq!(was_named, resolved.grants.contains(scope));
                    prop_assert!(!was_named || none.are_covered([scope.as_str()], &wanted));
                }
                let again = all.resolve(&resolved.grants, false).unwrap();
                prop_assert_eq!(again.grants, resolved.grants);
            }
        }
    }
}
