//! The folder under a log: who may see it, who may write it, and what is told when it is not as it
//! should be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::super::blob::BlobError;
use super::super::storage::faulty::{Failure, Fault, Step};
use super::*;

/// The permissions of a file or folder and of all that is in it.
fn modes(path: &Path) -> Vec<(PathBuf, bool, u32)> {
    let found = path.metadata().unwrap();
    let mut all = vec![(
        path.to_owned(),
        found.is_dir(),
        found.permissions().mode() & 0o777,
    )];
    if found.is_dir() {
        let inside = fs::read_dir(path).unwrap();
        all.extend(inside.flat_map(|entry| modes(&entry.unwrap().path())));
    }
    all
}

#[test]
fn nobody_but_the_owner_sees_anything() {
    let dir = tempfile::tempdir().unwrap();
    let outer = dir.path().join("state");
    let options = LogOptions {
        segment_max_bytes: 1,
        ..options()
    };
    let log = Log::create(&outer.join("log"), options, now()).unwrap();
    put_blob(&log, b"blob").unwrap();
    log.append(b"one").unwrap();
    let modes = modes(&outer);
    // The outer folder, the log's, four in it; the lock, two segments and a blob.
    let folders = modes.iter().filter(|(_, is_folder, _)| *is_folder).count();
    assert_eq!((folders, modes.len()), (6, 10), "{modes:?}");
    for (path, is_folder, mode) in modes {
        let expected = if is_folder { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{path:?}");
    }
}

/// Nobody, root neither, can open for writing a program that runs.
#[test]
fn a_file_that_cannot_be_written_can_be_synced() {
    let program = std::env::current_exe().unwrap();
    RealStorage.open(&program).unwrap_err();
    RealStorage.sync_file(&program).unwrap();
}

#[test]
fn two_segments_have_two_salts() {
    let salts: std::collections::HashSet<_> = (0..4).map(|_| RealStorage.salt().unwrap()).collect();
    assert!(salts.len() > 1);
}

#[test]
fn without_the_lock_file_a_second_writer_is_still_refused() {
    let test = Test::new();
    let log = test.open().unwrap();
    fs::remove_file(test.folder().join("lock")).unwrap();
    for _ in 0..2 {
        let error = test.open().unwrap_err();
        assert_eq!(
            chain(&error),
            "in use by another keyward process (pid unknown)"
        );
    }
    log.append_durable(b"one").unwrap();
    drop(log);
    drop(test.open().unwrap());
    assert_eq!(test.entries().len(), 3);
}

#[test]
fn a_log_that_is_moved_away_is_poisoned_and_stays_locked() {
    for segment_max_bytes in [1, SEGMENT_MAX_BYTES] {
        let mut test = Test::new();
        test.options.segment_max_bytes = segment_max_bytes;
        let log = test.open().unwrap();
        let moved = test.dir.path().join("moved");
        fs::rename(test.folder(), &moved).unwrap();
        // In the place of the one that is gone there may be another.
        let other = test.open().unwrap();
        let error = log.append_durable(b"one").unwrap_err();
        assert_eq!(error.kind(), AppendErrorKind::Poisoned);
        assert!(
            error.to_string().ends_with("was moved or replaced"),
            "{error}"
        );
        other.append_durable(b"two").unwrap();
        let again = Log::open(&moved, test.options.clone(), now());
        assert!(matches!(again, Err(LogError::InUse { .. })));
        drop((log, other));
        assert_eq!(test.entries()[1..], [b"two"]);
        Log::open(&moved, test.options.clone(), now()).unwrap();
    }
}

/// A file whose end is torn within an entry that holds what a frame begins with.
#[test]
fn a_torn_entry_that_imitates_an_entry_does_not_keep_a_log_from_opening() {
    let test = Test::new();
    let log = test.open().unwrap();
    let mut imitated = b"[20, h'".to_vec();
    segment::encode_frame(
        0,
        2,
        b"as a client without the salt writes it",
        &mut imitated,
    );
    imitated.extend(b"']");
    log.append(&imitated).unwrap();
    drop(log);
    let bytes = fs::read(test.segment(0)).unwrap();
    fs::write(test.segment(0), &bytes[..bytes.len() - 1]).unwrap();
    drop(test.open().unwrap());
    assert_eq!(recoveries(&test.entries()).len(), 1);
}

fn denied() -> std::io::Error {
    std::io::ErrorKind::PermissionDenied.into()
}

/// Behind "log folder `x`: ", where each cause stands once.
#[test]
fn errors_read_well_with_their_causes() {
    let lock = LogError::Io {
        action: "lock it",
        source: denied(),
    };
    let begin = LogError::Io {
        action: "begin a segment",
        source: std::io::ErrorKind::StorageFull.into(),
    };
    let unreadable = LogReadError::Segment {
        path: "wal/0.wal".into(),
        source: SegmentError::Io(denied()),
    };
    let damaged = LogReadError::Segment {
        path: "wal/0.wal".into(),
        source: SegmentError::Header,
    };
    let listed = LogReadError::Io {
        what: "its folder `wal`",
        source: denied(),
    };
    let boot = AppendError::io("write to the log", &std::io::ErrorKind::StorageFull.into());
    let digest = Digest::from_bytes([0xab; 32]);
    let blob = BlobError::Io {
        digest,
        error: denied(),
    };
    let blob_text = format!("blob `{digest}` cannot be read or written: permission denied");
    for (error, expected) in [
        (
            lock,
            "cannot lock it; run keyward as the owner of the log folder, or name another folder: \
             permission denied",
        ),
        (
            begin,
            "cannot begin a segment; make room on its file system, or name a folder on another \
             one: no storage space",
        ),
        (
            unreadable.into(),
            "segment `wal/0.wal`: it cannot be read: permission denied",
        ),
        (
            damaged.into(),
            "segment `wal/0.wal`: its header is damaged; restore the file from a copy",
        ),
        (
            listed.into(),
            "cannot read its folder `wal`: permission denied",
        ),
        (
            boot.into(),
            "the log does not take its boot record: cannot write to the log: no storage space",
        ),
        (LogReadError::Blob(blob).into(), &blob_text),
    ] {
        assert_eq!(chain(&error), expected);
    }
}

#[test]
fn a_start_that_fails_says_so_once_and_does_not_name_the_folder() {
    for step in [Step::Create, Step::Sync, Step::SyncFolder] {
        let test = Test::new();
        test.storage.arm(&[Fault::new(step, Failure::Undone)]);
        let error = chain(&test.open().unwrap_err());
        let cause = "Input/output error";
        assert_eq!(error.matches(cause).count(), 1, "{step:?}: {error}");
        let folder = test.dir.path().to_string_lossy().into_owned();
        assert!(!error.contains(&folder), "{step:?}: {error}");
    }
}
