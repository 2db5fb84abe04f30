//! How large a certificate becomes: never more than [`CERTIFICATE_MAX_BYTES`].
//!
//! What governance signs is bounded: a long reason is cut, and committed to by its digest. The path
//! has at most 63 hashes, and both fit beside the log's Ed25519 signature, whatever they hold. What
//! is left is for the other signatures of the checkpoint: the log's ML-DSA-44 signature takes
//! 3.3 KB, a cosignature some 170 bytes. Those that fit are kept, the log's first.

use super::CertificateError;
use crate::tlog::note::Signature;
use crate::tlog::proof::Proof;

/// The largest certificate.
pub const CERTIFICATE_MAX_BYTES: usize = 6 * 1_024;

/// A certificate that is small enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limited {
    /// The certificate.
    pub proof: Proof,
    /// The names of those whose signatures did not fit, in the order of the checkpoint.
    pub left_out: Vec<String>,
}

/// A proof of a revocation with as many signatures of its checkpoint as a certificate has room for.
///
/// # Errors
/// [`CertificateError::TooLarge`] when not even one of the log fits.
pub fn limited(proof: &Proof) -> Result<Limited, CertificateError> {
    let checkpoint = proof.checkpoint();
    let origin = checkpoint.checkpoint().origin();
    let line_bytes = |it: &Signature| it.to_string().len().saturating_add(1);
    let signed: usize = checkpoint.signatures().iter().map(line_bytes).sum();
    let mut bytes = proof.to_string().len().saturating_sub(signed);
    let is_own = |it: &&Signature| it.name() == origin;
    let (own, others): (Vec<_>, Vec<_>) = checkpoint.signatures().iter().partition(is_own);
    let mut kept = Vec::new();
    for signature in own.iter().chain(&others) {
        let with = bytes.saturating_add(line_bytes(signature));
        if with <= CERTIFICATE_MAX_BYTES {
            bytes = with;
            kept.push(*signature);
        }
    }
    if !kept.iter().any(is_own) {
        return Err(CertificateError::TooLarge(proof.to_string().len()));
    }
    let is_kept = |it: &Signature| kept.contains(&it);
    let left_out = checkpoint.signatures().iter().filter(|it| !is_kept(it));
    let left_out = left_out.map(|it| it.name().to_owned()).collect();
    let checkpoint = checkpoint.with_signatures(is_kept);
    let checkpoint = checkpoint.ok_or(CertificateError::TooLarge(bytes))?;
    let proof = Proof::new(proof.index(), proof.hashes().to_vec(), checkpoint)?
        .with_extra(proof.extra().to_vec())?;
    Ok(Limited { proof, left_out })
}
