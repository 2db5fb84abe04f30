//! An API gateway with keyward in it: pingora, whose `request_filter` asks before anything goes to
//! the upstream.
//!
//! ```sh
//! keyward init demo && cd demo
//! cargo run --manifest-path …/host/examples/pingora/Cargo.toml -- \
//!     keyward.toml 127.0.0.1:8080 127.0.0.1:9000
//! curl -i http://127.0.0.1:8080/inventory/42 -H 'Host: api.example.com' -H 'X-API-Key: kw_…'
//! ```
//!
//! It listens at the first address and passes on to the second. Which keys, routes and policies
//! there are, and which proxies are trusted, `keyward.toml` says as it does for `keyward serve`.
#![expect(clippy::print_stderr, reason = "it talks to a person")]

mod host;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use keyward::clock::now;
use keyward::config::Config;
use keyward::serve::embedded::{EmbeddedCheck, EmbeddedOptions, HeaderChanges, Peer};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::HttpPeer;
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::{Error, ErrorType, Result};

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(config), Some(listen), Some(upstream)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: keyward-pingora keyward.toml LISTEN_ADDRESS UPSTREAM_ADDRESS".into());
    };
    let config = Config::load(config.as_ref())?;
    let (authorizer, keys) = host::authorizer(&config)?;
    host::follow(keys);
    let mut options = EmbeddedOptions::new(now);
    if let Some(server) = &config.server {
        options.check.trust.networks = server.trusted_proxies.clone();
    }
    let gateway = Gateway {
        check: EmbeddedCheck::new(Arc::new(authorizer), options),
        upstream: upstream.parse()?,
    };
    let mut server = Server::new(None)?;
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, gateway);
    proxy.add_tcp(&listen);
    server.add_service(proxy);
    server.run_forever()
}

/// Passes on what keyward allows.
struct Gateway {
    check: EmbeddedCheck,
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// `None`: nobody has allowed the request.
    type CTX = Option<HeaderChanges>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    /// Decides, and answers what may not pass.
    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        let peer = match session.client_addr() {
            Some(PeerAddress::Inet(address)) => Peer::At(address.ip()),
            Some(PeerAddress::Unix(_)) => Peer::Unix,
            None => Peer::Unknown,
        };
        let head = session.req_header();
        // The target as it came: it goes to the upstream like that, and need not be text.
        let answer = match self.check.check_target(head, head.raw_path(), peer) {
            Ok((_allowed, changes)) => {
                *ctx = Some(changes);
                return Ok(false);
            }
            Err(answer) => answer,
        };
        let (head, body) = answer.into_response::<Vec<u8>>().into_parts();
        let mut head = ResponseHeader::from(head);
        head.set_content_length(body.len())?;
        session.write_error_response(head, body.into()).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }

    /// Takes the credential away, and says whose the request is.
    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        let Some(changes) = ctx else {
            return Error::e_explain(ErrorType::HTTPStatus(403), "nobody has allowed it");
        };
        for name in &changes.removed {
            request.remove_header(name);
        }
        for (name, value) in &changes.for_upstream {
            request.insert_header(name, value)?;
        }
        Ok(())
    }

    /// Tells the holder of a key that it is near its end.
    async fn response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        for (name, value) in ctx.iter().flat_map(|changes| &changes.for_client) {
            response.insert_header(name, value)?;
        }
        Ok(())
    }
}
