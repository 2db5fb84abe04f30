//! keyward: API-key governance decided by sandboxed WebAssembly policies.
//!
//! A gateway asks whether a key may do something, from somewhere, now; the host answers by asking
//! policies, which are wasm components that can reach nothing but the request; every answer is
//! recorded, and anyone with the log folder can evaluate it again and must get the same.
//!
//! [`authorizer::Authorizer::decide`] is the whole product for a gateway that embeds keyward. The
//! rest feeds it ([`config`], [`registry`], [`route`], [`policy`]) or reads what it left
//! ([`audit`]). The manual is in [`manual`].
//!
//! Without default features this is the embedding library alone: no command line and no database.

pub mod audit;
pub mod authorizer;
pub mod config;
pub mod credential;
pub mod decision;
pub mod facts;
pub mod log;
pub mod policy;
pub mod registry;
pub mod request;
pub mod route;

pub mod address;
pub mod clock;
pub mod digest;
pub mod key;
pub mod timestamp;

pub mod manual;

#[cfg(feature = "cli")]
pub mod cli;
