//! A model of a disk and of what a power cut may leave on it: of everything that no sync has
//! reached, any part.
//!
//! What POSIX promises and no more: the bytes of a file are there after a sync of the file, a name
//! after a sync of its folder, everything after a sync of the file system. Bytes that are not there
//! are zeros, or beyond the file's end. A rename is one of its two names or none, but the name that
//! it goes to is never without a file that had it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What disks write at once, or not at all.
const SECTOR_BYTES: usize = 512;
/// What operating systems write at once, if the disk does.
const PAGE_BYTES: usize = 4096;

/// A file or folder, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::log) struct Node(usize);

const ROOT: Node = Node(0);

/// Something that is done to a disk. Paths begin at its root.
#[derive(Clone, Debug)]
pub(in crate::log) enum Operation {
    Allocate(Node, usize),
    Length(Node, usize),
    MakeFile(PathBuf),
    MakeFolder(PathBuf),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    SyncAll,
    SyncFile(Node),
    SyncFolder(PathBuf),
    Write(Node, usize, Arc<[u8]>),
}

/// See the module.
#[derive(Clone, Debug)]
pub(in crate::log) struct Disk {
    nodes: Vec<Content>,
    /// How many operations there were.
    time: usize,
}

#[derive(Clone, Debug)]
enum Content {
    File(File),
    Folder(Folder),
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    /// Up to where it can be written on a full disk.
    allocated: usize,
    /// What was done since the last sync, and when.
    changes: Vec<(usize, Change)>,
}

#[derive(Clone, Debug)]
enum Change {
    Length(usize),
    Write(usize, Arc<[u8]>),
}

#[derive(Clone, Debug, Default)]
struct Folder {
    durable: BTreeMap<OsString, Node>,
    /// What stands under a name since when, since the last sync.
    changes: Vec<(usize, OsString, Option<Node>)>,
}

/// How a power cut treats what is not synced, of all names or of all bytes.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Lost,
    Kept,
    /// As in a journal: what was done up to a time.
    Until(usize),
    /// Each for itself.
    Any,
}

impl Disk {
    /// A disk with nothing on it.
    pub(in crate::log) fn empty() -> Self {
        Self {
            nodes: vec![Content::Folder(Folder::default())],
            time: 0,
        }
    }

    /// Does an operation.
    pub(in crate::log) fn apply(&mut self, operation: &Operation) {
        self.time += 1;
        match operation {
            Operation::Allocate(node, until) => {
                let file = self.file(*node);
                file.allocated = file.allocated.max(*until);
            }
            Operation::Length(node, length) => {
                self.file(*node).allocated = *length;
                self.change(*node, Change::Length(*length));
            }
            Operation::Write(node, offset, bytes) => {
                let file = self.file(*node);
                file.allocated = file.allocated.max(offset + bytes.len());
                self.change(*node, Change::Write(*offset, Arc::clone(bytes)));
            }
            Operation::MakeFile(path) => self.make(path, Content::File(File::default())),
            Operation::MakeFolder(path) => self.make(path, Content::Folder(Folder::default())),
            Operation::Remove(path) => self.set(path, None),
            Operation::Rename(from, to) => {
                let node = self.find(from);
                self.set(from, None);
                self.set(to, node);
            }
            Operation::SyncAll => self.nodes.iter_mut().for_each(Content::sync),
            Operation::SyncFile(node) => self.nodes[node.0].sync(),
            Operation::SyncFolder(path) => {
                let node = self.find(path).unwrap();
                self.nodes[node.0].sync();
            }
        }
    }

    /// What stands at a path.
    pub(in crate::log) fn find(&self, path: &Path) -> Option<Node> {
        path.iter()
            .try_fold(ROOT, |node, name| self.folder(node).find(name))
    }

    /// Up to where a file can be written on a full disk.
    pub(in crate::log) fn allocated(&self, node: Node) -> usize {
        match &self.nodes[node.0] {
            Content::File(file) => file.allocated,
            Content::Folder(_) => panic!("a folder is no file"),
        }
    }

    /// The paths of what is in a folder; none when it is a file.
    pub(in crate::log) fn names(&self, path: &Path) -> Vec<PathBuf> {
        match &self.nodes[self.find(path).unwrap().0] {
            Content::File(_) => Vec::new(),
            Content::Folder(folder) => folder.now().keys().map(|name| path.join(name)).collect(),
        }
    }

    /// Makes in a real folder what is on the disk.
    pub(in crate::log) fn lay_out(&self, real: &Path) {
        self.lay_out_node(ROOT, real);
    }

    fn lay_out_node(&self, node: Node, real: &Path) {
        match &self.nodes[node.0] {
            Content::File(file) => fs::write(real, file.after(file.changes.len())).unwrap(),
            Content::Folder(folder) => {
                if !real.is_dir() {
                    fs::create_dir(real).unwrap();
                }
                for (name, node) in folder.now() {
                    self.lay_out_node(node, &real.join(name));
                }
            }
        }
    }

    /// What a power cut now may leave. All of that is durable.
    pub(in crate::log) fn after_power_cut(&self, numbers: &mut Numbers) -> Self {
        let mut fate = || match numbers.below(6) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            2 => Fate::Until(self.time - self.time.min(numbers.below_usize(30))),
            _ => Fate::Any,
        };
        let (names, bytes) = (fate(), fate());
        let mut left = Self {
            nodes: self.nodes.clone(),
            time: 0,
        };
        for content in &mut left.nodes {
            match content {
                Content::File(file) => file.cut(bytes, numbers),
                Content::Folder(folder) => folder.cut(names, numbers),
            }
        }
        left.forget_second_names(ROOT, &mut BTreeSet::new());
        left
    }

    /// A rename of which both names are left was not a rename: the file has the one it went to.
    fn forget_second_names(&mut self, node: Node, seen: &mut BTreeSet<Node>) {
        let mut names: Vec<(OsString, Node)> = match &self.nodes[node.0] {
            Content::File(_) => return,
            Content::Folder(folder) => folder.durable.clone().into_iter().collect(),
        };
        names.sort_by_key(|(name, _)| Path::new(name).extension() == Some(OsStr::new("tmp")));
        for (name, below) in names {
            if seen.insert(below) {
                self.forget_second_names(below, seen);
            } else if let Content::Folder(folder) = &mut self.nodes[node.0] {
                folder.durable.remove(&name);
            }
        }
    }

    fn folder(&self, node: Node) -> &Folder {
        match &self.nodes[node.0] {
            Content::Folder(folder) => folder,
            Content::File(_) => panic!("a file is no folder"),
        }
    }

    fn file(&mut self, node: Node) -> &mut File {
        match &mut self.nodes[node.0] {
            Content::File(file) => file,
            Content::Folder(_) => panic!("a folder is no file"),
        }
    }

    fn change(&mut self, node: Node, change: Change) {
        let time = self.time;
        self.file(node).changes.push((time, change));
    }

    fn make(&mut self, path: &Path, content: Content) {
        let node = Node(self.nodes.len());
        self.nodes.push(content);
        self.set(path, Some(node));
    }

    fn set(&mut self, path: &Path, node: Option<Node>) {
        let parent = self.find(path.parent().unwrap()).unwrap();
        let name = path.file_name().unwrap().to_owned();
        match &mut self.nodes[parent.0] {
            Content::Folder(folder) => folder.changes.push((self.time, name, node)),
            Content::File(_) => panic!("a file is no folder"),
        }
    }
}

impl Content {
    fn sync(&mut self) {
        match self {
            Self::File(file) => {
                file.durable = file.after(file.changes.len());
                file.changes.clear();
            }
            Self::Folder(folder) => {
                folder.durable = folder.now();
                folder.changes.clear();
            }
        }
    }
}

impl Folder {
    fn now(&self) -> BTreeMap<OsString, Node> {
        let mut names = self.durable.clone();
        for (_, name, node) in &self.changes {
            set(&mut names, name, *node);
        }
        names
    }

    fn find(&self, name: &OsStr) -> Option<Node> {
        let changed = self.changes.iter().rev().find(|(_, it, _)| it == name);
        match changed {
            Some((_, _, node)) => *node,
            None => self.durable.get(name).copied(),
        }
    }

    fn cut(&mut self, fate: Fate, numbers: &mut Numbers) {
        let changes = std::mem::take(&mut self.changes);
        let changed: BTreeSet<&OsString> = changes.iter().map(|(_, name, _)| name).collect();
        for name in changed {
            let mut states: Vec<_> = changes.iter().filter(|(_, it, _)| it == name).collect();
            match fate {
                Fate::Lost => states.clear(),
                Fate::Kept => {}
                Fate::Until(end) => states.retain(|(time, ..)| *time <= end),
                Fate::Any => states.truncate(numbers.below_usize(states.len() + 1)),
            }
            if let Some((_, _, node)) = states.last() {
                set(&mut self.durable, name, *node);
            }
        }
    }
}

fn set(names: &mut BTreeMap<OsString, Node>, name: &OsStr, node: Option<Node>) {
    match node {
        Some(node) => drop(names.insert(name.to_owned(), node)),
        None => drop(names.remove(name)),
    }
}

impl File {
    /// The bytes after some of the changes.
    fn after(&self, count: usize) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (_, change) in &self.changes[..count] {
            change.apply(&mut bytes);
        }
        bytes
    }

    fn cut(&mut self, fate: Fate, numbers: &mut Numbers) {
        if numbers.below(2) == 0 {
            self.allocated = 0;
        }
        let count = self.changes.len();
        if count == 0 {
            return;
        }
        self.durable = match fate {
            Fate::Lost => self.durable.clone(),
            Fate::Kept => self.after(count),
            Fate::Until(end) => {
                let kept = self.changes.iter().filter(|(time, _)| *time <= end).count();
                self.torn(kept, numbers)
            }
            Fate::Any => match numbers.below(6) {
                0 => self.durable.clone(),
                1 => self.after(count),
                2 => self.torn(numbers.below_usize(count + 1), numbers),
                3 => self.zeros(),
                4 => self.blocks(SECTOR_BYTES, numbers),
                _ => self.blocks(PAGE_BYTES, numbers),
            },
        };
        self.changes.clear();
    }

    /// The bytes after some of the changes and a part of the next one.
    fn torn(&self, count: usize, numbers: &mut Numbers) -> Vec<u8> {
        let mut bytes = self.after(count);
        if let Some((_, change)) = self.changes.get(count) {
            change.tear(numbers).apply(&mut bytes);
        }
        bytes
    }

    /// The length, but not the bytes.
    fn zeros(&self) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        bytes.resize(self.after(self.changes.len()).len(), 0);
        bytes
    }

    /// Of each block what it was after some of the changes, whatever the others are.
    fn blocks(&self, block_bytes: usize, numbers: &mut Numbers) -> Vec<u8> {
        let versions: Vec<_> = (0..=self.changes.len()).map(|it| self.after(it)).collect();
        let mut any = || &versions[numbers.below_usize(versions.len())];
        let mut bytes = vec![0; any().len()];
        for (index, block) in bytes.chunks_mut(block_bytes).enumerate() {
            let version = any().get(index * block_bytes..).unwrap_or_default();
            let length = block.len().min(version.len());
            block[..length].copy_from_slice(&version[..length]);
        }
        bytes
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(end.max(bytes.len()), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
        }
    }

    /// The beginning of it.
    fn tear(&self, numbers: &mut Numbers) -> Self {
        match self {
            Self::Length(length) => Self::Length(*length),
            Self::Write(offset, bytes) => {
                let kept = numbers.below_usize(bytes.len() + 1);
                Self::Write(*offset, bytes[..kept].into())
            }
        }
    }
}

impl Operation {
    /// The beginning of a write, which is what a kill in the middle of it leaves; nothing of
    /// everything else.
    pub(in crate::log) fn tear(&self, numbers: &mut Numbers) -> Option<Self> {
        let Self::Write(node, offset, bytes) = self else {
            return None;
        };
        let kept = numbers.below_usize(bytes.len() + 1);
        Some(Self::Write(*node, *offset, bytes[..kept].into()))
    }
}

/// A generator of the same numbers everywhere (`SplitMix64`).
#[derive(Clone, Debug)]
pub(in crate::log) struct Numbers(u64);

impl Numbers {
    pub(in crate::log) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Numbers of their own for a part of a test.
    pub(in crate::log) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below a limit.
    pub(in crate::log) const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// [`Numbers::below`] of what counts things.
    pub(in crate::log) fn below_usize(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }
}
