//! What a key's file form must hold to be representable, and everything that is wrong when it does
//! not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{CheckedKey, KeyFile, KeyOptions, lifecycle_named, shared};
use crate::address::{AddressError, Network};
use crate::digest::{Digest, DigestError};
use crate::key::grant::is_grant;
use crate::key::{
    Environment, KeyId, KeyRecord, LABEL_MAX_BYTES, LABELS_MAX, Lifecycle, NETWORKS_MAX,
    OWNER_MAX_BYTES, SCOPE_MAX_BYTES, SCOPES_MAX,
};
use crate::shown::{holds_credential, is_misleading, shown};
use crate::timestamp::{Timestamp, TimestampError};

/// The longest text of a network, in bytes: an IPv6 address that ends in an IPv4 one has 45, and a
/// prefix length has four more.
const NETWORK_MAX_BYTES: usize = 49;
/// The longest text of a time, in bytes: `2026-11-23T10:00:00.000Z` has 24.
const TIME_MAX_BYTES: usize = 40;

/// Everything that is wrong with one key: at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProblems(Vec<KeyProblem>);

/// One thing that is wrong with one field of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct KeyProblem {
    /// The field: `owner`, `scopes[2]`, `labels.team`. List positions count from 0.
    pub field: String,
    /// What is wrong with it.
    pub problem: FieldProblem,
}

/// What can be wrong with a field. Texts of the file stand in it escaped and cut short.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldProblem {
    /// Not 12 characters of base62. The text is left out: people put whole credentials there.
    #[error("not a key id; one has 12 letters and digits, for example k7Qp2mXw9LaR")]
    KeyId,
    /// Not one of a few words.
    #[error("`{given}` is not one of {known}")]
    Word {
        /// What was written.
        given: String,
        /// The words.
        known: &'static str,
    },
    /// Not a time.
    #[error("`{given}` is {error}")]
    Time {
        /// What was written.
        given: String,
        /// Why it is none.
        error: TimestampError,
    },
    /// Must have at least one character.
    #[error("must not be empty")]
    Empty,
    /// Over a limit of length.
    #[error("longer than {max_bytes} bytes")]
    TooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// Over a limit of number. The elements have then not been looked at.
    #[error("{given} of them; at most {max} are possible")]
    TooMany {
        /// How many there are.
        given: usize,
        /// The limit.
        max: usize,
    },
    /// A control character, which would break what is printed.
    #[error("contains the control character U+{0:04X}")]
    Control(u32),
    /// A format character, which would make what is printed read otherwise than it is.
    #[error("contains U+{0:04X}, which is not seen, or changes the order of what is; leave it out")]
    Format(u32),
    /// It looks like a credential. The text is left out.
    #[error(
        "holds what a credential begins with (`kw_live_`, `kw_test_`); it would be kept for ever"
    )]
    Credential,
    /// Nothing but spaces.
    #[error("holds nothing that is seen; write something, or leave it out")]
    Blank,
    /// Outside of the grammar of grants.
    #[error(
        "`{0}` is not a grant; write `resource:action`, `resource.*:action`, or `*` for a side"
    )]
    Grant(String),
    /// Not a network.
    #[error(transparent)]
    Network(AddressError),
    /// A network that holds every address.
    #[error(
        "`{0}` is every address; leave `allowed_networks` out, or set `allow_any_network = true` \
         under `[registry]`"
    )]
    AnyNetwork(Network),
    /// A grace period on a key that was never deprecated.
    #[error("only a key that was deprecated has a grace period; this key is {}", .0.as_str())]
    NotDeprecated(Lifecycle),
    /// The key would end when, or before, it begins.
    #[error("not after `issued_at`")]
    NotAfterIssue,
    /// Not a SHA-256 digest. The text is left out: people put secrets there.
    #[error(transparent)]
    Digest(DigestError),
    /// Only the registry counts versions.
    #[error("counted by the registry; leave it out")]
    Version,
}

/// Checks a text that reports show: an owner, a reason, who makes a change.
///
/// # Errors
/// [`FieldProblem`]: it is empty, longer than so many bytes, or has a character that would break
/// what is printed or make it read otherwise.
pub fn check_text(text: &str, max_bytes: usize) -> Result<(), FieldProblem> {
    if text.is_empty() {
        return Err(FieldProblem::Empty);
    }
    check_length(text, max_bytes)?;
    check_characters(text)?;
    if text.chars().all(char::is_whitespace) {
        return Err(FieldProblem::Blank);
    }
    Ok(())
}

/// Checks a label's name, and its value, which may be empty.
///
/// # Errors
/// As [`check_text`].
pub fn check_label(name: &str, value: &str) -> Result<(), FieldProblem> {
    if name.is_empty() {
        return Err(FieldProblem::Empty);
    }
    for text in [name, value] {
        check_length(text, LABEL_MAX_BYTES)?;
        check_characters(text)?;
    }
    Ok(())
}

fn check_length(text: &str, max_bytes: usize) -> Result<(), FieldProblem> {
    if text.len() > max_bytes {
        Err(FieldProblem::TooLong { max_bytes })
    } else {
        Ok(())
    }
}

fn check_characters(text: &str) -> Result<(), FieldProblem> {
    if holds_credential(text) {
        return Err(FieldProblem::Credential);
    }
    match text.chars().find(|character| is_misleading(*character)) {
        Some(character) if character.is_control() => Err(FieldProblem::Control(character.into())),
        Some(character) => Err(FieldProblem::Format(character.into())),
        None => Ok(()),
    }
}

/// Checks a key and collects every problem.
pub(super) fn check(file: &KeyFile, options: KeyOptions) -> Result<CheckedKey, KeyProblems> {
    let mut checker = Checker {
        problems: Vec::new(),
    };
    let record = checker.record(file, options);
    let secret = checker.secret(file.secret_sha256.as_deref());
    if file.version.is_some() {
        checker.report("version", FieldProblem::Version);
    }
    match (record, checker.problems) {
        (Some(record), problems) if problems.is_empty() => Ok(CheckedKey { record, secret }),
        (_, problems) => Err(KeyProblems(problems)),
    }
}

/// Collects problems. A field that has one is `None`.
struct Checker {
    problems: Vec<KeyProblem>,
}

impl Checker {
    fn record(&mut self, file: &KeyFile, options: KeyOptions) -> Option<KeyRecord> {
        // Every field is looked at before the first `?`, so that every problem is found.
        let id = self.id(&file.id);
        self.text("owner", &file.owner, OWNER_MAX_BYTES);
        if file.owner.is_empty() {
            self.report("owner", FieldProblem::Empty);
        }
        let environment = self.environment(&file.environment);
        let lifecycle = self.lifecycle(&file.lifecycle);
        let issued_at = self.time("issued_at", &file.issued_at);
        let not_before = self.optional_time("not_before", file.not_before.as_deref());
        let rotate_by = self.optional_time("rotate_by", file.rotate_by.as_deref());
        let expires_at = self.optional_time("expires_at", file.expires_at.as_deref());
        let grace_until = self.optional_time("grace_until", file.grace_until.as_deref());
        self.scopes(&file.scopes);
        let allowed_networks = file
            .allowed_networks
            .as_ref()
            .map(|list| self.networks(list, options));
        self.labels(&file.labels);
        let record = KeyRecord {
            id: id?,
            version: 1,
            owner: file.owner.as_str().into(),
            environment: environment?,
            lifecycle: lifecycle?,
            issued_at: issued_at?,
            not_before,
            rotate_by,
            expires_at,
            grace_until,
            scopes: shared(&file.scopes),
            read_only: file.read_only,
            allowed_networks,
            labels: shared_labels(&file.labels),
        };
        self.together(&record);
        Some(record)
    }

    /// What fields must hold together.
    fn together(&mut self, record: &KeyRecord) {
        if record.expires_at.is_some_and(|end| end <= record.issued_at) {
            self.report("expires_at", FieldProblem::NotAfterIssue);
        }
        // One that is suspended or revoked may have been deprecated before.
        if record.grace_until.is_some() && record.lifecycle == Lifecycle::Active {
            self.report("grace_until", FieldProblem::NotDeprecated(record.lifecycle));
        }
    }

    fn id(&mut self, text: &str) -> Option<KeyId> {
        let id = text.parse().ok();
        if id.is_none() {
            self.report("id", FieldProblem::KeyId);
        }
        id
    }

    fn environment(&mut self, given: &str) -> Option<Environment> {
        let known = [Environment::Live, Environment::Test];
        let environment = known.into_iter().find(|known| known.as_str() == given);
        if environment.is_none() {
            let problem = FieldProblem::Word {
                given: shown(given),
                known: "`live`, `test`",
            };
            self.report("environment", problem);
        }
        environment
    }

    fn lifecycle(&mut self, given: &str) -> Option<Lifecycle> {
        let lifecycle = lifecycle_named(given);
        if lifecycle.is_none() {
            let known = "`active`, `deprecated`, `suspended`, `revoked`";
            self.report(
                "lifecycle",
                FieldProblem::Word {
                    given: shown(given),
                    known,
                },
            );
        }
        lifecycle
    }

    fn optional_time(&mut self, field: &str, text: Option<&str>) -> Option<Timestamp> {
        text.and_then(|text| self.time(field, text))
    }

    fn time(&mut self, field: &str, text: &str) -> Option<Timestamp> {
        let time = if text.len() > TIME_MAX_BYTES {
            Err(TimestampError::Malformed)
        } else {
            Timestamp::parse(text)
        };
        time.map_err(|error| {
            self.report(
                field,
                FieldProblem::Time {
                    given: shown(text),
                    error,
                },
            )
        })
        .ok()
    }

    fn scopes(&mut self, scopes: &[String]) {
        if !self.count("scopes", scopes.len(), SCOPES_MAX) {
            return;
        }
        for (index, scope) in scopes.iter().enumerate() {
            if scope.len() > SCOPE_MAX_BYTES {
                let problem = FieldProblem::TooLong {
                    max_bytes: SCOPE_MAX_BYTES,
                };
                self.report(format!("scopes[{index}]"), problem);
            } else if !is_grant(scope) {
                self.report(
                    format!("scopes[{index}]"),
                    FieldProblem::Grant(shown(scope)),
                );
            }
        }
    }

    fn networks(&mut self, texts: &[String], options: KeyOptions) -> Arc<[Network]> {
        if !self.count("allowed_networks", texts.len(), NETWORKS_MAX) {
            return Arc::default();
        }
        let mut networks = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            match network(text, options) {
                Ok(network) => networks.push(network),
                Err(problem) => self.report(format!("allowed_networks[{index}]"), problem),
            }
        }
        networks.into()
    }

    fn labels(&mut self, labels: &BTreeMap<String, String>) {
        if !self.count("labels", labels.len(), LABELS_MAX) {
            return;
        }
        for (name, value) in labels {
            self.text(&format!("labels.{}", shown(name)), name, LABEL_MAX_BYTES);
            self.text(&format!("labels.{}", shown(name)), value, LABEL_MAX_BYTES);
        }
    }

    fn secret(&mut self, text: Option<&str>) -> Option<Digest> {
        text?
            .parse()
            .map_err(|error| self.report("secret_sha256", FieldProblem::Digest(error)))
            .ok()
    }

    fn text(&mut self, field: &str, text: &str, max_bytes: usize) {
        if let Err(problem) = check_length(text, max_bytes) {
            self.report(field, problem);
        }
        if let Err(problem) = check_characters(text) {
            self.report(field, problem);
        }
    }

    fn count(&mut self, field: &str, given: usize, max: usize) -> bool {
        if given > max {
            self.report(field, FieldProblem::TooMany { given, max });
        }
        given <= max
    }

    fn report(&mut self, field: impl Into<String>, problem: FieldProblem) {
        self.problems.push(KeyProblem {
            field: field.into(),
            problem,
        });
    }
}

/// Reads one network of an allow list.
fn network(text: &str, options: KeyOptions) -> Result<Network, FieldProblem> {
    if text.len() > NETWORK_MAX_BYTES {
        return Err(FieldProblem::TooLong {
            max_bytes: NETWORK_MAX_BYTES,
        });
    }
    let network: Network = text.parse().map_err(FieldProblem::Network)?;
    if network.is_any() && !options.allow_any_network {
        return Err(FieldProblem::AnyNetwork(network));
    }
    Ok(network)
}

fn shared_labels(labels: &BTreeMap<String, String>) -> BTreeMap<Arc<str>, Arc<str>> {
    labels
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
        .collect()
}

impl KeyProblems {
    /// The problems, in the order of the fields.
    #[must_use]
    pub fn list(&self) -> &[KeyProblem] {
        &self.0
    }
}

impl fmt::Display for KeyProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for KeyProblems {}
