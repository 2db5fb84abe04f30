//! The credential: what a caller presents to use a key, and how a new one is made.
//!
//! ```text
//! kw_live_k7Qp2mXw9LaR_0123456789abcdefghijABCDEFGHIJ01_2se4Vx
//!    env  key id       secret                           checksum
//! ```
//!
//! A [`Credential`] is read once: the secret is hashed in [`Credential::parse`] and only its
//! SHA-256 stays. Nothing here can be printed, logged or serialised with the secret or its digest;
//! the one exception is [`IssuedSecret::expose`], which exists to show a new credential once.

pub mod random;

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::key::{BASE62, Environment, KEY_ID_CHARS, KeyId};

use random::{Randomness, RandomnessError};

/// Length of the secret in characters.
pub const SECRET_CHARS: usize = 32;
/// Length of the checksum in characters.
pub const CHECKSUM_CHARS: usize = 6;
/// Length of a whole credential in bytes.
pub const CREDENTIAL_BYTES: usize =
    "kw_live_".len() + KEY_ID_CHARS + 1 + SECRET_CHARS + 1 + CHECKSUM_CHARS;
/// The published regular expression, for secret scanners. It finds every credential; whether the
/// checksum holds is a second step that no regular expression can take.
pub const CREDENTIAL_REGEX: &str =
    r"\bkw_(?:live|test)_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}\b";

/// A well-formed credential, its secret already hashed.
#[derive(Clone)]
pub struct Credential {
    environment: Environment,
    key_id: KeyId,
    secret: Digest,
}

/// Why a text is not a credential. Never holds the text, which may be a secret with a slip in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It does not begin with `kw_live_` or `kw_test_`.
    #[error("not a credential of keyward: one begins with `kw_live_` or `kw_test_`")]
    Prefix,
    /// It begins like one and is cut short, or goes on.
    #[error("a credential has {CREDENTIAL_BYTES} characters; copy it whole, and nothing around it")]
    Length,
    /// A character that cannot stand where it does.
    #[error("a credential has letters, digits and the underscores between its parts only")]
    Alphabet,
    /// The last six characters do not belong to the rest.
    #[error("the checksum does not match; a character was changed when the credential was copied")]
    Checksum,
}

/// What came with an access request.
#[derive(Clone, Debug)]
pub enum Presented {
    /// Nothing.
    None,
    /// More than one credential, or one header twice.
    Ambiguous,
    /// Something that is not a credential.
    Malformed,
    /// One well-formed credential.
    Credential(Credential),
    /// The id of a key that the caller has authenticated by itself: offline evaluation and tests.
    /// Any text; one that is not the id of a key is simply unknown.
    KeyId(Arc<str>),
}

/// A new credential in full. It exists to be shown once, and is wiped from memory when dropped.
pub struct IssuedSecret {
    // INVARIANT: exactly `CREDENTIAL_BYTES` of ASCII, a credential that `Credential::parse` takes.
    text: Zeroizing<String>,
    digest: Digest,
}

impl Credential {
    /// Reads a credential and hashes its secret. No look-up is needed to refuse a mistyped one.
    ///
    /// # Errors
    /// [`CredentialError`] names the first part that is wrong: prefix, length, alphabet, checksum.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let environments = [Environment::Live, Environment::Test];
        let (environment, rest) = environments
            .into_iter()
            .find_map(|environment| Some((environment, after_prefix(text, environment)?)))
            .ok_or(CredentialError::Prefix)?;
        let bytes = text.as_bytes();
        if bytes.len() != CREDENTIAL_BYTES {
            return Err(CredentialError::Length);
        }
        let (key_id, rest) = part(rest, KEY_ID_CHARS)?;
        let rest = underscore(rest)?;
        let (secret, rest) = part(rest, SECRET_CHARS)?;
        let (checksum, _) = part(underscore(rest)?, CHECKSUM_CHARS)?;
        let (checked, _) = bytes
            .split_at_checked(CREDENTIAL_BYTES - 1 - CHECKSUM_CHARS)
            .ok_or(CredentialError::Length)?;
        if checksum != checksum_of(checked) {
            return Err(CredentialError::Checksum);
        }
        let key_id = std::str::from_utf8(key_id)
            .ok()
            .and_then(|id| id.parse().ok());
        let key_id = key_id.ok_or(CredentialError::Alphabet)?;
        Ok(Self {
            environment,
            key_id,
            secret: Digest::of(secret),
        })
    }

    /// The environment that it names.
    #[must_use]
    pub const fn environment(&self) -> Environment {
        self.environment
    }

    /// The key that it names.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Whether its secret is the one with this SHA-256, in time that does not depend on either.
    #[must_use]
    pub fn matches(&self, stored: &Digest) -> bool {
        self.secret.as_bytes().ct_eq(stored.as_bytes()).into()
    }
}

impl IssuedSecret {
    /// Makes the credential of a new key: 32 characters from `randomness`, 190 bits.
    ///
    /// # Errors
    /// [`RandomnessError`] when `randomness` has none to give.
    pub fn generate(
        environment: Environment,
        key_id: KeyId,
        randomness: &mut dyn Randomness,
    ) -> Result<Self, RandomnessError> {
        let secret: Zeroizing<[u8; SECRET_CHARS]> = random::base62(randomness)?;
        // Made at its full size, so that no copy of the secret is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(CREDENTIAL_BYTES));
        for part in ["kw_", environment.as_str(), "_", key_id.as_str(), "_"] {
            text.push_str(part);
        }
        text.extend(secret.iter().copied().map(char::from));
        let checksum = checksum_of(text.as_bytes());
        text.push('_');
        text.extend(checksum.map(char::from));
        Ok(Self {
            text,
            digest: Digest::of(secret.as_slice()),
        })
    }

    /// The credential, to be shown once to the person it was issued for.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The SHA-256 of its secret, which is all that is kept.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

/// A new key id from `randomness`. Whether it is free is for the registry to find out.
///
/// # Errors
/// [`RandomnessError`] when `randomness` has none to give.
pub fn random_key_id(randomness: &mut dyn Randomness) -> Result<KeyId, RandomnessError> {
    let characters: Zeroizing<[u8; KEY_ID_CHARS]> = random::base62(randomness)?;
    let text = std::str::from_utf8(characters.as_slice()).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or(RandomnessError::Stuck)
}

/// What comes after `kw_<environment>_`.
fn after_prefix(text: &str, environment: Environment) -> Option<&[u8]> {
    let rest = text
        .strip_prefix("kw_")?
        .strip_prefix(environment.as_str())?;
    Some(rest.strip_prefix('_')?.as_bytes())
}

/// Splits off `length` characters of base62.
fn part(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), CredentialError> {
    let (part, rest) = bytes
        .split_at_checked(length)
        .ok_or(CredentialError::Length)?;
    if part.iter().all(u8::is_ascii_alphanumeric) {
        Ok((part, rest))
    } else {
        Err(CredentialError::Alphabet)
    }
}

/// Takes the underscore between two parts.
fn underscore(bytes: &[u8]) -> Result<&[u8], CredentialError> {
    bytes.strip_prefix(b"_").ok_or(CredentialError::Alphabet)
}

/// The CRC-32 (IEEE 802.3) of some bytes in base62, most significant character first.
fn checksum_of(bytes: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32fast::hash(bytes);
    let mut checksum = [b'0'; CHECKSUM_CHARS];
    for character in checksum.iter_mut().rev() {
        *character = BASE62.get((rest % 62) as usize).copied().unwrap_or(b'0');
        rest /= 62;
    }
    checksum
}

impl fmt::Debug for Credential {
    /// Shows the environment and the key, and nothing of the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Credential({} {}, …)",
            self.environment.as_str(),
            self.key_id
        )
    }
}

impl fmt::Debug for IssuedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IssuedSecret(…)")
    }
}

#[cfg(test)]
mod tests;
