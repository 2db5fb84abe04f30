//! What a policy asked, for a test to compare.

use std::fmt;

use crate::Timestamp;

/// One question of a policy. Shown as the function of `wit/request.wit` with its argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// An open attribute, by name.
    Attribute(String),
    /// A header, by name.
    Header(String),
    /// A label of the key, by name.
    KeyLabel(String),
    /// A question without an argument, by its name in `wit/request.wit`.
    Plain(&'static str),
    /// Whether an instant has come, and the answer.
    Reached(Timestamp, bool),
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(name) => write!(f, "attribute {name}"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::KeyLabel(name) => write!(f, "key-label {name}"),
            Self::Plain(name) => f.write_str(name),
            Self::Reached(instant, true) => write!(f, "reached {instant}: yes"),
            Self::Reached(instant, false) => write!(f, "reached {instant}: no"),
        }
    }
}
