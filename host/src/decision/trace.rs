//! The trace: the questions that one evaluation asked, with their answers, in order.
//!
//! A question is a function of `keyward:policy/request` with its argument. The trace is the
//! explanation of a verdict, all that a replay needs, and the condition under which the verdict may
//! be reused.

use std::sync::Arc;

use crate::address::{Address, Network};
use crate::key::Lifecycle;
use crate::timestamp::Timestamp;

/// One call of a function of `keyward:policy/request`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// `attribute(name)`: an open attribute.
    Attribute(Arc<str>),
    /// `header(name)`: all values of a header, name in lower case.
    Header(Arc<str>),
    /// `host()`.
    Host,
    /// `key-allowed-networks()`.
    KeyAllowedNetworks,
    /// `key-expires-at()`.
    KeyExpiresAt,
    /// `key-grace-until()`.
    KeyGraceUntil,
    /// `key-id()`.
    KeyId,
    /// `key-issued-at()`.
    KeyIssuedAt,
    /// `key-label(name)`.
    KeyLabel(Arc<str>),
    /// `key-lifecycle()`.
    KeyLifecycle,
    /// `key-not-before()`.
    KeyNotBefore,
    /// `key-owner()`.
    KeyOwner,
    /// `key-read-only()`.
    KeyReadOnly,
    /// `key-rotate-by()`.
    KeyRotateBy,
    /// `key-scopes()`.
    KeyScopes,
    /// `method()`.
    Method,
    /// `now()`. A verdict that has asked it is never reused.
    Now,
    /// `path()`.
    Path,
    /// `reached(instant)`: whether the instant has come.
    Reached(Timestamp),
    /// `required-scope()`.
    RequiredScope,
    /// `source-address()`.
    SourceAddress,
}

/// What the host answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// There is none: no such label, no expiry, an unknown address.
    Absent,
    /// An address.
    Address(Address),
    /// Yes or no.
    Flag(bool),
    /// An instant.
    Instant(Timestamp),
    /// A whole number (an attribute's).
    Integer(i64),
    /// Where the key is in its life: only ever `Active` or `Deprecated`.
    Lifecycle(Lifecycle),
    /// A key's allow list.
    Networks(Arc<[Network]>),
    /// A text.
    Text(Arc<str>),
    /// Several texts: scopes, the values of a header.
    Texts(Arc<[Arc<str>]>),
}

/// The questions of one evaluation with their answers, in the order asked; a question asked twice
/// stands twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trace {
    /// Question and answer, in order.
    pub steps: Vec<(Question, Answer)>,
}

impl Question {
    /// The function's name in `keyward:policy/request`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Attribute(_) => "attribute",
            Self::Header(_) => "header",
            Self::Host => "host",
            Self::KeyAllowedNetworks => "key-allowed-networks",
            Self::KeyExpiresAt => "key-expires-at",
            Self::KeyGraceUntil => "key-grace-until",
            Self::KeyId => "key-id",
            Self::KeyIssuedAt => "key-issued-at",
            Self::KeyLabel(_) => "key-label",
            Self::KeyLifecycle => "key-lifecycle",
            Self::KeyNotBefore => "key-not-before",
            Self::KeyOwner => "key-owner",
            Self::KeyReadOnly => "key-read-only",
            Self::KeyRotateBy => "key-rotate-by",
            Self::KeyScopes => "key-scopes",
            Self::Method => "method",
            Self::Now => "now",
            Self::Path => "path",
            Self::Reached(_) => "reached",
            Self::RequiredScope => "required-scope",
            Self::SourceAddress => "source-address",
        }
    }

    /// Bytes of the argument, as the budget of an evaluation counts them.
    #[must_use]
    pub fn argument_bytes(&self) -> u64 {
        match self {
            Self::Attribute(name) | Self::Header(name) | Self::KeyLabel(name) => length(name),
            Self::Reached(_) => 8,
            _ => 0,
        }
    }
}

impl Answer {
    /// Bytes of the answer, as the budget of an evaluation counts them.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Absent | Self::Flag(_) | Self::Lifecycle(_) => 1,
            Self::Instant(_) | Self::Integer(_) => 8,
            Self::Address(_) => 16,
            Self::Networks(networks) => (networks.len() as u64).saturating_mul(17),
            Self::Text(text) => length(text),
            Self::Texts(texts) => texts.iter().map(|text| length(text)).sum(),
        }
    }
}

/// A text's length in bytes.
const fn length(text: &str) -> u64 {
    text.len() as u64
}

impl std::fmt::Display for Question {
    /// As it reads in an explanation: `key-scopes`, `header "user-agent"`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Attribute(name) | Self::Header(name) | Self::KeyLabel(name) => {
                write!(f, "{} {name:?}", self.name())
            }
            Self::Reached(instant) => write!(f, "reached {instant}"),
            _ => f.write_str(self.name()),
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Address(address) => address.fmt(f),
            Self::Flag(true) => f.write_str("yes"),
            Self::Flag(false) => f.write_str("no"),
            Self::Instant(instant) => instant.fmt(f),
            Self::Integer(integer) => integer.fmt(f),
            Self::Lifecycle(lifecycle) => f.write_str(lifecycle.as_str()),
            Self::Networks(networks) => list(f, networks.iter()),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Texts(texts) => list(f, texts.iter().map(|text| format!("{text:?}"))),
        }
    }
}

/// Writes `[a, b]`.
fn list(
    f: &mut std::fmt::Formatter<'_>,
    items: impl Iterator<Item = impl std::fmt::Display>,
) -> std::fmt::Result {
    f.write_str("[")?;
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    f.write_str("]")
}
