//! Lua, in process: `policy.lua` in LuaJIT, with keys, scopes and networks as tables that are made
//! once. No limit is set on what a script may use, which would cost extra.

use std::net::IpAddr;

use keyward::address::Network;
use mlua::{Function, Lua, Table};

use crate::peer::{Answer, Peer};
use crate::settings::{blocked, covering};
use crate::workload::{Key, Request, Workload};

/// What the numbers that `policy.lua` returns stand for, from 1 on. 0 is an allow.
const REASONS: [&str; 14] = [
    "key.unknown",
    "key.revoked",
    "key.suspended",
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

/// The policy with its keys.
pub(crate) struct Scripted {
    decide: Function,
    // The function does not keep its state alive.
    _lua: Lua,
}

impl Scripted {
    pub(crate) fn new(workload: &Workload) -> Self {
        let lua = Lua::new();
        lua.load(include_str!("policy.lua")).exec().unwrap();
        let globals = lua.globals();
        let function = |name: &str| -> Function { globals.get(name).unwrap() };
        let add_key = function("add_key");
        for key in &workload.keys {
            let id = key.id.as_str();
            add_key.call::<()>((id, of_key(&lua, key))).unwrap();
        }
        let add_scope = function("add_scope");
        for scope in workload.scopes() {
            let (_, action) = scope.split_once(':').unwrap();
            let scope = (scope, action, covering(scope));
            add_scope.call::<()>(scope).unwrap();
        }
        let [v4, v6] = blocked();
        let networks = tables(&lua, &[v4, v6].concat());
        function("set_blocked").call::<()>(networks).unwrap();
        let decide = function("decide");
        Self { decide, _lua: lua }
    }
}

impl Peer for Scripted {
    fn decide(&mut self, request: &Request) -> Answer {
        let address = request.source.map(|source| source.ip());
        let (family, [a, b, c, d]) = address.map_or((0, [0; 4]), words);
        let (key, now) = (request.key.as_str(), request.time.millis());
        let asked = (key, now, request.scope.as_deref(), family, a, b, c, d);
        let reason: usize = self.decide.call(asked).unwrap();
        let reason = reason.checked_sub(1).and_then(|place| REASONS.get(place));
        reason.map_or(Answer::allow(), |reason| Answer::deny(reason))
    }
}

fn of_key(lua: &Lua, key: &Key) -> Table {
    let table = lua.create_table().unwrap();
    let instants = [
        ("issued_at", Some(key.issued_at)),
        ("not_before", key.not_before),
        ("expires_at", key.expires_at),
        ("grace_until", key.grace_until),
    ];
    for (name, instant) in instants {
        let instant = instant.map(|instant| instant.millis());
        table.set(name, instant).unwrap();
    }
    table.set("lifecycle", key.lifecycle.as_str()).unwrap();
    table.set("read_only", key.read_only).unwrap();
    table.set("scopes", key.scopes.clone()).unwrap();
    let networks = key.allowed_networks.as_ref();
    let networks = networks.map(|networks| tables(lua, networks));
    table.set("networks", networks).unwrap();
    table
}

fn tables(lua: &Lua, networks: &[Network]) -> Vec<Table> {
    let table = |network: &Network| {
        let table = lua.create_table().unwrap();
        let (family, words) = words(network.address().ip());
        let words = if family == 4 { &words[..1] } else { &words };
        table.set("family", family).unwrap();
        table.set("words", words.to_vec()).unwrap();
        table.set("length", network.prefix_length()).unwrap();
        table
    };
    networks.iter().map(table).collect()
}

/// An address as family and words of 32 bits; an IPv4 address is the first.
fn words(address: IpAddr) -> (u8, [u32; 4]) {
    match address {
        IpAddr::V4(v4) => (4, [v4.to_bits(), 0, 0, 0]),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments().map(u32::from);
            (6, [a << 16 | b, c << 16 | d, e << 16 | f, g << 16 | h])
        }
    }
}
