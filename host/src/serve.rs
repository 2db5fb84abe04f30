//! The check service: gateways ask over HTTP or gRPC, the authorizer answers.
//!
//! ```text
//! connection ─► caller ─► profile ─► Authorizer::decide ─► answer
//! (bounded,    (socket,   (what this  (within the          (status, headers,
//!  TLS)         secret)    gateway     deadline)            problem)
//!                          sends)
//! ```
//!
//! A service that has keyward in it checks its own requests instead ([embedded]), for example by a
//! [layer](layer::AuthorizeLayer) in front of itself (feature `tower`).
//!
//! Nothing here decides. What a gateway sends becomes an access request, its denial is an answer of
//! 401, 403 or 429, and only what cannot be decided or recorded is 503.

#[cfg(feature = "serve")]
mod admin;
pub mod answer;
pub mod client;
pub mod credential;
pub mod embedded;
#[cfg(feature = "tower")]
pub mod layer;
pub mod profile;

#[cfg(feature = "serve")]
mod caller;
#[cfg(feature = "serve")]
mod check;
#[cfg(feature = "serve")]
mod connection;
#[cfg(feature = "serve")]
mod decide;
#[cfg(feature = "serve")]
mod events;
#[cfg(feature = "serve")]
mod executor;
#[cfg(feature = "serve")]
mod listen;
#[cfg(feature = "serve")]
mod metrics;
#[cfg(feature = "serve")]
mod places;
#[cfg(feature = "serve")]
mod rpc;
#[cfg(feature = "serve")]
mod server;
#[cfg(feature = "serve")]
mod tls;

#[cfg(feature = "serve")]
pub use admin::{Explained, KeySource, document as openapi};
#[cfg(feature = "serve")]
pub use server::{Hooks, RuleSource, ServeError, run};
#[cfg(feature = "serve")]
pub use tls::TlsError;

#[cfg(test)]
mod tests;
