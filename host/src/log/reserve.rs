//! The reserve: what the last segment has allocated beyond its end, so that on a full disk there is
//! room for what must be recorded all the same.
//!
//! A decision is taken only while the reserve behind it stays whole. Where it would not, and the
//! disk has no room for more, the log is *sealed*: it refuses decisions, and what would be stored
//! for them, until there is room again. Every other entry goes into the reserve. What is allocated
//! stays with the last segment when the log is closed or killed, and is given back when another
//! follows.
//!
//! A file system that cannot allocate has no reserve: there a full disk refuses every entry.

use std::io;

use rustix::io::Errno;

use super::writer::Position;

/// How many bytes the last segment has allocated beyond its end, at least: some 20,000 entries that
/// are no decisions.
pub const RESERVE_BYTES: u64 = 4 << 20;
/// How many bytes are allocated at once: one system call for some 3,000 decisions.
pub(super) const STEP_BYTES: u64 = 1 << 20;
impl Position {
    /// Allocates what a frame and the reserve behind it need, and some more, unless it is there.
    pub(super) fn allocate(&mut self, frame_bytes: u64) -> io::Result<()> {
        let end = self.offset.saturating_add(frame_bytes);
        let needed = end.saturating_add(RESERVE_BYTES);
        if needed <= self.allocated {
            return Ok(());
        }
        let begin = self.allocated.max(self.offset);
        let until = needed.saturating_add(STEP_BYTES);
        match self.file.allocate(begin, until.saturating_sub(begin)) {
            Ok(()) => self.allocated = until,
            Err(error) if is_unknown(&error) => self.allocated = u64::MAX,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Allocates the reserve again, which went when the file was cut off.
    pub(super) fn allocate_again(&mut self) -> io::Result<()> {
        if self.allocated != u64::MAX {
            self.allocated = self.offset;
        }
        self.allocate(0)
    }
}

/// Whether the file system or the kernel cannot allocate at all.
fn is_unknown(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::OPNOTSUPP | Errno::NOSYS)
    )
}
