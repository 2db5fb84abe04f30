//! Statements about a checkpoint that is made here.

use proptest::prelude::*;

use super::*;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::key::KeyType;
use crate::tlog::merkle::{Tree, leaf_hash};

const ORIGIN: &str = "keyward.example/a";

fn key(seed: u8, name: &str) -> Signer {
    Signer::from_seed(KeyType::Ed25519, name, &[seed; 32]).unwrap()
}

fn policy(seed: u8) -> Policy {
    let text = format!("log {}\nquorum none\n", key(seed, ORIGIN).verifier());
    Policy::parse(text.as_bytes()).unwrap()
}

fn claims() -> NoAllowClaims {
    let tree: Tree = (0..5_u8).map(|it| leaf_hash(&[it])).collect();
    let checkpoint = Checkpoint::new(ORIGIN, tree.head()).unwrap();
    NoAllowClaims {
        issued_at: Timestamp::from_millis(10),
        key: "k7Qp2mXw9LaR".parse().unwrap(),
        from: 2,
        decisions: 1,
        checkpoint: SignedCheckpoint::sign(checkpoint, &[key(7, ORIGIN)], 0).unwrap(),
    }
}

fn checked(bytes: &[u8]) -> Result<Statement, StatementError> {
    let keys = [key(8, "governance").verifier().clone()];
    Statement::check(bytes, &policy(7), &keys).map(|(statement, _)| statement)
}

fn signed(payload: &[u8]) -> Vec<u8> {
    sign1::sign(&key(8, "governance"), (NO_ALLOW_CONTENT_TYPE, payload)).unwrap()
}

#[test]
fn claims_have_these_bytes_for_ever() {
    let bytes = claims().encode();
    let checkpoint = claims().checkpoint.to_string();
    let expected = "89 01 71 6b6579776172642e6578616d706c652f61 6c 6b375170326d5877394c6152
                    0a 02 05 01 00 78";
    let start = &bytes[..bytes.len() - checkpoint.len() - 1];
    let written: String = start.iter().map(|it| format!("{it:02x}")).collect();
    assert_eq!(written, expected.replace([' ', '\n'], ""));
    assert!(bytes.ends_with(checkpoint.as_bytes()));
}

#[test]
fn a_statement_is_checked() {
    let found = checked(&claims().sign(&key(8, "governance")).unwrap()).unwrap();
    assert_eq!(found.claims, claims());
}

#[test]
fn each_link_that_breaks_is_named() {
    let good = claims().sign(&key(8, "governance")).unwrap();
    let keys = [key(8, "governance").verifier().clone()];
    let error = |policy: &Policy, bytes: &[u8]| Statement::check(bytes, policy, &keys).unwrap_err();
    assert!(matches!(
        error(&policy(9), &good),
        StatementError::Reject(RejectError::NoLog)
    ));
    assert!(matches!(error(&policy(8), &good), StatementError::SameKey));
    let other = claims().sign(&key(9, "governance")).unwrap();
    assert!(matches!(
        checked(&other).unwrap_err(),
        StatementError::Sign1(Sign1Error::UnknownKey(_))
    ));
    let large = vec![0xd2; STATEMENT_MAX_BYTES + 1];
    assert!(matches!(
        checked(&large).unwrap_err(),
        StatementError::TooLarge(_)
    ));
    // As a revocation it is not signed, nor the other way round.
    let as_other = sign1::sign(
        &key(8, "governance"),
        (
            super::super::certificate::REVOCATION_CONTENT_TYPE,
            &claims().encode(),
        ),
    );
    assert!(matches!(
        checked(&as_other.unwrap()).unwrap_err(),
        StatementError::Sign1(Sign1Error::ContentType(_))
    ));
    let empty = NoAllowClaims {
        from: 5,
        ..claims()
    };
    assert!(matches!(
        checked(&signed(&empty.encode())).unwrap_err(),
        StatementError::Claims
    ));
}

/// Another origin, another end, or something that was allowed, under governance's own signature.
#[test]
fn what_governance_signs_has_to_fit_its_checkpoint() {
    let bytes = claims().encode();
    for (at, byte) in [(3, b'K'), (35, 4), (37, 1)] {
        let mut changed = bytes.clone();
        assert_ne!(changed[at], byte, "{at}");
        changed[at] = byte;
        let found = checked(&signed(&changed)).unwrap_err();
        assert!(matches!(found, StatementError::Claims), "{at}: {found}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_no_statement(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(checked(&bytes).is_err());
        prop_assert!(checked(&signed(&bytes)).is_err());
    }

    #[test]
    fn changed_claims_are_refused_or_others(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = claims().encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(found) = checked(&signed(&bytes)) {
            prop_assert_eq!(found.claims.encode(), bytes);
        }
    }
}
