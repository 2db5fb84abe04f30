//! The manual. The same texts stand as files under `docs/`.

#[doc = include_str!("../docs/admin.md")]
pub mod admin {}

#[doc = include_str!("../docs/architecture.md")]
pub mod architecture {}

#[doc = include_str!("../docs/formats.md")]
pub mod formats {}

#[doc = include_str!("../docs/gateway.md")]
pub mod gateway {}

#[doc = include_str!("../docs/gateways.md")]
pub mod gateways {}

#[doc = include_str!("../docs/governance.md")]
pub mod governance {}

#[doc = include_str!("../docs/log.md")]
pub mod log {}

#[doc = include_str!("../docs/policies.md")]
pub mod policies {}

#[doc = include_str!("../docs/security.md")]
pub mod security {}
