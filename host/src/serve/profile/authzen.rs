//! OpenID AuthZEN Authorization API 1.0: Access Evaluation and Access Evaluations.
//!
//! | AuthZEN | access request |
//! |---|---|
//! | `subject.properties.credential` | the credential; `subject.id`, no secret, never is one |
//! | `subject.properties.ip_address` | the client's address; without it, unknown |
//! | `resource.type` and `action.name` | the required scope, `type:name` |
//! | everything but the credential | attributes by their place: `subject.id`, `context.device` |
//!
//! A resource of the type `route`, as API gateways ask, goes through the route table instead:
//! `action.name` is the method, `resource.properties.path`, or else `resource.id`, the path, and
//! `resource.properties.hostname` the host. Attributes are the members of `properties` and of
//! `context` that are a text, a whole number, true, false or a list of texts.
//!
//! Other members are ignored, as the standard has it, also `context.time`: the time is the host's.
//! The `Authorization` of the call authenticates the caller, not the subject.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::address::Address;
use crate::client::Client;
use crate::credential::{Credential, Presented};
use crate::decision::{Decision, DecisionRecord, Permission};
use crate::key::KeyRecord;
use crate::request::AttributeValue;
use crate::request::json::Json;

use super::super::answer::{Answer, Answers, Class, Identity, needed_scope, retry_after_seconds};
use super::{Asked, Head, Malformed, Origin, Profile, request_id};

/// The largest body of a call, in bytes.
pub const BODY_MAX_BYTES: usize = 256 * 1024;
/// The most evaluations of one call.
pub const EVALUATIONS_MAX: usize = 64;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The type of a resource that is a route of an API.
const ROUTE: &str = "route";

/// What a call asks about.
#[derive(Debug)]
pub enum Call {
    /// One evaluation: answered by [`one`].
    One(Box<Asked>),
    /// Several, in order: answered by [`many`]. One that is malformed is a denial.
    Many(Vec<Result<Asked, Malformed>>, Semantic),
}

/// Which of several evaluations are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Semantic {
    /// All of them.
    #[default]
    ExecuteAll,
    /// Up to the first denial.
    DenyOnFirstDeny,
    /// Up to the first allow.
    PermitOnFirstPermit,
}

impl Semantic {
    /// Whether nothing is evaluated after this.
    #[must_use]
    pub fn ends_after(self, permission: Permission) -> bool {
        match self {
            Self::ExecuteAll => false,
            Self::DenyOnFirstDeny => permission == Permission::Deny,
            Self::PermitOnFirstPermit => permission == Permission::Allow,
        }
    }
}

/// What a call to [`Profile::AuthzenOne`] or [`Profile::AuthzenMany`] asks about.
///
/// # Errors
/// [`Malformed`]: the body is no call, and is answered by [`refusal`].
pub fn read(profile: Profile, head: Head<'_>, body: &[u8]) -> Result<Call, Malformed> {
    if body.len() > BODY_MAX_BYTES {
        return Err(Malformed("the body is larger than 256 KiB"));
    }
    let body: Json = serde_json::from_slice(body).map_err(|_| Malformed("the body is not JSON"))?;
    check_names(&body)?;
    let defaults = Tuple::of(&body)?;
    let evaluations = match member(&body, "evaluations") {
        Some(Json::List(evaluations)) if profile == Profile::AuthzenMany => evaluations.as_slice(),
        Some(_) if profile == Profile::AuthzenMany => {
            return Err(Malformed("`evaluations` is not a list"));
        }
        _ => &[],
    };
    if evaluations.is_empty() {
        return Ok(Call::One(Box::new(defaults.asked(profile, head)?)));
    }
    if evaluations.len() > EVALUATIONS_MAX {
        return Err(Malformed(
            "there are more than 64 `evaluations`; send several calls",
        ));
    }
    let semantic = read_semantic(&body)?;
    let read = |evaluation| Tuple::of(evaluation)?.or(defaults).asked(profile, head);
    Ok(Call::Many(evaluations.iter().map(read).collect(), semantic))
}

/// Refuses a member that stands twice: two readers may see two calls.
fn check_names(json: &Json) -> Result<(), Malformed> {
    match json {
        Json::Object(members) => {
            let mut names = BTreeSet::new();
            for (name, value) in members {
                if !names.insert(name) {
                    return Err(Malformed("a member of the body stands twice"));
                }
                check_names(value)?;
            }
            Ok(())
        }
        Json::List(items) => items.iter().try_for_each(check_names),
        _ => Ok(()),
    }
}

fn read_semantic(body: &Json) -> Result<Semantic, Malformed> {
    let options = member(body, "options");
    match options.and_then(|it| member(it, "evaluations_semantic")) {
        None => Ok(Semantic::ExecuteAll),
        Some(Json::Text(text)) if **text == "execute_all" => Ok(Semantic::ExecuteAll),
        Some(Json::Text(text)) if **text == "deny_on_first_deny" => Ok(Semantic::DenyOnFirstDeny),
        Some(Json::Text(text)) if **text == "permit_on_first_permit" => {
            Ok(Semantic::PermitOnFirstPermit)
        }
        Some(_) => Err(Malformed("`options.evaluations_semantic` is unknown")),
    }
}

/// The four parts of an evaluation, as far as they are given.
#[derive(Clone, Copy)]
struct Tuple<'a> {
    subject: Option<&'a Json>,
    action: Option<&'a Json>,
    resource: Option<&'a Json>,
    context: Option<&'a Json>,
}

impl<'a> Tuple<'a> {
    fn of(json: &'a Json) -> Result<Self, Malformed> {
        if !matches!(json, Json::Object(_)) {
            return Err(Malformed("an evaluation is not an object"));
        }
        Ok(Self {
            subject: member(json, "subject"),
            action: member(json, "action"),
            resource: member(json, "resource"),
            context: member(json, "context"),
        })
    }

    /// Each part whole: of this, or else of the defaults.
    fn or(self, defaults: Self) -> Self {
        Self {
            subject: self.subject.or(defaults.subject),
            action: self.action.or(defaults.action),
            resource: self.resource.or(defaults.resource),
            context: self.context.or(defaults.context),
        }
    }

    fn asked(self, profile: Profile, head: Head<'_>) -> Result<Asked, Malformed> {
        let subject = self.subject.ok_or(Malformed("`subject` is missing"))?;
        let action = self.action.ok_or(Malformed("`action` is missing"))?;
        let resource = self.resource.ok_or(Malformed("`resource` is missing"))?;
        let name = text(action, "name", "`action.name` is not a text")?;
        let kind = text(resource, "type", "`resource.type` is not a text")?;
        let id = text(resource, "id", "`resource.id` is not a text")?;
        text(subject, "type", "`subject.type` is not a text")?;
        text(subject, "id", "`subject.id` is not a text")?;
        let properties = member(resource, "properties");
        let property = |name| match properties.and_then(|it| member(it, name)) {
            Some(Json::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let (method, host, target, required_scope) = if kind == ROUTE {
            let host = property("hostname").unwrap_or_default();
            (name, host, property("path").unwrap_or(id), None)
        } else {
            let scope = format!("{kind}:{name}");
            ("POST", "", head.uri.path(), Some(scope))
        };
        Ok(Asked {
            origin: Origin::of(profile),
            id: request_id(head.headers),
            presented: presented(subject),
            method: method.to_owned(),
            host: host.to_owned(),
            target: target.as_bytes().to_vec(),
            headers: Vec::new(),
            client: Arc::new(Client {
                peer: head.peer,
                address: address(subject)?,
                chain: Vec::new(),
            }),
            attributes: self.attributes()?,
            required_scope,
        })
    }

    /// Everything but the credential, by its place.
    fn attributes(self) -> Result<BTreeMap<String, AttributeValue>, Malformed> {
        let mut attributes = BTreeMap::new();
        for (part, json) in [
            ("subject", self.subject),
            ("action", self.action),
            ("resource", self.resource),
            ("context", self.context),
        ] {
            let Some(json) = json else { continue };
            let Json::Object(members) = json else {
                return Err(Malformed("a part of an evaluation is not an object"));
            };
            for (name, value) in members {
                match (part, name.as_str(), value) {
                    ("context", ..) | (_, "type" | "id" | "name", _) => {
                        add(&mut attributes, format!("{part}.{name}"), value)?;
                    }
                    (_, "properties", Json::Object(properties)) => {
                        let of_subject = part == "subject";
                        let kept = properties.iter();
                        let kept = kept.filter(|(name, _)| !(of_subject && name == CREDENTIAL));
                        for (name, value) in kept {
                            let place = format!("{part}.properties.{name}");
                            add(&mut attributes, place, value)?;
                        }
                    }
                    (_, "properties", _) => {
                        return Err(Malformed("`properties` is not an object"));
                    }
                    _ => {}
                }
            }
        }
        Ok(attributes)
    }
}

/// The member of a subject's properties that is the credential.
const CREDENTIAL: &str = "credential";

fn presented(subject: &Json) -> Presented {
    match member(subject, "properties").and_then(|it| member(it, CREDENTIAL)) {
        None => Presented::None,
        Some(Json::Text(text)) => {
            Credential::parse(text).map_or(Presented::Malformed, Presented::Credential)
        }
        Some(_) => Presented::Malformed,
    }
}

fn address(subject: &Json) -> Result<Option<Address>, Malformed> {
    const NOT: Malformed = Malformed("`subject.properties.ip_address` is not an IP address");
    match member(subject, "properties").and_then(|it| member(it, "ip_address")) {
        None => Ok(None),
        Some(Json::Text(text)) => text.parse().map(Some).map_err(|_| NOT),
        Some(_) => Err(NOT),
    }
}

/// Adds an attribute, if it has a form that policies know. None may hold a credential: a policy
/// that asks for it would put it into the log.
fn add(
    attributes: &mut BTreeMap<String, AttributeValue>,
    place: String,
    value: &Json,
) -> Result<(), Malformed> {
    let clear = |text: &str| match is_secret(text) {
        true => Err(Malformed(
            "a credential stands elsewhere than in `credential`",
        )),
        false => Ok(Arc::<str>::from(text)),
    };
    clear(&place)?;
    let value = match value {
        Json::Text(text) => AttributeValue::Text(clear(text)?),
        Json::Integer(integer) => AttributeValue::Integer(*integer),
        Json::Flag(flag) => AttributeValue::Flag(*flag),
        Json::List(items) => {
            let texts = items.iter().map(|item| match item {
                Json::Text(text) => Some(clear(text)),
                _ => None,
            });
            match texts.collect::<Option<Result<Vec<_>, _>>>() {
                Some(texts) => AttributeValue::Texts(texts?.into()),
                None => return Ok(()),
            }
        }
        Json::Null | Json::Object(_) | Json::OtherNumber => return Ok(()),
    };
    attributes.insert(place, value);
    Ok(())
}

fn is_secret(text: &str) -> bool {
    text.contains("kw_live_") || text.contains("kw_test_")
}

/// A member of an object; `null` is like leaving one out.
fn member<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    let Json::Object(members) = json else {
        return None;
    };
    let found = members.iter().find(|(it, _)| it == name);
    found
        .map(|(_, value)| value)
        .filter(|value| !matches!(value, Json::Null))
}

fn text<'a>(json: &'a Json, name: &str, error: &'static str) -> Result<&'a str, Malformed> {
    match member(json, name) {
        Some(Json::Text(text)) => Ok(text),
        _ => Err(Malformed(error)),
    }
}

impl Answers {
    /// What is said of one evaluation. `key` is the record that was decided on.
    #[must_use]
    pub fn evaluation(&self, decision: &Decision, key: Option<&KeyRecord>) -> Value {
        self.evaluation_of(decision.record(), key)
    }

    pub(in super::super) fn evaluation_of(
        &self,
        record: &DecisionRecord,
        key: Option<&KeyRecord>,
    ) -> Value {
        let id = record.id.to_string();
        let context = match record.permission {
            Permission::Allow => {
                let identity = Identity::new(record, key, self.notice_days);
                json!({
                    "decision_id": id,
                    "key_id": record.key.map(|key| key.to_string()),
                    "subject": key.map(|key| &*key.owner),
                    "scopes": key.map(|key| key.scopes.iter().map(|it| &**it).collect::<Vec<_>>()),
                    "warning": identity.warning(),
                })
            }
            Permission::Deny => {
                let class = Class::of(&record.reason);
                let mut context = json!({
                    "decision_id": id,
                    "status": class.status().as_u16(),
                    "detail": class.detail(),
                });
                let more = match class {
                    Class::InsufficientScope => {
                        needed_scope(record).map(|scope| ("scope", json!(scope)))
                    }
                    Class::RateLimited => Some(("retry_after", json!(retry_after_seconds(record)))),
                    _ => None,
                };
                if let (Some((name, value)), Some(context)) = (more, context.as_object_mut()) {
                    context.insert(name.to_owned(), value);
                }
                context
            }
        };
        json!({"decision": record.permission == Permission::Allow, "context": context})
    }
}

/// What is said of one of several evaluations that was malformed.
#[must_use]
pub fn malformed(error: Malformed) -> Value {
    json!({"decision": false, "context": {"error": {"status": 400, "message": error.0}}})
}

/// The answer to one evaluation. `id` is the caller's own name for the call.
#[must_use]
pub fn one(evaluation: &Value, id: Option<&str>) -> Answer {
    ok(evaluation, id)
}

/// The answer to several.
#[must_use]
pub fn many(evaluations: &[Value], id: Option<&str>) -> Answer {
    ok(&json!({ "evaluations": evaluations }), id)
}

/// The answer to what is no call.
#[must_use]
pub fn refusal(error: Malformed, id: Option<&str>) -> Answer {
    with_id(Answer::refusal(StatusCode::BAD_REQUEST, error.0), id)
}

fn ok(body: &Value, id: Option<&str>) -> Answer {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = Answer {
        status: StatusCode::OK,
        headers,
        body: body.to_string().into_bytes(),
    };
    with_id(answer, id)
}

fn with_id(mut answer: Answer, id: Option<&str>) -> Answer {
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(id).ok()) {
        answer.headers.insert(REQUEST_ID, id);
    }
    answer
}

#[cfg(test)]
mod tests;
