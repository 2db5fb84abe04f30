//! Requests and responses of witnesses.

use proptest::prelude::*;

use super::*;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::key::{KeyType, Signer};
use crate::tlog::merkle::TreeHead;

fn signer(key_type: KeyType, name: &str) -> Signer {
    Signer::from_seed(key_type, name, &[7; 32]).unwrap()
}

fn signed(size: u64, signer: Signer) -> SignedCheckpoint {
    let root = Digest::of(b"root");
    let checkpoint = Checkpoint::new("log.example", TreeHead { size, root }).unwrap();
    SignedCheckpoint::sign(checkpoint, &[signer], 5).unwrap()
}

fn checkpoint() -> SignedCheckpoint {
    signed(20, signer(KeyType::Ed25519, "log.example"))
}

#[test]
fn a_request_is_read_as_it_is_written() {
    let hash = Digest::of(b"");
    for (old, hashes) in [(0, 0), (20, 0), (7, 1), (7, PROOF_HASHES_MAX)] {
        let request = AddCheckpoint::new(old, vec![hash; hashes], checkpoint()).unwrap();
        let body = request.to_string();
        assert_eq!(AddCheckpoint::parse(body.as_bytes()), Ok(request.clone()));
        assert_eq!((request.old(), request.proof().len()), (old, hashes));
        assert_eq!(request.checkpoint(), &checkpoint());
    }
    let request = AddCheckpoint::new(7, vec![hash], checkpoint()).unwrap();
    let expected = "old 7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\nlog.example\n20\n";
    assert!(request.to_string().starts_with(expected));
}

#[test]
fn what_is_not_a_request() {
    let hash = encode_base64(Digest::of(b"").as_bytes());
    let signed = checkpoint().to_string();
    let many = format!("{hash}\n").repeat(PROOF_HASHES_MAX + 1);
    for (body, error) in [
        (String::new(), WitnessError::NoCheckpoint),
        (format!("old 1\n{signed}"), WitnessError::Proof(2)),
        (format!("\n\n{signed}"), WitnessError::Old),
        (format!("old\n\n{signed}"), WitnessError::Old),
        (format!("old 01\n\n{signed}"), WitnessError::Old),
        (format!("old -1\n\n{signed}"), WitnessError::Old),
        (format!("old 1 \n\n{signed}"), WitnessError::Old),
        (format!("old 1\nAAAA\n\n{signed}"), WitnessError::Proof(2)),
        (
            format!("old 1\n{hash}\n{hash} \n\n{signed}"),
            WitnessError::Proof(3),
        ),
        (
            format!("old 1\n{many}\n{signed}"),
            WitnessError::TooManyHashes,
        ),
        (
            format!("old 0\n{hash}\n\n{signed}"),
            WitnessError::ProofFromEmpty,
        ),
        (
            format!("old 21\n\n{signed}"),
            WitnessError::OldTooLarge { old: 21, new: 20 },
        ),
        (
            format!("old 1\n\n\n{signed}"),
            CheckpointError::Text {
                line: 2,
                expected: "a tree size: a decimal number without leading zeros",
            }
            .into(),
        ),
    ] {
        let found = AddCheckpoint::parse(body.as_bytes());
        assert_eq!(found, Err(error), "{body}");
    }
    let (found, max) = (REQUEST_MAX_BYTES + 1, REQUEST_MAX_BYTES);
    let large = vec![b'a'; found];
    let error = WitnessError::TooLarge { found, max };
    assert_eq!(AddCheckpoint::parse(&large), Err(error));
    let utf8 = AddCheckpoint::parse(b"\xff");
    assert_eq!(utf8, Err(CheckpointError::from(NoteError::Utf8).into()));
}

#[test]
fn responses_by_status() {
    for (status, body, response) in [
        (400, &b"anything\xff"[..], Response::Malformed),
        (403, b"", Response::Untrusted),
        (404, b"", Response::UnknownLog),
        (409, b"0\n", Response::Conflict { size: 0 }),
        (409, b"20852163\n", Response::Conflict { size: 20_852_163 }),
        (422, b"", Response::Inconsistent),
    ] {
        assert_eq!(Response::parse(status, body), Ok(response));
    }
    for body in [
        &b""[..],
        b"1",
        b"01\n",
        b"1\n\n",
        b"1\r\n",
        b"-1\n",
        b"\xff\n",
    ] {
        assert_eq!(Response::parse(409, body), Err(WitnessError::Size));
    }
    for status in [0, 100, 201, 301, 429, 500] {
        let found = Response::parse(status, b"");
        assert_eq!(found, Err(WitnessError::Status(status)));
    }
    let no_lines = WitnessError::Cosignatures(NoteError::Signature);
    assert_eq!(Response::parse(200, b""), Err(no_lines));
    let (found, max) = (RESPONSE_MAX_BYTES + 1, RESPONSE_MAX_BYTES);
    let error = WitnessError::TooLarge { found, max };
    assert_eq!(Response::parse(400, &vec![0; found]), Err(error));
}

#[test]
fn cosignatures_join_the_checkpoint() {
    let mut checkpoint = checkpoint();
    let witness = signer(KeyType::MlDsa44Cosignature, "witness.example");
    let known = [witness.verifier().clone()];
    let answer = signed(20, witness).signatures()[0].to_string() + "\n";
    let Ok(Response::Cosigned(cosignatures)) = Response::parse(200, answer.as_bytes()) else {
        panic!("{answer}");
    };
    assert_eq!(checkpoint.add_cosignatures(&cosignatures, &known), Ok(()));
    assert_eq!(checkpoint.verify(&known).unwrap().len(), 1);
    // A cosignature of another tree is none of this one.
    let witness = signer(KeyType::MlDsa44Cosignature, "witness.example");
    let other = signed(21, witness).signatures().to_vec();
    assert!(checkpoint.add_cosignatures(&other, &known).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_answered(status: u16, bytes: Vec<u8>) {
        prop_assert!(AddCheckpoint::parse(&bytes).is_err());
        let _ = Response::parse(status, &bytes);
        let _ = Response::parse(200, &bytes);
        let _ = Response::parse(409, &bytes);
    }

    #[test]
    fn a_changed_request_is_another(at: prop::sample::Index, byte: u8) {
        let request = AddCheckpoint::new(7, vec![Digest::of(b""); 2], checkpoint()).unwrap();
        let mut body = request.to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(other) = AddCheckpoint::parse(&body) {
            prop_assert_eq!(other.to_string().into_bytes(), body);
        }
    }
}
