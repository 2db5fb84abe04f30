//! What is sent and answered: the JSON of the Admin API.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::governance::preflight::Checks;
use crate::key::event::{KeyEvent, Subject};
use crate::key::order::RevocationOrder;
use crate::key::state::State;
use crate::key::{KeyId, KeyRecord};
use crate::registry::sqlite::{Changed, Listed};

/// The most keys or events of one answer.
pub(super) const PAGE_MAX: u32 = 1_000;
/// The keys or events of one answer, unless it is said.
const PAGE_DEFAULT: u32 = 100;

/// A state of a key.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum StateName {
    Pending,
    Active,
    Deprecated,
    Superseded,
    Suspended,
    Expired,
    Revoked,
}

impl From<StateName> for State {
    fn from(name: StateName) -> Self {
        match name {
            StateName::Pending => Self::Pending,
            StateName::Active => Self::Active,
            StateName::Deprecated => Self::Deprecated,
            StateName::Superseded => Self::Superseded,
            StateName::Suspended => Self::Suspended,
            StateName::Expired => Self::Expired,
            StateName::Revoked => Self::Revoked,
        }
    }
}

/// Which keys to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only keys of this owner
    pub(super) owner: Option<String>,
    /// Only keys in this state
    #[param(inline)]
    pub(super) state: Option<StateName>,
    /// The `next` of the page before
    #[param(value_type = Option<String>, pattern = "^[0-9A-Za-z]{12}$")]
    pub(super) after: Option<String>,
    /// At most so many
    #[serde(default = "page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: u32,
}

/// Which events to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventParams {
    /// The `next` of the page before
    #[serde(default)]
    #[param(default = 0)]
    pub(super) after: u64,
    /// At most so many
    #[serde(default = "page")]
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: u32,
}

const fn page() -> u32 {
    PAGE_DEFAULT
}

/// A key, as the registry knows it. Never its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct Key {
    #[schema(pattern = "^[0-9A-Za-z]{12}$")]
    id: String,
    /// Counts its changes
    version: u64,
    /// Who answers for it
    owner: String,
    /// `live` or `test`
    environment: &'static str,
    /// What was done to it: `active`, `deprecated`, `suspended` or `revoked`
    lifecycle: &'static str,
    /// What it is at this time
    state: &'static str,
    #[schema(format = DateTime)]
    issued_at: String,
    #[schema(format = DateTime)]
    not_before: Option<String>,
    #[schema(format = DateTime)]
    rotate_by: Option<String>,
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    #[schema(format = DateTime)]
    grace_until: Option<String>,
    scopes: Vec<String>,
    read_only: bool,
    /// From where it may be used; without one from anywhere
    allowed_networks: Option<Vec<String>>,
    labels: BTreeMap<String, String>,
    /// The key that it succeeds
    predecessor: Option<String>,
}

impl Key {
    pub(super) fn new(record: &KeyRecord, (state, predecessor): (State, Option<KeyId>)) -> Self {
        let texts = |it: &[std::sync::Arc<str>]| it.iter().map(|it| it.to_string()).collect();
        let networks = record.allowed_networks.as_deref();
        let labels = record.labels.iter();
        Self {
            id: record.id.to_string(),
            version: record.version,
            owner: record.owner.to_string(),
            environment: record.environment.as_str(),
            lifecycle: record.lifecycle.as_str(),
            state: state.as_str(),
            issued_at: record.issued_at.to_string(),
            not_before: record.not_before.map(|it| it.to_string()),
            rotate_by: record.rotate_by.map(|it| it.to_string()),
            expires_at: record.expires_at.map(|it| it.to_string()),
            grace_until: record.grace_until.map(|it| it.to_string()),
            scopes: texts(&record.scopes),
            read_only: record.read_only,
            allowed_networks: networks.map(|it| it.iter().map(ToString::to_string).collect()),
            labels: labels
                .map(|(name, it)| (name.to_string(), it.to_string()))
                .collect(),
            predecessor: predecessor.map(|it| it.to_string()),
        }
    }
}

impl From<&Listed> for Key {
    fn from(listed: &Listed) -> Self {
        Self::new(&listed.record, (listed.state, listed.predecessor))
    }
}

/// Keys in the order of their ids.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyPage {
    pub(super) keys: Vec<Key>,
    /// Where the next page begins; without one this is the last
    pub(super) next: Option<String>,
}

/// An event of a key.
#[derive(Serialize, ToSchema)]
pub(super) struct Event {
    /// Its number in the registry
    sequence: u64,
    #[schema(format = DateTime)]
    time: String,
    kind: &'static str,
    /// The key; without one it is about none
    key: Option<String>,
    /// The key's version after it
    version: Option<u64>,
    /// Who did it
    actor: Option<String>,
    /// How they came: a user of the operating system, or `key:` and the key's id
    user: Option<String>,
    reason: Option<String>,
    /// The digest of the order that it is about
    order: Option<String>,
}

impl From<&KeyEvent> for Event {
    fn from(event: &KeyEvent) -> Self {
        let (key, version) = match &event.subject {
            Subject::Key { id, version, .. } => (Some(*id), Some(*version)),
            Subject::Nothing { id } => (*id, None),
            Subject::Keys { .. } => (None, None),
        };
        Self {
            sequence: event.sequence,
            time: event.time.to_string(),
            kind: event.kind.as_str(),
            key: key.map(|it| it.to_string()),
            version,
            actor: event.actor.as_ref().map(ToString::to_string),
            user: event.user.as_ref().map(ToString::to_string),
            reason: event.reason.as_ref().map(ToString::to_string),
            order: event.order.map(|it| it.to_string()),
        }
    }
}

/// Events in their order.
#[derive(Serialize, ToSchema)]
pub(super) struct EventPage {
    pub(super) events: Vec<Event>,
    /// Where the next page begins; without one this is the last
    pub(super) next: Option<u64>,
}

/// What was found before a change.
#[derive(Serialize, ToSchema)]
pub(super) struct Finding {
    /// What was looked at
    check: &'static str,
    /// `ok` or `warning`
    verdict: &'static str,
    text: String,
}

pub(super) fn findings(checks: &Checks) -> Vec<Finding> {
    let findings = checks.iter().map(|it| Finding {
        check: it.name,
        verdict: it.verdict.as_str(),
        text: it.text.clone(),
    });
    findings.collect()
}

/// A key to be issued.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "owner": "inventory-sync",
    "scopes": ["inventory:read"],
    "expires_in_days": 60,
    "reason": "stock synchronisation",
}))]
pub(super) struct NewKeyBody {
    /// Who answers for it
    #[schema(min_length = 1, max_length = 256)]
    pub(super) owner: String,
    /// What it may do: `resource:action`. A wildcard becomes the scopes that it stands for now
    #[schema(min_items = 1, max_items = 128)]
    pub(super) scopes: Vec<String>,
    /// Grant wildcards as they are
    #[serde(default)]
    pub(super) keep_wildcards: bool,
    /// When it ends; this or `expires_in_days`
    #[schema(format = DateTime)]
    pub(super) expires_at: Option<String>,
    /// When it ends, counted from now
    #[schema(minimum = 1, maximum = 36500)]
    pub(super) expires_in_days: Option<u32>,
    /// From when it may be used
    #[schema(format = DateTime)]
    pub(super) not_before: Option<String>,
    /// When it should have been rotated
    #[schema(format = DateTime)]
    pub(super) rotate_by: Option<String>,
    /// From where it may be used; empty: from nowhere
    #[schema(max_items = 512)]
    pub(super) allowed_networks: Option<Vec<String>>,
    /// It begins under the read-only mask
    #[serde(default)]
    pub(super) read_only: bool,
    /// The organisation's own names for things
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// The environment that its credential names
    #[serde(default)]
    #[schema(inline)]
    pub(super) environment: EnvironmentName,
    /// Why, for the key's history
    #[schema(max_length = 1024)]
    pub(super) reason: Option<String>,
}

/// An environment.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum EnvironmentName {
    #[default]
    Live,
    Test,
}

/// A key that was issued.
#[derive(Serialize, ToSchema)]
pub(super) struct Issued {
    pub(super) key: Key,
    /// Shown this once
    pub(super) credential: String,
    pub(super) findings: Vec<Finding>,
}

/// Why something is done.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// Why, for the key's history
    #[schema(max_length = 1024)]
    pub(super) reason: Option<String>,
}

/// Why something is done that is not done without a reason.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reason {
    /// Why, for the key's history
    #[schema(min_length = 1, max_length = 1024)]
    pub(super) reason: String,
}

/// A change that was made. It is in force once the service has seen it, within a second.
#[derive(Serialize, ToSchema)]
pub(super) struct Change {
    pub(super) key: Key,
    pub(super) event: Event,
}

impl Change {
    pub(super) fn new(changed: &Changed, state: (State, Option<KeyId>)) -> Self {
        Self {
            key: Key::new(&changed.record, state),
            event: (&changed.event).into(),
        }
    }
}

/// How a key is rotated.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateBody {
    /// How long the old key stays usable, in seconds; 0 for one that leaked; by default 7 days
    #[schema(minimum = 0, maximum = 31536000)]
    pub(super) grace_seconds: Option<u64>,
    /// End the grace period of an earlier rotation that is still open (a manager)
    #[serde(default)]
    pub(super) force: bool,
    /// Why, for the keys' histories
    #[schema(max_length = 1024)]
    pub(super) reason: Option<String>,
}

/// How a key rotates itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateSelfBody {
    /// How long the key stays usable, in seconds; by default as long as is allowed
    #[schema(minimum = 0, maximum = 31536000)]
    pub(super) grace_seconds: Option<u64>,
}

/// A rotation that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct RotatedKey {
    /// The old key
    pub(super) key: Key,
    pub(super) successor: Key,
    /// The successor's, shown this once
    pub(super) credential: String,
    /// It was rotated before, and nobody had used the successor: that has another secret now
    pub(super) is_repeat: bool,
    pub(super) findings: Vec<Finding>,
}

/// An order to revoke a key.
#[derive(Serialize, ToSchema)]
pub(super) struct Order {
    /// Its digest, by which it is confirmed
    #[schema(pattern = "^[0-9a-f]{64}$")]
    order: String,
    key: String,
    requester: String,
    reason: String,
    #[schema(format = DateTime)]
    at: String,
    /// Until when it can be confirmed
    #[schema(format = DateTime)]
    expires_at: String,
}

impl From<&RevocationOrder> for Order {
    fn from(order: &RevocationOrder) -> Self {
        Self {
            order: order.digest().to_string(),
            key: order.key.to_string(),
            requester: order.requester.clone(),
            reason: order.reason.clone(),
            at: order.at.to_string(),
            expires_at: order.expires_at.to_string(),
        }
    }
}

/// The orders that can be confirmed.
#[derive(Serialize, ToSchema)]
pub(super) struct Orders {
    pub(super) orders: Vec<Order>,
}

/// A decision, and why it was made.
#[derive(Serialize, ToSchema)]
pub(super) struct DecisionView {
    /// Its entry in the log
    pub(super) index: u64,
    /// The record, as `keyward log cat` shows it
    #[schema(value_type = Object)]
    pub(super) record: serde_json::Value,
    /// Why, in a sentence
    pub(super) text: String,
    /// What the key's owner can do about it
    pub(super) remedy: Option<String>,
}
