//! Envoy's ext_authz over gRPC, on the same listeners.

use std::sync::Arc;

use envoy_types::ext_authz::v3::pb::{
    Authorization, AuthorizationServer, CheckRequest, CheckResponse,
};
use http::Request;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tonic::codegen::Service as _;

use super::check::{Body, Checks, whole};
use super::profile::{Profile, grpc};

/// The largest message that is read, in bytes: headers, and whatever body Envoy was told to add.
const MESSAGE_MAX_BYTES: usize = 256 * 1024;

/// What stands before a message of gRPC: whether it is compressed, and its length.
const FRAME_HEAD_BYTES: usize = 5;

/// The service behind one call.
#[derive(Debug)]
struct Grpc(Arc<Checks>);

/// Answers a call.
pub(super) async fn answer(
    checks: &Arc<Checks>,
    request: Request<Incoming>,
) -> http::Response<Body> {
    let server = AuthorizationServer::new(Grpc(Arc::clone(checks)));
    let mut server = server.max_decoding_message_size(MESSAGE_MAX_BYTES);
    let (head, body) = request.into_parts();
    // A message is one, and is here in time or not at all.
    let Ok(body) = whole(body, MESSAGE_MAX_BYTES.saturating_add(FRAME_HEAD_BYTES)).await else {
        let late =
            tonic::Status::resource_exhausted("the message is too large, too slow or not whole");
        return late
            .into_http()
            .map(|body: tonic::body::Body| Either::Right(body));
    };
    match server
        .call(Request::from_parts(head, Full::new(body)))
        .await
    {
        Ok(response) => response.map(Either::Right),
        Err(never) => match never {},
    }
}

#[tonic::async_trait]
impl Authorization for Grpc {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        let asked = grpc::read(request.get_ref(), &self.0.settings);
        let (answer, origin) = self.0.check(Profile::Grpc, asked, None).await;
        let response = grpc::respond(&answer, &origin, &self.0.settings);
        Ok(tonic::Response::new(response))
    }
}
