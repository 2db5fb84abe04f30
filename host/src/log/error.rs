//! What can go wrong with a log that is being written.

use std::io;
use std::sync::Arc;

use super::blob::BlobError;
use super::entry::ENTRY_MAX_BYTES;
use super::reader::LogReadError;

/// The log has not taken an entry. It can still be in the log, and a decision for which this is the
/// answer is a denial whatever the entry says.
///
/// Only the log makes one, as only the log makes a [`super::Receipt`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AppendError {
    kind: AppendErrorKind,
    message: Arc<str>,
}

/// Why the log has not taken an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendErrorKind {
    /// The disk has no room but the reserve. The log goes on by itself when there is room again.
    DiskFull,
    /// The entry has no bytes.
    Empty,
    /// The operating system refused the write, and the log is as it was before.
    Io,
    /// An earlier failure has left in doubt what is on the disk. Nothing is appended any more;
    /// keyward has to be started again.
    Poisoned,
    /// It took too long. The log goes on when the disk does.
    Timeout,
    /// The entry or the blob is larger than the log can hold.
    TooLarge,
    /// The blob's bytes are not those of its digest.
    WrongDigest,
}

/// Why a log was not opened for writing. No message names the folder: the caller has.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The boot record was not taken.
    #[error("the log does not take its boot record")]
    Append(#[from] AppendError),
    /// The time between checkpoints is zero or too long.
    #[error("a checkpoint interval of {0} ms; write 1 to {max}", max = super::CHECKPOINT_INTERVAL_MAX_MS)]
    CheckpointInterval(u64),
    /// There is a log where one was to be created.
    #[error("there is a log in it already; open that one, or name another folder")]
    Exists,
    /// What was signed of it does not fit what is there.
    #[error(transparent)]
    Head(#[from] super::HeadError),
    /// Another process writes to the folder.
    #[error("in use by another keyward process ({holder})")]
    InUse {
        /// Which process: `pid 123`.
        holder: String,
    },
    /// There is no key, or one of another log.
    #[error(
        "the key that signs it has to have its origin `{0}` for a name; give the right key file, or \
         make one with `keyward log init`"
    )]
    KeyName(String),
    /// The lock was taken, and what was locked is another folder than the one there now.
    #[error("its folder `wal` was moved or replaced while it was opened; try again")]
    Moved,
    /// A file or folder could not be made, locked, cut off or synced.
    #[error("cannot {action}{}", advice(source))]
    Io {
        /// What was to be done, and with what.
        action: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no log where one was to be opened.
    #[error(
        "there is no log in it; name the folder of the log, restore it from a copy, or create a log"
    )]
    NotBegun,
    /// The log in the folder has another name.
    #[error(
        "the log in it is named `{found}`, not `{expected}`; correct `origin`, or name another \
         folder"
    )]
    OtherOrigin {
        /// The name that the log has.
        found: String,
        /// The name that the options say.
        expected: String,
    },
    /// The name is not one that a log can have.
    #[error(
        "`{0}` is not an origin; write 1 to 255 visible ASCII characters without `+` and without a \
         scheme, for example `keyward.example/gateway-1`"
    )]
    Origin(String),
    /// What was published of it cannot be gone on with.
    #[error("{0}")]
    Publish(String),
    /// What is in the folder does not add up.
    #[error(transparent)]
    Read(#[from] LogReadError),
    /// The size of a segment is zero or too large.
    #[error("a segment of {0} bytes; write 1 to {max}", max = super::SEGMENT_MAX_BYTES)]
    SegmentSize(u64),
    /// The sync interval is zero or too long.
    #[error("a sync interval of {0} ms; write 1 to {max}", max = super::SYNC_INTERVAL_MAX_MS)]
    SyncInterval(u64),
}

impl AppendError {
    /// Why, for a program.
    #[must_use]
    pub const fn kind(&self) -> AppendErrorKind {
        self.kind
    }

    /// Whether the log, and not the entry, is why.
    pub(super) fn is_outage(&self) -> bool {
        use AppendErrorKind::{DiskFull, Empty, Io, Poisoned, Timeout, TooLarge, WrongDigest};
        match self.kind {
            DiskFull | Io | Poisoned | Timeout => true,
            Empty | TooLarge | WrongDigest => false,
        }
    }

    pub(super) fn empty() -> Self {
        Self::new(AppendErrorKind::Empty, "an entry without bytes")
    }

    pub(super) fn too_large(bytes: usize) -> Self {
        let message = format!("an entry of {bytes} bytes; the most is {ENTRY_MAX_BYTES}");
        Self::new(AppendErrorKind::TooLarge, message)
    }

    pub(super) fn timeout(what: &str, after_ms: u64) -> Self {
        Self::new(
            AppendErrorKind::Timeout,
            format!("{what} within {after_ms} ms"),
        )
    }

    /// An operation failed that has changed nothing.
    pub(super) fn io(action: &str, error: &io::Error) -> Self {
        let kind = if is_full(error) {
            AppendErrorKind::DiskFull
        } else {
            AppendErrorKind::Io
        };
        Self::new(kind, format!("cannot {action}: {error}"))
    }

    /// An operation failed after which nobody knows what is on the disk.
    pub(super) fn poisoned(cause: &str) -> Self {
        let message = format!("the log is out of use until keyward is started again: {cause}");
        Self::new(AppendErrorKind::Poisoned, message)
    }

    fn new(kind: AppendErrorKind, message: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// What to do about an error that has one cause only.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run keyward as the owner of the log folder, or name another folder"
        }
        _ if is_full(error) => "; make room on its file system, or name a folder on another one",
        _ => "",
    }
}

/// Whether an operation failed for lack of room.
pub(super) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

impl From<BlobError> for AppendError {
    fn from(error: BlobError) -> Self {
        match &error {
            BlobError::Busy => Self::new(AppendErrorKind::Timeout, error.to_string()),
            BlobError::TooLarge { .. } => Self::new(AppendErrorKind::TooLarge, error.to_string()),
            BlobError::WrongDigest(_) => Self::new(AppendErrorKind::WrongDigest, error.to_string()),
            BlobError::Io { digest, error } => Self::io(&format!("write blob `{digest}`"), error),
            BlobError::Sync(_) | BlobError::Damaged(_) | BlobError::Missing(_) => {
                Self::poisoned(&error.to_string())
            }
        }
    }
}
