//! Storage for tests: real files, and a record of everything that was done to them in order, from
//! which a test makes what a crash after any of it may leave. It never waits for the disk.
//!
//! Folders that the log makes and files that it deletes without the trait are noticed before the
//! next operation that could make them durable.

use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

mod disk;

pub(in crate::log) use disk::{Disk, Node, Numbers, Operation};

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::log) struct RecordingStorage(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What stands for the root of the disk.
    root: PathBuf,
    record: Mutex<Record>,
}

/// A file when it got its name.
#[derive(Debug)]
pub(in crate::log) struct Named {
    /// After how many operations.
    pub(in crate::log) time: usize,
    pub(in crate::log) path: PathBuf,
    pub(in crate::log) bytes: Vec<u8>,
}

#[derive(Debug)]
struct Record {
    operations: Vec<Operation>,
    /// The disk as it is now.
    disk: Disk,
    /// Whether to look for what was done without the trait before the next operation.
    must_look: bool,
    named: Vec<Named>,
    salts: u32,
    is_full: bool,
}

impl RecordingStorage {
    /// A storage on a folder in which a disk has been laid out.
    pub(in crate::log) fn new(root: &Path, disk: Disk) -> Self {
        Self(Arc::new(Shared {
            root: root.to_owned(),
            record: Mutex::new(Record {
                operations: Vec::new(),
                disk,
                must_look: true,
                named: Vec::new(),
                salts: 0,
                is_full: false,
            }),
        }))
    }

    /// How many operations there were.
    pub(in crate::log) fn count(&self) -> usize {
        self.0.record.lock().operations.len()
    }

    /// All operations, and the files that got a name by a rename.
    pub(in crate::log) fn end(self) -> (Vec<Operation>, Vec<Named>) {
        let mut record = self.0.record.lock();
        self.look(&mut record, Path::new(""));
        let operations = std::mem::take(&mut record.operations);
        (operations, std::mem::take(&mut record.named))
    }

    /// Fills the disk, or frees it: what is not allocated is then refused.
    pub(in crate::log) fn fill(&self, is_full: bool) {
        self.0.record.lock().is_full = is_full;
    }

    /// A path as the disk has it.
    fn inside(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.0.root).unwrap().to_owned()
    }

    /// Notes everything below a folder that was made or deleted without the trait.
    fn look(&self, record: &mut Record, folder: &Path) {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.0.root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            found.push((
                folder.join(entry.file_name()),
                entry.file_type().unwrap().is_dir(),
            ));
        }
        found.sort();
        for path in record.disk.names(folder) {
            if !found.iter().any(|(there, _)| *there == path) {
                self.note_removed(record, &path);
            }
        }
        for (path, is_folder) in found {
            if record.disk.find(&path).is_none() {
                record.note(if is_folder {
                    Operation::MakeFolder(path.clone())
                } else {
                    Operation::MakeFile(path.clone())
                });
            }
            if is_folder {
                self.look(record, &path);
            }
        }
    }

    fn note_removed(&self, record: &mut Record, path: &Path) {
        for below in record.disk.names(path) {
            self.note_removed(record, &below);
        }
        record.note(Operation::Remove(path.to_owned()));
    }

    /// Notes the folders that a path is in and that are new.
    fn note_parents(&self, record: &mut Record, path: &Path) {
        let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
        while let Some(folder) = above.pop() {
            if record.disk.find(folder).is_none() {
                record.note(Operation::MakeFolder(folder.to_owned()));
            }
        }
    }

    /// Does an operation, and notes it with what happened before it.
    fn run<T>(
        &self,
        path: &Path,
        operation: impl FnOnce(&Path, &mut Record) -> io::Result<T>,
    ) -> io::Result<T> {
        let path = self.inside(path);
        let mut record = self.0.record.lock();
        if std::mem::take(&mut record.must_look) {
            self.look(&mut record, Path::new(""));
        }
        self.note_parents(&mut record, &path);
        operation(&path, &mut record)
    }

    fn file(&self, file: Box<dyn StoredFile>, node: Node) -> Box<dyn StoredFile> {
        let storage = self.clone();
        Box::new(RecordedFile {
            file,
            node,
            storage,
        })
    }
}

impl Record {
    fn note(&mut self, operation: Operation) {
        self.disk.apply(&operation);
        self.operations.push(operation);
    }
}

impl Storage for RecordingStorage {
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let file = RealStorage.create(path)?;
        self.run(path, |path, record| {
            match record.disk.find(path) {
                Some(node) => record.note(Operation::Length(node, 0)),
                None => record.note(Operation::MakeFile(path.to_owned())),
            }
            Ok(self.file(file, record.disk.find(path).unwrap()))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        let file = RealStorage.open(path)?;
        self.run(path, |path, record| {
            Ok(self.file(file, record.disk.find(path).unwrap()))
        })
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.run(path, |path, record| {
            record.note(Operation::SyncFile(record.disk.find(path).unwrap()));
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let from_inside = self.inside(from);
        self.run(to, |path, record| {
            RealStorage.rename(from, to)?;
            record.note(Operation::Rename(from_inside, path.to_owned()));
            record.named.push(Named {
                time: record.operations.len(),
                path: path.to_owned(),
                bytes: fs::read(to)?,
            });
            // The publisher deletes what nobody needs after this.
            record.must_look = path.ends_with("checkpoint");
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.run(folder, |path, record| {
            self.look(record, path);
            record.note(Operation::SyncFolder(path.to_owned()));
            Ok(())
        })
    }

    fn open_file_system(&self, _folder: &Path) -> io::Result<Box<dyn FileSystem>> {
        Ok(Box::new(self.clone()))
    }

    fn salt(&self) -> io::Result<u32> {
        let mut record = self.0.record.lock();
        record.salts += 1;
        Ok(record.salts.wrapping_mul(0x9e37_79b9))
    }
}

impl FileSystem for RecordingStorage {
    fn sync(&self) -> io::Result<()> {
        self.run(&self.0.root, |_, record| {
            self.look(record, Path::new(""));
            record.note(Operation::SyncAll);
            Ok(())
        })
    }
}

#[derive(Debug)]
struct RecordedFile {
    file: Box<dyn StoredFile>,
    node: Node,
    storage: RecordingStorage,
}

impl RecordedFile {
    /// Whether there is room for the file up to an offset.
    fn has_room(&self, until: usize) -> io::Result<()> {
        let record = self.storage.0.record.lock();
        if record.is_full && until > record.disk.allocated(self.node) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn note(&self, operation: Operation) {
        let storage = &self.storage;
        let mut record = storage.0.record.lock();
        if std::mem::take(&mut record.must_look) {
            storage.look(&mut record, Path::new(""));
        }
        record.note(operation);
    }
}

impl StoredFile for RecordedFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let until = usize::try_from(offset).unwrap() + bytes.len();
        self.has_room(until)?;
        let written = self.file.write_at(bytes, offset)?;
        let offset = until - bytes.len();
        self.note(Operation::Write(self.node, offset, bytes.into()));
        Ok(written)
    }

    fn sync(&self) -> io::Result<()> {
        self.note(Operation::SyncFile(self.node));
        Ok(())
    }

    fn allocate(&self, offset: u64, length_bytes: u64) -> io::Result<()> {
        let until = usize::try_from(offset + length_bytes).unwrap();
        self.has_room(until)?;
        self.note(Operation::Allocate(self.node, until));
        Ok(())
    }

    fn truncate(&self, length_bytes: u64) -> io::Result<()> {
        self.file.truncate(length_bytes)?;
        let length = usize::try_from(length_bytes).unwrap();
        self.note(Operation::Length(self.node, length));
        Ok(())
    }

    fn links(&self) -> io::Result<u64> {
        self.file.links()
    }

    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}
