//! Bodies and parameters: JSON within bounds, and nothing that is not known.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Shared;
use super::problem::Problem;
use crate::digest::Digest;
use crate::key::KeyId;

/// The largest body, in bytes.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// How long a body may take to come, in seconds.
const BODY_MAX_SECONDS: u64 = 5;

/// A body of JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<Shared>) -> Result<Self, Problem> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let detail = "The body has to be `application/json`.";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "not-json", detail));
        }
        let limit = Duration::from_secs(BODY_MAX_SECONDS);
        let body = Limited::new(request.into_body(), BODY_MAX_BYTES).collect();
        let Ok(Ok(body)) = timeout(limit, body).await else {
            let detail = "The body is too large, too slow or not whole.";
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Problem::new(status, "too-large", detail));
        };
        let read = serde_json::from_slice(&body.to_bytes());
        read.map(Self)
            .map_err(|error| Problem::malformed(&format!("The body: {error}.")))
    }
}

/// The parameters of the query.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Shared>> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Shared>) -> Result<Self, Problem> {
        let read = Query::try_from_uri(&parts.uri);
        read.map(|Query(it)| Self(it))
            .map_err(|error| Problem::malformed(&error.body_text()))
    }
}

/// What a path names.
pub(super) trait Named: Sized {
    fn named(text: &str) -> Result<Self, Problem>;
}

impl Named for KeyId {
    fn named(text: &str) -> Result<Self, Problem> {
        let none = |_| Problem::not_found("no-key", "That is no id of a key.");
        text.parse().map_err(none)
    }
}

impl Named for Digest {
    fn named(text: &str) -> Result<Self, Problem> {
        let none = |_| Problem::not_found("no-order", "That is no digest of an order.");
        text.parse().map_err(none)
    }
}

impl Named for crate::decision::DecisionId {
    fn named(text: &str) -> Result<Self, Problem> {
        let none = |_| Problem::not_found("no-decision", "That is no id of a decision.");
        text.parse().map_err(none)
    }
}

/// What the path names.
pub(super) struct Of<T>(pub(super) T);

impl<T: Named> FromRequestParts<Arc<Shared>> for Of<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, shared).await;
        let Path(text) = path.map_err(|_| Problem::of(StatusCode::NOT_FOUND))?;
        T::named(&text).map(Self)
    }
}
