//! The policies as plain Rust, asked the same facts as their components.

use std::cell::RefCell;
use std::sync::Arc;

use keyward::decision::trace::{Answer, Question, Trace};
use keyward::decision::verdict::{Effect, Obligation, Reason, Signal, Verdict};
use keyward::facts::Facts;
use keyward::key;
use keyward_policy as sdk;

/// Facts as a policy sees them, with what it asks.
pub struct Native {
    facts: Arc<Facts>,
    trace: RefCell<Trace>,
}

impl Native {
    pub fn new(facts: Arc<Facts>) -> Self {
        Self { facts, trace: RefCell::default() }
    }

    /// Evaluates a policy; the settings are valid.
    pub fn evaluate<P: sdk::Policy>(facts: &Arc<Facts>, settings: &str) -> (Verdict, Trace) {
        let policy: P = sdk::configure(settings).unwrap();
        let native = Self::new(Arc::clone(facts));
        let verdict = verdict(&policy.evaluate(&native).unwrap());
        (verdict, native.trace.into_inner())
    }

    fn ask(&self, question: Question) -> Answer {
        let answer = self.facts.answer(&question);
        self.trace.borrow_mut().steps.push((question, answer.clone()));
        answer
    }

    fn text(&self, question: Question) -> Option<String> {
        match self.ask(question) {
            Answer::Absent => None,
            Answer::Text(text) => Some(text.to_string()),
            other => panic!("{other:?}"),
        }
    }

    fn texts(&self, question: Question) -> Vec<String> {
        match self.ask(question) {
            Answer::Texts(texts) => texts.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    fn instant(&self, question: Question) -> Option<sdk::Timestamp> {
        match self.ask(question) {
            Answer::Absent => None,
            Answer::Instant(instant) => Some(sdk::Timestamp::from_millis(instant.millis())),
            other => panic!("{other:?}"),
        }
    }

    fn flag(&self, question: Question) -> bool {
        match self.ask(question) {
            Answer::Flag(flag) => flag,
            other => panic!("{other:?}"),
        }
    }
}

/// The host's form of a verdict.
fn verdict(given: &sdk::Verdict) -> Verdict {
    let params = |params: &[sdk::Param]| {
        params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let reason = |r: &sdk::Reason| Reason { code: r.code().to_owned(), params: params(r.params()) };
    let signal = |s: &sdk::Signal| Signal { name: s.name().to_owned(), params: params(s.params()) };
    Verdict {
        effect: match given.effect {
            sdk::Effect::Abstain => Effect::Abstain,
            sdk::Effect::Allow => Effect::Allow,
            sdk::Effect::Deny => Effect::Deny,
        },
        reason: given.reason.as_ref().map(reason),
        signals: given.signals.iter().map(signal).collect(),
        obligations: given
            .obligations
            .iter()
            .map(|o| Obligation {
                name: o.name().to_owned(),
                params: params(o.params()),
                required: o.required(),
            })
            .collect(),
    }
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
            other => panic!("{other:?}"),
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
            other => panic!("{other:?}"),
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
            other => panic!("{other:?}"),
        }
    }

    fn key_label(&self, name: &str) -> Option<String> {
        self.text(Question::KeyLabel(name.into()))
    }

    fn attribute(&self, _: &str) -> Option<sdk::Value> {
        None // the standard policies need none
    }
}
