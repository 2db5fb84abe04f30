//! Golden keys, and every way in which a key's text can be wrong.

use proptest::prelude::*;

use super::*;

const NAME: &str = "keyward.example/prod-eu";
const SEED: [u8; 32] = [7; 32];
const VKEY: &str = "keyward.example/prod-eu+0c9dc446+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
const PRIVATE_KEY: &str = "PRIVATE+KEY+keyward.example/prod-eu+0c9dc446+\
                           AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
const TYPES: [KeyType; 3] = [
    KeyType::Ed25519,
    KeyType::Ed25519Cosignature,
    KeyType::MlDsa44Cosignature,
];

fn signer(key_type: KeyType) -> Signer {
    Signer::from_seed(key_type, NAME, &SEED).unwrap()
}

#[test]
fn the_golden_key() {
    let signer = signer(KeyType::Ed25519);
    assert_eq!(signer.verifier().to_string(), VKEY);
    assert_eq!(signer.to_private_text().as_str(), PRIVATE_KEY);
    assert_eq!(signer.verifier().key_id(), 0x0c9d_c446);
    assert_eq!(VKEY.parse().as_ref(), Ok(signer.verifier()));
}

#[test]
fn keys_of_all_types_sign_and_are_read_as_they_are_written() {
    let mut ids = Vec::new();
    for key_type in TYPES {
        let signer = signer(key_type);
        let vkey = signer.verifier().to_string();
        assert!(vkey.len() <= VKEY_MAX_BYTES);
        let verifier: Verifier = vkey.parse().unwrap();
        assert_eq!(&verifier, signer.verifier());
        assert_eq!((verifier.name(), verifier.key_type()), (NAME, key_type));
        ids.push(verifier.key_id());
        let again = Signer::parse(&signer.to_private_text()).unwrap();
        assert_eq!(again.to_private_text(), signer.to_private_text());
        let signature = again.sign(b"message").unwrap();
        assert_eq!(signature, signer.sign(b"message").unwrap());
        assert!(verifier.verifies(b"message", &signature));
        assert!(!verifier.verifies(b"messagE", &signature));
        assert!(!verifier.verifies(b"message", &signature[1..]));
        assert!(!verifier.verifies(b"message", &[]));
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(
                !verifier.verifies(b"message", &changed),
                "{key_type:?} {at}"
            );
        }
        // The message is signed as it is: a signature of one type is not one of another.
        for other in TYPES
            .iter()
            .filter(|it| is_ml_dsa(**it) != is_ml_dsa(key_type))
        {
            let other = Signer::from_seed(*other, NAME, &SEED).unwrap();
            assert!(!other.verifier().verifies(b"message", &signature));
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), TYPES.len());
}

fn is_ml_dsa(key_type: KeyType) -> bool {
    key_type == KeyType::MlDsa44Cosignature
}

#[test]
fn the_same_key_has_different_ids_by_type_and_name() {
    let one = signer(KeyType::Ed25519);
    let cosigner = signer(KeyType::Ed25519Cosignature);
    let renamed = Signer::from_seed(KeyType::Ed25519, "other", &SEED).unwrap();
    for other in [&cosigner, &renamed] {
        assert!(one.verifier().is_same_key(other.verifier()));
        assert_ne!(one.verifier().key_id(), other.verifier().key_id());
    }
    let ml_dsa = signer(KeyType::MlDsa44Cosignature);
    assert!(!one.verifier().is_same_key(ml_dsa.verifier()));
}

#[test]
fn what_is_not_a_vkey() {
    let form = KeyError::Form("vkey");
    let weak = format!(
        "a+00000000+{}",
        encode_base64([&[1][..], &[0; 32]].concat())
    );
    let off_curve = format!(
        "a+00000000+{}",
        encode_base64([&[1][..], &[2; 32]].concat())
    );
    for (text, error) in [
        ("", form),
        ("a", form),
        ("a+0c9dc446", form),
        ("a+0c9dc446+", form),
        ("a+c9dc446+AQ==", form),
        ("a+0C9DC446+AQ==", form),
        ("a++c9dc446+AQ==", form),
        ("a+0c9dc446+AQ", form),
        (VKEY.strip_suffix('s').unwrap(), form),
        ("a+0c9dc446+Ag==", KeyError::Type(2)),
        ("a+0c9dc446+/w==", KeyError::Type(255)),
        ("a+0c9dc446+AQ==", KeyError::PublicKey),
        ("a+0c9dc446+Bg==", KeyError::PublicKey),
        (&weak, KeyError::PublicKey),
        (&off_curve, KeyError::PublicKey),
        (
            &VKEY.replace("prod-eu", "prod-us"),
            KeyError::KeyId {
                found: 0x0c9d_c446,
                expected: Signer::from_seed(KeyType::Ed25519, "keyward.example/prod-us", &SEED)
                    .unwrap()
                    .verifier()
                    .key_id(),
            },
        ),
        (&VKEY.replace("prod-eu", "prod eu"), KeyError::Name),
        (&VKEY.replace("keyward.example/prod-eu", ""), KeyError::Name),
        (&"a".repeat(VKEY_MAX_BYTES + 1), form),
    ] {
        assert_eq!(text.parse::<Verifier>(), Err(error), "{text}");
    }
}

#[test]
fn what_is_not_a_private_key() {
    let form = KeyError::Form("private key");
    for (text, error) in [
        ("", form),
        (VKEY, form),
        (PRIVATE_KEY.strip_suffix("BwcH").unwrap(), form),
        (&format!("{PRIVATE_KEY}\n"), form),
        (&PRIVATE_KEY.replace("AQcH", "AgcH"), KeyError::Type(2)),
        (
            &PRIVATE_KEY.replace("0c9dc446", "0c9dc447"),
            KeyError::KeyId {
                found: 0x0c9d_c447,
                expected: 0x0c9d_c446,
            },
        ),
        (&"a".repeat(VKEY_MAX_BYTES + 1), form),
    ] {
        let found = Signer::parse(text).unwrap_err();
        assert_eq!(found, error, "{text}");
    }
}

#[test]
fn names_have_limits() {
    for name in [
        "a",
        "keyward.example/a",
        "é",
        &"a".repeat(KEY_NAME_MAX_BYTES),
    ] {
        assert!(is_key_name(name), "{name}");
    }
    let long = "a".repeat(KEY_NAME_MAX_BYTES + 1);
    for name in [
        "",
        " ",
        "a b",
        "a+b",
        "a\u{a0}b",
        "a\u{2028}b",
        "a\nb",
        "a\0",
        &long,
    ] {
        assert!(!is_key_name(name), "{name}");
        let found = Signer::from_seed(KeyType::Ed25519, name, &SEED).unwrap_err();
        assert_eq!(found, KeyError::Name);
    }
}

#[test]
fn a_signer_shows_nothing_secret() {
    for key_type in TYPES {
        let shown = format!("{:?}", signer(key_type));
        let key_id = signer(key_type).verifier().key_id();
        assert_eq!(shown, format!("Signer({NAME}+{key_id:08x})"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_answered(text: String) {
        prop_assert!(text.parse::<Verifier>().is_err());
        prop_assert!(Signer::parse(&text).is_err());
        let text = [PRIVATE_KEY_START, &text].concat();
        prop_assert!(Signer::parse(&text).is_err());
    }

    /// One changed byte, and a vkey is either refused or another one.
    #[test]
    fn a_changed_vkey_is_not_the_same(at in 0..VKEY.len(), byte in b' '..=b'~') {
        let mut changed = VKEY.as_bytes().to_vec();
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        prop_assert!(String::from_utf8(changed).unwrap().parse::<Verifier>().is_err());
    }

    #[test]
    fn any_public_key_bytes_are_answered(
        key_type in prop::sample::select(&TYPES[..]),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let _ = PublicKey::decode(key_type, &bytes);
        let signature = [&bytes[..], &[0; 24]].concat();
        prop_assert!(!signer(key_type).verifier().verifies(b"message", &signature));
    }
}
