//! A layer for `tower`, and so for axum, tonic and hyper: what keyward does not allow never reaches
//! the service behind it.
//!
//! What does reach it has no credential any more, no header that could be read as one that
//! identifies a key but the layer's own, and an [`Allowed`] among its extensions.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Extensions, HeaderMap, Request, Response, StatusCode, header};
use tower_layer::Layer;
use tower_service::Service;

use super::answer::{Answer, Answers, FOR_UPSTREAM, to_remove};
use super::client::client;
use super::profile::{CheckSettings, Head, Origin, Profile, access_request};
use crate::address::Address;
use crate::authorizer::Authorizer;
use crate::client::Client;
use crate::decision::Decision;
use crate::registry::KeyEntry;
use crate::registry::watch::KeyWatch;
use crate::timestamp::Timestamp;

/// Lets pass what is allowed. Decides on the thread that calls: in microseconds in mode `written`,
/// after the disk in mode `durable`.
#[derive(Clone, Debug)]
pub struct AuthorizeLayer(Arc<Shared>);

/// What an [`AuthorizeLayer`] goes by.
#[derive(Clone, Debug)]
pub struct LayerOptions {
    /// Whom to believe about addresses, and where credentials stand.
    pub check: CheckSettings,
    /// What answers say of a key that is near its end.
    pub answers: Answers,
    /// Who is at the other end of the connection. By default nobody knows, and a policy that asks
    /// for the address denies.
    pub peer: fn(&Extensions) -> Peer,
    /// The time of requests.
    pub clock: fn() -> Timestamp,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody can tell; no header is believed.
    Unknown,
    /// An address.
    At(IpAddr),
    /// A Unix socket: what may use it is trusted as a proxy is.
    Unix,
}

/// What allowed a request, among its extensions.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The decision, which is recorded.
    pub decision: Arc<Decision>,
    /// The key, as it was decided on.
    pub key: Arc<KeyEntry>,
    shared: Arc<Shared>,
}

/// A service that only what is allowed reaches.
#[derive(Clone, Debug)]
pub struct Authorize<S> {
    shared: Arc<Shared>,
    inner: S,
}

/// The answer, of the service or of the layer.
pub struct Answering<F, B>(State<F, B>);

enum State<F, B> {
    /// The service answers; these headers are added.
    Inner(Pin<Box<F>>, HeaderMap),
    Denied(Option<Response<B>>),
}

#[derive(Debug)]
struct Shared {
    authorizer: Arc<Authorizer>,
    options: LayerOptions,
}

impl LayerOptions {
    /// Defaults, and a clock.
    #[must_use]
    pub fn new(clock: fn() -> Timestamp) -> Self {
        Self {
            check: CheckSettings::default(),
            answers: Answers::default(),
            peer: |_| Peer::Unknown,
            clock,
        }
    }
}

impl AuthorizeLayer {
    /// A layer that asks an authorizer.
    #[must_use]
    pub fn new(authorizer: Arc<Authorizer>, options: LayerOptions) -> Self {
        Self(Arc::new(Shared {
            authorizer,
            options,
        }))
    }
}

impl Allowed {
    /// Ready when the key ends, for whatever outlives the request: an open stream, a connection.
    /// `None`: the registry does not tell.
    #[must_use]
    pub fn watch(&self) -> Option<KeyWatch> {
        let id = self.key.record().id;
        self.shared.authorizer.watch(&id)
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize {
            shared: Arc::clone(&self.0),
            inner,
        }
    }
}

impl<S, Q, B> Service<Request<Q>> for Authorize<S>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: From<Vec<u8>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Answering<S::Future, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        Answering(match self.shared.authorize(&mut head) {
            Ok(headers) => {
                let inner = self.inner.call(Request::from_parts(head, body));
                State::Inner(Box::pin(inner), headers)
            }
            Err(answer) => {
                let mut response = Response::new(B::from(answer.body));
                *response.status_mut() = answer.status;
                *response.headers_mut() = answer.headers;
                State::Denied(Some(response))
            }
        })
    }
}

impl Shared {
    /// Puts into the head who it is that is allowed, and returns the headers for the client; or the
    /// answer to what is denied.
    fn authorize(self: &Arc<Self>, head: &mut Parts) -> Result<HeaderMap, Box<Answer>> {
        let LayerOptions {
            check,
            answers,
            peer,
            clock,
        } = &self.options;
        let asked_by = Head {
            method: &head.method,
            uri: &head.uri,
            headers: &head.headers,
            peer: None,
        };
        let client = match peer(&head.extensions) {
            Peer::Unknown => Client::default(),
            Peer::At(address) => client(Some(Address::new(address)), &head.headers, &check.trust),
            Peer::Unix => client(None, &head.headers, &check.trust),
        };
        let asked = check.read_embedded(asked_by, client.clone());
        let origin = Origin::of_call(Profile::Embedded, &asked);
        let request = access_request(asked, Some(client), clock());
        let (decision, key) = self.authorizer.decide_with_key(&request);
        let record = key.as_ref().map(|entry| &**entry.record());
        let mut answer = answers.answer(&decision, record, &origin);
        let Some(key) = key.filter(|_| answer.status == StatusCode::OK) else {
            return Err(Box::new(answer));
        };
        for name in to_remove(&origin, &check.credential) {
            head.headers.remove(name);
        }
        for name in FOR_UPSTREAM {
            if let Some(value) = answer.headers.remove(name) {
                head.headers.insert(name, value);
            }
        }
        answer.headers.remove(header::CACHE_CONTROL);
        head.extensions.insert(Allowed {
            decision: Arc::new(decision),
            key,
            shared: Arc::clone(self),
        });
        Ok(answer.headers)
    }
}

/// What is polled is pinned by itself.
impl<F, B> Unpin for Answering<F, B> {}

impl<F, B, E> Future for Answering<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<B>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = match &mut self.0 {
            State::Inner(inner, _) => ready!(inner.as_mut().poll(context))?,
            State::Denied(response) => match response.take() {
                Some(response) => return Poll::Ready(Ok(response)),
                // As a future that has ended may.
                None => return Poll::Pending,
            },
        };
        if let State::Inner(_, headers) = &mut self.0 {
            response.headers_mut().extend(std::mem::take(headers));
        }
        Poll::Ready(Ok(response))
    }
}

impl<F, B> std::fmt::Debug for Answering<F, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_denied = matches!(self.0, State::Denied(_));
        f.debug_struct("Answering")
            .field("is_denied", &is_denied)
            .finish()
    }
}

#[cfg(test)]
mod tests;
