//! Envoy's ext_authz over gRPC: from a `CheckRequest` to what it asks about, and from an answer to
//! a `CheckResponse`.
//!
//! The peer is `source.address`, the address from which Envoy was called: who may call the service
//! and say so is settled before. Behind another proxy the trusted networks and the forwarding
//! header apply to it as to any peer.

use envoy_types::ext_authz::v3::pb::{
    Address as EnvoyAddress, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderAppendAction,
    HeaderValue as EnvoyHeader, HeaderValueOption, HttpResponse, HttpStatus, OkHttpResponse,
};
use envoy_types::pb::envoy::service::auth::v3::AttributeContext;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::google::rpc;
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::client::Client;

use super::super::answer::{Answer, FOR_UPSTREAM, to_remove};
use super::super::client::client;
use super::super::credential::Place;
use super::{Asked, CheckSettings, Malformed, Origin, Original, Profile, is_same_host};

/// The most header lines of a `CheckRequest`.
pub const HEADER_LINES_MAX: usize = 1_024;

/// What a check asks about.
///
/// # Errors
/// [`Malformed`]: the original method, host or path is missing, or two of them disagree.
pub fn read(check: &CheckRequest, settings: &CheckSettings) -> Result<Asked, Malformed> {
    let attributes = check.attributes.as_ref();
    let attributes = attributes.ok_or(Malformed("`attributes` is missing"))?;
    let http = attributes.request.as_ref().and_then(|it| it.http.as_ref());
    let http = http.ok_or(Malformed("`attributes.request.http` is missing"))?;
    let headers = read_headers(http)?;
    let required = |text: &'_ str, missing| match text {
        "" => Err(Malformed(missing)),
        _ => Ok(()),
    };
    required(&http.method, "`attributes.request.http.method` is missing")?;
    required(&http.path, "`attributes.request.http.path` is missing")?;
    let original = Original {
        profile: Profile::Grpc,
        method: &http.method,
        host: Some(&http.host),
        target: http.path.as_bytes(),
    };
    let client = read_client(attributes, &headers, settings)?;
    settings.asked(&original, &headers, client)
}

/// The headers, from the one of two fields that Envoy fills. Pseudo-headers say again what the
/// other fields say, and have to say the same.
fn read_headers(http: &HttpRequest) -> Result<HeaderMap, Malformed> {
    let raw = http.header_map.as_ref().map_or(&[][..], |map| &map.headers);
    if !raw.is_empty() && !http.headers.is_empty() {
        return Err(Malformed("both `headers` and `header_map` are filled"));
    }
    if raw.len() > HEADER_LINES_MAX || http.headers.len() > HEADER_LINES_MAX {
        return Err(Malformed(
            "there are more header lines than a request may have",
        ));
    }
    let mut headers = HeaderMap::with_capacity(raw.len().max(http.headers.len()));
    let mut add = |name: &str, value: &[u8]| {
        if let Some(pseudo) = name.strip_prefix(':') {
            return check_pseudo(http, pseudo, value);
        }
        let name = HeaderName::from_bytes(name.as_bytes()).ok();
        let value = HeaderValue::from_bytes(value).ok();
        let added = name
            .zip(value)
            .map(|(name, value)| headers.try_append(name, value));
        match added {
            Some(Ok(_)) => Ok(()),
            _ => Err(Malformed("a header is none")),
        }
    };
    for header in raw {
        let is_raw = header.value.is_empty();
        let value = if is_raw {
            &header.raw_value
        } else {
            header.value.as_bytes()
        };
        add(&header.key, value)?;
    }
    for (name, value) in &http.headers {
        add(name, value.as_bytes())?;
    }
    Ok(headers)
}

fn check_pseudo(http: &HttpRequest, name: &str, value: &[u8]) -> Result<(), Malformed> {
    let is_same = match name {
        "method" => http.method.as_bytes() == value,
        "path" => http.path.as_bytes() == value,
        "authority" => {
            let value = std::str::from_utf8(value).unwrap_or_default();
            http.host == value || is_same_host(&http.host, value)
        }
        _ => true,
    };
    is_same
        .then_some(())
        .ok_or(Malformed("a pseudo-header disagrees with its field"))
}

/// Where the request came from. A pipe is a Unix socket at which Envoy listens; without a source
/// nothing is known, whatever headers say.
fn read_client(
    attributes: &AttributeContext,
    headers: &HeaderMap,
    settings: &CheckSettings,
) -> Result<Client, Malformed> {
    let source = attributes
        .source
        .as_ref()
        .and_then(|it| it.address.as_ref());
    let peer = match source.and_then(|it| it.address.as_ref()) {
        Some(EnvoyAddress::SocketAddress(socket)) => {
            let peer = socket.address.parse();
            Some(peer.map_err(|_| Malformed("`attributes.source` is not an address"))?)
        }
        Some(EnvoyAddress::Pipe(_)) => None,
        Some(EnvoyAddress::EnvoyInternalAddress(_)) | None => return Ok(Client::default()),
    };
    Ok(client(peer, headers, &settings.trust))
}

/// An answer as Envoy takes it. Every denial is a *denied* response, never an *error*, also that of
/// a host that cannot record: `failure_mode_allow` cannot make an allow of it.
#[must_use]
pub fn respond(answer: &Answer, origin: &Origin, settings: &CheckSettings) -> CheckResponse {
    let (code, response) = match answer.status {
        StatusCode::OK => (rpc::Code::Ok, allowed(answer, origin, settings)),
        status => (code_of(status), denied(answer)),
    };
    CheckResponse {
        status: Some(rpc::Status {
            code: code.into(),
            ..rpc::Status::default()
        }),
        dynamic_metadata: None,
        http_response: Some(response),
    }
}

/// The code of a denial, beside the status that the client gets.
fn code_of(status: StatusCode) -> rpc::Code {
    match status {
        StatusCode::UNAUTHORIZED => rpc::Code::Unauthenticated,
        StatusCode::TOO_MANY_REQUESTS => rpc::Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => rpc::Code::Unavailable,
        _ => rpc::Code::PermissionDenied,
    }
}

fn allowed(answer: &Answer, origin: &Origin, settings: &CheckSettings) -> HttpResponse {
    let (upstream, client): (Vec<_>, Vec<_>) = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != http::header::CACHE_CONTROL)
        .partition(|(name, _)| FOR_UPSTREAM.contains(&name.as_str()));
    let in_query = settings.credential.query.iter();
    let in_query = in_query.filter(|_| origin.place == Some(Place::Query));
    HttpResponse::OkResponse(OkHttpResponse {
        headers: upstream.into_iter().map(header).collect(),
        headers_to_remove: to_remove(origin, &settings.credential),
        response_headers_to_add: client.into_iter().map(header).collect(),
        query_parameters_to_remove: in_query.cloned().collect(),
        ..OkHttpResponse::default()
    })
}

fn denied(answer: &Answer) -> HttpResponse {
    HttpResponse::DeniedResponse(DeniedHttpResponse {
        status: Some(HttpStatus {
            code: answer.status.as_u16().into(),
        }),
        headers: answer.headers.iter().map(header).collect(),
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    })
}

/// A header that takes the place of any that is there.
fn header((name, value): (&HeaderName, &HeaderValue)) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(EnvoyHeader {
            key: name.as_str().to_owned(),
            // Answers have visible ASCII alone.
            value: value.to_str().unwrap_or_default().to_owned(),
            raw_value: Vec::new(),
        }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

#[cfg(test)]
mod tests;
