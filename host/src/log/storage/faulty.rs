//! Storage for tests: real files, faults on command, a disk that is full on command, and a memory
//! of what a power cut would leave. It never waits for the disk, so that a test may open a thousand
//! logs. Room is allocated in its books only.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use super::*;

/// An operation that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Step {
    Create,
    Open,
    OpenFileSystem,
    OpenReadOnly,
    Rename,
    SyncFileSystem,
    SyncFolder,
    Allocate,
    Write,
    Sync,
    Truncate,
    Links,
    Salt,
}

/// How it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Failure {
    /// An error, and nothing was done.
    Undone,
    /// An error, though all was done.
    Done,
    /// An error, and half of a write was done.
    Half,
    /// No error; half of a write was done, as the number returned says.
    Short,
    /// As `Undone`, because the disk is full.
    Full,
    /// Nothing happens until [`FaultyStorage::release`], then all is done.
    Hang,
}

/// One fault to come.
#[derive(Clone, Copy, Debug)]
pub(in crate::log) struct Fault {
    pub(in crate::log) step: Step,
    pub(in crate::log) failure: Failure,
    /// Only in paths that contain this.
    pub(in crate::log) place: &'static str,
    /// How many such operations succeed before.
    pub(in crate::log) skip: u32,
    /// How many then fail.
    pub(in crate::log) times: u32,
}

/// The salt of every segment.
pub(in crate::log) const SALT: u32 = 0x5eed_5a17;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(in crate::log) struct FaultyStorage(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    hanging: bool,
    is_full: bool,
    cannot_allocate: bool,
    files: HashMap<PathBuf, Arc<Books>>,
    syncs: u64,
    allocations: u64,
}

/// What is known of a file.
#[derive(Debug, Default)]
struct Books {
    /// How many of its bytes are durable.
    durable: AtomicU64,
    /// Up to where it can be written on a full disk.
    allocated: AtomicU64,
}

impl Fault {
    /// The next operation of this kind fails, once.
    pub(in crate::log) const fn new(step: Step, failure: Failure) -> Self {
        Self {
            step,
            failure,
            place: "",
            skip: 0,
            times: 1,
        }
    }
}

impl FaultyStorage {
    pub(in crate::log) fn arm(&self, faults: &[Fault]) {
        self.0.state.lock().faults = faults.to_vec();
    }

    /// Whether every armed fault has happened.
    pub(in crate::log) fn is_spent(&self) -> bool {
        self.0.state.lock().faults.is_empty()
    }

    /// Ends every [`Failure::Hang`].
    pub(in crate::log) fn release(&self) {
        let mut state = self.0.state.lock();
        state.hanging = false;
        state.faults.clear();
        self.0.released.notify_all();
    }

    /// How many bytes of a file a power cut leaves for sure.
    pub(in crate::log) fn durable_bytes(&self, path: &Path) -> u64 {
        self.0
            .state
            .lock()
            .files
            .get(path)
            .map_or(0, |books| books.durable.load(Ordering::SeqCst))
    }

    /// Fills the disk, or frees it: what is not allocated is then refused.
    pub(in crate::log) fn fill(&self, is_full: bool) {
        self.0.state.lock().is_full = is_full;
    }

    /// Makes it a file system that cannot allocate.
    pub(in crate::log) fn forget_allocation(&self) {
        self.0.state.lock().cannot_allocate = true;
    }

    /// How many bytes of a file are allocated beyond an offset.
    pub(in crate::log) fn allocated_beyond(&self, path: &Path, offset: u64) -> u64 {
        let state = self.0.state.lock();
        let allocated = state.files[path].allocated.load(Ordering::SeqCst);
        allocated.saturating_sub(offset)
    }

    /// How often room was asked for.
    pub(in crate::log) fn allocations(&self) -> u64 {
        self.0.state.lock().allocations
    }

    /// Takes room for a file up to an offset.
    fn take(&self, books: &Books, until: u64) -> io::Result<()> {
        let is_full = self.0.state.lock().is_full;
        if is_full && until > books.allocated.load(Ordering::SeqCst) {
            return Err(full_error());
        }
        books.allocated.fetch_max(until, Ordering::SeqCst);
        Ok(())
    }

    /// How often a file was synced.
    pub(in crate::log) fn syncs(&self) -> u64 {
        self.0.state.lock().syncs
    }

    /// The failure that is due, if any.
    fn due(&self, step: Step, path: &Path) -> Option<Failure> {
        let mut state = self.0.state.lock();
        let place = path.to_string_lossy();
        let matches = |fault: &Fault| fault.step == step && place.contains(fault.place);
        let position = state.faults.iter().position(matches)?;
        let fault = &mut state.faults[position];
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times -= 1;
        let failure = fault.failure;
        if fault.times == 0 {
            state.faults.remove(position);
        }
        if failure == Failure::Hang {
            state.hanging = true;
            self.0
                .released
                .wait_while(&mut state, |state| state.hanging);
            return None;
        }
        Some(failure)
    }

    /// Does an operation, or not, as the fault that is due says.
    fn run<T>(
        &self,
        step: Step,
        path: &Path,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match self.due(step, path) {
            None => operation(),
            Some(Failure::Done) => operation().and(Err(input_output_error())),
            Some(Failure::Full) => Err(full_error()),
            Some(_) => Err(input_output_error()),
        }
    }

    fn file(&self, file: Box<dyn StoredFile>, path: &Path) -> Box<dyn StoredFile> {
        let books = self
            .0
            .state
            .lock()
            .files
            .entry(path.to_owned())
            .or_default()
            .clone();
        Box::new(FaultyFile {
            file,
            books,
            path: path.to_owned(),
            storage: self.clone(),
        })
    }
}

fn full_error() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl Storage for FaultyStorage {
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        self.run(Step::Create, path, || {
            self.0.state.lock().files.remove(path);
            Ok(self.file(RealStorage.create(path)?, path))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        self.run(Step::Open, path, || {
            Ok(self.file(RealStorage.open(path)?, path))
        })
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let file = self.run(Step::OpenReadOnly, path, || File::open(path))?;
        self.file(Box::new(RealFile(file)), path).sync()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(Step::Rename, to, || {
            let mut state = self.0.state.lock();
            let file = state.files.remove(from);
            state.files.extend(file.map(|file| (to.to_owned(), file)));
            RealStorage.rename(from, to)
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.run(Step::SyncFolder, folder, || Ok(()))
    }

    fn open_file_system(&self, folder: &Path) -> io::Result<Box<dyn FileSystem>> {
        self.run(Step::OpenFileSystem, folder, || {
            let (storage, folder) = (self.clone(), folder.to_owned());
            Ok(Box::new(FaultyFileSystem { storage, folder }) as Box<dyn FileSystem>)
        })
    }

    fn salt(&self) -> io::Result<u32> {
        self.run(Step::Salt, Path::new(""), || Ok(SALT))
    }
}

#[derive(Debug)]
struct FaultyFileSystem {
    storage: FaultyStorage,
    folder: PathBuf,
}

impl FileSystem for FaultyFileSystem {
    fn sync(&self) -> io::Result<()> {
        self.storage.run(Step::SyncFileSystem, &self.folder, || {
            for (path, books) in &self.storage.0.state.lock().files {
                if let Ok(file) = fs::metadata(path) {
                    books.durable.fetch_max(file.len(), Ordering::SeqCst);
                }
            }
            Ok(())
        })
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn StoredFile>,
    books: Arc<Books>,
    /// The path when it was opened: a renamed file keeps its first one.
    path: PathBuf,
    storage: FaultyStorage,
}

impl StoredFile for FaultyFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let half = &bytes[..bytes.len() / 2];
        self.storage
            .take(&self.books, offset + bytes.len() as u64)?;
        match self.storage.due(Step::Write, &self.path) {
            None => self.file.write_at(bytes, offset),
            Some(Failure::Short) => self.file.write_at(half, offset),
            Some(Failure::Half) => self
                .file
                .write_at(half, offset)
                .and(Err(input_output_error())),
            Some(Failure::Done) => self
                .file
                .write_at(bytes, offset)
                .and(Err(input_output_error())),
            Some(Failure::Full) => Err(full_error()),
            Some(Failure::Undone | Failure::Hang) => Err(input_output_error()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        // What is written while a sync runs is not promised by it.
        let written = self.file.length()?;
        self.storage.run(Step::Sync, &self.path, || {
            self.books.durable.fetch_max(written, Ordering::SeqCst);
            self.storage.0.state.lock().syncs += 1;
            Ok(())
        })
    }

    fn allocate(&self, offset: u64, length_bytes: u64) -> io::Result<()> {
        self.storage.run(Step::Allocate, &self.path, || {
            let mut state = self.storage.0.state.lock();
            state.allocations += 1;
            let cannot_allocate = state.cannot_allocate;
            drop(state);
            if cannot_allocate {
                return Err(io::Error::from_raw_os_error(95));
            }
            self.storage.take(&self.books, offset + length_bytes)
        })
    }

    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.storage.run(Step::Truncate, &self.path, || {
            self.books
                .allocated
                .fetch_min(length_bytes, Ordering::SeqCst);
            self.file.truncate(length_bytes)
        })
    }

    fn links(&self) -> io::Result<u64> {
        self.storage
            .run(Step::Links, &self.path, || self.file.links())
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
