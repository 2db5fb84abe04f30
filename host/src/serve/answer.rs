//! Answers: what a gateway is told of a decision.
//!
//! The status is one of four: 200, 401 for a credential that cannot be used whatever it asks for,
//! 403 for a request that this key may not make, 429 for too many; and 503 where the host could not
//! record, so that there is no decision to answer with. What the caller learns is the class and the
//! decision's id. Why, the log knows.

mod identity;
mod reason;

use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use serde_json::json;

use crate::decision::{Decision, DecisionRecord, Permission};
use crate::key::KeyRecord;
use crate::route::is_exact_scope;

use super::credential::{CredentialHeaders, Place};
use super::profile::{Origin, Profile};

pub(super) use identity::Identity;
pub use identity::{NOTICE_DEFAULT_DAYS, SCOPES_MAX_BYTES};
pub use reason::Class;

/// The most bytes of a body.
pub const BODY_MAX_BYTES: usize = 1_024;
/// What `Retry-After` says where the verdict says nothing, in seconds.
pub const RETRY_AFTER_DEFAULT_SECONDS: u32 = 1;
/// The most that `Retry-After` says, in seconds.
pub const RETRY_AFTER_MAX_SECONDS: u32 = 24 * 60 * 60;

/// The headers of an allow that go to the upstream, in lower case: always all of them.
pub const FOR_UPSTREAM: [&str; 5] = [
    "x-keyward-key-id",
    "x-keyward-subject",
    "x-keyward-scopes",
    "x-keyward-decision",
    "x-keyward-warning",
];

/// The same with every `_` or `.` that a server may take for `-`.
const ALIASES: [&str; 10] = [
    "x_keyward_key_id",
    "x.keyward.key.id",
    "x_keyward_subject",
    "x.keyward.subject",
    "x_keyward_scopes",
    "x.keyward.scopes",
    "x_keyward_decision",
    "x.keyward.decision",
    "x_keyward_warning",
    "x.keyward.warning",
];

const DECISION: HeaderName = HeaderName::from_static("x-keyward-decision");
const STATUS: HeaderName = HeaderName::from_static("x-keyward-status");
// draft-ietf-httpapi-ratelimit-headers-10
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const TO_REMOVE: HeaderName = HeaderName::from_static("x-envoy-auth-headers-to-remove");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What a gateway is answered over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, values in visible ASCII.
    pub headers: HeaderMap,
    /// The body, at most [`BODY_MAX_BYTES`] unless it is AuthZEN's.
    pub body: Vec<u8>,
}

/// What is the same for every answer of one listener.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Where credentials stand, which Envoy is told to take away.
    pub credential: CredentialHeaders,
    /// From how many days before its end on the holder of a key is told of it.
    pub notice_days: u32,
    /// Whether a key near its end is also announced as `Deprecation` (RFC 9745) and `Sunset` (RFC
    /// 8594). These speak of the resource, and clients may take them for that.
    pub announce: bool,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            credential: CredentialHeaders::default(),
            notice_days: NOTICE_DEFAULT_DAYS,
            announce: false,
        }
    }
}

impl Answers {
    /// The answer to a call over HTTP, and what [`grpc::respond`](super::profile::grpc::respond)
    /// makes its response from. `key` is the record that was decided on.
    #[must_use]
    pub fn answer(&self, decision: &Decision, key: Option<&KeyRecord>, origin: &Origin) -> Answer {
        self.of_record(decision.record(), key, origin)
    }

    fn of_record(
        &self,
        record: &DecisionRecord,
        key: Option<&KeyRecord>,
        origin: &Origin,
    ) -> Answer {
        match record.permission {
            Permission::Allow => self.allow(record, key, origin),
            Permission::Deny => deny(record, origin.profile),
        }
    }

    fn allow(&self, record: &DecisionRecord, key: Option<&KeyRecord>, origin: &Origin) -> Answer {
        let identity = Identity::new(record, key, self.notice_days);
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CACHE_CONTROL, NO_STORE);
        for (name, text) in FOR_UPSTREAM.into_iter().zip(identity.for_upstream()) {
            headers.insert(HeaderName::from_static(name), value(text));
        }
        if let Some(decision) = headers.get_mut(DECISION) {
            // No secret, but never the same twice: it has no use in a table of HPACK.
            decision.set_sensitive(true);
        }
        for (name, text) in identity.for_client(self.announce) {
            headers.insert(HeaderName::from_static(name), value(text));
        }
        if origin.profile == Profile::Envoy {
            let names = to_remove(origin, &self.credential).join(",");
            headers.insert(TO_REMOVE, value(names));
        }
        Answer {
            status: StatusCode::OK,
            headers,
            body: Vec::new(),
        }
    }
}

impl Answer {
    /// The answer to what is no call of a profile: 400, or whatever 4xx fits. `detail` is ours.
    #[must_use]
    pub fn refusal(status: StatusCode, detail: &str) -> Self {
        let problem = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": detail,
        });
        Self::problem(status, &problem)
    }

    fn problem(status: StatusCode, problem: &serde_json::Value) -> Self {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CACHE_CONTROL, NO_STORE);
        headers.insert(CONTENT_TYPE, PROBLEM);
        Self {
            status,
            headers,
            body: problem.to_string().into_bytes(),
        }
    }
}

/// A denial (RFC 9457, RFC 6750).
fn deny(record: &DecisionRecord, profile: Profile) -> Answer {
    let class = Class::of(&record.reason);
    let status = class.status();
    let id = record.id.to_string();
    let problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Denied"),
        "status": status.as_u16(),
        "detail": class.detail(),
        "decision": id,
    });
    let mut answer = Answer::problem(status, &problem);
    answer.headers.insert(DECISION, value(id));
    if let Some(challenge) = challenge(class, record) {
        answer.headers.insert(WWW_AUTHENTICATE, value(challenge));
    }
    if class == Class::RateLimited {
        let seconds = retry_after_seconds(record);
        answer
            .headers
            .insert(RETRY_AFTER, value(seconds.to_string()));
        if let Some((limit, window)) = rate_limit(record) {
            let policy = format!("\"key\";q={limit};w={window}");
            answer.headers.insert(RATE_LIMIT_POLICY, value(policy));
            let left = format!("\"key\";r=0;t={seconds}");
            answer.headers.insert(RATE_LIMIT, value(left));
        }
    }
    // nginx passes on 401 and 403 and makes 500 of everything else: its configuration restores the
    // status from the header. What cannot be recorded may as well become 500.
    let passes = [401, 403, 503].contains(&status.as_u16());
    if profile == Profile::Nginx && !passes {
        answer
            .headers
            .insert(STATUS, value(status.as_str().to_owned()));
        answer.status = StatusCode::FORBIDDEN;
    }
    answer
}

/// The value of `WWW-Authenticate`.
fn challenge(class: Class, record: &DecisionRecord) -> Option<String> {
    const BEARER: &str = "Bearer realm=\"keyward\"";
    match class {
        Class::NoCredential => Some(BEARER.to_owned()),
        Class::DeadCredential => Some(format!("{BEARER}, error=\"invalid_token\"")),
        Class::InsufficientScope => {
            let scope = needed_scope(record).map(|scope| format!(", scope=\"{scope}\""));
            let scope = scope.unwrap_or_default();
            Some(format!("{BEARER}, error=\"insufficient_scope\"{scope}"))
        }
        Class::Forbidden | Class::RateLimited | Class::Unavailable => None,
    }
}

/// The scope that the request needs, as the policy that decided says.
pub(super) fn needed_scope(record: &DecisionRecord) -> Option<&str> {
    let required = param(record, "required").or_else(|| {
        let signals = deciding(record).flat_map(|verdict| &verdict.signals);
        let mut params = signals.flat_map(|signal| &signal.params);
        let required = params.find(|(name, _)| name == "required");
        required.map(|(_, value)| value.as_str())
    });
    required.filter(|scope| is_exact_scope(scope))
}

/// How long to wait, in seconds.
pub(super) fn retry_after_seconds(record: &DecisionRecord) -> u32 {
    let given = param(record, "retry-after").and_then(|text| text.parse().ok());
    given
        .unwrap_or(RETRY_AFTER_DEFAULT_SECONDS)
        .clamp(1, RETRY_AFTER_MAX_SECONDS)
}

/// The limit that a request is over, in requests, and its window, in seconds, where the verdict
/// says both.
fn rate_limit(record: &DecisionRecord) -> Option<(u32, u32)> {
    let number = |name| param(record, name)?.parse().ok();
    Some((number("limit")?, number("window")?))
}

/// A parameter of the decision's reason.
fn param<'a>(record: &'a DecisionRecord, name: &str) -> Option<&'a str> {
    let reasons = deciding(record).filter_map(|verdict| verdict.reason.as_ref());
    let mut params = reasons.flat_map(|reason| &reason.params);
    params
        .find(|(it, _)| it == name)
        .map(|(_, value)| value.as_str())
}

/// The verdicts with the decision's reason.
fn deciding(record: &DecisionRecord) -> impl Iterator<Item = &crate::decision::verdict::Verdict> {
    let verdicts = record.evaluations.iter();
    let verdicts = verdicts.filter_map(|evaluated| evaluated.evaluation.outcome.verdict());
    verdicts.filter(|verdict| {
        let reason = verdict.reason.as_ref();
        reason.is_some_and(|reason| reason.code == record.reason)
    })
}

/// The headers that are taken away from the request before it goes upstream: where the credential
/// stood, and whatever the upstream could read as a header that identifies a key. An
/// `Authorization` of another scheme stays.
pub(super) fn to_remove(origin: &Origin, names: &CredentialHeaders) -> Vec<String> {
    let credential = match origin.place {
        Some(Place::Bearer) => names.bearer.as_ref(),
        Some(Place::Key) => names.key.as_ref(),
        Some(Place::Query) | None => None,
    };
    let credential = credential.map(|name| name.as_str().to_owned());
    let always = ALIASES.into_iter().map(str::to_owned);
    let seen = origin.aliases.iter().cloned();
    let mut all: Vec<String> = credential.into_iter().chain(always).collect();
    for name in seen {
        // Those that the answer sets replace the client's.
        if !FOR_UPSTREAM.contains(&name.as_str()) && !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// A value in visible ASCII and spaces. Anything else is a mistake of ours, and becomes `-`.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests;
