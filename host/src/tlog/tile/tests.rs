//! Paths, the tiles of the specification's examples, and nodes found in tiles.

use proptest::prelude::*;

use super::*;
use crate::tlog::merkle::leaf_hash;

fn hashes(level: u8, index: u64, width: u16) -> Tile {
    Tile::new(TileKind::Hashes { level }, index, width).unwrap()
}

fn entries(index: u64, width: u16) -> Tile {
    Tile::new(TileKind::Entries, index, width).unwrap()
}

#[test]
fn a_path_and_its_tile() {
    for (tile, path) in [
        (hashes(0, 1_234_067, 256), "tile/0/x001/x234/067"),
        (entries(1_234_067, 255), "tile/entries/x001/x234/067.p/255"),
        (hashes(63, 0, 1), "tile/63/000.p/1"),
        (hashes(1, 999, 256), "tile/1/999"),
        (hashes(1, 1000, 256), "tile/1/x001/000"),
        (hashes(10, 1_000_000, 256), "tile/10/x001/x000/000"),
        (
            entries(u64::MAX, 128),
            "tile/entries/x018/x446/x744/x073/x709/x551/615.p/128",
        ),
    ] {
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
        assert!(path.len() <= PATH_MAX_BYTES);
    }
}

#[test]
fn no_other_path_is_a_tile() {
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/X001/000",
        "tile/0/x1/000",
        "tile/0/+01",
        "tile/0/-01",
        "tile/00/001",
        "tile/+1/001",
        "tile/64/001",
        "tile/256/001",
        "tile/-1/001",
        "tile/data/001",
        "tile/0/001.p",
        "tile/0/001.p/",
        "tile/0/001.p/0",
        "tile/0/001.p/01",
        "tile/0/001.p/256",
        "tile/0/001.p/1/",
        "tile/0/001.p/1.p/1",
        "/tile/0/001",
        "tile/0/001/",
        "tile//001",
        "tile/0/../001",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(path.parse::<Tile>(), Err(TileError::Path), "{path}");
    }
}

#[test]
fn coordinates_have_limits() {
    let level = TileKind::Hashes { level: 64 };
    assert_eq!(Tile::new(level, 0, 1), Err(TileError::Level(64)));
    for width in [0, 257, u16::MAX] {
        let error = Err(TileError::Width(width));
        assert_eq!(Tile::new(TileKind::Entries, 0, width), error);
    }
    let partial = entries(3, 5);
    assert_eq!(partial.full(), entries(3, 256));
    assert_eq!((partial.kind(), partial.index()), (TileKind::Entries, 3));
}

/// The tiles of a tree, as how many full ones and which partial ones.
fn summary(old: u64, new: u64) -> (usize, Vec<String>) {
    let all = tiles_between(old, new);
    let (full, partial): (Vec<_>, Vec<_>) = all.partition(|it| it.width() == TILE_WIDTH);
    (full.len(), partial.iter().map(Tile::to_string).collect())
}

#[test]
fn the_tiles_of_the_specifications_examples() {
    // "A tree of size 70,000 will be represented by 273 full level 0 tiles, …"
    let (full, partial) = summary(0, 70_000);
    assert_eq!(full, 273 + 273 + 1);
    assert_eq!(
        partial,
        [
            "tile/entries/273.p/112",
            "tile/0/273.p/112",
            "tile/1/001.p/17",
            "tile/2/000.p/1"
        ]
    );
    // "A tree of size 256 will be represented by a full level 0 tile and a partial level 1 tile."
    let tiles: Vec<_> = tiles_between(0, 256).collect();
    assert_eq!(tiles, [entries(0, 256), hashes(0, 0, 256), hashes(1, 0, 1)]);
}

#[test]
fn the_tiles_of_a_larger_tree_that_are_new() {
    for (old, new, expected) in [
        (0, 0, vec![]),
        (5, 5, vec![]),
        (6, 5, vec![]),
        (0, 1, vec![entries(0, 1), hashes(0, 0, 1)]),
        (1, 2, vec![entries(0, 2), hashes(0, 0, 2)]),
        (
            255,
            256,
            vec![entries(0, 256), hashes(0, 0, 256), hashes(1, 0, 1)],
        ),
        (256, 257, vec![entries(1, 1), hashes(0, 1, 1)]),
        (
            500,
            520,
            vec![
                entries(1, 256),
                entries(2, 8),
                hashes(0, 1, 256),
                hashes(0, 2, 8),
                hashes(1, 0, 2),
            ],
        ),
        (
            65_535,
            65_536,
            vec![
                entries(255, 256),
                hashes(0, 255, 256),
                hashes(1, 0, 256),
                hashes(2, 0, 1),
            ],
        ),
    ] {
        let found: Vec<_> = tiles_between(old, new).collect();
        assert_eq!(found, expected, "{old} to {new}");
    }
    // A claim, however large, costs what is taken of it.
    assert_eq!(tiles_between(0, u64::MAX).take(3).count(), 3);
    let last = tiles_between(u64::MAX - 1, u64::MAX).last();
    assert_eq!(last, Some(hashes(0, u64::MAX >> 8, 255)));
}

/// Every tile of a tree by its path, and every complete node by level.
fn tree(size: u64) -> (std::collections::HashMap<Tile, Vec<u8>>, Vec<Vec<Digest>>) {
    let leaves = (0..size).map(|index| leaf_hash(&index.to_be_bytes()));
    let mut levels = vec![leaves.collect::<Vec<_>>()];
    while levels[levels.len() - 1].len() > 1 {
        let (pairs, _) = levels[levels.len() - 1].as_chunks();
        levels.push(pairs.iter().map(|[l, r]| node_hash(l, r)).collect());
    }
    let tiles = tiles_between(0, size).filter_map(|tile| {
        let TileKind::Hashes { level } = tile.kind() else {
            return None;
        };
        let row = levels[usize::from(level) * 8].iter().copied();
        let first = usize::try_from(tile.index()).unwrap() * 256;
        let hashes: Vec<_> = row.skip(first).take(tile.width().into()).collect();
        assert_eq!(hashes.len(), usize::from(tile.width()));
        Some((tile, encode_tile(&hashes)))
    });
    (tiles.collect(), levels)
}

#[test]
fn every_node_is_found_in_its_tile() {
    for size in [1, 2, 255, 256, 257, 300, 511, 512, 70_000] {
        let (tiles, levels) = tree(size);
        for (level, row) in (0..).zip(&levels) {
            for (index, node) in (0..).zip(row) {
                let place = NodePlace::of(level, index, size).unwrap();
                let tile = &tiles[&place.tile()];
                assert_eq!(place.hash(tile), Ok(*node), "{level}, {index} of {size}");
            }
            let index = row.len() as u64;
            let error = Err(TileError::NoNode { level, index, size });
            assert_eq!(NodePlace::of(level, index, size), error);
        }
    }
    for level in [63, 64, 255] {
        assert!(NodePlace::of(level, 0, SIZE_WITHOUT_63).is_err());
    }
    let highest = NodePlace::of(63, 0, 1 << 63).unwrap();
    assert_eq!(highest.tile(), hashes(7, 0, 128));
}

/// A tree that has no complete node at level 63.
const SIZE_WITHOUT_63: u64 = (1 << 63) - 1;

#[test]
fn a_hash_tile_is_whole_hashes() {
    let hash = leaf_hash(b"");
    let place = NodePlace::of(1, 1, 4).unwrap();
    for (bytes, error) in [
        (0, TileError::Size(0)),
        (31, TileError::Size(31)),
        (33, TileError::Size(33)),
        (TILE_MAX_BYTES + 32, TileError::Size(TILE_MAX_BYTES + 32)),
        (
            96,
            TileError::TooNarrow {
                found: 3,
                expected: 4,
            },
        ),
    ] {
        let bytes = vec![0; bytes];
        assert_eq!(place.hash(&bytes), Err(error));
    }
    let full = encode_tile(&[hash; 256]);
    assert_eq!(full.len(), TILE_MAX_BYTES);
    assert_eq!(place.hash(&full), Ok(node_hash(&hash, &hash)));
    assert_eq!(decode_tile(&full), Ok(vec![hash; 256]));
}

#[test]
fn a_bundle_has_limits() {
    let largest = vec![7; ENTRY_MAX_BYTES];
    let bundle = encode_bundle([&largest[..], b"", b"abc"]).unwrap();
    assert!(bundle.starts_with(&[0xff, 0xff, 7]));
    assert!(bundle.ends_with(b"\0\0\0\x03abc"));
    assert_eq!(decode_bundle(&bundle), Ok(vec![&largest[..], b"", b"abc"]));
    let too_large = vec![7; ENTRY_MAX_BYTES + 1];
    let error = TileError::EntryTooLarge(ENTRY_MAX_BYTES + 1);
    assert_eq!(encode_bundle([&too_large[..]]), Err(error));
    let full = encode_bundle([&b"a"[..]; 256]).unwrap();
    assert_eq!(decode_bundle(&full).unwrap().len(), 256);
    assert_eq!(encode_bundle([&b"a"[..]; 257]), Err(TileError::TooWide));
    let too_wide = [full, vec![0, 0]].concat();
    assert_eq!(decode_bundle(&too_wide), Err(TileError::TooWide));
    for torn in [&b"\0\x01a\0"[..], b"\0\x01a\0\x02b"] {
        assert_eq!(decode_bundle(torn), Err(TileError::BundleTorn(1)));
    }
    assert_eq!(decode_bundle(b""), Ok(vec![]));
    let most = encode_bundle([&largest[..]; 256]).unwrap();
    assert_eq!(most.len(), BUNDLE_MAX_BYTES);
}

proptest! {
    #[test]
    fn a_path_is_read_as_it_is_written(
        level in prop::option::of(0..=TILE_LEVEL_MAX),
        index: u64,
        shift in 0..64,
        width in 1..=256_u16,
    ) {
        let kind = level.map_or(TileKind::Entries, |level| TileKind::Hashes { level });
        let tile = Tile::new(kind, index >> shift, width).unwrap();
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
    }

    #[test]
    fn any_path_is_answered(
        path in "tile/(entries|[0-9]{1,3})/(x[0-9]{3}/){0,4}[0-9]{1,4}(.p/[0-9]{1,3})?",
    ) {
        if let Ok(tile) = path.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn any_text_is_answered(path: String) {
        prop_assert!(path.parse::<Tile>().is_err());
    }

    #[test]
    fn any_bundle_is_answered(bytes: Vec<u8>) {
        if let Ok(entries) = decode_bundle(&bytes) {
            prop_assert_eq!(encode_bundle(entries), Ok(bytes));
        }
    }

    #[test]
    fn any_node_is_answered(level: u8, index: u64, size: u64) {
        if let Ok(place) = NodePlace::of(level, index, size) {
            prop_assert!(place.first + place.count <= place.tile().width().into());
        }
    }

    /// Growing step by step makes the tiles that growing at once makes, and no path twice.
    #[test]
    fn every_step_of_growth_has_its_tiles(a in 0..200_000_u64, b in 0..200_000_u64) {
        let (old, new) = (a.min(b), a.max(b));
        let had: std::collections::HashSet<_> = tiles_between(0, old).collect();
        let grown: Vec<_> = tiles_between(old, new).collect();
        let unique: std::collections::HashSet<_> = grown.iter().copied().collect();
        prop_assert_eq!(unique.len(), grown.len());
        prop_assert!(unique.is_disjoint(&had));
        let all: std::collections::HashSet<_> = tiles_between(0, new).collect();
        prop_assert!(all.iter().all(|tile| unique.contains(tile) || had.contains(tile)));
        prop_assert!(unique.is_subset(&all));
    }
}
