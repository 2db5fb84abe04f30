//! Reading a segment from its start to its end, whatever is in it, with one buffer.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::RangeInclusive;

use super::{
    CRC_BYTES, FRAME_HEAD_BYTES, FRAME_MAGIC, FRAME_MAX_BYTES, FRAME_MIN_BYTES, HEADER_FIXED_BYTES,
    HEADER_MAGIC, Header, LENGTH_MAX_BYTES, ORIGIN_MAX_BYTES, SegmentError, VERSION, frame_crc,
};
use crate::log::entry::{ENTRY_MAX_BYTES, Entry};

/// The size of the buffer: room for a few of the largest frames.
const BUFFER_BYTES: usize = 256 << 10;
/// How many beginnings of frames are tried behind a damaged one. Chance makes one in 4 GiB, and a
/// client can put some 4,000 into an entry; a torn tail has none that are whole.
const CANDIDATES_MAX: u32 = 16_384;

/// What a disk writes at once, or not at all.
const SECTOR_BYTES: u64 = 512;

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::log) enum Tail {
    /// With a whole frame.
    Clean,
    /// With something that is not a frame, and no frame behind it that was synced after it.
    Torn {
        /// Where the last whole frame ends.
        offset: u64,
        /// How many bytes are behind it.
        bytes: u64,
    },
}

/// A segment being read: at most the bytes that it had when the reading began, so that a writer may
/// go on meanwhile.
#[derive(Debug)]
pub(in crate::log) struct Scan<R> {
    source: R,
    buffer: Vec<u8>,
    // INVARIANT: `start <= end <= buffer.len()`; the bytes between are read and not yet used.
    start: usize,
    end: usize,
    /// Where in the file `start` is.
    offset: u64,
    /// How many bytes the file has beyond `end`.
    unread_bytes: u64,
    next_index: u64,
    /// The size of the payload that ends at `start`.
    payload_bytes: usize,
    header: Header,
    tail: Tail,
}

impl<R: Read> Scan<R> {
    /// Begins to read a segment of `length_bytes`.
    ///
    /// # Errors
    /// [`SegmentError`] when there is no whole header of this version.
    pub(in crate::log) fn begin(source: R, length_bytes: u64) -> Result<Self, SegmentError> {
        if length_bytes > LENGTH_MAX_BYTES {
            return Err(SegmentError::TooLarge);
        }
        let mut scan = Self {
            source,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            offset: 0,
            unread_bytes: length_bytes,
            next_index: 0,
            payload_bytes: 0,
            header: Header {
                origin: String::new(),
                first_index: 0,
                salt: 0,
            },
            tail: Tail::Clean,
        };
        scan.header = scan.read_header()?;
        scan.next_index = scan.header.first_index;
        Ok(scan)
    }

    /// What the segment says of itself.
    pub(in crate::log) const fn header(&self) -> &Header {
        &self.header
    }

    /// The index of the entry that comes next.
    pub(in crate::log) const fn next_index(&self) -> u64 {
        self.next_index
    }

    /// Where the last whole frame that was read ends.
    pub(in crate::log) const fn offset(&self) -> u64 {
        self.offset
    }

    /// How the segment ends, after [`Scan::next_entry`] has said that it does.
    pub(in crate::log) const fn tail(&self) -> Tail {
        self.tail
    }

    /// Goes to the next entry and returns its index; `None` at the end of the segment.
    ///
    /// # Errors
    /// [`SegmentError`] when what follows is neither an entry nor a torn tail.
    pub(in crate::log) fn next_entry(&mut self) -> Result<Option<u64>, SegmentError> {
        self.payload_bytes = 0;
        self.fill(FRAME_MAX_BYTES)?;
        let whole = Head::parse(self.ahead()).and_then(|head| head.whole(self.header.salt));
        let Some(frame) = whole else {
            self.tail = self.search_behind_damage()?;
            return Ok(None);
        };
        let (expected, found) = (self.next_index, frame.index);
        if found != expected {
            return Err(SegmentError::Index { expected, found });
        }
        let size = frame.payload.len();
        self.advance(FRAME_HEAD_BYTES.saturating_add(size));
        self.payload_bytes = size;
        self.next_index = expected.checked_add(1).ok_or(SegmentError::IndexesUsedUp)?;
        Ok(Some(expected))
    }

    /// The payload of the entry that [`Scan::next_entry`] has gone to.
    pub(in crate::log) fn payload(&self) -> &[u8] {
        let payload = self.start.saturating_sub(self.payload_bytes)..self.start;
        self.buffer.get(payload).unwrap_or_default()
    }

    fn read_header(&mut self) -> Result<Header, SegmentError> {
        self.fill(HEADER_FIXED_BYTES + ORIGIN_MAX_BYTES + CRC_BYTES)?;
        let ahead = self.ahead();
        if !ahead.starts_with(&HEADER_MAGIC) {
            return Err(SegmentError::NotASegment);
        }
        let version = u16::from_be_bytes(field(ahead, 8).ok_or(SegmentError::Header)?);
        if version != VERSION {
            return Err(SegmentError::Version(version));
        }
        let header = parse_header(ahead).ok_or(SegmentError::Header)?;
        self.advance(HEADER_FIXED_BYTES + header.origin.len() + CRC_BYTES);
        Ok(header)
    }

    /// Decides what bytes that are not a frame mean: the end, when no frame is behind them.
    ///
    /// Between two syncs a disk writes in any order, so that a power cut can take a sector and
    /// leave whole frames behind it. They were not synced either, and are dropped. A boot was:
    /// whatever is before one was durable when it was written.
    fn search_behind_damage(&mut self) -> Result<Tail, SegmentError> {
        let offset = self.offset;
        let later = self.later_indexes();
        let mut candidates = 0;
        let mut zeros = Zeros::new(offset);
        // The damaged one itself has been tried.
        let mut step = 1.min(self.ahead().len());
        loop {
            zeros.pass(self.ahead().get(..step).unwrap_or_default());
            self.advance(step);
            self.fill(FRAME_MAX_BYTES)?;
            if self.ahead().is_empty() {
                break;
            }
            let head = Head::parse(self.ahead());
            if let Some(head) = head.filter(|head| later.contains(&head.index)) {
                if let Some(frame) = head.whole(self.header.salt) {
                    let is_boot = matches!(Entry::decode(frame.payload), Ok(Entry::Boot(_)));
                    if is_boot || !zeros.has_lost_sector {
                        return Err(SegmentError::Corrupt {
                            offset,
                            index_of_next_valid: frame.index,
                        });
                    }
                } else {
                    candidates += 1;
                }
                if candidates > CANDIDATES_MAX {
                    return Err(SegmentError::Unreadable { offset });
                }
            }
            step = to_next_magic(self.ahead());
        }
        let bytes = self.offset.saturating_sub(offset);
        self.offset = offset;
        Ok(if bytes == 0 {
            Tail::Clean
        } else {
            Tail::Torn { offset, bytes }
        })
    }

    /// The indexes that the entries behind a damaged one can have: each takes room.
    fn later_indexes(&self) -> RangeInclusive<u64> {
        let rest = self.unread_bytes.saturating_add(self.ahead().len() as u64);
        let most = rest / FRAME_MIN_BYTES as u64;
        self.next_index.saturating_add(1)..=self.next_index.saturating_add(most)
    }

    /// The bytes that are read and not yet used.
    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn advance(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.end);
        self.offset = self.offset.saturating_add(bytes as u64);
    }

    /// Reads on until at least `bytes` are ahead, or the file ends. A file that has become shorter
    /// ends where it now ends.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if self.ahead().len() >= bytes || self.unread_bytes == 0 {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        while self.end < bytes && self.unread_bytes > 0 {
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            let most = usize::try_from(self.unread_bytes)
                .unwrap_or(usize::MAX)
                .min(room.len());
            let read = match self.source.read(room.get_mut(..most).unwrap_or_default()) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.end = self.end.saturating_add(read).min(self.buffer.len());
            self.unread_bytes = if read == 0 {
                0
            } else {
                self.unread_bytes.saturating_sub(read as u64)
            };
        }
        Ok(())
    }
}

impl<R: Read + Seek> Scan<R> {
    /// Reads on from the last entry in a segment that has `length_bytes` now. What was read beyond
    /// it is read again: it may have been cut off meanwhile and written otherwise.
    pub(in crate::log) fn read_on(&mut self, length_bytes: u64) -> io::Result<()> {
        self.source.seek(SeekFrom::Start(self.offset))?;
        (self.start, self.end, self.payload_bytes) = (0, 0, 0);
        self.unread_bytes = length_bytes.saturating_sub(self.offset);
        Ok(())
    }
}

/// Looks among bytes for a sector that was never written: zeros to its end, from its beginning or
/// from where the bytes begin.
#[derive(Debug)]
struct Zeros {
    begin: u64,
    /// Where the next byte is.
    at: u64,
    /// Where the zeros before it begin.
    zeros_from: u64,
    has_lost_sector: bool,
}

impl Zeros {
    const fn new(begin: u64) -> Self {
        Self {
            begin,
            at: begin,
            zeros_from: begin,
            has_lost_sector: false,
        }
    }

    fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.at = self.at.saturating_add(1);
            if *byte != 0 {
                self.zeros_from = self.at;
            }
            if self.at.is_multiple_of(SECTOR_BYTES) && self.zeros_from < self.at {
                let sector = self.at.saturating_sub(SECTOR_BYTES).max(self.begin);
                self.has_lost_sector |= self.zeros_from <= sector;
            }
        }
    }
}

/// A whole, undamaged frame at the start of some bytes.
struct Frame<'a> {
    index: u64,
    payload: &'a [u8],
}

/// What has the form of a frame, and a checksum that is still to be compared.
struct Head<'a> {
    index: u64,
    crc: u32,
    payload: &'a [u8],
}

impl<'a> Head<'a> {
    /// The frame that some bytes begin with.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, behind) = bytes.split_at_checked(FRAME_HEAD_BYTES)?;
        let size = usize::try_from(u32::from_be_bytes(field(head, 4)?)).ok()?;
        if !head.starts_with(&FRAME_MAGIC) || !(1..=ENTRY_MAX_BYTES).contains(&size) {
            return None;
        }
        Some(Self {
            index: u64::from_be_bytes(field(head, 8)?),
            crc: u32::from_be_bytes(field(head, 16)?),
            payload: behind.get(..size)?,
        })
    }

    /// The frame, if it is undamaged and of the segment with this salt.
    fn whole(self, salt: u32) -> Option<Frame<'a>> {
        let Self {
            index,
            crc,
            payload,
        } = self;
        let size = u32::try_from(payload.len()).ok()?;
        (frame_crc(salt, size, index, payload) == crc).then_some(Frame { index, payload })
    }
}

fn parse_header(bytes: &[u8]) -> Option<Header> {
    let size = usize::from(u16::from_be_bytes(field(bytes, 10)?));
    if !(1..=ORIGIN_MAX_BYTES).contains(&size) {
        return None;
    }
    let (covered, behind) = bytes.split_at_checked(HEADER_FIXED_BYTES.checked_add(size)?)?;
    if crc32fast::hash(covered) != u32::from_be_bytes(field(behind, 0)?) {
        return None;
    }
    let origin = std::str::from_utf8(covered.get(HEADER_FIXED_BYTES..)?).ok()?;
    Some(Header {
        origin: origin.to_owned(),
        first_index: u64::from_be_bytes(field(bytes, 12)?),
        salt: u32::from_be_bytes(field(bytes, 20)?),
    })
}

/// The bytes of a field.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// How far it is from the first byte to the next one that can begin a frame.
fn to_next_magic(bytes: &[u8]) -> usize {
    let [first, ..] = FRAME_MAGIC;
    let next = bytes.iter().skip(1).position(|byte| *byte == first);
    next.map_or(bytes.len(), |distance| distance.saturating_add(1))
}
