//! Server-sent events of the end of keys: whoever holds something open in a key's name asks once,
//! and is told when it has to be closed.
//!
//! `GET /events/keys/{id}` is a stream (WHATWG HTML, "Server-sent events"): `held` at once, a
//! comment every few seconds, `ended` when the key ends, and then the stream ends too. A key ends
//! by suspension or revocation, by its time, when it is gone, and when the registry is too old to
//! know better. What ends without `ended` is to be asked for again: the connection broke, or the
//! service is ending.
//!
//! Nothing is decided here and nothing recorded. Who may ask for a check may ask for this.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::answer::Answer;
use super::check::{Body, Checks};
use crate::key::KeyId;
use crate::registry::STALE;
use crate::registry::watch::{KeyEnd, KeyWatch};
use crate::timestamp::Timestamp;

/// Where the events of a key are, before its id.
pub(super) const PATH: &str = "/events/keys/";
/// How many streams there are at once.
const STREAMS_MAX: usize = 4_096;
/// How often a stream looks whether the key's time is over, the registry too old or the service
/// ending, in ms. Suspension and revocation are told at once.
const LOOK_INTERVAL_MS: u64 = 1_000;
/// After how many looks a comment is sent, for those between that close what is silent.
const LOOKS_UNTIL_COMMENT: u32 = 15;
/// What a client may wait for before it asks again, where there is no place, in seconds.
const RETRY_AFTER_SECONDS: &str = "5";
/// The id of the last event. A client that comes back with it has been told.
const ENDED: &str = "ended";

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Asks nginx not to keep what is to arrive now.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The streams of a service.
#[derive(Debug)]
pub(super) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

/// Whether an answer is a stream of events.
pub(super) fn is_stream<B>(answered: &Response<B>) -> bool {
    answered.headers().get(CONTENT_TYPE) == Some(&EVENT_STREAM)
}

/// Answers a request for the events of a key.
pub(super) fn answer<B>(checks: &Arc<Checks>, request: &Request<B>) -> Response<Body> {
    subscribe(checks, request).unwrap_or_else(|refusal| {
        let mut response = Response::new(Either::Left(Full::from(refusal.body)));
        *response.status_mut() = refusal.status;
        *response.headers_mut() = refusal.headers;
        response
    })
}

fn subscribe<B>(checks: &Arc<Checks>, request: &Request<B>) -> Result<Response<Body>, Box<Answer>> {
    if request.method() != Method::GET {
        let mut answer = Answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "Events are for GET.");
        answer
            .headers
            .insert(ALLOW, HeaderValue::from_static("GET"));
        return Err(Box::new(answer));
    }
    let missing = || {
        let detail = "There is no such key.";
        Box::new(Answer::refusal(StatusCode::NOT_FOUND, detail))
    };
    let id = request.uri().path().strip_prefix(PATH);
    let id: KeyId = id.and_then(|id| id.parse().ok()).ok_or_else(missing)?;
    let full = || {
        let detail = "There are more streams than this host keeps.";
        let mut answer = Answer::refusal(StatusCode::SERVICE_UNAVAILABLE, detail);
        let seconds = HeaderValue::from_static(RETRY_AFTER_SECONDS);
        answer.headers.insert(RETRY_AFTER, seconds);
        Box::new(answer)
    };
    let place = Arc::clone(&checks.streams().0).try_acquire_owned();
    let place = place.map_err(|_| full())?;
    let watch = checks.authorizer().watch(&id).ok_or_else(missing)?;
    let stream = Stream::new(Arc::clone(checks), id, watch, place);
    let end = stream.end(checks.now());
    match end {
        // Of a registry that is too old not even this is known.
        Some(End::Key(KeyEnd::Gone)) => Err(missing()),
        Some(_) if was_told(request.headers()) => Ok(nothing_more()),
        _ => Ok(events(stream)),
    }
}

/// Whether the client comes back after it was told that the key has ended.
fn was_told(headers: &HeaderMap) -> bool {
    let last = headers.get(LAST_EVENT_ID);
    last.is_some_and(|id| id.as_bytes() == ENDED.as_bytes())
}

/// What keeps a client from asking again.
fn nothing_more() -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn events(stream: Stream) -> Response<Body> {
    let mut response = Response::new(Either::Right(tonic::body::Body::new(stream)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Why nothing may be held open in a key's name any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Somebody ended it.
    Key(KeyEnd),
    /// Its time is over: its expiry, or its grace period.
    Time,
    /// What is known of it is too old.
    Stale,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Key(KeyEnd::Revoked) => "revoked",
            Self::Key(KeyEnd::Suspended) => "suspended",
            Self::Key(KeyEnd::Gone) => "gone",
            Self::Time => "expired",
            Self::Stale => STALE,
        }
    }
}

/// What comes next on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    First,
    Look,
    Nothing,
}

/// The events of one key, as a body.
struct Stream {
    checks: Arc<Checks>,
    key: KeyId,
    watch: KeyWatch,
    look: Interval,
    looks: u32,
    next: Next,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    fn new(checks: Arc<Checks>, key: KeyId, watch: KeyWatch, place: OwnedSemaphorePermit) -> Self {
        checks.metrics().streams.inc();
        let mut look = interval(Duration::from_millis(LOOK_INTERVAL_MS));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            checks,
            key,
            watch,
            look,
            looks: 0,
            next: Next::First,
            _place: place,
        }
    }

    /// How the key has ended; `None`: it has not.
    fn end(&self, now: Timestamp) -> Option<End> {
        if self.checks.authorizer().is_stale() {
            return Some(End::Stale);
        }
        if let Some(end) = self.watch.end() {
            return Some(End::Key(end));
        }
        let ends_at = self.watch.ends_at();
        ends_at.is_some_and(|end| end <= now).then_some(End::Time)
    }

    fn held(&self) -> Bytes {
        let ends_at = self.watch.ends_at().map(|end| end.to_string());
        let data = json!({ "key": self.key.to_string(), "ends_at": ends_at });
        Bytes::from(format!("event: held\ndata: {data}\n\n"))
    }

    fn ended(&self, end: End, now: Timestamp) -> Bytes {
        let data = json!({
            "key": self.key.to_string(),
            "cause": end.as_str(),
            "at": now.to_string(),
        });
        Bytes::from(format!("event: ended\nid: {ENDED}\ndata: {data}\n\n"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.checks.metrics().streams.dec();
    }
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let frame = |bytes| Poll::Ready(Some(Ok(Frame::data(bytes))));
        loop {
            if this.next == Next::Nothing || !this.checks.is_ready() {
                return Poll::Ready(None);
            }
            let now = this.checks.now();
            if let Some(end) = this.end(now) {
                this.next = Next::Nothing;
                return frame(this.ended(end, now));
            }
            if this.next == Next::First {
                this.next = Next::Look;
                return frame(this.held());
            }
            // Ready is what `end` will say.
            if Pin::new(&mut this.watch).poll(context).is_ready() {
                continue;
            }
            ready!(this.look.poll_tick(context));
            this.looks = this.looks.saturating_add(1);
            if this.looks >= LOOKS_UNTIL_COMMENT {
                this.looks = 0;
                return frame(Bytes::from_static(b":\n\n"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
