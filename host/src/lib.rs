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
//!
//! # An embedding
//!
//! ```
//! use keyward::authorizer::Authorizer;
//! use keyward::credential::Presented;
//! use keyward::decision::id::IdSource;
//! use keyward::decision::{Mode, Permission};
//! use keyward::key::json::{KeyOptions, read_keys};
//! use keyward::log::{Log, LogOptions};
//! use keyward::policy::{ENGINE, Engine, Limits, Policy, PolicySet, PolicySpec};
//! use keyward::registry::memory::MemoryRegistry;
//! use keyward::request::{AccessRequest, RequestParts};
//! use keyward::route::{Route, RouteTable};
//! use keyward::rules::Rules;
//! use keyward::timestamp::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What policies there are, with which settings.
//! let scope = PolicySpec {
//!     name: "scope".into(),
//!     mode: Mode::Enforce,
//!     module: keyward_policies::SCOPE.into(),
//!     settings: "{}".into(),
//!     limits: Limits::default(),
//! };
//! let policies = PolicySet::new(vec![Policy::load(&Engine::new(None)?, scope)?])?;
//! // Which keys, and which scope an operation needs.
//! let keys = r#"{"id":"k7Qp2mXw9LaR","owner":"sync","issued_at":"2026-11-01T00:00:00Z",
//!     "expires_at":"2027-01-30T00:00:00Z","scopes":["inventory:read"]}"#;
//! let keys = read_keys(keys.replace('\n', "").as_bytes(), KeyOptions::default())?;
//! let route = Route {
//!     methods: vec!["GET".to_owned()],
//!     path: "/inventory/{item}".to_owned(),
//!     scope: "inventory:read".to_owned(),
//!     ..Route::default()
//! };
//! // Where decisions are recorded; the time and the randomness are the caller's.
//! let folder = tempfile::tempdir()?;
//! let now = Timestamp::parse("2026-11-23T10:00:00Z")?;
//! let options = LogOptions {
//!     origin: "keyward.example/gateway-1".to_owned(),
//!     engine: ENGINE.to_owned(),
//!     policy_set: policies.digest(),
//!     ..LogOptions::default()
//! };
//! let log = Log::create(folder.path(), options, now)?;
//! let authorizer = Authorizer::new(
//!     Box::new(MemoryRegistry::new(keys)?),
//!     Rules {
//!         routes: RouteTable::new(&[route])?,
//!         policies,
//!     },
//!     (log, IdSource::new([7; 10])),
//! )?;
//!
//! let presented = Presented::KeyId("k7Qp2mXw9LaR".into());
//! let read = RequestParts::new(now, presented.clone(), "GET", "/inventory/42");
//! let decision = authorizer.decide(&AccessRequest::new(read)?);
//! assert_eq!(decision.permission(), Permission::Allow);
//! let write = RequestParts::new(now, presented, "POST", "/inventory/42");
//! let decision = authorizer.decide(&AccessRequest::new(write)?);
//! assert_eq!(&*decision.record().reason, "scope.unmapped");
//! # Ok(())
//! # }
//! ```

pub mod audit;
pub mod authorizer;
pub mod config;
pub mod credential;
pub mod decision;
pub mod facts;
pub mod governance;
pub mod log;
pub mod policy;
pub mod registry;
pub mod request;
pub mod route;
pub mod rules;
#[cfg(feature = "embedded")]
pub mod serve;

pub mod address;
pub mod client;
pub mod clock;
pub mod digest;
pub mod key;
mod per_thread;
mod shown;
pub mod timestamp;
pub mod tlog;
pub mod usage;
#[cfg(feature = "witness")]
pub mod witness;

pub mod manual;

#[cfg(feature = "cli")]
pub mod cli;
