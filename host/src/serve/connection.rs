//! One connection: HTTP/1.1 or HTTP/2, bounded in every direction, ended in good order.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Response;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::caller::Channel;
use super::check::{Body, Checks, answer};
use super::events;
use super::executor::PollOnceExecutor;
use super::listen::Incoming;
use super::places::{Place, Unsent, Waiting, Watched};
use crate::address::Address;

/// How long a head may take to come, and a connection be silent, in seconds.
const HEAD_MAX_SECONDS: u64 = 75;
/// How long TLS may take to be agreed on, in seconds.
const HANDSHAKE_MAX_SECONDS: u64 = 10;
/// How large a head may be, in bytes, and how much is kept of what is not yet read.
const HEAD_MAX_BYTES: usize = 64 * 1024;
/// How many headers a request may have.
const HEADERS_MAX: usize = 128;
/// How many requests one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 256;
/// How many HTTP/2 streams may be reset before they were answered: what "rapid reset" does.
const RESETS_MAX: usize = 64;

/// What serves connections.
#[derive(Clone)]
pub(super) struct Connections {
    builder: Builder<PollOnceExecutor>,
    checks: Arc<Checks>,
    tls: Option<TlsAcceptor>,
}

impl Connections {
    pub(super) fn new(checks: Arc<Checks>, tls: Option<TlsAcceptor>) -> Self {
        let mut builder = Builder::new(PollOnceExecutor);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(HEAD_MAX_SECONDS))
            .max_buf_size(HEAD_MAX_BYTES)
            .max_headers(HEADERS_MAX)
            .half_close(false);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(u32::try_from(HEAD_MAX_BYTES).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(RESETS_MAX)
            .keep_alive_interval(Duration::from_secs(HEAD_MAX_SECONDS))
            .keep_alive_timeout(Duration::from_secs(HANDSHAKE_MAX_SECONDS));
        Self {
            builder,
            checks,
            tls,
        }
    }

    /// Serves a connection to its end. What its other side does wrong is its own loss.
    pub(super) async fn serve(self, incoming: Incoming, place: Place, graceful: Watcher) {
        let connected = place.connected();
        match incoming {
            Incoming::Unix(stream) => {
                let stream = connected.watch(stream);
                self.speak(stream, Channel::new(None), graceful).await;
            }
            Incoming::Tcp(stream, peer) => {
                let mut channel = Channel::new(Some(Address::new(peer.ip())));
                let Some(acceptor) = &self.tls else {
                    return self.speak(connected.watch(stream), channel, graceful).await;
                };
                let limit = Duration::from_secs(HANDSHAKE_MAX_SECONDS);
                if let Ok(Ok(stream)) = timeout(limit, acceptor.accept(stream)).await {
                    channel.is_private = true;
                    channel.has_certificate = stream.get_ref().1.peer_certificates().is_some();
                    self.speak(connected.watch(stream), channel, graceful).await;
                }
            }
        }
    }

    async fn speak<S>(&self, stream: Watched<S>, channel: Channel, graceful: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connected = Arc::clone(stream.connected());
        let service = service_fn(|request| {
            let checks = Arc::clone(&self.checks);
            let waiting = connected.begin();
            async move {
                let Some(waiting) = waiting else {
                    // The connection ends before this does.
                    return std::future::pending().await;
                };
                let answered = answer(&checks, channel, request).await;
                Ok::<_, Infallible>(Sent::of(answered, waiting))
            }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let _ended = graceful.watch(connection).await;
    }
}

/// What is sent, and what its connection is until it is taken.
struct Sent {
    body: Body,
    _until_taken: UntilTaken,
}

/// What a connection is while something is sent on it.
enum UntilTaken {
    Idle,
    /// Something is to be taken.
    Unsent {
        _one: Unsent,
    },
    /// A stream is open, on which nothing has to happen for long.
    Open {
        _request: Waiting,
    },
}

impl Sent {
    /// The body of an answer that somebody has waited for.
    fn of(answered: Response<Body>, waiting: Waiting) -> Response<Self> {
        let _until_taken = if events::is_stream(&answered) {
            UntilTaken::Open { _request: waiting }
        } else if answered.body().is_end_stream() {
            UntilTaken::Idle
        } else {
            let _one = waiting.connected().answer();
            UntilTaken::Unsent { _one }
        };
        answered.map(|body| Self { body, _until_taken })
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = <Body as HttpBody>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
