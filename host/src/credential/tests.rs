//! Tests of credentials: the format, its refusals, and what is never shown.

use std::collections::BTreeMap;

use super::random::operating_system;
use super::*;

const ID: &str = "k7Qp2mXw9LaR";
const SECRET: &str = "0123456789abcdefghijABCDEFGHIJ01";

/// Bytes that look random and are the same in every run (xorshift).
fn pseudorandom(mut state: u64) -> impl Randomness {
    move |bytes: &mut [u8]| {
        for byte in bytes {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *byte = state.to_be_bytes()[3];
        }
        Ok(())
    }
}

fn credential(environment: &str, id: &str, secret: &str) -> String {
    let checked = format!("kw_{environment}_{id}_{secret}");
    let checksum = checksum_of(checked.as_bytes());
    format!("{checked}_{}", std::str::from_utf8(&checksum).unwrap())
}

#[test]
fn the_checksum_is_crc_32_in_base62() {
    // 0xCBF43926, the check value of CRC-32/ISO-HDLC, and the CRC of nothing.
    assert_eq!(checksum_of(b"123456789"), *b"3jZRME");
    assert_eq!(checksum_of(b""), *b"000000");
}

#[test]
fn the_format_is_frozen() {
    let text = "kw_live_k7Qp2mXw9LaR_0123456789abcdefghijABCDEFGHIJ01_2se4Vx";
    assert_eq!(credential("live", ID, SECRET), text);
    assert!(Credential::parse(text).is_ok());
}

#[test]
fn reads_the_parts() {
    for (environment, parsed) in [("live", Environment::Live), ("test", Environment::Test)] {
        let credential = Credential::parse(&credential(environment, ID, SECRET)).unwrap();
        assert_eq!(credential.environment(), parsed);
        assert_eq!(credential.key_id().as_str(), ID);
        assert!(credential.matches(&Digest::of(SECRET.as_bytes())));
        assert!(!credential.matches(&Digest::of(b"another")));
    }
}

/// A text with one of its characters replaced.
fn replaced(text: &str, at: usize, with: &str) -> String {
    let (before, rest) = text.split_at(at);
    let mut rest = rest.chars();
    rest.next();
    format!("{before}{with}{}", rest.as_str())
}

#[test]
fn refuses_by_the_first_part_that_is_wrong() {
    use CredentialError as E;
    let good = credential("live", ID, SECRET);
    let two_byte_secret = format!("é{}", SECRET.get(2..).unwrap());
    for (text, error) in [
        (String::new(), E::Prefix),
        ("kw_".to_owned(), E::Prefix),
        (good.replace("live", "prod"), E::Prefix),
        (good.replace("kw_", "KW_"), E::Prefix),
        (format!(" {good}"), E::Prefix),
        ("kw_live_".to_owned(), E::Length),
        (format!("{good}\n"), E::Length),
        (format!("{good}0"), E::Length),
        (replaced(&good, 20, ""), E::Length),
        (good.replace(ID, "k7Qp2mXw9La-"), E::Alphabet),
        (good.replace(ID, "k7Qp2mXw9La_"), E::Alphabet),
        // Two bytes in one character: the length in bytes is right.
        (good.replace(ID, "k7Qp2mXw9Lé"), E::Alphabet),
        (good.replace(SECRET, &two_byte_secret), E::Alphabet),
        (replaced(&good, 20, "-"), E::Alphabet),
        (replaced(&good, 53, "."), E::Alphabet),
        (replaced(&good, 59, "!"), E::Alphabet),
        (good.replace("live", "test"), E::Checksum),
        (replaced(&good, 21, "1"), E::Checksum),
        (good.replace(ID, "k7Qp2mXw9LaS"), E::Checksum),
    ] {
        let found = Credential::parse(&text).unwrap_err();
        assert_eq!(found, error, "{text}");
    }
}

#[test]
fn every_single_wrong_character_is_noticed() {
    let good = credential("test", ID, SECRET);
    let mut tried = 0;
    for at in 0..good.len() {
        for wrong in ["0", "Z", "_", "~"] {
            let bad = replaced(&good, at, wrong);
            if bad != good {
                assert!(Credential::parse(&bad).is_err(), "{bad}");
                tried += 1;
            }
        }
    }
    assert!(tried > 3 * CREDENTIAL_BYTES);
}

#[test]
fn the_published_regular_expression_finds_credentials() {
    let regex = regex::Regex::new(CREDENTIAL_REGEX).unwrap();
    let mut randomness = pseudorandom(1);
    for _ in 0..100 {
        let id = random_key_id(&mut randomness).unwrap();
        let issued = IssuedSecret::generate(Environment::Test, id, &mut randomness).unwrap();
        for text in [
            issued.expose().to_owned(),
            format!(
                "curl -H 'x-api-key: {}' https://api.example.com",
                issued.expose()
            ),
            format!("KEY=\"{}\"\n", issued.expose()),
        ] {
            assert_eq!(regex.find(&text).unwrap().as_str(), issued.expose());
        }
    }
    let good = credential("live", ID, SECRET);
    for text in [
        &replaced(&good, 0, ""),
        &replaced(&good, 59, ""),
        &good.replace("live", "prod"),
        &format!("x{good}"),
    ] {
        assert!(!regex.is_match(text), "{text}");
    }
}

#[test]
fn what_is_issued_can_be_read() {
    let mut randomness = operating_system();
    let id = random_key_id(&mut randomness).unwrap();
    let issued = IssuedSecret::generate(Environment::Live, id, &mut randomness).unwrap();
    let credential = Credential::parse(issued.expose()).unwrap();
    assert_eq!(issued.expose().len(), CREDENTIAL_BYTES);
    assert_eq!(credential.key_id(), id);
    assert_eq!(credential.environment(), Environment::Live);
    assert!(credential.matches(&issued.digest()));
    let other = IssuedSecret::generate(Environment::Live, id, &mut randomness).unwrap();
    assert!(!credential.matches(&other.digest()));
}

#[test]
fn every_character_is_equally_likely() {
    // Each byte value once, so 248 of 256 count: each character exactly four times.
    let mut next = 0_u8;
    let mut randomness = |bytes: &mut [u8]| {
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(1);
        }
        Ok(())
    };
    let text: Zeroizing<[u8; 248]> = random::base62(&mut randomness).unwrap();
    let mut counts = BTreeMap::new();
    for character in text.iter() {
        *counts.entry(*character).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 62);
    assert!(counts.values().all(|count| *count == 4), "{counts:?}");
}

#[test]
fn a_source_that_is_broken_issues_nothing() {
    let id: KeyId = ID.parse().unwrap();
    let mut stuck = |bytes: &mut [u8]| {
        bytes.fill(0xff);
        Ok(())
    };
    let mut dry = |_: &mut [u8]| Err(RandomnessError::Unavailable("none".to_owned()));
    let issue = |source: &mut dyn Randomness| {
        IssuedSecret::generate(Environment::Live, id, source)
            .map(|_| ())
            .unwrap_err()
    };
    assert_eq!(issue(&mut stuck), RandomnessError::Stuck);
    assert_eq!(
        issue(&mut dry),
        RandomnessError::Unavailable("none".to_owned())
    );
    assert_eq!(random_key_id(&mut stuck), Err(RandomnessError::Stuck));
}

#[test]
fn nothing_shows_a_secret_or_its_digest() {
    let issued =
        IssuedSecret::generate(Environment::Live, ID.parse().unwrap(), &mut pseudorandom(7))
            .unwrap();
    let credential = Credential::parse(issued.expose()).unwrap();
    assert_eq!(format!("{issued:?}"), "IssuedSecret(…)");
    assert_eq!(
        format!("{credential:?}"),
        "Credential(live k7Qp2mXw9LaR, …)"
    );
    let presented = format!("{:#?}", Presented::Credential(credential));
    let secret = issued.expose().get(21..53).unwrap();
    assert!(!presented.contains(secret) && !presented.contains(&issued.digest().to_string()));
    for text in [
        secret.to_owned(),
        format!("kw_live_{secret}"),
        replaced(issued.expose(), 59, "~"),
    ] {
        let error = Credential::parse(&text).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret));
    }
}
