//! What was decided on a key, from an entry on: for the statement that nothing was allowed with it.
//! Only entries count that lead to the root hash that a checkpoint signs.

use std::ops::Range;
use std::path::Path;

use crate::decision::Permission;
use crate::key::KeyId;
use crate::key::event::Subject;
use crate::key::state::State;
use crate::log::{Entry, EntryError, TileReadError, TileReader};
use crate::timestamp::Timestamp;
use crate::tlog::checkpoint::SignedCheckpoint;
use crate::tlog::merkle::{MerkleError, Tree, TreeHead, leaf_hash};
use crate::tlog::policy::{Policy, RejectError};
use crate::tlog::tile::{TILE_WIDTH, TileKind, tiles_between};

/// The most decisions that are named.
pub const ALLOWED_MAX: usize = 100;
/// Entries in a full bundle.
const WIDTH: u64 = TILE_WIDTH as u64;

/// What was decided on a key in a range of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    /// Which key.
    pub key: KeyId,
    /// The entries that were read, up to the end of the checkpoint.
    pub entries: Range<u64>,
    /// The checkpoint that signs them.
    pub checkpoint: SignedCheckpoint,
    /// How many decisions there are on the key.
    pub decisions: u64,
    /// How many of them allowed something.
    pub allowed: u64,
    /// The first [`ALLOWED_MAX`] of these, with their times.
    pub shown: Vec<(u64, Timestamp)>,
}

/// Why it cannot be said. No message names the log folder: the caller has.
#[derive(Debug, thiserror::Error)]
pub enum UsesError {
    /// An entry that could be a decision on the key.
    #[error("entry {index}: {error}")]
    Entry {
        /// Which.
        index: u64,
        /// Why it cannot be read.
        error: EntryError,
    },
    /// Nothing is signed from there on.
    #[error("the checkpoint has {size} entries, and so none from entry {from} on")]
    Nothing {
        /// From where.
        from: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// The key was not revoked, as far as that is signed.
    #[error(
        "no entry that is signed and kept has revoked key {0}; name the entry to begin at with --from"
    )]
    NotRevoked(KeyId),
    /// Entries are no longer kept.
    #[error("entries under {below} are no longer kept, by the policy that is entry {record}")]
    Pruned {
        /// Below which index.
        below: u64,
        /// The entry that says so.
        record: u64,
    },
    /// A published file cannot be used.
    #[error(transparent)]
    Read(#[from] TileReadError),
    /// The checkpoint is not one of a log that the policy names.
    #[error("the checkpoint is not to be believed")]
    Reject(#[from] RejectError),
    /// The entries are not those that were signed.
    #[error(
        "the entries do not lead to the root hash that is signed; `keyward log verify` says which \
         were changed"
    )]
    Root,
}

/// What was decided on a key from an entry on, or from the event on that revoked it, in the last
/// checkpoint of a log folder or of a copy of it.
///
/// # Errors
/// [`UsesError`] when not all of it can be read, or is not what a checkpoint signs that the policy
/// believes.
pub fn uses_after(
    folder: &Path,
    policy: &Policy,
    (key, from): (KeyId, Option<u64>),
) -> Result<Uses, UsesError> {
    let checkpoint = TileReader::new(folder).checkpoint()?;
    policy.check(&checkpoint)?;
    uses_in(folder, checkpoint, (key, from))
}

/// [`uses_after`] in a checkpoint whose signatures the caller has checked: the log's last one or an
/// earlier one.
///
/// # Errors
/// As [`uses_after`].
pub fn uses_in(
    folder: &Path,
    checkpoint: SignedCheckpoint,
    (key, from): (KeyId, Option<u64>),
) -> Result<Uses, UsesError> {
    let tiles = TileReader::new(folder);
    let head = checkpoint.checkpoint().head();
    let pruned = tiles.pruned()?;
    let kept_from = pruned.as_ref().map_or(0, |it| it.retention.below);
    let first = from.unwrap_or(kept_from);
    if let Some(pruned) = pruned.filter(|_| first < kept_from) {
        let (below, record) = (pruned.retention.below, pruned.record);
        return Err(UsesError::Pruned { below, record });
    }
    if first >= head.size {
        let (from, size) = (first, head.size);
        return Err(UsesError::Nothing { from, size });
    }
    let mut uses = Uses {
        key,
        entries: first..head.size,
        checkpoint,
        decisions: 0,
        allowed: 0,
        shown: Vec::new(),
    };
    let mut has_begun = from.is_some();
    authenticated(&tiles, (head, first), |index, bytes| {
        let entry = Entry::decode(bytes);
        let entry = entry.map_err(|error| UsesError::Entry { index, error })?;
        if has_begun {
            uses.count(index, &entry);
        } else if is_revocation(&entry, key) {
            has_begun = true;
            uses.entries.start = index;
        }
        Ok(())
    })?;
    if has_begun {
        Ok(uses)
    } else {
        Err(UsesError::NotRevoked(key))
    }
}

impl Uses {
    fn count(&mut self, index: u64, entry: &Entry) {
        let Entry::Decision(decision) = entry else {
            return;
        };
        if decision.key != Some(self.key) {
            return;
        }
        self.decisions = self.decisions.saturating_add(1);
        if decision.permission == Permission::Allow {
            self.allowed = self.allowed.saturating_add(1);
            if self.shown.len() < ALLOWED_MAX {
                self.shown.push((index, decision.time));
            }
        }
    }
}

fn is_revocation(entry: &Entry, key: KeyId) -> bool {
    let Entry::KeyEvent(event) = entry else {
        return false;
    };
    matches!(&event.subject, Subject::Key { id, state: State::Revoked, .. } if *id == key)
}

/// Hands over the entries of a tree from an index on, until `each` fails. What was handed over, and
/// what `each` found wrong with it, counts only when the bytes are the ones that lead to the root
/// hash, together with the hashes of what is before them.
fn authenticated(
    tiles: &TileReader,
    (head, from): (TreeHead, u64),
    mut each: impl FnMut(u64, &[u8]) -> Result<(), UsesError>,
) -> Result<(), UsesError> {
    let first_bundle = from / WIDTH;
    // A node of the bundles' tree is one of the whole tree, eight levels up.
    let mut bundles = Tree::read(first_bundle, |level, index| {
        Ok::<_, UsesError>(tiles.node(level.saturating_add(8), index, head.size)?)
    })?;
    let mut rest = Tree::new();
    let mut handed = Ok(());
    let all = tiles_between(first_bundle.saturating_mul(WIDTH), head.size);
    for tile in all.take_while(|tile| tile.kind() == TileKind::Entries) {
        let mut leaves = Tree::new();
        let mut index = tile.index().saturating_mul(WIDTH);
        tiles.bundle(tile, |entry| {
            leaves.push(leaf_hash(entry));
            if index >= from && handed.is_ok() {
                handed = each(index, entry);
            }
            index = index.saturating_add(1);
        })?;
        if tile.width() == TILE_WIDTH {
            bundles.push(leaves.root());
        } else {
            rest = leaves;
        }
    }
    let nodes = [bundles.nodes(), rest.nodes()].concat();
    let tree = Tree::from_nodes(head.size, nodes)?;
    if tree.root() == head.root {
        handed
    } else {
        Err(UsesError::Root)
    }
}

impl From<MerkleError> for UsesError {
    fn from(error: MerkleError) -> Self {
        Self::Read(TileReadError::Tree(error))
    }
}
