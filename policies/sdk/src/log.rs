//! Lines for the policy's developer. A host may drop them, and `keyward` does; nothing comes back,
//! so no verdict can depend on them. Natively they go nowhere.

/// A detail of interest to the policy's author.
pub fn debug(message: &str) {
    write(Level::Debug, message);
}

/// Something that happened.
pub fn info(message: &str) {
    write(Level::Info, message);
}

/// Something that should not have happened.
pub fn warn(message: &str) {
    write(Level::Warn, message);
}

#[cfg(target_arch = "wasm32")]
use crate::component::{Level, write};

#[cfg(not(target_arch = "wasm32"))]
enum Level {
    Debug,
    Info,
    Warn,
}

#[cfg(not(target_arch = "wasm32"))]
const fn write(_: Level, _: &str) {}
