//! What a keyward policy written in Rust depends on.
//!
//! A policy is a function from a request to a verdict. It sees nothing but the questions of
//! [`Request`], and what it asked is recorded as the explanation of its verdict. It declares
//! its reasons and signals once, as constants, and uses the same constants in its verdicts:
//!
//! ```
//! use keyward_policy::{Descriptor, Fault, NoSettings, Policy, Request, SettingError, Verdict};
//!
//! keyward_policy::reasons! { REASONS:
//!     FROZEN "freeze.frozen" {
//!         text: "the ledger is frozen: `{method}` would change it",
//!         remedy: "wait until the freeze is over, or read only",
//!     }
//! }
//! keyward_policy::signals! { SIGNALS: WRITE_IN_FREEZE "write-in-freeze" }
//!
//! #[derive(Debug)]
//! struct Freeze;
//!
//! impl Policy for Freeze {
//!     type Settings = NoSettings;
//!
//!     const DESCRIPTOR: Descriptor = Descriptor {
//!         name: "example:freeze",
//!         version: "1.0.0",
//!         summary: "Denies everything but GET on the ledger",
//!         reasons: REASONS,
//!         signals: SIGNALS,
//!         ..Descriptor::EMPTY
//!     };
//!
//!     fn configure(_: NoSettings) -> Result<Self, Vec<SettingError>> {
//!         Ok(Self)
//!     }
//!
//!     fn evaluate(&self, request: &impl Request) -> Result<Verdict, Fault> {
//!         if !request.path().starts_with("/ledger/") {
//!             return Ok(Verdict::abstain());
//!         }
//!         Ok(match request.method().as_str() {
//!             "GET" => Verdict::abstain(),
//!             method => {
//!                 Verdict::deny(FROZEN.with("method", method)).signal(WRITE_IN_FREEZE)
//!             }
//!         })
//!     }
//! }
//!
//! keyward_policy::export!(Freeze);
//!
//! // Natively a policy is ordinary Rust, and so are its tests.
//! # fn main() -> Result<(), Vec<String>> {
//! use keyward_policy::testing::{self, FakeRequest};
//!
//! let request = FakeRequest::new().method("POST").path("/ledger/7");
//! let verdict = testing::decide(&Freeze, &request)?;
//! assert_eq!(verdict.reason.unwrap().param("method"), Some("POST"));
//! assert_eq!(request.asked(), ["path", "method"]);
//! # Ok(())
//! # }
//! ```
//!
//! The crate of a policy has `crate-type = ["cdylib", "rlib"]`; built for `wasm32-unknown-unknown`
//! and made a component, it is what `keyward` loads.

mod address;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod component;
mod descriptor;
mod json;
pub mod log;
mod request;
mod settings;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod timestamp;
mod verdict;

pub use address::{Address, AddressError, Network};
pub use descriptor::{AttributeNeed, Descriptor, ObligationName, ReasonTemplate, SignalName};
pub use request::{Lifecycle, Request, Value};
pub use settings::{NoSettings, SettingError, configure};
pub use timestamp::{Civil, Timestamp, TimestampError};
pub use verdict::{Effect, Fault, Obligation, Param, Reason, Signal, Verdict};

/// A policy: configured once, then a pure function of the request.
///
/// The host keeps a snapshot of the configured policy and starts every evaluation from it, so
/// nothing that [`evaluate`](Self::evaluate) leaves behind is seen again.
pub trait Policy: Sized + Send + Sync + 'static {
    /// The settings, in the shape in which the operator writes them. `#[serde(default,
    /// deny_unknown_fields)]` belongs on the struct.
    type Settings: serde::de::DeserializeOwned;

    /// What the policy says of itself. The host reads it before anything else.
    const DESCRIPTOR: Descriptor;

    /// Checks the settings and makes the policy. The host has checked them against the schema;
    /// here belongs what a schema cannot say.
    ///
    /// # Errors
    /// Everything that is wrong, each with its place, so that the operator can mend it in one go.
    fn configure(settings: Self::Settings) -> Result<Self, Vec<SettingError>>;

    /// Decides one request. Called once for each instance.
    ///
    /// # Errors
    /// A [`Fault`] when it cannot decide. The host then denies.
    fn evaluate(&self, request: &impl Request) -> Result<Verdict, Fault>;
}

/// Makes the crate's component from its [`Policy`]. Once for each crate, at its root; natively it
/// does nothing, so that several policies link into one test. It sets the component's allocator
/// too, one that never frees: an instance lives for one call.
#[macro_export]
macro_rules! export {
    ($policy:ident) => {
        #[cfg(target_arch = "wasm32")]
        mod keyward_component {
            #[global_allocator]
            static ALLOCATOR: $crate::component::Allocator = $crate::component::Allocator::INIT;

            static CONFIGURED: ::std::sync::OnceLock<super::$policy> = ::std::sync::OnceLock::new();

            struct Component;

            impl $crate::component::Guest for Component {
                fn describe() -> $crate::component::Descriptor {
                    $crate::component::describe::<super::$policy>()
                }

                fn configure(
                    settings: ::std::string::String,
                ) -> ::core::result::Result<(), ::std::vec::Vec<$crate::component::SettingError>>
                {
                    $crate::component::configure(&CONFIGURED, &settings)
                }

                fn evaluate()
                -> ::core::result::Result<$crate::component::Verdict, $crate::component::Fault>
                {
                    $crate::component::evaluate(&CONFIGURED)
                }
            }

            $crate::component::export_component!(Component);
        }
    };
}
