//! Cedar, in process: `policy.cedar` over entities that are the keys, the route table's scopes and
//! the grants that cover them.
//!
//! The host does what Cedar leaves to it: it knows the keys and their lifecycle, and of everything
//! that forbids it takes the first reason.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId,
    PolicySet, Request as CedarRequest, RestrictedExpression as Value,
};
use keyward::key::Lifecycle;

use crate::peer::{Answer, Peer};
use crate::settings::{blocked, covering};
use crate::workload::{Key, Request, Workload};

/// How many networks of a key the policy has slots for.
const NETWORKS_MAX: usize = 8;
static BLOCKED: LazyLock<EntityTypeName> = LazyLock::new(|| "Blocked".parse().unwrap());
static GRANT: LazyLock<EntityTypeName> = LazyLock::new(|| "Grant".parse().unwrap());
static KEY: LazyLock<EntityTypeName> = LazyLock::new(|| "Key".parse().unwrap());
static SCOPE: LazyLock<EntityTypeName> = LazyLock::new(|| "Scope".parse().unwrap());
/// The reasons in the order in which they count, as in `policy.cedar`.
const REASONS: [&str; 11] = [
    "scope.unmapped",
    "scope.read-only",
    "scope.missing",
    "rotation.not-yet-valid",
    "rotation.no-expiry",
    "rotation.lifetime-exceeded",
    "rotation.expired",
    "rotation.grace-ended",
    "ip.blocked",
    "ip.source-unknown",
    "ip.not-allowed",
];

/// All keys and scopes in one store that is built once: the fastest way that Cedar offers here.
pub(crate) struct Stored {
    engine: Engine,
    keys: HashMap<String, (Lifecycle, EntityUid)>,
    entities: Entities,
}

/// The entities that a request needs, built for it from the key's record.
pub(crate) struct Sliced {
    engine: Engine,
    keys: HashMap<String, Key>,
    blocked: Vec<Entity>,
}

/// What both have.
struct Engine {
    authorizer: Authorizer,
    policies: PolicySet,
    /// Places in [`REASONS`].
    reasons: HashMap<PolicyId, usize>,
    action: EntityUid,
    /// The scopes of the route table, whose parents are the grants that cover them.
    scopes: HashMap<String, Entity>,
    unmapped: Entity,
}

impl Stored {
    pub(crate) fn new(workload: &Workload) -> Self {
        let engine = Engine::new(workload);
        let scopes = engine.scopes.values().chain([&engine.unmapped]).cloned();
        let keys = workload.keys.iter().map(key_entity);
        let entities = scopes.chain(blocked_entities()).chain(keys);
        let entities = Entities::from_entities(entities, None).unwrap();
        let key = |key: &Key| (key.id.clone(), (key.lifecycle, uid(&KEY, &key.id)));
        Self {
            engine,
            keys: workload.keys.iter().map(key).collect(),
            entities,
        }
    }
}

impl Peer for Stored {
    fn decide(&mut self, request: &Request) -> Answer {
        let Some((lifecycle, principal)) = self.keys.get(&request.key) else {
            return Answer::deny("key.unknown");
        };
        gate(*lifecycle).unwrap_or_else(|| {
            let asked = (principal.clone(), self.engine.scope(request).uid());
            self.engine.ask(asked, request, &self.entities)
        })
    }
}

impl Sliced {
    pub(crate) fn new(workload: &Workload) -> Self {
        let keys = workload.keys.iter();
        Self {
            engine: Engine::new(workload),
            keys: keys.map(|key| (key.id.clone(), key.clone())).collect(),
            blocked: blocked_entities(),
        }
    }
}

impl Peer for Sliced {
    fn decide(&mut self, request: &Request) -> Answer {
        let Some(key) = self.keys.get(&request.key) else {
            return Answer::deny("key.unknown");
        };
        gate(key.lifecycle).unwrap_or_else(|| {
            let (principal, resource) = (key_entity(key), self.engine.scope(request));
            let asked = (principal.uid(), resource.uid());
            let shared = self.blocked.iter().chain([resource]).cloned();
            let entities = Entities::from_entities(shared.chain([principal]), None).unwrap();
            self.engine.ask(asked, request, &entities)
        })
    }
}

impl Engine {
    fn new(workload: &Workload) -> Self {
        let policies: PolicySet = include_str!("policy.cedar").parse().unwrap();
        let reasons = policies.policies().filter_map(|policy| {
            let reason = policy.annotation("reason")?;
            let place = REASONS.iter().position(|known| *known == reason);
            Some((policy.id().clone(), place.unwrap()))
        });
        let scopes = workload.scopes().into_iter();
        Self {
            authorizer: Authorizer::new(),
            reasons: reasons.collect(),
            action: "Action::\"use\"".parse().unwrap(),
            scopes: scopes.map(|it| (it.to_owned(), scope_entity(it))).collect(),
            unmapped: scope_entity(""),
            policies,
        }
    }

    fn scope(&self, request: &Request) -> &Entity {
        let scope = request.scope.as_ref();
        scope.map_or(&self.unmapped, |scope| self.scopes.get(scope).unwrap())
    }

    fn ask(
        &self,
        (principal, resource): (EntityUid, EntityUid),
        request: &Request,
        entities: &Entities,
    ) -> Answer {
        let now = ("now".to_owned(), Value::new_long(request.time.millis()));
        let source = |source: &keyward::address::Address| {
            ("source".to_owned(), Value::new_ip(source.to_string()))
        };
        let source = request.source.as_ref().map(source);
        let context = Context::from_pairs([now].into_iter().chain(source)).unwrap();
        let action = self.action.clone();
        let asked = CedarRequest::new(principal, action, resource, context, None).unwrap();
        let response = self
            .authorizer
            .is_authorized(&asked, &self.policies, entities);
        let diagnostics = response.diagnostics();
        if diagnostics.errors().next().is_some() {
            return Answer::deny("cedar.error");
        }
        if response.decision() == Decision::Allow {
            return Answer::allow();
        }
        let reasons = diagnostics.reason().filter_map(|id| self.reasons.get(id));
        let first = reasons.min().and_then(|place| REASONS.get(*place));
        Answer::deny(first.unwrap())
    }
}

const fn gate(lifecycle: Lifecycle) -> Option<Answer> {
    match lifecycle {
        Lifecycle::Revoked => Some(Answer::deny("key.revoked")),
        Lifecycle::Suspended => Some(Answer::deny("key.suspended")),
        Lifecycle::Active | Lifecycle::Deprecated => None,
    }
}

fn key_entity(key: &Key) -> Entity {
    let grants = key.scopes.iter();
    let grants = grants.map(|grant| Value::new_entity_uid(uid(&GRANT, grant)));
    let mut attributes = HashMap::from([
        ("grants".to_owned(), Value::new_set(grants)),
        ("readOnly".to_owned(), Value::new_bool(key.read_only)),
        (
            "deprecated".to_owned(),
            Value::new_bool(key.lifecycle == Lifecycle::Deprecated),
        ),
        (
            "issuedAt".to_owned(),
            Value::new_long(key.issued_at.millis()),
        ),
        (
            "hasNetworks".to_owned(),
            Value::new_bool(key.allowed_networks.is_some()),
        ),
    ]);
    let instants = [
        ("notBefore", key.not_before),
        ("expiresAt", key.expires_at),
        ("graceUntil", key.grace_until),
    ];
    for (name, instant) in instants {
        let instant = instant.map(|instant| Value::new_long(instant.millis()));
        attributes.extend(instant.map(|instant| (name.to_owned(), instant)));
    }
    let networks = key.allowed_networks.iter().flatten();
    attributes.extend(slots(networks, NETWORKS_MAX));
    Entity::new(uid(&KEY, &key.id), attributes, HashSet::new()).unwrap()
}

fn blocked_entities() -> Vec<Entity> {
    let [v4, v6] = blocked();
    let entity = |(name, networks): (&str, Vec<_>)| {
        let attributes = slots(networks.iter(), networks.len());
        Entity::new(uid(&BLOCKED, name), attributes.collect(), HashSet::new()).unwrap()
    };
    [("v4", v4), ("v6", v6)].map(entity).into()
}

/// Networks as the attributes `net0`, `net1` and so on.
fn slots<'a>(
    networks: impl Iterator<Item = &'a keyward::address::Network>,
    max: usize,
) -> impl Iterator<Item = (String, Value)> {
    networks.enumerate().map(move |(at, network)| {
        assert!(at < max, "more networks than the policy has slots for");
        (format!("net{at}"), Value::new_ip(network.to_string()))
    })
}

/// A scope below the grants that cover it; the empty text is the scope of no route.
fn scope_entity(scope: &str) -> Entity {
    let (action, grants) = match scope.split_once(':') {
        Some((_, action)) => (action, covering(scope)),
        None => ("", Vec::new()),
    };
    let attributes = HashMap::from([("action".to_owned(), Value::new_string(action.to_owned()))]);
    let grants = grants.iter().map(|grant| uid(&GRANT, grant)).collect();
    Entity::new(uid(&SCOPE, scope), attributes, grants).unwrap()
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}
