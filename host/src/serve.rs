//! The check service: gateways ask over HTTP or gRPC, the authorizer answers.
//!
//! ```text
//! connection ─► caller ─► profile ─► Authorizer::decide ─► answer
//! (bounded,    (socket,   (what this  (within the          (status, headers,
//!  TLS)         secret)    gateway     deadline)            problem)
//!                          sends)
//! ```
//!
//! Nothing here decides. What a gateway sends becomes an access request, its denial is an answer of
//! 401, 403 or 429, and only what cannot be decided or recorded is 503.

mod admin;
pub mod answer;
mod caller;
mod check;
pub mod client;
mod connection;
pub mod credential;
mod decide;
mod listen;
mod metrics;
pub mod profile;
mod rpc;
mod server;
mod tls;

pub use admin::{Explained, KeySource, document as openapi};
pub use server::{Hooks, RuleSource, ServeError, run};
pub use tls::TlsError;
