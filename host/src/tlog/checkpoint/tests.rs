//! Checkpoints: their exact text, who has signed, and what is not one.

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

const ORIGIN: &str = "keyward.example/prod-eu";
const TIME_SECS: u64 = 1_795_428_000;

fn checkpoint() -> Checkpoint {
    let root = Digest::of(b"root");
    Checkpoint::new(ORIGIN, TreeHead { size: 21, root }).unwrap()
}

fn signer(key_type: KeyType, name: &str, seed: u8) -> Signer {
    Signer::from_seed(key_type, name, &[seed; 32]).unwrap()
}

/// The two keys of the log, and two of witnesses.
fn signers() -> [Signer; 4] {
    [
        signer(KeyType::Ed25519, ORIGIN, 7),
        signer(KeyType::MlDsa44Cosignature, ORIGIN, 9),
        signer(KeyType::Ed25519Cosignature, "w1", 8),
        signer(KeyType::MlDsa44Cosignature, "w2", 10),
    ]
}

fn verifiers(signers: &[Signer]) -> Vec<Verifier> {
    signers.iter().map(|it| it.verifier().clone()).collect()
}

#[test]
fn the_text_is_the_one_of_the_specification() {
    let text = "example.com/behind-the-sofa\n20852163\n\
                CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let checkpoint: Checkpoint = text.parse().unwrap();
    assert_eq!(checkpoint.origin(), "example.com/behind-the-sofa");
    assert_eq!(checkpoint.head().size, 20_852_163);
    assert_eq!(checkpoint.to_string(), text);
    assert_eq!(
        checkpoint.message(KeyType::Ed25519Cosignature, "w", 1_679_315_147),
        format!("cosignature/v1\ntime 1679315147\n{text}").as_bytes()
    );
    let subtree = checkpoint.message(KeyType::MlDsa44Cosignature, "w", 2);
    let (origin, root) = (checkpoint.origin(), checkpoint.head().root);
    let expected: [&[u8]; 8] = [
        b"subtree/v1\n\0",
        b"\x01w",
        b"\0\0\0\0\0\0\0\x02",
        b"\x1b",
        origin.as_bytes(),
        b"\0\0\0\0\0\0\0\0",
        b"\0\0\0\0\x01\x3e\x2d\xc3",
        root.as_bytes(),
    ];
    assert_eq!(subtree, expected.concat());
}

#[test]
fn extension_lines_are_kept_and_signed() {
    let text = format!("{}one\n— two\n", checkpoint());
    let checkpoint: Checkpoint = text.parse().unwrap();
    assert_eq!(checkpoint.extensions(), ["one", "— two"]);
    assert_eq!(checkpoint.to_string(), text);
    let signers = [signer(KeyType::Ed25519, ORIGIN, 7)];
    let signed = SignedCheckpoint::sign(checkpoint, &signers, 0).unwrap();
    let without = signed.to_string().replace("one\n", "");
    let without = SignedCheckpoint::parse(without.as_bytes()).unwrap();
    assert!(signed.verify(&verifiers(&signers)).is_ok());
    assert!(without.verify(&verifiers(&signers)).is_err());
}

#[test]
fn what_is_not_a_checkpoint() {
    let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
    let long = "a".repeat(ORIGIN_MAX_BYTES + 1);
    for (text, line) in [
        (String::new(), 0),
        ("\n".to_owned(), 2),
        (format!("a\n1\n{root}"), 3),
        (format!("\n1\n{root}\n"), 1),
        (format!("{long}\n1\n{root}\n"), 1),
        (format!("a\tb\n1\n{root}\n"), 1),
        ("a\n1\n".to_owned(), 3),
        (format!("a\n01\n{root}\n"), 2),
        (format!("a\n+1\n{root}\n"), 2),
        (format!("a\n\n{root}\n"), 2),
        (format!("a\n9223372036854775808\n{root}\n"), 2),
        (format!("a\n18446744073709551616\n{root}\n"), 2),
        (format!("a\n0\n{root}\n"), 3),
        (format!("a\n1\n{root} \n"), 3),
        (format!("a\n1\n{}\n", root.replace("2I=", "2J=")), 3),
        (format!("a\n1\n{}\n", root.replace('=', "")), 3),
        ("a\n1\nAAAA\n".to_owned(), 3),
        (format!("a\n1\n{root}\n\n"), 4),
        (format!("a\n1\n{root}\nb\n\nc\n"), 5),
    ] {
        match text.parse::<Checkpoint>() {
            Err(CheckpointError::Text { line: found, .. }) => assert_eq!(found, line, "{text:?}"),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    let empty = TreeHead {
        size: 0,
        root: empty_root(),
    };
    assert!(Checkpoint::new("a", empty).is_ok());
    let large = "a".repeat(CHECKPOINT_MAX_BYTES + 1);
    assert!(large.parse::<Checkpoint>().is_err());
}

#[test]
fn who_has_signed_and_when() {
    let signers = signers();
    let signed = SignedCheckpoint::sign(checkpoint(), &signers, TIME_SECS).unwrap();
    let text = signed.to_string();
    assert!(text.starts_with("keyward.example/prod-eu\n21\n"));
    assert_eq!(SignedCheckpoint::parse(text.as_bytes()), Ok(signed.clone()));

    let known = verifiers(&signers);
    let found = signed.verify(&known).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.verifier().name(), it.time_secs()))
        .collect();
    let time = Some(TIME_SECS);
    let expected = [(ORIGIN, None), (ORIGIN, time), ("w1", time), ("w2", time)];
    assert_eq!(found, expected);

    assert_eq!(signed.verify(&known[2..3]).unwrap().len(), 1);
    let strangers = [
        signer(KeyType::Ed25519, ORIGIN, 8),  // the name, another id
        signer(KeyType::Ed25519, "w1", 8),    // the name and the key, another type
        signer(KeyType::Ed25519, "other", 7), // the key, another name
    ];
    let none = Err(CheckpointError::NoKnownSignature);
    assert_eq!(signed.verify(&verifiers(&strangers)), none);
    assert_eq!(signed.verify([]), none);
}

#[test]
fn a_wrong_signature_of_a_known_key_is_an_error() {
    let signers = signers();
    let known = verifiers(&signers);
    let signed = SignedCheckpoint::sign(checkpoint(), &signers, TIME_SECS).unwrap();
    for (at, signer) in signers.iter().enumerate() {
        let name = signer.verifier().name().to_owned();
        let key_id = signer.verifier().key_id();
        let wrong = Err(CheckpointError::WrongSignature { name, key_id });
        let length = signed.signatures[at].bytes().len();
        // A cosignature begins with its time, which is signed as well.
        for byte in [0, 7, 8, length - 1, length] {
            let mut changed = signed.clone();
            let line = &changed.signatures[at];
            let mut bytes = line.bytes().to_vec();
            match bytes.get_mut(byte) {
                Some(byte) => *byte ^= 1,
                None => bytes.push(0),
            }
            let line = Signature::new(line.name().to_owned(), line.key_id(), bytes);
            changed.signatures[at] = line;
            assert_eq!(changed.verify(&known), wrong, "{at}, {byte}");
            let others = known.iter().enumerate().filter(|(it, _)| *it != at);
            let others = others.map(|(_, verifier)| verifier);
            assert_eq!(changed.verify(others).unwrap().len(), 3);
        }
    }
    let text = signed.to_string().replacen("\n21\n", "\n22\n", 1);
    let moved = SignedCheckpoint::parse(text.as_bytes()).unwrap();
    for verifier in &known {
        let found = moved.verify([verifier]).unwrap_err();
        assert!(matches!(found, CheckpointError::WrongSignature { .. }));
    }
}

#[test]
fn keys_with_the_same_name_and_id_are_told_apart() {
    let one = signer(KeyType::Ed25519, ORIGIN, 7);
    let mut signed = SignedCheckpoint::sign(checkpoint(), &[one], 0).unwrap();
    let known = [signer(KeyType::Ed25519, ORIGIN, 7).verifier().clone()];
    // The same key twice, as a log and as a witness of a policy for example.
    assert_eq!(signed.verify(known.iter().chain(&known)).unwrap().len(), 2);
    // A line twice is a signature twice.
    signed.signatures.push(signed.signatures[0].clone());
    assert_eq!(signed.verify(&known).unwrap().len(), 2);
}

#[test]
fn signing_has_limits() {
    let late = SignedCheckpoint::sign(checkpoint(), &signers(), TIME_MAX_SECS + 1);
    assert_eq!(late, Err(CheckpointError::Time(TIME_MAX_SECS + 1)));
    let last = SignedCheckpoint::sign(checkpoint(), &signers(), TIME_MAX_SECS).unwrap();
    assert!(last.verify(&verifiers(&signers())).is_ok());
    let unsigned = SignedCheckpoint::sign(checkpoint(), &[], 0);
    assert_eq!(unsigned, Err(NoteError::NoSignatures.into()));
    let many: Vec<_> = (0..=SIGNATURES_MAX)
        .map(|_| signer(KeyType::Ed25519, "a", 1))
        .collect();
    let error = NoteError::TooManySignatures(SIGNATURES_MAX + 1);
    let found = SignedCheckpoint::sign(checkpoint(), &many, 0);
    assert_eq!(found, Err(error.into()));
    // The largest that we sign is not too large to read: the longest names, all ML-DSA.
    let origin = "o".repeat(ORIGIN_MAX_BYTES);
    let head = TreeHead {
        size: SIZE_MAX,
        root: empty_root(),
    };
    let long = Checkpoint::new(&origin, head).unwrap();
    let mut largest =
        SignedCheckpoint::sign(long, &[signer(KeyType::MlDsa44Cosignature, &origin, 1)], 1)
            .unwrap();
    largest.signatures = vec![largest.signatures[0].clone(); SIGNATURES_MAX];
    let text = largest.to_string();
    assert_eq!(SignedCheckpoint::parse(text.as_bytes()), Ok(largest));
}

#[test]
fn cosignatures_are_added_once_and_only_of_witnesses() {
    let [log, log_too, w1, w2] = signers();
    let witnesses = verifiers(&[w1, w2]);
    let [.., w1, w2] = signers();
    let mut signed = SignedCheckpoint::sign(checkpoint(), &[log, log_too], 5).unwrap();
    let cosigned = |signers: &[Signer], time| {
        let signed = SignedCheckpoint::sign(checkpoint(), signers, time).unwrap();
        signed.signatures().to_vec()
    };
    let before = signed.clone();
    let no_time = Err(CheckpointError::NoTime("w1".to_owned()));
    let zero = cosigned(&[signer(KeyType::Ed25519Cosignature, "w1", 8)], 0);
    assert_eq!(signed.add_cosignatures(&zero, &witnesses), no_time);
    let stranger = cosigned(&[signer(KeyType::Ed25519Cosignature, "w3", 11)], 5);
    let none = Err(CheckpointError::NoKnownSignature);
    assert_eq!(signed.add_cosignatures(&stranger, &witnesses), none);
    let mut wrong = cosigned(&[signer(KeyType::Ed25519Cosignature, "w1", 8)], 5);
    let bytes = vec![0; 72];
    wrong[0] = Signature::new("w1".to_owned(), wrong[0].key_id(), bytes);
    assert!(signed.add_cosignatures(&wrong, &witnesses).is_err());
    assert_eq!(signed, before);

    let both = [cosigned(&[w1, w2], 6), stranger].concat();
    assert_eq!(signed.add_cosignatures(&both, &witnesses), Ok(()));
    assert_eq!(signed.signatures().len(), 4);
    let later = cosigned(&[signer(KeyType::Ed25519Cosignature, "w1", 8)], 9);
    assert_eq!(signed.add_cosignatures(&later, &witnesses), Ok(()));
    assert_eq!(signed.signatures().len(), 4);
    let times: Vec<_> = signed.verify(&witnesses).unwrap();
    let times: Vec<_> = times.iter().map(Verified::time_secs).collect();
    assert_eq!(times, [Some(6), Some(9)]);

    let full = vec![before.signatures[0].clone(); SIGNATURES_MAX];
    let mut full = SignedCheckpoint {
        signatures: full,
        ..before
    };
    let error = NoteError::TooManySignatures(SIGNATURES_MAX + 1);
    assert_eq!(full.add_cosignatures(&later, &witnesses), Err(error.into()));
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes: Vec<u8>, text: String) {
        let _ = SignedCheckpoint::parse(&bytes);
        let _ = text.parse::<Checkpoint>();
    }

    #[test]
    fn a_checkpoint_is_read_as_it_is_written(
        origin in "[^\u{0}-\u{1f}]{1,60}", size in 1..=SIZE_MAX, root: [u8; 32],
        extensions in prop::collection::vec("[^\u{0}-\u{1f}]{1,9}", 0..3),
    ) {
        let root = Digest::from_bytes(root);
        let mut checkpoint = Checkpoint::new(&origin, TreeHead { size, root }).unwrap();
        checkpoint.extensions = extensions;
        let text = checkpoint.to_string();
        prop_assert_eq!(text.parse(), Ok(checkpoint));
    }

    /// Whatever is read is written again as it was, and no change of the text is signed.
    #[test]
    fn a_changed_checkpoint_is_another(at: prop::sample::Index, byte: u8) {
        let signers = [signer(KeyType::Ed25519, ORIGIN, 7)];
        let signed = SignedCheckpoint::sign(checkpoint(), &signers, 0).unwrap();
        let mut bytes = signed.to_string().into_bytes();
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        if let Ok(other) = SignedCheckpoint::parse(&bytes) {
            prop_assert_eq!(other.to_string().into_bytes(), bytes);
            prop_assert!(other.verify(&verifiers(&signers)).is_err());
        }
    }
}
