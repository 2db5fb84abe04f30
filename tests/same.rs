//! Properties: a policy as plain Rust and as a component give the same answers to the same
//! questions, and a component gives the same verdict, trace and fuel every time.

use std::sync::{Arc, OnceLock};

use keyward::credential::Presented;
use keyward::facts::Facts;
use keyward::key::KeyRecord;
use keyward::policy::{Limits, Policy, PolicySet};
use keyward::request::{AccessRequest, RequestParts};
use keyward::timestamp::Timestamp;
use keyward::usage::UsageCounters;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::util::{load, native};

/// Settings that make every row of the tables reachable.
const SCOPE: &str = r#"{"implies":{"admin":["write","delete"],"write":["read"]}}"#;
const ROTATION: &str = r#"{"on_overdue":"deny","notice_days":[60,30,7,1],"max_lifetime_days":120}"#;
const IP: &str = r#"{"blocked":["10.0.0.0/8","2001:db8:bad::/48"],"require_allow_list":true}"#;

fn policies() -> &'static [Policy; 4] {
    static POLICIES: OnceLock<[Policy; 4]> = OnceLock::new();
    POLICIES.get_or_init(|| {
        let load = |module, settings| load(module, settings, Limits::default()).unwrap();
        [
            load(keyward_policies::SCOPE, SCOPE),
            load(keyward_policies::ROTATION, ROTATION),
            load(keyward_policies::ROTATION, "{}"),
            load(keyward_policies::IP, IP),
        ]
    })
}

const RATE: &str =
    r#"{"limits":[{"requests":3,"per":"1m","label":"rate-1m"},{"requests":9,"per":"1d"}]}"#;

/// Few words, so that grants and required scopes meet.
fn scope() -> impl Strategy<Value = String> {
    let word = || {
        prop_oneof![
            Just("a"),
            Just("b"),
            Just("a.b"),
            Just("a.b.c"),
            Just("*"),
            Just("a.*")
        ]
    };
    let action = prop_oneof![
        Just("read"),
        Just("write"),
        Just("admin"),
        Just("list"),
        Just("*")
    ];
    prop_oneof![
        20 => (word(), action).prop_map(|(resource, action)| format!("{resource}:{action}")),
        1 => "[a-c.*:]{0,8}",
    ]
}

/// Scopes, and what is nearly one.
fn scope_like() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c*][a-c.*_-]{0,4}:[a-c*][a-c_*-]{0,3}",
        "[a-c.:*A _-]{0,9}",
        (60_usize..70, 1_usize..5).prop_map(|(length, parts)| {
            format!("{}:read", vec!["a".repeat(length); parts].join("."))
        }),
        scope(),
    ]
}

fn network() -> impl Strategy<Value = String> {
    let bits = |ip: u32, length: u32| ip & u32::MAX.checked_shl(32 - length).unwrap_or(0);
    prop_oneof![
        (any::<u32>(), 1_u32..=32).prop_map(move |(ip, length)| {
            format!("{}/{length}", std::net::Ipv4Addr::from(bits(ip, length)))
        }),
        Just("203.0.113.0/24".to_owned()),
        Just("203.0.0.0/16".to_owned()),
        Just("2001:db8::/32".to_owned()),
        Just("64:ff9b::/96".to_owned()),
    ]
}

fn source() -> impl Strategy<Value = Option<String>> {
    let any_v4 = any::<u32>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string());
    let embedded = any::<u32>().prop_map(|ip| {
        std::net::Ipv6Addr::from(0x0064_ff9b_u128 << 96 | u128::from(ip)).to_string()
    });
    let known = prop_oneof![
        Just("203.0.113.9"),
        Just("203.0.200.1"),
        Just("10.1.2.3"),
        Just("64:ff9b::a01:203"),
        Just("2002:a01:203::1"),
        Just("2001:db8::1"),
        Just("2001:db8:bad::1"),
        Just("::ffff:203.0.113.1"),
    ];
    option::weighted(
        0.9,
        prop_oneof![known.prop_map(str::to_owned), any_v4, embedded],
    )
}

/// Instants near each other, so that every order of them comes up.
fn instant() -> impl Strategy<Value = i64> {
    const START: i64 = 1_790_000_000_000;
    const DAY: i64 = 86_400_000;
    prop_oneof![
        (0_i64..200).prop_map(|days| START + days * DAY),
        (0_i64..200, -1_i64..=1).prop_map(|(days, off)| START + days * DAY + off),
        (0_i64..200 * DAY).prop_map(|off| START + off),
    ]
}

prop_compose! {
    fn key()(
        issued in instant(),
        life in option::weighted(0.9, 1_i64..20_000_000_000),
        not_before in option::weighted(0.2, instant()),
        rotate_by in option::weighted(0.5, instant()),
        grace in option::of(option::of(instant())),
        scopes in vec(scope(), 0..5),
        networks in option::weighted(0.8, vec(network(), 0..5)),
        read_only in any::<bool>(),
    ) -> KeyRecord {
        let instant = |millis: i64| Timestamp::from_millis(millis);
        let mut key = crate::util::plain_key();
        key.issued_at = instant(issued);
        key.expires_at = life.map(|life| instant(issued + life));
        key.not_before = not_before.map(instant);
        key.rotate_by = rotate_by.map(instant);
        if let Some(grace) = grace {
            key.lifecycle = keyward::key::Lifecycle::Deprecated;
            key.grace_until = grace.map(instant);
        }
        // Past the import's checks on purpose: the policies see malformed grants too.
        key.scopes = scopes.into_iter().map(Into::into).collect();
        key.allowed_networks =
            networks.map(|list| list.iter().map(|network| network.parse().unwrap()).collect());
        key.read_only = read_only;
        key
    }
}

prop_compose! {
    fn facts()(
        key in key(),
        time in instant(),
        source in source(),
        required in option::weighted(0.95, scope()),
    ) -> Arc<Facts> {
        let time = Timestamp::from_millis(time);
        let mut parts = RequestParts::new(time, Presented::None, "GET", "/x");
        parts.source = source.map(|source| source.parse().unwrap());
        let request = AccessRequest::new(parts).unwrap();
        let path = request.path().unwrap().clone();
        let required_scope = required.map(Into::into);
        let usage = None;
        Arc::new(Facts { request, path, key: Arc::new(key), required_scope, usage })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn native_and_component_agree(facts in facts()) {
        let [scope, strict, lenient, ip] = policies();
        let evaluated = [
            (scope, native::<keyward_scope::ScopePolicy>(&facts, SCOPE)),
            (strict, native::<keyward_rotation::RotationPolicy>(&facts, ROTATION)),
            (lenient, native::<keyward_rotation::RotationPolicy>(&facts, "{}")),
            (ip, native::<keyward_ip::IpPolicy>(&facts, IP)),
        ];
        for (component, (verdict, asked)) in evaluated {
            let evaluation = component.evaluate(Box::new(Arc::clone(&facts)));
            prop_assert_eq!(evaluation.outcome.verdict(), Some(&verdict));
            prop_assert_eq!(evaluation.trace, asked);
        }
    }

    /// What an import takes for a grant, a route for a scope and the policy for either is the same.
    #[test]
    fn the_grammar_of_scopes_is_one(text in scope_like()) {
        let mut key = crate::util::plain_key();
        key.scopes = vec![text.as_str().into()].into();
        let time = Timestamp::from_millis(1_795_000_000_000);
        let mut facts = Facts::of_key(key, time).unwrap();
        facts.required_scope = Some("zz:zz".into());
        let (verdict, _) = native::<keyward_scope::ScopePolicy>(&Arc::new(facts.clone()), SCOPE);
        let is_malformed = verdict.signals.iter().any(|signal| signal.name == "malformed-grant");
        prop_assert_eq!(keyward::key::grant::is_grant(&text), !is_malformed);
        facts.required_scope = Some(text.as_str().into());
        let (verdict, _) = native::<keyward_scope::ScopePolicy>(&Arc::new(facts), SCOPE);
        let is_malformed = &*verdict.reason.unwrap().code == "scope.malformed";
        prop_assert_eq!(keyward::route::is_exact_scope(&text), !is_malformed);
    }

    /// Any counts, and a label that is one or is none.
    #[test]
    fn native_and_component_agree_on_rates(
        steps in vec(0_i64..30_000, 1..20),
        label in option::of("[0-9]{0,2}x?"),
    ) {
        static RATE_POLICY: OnceLock<Policy> = OnceLock::new();
        let load = || load(keyward_policies::RATE, RATE, Limits::default()).unwrap();
        let component = RATE_POLICY.get_or_init(load);
        let mut key = crate::util::plain_key();
        key.labels.extend(label.map(|label| ("rate-1m".into(), label.into())));
        let (counters, mut time) = (UsageCounters::new(), 1_795_000_000_000);
        let mut facts = Facts::of_key(key, Timestamp::from_millis(time)).unwrap();
        for step in steps {
            time += step;
            facts.usage = Some(counters.count(&facts.key.id, Timestamp::from_millis(time)));
            let facts = Arc::new(facts.clone());
            let (verdict, asked) = native::<keyward_rate::RatePolicy>(&facts, RATE);
            let evaluation = component.evaluate(Box::new(facts));
            prop_assert_eq!(evaluation.outcome.verdict(), Some(&verdict));
            prop_assert_eq!(evaluation.trace, asked);
        }
    }

    #[test]
    fn twice_is_the_same(facts in facts()) {
        for policy in policies() {
            let [first, second] = [(); 2].map(|()| policy.evaluate(Box::new(Arc::clone(&facts))));
            prop_assert!(first.fuel > 0);
            prop_assert_eq!(first, second);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Of a few keys and a few requests, many of which a policy cannot tell apart.
    #[test]
    fn what_is_reused_is_what_would_have_been_evaluated(
        keys in vec(key(), 1..4),
        requests in vec((any::<prop::sample::Index>(), facts()), 1..60),
    ) {
        static SET: OnceLock<PolicySet> = OnceLock::new();
        let set = SET.get_or_init(|| {
            let load = |module, settings| load(module, settings, Limits::default()).unwrap();
            let policies = vec![
                load(keyward_policies::SCOPE, SCOPE),
                load(keyward_policies::ROTATION, ROTATION),
                load(keyward_policies::ROTATION, "{}"),
                load(keyward_policies::IP, IP),
            ];
            PolicySet::new(policies).unwrap()
        });
        let keys: Vec<_> = keys.into_iter().map(Arc::new).collect();
        for (index, facts) in requests {
            let facts = Facts { key: Arc::clone(index.get(&keys)), ..Facts::clone(&facts) };
            let evaluated = set.evaluate(facts.view());
            let facts = Arc::new(facts);
            for (policy, evaluated) in set.policies().iter().zip(&*evaluated) {
                prop_assert_eq!(
                    &*evaluated.evaluation,
                    &policy.evaluate(Box::new(Arc::clone(&facts)))
                );
            }
        }
    }
}
