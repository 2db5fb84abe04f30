//! What governance has signed is refused or the frozen certificate and statement, whatever part of
//! them a stranger has changed; what anyone claims of a revocation is read in one form.

#![no_main]

use std::sync::LazyLock;

use keyward::governance::certificate::{self, RevocationClaims};
use keyward::governance::parse_governance_keys;
use keyward::governance::statement::Statement;
use keyward::log::{Entry, Revocation};
use keyward::timestamp::Timestamp;
use keyward::tlog::key::Verifier;
use keyward::tlog::policy::Policy;
use keyward::tlog::proof::Proof;
use libfuzzer_sys::fuzz_target;

const CERTIFICATE: &str = include_str!("../../golden/governance/revocation.tlog-proof");
const STATEMENT: &[u8] = include_bytes!("../../golden/governance/nothing.no-allow");
const POLICY: &[u8] = include_bytes!("../../golden/governance/log.policy");
const KEYS: &str = include_str!("../../golden/governance/governance.pub");

static TRUSTED: LazyLock<(Policy, Vec<Verifier>)> = LazyLock::new(|| {
    let policy = Policy::parse(POLICY).unwrap();
    (policy, parse_governance_keys(KEYS).unwrap())
});

fuzz_target!(|bytes: &[u8]| {
    let (policy, keys) = &*TRUSTED;
    let Some((what, bytes)) = bytes.split_first() else {
        return;
    };
    match what % 4 {
        // A whole certificate.
        0 => certificate(bytes),
        // The frozen one with another COSE_Sign1 in its entry.
        1 => {
            if let Some(claims) = RevocationClaims::unverified(bytes) {
                assert_eq!(claims.key.as_str().len(), 12);
            }
            let time = Timestamp::from_millis(0);
            let cose = bytes.to_vec();
            let entry = Entry::Revocation(Revocation { time, cose }).encode();
            let proof = Proof::parse(CERTIFICATE.as_bytes()).unwrap();
            certificate(proof.with_extra(entry).unwrap().to_string().as_bytes());
        }
        // A statement.
        2 => {
            if let Ok((statement, _)) = Statement::check(bytes, policy, keys) {
                let (frozen, _) = Statement::check(STATEMENT, policy, keys).unwrap();
                assert_eq!(statement, frozen);
                assert_eq!(bytes, STATEMENT);
            }
        }
        // Governance's public keys.
        _ => {
            let Ok(text) = std::str::from_utf8(bytes) else {
                return;
            };
            if let Ok(keys) = parse_governance_keys(text) {
                let again: String = keys.iter().map(|key| format!("{key}\n")).collect();
                assert_eq!(parse_governance_keys(&again).as_ref(), Ok(&keys));
            }
        }
    }
});

/// The signatures of a checkpoint can be left out or stand in another order, and no more.
fn certificate(bytes: &[u8]) {
    let (policy, keys) = &*TRUSTED;
    let Ok((found, _)) = certificate::check(bytes, policy, keys) else {
        return;
    };
    let (frozen, _) = certificate::check(CERTIFICATE.as_bytes(), policy, keys).unwrap();
    assert_eq!(found.claims, frozen.claims);
    assert_eq!((found.index, found.key), (frozen.index, frozen.key));
    let [found, frozen] = [found.checkpoint, frozen.checkpoint];
    assert_eq!(found.checkpoint(), frozen.checkpoint());
}
