//! Keys as text: the file form that people import and export, and the canonical form that the log
//! keeps and that gives a key record its digest.
//!
//! A [`KeyFile`] is what was written, a [`CheckedKey`] what it means. The check refuses only what
//! cannot be represented; a key that breaks the organisation's rules is let in, for the policies
//! deny it at use. All problems of a key are reported together.

mod canonical;
mod check;
mod file;
mod lines;
mod members;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{KeyRecord, Lifecycle};
use crate::digest::Digest;

pub use canonical::{CanonicalError, VERSION_MAX};
pub use check::{FieldProblem, KeyProblem, KeyProblems, check_label, check_text};
pub use lines::{
    KEY_FILE_KEYS_MAX, KEY_FILE_LINES_MAX, KEY_FILE_MAX_BYTES, KEY_LINE_MAX_BYTES,
    KEY_LINE_SKIPPED_MAX_BYTES, KEY_TOML_MAX_BYTES, LINE_PROBLEMS_LISTED_MAX, LINE_PROBLEMS_MAX,
    LineError, LineProblem, LineProblems, read_keys, read_toml,
};

/// What an operator may switch on for keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyOptions {
    /// Accept a network of every address (`/0`) in a key's allow list; off by default.
    pub allow_any_network: bool,
}

/// A key as it is written in a file: one line of JSON Lines, one `[[key]]` of TOML. Nothing is
/// checked but names and types.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    id: String,
    owner: String,
    #[serde(default = "file::live")]
    environment: String,
    #[serde(default = "file::active")]
    lifecycle: String,
    issued_at: String,
    #[serde(default)]
    not_before: Option<String>,
    #[serde(default)]
    rotate_by: Option<String>,
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    grace_until: Option<String>,
    scopes: Vec<String>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    allowed_networks: Option<Vec<String>>,
    #[serde(default, deserialize_with = "file::labels")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_sha256: Option<String>,
    /// Stands in the canonical form only; an import may not set it.
    #[serde(default, skip_serializing)]
    version: Option<u64>,
}

/// A key that can be represented: its record, and the SHA-256 of its secret where it is known.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckedKey {
    // INVARIANT: `record` holds what `check` accepts. Only `KeyFile::check` and
    // `KeyRecord::from_canonical_json` make one.
    record: KeyRecord,
    secret: Option<Digest>,
}

impl KeyFile {
    /// The file form of a record, with the SHA-256 of its secret where it is known.
    #[must_use]
    pub fn new(record: &KeyRecord, secret: Option<Digest>) -> Self {
        file::of(record, secret)
    }

    /// Checks everything that names and types leave open. The record's version is 1.
    ///
    /// # Errors
    /// [`KeyProblems`] names every field that cannot be represented, and why.
    pub fn check(&self, options: KeyOptions) -> Result<CheckedKey, KeyProblems> {
        check::check(self, options)
    }
}

impl CheckedKey {
    /// A key read back from storage: the record that was stored as canonical JSON, and its secret's
    /// SHA-256.
    ///
    /// # Errors
    /// [`CanonicalError`] when the text is not the canonical form of a record.
    pub fn from_canonical_json(text: &str, secret: Option<Digest>) -> Result<Self, CanonicalError> {
        KeyRecord::from_canonical_json(text).map(|record| Self { record, secret })
    }

    /// The record.
    #[must_use]
    pub const fn record(&self) -> &KeyRecord {
        &self.record
    }

    /// The SHA-256 of its secret, where it is known: for storage. A `KeyEntry` compares.
    #[must_use]
    pub const fn secret(&self) -> Option<&Digest> {
        self.secret.as_ref()
    }

    /// The file form, for export.
    #[must_use]
    pub fn to_file(&self) -> KeyFile {
        KeyFile::new(&self.record, self.secret)
    }

    /// The record and the SHA-256 of the secret.
    #[must_use]
    pub fn into_parts(self) -> (KeyRecord, Option<Digest>) {
        (self.record, self.secret)
    }

    /// The same key in another version.
    #[cfg(feature = "sqlite")]
    #[must_use]
    pub(crate) fn with_version(mut self, version: u64) -> Self {
        self.record.version = version;
        self
    }

    /// The same key, its secret being the one with this SHA-256.
    #[must_use]
    pub fn with_secret(self, secret: Digest) -> Self {
        Self {
            secret: Some(secret),
            ..self
        }
    }
}

impl fmt::Debug for KeyFile {
    /// Names the key; the rest may be long, and one field is a secret's digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile({:?}, …)", self.id)
    }
}

impl fmt::Debug for CheckedKey {
    /// Shows the record, and nothing of the secret but whether it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckedKey")
            .field("record", &self.record)
            .field("has_secret", &self.secret.is_some())
            .finish()
    }
}

/// The lifecycle of a name in a file.
fn lifecycle_named(name: &str) -> Option<Lifecycle> {
    use Lifecycle::{Active, Deprecated, Revoked, Suspended};
    [Active, Deprecated, Suspended, Revoked]
        .into_iter()
        .find(|known| known.as_str() == name)
}

/// One allocation for each list, one for each text.
fn shared(texts: &[String]) -> Arc<[Arc<str>]> {
    texts.iter().map(|text| Arc::from(text.as_str())).collect()
}

#[cfg(test)]
mod tests;
