//! Reading the segments behind a writer: entry by entry, as far as the writer says that they are
//! whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::reader::{self, LogReadError};
use super::segment::{Scan, SegmentError};

/// A place in a log that is being written.
#[derive(Debug)]
pub(super) struct Follower {
    folder: PathBuf,
    current: Option<Current>,
    next_index: u64,
    /// Up to which entry the segment was known to be whole when it was last looked at.
    end: u64,
}

#[derive(Debug)]
struct Current {
    path: PathBuf,
    first_index: u64,
    file: File,
    scan: Scan<File>,
}

impl Follower {
    /// Follows the log in a folder from an index on.
    pub(super) fn new(folder: &Path, next_index: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            current: None,
            next_index,
            end: 0,
        }
    }

    /// Goes to the next entry and returns its bytes; `None` when the next one is not below `end`.
    /// Every entry below `end` has to be there whole.
    pub(super) fn next(&mut self, end: u64) -> Result<Option<&[u8]>, LogReadError> {
        if self.next_index >= end {
            return Ok(None);
        }
        if self.end != end {
            self.end = end;
            if let Some(current) = &mut self.current {
                current.read_on()?;
            }
        }
        loop {
            let Some(current) = &mut self.current else {
                self.current = Some(Current::open(&self.folder, self.next_index)?);
                continue;
            };
            match current.advance()? {
                Some(index) if index == self.next_index => break,
                Some(_) => {}
                None => {
                    let next = Current::open(&self.folder, self.next_index)?;
                    if next.first_index == current.first_index {
                        let index = self.next_index;
                        return Err(LogReadError::MissingSegment { index });
                    }
                    self.current = Some(next);
                }
            }
        }
        self.next_index = self.next_index.saturating_add(1);
        Ok(self.current.as_ref().map(|current| current.scan.payload()))
    }
}

impl Current {
    /// The segment that an entry is in.
    fn open(folder: &Path, index: u64) -> Result<Self, LogReadError> {
        let segments = reader::list(folder)?;
        let before = segments.partition_point(|first| *first <= index);
        let first_index = before.checked_sub(1).and_then(|place| segments.get(place));
        let Some(&first_index) = first_index else {
            return Err(LogReadError::MissingSegment { index });
        };
        let path = reader::segment_path(first_index);
        let opened = || -> Result<(File, Scan<File>), SegmentError> {
            let scan = reader::open_segment(&folder.join(&path))?;
            Ok((File::open(folder.join(&path))?, scan))
        };
        match opened() {
            Ok((file, scan)) => Ok(Self {
                path,
                first_index,
                file,
                scan,
            }),
            Err(source) => Err(LogReadError::Segment { path, source }),
        }
    }

    fn advance(&mut self) -> Result<Option<u64>, LogReadError> {
        let advanced = self.scan.next_entry();
        advanced.map_err(|source| self.failed(source))
    }

    /// The segment may have grown.
    fn read_on(&mut self) -> Result<(), LogReadError> {
        let length = self.file.metadata().map(|file| file.len());
        let read_on = length.and_then(|length| self.scan.read_on(length));
        read_on.map_err(|error| self.failed(error.into()))
    }

    fn failed(&self, source: SegmentError) -> LogReadError {
        LogReadError::Segment {
            path: self.path.clone(),
            source,
        }
    }
}
