//! A key record as canonical JSON (RFC 8785): the blob that the log keeps, and whose SHA-256 is the
//! key-record digest.
//!
//! All members stand in it, `null` where there is nothing, sorted by name; no number but `version`.
//! It is written by hand because the order of members is known, all but the labels', and because
//! writing to a string cannot fail.

use std::fmt::Write as _;

use super::{KeyFile, KeyOptions, KeyProblems};
use crate::digest::Digest;
use crate::key::KeyRecord;
use crate::shown::shown;
use crate::timestamp::Timestamp;

/// The highest version: numbers of RFC 8785 are doubles, exact up to here.
pub const VERSION_MAX: u64 = (1 << 53) - 1;

/// The longest canonical form of a record, in bytes. The limits of the fields leave it far below.
const RECORD_MAX_BYTES: usize = 256 * 1024;

/// Why a text is not the canonical form of a key record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// Longer than any record.
    #[error("a key record of {0} bytes; one has at most {RECORD_MAX_BYTES}")]
    TooLong(usize),
    /// Not JSON, or not a key's.
    #[error("not a key record: {0}")]
    Malformed(String),
    /// A key that no check would have let in.
    #[error("a key record that cannot be: {0}")]
    Problems(#[from] KeyProblems),
    /// No version, zero, or above [`VERSION_MAX`].
    #[error("a key record without a version from 1 to {VERSION_MAX}")]
    Version,
    /// A key record, and not byte for byte as it would be written.
    #[error("a key record that is not in canonical form")]
    NotCanonical,
}

impl KeyRecord {
    /// The record as canonical JSON (RFC 8785), without the secret's digest.
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        let mut json = String::with_capacity(512);
        json.push_str("{\"allowed_networks\":");
        match &self.allowed_networks {
            None => json.push_str("null"),
            Some(networks) => list(&mut json, networks.iter().map(ToString::to_string)),
        }
        text_member(&mut json, "environment", self.environment.as_str());
        time_member(&mut json, "expires_at", self.expires_at);
        time_member(&mut json, "grace_until", self.grace_until);
        text_member(&mut json, "id", self.id.as_str());
        time_member(&mut json, "issued_at", Some(self.issued_at));
        member(&mut json, "labels");
        labels(&mut json, self);
        text_member(&mut json, "lifecycle", self.lifecycle.as_str());
        time_member(&mut json, "not_before", self.not_before);
        text_member(&mut json, "owner", &self.owner);
        member(&mut json, "read_only");
        json.push_str(if self.read_only { "true" } else { "false" });
        time_member(&mut json, "rotate_by", self.rotate_by);
        member(&mut json, "scopes");
        list(&mut json, self.scopes.iter());
        member(&mut json, "version");
        json.push_str(&self.version.to_string());
        json.push('}');
        json
    }

    /// Reads what [`KeyRecord::to_canonical_json`] wrote, and nothing else: the text is written
    /// again and must come out the same.
    ///
    /// # Errors
    /// [`CanonicalError`] says what is not as it was written.
    pub fn from_canonical_json(text: &str) -> Result<Self, CanonicalError> {
        if text.len() > RECORD_MAX_BYTES {
            return Err(CanonicalError::TooLong(text.len()));
        }
        let mut file: KeyFile = serde_json::from_str(text)
            .map_err(|error| CanonicalError::Malformed(shown(&error.to_string())))?;
        let version = file
            .version
            .take()
            .filter(|version| (1..=VERSION_MAX).contains(version));
        let version = version.ok_or(CanonicalError::Version)?;
        // Whoever saved the record was allowed to.
        let (record, _) = file
            .check(KeyOptions {
                allow_any_network: true,
            })?
            .into_parts();
        let record = Self { version, ..record };
        // Also refuses a `secret_sha256`, which is never written.
        if record.to_canonical_json() == text {
            Ok(record)
        } else {
            Err(CanonicalError::NotCanonical)
        }
    }

    /// The key-record digest: the SHA-256 of the canonical JSON.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.to_canonical_json().as_bytes())
    }
}

/// Writes the labels. RFC 8785 sorts by UTF-16 code units, which is not the order of UTF-8.
fn labels(json: &mut String, record: &KeyRecord) {
    let mut labels: Vec<_> = record.labels.iter().collect();
    labels.sort_unstable_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    json.push('{');
    for (index, (name, value)) in labels.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        text(json, name);
        json.push(':');
        text(json, value);
    }
    json.push('}');
}

/// Writes `,"name":`.
fn member(json: &mut String, name: &str) {
    json.push_str(",\"");
    json.push_str(name);
    json.push_str("\":");
}

fn text_member(json: &mut String, name: &str, value: &str) {
    member(json, name);
    text(json, value);
}

fn time_member(json: &mut String, name: &str, time: Option<Timestamp>) {
    member(json, name);
    match time {
        None => json.push_str("null"),
        Some(time) => text(json, &time.to_string()),
    }
}

fn list(json: &mut String, texts: impl Iterator<Item = impl AsRef<str>>) {
    json.push('[');
    for (index, item) in texts.enumerate() {
        if index > 0 {
            json.push(',');
        }
        text(json, item.as_ref());
    }
    json.push(']');
}

/// Writes a text with the escapes of RFC 8785 §3.2.2.2.
fn text(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\t' => json.push_str("\\t"),
            '\n' => json.push_str("\\n"),
            '\u{c}' => json.push_str("\\f"),
            '\r' => json.push_str("\\r"),
            '\0'..='\u{1f}' => {
                // Writing to a `String` cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}
