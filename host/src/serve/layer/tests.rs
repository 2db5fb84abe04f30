//! The layer before a service that keeps what reaches it.

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;

use http::StatusCode;
use http::request::Parts;
use parking_lot::Mutex;

use super::super::embedded::{Allowed, EmbeddedOptions};
use super::super::tests::{NOW, authorizer};
use super::*;
use crate::credential::IssuedSecret;
use crate::credential::random::RandomnessError;
use crate::decision::Permission;
use crate::key::Environment;
use crate::key::json::{CheckedKey, KeyOptions, read_keys};
use crate::registry::memory::MemoryRegistry;
use crate::registry::watch::KeyEnd;

const KEY: &str = "k7Qp2mXw9LaR";

/// What a request looked like behind the layer.
type Seen = Arc<Mutex<Vec<Parts>>>;

/// Keeps what reaches it, and answers `hello`.
#[derive(Clone)]
struct Handler(Seen);

impl Service<Request<()>> for Handler {
    type Response = Response<Vec<u8>>;
    type Error = String;
    type Future = Ready<Result<Response<Vec<u8>>, String>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0.lock().push(request.into_parts().0);
        ready(Ok(Response::new(b"hello".to_vec())))
    }
}

pub(in super::super) fn secret() -> IssuedSecret {
    let mut random = |bytes: &mut [u8]| {
        bytes.fill(1);
        Ok::<_, RandomnessError>(())
    };
    IssuedSecret::generate(Environment::Live, KEY.parse().unwrap(), &mut random).unwrap()
}

pub(in super::super) fn key(lifecycle: &str) -> CheckedKey {
    let line = format!(
        r#"{{"id":"{KEY}","owner":"sync","lifecycle":"{lifecycle}",
            "issued_at":"2026-11-01T00:00:00Z","expires_at":"2026-11-30T00:00:00Z",
            "scopes":["inventory:read"],"secret_sha256":"{}"}}"#,
        secret().digest()
    );
    let line = line.replace('\n', "");
    let keys = read_keys(line.as_bytes(), KeyOptions::default());
    keys.unwrap().pop().unwrap()
}

struct Front {
    layer: AuthorizeLayer,
    registry: Arc<MemoryRegistry>,
    seen: Seen,
    _folder: tempfile::TempDir,
}

impl Front {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Arc::new(MemoryRegistry::new(vec![key("active")]).unwrap());
        let authorizer = authorizer(folder.path(), Box::new(Arc::clone(&registry)));
        let check = EmbeddedCheck::new(Arc::new(authorizer), EmbeddedOptions::new(|| NOW));
        let layer = AuthorizeLayer::new(check, |extensions| {
            extensions.get().map_or(Peer::Unknown, |it| Peer::At(*it))
        });
        Self {
            layer,
            registry,
            seen: Seen::default(),
            _folder: folder,
        }
    }

    fn answer(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Response<Vec<u8>> {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let peer: IpAddr = "203.0.113.9".parse().unwrap();
        request.extensions_mut().insert(peer);
        let mut service = self.layer.layer(Handler(Arc::clone(&self.seen)));
        let mut answering = Box::pin(service.call(request));
        match answering
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(answer) => answer.unwrap(),
            Poll::Pending => panic!("the answer is not there"),
        }
    }
}

fn headers_of(headers: &HeaderMap) -> Vec<(&str, &str)> {
    headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect()
}

#[test]
fn what_is_allowed_reaches_the_service_and_says_whose_it_is() {
    let front = Front::new();
    let answer = front.answer(
        "GET",
        "/inventory/42?a=b",
        &[
            ("host", "api.example.com"),
            ("x-api-key", secret().expose()),
            ("x-keyward-subject", "root"),
            ("x_keyward_subject", "root"),
            ("X-Keyward.Scopes", "*:*"),
            ("accept", "text/plain"),
        ],
    );
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.body(), b"hello");
    assert_eq!(
        headers_of(answer.headers()),
        [("keyward-key-expires", "2026-11-30T00:00:00Z")]
    );
    let seen = front.seen.lock().pop().unwrap();
    let allowed = seen.extensions.get::<Allowed>().unwrap();
    assert_eq!(allowed.key.record().id.as_str(), KEY);
    assert_eq!(allowed.decision.permission(), Permission::Allow);
    let client = allowed.decision.record().client.clone().unwrap();
    assert_eq!(client.address, Some("203.0.113.9".parse().unwrap()));
    let id = allowed.decision.record().id.to_string();
    let mut headers = headers_of(&seen.headers);
    headers.sort_unstable();
    assert_eq!(
        headers,
        [
            ("accept", "text/plain"),
            ("host", "api.example.com"),
            ("x-keyward-decision", &*id),
            ("x-keyward-key-id", KEY),
            ("x-keyward-scopes", "inventory:read"),
            ("x-keyward-subject", "sync"),
            ("x-keyward-warning", "expires=2026-11-30T00:00:00Z"),
        ]
    );
    assert_eq!(seen.uri, "/inventory/42?a=b");
}

#[test]
fn what_is_denied_reaches_nobody() {
    let front = Front::new();
    let secret = secret();
    let credential = ("x-api-key", secret.expose());
    let bearer = format!("Bearer {}", secret.expose());
    let host = ("host", "api.example.com");
    for (status, method, target, headers) in [
        (401, "GET", "/inventory/42", &[host][..]),
        (401, "GET", "/inventory/42", &[host, ("x-api-key", "x")]),
        (401, "GET", "/inventory/42", &[host, credential, credential]),
        (
            401,
            "GET",
            "/inventory/42",
            &[host, credential, ("authorization", &bearer)],
        ),
        (403, "POST", "/inventory/42", &[host, credential]),
        (403, "GET", "/other", &[host, credential]),
        (403, "GET", "/inventory/%2e%2e/x", &[host, credential]),
        (403, "GET", "/inventory/a%2fb", &[host, credential]),
        // No host, and two.
        (403, "GET", "/inventory/42", &[credential]),
        (
            403,
            "GET",
            "http://a.example/inventory/42",
            &[host, credential],
        ),
        (403, "OPTIONS", "*", &[host, credential]),
        (403, "CONNECT", "api.example.com:443", &[host, credential]),
    ] {
        let answer = front.answer(method, target, headers);
        assert_eq!(answer.status(), status, "{method} {target} {headers:?}");
        assert!(answer.headers().contains_key("x-keyward-decision"));
        assert!(answer.body().starts_with(b"{\"decision\""));
    }
    assert!(front.seen.lock().is_empty());
}

#[test]
fn who_holds_something_open_is_told_of_the_end() {
    let front = Front::new();
    let secret = secret();
    let headers = [("host", "api.example.com"), ("x-api-key", secret.expose())];
    front.answer("GET", "/inventory/42", &headers);
    let seen = front.seen.lock().pop().unwrap();
    let watch = seen.extensions.get::<Allowed>().unwrap().watch().unwrap();
    assert_eq!(watch.end(), None);
    front.registry.update([(key("suspended"), false)]);
    assert_eq!(watch.end(), Some(KeyEnd::Suspended));
    let answer = front.answer("GET", "/inventory/42", &headers);
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[test]
fn without_a_peer_no_address_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let registry = MemoryRegistry::new(vec![key("active")]).unwrap();
    let authorizer = Arc::new(authorizer(folder.path(), Box::new(registry)));
    let check = EmbeddedCheck::new(authorizer, EmbeddedOptions::new(|| NOW));
    let layer = AuthorizeLayer::new(check, |_| Peer::Unknown);
    let seen = Seen::default();
    let request = Request::builder()
        .uri("http://api.example.com/inventory/42")
        .header("x-api-key", secret().expose())
        .header("x-forwarded-for", "198.51.100.7");
    let mut service = layer.layer(Handler(Arc::clone(&seen)));
    drop(service.call(request.body(()).unwrap()));
    let seen = seen.lock().pop().unwrap();
    let allowed = seen.extensions.get::<Allowed>().unwrap();
    assert_eq!(allowed.decision.record().client, Some(Arc::default()));
}
