//! What goes wrong, as RFC 9457 has it. No text of a request stands in it uncut, and nothing that a
//! credential begins with.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::governance::keeper::KeeperError;
use crate::governance::preflight::AUTHORITY;
use crate::registry::sqlite::SqliteError;
use crate::shown::without_credentials;

/// How long to wait before asking again, in seconds.
const RETRY_SECONDS: u16 = 1;

/// A problem (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Problem {
    /// `about:blank`: the status says which kind it is, and `code` which one.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong, and what to do about it.
    detail: String,
    /// Which problem it is, for a program. A denial by the authorizer has none, but `decision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// The decision's id, of a denial.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
}

/// The answers that every operation has.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the document is made from it")]
pub(super) enum Problems {
    /// The request cannot be read: a parameter or a member that is none, or not JSON
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(Problem),
    /// No key, or one that is of no use
    #[response(status = 401, content_type = "application/problem+json",
        headers(("WWW-Authenticate" = String)))]
    Unauthorized(Problem),
    /// The key, or the role or certification of its owner, does not allow it
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is none
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// Not in the state that it is in
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// The body is too large, or comes too slowly
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is not `application/json`
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(Problem),
    /// Against a rule for keys
    #[response(status = 422, content_type = "application/problem+json")]
    Refused(Problem),
    /// Too many requests of the key
    #[response(status = 429, content_type = "application/problem+json",
        headers(("Retry-After" = i32)))]
    Limited(Problem),
    /// Not now: too busy, or the registry or the log cannot be used
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: &str) -> Self {
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: without_credentials(detail),
            code: Some(code),
            decision: None,
        }
    }

    /// A problem that its status says.
    pub(super) fn of(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not-found", "There is nothing here."),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method-not-allowed", "That is not how this is asked.")
            }
            _ => ("error", "This cannot be answered."),
        };
        Self::new(status, code, detail)
    }

    pub(super) fn malformed(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(super) fn refused(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    pub(super) fn forbidden(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, code, detail)
    }

    pub(super) fn not_found(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub(super) fn unavailable(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail)
    }

    pub(super) fn insecure() -> Self {
        let detail = "A credential would travel in clear: use TLS, this machine or a Unix socket.";
        Self::forbidden("insecure-connection", detail)
    }

    pub(super) fn declared() -> Self {
        let detail = "The keys of this service are declared in a file; edit that file.";
        Self::new(StatusCode::CONFLICT, "registry-is-a-file", detail)
    }
}

impl From<KeeperError> for Problem {
    fn from(error: KeeperError) -> Self {
        match error {
            KeeperError::Unauthorized(error) => {
                Self::forbidden("not-authorized", &error.to_string())
            }
            KeeperError::Refused(check) if check.name == AUTHORITY => {
                Self::forbidden("not-authorized", &check.text)
            }
            KeeperError::Refused(check) => Self::refused("refused", &check.text),
            KeeperError::Registry(error) => error.into(),
            KeeperError::Evidence(error) => {
                tracing::error!(%error, "the log cannot be read");
                Self::unavailable("log-unavailable", "The log cannot be read.")
            }
        }
    }
}

impl From<SqliteError> for Problem {
    fn from(error: SqliteError) -> Self {
        use SqliteError as E;
        let text = error.to_string();
        let conflict = |code| Self::new(StatusCode::CONFLICT, code, &text);
        match &error {
            E::NoKey(_) => Self::not_found("no-key", &text),
            E::NoOrder(_) => Self::not_found("no-order", &text),
            E::NoEmergency(_) => Self::not_found("no-emergency", &text),
            E::OwnOrder(_) | E::OwnEmergency(_) => Self::forbidden("four-eyes", &text),
            E::Edit { .. } => conflict("state"),
            E::RotationInProgress { .. } => conflict("rotation-in-progress"),
            E::Succeeded { .. } => conflict("succeeded"),
            E::OrderOpen { .. } => conflict("order-open"),
            E::OrderExpired(_) => conflict("order-expired"),
            E::Unreviewed { .. } => conflict("emergency-unreviewed"),
            E::Edited(_) | E::EditedOrders(_) => conflict("edited"),
            E::ClockBehind { .. } => conflict("clock-behind"),
            E::NewKey(_) | E::NoScope | E::NoReason | E::Reason(_) | E::Actor(_) => {
                Self::refused("refused", &text)
            }
            E::Locked => {
                Self::unavailable("busy", "Another process holds the registry; try again.")
            }
            // What it says is for the operator.
            _ => {
                tracing::error!(%error, "the registry cannot be used");
                Self::unavailable("registry-unavailable", "The registry cannot be used.")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, content_type);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS));
        }
        response
    }
}
