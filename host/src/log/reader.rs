//! Reading a log folder: no lock, no change, also while a host writes to it.
//!
//! What is read is what was there when the reading began. The last segment may end within an entry
//! (a host is writing it, or has crashed); that is told by [`LogReader::torn_tail`] and is no
//! error. With a running host the last entries may not be durable yet.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::blob::{self, BlobError};
use super::segment::{self, Scan, SegmentError, Tail};
use crate::digest::Digest;

/// The most segments of one log.
pub const SEGMENTS_MAX: usize = 1 << 20;

/// The folder of the segments in a log folder.
pub(super) const WAL_FOLDER: &str = "wal";

/// A log folder that can be read.
#[derive(Debug)]
pub struct LogReader {
    folder: PathBuf,
    origin: String,
    torn_tail: Mutex<Option<TornTail>>,
}

/// The entries of a log in order, read with one buffer; ends after the first error.
#[derive(Debug)]
pub struct Entries<'a> {
    reader: &'a LogReader,
    /// The first indexes of the segments to come; `None` before the first entry.
    segments: Option<std::vec::IntoIter<u64>>,
    current: Option<Current>,
    next_index: u64,
    failed: bool,
}

/// The end of a log that is not a whole entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The first index of the last segment.
    pub segment: u64,
    /// Where in the segment's file the last whole entry ends.
    pub offset: u64,
    /// How many bytes are behind it.
    pub bytes: u64,
}

/// Why a log cannot be read. Paths begin in the log folder, which no message names: the caller has.
#[derive(Debug, thiserror::Error)]
pub enum LogReadError {
    /// A blob is missing or damaged.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The folder has nothing in it.
    #[error("the folder is empty: no log has been written there")]
    Empty,
    /// The folder could not be read.
    #[error("cannot read {what}")]
    Io {
        /// The folder, or the one of the segments in it.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A segment says that it begins with another entry than its name says.
    #[error("`{path}` begins with entry {first_index}: it was renamed; give it its name back")]
    Misnamed {
        /// Which file.
        path: PathBuf,
        /// What its header says.
        first_index: u64,
    },
    /// There is no such folder.
    #[error("there is no such folder")]
    Missing,
    /// A segment is missing, or one begins before the one before it ends.
    #[error("no segment begins with entry {index}; restore `{WAL_FOLDER}` from a copy")]
    MissingSegment {
        /// The first entry that is missing.
        index: u64,
    },
    /// The folder has other things in it, and no log.
    #[error("not a log folder: it has other files and no folder `{WAL_FOLDER}`")]
    NotALog,
    /// There is a log folder without a single segment.
    #[error("the log has no segments; restore `{WAL_FOLDER}` from a copy")]
    NoSegments,
    /// A segment belongs to another log.
    #[error("`{path}` belongs to the log `{found}`, not to `{expected}`; move it away")]
    Origin {
        /// Which file.
        path: PathBuf,
        /// What its header says.
        found: String,
        /// What the log's first segment says.
        expected: String,
    },
    /// A segment is damaged, unreadable or of another version.
    #[error("segment `{path}`")]
    Segment {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: SegmentError,
    },
    /// More than [`SEGMENTS_MAX`].
    #[error("more than {SEGMENTS_MAX} segments")]
    TooManySegments,
    /// A segment that is not the last ends within an entry.
    #[error(
        "segment `{path}` is cut off at byte {offset}, and others follow it; restore it from a copy"
    )]
    Torn {
        /// Which file.
        path: PathBuf,
        /// Where its last whole entry ends.
        offset: u64,
    },
    /// A file in `wal` is named like a segment, and is none.
    #[error("`{0}` is not the name of a segment; move the file away")]
    UnknownName(PathBuf),
}

/// Where a log ends: what a writer has to know to go on.
#[derive(Debug)]
pub(super) struct End {
    /// The first index of the last segment.
    pub(super) segment: u64,
    /// Its salt.
    pub(super) salt: u32,
    /// Where in it the last whole entry ends.
    pub(super) offset: u64,
    /// The index that comes next.
    pub(super) next_index: u64,
    /// What is behind the last whole entry.
    pub(super) torn_bytes: u64,
}

/// The segment that is being read.
#[derive(Debug)]
struct Current {
    path: PathBuf,
    scan: Scan<File>,
}

impl LogReader {
    /// Opens a log folder to read it.
    ///
    /// # Errors
    /// [`LogReadError`] says whether there is no such folder, nothing in it, something else in it,
    /// or a first segment that cannot be read.
    pub fn open(folder: &Path) -> Result<Self, LogReadError> {
        let first = list(folder)?.first().copied().unwrap_or(0);
        let path = segment_path(first);
        let scan = open_segment(&folder.join(&path))
            .map_err(|source| LogReadError::Segment { path, source })?;
        let origin = scan.header().origin.clone();
        Ok(Self {
            folder: folder.to_owned(),
            origin,
            torn_tail: Mutex::new(None),
        })
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// All entries from index 0, as far as the log goes when the first is read. An error is the
    /// last item.
    pub const fn entries(&self) -> Entries<'_> {
        Entries {
            reader: self,
            segments: None,
            current: None,
            next_index: 0,
            failed: false,
        }
    }

    /// What was behind the last whole entry when [`LogReader::entries`] last came to the end;
    /// `None` when nothing was.
    #[must_use]
    pub fn torn_tail(&self) -> Option<TornTail> {
        *self.torn_tail.lock()
    }

    /// The bytes of a blob.
    ///
    /// # Errors
    /// [`LogReadError::Blob`] when it is missing, cannot be read, or has another digest.
    pub fn blob(&self, digest: Digest) -> Result<Vec<u8>, LogReadError> {
        Ok(blob::read(&self.folder, &digest)?)
    }

    /// The log folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the whole log and says where it ends.
    pub(super) fn end(&self) -> Result<End, LogReadError> {
        let mut entries = self.entries();
        while entries.advance()?.is_some() {}
        let last = entries.current.as_ref().map(|current| &current.scan);
        Ok(End {
            segment: last.map_or(0, |scan| scan.header().first_index),
            salt: last.map_or(0, |scan| scan.header().salt),
            offset: last.map_or(0, Scan::offset),
            next_index: entries.next_index,
            torn_bytes: self.torn_tail().map_or(0, |torn| torn.bytes),
        })
    }
}

impl Entries<'_> {
    /// Goes to the next entry and returns its index.
    fn advance(&mut self) -> Result<Option<u64>, LogReadError> {
        if self.segments.is_none() {
            *self.reader.torn_tail.lock() = None;
            self.segments = Some(list(&self.reader.folder)?.into_iter());
        }
        loop {
            if let Some(current) = &mut self.current {
                let index = current
                    .scan
                    .next_entry()
                    .map_err(|source| LogReadError::Segment {
                        path: current.path.clone(),
                        source,
                    })?;
                self.next_index = current.scan.next_index();
                if index.is_some() {
                    return Ok(index);
                }
                self.end_segment()?;
            }
            if !self.begin_segment()? {
                return Ok(None);
            }
        }
    }

    /// Opens the next segment; `false` when there is none.
    fn begin_segment(&mut self) -> Result<bool, LogReadError> {
        let Some(first_index) = self.segments.as_mut().and_then(Iterator::next) else {
            return Ok(false);
        };
        if first_index != self.next_index {
            let index = self.next_index;
            return Err(LogReadError::MissingSegment { index });
        }
        let path = segment_path(first_index);
        let opened = open_segment(&self.reader.folder.join(&path));
        let scan = opened.map_err(|source| LogReadError::Segment {
            path: path.clone(),
            source,
        })?;
        let header = scan.header();
        if header.first_index != first_index {
            return Err(LogReadError::Misnamed {
                path,
                first_index: header.first_index,
            });
        }
        if header.origin != self.reader.origin {
            let (found, expected) = (header.origin.clone(), self.reader.origin.clone());
            return Err(LogReadError::Origin {
                path,
                found,
                expected,
            });
        }
        self.current = Some(Current { path, scan });
        Ok(true)
    }

    /// Only the last segment may be torn. It stays the current one, which says where it ends.
    fn end_segment(&self) -> Result<(), LogReadError> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let Tail::Torn { offset, bytes } = current.scan.tail() else {
            return Ok(());
        };
        if self
            .segments
            .as_ref()
            .is_some_and(|segments| segments.len() > 0)
        {
            return Err(LogReadError::Torn {
                path: current.path.clone(),
                offset,
            });
        }
        let segment = current.scan.header().first_index;
        *self.reader.torn_tail.lock() = Some(TornTail {
            segment,
            offset,
            bytes,
        });
        Ok(())
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(u64, Vec<u8>), LogReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        match self.advance() {
            Ok(index) => {
                let payload = self.current.as_ref().map(|current| current.scan.payload());
                index
                    .zip(payload)
                    .map(|(index, payload)| Ok((index, payload.to_owned())))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

/// The first indexes of the segments in a log folder, ascending; at least one.
pub(super) fn list(folder: &Path) -> Result<Vec<u64>, LogReadError> {
    let failed = |source| LogReadError::Io {
        what: "its folder `wal`",
        source,
    };
    let files = match fs::read_dir(folder.join(WAL_FOLDER)) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(no_log(folder)),
        Err(source) => return Err(failed(source)),
    };
    let mut segments = Vec::new();
    for file in files {
        let name = file.map_err(failed)?.file_name();
        let path = Path::new(WAL_FOLDER).join(name);
        if path
            .extension()
            .is_none_or(|extension| extension != segment::EXTENSION)
        {
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let first_index = name.and_then(segment::first_index_of);
        segments.push(first_index.ok_or(LogReadError::UnknownName(path))?);
        if segments.len() > SEGMENTS_MAX {
            return Err(LogReadError::TooManySegments);
        }
    }
    if segments.is_empty() {
        return Err(LogReadError::NoSegments);
    }
    segments.sort_unstable();
    // A folder that changes while it is listed may show a name twice.
    segments.dedup();
    Ok(segments)
}

/// What a folder without `wal` is.
fn no_log(folder: &Path) -> LogReadError {
    match fs::read_dir(folder).map(|mut files| files.next().is_none()) {
        Ok(true) => LogReadError::Empty,
        Ok(false) => LogReadError::NotALog,
        Err(error) if error.kind() == io::ErrorKind::NotFound => LogReadError::Missing,
        Err(source) => LogReadError::Io {
            what: "the folder",
            source,
        },
    }
}

/// Where in a log folder the segment is that begins with an index.
pub(super) fn segment_path(first_index: u64) -> PathBuf {
    Path::new(WAL_FOLDER).join(segment::file_name(first_index))
}

pub(super) fn open_segment(path: &Path) -> Result<Scan<File>, SegmentError> {
    let file = File::open(path)?;
    let length_bytes = file.metadata()?.len();
    Scan::begin(file, length_bytes)
}

#[cfg(test)]
mod tests;
