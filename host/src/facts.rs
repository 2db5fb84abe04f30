//! The facts of one decision, and how they answer a policy's questions.

use std::sync::Arc;

use crate::credential::Presented;
use crate::decision::trace::{Answer, Question};
use crate::key::KeyRecord;
use crate::policy::Answers;
use crate::request::{AccessRequest, RequestParts};
use crate::route::path::CanonicalPath;
use crate::timestamp::Timestamp;

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
}

impl Facts {
    /// Facts of a key alone, for asking policies what they say of the key itself: a request at
    /// `time` for nothing in particular, from nowhere. `None` never happens for a key record.
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
        })
    }

    /// The answer to a question: a pure function of the facts.
    #[must_use]
    pub fn answer(&self, question: &Question) -> Answer {
        let Self {
            request,
            path,
            key,
            required_scope,
        } = self;
        match question {
            Question::Attribute(name) => request.attribute(name),
            Question::Header(name) => Answer::Texts(request.header(name)),
            Question::Host => Answer::Text(Arc::clone(request.host())),
            Question::Method => Answer::Text(Arc::clone(request.method())),
            Question::Now => Answer::Instant(request.time()),
            Question::Path => Answer::Text(Arc::clone(path.text())),
            Question::Reached(instant) => Answer::Flag(request.time() >= *instant),
            Question::RequiredScope => text(required_scope.as_ref()),
            Question::SourceAddress => request.source().map_or(Answer::Absent, Answer::Address),
            about_key => key_answer(key, about_key).unwrap_or(Answer::Absent),
        }
    }
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

impl Answers for Arc<Facts> {
    fn answer(&mut self, question: &Question) -> Result<Answer, String> {
        Ok(Facts::answer(self, question))
    }
}

fn instant(instant: Option<Timestamp>) -> Answer {
    instant.map_or(Answer::Absent, Answer::Instant)
}

fn text(text: Option<&Arc<str>>) -> Answer {
    text.cloned().map_or(Answer::Absent, Answer::Text)
}
