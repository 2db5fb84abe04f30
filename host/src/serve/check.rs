//! One request to the service: a check of some profile, or a word about the service itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::time::timeout;

use super::admin::Admin;
use super::answer::{Answer, Answers};
use super::caller::{CALLER_HEADER, Callers, Channel};
use super::client::{ForwardingHeader, Trust};
use super::credential::CredentialHeaders;
use super::decide::{Decided, Decider, Late};
use super::events::{self, Streams};
use super::metrics::Metrics;
use super::profile::authzen::{self, Call};
use super::profile::{
    Asked, CheckSettings, Head, Malformed, Origin, Profile, access_request, client_of,
};
use super::rpc;
use crate::authorizer::Authorizer;
use crate::client::Client;
use crate::config::server::ServerConfig;
use crate::decision::{Decision, Permission};
use crate::registry::KeyEntry;
use crate::timestamp::Timestamp;

/// The largest body of a check that is read, in bytes; it is not looked at.
const DRAINED_MAX_BYTES: usize = 64 * 1024;
/// How long a body may take to come, in seconds.
const BODY_MAX_SECONDS: u64 = 5;

/// What requests to the service itself are called in metrics.
const ADMIN: &str = "admin";

/// What is sent back.
pub(super) type Body = Either<Full<Bytes>, tonic::body::Body>;

/// Everything that an answer needs.
#[derive(Debug)]
pub(super) struct Checks {
    callers: Callers,
    decider: Decider,
    clock: fn() -> Timestamp,
    pub(super) settings: CheckSettings,
    answers: Answers,
    metrics: Metrics,
    is_ready: AtomicBool,
    admin: Option<Admin>,
    streams: Streams,
}

impl Checks {
    pub(super) fn new(
        config: &ServerConfig,
        (callers, decider): (Callers, Decider),
        clock: fn() -> Timestamp,
    ) -> Self {
        // The configuration has checked the names.
        let name = |text: &str| HeaderName::from_bytes(text.as_bytes()).ok();
        let forwarded = match &*config.forwarded_header {
            "forwarded" => ForwardingHeader::Forwarded,
            other => name(other).map_or_else(ForwardingHeader::default, ForwardingHeader::Named),
        };
        let credential = CredentialHeaders {
            bearer: Some(AUTHORIZATION),
            key: name(&config.credential_header),
            query: config.credential_query.as_deref().map(str::to_owned),
        };
        let answers = Answers {
            credential: credential.clone(),
            announce: config.announce_sunset,
            ..Answers::default()
        };
        let settings = CheckSettings {
            trust: Trust {
                networks: config.trusted_proxies.clone(),
                header: forwarded,
            },
            credential,
            private: vec![HeaderName::from_static(CALLER_HEADER)],
        };
        Self {
            callers,
            decider,
            clock,
            settings,
            answers,
            metrics: Metrics::default(),
            is_ready: AtomicBool::new(false),
            admin: None,
            streams: Streams::default(),
        }
    }

    pub(super) fn with_admin(self, admin: Option<Admin>) -> Self {
        Self { admin, ..self }
    }

    /// Decides on a request to the service itself, which needs a scope. What is not allowed is
    /// answered as a check is.
    pub(super) async fn admit(
        &self,
        channel: Channel,
        head: &Parts,
        scope: &str,
    ) -> (Timestamp, Result<Arc<KeyEntry>, Answer>) {
        let at = Head {
            method: &head.method,
            uri: &head.uri,
            headers: &head.headers,
            peer: channel.peer,
        };
        let mut settings = self.settings.clone();
        settings.credential.query = None;
        let client = client_of(at, &self.settings);
        let asked = settings.read_embedded(at, client.clone());
        let asked = asked.map(|asked| Asked {
            required_scope: Some(scope.to_owned()),
            ..asked
        });
        let now = self.now();
        let decided = self.decide(asked, Some(client)).await;
        let answer = match decided {
            Ok((decision, Some(entry))) if decision.permission() == Permission::Allow => {
                let allow = Permission::Allow.as_str();
                self.metrics.answered(ADMIN, allow, StatusCode::OK.as_u16());
                return (now, Ok(entry));
            }
            Ok((decision, _)) => {
                let origin = Origin::of(Profile::Embedded);
                self.answers.answer(&decision, None, &origin)
            }
            Err(Late) => late(),
        };
        let deny = Permission::Deny.as_str();
        self.metrics.answered(ADMIN, deny, answer.status.as_u16());
        (now, Err(answer))
    }

    pub(super) const fn authorizer(&self) -> &Arc<Authorizer> {
        self.decider.authorizer()
    }

    /// The time of whatever is asked now.
    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(super) const fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(super) const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether the service takes what it is asked; when it ends it does not any more.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    pub(super) fn set_ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Release);
    }

    /// Decides what was asked, or denies and records that nothing was. `client`: where a call came
    /// from that could not be read, as far as that is known.
    pub(super) async fn check(
        &self,
        profile: Profile,
        asked: Result<Asked, Malformed>,
        client: Option<Client>,
    ) -> (Answer, Origin) {
        let origin = Origin::of_call(profile, &asked);
        let answer = match self.decide(asked, client).await {
            Ok((decision, key)) => {
                let key = key.as_ref().map(|entry| &**entry.record());
                let answer = self.answers.answer(&decision, key, &origin);
                self.count(profile, Some(&decision), answer.status);
                answer
            }
            Err(Late) => {
                self.count(profile, None, StatusCode::SERVICE_UNAVAILABLE);
                late()
            }
        };
        (answer, origin)
    }

    async fn decide(
        &self,
        asked: Result<Asked, Malformed>,
        client: Option<Client>,
    ) -> Result<Decided, Late> {
        let request = access_request(asked, client, self.now());
        self.decider.decide(request).await
    }

    fn count(&self, profile: Profile, decision: Option<&Decision>, status: StatusCode) {
        let effect = match decision.map(Decision::permission) {
            _ if status == StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            Some(permission) => permission.as_str(),
            None => Permission::Deny.as_str(),
        };
        self.metrics
            .answered(profile.as_str(), effect, status.as_u16());
    }

    /// One or several evaluations of AuthZEN.
    async fn evaluate(&self, profile: Profile, call: Call, id: Option<&str>) -> Answer {
        match call {
            Call::One(asked) => match self.evaluation(profile, Ok(*asked)).await {
                Ok((said, _)) => authzen::one(&said, id),
                Err(Late) => late(),
            },
            Call::Many(all, semantic) => {
                let mut said = Vec::with_capacity(all.len());
                for asked in all {
                    let Ok((one, permission)) = self.evaluation(profile, asked).await else {
                        return late();
                    };
                    said.push(one);
                    if semantic.ends_after(permission) {
                        break;
                    }
                }
                authzen::many(&said, id)
            }
        }
    }

    async fn evaluation(
        &self,
        profile: Profile,
        asked: Result<Asked, Malformed>,
    ) -> Result<(serde_json::Value, Permission), Late> {
        let problem = asked.as_ref().err().copied();
        let decided = self.decide(asked, None).await;
        let status = match &decided {
            Ok(_) => StatusCode::OK,
            Err(Late) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let decision = decided.as_ref().ok().map(|(decision, _)| decision);
        self.count(profile, decision, status);
        let (decision, key) = decided?;
        let said = match problem {
            Some(problem) => authzen::malformed(problem),
            None => {
                let key = key.as_ref().map(|entry| &**entry.record());
                self.answers.evaluation(&decision, key)
            }
        };
        Ok((said, decision.permission()))
    }
}

/// Answers a request.
pub(super) async fn answer(
    checks: &Arc<Checks>,
    channel: Channel,
    request: Request<Incoming>,
) -> Response<Body> {
    match request.uri().path() {
        "/healthz" => return plain(StatusCode::OK, "ok\n"),
        "/readyz" if checks.is_ready() => {
            return plain(StatusCode::OK, "ready\n");
        }
        "/readyz" => return plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        _ => {}
    }
    // Whoever asks here has a key of their own.
    if let Some(admin) = &checks.admin
        && admin.has(request.uri().path())
    {
        return Box::pin(admin.answer(checks, channel, request)).await;
    }
    if !checks.callers.admits(channel, request.headers()) {
        checks.metrics.caller_refused();
        let answer = Answer::refusal(StatusCode::FORBIDDEN, "This caller may not ask.");
        return response(answer);
    }
    if request.uri().path() == "/metrics" {
        let mut response = Response::new(Either::Left(Full::from(checks.metrics.text())));
        let content_type = HeaderValue::from_static(Metrics::CONTENT_TYPE);
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        return response;
    }
    if request.uri().path().starts_with(events::PATH) {
        return events::answer(checks, &request);
    }
    match Profile::of(request.uri().path()) {
        None => {
            let detail = "Nothing is asked here; see the profiles in the manual.";
            response(Answer::refusal(StatusCode::NOT_FOUND, detail))
        }
        Some((Profile::Grpc, _)) => rpc::answer(checks, request).await,
        Some((profile, _)) => {
            let (head, body) = request.into_parts();
            response(over_http(checks, channel, (profile, head), body).await)
        }
    }
}

async fn over_http(
    checks: &Checks,
    channel: Channel,
    (profile, head): (Profile, Parts),
    body: Incoming,
) -> Answer {
    let is_authzen = matches!(profile, Profile::AuthzenOne | Profile::AuthzenMany);
    let most = if is_authzen {
        authzen::BODY_MAX_BYTES
    } else {
        DRAINED_MAX_BYTES
    };
    let Ok(body) = whole(body, most).await else {
        let detail = "The body is too large, too slow or not whole.";
        return Answer::refusal(StatusCode::PAYLOAD_TOO_LARGE, detail);
    };
    let at = Head {
        method: &head.method,
        uri: &head.uri,
        headers: &head.headers,
        peer: channel.peer,
    };
    if is_authzen {
        let id = super::profile::request_id(&head.headers);
        return match authzen::read(profile, at, &body) {
            Ok(call) => Box::pin(checks.evaluate(profile, call, id.as_deref())).await,
            Err(error) => authzen::refusal(error, id.as_deref()),
        };
    }
    let asked = checks.settings.read(at);
    let asked = asked.unwrap_or(Err(Malformed("the profile does not ask over HTTP")));
    let client = asked.is_err().then(|| client_of(at, &checks.settings));
    checks.check(profile, asked, client).await.0
}

/// The whole of a body.
pub(super) async fn whole(body: Incoming, most: usize) -> Result<Bytes, NotWhole> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let limit = Duration::from_secs(BODY_MAX_SECONDS);
    let collected = timeout(limit, Limited::new(body, most).collect()).await;
    Ok(collected
        .map_err(|_| NotWhole)?
        .map_err(|_| NotWhole)?
        .to_bytes())
}

/// A body that is too large, too slow or cut off.
pub(super) struct NotWhole;

fn late() -> Answer {
    let detail = "There was no decision in time.";
    Answer::refusal(StatusCode::SERVICE_UNAVAILABLE, detail)
}

fn response(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(answer.body)));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
