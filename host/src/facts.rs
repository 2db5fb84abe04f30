//! The facts of one decision, and how they answer a policy's questions.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::credential::Presented;
use crate::decision::trace::{Answer, Question};
use crate::key::KeyRecord;
use crate::request::{AccessRequest, RequestParts};
use crate::route::path::CanonicalPath;
use crate::timestamp::Timestamp;
use crate::usage::{self, KeyUsage};

/// Everything that a policy can ask about: the access request, the key record, and the scope that
/// the route table maps the operation to.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The request.
    pub request: AccessRequest,
    /// Its path, which is clear: a request without one never reaches a policy.
    pub path: CanonicalPath,
    /// The key that it presented.
    pub key: Arc<KeyRecord>,
    /// The scope that the operation needs.
    pub required_scope: Option<Arc<str>>,
    /// How often the key is used; `None`: not counted, because no policy asks for it.
    pub usage: Option<KeyUsage>,
}

/// [`Facts`] that belong to somebody else: what a decision is made on.
#[derive(Clone, Copy, Debug)]
pub struct FactsView<'a> {
    /// The request.
    pub request: &'a AccessRequest,
    /// Its path, which is clear.
    pub path: &'a CanonicalPath,
    /// The key that it presented.
    pub key: &'a Arc<KeyRecord>,
    /// The scope that the operation needs.
    pub required_scope: Option<&'a Arc<str>>,
    /// How often the key is used; `None`: not counted, because no policy asks for it.
    pub usage: Option<&'a KeyUsage>,
}

impl Facts {
    /// Facts of a key alone, for asking policies what they say of the key itself: a request at
    /// `time` for nothing in particular, from nowhere, the first of all. `None` never happens for a
    /// key record.
    #[must_use]
    pub fn of_key(key: KeyRecord, time: Timestamp) -> Option<Self> {
        let presented = Presented::KeyId(key.id.as_str().into());
        let parts = RequestParts::new(time, presented, "GET", "/");
        let request = AccessRequest::new(parts).ok()?;
        let path = request.path().ok()?.clone();
        Some(Self {
            request,
            path,
            key: Arc::new(key),
            required_scope: None,
            usage: Some(KeyUsage::first(time)),
        })
    }

    /// The facts, borrowed.
    #[must_use]
    pub const fn view(&self) -> FactsView<'_> {
        FactsView {
            request: &self.request,
            path: &self.path,
            key: &self.key,
            required_scope: self.required_scope.as_ref(),
            usage: self.usage.as_ref(),
        }
    }

    /// The answer to a question: a pure function of the facts.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Answer {
        self.view().answer(question)
    }
}

impl FactsView<'_> {
    /// The facts, to be kept.
    #[must_use]
    pub fn to_facts(self) -> Facts {
        Facts {
            request: self.request.clone(),
            path: self.path.clone(),
            key: Arc::clone(self.key),
            required_scope: self.required_scope.cloned(),
            usage: self.usage.cloned(),
        }
    }

    /// The answer to a question: a pure function of the facts.
    #[must_use]
    pub fn answer(self, question: &Question) -> Answer {
        let Self {
            request,
            path,
            key,
            required_scope,
            usage,
        } = self;
        match question {
            Question::Attribute(name) if name.starts_with(usage::PREFIX) => {
                let requests = usage.and_then(|usage| usage.requests(name));
                requests.map_or(Answer::Absent, Answer::Integer)
            }
            Question::Attribute(name) => request.attribute(name),
            Question::Header(name) => Answer::Texts(request.header(name)),
            Question::Host => Answer::Text(Arc::clone(request.host())),
            Question::Method => Answer::Text(Arc::clone(request.method())),
            Question::Now => Answer::Instant(request.time()),
            Question::Path => Answer::Text(Arc::clone(path.text())),
            Question::Reached(instant) => Answer::Flag(request.time() >= *instant),
            Question::RequiredScope => text(required_scope),
            Question::SourceAddress => request.source().map_or(Answer::Absent, Answer::Address),
            about_key => key_answer(key, about_key).unwrap_or(Answer::Absent),
        }
    }

    /// Adds the answer to a question to a hash. Equal answers add the same.
    pub fn hash_answer(self, question: &Question, hash: &mut impl Hasher) {
        match question {
            Question::Host => self.request.host().hash(hash),
            Question::Method => self.request.method().hash(hash),
            Question::Path => self.path.text().hash(hash),
            Question::RequiredScope => self.required_scope.hash(hash),
            Question::SourceAddress => self.request.source().hash(hash),
            _ => self.answer(question).hash(hash),
        }
    }

    /// Whether a question has exactly this answer. The same as comparing what
    /// [`answer`](Self::answer) gives, without making it where that would cost something.
    #[must_use]
    pub fn gives(self, question: &Question, expected: &Answer) -> bool {
        let request = self.request;
        match (question, expected) {
            (Question::Host, Answer::Text(text)) => is(Some(request.host()), text),
            (Question::Method, Answer::Text(text)) => is(Some(request.method()), text),
            (Question::Path, Answer::Text(text)) => is(Some(self.path.text()), text),
            (Question::Reached(instant), Answer::Flag(flag)) => {
                (request.time() >= *instant) == *flag
            }
            (Question::RequiredScope, Answer::Text(text)) => is(self.required_scope, text),
            (Question::SourceAddress, Answer::Address(address)) => {
                request.source() == Some(*address)
            }
            _ => self.answer(question) == *expected,
        }
    }
}

/// Whether there is such a text, and it is this one.
fn is(text: Option<&Arc<str>>, expected: &Arc<str>) -> bool {
    text.is_some_and(|text| Arc::ptr_eq(text, expected) || text == expected)
}

/// The answer to a question about the key; `None` for a question about something else.
#[must_use]
pub fn key_answer(key: &KeyRecord, question: &Question) -> Option<Answer> {
    Some(match question {
        Question::KeyAllowedNetworks => key
            .allowed_networks
            .clone()
            .map_or(Answer::Absent, Answer::Networks),
        Question::KeyExpiresAt => instant(key.expires_at),
        Question::KeyGraceUntil => instant(key.grace_until),
        Question::KeyId => Answer::Text(key.id.as_str().into()),
        Question::KeyIssuedAt => Answer::Instant(key.issued_at),
        Question::KeyLabel(name) => text(key.labels.get(name)),
        Question::KeyLifecycle => Answer::Lifecycle(key.lifecycle),
        Question::KeyNotBefore => instant(key.not_before),
        Question::KeyOwner => Answer::Text(Arc::clone(&key.owner)),
        Question::KeyReadOnly => Answer::Flag(key.read_only),
        Question::KeyRotateBy => instant(key.rotate_by),
        Question::KeyScopes => Answer::Texts(Arc::clone(&key.scopes)),
        Question::Attribute(_)
        | Question::Header(_)
        | Question::Host
        | Question::Method
        | Question::Now
        | Question::Path
        | Question::Reached(_)
        | Question::RequiredScope
        | Question::SourceAddress => return None,
    })
}

fn instant(instant: Option<Timestamp>) -> Answer {
    instant.map_or(Answer::Absent, Answer::Instant)
}

fn text(text: Option<&Arc<str>>) -> Answer {
    text.cloned().map_or(Answer::Absent, Answer::Text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::json::{KeyOptions, read_keys};
    use crate::request::AttributeValue;

    fn facts(line: &str, change: impl FnOnce(&mut RequestParts)) -> Facts {
        let time = Timestamp::parse("2026-11-20T08:00:00Z").unwrap();
        let mut parts = RequestParts::new(time, Presented::None, "GET", "/a");
        change(&mut parts);
        let request = AccessRequest::new(parts).unwrap();
        let key = read_keys(line.as_bytes(), KeyOptions::default())
            .unwrap()
            .pop();
        Facts {
            path: request.path().unwrap().clone(),
            required_scope: request.required_scope().cloned(),
            key: Arc::new(key.unwrap().into_parts().0),
            usage: Some(KeyUsage::first(request.time())),
            request,
        }
    }

    /// Every question with every answer that any question has here, of facts that differ in all.
    #[test]
    fn gives_an_answer_exactly_when_it_is_the_one() {
        let one = facts(
            r#"{"id":"k7Qp2mXw9LaR","owner":"o","issued_at":"2026-11-01T00:00:00Z",
                "expires_at":"2027-01-30T00:00:00Z","scopes":["a:read"]}"#
                .replace('\n', "")
                .as_str(),
            |_| (),
        );
        let other = facts(
            r#"{"id":"k7Qp2mXw9LaS","owner":"p","issued_at":"2026-11-02T00:00:00Z",
                "expires_at":"2027-01-31T00:00:00Z","scopes":["b:read"],
                "rotate_by":"2027-01-01T00:00:00Z","allowed_networks":["203.0.113.0/24"],
                "not_before":"2026-11-02T00:00:00Z","labels":{"l":"v"}}"#
                .replace('\n', "")
                .as_str(),
            |parts| {
                parts.time = Timestamp::parse("2026-11-21T08:00:00Z").unwrap();
                parts.method = "PUT".to_owned();
                parts.host = "a.example".to_owned();
                parts.target = b"/b".to_vec();
                parts.headers = vec![("x".to_owned(), "y".to_owned())];
                parts.source = Some("203.0.113.9".parse().unwrap());
                parts.attributes = [("x".to_owned(), AttributeValue::Integer(5))].into();
                parts.required_scope = Some("a:read".to_owned());
            },
        );
        let questions = [
            Question::Attribute("usage.requests-1m".into()),
            Question::Attribute("x".into()),
            Question::Header("x".into()),
            Question::Host,
            Question::KeyAllowedNetworks,
            Question::KeyExpiresAt,
            Question::KeyGraceUntil,
            Question::KeyId,
            Question::KeyIssuedAt,
            Question::KeyLabel("l".into()),
            Question::KeyLifecycle,
            Question::KeyNotBefore,
            Question::KeyOwner,
            Question::KeyReadOnly,
            Question::KeyRotateBy,
            Question::KeyScopes,
            Question::Method,
            Question::Now,
            Question::Path,
            Question::Reached(other.request.time()),
            Question::RequiredScope,
            Question::SourceAddress,
        ];
        let both = [&one, &other];
        let answers: Vec<Answer> = both
            .iter()
            .flat_map(|facts| questions.iter().map(|question| facts.answer(question)))
            .collect();
        for (facts, question) in both
            .iter()
            .flat_map(|f| questions.iter().map(move |q| (f, q)))
        {
            for answer in &answers {
                let is_it = facts.answer(question) == *answer;
                assert_eq!(
                    facts.view().gives(question, answer),
                    is_it,
                    "{question} {answer}"
                );
            }
        }
    }
}
