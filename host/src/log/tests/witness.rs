//! Witnesses that really verify: a log that goes on is cosigned, one that was restored from an old
//! copy or rewritten is found out at its start, and a witness that is away holds nothing up.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::publish::{Publishing, append, signed};
use super::*;
use crate::log::HeadError;
use crate::log::tiles::TileReader;
use crate::tlog::checkpoint::SignedCheckpoint;
use crate::tlog::key::{KeyType, Signer, Verifier};
use crate::tlog::merkle::{TreeHead, verify_consistency};
use crate::tlog::policy::Policy;
use crate::tlog::witness::AddCheckpoint;

/// A witness as C2SP tlog-witness has it, without the network.
#[derive(Debug)]
struct Witness {
    signer: Signer,
    log: Verifier,
    last: Mutex<Option<TreeHead>>,
    is_away: AtomicBool,
}

impl Witness {
    fn new(log: &Verifier, seed: u8) -> Self {
        let name = format!("witness.example/w{seed}");
        Self {
            signer: Signer::from_seed(KeyType::Ed25519Cosignature, &name, &[seed; 32]).unwrap(),
            log: log.clone(),
            last: Mutex::default(),
            is_away: AtomicBool::new(false),
        }
    }
}

/// Brings a request to the witness that the URL names.
#[derive(Debug)]
struct ByName(Vec<Witness>);

impl Courier for ByName {
    fn post(&self, url: &str, body: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let (place, rest) = url
            .strip_prefix("https://w")
            .unwrap()
            .split_once('/')
            .unwrap();
        assert_eq!(rest, "add-checkpoint");
        let witness = &self.0[place.parse::<usize>().unwrap()];
        if witness.is_away.load(Ordering::SeqCst) {
            return Err("nobody is there".to_owned());
        }
        let request = AddCheckpoint::parse(body).unwrap();
        let signed = request.checkpoint();
        signed.verify([&witness.log]).unwrap();
        let head = signed.checkpoint().head();
        let mut last = witness.last.lock();
        if let Some(last) = last.filter(|last| last.size != request.old()) {
            return Ok((409, format!("{}\n", last.size).into_bytes()));
        }
        if let Some(last) = *last
            && verify_consistency(&last, &head, request.proof()).is_err()
        {
            return Ok((422, Vec::new()));
        }
        *last = Some(head);
        let keys = std::slice::from_ref(&witness.signer);
        let cosigned = SignedCheckpoint::sign(signed.checkpoint().clone(), keys, 7).unwrap();
        let text = cosigned.to_string();
        let lines = text.split_once("\n\n").unwrap().1;
        Ok((200, lines.as_bytes().to_vec()))
    }
}

/// A log with witnesses, of which a quorum of `needed` is asked for.
fn witnessed(count: u8, needed: u8) -> (Test, Arc<ByName>, Arc<Policy>) {
    let mut test = signed();
    let publishing: &mut Publishing = test.options.publishing.as_mut().unwrap();
    let log = publishing.signers[0].verifier().clone();
    let witnesses: Vec<_> = (0..count).map(|seed| Witness::new(&log, seed)).collect();
    let mut policy = format!("log {log}\n");
    let mut names = String::new();
    for (place, witness) in witnesses.iter().enumerate() {
        let key = witness.signer.verifier();
        policy.push_str(&format!("witness w{place} {key} https://w{place}/\n"));
        names.push_str(&format!(" w{place}"));
    }
    policy.push_str(&format!("group some {needed}{names}\nquorum some\n"));
    let policy = Arc::new(Policy::parse(policy.as_bytes()).unwrap());
    let courier = Arc::new(ByName(witnesses));
    publishing.witnesses = Some(Witnesses {
        policy: Arc::clone(&policy),
        courier: courier.clone(),
    });
    (test, courier, policy)
}

fn shown(test: &Test) -> SignedCheckpoint {
    TileReader::new(&test.folder()).checkpoint().unwrap()
}

#[test]
fn a_log_that_goes_on_is_cosigned_by_all() {
    let (test, _, policy) = witnessed(3, 3);
    for (count, size) in [(0, 1), (254, 256), (300, 557), (0, 558)] {
        append(&test, count).unwrap();
        let checkpoint = shown(&test);
        assert_eq!(checkpoint.checkpoint().head().size, size);
        let accepted = policy.check(&checkpoint).unwrap();
        assert_eq!(accepted.witnesses.len(), 3);
    }
}

#[test]
fn a_witness_that_is_away_holds_nothing_up_and_is_asked_again() {
    let (test, courier, policy) = witnessed(2, 2);
    append(&test, 10).unwrap();
    courier.0[1].is_away.store(true, Ordering::SeqCst);
    let log = test.open().unwrap();
    log.append(b"one").unwrap();
    let published = log.close();
    assert_eq!(published.size, 13);
    let problem = published.unwitnessed.unwrap();
    assert_eq!(
        problem,
        "the witness `w1` has not cosigned: nobody is there"
    );
    // It is shown with the one cosignature that there is.
    let one = shown(&test);
    assert!(policy.check(&one).is_err());
    assert_eq!(one.signatures().len(), 2);
    courier.0[1].is_away.store(false, Ordering::SeqCst);
    let log = test.open().unwrap();
    assert_eq!(log.close().unwitnessed, None);
    policy.check(&shown(&test)).unwrap();
}

#[test]
fn a_log_that_was_restored_from_an_older_copy_is_found_out() {
    let (test, courier, _) = witnessed(2, 1);
    append(&test, 10).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let old = copy.path().join("old");
    copy_folder(&test.folder(), &old);
    append(&test, 10).unwrap();
    fs::remove_dir_all(test.folder()).unwrap();
    fs::rename(&old, test.folder()).unwrap();
    // One that is away cannot tell; the other does.
    courier.0[0].is_away.store(true, Ordering::SeqCst);
    let refused = test.open().unwrap_err();
    let LogError::Head(HeadError::Witnessed {
        witness,
        seen,
        signed,
    }) = refused
    else {
        panic!("{refused}");
    };
    assert_eq!((&*witness, seen, signed), ("w1", 22, 11));
}

#[test]
fn another_history_of_the_same_log_is_found_out() {
    let (test, courier, policy) = witnessed(1, 1);
    append(&test, 10).unwrap();
    let mut other = signed();
    append(&other, 0).unwrap();
    append(&other, 20).unwrap();
    other.options.publishing.as_mut().unwrap().witnesses = Some(Witnesses { policy, courier });
    let refused = other.open().unwrap_err();
    let is_it = matches!(&refused, LogError::Head(HeadError::Contradicted(name)) if name == "w0");
    assert!(is_it, "{refused}");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            fs::copy(path, to).unwrap();
        }
    }
}
