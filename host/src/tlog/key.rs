//! The keys of notes: their names and ids, the text forms of their halves, signing and verifying.
//!
//! ```text
//! vkey          <name>+<key id, 8 hex digits>+base64(type, public key)
//! private key   PRIVATE+KEY+<name>+<key id, 8 hex digits>+base64(type, seed (32 bytes))
//!
//! key id        the first 4 bytes of SHA-256(name, 0x0A, type, public key)
//! ```
//! The vkey is that of [signed-note]; the private key is as Go's `sumdb/note` writes it for
//! Ed25519, and the same for the other types. For ML-DSA-44 the seed is ξ of FIPS 204.
//!
//! The types that say a time sign a message that is made of a checkpoint, which is in
//! [`checkpoint`](super::checkpoint); here a message is bytes.
//!
//! [signed-note]: https://c2sp.org/signed-note

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::Signer as _;
use ml_dsa::{Keypair as _, MlDsa44};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::text::{decode_base64, encode_base64};

/// The longest name of a key: an ML-DSA cosignature says its size in 8 bits.
pub const KEY_NAME_MAX_BYTES: usize = 255;
/// The longest vkey or private key, with room: the vkey of an ML-DSA-44 key with the longest name
/// has 2017 bytes.
pub const VKEY_MAX_BYTES: usize = 2048;
/// The size of the seed that a signer is made from.
pub const SEED_BYTES: usize = 32;

const PRIVATE_KEY_START: &str = "PRIVATE+KEY+";

/// The type of a key: what it signs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// 0x01: Ed25519 over the text of a note.
    Ed25519,
    /// 0x04: Ed25519 over the text of a checkpoint and a time.
    Ed25519Cosignature,
    /// 0x06: ML-DSA-44 over a checkpoint, a time and the name of the key.
    MlDsa44Cosignature,
}

/// The public half of a key, which verifies. It is written and read as its vkey.
#[derive(Clone, PartialEq)]
pub struct Verifier {
    // INVARIANT: as `is_key_name` says.
    name: String,
    key_id: u32,
    key: PublicKey,
}

/// Both halves of a key, which signs. The private half is overwritten when it is dropped.
pub struct Signer {
    verifier: Verifier,
    secret: SecretKey,
}

/// Why a text is not a key. No message says any of the text, which may be a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not of the form of a vkey or of a private key.
    #[error("not a {0}; check that all of it was copied")]
    Form(&'static str),
    /// The key id is not that of the name and the key.
    #[error(
        "the key id {found:08x} is not that of the name and the key, {expected:08x}; check that \
         the name is the one that the key was made for"
    )]
    KeyId {
        /// The id in the text.
        found: u32,
        /// The id of what else the text says.
        expected: u32,
    },
    /// Not a name that a key can have.
    #[error(
        "not the name of a key; write 1 to {KEY_NAME_MAX_BYTES} bytes without spaces, `+` and \
         control characters, for example keyward.example/gateway-1"
    )]
    Name,
    /// The bytes are not a public key of their type.
    #[error("the public key is not one of its type")]
    PublicKey,
    /// Making the signature failed, which happens to no key in practice.
    #[error("the key cannot sign this message")]
    Sign,
    /// A type that is not a [`KeyType`].
    #[error("keys of the type {0:#04x} are not supported; use one of type 0x01, 0x04 or 0x06")]
    Type(u8),
}

/// Whether a key can have this name: 1 to [`KEY_NAME_MAX_BYTES`] bytes without Unicode spaces, `+`
/// and control characters.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    name.len() <= KEY_NAME_MAX_BYTES && is_signer_name(name)
}

/// As [`is_key_name`], for the names of others, which may be longer.
pub(super) fn is_signer_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|it: char| it.is_whitespace() || it == '+' || it < ' ')
}

impl KeyType {
    /// The type's byte in ids and texts of keys.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::Ed25519Cosignature => 0x04,
            Self::MlDsa44Cosignature => 0x06,
        }
    }

    /// Whether its signatures are cosignatures, which say a time.
    #[must_use]
    pub const fn is_cosignature(self) -> bool {
        !matches!(self, Self::Ed25519)
    }

    const fn from_byte(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::Ed25519Cosignature),
            0x06 => Ok(Self::MlDsa44Cosignature),
            other => Err(KeyError::Type(other)),
        }
    }
}

impl Verifier {
    fn new(name: &str, key: PublicKey) -> Result<Self, KeyError> {
        if !is_key_name(name) {
            return Err(KeyError::Name);
        }
        let hash = Sha256::new_with_prefix(name)
            .chain_update([b'\n', key.key_type().byte()])
            .chain_update(key.encode())
            .finalize();
        let [a, b, c, d, ..] = hash.0;
        Ok(Self {
            name: name.to_owned(),
            key_id: u32::from_be_bytes([a, b, c, d]),
            key,
        })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id, which with the name says which key a signature is by.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.key_id
    }

    /// The type.
    #[must_use]
    pub const fn key_type(&self) -> KeyType {
        self.key.key_type()
    }

    /// Whether another is the same public key, whatever it is named and of which type it is.
    #[must_use]
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.key.encode() == other.key.encode()
    }

    /// Whether a signature of a message is by this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            PublicKey::Ed25519(key) | PublicKey::Ed25519Cosignature(key) => {
                ed25519_dalek::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok())
            }
            PublicKey::MlDsa44(key) => ml_dsa::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify_with_context(message, &[], &signature)),
        }
    }
}

impl Signer {
    /// A key of a type and a name from its seed, which has to be random and nobody else's.
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(
        key_type: KeyType,
        name: &str,
        seed: &[u8; SEED_BYTES],
    ) -> Result<Self, KeyError> {
        let secret = SecretKey::from_seed(key_type, seed);
        Ok(Self {
            verifier: Verifier::new(name, secret.public_key(key_type))?,
            secret,
        })
    }

    /// Reads a private key.
    ///
    /// # Errors
    /// [`KeyError`] when the text is anything but what [`Signer::to_private_text`] makes.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let form = KeyError::Form("private key");
        if text.len() > VKEY_MAX_BYTES {
            return Err(form);
        }
        let rest = text.strip_prefix(PRIVATE_KEY_START).ok_or(form)?;
        let (name, key_id, bytes) = split(rest).ok_or(form)?;
        let bytes = Zeroizing::new(bytes);
        let (key_type, seed) = bytes.split_first().ok_or(form)?;
        let seed = seed.try_into().map_err(|_| form)?;
        let signer = Self::from_seed(KeyType::from_byte(*key_type)?, name, seed)?;
        same_id(key_id, signer.verifier.key_id)?;
        Ok(signer)
    }

    /// The private key as a text of one line, for a file that only its owner can read.
    #[must_use]
    pub fn to_private_text(&self) -> Zeroizing<String> {
        let Verifier { name, key_id, .. } = &self.verifier;
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + SEED_BYTES));
        bytes.push(self.verifier.key_type().byte());
        bytes.extend(self.secret.seed());
        let key = Zeroizing::new(encode_base64(&*bytes));
        // The secret is the last part: a text that grows behind it would leave a copy.
        let mut text = Zeroizing::new(format!("{PRIVATE_KEY_START}{name}+{key_id:08x}+"));
        text.push_str(&key);
        text
    }

    /// The public half.
    #[must_use]
    pub const fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The signature of a message. The same message has always the same signature.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.secret {
            SecretKey::Ed25519(key) => Ok(key.sign(message).to_bytes().to_vec()),
            SecretKey::MlDsa44(key) => match key.try_sign(message) {
                Ok(signature) => Ok(signature.encode().to_vec()),
                Err(_) => Err(KeyError::Sign),
            },
        }
    }
}

#[derive(Clone, PartialEq)]
enum PublicKey {
    Ed25519(ed25519_dalek::VerifyingKey),
    Ed25519Cosignature(ed25519_dalek::VerifyingKey),
    MlDsa44(ml_dsa::VerifyingKey<MlDsa44>),
}

impl PublicKey {
    fn decode(key_type: KeyType, bytes: &[u8]) -> Result<Self, KeyError> {
        match key_type {
            KeyType::Ed25519 => decode_ed25519(bytes).map(Self::Ed25519),
            KeyType::Ed25519Cosignature => decode_ed25519(bytes).map(Self::Ed25519Cosignature),
            KeyType::MlDsa44Cosignature => {
                let bytes = bytes.try_into().map_err(|_| KeyError::PublicKey)?;
                Ok(Self::MlDsa44(ml_dsa::VerifyingKey::decode(bytes)))
            }
        }
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) | Self::Ed25519Cosignature(key) => key.as_bytes().to_vec(),
            Self::MlDsa44(key) => key.encode().to_vec(),
        }
    }

    const fn key_type(&self) -> KeyType {
        match self {
            Self::Ed25519(_) => KeyType::Ed25519,
            Self::Ed25519Cosignature(_) => KeyType::Ed25519Cosignature,
            Self::MlDsa44(_) => KeyType::MlDsa44Cosignature,
        }
    }
}

/// A public key that only its owner signs with: a weak one verifies what nobody has signed.
fn decode_ed25519(bytes: &[u8]) -> Result<ed25519_dalek::VerifyingKey, KeyError> {
    let key = ed25519_dalek::VerifyingKey::try_from(bytes).map_err(|_| KeyError::PublicKey)?;
    if key.is_weak() {
        return Err(KeyError::PublicKey);
    }
    Ok(key)
}

/// Both crates overwrite a private key when it is dropped.
enum SecretKey {
    Ed25519(Box<ed25519_dalek::SigningKey>),
    MlDsa44(Box<ml_dsa::SigningKey<MlDsa44>>),
}

impl SecretKey {
    fn from_seed(key_type: KeyType, seed: &[u8; SEED_BYTES]) -> Self {
        match key_type {
            KeyType::Ed25519 | KeyType::Ed25519Cosignature => {
                Self::Ed25519(Box::new(ed25519_dalek::SigningKey::from_bytes(seed)))
            }
            KeyType::MlDsa44Cosignature => {
                Self::MlDsa44(Box::new(ml_dsa::SigningKey::from_seed(seed.into())))
            }
        }
    }

    fn public_key(&self, key_type: KeyType) -> PublicKey {
        match self {
            Self::Ed25519(key) if key_type == KeyType::Ed25519 => {
                PublicKey::Ed25519(key.verifying_key())
            }
            Self::Ed25519(key) => PublicKey::Ed25519Cosignature(key.verifying_key()),
            Self::MlDsa44(key) => PublicKey::MlDsa44(key.verifying_key()),
        }
    }

    fn seed(&self) -> &[u8] {
        match self {
            Self::Ed25519(key) => key.as_bytes(),
            Self::MlDsa44(key) => key.as_seed(),
        }
    }
}

/// The name, the key id and the bytes of a key's text.
fn split(text: &str) -> Option<(&str, u32, Vec<u8>)> {
    let (name, rest) = text.split_once('+')?;
    let (hex, base64) = rest.split_once('+')?;
    let key_id = u32::from_str_radix(hex, 16).ok()?;
    (format!("{key_id:08x}") == hex).then_some(())?;
    Some((name, key_id, decode_base64(base64)?))
}

const fn same_id(found: u32, expected: u32) -> Result<(), KeyError> {
    if found == expected {
        Ok(())
    } else {
        Err(KeyError::KeyId { found, expected })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![self.key_type().byte()];
        bytes.extend(self.key.encode());
        write!(
            f,
            "{}+{:08x}+{}",
            self.name,
            self.key_id,
            encode_base64(bytes)
        )
    }
}

impl FromStr for Verifier {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let form = KeyError::Form("vkey");
        if text.len() > VKEY_MAX_BYTES {
            return Err(form);
        }
        let (name, key_id, bytes) = split(text).ok_or(form)?;
        let (key_type, bytes) = bytes.split_first().ok_or(form)?;
        let key = PublicKey::decode(KeyType::from_byte(*key_type)?, bytes)?;
        let verifier = Self::new(name, key)?;
        same_id(key_id, verifier.key_id)?;
        Ok(verifier)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({}+{:08x})", self.name, self.key_id)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Signer({}+{:08x})",
            self.verifier.name, self.verifier.key_id
        )
    }
}

#[cfg(test)]
mod tests;
