//! Each row of the specification's table, what each row asks, and the rules about addresses.

use keyward_policy::testing::{self, FakeRequest, summary};
use keyward_policy::{Address, Effect, Network};

use super::*;

fn policy(settings: &str) -> IpPolicy {
    keyward_policy::configure(settings).unwrap()
}

fn blocking(networks: &[&str]) -> IpPolicy {
    policy(&serde_json::json!({ "blocked": networks }).to_string())
}

fn request<const N: usize>(
    source: impl Into<Option<&'static str>>,
    networks: Option<[&str; N]>,
) -> FakeRequest {
    let source = source.into().map(|text| text.parse::<Address>().unwrap());
    let network = |text: &str| text.parse::<Network>().unwrap();
    FakeRequest::new()
        .source_address(source)
        .key_allowed_networks(networks.map(|networks| networks.map(network).to_vec()))
}

const NO_LIST: Option<[&str; 0]> = None;

#[test]
fn the_descriptor_and_its_defaults_are_sound() {
    assert_eq!(testing::check_descriptor(&IpPolicy::DESCRIPTOR), Ok(()));
    let defaults = serde_json::to_value(Settings::default()).unwrap();
    assert_eq!(defaults, testing::schema_defaults(&IpPolicy::DESCRIPTOR));
    assert_eq!(policy("{}"), policy(&defaults.to_string()));
    let codes: Vec<_> = REASONS.iter().map(|reason| reason.code()).collect();
    let rows = [
        "blocked",
        "unrestricted",
        "no-allow-list",
        "source-unknown",
        "not-allowed",
        "allowed",
    ];
    assert_eq!(codes, rows.map(|row| format!("ip.{row}")));
}

#[test]
fn each_row_decides_and_asks_no_more_than_it_needs() {
    let open = policy("{}");
    let strict = policy(r#"{"require_allow_list": true}"#);
    let blocking = policy(r#"{"blocked": ["10.0.0.0/8"], "require_allow_list": true}"#);
    let list = "key-allowed-networks";
    let source = "source-address";
    let in_ten = Some(["10.0.0.0/8"]);
    let blocked = "deny ip.blocked address=10.1.2.3 | unauthorized-ip address=10.1.2.3";
    let unknown = "deny ip.source-unknown | unauthorized-ip";
    let not_allowed = "deny ip.not-allowed address=11.0.0.1 | unauthorized-ip address=11.0.0.1";
    let no_list = "deny ip.no-allow-list | key-not-compliant";
    for (policy, request, verdict, questions) in [
        (
            &blocking,
            request("10.1.2.3", in_ten),
            blocked,
            &[source][..],
        ),
        (&blocking, request("10.1.2.3", NO_LIST), blocked, &[source]),
        (
            &open,
            request("10.1.2.3", NO_LIST),
            "allow ip.unrestricted",
            &[list],
        ),
        (
            &open,
            request(None, NO_LIST),
            "allow ip.unrestricted",
            &[list],
        ),
        (&strict, request("10.1.2.3", NO_LIST), no_list, &[list]),
        (&strict, request(None, NO_LIST), no_list, &[list]),
        (&blocking, request(None, NO_LIST), no_list, &[source, list]),
        (&open, request(None, in_ten), unknown, &[list, source]),
        (&blocking, request(None, in_ten), unknown, &[source, list]),
        (&open, request(None, Some([])), unknown, &[list, source]),
        (
            &open,
            request("11.0.0.1", Some([])),
            not_allowed,
            &[list, source],
        ),
        (
            &open,
            request("11.0.0.1", in_ten),
            not_allowed,
            &[list, source],
        ),
        (
            &blocking,
            request("11.0.0.1", in_ten),
            not_allowed,
            &[source, list],
        ),
        (
            &strict,
            request("10.1.2.3", in_ten),
            "allow ip.allowed network=10.0.0.0/8",
            &[list, source],
        ),
    ] {
        assert_eq!(
            summary(&testing::decide(policy, &request).unwrap()),
            verdict
        );
        assert_eq!(request.asked(), questions, "{verdict}");
    }
}

#[test]
fn the_most_specific_network_is_named_in_its_normal_form() {
    let networks = Some([
        "10.0.0.0/8",
        "::ffff:10.1.0.0/112",
        "0.0.0.0/0",
        "10.1.2.0/25",
        "2001:DB8::/32",
        "::/0",
    ]);
    for (source, network) in [
        ("10.1.2.3", "10.1.2.0/25"),
        ("10.1.2.200", "10.1.0.0/16"),
        ("::ffff:10.1.2.200", "10.1.0.0/16"),
        ("10.2.0.0", "10.0.0.0/8"),
        ("192.0.2.1", "0.0.0.0/0"),
        ("2001:db8:1::", "2001:db8::/32"),
        ("::1", "::/0"),
    ] {
        let verdict = testing::decide(&policy("{}"), &request(source, networks)).unwrap();
        assert_eq!(
            verdict.reason.unwrap().param("network"),
            Some(network),
            "{source}"
        );
    }
}

#[test]
fn deny_lists_look_into_nat64_and_6to4_and_allow_lists_never_do() {
    let deny = blocking(&[
        "198.18.0.0/15",
        "2001:db8:bad::/48",
        "64:ff9b::c000:200/120",
    ]);
    for (source, blocked) in [
        ("198.18.0.1", true),
        ("198.19.255.255", true),
        ("198.20.0.0", false),
        ("::ffff:198.18.0.1", true),
        ("64:ff9b::198.18.0.1", true),
        ("64:ff9b::198.20.0.0", false),
        ("64:ff9b::192.0.2.7", true), // as itself
        ("192.0.2.7", false),
        ("2002:c612:1::1", true),
        ("2002:c614:1::1", false),
        ("2001:db8:bad:1::", true),
        ("2001:db8:bae::", false),
    ] {
        let verdict = testing::decide(&deny, &request(source, NO_LIST)).unwrap();
        assert_eq!(verdict.effect == Effect::Deny, blocked, "{source}");
    }
    for source in ["64:ff9b::198.18.0.1", "2002:c612:1::1"] {
        let request = request(source, Some(["198.18.0.0/15"]));
        let verdict = testing::decide(&policy("{}"), &request).unwrap();
        assert_eq!(verdict.reason.unwrap().code(), "ip.not-allowed", "{source}");
    }
}

#[test]
fn a_mapped_network_is_the_ipv4_network() {
    assert_eq!(
        blocking(&["::ffff:10.0.0.0/104"]),
        blocking(&["10.0.0.0/8"])
    );
    let everything = blocking(&["::ffff:0:0/96"]);
    let verdict = testing::decide(&everything, &request("203.0.113.9", NO_LIST)).unwrap();
    assert_eq!(verdict.effect, Effect::Deny);
    let verdict = testing::decide(&everything, &request("2001:db8::", NO_LIST)).unwrap();
    assert_eq!(verdict.effect, Effect::Allow);
}

#[test]
fn every_malformed_network_is_an_error_at_its_place() {
    let settings = r#"{"blocked": ["10.0.0.0/8", "10.0.0.1/8", "::/0", "10.0.0.0", "010.0.0.0/8",
        "fe80::%eth0/10", "10.0.0.0/33", ""]}"#;
    let errors = keyward_policy::configure::<IpPolicy>(settings).unwrap_err();
    let paths: Vec<_> = errors.iter().map(SettingError::path).collect();
    assert_eq!(
        paths,
        [1, 3, 4, 5, 6, 7].map(|index| format!("/blocked/{index}"))
    );
    let message = "`10.0.0.1/8`: bits are set behind the prefix; did you mean `10.0.0.0/8`?";
    assert_eq!(errors[0].message(), message);
    let errors = keyward_policy::configure::<IpPolicy>(r#"{"blocked": [7]}"#).unwrap_err();
    assert_eq!(errors[0].path(), "/blocked/0");
}
