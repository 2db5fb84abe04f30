//! One connection: HTTP/1.1 or HTTP/2, bounded in every direction, ended in good order.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::caller::Channel;
use super::check::{Checks, answer};
use super::listen::Incoming;
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
    builder: Builder<TokioExecutor>,
    checks: Arc<Checks>,
    tls: Option<TlsAcceptor>,
}

impl Connections {
    pub(super) fn new(checks: Arc<Checks>, tls: Option<TlsAcceptor>) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
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
    pub(super) async fn serve(self, incoming: Incoming, graceful: Watcher) {
        match incoming {
            Incoming::Unix(stream) => self.speak(stream, Channel::new(None), graceful).await,
            Incoming::Tcp(stream, peer) => {
                let mut channel = Channel::new(Some(Address::new(peer.ip())));
                let Some(acceptor) = &self.tls else {
                    return self.speak(stream, channel, graceful).await;
                };
                let limit = Duration::from_secs(HANDSHAKE_MAX_SECONDS);
                if let Ok(Ok(stream)) = timeout(limit, acceptor.accept(stream)).await {
                    channel.is_private = true;
                    channel.has_certificate = stream.get_ref().1.peer_certificates().is_some();
                    self.speak(stream, channel, graceful).await;
                }
            }
        }
    }

    async fn speak<S>(&self, stream: S, channel: Channel, graceful: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request| {
            let checks = Arc::clone(&self.checks);
            async move { Ok::<_, Infallible>(answer(&checks, channel, request).await) }
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        let _ended = graceful.watch(connection).await;
    }
}
