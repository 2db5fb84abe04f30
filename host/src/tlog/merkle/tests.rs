//! Vectors of others, all trees of up to 300 leaves, and every bit of their proofs.

use std::convert::Infallible;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::tlog::text::decode_hash;

/// The largest tree of which all proofs are made.
const TREE_MAX: u64 = 300;

/// A tree with all its complete nodes, by level.
struct Whole(Vec<Vec<Digest>>);

impl Whole {
    fn new(size: u64) -> Self {
        let leaves = (0..size).map(|index| leaf_hash(&index.to_be_bytes()));
        let mut levels = vec![leaves.collect::<Vec<_>>()];
        while levels[levels.len() - 1].len() > 1 {
            let (pairs, _) = levels[levels.len() - 1].as_chunks();
            levels.push(pairs.iter().map(|[l, r]| node_hash(l, r)).collect());
        }
        Self(levels)
    }

    /// Reads a node, as of a tree of a size: one that is not complete is not there.
    fn read(&self, size: u64) -> impl Fn(u8, u64) -> Result<Digest, MerkleError> {
        move |level, index| {
            assert!((index + 1) << level <= size, "{level}, {index} of {size}");
            Ok(self.0[usize::from(level)][usize::try_from(index).unwrap()])
        }
    }

    fn head(&self, size: u64) -> TreeHead {
        let root = root_of(size, self.read(size)).unwrap();
        TreeHead { size, root }
    }

    fn leaf(&self, index: u64) -> Digest {
        self.0[0][usize::try_from(index).unwrap()]
    }
}

/// MTH of RFC 6962 section 2.1, word for word.
fn mth(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&mth(left), &mth(right))
        }
    }
}

fn flipped(hash: &Digest, bit: usize) -> Digest {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Digest::from_bytes(bytes)
}

fn vectors(kind: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/merkle");
    let text = std::fs::read_to_string(folder.join(kind)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A hash. Some vectors have other bytes where any hash would do; a digest stands in for these.
fn hash(role: &str, value: &Value) -> Digest {
    let text = value.as_str().unwrap();
    decode_hash(text).unwrap_or_else(|| Digest::of(format!("{role} {text}").as_bytes()))
}

fn head(size: &Value, root: &Value) -> TreeHead {
    let size = size.as_u64().unwrap();
    let root = hash("root", root);
    TreeHead { size, root }
}

fn proof(value: &Value) -> Vec<Digest> {
    let hashes = value.as_array().into_iter().flatten();
    hashes.map(|value| hash("proof", value)).collect()
}

fn verify_vector_of_inclusion(vector: &Value) -> Result<(), MerkleError> {
    let index = vector["leafIdx"].as_u64().unwrap();
    let head = head(&vector["treeSize"], &vector["root"]);
    verify_inclusion(
        &hash("leaf", &vector["leafHash"]),
        index,
        &proof(&vector["proof"]),
        &head,
    )
}

fn verify_vector_of_consistency(vector: &Value) -> Result<(), MerkleError> {
    let old = head(&vector["size1"], &vector["root1"]);
    let new = head(&vector["size2"], &vector["root2"]);
    verify_consistency(&old, &new, &proof(&vector["proof"]))
}

#[test]
fn agrees_with_the_vectors_of_transparency_dev() {
    type Verify = fn(&Value) -> Result<(), MerkleError>;
    let kinds: [(&str, Verify); 2] = [
        ("inclusion.json", verify_vector_of_inclusion),
        ("consistency.json", verify_vector_of_consistency),
    ];
    for (kind, verify) in kinds {
        let vectors = vectors(kind);
        assert_eq!(vectors.len(), 98);
        for vector in &vectors {
            let expected = vector["wantErr"].as_bool().unwrap();
            assert_eq!(verify(vector).is_err(), expected, "{}", vector["file"]);
        }
    }
}

#[test]
fn a_tree_grows_to_the_root_of_the_definition() {
    let whole = Whole::new(TREE_MAX);
    let mut tree = Tree::new();
    assert_eq!(tree.root(), empty_root());
    for size in 0..=TREE_MAX {
        let leaves = &whole.0[0][..usize::try_from(size).unwrap()];
        assert_eq!(tree.head(), whole.head(size));
        assert_eq!(tree.root(), mth(leaves));
        assert_eq!(
            Tree::from_nodes(size, tree.nodes().to_vec()),
            Ok(tree.clone())
        );
        assert_eq!(Tree::read(size, whole.read(size)), Ok(tree.clone()));
        if size < TREE_MAX {
            tree.push(whole.leaf(size));
        }
    }
}

#[test]
fn every_inclusion_is_proven_and_no_other() {
    let whole = Whole::new(TREE_MAX);
    for size in 0..=TREE_MAX {
        let head = whole.head(size);
        for index in 0..size {
            let leaf = whole.leaf(index);
            let proof = inclusion_proof(index, size, whole.read(size)).unwrap();
            assert_eq!(verify_inclusion(&leaf, index, &proof, &head), Ok(()));
            for at in 0..proof.len() {
                let mut changed = proof.clone();
                changed[at] = flipped(&changed[at], (7 * at + proof.len()) % 256);
                let found = verify_inclusion(&leaf, index, &changed, &head);
                assert_eq!(found, Err(MerkleError::WrongRoot));
            }
            if size > 1 {
                let next = (index + 1) % size;
                assert!(verify_inclusion(&leaf, next, &proof, &head).is_err());
            }
        }
        let beyond = inclusion_proof(size, size, whole.read(size));
        let error = MerkleError::Index { index: size, size };
        assert_eq!(beyond, Err(error));
        assert_eq!(
            verify_inclusion(&empty_root(), size, &[], &head),
            Err(error)
        );
    }
}

#[test]
fn every_consistency_is_proven() {
    let whole = Whole::new(TREE_MAX);
    for new in 1..=TREE_MAX {
        let new_head = whole.head(new);
        for old in 1..=new {
            let old_head = whole.head(old);
            let proof = consistency_proof(old, new, whole.read(new)).unwrap();
            assert_eq!(verify_consistency(&old_head, &new_head, &proof), Ok(()));
        }
    }
}

#[test]
fn an_empty_or_smaller_tree_is_a_case_of_its_own() {
    let whole = Whole::new(8);
    let read = whole.read(8);
    assert_eq!(consistency_proof(0, 8, &read), Ok(vec![]));
    assert_eq!(
        verify_consistency(&whole.head(0), &whole.head(8), &[]),
        Err(MerkleError::OldEmpty)
    );
    let shrunk = MerkleError::Shrunk { old: 8, new: 7 };
    assert_eq!(consistency_proof(8, 7, &read), Err(shrunk));
    assert_eq!(
        verify_consistency(&whole.head(8), &whole.head(7), &[]),
        Err(shrunk)
    );
}

#[test]
fn a_tree_is_not_made_from_other_nodes_than_its_own() {
    let node = empty_root();
    for (size, nodes) in [(0, 1), (1, 0), (5, 1), (5, 3), (SIZE_MAX, 62)] {
        let found = Tree::from_nodes(size, vec![node; nodes]).unwrap_err();
        assert!(matches!(found, MerkleError::Nodes { .. }), "{found}");
    }
    let too_large = MerkleError::TooLarge(SIZE_MAX + 1);
    assert_eq!(Tree::from_nodes(SIZE_MAX + 1, vec![node]), Err(too_large));
    let read = |_, _| Ok::<_, MerkleError>(node);
    assert_eq!(
        Tree::read(u64::MAX, read),
        Err(MerkleError::TooLarge(u64::MAX))
    );
    let mut largest = Tree::from_nodes(SIZE_MAX, vec![node; 63]).unwrap();
    largest.push(node);
    assert_eq!(largest.nodes().len(), 1);
}

#[test]
fn sizes_that_nobody_has_are_fine() {
    let read = |_, _| Ok::<_, MerkleError>(empty_root());
    for size in [SIZE_MAX, 1 << 63, u64::MAX] {
        for index in [0, 1, size / 2, size - 1] {
            let proof = inclusion_proof(index, size, read).unwrap();
            assert!(proof.len() <= 64);
            let head = TreeHead {
                size,
                root: root_of(size, read).unwrap(),
            };
            // The tree is one of equal leaves only where its nodes are: it has no real root.
            assert_ne!(
                verify_inclusion(&empty_root(), index, &proof, &head),
                Err(MerkleError::ProofLength)
            );
            let old = TreeHead {
                size: index.max(1),
                root: empty_root(),
            };
            let proof = consistency_proof(old.size, size, read).unwrap();
            assert_ne!(
                verify_consistency(&old, &head, &proof),
                Err(MerkleError::ProofLength)
            );
        }
    }
    let most = inclusion_proof(0, SIZE_MAX, read).unwrap();
    assert_eq!(most.len(), INCLUSION_HASHES_MAX);
}

#[test]
fn what_the_reader_answers_is_passed_on() {
    #[derive(Debug, PartialEq)]
    struct Lost;
    impl From<MerkleError> for Lost {
        fn from(_: MerkleError) -> Self {
            Self
        }
    }
    let lost = |_, _| Err(Lost);
    assert_eq!(inclusion_proof(1, 5, lost), Err(Lost));
    assert_eq!(consistency_proof(3, 5, lost), Err(Lost));
    assert_eq!(root_of(5, lost), Err(Lost));
    assert_eq!(Tree::read(5, lost), Err(Lost));
    let empty = root_of(0, |_, _| Err::<_, Infallible>(unreachable_read()));
    assert_eq!(empty, Ok(empty_root()));
}

fn unreachable_read() -> Infallible {
    panic!("an empty tree has no nodes")
}

proptest! {
    /// Any one bit of the leaf, the proof or the root, and the proof fails; as it does when it is
    /// longer, shorter, or for another index or size.
    #[test]
    fn a_changed_inclusion_proof_fails(
        size in 1..=TREE_MAX, index in 0..TREE_MAX, at in 0..20_usize, bit in 0..256_usize,
    ) {
        let (whole, index) = (Whole::new(size), index % size);
        let (leaf, head) = (whole.leaf(index), whole.head(size));
        let proof = inclusion_proof(index, size, whole.read(size)).unwrap();
        let holds = |leaf: &Digest, proof: &[Digest], head: &TreeHead| {
            verify_inclusion(leaf, index, proof, head).is_ok()
        };
        prop_assert!(holds(&leaf, &proof, &head));
        prop_assert!(!holds(&flipped(&leaf, bit), &proof, &head));
        let other = TreeHead { root: flipped(&head.root, bit), ..head };
        prop_assert!(!holds(&leaf, &proof, &other));
        let longer = [&proof[..], &[head.root]].concat();
        prop_assert!(!holds(&leaf, &longer, &head));
        if let Some((last, shorter)) = proof.split_last() {
            prop_assert!(!holds(&leaf, shorter, &head));
            prop_assert!(!holds(last, shorter, &head));
            let at = at % proof.len();
            let mut changed = proof.clone();
            changed[at] = flipped(&changed[at], bit);
            prop_assert!(!holds(&leaf, &changed, &head));
        }
    }

    #[test]
    fn a_changed_consistency_proof_fails(
        new in 1..=TREE_MAX, old in 0..TREE_MAX, at in 0..20_usize, bit in 0..256_usize,
    ) {
        let (whole, old) = (Whole::new(new), 1 + old % new);
        let (old, new) = (whole.head(old), whole.head(new));
        let proof = consistency_proof(old.size, new.size, whole.read(new.size)).unwrap();
        let holds = |old: &TreeHead, new: &TreeHead, proof: &[Digest]| {
            verify_consistency(old, new, proof).is_ok()
        };
        prop_assert!(holds(&old, &new, &proof));
        let changed = |head: TreeHead| TreeHead { root: flipped(&head.root, bit), ..head };
        prop_assert!(!holds(&changed(old), &new, &proof));
        prop_assert!(!holds(&old, &changed(new), &proof));
        let longer = [&proof[..], &[new.root]].concat();
        prop_assert!(!holds(&old, &new, &longer));
        if let Some((_, shorter)) = proof.split_last() {
            prop_assert!(!holds(&old, &new, shorter));
            let at = at % proof.len();
            let mut changed = proof.clone();
            changed[at] = flipped(&changed[at], bit);
            prop_assert!(!holds(&old, &new, &changed));
        }
    }

    #[test]
    fn any_claim_is_answered(
        sizes in any::<(u64, u64)>(), index in any::<u64>(), proof in 0..70_usize,
    ) {
        let root = empty_root();
        let proof = vec![root; proof];
        let (old, new) = (TreeHead { size: sizes.0, root }, TreeHead { size: sizes.1, root });
        let _ = verify_inclusion(&root, index, &proof, &new);
        let _ = verify_consistency(&old, &new, &proof);
    }
}
