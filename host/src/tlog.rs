//! The C2SP transparency-log formats: everything that is bytes in and bytes out.
//!
//! # What's in scope
//! - [`merkle`]: the hashes of RFC 6962, trees that grow, proofs and their verification (RFC 9162).
//! - [`tile`](mod@tile): where [tlog-tiles] stores hashes and entries, and the entry bundles.
//! - [`note`] and [`key`]: [signed-note], its keys, and the two kinds of [tlog-cosignature].
//! - [`checkpoint`]: [tlog-checkpoint], signed and verified.
//! - [`policy`], [`proof`], [`witness`]: [tlog-policy], [tlog-proof] and the bodies of
//!   [tlog-witness].
//!
//! # What's out of scope
//! No I/O, no clock, no randomness: hashes are read through a function of the caller, times and
//! seeds are arguments. Nothing here knows what an entry means.
//!
//! Every parser takes bytes from a stranger. It looks at their length first, accepts exactly what
//! the formatter beside it writes, and never panics. Base64 is that of RFC 4648 section 4, padded,
//! without stray bits; a number is ASCII decimal without leading zeros.
//!
//! [signed-note]: https://c2sp.org/signed-note
//! [tlog-checkpoint]: https://c2sp.org/tlog-checkpoint
//! [tlog-cosignature]: https://c2sp.org/tlog-cosignature
//! [tlog-policy]: https://c2sp.org/tlog-policy
//! [tlog-proof]: https://c2sp.org/tlog-proof
//! [tlog-tiles]: https://c2sp.org/tlog-tiles
//! [tlog-witness]: https://c2sp.org/tlog-witness

pub mod merkle;
pub mod tile;

pub mod checkpoint;
pub mod key;
pub mod note;

pub mod policy;
pub mod proof;
pub mod witness;

mod text;
