//! The Merkle tree of RFC 6962 section 2.1 over SHA-256: hashes, a tree that grows at its right
//! edge, and the proofs of RFC 9162 sections 2.1.3 and 2.1.4.
//!
//! A *node* is named by its level, 0 for a leaf, and its index in the level from the left. The
//! functions that need hashes of a tree are given a function that reads *complete* nodes, those of
//! which all 2^level leaves are in the tree; they compute what is above the ragged right edge.

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// The most leaves that a tree can have. Sizes have 63 bits elsewhere too, in Go's tools for one.
pub const SIZE_MAX: u64 = (1 << 63) - 1;
/// The most hashes that an inclusion proof has in a tree of at most [`SIZE_MAX`] leaves.
pub const INCLUSION_HASHES_MAX: usize = 63;

/// The size of a tree, and the root hash over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeHead {
    /// How many leaves.
    pub size: u64,
    /// The root hash.
    pub root: Digest,
}

/// A tree of which only the right edge is kept: the roots of the largest complete subtrees that
/// its leaves fall into, at most one for each bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    // INVARIANT: at most `SIZE_MAX` when the tree was made, so that it cannot overflow while it
    // grows one by one.
    size: u64,
    // INVARIANT: one node for each bit of `size` that is set, the largest first.
    nodes: Vec<Digest>,
}

/// Why there is no such proof, or why one does not prove what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MerkleError {
    /// No leaf has this index.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    Index {
        /// The index of the leaf.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The number of hashes is not that of the edge of a tree of this size.
    #[error("a tree of {size} leaves has an edge of {expected} nodes, not {found}")]
    Nodes {
        /// The size of the tree.
        size: u64,
        /// How many nodes its edge has.
        expected: u32,
        /// How many were given.
        found: usize,
    },
    /// An empty tree is consistent with every tree, and nothing proves it.
    #[error("consistency with an empty tree cannot be proven, and needs no proof")]
    OldEmpty,
    /// The number of hashes is not that of a proof between these sizes.
    #[error("the proof has too few or too many hashes")]
    ProofLength,
    /// The older tree is larger.
    #[error("a tree of {new} leaves cannot continue one of {old}")]
    Shrunk {
        /// The size of the older tree.
        old: u64,
        /// The size of the newer tree.
        new: u64,
    },
    /// More than [`SIZE_MAX`] leaves.
    #[error("a tree of {0} leaves; the most is {SIZE_MAX}")]
    TooLarge(u64),
    /// The hashes lead to another root.
    #[error("the proof leads to another root hash")]
    WrongRoot,
}

/// The hash of a leaf: SHA-256 of 0x00 and the entry.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let hash = Sha256::new_with_prefix([0]).chain_update(entry);
    Digest::from_bytes(hash.finalize().into())
}

/// The hash of an inner node: SHA-256 of 0x01 and the hashes of its two children.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let hash = Sha256::new_with_prefix([1])
        .chain_update(left.as_bytes())
        .chain_update(right.as_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// The root hash of the empty tree: SHA-256 of nothing.
#[must_use]
pub fn empty_root() -> Digest {
    Digest::of(&[])
}

impl Tree {
    /// The empty tree.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            nodes: Vec::new(),
        }
    }

    /// A tree from its size and its [`Tree::nodes`].
    ///
    /// # Errors
    /// [`MerkleError::TooLarge`] over [`SIZE_MAX`], and [`MerkleError::Nodes`] when there are not
    /// as many nodes as a tree of this size has.
    pub fn from_nodes(size: u64, nodes: Vec<Digest>) -> Result<Self, MerkleError> {
        if size > SIZE_MAX {
            return Err(MerkleError::TooLarge(size));
        }
        let expected = size.count_ones();
        if u32::try_from(nodes.len()) != Ok(expected) {
            let found = nodes.len();
            return Err(MerkleError::Nodes {
                size,
                expected,
                found,
            });
        }
        Ok(Self { size, nodes })
    }

    /// A tree of a size whose complete nodes can be read: `read(level, index)`. It reads
    /// [`Tree::nodes`], the largest first, and nothing else.
    ///
    /// # Errors
    /// [`MerkleError::TooLarge`] over [`SIZE_MAX`], and what `read` answers.
    pub fn read<E: From<MerkleError>>(
        size: u64,
        mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
    ) -> Result<Self, E> {
        let nodes: Result<Vec<_>, E> = complete_nodes(0, size)
            .map(|(level, index)| read(level, index))
            .collect();
        Ok(Self::from_nodes(size, nodes?)?)
    }

    /// Appends a leaf by its [`leaf_hash`].
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        // Every complete subtree at the right edge that is as large as the node is its sibling.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.nodes.push(node);
        self.size += 1;
    }

    /// The size and the root hash.
    #[must_use]
    pub fn head(&self) -> TreeHead {
        TreeHead {
            size: self.size,
            root: self.root(),
        }
    }

    /// The root hash.
    #[must_use]
    pub fn root(&self) -> Digest {
        fold(&self.nodes).unwrap_or_else(empty_root)
    }

    /// How many leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its largest complete subtrees, from the left, which is the largest first.
    #[must_use]
    pub fn nodes(&self) -> &[Digest] {
        &self.nodes
    }
}

impl FromIterator<Digest> for Tree {
    /// The tree of some leaves, by their [`leaf_hash`]; of nodes of one level, the tree above them.
    fn from_iter<I: IntoIterator<Item = Digest>>(leaves: I) -> Self {
        let mut tree = Self::new();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }
}

/// The root hash of a tree of a size, from its complete nodes: `read(level, index)`.
///
/// # Errors
/// What `read` answers.
pub fn root_of<E>(size: u64, read: impl FnMut(u8, u64) -> Result<Digest, E>) -> Result<Digest, E> {
    subtree_root(0, size, read)
}

/// The proof that a leaf is in a tree of a size, from its complete nodes: `read(level, index)`. It
/// reads fewer than 128 nodes.
///
/// # Errors
/// [`MerkleError::Index`] when the index is not below the size, and what `read` answers.
pub fn inclusion_proof<E: From<MerkleError>>(
    index: u64,
    size: u64,
    mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if index >= size {
        return Err(MerkleError::Index { index, size }.into());
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            proof.push(subtree_root(middle, end, &mut read)?);
            end = middle;
        } else {
            proof.push(subtree_root(start, middle, &mut read)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that a tree of a size continues one of an older size, from its complete nodes:
/// `read(level, index)`. It reads fewer than 128 nodes. From the empty tree, and from a tree to
/// itself, the proof has no hashes.
///
/// # Errors
/// [`MerkleError::Shrunk`] when the older size is the larger, and what `read` answers.
pub fn consistency_proof<E: From<MerkleError>>(
    old: u64,
    new: u64,
    mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if old > new {
        return Err(MerkleError::Shrunk { old, new }.into());
    }
    let mut proof = Vec::new();
    if old == 0 {
        return Ok(proof);
    }
    let (mut start, mut end) = (0, new);
    while end != old {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(subtree_root(middle, end, &mut read)?);
            end = middle;
        } else {
            proof.push(subtree_root(start, middle, &mut read)?);
            start = middle;
        }
    }
    // Who verifies knows the root of the older tree, so it is left out where it is a node itself.
    if start > 0 {
        proof.push(subtree_root(start, end, &mut read)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Verifies that a leaf is in a tree, as RFC 9162 section 2.1.3.2 says.
///
/// # Errors
/// [`MerkleError::Index`], [`MerkleError::ProofLength`] or [`MerkleError::WrongRoot`] when it is
/// not proven.
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    proof: &[Digest],
    head: &TreeHead,
) -> Result<(), MerkleError> {
    let size = head.size;
    if index >= size {
        return Err(MerkleError::Index { index, size });
    }
    let mut walk = Walk {
        node: index,
        last: size - 1,
    };
    let mut root = *leaf;
    for hash in proof {
        root = match walk.step()? {
            Sibling::Left => node_hash(hash, &root),
            Sibling::Right => node_hash(&root, hash),
        };
    }
    walk.end()?;
    same(&root, &head.root)
}

/// Verifies that a tree continues an older one, as RFC 9162 section 2.1.4.2 says. A tree continues
/// itself with a proof of no hashes.
///
/// # Errors
/// [`MerkleError::OldEmpty`], [`MerkleError::Shrunk`], [`MerkleError::ProofLength`] or
/// [`MerkleError::WrongRoot`] when it is not proven.
pub fn verify_consistency(
    old: &TreeHead,
    new: &TreeHead,
    proof: &[Digest],
) -> Result<(), MerkleError> {
    if old.size > new.size {
        let (old, new) = (old.size, new.size);
        return Err(MerkleError::Shrunk { old, new });
    }
    if old.size == 0 {
        return Err(MerkleError::OldEmpty);
    }
    if old.size == new.size {
        if !proof.is_empty() {
            return Err(MerkleError::ProofLength);
        }
        return same(&old.root, &new.root);
    }
    // The walk begins at the root of the last complete subtree of the older tree. The proof says
    // its hash, unless it is the whole older tree.
    let level = old.size.trailing_zeros();
    let (first, rest) = if old.size.is_power_of_two() {
        (&old.root, proof)
    } else {
        proof.split_first().ok_or(MerkleError::ProofLength)?
    };
    let mut walk = Walk {
        node: (old.size - 1) >> level,
        last: (new.size - 1) >> level,
    };
    let (mut old_root, mut new_root) = (*first, *first);
    for hash in rest {
        match walk.step()? {
            Sibling::Left => {
                old_root = node_hash(hash, &old_root);
                new_root = node_hash(hash, &new_root);
            }
            Sibling::Right => new_root = node_hash(&new_root, hash),
        }
    }
    walk.end()?;
    same(&old_root, &old.root)?;
    same(&new_root, &new.root)
}

/// The way from a node up to the root: `fn` and `sn` of RFC 9162.
struct Walk {
    /// The index of the node in its level.
    node: u64,
    /// The index of the level's last node.
    last: u64,
}

/// On which side of the node the next hash of a proof is.
enum Sibling {
    Left,
    Right,
}

impl Walk {
    /// Goes up to the parent of the node and its sibling.
    fn step(&mut self) -> Result<Sibling, MerkleError> {
        if self.last == 0 {
            return Err(MerkleError::ProofLength);
        }
        let is_right_child = self.node & 1 == 1;
        let sibling = if is_right_child || self.node == self.last {
            // The last node without a sibling is its own parent, level for level.
            let levels = self.node.trailing_zeros();
            self.up(levels);
            Sibling::Left
        } else {
            Sibling::Right
        };
        self.up(1);
        Ok(sibling)
    }

    fn up(&mut self, levels: u32) {
        self.node = self.node.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }

    /// Whether the root is reached.
    const fn end(&self) -> Result<(), MerkleError> {
        if self.last == 0 {
            Ok(())
        } else {
            Err(MerkleError::ProofLength)
        }
    }
}

fn same(found: &Digest, expected: &Digest) -> Result<(), MerkleError> {
    if found == expected {
        Ok(())
    } else {
        Err(MerkleError::WrongRoot)
    }
}

/// The root of the leaves from `start` to before `end`, which are a subtree of some tree.
fn subtree_root<E>(
    start: u64,
    end: u64,
    mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Digest, E> {
    let nodes: Result<Vec<_>, E> = complete_nodes(start, end)
        .map(|(level, index)| read(level, index))
        .collect();
    Ok(fold(&nodes?).unwrap_or_else(empty_root))
}

/// The level and index of the largest complete nodes that a subtree consists of, from the left.
fn complete_nodes(start: u64, end: u64) -> impl Iterator<Item = (u8, u64)> {
    let mut at = start;
    std::iter::from_fn(move || {
        let level = (end - at).checked_ilog2()?;
        let index = at >> level;
        at += 1 << level;
        Some((u8::try_from(level).ok()?, index))
    })
}

/// The root over subtrees of falling size.
fn fold(nodes: &[Digest]) -> Option<Digest> {
    nodes
        .iter()
        .copied()
        .rev()
        .reduce(|right, left| node_hash(&left, &right))
}

/// The largest power of two that is below a size of at least 2: the leaves of the left child.
const fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}

#[cfg(test)]
mod tests;
