//! The log: an append-only record of every decision, and the only source of the [`Receipt`]s
//! without which no decision allows.
//!
//! A log is a folder that one process writes ([`Log`]) and any number read ([`LogReader`]):
//!
//! ```text
//! lock                                 who writes                   lock.rs
//! wal/<first index, 20 digits>.wal     the entries, in segments     segment.rs
//! blob/sha256/<aa>/<64 hex digits>     what they name by digest     blob.rs
//! tile/**, checkpoint, head            what others verify           publish.rs, tiles.rs
//! retention                            what is no longer kept       retention.rs
//! ```
//!
//! # What a receipt promises
//! [`Durability::Written`]: the operating system has the entry. Nothing that happens to this
//! process loses it; a power cut may, for as long as the sync interval. [`Durability::Durable`]: it
//! outlives a power cut too. The boot record, the first entry of every host, states which of the
//! two it promised.
//!
//! What is promised is kept, or the log says so: an entry that cannot be written is refused within
//! the limits of [`append_decision`](Log::append_decision), and once it is in doubt what is on the
//! disk the log is poisoned and refuses everything. A refused entry may still be found in the log,
//! never the other way round.
//!
//! Denials of a flood of requests whose credentials name no key are counted instead of appended;
//! what was counted is recorded with each sync ([`Coalesced`]).
//!
//! # On a full disk
//! Decisions are refused, and counted in an [`Outage`], while the disk has no room but a reserve of
//! [`RESERVE_BYTES`]. Every other entry goes into that. The log goes on by itself when there is
//! room again.
//!
//! # What opening does
//! A crash or a power cut can leave half an entry at the end of the last segment. It is dropped,
//! and a [`Recovery`] takes its place; so are entries behind a sector that the disk had not written
//! when it had written them. Everything else that does not add up (a damaged entry with undamaged
//! ones behind it or that was signed, a gap, a missing segment, another log's segment) is not
//! repaired but refused, with what to do.
//!
//! # Out of scope
//! The log takes bytes and gives receipts. It knows no HTTP, no wasm and no registry, and reads no
//! clock.

mod blob;
mod coalesce;
mod entries;
mod entry;
mod error;
mod follow;
mod key_file;
mod lock;
mod open;
mod outage;
mod progress;
mod publish;
mod reader;
mod reserve;
mod retention;
mod segment;
mod storage;
mod tiles;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::decision::DecisionRecord;
use crate::digest::Digest;
use crate::timestamp::Timestamp;

use open::Expected;
use outage::Outages;
use publish::{Publication, Publisher};
use storage::{RealStorage, Storage};
use writer::Writer;

pub use blob::{BLOB_MAX_BYTES, BlobError};
pub use coalesce::Counted;
pub use entries::Entries;
pub use entry::{
    Boot, Coalesced, ENTRY_MAX_BYTES, Entry, EntryError, LOG_KEYS_MAX, LogKey, Outage,
    RETENTION_POLICY_MAX_BYTES, REVOCATION_MAX_BYTES, Recovery, Reload, Retention, Revocation,
    encode_decision_into,
};
pub use error::{AppendError, AppendErrorKind, LogError};
pub use key_file::{KeyFileError, create_key_file, read_key_file};
pub use open::{has_begun, is_origin};
pub use publish::{
    CHECKPOINT_INTERVAL_DEFAULT_MS, CHECKPOINT_INTERVAL_MAX_MS, Courier, HEAD_FILE, HeadError,
    Published, Publishing, Witnesses,
};
pub use reader::{LogReadError, LogReader, SEGMENTS_MAX, TornTail};
pub use reserve::RESERVE_BYTES;
pub use retention::{PruneError, Pruned, RETENTION_FILE, prunable};
pub use segment::{ORIGIN_MAX_BYTES, SEGMENT_MAX_BYTES, SegmentError};
pub use tiles::{CHECKPOINT_FILE, TileReadError, TileReader};

/// The longest time, in milliseconds, that a written entry may stay unsynced.
pub const SYNC_INTERVAL_MAX_MS: u64 = 10_000;
/// That time unless the options say otherwise.
pub const SYNC_INTERVAL_DEFAULT_MS: u64 = 50;

/// The policy set of one who decides nothing, and only keeps keys or the log.
pub const NO_POLICY_SET: Digest = Digest::from_bytes([0; 32]);

/// Room for a decision's entry; a larger one takes a second allocation.
const DECISION_EXPECTED_BYTES: usize = 1024;

/// What an entry outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of this process, however it ends.
    Written,
    /// A power cut.
    Durable,
}

/// The log's answer to an append. Only the log makes one.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    index: u64,
    durability: Durability,
}

/// How a log is written.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The log's name, for ever: a URL without scheme, for example `keyward.example/gateway-1`.
    /// 1 to [`ORIGIN_MAX_BYTES`] visible ASCII characters, no `+`.
    pub origin: String,
    /// What [`Log::append_decision`] waits for.
    pub durability: Durability,
    /// How long, in milliseconds, a written entry stays unsynced: 1 to [`SYNC_INTERVAL_MAX_MS`].
    pub sync_interval_ms: u64,
    /// At what size a new segment is begun: 1 to [`SEGMENT_MAX_BYTES`].
    pub segment_max_bytes: u64,
    /// The version of keyward, for the boot record.
    pub keyward_version: String,
    /// The engine and its version, for the boot record.
    pub engine: String,
    /// The digest of the policy set's manifest, for the boot record; [`NO_POLICY_SET`] for one who
    /// decides nothing.
    pub policy_set: Digest,
    /// Who signs its checkpoints; `None`: nobody, and nobody else can verify it.
    pub publishing: Option<Publishing>,
}

/// A log folder, open for writing. Shared by all threads that append; dropping it closes it.
#[derive(Debug)]
pub struct Log {
    storage: Arc<dyn Storage>,
    folder: PathBuf,
    writer: Arc<Writer>,
    durability: Durability,
    sync_thread: Option<JoinHandle<()>>,
    outages: Outages,
    publication: Arc<Publication>,
    publish_thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Begins a log in a folder that is new or empty, and appends the boot record.
    ///
    /// # Errors
    /// [`LogError`] when there is a log or anything else in the folder ([`has_begun`] tells), when
    /// the options are out of bounds, and when the boot record cannot be made durable.
    pub fn create(folder: &Path, options: LogOptions, now: Timestamp) -> Result<Self, LogError> {
        let storage = Arc::new(RealStorage);
        Self::open_on(storage, folder, (options, Expected::Nothing), now)
    }

    /// Opens the log in a folder for writing, and appends the boot record. An end that was torn off
    /// is dropped, which is recorded too.
    ///
    /// # Errors
    /// [`LogError`] when there is none, when another process has it, when the options do not fit
    /// the log or are out of bounds, when what is there does not add up, and when the boot record
    /// cannot be made durable.
    pub fn open(folder: &Path, options: LogOptions, now: Timestamp) -> Result<Self, LogError> {
        let storage = Arc::new(RealStorage);
        Self::open_on(storage, folder, (options, Expected::Log), now)
    }

    /// Appends a decision and waits for what [`LogOptions::durability`] says. When decisions before
    /// it were not taken, a durable [`Outage`] goes before it.
    ///
    /// It takes at most a second to get its turn and a second to become durable, plus one write in
    /// this thread. Entries of several threads become durable together.
    ///
    /// # Errors
    /// [`AppendError`] when the log has not taken the decision; the caller then denies.
    pub fn append_decision(&self, decision: &DecisionRecord) -> Result<Receipt, AppendError> {
        let mut entry = Vec::with_capacity(DECISION_EXPECTED_BYTES);
        encode_decision_into(decision, &mut entry);
        let admitted = self.writer.admit(entry.len());
        let taken = admitted
            .and_then(|()| self.end_outage())
            .and_then(|()| self.append(&entry));
        if let Err(error) = &taken {
            self.count_refused(decision.time, error);
        }
        taken
    }

    /// Counts a denial instead of recording it. A [`Coalesced`] entry says how many there were of
    /// each reason: with the next sync, a sync interval later at most, and when the log is closed.
    /// It costs a short lock and waits for nothing.
    ///
    /// # Errors
    /// [`AppendError`] when the log takes nothing now, or did not take the last count: the denial
    /// is counted as one that the log has refused, and the caller is told so.
    pub(crate) fn count_denial(
        &self,
        reason: &'static str,
        time: Timestamp,
    ) -> Result<Counted, AppendError> {
        let counted = self.writer.count(reason, time);
        if counted.is_err() {
            self.outages.refused(time);
        }
        counted
    }

    /// Counts a decision that was not appended because something that it needs was not taken, a
    /// blob. What [`append_decision`](Self::append_decision) refuses is counted already.
    pub fn count_refused(&self, time: Timestamp, error: &AppendError) {
        if error.is_outage() {
            self.outages.refused(time);
        }
    }

    /// Appends that a host has changed what it decides by, and returns when that is durable.
    ///
    /// # Errors
    /// [`AppendError`] when the log has not taken it; nothing may then be changed.
    pub fn append_reload(&self, reload: &Reload) -> Result<Receipt, AppendError> {
        self.append_durable(&Entry::Reload(*reload).encode())
    }

    /// Appends what was done to a key, as the registry has stored it, and returns when that is
    /// durable.
    ///
    /// # Errors
    /// [`AppendError`] when the log has not taken it.
    #[cfg(feature = "sqlite")]
    pub(crate) fn append_stored_event(&self, entry: &[u8]) -> Result<Receipt, AppendError> {
        self.append_durable(entry)
    }

    /// Appends that the log's keys are replaced, and returns when that is durable.
    ///
    /// # Errors
    /// [`AppendError`] when the log has not taken it; no other key may then sign.
    pub fn append_log_key(&self, log_key: &LogKey) -> Result<Receipt, AppendError> {
        self.append_durable(&Entry::LogKey(log_key.clone()).encode())
    }

    /// Appends what governance certifies of a revocation, and returns when that is durable.
    ///
    /// # Errors
    /// [`AppendError`] when the log has not taken it.
    pub fn append_revocation(&self, revocation: &Revocation) -> Result<Receipt, AppendError> {
        self.append_durable(&Entry::Revocation(revocation.clone()).encode())
    }

    /// Prunes the entries that are older than `before`, by a policy in its author's words of 1 to
    /// [`RETENTION_POLICY_MAX_BYTES`]: records that, waits at most ten seconds for the checkpoint
    /// that signs the record, and deletes them. `None`: there is nothing that can be pruned.
    ///
    /// Entries are pruned in bundles of 256. The last of them can stay in a segment until 256 more
    /// entries are signed; nothing reads them there.
    ///
    /// # Errors
    /// [`PruneError`]; what was not deleted is by the next attempt.
    pub fn prune(
        &self,
        (before, policy): (Timestamp, &str),
        now: Timestamp,
    ) -> Result<Option<Pruned>, PruneError> {
        let tiles = TileReader::new(&self.folder);
        let pruned = tiles.pruned().map_err(LogReadError::from)?;
        let kept_from = pruned.map_or(0, |it| it.retention.below);
        let below = prunable(&self.folder, before)?;
        if below <= kept_from {
            retention::delete_bundles(&self.folder, kept_from)?;
            return Ok(None);
        }
        let policy = policy.to_owned();
        let retention = Retention {
            time: now,
            below,
            before,
            policy,
        };
        // What is pruned is not to stay with what is kept.
        self.writer.begin_segment()?;
        let receipt = self.append_durable(&Entry::Retention(retention.clone()).encode())?;
        let record = receipt.index();
        let signed = self.publication.wait_signed(record);
        signed.map_err(PruneError::Unsigned)?;
        retention::note(&*self.storage, &self.folder, record)?;
        retention::delete_bundles(&self.folder, below)?;
        Ok(Some(Pruned { record, retention }))
    }

    /// Writes a blob of at most [`BLOB_MAX_BYTES`] unless the log has it. It is durable no later
    /// than an entry that is appended after it. A blob that is known to be there costs no system
    /// call, and its bytes are not asked for.
    ///
    /// # Errors
    /// [`AppendError`] when the log has not taken the blob; an entry must not name it then.
    pub fn put_blob<B: AsRef<[u8]>>(
        &self,
        digest: Digest,
        bytes: impl FnOnce() -> B,
    ) -> Result<(), AppendError> {
        self.writer.put_blob(digest, bytes)
    }

    /// Returns when everything appended and counted so far is durable, within the limits of
    /// [`append_decision`](Self::append_decision).
    ///
    /// # Errors
    /// [`AppendError`] when it cannot be made durable or that takes too long.
    pub fn sync(&self) -> Result<(), AppendError> {
        self.writer.sync()
    }

    /// How far the log is published, and why not further.
    #[must_use]
    pub fn published(&self) -> Published {
        self.publication.published()
    }

    /// Closes the log, as dropping it does, and says how far it is published then.
    #[must_use]
    pub fn close(mut self) -> Published {
        self.end();
        self.published()
    }

    /// Appends an entry and waits for what [`LogOptions::durability`] says.
    ///
    /// # Errors
    /// [`AppendError`] when the log has not taken the entry; the caller then denies.
    pub(crate) fn append(&self, payload: &[u8]) -> Result<Receipt, AppendError> {
        self.writer.append(payload, self.durability)
    }

    /// Appends an entry that is no decision and returns when it is durable, whatever the log's
    /// options say. On a full disk it goes into the reserve.
    ///
    /// # Errors
    /// [`AppendError`] when the log has not taken the entry.
    pub(crate) fn append_durable(&self, payload: &[u8]) -> Result<Receipt, AppendError> {
        self.writer.append_reserved(payload)
    }

    /// [`Log::create`] or [`Log::open`], on any storage.
    fn open_on(
        storage: Arc<dyn Storage>,
        folder: &Path,
        (options, expected): (LogOptions, Expected),
        now: Timestamp,
    ) -> Result<Self, LogError> {
        let (writer, publisher) =
            open::open(Arc::clone(&storage), folder, (&options, expected), now)?;
        let writer = Arc::new(writer);
        let interval = Duration::from_millis(options.sync_interval_ms);
        let shared = Arc::clone(&writer);
        let syncs = move || shared.run_syncs(interval);
        let mut log = Self {
            storage,
            folder: folder.to_owned(),
            sync_thread: Some(spawn("sync", syncs)?),
            writer,
            durability: options.durability,
            outages: Outages::default(),
            publication: Arc::default(),
            publish_thread: None,
        };
        log.publish_thread = publisher.map(|it| log.publish(it)).transpose()?;
        log.append_durable(&Entry::Boot(boot(options, now)).encode())?;
        Ok(log)
    }

    /// Starts the thread that publishes.
    fn publish(&self, publisher: Publisher) -> Result<JoinHandle<()>, LogError> {
        let publication = Arc::clone(&self.publication);
        let (writer, poisoned) = (Arc::clone(&self.writer), Arc::clone(&self.writer));
        spawn("publish", move || {
            let poison = |cause: &str| drop(poisoned.poison(cause));
            publication.run(publisher, || writer.durable(), poison);
        })
    }

    /// Records the outage that is going on, if there is one.
    fn end_outage(&self) -> Result<(), AppendError> {
        self.outages
            .end(|outage| self.append_durable(&Entry::Outage(outage).encode()))
    }

    /// Records an outage that is going on, syncs and publishes what it can. A disk that does not
    /// answer is left to the threads that wait for it.
    fn end(&mut self) {
        if self.sync_thread.is_some() {
            // From the reserve, on a full disk. When this fails nobody is left to count further.
            let _ = self.end_outage();
        }
        if let Some(thread) = self.sync_thread.take()
            && self.writer.end()
        {
            // It has said that it ends; a panic in it has nobody left to tell.
            let _ = thread.join();
        }
        if let Some(thread) = self.publish_thread.take()
            && self.publication.close()
        {
            let _ = thread.join();
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts one of the log's threads.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LogError> {
    let thread = std::thread::Builder::new().name(format!("keyward-log-{name}"));
    thread.spawn(work).map_err(|source| LogError::Io {
        action: "start a thread",
        source,
    })
}

fn boot(options: LogOptions, now: Timestamp) -> Boot {
    Boot {
        time: now,
        origin: options.origin,
        durability: options.durability,
        sync_interval_ms: options.sync_interval_ms,
        keyward_version: options.keyward_version,
        engine: options.engine,
        policy_set: options.policy_set,
    }
}

impl Default for LogOptions {
    /// Written, synced every 50 ms, segments of 64 MiB. The origin and what the boot record says of
    /// the host are empty; a log without an origin is refused.
    fn default() -> Self {
        Self {
            origin: String::new(),
            durability: Durability::Written,
            sync_interval_ms: SYNC_INTERVAL_DEFAULT_MS,
            segment_max_bytes: SEGMENT_MAX_BYTES,
            keyward_version: String::new(),
            engine: String::new(),
            policy_set: NO_POLICY_SET,
            publishing: None,
        }
    }
}

impl Receipt {
    /// Where in the log the entry is.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// What it outlives.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }
}

impl Durability {
    /// The name in files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Durable => "durable",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
