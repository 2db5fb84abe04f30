//! Streams of events, read as hyper reads them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use http_body_util::BodyExt as _;
use serde_json::Value;

use super::super::caller::Callers;
use super::super::decide::Decider;
use super::super::tests::{NOW, authorizer};
use super::*;
use crate::config::server::ServerConfig;
use crate::key::json::{CheckedKey, KeyOptions, read_keys};
use crate::registry::lease::Lease;
use crate::registry::memory::MemoryRegistry;

const KEY: &str = "k7Qp2mXw9LaR";
/// 2026-11-30T00:00:00Z.
const EXPIRY: i64 = 1_795_996_800_000;

fn key(lifecycle: &str) -> CheckedKey {
    let line = format!(
        "{{\"id\":\"{KEY}\",\"owner\":\"sync\",\"lifecycle\":\"{lifecycle}\",\
         \"issued_at\":\"2026-11-01T00:00:00Z\",\"expires_at\":\"{}\",\
         \"scopes\":[\"inventory:read\"]}}",
        Timestamp::from_millis(EXPIRY)
    );
    let keys = read_keys(line.as_bytes(), KeyOptions::default());
    keys.unwrap().pop().unwrap()
}

struct Host {
    checks: Arc<Checks>,
    registry: Arc<MemoryRegistry>,
    runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Host {
    fn new(registry: MemoryRegistry, clock: fn() -> Timestamp) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = Arc::new(registry);
        let authorizer = authorizer(folder.path(), Box::new(Arc::clone(&registry)));
        let decider = Decider::new(Arc::new(authorizer), Duration::from_millis(100), 1);
        let callers = Callers {
            secret: None,
            allow_loopback: true,
        };
        let checks = Checks::new(&ServerConfig::default(), (callers, decider), clock);
        checks.set_ready(true);
        Self {
            checks: Arc::new(checks),
            registry,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap(),
            _folder: folder,
        }
    }

    fn with(lifecycle: &str) -> Self {
        Self::new(MemoryRegistry::new(vec![key(lifecycle)]).unwrap(), || NOW)
    }

    fn ask(&self, method: Method, id: &str, last: Option<&str>) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(format!("{PATH}{id}"));
        if let Some(last) = last {
            request = request.header(LAST_EVENT_ID, last);
        }
        let _inside = self.runtime.enter();
        answer(&self.checks, &request.body(()).unwrap())
    }

    fn get(&self, id: &str) -> Response<Body> {
        self.ask(Method::GET, id, None)
    }

    /// The next event; `None`: the stream has ended.
    fn next(&self, response: &mut Response<Body>) -> Option<String> {
        let limit = Duration::from_secs(60);
        let frame = async { tokio::time::timeout(limit, response.body_mut().frame()).await };
        let frame = self.runtime.block_on(frame).unwrap()?;
        let bytes = frame.unwrap().into_data().unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// The data of the event that comes next, which has this name.
    fn data(&self, response: &mut Response<Body>, name: &str) -> Value {
        let event = self.next(response).unwrap();
        let lines: Vec<_> = event.lines().collect();
        assert_eq!(lines[0], format!("event: {name}"));
        let data = lines.iter().find_map(|line| line.strip_prefix("data: "));
        serde_json::from_str(data.unwrap()).unwrap()
    }
}

#[test]
fn a_subscriber_is_told_at_once_that_its_key_was_suspended() {
    let host = Host::with("active");
    let mut stream = host.get(KEY);
    assert_eq!(stream.status(), StatusCode::OK);
    assert_eq!(stream.headers()[CONTENT_TYPE], "text/event-stream");
    assert_eq!(stream.headers()[ACCEL_BUFFERING], "no");
    let end = Timestamp::from_millis(EXPIRY).to_string();
    let held = host.data(&mut stream, "held");
    assert_eq!(held, json!({ "key": KEY, "ends_at": end }));
    assert!(host.checks.metrics().text().contains("event_streams 1"));

    host.registry.update([(key("suspended"), false)]);
    let ended = host.data(&mut stream, "ended");
    let expected = json!({ "key": KEY, "cause": "suspended", "at": NOW.to_string() });
    assert_eq!(ended, expected);
    assert_eq!(host.next(&mut stream), None);
    drop(stream);
    assert!(host.checks.metrics().text().contains("event_streams 0"));
}

#[test]
fn what_has_ended_is_told_once_and_not_asked_for_again() {
    let host = Host::with("revoked");
    let mut stream = host.get(KEY);
    assert_eq!(host.data(&mut stream, "ended")["cause"], "revoked");
    assert_eq!(host.next(&mut stream), None);
    let again = host.ask(Method::GET, KEY, Some(ENDED));
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    // One that is usable again is watched again.
    host.registry.update([(key("active"), false)]);
    let mut stream = host.ask(Method::GET, KEY, Some(ENDED));
    host.data(&mut stream, "held");
}

static NOW_MS: AtomicI64 = AtomicI64::new(0);

#[test]
fn a_key_ends_by_its_time() {
    NOW_MS.store(EXPIRY - 1, Ordering::Relaxed);
    let clock = || Timestamp::from_millis(NOW_MS.load(Ordering::Relaxed));
    let host = Host::new(MemoryRegistry::new(vec![key("active")]).unwrap(), clock);
    let mut stream = host.get(KEY);
    host.data(&mut stream, "held");
    NOW_MS.store(EXPIRY, Ordering::Relaxed);
    assert_eq!(host.data(&mut stream, "ended")["cause"], "expired");
}

static BOOT_MS: AtomicU64 = AtomicU64::new(0);

#[test]
fn nothing_is_held_by_a_registry_that_is_too_old() {
    let lease = Arc::new(Lease::new(5_000, || BOOT_MS.load(Ordering::Relaxed)));
    lease.renew(0);
    let registry = MemoryRegistry::new(vec![key("active")]).unwrap();
    let host = Host::new(registry.with_lease(Arc::clone(&lease)), || NOW);
    let mut stream = host.get(KEY);
    host.data(&mut stream, "held");
    BOOT_MS.store(5_000, Ordering::Relaxed);
    assert_eq!(host.data(&mut stream, "ended")["cause"], "registry.stale");
    assert_eq!(host.next(&mut stream), None);
}

#[test]
fn a_stream_without_news_is_not_silent_and_ends_with_the_service() {
    let host = Host::with("active");
    let place = Arc::clone(&host.checks.streams().0).try_acquire_owned();
    let id: KeyId = KEY.parse().unwrap();
    let watch = host.checks.authorizer().watch(&id).unwrap();
    let _inside = host.runtime.enter();
    let mut stream = Stream::new(Arc::clone(&host.checks), id, watch, place.unwrap());
    stream.looks = LOOKS_UNTIL_COMMENT - 1;
    let mut stream = events(stream);
    host.data(&mut stream, "held");
    assert_eq!(host.next(&mut stream).as_deref(), Some(":\n\n"));
    host.checks.set_ready(false);
    assert_eq!(host.next(&mut stream), None);
}

#[test]
fn what_is_no_subscription_is_a_problem() {
    let host = Host::with("active");
    for id in ["", "000000000000", "k7Qp2mXw9LaR/x", "%2e%2e"] {
        assert_eq!(host.get(id).status(), StatusCode::NOT_FOUND, "{id}");
    }
    let posted = host.ask(Method::POST, KEY, None);
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(posted.headers()[ALLOW], "GET");

    let places = Arc::clone(&host.checks.streams().0);
    let most = u32::try_from(STREAMS_MAX).unwrap();
    let taken = places.try_acquire_many_owned(most).unwrap();
    let refused = host.get(KEY);
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(RETRY_AFTER));
    drop(taken);
    assert_eq!(host.get(KEY).status(), StatusCode::OK);
}
