//! The stack of `keyward serve` with nothing behind it: what a check costs is measured against it.
//!
//! It answers every HTTP request with an empty 200 and every gRPC check with an empty OK, on the
//! address that it is given.

use std::convert::Infallible;
use std::num::NonZero;

use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse,
};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use mimalloc::MiMalloc;
use tokio::net::TcpListener;
use tonic::codegen::Service as _;

#[path = "../src/serve/executor.rs"]
mod executor;

use executor::PollOnceExecutor;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type Body = Either<Empty<Bytes>, tonic::body::Body>;

struct EmptyCheck;

#[tonic::async_trait]
impl Authorization for EmptyCheck {
    async fn check(
        &self,
        _: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        Ok(tonic::Response::new(CheckResponse::default()))
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    if request.uri().path().starts_with("/envoy.service") {
        let response = AuthorizationServer::new(EmptyCheck).call(request).await?;
        return Ok(response.map(Either::Right));
    }
    let _drained = request.into_body().collect().await;
    Ok(Response::new(Either::Left(Empty::new())))
}

async fn serve(address: String) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let mut builder = Builder::new(PollOnceExecutor);
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let builder = builder.clone();
        tokio::spawn(async move {
            let service = service_fn(answer);
            drop(
                builder
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8181".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.saturating_add(1))
        .enable_all()
        .build()?
        .block_on(serve(address))
}
