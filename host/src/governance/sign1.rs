//! What governance signs: a `COSE_Sign1` (RFC 9052) with Ed25519, in one form only.
//!
//! ```text
//! 18([ bstr of {1: -8, 3: content type, 4: key id}, {}, payload, signature (64 bytes) ])
//!
//! signed   ["Signature1", the same bstr, h'', payload]
//! ```
//! All of it is deterministic CBOR (RFC 8949 §4.2.1), and what is read has to be the bytes that
//! would be written: a signature is good for one byte string. That is why this is not a COSE
//! library's work, which takes many forms of one message. The key is one of notes (type 0x01); a
//! note is text, what is signed here begins with the byte 0x84, and neither passes for the other.

use std::convert::Infallible;

use minicbor::data::Tag;
use minicbor::encode::Error;
use minicbor::{Decoder, Encoder};

use crate::tlog::key::{KeyError, KeyType, Signer, VKEY_MAX_BYTES, Verifier};

/// The most keys of governance that somebody trusts: one, and those before it.
pub const GOVERNANCE_KEYS_MAX: usize = 16;
/// The largest file with these keys.
pub const GOVERNANCE_KEYS_MAX_BYTES: usize = GOVERNANCE_KEYS_MAX * 2 * VKEY_MAX_BYTES;

/// The tag of `COSE_Sign1`.
const TAG: Tag = Tag::new(18);
/// `EdDSA` among the algorithms of COSE.
const ALGORITHM: i64 = -8;

/// Why governance has not signed something, as far as that can be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Sign1Error {
    /// Not of the form, or not in its one encoding.
    #[error("it is not a COSE_Sign1 in the one form that keyward writes")]
    Form,
    /// Signed as something else.
    #[error("it is signed as `{0}`, which is something else")]
    ContentType(String),
    /// By a key that is not trusted.
    #[error("it is signed by the key {0:08x}, which is not a governance key that you trust")]
    UnknownKey(u32),
    /// Not by the key that it names.
    #[error("the signature by the governance key {0:08x} is wrong")]
    Signature(u32),
}

/// Why a text is not governance's public keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GovernanceKeysError {
    /// A line is not a key.
    #[error("line {line}: {error}")]
    Key {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        error: KeyError,
    },
    /// Another type of key.
    #[error("line {0}: not an Ed25519 key (type 0x01), which governance signs with")]
    Type(usize),
    /// No key.
    #[error("it has no key; it is the file `governance.pub` that `keyward cert init` writes")]
    None,
    /// Over [`GOVERNANCE_KEYS_MAX`] or [`GOVERNANCE_KEYS_MAX_BYTES`].
    #[error("more than {GOVERNANCE_KEYS_MAX} keys, or {GOVERNANCE_KEYS_MAX_BYTES} bytes")]
    TooMany,
}

/// Reads the public keys of governance: a vkey to a line. Empty lines and those that begin with `#`
/// are comments.
///
/// # Errors
/// [`GovernanceKeysError`] when a line is anything else, or there is no key.
pub fn parse_governance_keys(text: &str) -> Result<Vec<Verifier>, GovernanceKeysError> {
    if text.len() > GOVERNANCE_KEYS_MAX_BYTES {
        return Err(GovernanceKeysError::TooMany);
    }
    let mut keys: Vec<Verifier> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let key = text.parse();
        let key: Verifier = key.map_err(|error| GovernanceKeysError::Key { line, error })?;
        if key.key_type() != KeyType::Ed25519 {
            return Err(GovernanceKeysError::Type(line));
        }
        if keys.len() == GOVERNANCE_KEYS_MAX {
            return Err(GovernanceKeysError::TooMany);
        }
        keys.push(key);
    }
    if keys.is_empty() {
        return Err(GovernanceKeysError::None);
    }
    Ok(keys)
}

/// Signs a payload as something.
pub(super) fn sign(
    signer: &Signer,
    (content_type, payload): (&str, &[u8]),
) -> Result<Vec<u8>, KeyError> {
    let protected = protected(content_type, signer.verifier().key_id());
    let signature = signer.sign(&to_be_signed(&protected, payload))?;
    Ok(message(&protected, payload, &signature))
}

/// What one of these keys has signed as something, and which key.
pub(super) fn open<'c, 'k>(
    cose: &'c [u8],
    content_type: &str,
    keys: &'k [Verifier],
) -> Result<(&'c [u8], &'k Verifier), Sign1Error> {
    let parts = parts(cose).map_err(|_| Sign1Error::Form)?;
    let Parts {
        protected,
        payload,
        signature,
    } = parts;
    let (found, key_id) = headers(protected).map_err(|_| Sign1Error::Form)?;
    if self::protected(found, key_id) != protected || message(protected, payload, signature) != cose
    {
        return Err(Sign1Error::Form);
    }
    if found != content_type {
        return Err(Sign1Error::ContentType(crate::shown::shown(found)));
    }
    let signed = to_be_signed(protected, payload);
    let mut named = keys.iter().filter(|key| key.key_id() == key_id).peekable();
    named.peek().ok_or(Sign1Error::UnknownKey(key_id))?;
    let by = named.find(|key| {
        // Another type signs other messages.
        key.key_type() == KeyType::Ed25519 && key.verifies(&signed, signature)
    });
    Ok((payload, by.ok_or(Sign1Error::Signature(key_id))?))
}

/// What somebody claims to have signed, which nobody has verified.
pub(super) fn unverified(cose: &[u8]) -> Option<&[u8]> {
    parts(cose).ok().map(|parts| parts.payload)
}

struct Parts<'c> {
    protected: &'c [u8],
    payload: &'c [u8],
    signature: &'c [u8],
}

/// Where it is not in its one form, the caller notices that by writing it again.
fn parts(cose: &[u8]) -> Result<Parts<'_>, minicbor::decode::Error> {
    let mut cbor = Decoder::new(cose);
    cbor.tag()?;
    cbor.array()?;
    let protected = cbor.bytes()?;
    cbor.map()?;
    Ok(Parts {
        protected,
        payload: cbor.bytes()?,
        signature: cbor.bytes()?,
    })
}

fn headers(protected: &[u8]) -> Result<(&str, u32), minicbor::decode::Error> {
    let mut cbor = Decoder::new(protected);
    cbor.map()?;
    cbor.u64()?;
    cbor.i64()?;
    cbor.u64()?;
    let content_type = cbor.str()?;
    cbor.u64()?;
    let key_id = <[u8; 4]>::try_from(cbor.bytes()?);
    let key_id = key_id.map_err(|_| minicbor::decode::Error::message("a key id"))?;
    Ok((content_type, u32::from_be_bytes(key_id)))
}

fn protected(content_type: &str, key_id: u32) -> Vec<u8> {
    written(|cbor| {
        cbor.map(3)?.u64(1)?.i64(ALGORITHM)?;
        cbor.u64(3)?.str(content_type)?;
        cbor.u64(4)?.bytes(&key_id.to_be_bytes())?;
        Ok(())
    })
}

fn to_be_signed(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    written(|cbor| {
        cbor.array(4)?.str("Signature1")?;
        cbor.bytes(protected)?.bytes(&[])?.bytes(payload)?;
        Ok(())
    })
}

fn message(protected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    written(|cbor| {
        cbor.tag(TAG)?.array(4)?.bytes(protected)?;
        cbor.map(0)?.bytes(payload)?.bytes(signature)?;
        Ok(())
    })
}

/// Writing to a vector cannot fail. Should the encoder ever report that it did, nothing is left:
/// no signature is good for that.
pub(super) fn written(
    write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Result<(), Error<Infallible>>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    if write(&mut Encoder::new(&mut bytes)).is_err() {
        bytes.clear();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "application/x";

    fn signer(seed: u8) -> Signer {
        Signer::from_seed(
            KeyType::Ed25519,
            "keyward.example/a/governance",
            &[seed; 32],
        )
        .unwrap()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Only the signature was taken from this code; pycose verifies the same form in the gate.
    #[test]
    fn a_message_has_these_bytes_for_ever() {
        let cose = sign(&signer(7), (TYPE, b"payload")).unwrap();
        let key_id = format!("{:08x}", signer(7).verifier().key_id());
        let before = format!(
            "d284 5818 a3 01 27 03 6d 6170706c69636174696f6e2f78 04 44 {key_id} a0 47 7061796c6f6164 5840"
        );
        assert_eq!(hex(&cose[..cose.len() - 64]), before.replace(' ', ""));
        let keys = [signer(8).verifier().clone(), signer(7).verifier().clone()];
        let (payload, by) = open(&cose, TYPE, &keys).unwrap();
        assert_eq!((payload, by), (&b"payload"[..], &keys[1]));
    }

    #[test]
    fn each_link_that_breaks_is_named() {
        let cose = sign(&signer(7), (TYPE, b"payload")).unwrap();
        let key = |seed| [signer(seed).verifier().clone()];
        let key_id = signer(7).verifier().key_id();
        let other = open(&cose, "application/y", &key(7)).unwrap_err();
        assert_eq!(other, Sign1Error::ContentType(TYPE.to_owned()));
        let unknown = open(&cose, TYPE, &key(8)).unwrap_err();
        assert_eq!(unknown, Sign1Error::UnknownKey(key_id));
        let mut wrong = cose;
        *wrong.last_mut().unwrap() ^= 1;
        let wrong = open(&wrong, TYPE, &key(7)).unwrap_err();
        assert_eq!(wrong, Sign1Error::Signature(key_id));
    }

    /// Every byte that is changed, cut off or added.
    #[test]
    fn there_is_one_form() {
        let cose = sign(&signer(7), (TYPE, b"payload")).unwrap();
        let keys = [signer(7).verifier().clone()];
        for at in 0..cose.len() {
            for bit in 0..8 {
                let mut changed = cose.clone();
                changed[at] ^= 1 << bit;
                assert!(open(&changed, TYPE, &keys).is_err(), "{at}");
            }
            assert_eq!(open(&cose[..at], TYPE, &keys), Err(Sign1Error::Form));
        }
        let longer = [&cose[..], &[0]].concat();
        assert_eq!(open(&longer, TYPE, &keys), Err(Sign1Error::Form));
        // Without the tag, and with a length in more bytes than it needs.
        assert_eq!(open(&cose[1..], TYPE, &keys), Err(Sign1Error::Form));
        let place = cose.iter().position(|byte| *byte == 0x47).unwrap();
        let long = [&cose[..place], &[0x58, 7], &cose[place + 1..]].concat();
        assert_eq!(open(&long, TYPE, &keys), Err(Sign1Error::Form));
    }

    #[test]
    fn keys_are_lines_of_one_type() {
        let vkey = signer(7).verifier().to_string();
        let text = format!("# ours\n\n{vkey}\n");
        let keys = parse_governance_keys(&text);
        assert_eq!(keys, Ok(vec![signer(7).verifier().clone()]));
        assert_eq!(
            parse_governance_keys("# none\n"),
            Err(GovernanceKeysError::None)
        );
        let many = format!("{vkey}\n").repeat(GOVERNANCE_KEYS_MAX + 1);
        assert_eq!(
            parse_governance_keys(&many),
            Err(GovernanceKeysError::TooMany)
        );
        let cosigner = Signer::from_seed(KeyType::Ed25519Cosignature, "w", &[7; 32]).unwrap();
        assert_eq!(
            parse_governance_keys(&format!("\n{}", cosigner.verifier())),
            Err(GovernanceKeysError::Type(2))
        );
        assert!(matches!(
            parse_governance_keys(&format!("{vkey}=\n")),
            Err(GovernanceKeysError::Key { line: 1, .. })
        ));
    }
}
