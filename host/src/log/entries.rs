//! The entries of a log in order: from the segments, and where those have been dropped from the
//! bundles that were published of them.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::reader::{End, LogReadError, LogReader, TornTail, list, open_segment, segment_path};
use super::segment::{Scan, SegmentError, Tail};
use super::tiles::TileReader;
use crate::tlog::tile::{TILE_WIDTH, Tile};

/// The entries of a log in order, read with one buffer; ends after the first error.
#[derive(Debug)]
pub struct Entries<'a> {
    reader: &'a LogReader,
    from: From,
    /// The first entry that is handed on.
    first_index: u64,
    /// The first indexes of the segments to come, the last one first; `None` before the first
    /// entry.
    segments: Option<Vec<u64>>,
    current: Option<Current>,
    next_index: u64,
    published: u64,
    has_failed: bool,
}

/// Where to begin.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    /// With this one, or the first behind it that is kept.
    Kept(u64),
    /// With this one, or the first behind it that is in a segment.
    Segments(u64),
}

/// What is being read.
#[derive(Debug)]
enum Current {
    Segment {
        path: PathBuf,
        scan: Box<Scan<File>>,
    },
    Bundle {
        entry: Vec<u8>,
        rest: std::vec::IntoIter<Vec<u8>>,
    },
}

impl<'a> Entries<'a> {
    pub(super) const fn new(reader: &'a LogReader, from: From) -> Self {
        Self {
            reader,
            from,
            first_index: 0,
            segments: None,
            current: None,
            next_index: 0,
            published: 0,
            has_failed: false,
        }
    }

    /// Reads to the end of the log and says where that is.
    pub(super) fn end(mut self) -> Result<End, LogReadError> {
        while self.advance()?.is_some() {}
        let last = match &self.current {
            Some(Current::Segment { scan, .. }) => Some(scan),
            Some(Current::Bundle { .. }) | None => None,
        };
        Ok(End {
            segment: last.map_or(0, |scan| scan.header().first_index),
            salt: last.map_or(0, |scan| scan.header().salt),
            offset: last.map_or(0, |scan| scan.offset()),
            next_index: self.next_index,
            torn_bytes: self.reader.torn_tail().map_or(0, |torn| torn.bytes),
        })
    }

    /// Goes to the next entry and returns its index.
    fn advance(&mut self) -> Result<Option<u64>, LogReadError> {
        if self.segments.is_none() {
            self.begin()?;
        }
        loop {
            match &mut self.current {
                Some(Current::Segment { path, scan }) => {
                    let failed = |source| LogReadError::Segment {
                        path: path.clone(),
                        source,
                    };
                    let index = scan.next_entry().map_err(failed)?;
                    self.next_index = scan.next_index();
                    match index {
                        Some(index) if index < self.first_index => continue,
                        Some(index) => return Ok(Some(index)),
                        None => self.end_segment()?,
                    }
                }
                Some(Current::Bundle { entry, rest }) => {
                    if let Some(next) = rest.next() {
                        *entry = next;
                        let index = self.next_index;
                        self.next_index = index.saturating_add(1);
                        return Ok(Some(index));
                    }
                }
                None => {}
            }
            if !self.go_on()? {
                return Ok(None);
            }
        }
    }

    /// The bytes of the entry that was gone to.
    fn payload(&self) -> &[u8] {
        match &self.current {
            Some(Current::Segment { scan, .. }) => scan.payload(),
            Some(Current::Bundle { entry, .. }) => entry,
            None => &[],
        }
    }

    fn begin(&mut self) -> Result<(), LogReadError> {
        self.reader.set_torn_tail(None);
        let mut segments = match list(self.reader.folder()) {
            Err(LogReadError::NotALog) => Vec::new(),
            other => other?,
        };
        let (first_index, is_in_bundles) = match self.from {
            From::Kept(index) => {
                let pruned = TileReader::new(self.reader.folder()).pruned()?;
                (
                    pruned.map_or(index, |it| it.retention.below.max(index)),
                    true,
                )
            }
            From::Segments(index) => (index, false),
        };
        // The last segment that begins no later has the first entry, unless it is in the bundles.
        let later = segments.partition_point(|first| *first <= first_index);
        segments.drain(..later.saturating_sub(1));
        segments.reverse();
        let first_segment = segments.last().copied();
        self.first_index = first_index;
        self.next_index = match first_segment {
            Some(segment) if segment <= first_index || !is_in_bundles => segment,
            _ => first_index,
        };
        self.segments = Some(segments);
        Ok(())
    }

    /// Opens what holds the next entry; `false` when there is no more.
    fn go_on(&mut self) -> Result<bool, LogReadError> {
        let segments = self.segments.get_or_insert_default();
        let index = self.next_index;
        match segments.last().copied() {
            Some(first) if first < index => Err(LogReadError::MissingSegment { index }),
            Some(first) if first == index => {
                segments.pop();
                self.open_segment(first)
            }
            Some(first) => self.open_bundle(first),
            // A copy of what is published.
            None if self.current.is_none() || self.is_in_bundles() => {
                let size = self.published_size(index.saturating_add(1))?;
                if index >= size {
                    return Ok(false);
                }
                self.open_bundle(size)
            }
            None => Ok(false),
        }
    }

    const fn is_in_bundles(&self) -> bool {
        matches!(self.current, Some(Current::Bundle { .. }))
    }

    fn open_segment(&mut self, first_index: u64) -> Result<bool, LogReadError> {
        let path = segment_path(first_index);
        let scan = match open_segment(&self.reader.folder().join(&path)) {
            Ok(scan) => scan,
            Err(SegmentError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                // It may have been published and dropped since the folder was listed.
                let mut segments = list(self.reader.folder())?;
                segments.retain(|first| *first > first_index);
                segments.reverse();
                let next = segments.last().copied();
                self.segments = Some(segments);
                self.next_index = self.next_index.max(self.first_index);
                let missing = LogReadError::MissingSegment { index: first_index };
                return self.open_bundle(next.ok_or(missing)?);
            }
            Err(source) => return Err(LogReadError::Segment { path, source }),
        };
        let header = scan.header();
        if header.first_index != first_index {
            return Err(LogReadError::Misnamed {
                path,
                first_index: header.first_index,
            });
        }
        if header.origin != self.reader.origin() {
            return Err(LogReadError::Origin {
                path,
                found: header.origin.clone(),
                expected: self.reader.origin().to_owned(),
            });
        }
        let scan = Box::new(scan);
        self.current = Some(Current::Segment { path, scan });
        Ok(true)
    }

    /// The bundle with the next entry, up to `end`, where a segment takes over.
    fn open_bundle(&mut self, end: u64) -> Result<bool, LogReadError> {
        let index = self.next_index;
        let size = self.published_size(end)?;
        if size < end {
            return Err(LogReadError::MissingSegment { index });
        }
        let tile = Tile::bundle_of(index, size);
        let tile = tile.map_err(|_| LogReadError::MissingSegment { index })?;
        let mut entries = Vec::new();
        let tiles = TileReader::new(self.reader.folder());
        tiles.bundle(tile, |entry| entries.push(entry.to_vec()))?;
        let skip = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
        let count = usize::try_from(end.saturating_sub(index)).unwrap_or(usize::MAX);
        entries.drain(..skip.min(entries.len()));
        entries.truncate(count);
        self.current = Some(Current::Bundle {
            entry: Vec::new(),
            rest: entries.into_iter(),
        });
        Ok(true)
    }

    /// How many entries are published, as far as that was known when at least `wanted` were.
    fn published_size(&mut self, wanted: u64) -> Result<u64, LogReadError> {
        if self.published < wanted {
            self.published = TileReader::new(self.reader.folder()).size()?;
        }
        Ok(self.published)
    }

    /// Only the last segment may be torn. It stays the current one, which says where it ends.
    fn end_segment(&self) -> Result<(), LogReadError> {
        let Some(Current::Segment { path, scan }) = &self.current else {
            return Ok(());
        };
        let Tail::Torn { offset, bytes } = scan.tail() else {
            return Ok(());
        };
        if self.segments.as_ref().is_some_and(|it| !it.is_empty()) {
            let path = path.clone();
            return Err(LogReadError::Torn { path, offset });
        }
        let segment = scan.header().first_index;
        self.reader.set_torn_tail(Some(TornTail {
            segment,
            offset,
            bytes,
        }));
        Ok(())
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<(u64, Vec<u8>), LogReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        match self.advance() {
            Ok(index) => Some(Ok((index?, self.payload().to_owned()))),
            Err(error) => {
                self.has_failed = true;
                Some(Err(error))
            }
        }
    }
}
