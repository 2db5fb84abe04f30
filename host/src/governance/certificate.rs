//! Revocation certificates: governance signs that a key was revoked, the log takes that as an
//! entry, and the proof of the entry is the certificate. Who checks it needs the log's policy file,
//! the governance key, and nothing else.
//!
//! ```text
//! claims ─► COSE_Sign1 by the governance key ─► entry `revocation` ─► checkpoint ─► .tlog-proof
//! ```

mod size;

use crate::digest::Digest;
use crate::key::KeyId;
use crate::key::event::{ACTOR_MAX_BYTES, KeyEvent, KeyEventKind, Subject};
use crate::key::state::State;
use crate::log::{Entry, EntryError, LogReadError, LogReader, ORIGIN_MAX_BYTES};
use crate::timestamp::Timestamp;
use crate::tlog::checkpoint::SignedCheckpoint;
use crate::tlog::key::{KeyError, Signer, Verifier};
use crate::tlog::merkle::leaf_hash;
use crate::tlog::policy::{Accepted, Policy};
use crate::tlog::proof::{Proof, ProofError};

use super::codec::{Read, Reader, Writer, Written, not};
use super::sign1::{self, Sign1Error, written};

pub use size::{CERTIFICATE_MAX_BYTES, Limited, limited};

/// The most of a reason that stands in a certificate, in bytes. The log has the whole of it.
pub const CLAIM_REASON_MAX_BYTES: usize = 192;

/// As what a revocation is signed.
pub const REVOCATION_CONTENT_TYPE: &str = "application/vnd.keyward.revocation+cbor";

const VERSION: u64 = 1;

/// What governance says of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationClaims {
    /// The name of the log that every index is of.
    pub origin: String,
    /// The key.
    pub key: KeyId,
    /// The digest of the key's record as it was revoked, which has no secret.
    pub key_record: Digest,
    /// When it was revoked.
    pub revoked_at: Timestamp,
    /// By whom: the one who confirmed the order, or who acted in an emergency.
    pub by: Option<String>,
    /// Why: what the one who revoked it said, or else the one who ordered it.
    pub reason: Option<ReasonClaim>,
    /// The order that was confirmed; `None`: it was revoked by one alone, in an emergency.
    pub order: Option<OrderClaim>,
    /// The index of the key event that revoked it.
    pub event: u64,
    /// From which entry on the log was read for what follows: 0 unless older ones were pruned.
    pub read_from: u64,
    /// The last decision that allowed something with the key; `None`: there is none.
    pub last_allowed: Option<AllowedClaim>,
    /// The first decision behind the event that refused the key; `None`: it was not used since.
    pub first_denied: Option<DeniedClaim>,
}

/// Why a key was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReasonClaim {
    /// The reason; its beginning, where it is longer than [`CLAIM_REASON_MAX_BYTES`].
    pub text: String,
    /// The SHA-256 of the whole reason where `text` is its beginning. The whole is in the event, or
    /// in that of the order.
    pub whole: Option<Digest>,
}

/// The order by which a key was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderClaim {
    /// Its digest.
    pub digest: Digest,
    /// When it was given; `None`: that entry is no longer kept.
    pub at: Option<Timestamp>,
    /// By whom.
    pub by: Option<String>,
}

/// The last decision that allowed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowedClaim {
    /// The entry.
    pub index: u64,
    /// The decision's time.
    pub time: Timestamp,
    /// The entry's leaf hash.
    pub leaf: Digest,
}

/// The first decision that refused the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeniedClaim {
    /// The entry.
    pub index: u64,
    /// The decision's time.
    pub time: Timestamp,
}

/// A certificate that holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// What it certifies.
    pub claims: RevocationClaims,
    /// The governance key that has signed it.
    pub key: Verifier,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// The index of its entry in the log.
    pub index: u64,
    /// The checkpoint that includes the entry.
    pub checkpoint: SignedCheckpoint,
}

/// Which link of a certificate is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The proof that the entry is in the log.
    #[error("the log's proof does not hold")]
    Proof(#[from] ProofError),
    /// The entry.
    #[error("the proof is of an entry that cannot be read")]
    Entry(#[source] EntryError),
    /// The proof is of something else.
    #[error("entry {0} of the log is not the revocation of a key")]
    NotARevocation(u64),
    /// One key would vouch for itself.
    #[error("the governance key is also a key of the log; it has to be one of its own")]
    SameKey,
    /// Governance's signature.
    #[error("governance's signature does not hold")]
    Sign1(#[from] Sign1Error),
    /// What governance has signed is not readable.
    #[error("what governance has signed is not a revocation in a form that this version knows")]
    Claims,
    /// It is about another log.
    #[error("governance speaks of the log `{}`, and the proof is one of another", crate::shown::shown(.0))]
    OtherLog(String),
    /// Over [`CERTIFICATE_MAX_BYTES`], with one signature of the log.
    #[error(
        "a certificate has at most {CERTIFICATE_MAX_BYTES} bytes, and this one would have {0}; the \
         log needs an Ed25519 key, which signs shorter"
    )]
    TooLarge(usize),
    /// What it says cannot be.
    #[error("what governance says cannot be: {0}")]
    Inconsistent(&'static str),
}

/// Why a revocation cannot be certified. No message names the log folder: the caller has.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] LogReadError),
    /// An entry that could be a decision on the key.
    #[error("entry {index}: {error}")]
    Entry {
        /// Which.
        index: u64,
        /// Why it cannot be read.
        error: EntryError,
    },
    /// The log does not have the event.
    #[error(
        "the log has no event that revoked key {0}: it was not revoked with this registry and log, \
         or the event is no longer kept"
    )]
    NotRevoked(KeyId),
}

/// What there is to certify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathered {
    /// What can be said now.
    pub claims: RevocationClaims,
    /// The entry in which governance has said so before, with the same key.
    pub issued: Option<u64>,
}

/// Reads a log for what can be said of a key's revocation, and whether it has been said under a
/// governance key.
///
/// # Errors
/// [`GatherError`] when the key was not revoked, or an entry cannot be read.
pub fn gather(
    reader: &LogReader,
    key: KeyId,
    governance: &Verifier,
) -> Result<Gathered, GatherError> {
    let mut found = Gathering::default();
    let trusted = std::slice::from_ref(governance);
    for entry in reader.entries() {
        let (index, bytes) = entry?;
        found.read_from.get_or_insert(index);
        match Entry::decode(&bytes).map_err(|error| GatherError::Entry { index, error })? {
            Entry::KeyEvent(event) => found.event(key, index, event),
            Entry::Decision(decision) if decision.key == Some(key) => {
                let time = decision.time;
                if decision.permission == crate::decision::Permission::Allow {
                    let leaf = leaf_hash(&bytes);
                    found.last_allowed = Some(AllowedClaim { index, time, leaf });
                } else if found.event.is_some() {
                    let denied = DeniedClaim { index, time };
                    found.first_denied.get_or_insert(denied);
                }
            }
            Entry::Revocation(revocation) => {
                let event = found.event.as_ref().map(|(index, _)| *index);
                let signed = sign1::open(&revocation.cose, REVOCATION_CONTENT_TYPE, trusted).ok();
                let claims = signed.and_then(|(payload, _)| RevocationClaims::decode(payload));
                if claims.is_some_and(|it| it.key == key && Some(it.event) == event) {
                    found.issued = Some(index);
                }
            }
            _ => {}
        }
    }
    let issued = found.issued;
    let claims = found.claims(reader.origin(), key);
    let claims = claims.ok_or(GatherError::NotRevoked(key))?;
    Ok(Gathered { claims, issued })
}

/// What was read so far.
#[derive(Default)]
struct Gathering {
    read_from: Option<u64>,
    ordered: Option<KeyEvent>,
    event: Option<(u64, KeyEvent)>,
    last_allowed: Option<AllowedClaim>,
    first_denied: Option<DeniedClaim>,
    issued: Option<u64>,
}

impl Gathering {
    fn event(&mut self, key: KeyId, index: u64, event: KeyEvent) {
        match &event.subject {
            Subject::Key { id, state, .. } if *id == key => {
                if event.kind == KeyEventKind::RevocationOrdered {
                    self.ordered = Some(event);
                } else if *state == State::Revoked && self.event.is_none() {
                    self.event = Some((index, event));
                }
            }
            _ => {}
        }
    }

    fn claims(self, origin: &str, key: KeyId) -> Option<RevocationClaims> {
        let (index, event) = self.event?;
        let Subject::Key { after, .. } = event.subject else {
            return None;
        };
        let ordered = self.ordered.filter(|it| it.order == event.order);
        let reason = ordered.as_ref().and_then(|it| it.reason.clone());
        let order = event.order.map(|digest| OrderClaim {
            digest,
            at: ordered.as_ref().map(|it| it.time),
            by: ordered.and_then(|it| it.actor).map(|it| it.to_string()),
        });
        Some(RevocationClaims {
            origin: origin.to_owned(),
            key,
            key_record: after,
            revoked_at: event.time,
            by: event.actor.map(|it| it.to_string()),
            reason: event.reason.or(reason).map(|it| ReasonClaim::of(&it)),
            order,
            event: index,
            read_from: self.read_from.unwrap_or(index),
            last_allowed: self.last_allowed,
            first_denied: self.first_denied,
        })
    }
}

impl ReasonClaim {
    /// A reason of any length.
    #[must_use]
    pub fn of(reason: &str) -> Self {
        let cut = reason.floor_char_boundary(CLAIM_REASON_MAX_BYTES);
        Self {
            text: reason.get(..cut).unwrap_or_default().to_owned(),
            whole: (cut < reason.len()).then(|| Digest::of(reason.as_bytes())),
        }
    }

    fn write(&self, to: &mut Writer<'_, '_>) -> Written {
        let Some(whole) = &self.whole else {
            return to.text_or_null(Some(&self.text));
        };
        to.0.array(2)?.str(&self.text)?;
        to.digest(whole)
    }

    fn read(from: &mut Reader<'_>) -> Read<Self> {
        let is_cut = from.is_array();
        if is_cut {
            from.array_of(2)?;
        }
        Ok(Self {
            text: from.text(CLAIM_REASON_MAX_BYTES)?.to_owned(),
            whole: is_cut.then(|| from.digest()).transpose()?,
        })
    }
}

impl RevocationClaims {
    /// Signs the claims, for an entry of the log.
    ///
    /// # Errors
    /// [`KeyError`] when the key does not sign.
    pub fn sign(&self, governance: &Signer) -> Result<Vec<u8>, KeyError> {
        sign1::sign(governance, (REVOCATION_CONTENT_TYPE, &self.encode()))
    }

    /// The claims in what is in a log's entry; whose they are nobody has verified. `None`: they
    /// cannot be read.
    #[must_use]
    pub fn unverified(cose: &[u8]) -> Option<Self> {
        Self::decode(sign1::unverified(cose)?)
    }

    /// Whether something was allowed after the key was revoked, by the log's order or by the
    /// decision's time: by a host that did not know of it yet.
    #[must_use]
    pub fn is_allowed_after(&self) -> bool {
        self.last_allowed
            .is_some_and(|it| it.index > self.event || it.time > self.revoked_at)
    }

    fn encode(&self) -> Vec<u8> {
        written(|cbor| self.write(Writer(cbor)))
    }

    fn write(&self, mut to: Writer<'_, '_>) -> Written {
        to.0.array(12)?.u64(VERSION)?.str(&self.origin)?;
        to.0.str(self.key.as_str())?;
        to.digest(&self.key_record)?;
        to.instant(self.revoked_at)?;
        to.text_or_null(self.by.as_deref())?;
        to.or_null(self.reason.as_ref(), |to, reason| reason.write(to))?;
        to.or_null(self.order.as_ref(), |to, order| {
            to.0.array(3)?;
            to.digest(&order.digest)?;
            to.or_null(order.at, Writer::instant)?;
            to.text_or_null(order.by.as_deref())
        })?;
        to.0.u64(self.event)?.u64(self.read_from)?;
        to.or_null(self.last_allowed, |to, it| {
            to.0.array(3)?.u64(it.index)?;
            to.instant(it.time)?;
            to.digest(&it.leaf)
        })?;
        to.or_null(self.first_denied, |to, it| {
            to.0.array(2)?.u64(it.index)?;
            to.instant(it.time)
        })
    }

    /// `None` for anything but the bytes of [`Self::encode`].
    fn decode(bytes: &[u8]) -> Option<Self> {
        let claims = Self::read(Reader::new(bytes)).ok()?;
        (claims.encode() == bytes).then_some(claims)
    }

    fn read(mut from: Reader<'_>) -> Read<Self> {
        from.array_of(12)?;
        if from.number()? != VERSION {
            return Err(not("a version that is known"));
        }
        Ok(Self {
            origin: from.text(ORIGIN_MAX_BYTES)?.to_owned(),
            key: from.key_id()?,
            key_record: from.digest()?,
            revoked_at: from.instant()?,
            by: from.or_null(|it| it.text(ACTOR_MAX_BYTES).map(str::to_owned))?,
            reason: from.or_null(ReasonClaim::read)?,
            order: from.or_null(|it| {
                it.array_of(3)?;
                Ok(OrderClaim {
                    digest: it.digest()?,
                    at: it.or_null(Reader::instant)?,
                    by: it.or_null(|it| it.text(ACTOR_MAX_BYTES).map(str::to_owned))?,
                })
            })?,
            event: from.number()?,
            read_from: from.number()?,
            last_allowed: from.or_null(|it| {
                it.array_of(3)?;
                Ok(AllowedClaim {
                    index: it.number()?,
                    time: it.instant()?,
                    leaf: it.digest()?,
                })
            })?,
            first_denied: from.or_null(|it| {
                it.array_of(2)?;
                Ok(DeniedClaim {
                    index: it.number()?,
                    time: it.instant()?,
                })
            })?,
        })
    }

    /// Whether it can have been said in an entry of a log.
    fn check(&self, index: u64) -> Result<(), CertificateError> {
        let allowed = self.last_allowed.map(|it| it.index);
        let denied = self.first_denied.map(|it| it.index);
        let wrong = if self.event >= index {
            "the event that it certifies comes after it in the log"
        } else if self.read_from > self.event {
            "the log was read from behind the event on"
        } else if allowed.is_some_and(|it| it >= index || it < self.read_from || it == self.event) {
            "the last decision that allowed something is not among the entries that were read"
        } else if denied.is_some_and(|it| it >= index || it <= self.event) {
            "the first decision that refused the key is not between the event and this entry"
        } else {
            return Ok(());
        };
        Err(CertificateError::Inconsistent(wrong))
    }
}

/// Checks a certificate with the log's policy and the keys of governance, and answers what it
/// certifies and by whose signatures. The bytes may come from anywhere.
///
/// # Errors
/// [`CertificateError`] says which link is broken.
pub fn check<'p>(
    bytes: &[u8],
    policy: &'p Policy,
    governance: &[Verifier],
) -> Result<(Certificate, Accepted<'p>), CertificateError> {
    let proof = Proof::parse(bytes)?;
    let accepted = proof.verify(&leaf_hash(proof.extra()), policy)?;
    let index = proof.index();
    let entry = Entry::decode(proof.extra()).map_err(CertificateError::Entry)?;
    let Entry::Revocation(revocation) = entry else {
        return Err(CertificateError::NotARevocation(index));
    };
    let (payload, key) = sign1::open(&revocation.cose, REVOCATION_CONTENT_TYPE, governance)?;
    if is_key_of_log(key, policy) {
        return Err(CertificateError::SameKey);
    }
    let claims = RevocationClaims::decode(payload).ok_or(CertificateError::Claims)?;
    if claims.origin != proof.checkpoint().checkpoint().origin() {
        return Err(CertificateError::OtherLog(claims.origin));
    }
    claims.check(index)?;
    let certificate = Certificate {
        claims,
        key: key.clone(),
        issued_at: revocation.time,
        index,
        checkpoint: proof.checkpoint().clone(),
    };
    Ok((certificate, accepted))
}

/// Whether governance signs with a key that the log is trusted to sign with.
pub(super) fn is_key_of_log(key: &Verifier, policy: &Policy) -> bool {
    policy
        .logs()
        .iter()
        .any(|log| log.verifier.is_same_key(key))
}

#[cfg(test)]
mod tests;
