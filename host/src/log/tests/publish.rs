//! Publishing: that what is signed is what was appended, at every size and after every failure, and
//! that a log is not gone on with when it is not the one that was signed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

pub(super) use crate::log::publish::Publishing;
use crate::log::storage::faulty::{Failure, Fault, Step};
use crate::log::tiles::{CHECKPOINT_FILE, TileReader};
use crate::log::{CHECKPOINT_INTERVAL_MAX_MS, HeadError};
use crate::tlog::checkpoint::SignedCheckpoint;
use crate::tlog::key::{KeyType, Signer};
use crate::tlog::merkle::{Tree, TreeHead, inclusion_proof, leaf_hash, verify_inclusion};
use crate::tlog::tile::{TileKind, tiles_between};

use super::*;

/// Who signs: with a key that a seed stands for.
fn signed_by(seed: u8) -> Publishing {
    let signer = Signer::from_seed(KeyType::Ed25519, ORIGIN, &[seed; 32]).unwrap();
    Publishing {
        signers: vec![signer].into(),
        // Only what a test closes is published, unless it says otherwise.
        interval_ms: CHECKPOINT_INTERVAL_MAX_MS,
        clock: now,
        witnesses: None,
    }
}

pub(super) fn signed() -> Test {
    let mut test = Test::new();
    test.options.publishing = Some(signed_by(7));
    test
}

/// Opens the log, appends some entries and closes it, which publishes.
pub(super) fn append(test: &Test, count: usize) -> Result<(), LogError> {
    let log = test.open()?;
    for number in 0..count {
        let _ = log.append(format!("entry {number}").as_bytes());
    }
    Ok(())
}

/// The tree of some entries.
fn tree(entries: &[Vec<u8>]) -> Tree {
    let mut tree = Tree::new();
    entries.iter().for_each(|it| tree.push(leaf_hash(it)));
    tree
}

fn shown(test: &Test) -> Option<TreeHead> {
    let checkpoint = TileReader::new(&test.folder()).checkpoint().ok()?;
    let signer = Signer::from_seed(KeyType::Ed25519, ORIGIN, &[7; 32]).unwrap();
    checkpoint.verify([signer.verifier()]).unwrap();
    Some(checkpoint.checkpoint().head())
}

/// Checks everything that is published against the entries.
fn check(test: &Test, expected: u64) {
    let entries = test.entries();
    let head = shown(test).unwrap();
    assert_eq!(head.size, expected);
    let signed = &entries[..usize::try_from(head.size).unwrap()];
    assert_eq!(tree(signed).head(), head);
    let tiles = TileReader::new(&test.folder());
    let mut bundled = Vec::new();
    for tile in tiles_between(0, head.size) {
        match tile.kind() {
            TileKind::Entries => tiles.bundle(tile, |it| bundled.push(it.to_vec())).unwrap(),
            TileKind::Hashes { .. } => drop(tiles.hashes(tile).unwrap()),
        }
    }
    assert_eq!(bundled, signed);
    for index in [0, head.size / 2, head.size - 1] {
        let read = |level, index| tiles.node(level, index, head.size);
        let proof = inclusion_proof(index, head.size, read).unwrap();
        let leaf = leaf_hash(&signed[usize::try_from(index).unwrap()]);
        verify_inclusion(&leaf, index, &proof, &head).unwrap();
    }
}

#[test]
fn what_is_signed_is_what_was_appended_at_every_size() {
    let test = signed();
    let mut size = 0;
    // The boot record is one more.
    let steps = (0..6).chain([120, 126, 0, 1, 2, 250, 254, 255, 256, 511, 700]);
    for count in steps {
        append(&test, count).unwrap();
        size += count as u64 + 1;
        check(&test, size);
    }
    // No partial tile is left of what is full.
    let folder = test.folder().join("tile/entries");
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().file_name());
    let partial = names.filter(|it| it.to_str().unwrap().ends_with(".p"));
    assert_eq!(partial.count(), 1);
}

#[test]
fn a_log_of_three_levels_of_tiles_goes_on_where_it_was() {
    let test = signed();
    for count in [65_534, 0, 300, 66_000, 1] {
        append(&test, count).unwrap();
    }
    check(&test, 65_535 + 1 + 301 + 66_001 + 2);
}

/// Small segments: what is published is dropped from them, and every entry is still there to read.
#[test]
fn segments_are_dropped_when_they_are_in_full_bundles_and_nothing_is_lost() {
    let mut test = signed();
    test.options.segment_max_bytes = 2_000;
    let segments = || reader::list(&test.folder()).unwrap();
    let mut size = 0;
    for count in [100, 400, 3, 700] {
        append(&test, count).unwrap();
        size += count as u64 + 1;
        check(&test, size);
        let kept_from = size - size % 256;
        assert!(segments().get(1).is_none_or(|second| *second > kept_from));
    }
    assert!(segments()[0] > 1_000);
    let text = |number: usize| format!("entry {number}").into_bytes();
    assert_eq!(test.entries()[101 + 1 + 399], text(399));
    // A copy of what is published has all that is signed.
    let copy = tempfile::tempdir().unwrap();
    for name in ["tile", "checkpoint"] {
        fs::rename(test.folder().join(name), copy.path().join(name)).unwrap();
    }
    let reader = LogReader::open(copy.path()).unwrap();
    assert_eq!(reader.origin(), ORIGIN);
    assert_eq!(reader.entries().count() as u64, size);
    // Without it, what was dropped is missing.
    fs::remove_file(test.folder().join("head")).unwrap();
    let reader = LogReader::open(&test.folder()).unwrap();
    let mut entries = reader.entries();
    let missing = entries.next().unwrap().unwrap_err();
    assert!(
        matches!(missing, LogReadError::MissingSegment { index: 0 }),
        "{missing}"
    );
    assert!(entries.next().is_none());
    test.options.publishing = None;
    let refused = test.open().unwrap_err();
    let is_it = matches!(
        refused,
        LogError::Read(LogReadError::MissingSegment { index: 0 })
    );
    assert!(is_it, "{refused}");
}

#[test]
fn an_unsigned_log_can_be_signed_later_from_its_beginning() {
    let mut test = Test::new();
    append(&test, 300).unwrap();
    assert_eq!(shown(&test), None);
    test.options.publishing = Some(signed_by(7));
    append(&test, 3).unwrap();
    check(&test, 305);
}

#[test]
fn a_running_log_is_published_within_the_interval() {
    let mut test = signed();
    test.options.sync_interval_ms = 1;
    test.options.publishing.as_mut().unwrap().interval_ms = 1;
    let log = test.open().unwrap();
    log.append(b"one").unwrap();
    // Ends when the entry is in, however long that takes here.
    while log.published().size < 2 {
        assert_eq!(log.published().problem, None);
        thread::yield_now();
    }
    check(&test, 2);
    drop(log);
}

#[test]
fn after_any_failure_the_log_goes_on_and_never_signs_two_trees_of_one_size() {
    const STEPS: [Step; 7] = [
        Step::Create,
        Step::Write,
        Step::Rename,
        Step::Sync,
        Step::SyncFileSystem,
        Step::SyncFolder,
        Step::Open,
    ];
    const FAILURES: [Failure; 4] = [Failure::Undone, Failure::Done, Failure::Full, Failure::Half];
    let mut cases = 0;
    for (step, failure) in STEPS.iter().flat_map(|s| FAILURES.map(|f| (*s, f))) {
        for place in ["tile", "head", "checkpoint", "log/0.tmp", "log"] {
            for skip in 0..3 {
                let test = signed();
                let mut roots: BTreeMap<u64, TreeHead> = BTreeMap::new();
                let mut see = || {
                    let Some(head) = shown(&test) else { return };
                    let first = *roots.entry(head.size).or_insert(head);
                    assert_eq!(first, head, "{step:?} {failure:?} {place} {skip}");
                };
                append(&test, 300).unwrap();
                see();
                test.storage.arm(&[Fault {
                    step,
                    failure,
                    place,
                    skip,
                    times: 1,
                }]);
                let _ = append(&test, 100);
                see();
                let spent = test.storage.is_spent();
                test.storage.release();
                // The power cut that a failure may be: what was not synced has other bytes.
                if spent && failure == Failure::Undone {
                    forget_unsynced(&test);
                    cases += 1;
                }
                append(&test, 60).unwrap();
                see();
                check(&test, test.entries().len() as u64);
            }
        }
    }
    assert!(cases > 20, "{cases}");
}

/// What a power cut does to published files that no sync has reached.
fn forget_unsynced(test: &Test) {
    let mut folders = vec![test.folder().join("tile")];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if test.storage.durable_bytes(&path) < path.metadata().unwrap().len() {
                fs::write(path, b"lost").unwrap();
            }
        }
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_delays_the_checkpoint_only() {
    let places = [
        (Step::Create, "log/0.tmp"),
        (Step::Write, "log/0.tmp"),
        (Step::Rename, "tile"),
        (Step::Rename, "head"),
        (Step::Rename, "checkpoint"),
    ];
    for (step, place) in places {
        let mut test = signed();
        test.options.sync_interval_ms = 1;
        test.options.publishing.as_mut().unwrap().interval_ms = 1;
        let log = test.open().unwrap();
        test.storage.arm(&[Fault {
            step,
            failure: Failure::Full,
            place,
            skip: 0,
            times: u32::MAX,
        }]);
        log.append(b"one").unwrap();
        while log.published().problem.is_none() {
            thread::yield_now();
        }
        log.append(b"two").unwrap();
        test.storage.release();
        while log.published().size < 3 || log.published().problem.is_some() {
            thread::yield_now();
        }
        check(&test, 3);
        drop(log);
    }
}

/// What is signed is not written again: between the writing and its sync it would be in danger.
#[test]
fn a_tile_that_has_not_grown_is_left_alone() {
    let test = signed();
    append(&test, 300).unwrap();
    let tile = test.folder().join("tile/1/000.p/1");
    let before = fs::metadata(&tile).unwrap().ino();
    append(&test, 100).unwrap();
    assert_eq!(fs::metadata(&tile).unwrap().ino(), before);
    check(&test, 402);
}

/// An end that was signed was durable: what is torn there is no crash, and is kept as evidence.
#[test]
fn a_log_that_ends_before_what_was_signed_is_left_as_it_is() {
    let test = signed();
    append(&test, 10).unwrap();
    let mut bytes = fs::read(test.segment(0)).unwrap();
    let at = bytes.len() - 2;
    bytes[at] ^= 1;
    fs::write(test.segment(0), &bytes).unwrap();
    let refused = test.open().unwrap_err();
    let is_it = matches!(
        refused,
        LogError::Head(HeadError::Rollback {
            found: 10,
            signed: 11
        })
    );
    assert!(is_it, "{refused}");
    assert_eq!(fs::read(test.segment(0)).unwrap(), bytes);
}

#[test]
fn a_log_that_is_not_the_one_that_was_signed_is_refused() {
    let test = signed();
    append(&test, 300).unwrap();
    let folder = test.folder();
    let files = [CHECKPOINT_FILE, "head"].map(|it| folder.join(it));
    let old = files.each_ref().map(|it| fs::read(it).unwrap());
    let old_segment = fs::read(test.segment(0)).unwrap();
    append(&test, 20).unwrap();
    let new = files.each_ref().map(|it| fs::read(it).unwrap());
    let segment = fs::read(test.segment(0)).unwrap();
    let refused = |what: &str, is_it: fn(&HeadError) -> bool| {
        match test.open() {
            Err(LogError::Head(error)) => assert!(is_it(&error), "{what}: {error}"),
            other => panic!("{what}: {other:?}"),
        }
        fs::write(&files[0], &new[0]).unwrap();
        fs::write(&files[1], &new[1]).unwrap();
        fs::write(test.segment(0), &segment).unwrap();
    };

    fs::write(test.segment(0), &old_segment).unwrap();
    refused("an older segment", |it| {
        matches!(
            it,
            HeadError::Rollback {
                found: 301,
                signed: 322
            }
        )
    });
    fs::write(&files[1], &old[1]).unwrap();
    refused("an older head", |it| {
        matches!(
            it,
            HeadError::Shown {
                shown: 322,
                signed: 301
            }
        )
    });
    fs::remove_file(&files[1]).unwrap();
    refused("no head", |it| matches!(it, HeadError::Missing));
    fs::write(&files[1], b"nothing").unwrap();
    refused("a damaged head", |it| matches!(it, HeadError::Head(_)));

    // Other entries in a segment that is whole in itself.
    let other = Test::new();
    append(&other, 350).unwrap();
    fs::write(test.segment(0), fs::read(other.segment(0)).unwrap()).unwrap();
    refused("another segment", |it| {
        matches!(it, HeadError::Fork { size: 322 })
    });

    // What a power cut does to `checkpoint`, which is not synced, is made good.
    for torn in [&b""[..], &new[0][..40], &old[0]] {
        fs::write(&files[0], torn).unwrap();
        append(&test, 0).unwrap();
    }
    check(&test, 325);
}

#[test]
fn only_the_key_that_has_signed_a_log_goes_on_with_it() {
    let mut test = signed();
    append(&test, 3).unwrap();
    test.options.publishing = None;
    let refused = test.open().unwrap_err();
    assert!(
        matches!(refused, LogError::Head(HeadError::NoKey { size: 4 })),
        "{refused}"
    );
    test.options.publishing = Some(signed_by(8));
    let refused = test.open().unwrap_err();
    assert!(
        matches!(refused, LogError::Head(HeadError::Head(_))),
        "{refused}"
    );
    let other = Signer::from_seed(KeyType::Ed25519, "keyward.example/other", &[7; 32]).unwrap();
    test.options.publishing.as_mut().unwrap().signers = vec![other].into();
    assert!(matches!(test.open(), Err(LogError::KeyName(_))));
    test.options.publishing.as_mut().unwrap().signers = Vec::new().into();
    assert!(matches!(test.open(), Err(LogError::KeyName(_))));
    test.options.publishing = Some(signed_by(7));
    test.options.publishing.as_mut().unwrap().interval_ms = 0;
    assert!(matches!(test.open(), Err(LogError::CheckpointInterval(0))));
    test.options.publishing = Some(signed_by(7));
    append(&test, 0).unwrap();
    check(&test, 5);
}

#[test]
fn both_signatures_are_there_and_are_good() {
    let mut test = signed();
    let types = [KeyType::Ed25519, KeyType::MlDsa44Cosignature];
    let signers = types.map(|it| Signer::from_seed(it, ORIGIN, &[9; 32]).unwrap());
    let verifiers = signers.each_ref().map(|it| it.verifier().clone());
    test.options.publishing.as_mut().unwrap().signers = signers.into();
    append(&test, 1).unwrap();
    let bytes = fs::read(test.folder().join(CHECKPOINT_FILE)).unwrap();
    let checkpoint = SignedCheckpoint::parse(&bytes).unwrap();
    let verified = checkpoint.verify(&verifiers).unwrap();
    let times: Vec<_> = verified.iter().map(|it| it.time_secs()).collect();
    let now_secs = u64::try_from(now().millis() / 1_000).unwrap();
    assert_eq!(times, [None, Some(now_secs)]);
}
