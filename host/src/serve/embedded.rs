//! The check of a service that has keyward in it: the head of a request in, an answer or the
//! changes of its headers out.
//!
//! [`layer`](super::layer) is this for `tower`. A service that is none, such as a gateway in
//! pingora, calls [`EmbeddedCheck::check`] where it may still answer by itself.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Response, StatusCode, header};

use super::answer::{Answer, Answers, FOR_UPSTREAM, to_remove};
use super::client::client;
use super::profile::{CheckSettings, Head, Origin, Profile, access_request};
use crate::address::Address;
use crate::authorizer::Authorizer;
use crate::client::Client;
use crate::decision::Decision;
use crate::registry::KeyEntry;
use crate::registry::watch::KeyWatch;
use crate::timestamp::Timestamp;

/// Checks requests by an authorizer, on the thread that calls: in microseconds in mode `written`,
/// after the disk in mode `durable`. The thread needs the stack of
/// [`decide`](Authorizer::decide).
///
/// ```
/// use std::net::IpAddr;
///
/// use http::{Request, Response};
/// use keyward::serve::embedded::{EmbeddedCheck, Peer};
///
/// fn serve(check: &EmbeddedCheck, request: Request<()>, peer: IpAddr) -> Response<Vec<u8>> {
///     let (mut head, _body) = request.into_parts();
///     match check.check(&head, Peer::At(peer)) {
///         Err(answer) => answer.into_response(),
///         Ok((allowed, changes)) => {
///             changes.apply_to(&mut head.headers);
///             let hello = format!("hello, {}", allowed.key.record().owner);
///             let mut response = Response::new(hello.into_bytes());
///             response.headers_mut().extend(changes.for_client);
///             response
///         }
///     }
/// }
/// # use std::sync::Arc;
/// # use keyward::authorizer::Authorizer;
/// # use keyward::decision::Mode;
/// # use keyward::decision::id::IdSource;
/// # use keyward::log::{Log, LogOptions};
/// # use keyward::policy::{ENGINE, Engine, Limits, Policy, PolicySet, PolicySpec};
/// # use keyward::registry::memory::MemoryRegistry;
/// # use keyward::route::RouteTable;
/// # use keyward::rules::Rules;
/// # use keyward::serve::embedded::EmbeddedOptions;
/// # use keyward::timestamp::Timestamp;
/// # const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let scope = PolicySpec {
/// #     name: "scope".into(),
/// #     mode: Mode::Enforce,
/// #     module: keyward_policies::SCOPE.into(),
/// #     settings: "{}".into(),
/// #     limits: Limits::default(),
/// # };
/// # let policies = PolicySet::new(vec![Policy::load(&Engine::new(None)?, scope)?])?;
/// # let options = LogOptions {
/// #     origin: "keyward.example/embedded".to_owned(),
/// #     engine: ENGINE.to_owned(),
/// #     policy_set: policies.digest(),
/// #     ..LogOptions::default()
/// # };
/// # let log = Log::create(folder.path(), options, NOW)?;
/// # let rules = Rules { routes: RouteTable::new(&[])?, policies };
/// # let keys = Box::new(MemoryRegistry::new(Vec::new())?);
/// # let authorizer = Authorizer::new(keys, rules, (log, IdSource::new([7; 10])))?;
///
/// let check = EmbeddedCheck::new(Arc::new(authorizer), EmbeddedOptions::new(|| NOW));
/// let request = Request::get("http://api.example.com/inventory/42").body(())?;
/// let answer = serve(&check, request, "203.0.113.9".parse()?);
/// assert_eq!(answer.status(), 401);
/// assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"keyward\"");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EmbeddedCheck(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    authorizer: Arc<Authorizer>,
    options: EmbeddedOptions,
}

/// What an [`EmbeddedCheck`] goes by.
#[derive(Clone, Debug)]
pub struct EmbeddedOptions {
    /// Whom to believe about addresses, and where credentials stand.
    pub check: CheckSettings,
    /// What answers say of a key that is near its end.
    pub answers: Answers,
    /// The time of requests.
    pub clock: fn() -> Timestamp,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Nobody can tell; no header is believed, and a policy that asks for the address denies.
    Unknown,
    /// An address.
    At(IpAddr),
    /// A Unix socket: what may use it is trusted as a proxy is.
    Unix,
}

/// What allowed a request.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// The decision, which is recorded.
    pub decision: Arc<Decision>,
    /// The key, as it was decided on.
    pub key: Arc<KeyEntry>,
    authorizer: Arc<Authorizer>,
}

/// What becomes of the headers of a request that is allowed. Without it a client could say who it
/// is, and the credential would reach the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderChanges {
    /// What is taken away from the request, by name, in lower case: where the credential stood, and
    /// what the upstream could read as a header of `for_upstream`. A credential in the query is no
    /// header, and stays.
    pub removed: Vec<String>,
    /// What the request gets, in the place of what the client sent under these names: all of
    /// [`FOR_UPSTREAM`].
    pub for_upstream: HeaderMap,
    /// What the response gets: that the key is near its end, or nothing.
    pub for_client: HeaderMap,
}

impl EmbeddedOptions {
    /// Defaults, and a clock.
    #[must_use]
    pub fn new(clock: fn() -> Timestamp) -> Self {
        Self {
            check: CheckSettings::default(),
            answers: Answers::default(),
            clock,
        }
    }
}

impl EmbeddedCheck {
    /// A check that asks an authorizer.
    #[must_use]
    pub fn new(authorizer: Arc<Authorizer>, options: EmbeddedOptions) -> Self {
        Self(Arc::new(Shared {
            authorizer,
            options,
        }))
    }

    /// Whether a request may pass. Nothing may reach the service without the changes.
    ///
    /// # Errors
    /// The answer to a request that may not: 401, 403, 429, or 503 where there is no decision.
    pub fn check(&self, head: &Parts, peer: Peer) -> Result<(Allowed, HeaderChanges), Box<Answer>> {
        let target = head.uri.path_and_query();
        let target = target.map_or(&b""[..], |target| target.as_str().as_bytes());
        self.check_target(head, target, peer)
    }

    /// As [`check`](Self::check), for a server that passes on the target as it came: a path and
    /// query, or a whole URI, which need not be text. What is decided on has to be what the
    /// upstream gets, and a `Uri` cannot say all that a client can send.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_target(
        &self,
        head: &Parts,
        target: &[u8],
        peer: Peer,
    ) -> Result<(Allowed, HeaderChanges), Box<Answer>> {
        let Shared {
            authorizer,
            options,
        } = &*self.0;
        let asked_by = Head {
            method: &head.method,
            uri: &head.uri,
            headers: &head.headers,
            peer: None,
        };
        let settings = &options.check;
        let client = match peer {
            Peer::Unknown => Client::default(),
            Peer::At(peer) => client(Some(Address::new(peer)), &head.headers, &settings.trust),
            Peer::Unix => client(None, &head.headers, &settings.trust),
        };
        let asked = settings.read_target(asked_by, target, client.clone());
        let origin = Origin::of_call(Profile::Embedded, &asked);
        let request = access_request(asked, Some(client), (options.clock)());
        let (decision, key) = authorizer.decide_with_key(&request);
        let record = key.as_ref().map(|entry| &**entry.record());
        let answer = options.answers.answer(&decision, record, &origin);
        let Some(key) = key.filter(|_| answer.status == StatusCode::OK) else {
            return Err(Box::new(answer));
        };
        let allowed = Allowed {
            decision: Arc::new(decision),
            key,
            authorizer: Arc::clone(authorizer),
        };
        let removed = to_remove(&origin, &settings.credential);
        Ok((allowed, HeaderChanges::of(answer, removed)))
    }
}

impl Allowed {
    /// Ready when the key ends, for whatever outlives the request: an open stream, a connection.
    /// `None`: the registry does not tell.
    #[must_use]
    pub fn watch(&self) -> Option<KeyWatch> {
        let id = self.key.record().id;
        self.authorizer.watch(&id)
    }
}

impl HeaderChanges {
    /// Those of the answer that allows.
    fn of(answer: Answer, removed: Vec<String>) -> Self {
        let mut for_client = answer.headers;
        for_client.remove(header::CACHE_CONTROL);
        let mut for_upstream = HeaderMap::with_capacity(FOR_UPSTREAM.len());
        for name in FOR_UPSTREAM {
            if let Some(value) = for_client.remove(name) {
                for_upstream.insert(name, value);
            }
        }
        Self {
            removed,
            for_upstream,
            for_client,
        }
    }

    /// Changes the headers of the request.
    pub fn apply_to(&self, headers: &mut HeaderMap) {
        for name in &self.removed {
            headers.remove(name);
        }
        for (name, value) in &self.for_upstream {
            headers.insert(name, value.clone());
        }
    }
}

impl Answer {
    /// The answer as a response, in whatever form its body is wanted.
    #[must_use]
    pub fn into_response<B: From<Vec<u8>>>(self) -> Response<B> {
        let mut response = Response::new(B::from(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

#[cfg(test)]
#[cfg(feature = "tower")]
mod tests;
