//! Who may ask: a key whose request the authorizer allows, and that has the scope by name.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse as _, Response};
use http::request::Parts;

use super::problem::Problem;
use super::{Context, Shared};
use crate::authorizer::Authorizer;
use crate::governance::control::{
    KEYS_READ, KEYS_REVOKE, KEYS_WRITE, LOG_READ, SELF_ROTATE, has_own,
};
use crate::governance::identity::Identity;
use crate::key::KeyId;
use crate::timestamp::Timestamp;

/// A scope of keyward's own.
pub(super) trait Scope: Send {
    const NAME: &'static str;
}

pub(super) struct ReadKeys;
pub(super) struct WriteKeys;
pub(super) struct RevokeKeys;
pub(super) struct ReadLog;
pub(super) struct RotateSelf;

impl Scope for ReadKeys {
    const NAME: &'static str = KEYS_READ;
}

impl Scope for WriteKeys {
    const NAME: &'static str = KEYS_WRITE;
}

impl Scope for RevokeKeys {
    const NAME: &'static str = KEYS_REVOKE;
}

impl Scope for ReadLog {
    const NAME: &'static str = LOG_READ;
}

impl Scope for RotateSelf {
    const NAME: &'static str = SELF_ROTATE;
}

/// A request that is allowed, by the scope that it needs.
pub(super) struct Allowed<S>(pub(super) Asker, pub(super) PhantomData<S>);

/// Who asks.
pub(super) struct Asker {
    pub(super) who: Identity,
    pub(super) key: KeyId,
    pub(super) now: Timestamp,
    pub(super) authorizer: Arc<Authorizer>,
}

impl<S: Scope> FromRequestParts<Arc<Shared>> for Allowed<S> {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        shared: &Arc<Shared>,
    ) -> Result<Self, Self::Rejection> {
        let unavailable =
            || Problem::unavailable("busy", "This cannot be decided.").into_response();
        let Some(Context { checks, channel }) = parts.extensions.get::<Context>().cloned() else {
            return Err(unavailable());
        };
        let (now, decided) = checks.admit(channel, parts, S::NAME).await;
        let entry = decided.map_err(|answer| {
            let mut response = (answer.status, answer.body).into_response();
            *response.headers_mut() = answer.headers;
            response
        })?;
        let record = entry.record();
        let implications = &shared.source.rules().implications;
        if !has_own(&record.scopes, S::NAME, implications) {
            let detail = format!(
                "The key needs `{}` by name: a wildcard for everything is not meant for keyward \
                 itself.",
                S::NAME
            );
            return Err(Problem::forbidden("scope-not-named", &detail).into_response());
        }
        // The scope policy says so too, where there is one.
        if record.read_only && !S::NAME.ends_with(":read") {
            let detail = "The key is masked: it only reads.";
            return Err(Problem::forbidden("read-only", detail).into_response());
        }
        let who = Identity::Key {
            owner: Arc::clone(&record.owner),
            id: record.id,
            scopes: Arc::clone(&record.scopes),
        };
        let asker = Asker {
            who,
            key: record.id,
            now,
            authorizer: Arc::clone(checks.authorizer()),
        };
        Ok(Self(asker, PhantomData))
    }
}
