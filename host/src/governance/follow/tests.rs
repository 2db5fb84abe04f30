//! Following: a change elsewhere is told in the log and in force here, in this order, and whoever
//! watches a key hears of its end.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::credential::random::operating_system;
use crate::credential::{Credential, IssuedSecret, Presented};
use crate::key::Environment;
use crate::key::json::{KeyOptions, read_keys};
use crate::key::rotation::Rotation;
use crate::log::{LogOptions, LogReader};
use crate::registry::watch::KeyEnd;
use crate::registry::{Registry as _, STALE, gate};

const NOW: i64 = 1_795_000_000_000;
const ID: &str = "k7Qp2mXw9LaR";

fn now() -> Timestamp {
    Timestamp::from_millis(NOW)
}

fn by() -> By<'static> {
    By {
        at: now(),
        actor: Some("amira"),
        user: None,
        reason: Some("a test"),
    }
}

fn id() -> KeyId {
    ID.parse().unwrap()
}

struct Host {
    dir: TempDir,
    log: Log,
    follower: Follower,
    keys: Arc<MemoryRegistry>,
}

impl Host {
    /// A host, and the registry as somebody else has it open.
    fn begin() -> (Self, SqliteRegistry) {
        let dir = tempfile::tempdir().unwrap();
        let key = format!(
            r#"{{"id":"{ID}","owner":"sync","issued_at":"2026-11-01T00:00:00Z",
            "expires_at":"2027-01-01T00:00:00Z","scopes":["a:b"]}}"#
        );
        let keys = read_keys(key.replace('\n', "").as_bytes(), KeyOptions::default()).unwrap();
        let open =
            || SqliteRegistry::open(&dir.path().join("keyward.db"), KeyOptions::default()).unwrap();
        open().import(keys, by()).unwrap();
        let folder = dir.path().join("log");
        let options = LogOptions {
            origin: "keyward.example/test".to_owned(),
            ..LogOptions::default()
        };
        let log = Log::create(&folder, options, now()).unwrap();
        let follower = Follower::begin(open(), (&log, folder), now, Lease::new(1_000, || 0))
            .unwrap()
            .0;
        let keys = follower.keys();
        let elsewhere = open();
        let host = Self {
            dir,
            log,
            follower,
            keys,
        };
        (host, elsewhere)
    }

    fn follow(&mut self) -> usize {
        self.follower.follow(&self.log).unwrap()
    }

    fn lifecycle(&self, id: KeyId) -> Option<Lifecycle> {
        self.keys.lookup(&id).map(|entry| entry.record().lifecycle)
    }

    fn logged(&self) -> Vec<u64> {
        let reader = LogReader::open(&self.dir.path().join("log")).unwrap();
        let entries = reader.entries().map(|entry| entry.unwrap().1);
        entries
            .filter_map(|bytes| match Entry::decode(&bytes) {
                Ok(Entry::KeyEvent(event)) => Some(event.sequence),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn a_change_elsewhere_is_told_and_in_force() {
    let (mut host, mut elsewhere) = Host::begin();
    assert_eq!((host.follow(), host.logged()), (0, vec![1]));
    elsewhere.edit(id(), &Edit::Suspend, by()).unwrap();
    elsewhere.edit(id(), &Edit::Resume, by()).unwrap();
    elsewhere.edit(id(), &Edit::Mask(true), by()).unwrap();
    assert_eq!(host.follow(), 3);
    assert!(host.keys.lookup(&id()).unwrap().record().read_only);
    assert_eq!(host.logged(), [1, 2, 3, 4]);
    assert_eq!(host.follow(), 0);
    // Keys from a file, too many to name, are read again as a whole.
    let key = r#"{"id":"000000000001","owner":"b","issued_at":"2026-11-01T00:00:00Z","scopes":[]}"#;
    let keys = read_keys(key.as_bytes(), KeyOptions::default()).unwrap();
    elsewhere.import(keys, by()).unwrap();
    host.follow();
    assert_eq!(host.keys.len(), 2);
}

#[test]
fn a_log_that_takes_nothing_lets_only_ends_through() {
    let (mut host, mut elsewhere) = Host::begin();
    // The folder is gone: every append fails from the next sync on.
    std::fs::rename(host.dir.path().join("log"), host.dir.path().join("gone")).unwrap();
    elsewhere.edit(id(), &Edit::Mask(true), by()).unwrap();
    host.follower.follow(&host.log).unwrap_err();
    assert!(!host.keys.lookup(&id()).unwrap().record().read_only);
    elsewhere.edit(id(), &Edit::Suspend, by()).unwrap();
    host.follower.follow(&host.log).unwrap_err();
    assert_eq!(host.lifecycle(id()), Some(Lifecycle::Suspended));
}

static LEASE_NOW_MS: AtomicU64 = AtomicU64::new(1_000);

#[test]
fn nothing_is_decided_on_a_registry_that_is_not_followed_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let path = dir.path().join("keyward.db");
        SqliteRegistry::open(&path, KeyOptions::default()).unwrap()
    };
    let key = r#"{"id":"k7Qp2mXw9LaR","owner":"b","issued_at":"2026-11-01T00:00:00Z","scopes":[]}"#;
    let keys = read_keys(key.as_bytes(), KeyOptions::default()).unwrap();
    open().import(keys, by()).unwrap();
    let folder = dir.path().join("log");
    let options = LogOptions {
        origin: "keyward.example/test".to_owned(),
        ..LogOptions::default()
    };
    let log = Log::create(&folder, options, now()).unwrap();
    let lease = Lease::new(5_000, || LEASE_NOW_MS.load(Ordering::Relaxed));
    let (mut follower, _) = Follower::begin(open(), (&log, folder.clone()), now, lease).unwrap();
    let keys = follower.keys();
    LEASE_NOW_MS.store(5_999, Ordering::Relaxed);
    assert!(!keys.is_stale());
    LEASE_NOW_MS.store(6_000, Ordering::Relaxed);
    assert!(keys.is_stale());
    let credential = IssuedSecret::generate(Environment::Live, id(), &mut operating_system());
    let credential = Credential::parse(credential.unwrap().expose()).unwrap();
    let refusal = gate(&Presented::Credential(credential), &*keys).unwrap_err();
    assert_eq!((refusal.reason, refusal.key), (STALE, Some(id())));
    follower.follow(&log).unwrap();
    assert!(!keys.is_stale());
    // A change that the log does not take is not followed, however often it is tried.
    std::fs::rename(&folder, dir.path().join("gone")).unwrap();
    open().edit(id(), &Edit::Mask(true), by()).unwrap();
    LEASE_NOW_MS.store(10_999, Ordering::Relaxed);
    follower.follow(&log).unwrap_err();
    assert!(!keys.is_stale());
    LEASE_NOW_MS.store(11_000, Ordering::Relaxed);
    follower.follow(&log).unwrap_err();
    assert!(keys.is_stale());
}

#[test]
fn a_successor_is_active_after_its_first_use() {
    let (mut host, mut elsewhere) = Host::begin();
    let rotation = Rotation {
        grace_ms: 60_000,
        lifetime_max_ms: 86_400_000,
        force: false,
    };
    let rotate = |registry: &mut SqliteRegistry| {
        registry.rotate((id(), rotation), by(), &mut operating_system())
    };
    let successor = rotate(&mut elsewhere).unwrap().successor.id;
    host.follow();
    assert_eq!(host.lifecycle(id()), Some(Lifecycle::Deprecated));
    // Nobody has used it: the lost secret is replaced.
    assert!(rotate(&mut elsewhere).unwrap().is_repeat);
    host.follow();
    host.keys.note_use(&id());
    assert_eq!(host.follow(), 0);
    host.keys.note_use(&successor);
    assert_eq!(host.follow(), 1);
    assert_eq!(elsewhere.unused_successor(&id()).unwrap(), None);
    assert!(rotate(&mut elsewhere).is_err());
    host.keys.note_use(&successor);
    assert_eq!(host.follow(), 0);
}

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn whoever_watches_a_key_hears_of_its_end() {
    let (mut host, mut elsewhere) = Host::begin();
    let mut watch = host.keys.watch(&id()).unwrap();
    let waiting = watch.clone();
    let waiter = thread::spawn(move || waiting.wait(Duration::from_secs(60)));
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    let mut poll = || Pin::new(&mut watch).poll(&mut Context::from_waker(&waker));
    assert_eq!(poll(), Poll::Pending);
    // What is not its end wakes nobody, and tells when it ends by itself.
    let end = Timestamp::parse("2026-12-01T00:00:00Z").unwrap();
    elsewhere.edit(id(), &Edit::Shorten(end), by()).unwrap();
    host.follow();
    assert_eq!((poll(), count.0.load(Ordering::SeqCst)), (Poll::Pending, 0));
    elsewhere.edit(id(), &Edit::Suspend, by()).unwrap();
    host.follow();
    assert_eq!(
        (poll(), count.0.load(Ordering::SeqCst)),
        (Poll::Ready(KeyEnd::Suspended), 1)
    );
    assert_eq!(waiter.join().unwrap(), Some(KeyEnd::Suspended));
    assert_eq!(watch.ends_at(), Some(end));
    // It stays ended for those who watched, and a new watch sees what is.
    elsewhere.edit(id(), &Edit::Resume, by()).unwrap();
    host.follow();
    assert_eq!(watch.end(), Some(KeyEnd::Suspended));
    assert_eq!(host.keys.watch(&id()).unwrap().end(), None);
    let nobody = "000000000000".parse().unwrap();
    assert_eq!(host.keys.watch(&nobody).unwrap().end(), Some(KeyEnd::Gone));
}
