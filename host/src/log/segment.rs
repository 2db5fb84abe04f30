//! A write-ahead segment: a run of entries in one file, as they were appended.
//!
//! ```text
//! segment   header frame*                     wal/<first index, 20 digits>.wal
//!
//! header    0   8  magic        "KWLOG\xff\xfe\n"
//!           8   2  version      1
//!          10   2  origin size  1 to 255
//!          12   8  first index
//!          20   4  salt         random
//!          24   n  origin       UTF-8
//!        24+n   4  CRC-32 (IEEE) of all that is before it
//!
//! frame     0   4  magic        ff 4b 57 fe
//!           4   4  payload size 1 to 65,535
//!           8   8  index        one more than that of the frame before
//!          16   4  CRC-32 (IEEE) of salt, payload size, index and payload, in this order
//!          20   n  payload
//! ```
//! All numbers are big-endian. The header is written before the file gets its name, so that a
//! segment without a whole header is damaged, never torn.
//!
//! A torn tail is told from corruption by whether a whole frame is behind the damage, and parts of
//! a payload are a client's choice: 16 bytes in a row are, in an IPv6 address. The salt is what
//! keeps a client from writing a payload that holds a whole frame, and so from passing a torn tail
//! off as corruption: who does not know it guesses the checksum, one time in 4 GiB. It also tells
//! this segment's frames from those of a deleted one whose blocks the disk gives back. It protects
//! from nobody who can read the log.

mod scan;

use std::io;

use super::entry::ENTRY_MAX_BYTES;
use super::reserve::RESERVE_BYTES;

pub use crate::tlog::checkpoint::ORIGIN_MAX_BYTES;
pub(super) use scan::{Scan, Tail};

/// The size in bytes at which a new segment is begun, unless the log's options say less. A segment
/// can be larger by [`RESERVE_BYTES`], on a full disk, and by one frame, which records a recovery.
pub const SEGMENT_MAX_BYTES: u64 = 64 << 20;
/// The size of a frame without its payload.
pub(super) const FRAME_HEAD_BYTES: usize = 20;
/// The smallest frame: a payload has at least one byte.
const FRAME_MIN_BYTES: usize = FRAME_HEAD_BYTES + 1;
/// The largest frame.
pub(super) const FRAME_MAX_BYTES: usize = FRAME_HEAD_BYTES + ENTRY_MAX_BYTES;

/// The largest segment.
const LENGTH_MAX_BYTES: u64 = SEGMENT_MAX_BYTES + RESERVE_BYTES + FRAME_MAX_BYTES as u64;

const HEADER_MAGIC: [u8; 8] = *b"KWLOG\xff\xfe\n";
const HEADER_FIXED_BYTES: usize = 24;
const CRC_BYTES: usize = 4;
const VERSION: u16 = 1;
const FRAME_MAGIC: [u8; 4] = *b"\xffKW\xfe";

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The name of the log that it belongs to.
    pub(super) origin: String,
    /// The index of its first entry.
    pub(super) first_index: u64,
    /// What the checksums of its frames begin with. No client may know or guess it.
    pub(super) salt: u32,
}

/// Why a segment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// A damaged entry has undamaged ones behind it: not a crash, but a change.
    #[error(
        "the entry at byte {offset} is damaged, and entry {index_of_next_valid} behind it is not; \
         restore the file from a copy"
    )]
    Corrupt {
        /// Where the damage starts.
        offset: u64,
        /// The index of the first undamaged entry behind it.
        index_of_next_valid: u64,
    },
    /// The header is damaged or cut off.
    #[error("its header is damaged; restore the file from a copy")]
    Header,
    /// Undamaged, but not the entry that comes next.
    #[error("entry {found} stands where entry {expected} belongs; restore the file from a copy")]
    Index {
        /// The index that comes next.
        expected: u64,
        /// The index that is there.
        found: u64,
    },
    /// There is no index after the last one.
    #[error("it uses the last index that there is; start a new log")]
    IndexesUsedUp,
    /// It could not be read.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// The file does not start as a segment does.
    #[error("not a segment of a keyward log")]
    NotASegment,
    /// More bytes than keyward writes to one segment.
    #[error(
        "larger than {LENGTH_MAX_BYTES} bytes, which no segment is; restore the file from a copy"
    )]
    TooLarge,
    /// More than a damaged end can explain: so many beginnings of frames that the search for an
    /// undamaged one was given up.
    #[error("damaged from byte {offset} on; restore the file from a copy")]
    Unreadable {
        /// Where the damage starts.
        offset: u64,
    },
    /// Written by another version.
    #[error("of the unknown version {0}; use a newer keyward")]
    Version(u16),
}

impl Header {
    /// The header's bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let size = u16::try_from(self.origin.len()).unwrap_or(u16::MAX);
        let mut bytes = HEADER_MAGIC.to_vec();
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend(size.to_be_bytes());
        bytes.extend(self.first_index.to_be_bytes());
        bytes.extend(self.salt.to_be_bytes());
        bytes.extend(self.origin.as_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }
}

/// Appends a frame of a segment with a salt to a buffer. The payload's size is the caller's to
/// check.
pub(super) fn encode_frame(salt: u32, index: u64, payload: &[u8], out: &mut Vec<u8>) {
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend(FRAME_MAGIC);
    out.extend(size.to_be_bytes());
    out.extend(index.to_be_bytes());
    out.extend(frame_crc(salt, size, index, payload).to_be_bytes());
    out.extend(payload);
}

/// The file name of the segment that begins with an index.
pub(super) fn file_name(first_index: u64) -> String {
    format!("{first_index:020}.{EXTENSION}")
}

/// The first index that a file name says; `None` when it is not the name of a segment.
pub(super) fn first_index_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let index = digits.parse().ok()?;
    (file_name(index) == name).then_some(index)
}

/// The last part of a segment's file name.
pub(super) const EXTENSION: &str = "wal";

fn frame_crc(salt: u32, size: u32, index: u64, payload: &[u8]) -> u32 {
    let [a, b, c, d] = salt.to_be_bytes();
    let [e, f, g, h] = size.to_be_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[a, b, c, d, e, f, g, h]);
    crc.update(&index.to_be_bytes());
    crc.update(payload);
    crc.finalize()
}

#[cfg(test)]
mod tests;
