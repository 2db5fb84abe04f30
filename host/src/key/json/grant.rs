//! The grammar of a grant, which is a scope that may hold `*`.

use crate::key::SCOPE_MAX_BYTES;

/// The longest segment of a resource, and the longest action, in bytes.
const SEGMENT_MAX_BYTES: usize = 64;

/// Whether a text is a grant: `inventory:read`, `inventory.*:read`, `inventory:*`, `*:read`, `*:*`.
/// A `*` is a whole action, a whole resource, or a resource's last segment; nothing else.
#[must_use]
pub fn is_grant(text: &str) -> bool {
    text.len() <= SCOPE_MAX_BYTES
        && text.split_once(':').is_some_and(|(resource, action)| {
            is_resource(resource) && (action == "*" || is_segment(action))
        })
}

/// `*`, or segments joined by dots, the last of which may be `*` behind another.
fn is_resource(text: &str) -> bool {
    text == "*"
        || text
            .strip_suffix(".*")
            .unwrap_or(text)
            .split('.')
            .all(is_segment)
}

/// A segment of a resource, or an action: `[a-z0-9][a-z0-9_-]*`, 1 to 64 bytes.
fn is_segment(text: &str) -> bool {
    text.len() <= SEGMENT_MAX_BYTES
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}
