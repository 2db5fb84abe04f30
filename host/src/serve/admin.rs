//! The Admin API: the life of keys over HTTP, in the process that decides on them.
//!
//! ```text
//! request ─► Allowed ───────────► Keeper ─► registry ─► (follower) ─► log, in force
//!            (decided like any    (role, certification,
//!             other, by a key)     the rules of a change)
//! ```
//! An administrator has a key like everybody. Its request is decided by the same authorizer, by a
//! scope of keyward's own, and so stands in the log; then its owner's role counts, as on the
//! command line. Nothing is decided here, and no rule of a change stands here.

mod access;
mod body;
mod changes;
mod keys;
mod logged;
mod model;
mod own;
mod problem;
mod revoke;
mod work;

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use tower_service::Service as _;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Ref, RefOr};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::caller::Channel;
use super::check::{Body, Checks};
use crate::authorizer::Authorizer;
use crate::decision::DecisionId;
use crate::governance::keeper::{Evidence, EvidenceError};
use crate::governance::rules::KeyRules;
use crate::key::KeyId;

use problem::Problem;
use work::Work;

/// Where the OpenAPI document is.
const DOCUMENT_PATH: &str = "/admin/v1/openapi.json";
/// What administrators ask.
const ADMIN_PREFIX: &str = "/admin/";
/// What the holder of any key asks.
const SELF_PREFIX: &str = "/self/";

/// What the Admin API knows keys by.
pub trait KeySource: Send + Sync {
    /// The rules of the configuration that is in force.
    fn rules(&self) -> Arc<KeyRules>;

    /// The registry's database; `None`: the keys are declared in a file, which is edited.
    fn registry(&self) -> Option<&Path>;

    /// What the log and the policies say of keys.
    fn evidence<'a>(&'a self, authorizer: &'a Authorizer) -> Box<dyn Evidence + 'a>;

    /// A decision in the log, explained; `None`: there is none.
    ///
    /// # Errors
    /// When the log cannot be read.
    fn decision(&self, id: DecisionId) -> Result<Option<Explained>, EvidenceError>;

    /// The certificate of a key's revocation, a tlog-proof; `None`: nobody has issued one.
    ///
    /// # Errors
    /// When the log or the governance key cannot be read.
    fn certificate(&self, key: KeyId) -> Result<Option<String>, EvidenceError>;
}

/// A decision, and why it was made.
#[derive(Clone, Debug)]
pub struct Explained {
    /// Its entry in the log.
    pub index: u64,
    /// The record, as `keyward log cat` shows it.
    pub record: serde_json::Value,
    /// Why, in a sentence.
    pub text: String,
    /// What the key's owner can do about it.
    pub remedy: Option<String>,
}

/// The Admin API of a service.
pub(super) struct Admin {
    router: Router,
    has_admin: bool,
    source: Arc<dyn KeySource>,
}

/// What every handler is given.
struct Shared {
    source: Arc<dyn KeySource>,
    work: Work,
    document: String,
}

/// What a request came with.
#[derive(Clone)]
struct Context {
    checks: Arc<Checks>,
    channel: Channel,
}

impl Admin {
    pub(super) fn new(has_admin: bool, source: Arc<dyn KeySource>) -> Self {
        let (router, _) = routes().split_for_parts();
        let shared = Arc::new(Shared {
            source: Arc::clone(&source),
            work: Work::default(),
            document: document(),
        });
        let router = router
            .route(DOCUMENT_PATH, axum::routing::get(show_document))
            .method_not_allowed_fallback(|| async { Problem::of(StatusCode::METHOD_NOT_ALLOWED) })
            .fallback(|| async { Problem::of(StatusCode::NOT_FOUND) })
            .with_state(shared);
        Self {
            router,
            has_admin,
            source,
        }
    }

    /// Whether something is asked at a path.
    pub(super) fn has(&self, path: &str) -> bool {
        let rotates = || self.source.rules().self_rotation_grace_ms.is_some();
        (self.has_admin && path.starts_with(ADMIN_PREFIX))
            || (path.starts_with(SELF_PREFIX) && rotates())
    }

    /// Answers a request. A credential does not travel in clear.
    pub(super) async fn answer(
        &self,
        checks: &Arc<Checks>,
        channel: Channel,
        mut request: Request<Incoming>,
    ) -> http::Response<Body> {
        let mut response = if channel.is_private {
            request.extensions_mut().insert(Context {
                checks: Arc::clone(checks),
                channel,
            });
            let mut router = self.router.clone();
            match router.call(request.map(axum::body::Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        } else {
            Problem::insecure().into_response()
        };
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        response.map(|body| Either::Right(tonic::body::Body::new(body)))
    }
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin")
            .field("has_admin", &self.has_admin)
            .finish_non_exhaustive()
    }
}

/// What is the same for the whole document.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "keyward Admin API",
        description = "The life of API keys. Every request is decided by a key of keyward's own, \
            in `Authorization: Bearer` or the configured header, and recorded; then the role and \
            the certification of the key's owner count."
    ),
    servers((url = "/")),
    components(schemas(Problem))
)]
struct Document;

/// All that can be asked, with what the document says of it.
fn routes() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(keys::list, keys::issue))
        .routes(routes!(keys::show))
        .routes(routes!(keys::history))
        .routes(routes!(changes::suspend))
        .routes(routes!(changes::resume))
        .routes(routes!(changes::mask))
        .routes(routes!(changes::unmask))
        .routes(routes!(changes::rotate))
        .routes(routes!(revoke::order))
        .routes(routes!(revoke::orders))
        .routes(routes!(revoke::confirm))
        .routes(routes!(revoke::emergency))
        .routes(routes!(revoke::review))
        .routes(routes!(logged::decision))
        .routes(routes!(logged::certificate))
        .routes(routes!(own::rotate))
}

/// The OpenAPI document, made from the code: JSON that ends in a line break.
#[must_use]
pub fn document() -> String {
    let mut document = routes().into_openapi();
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = document.components.get_or_insert_default();
    components.add_security_scheme("bearer", bearer);
    // Each operation has the same problems: they are told once.
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            for (status, response) in responses.iter_mut().filter(|(it, _)| !it.starts_with('2')) {
                let name = format!("Problem{status}");
                let told = RefOr::Ref(Ref::from_response_name(&name));
                let problem = std::mem::replace(response, told);
                components.responses.insert(name, problem);
            }
        }
    }
    // It is made of what can be written.
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
}

async fn show_document(State(shared): State<Arc<Shared>>) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, content_type)], shared.document.clone()).into_response()
}
