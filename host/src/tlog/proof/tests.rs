//! A proof that none of our code has made, and every way in which one can be wrong.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::tlog::merkle::{TreeHead, leaf_hash};

/// A file of `tests/golden/tlog`, which was made with Python.
fn golden(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/tlog");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn policy() -> Policy {
    Policy::parse(golden("policy.txt").as_bytes()).unwrap()
}

fn text() -> String {
    golden("entry-13.tlog-proof")
}

fn parse(text: &str) -> Result<Proof, ProofError> {
    Proof::parse(text.as_bytes())
}

#[test]
fn a_proof_of_others_is_verified_and_written_again() {
    let (text, policy) = (text(), policy());
    let proof = parse(&text).unwrap();
    assert_eq!(proof.to_string(), text);
    assert_eq!((proof.index(), proof.extra()), (13, &b"entry 13"[..]));
    let accepted = proof.verify(&leaf_hash(proof.extra()), &policy).unwrap();
    assert_eq!(accepted.logs.len(), 2);
    let witnesses: Vec<_> = accepted
        .witnesses
        .iter()
        .map(|(witness, time)| (&*witness.name, *time))
        .collect();
    assert_eq!(witnesses, [("w1", 1_795_428_002), ("w2", 1_795_428_003)]);
}

#[test]
fn what_a_proof_does_not_prove() {
    let (text, policy) = (text(), policy());
    let leaf = leaf_hash(b"entry 13");
    let wrong_root = Err(ProofError::Included(MerkleError::WrongRoot));
    let proof = parse(&text).unwrap();
    assert_eq!(proof.verify(&leaf_hash(b"entry 12"), &policy), wrong_root);
    let moved = parse(&text.replace("index 13", "index 12")).unwrap();
    assert_eq!(moved.verify(&leaf, &policy), wrong_root);
    let beyond = parse(&text.replace("index 13", "index 21")).unwrap();
    let index = MerkleError::Index {
        index: 21,
        size: 21,
    };
    let outside = Err(ProofError::Included(index));
    assert_eq!(beyond.verify(&leaf, &policy), outside);
    // The extra bytes are nobody's.
    let other = proof.clone().with_extra(b"other".to_vec()).unwrap();
    assert!(other.verify(&leaf, &policy).is_ok());
    let without = proof.with_extra(Vec::new()).unwrap();
    assert!(!without.to_string().contains("extra"));
    assert_eq!(parse(&without.to_string()), Ok(without));
}

#[test]
fn a_proof_needs_the_log_and_the_quorum() {
    let (text, policy) = (text(), policy());
    let leaf = leaf_hash(b"entry 13");
    let without = |start: &str| {
        let is_kept = |line: &&str| !line.starts_with(start);
        let lines: Vec<_> = text.lines().filter(is_kept).collect();
        let proof = parse(&(lines.join("\n") + "\n")).unwrap();
        proof.verify(&leaf, &policy).map(|_| ())
    };
    assert_eq!(without("nothing"), Ok(()));
    let no_log = Err(ProofError::Reject(RejectError::NoLog));
    assert_eq!(without("— keyward.example/prod-eu "), no_log);
    let no_quorum = RejectError::NoQuorum { count: 1 };
    let no_quorum = Err(ProofError::Reject(no_quorum));
    for witness in ["— witness.example/w1 ", "— witness.example/w2 "] {
        assert_eq!(without(witness), no_quorum);
    }
}

#[test]
fn what_is_not_a_proof() {
    let text = text();
    for (from, to, error) in [
        ("@v1", "@v2", ProofError::FirstLine),
        ("c2sp", "\nc2sp", ProofError::FirstLine),
        ("extra ", "extra  ", ProofError::Extra),
        ("ZW50cnkgMTM=", "ZW50cnkgMTM", ProofError::Extra),
        ("ZW50cnkgMTM=", "", ProofError::Extra),
        ("extra ", "Extra ", ProofError::Index),
        ("index 13", "index 013", ProofError::Index),
        ("index 13", "index", ProofError::Index),
        ("index 13", "index 18446744073709551616", ProofError::Index),
        ("index 13\n", "index 13\nAAAA\n", ProofError::Hash(4)),
        ("index 13\n", "index 13\r\n", ProofError::Index),
        ("\n\n", "\n", ProofError::NoCheckpoint),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from}");
        assert_eq!(parse(&changed), Err(error), "{from} {to}");
    }
    let trailing = text.clone() + "\n";
    assert!(matches!(parse(&trailing), Err(ProofError::Checkpoint(_))));
    assert!(Proof::parse(b"\xff").is_err());
    let head = text.split_once("\n\n").unwrap().0;
    assert_eq!(parse(head), Err(ProofError::NoCheckpoint));
}

#[test]
fn a_proof_has_limits() {
    let proof = parse(&text()).unwrap();
    let hash = Digest::of(b"");
    let checkpoint = proof.checkpoint().clone();
    let most = vec![hash; INCLUSION_HASHES_MAX];
    let most = Proof::new(u64::MAX, most, checkpoint.clone()).unwrap();
    let most = most.with_extra(vec![7; EXTRA_MAX_BYTES]).unwrap();
    let written = most.to_string();
    assert!(written.len() < PROOF_MAX_BYTES);
    assert_eq!(parse(&written), Ok(most.clone()));
    let one_more = written.replacen("\n\n", &format!("\n{}\n\n", encode_base64([0; 32])), 1);
    assert_eq!(parse(&one_more), Err(ProofError::TooManyHashes));
    let hashes = vec![hash; INCLUSION_HASHES_MAX + 1];
    let found = Proof::new(0, hashes, checkpoint);
    assert_eq!(found, Err(ProofError::TooManyHashes));
    let error = ProofError::ExtraTooLarge(EXTRA_MAX_BYTES + 1);
    assert_eq!(most.with_extra(vec![7; EXTRA_MAX_BYTES + 1]), Err(error));
    let large = vec![b'a'; PROOF_MAX_BYTES + 1];
    let error = ProofError::TooLarge(PROOF_MAX_BYTES + 1);
    assert_eq!(Proof::parse(&large), Err(error));
}

#[test]
fn a_log_of_one_entry_has_a_proof_of_no_hashes() {
    use crate::tlog::checkpoint::Checkpoint;
    use crate::tlog::key::{KeyType, Signer};
    let signer = Signer::from_seed(KeyType::Ed25519, "a", &[1; 32]).unwrap();
    let root = leaf_hash(b"");
    let checkpoint = Checkpoint::new("a", TreeHead { size: 1, root }).unwrap();
    let policy = format!("log {}\nquorum none\n", signer.verifier());
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let signed = SignedCheckpoint::sign(checkpoint, &[signer], 0).unwrap();
    let proof = Proof::new(0, Vec::new(), signed).unwrap();
    let read = parse(&proof.to_string()).unwrap();
    assert_eq!(read, proof);
    assert!(read.verify(&root, &policy).is_ok());
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>) {
        prop_assert!(Proof::parse(&bytes).is_err());
        let bytes = [FIRST_LINE.as_bytes(), b"\nindex 1\n\n", &bytes].concat();
        prop_assert!(Proof::parse(&bytes).is_err());
    }

    /// One changed bit before the extra bytes or behind them, and the proof is not one, or proves
    /// nothing, or is the same but for a signature that counted for nothing.
    #[test]
    fn a_changed_proof_proves_nothing(at: prop::sample::Index, bit in 0..8) {
        let policy = policy();
        let mut bytes = text().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        if let Ok(proof) = Proof::parse(&bytes) {
            prop_assert_eq!(proof.to_string().into_bytes(), bytes);
            let is_extra = proof.extra() != b"entry 13";
            match proof.verify(&leaf_hash(b"entry 13"), &policy) {
                // A line whose name or key id has changed is a stranger's, who is ignored.
                Ok(accepted) => prop_assert!(is_extra || accepted.logs.len() == 1),
                Err(_) => prop_assert!(!is_extra),
            }
        }
    }
}
