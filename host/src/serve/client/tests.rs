//! The client's address, by table and by property.

use std::sync::Arc;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn trust(header: ForwardingHeader) -> Trust {
    let networks = ["10.0.0.0/8", "2001:db8:1::/48"];
    Trust {
        networks: networks.map(|network| network.parse().unwrap()).to_vec(),
        header,
    }
}

fn headers(lines: &[(&HeaderName, &[u8])]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, line) in lines {
        headers.append(*name, HeaderValue::from_bytes(line).unwrap());
    }
    headers
}

/// What lines of a header make of a request from a trusted proxy.
fn from_proxy(header: &ForwardingHeader, lines: &[&str]) -> Client {
    let name = header.name();
    let lines: Vec<_> = lines.iter().map(|line| (name, line.as_bytes())).collect();
    client(
        Some(address("10.0.0.1")),
        &headers(&lines),
        &trust(header.clone()),
    )
}

fn check(header: &ForwardingHeader, lines: &[&str], expected: &str) {
    let expected = (expected != "unknown").then(|| address(expected));
    assert_eq!(from_proxy(header, lines).address, expected, "{lines:?}");
}

#[test]
fn the_nearest_address_that_is_not_trusted_is_the_client() {
    let header = ForwardingHeader::XForwardedFor;
    for (lines, expected) in [
        (&[][..], "10.0.0.1"),
        (&["192.0.2.7"], "192.0.2.7"),
        (&["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
        (&["203.0.113.9", "192.0.2.7"], "192.0.2.7"),
        (
            &["203.0.113.9", "192.0.2.7", "10.1.2.3, 10.9.9.9"],
            "192.0.2.7",
        ),
        (&["192.0.2.7,2001:db8:1::5"], "192.0.2.7"),
        (&["10.0.0.2, 10.0.0.3"], "10.0.0.1"),
        (&[" \t192.0.2.7 \t, 10.0.0.2"], "192.0.2.7"),
        (&["192.0.2.7:4711"], "192.0.2.7"),
        (&["192.0.2.7:_hidden"], "192.0.2.7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["[2001:db8::7]:443"], "2001:db8::7"),
        (&["2001:DB8:0::7"], "2001:db8::7"),
        (&["fe80::1%eth0"], "fe80::1"),
        (&["[fe80::1%25eth0]:80"], "fe80::1"),
        (&["[fe80::1%eth0]:80"], "fe80::1"),
        (&["::ffff:192.0.2.7"], "192.0.2.7"),
        (&["[::ffff:192.0.2.7]:80"], "192.0.2.7"),
        (&["192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7"),
        (&["unknown"], "unknown"),
        (&["192.0.2.7, unknown"], "unknown"),
        (&["192.0.2.7, _hidden, 10.0.0.2"], "unknown"),
        (&["unknown, 192.0.2.7"], "192.0.2.7"),
        (&["garbage \u{e9}\", 192.0.2.7"], "192.0.2.7"),
        (&[""], "unknown"),
        (&["192.0.2.7,"], "unknown"),
        (&["192.0.2.7,,10.0.0.2"], "unknown"),
        (&["010.0.0.1"], "unknown"),
        (&["192.0.2.7:"], "unknown"),
        (&["192.0.2.7:99999"], "unknown"),
        (&["192.0.2.7:+80"], "unknown"),
        (&["192.0.2.7%eth0"], "unknown"),
        (&["fe80::1%"], "unknown"),
        (&["[192.0.2.7]"], "unknown"),
        (&["[2001:db8::7"], "unknown"),
        (&["\"192.0.2.7\""], "unknown"),
        (&["for=192.0.2.7"], "unknown"),
        (&["192.0.2.0/24"], "unknown"),
    ] {
        check(&header, lines, expected);
    }
}

#[test]
fn forwarded_is_read_as_its_standard_says() {
    let header = ForwardingHeader::Forwarded;
    for (lines, expected) in [
        (&[][..], "10.0.0.1"),
        (&["for=192.0.2.7"], "192.0.2.7"),
        (&["For=\"[2001:db8::7]:4711\""], "2001:db8::7"),
        (&["by=10.0.0.1;FOR=192.0.2.7;proto=https"], "192.0.2.7"),
        (&["for=192.0.2.7; proto=https ;;"], "192.0.2.7"),
        (
            &["for=203.0.113.9, for=192.0.2.7;host=\"a,b;c\""],
            "192.0.2.7",
        ),
        (
            &["for=203.0.113.9", "for=192.0.2.7, for=10.0.0.2"],
            "192.0.2.7",
        ),
        (&["for=\"192.0.2.7:80\""], "192.0.2.7"),
        (&["for=\"open, for=192.0.2.7"], "192.0.2.7"),
        (&["for=\"open", "for=192.0.2.7"], "192.0.2.7"),
        (&["for=\"a\\\", for=192.0.2.7"], "192.0.2.7"),
        (&["for=unknown"], "unknown"),
        (&["for=\"unknown\""], "unknown"),
        (&["for=_SEVKISEK"], "unknown"),
        (&["proto=https"], "unknown"),
        (&["for=192.0.2.7;for=192.0.2.8"], "unknown"),
        (&["for=\"192.0.2.7"], "unknown"),
        (&["for=192.0.2.7\""], "unknown"),
        (&["for=\"192.0.2.\\7\""], "unknown"),
        (&["for =192.0.2.7"], "unknown"),
        (&["192.0.2.7"], "unknown"),
        (&[""], "unknown"),
    ] {
        check(&header, lines, expected);
    }
}

#[test]
fn one_header_is_read_and_no_other() {
    let real_ip = HeaderName::from_static("x-real-ip");
    let given = headers(&[
        (&X_FORWARDED_FOR, b"192.0.2.1"),
        (&FORWARDED, b"for=192.0.2.2"),
        (&real_ip, b"192.0.2.3"),
    ]);
    let peer = Some(address("10.0.0.1"));
    for (header, expected) in [
        (ForwardingHeader::XForwardedFor, "192.0.2.1"),
        (ForwardingHeader::Forwarded, "192.0.2.2"),
        (ForwardingHeader::Named(real_ip.clone()), "192.0.2.3"),
    ] {
        let client = client(peer, &given, &trust(header));
        assert_eq!(client.address, Some(address(expected)));
    }
    let only_real_ip = headers(&[(&real_ip, b"192.0.2.3")]);
    let client = client(peer, &only_real_ip, &trust(ForwardingHeader::default()));
    assert_eq!(client.address, peer);
}

#[test]
fn peer_and_chain_are_told() {
    let header = ForwardingHeader::XForwardedFor;
    let read = from_proxy(&header, &["kw_live_secret, 192.0.2.7:80, ::ffff:10.0.0.2"]);
    assert_eq!(read.peer, Some(address("10.0.0.1")));
    assert_eq!(read.chain, ["10.0.0.2".into(), Arc::from("192.0.2.7")]);
    let read = from_proxy(&header, &["kw_live_secret, 10.0.0.2"]);
    assert_eq!(read.chain, ["10.0.0.2".into(), Arc::from(UNREADABLE)]);
}

#[test]
fn a_unix_socket_is_trusted_and_has_no_address() {
    let trust = trust(ForwardingHeader::XForwardedFor);
    let forwarded = headers(&[(&X_FORWARDED_FOR, b"192.0.2.7")]);
    assert_eq!(
        client(None, &forwarded, &trust).address,
        Some(address("192.0.2.7"))
    );
    assert_eq!(client(None, &HeaderMap::new(), &trust).address, None);
}

#[test]
fn a_chain_is_read_to_its_limit() {
    let header = ForwardingHeader::XForwardedFor;
    let with = |proxies: usize| format!("192.0.2.7{}", ", 10.0.0.2".repeat(proxies));
    check(&header, &[&with(CHAIN_MAX_ENTRIES - 1)], "192.0.2.7");
    check(&header, &[&with(CHAIN_MAX_ENTRIES)], "unknown");
    let long = from_proxy(&header, &[&with(5_000)]);
    assert_eq!((long.address, long.chain.len()), (None, CHAIN_MAX_ENTRIES));
    check(
        &header,
        &[&format!("{}192.0.2.7", " ".repeat(ENTRY_MAX_BYTES))],
        "unknown",
    );
}

/// Bytes that a header can have, with those that matter more often.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "10.0.0.2",
            "192.0.2.7",
            "[2001:db8::7]",
            ":80",
            "%e",
            ",",
            ", ",
            "\"",
            "\\",
            ";",
            "for=",
            "proto=http",
            "unknown",
            "::1",
            " ",
        ])
        .prop_map(|piece| piece.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..10).prop_map(|pieces| {
        let mut bytes = pieces.concat();
        bytes.retain(|byte| *byte == b'\t' || (*byte >= 32 && *byte != 127));
        bytes
    })
}

proptest! {
    #[test]
    fn who_is_not_trusted_is_not_believed(lines in proptest::collection::vec(value(), 0..4)) {
        for header in [ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded] {
            let lines: Vec<_> = lines.iter().map(|it| (header.name(), it.as_slice())).collect();
            let peer = Some(address("203.0.113.9"));
            let client = client(peer, &headers(&lines), &trust(header.clone()));
            prop_assert_eq!(client, Client { peer, address: peer, chain: Vec::new() });
        }
    }

    #[test]
    fn what_a_client_wrote_changes_nothing(
        forged in value(),
        is_line: bool,
        lines in proptest::collection::vec(value(), 0..3),
    ) {
        for (header, true_entry) in [
            (ForwardingHeader::XForwardedFor, "192.0.2.7, 10.0.0.2"),
            (ForwardingHeader::Forwarded, "for=192.0.2.7;host=\"a,b\", for=10.0.0.2"),
        ] {
            let name = header.name();
            let mut forged_lines: Vec<Vec<u8>> = lines.clone();
            if is_line {
                forged_lines.extend([forged.clone(), true_entry.into()]);
            } else {
                forged_lines.push([&*forged, b", ", true_entry.as_bytes()].concat());
            }
            let forged: Vec<_> = forged_lines.iter().map(|it| (name, it.as_slice())).collect();
            let peer = Some(address("10.0.0.1"));
            let expected = from_proxy(&header, &[true_entry]);
            prop_assert_eq!(&expected.address, &Some(address("192.0.2.7")));
            prop_assert_eq!(client(peer, &headers(&forged), &trust(header.clone())), expected);
        }
    }

    #[test]
    fn any_header_gives_an_untrusted_address_the_peer_or_nothing(
        lines in proptest::collection::vec(value(), 0..4),
    ) {
        for header in [ForwardingHeader::XForwardedFor, ForwardingHeader::Forwarded] {
            let lines: Vec<_> = lines.iter().map(|it| (header.name(), it.as_slice())).collect();
            let trust = trust(header.clone());
            let peer = Some(address("10.0.0.1"));
            let client = client(peer, &headers(&lines), &trust);
            prop_assert!(client.chain.len() <= CHAIN_MAX_ENTRIES);
            let is_client = |it: Option<Address>| it == client.peer || !trust.trusts(it.unwrap());
            prop_assert!(client.address.is_none() || is_client(client.address));
        }
    }
}
