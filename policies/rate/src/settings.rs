//! What the operator can set.

use serde::Deserialize;

use crate::span::Span;

/// The most that a limit can allow, in requests.
pub const REQUESTS_MAX: u32 = 1_000_000_000;

/// The settings; `settings.schema.json` documents and bounds them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// All of them hold.
    pub limits: Vec<Limit>,
}

/// How many requests a key may make in a span.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The most requests, 1 to [`REQUESTS_MAX`].
    pub requests: u32,
    /// The span, which ends with the request.
    pub per: Span,
    /// The label with which a key has a limit of its own.
    #[serde(default)]
    pub label: Option<String>,
}

/// A number of requests as a label has it: digits, within the bounds of a limit.
pub(crate) fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_plain)?;
    (1..=REQUESTS_MAX).contains(&number).then_some(number)
}
