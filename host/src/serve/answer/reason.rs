//! Which class of answer a reason gives.

use http::StatusCode;

/// What a caller learns of a denial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 401: there was no credential.
    NoCredential,
    /// 401: there was one, or more, and it cannot be used, whatever it is asked for.
    DeadCredential,
    /// 403: the key may not do this.
    Forbidden,
    /// 403: the key lacks a scope.
    InsufficientScope,
    /// 429: too often.
    RateLimited,
    /// 503: the host could not record.
    Unavailable,
}

/// Reasons for which a key is no use at all: another one is needed. The other reasons speak of the
/// request.
const DEAD: [&str; 11] = [
    "key.ambiguous",
    "key.malformed",
    "key.revoked",
    "key.suspended",
    "key.unknown",
    "rotation.expired",
    "rotation.grace-ended",
    "rotation.lifetime-exceeded",
    "rotation.no-expiry",
    "rotation.not-yet-valid",
    "rotation.overdue",
];

impl Class {
    /// The class of a denial's reason. One that is not known, of a policy of the operator's own for
    /// example, is [`Class::Forbidden`].
    #[must_use]
    pub fn of(reason: &str) -> Self {
        match reason {
            "key.missing" => Self::NoCredential,
            "rate.limited" => Self::RateLimited,
            "scope.missing" | "scope.read-only" => Self::InsufficientScope,
            crate::decision::LOG_UNAVAILABLE | crate::registry::STALE => Self::Unavailable,
            reason if DEAD.contains(&reason) => Self::DeadCredential,
            _ => Self::Forbidden,
        }
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::NoCredential | Self::DeadCredential => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the caller is told.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::NoCredential => "The request needs an API key.",
            Self::DeadCredential => "The API key that was sent cannot be used.",
            Self::Forbidden => "The API key does not permit this request.",
            Self::InsufficientScope => "The API key lacks a scope that this request needs.",
            Self::RateLimited => "Too many requests.",
            Self::Unavailable => "The request could not be decided. Try again later.",
        }
    }
}
