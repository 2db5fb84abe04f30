//! Blobs: written once, found by digest, verified when read, durable when synced.

use super::*;
use crate::log::storage::RealStorage;
use crate::log::storage::faulty::{Failure, Fault, FaultyStorage, Step};

struct Test {
    folder: tempfile::TempDir,
    storage: FaultyStorage,
    store: BlobStore,
}

impl Test {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = FaultyStorage::default();
        let store = BlobStore::open(Arc::new(storage.clone()), folder.path()).unwrap();
        Self {
            folder,
            storage,
            store,
        }
    }

    fn put(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        put(&self.store, bytes)
    }

    /// The store of a process that is started anew.
    fn reopen(&mut self) {
        self.store = BlobStore::open(Arc::new(self.storage.clone()), self.folder.path()).unwrap();
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        path(&self.folder.path().join(BLOB_FOLDER), digest)
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        read(self.folder.path(), digest)
    }
}

fn put(store: &BlobStore, bytes: &[u8]) -> Result<Digest, BlobError> {
    let digest = Digest::of(bytes);
    store.put(digest, bytes).map(|()| digest)
}

#[test]
fn a_blob_is_found_under_its_digest() {
    let test = Test::new();
    for bytes in [&b"abc"[..], b"", &[7; 100_000]] {
        let digest = test.put(bytes).unwrap();
        assert_eq!(digest, Digest::of(bytes));
        assert!(test.store.has(&digest));
        assert_eq!(test.read(&digest).unwrap(), bytes);
    }
    let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let path = test.folder.path().join("blob/sha256/ba").join(name);
    assert_eq!(fs::read(path).unwrap(), b"abc");
}

#[test]
fn a_blob_is_written_once() {
    let mut test = Test::new();
    let digest = test.put(b"abc").unwrap();
    test.storage
        .arm(&[Fault::new(Step::Create, Failure::Undone)]);
    test.put(b"abc").unwrap();
    test.reopen();
    assert!(!test.store.has(&digest));
    test.put(b"abc").unwrap();
    assert!(test.store.has(&digest) && !test.storage.is_spent());
}

#[test]
fn a_blob_with_other_bytes_is_never_returned_and_is_written_again() {
    let mut test = Test::new();
    let digest = test.put(b"abc").unwrap();
    for damaged in [&b"abd"[..], b"", b"abcd"] {
        fs::write(test.path(&digest), damaged).unwrap();
        let error = test.read(&digest).unwrap_err();
        assert!(matches!(error, BlobError::Damaged(named) if named == digest));
        assert!(error.to_string().contains(&digest.to_string()));
        test.reopen();
        test.put(b"abc").unwrap();
        assert_eq!(test.read(&digest).unwrap(), b"abc");
    }
}

#[test]
fn what_is_missing_too_large_or_no_file_is_named() {
    let test = Test::new();
    let digest = Digest::of(b"never written");
    assert!(matches!(test.read(&digest), Err(BlobError::Missing(named)) if named == digest));
    let large = test.put(b"abc").unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(test.path(&large))
        .unwrap();
    file.set_len(BLOB_MAX_BYTES + 1).unwrap();
    let bytes_found = BLOB_MAX_BYTES + 1;
    assert!(
        matches!(test.read(&large), Err(BlobError::TooLarge { bytes }) if bytes == bytes_found)
    );
    let folder = Digest::of(b"a folder");
    fs::create_dir_all(test.path(&folder)).unwrap();
    assert!(matches!(test.read(&folder), Err(BlobError::Io { digest, .. }) if digest == folder));
}

#[test]
fn a_blob_over_the_limit_is_refused_before_it_is_hashed() {
    let test = Test::new();
    let bytes = vec![0; usize::try_from(BLOB_MAX_BYTES).unwrap() + 1];
    assert!(matches!(test.put(&bytes), Err(BlobError::TooLarge { .. })));
    assert!(test.store.state.lock().present.is_empty());
}

#[test]
fn a_sync_makes_durable_what_was_put_and_once() {
    let mut test = Test::new();
    let digest = test.put(&[1; 5000]).unwrap();
    let path = test.path(&digest);
    assert_eq!(test.storage.durable_bytes(&path), 0);
    test.store.sync().unwrap();
    assert_eq!(test.storage.durable_bytes(&path), 5000);
    test.put(&[1; 5000]).unwrap();
    test.store.sync().unwrap();
    assert_eq!(test.storage.syncs(), 1);
    // Who wrote it may have died before the sync.
    test.reopen();
    test.put(&[1; 5000]).unwrap();
    test.store.sync().unwrap();
    assert_eq!(test.storage.syncs(), 2);
}

#[test]
fn each_step_of_a_put_can_fail_and_be_tried_again() {
    for step in [Step::Create, Step::Write, Step::Rename] {
        for failure in [
            Failure::Undone,
            Failure::Done,
            Failure::Half,
            Failure::Short,
            Failure::Full,
        ] {
            let mut test = Test::new();
            test.storage.arm(&[Fault::new(step, failure)]);
            assert!(
                matches!(test.put(b"abcdef"), Err(BlobError::Io { .. })),
                "{step:?}"
            );
            assert!(test.storage.is_spent());
            let digest = Digest::of(b"abcdef");
            assert!(!test.store.has(&digest), "{step:?} {failure:?}");
            // Whole or not at all.
            assert!(
                test.read(&digest).is_ok_and(|bytes| bytes == b"abcdef")
                    || matches!(test.read(&digest), Err(BlobError::Missing(_))),
                "{step:?} {failure:?}"
            );
            test.put(b"abcdef").unwrap();
            test.reopen();
            assert_eq!(test.read(&digest).unwrap(), b"abcdef");
        }
    }
}

#[test]
fn each_step_of_a_sync_can_fail_and_is_reported() {
    for step in [Step::OpenReadOnly, Step::Sync, Step::SyncFolder] {
        for failure in [Failure::Undone, Failure::Done] {
            let test = Test::new();
            test.put(b"abc").unwrap();
            test.storage.arm(&[Fault::new(step, failure)]);
            assert!(
                matches!(test.store.sync(), Err(BlobError::Sync(_))),
                "{step:?} {failure:?}"
            );
        }
    }
}

/// As after a restore, or `chmod -R a-w`.
#[test]
fn a_blob_that_is_read_only_is_synced_and_not_written_again() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let mut test = Test::new();
    let digest = test.put(b"abc").unwrap();
    let path = test.path(&digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let before = fs::metadata(&path).unwrap().ino();
    test.reopen();
    test.put(b"abc").unwrap();
    test.store.sync().unwrap();
    assert_eq!(test.storage.durable_bytes(&path), 3);
    assert_eq!(fs::metadata(&path).unwrap().ino(), before);
}

#[test]
fn what_a_crash_left_half_written_is_deleted() {
    let mut test = Test::new();
    let half = test.folder.path().join(BLOB_FOLDER).join("3.tmp");
    fs::write(&half, "half").unwrap();
    let digest = test.put(b"abc").unwrap();
    test.reopen();
    assert!(!half.exists());
    assert_eq!(test.read(&digest).unwrap(), b"abc");
}

#[test]
fn memory_is_bounded_and_what_is_forgotten_is_still_synced() {
    let test = Test::new();
    for number in 0..=UNSYNCED_MAX {
        test.put(&number.to_be_bytes()).unwrap();
    }
    assert_eq!(test.storage.syncs(), UNSYNCED_MAX as u64);
    assert_eq!(test.store.state.lock().unsynced.len(), 1);
    let known = (0..PRESENT_MAX as u64).map(|number| Digest::of(&number.to_le_bytes()));
    test.store.state.lock().present.extend(known);
    let digest = test.put(b"abc").unwrap();
    assert_eq!(test.store.state.lock().present.len(), 1);
    assert!(test.store.has(&digest));
    test.store.sync().unwrap();
    assert_eq!(test.storage.syncs(), UNSYNCED_MAX as u64 + 2);
}

#[test]
fn a_second_sync_does_not_end_before_the_first() {
    let test = Test::new();
    test.put(b"abc").unwrap();
    test.storage.arm(&[Fault::new(Step::Sync, Failure::Hang)]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| test.store.sync());
        while !test.storage.is_spent() {
            std::thread::yield_now();
        }
        assert!(matches!(test.store.sync(), Err(BlobError::Busy)));
        test.storage.release();
        first.join().unwrap().unwrap();
    });
    test.store.sync().unwrap();
}

#[test]
fn many_threads_put_the_same_blobs() {
    let folder = tempfile::tempdir().unwrap();
    let store = BlobStore::open(Arc::new(RealStorage), folder.path()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..20_u32 {
                    put(&store, &number.to_be_bytes()).unwrap();
                }
            });
        }
    });
    store.sync().unwrap();
    for number in 0..20_u32 {
        let bytes = number.to_be_bytes();
        assert_eq!(read(folder.path(), &Digest::of(&bytes)).unwrap(), bytes);
    }
}
