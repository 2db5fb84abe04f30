//! Rego, in process: `policy.rego` with the keys as data, in the two engines of regorus.

use std::collections::BTreeMap;
use std::net::IpAddr;

use keyward::address::Network;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use regorus::{Engine, Value};
use serde_json::json;
use smol_str::SmolStr;

use crate::peer::{Answer, Peer};
use crate::settings::{blocked, covering};
use crate::workload::{Key, Request, Workload};

const RULE: &str = "data.keyward.reason";

/// The interpreter, which walks the policy's tree.
pub(crate) struct Interpreted {
    engine: Engine,
    names: Names,
}

/// The virtual machine, which runs the policy compiled.
pub(crate) struct Compiled {
    machine: RegoVM,
    names: Names,
}

/// The texts of every input, made once.
struct Names([Value; 5], [Value; 2]);

impl Interpreted {
    pub(crate) fn new(workload: &Workload) -> Self {
        let mut engine = engine();
        engine.add_data(data(workload)).unwrap();
        Self {
            engine,
            names: Names::new(),
        }
    }
}

impl Peer for Interpreted {
    fn decide(&mut self, request: &Request) -> Answer {
        self.engine.set_input(self.names.input(request));
        answer(&self.engine.eval_rule(RULE.to_owned()).unwrap())
    }
}

impl Compiled {
    pub(crate) fn new(workload: &Workload) -> Self {
        let policy = engine().compile_with_entrypoint(&RULE.into()).unwrap();
        let program = Compiler::compile_from_policy(&policy, &[RULE]).unwrap();
        let mut machine = RegoVM::new();
        machine.load_program(program);
        machine.set_data(data(workload)).unwrap();
        Self {
            machine,
            names: Names::new(),
        }
    }
}

impl Peer for Compiled {
    fn decide(&mut self, request: &Request) -> Answer {
        self.machine.set_input(self.names.input(request));
        answer(&self.machine.execute().unwrap())
    }
}

impl Names {
    fn new() -> Self {
        let names = ["family", "key", "now", "scope", "source"];
        Self(names.map(Value::from), ["v4", "v6"].map(Value::from))
    }

    /// The input of a request, without going through JSON.
    fn input(&self, request: &Request) -> Value {
        let Self([family, key, now, scope, source], [v4, v6]) = self;
        let mut input = BTreeMap::from([
            (key.clone(), Value::from(request.key.as_str())),
            (now.clone(), Value::from(request.time.millis())),
        ]);
        if let Some(required) = &request.scope {
            input.insert(scope.clone(), Value::from(required.as_str()));
        }
        if let Some(address) = request.source {
            input.insert(source.clone(), Value::from(address.to_string()));
            let is_v4 = address.ip().is_ipv4();
            input.insert(family.clone(), if is_v4 { v4 } else { v6 }.clone());
        }
        Value::from(input)
    }
}

fn engine() -> Engine {
    let mut engine = Engine::new();
    let policy = include_str!("policy.rego").to_owned();
    engine.add_policy("policy.rego".to_owned(), policy).unwrap();
    engine
}

/// A reason that is undefined denies.
fn answer(reason: &Value) -> Answer {
    reason
        .as_string()
        .map_or(Answer::deny("rego.undefined"), |reason| {
            Answer::shared(&**reason == "scope.granted", SmolStr::new(reason))
        })
}

fn data(workload: &Workload) -> Value {
    let keys = workload.keys.iter();
    let keys: BTreeMap<_, _> = keys.map(|key| (key.id.as_str(), of_key(key))).collect();
    let scopes = workload.scopes().into_iter().map(|scope| {
        let (_, action) = scope.split_once(':').unwrap();
        let covering = covering(scope).into_iter().map(|grant| (grant, true));
        let covering: BTreeMap<_, _> = covering.collect();
        (scope, json!({"action": action, "covering": covering}))
    });
    let scopes: BTreeMap<_, _> = scopes.collect();
    let [v4, v6] = blocked();
    let blocked = families(&[v4, v6].concat());
    Value::from(json!({"keys": keys, "scopes": scopes, "blocked": blocked}))
}

fn of_key(key: &Key) -> serde_json::Value {
    let mut value = json!({
        "lifecycle": key.lifecycle,
        "issued_at": key.issued_at.millis(),
        "scopes": key.scopes,
        "read_only": key.read_only,
    });
    let members = value.as_object_mut().unwrap();
    let instants = [
        ("not_before", key.not_before),
        ("expires_at", key.expires_at),
        ("grace_until", key.grace_until),
    ];
    for (name, instant) in instants {
        let instant = instant.map(|instant| (name.to_owned(), json!(instant.millis())));
        members.extend(instant);
    }
    let networks = key.allowed_networks.as_ref();
    members.extend(networks.map(|networks| ("networks".to_owned(), families(networks))));
    value
}

/// Networks as texts, by family.
fn families(networks: &[Network]) -> serde_json::Value {
    let is_v4 = |network: &&Network| matches!(network.address().ip(), IpAddr::V4(_));
    let (v4, v6): (Vec<&Network>, Vec<_>) = networks.iter().partition(is_v4);
    json!({"v4": v4, "v6": v6})
}
