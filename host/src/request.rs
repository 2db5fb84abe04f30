//! An access request: one use of a key, parsed once and bounded, whichever way it came in.
//!
//! Everything that a policy can ask about a request is here in the one form that the interface
//! promises: method in upper case, host in lower case and without port, canonical path, header
//! names in lower case. What no request may hold is refused when it is made, so that nothing behind
//! this module has to check again. The headers that carry credentials are dropped on the way in.
//!
//! Out of scope: whose address counts and which headers of a gateway are read, which the adapters
//! decide before they build [`RequestParts`].

pub mod json;
pub mod lines;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::address::Address;
use crate::client::{CHAIN_ENTRY_MAX_BYTES, CHAIN_MAX_ENTRIES, Client};
use crate::credential::Presented;
use crate::decision::trace::Answer;
use crate::route::authority::{HostError, MethodError, is_header_name, normal_host, normal_method};
use crate::route::path::{CanonicalPath, PathRefusal};
use crate::timestamp::Timestamp;
use crate::usage;

/// The longest name that a caller gives a request, in bytes.
pub const REQUEST_ID_MAX_BYTES: usize = 256;
/// The longest scope that a caller requires in place of the route table's, in bytes. More than a
/// scope can have, so that the scope policy is the one to call it malformed.
pub const REQUIRED_SCOPE_MAX_BYTES: usize = 1_024;
/// The most header names of a request.
pub const HEADERS_MAX: usize = 128;
/// The most bytes of header names and values together.
pub const HEADERS_MAX_BYTES: usize = 32 * 1024;
/// The most attributes of a request.
pub const ATTRIBUTES_MAX: usize = 64;
/// The most bytes of attribute names and values together.
pub const ATTRIBUTES_MAX_BYTES: usize = 16 * 1024;
/// Headers that hold a credential and therefore never reach a policy, a log or a trace.
pub const CREDENTIAL_HEADERS: [&str; 4] = [
    "authorization",
    "cookie",
    "proxy-authorization",
    "x-api-key",
];

/// What a request is made of, as an adapter found it. Nothing is normalised yet.
#[derive(Clone)]
pub struct RequestParts {
    /// The caller's own name for the request, at most [`REQUEST_ID_MAX_BYTES`].
    pub id: Option<String>,
    /// When it was made: the only clock that policies see.
    pub time: Timestamp,
    /// The credential, or why there is none.
    pub presented: Presented,
    /// The method, in any case.
    pub method: String,
    /// The host, with or without port; empty where unknown.
    pub host: String,
    /// The request target: a path, and a query that is dropped. A path that is refused does not
    /// make the request an error: the decision denies it with the refusal's reason.
    pub target: Vec<u8>,
    /// Headers in order; a name in any case, and as often as it came. An adapter that takes the
    /// credential from a header other than [`CREDENTIAL_HEADERS`] leaves that header out.
    pub headers: Vec<(String, String)>,
    /// The client's address; `None`: it could not be established.
    pub source: Option<Address>,
    /// Where it came from, for the log alone; its address is `source`. `None`: nothing is recorded
    /// of it, as for requests from files.
    pub client: Option<Arc<Client>>,
    /// Open attributes, for example `geo.country`; none that begins with [`usage::PREFIX`].
    pub attributes: BTreeMap<String, AttributeValue>,
    /// Stands in for the scope of the route table.
    pub required_scope: Option<String>,
}

/// One use of a key. Cheap to clone.
#[derive(Clone)]
pub struct AccessRequest(Arc<Inner>);

/// The lines of all headers, by their names; the lines of one name in order.
type Headers = Vec<(String, String)>;

struct Inner {
    id: Option<Arc<str>>,
    time: Timestamp,
    presented: Presented,
    method: Arc<str>,
    host: Arc<str>,
    path: Result<CanonicalPath, PathRefusal>,
    // INVARIANT: names are in lower case and in order, and none is one of `CREDENTIAL_HEADERS`.
    headers: Headers,
    source: Option<Address>,
    // INVARIANT: within its limits.
    client: Option<Arc<Client>>,
    attributes: BTreeMap<Arc<str>, AttributeValue>,
    required_scope: Option<Arc<str>>,
    /// What could not be read of it; everything else is as good as not there.
    problem: Option<&'static str>,
}

/// The value of an open attribute. No floats: their bits are not deterministic in wasm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// An address.
    Address(Address),
    /// Yes or no.
    Flag(bool),
    /// An instant.
    Instant(Timestamp),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(Arc<str>),
    /// Several texts.
    Texts(Arc<[Arc<str>]>),
}

/// Why there is no request. Never holds a value of the request, which may be a secret in the wrong
/// place; names are held when they are too short to be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// An attribute that only the host can know.
    #[error(
        "attributes named `{}…` are counted by the host; leave them out",
        usage::PREFIX
    )]
    AttributeOfHost,
    /// More attributes, or larger ones, than a request may have.
    #[error(
        "more than {ATTRIBUTES_MAX} attributes, or more than {ATTRIBUTES_MAX_BYTES} bytes of them"
    )]
    Attributes,
    /// Where the request came from is not what `source` says, or is longer than it may be.
    #[error(
        "`client` has another address than `source`, or a chain of more than {CHAIN_MAX_ENTRIES} \
         entries of 1 to {CHAIN_ENTRY_MAX_BYTES} bytes"
    )]
    Client,
    /// A header name that is not a token.
    #[error("a header has a name that is none; one is letters, digits and `-`")]
    HeaderName,
    /// More headers, or larger ones, than a request may have.
    #[error("more than {HEADERS_MAX} headers, or more than {HEADERS_MAX_BYTES} bytes of them")]
    Headers,
    /// A header value with a control character.
    #[error("the header `{0}` has a value with a control character")]
    HeaderValue(String),
    /// The host is none.
    #[error("`host` is {0}")]
    Host(#[from] HostError),
    /// The name of the request is too long.
    #[error("`id` is longer than {REQUEST_ID_MAX_BYTES} bytes")]
    Id,
    /// The name of the request looks like a credential, which must not be recorded.
    #[error("`id` holds `kw_`, as a credential does; present a key as `credential`")]
    IdIsCredential,
    /// The line of JSON does not describe a request.
    #[error(transparent)]
    Json(#[from] json::JsonError),
    /// The method is none.
    #[error("`method` is {0}")]
    Method(#[from] MethodError),
    /// The required scope is too long.
    #[error("`required_scope` is longer than {REQUIRED_SCOPE_MAX_BYTES} bytes")]
    RequiredScope,
}

impl RequestParts {
    /// A request with nothing but what every request has: no host, header, address or attribute.
    pub fn new(
        time: Timestamp,
        presented: Presented,
        method: impl Into<String>,
        target: impl Into<Vec<u8>>,
    ) -> Self {
        Self {
            id: None,
            time,
            presented,
            method: method.into(),
            host: String::new(),
            target: target.into(),
            headers: Vec::new(),
            source: None,
            client: None,
            attributes: BTreeMap::new(),
            required_scope: None,
        }
    }
}

impl AccessRequest {
    /// Normalises the parts of a request and checks its bounds.
    ///
    /// # Errors
    /// [`RequestError`] names the part that no request may have. Over the network that is
    /// [`RequestError::REASON`].
    pub fn new(parts: RequestParts) -> Result<Self, RequestError> {
        let bounded = |text: Option<String>, max_bytes, error| match text {
            Some(text) if text.len() > max_bytes => Err(error),
            text => Ok(text.map(Arc::from)),
        };
        if parts.id.as_ref().is_some_and(|id| id.contains("kw_")) {
            return Err(RequestError::IdIsCredential);
        }
        let is_sound =
            |client: &Arc<Client>| client.address == parts.source && client.is_within_limits();
        if !parts.client.as_ref().is_none_or(is_sound) {
            return Err(RequestError::Client);
        }
        Ok(Self(Arc::new(Inner {
            id: bounded(parts.id, REQUEST_ID_MAX_BYTES, RequestError::Id)?,
            time: parts.time,
            presented: parts.presented,
            method: normal_method(&parts.method)?,
            host: normal_host(&parts.host)?,
            path: CanonicalPath::parse_bytes(&parts.target),
            headers: read_headers(parts.headers)?,
            source: parts.source,
            client: parts.client,
            attributes: read_attributes(parts.attributes)?,
            required_scope: bounded(
                parts.required_scope,
                REQUIRED_SCOPE_MAX_BYTES,
                RequestError::RequiredScope,
            )?,
            problem: None,
        })))
    }

    /// A request that could not be read, so that its denial is recorded like any other
    /// ([`RequestError::REASON`]). `problem` says what was wrong, and `client` where it came from,
    /// for the log only; a client that is not within its limits is left out.
    #[must_use]
    pub fn malformed(time: Timestamp, problem: &'static str, client: Option<Arc<Client>>) -> Self {
        let nothing: Arc<str> = "".into();
        Self(Arc::new(Inner {
            id: None,
            time,
            presented: Presented::None,
            method: Arc::clone(&nothing),
            host: nothing,
            path: CanonicalPath::parse_bytes(b""),
            headers: Headers::new(),
            source: None,
            client: client.filter(|client| client.is_within_limits()),
            attributes: BTreeMap::new(),
            required_scope: None,
            problem: Some(problem),
        }))
    }

    /// What could not be read of it; `None`: it is a request.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        self.0.problem
    }

    /// The caller's own name for the request.
    #[must_use]
    pub fn id(&self) -> Option<&Arc<str>> {
        self.0.id.as_ref()
    }

    /// When it was made.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.0.time
    }

    /// The credential, or why there is none.
    #[must_use]
    pub fn presented(&self) -> &Presented {
        &self.0.presented
    }

    /// The method, in upper case.
    #[must_use]
    pub fn method(&self) -> &Arc<str> {
        &self.0.method
    }

    /// The host in lower case, without port; empty where the request names none.
    #[must_use]
    pub fn host(&self) -> &Arc<str> {
        &self.0.host
    }

    /// The canonical path, or why there is none, which denies.
    ///
    /// # Errors
    /// [`PathRefusal`]: the path has no reading, or more than one.
    pub fn path(&self) -> Result<&CanonicalPath, PathRefusal> {
        self.0.path.as_ref().map_err(|refusal| *refusal)
    }

    /// All values of a header, in order; none where there is no such header. `name` in lower case.
    /// One of [`CREDENTIAL_HEADERS`] never has a value.
    #[must_use]
    pub fn header(&self, name: &str) -> Arc<[Arc<str>]> {
        let headers = &self.0.headers;
        let begin = headers.partition_point(|(it, _)| it.as_str() < name);
        let lines = headers.iter().skip(begin);
        let lines = lines.take_while(|(it, _)| it == name);
        lines.map(|(_, value)| Arc::from(value.as_str())).collect()
    }

    /// The client's address; `None`: it could not be established.
    #[must_use]
    pub fn source(&self) -> Option<Address> {
        self.0.source
    }

    /// Where it came from, as the log records it; `None`: nobody has said.
    #[must_use]
    pub fn client(&self) -> Option<&Arc<Client>> {
        self.0.client.as_ref()
    }

    /// An open attribute; [`Answer::Absent`] where it has no value.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Answer {
        self.0
            .attributes
            .get(name)
            .map_or(Answer::Absent, Answer::from)
    }

    /// The scope that the caller requires in place of the route table's.
    #[must_use]
    pub fn required_scope(&self) -> Option<&Arc<str>> {
        self.0.required_scope.as_ref()
    }
}

impl RequestError {
    /// The reason of the denial, where a request that cannot be made has to be answered.
    pub const REASON: &'static str = "request.malformed";
}

impl fmt::Debug for AccessRequest {
    /// What identifies the request. No header, attribute or credential: any may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessRequest")
            .field("id", &self.0.id)
            .field("time", &self.0.time)
            .field("method", &self.0.method)
            .field("host", &self.0.host)
            .field("path", &self.0.path)
            .field("source", &self.0.source)
            .field("required_scope", &self.0.required_scope)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RequestParts {
    /// As little as [`AccessRequest`] shows, and no target: it may hold a query with a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestParts")
            .field("id", &self.id)
            .field("time", &self.time)
            .field("method", &self.method)
            .field("host", &self.host)
            .field("source", &self.source)
            .field("required_scope", &self.required_scope)
            .finish_non_exhaustive()
    }
}

impl From<&AttributeValue> for Answer {
    fn from(value: &AttributeValue) -> Self {
        match value {
            AttributeValue::Address(address) => Self::Address(*address),
            AttributeValue::Flag(flag) => Self::Flag(*flag),
            AttributeValue::Instant(instant) => Self::Instant(*instant),
            AttributeValue::Integer(integer) => Self::Integer(*integer),
            AttributeValue::Text(text) => Self::Text(Arc::clone(text)),
            AttributeValue::Texts(texts) => Self::Texts(Arc::clone(texts)),
        }
    }
}

impl AttributeValue {
    /// What it counts towards [`ATTRIBUTES_MAX_BYTES`], without the text's own overhead but with
    /// some for each text, so that many empty ones are bounded too.
    fn len_bytes(&self) -> usize {
        match self {
            Self::Flag(_) => 1,
            Self::Instant(_) | Self::Integer(_) => 8,
            Self::Address(_) => 16,
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(|text| text.len().saturating_add(4)).sum(),
        }
    }
}

/// Headers by name in lower case, without those that hold a credential. These count towards the
/// bounds like any other.
fn read_headers(mut headers: Vec<(String, String)>) -> Result<Headers, RequestError> {
    let mut bytes = 0_usize;
    for (name, value) in &mut headers {
        // Each value counts as a line of its own, so that many empty ones are bounded too.
        bytes = bytes.saturating_add(name.len()).saturating_add(value.len());
        if bytes > HEADERS_MAX_BYTES {
            return Err(RequestError::Headers);
        }
        if !is_header_name(name) {
            return Err(RequestError::HeaderName);
        }
        name.make_ascii_lowercase();
        if value.chars().any(|it| it.is_control() && it != '\t') {
            return Err(RequestError::HeaderValue(json::shown(name)));
        }
    }
    // The lines of one name stay in their order.
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    let names = headers.chunk_by(|(one, _), (other, _)| one == other);
    if names.count() > HEADERS_MAX {
        return Err(RequestError::Headers);
    }
    headers.retain(|(name, _)| !CREDENTIAL_HEADERS.contains(&name.as_str()));
    Ok(headers)
}

/// Attributes, once their number and size are checked.
fn read_attributes(
    attributes: BTreeMap<String, AttributeValue>,
) -> Result<BTreeMap<Arc<str>, AttributeValue>, RequestError> {
    let bytes: usize = attributes
        .iter()
        .map(|(name, value)| name.len().saturating_add(value.len_bytes()))
        .sum();
    if attributes
        .keys()
        .any(|name| name.starts_with(usage::PREFIX))
    {
        return Err(RequestError::AttributeOfHost);
    }
    if attributes.len() > ATTRIBUTES_MAX || bytes > ATTRIBUTES_MAX_BYTES {
        return Err(RequestError::Attributes);
    }
    Ok(attributes
        .into_iter()
        .map(|(name, value)| (name.into(), value))
        .collect())
}

#[cfg(test)]
mod tests;
