//! What is wrong with the settings, and where. The place grows from the inside out: whoever reads
//! an element adds its key to an error that comes from within.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::SettingError;

/// An error below the element that is being read.
#[derive(Debug)]
pub(super) struct Error(SettingError);

impl Error {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(SettingError::at(&[], message))
    }

    /// Something else than what a type can be made of.
    pub(super) fn expected(expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}"))
    }

    /// The same, one level further out.
    pub(super) fn inside(self, key: &str) -> Self {
        Self(self.0.inside(key))
    }
}

impl From<Error> for SettingError {
    fn from(error: Error) -> Self {
        error.0
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Error {}

// The provided methods would name what was found instead, and so bring in the formatting of
// floats. The host's message shows the line anyway.
impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        unknown("value", variant, expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        unknown("setting", field, expected)
    }
}

fn unknown(what: &str, given: &str, expected: &[&str]) -> Error {
    let mut message = format!("unknown {what} `{given}`");
    for (index, name) in expected.iter().enumerate() {
        message.push_str(if index == 0 { "; expected `" } else { ", `" });
        message.push_str(name);
        message.push('`');
    }
    Error::new(message)
}
