//! keyward's standard policies as canonical components: the same bytes, and so the same digests,
//! wherever a release of keyward runs. Replay needs that, and nobody needs a wasm compiler.
//!
//! `lock.toml` beside the components states their digests, the digest of their sources and the
//! compiler. They are made by `keyward policy build`; a test fails when a source has changed and
//! its component has not.

/// `builtin:ip`: may this key be used from there?
pub const IP: &[u8] = include_bytes!("../ip.wasm");
/// `builtin:rate`: is this key used too often?
pub const RATE: &[u8] = include_bytes!("../rate.wasm");
/// `builtin:rotation`: is this key young enough to be used?
pub const ROTATION: &[u8] = include_bytes!("../rotation.wasm");
/// `builtin:scope`: may this key do this?
pub const SCOPE: &[u8] = include_bytes!("../scope.wasm");
/// What the components are: digests, sources, compiler.
pub const LOCK: &str = include_str!("../lock.toml");
