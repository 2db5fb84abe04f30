//! Claims and the certificates of small trees that are made here.

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::log::Revocation;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::key::KEY_NAME_MAX_BYTES;
use crate::tlog::key::KeyType;
use crate::tlog::merkle::{INCLUSION_HASHES_MAX, Tree, TreeHead, inclusion_proof};
use crate::tlog::note::SIGNATURES_MAX;

const ORIGIN: &str = "keyward.example/a";

fn log_key() -> Signer {
    Signer::from_seed(KeyType::Ed25519, ORIGIN, &[7; 32]).unwrap()
}

fn governance(seed: u8) -> Signer {
    let name = format!("{ORIGIN}/governance");
    Signer::from_seed(KeyType::Ed25519, &name, &[seed; 32]).unwrap()
}

fn policy() -> Policy {
    let text = format!("log {}\nquorum none\n", log_key().verifier());
    Policy::parse(text.as_bytes()).unwrap()
}

fn claims() -> RevocationClaims {
    RevocationClaims {
        origin: ORIGIN.to_owned(),
        key: "k7Qp2mXw9LaR".parse().unwrap(),
        key_record: Digest::from_bytes([0x11; 32]),
        revoked_at: Timestamp::from_millis(10),
        by: Some("bea".to_owned()),
        reason: Some(ReasonClaim::of("leak")),
        order: Some(OrderClaim {
            digest: Digest::from_bytes([0x22; 32]),
            at: Some(Timestamp::from_millis(9)),
            by: Some("ann".to_owned()),
        }),
        event: 3,
        read_from: 0,
        last_allowed: Some(AllowedClaim {
            index: 1,
            time: Timestamp::from_millis(5),
            leaf: Digest::from_bytes([0x33; 32]),
        }),
        first_denied: Some(DeniedClaim {
            index: 4,
            time: Timestamp::from_millis(11),
        }),
    }
}

/// A proof that entry 5 of a log is what governance has signed.
fn certificate(entry: &[u8], origin: &str) -> Vec<u8> {
    let leaves: Vec<_> = (0..5_u8)
        .map(|it| leaf_hash(&[it]))
        .chain([leaf_hash(entry)])
        .collect();
    let tree: Tree = leaves.iter().copied().collect();
    let node = |level: u8, index: u64| {
        let first = usize::try_from(index << level).unwrap();
        let part: Tree = leaves[first..first + (1 << level)]
            .iter()
            .copied()
            .collect();
        Ok::<_, ProofError>(part.root())
    };
    let hashes = inclusion_proof(5, 6, node).unwrap();
    let checkpoint = Checkpoint::new(origin, tree.head()).unwrap();
    let key = Signer::from_seed(KeyType::Ed25519, origin, &[7; 32]).unwrap();
    let signed = SignedCheckpoint::sign(checkpoint, &[key], 0).unwrap();
    let proof = Proof::new(5, hashes, signed).unwrap();
    proof
        .with_extra(entry.to_vec())
        .unwrap()
        .to_string()
        .into_bytes()
}

fn entry(cose: Vec<u8>) -> Vec<u8> {
    let time = Timestamp::from_millis(20);
    Entry::Revocation(Revocation { time, cose }).encode()
}

fn issued(claims: &RevocationClaims, signer: &Signer) -> Vec<u8> {
    certificate(&entry(claims.sign(signer).unwrap()), ORIGIN)
}

fn checked(bytes: &[u8]) -> Result<Certificate, CertificateError> {
    let keys = [governance(8).verifier().clone()];
    check(bytes, &policy(), &keys).map(|(certificate, _)| certificate)
}

#[test]
fn claims_have_these_bytes_for_ever() {
    let (ones, twos, threes) = ("11".repeat(32), "22".repeat(32), "33".repeat(32));
    let expected = format!(
        "8c 01 71 6b6579776172642e6578616d706c652f61 6c 6b375170326d5877394c6152 5820{ones} 0a
         63 626561 64 6c65616b 83 5820{twos} 09 63 616e6e 03 00 83 01 05 5820{threes} 82 04 0b"
    );
    let written = claims()
        .encode()
        .iter()
        .map(|it| format!("{it:02x}"))
        .collect::<String>();
    assert_eq!(written, expected.replace([' ', '\n'], ""));
}

#[test]
fn a_long_reason_is_cut_and_committed_to() {
    for (reason, cut) in [
        ("r".repeat(CLAIM_REASON_MAX_BYTES), CLAIM_REASON_MAX_BYTES),
        ("r".repeat(1_024), CLAIM_REASON_MAX_BYTES),
        (format!("r{}", "é".repeat(500)), CLAIM_REASON_MAX_BYTES - 1),
    ] {
        let mut claims = claims();
        let claim = ReasonClaim::of(&reason);
        assert_eq!(Some(&*claim.text), reason.get(..cut));
        let whole = (cut < reason.len()).then(|| Digest::of(reason.as_bytes()));
        assert_eq!(claim.whole, whole);
        claims.reason = Some(claim);
        assert_eq!(RevocationClaims::decode(&claims.encode()), Some(claims));
    }
    let mut longer = claims();
    let text = "r".repeat(CLAIM_REASON_MAX_BYTES + 1);
    longer.reason = Some(ReasonClaim { text, whole: None });
    assert_eq!(RevocationClaims::decode(&longer.encode()), None);
}

/// Claims that are as long as any: every text, number and time has its most bytes.
fn longest(origin: &str, (name, reason): (usize, usize)) -> RevocationClaims {
    let late = Timestamp::from_millis(i64::MAX);
    let name = Some("n".repeat(name));
    RevocationClaims {
        origin: origin.to_owned(),
        revoked_at: late,
        by: name.clone(),
        reason: Some(ReasonClaim::of(&"r".repeat(reason))),
        order: Some(OrderClaim {
            digest: Digest::of(b"order"),
            at: Some(late),
            by: name,
        }),
        event: u64::MAX - 2,
        read_from: u64::MAX - 3,
        last_allowed: Some(AllowedClaim {
            index: u64::MAX,
            time: late,
            leaf: Digest::of(b"leaf"),
        }),
        first_denied: Some(DeniedClaim {
            index: u64::MAX,
            time: late,
        }),
        ..claims()
    }
}

/// A proof of claims with a path of so many hashes, signed by the log's two keys and witnesses.
fn signed(claims: &RevocationClaims, hashes: usize, witnesses: usize) -> Proof {
    let time = Timestamp::from_millis(i64::MAX);
    let name = "g".repeat(KEY_NAME_MAX_BYTES);
    let governance = Signer::from_seed(KeyType::Ed25519, &name, &[8; 32]).unwrap();
    let cose = claims.sign(&governance).unwrap();
    let entry = Entry::Revocation(Revocation { time, cose }).encode();
    assert!(Entry::decode(&entry).is_ok());
    let size = (1_u64 << hashes.min(63)).min(crate::tlog::merkle::SIZE_MAX);
    let head = TreeHead {
        size,
        root: Digest::of(b"root"),
    };
    let signer = |kind, name: &str| Signer::from_seed(kind, name, &[7; 32]).unwrap();
    let mut signers = vec![
        signer(KeyType::Ed25519, &claims.origin),
        signer(KeyType::MlDsa44Cosignature, &claims.origin),
    ];
    for witness in 0..witnesses {
        let name = format!("witness.example.org/{witness:02}");
        signers.push(signer(KeyType::Ed25519Cosignature, &name));
    }
    let checkpoint = Checkpoint::new(&claims.origin, head).unwrap();
    let signed = SignedCheckpoint::sign(checkpoint, &signers, 1_795_428_000).unwrap();
    let proof = Proof::new(size - 1, vec![Digest::of(b"hash"); hashes], signed).unwrap();
    proof.with_extra(entry).unwrap()
}

/// The largest certificate that there can be: the longest names, a tree as large as any, and as
/// many signatures as a checkpoint takes.
#[test]
fn no_certificate_is_larger_than_6_kb() {
    let origin = "o".repeat(ORIGIN_MAX_BYTES);
    let claims = longest(&origin, (ACTOR_MAX_BYTES, 1_024));
    let proof = signed(&claims, INCLUSION_HASHES_MAX, SIGNATURES_MAX - 2);
    assert!(proof.to_string().len() > 3 * CERTIFICATE_MAX_BYTES);
    let found = limited(&proof).unwrap();
    let text = found.proof.to_string();
    assert!(text.len() <= CERTIFICATE_MAX_BYTES, "{}", text.len());
    // The log's Ed25519 signature is there; the other is too long.
    let kept = found.proof.checkpoint().signatures();
    assert_eq!(kept[0].name(), origin);
    assert_eq!(found.left_out[0], origin);
    assert_eq!(kept.len() + found.left_out.len(), SIGNATURES_MAX);
    // The next one would not fit.
    let line = kept.last().unwrap().to_string().len() + 1;
    assert!(text.len() + line > CERTIFICATE_MAX_BYTES, "{}", text.len());
    assert_eq!(Proof::parse(text.as_bytes()), Ok(found.proof));
}

/// What is usual loses nothing: a log of a billion entries, both of its signatures, a witness.
#[test]
fn a_usual_certificate_has_all_signatures() {
    let claims = longest("keys.organisation.example/production", (32, 1_024));
    let all = signed(&claims, 30, 1);
    let found = limited(&all).unwrap();
    assert_eq!((found.left_out.len(), &found.proof), (0, &all));
    // Where the log's long signature has no room, a witness may have.
    let origin = "o".repeat(ORIGIN_MAX_BYTES);
    let found = limited(&signed(&longest(&origin, (256, 1_024)), 40, 1)).unwrap();
    assert_eq!(found.left_out, [origin]);
}

#[test]
fn a_certificate_certifies() {
    let found = checked(&issued(&claims(), &governance(8))).unwrap();
    assert_eq!(found.claims, claims());
    assert_eq!(
        (found.index, found.issued_at.millis(), found.key),
        (5, 20, governance(8).verifier().clone())
    );
    assert!(!found.claims.is_allowed_after());
    let mut late = claims();
    late.last_allowed.as_mut().unwrap().time = Timestamp::from_millis(11);
    assert!(late.is_allowed_after());
}

#[test]
fn each_link_that_breaks_is_named() {
    let by = |signer: &Signer| checked(&issued(&claims(), signer)).unwrap_err();
    assert!(matches!(
        by(&governance(9)),
        CertificateError::Sign1(Sign1Error::UnknownKey(_))
    ));
    let mut cose = claims().sign(&governance(8)).unwrap();
    *cose.last_mut().unwrap() ^= 1;
    assert!(matches!(
        checked(&certificate(&entry(cose), ORIGIN)).unwrap_err(),
        CertificateError::Sign1(Sign1Error::Signature(_))
    ));
    let other = Entry::Recovery(crate::log::Recovery {
        time: Timestamp::from_millis(0),
        dropped_bytes: 1,
        segment: 0,
    });
    assert_eq!(
        checked(&certificate(&other.encode(), ORIGIN)).unwrap_err(),
        CertificateError::NotARevocation(5)
    );
    assert!(matches!(
        checked(&certificate(b"x", ORIGIN)).unwrap_err(),
        CertificateError::Entry(_)
    ));
    let payload = sign1::sign(&governance(8), (REVOCATION_CONTENT_TYPE, b"x")).unwrap();
    assert_eq!(
        checked(&certificate(&entry(payload), ORIGIN)).unwrap_err(),
        CertificateError::Claims
    );
    let of_other = RevocationClaims {
        origin: "keyward.example/b".to_owned(),
        ..claims()
    };
    assert_eq!(
        checked(&issued(&of_other, &governance(8))).unwrap_err(),
        CertificateError::OtherLog("keyward.example/b".to_owned())
    );
    let entry = entry(claims().sign(&governance(8)).unwrap());
    assert_eq!(
        checked(&certificate(&entry, "keyward.example/b")).unwrap_err(),
        CertificateError::Proof(ProofError::Reject(crate::tlog::policy::RejectError::NoLog))
    );
    // The log's own key in the place of governance's, under its own name or another.
    let keys = [governance(7).verifier().clone()];
    let own = issued(&claims(), &governance(7));
    assert_eq!(
        check(&own, &policy(), &keys).unwrap_err(),
        CertificateError::SameKey
    );
}

#[test]
fn what_cannot_be_is_refused() {
    let refused = |change: fn(&mut RevocationClaims)| {
        let mut wrong = claims();
        change(&mut wrong);
        let found = checked(&issued(&wrong, &governance(8)));
        assert!(
            matches!(found, Err(CertificateError::Inconsistent(_))),
            "{wrong:?}"
        );
    };
    refused(|it| it.event = 5);
    refused(|it| it.read_from = 4);
    refused(|it| it.last_allowed.as_mut().unwrap().index = 5);
    refused(|it| it.last_allowed.as_mut().unwrap().index = 3);
    refused(|it| it.read_from = 2);
    refused(|it| it.first_denied.as_mut().unwrap().index = 3);
    refused(|it| it.first_denied.as_mut().unwrap().index = 5);
}

#[test]
fn any_changed_byte_is_refused() {
    let bytes = issued(&claims(), &governance(8));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(checked(&changed).is_err(), "{at}");
        }
        assert!(checked(&bytes[..at]).is_err(), "{at}");
    }
}

proptest! {
    #[test]
    fn claims_come_back(claims in any_claims()) {
        let bytes = claims.encode();
        prop_assert_eq!(RevocationClaims::decode(&bytes), Some(claims));
    }

    #[test]
    fn changed_claims_are_refused_or_others(
        claims in any_claims(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = claims.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Some(read) = RevocationClaims::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_no_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(checked(&bytes).is_err());
        prop_assert!(checked(&certificate(&bytes, ORIGIN)).is_err());
        prop_assert!(checked(&certificate(&entry(bytes), ORIGIN)).is_err());
    }
}

fn any_claims() -> impl Strategy<Value = RevocationClaims> {
    let instant = || any::<i64>().prop_map(Timestamp::from_millis);
    let digest = || any::<[u8; 32]>().prop_map(Digest::from_bytes);
    let said = || option::of(".{1,20}");
    let reason = option::of(".{1,120}".prop_map(|it| ReasonClaim::of(&it)));
    let order = (digest(), option::of(instant()), said());
    let order = order.prop_map(|(digest, at, by)| OrderClaim { digest, at, by });
    let allowed = (any::<u64>(), instant(), digest());
    let allowed = allowed.prop_map(|(index, time, leaf)| AllowedClaim { index, time, leaf });
    let denied = (any::<u64>(), instant()).prop_map(|(index, time)| DeniedClaim { index, time });
    let key = "[0-9A-Za-z]{12}".prop_map(|id| -> KeyId { id.parse().unwrap() });
    (
        (".{1,20}", key, digest(), instant()),
        (said(), reason, option::of(order)),
        (any::<u64>(), any::<u64>()),
        (option::of(allowed), option::of(denied)),
    )
        .prop_map(
            |((origin, key, key_record, revoked_at), (by, reason, order), indexes, last)| {
                RevocationClaims {
                    origin,
                    key,
                    key_record,
                    revoked_at,
                    by,
                    reason,
                    order,
                    event: indexes.0,
                    read_from: indexes.1,
                    last_allowed: last.0,
                    first_denied: last.1,
                }
            },
        )
}
