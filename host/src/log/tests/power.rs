//! Power cuts and kills after any operation of a host, again and again: that the log opens, that
//! nothing is lost that was acknowledged, and that no other tree is shown than was shown before.
//!
//! Everything follows from seeds, which a failure prints. `KEYWARD_CRASH_SEEDS=N` runs so many
//! instead of a few, from `KEYWARD_CRASH_FIRST=M` on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use crate::log::open;
use crate::log::publish::{HEAD_FILE, Publisher, Publishing};
use crate::log::storage::recording::{Disk, Numbers, Operation, RecordingStorage};
use crate::log::tiles::{CHECKPOINT_FILE, TileReader};
use crate::log::writer::Writer;
use crate::tlog::checkpoint::SignedCheckpoint;
use crate::tlog::key::{KeyType, Signer};
use crate::tlog::merkle::{Tree, TreeHead, leaf_hash};
use crate::tlog::tile::{TileKind, tiles_between};

use super::*;

/// How many crashes there are of what one seed does.
const CRASHES: u64 = 15;
/// How many operations there are at most while a log is opened.
const OPENING: usize = 12;
/// How many crashes follow one another.
const ROUNDS: u64 = 3;

/// A disk, and what is promised of the log on it.
#[derive(Clone, Debug)]
struct World {
    disk: Disk,
    promises: Promises,
}

/// What a log has promised.
#[derive(Clone, Debug, Default)]
struct Promises {
    /// Entries that were taken.
    entries: BTreeMap<u64, Vec<u8>>,
    /// Entries below this index outlive a power cut.
    durable: u64,
    /// Blobs that were taken, and the index of the next entry then.
    blobs: Vec<(u64, Vec<u8>)>,
    /// Trees whose checkpoints anyone can have seen.
    shown: BTreeSet<(u64, Digest)>,
    /// All entries that there ever were, promised or not.
    known: BTreeSet<(u64, Vec<u8>)>,
    /// How many denials were counted, and how many of them at least are in the log for good.
    counted: u64,
    counted_durable: u64,
}

/// A promise.
#[derive(Clone, Debug)]
enum Promise {
    Blob(u64, Vec<u8>),
    Counted,
    CountedDurable(u64),
    Durable(u64),
    Entry(u64, Vec<u8>),
    Shown(TreeHead),
}

/// What a host has done.
#[derive(Debug)]
struct Recording {
    start: World,
    operations: Vec<Operation>,
    /// What was promised, and after how many operations.
    promises: Vec<(usize, Promise)>,
}

/// A log as a host has it, whose publisher steps when it is told to.
struct Host {
    writer: Arc<Writer>,
    publisher: Option<Publisher>,
    sync_thread: Option<JoinHandle<()>>,
}

/// A host at work.
struct Work<'a> {
    storage: &'a RecordingStorage,
    options: &'a LogOptions,
    numbers: Numbers,
    folder: PathBuf,
    host: Option<Host>,
    promises: Vec<(usize, Promise)>,
    /// How many denials were counted since the last sync.
    counted: u64,
    /// In so many steps there is one of each kind but appends.
    steps: u64,
}

impl Promises {
    fn add(&mut self, promise: &Promise) {
        match promise {
            Promise::Blob(next, bytes) => self.blobs.push((*next, bytes.clone())),
            Promise::Counted => self.counted += 1,
            Promise::CountedDurable(count) => self.counted_durable += count,
            Promise::Durable(end) => self.durable = self.durable.max(*end),
            Promise::Entry(index, payload) => {
                self.entries.insert(*index, payload.clone());
            }
            Promise::Shown(head) => {
                self.shown.insert((head.size, head.root));
            }
        }
    }

    /// What is promised after a power cut.
    fn cut(&mut self) {
        let durable = self.durable;
        self.entries.retain(|index, _| *index < durable);
        // A blob is durable no later than an entry that was appended after it.
        self.blobs.retain(|(next, _)| *next < durable);
    }

    /// Checks what is in a folder; returns how many entries there are.
    fn check(&self, folder: &Path) -> u64 {
        let reader = LogReader::open(folder).unwrap();
        let mut tree = Tree::new();
        let mut heads = BTreeMap::from([(0, tree.root())]);
        let mut counted = 0;
        for entry in reader.entries() {
            let (index, payload) = entry.unwrap();
            assert_eq!(index, tree.size());
            if let Some(promised) = self.entries.get(&index) {
                assert_eq!(&payload, promised, "entry {index} is another");
            } else {
                let ours = match Entry::decode(&payload) {
                    Ok(Entry::Coalesced(coalesced)) => {
                        counted += coalesced.count;
                        true
                    }
                    Ok(Entry::Boot(_) | Entry::Recovery(_)) => true,
                    _ => false,
                };
                assert!(
                    ours || self.known.contains(&(index, payload.clone())),
                    "entry {index} was never appended"
                );
            }
            tree.push(leaf_hash(&payload));
            heads.insert(tree.size(), tree.root());
        }
        if let Some((index, _)) = self.entries.last_key_value() {
            assert!(*index < tree.size(), "entry {index} is lost");
        }
        let expected = self.counted_durable..=self.counted;
        assert!(expected.contains(&counted), "{counted} of {expected:?}");
        for (size, root) in &self.shown {
            assert_eq!(heads.get(size), Some(root), "a fork at {size}");
        }
        for (_, bytes) in &self.blobs {
            assert_eq!(&reader.blob(Digest::of(bytes)).unwrap(), bytes);
        }
        tree.size()
    }
}

impl Host {
    fn open(
        storage: &RecordingStorage,
        folder: &Path,
        options: &LogOptions,
    ) -> Result<Self, LogError> {
        let storage = Arc::new(storage.clone());
        let expected = expected(folder)?;
        let (writer, publisher) = open::open(storage, folder, (options, expected), now())?;
        let writer = Arc::new(writer);
        let shared = Arc::clone(&writer);
        let interval = Duration::from_millis(SYNC_INTERVAL_MAX_MS);
        Ok(Self {
            writer,
            publisher,
            sync_thread: Some(thread::spawn(move || shared.run_syncs(interval))),
        })
    }

    /// Publishes what is durable, as the publishing thread does.
    fn publish(&mut self) {
        let Some(publisher) = &mut self.publisher else {
            return;
        };
        let durable = self.writer.durable().unwrap();
        while publisher.published() < durable {
            publisher.step(durable).unwrap();
        }
    }

    /// As [`Log`] is closed.
    fn close(mut self) {
        assert!(self.writer.end());
        self.sync_thread.take().unwrap().join().unwrap();
        self.publish();
    }
}

impl Work<'_> {
    fn promise(&mut self, promise: Promise) {
        self.promises.push((self.storage.count(), promise));
    }

    fn writer(&self) -> Arc<Writer> {
        Arc::clone(&self.host.as_ref().unwrap().writer)
    }

    /// Notes what is durable now.
    fn promise_durable(&mut self) {
        let durable = self.writer().durable().unwrap();
        self.promise(Promise::Durable(durable));
    }

    fn open(&mut self) {
        let host = Host::open(self.storage, &self.folder, self.options);
        self.host = Some(host.unwrap_or_else(|error| panic!("refused: {}", chain(&error))));
        let boot = Entry::Boot(boot(self.options.clone(), now())).encode();
        self.append_reserved(boot);
    }

    fn close(&mut self) {
        self.host.take().unwrap().close();
        self.counts_are_durable();
    }

    /// Counts a denial, which no thread records before it is asked to sync.
    fn count(&mut self) {
        self.promise(Promise::Counted);
        self.writer().count("key.unknown", now()).unwrap();
        self.counted += 1;
    }

    fn sync(&mut self) {
        self.writer().sync().unwrap();
        self.counts_are_durable();
    }

    fn counts_are_durable(&mut self) {
        let counted = std::mem::take(&mut self.counted);
        self.promise(Promise::CountedDurable(counted));
    }

    fn append(&mut self, payload: Vec<u8>, durability: Durability) {
        let receipt = self.writer().append(&payload, durability).unwrap();
        self.promise(Promise::Entry(receipt.index(), payload));
        if durability == Durability::Durable {
            assert_eq!(receipt.durability(), durability);
            self.promise(Promise::Durable(receipt.index() + 1));
        }
    }

    fn append_reserved(&mut self, payload: Vec<u8>) {
        let receipt = self.writer().append_reserved(&payload).unwrap();
        self.promise(Promise::Entry(receipt.index(), payload));
        self.promise(Promise::Durable(receipt.index() + 1));
    }

    /// The disk is full, from before the log is opened or only then. Decisions are refused without
    /// a trace once what is allocated is used up; everything else is taken.
    fn full_disk(&mut self) {
        let is_opened = self.numbers.below(2) == 0;
        if is_opened {
            self.close();
        }
        self.storage.fill(true);
        if is_opened {
            self.open();
        }
        for number in 0..self.numbers.below(6) {
            let mut decision = format!("decision {number} on a full disk ").into_bytes();
            decision.resize([100, 60_000][self.numbers.below_usize(2)], b'x');
            match self.writer().append(&decision, Durability::Written) {
                Ok(receipt) => self.promise(Promise::Entry(receipt.index(), decision)),
                Err(error) => assert_eq!(error.kind(), AppendErrorKind::DiskFull),
            }
            self.append_reserved(format!("{number} on a full disk").into_bytes());
        }
        self.storage.fill(false);
        // Who opens it again does not wait for the seal to come off.
        self.close();
        self.open();
    }

    fn append_one(&mut self) {
        let most = [20, 20, 60, 60, 300, 3_000][self.numbers.below_usize(6)];
        let number = self.numbers.below(1 << 32);
        let mut payload = format!("entry {number} ").into_bytes();
        payload.resize(payload.len() + self.numbers.below_usize(most), b'x');
        self.append(payload, self.options.durability);
    }

    fn put_blob(&mut self) {
        // Few, so that some come again.
        let number = self.numbers.below(5);
        let bytes = format!("blob {number} ").repeat(1 << (2 * number));
        let next = self.writer().append(b"before a blob", Durability::Written);
        let next = next.unwrap().index();
        self.promise(Promise::Entry(next, b"before a blob".to_vec()));
        let put = self
            .writer()
            .put_blob(Digest::of(bytes.as_bytes()), || &bytes);
        put.unwrap();
        self.promise(Promise::Blob(next + 1, bytes.into()));
    }

    fn step(&mut self) {
        match self.numbers.below(self.steps) {
            0 => {
                self.close();
                self.open();
            }
            1..=2 => self.host.as_mut().unwrap().publish(),
            3 => self.sync(),
            4 => self.append_reserved(b"durable".to_vec()),
            5 => self.put_blob(),
            6..=7 => self.count(),
            8 => self.full_disk(),
            _ => self.append_one(),
        }
        self.promise_durable();
    }
}

impl World {
    /// A host runs: it opens the log, does some steps and closes it. Everything is checked after
    /// the opening and at the end.
    fn run(self, options: &LogOptions, numbers: Numbers, count: u64) -> Recording {
        // Quicker in memory.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let dir = dir.unwrap();
        self.disk.lay_out(dir.path());
        let storage = RecordingStorage::new(dir.path(), self.disk.clone());
        let mut numbers = numbers;
        let mut work = Work {
            storage: &storage,
            options,
            steps: [12, 20, 80][numbers.below_usize(3)],
            numbers,
            folder: dir.path().join("log"),
            host: None,
            promises: Vec::new(),
            counted: 0,
        };
        let found = recoveries_and_torn(&work.folder);
        work.open();
        self.promises.check(&work.folder);
        if let Some((before, is_torn)) = found {
            let expected = (before + usize::from(is_torn), false);
            assert_eq!(recoveries_and_torn(&work.folder), Some(expected));
        }
        for _ in 0..count {
            work.step();
        }
        work.close();
        let (mut promises, folder) = (work.promises, work.folder);
        let (operations, named) = storage.end();
        for file in named {
            if file.path.ends_with(HEAD_FILE) || file.path.ends_with(CHECKPOINT_FILE) {
                let shown = SignedCheckpoint::parse(&file.bytes).unwrap();
                promises.push((file.time, Promise::Shown(shown.checkpoint().head())));
            }
        }
        let recording = Recording {
            start: self,
            operations,
            promises,
        };
        let end = recording.promises_after(usize::MAX);
        let size = end.check(&folder);
        if options.publishing.is_some() {
            check_published(&folder, size);
        }
        recording
    }
}

impl Recording {
    fn promises_after(&self, count: usize) -> Promises {
        let mut promises = self.start.promises.clone();
        for (time, promise) in &self.promises {
            if *time <= count {
                promises.add(promise);
            }
            if let Promise::Entry(index, payload) = promise {
                promises.known.insert((*index, payload.clone()));
            }
        }
        promises
    }

    fn disk_after(&self, count: usize) -> Disk {
        let mut disk = self.start.disk.clone();
        for operation in &self.operations[..count] {
            disk.apply(operation);
        }
        disk
    }

    /// The host is killed after some operations, perhaps in the middle of the next one.
    fn killed(&self, count: usize, numbers: &mut Numbers) -> World {
        let mut disk = self.disk_after(count);
        if let Some(torn) = self.operations.get(count).and_then(|it| it.tear(numbers)) {
            disk.apply(&torn);
        }
        let promises = self.promises_after(count);
        World { disk, promises }
    }

    /// The power is cut after some operations.
    fn cut(&self, count: usize, numbers: &mut Numbers) -> World {
        let disk = self.disk_after(count).after_power_cut(numbers);
        let mut promises = self.promises_after(count);
        promises.cut();
        World { disk, promises }
    }

    /// A crash somewhere, often while the log is opened.
    fn crash(&self, numbers: &mut Numbers) -> (String, World) {
        let all = self.operations.len();
        let last = if numbers.below(3) == 0 {
            all.min(OPENING)
        } else {
            all
        };
        let count = numbers.below_usize(last + 1);
        let name = |what: &str| format!("{what} after {count} of {all}");
        if numbers.below(3) == 0 {
            (name("killed"), self.killed(count, numbers))
        } else {
            (name("power cut"), self.cut(count, numbers))
        }
    }
}

/// How many recoveries there are, and whether the end is torn; `None` where no log has begun.
fn recoveries_and_torn(folder: &Path) -> Option<(usize, bool)> {
    let reader = LogReader::open(folder).ok()?;
    let entries: Vec<_> = reader
        .segment_entries(0)
        .map_while(|it| it.ok().map(|(_, payload)| payload))
        .collect();
    Some((recoveries(&entries).len(), reader.torn_tail().is_some()))
}

/// Checks everything that is published of a log of some entries.
fn check_published(folder: &Path, size: u64) {
    let tiles = TileReader::new(folder);
    let head = tiles.checkpoint().unwrap();
    let head = head.checkpoint().head();
    assert_eq!(head.size, size);
    let mut tree = Tree::new();
    for tile in tiles_between(0, size) {
        match tile.kind() {
            TileKind::Entries => {
                let push = |entry: &[u8]| tree.push(leaf_hash(entry));
                tiles.bundle(tile, push).unwrap();
            }
            TileKind::Hashes { .. } => drop(tiles.hashes(tile).unwrap()),
        }
    }
    assert_eq!(tree.head(), head);
    let node = |level, index| tiles.node(level, index, size);
    assert_eq!(crate::tlog::merkle::root_of(size, node).unwrap(), head.root);
}

/// Says what a failed test was doing.
struct Doing(String);

impl Drop for Doing {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

fn publishing() -> Publishing {
    let signer = Signer::from_seed(KeyType::Ed25519, ORIGIN, &[7; 32]).unwrap();
    Publishing {
        signers: vec![signer].into(),
        interval_ms: CHECKPOINT_INTERVAL_MAX_MS,
        clock: now,
        witnesses: None,
    }
}

/// Which seeds are run, of so many.
fn seeds(count: u64) -> Range<u64> {
    let number = |name| std::env::var(name).ok()?.parse().ok();
    let first = number("KEYWARD_CRASH_FIRST").unwrap_or(0);
    first..first + number("KEYWARD_CRASH_SEEDS").unwrap_or(count)
}

/// A host, and all that may come after it.
fn run(seed: u64, durability: Durability) {
    let mut numbers = Numbers::new(seed);
    let mut options = options();
    options.durability = durability;
    options.segment_max_bytes = [2_000, 10_000, SEGMENT_MAX_BYTES][numbers.below_usize(3)];
    let publishes = numbers.below(3) > 0;
    options.publishing = publishes.then(publishing);
    let mut world = World {
        disk: Disk::empty(),
        promises: Promises::default(),
    };
    let mut doing = Doing(format!("seed {seed}, {durability}"));
    if numbers.below(3) == 0 {
        // It goes over the end of a bundle.
        let before = world.run(&options, numbers.fork(), 245);
        world = before.killed(before.operations.len(), &mut numbers);
    }
    let count = 5 + numbers.below(40);
    let recording = world.run(&options, numbers.fork(), count);
    for crash in 0..CRASHES {
        let mut numbers = numbers.fork();
        let (mut name, mut world) = recording.crash(&mut numbers);
        let mut options = options.clone();
        for _ in 1..ROUNDS {
            doing.0 = format!("KEYWARD_CRASH_FIRST={seed} {durability}, crash {crash}: {name}");
            let count = numbers.below(12);
            if numbers.below(4) == 0 {
                options.publishing = Some(publishing());
            }
            let again = world.run(&options, numbers.fork(), count);
            let (more, next) = again.crash(&mut numbers);
            name = format!("{name}, {more}");
            world = next;
        }
        doing.0 = format!("KEYWARD_CRASH_FIRST={seed} {durability}, crash {crash}: {name}");
        world.run(&options, numbers.fork(), 2);
    }
}

#[test]
fn no_crash_of_a_host_that_promises_durable_entries_breaks_a_promise() {
    seeds(36).for_each(|seed| run(seed, Durability::Durable));
}

#[test]
fn no_crash_of_a_host_that_promises_written_entries_breaks_a_promise() {
    seeds(36).for_each(|seed| run(seed, Durability::Written));
}
