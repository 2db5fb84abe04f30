//! Principals: the people who keep keys, what their roles let them do, and the certification that
//! what is dangerous needs.

use std::sync::Arc;

use crate::key::grant::Implications;
use crate::timestamp::Timestamp;

/// The least score, in percent, that certifies.
pub const PASS_PERCENT: u8 = 70;
/// The most principals of a configuration.
pub const PRINCIPALS_MAX: usize = 1_024;
/// The most grants that bound what one principal may grant.
pub const MAY_GRANT_MAX: usize = 128;

/// What somebody is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees keys, and changes nothing.
    Viewer,
    /// Issues, rotates, restricts, and orders revocations.
    Operator,
    /// All that an operator does; also widens, forces, confirms and overrides.
    Manager,
    /// Sees keys, and exports what evidence needs.
    Auditor,
}

/// What somebody has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certification {
    /// The course.
    pub course: Arc<str>,
    /// The score, in percent: 0 to 100. From [`PASS_PERCENT`] on it is passed.
    pub score_percent: u8,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Somebody who keeps keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name in key events.
    pub name: Arc<str>,
    /// The operating system's user who is this principal.
    pub os_user: Arc<str>,
    /// What they are there for.
    pub roles: Vec<Role>,
    /// What they have passed; `None`: nothing.
    pub certification: Option<Certification>,
    /// What they may grant to a key, at most [`MAY_GRANT_MAX`]; `None`: anything; empty: nothing.
    pub may_grant: Option<Vec<Arc<str>>>,
}

/// What can be done with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// List, show, history.
    View,
    /// Export keys with the digests of their secrets.
    Export,
    /// Issue or import keys.
    Issue,
    /// Import keys that break the rules for new ones.
    SetRulesAside,
    /// Rotate a key.
    Rotate,
    /// Suspend, mask, shorten, end a grace period: what takes away, and nothing else.
    Restrict,
    /// Narrow the scopes, change the networks.
    Adjust,
    /// Resume a key, or take it out of the read-only mask.
    Restore,
    /// Grant more.
    Widen,
    /// Rotate while a rotation is open.
    Force,
    /// Order a revocation.
    OrderRevocation,
    /// Confirm a revocation that somebody else has ordered.
    ConfirmRevocation,
    /// Revoke alone, in an emergency.
    Emergency,
    /// Review what somebody else did in an emergency.
    Review,
    /// Sign as governance: that a key was revoked, that nothing was allowed with it since.
    Certify,
    /// Replace the log's key, or prune the log.
    KeepLog,
}

/// Somebody may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorized {
    /// Not among the principals.
    #[error("`{0}` is no principal; a manager adds a [[principal]] to the configuration")]
    Stranger(String),
    /// No role for it.
    #[error("`{name}` may not {what}: that needs the role {roles}")]
    Role {
        /// Who.
        name: Arc<str>,
        /// What was to be done.
        what: &'static str,
        /// Which roles may.
        roles: String,
    },
    /// More than this principal may grant.
    #[error("`{name}` may not grant `{grant}`; `may_grant` of this [[principal]] is {may_grant}")]
    Grant {
        /// Who.
        name: Arc<str>,
        /// What was to be granted.
        grant: String,
        /// What may be granted.
        may_grant: String,
    },
    /// A scope of keyward's own, on a key that is not theirs to have.
    #[error("a key of `{owner}` does not get `{grant}`: {why}")]
    Control {
        /// What was to be granted.
        grant: String,
        /// Whose key it is.
        owner: String,
        /// Why not.
        why: &'static str,
    },
    /// By a key, where there are no principals.
    #[error("keys are changed here by somebody whom a [[principal]] of the configuration names")]
    Nobody,
    /// A role, and no live certification.
    #[error("`{name}` may not {what}: {why}; it needs a passed certification that has not ended")]
    Certification {
        /// Who.
        name: Arc<str>,
        /// What was to be done.
        what: &'static str,
        /// What is wrong with the certification.
        why: String,
    },
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::View,
        Self::Export,
        Self::Issue,
        Self::SetRulesAside,
        Self::Rotate,
        Self::Restrict,
        Self::Adjust,
        Self::Restore,
        Self::Widen,
        Self::Force,
        Self::OrderRevocation,
        Self::ConfirmRevocation,
        Self::Emergency,
        Self::Review,
        Self::Certify,
        Self::KeepLog,
    ];

    /// Which roles may: the one table of it.
    #[must_use]
    pub const fn roles(self) -> &'static [Role] {
        match self {
            Self::View => &[Role::Viewer, Role::Operator, Role::Manager, Role::Auditor],
            Self::Export | Self::Certify => &[Role::Manager, Role::Auditor],
            Self::Issue
            | Self::Rotate
            | Self::Restrict
            | Self::Adjust
            | Self::Restore
            | Self::OrderRevocation => &[Role::Operator, Role::Manager],
            Self::SetRulesAside
            | Self::Widen
            | Self::Force
            | Self::ConfirmRevocation
            | Self::Emergency
            | Self::Review
            | Self::KeepLog => &[Role::Manager],
        }
    }

    /// Whether it needs a live certification: all that changes or reveals something.
    #[must_use]
    pub const fn needs_certification(self) -> bool {
        !matches!(self, Self::View)
    }

    /// What it is, behind "may not".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::View => "look at keys",
            Self::Export => "export keys",
            Self::Issue => "issue or import keys",
            Self::SetRulesAside => "import keys that break the rules for new ones",
            Self::Rotate => "rotate keys",
            Self::Restrict => "restrict keys",
            Self::Adjust => "change the scopes or networks of keys",
            Self::Restore => "take restrictions off keys",
            Self::Widen => "grant a key more",
            Self::Force => "force a rotation",
            Self::OrderRevocation => "order a revocation",
            Self::ConfirmRevocation => "confirm a revocation",
            Self::Emergency => "revoke in an emergency",
            Self::Review => "review an emergency",
            Self::Certify => "certify what became of a key",
            Self::KeepLog => "replace the log's key or prune the log",
        }
    }
}

impl Principal {
    /// Whether this principal may do something at a time.
    ///
    /// # Errors
    /// [`Unauthorized`] says which role or certification is missing.
    pub fn authorize(&self, action: Action, now: Timestamp) -> Result<(), Unauthorized> {
        let (name, what) = (Arc::clone(&self.name), action.as_str());
        if !self.roles.iter().any(|role| action.roles().contains(role)) {
            let roles: Vec<_> = action.roles().iter().map(|role| role.as_str()).collect();
            let roles = roles.join(" or ");
            return Err(Unauthorized::Role { name, what, roles });
        }
        let why = match &self.certification {
            _ if !action.needs_certification() => return Ok(()),
            None => "there is no certification".to_owned(),
            Some(it) if it.score_percent < PASS_PERCENT => {
                format!("`{}` was not passed with {} %", it.course, it.score_percent)
            }
            Some(it) if now < it.issued_at => {
                format!("`{}` begins at {}", it.course, it.issued_at)
            }
            Some(it) if now >= it.expires_at => {
                format!("`{}` ended at {}", it.course, it.expires_at)
            }
            Some(_) => return Ok(()),
        };
        Err(Unauthorized::Certification { name, what, why })
    }
}

impl Principal {
    /// Whether this principal may grant all of this to a key, one action implying another as said.
    ///
    /// # Errors
    /// [`Unauthorized::Grant`] names the first grant that is beyond it.
    pub fn check_grants<'g>(
        &self,
        grants: impl IntoIterator<Item = &'g str>,
        implications: &Implications,
    ) -> Result<(), Unauthorized> {
        let Some(may_grant) = &self.may_grant else {
            return Ok(());
        };
        let is_beyond = |grant: &&str| !implications.are_covered([*grant], may_grant);
        match grants.into_iter().find(is_beyond) {
            None => Ok(()),
            Some(grant) => Err(Unauthorized::Grant {
                name: Arc::clone(&self.name),
                grant: crate::shown::shown(grant),
                may_grant: if may_grant.is_empty() {
                    "empty".to_owned()
                } else {
                    may_grant.join(", ")
                },
            }),
        }
    }
}

/// Who does something on this machine.
///
/// Where a configuration names no principals there is no governance of people: whoever may write
/// the registry file acts, under the operating system's name for them. What needs two people still
/// needs two names.
///
/// # Errors
/// [`Unauthorized`] when there are principals and this user is none, or one who may not.
pub fn authorize<'a>(
    principals: &'a [Principal],
    os_user: &'a str,
    (action, now): (Action, Timestamp),
) -> Result<&'a str, Unauthorized> {
    if principals.is_empty() {
        return Ok(os_user);
    }
    let principal = principals.iter().find(|it| &*it.os_user == os_user);
    let principal = principal.ok_or_else(|| Unauthorized::Stranger(os_user.to_owned()))?;
    principal.authorize(action, now)?;
    Ok(&principal.name)
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Operator, Self::Manager, Self::Auditor];

    /// The name in files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Manager => "manager",
            Self::Auditor => "auditor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::governance::identity::Identity;
    use crate::governance::rules::KeyRules;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn principal(roles: &[Role], score_percent: u8) -> Principal {
        Principal {
            name: "ann".into(),
            os_user: "ann1".into(),
            roles: roles.to_vec(),
            certification: Some(Certification {
                course: "keys".into(),
                score_percent,
                issued_at: at("2026-01-01T00:00:00Z"),
                expires_at: at("2027-01-01T00:00:00Z"),
            }),
            may_grant: None,
        }
    }

    #[test]
    fn a_role_may_what_the_table_says() {
        let now = at("2026-06-01T00:00:00Z");
        for action in Action::ALL {
            for role in Role::ALL {
                let may = principal(&[role], 80).authorize(action, now).is_ok();
                assert_eq!(may, action.roles().contains(&role), "{action:?} {role:?}");
            }
            let nobody = principal(&[], 100).authorize(action, now);
            assert!(matches!(nobody, Err(Unauthorized::Role { .. })));
        }
    }

    #[test]
    fn a_certification_counts_from_70_percent_and_while_it_lives() {
        let may = |score, now: &str| {
            let issue = principal(&[Role::Operator], score);
            issue.authorize(Action::Issue, at(now)).is_ok()
        };
        // 3 of 5 questions, 4 of 5, and the edge.
        assert!(!may(60, "2026-06-01T00:00:00Z"));
        assert!(!may(69, "2026-06-01T00:00:00Z"));
        assert!(may(70, "2026-06-01T00:00:00Z"));
        assert!(may(80, "2026-06-01T00:00:00Z"));
        assert!(!may(80, "2025-12-31T23:59:59.999Z"));
        assert!(may(80, "2026-01-01T00:00:00Z"));
        assert!(may(80, "2026-12-31T23:59:59.999Z"));
        assert!(!may(80, "2027-01-01T00:00:00Z"));
        let mut none = principal(&[Role::Manager], 80);
        none.certification = None;
        let now = at("2026-06-01T00:00:00Z");
        for action in Action::ALL {
            let may = none.authorize(action, now).is_ok();
            assert_eq!(may, action == Action::View, "{action:?}");
            assert_ne!(
                Principal {
                    roles: Vec::new(),
                    ..none.clone()
                }
                .authorize(action, now),
                Ok(())
            );
        }
    }

    fn authorize_grants(
        principals: Vec<Principal>,
        os_user: &str,
        (grants, implications): (&[&str], &Implications),
    ) -> Result<(), Unauthorized> {
        let rules = KeyRules {
            principals,
            implications: implications.clone(),
            ..KeyRules::default()
        };
        let who = Identity::OsUser(os_user.to_owned());
        let now = at("2026-06-01T00:00:00Z");
        who.authorize_grants(&rules, ("sync", grants.iter().copied()), now)
    }

    #[test]
    fn nobody_grants_beyond_what_they_may() {
        let (none, standard) = (Implications::default(), Implications::standard());
        let granted = |may_grant: Option<&[&str]>, grants: &[&str], implied: &Implications| {
            let mut ann = principal(&[Role::Manager], 80);
            ann.may_grant = may_grant.map(|it| it.iter().map(|it| (*it).into()).collect());
            authorize_grants(vec![ann], "ann1", (grants, implied))
        };
        let may = |may_grant, grants: &[&str]| granted(may_grant, grants, &standard);
        assert_eq!(may(None, &["*:*"]), Ok(()));
        let inventory: &[&str] = &["inventory.*:*", "orders:write"];
        for grants in [
            &["inventory.items:read"][..],
            &["inventory.*:*", "inventory.a.*:read"],
            // What an action implies is granted with it.
            &["orders:read"],
            &[],
        ] {
            assert_eq!(may(Some(inventory), grants), Ok(()), "{grants:?}");
        }
        for grants in [
            &["inventory:read"][..],
            &["inventory.items:read", "*:read"],
            &["orders:*"],
            &["invoices:read"],
        ] {
            let refused = may(Some(inventory), grants);
            assert!(
                matches!(refused, Err(Unauthorized::Grant { .. })),
                "{grants:?}"
            );
        }
        assert!(may(Some(&[]), &["inventory:read"]).is_err());
        // Where it implies nothing, it is not.
        assert!(granted(Some(inventory), &["orders:read"], &none).is_err());
        assert_eq!(authorize_grants(vec![], "bob", (&["*:*"], &none)), Ok(()));
        let managers = vec![principal(&[Role::Manager], 80)];
        let stranger = authorize_grants(managers, "bob", (&["a:b"], &none));
        assert_eq!(stranger, Err(Unauthorized::Stranger("bob".to_owned())));
    }

    #[test]
    fn managers_and_auditors_certify() {
        let now = at("2026-06-01T00:00:00Z");
        let may = |role| {
            let certify = |score| principal(&[role], score).authorize(Action::Certify, now);
            (certify(70).is_ok(), certify(69).is_ok())
        };
        assert_eq!(may(Role::Manager), (true, false));
        assert_eq!(may(Role::Auditor), (true, false));
        assert_eq!(may(Role::Operator), (false, false));
        assert_eq!(may(Role::Viewer), (false, false));
    }

    #[test]
    fn strangers_may_nothing_where_there_are_principals() {
        let now = at("2026-06-01T00:00:00Z");
        let principals = [principal(&[Role::Viewer], 80)];
        assert_eq!(authorize(&[], "bob", (Action::Issue, now)), Ok("bob"));
        assert_eq!(
            authorize(&principals, "ann1", (Action::View, now)),
            Ok("ann")
        );
        for stranger in ["bob", "ann", ""] {
            let refused = authorize(&principals, stranger, (Action::View, now));
            assert_eq!(refused, Err(Unauthorized::Stranger(stranger.to_owned())));
        }
    }
}
