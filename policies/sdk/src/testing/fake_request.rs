//! A request made by hand, which remembers what it was asked.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::Question;
use crate::{Address, Lifecycle, Network, Request, Timestamp, Value};

/// A request for tests. Unless told otherwise: `GET https://api.example.com/`, now
/// 2026-11-23T10:00:00Z, from an unknown address, with no required scope, by an active key that was
/// issued ten days earlier and has no other time, no scope, no allow list and no label.
#[derive(Clone, Debug)]
#[must_use]
pub struct FakeRequest {
    now: Timestamp,
    source_address: Option<Address>,
    method: String,
    host: String,
    path: String,
    headers: BTreeMap<String, Vec<String>>,
    required_scope: Option<String>,
    attributes: BTreeMap<String, Value>,
    key: FakeKey,
    questions: RefCell<Vec<Question>>,
}

#[derive(Clone, Debug)]
struct FakeKey {
    id: String,
    owner: String,
    lifecycle: Lifecycle,
    issued_at: Timestamp,
    not_before: Option<Timestamp>,
    rotate_by: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    grace_until: Option<Timestamp>,
    scopes: Vec<String>,
    read_only: bool,
    allowed_networks: Option<Vec<Network>>,
    labels: BTreeMap<String, String>,
}

/// 2026-11-23T10:00:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_795_428_000_000);

impl Default for FakeRequest {
    fn default() -> Self {
        Self {
            now: NOW,
            source_address: None,
            method: "GET".to_owned(),
            host: "api.example.com".to_owned(),
            path: "/".to_owned(),
            headers: BTreeMap::new(),
            required_scope: None,
            attributes: BTreeMap::new(),
            key: FakeKey {
                id: "k7Qp2mXw9LaR".to_owned(),
                owner: "inventory-sync".to_owned(),
                lifecycle: Lifecycle::Active,
                issued_at: NOW.minus_days(10),
                not_before: None,
                rotate_by: None,
                expires_at: None,
                grace_until: None,
                scopes: Vec::new(),
                read_only: false,
                allowed_networks: None,
                labels: BTreeMap::new(),
            },
            questions: RefCell::default(),
        }
    }
}

/// What it is asked.
impl FakeRequest {
    /// The questions since the last [`forget`](Self::forget), in order.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        self.questions.borrow().clone()
    }

    /// The same as texts: `path`, `header user-agent`, `reached 2026-11-23T10:00:00Z: yes`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.questions
            .borrow()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    /// Forgets what it was asked. [`decide`](super::decide) begins with it.
    pub fn forget(&self) {
        self.questions.borrow_mut().clear();
    }

    fn note(&self, question: Question) {
        self.questions.borrow_mut().push(question);
    }
}

/// What it answers. Each method changes one answer.
impl FakeRequest {
    /// The request that the type's documentation describes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The time of the decision.
    pub const fn at(mut self, now: Timestamp) -> Self {
        self.now = now;
        self
    }

    /// The client's address; none for unknown.
    pub fn source_address(mut self, address: impl Into<Option<Address>>) -> Self {
        self.source_address = address.into();
        self
    }

    /// The HTTP method.
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// The host.
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The path.
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// One more value of a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers
            .entry(name.to_owned())
            .or_default()
            .push(value.to_owned());
        self
    }

    /// The scope that the operation is mapped to; none for an unmapped one.
    pub fn required_scope<'a>(mut self, scope: impl Into<Option<&'a str>>) -> Self {
        self.required_scope = scope.into().map(ToOwned::to_owned);
        self
    }

    /// An open attribute.
    pub fn attribute(mut self, name: &str, value: Value) -> Self {
        self.attributes.insert(name.to_owned(), value);
        self
    }

    /// The key's public identifier.
    pub fn key_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.key.id);
        self
    }

    /// Who answers for the key.
    pub fn key_owner(mut self, owner: &str) -> Self {
        owner.clone_into(&mut self.key.owner);
        self
    }

    /// Where the key is in its life.
    pub const fn key_lifecycle(mut self, lifecycle: Lifecycle) -> Self {
        self.key.lifecycle = lifecycle;
        self
    }

    /// When the key was issued.
    pub const fn key_issued_at(mut self, instant: Timestamp) -> Self {
        self.key.issued_at = instant;
        self
    }

    /// The first instant at which the key is valid.
    pub fn key_not_before(mut self, instant: impl Into<Option<Timestamp>>) -> Self {
        self.key.not_before = instant.into();
        self
    }

    /// When the key should have been replaced.
    pub fn key_rotate_by(mut self, instant: impl Into<Option<Timestamp>>) -> Self {
        self.key.rotate_by = instant.into();
        self
    }

    /// The first instant at which the key is no longer valid.
    pub fn key_expires_at(mut self, instant: impl Into<Option<Timestamp>>) -> Self {
        self.key.expires_at = instant.into();
        self
    }

    /// The end of the grace period.
    pub fn key_grace_until(mut self, instant: impl Into<Option<Timestamp>>) -> Self {
        self.key.grace_until = instant.into();
        self
    }

    /// What the key was granted.
    pub fn key_scopes<'a>(mut self, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        self.key.scopes = scopes.into_iter().map(ToOwned::to_owned).collect();
        self
    }

    /// Whether the key is under the read-only mask.
    pub const fn key_read_only(mut self, read_only: bool) -> Self {
        self.key.read_only = read_only;
        self
    }

    /// Where the key may be used from; none for a key without an allow list.
    pub fn key_allowed_networks(mut self, networks: impl Into<Option<Vec<Network>>>) -> Self {
        self.key.allowed_networks = networks.into();
        self
    }

    /// A label of the key.
    pub fn key_label(mut self, name: &str, value: &str) -> Self {
        self.key.labels.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl Request for FakeRequest {
    fn reached(&self, instant: Timestamp) -> bool {
        let reached = self.now >= instant;
        self.note(Question::Reached(instant, reached));
        reached
    }

    fn now(&self) -> Timestamp {
        self.note(Question::Plain("now"));
        self.now
    }

    fn source_address(&self) -> Option<Address> {
        self.note(Question::Plain("source-address"));
        self.source_address
    }

    fn method(&self) -> String {
        self.note(Question::Plain("method"));
        self.method.clone()
    }

    fn host(&self) -> String {
        self.note(Question::Plain("host"));
        self.host.clone()
    }

    fn path(&self) -> String {
        self.note(Question::Plain("path"));
        self.path.clone()
    }

    fn header(&self, name: &str) -> Vec<String> {
        self.note(Question::Header(name.to_owned()));
        self.headers.get(name).cloned().unwrap_or_default()
    }

    fn required_scope(&self) -> Option<String> {
        self.note(Question::Plain("required-scope"));
        self.required_scope.clone()
    }

    fn key_id(&self) -> String {
        self.note(Question::Plain("key-id"));
        self.key.id.clone()
    }

    fn key_owner(&self) -> String {
        self.note(Question::Plain("key-owner"));
        self.key.owner.clone()
    }

    fn key_lifecycle(&self) -> Lifecycle {
        self.note(Question::Plain("key-lifecycle"));
        self.key.lifecycle
    }

    fn key_issued_at(&self) -> Timestamp {
        self.note(Question::Plain("key-issued-at"));
        self.key.issued_at
    }

    fn key_not_before(&self) -> Option<Timestamp> {
        self.note(Question::Plain("key-not-before"));
        self.key.not_before
    }

    fn key_rotate_by(&self) -> Option<Timestamp> {
        self.note(Question::Plain("key-rotate-by"));
        self.key.rotate_by
    }

    fn key_expires_at(&self) -> Option<Timestamp> {
        self.note(Question::Plain("key-expires-at"));
        self.key.expires_at
    }

    fn key_grace_until(&self) -> Option<Timestamp> {
        self.note(Question::Plain("key-grace-until"));
        self.key.grace_until
    }

    fn key_scopes(&self) -> Vec<String> {
        self.note(Question::Plain("key-scopes"));
        self.key.scopes.clone()
    }

    fn key_read_only(&self) -> bool {
        self.note(Question::Plain("key-read-only"));
        self.key.read_only
    }

    fn key_allowed_networks(&self) -> Option<Vec<Network>> {
        self.note(Question::Plain("key-allowed-networks"));
        self.key.allowed_networks.clone()
    }

    fn key_label(&self, name: &str) -> Option<String> {
        self.note(Question::KeyLabel(name.to_owned()));
        self.key.labels.get(name).cloned()
    }

    fn attribute(&self, name: &str) -> Option<Value> {
        self.note(Question::Attribute(name.to_owned()));
        self.attributes.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_what_it_was_given_about_the_request() {
        let instant = Timestamp::from_millis(5);
        let address: Address = "203.0.113.9".parse().unwrap();
        let fake = FakeRequest::new()
            .at(instant)
            .source_address(address)
            .method("PUT")
            .host("h")
            .path("/p")
            .header("accept", "a")
            .header("accept", "b")
            .required_scope("r:s")
            .attribute("geo.country", Value::Text("NG".to_owned()));
        let request: &dyn Request = &fake;
        assert!(request.reached(instant) && !request.reached(Timestamp::from_millis(6)));
        assert_eq!(request.now(), instant);
        assert_eq!(request.source_address(), Some(address));
        assert_eq!(
            [request.method(), request.host(), request.path()],
            ["PUT", "h", "/p"]
        );
        assert_eq!(request.header("accept"), ["a", "b"]);
        assert!(request.header("none").is_empty());
        assert_eq!(request.required_scope().as_deref(), Some("r:s"));
        assert_eq!(
            request.attribute("geo.country"),
            Some(Value::Text("NG".to_owned()))
        );
        assert_eq!(
            fake.asked().join("\n"),
            "reached 1970-01-01T00:00:00.005Z: yes\nreached 1970-01-01T00:00:00.006Z: no\nnow\n\
             source-address\nmethod\nhost\npath\nheader accept\nheader none\nrequired-scope\n\
             attribute geo.country",
        );
        fake.forget();
        assert_eq!(fake.questions(), []);
    }

    #[test]
    fn answers_what_it_was_given_about_the_key() {
        let network: Network = "203.0.113.0/24".parse().unwrap();
        let fake = FakeRequest::new()
            .key_id("id")
            .key_owner("o")
            .key_lifecycle(Lifecycle::Deprecated)
            .key_issued_at(Timestamp::from_millis(1))
            .key_not_before(Timestamp::from_millis(2))
            .key_rotate_by(Timestamp::from_millis(3))
            .key_expires_at(Timestamp::from_millis(4))
            .key_grace_until(Timestamp::from_millis(5))
            .key_scopes(["x:y"])
            .key_read_only(true)
            .key_allowed_networks(vec![network])
            .key_label("l", "v");
        let request: &dyn Request = &fake;
        assert_eq!([request.key_id(), request.key_owner()], ["id", "o"]);
        assert_eq!(request.key_lifecycle(), Lifecycle::Deprecated);
        let times = [
            Some(request.key_issued_at()),
            request.key_not_before(),
            request.key_rotate_by(),
            request.key_expires_at(),
            request.key_grace_until(),
        ];
        assert_eq!(
            times,
            [1, 2, 3, 4, 5].map(|ms| Some(Timestamp::from_millis(ms)))
        );
        assert_eq!(request.key_scopes(), ["x:y"]);
        assert!(request.key_read_only());
        assert_eq!(request.key_allowed_networks(), Some(vec![network]));
        assert_eq!(
            (request.key_label("l").as_deref(), request.key_label("m")),
            (Some("v"), None)
        );
        assert_eq!(
            fake.asked().join("\n"),
            "key-id\nkey-owner\nkey-lifecycle\nkey-issued-at\nkey-not-before\nkey-rotate-by\n\
             key-expires-at\nkey-grace-until\nkey-scopes\nkey-read-only\nkey-allowed-networks\n\
             key-label l\nkey-label m",
        );
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let fake = FakeRequest::new();
        assert_eq!(fake.now().to_string(), "2026-11-23T10:00:00Z");
        assert_eq!(
            Request::key_issued_at(&fake).to_string(),
            "2026-11-13T10:00:00Z"
        );
        let absent = [
            Request::required_scope(&fake).is_none(),
            Request::source_address(&fake).is_none(),
            Request::key_expires_at(&fake).is_none(),
            Request::key_allowed_networks(&fake).is_none(),
            Request::key_scopes(&fake).is_empty(),
        ];
        assert_eq!(absent, [true; 5]);
    }
}
