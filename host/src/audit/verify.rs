//! Verifying: whether a log folder, or a copy of what it publishes, holds exactly the entries that
//! its checkpoint signs. Every entry is hashed; nothing is believed but the signatures of the keys
//! that a policy names.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::digest::Digest;
use crate::log::{LogReadError, LogReader, Pruned, TileReadError, TileReader};
use crate::tlog::checkpoint::SignedCheckpoint;
use crate::tlog::merkle::{
    MerkleError, Tree, TreeHead, inclusion_proof, leaf_hash, verify_inclusion,
};
use crate::tlog::policy::{Policy, RejectError};
use crate::tlog::tile::{NodePlace, TILE_WIDTH, Tile, TileError, TileKind, tiles_between};

/// The most problems that are told.
pub const PROBLEMS_MAX: usize = 100;
/// The most threads that hash.
const THREADS_MAX: usize = 64;
/// Entries in a full bundle.
const WIDTH: u64 = TILE_WIDTH as u64;

/// What to verify.
pub struct VerifyOptions<'a> {
    /// Whose checkpoints are believed.
    pub policy: &'a Policy,
    /// A checkpoint up to which the log was verified before: only what is behind it is read, and
    /// the log has to continue it.
    pub since: Option<&'a SignedCheckpoint>,
    /// How many threads hash: at least one.
    pub threads: usize,
    /// Called now and then with the number of entries verified so far, from any thread.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

impl fmt::Debug for VerifyOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyOptions")
            .field("policy", &self.policy)
            .field("since", &self.since)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The checkpoint that the log shows. Its signatures satisfy the policy.
    pub checkpoint: SignedCheckpoint,
    /// Which entries were hashed.
    pub entries: Range<u64>,
    /// What is no longer kept, by a written policy that is in the log; of these entries the hashes
    /// were verified. `None`: everything is kept.
    pub pruned: Option<Pruned>,
    /// Entries in the segments that no checkpoint signs yet; `None`: there are no segments, as in
    /// a copy of what is published.
    pub unsigned: Option<u64>,
    /// Everything that does not hold, in order; at most [`PROBLEMS_MAX`]. None: the log is whole.
    pub problems: Vec<Problem>,
}

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The first entry that is concerned.
    pub first: u64,
    /// The last one.
    pub last: u64,
    /// What is wrong.
    pub what: String,
}

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Read(#[from] TileReadError),
    /// The checkpoint is not one of a log and of witnesses that the policy names.
    #[error("the checkpoint is not to be believed")]
    Reject(#[from] RejectError),
    /// The checkpoint to begin at is not.
    #[error("the checkpoint to begin at is not to be believed")]
    Since(#[source] RejectError),
}

/// Verifies a log folder or a copy of it.
///
/// # Errors
/// [`VerifyError`] when there is no checkpoint that can be believed. What does not fit it is a
/// [`Problem`].
pub fn verify(folder: &Path, options: &VerifyOptions<'_>) -> Result<Verification, VerifyError> {
    let tiles = TileReader::new(folder);
    let checkpoint = tiles.checkpoint()?;
    options.policy.check(&checkpoint)?;
    let head = checkpoint.checkpoint().head();
    let since = match options.since {
        None => None,
        Some(since) => {
            options.policy.check(since).map_err(VerifyError::Since)?;
            Some(since.checkpoint().head()).filter(|since| since.size > 0)
        }
    };
    let problems = Problems::default();
    let pruned = pruned(&tiles, head, &problems);
    let kept_from = pruned.as_ref().map_or(0, |it| it.retention.below);
    let first = since.map_or(0, |since| since.size - since.size % WIDTH);
    let mut entries = first..head.size;
    if since.is_some_and(|since| since.size > head.size) {
        entries = head.size..head.size;
        let what = "the log is shorter than the checkpoint to begin at: it was rolled back";
        problems.add(head.size..since.map_or(0, |since| since.size), what);
    } else {
        let bundles = Bundles {
            tiles: &tiles,
            size: head.size,
            kept_from,
            problems: &problems,
        };
        let bundles = bundles.hash(entries.clone(), options);
        check_levels(&tiles, (&bundles, head.size), &problems);
        check_root(&tiles, (&bundles, since, head), &problems);
    }
    let kept = entries.start.max(kept_from)..entries.end;
    let unsigned = check_segments(folder, (&tiles, kept, head.size), &problems);
    Ok(Verification {
        checkpoint,
        entries,
        pruned,
        unsigned,
        problems: problems.finish(),
    })
}

/// What is no longer kept, if the entry that says so is one that is signed.
fn pruned(tiles: &TileReader, head: TreeHead, problems: &Problems) -> Option<Pruned> {
    let pruned = match tiles.pruned() {
        Ok(pruned) => pruned?,
        Err(error) => {
            problems.add(0..head.size, &error.to_string());
            return None;
        }
    };
    let record = pruned.record;
    let is_signed = || -> Result<bool, VerifyError> {
        let leaf = leaf_hash(&tiles.entry(record, head.size)?);
        let node = |level, index| Ok::<_, VerifyError>(tiles.node(level, index, head.size)?);
        let proof = inclusion_proof(record, head.size, node)?;
        Ok(verify_inclusion(&leaf, record, &proof, &head).is_ok())
    };
    match is_signed() {
        Ok(true) => Some(pruned),
        Ok(false) => {
            let what = "what says that older entries are no longer kept is not what was signed";
            problems.add(record..record.saturating_add(1), what);
            None
        }
        Err(error) => {
            problems.add(record..record.saturating_add(1), &error.to_string());
            None
        }
    }
}

/// The roots of the full bundles of a range of entries, and the leaves of the one that is not full.
struct Hashed {
    first_bundle: u64,
    roots: Vec<Digest>,
    rest: Vec<Digest>,
}

/// The entries of a log, and their lowest hash tiles.
#[derive(Clone, Copy)]
struct Bundles<'a> {
    tiles: &'a TileReader,
    size: u64,
    /// Below this index there are no entries, only their hashes.
    kept_from: u64,
    problems: &'a Problems,
}

impl Bundles<'_> {
    /// Hashes all entries of a range, which begins with a bundle, and compares them with the lowest
    /// hash tiles.
    fn hash(self, range: Range<u64>, options: &VerifyOptions<'_>) -> Hashed {
        let bundles = range.start / WIDTH..range.end.div_ceil(WIDTH);
        let done = AtomicU64::new(0);
        // Nothing is set aside for the size that is claimed: only what is read counts.
        let hash = |bundles: Range<u64>| -> Vec<(Tile, Vec<Digest>)> {
            let mut hashed = Vec::new();
            let all = tiles_between(bundles.start * WIDTH, self.size);
            for tile in all.take_while(|tile| tile.kind() == TileKind::Entries) {
                if tile.index() >= bundles.end || self.problems.is_full() {
                    break;
                }
                let leaves = self.hash_one(tile);
                let count = u64::from(tile.width());
                (options.progress)(done.fetch_add(count, Ordering::Relaxed) + count);
                let is_full = tile.width() == TILE_WIDTH;
                hashed.push((
                    tile,
                    if is_full {
                        vec![root_of(&leaves)]
                    } else {
                        leaves
                    },
                ));
            }
            hashed
        };
        let threads = u64::try_from(options.threads.clamp(1, THREADS_MAX)).unwrap_or(1);
        let share = (bundles.end - bundles.start).div_ceil(threads).max(1);
        let hashed: Vec<_> = std::thread::scope(|scope| {
            let started: Vec<_> = (0..threads)
                .map(|thread| {
                    let from = bundles.start.saturating_add(share.saturating_mul(thread));
                    let to = from.saturating_add(share).min(bundles.end);
                    scope.spawn(move || hash(from.min(to)..to))
                })
                .collect();
            let ended = started.into_iter().map(|it| it.join().unwrap_or_default());
            ended.flatten().collect()
        });
        let mut all = Hashed {
            first_bundle: range.start / WIDTH,
            roots: Vec::new(),
            rest: Vec::new(),
        };
        for (tile, hashes) in hashed {
            if tile.width() == TILE_WIDTH {
                all.roots.extend(hashes);
            } else {
                all.rest = hashes;
            }
        }
        all
    }

    /// The leaf hashes of a bundle's entries, or what the hash tile says where they cannot be read
    /// or are no longer kept.
    fn hash_one(self, tile: Tile) -> Vec<Digest> {
        let width = tile.width();
        let first = tile.index() * WIDTH;
        let all = first..first + u64::from(width);
        let level_0 = Tile::new(TileKind::Hashes { level: 0 }, tile.index(), width);
        let signed = match level_0
            .map_err(VerifyError::from)
            .and_then(|it| Ok(self.tiles.hashes(it)?))
        {
            Ok(signed) => signed,
            Err(error) => {
                self.problems.add(all.clone(), &error.to_string());
                Vec::new()
            }
        };
        if all.end <= self.kept_from {
            return signed;
        }
        let mut leaves = Vec::with_capacity(usize::from(width));
        let read = self
            .tiles
            .bundle(tile, |entry| leaves.push(leaf_hash(entry)));
        if let Err(error) = read {
            self.problems.add(all, &error.to_string());
            return signed;
        }
        if signed.is_empty() || signed == leaves {
            return leaves;
        }
        // Which of the two is wrong, a level above tells.
        let is_tile_right = width == TILE_WIDTH
            && self
                .tiles
                .node(8, tile.index(), self.size)
                .is_ok_and(|node| node == root_of(&signed));
        let pairs = (first..).zip(leaves.iter().zip(&signed));
        let mut differing = pairs.filter(|(_, (leaf, signed))| leaf != signed);
        let from = differing.next().map_or(first, |(index, _)| index);
        let to = differing.last().map_or(from, |(index, _)| index);
        let what = if is_tile_right {
            format!("`{tile}` has other entries than were signed")
        } else {
            format!("`{tile}` and its hash tile do not fit each other")
        };
        self.problems.add(from..to.saturating_add(1), &what);
        // What is right goes on upwards, so that one change is one problem.
        if is_tile_right { signed } else { leaves }
    }
}

/// Compares the hash tiles above the lowest with what the entries lead to.
fn check_levels(tiles: &TileReader, (hashed, size): (&Hashed, u64), problems: &Problems) {
    let mut first = hashed.first_bundle;
    let mut row = hashed.roots.clone();
    for level in 1_u8..8 {
        let count = size >> (8 * level);
        if count == 0 {
            break;
        }
        let begin = first / WIDTH * WIDTH;
        let upper = tiles_between(begin, count).take_while(|it| it.kind() == TileKind::Entries);
        for tile in upper {
            if problems.is_full() {
                return;
            }
            let index = tile.index();
            let entries = (index * WIDTH) << (8 * level)..((index + 1) * WIDTH) << (8 * level);
            let entries = entries.start..entries.end.min(size);
            let read = Tile::new(TileKind::Hashes { level }, index, tile.width())
                .map_err(VerifyError::from)
                .and_then(|it| Ok((it, tiles.hashes(it)?)));
            match read {
                Err(error) => problems.add(entries, &error.to_string()),
                Ok((tile, hashes)) => {
                    let known = (index * WIDTH..).zip(&hashes).filter_map(|(place, hash)| {
                        let place = usize::try_from(place.checked_sub(first)?).ok()?;
                        Some((hash, row.get(place)?))
                    });
                    if !known.into_iter().all(|(hash, known)| hash == known) {
                        let what = format!("`{tile}` has other hashes than the tiles below it");
                        problems.add(entries, &what);
                    }
                }
            }
        }
        let skip = usize::try_from(first.next_multiple_of(WIDTH) - first).unwrap_or(usize::MAX);
        let width = usize::from(TILE_WIDTH);
        let next = row.get(skip..).unwrap_or_default().chunks_exact(width);
        row = next.map(root_of).collect();
        first = first.div_ceil(WIDTH);
    }
}

/// Compares the root that the entries lead to with the one that is signed, and where the
/// verification begins with the one that was signed then.
fn check_root(
    tiles: &TileReader,
    (hashed, since, head): (&Hashed, Option<TreeHead>, TreeHead),
    problems: &Problems,
) {
    let node = |level, index| tiles.node(level, index, head.size);
    if let Some(since) = since {
        match Tree::read(since.size, |level, index| {
            Ok::<_, VerifyError>(node(level, index)?)
        }) {
            Ok(tree) if tree.head() == since => {}
            Ok(_) => {
                let what = "the log does not continue the checkpoint to begin at: another history \
                            was signed";
                problems.add(0..since.size, what);
            }
            Err(error) => problems.add(0..since.size, &error.to_string()),
        }
    }
    let root = || -> Result<Digest, VerifyError> {
        let mut bundles = Tree::read(hashed.first_bundle, |level, index| {
            Ok::<_, VerifyError>(node(level + 8, index)?)
        })?;
        hashed.roots.iter().for_each(|root| bundles.push(*root));
        let rest: Tree = hashed.rest.iter().copied().collect();
        let nodes = [bundles.nodes(), rest.nodes()].concat();
        Ok(Tree::from_nodes(head.size, nodes)?.root())
    };
    match root() {
        Ok(root) if root == head.root => {}
        Ok(_) if problems.is_some() => {}
        Ok(_) => {
            let what = "the entries and tiles fit each other and not the root hash that is signed: \
                        they were replaced together";
            problems.add(0..head.size, what);
        }
        Err(error) => problems.add(0..head.size, &error.to_string()),
    }
}

/// Compares the entries in the segments with the hash tiles, and counts those that are not signed.
fn check_segments(
    folder: &Path,
    (tiles, range, size): (&TileReader, Range<u64>, u64),
    problems: &Problems,
) -> Option<u64> {
    let reader = match LogReader::open(folder) {
        Ok(reader) => reader,
        Err(error) => {
            problems.add(range, &chain(&error));
            return None;
        }
    };
    let mut next = reader.first_segment()?.max(range.start);
    let mut hashes: (u64, Vec<Digest>) = (u64::MAX, Vec::new());
    for entry in reader.segment_entries(range.start) {
        let (index, bytes) = match entry {
            Ok(entry) => entry,
            Err(error) => {
                problems.add(next..size.max(next + 1), &chain(&error));
                break;
            }
        };
        next = index + 1;
        if !range.contains(&index) {
            continue;
        }
        if hashes.0 != index / WIDTH {
            // A tile that cannot be read was told before.
            let place = NodePlace::of(0, index, size).ok();
            let read = place.and_then(|place| tiles.hashes(place.tile()).ok());
            hashes = (index / WIDTH, read.unwrap_or_default());
        }
        let place = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
        if hashes
            .1
            .get(place)
            .is_some_and(|hash| *hash != leaf_hash(&bytes))
        {
            let what = "the segments have another entry than the tiles";
            problems.add(index..index + 1, what);
        }
    }
    if next < size {
        problems.add(next..size, "the segments end before the checkpoint does");
    }
    Some(next.saturating_sub(size))
}

fn root_of(leaves: &[Digest]) -> Digest {
    leaves.iter().copied().collect::<Tree>().root()
}

/// An error with its causes.
fn chain(error: &LogReadError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Problems as several threads find them.
#[derive(Default)]
struct Problems(Mutex<Vec<Problem>>);

impl Problems {
    /// Adds a problem with a range of entries, of which there is at least one.
    fn add(&self, entries: Range<u64>, what: &str) {
        let mut all = self.0.lock();
        if all.len() < PROBLEMS_MAX {
            all.push(Problem {
                first: entries.start,
                last: entries.end.saturating_sub(1).max(entries.start),
                what: what.to_owned(),
            });
        }
    }

    /// Whether no more are told.
    fn is_full(&self) -> bool {
        self.0.lock().len() >= PROBLEMS_MAX
    }

    fn is_some(&self) -> bool {
        !self.0.lock().is_empty()
    }

    fn finish(self) -> Vec<Problem> {
        let mut all = self.0.into_inner();
        all.sort();
        all
    }
}

impl From<TileError> for VerifyError {
    fn from(source: TileError) -> Self {
        let path = "tile".to_owned();
        Self::Read(TileReadError::Tile { path, source })
    }
}

impl From<MerkleError> for VerifyError {
    fn from(error: MerkleError) -> Self {
        Self::Read(TileReadError::Tree(error))
    }
}
