//! The policies as plain Rust, asked the same facts as their components.

use std::cell::RefCell;
use std::sync::Arc;

use keyward::decision::trace::{Answer, Question, Trace};
use keyward::facts::Facts;
use keyward::key;
use keyward_policy as sdk;

/// Facts as a policy sees them, with what it asks.
pub(crate) struct Native {
    facts: Arc<Facts>,
    trace: RefCell<Trace>,
}

impl Native {
    pub(crate) fn new(facts: Arc<Facts>) -> Self {
        Self {
            facts,
            trace: RefCell::default(),
        }
    }

    /// What was asked.
    pub(crate) fn into_trace(self) -> Trace {
        self.trace.into_inner()
    }

    fn ask(&self, question: Question) -> Answer {
        let answer = self.facts.answer(&question);
        self.trace
            .borrow_mut()
            .steps
            .push((question, answer.clone()));
        answer
    }

    fn text(&self, question: Question) -> Option<String> {
        match self.ask(question) {
            Answer::Absent => None,
            Answer::Text(text) => Some(text.to_string()),
            other => unexpected(&other),
        }
    }

    fn texts(&self, question: Question) -> Vec<String> {
        match self.ask(question) {
            Answer::Texts(texts) => texts.iter().map(ToString::to_string).collect(),
            other => unexpected(&other),
        }
    }

    fn instant(&self, question: Question) -> Option<sdk::Timestamp> {
        match self.ask(question) {
            Answer::Absent => None,
            Answer::Instant(instant) => Some(sdk::Timestamp::from_millis(instant.millis())),
            other => unexpected(&other),
        }
    }

    fn flag(&self, question: Question) -> bool {
        match self.ask(question) {
            Answer::Flag(flag) => flag,
            other => unexpected(&other),
        }
    }
}

/// The facts answer every question in its own kind.
#[expect(
    clippy::panic,
    reason = "a test or benchmark that cannot go on has failed"
)]
fn unexpected(answer: &Answer) -> ! {
    panic!("not an answer to this question: {answer:?}")
}

impl sdk::Request for Native {
    fn reached(&self, instant: sdk::Timestamp) -> bool {
        let instant = keyward::timestamp::Timestamp::from_millis(instant.millis());
        self.flag(Question::Reached(instant))
    }

    fn now(&self) -> sdk::Timestamp {
        self.instant(Question::Now).unwrap()
    }

    fn source_address(&self) -> Option<sdk::Address> {
        match self.ask(Question::SourceAddress) {
            Answer::Absent => None,
            Answer::Address(address) => Some(sdk::Address::new(address.ip())),
            other => unexpected(&other),
        }
    }

    fn method(&self) -> String {
        self.text(Question::Method).unwrap()
    }

    fn host(&self) -> String {
        self.text(Question::Host).unwrap()
    }

    fn path(&self) -> String {
        self.text(Question::Path).unwrap()
    }

    fn header(&self, name: &str) -> Vec<String> {
        self.texts(Question::Header(name.into()))
    }

    fn required_scope(&self) -> Option<String> {
        self.text(Question::RequiredScope)
    }

    fn key_id(&self) -> String {
        self.text(Question::KeyId).unwrap()
    }

    fn key_owner(&self) -> String {
        self.text(Question::KeyOwner).unwrap()
    }

    fn key_lifecycle(&self) -> sdk::Lifecycle {
        match self.ask(Question::KeyLifecycle) {
            Answer::Lifecycle(key::Lifecycle::Active) => sdk::Lifecycle::Active,
            Answer::Lifecycle(key::Lifecycle::Deprecated) => sdk::Lifecycle::Deprecated,
            other => unexpected(&other),
        }
    }

    fn key_issued_at(&self) -> sdk::Timestamp {
        self.instant(Question::KeyIssuedAt).unwrap()
    }

    fn key_not_before(&self) -> Option<sdk::Timestamp> {
        self.instant(Question::KeyNotBefore)
    }

    fn key_rotate_by(&self) -> Option<sdk::Timestamp> {
        self.instant(Question::KeyRotateBy)
    }

    fn key_expires_at(&self) -> Option<sdk::Timestamp> {
        self.instant(Question::KeyExpiresAt)
    }

    fn key_grace_until(&self) -> Option<sdk::Timestamp> {
        self.instant(Question::KeyGraceUntil)
    }

    fn key_scopes(&self) -> Vec<String> {
        self.texts(Question::KeyScopes)
    }

    fn key_read_only(&self) -> bool {
        self.flag(Question::KeyReadOnly)
    }

    fn key_allowed_networks(&self) -> Option<Vec<sdk::Network>> {
        let network = |network: &keyward::address::Network| {
            sdk::Network::new(network.address().ip(), network.prefix_length()).unwrap()
        };
        match self.ask(Question::KeyAllowedNetworks) {
            Answer::Absent => None,
            Answer::Networks(networks) => Some(networks.iter().map(network).collect()),
            other => unexpected(&other),
        }
    }

    fn key_label(&self, name: &str) -> Option<String> {
        self.text(Question::KeyLabel(name.into()))
    }

    fn attribute(&self, name: &str) -> Option<sdk::Value> {
        match self.ask(Question::Attribute(name.into())) {
            Answer::Absent => None,
            Answer::Integer(integer) => Some(sdk::Value::Integer(integer)),
            other => unexpected(&other),
        }
    }
}
