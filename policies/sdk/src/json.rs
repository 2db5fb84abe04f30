//! Reads settings: JSON as the host writes it, into whatever a policy's settings are.
//!
//! A general JSON library would be half of a small component, most of it for floating-point
//! numbers, which the contract does not have; and it could not say where in the settings an error
//! is. This reader knows whole numbers only, and puts the place into every error.

mod access;
mod error;
mod reader;

use serde::de::DeserializeOwned;

use crate::SettingError;
use reader::Reader;

/// How deeply arrays and objects may nest: a component's stack is small.
const DEPTH_MAX: usize = 32;

/// Reads one value and nothing after it.
pub(crate) fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, SettingError> {
    let mut reader = Reader::new(text);
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

#[cfg(test)]
mod tests;
