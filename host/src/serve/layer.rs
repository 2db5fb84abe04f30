//! A layer for `tower`, and so for axum, tonic and hyper: what keyward does not allow never reaches
//! the service behind it.
//!
//! What does reach it has no credential any more, no header that could be read as one that
//! identifies a key but the layer's own, and an
//! [`Allowed`](super::embedded::Allowed) among its extensions.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Extensions, HeaderMap, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::embedded::{EmbeddedCheck, Peer};

/// Lets pass what a check allows, on the thread that calls.
#[derive(Clone, Debug)]
pub struct AuthorizeLayer {
    check: EmbeddedCheck,
    peer: fn(&Extensions) -> Peer,
}

/// A service that only what is allowed reaches.
#[derive(Clone, Debug)]
pub struct Authorize<S> {
    layer: AuthorizeLayer,
    inner: S,
}

/// The answer, of the service or of the layer.
pub struct Answering<F, B>(State<F, B>);

enum State<F, B> {
    /// The service answers; these headers are added.
    Inner(Pin<Box<F>>, HeaderMap),
    Denied(Option<Response<B>>),
}

impl AuthorizeLayer {
    /// A layer that checks. `peer` says who is at the other end of the connection, by the
    /// extensions of a request.
    #[must_use]
    pub const fn new(check: EmbeddedCheck, peer: fn(&Extensions) -> Peer) -> Self {
        Self { check, peer }
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize {
            layer: self.clone(),
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
        let AuthorizeLayer { check, peer } = &self.layer;
        Answering(match check.check(&head, peer(&head.extensions)) {
            Ok((allowed, changes)) => {
                changes.apply_to(&mut head.headers);
                head.extensions.insert(allowed);
                let inner = self.inner.call(Request::from_parts(head, body));
                State::Inner(Box::pin(inner), changes.for_client)
            }
            Err(answer) => State::Denied(Some(answer.into_response())),
        })
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
pub(super) mod tests;
