//! An access request as one line of JSON.
//!
//! ```json
//! {"id":"r1","time":"2026-11-23T10:00:00Z","credential":"kw_live_…","method":"GET",
//!  "host":"api.example.com","path":"/inventory/42","headers":{"user-agent":["sync/1.4"]},
//!  "source":"203.0.113.9","attributes":{"geo.country":"NG"}}
//! ```
//!
//! The line is read into a tree first, and every error is written here, from names alone: the
//! messages that serde makes quote values, and a value may be a secret in the wrong place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use zeroize::Zeroizing;

use crate::address::Address;
use crate::config::suggest::{hint, nearest};
use crate::credential::{Credential, Presented};
use crate::timestamp::Timestamp;

use super::{AccessRequest, AttributeValue, CREDENTIAL_HEADERS, RequestError, RequestParts};

/// The members of a request, in the order of the manual.
const MEMBERS: [&str; 11] = [
    "id",
    "time",
    "credential",
    "key",
    "method",
    "host",
    "path",
    "headers",
    "source",
    "attributes",
    "required_scope",
];
/// The longest text that can be no secret: one has 32 characters.
const PRESENTABLE_MAX_BYTES: usize = 31;

/// Why a line of JSON is not an access request. Never holds a value of the line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Header names that are the same in lower case.
    #[error("the header `{0}` stands twice; give its values as one list")]
    HeaderTwice(String),
    /// A member without which there is no request.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// JSON, and not an object.
    #[error("not an object of JSON")]
    NotObject,
    /// Not JSON.
    #[error("not JSON: {problem} at column {column}")]
    Syntax {
        /// What is wrong, in a few words.
        problem: &'static str,
        /// The byte of the line, from 1, at which it shows.
        column: usize,
    },
    /// A member that stands twice, so that two readers may see two requests.
    #[error("`{0}` stands twice")]
    Twice(String),
    /// A value of another type or form.
    #[error("`{name}` is not {expected}")]
    Type {
        /// The member, or the attribute or header with what holds it.
        name: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// A member that no request has.
    #[error("unknown field `{name}`{}", hint(*.nearest))]
    Unknown {
        /// Its name.
        name: String,
        /// The name that was probably meant.
        nearest: Option<&'static str>,
    },
}

impl AccessRequest {
    /// Reads one line of JSON. `now` is the time of a request that names none.
    ///
    /// # Errors
    /// [`RequestError`]; it never holds a value of the line, and so no credential.
    pub fn from_json(line: &str, now: Timestamp) -> Result<Self, RequestError> {
        let members = match serde_json::from_str(line) {
            Ok(Json::Object(members)) => read_members(members)?,
            Ok(_) => return Err(JsonError::NotObject.into()),
            Err(error) => return Err(syntax(&error).into()),
        };
        Self::new(read_parts(members, now)?)
    }
}

/// The name of a member, header or attribute as an error shows it.
pub(super) fn shown(name: &str) -> String {
    if is_presentable(name) {
        name.escape_debug().to_string()
    } else {
        "…".to_owned()
    }
}

/// Members by name, once none is unknown and none stands twice. `null` is like leaving one out.
fn read_members(members: Vec<(String, Json)>) -> Result<BTreeMap<&'static str, Json>, JsonError> {
    let mut by_name = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (name, value) in members {
        let Some(known) = MEMBERS.into_iter().find(|known| *known == name) else {
            let nearest = nearest(&name, MEMBERS);
            return Err(JsonError::Unknown {
                name: shown(&name),
                nearest,
            });
        };
        if !seen.insert(known) {
            return Err(JsonError::Twice(known.to_owned()));
        }
        if !matches!(value, Json::Null) {
            by_name.insert(known, value);
        }
    }
    Ok(by_name)
}

/// The parts of a request.
fn read_parts(
    mut members: BTreeMap<&'static str, Json>,
    now: Timestamp,
) -> Result<RequestParts, JsonError> {
    let mut text = |name: &'static str| match members.remove(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(mistyped(name, "a text")),
    };
    let time = match text("time")? {
        Some(time) => parse_time("time", &time)?,
        None => now,
    };
    let presented = read_presented(text("credential")?, text("key")?);
    let method = text("method")?.ok_or(JsonError::Missing("method"))?;
    let target = text("path")?.ok_or(JsonError::Missing("path"))?;
    let mut parts = RequestParts::new(time, presented, kept(method), kept(target));
    parts.id = text("id")?.map(kept);
    parts.host = text("host")?.map(kept).unwrap_or_default();
    parts.source = text("source")?
        .map(|source| parse_address("source", &source))
        .transpose()?;
    parts.required_scope = text("required_scope")?.map(kept);
    if let Some(headers) = members.remove("headers") {
        parts.headers = read_headers(headers)?;
    }
    if let Some(attributes) = members.remove("attributes") {
        parts.attributes = read_attributes(attributes)?;
    }
    Ok(parts)
}

/// What was presented. What may be a credential, or the secret of one, is not taken for the id of a
/// key, since ids are recorded.
fn read_presented(
    credential: Option<Zeroizing<String>>,
    key: Option<Zeroizing<String>>,
) -> Presented {
    match (credential, key) {
        (None, None) => Presented::None,
        (Some(_), Some(_)) => Presented::Ambiguous,
        (Some(text), None) => {
            Credential::parse(&text).map_or(Presented::Malformed, Presented::Credential)
        }
        (None, Some(id)) if is_presentable(&id) => Presented::KeyId(id.as_str().into()),
        (None, Some(_)) => Presented::Malformed,
    }
}

/// A text that is kept: not a secret's place.
fn kept(mut text: Zeroizing<String>) -> String {
    std::mem::take(&mut *text)
}

/// Whether a text is too short for a secret and does not look like the start of a credential.
fn is_presentable(text: &str) -> bool {
    text.len() <= PRESENTABLE_MAX_BYTES && !text.contains("kw_")
}

/// Headers: an object of lists of texts.
fn read_headers(headers: Json) -> Result<Vec<(String, String)>, JsonError> {
    let Json::Object(members) = headers else {
        return Err(mistyped("headers", "an object of lists of texts"));
    };
    let mut names = BTreeSet::new();
    let mut headers = Vec::new();
    for (name, values) in members {
        if !names.insert(name.to_ascii_lowercase()) {
            return Err(JsonError::HeaderTwice(shown(&name.to_ascii_lowercase())));
        }
        let expected = || mistyped(&format!("headers.{}", shown(&name)), "a list of texts");
        let Json::List(values) = values else {
            return Err(expected());
        };
        for value in values {
            let Json::Text(value) = value else {
                return Err(expected());
            };
            // One that holds a credential goes no further, and is wiped here.
            if !CREDENTIAL_HEADERS.contains(&&*name.to_ascii_lowercase()) {
                headers.push((name.clone(), kept(value)));
            }
        }
    }
    Ok(headers)
}

/// Attributes: an object of values.
fn read_attributes(attributes: Json) -> Result<BTreeMap<String, AttributeValue>, JsonError> {
    let Json::Object(members) = attributes else {
        return Err(mistyped("attributes", "an object"));
    };
    let mut attributes = BTreeMap::new();
    for (name, value) in members {
        let value = read_attribute(&name, value)?;
        if attributes.contains_key(&name) {
            return Err(JsonError::Twice(format!("attributes.{}", shown(&name))));
        }
        attributes.insert(name, value);
    }
    Ok(attributes)
}

/// One attribute's value.
fn read_attribute(name: &str, value: Json) -> Result<AttributeValue, JsonError> {
    let place = format!("attributes.{}", shown(name));
    let expected = || {
        mistyped(
            &place,
            "a text, a whole number of 64 bits, true, false, a list of texts, {\"instant\": …} \
             or {\"address\": …}",
        )
    };
    match value {
        Json::Text(text) => Ok(AttributeValue::Text(text.as_str().into())),
        Json::Integer(integer) => Ok(AttributeValue::Integer(integer)),
        Json::Flag(flag) => Ok(AttributeValue::Flag(flag)),
        Json::List(items) => {
            let texts: Option<Vec<Arc<str>>> = items.into_iter().map(Json::into_text).collect();
            texts
                .map(|texts| AttributeValue::Texts(texts.into()))
                .ok_or_else(expected)
        }
        Json::Object(members) => {
            let mut members = members.into_iter();
            let (Some((kind, Json::Text(text))), None) = (members.next(), members.next()) else {
                return Err(expected());
            };
            match kind.as_str() {
                "instant" => parse_time(&place, &text).map(AttributeValue::Instant),
                "address" => parse_address(&place, &text).map(AttributeValue::Address),
                _ => Err(expected()),
            }
        }
        Json::Null | Json::OtherNumber => Err(expected()),
    }
}

fn parse_time(name: &str, text: &str) -> Result<Timestamp, JsonError> {
    Timestamp::parse(text)
        .map_err(|_| mistyped(name, "a time in UTC such as 2026-11-23T10:00:00.000Z"))
}

fn parse_address(name: &str, text: &str) -> Result<Address, JsonError> {
    text.parse().map_err(|_| {
        mistyped(
            name,
            "an IP address; zone ids, ports and leading zeros are not accepted",
        )
    })
}

fn mistyped(name: &str, expected: &'static str) -> JsonError {
    JsonError::Type {
        name: name.to_owned(),
        expected,
    }
}

/// An error of the parser, in words that are ours.
fn syntax(error: &serde_json::Error) -> JsonError {
    let problem = match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax | Category::Data | Category::Io => "it cannot be read on",
    };
    JsonError::Syntax {
        problem,
        column: error.column(),
    }
}

/// A JSON value with members in order, also those that stand twice. It can hold a secret, so it
/// cannot be printed.
pub(crate) enum Json {
    Flag(bool),
    Integer(i64),
    List(Vec<Self>),
    Null,
    Object(Vec<(String, Self)>),
    /// A fraction, or outside of 64 bits.
    OtherNumber,
    /// Any text may be a credential, also one in the wrong place.
    Text(Zeroizing<String>),
}

impl Json {
    fn into_text(self) -> Option<Arc<str>> {
        match self {
            Self::Text(text) => Some(text.as_str().into()),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(i64::try_from(value).map_or(Json::OtherNumber, Json::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(Zeroizing::new(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(Zeroizing::new(value)))
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests;
