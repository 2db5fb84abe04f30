//! Whom an allowed request comes from, as headers tell it: to the upstream always all of it, to the
//! client only that its key is near its end.

use chrono::DateTime;

use crate::decision::DecisionRecord;
use crate::key::{KeyRecord, Lifecycle};
use crate::timestamp::{DAY_MS, Timestamp};

/// The most bytes of `X-Keyward-Scopes`. Scopes that do not fit whole are left out.
pub const SCOPES_MAX_BYTES: usize = 2_048;
/// From how many days before its end on the holder of a key is told of it, by default.
pub const NOTICE_DEFAULT_DAYS: u32 = 30;

/// What stands for nothing. A header that is missing is not the same to every gateway.
const EMPTY: &str = "-";

/// Who made a request.
pub(in super::super) struct Identity<'a> {
    record: &'a DecisionRecord,
    key: Option<&'a KeyRecord>,
    /// When the key ends, when that is near.
    end: Option<Timestamp>,
}

impl<'a> Identity<'a> {
    /// Whoever a decision allows.
    pub(in super::super) fn new(
        record: &'a DecisionRecord,
        key: Option<&'a KeyRecord>,
        notice_days: u32,
    ) -> Self {
        let notice_ms = u64::from(notice_days).saturating_mul(DAY_MS);
        let is_near = |end: &Timestamp| record.time >= end.before_ms(notice_ms);
        let end = key.and_then(KeyRecord::ends_at).filter(is_near);
        Self { record, key, end }
    }

    /// The values for the upstream, in the order of [`FOR_UPSTREAM`](super::FOR_UPSTREAM).
    pub(in super::super) fn for_upstream(&self) -> [String; 5] {
        let id = self.record.key.as_ref();
        [
            id.map_or(EMPTY.to_owned(), ToString::to_string),
            self.key.map_or(EMPTY.to_owned(), |key| word(&key.owner)),
            self.scopes(),
            self.record.id.to_string(),
            self.warning(),
        ]
    }

    /// Names and values for the client.
    pub(super) fn for_client(&self, announce: bool) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        let is_deprecated = self.is_deprecated();
        let end = self.end.or_else(|| {
            let key = self.key.filter(|_| is_deprecated)?;
            key.ends_at()
        });
        if let Some(end) = end {
            headers.push(("keyward-key-expires", word(&end.to_string())));
        }
        if is_deprecated {
            headers.push(("keyward-key-status", "deprecated".to_owned()));
        }
        if announce && let Some(end) = end {
            // When the key was replaced is not in its record; that it is, or is to be, is.
            let rotate_by = self.key.and_then(|key| key.rotate_by);
            let since = rotate_by.filter(|_| !is_deprecated);
            let since = since.unwrap_or(self.record.time).min(end);
            headers.push((
                "deprecation",
                format!("@{}", since.millis().div_euclid(1_000)),
            ));
            if let Some(date) = http_date(end) {
                headers.push(("sunset", date));
            }
        }
        headers
    }

    /// What is to be said of the key: `deprecated`, `overdue`, `expires=…`, `read-only`.
    pub(in super::super) fn warning(&self) -> String {
        let mut warnings = Vec::new();
        if self.is_deprecated() {
            warnings.push("deprecated".to_owned());
        }
        if let Some(key) = self.key {
            if key.rotate_by.is_some_and(|it| it <= self.record.time) {
                warnings.push("overdue".to_owned());
            }
            if let Some(end) = self.end {
                warnings.push(format!("expires={}", word(&end.to_string())));
            }
            if key.read_only {
                warnings.push("read-only".to_owned());
            }
        }
        if warnings.is_empty() {
            EMPTY.to_owned()
        } else {
            warnings.join(" ")
        }
    }

    /// What the key grants, whole scopes only, separated by spaces.
    pub(in super::super) fn scopes(&self) -> String {
        let mut text = String::new();
        for scope in self.key.into_iter().flat_map(|key| key.scopes.iter()) {
            let scope = word(scope);
            if text.len().saturating_add(1).saturating_add(scope.len()) > SCOPES_MAX_BYTES {
                break;
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&scope);
        }
        if text.is_empty() {
            text.push_str(EMPTY);
        }
        text
    }

    fn is_deprecated(&self) -> bool {
        self.key
            .is_some_and(|key| key.lifecycle == Lifecycle::Deprecated)
    }
}

/// A date as HTTP writes it (RFC 9110 §5.6.7).
fn http_date(time: Timestamp) -> Option<String> {
    let time = DateTime::from_timestamp_millis(time.millis())?;
    Some(time.format("%a, %d %b %Y %H:%M:%S GMT").to_string())
}

/// A text as one word of visible ASCII: every other byte, `%` and a lone `-` are percent-encoded.
/// Decoding gives the text again, and nothing is taken for `-`.
fn word(text: &str) -> String {
    use std::fmt::Write as _;
    if text == EMPTY {
        return "%2D".to_owned();
    }
    let is_kept = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    if text.bytes().all(is_kept) {
        return text.to_owned();
    }
    let mut word = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_kept(byte) {
            word.push(byte.into());
        } else {
            // Writing to a text does not fail.
            let _ = write!(word, "%{byte:02X}");
        }
    }
    word
}
