//! Profiles: how each kind of gateway says what it asks about.
//!
//! The profile is chosen by the path of the check URL alone, so that nothing a client sends can
//! choose another. It reads its own headers and no others: which header holds the original method
//! or URI is never found out by looking which of them is there.

pub mod authzen;
mod envoy;
mod forward;
#[cfg(feature = "serve")]
pub mod grpc;
mod nginx;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};

use crate::address::Address;
use crate::client::Client;
use crate::credential::Presented;
use crate::request::{
    AccessRequest, AttributeValue, REQUEST_ID_MAX_BYTES, RequestError, RequestParts,
};
use crate::route::authority::normal_host;
use crate::timestamp::Timestamp;

use super::client::{self, Trust};
use super::credential::{CredentialHeaders, Place};

/// The path of Envoy's gRPC service.
const GRPC_PATH: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Headers of one connection, which say nothing of the request. What `Connection` names is not left
/// out: gateways differ in whether they pass it on, and a client must not hide a header from a
/// policy that way.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What the names of the headers that identify a key begin with.
pub(super) const KEYWARD_PREFIX: &str = "x-keyward-";

/// How a gateway asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `/access/v1/evaluation`: one evaluation of OpenID AuthZEN 1.0.
    AuthzenOne,
    /// `/access/v1/evaluations`: several.
    AuthzenMany,
    /// No call of a gateway: the request itself, where a [service](super::embedded) has keyward in
    /// it.
    Embedded,
    /// `/check/envoy/…`: Envoy's ext_authz over HTTP. The original path follows the prefix.
    Envoy,
    /// `/check/forward`: Traefik, Caddy, APISIX and whoever sends `X-Forwarded-*`.
    Forward,
    /// Envoy's ext_authz over gRPC.
    Grpc,
    /// `/check/nginx`: nginx and ingress-nginx, which send `X-Original-*`.
    Nginx,
}

/// What is the same for every request of one listener.
#[derive(Clone, Debug, Default)]
pub struct CheckSettings {
    /// Who is believed about the client's address.
    pub trust: Trust,
    /// Where the credential stands.
    pub credential: CredentialHeaders,
    /// Headers that gateways add for keyward alone, such as a shared secret. No policy sees them.
    pub private: Vec<HeaderName>,
}

/// The head of a call over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its target.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The address of the socket's peer; `None` for a Unix socket.
    pub peer: Option<Address>,
}

/// What a gateway asks about.
#[derive(Clone)]
pub struct Asked {
    /// What an answer has to know of it.
    pub origin: Origin,
    /// The caller's own name for the request: its `X-Request-Id`, where that can be one.
    pub id: Option<String>,
    /// The credential.
    pub presented: Presented,
    /// The original request's method.
    pub method: String,
    /// The original request's host, with or without port.
    pub host: String,
    /// The original request's path and query, as they came.
    pub target: Vec<u8>,
    /// The client's headers, without those of the profile, of the connection and of credentials.
    pub headers: Vec<(String, String)>,
    /// Where it came from.
    pub client: Arc<Client>,
    /// Attributes. Only AuthZEN gives any.
    pub attributes: BTreeMap<String, AttributeValue>,
    /// The scope that is required in place of the route table's. Only AuthZEN gives one.
    pub required_scope: Option<String>,
}

/// What an answer has to know of the call that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// How it was asked.
    pub profile: Profile,
    /// Where the credential stood.
    pub place: Option<Place>,
    /// Headers of the client that another server may read as the ones that identify a key, in lower
    /// case; more than those that are always taken away.
    pub aliases: Vec<String>,
}

/// A call that is no request: what is wrong with it. The decision is a denial with
/// [`RequestError::REASON`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// The original request, as a profile found it.
struct Original<'a> {
    profile: Profile,
    method: &'a str,
    /// `None`: the target names it.
    host: Option<&'a str>,
    /// In origin form, or with scheme and authority before it.
    target: &'a [u8],
}

impl Profile {
    /// The profile of a check URL's path, and what follows the profile's own path: empty, or from a
    /// slash on. `None`: nothing is asked there.
    #[must_use]
    pub fn of(path: &str) -> Option<(Self, &str)> {
        let exact = match path {
            "/access/v1/evaluation" => Some(Self::AuthzenOne),
            "/access/v1/evaluations" => Some(Self::AuthzenMany),
            GRPC_PATH => Some(Self::Grpc),
            _ => None,
        };
        if let Some(exact) = exact {
            return Some((exact, ""));
        }
        let below = [
            ("/check/forward", Self::Forward),
            ("/check/nginx", Self::Nginx),
            ("/check/envoy", Self::Envoy),
        ];
        below.into_iter().find_map(|(prefix, profile)| {
            let rest = path.strip_prefix(prefix)?;
            (rest.is_empty() || rest.starts_with('/')).then_some((profile, rest))
        })
    }

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthzenOne => "authzen",
            Self::AuthzenMany => "authzen-batch",
            Self::Embedded => "embedded",
            Self::Envoy => "envoy",
            Self::Forward => "forward",
            Self::Grpc => "grpc",
            Self::Nginx => "nginx",
        }
    }

    /// Whether a header is the profile's own, and none of the client's. `name` in lower case.
    fn is_own(self, name: &str) -> bool {
        match self {
            Self::Forward => forward::OWN.contains(&name),
            Self::Nginx => nginx::OWN.contains(&name),
            Self::Envoy | Self::Grpc => {
                name.starts_with(envoy::OWN_PREFIX) || envoy::OWN.contains(&name)
            }
            Self::AuthzenOne | Self::AuthzenMany => true,
            Self::Embedded => false,
        }
    }
}

impl CheckSettings {
    /// What a call over HTTP asks about: [`Profile::Forward`], [`Profile::Nginx`] and
    /// [`Profile::Envoy`]. `None`: its path is none of theirs.
    ///
    /// # Errors
    /// [`Malformed`]: the original method, host or URI is missing, or two of them disagree.
    pub fn read(&self, head: Head<'_>) -> Option<Result<Asked, Malformed>> {
        let (profile, rest) = Profile::of(head.uri.path())?;
        match profile {
            Profile::Forward => Some(forward::read(head, self)),
            Profile::Nginx => Some(nginx::read(head, self)),
            Profile::Envoy => Some(envoy::read(head, rest, self)),
            Profile::AuthzenOne | Profile::AuthzenMany | Profile::Embedded | Profile::Grpc => None,
        }
    }

    /// What a request asks about that comes from the client itself.
    ///
    /// # Errors
    /// [`Malformed`]: its host is missing, or there are two.
    pub fn read_embedded(&self, head: Head<'_>, client: Client) -> Result<Asked, Malformed> {
        let target = head.uri.path_and_query();
        let target = target.map_or(&b""[..], |it| it.as_str().as_bytes());
        self.read_target(head, target, client)
    }

    /// As [`read_embedded`](Self::read_embedded), with the target as the client sent it, which a
    /// `Uri` cannot always say.
    ///
    /// # Errors
    /// [`Malformed`]: its host is missing, or there are two.
    pub fn read_target(
        &self,
        head: Head<'_>,
        target: &[u8],
        client: Client,
    ) -> Result<Asked, Malformed> {
        let original = Original {
            profile: Profile::Embedded,
            method: head.method.as_str(),
            host: host_of(head)?,
            target,
        };
        self.asked(&original, head.headers, client)
    }

    /// What is the same for every profile, once the original request is found.
    fn asked(
        &self,
        original: &Original<'_>,
        headers: &HeaderMap,
        client: Client,
    ) -> Result<Asked, Malformed> {
        let (authority, target) = split_target(original.target)?;
        let host = match (authority, original.host.filter(|host| !host.is_empty())) {
            (Some(authority), None) => authority,
            (None, Some(host)) => host,
            (Some(authority), Some(host)) if is_same_host(authority, host) => host,
            (Some(_), Some(_)) => return Err(Malformed("the original request names two hosts")),
            (None, None) => return Err(Malformed("the original host is missing")),
        };
        let (presented, place) = self.credential.read(headers, target);
        let profile = original.profile;
        Ok(Asked {
            origin: Origin {
                profile,
                place,
                aliases: aliases(headers),
            },
            id: request_id(headers),
            presented,
            method: original.method.to_owned(),
            host: host.to_owned(),
            target: target.to_vec(),
            headers: self.of_client(profile, headers),
            client: Arc::new(client),
            attributes: BTreeMap::new(),
            required_scope: None,
        })
    }

    /// The headers that policies may ask for. Bytes that are no text become U+FFFD.
    fn of_client(&self, profile: Profile, headers: &HeaderMap) -> Vec<(String, String)> {
        let is_left_out = |name: &HeaderName| {
            let text = name.as_str();
            HOP_BY_HOP.contains(&text)
                || crate::request::CREDENTIAL_HEADERS.contains(&text)
                || self.credential.is_one_of(name)
                || self.trust.header.name() == name
                || self.private.contains(name)
                || profile.is_own(text)
                || is_alias(text)
        };
        let kept = headers.iter().filter(|(name, _)| !is_left_out(name));
        let owned = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), value.into_owned())
        };
        kept.map(owned).collect()
    }
}

impl Asked {
    /// The access request, made at `now`.
    ///
    /// # Errors
    /// [`RequestError`]: a part of it is what no request may have.
    pub fn into_request(self, now: Timestamp) -> Result<AccessRequest, RequestError> {
        AccessRequest::new(RequestParts {
            id: self.id,
            time: now,
            presented: self.presented,
            method: self.method,
            host: self.host,
            target: self.target,
            headers: self.headers,
            source: self.client.address,
            client: Some(self.client),
            attributes: self.attributes,
            required_scope: self.required_scope,
        })
    }
}

impl Origin {
    /// The origin of a call that was malformed.
    #[must_use]
    pub const fn of(profile: Profile) -> Self {
        Self {
            profile,
            place: None,
            aliases: Vec::new(),
        }
    }

    /// The origin of a call.
    pub(super) fn of_call(profile: Profile, asked: &Result<Asked, Malformed>) -> Self {
        let asked = asked.as_ref();
        asked.map_or_else(|_| Self::of(profile), |asked| asked.origin.clone())
    }
}

impl std::fmt::Debug for Asked {
    /// No header, target or attribute: any may hold a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked")
            .field("origin", &self.origin)
            .field("id", &self.id)
            .field("method", &self.method)
            .field("host", &self.host)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// The access request of a call, made at `now`. One that cannot be read is denied by its own
/// problem; `client` says then where it came from, as far as that is known.
#[must_use]
pub fn access_request(
    asked: Result<Asked, Malformed>,
    client: Option<Client>,
    now: Timestamp,
) -> AccessRequest {
    let (problem, client) = match asked {
        Ok(asked) => {
            let client = Arc::clone(&asked.client);
            match asked.into_request(now) {
                Ok(request) => return request,
                Err(error) => (malformed(&error), Some(client)),
            }
        }
        Err(problem) => (problem, client.map(Arc::new)),
    };
    AccessRequest::malformed(now, problem.0, client)
}

/// What cannot be a request, in the words of the log.
fn malformed(error: &RequestError) -> Malformed {
    Malformed(match error {
        RequestError::Headers | RequestError::HeaderName | RequestError::HeaderValue(_) => {
            "its headers are more, larger or others than a request may have"
        }
        RequestError::Host(_) => "its host is none",
        RequestError::Method(_) => "its method is none",
        RequestError::AttributeOfHost
        | RequestError::Attributes
        | RequestError::Client
        | RequestError::Id
        | RequestError::IdIsCredential
        | RequestError::Json(_)
        | RequestError::RequiredScope => "a part of it is what no request may have",
    })
}

/// The name of a request: its `X-Request-Id`, when there is one, in visible ASCII, of at most
/// [`REQUEST_ID_MAX_BYTES`] bytes, that does not look like a credential. Another is none: a name is
/// for finding a decision again and no reason to deny.
#[must_use]
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all("x-request-id").iter();
    let (id, None) = (values.next()?.to_str().ok()?, values.next()) else {
        return None;
    };
    let is_sane = (1..=REQUEST_ID_MAX_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_graphic())
        && !id.contains("kw_");
    is_sane.then(|| id.to_owned())
}

/// The value of a header that a gateway sets once. The same value twice is one.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a [u8]>, Malformed> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.any(|value| Some(value) != first) {
        return Err(Malformed("a header of the gateway has two values"));
    }
    Ok(first
        .map(HeaderValue::as_bytes)
        .filter(|value| !value.is_empty()))
}

/// Like [`one`], for a value that is text.
fn one_text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Malformed> {
    let text = |value| std::str::from_utf8(value);
    let value = one(headers, name)?.map(text).transpose();
    value.map_err(|_| Malformed("a header of the gateway is not text"))
}

/// The host of a call: its `Host`, or over HTTP/2 what stands in its target.
fn host_of<'a>(head: Head<'a>) -> Result<Option<&'a str>, Malformed> {
    let host = one_text(head.headers, header::HOST.as_str())?;
    match (host, head.uri.authority().map(http::uri::Authority::as_str)) {
        (Some(host), Some(authority)) if !is_same_host(host, authority) => {
            Err(Malformed("the original request names two hosts"))
        }
        (host, authority) => Ok(host.or(authority)),
    }
}

/// A target without scheme and authority, and the authority. A client may write the whole URI to a
/// proxy (RFC 9112 §3.2.2), and some gateways hand it on as written.
fn split_target(target: &[u8]) -> Result<(Option<&str>, &[u8]), Malformed> {
    let after_scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find_map(|scheme| {
            let (given, rest) = target.split_at_checked(scheme.len())?;
            given.eq_ignore_ascii_case(scheme).then_some(rest)
        });
    let Some(rest) = after_scheme else {
        return Ok((None, target));
    };
    // Another character than a slash ends the authority for some readers and not for others.
    let is_end = |byte: &u8| !(byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte));
    let end = rest.iter().position(is_end);
    match end.and_then(|end| rest.split_at_checked(end)) {
        Some((authority, target @ [b'/', ..])) if !authority.is_empty() => {
            let authority = std::str::from_utf8(authority).unwrap_or_default();
            Ok((Some(authority), target))
        }
        _ => Err(Malformed("the original URI has no path behind its host")),
    }
}

fn is_same_host(one: &str, other: &str) -> bool {
    let one = normal_host(one);
    one.is_ok() && one == normal_host(other)
}

/// Whether a server that takes `_` or `.` for `-` reads a header as one that identifies a key.
fn is_alias(name: &str) -> bool {
    let mut bytes = name.bytes();
    KEYWARD_PREFIX.bytes().all(|expected| {
        let same = |byte| matches!(byte, b'_' | b'.') && expected == b'-' || byte == expected;
        bytes.next().is_some_and(same)
    })
}

/// The headers of a client that would be read as ones that identify a key.
fn aliases(headers: &HeaderMap) -> Vec<String> {
    let names = headers.keys().map(HeaderName::as_str);
    names
        .filter(|name| is_alias(name))
        .map(str::to_owned)
        .collect()
}

/// The client of a call over HTTP.
pub(super) fn client_of(head: Head<'_>, settings: &CheckSettings) -> Client {
    client::client(head.peer, head.headers, &settings.trust)
}

#[cfg(test)]
pub(crate) mod tests;
