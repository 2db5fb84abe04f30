//! The tables of the standard policies, row by row: each row is asked of the policy as plain Rust
//! and of its component, which must answer the same, ask the same, and answer what the row says.

use std::sync::{Arc, OnceLock};

use keyward::credential::Presented;
use keyward::decision::verdict::{Effect, Verdict};
use keyward::facts::Facts;
use keyward::key::KeyRecord;
use keyward::policy::{Limits, Policy};
use keyward::request::{AccessRequest, RequestParts};

use crate::native::Native;
use crate::util::{key, load, time};

/// One row: settings, key, request, and what has to come of it.
struct Row {
    /// JSON; empty stands for `{}`.
    settings: &'static str,
    /// Members that a key has beyond id, owner and `issued_at`.
    key: &'static str,
    /// `time`, `required scope` and `source`; empty: none.
    request: [&'static str; 3],
    /// Effect and reason, `allow rotation.current`; then parameters and signals, `name=value` and
    /// `!signal name=value`, in the order given.
    expected: &'static str,
}

const NOON: &str = "2026-11-15T12:00:00Z";

fn check<P: keyward_policy::Policy>(module: &'static [u8], row: &Row) {
    let settings = if row.settings.is_empty() { "{}" } else { row.settings };
    let facts = facts(row);
    let (native, asked) = Native::evaluate::<P>(&facts, settings);
    assert_eq!(shown(&native), row.expected, "{} / {} / {:?}", settings, row.key, row.request);
    let policy = loaded(module, settings);
    let evaluation = policy.evaluate(Box::new(Arc::clone(&facts)));
    assert_eq!(evaluation.outcome.verdict(), Some(&native), "{}", row.key);
    assert_eq!(evaluation.trace, asked, "{}", row.key);
}

/// Each module with each settings is loaded once.
fn loaded(module: &'static [u8], settings: &str) -> Arc<Policy> {
    type Loaded = std::collections::HashMap<(usize, String), Arc<Policy>>;
    static LOADED: OnceLock<std::sync::Mutex<Loaded>> = OnceLock::new();
    let mut loaded = LOADED.get_or_init(Default::default).lock().unwrap();
    let slot = loaded.entry((module.as_ptr().addr(), settings.to_owned())).or_insert_with(|| {
        Arc::new(load(module, settings, Limits::default()).unwrap())
    });
    Arc::clone(slot)
}

fn facts(row: &Row) -> Arc<Facts> {
    let [at, required_scope, source] = row.request;
    let json = format!(
        r#"{{"id":"k7Qp2mXw9LaR","owner":"sync"{}{}}}"#,
        if row.key.contains("issued_at") { "" } else { r#","issued_at":"2026-11-01T00:00:00Z""# },
        if row.key.contains("scopes") {
            format!(",{}", row.key)
        } else {
            format!(r#","scopes":["a:b"]{}{}"#, if row.key.is_empty() { "" } else { "," }, row.key)
        },
    );
    let key: KeyRecord = key(&json);
    let mut parts = RequestParts::new(time(at), Presented::None, "POST", "/x");
    parts.required_scope = (!required_scope.is_empty()).then(|| required_scope.to_owned());
    parts.source = (!source.is_empty()).then(|| source.parse().unwrap());
    let request = AccessRequest::new(parts).unwrap();
    let path = request.path().unwrap().clone();
    let required_scope = request.required_scope().cloned();
    Arc::new(Facts { request, path, key: Arc::new(key), required_scope })
}

fn shown(verdict: &Verdict) -> String {
    let params = |params: &[(String, String)]| {
        params.iter().map(|(name, value)| format!(" {name}={value}")).collect::<String>()
    };
    let effect = match verdict.effect {
        Effect::Abstain => "abstain",
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    };
    let reason = verdict.reason.as_ref().unwrap();
    let mut text = format!("{effect} {}{}", reason.code, params(&reason.params));
    for signal in &verdict.signals {
        text += &format!(" !{}{}", signal.name, params(&signal.params));
    }
    text
}

#[test]
fn scope_follows_its_table() {
    let rows: &[(&str, &str, &str, &str)] = &[
        // settings, key, required scope, expected
        ("", r#""scopes":["*:*"]"#, "", "deny scope.unmapped !unmapped-route method=POST path=/x"),
        ("", r#""scopes":["*:*"]"#, "inventory", "deny scope.malformed required=inventory"),
        ("", r#""scopes":["*:*"]"#, "inventory:", "deny scope.malformed required=inventory:"),
        ("", r#""scopes":["*:*"]"#, "inv*:read", "deny scope.malformed required=inv*:read"),
        ("", r#""scopes":["*:*"]"#, "*:read", "deny scope.malformed required=*:read"),
        (
            "",
            r#""scopes":["*:*"],"read_only":true"#,
            "inventory:write",
            "deny scope.read-only action=write !excessive-scope required=inventory:write",
        ),
        (
            "",
            r#""scopes":["inventory:write"],"read_only":true"#,
            "inventory:read",
            "allow scope.granted grant=inventory:write",
        ),
        (
            "",
            r#""scopes":["inventory:write"],"read_only":true"#,
            "inventory:list",
            "deny scope.missing required=inventory:list !excessive-scope required=inventory:list",
        ),
        (
            r#"{"read_only_actions":["peek"]}"#,
            r#""scopes":["*:*"],"read_only":true"#,
            "inventory:read",
            "deny scope.read-only action=read !excessive-scope required=inventory:read",
        ),
        ("", r#""scopes":["inventory:read"]"#, "inventory:read", "allow scope.granted grant=inventory:read"),
        (
            "",
            r#""scopes":["inventory:read"]"#,
            "inventory.items:read",
            "deny scope.missing required=inventory.items:read !excessive-scope required=inventory.items:read",
        ),
        (
            "",
            r#""scopes":["inventory.*:read"]"#,
            "inventory.items.images:read",
            "allow scope.granted grant=inventory.*:read",
        ),
        (
            "",
            r#""scopes":["inventory.*:read"]"#,
            "inventory:read",
            "deny scope.missing required=inventory:read !excessive-scope required=inventory:read",
        ),
        (
            "",
            r#""scopes":["inventory.*:read"]"#,
            "inventoryx.items:read",
            "deny scope.missing required=inventoryx.items:read !excessive-scope required=inventoryx.items:read",
        ),
        ("", r#""scopes":["inventory:*"]"#, "inventory:purge", "allow scope.granted grant=inventory:*"),
        (
            "",
            r#""scopes":["inventory:*"]"#,
            "inventory.items:read",
            "deny scope.missing required=inventory.items:read !excessive-scope required=inventory.items:read",
        ),
        ("", r#""scopes":["*:read"]"#, "a.b.c:read", "allow scope.granted grant=*:read"),
        (
            "",
            r#""scopes":["*:read"]"#,
            "a:write",
            "deny scope.missing required=a:write !excessive-scope required=a:write",
        ),
        ("", r#""scopes":["*:*"]"#, "a.b:purge", "allow scope.granted grant=*:*"),
        ("", r#""scopes":["a:write"]"#, "a:read", "allow scope.granted grant=a:write"),
        ("", r#""scopes":["a:admin"]"#, "a:delete", "allow scope.granted grant=a:admin"),
        // By the order of the key, not by the best fit.
        ("", r#""scopes":["*:*","a:read"]"#, "a:read", "allow scope.granted grant=*:*"),
        // Transitive, and nothing is implied when the setting says so.
        (
            r#"{"implies":{"a":["b"],"b":["c"],"c":["d"]}}"#,
            r#""scopes":["x:a"]"#,
            "x:d",
            "allow scope.granted grant=x:a",
        ),
        (
            r#"{"implies":{}}"#,
            r#""scopes":["a:write"]"#,
            "a:read",
            "deny scope.missing required=a:read !excessive-scope required=a:read",
        ),
    ];
    for (settings, key, required, expected) in rows {
        let request = [NOON, required, ""];
        check::<keyward_scope::ScopePolicy>(
            keyward_policies::SCOPE,
            &Row { settings, key, request, expected },
        );
    }
}

#[test]
fn rotation_follows_its_table() {
    const LIFE: &str = r#""expires_at":"2027-01-30T00:00:00Z""#;
    const DUE: &str = r#""expires_at":"2027-01-30T00:00:00Z","rotate_by":"2027-01-15T00:00:00Z""#;
    const OLD: &str = r#""lifecycle":"deprecated","expires_at":"2027-01-30T00:00:00Z","grace_until":"2026-11-20T00:00:00Z""#;
    const OLD_LONG: &str = r#""lifecycle":"deprecated","expires_at":"2027-01-30T00:00:00Z","grace_until":"2027-02-20T00:00:00Z""#;
    const OLD_OVERDUE: &str = r#""lifecycle":"deprecated","expires_at":"2027-01-30T00:00:00Z","rotate_by":"2026-11-10T00:00:00Z""#;
    let rows: &[(&str, &str, &str, &str)] = &[
        // settings, key, time, expected
        ("", r#""expires_at":"2027-01-30T00:00:00Z","not_before":"2026-11-20T00:00:00Z""#, "2026-11-19T23:59:59.999Z", "deny rotation.not-yet-valid not-before=2026-11-20T00:00:00Z"),
        ("", r#""expires_at":"2027-01-30T00:00:00Z","not_before":"2026-11-20T00:00:00Z""#, "2026-11-20T00:00:00Z", "allow rotation.current"),
        ("", "", NOON, "deny rotation.no-expiry !key-not-compliant"),
        (r#"{"require_expiry":false}"#, "", NOON, "allow rotation.current"),
        ("", r#""expires_at":"2027-01-30T00:00:00.001Z""#, NOON, "deny rotation.lifetime-exceeded max-lifetime-days=90 !key-not-compliant"),
        (r#"{"max_lifetime_days":10}"#, LIFE, NOON, "deny rotation.lifetime-exceeded max-lifetime-days=10 !key-not-compliant"),
        ("", LIFE, NOON, "allow rotation.current"),
        ("", LIFE, "2027-01-29T23:59:59.999Z", "allow rotation.due !rotation-due stage=1 due=2027-01-30T00:00:00Z"),
        ("", LIFE, "2027-01-30T00:00:00Z", "deny rotation.expired expired-at=2027-01-30T00:00:00Z"),
        ("", OLD, "2026-11-19T23:59:59.999Z", "allow rotation.in-grace !deprecated-key-used"),
        ("", OLD, "2026-11-20T00:00:00Z", "deny rotation.grace-ended !deprecated-key-used"),
        ("", OLD_LONG, "2027-01-30T00:00:00Z", "deny rotation.expired"),
        ("", OLD_LONG, "2027-01-29T00:00:00Z", "allow rotation.in-grace !deprecated-key-used"),
        ("", DUE, "2027-01-15T00:00:00Z", "allow rotation.overdue-warned !rotation-due stage=overdue due=2027-01-15T00:00:00Z"),
        (r#"{"on_overdue":"deny"}"#, DUE, "2027-01-15T00:00:00Z", "deny rotation.overdue !rotation-due stage=overdue due=2027-01-15T00:00:00Z"),
        (r#"{"on_overdue":"deny"}"#, DUE, "2027-01-14T23:59:59.999Z", "allow rotation.due !rotation-due stage=1 due=2027-01-15T00:00:00Z"),
        // Deprecated and in grace goes before a warning, after a denial.
        ("", OLD_OVERDUE, NOON, "allow rotation.in-grace !deprecated-key-used"),
        (r#"{"on_overdue":"deny"}"#, OLD_OVERDUE, NOON, "deny rotation.overdue !rotation-due stage=overdue due=2026-11-10T00:00:00Z"),
        // The stages, at their first millisecond and at the last before the next.
        ("", DUE, "2026-11-15T23:59:59.999Z", "allow rotation.current"),
        ("", DUE, "2026-11-16T00:00:00Z", "allow rotation.due !rotation-due stage=60 due=2027-01-15T00:00:00Z"),
        ("", DUE, "2026-12-15T23:59:59.999Z", "allow rotation.due !rotation-due stage=60 due=2027-01-15T00:00:00Z"),
        ("", DUE, "2026-12-16T00:00:00Z", "allow rotation.due !rotation-due stage=30 due=2027-01-15T00:00:00Z"),
        ("", DUE, "2027-01-01T00:00:00Z", "allow rotation.due !rotation-due stage=14 due=2027-01-15T00:00:00Z"),
        ("", DUE, "2027-01-08T00:00:00Z", "allow rotation.due !rotation-due stage=7 due=2027-01-15T00:00:00Z"),
        (r#"{"notice_days":[]}"#, DUE, "2027-01-08T00:00:00Z", "allow rotation.current"),
        // Without rotate_by: issued_at and the period. D is the earlier of that and the end.
        (r#"{"rotation_period_days":30}"#, LIFE, "2026-11-15T00:00:00Z", "allow rotation.due !rotation-due stage=30 due=2026-12-01T00:00:00Z"),
        (r#"{"rotation_period_days":30}"#, LIFE, "2026-12-01T00:00:00Z", "allow rotation.overdue-warned !rotation-due stage=overdue due=2026-12-01T00:00:00Z"),
        (r#"{"rotation_period_days":300}"#, LIFE, "2027-01-29T00:00:00Z", "allow rotation.due !rotation-due stage=1 due=2027-01-30T00:00:00Z"),
    ];
    for (settings, key, at, expected) in rows {
        let row = Row { settings, key, request: [at, "a:b", ""], expected };
        check::<keyward_rotation::RotationPolicy>(keyward_policies::ROTATION, &row);
    }
}

#[test]
fn ip_follows_its_table() {
    const LIST: &str = r#""allowed_networks":["203.0.0.0/8","203.0.113.0/24","2001:db8::/32"]"#;
    const BLOCKED: &str = r#"{"blocked":["198.18.0.0/15","10.0.0.0/8","2001:db8:bad::/48"]}"#;
    let rows: &[(&str, &str, &str, &str)] = &[
        // settings, key, source, expected
        (BLOCKED, LIST, "198.19.255.255", "deny ip.blocked network=198.18.0.0/15 !unauthorized-ip"),
        (BLOCKED, "", "198.18.0.1", "deny ip.blocked network=198.18.0.0/15 !unauthorized-ip"),
        (BLOCKED, LIST, "2001:db8:bad::1", "deny ip.blocked network=2001:db8:bad::/48 !unauthorized-ip"),
        (BLOCKED, LIST, "::ffff:10.1.2.3", "deny ip.blocked network=10.0.0.0/8 !unauthorized-ip"),
        // Deny lists look into NAT64 and 6to4.
        (BLOCKED, LIST, "64:ff9b::a01:203", "deny ip.blocked network=10.0.0.0/8 !unauthorized-ip"),
        (BLOCKED, LIST, "2002:a01:203::1", "deny ip.blocked network=10.0.0.0/8 !unauthorized-ip"),
        (r#"{"blocked":["::ffff:10.0.0.0/104"]}"#, "", "10.1.2.3", "deny ip.blocked network=10.0.0.0/8 !unauthorized-ip"),
        ("", "", "8.8.8.8", "allow ip.unrestricted"),
        ("", "", "", "allow ip.unrestricted"),
        (r#"{"require_allow_list":true}"#, "", "8.8.8.8", "deny ip.no-allow-list !key-not-compliant"),
        ("", LIST, "", "deny ip.source-unknown !unauthorized-ip"),
        ("", r#""allowed_networks":[]"#, "", "deny ip.source-unknown !unauthorized-ip"),
        ("", r#""allowed_networks":[]"#, "8.8.8.8", "deny ip.not-allowed !unauthorized-ip"),
        ("", LIST, "204.0.0.1", "deny ip.not-allowed !unauthorized-ip"),
        // Allow lists do not look into them.
        ("", LIST, "64:ff9b::cb00:7109", "deny ip.not-allowed !unauthorized-ip"),
        ("", LIST, "2002:cb00:7109::1", "deny ip.not-allowed !unauthorized-ip"),
        ("", LIST, "203.0.113.9", "allow ip.allowed network=203.0.113.0/24"),
        ("", LIST, "::ffff:203.0.113.9", "allow ip.allowed network=203.0.113.0/24"),
        ("", LIST, "203.0.114.9", "allow ip.allowed network=203.0.0.0/8"),
        ("", LIST, "2001:db8:ffff::1", "allow ip.allowed network=2001:db8::/32"),
        ("", r#""allowed_networks":["::ffff:203.0.113.0/120"]"#, "203.0.113.9", "allow ip.allowed network=203.0.113.0/24"),
    ];
    for (settings, key, source, expected) in rows {
        let row = Row { settings, key, request: [NOON, "a:b", source], expected };
        check::<keyward_ip::IpPolicy>(keyward_policies::IP, &row);
    }
}

/// What the schema cannot say is said by `configure`, with the place.
#[test]
fn settings_are_refused_with_their_place() {
    let rows: &[(&[u8], &str, &str)] = &[
        (keyward_policies::SCOPE, r#"{"implies":{"a":["b"],"b":["a"]}}"#, "/implies/"),
        (keyward_policies::SCOPE, r#"{"read_only_actions":["Read"]}"#, "/read_only_actions/0"),
        (keyward_policies::SCOPE, r#"{"implys":{}}"#, "implys"),
        (keyward_policies::ROTATION, r#"{"max_lifetime_days":0}"#, "/max_lifetime_days"),
        (keyward_policies::ROTATION, r#"{"on_overdue":"maybe"}"#, "/on_overdue"),
        (keyward_policies::ROTATION, r#"{"notice_days":[60,"x"]}"#, "/notice_days/1"),
        (keyward_policies::IP, r#"{"blocked":["10.0.0.1/8"]}"#, "/blocked/0"),
        (keyward_policies::IP, r#"{"blocked":["10.0.0.0/8","nonsense"]}"#, "/blocked/1"),
        (keyward_policies::IP, r#"{"require_allow_list":"yes"}"#, "/require_allow_list"),
    ];
    for (module, settings, place) in rows {
        let error = load(module, settings, Limits::default()).unwrap_err().to_string();
        assert!(error.contains(place), "{settings}: {error}");
    }
}
