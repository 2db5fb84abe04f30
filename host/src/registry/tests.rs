//! Tests of the host's own gate and of the registry in memory.

use super::memory::{DuplicateKey, MemoryRegistry};
use super::*;
use crate::credential::IssuedSecret;
use crate::credential::random::Randomness;
use crate::key::json::{KeyOptions, read_keys};
use crate::key::{Environment, KeyId};

/// Random bytes for tests: a counter, so that two secrets differ.
fn counting(mut next: u8) -> impl Randomness {
    move |bytes: &mut [u8]| {
        for byte in bytes {
            *byte = next % 62;
            next = next.wrapping_add(1);
        }
        Ok(())
    }
}

fn secret(environment: Environment, id: &str, seed: u8) -> IssuedSecret {
    IssuedSecret::generate(environment, id.parse().unwrap(), &mut counting(seed)).unwrap()
}

fn line(id: &str, lifecycle: &str, secret: Option<&IssuedSecret>) -> String {
    let secret = secret.map_or(serde_json::Value::Null, |s| s.digest().to_string().into());
    serde_json::json!({
        "id": id, "owner": "team", "lifecycle": lifecycle, "issued_at": "2026-11-01T00:00:00Z",
        "scopes": ["inventory:read"], "labels": {"team": "a"}, "secret_sha256": secret,
    })
    .to_string()
}

fn registry(lines: &[String]) -> MemoryRegistry {
    let keys = read_keys(lines.join("\n").as_bytes(), KeyOptions::default()).unwrap();
    MemoryRegistry::new(keys).unwrap()
}

fn presented(secret: &IssuedSecret) -> Presented {
    Presented::Credential(Credential::parse(secret.expose()).unwrap())
}

/// What is presented: a credential as environment, id and seed of its secret, or an id alone.
fn presented_as(text: &str) -> Presented {
    let words: Vec<_> = text.split(' ').collect();
    match words.as_slice() {
        ["none"] => Presented::None,
        ["ambiguous"] => Presented::Ambiguous,
        ["malformed"] => Presented::Malformed,
        ["id", id] => Presented::KeyId((*id).into()),
        ["live", id, seed] => presented(&secret(Environment::Live, id, seed.parse().unwrap())),
        ["test", id, seed] => presented(&secret(Environment::Test, id, seed.parse().unwrap())),
        _ => panic!("{text}"),
    }
}

/// Every key but the last is live and has the secret of seed 1; the last has none.
fn keys_in_every_state() -> MemoryRegistry {
    let mut lines = Vec::new();
    for (id, state) in [
        ("aaaaaaaaaaaa", "active"),
        ("dddddddddddd", "deprecated"),
        ("ssssssssssss", "suspended"),
        ("rrrrrrrrrrrr", "revoked"),
    ] {
        let own = secret(Environment::Live, id, 1);
        lines.push(line(id, state, Some(&own)));
    }
    lines.push(line("nnnnnnnnnnnn", "revoked", None));
    registry(&lines)
}

/// Presented | reason | detail | key.
const REFUSALS: &str = "\
none                | key.missing   |                   |
ambiguous           | key.ambiguous |                   |
malformed           | key.malformed |                   |
live xxxxxxxxxxxx 1 | key.unknown   | unknown-id        | xxxxxxxxxxxx
live aaaaaaaaaaaa 2 | key.unknown   | wrong-secret      | aaaaaaaaaaaa
live rrrrrrrrrrrr 2 | key.unknown   | wrong-secret      | rrrrrrrrrrrr
live ssssssssssss 2 | key.unknown   | wrong-secret      | ssssssssssss
live nnnnnnnnnnnn 1 | key.unknown   | no-secret         | nnnnnnnnnnnn
test aaaaaaaaaaaa 2 | key.unknown   | wrong-secret      | aaaaaaaaaaaa
test aaaaaaaaaaaa 1 | key.unknown   | wrong-environment | aaaaaaaaaaaa
test rrrrrrrrrrrr 1 | key.unknown   | wrong-environment | rrrrrrrrrrrr
live rrrrrrrrrrrr 1 | key.revoked   |                   | rrrrrrrrrrrr
live ssssssssssss 1 | key.suspended |                   | ssssssssssss
id not-an-id        | key.unknown   | unknown-id        |
id xxxxxxxxxxxx     | key.unknown   | unknown-id        | xxxxxxxxxxxx
id nnnnnnnnnnnn     | key.revoked   |                   | nnnnnnnnnnnn
id ssssssssssss     | key.suspended |                   | ssssssssssss";

#[test]
fn the_gate_refuses_in_the_order_of_its_table() {
    let registry = keys_in_every_state();
    for row in REFUSALS.lines() {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [given, reason, detail, key] = cells.as_slice() else {
            panic!("{row}")
        };
        let refusal = gate(&presented_as(given), &registry).unwrap_err();
        assert_eq!(refusal.reason, *reason, "{row}");
        assert_eq!(refusal.detail.unwrap_or_default(), *detail, "{row}");
        assert_eq!(
            refusal.key.as_ref().map_or("", KeyId::as_str),
            *key,
            "{row}"
        );
    }
}

#[test]
fn the_gate_lets_live_keys_pass() {
    let registry = keys_in_every_state();
    for id in ["aaaaaaaaaaaa", "dddddddddddd"] {
        for given in [format!("live {id} 1"), format!("id {id}")] {
            let entry = gate(&presented_as(&given), &registry).unwrap();
            assert_eq!(entry.record().id.as_str(), id, "{given}");
        }
    }
}

#[test]
fn a_key_without_a_secret_matches_nothing() {
    let registry = registry(&[line("aaaaaaaaaaaa", "active", None)]);
    let entry = registry.lookup(&"aaaaaaaaaaaa".parse().unwrap()).unwrap();
    let issued = secret(Environment::Live, "aaaaaaaaaaaa", 1);
    assert!(!entry.secret_matches(&Credential::parse(issued.expose()).unwrap()));
}

#[test]
fn an_entry_has_the_digest_of_its_record_and_hides_the_secret() {
    let issued = secret(Environment::Live, "aaaaaaaaaaaa", 1);
    let registry = registry(&[line("aaaaaaaaaaaa", "active", Some(&issued))]);
    let entry = registry.lookup(&"aaaaaaaaaaaa".parse().unwrap()).unwrap();
    assert_eq!(
        entry.digest(),
        Digest::of(entry.record().to_canonical_json().as_bytes())
    );
    let shown = format!("{entry:#?}");
    assert!(shown.contains("has_secret: true"), "{shown}");
    assert!(!shown.contains(&issued.digest().to_string()), "{shown}");
}

#[test]
fn keys_share_equal_texts() {
    let registry = registry(&[
        line("aaaaaaaaaaaa", "active", None),
        line("bbbbbbbbbbbb", "active", None),
    ]);
    let [a, b] = ["aaaaaaaaaaaa", "bbbbbbbbbbbb"].map(|id| {
        registry
            .lookup(&id.parse().unwrap())
            .unwrap()
            .record()
            .clone()
    });
    assert!(Arc::ptr_eq(&a.owner, &b.owner));
    assert!(Arc::ptr_eq(&a.scopes, &b.scopes));
    assert!(Arc::ptr_eq(&a.labels["team"], &b.labels["team"]));
}

#[test]
fn memory_refuses_two_keys_of_one_id() {
    let lines = line("aaaaaaaaaaaa", "active", None);
    let mut keys = read_keys(lines.as_bytes(), KeyOptions::default()).unwrap();
    keys.push(keys[0].clone());
    let error = MemoryRegistry::new(keys).unwrap_err();
    assert_eq!(error, DuplicateKey("aaaaaaaaaaaa".parse().unwrap()));
}

#[test]
fn a_replaced_registry_answers_anew_and_old_entries_live_on() {
    let registry = registry(&[line("aaaaaaaaaaaa", "active", None)]);
    let id = "aaaaaaaaaaaa".parse().unwrap();
    let before = registry.lookup(&id).unwrap();
    registry.replace(self::registry(&[line("bbbbbbbbbbbb", "active", None)]));
    assert!(registry.lookup(&id).is_none());
    assert!(registry.lookup(&"bbbbbbbbbbbb".parse().unwrap()).is_some());
    assert_eq!((registry.len(), registry.is_empty()), (1, false));
    assert_eq!(before.record().id, id);
}
