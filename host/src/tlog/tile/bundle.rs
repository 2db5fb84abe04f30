//! Entry bundles: the entries of a tile, each behind its size in 16 bits.

use super::{TILE_WIDTH, TileError};

/// The bundle of some entries. There is no bundle of none.
///
/// # Errors
/// [`TileError::EntryTooLarge`] and [`TileError::TooWide`], the latter over 256 entries.
pub fn encode_bundle<'a>(
    entries: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, TileError> {
    let mut bundle = Vec::new();
    for (number, entry) in entries.into_iter().enumerate() {
        if number >= TILE_WIDTH.into() {
            return Err(TileError::TooWide);
        }
        push_entry(&mut bundle, entry)?;
    }
    Ok(bundle)
}

/// Appends an entry to a bundle. How many it has is the caller's to know.
///
/// # Errors
/// [`TileError::EntryTooLarge`] over [`ENTRY_MAX_BYTES`](super::ENTRY_MAX_BYTES); the bundle is
/// then as before.
pub fn push_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let size = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLarge(entry.len()))?;
    bundle.extend(size.to_be_bytes());
    bundle.extend(entry);
    Ok(())
}

/// The entries of a bundle. Whether there are as many as its width is the caller's to check.
///
/// # Errors
/// [`TileError::BundleTorn`] when the bytes end inside of an entry, and [`TileError::TooWide`] over
/// 256 entries.
pub fn decode_bundle(bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        if entries.len() >= TILE_WIDTH.into() {
            return Err(TileError::TooWide);
        }
        let torn = TileError::BundleTorn(entries.len());
        let (size, behind) = rest.split_first_chunk().ok_or(torn)?;
        let size = u16::from_be_bytes(*size).into();
        let (entry, behind) = behind.split_at_checked(size).ok_or(torn)?;
        entries.push(entry);
        rest = behind;
    }
    Ok(entries)
}
