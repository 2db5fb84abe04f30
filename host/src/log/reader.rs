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
use super::entries::{Entries, From};
use super::retention::Pruned;
use super::segment::{self, Scan, SegmentError};
use super::tiles::{TileReadError, TileReader, open_file};
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
    first_segment: Option<u64>,
    torn_tail: Mutex<Option<TornTail>>,
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
    /// What is published of the log cannot be used.
    #[error(transparent)]
    Published(#[from] TileReadError),
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

impl LogReader {
    /// Opens a log folder to read it.
    ///
    /// # Errors
    /// [`LogReadError`] says whether there is no such folder, nothing in it, something else in it,
    /// or a first segment that cannot be read.
    pub fn open(folder: &Path) -> Result<Self, LogReadError> {
        let first = match list(folder) {
            Ok(segments) => segments.first().copied().unwrap_or(0),
            // A copy of what is published has no segments.
            Err(LogReadError::NotALog) => return Self::of_published(folder),
            Err(error) => return Err(error),
        };
        let path = segment_path(first);
        let scan = open_segment(&folder.join(&path))
            .map_err(|source| LogReadError::Segment { path, source })?;
        let origin = scan.header().origin.clone();
        Ok(Self {
            folder: folder.to_owned(),
            origin,
            first_segment: Some(first),
            torn_tail: Mutex::new(None),
        })
    }

    /// Opens a copy of what a log publishes.
    fn of_published(folder: &Path) -> Result<Self, LogReadError> {
        let checkpoint = TileReader::new(folder).checkpoint();
        let checkpoint = checkpoint.map_err(|error| match error {
            TileReadError::NoCheckpoint => LogReadError::NotALog,
            other => LogReadError::Published(other),
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            origin: checkpoint.checkpoint().origin().to_owned(),
            first_segment: None,
            torn_tail: Mutex::new(None),
        })
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The index of the first entry that is in a segment; `None`: there are none, as in a copy of
    /// what is published.
    #[must_use]
    pub const fn first_segment(&self) -> Option<u64> {
        self.first_segment
    }

    /// All entries that are kept, from the first that is not pruned (index 0, unless
    /// [`TileReader::pruned`] says otherwise), as far as the log goes when the first is read. An
    /// error is the last item.
    ///
    /// Entries whose segments have been dropped since they were published are those of the bundles.
    /// Nothing is verified of them; [`crate::audit::verify`] does that.
    pub const fn entries(&self) -> Entries<'_> {
        Entries::new(self, From::Kept(0))
    }

    /// [`LogReader::entries`] from an index on.
    pub const fn entries_from(&self, index: u64) -> Entries<'_> {
        Entries::new(self, From::Kept(index))
    }

    /// The entries that are in segments, from an index on, or the first behind it that is there.
    pub const fn segment_entries(&self, from: u64) -> Entries<'_> {
        Entries::new(self, From::Segments(from))
    }

    /// What is no longer kept of the log; `None`: everything is.
    ///
    /// # Errors
    /// [`LogReadError::Published`] when what says so cannot be read.
    pub fn pruned(&self) -> Result<Option<Pruned>, LogReadError> {
        Ok(TileReader::new(&self.folder).pruned()?)
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

    /// Notes how the log ends.
    pub(super) fn set_torn_tail(&self, torn: Option<TornTail>) {
        *self.torn_tail.lock() = torn;
    }

    /// Reads all segments and says where the log ends.
    pub(super) fn end(&self) -> Result<End, LogReadError> {
        self.segment_entries(0).end()
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
    let file = open_file(path)?;
    let length_bytes = file.metadata()?.len();
    Scan::begin(file, length_bytes)
}

#[cfg(test)]
mod tests;
