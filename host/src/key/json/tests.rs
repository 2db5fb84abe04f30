//! Tests of the file form and the canonical form of keys.

mod lines;

use serde_json::{Value, json};

use super::*;
use crate::key::grant::is_grant;
use crate::key::{LABELS_MAX, NETWORKS_MAX, OWNER_MAX_BYTES, SCOPES_MAX};

const STRICT: KeyOptions = KeyOptions {
    allow_any_network: false,
};

/// A key with every member.
fn full() -> Value {
    json!({
        "id": "k7Qp2mXw9LaR", "owner": "inventory-sync", "environment": "test",
        "lifecycle": "deprecated", "issued_at": "2026-11-01T00:00:00Z",
        "not_before": "2026-11-02T00:00:00.5Z", "rotate_by": "2027-01-15T00:00:00Z",
        "expires_at": "2027-01-30T00:00:00Z", "grace_until": "2026-12-01T00:00:00Z",
        "scopes": ["inventory.*:read", "a:b"], "read_only": true,
        "allowed_networks": ["203.0.113.0/24", "2001:db8::/32"],
        "labels": {"connector": "quickbooks", "b": ""}, "secret_sha256": "ab".repeat(32),
    })
}

/// A key with the members that it must have.
fn least() -> Value {
    json!({"id": "k7Qp2mXw9LaR", "owner": "o", "issued_at": "2026-11-01T00:00:00Z", "scopes": []})
}

fn with(mut key: Value, member: &str, value: Value) -> Value {
    key[member] = value;
    key
}

fn check(key: &Value) -> Result<CheckedKey, KeyProblems> {
    serde_json::from_str::<KeyFile>(&key.to_string())
        .unwrap()
        .check(STRICT)
}

fn problems(key: &Value) -> Vec<(String, FieldProblem)> {
    let problems = check(key).unwrap_err();
    problems
        .list()
        .iter()
        .map(|p| (p.field.clone(), p.problem.clone()))
        .collect()
}

#[test]
fn reads_every_member_and_writes_it_back() {
    let given = with(full(), "not_before", json!("2026-11-02T00:00:00.500Z"));
    let key = check(&given).unwrap();
    assert_eq!(serde_json::to_value(key.to_file()).unwrap(), given);
    let again: KeyFile = serde_json::from_value(given).unwrap();
    assert_eq!(again.check(STRICT).unwrap(), key);

    let (record, secret) = key.into_parts();
    assert_eq!(record.version, 1);
    assert_eq!(record.owner.as_ref(), "inventory-sync");
    assert_eq!(record.environment.as_str(), "test");
    assert_eq!(record.lifecycle, Lifecycle::Deprecated);
    assert_eq!(record.not_before.unwrap().millis() % 1000, 500);
    assert_eq!(
        record.expires_at.unwrap().to_string(),
        "2027-01-30T00:00:00Z"
    );
    assert_eq!(record.scopes.len(), 2);
    assert_eq!(
        record.allowed_networks.unwrap()[1].to_string(),
        "2001:db8::/32"
    );
    assert_eq!(record.labels["connector"].as_ref(), "quickbooks");
    assert_eq!(secret.unwrap().as_bytes(), &[0xab; 32]);
}

#[test]
fn absent_members_have_defaults() {
    let explicit = json!({
        "id": "k7Qp2mXw9LaR", "owner": "o", "environment": "live", "lifecycle": "active",
        "issued_at": "2026-11-01T00:00:00Z", "not_before": null, "rotate_by": null,
        "expires_at": null, "grace_until": null, "scopes": [], "read_only": false,
        "allowed_networks": null, "labels": {}, "secret_sha256": null,
    });
    let key = check(&least()).unwrap();
    assert_eq!(check(&explicit).unwrap(), key);
    // No allow list, and an allow list of nothing, are two things.
    let none = check(&with(least(), "allowed_networks", json!([]))).unwrap();
    assert_ne!(none, key);
    assert_eq!(none.record().allowed_networks.as_deref(), Some(&[][..]));
}

#[test]
fn writes_the_members_in_the_documented_order() {
    let text = serde_json::to_string(&check(&full()).unwrap().to_file()).unwrap();
    let order = [
        "id",
        "owner",
        "environment",
        "lifecycle",
        "issued_at",
        "not_before",
        "rotate_by",
        "expires_at",
        "grace_until",
        "scopes",
        "read_only",
        "allowed_networks",
        "labels",
        "secret_sha256",
    ];
    let places: Vec<_> = order
        .iter()
        .map(|name| text.find(&format!("\"{name}\":")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{text}");
    // The list that unknown names are compared with is the same.
    let mut sorted = order;
    sorted.sort_unstable();
    assert_eq!(sorted, members::MEMBERS);
}

/// Member | its value | the one problem of a key that is otherwise good, or how it begins.
const REFUSED: &str = r#"
id | "short" | `id`: not a key id; one has 12 letters and digits
id | "kw_live_k7Qp2mXw9LaR_0" | `id`: not a key id; one has 12 letters and digits
owner | "" | `owner`: must not be empty
owner | "a\u007f" | `owner`: contains the control character U+007F
owner | "a\u009b" | `owner`: contains the control character U+009B
owner | "nna\u202e" | `owner`: contains U+202E, which is not seen, or changes the order
owner | "a\u200b" | `owner`: contains U+200B, which
owner | "\ufeffa" | `owner`: contains U+FEFF, which
environment | "prod" | `environment`: `prod` is not one of `live`, `test`
lifecycle | "Active\n" | `lifecycle`: `Active\n` is not one of `active`, `deprecated`, `suspended`
issued_at | "yesterday" | `issued_at`: `yesterday` is not a time; write RFC 3339 in UTC
rotate_by | "2026-11-01T00:00:00+01:00" | `rotate_by`: `2026-11-01T00:00:00+01:00` is not in UTC
not_before | "2026-11-01T00:00:00.0001Z" | `not_before`: `2026-11-01T00:00:00.0001Z` is finer
expires_at | "2026-11-01T00:00:00Z" | `expires_at`: not after `issued_at`
expires_at | "2026-10-31T23:59:59.999Z" | `expires_at`: not after `issued_at`
grace_until | "2027-01-01T00:00:00Z" | `grace_until`: only a key that was deprecated has a grace
scopes | ["a:b", "a:B"] | `scopes[1]`: `a:B` is not a grant; write `resource:action`,
allowed_networks | ["10.0.0.1/8"] | `allowed_networks[0]`: `10.0.0.1/8` has bits set behind its
allowed_networks | ["fe80::%eth0/64"] | `allowed_networks[0]`: `fe80::%eth0` is not an IP address
allowed_networks | ["010.0.0.0/8"] | `allowed_networks[0]`: `010.0.0.0` is not an IP address
allowed_networks | ["::/0"] | `allowed_networks[0]`: `::/0` is every address; leave
allowed_networks | ["::ffff:0:0/96"] | `allowed_networks[0]`: `0.0.0.0/0` is every address; leave
labels | {"a\u001b": "b"} | `labels.a\u{1b}`: contains the control character U+001B
labels | {"a": "b\n"} | `labels.a`: contains the control character U+000A
labels | {"a": "\u2066b"} | `labels.a`: contains U+2066, which
labels | {"\u2029": "b"} | `labels.\u{2029}`: contains U+2029, which
secret_sha256 | "S3cr3t" | `secret_sha256`: not a SHA-256 digest; one has 64 hex digits
version | 1 | `version`: counted by the registry; leave it out
"#;

#[test]
fn names_what_cannot_be_represented() {
    for row in REFUSED.trim().lines() {
        let cells: Vec<_> = row.split(" | ").collect();
        let [member, value, message] = cells.as_slice() else {
            panic!("{row}")
        };
        let value = serde_json::from_str(value).unwrap();
        let problems = check(&with(least(), member, value)).unwrap_err();
        assert_eq!(problems.list().len(), 1, "{row}: {problems}");
        assert!(
            problems.to_string().starts_with(message),
            "{row}: {problems}"
        );
    }
}

#[test]
fn names_what_is_over_a_limit() {
    let labels: Value = (0..=LABELS_MAX)
        .map(|n| (n.to_string(), json!("")))
        .collect();
    let too_many = |given, max| FieldProblem::TooMany { given, max };
    let too_long = |max_bytes| FieldProblem::TooLong { max_bytes };
    for (field, value, problem) in [
        ("owner", json!("é".repeat(129)), too_long(OWNER_MAX_BYTES)),
        ("scopes[0]", json!(["a:".repeat(129)]), too_long(256)),
        ("scopes", json!(vec!["x"; 129]), too_many(129, SCOPES_MAX)),
        ("allowed_networks[0]", json!(["1".repeat(50)]), too_long(49)),
        (
            "allowed_networks",
            json!(vec!["x"; 513]),
            too_many(513, NETWORKS_MAX),
        ),
        ("labels", labels, too_many(65, LABELS_MAX)),
        ("labels.a", json!({"a": "b".repeat(257)}), too_long(256)),
    ] {
        let member = field.split(['[', '.']).next().unwrap();
        let expected = vec![(field.to_owned(), problem)];
        assert_eq!(problems(&with(least(), member, value)), expected);
    }
}

#[test]
fn accepts_the_limits_themselves_and_what_only_policies_refuse() {
    let labels: Value = (0..LABELS_MAX)
        .map(|n| (n.to_string(), json!("v".repeat(256))))
        .collect();
    let times = ["2026-10-01T00:00:00Z", "9999-12-31T23:59:59.999Z"];
    for (member, value) in [
        ("owner", json!("o".repeat(OWNER_MAX_BYTES))),
        ("scopes", json!(vec!["a:b"; SCOPES_MAX])),
        ("allowed_networks", json!(vec!["10.0.0.0/8"; NETWORKS_MAX])),
        (
            "allowed_networks",
            json!(["1111:2222:3333:4444:5555:6666:255.255.255.255/128"]),
        ),
        ("labels", labels),
        ("labels", json!({"": ""})),
        ("expires_at", json!("2026-11-01T00:00:00.001Z")),
        ("expires_at", json!(times[1])),
        ("not_before", json!(times[0])),
        ("rotate_by", json!(times[0])),
    ] {
        assert!(
            check(&with(least(), member, value.clone())).is_ok(),
            "{member} {value}"
        );
    }
    let any: KeyFile =
        serde_json::from_value(with(least(), "allowed_networks", json!(["0.0.0.0/0"]))).unwrap();
    assert!(
        any.check(KeyOptions {
            allow_any_network: true
        })
        .is_ok()
    );
}

#[test]
fn reports_all_problems_of_a_key_at_once_and_no_secret() {
    let key = json!({
        "id": "kw_live_k7Qp2mXw9LaR_S3cr3t", "owner": "", "environment": "x", "lifecycle": "y",
        "issued_at": "z", "grace_until": "g", "scopes": ["*"], "allowed_networks": ["n"],
        "labels": {"l": "\n"}, "secret_sha256": "S3cr3t", "version": 7,
    });
    let fields: Vec<_> = problems(&key).into_iter().map(|(field, _)| field).collect();
    assert_eq!(
        fields,
        [
            "id",
            "owner",
            "environment",
            "lifecycle",
            "issued_at",
            "grace_until",
            "scopes[0]",
            "allowed_networks[0]",
            "labels.l",
            "secret_sha256",
            "version",
        ]
    );
    let message = check(&key).unwrap_err().to_string();
    assert!(message.starts_with("`id`: not a key id;"), "{message}");
    assert!(
        message.contains("; `environment`: `x` is not one of `live`, `test`; "),
        "{message}"
    );
    assert!(!message.contains("S3cr3t"), "{message}");
}

#[test]
fn a_message_does_not_grow_with_its_input() {
    let key = with(least(), "lifecycle", json!("x".repeat(100_000)));
    assert!(check(&key).unwrap_err().to_string().len() < 300);
}

#[test]
fn grants_follow_the_grammar() {
    let segment = "s".repeat(64);
    let longest = format!("{segment}.{segment}.{segment}.{}:a", "s".repeat(59));
    assert_eq!(longest.len(), 256);
    let good = "a:b inventory:read inventory.items:read inventory.*:read a.b.*:c a:* *:read *:* \
                inventory.*:* 0a_-:9_-";
    for text in good
        .split(' ')
        .chain([longest.as_str(), &format!("{segment}:{segment}")])
    {
        assert!(is_grant(text), "{text}");
    }
    let bad = ": a a: :b * a:b:c a::b inv*:read *.items:read a.*.b:c **:a *.*:a .*:a .a:b a.:b \
               a..b:c a..*:b a:b* a:*.* a:b.c A:b a:B _a:b -a:b a:-b a:_b é:b a:b\n";
    for text in bad.split(' ').chain(["", "a b:c", "a:b ", " a:b"]) {
        assert!(!is_grant(text), "{text}");
    }
    for text in [
        format!("{segment}s:a"),
        format!("a:{segment}s"),
        format!("s{longest}"),
    ] {
        assert!(!is_grant(&text), "{text}");
    }
}

/// What an independent implementation of RFC 8785 makes of the file form and the version.
fn expected_canonical(record: &KeyRecord) -> String {
    let mut value = serde_json::to_value(KeyFile::new(record, None)).unwrap();
    value["version"] = json!(record.version);
    serde_json_canonicalizer::to_string(&value).unwrap()
}

#[test]
fn canonical_json_is_rfc_8785() {
    let labels = json!({
        "\u{e000}": "after the surrogates", "😀": "before U+E000 in UTF-16 only", "z": "\"\\/<>&",
        "é": "\u{2027}", "e\u{301}": "", "Z": "1", "a": "😀", "": "empty",
    });
    for key in [full(), least(), with(full(), "labels", labels)] {
        let (mut record, _) = check(&key).unwrap().into_parts();
        for version in [1, 2, VERSION_MAX] {
            record.version = version;
            let text = record.to_canonical_json();
            assert_eq!(text, expected_canonical(&record));
            assert_eq!(KeyRecord::from_canonical_json(&text).unwrap(), record);
            assert_eq!(record.digest(), Digest::of(text.as_bytes()));
        }
    }
}

#[test]
fn canonical_json_escapes_what_no_check_would_let_in() {
    let (mut record, _) = check(&least()).unwrap().into_parts();
    let owner = (0..=0xff_u8)
        .map(char::from)
        .chain(['\u{2028}', '\u{202e}']);
    record.owner = owner.collect::<String>().into();
    assert_eq!(record.to_canonical_json(), expected_canonical(&record));
}

#[test]
fn canonical_json_is_frozen() {
    let key = with(full(), "allowed_networks", Value::Null);
    let (record, _) = check(&key).unwrap().into_parts();
    let text = concat!(
        r#"{"allowed_networks":null,"environment":"test","expires_at":"2027-01-30T00:00:00Z","#,
        r#""grace_until":"2026-12-01T00:00:00Z","id":"k7Qp2mXw9LaR","#,
        r#""issued_at":"2026-11-01T00:00:00Z","labels":{"b":"","connector":"quickbooks"},"#,
        r#""lifecycle":"deprecated","not_before":"2026-11-02T00:00:00.500Z","#,
        r#""owner":"inventory-sync","read_only":true,"rotate_by":"2027-01-15T00:00:00Z","#,
        r#""scopes":["inventory.*:read","a:b"],"version":1}"#,
    );
    assert_eq!(record.to_canonical_json(), text);
}

#[test]
fn reads_nothing_but_the_canonical_form() {
    use CanonicalError as E;
    let (record, _) = check(&full()).unwrap().into_parts();
    let good = record.to_canonical_json();
    let read = |text: &str| KeyRecord::from_canonical_json(text).unwrap_err();
    for (from, to) in [
        ("{\"allowed", "{ \"allowed"),
        ("\"grace_until\":\"2026-12-01T00:00:00Z\",", ""),
        ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00.0Z"),
        ("203.0.113.0/24", "::ffff:203.0.113.0/120"),
        ("\"version\":1}", "\"version\":1,\"secret_sha256\":null}"),
        ("connector", "\\u0063onnector"),
    ] {
        assert!(good.contains(from), "{from}");
        assert_eq!(read(&good.replace(from, to)), E::NotCanonical, "{to}");
    }
    for version in ["0", "9007199254740992", "18446744073709551615"] {
        let text = good.replace("\"version\":1}", &format!("\"version\":{version}}}"));
        assert_eq!(read(&text), E::Version, "{version}");
    }
    assert_eq!(read(&good.replace(",\"version\":1", "")), E::Version);
    assert!(matches!(read(&good.replace("a:b", "a")), E::Problems(_)));
    assert!(matches!(
        read(&good.replace("\"owner\"", "\"ovner\"")),
        E::Malformed(_)
    ));
    assert!(matches!(
        read(&good.replace("\"version\":1", "\"version\":-1")),
        E::Malformed(_)
    ));
    assert!(matches!(
        read(good.trim_start_matches('{')),
        E::Malformed(_)
    ));
    assert_eq!(
        read(&" ".repeat(256 * 1024 + 1)),
        E::TooLong(256 * 1024 + 1)
    );
    // A network of every address was let in by whoever saved the record.
    assert!(KeyRecord::from_canonical_json(&good.replace("203.0.113.0/24", "0.0.0.0/0")).is_ok());
}

#[test]
fn the_largest_key_is_within_the_limits_of_storage() {
    let labels: Value = (0..LABELS_MAX)
        .map(|n| {
            (
                format!("{n:02}{}", "\"".repeat(254)),
                json!("\\".repeat(256)),
            )
        })
        .collect();
    let scope = format!(
        "{}.{}:b",
        "s".repeat(64),
        format!("{}.", "s".repeat(61)).repeat(3) + "s"
    );
    let network = "1111:2222:3333:4444:5555:6666:7777:8888/128";
    let key = with(
        with(full(), "labels", labels),
        "owner",
        json!("\"".repeat(OWNER_MAX_BYTES)),
    );
    let key = with(key, "scopes", json!(vec![scope; SCOPES_MAX]));
    let key = check(&with(
        key,
        "allowed_networks",
        json!(vec![network; NETWORKS_MAX]),
    ))
    .unwrap();
    let text = key.record().to_canonical_json();
    assert!(text.len() > 64 * 1024, "{}", text.len());
    assert_eq!(
        &KeyRecord::from_canonical_json(&text).unwrap(),
        key.record()
    );
    let line = serde_json::to_string(&key.to_file()).unwrap();
    assert_eq!(read_keys(line.as_bytes(), STRICT).unwrap(), [key]);
}

#[test]
fn nothing_shows_the_digest_of_a_secret() {
    let key = check(&full()).unwrap();
    let shown = format!("{key:?} {:?}", key.to_file());
    assert!(shown.contains("has_secret: true"), "{shown}");
    assert!(!shown.contains("abab"), "{shown}");
}
