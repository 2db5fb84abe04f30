//! Decisions that say where the request came from: their bytes, their limits, and that all others
//! are written as before.

use super::golden::{ONES, check, hex, small_decision};
use super::*;
use crate::client::{CHAIN_ENTRY_MAX_BYTES, CHAIN_MAX_ENTRIES, UNREADABLE};

/// The small decision as it was in the layout without a client, in one more item.
fn bytes(client: &str) -> String {
    format!(
        "8e 02 03 50 00000000000000000000000000000007 00 f6 f6 f6 {ONES} 00
         6b 6b65792e6d697373696e67 f6 80 80 {client}"
    )
}

fn from(client: Client) -> Entry {
    Entry::Decision(DecisionRecord {
        client: Some(Arc::new(client)),
        ..small_decision()
    })
}

#[test]
fn a_decision_with_a_client_has_these_bytes_for_ever() {
    let address = |text: &str| Some(text.parse().unwrap());
    let client = Client {
        peer: address("10.0.0.1"),
        address: address("192.0.2.7"),
        chain: vec!["10.0.0.2".into(), "192.0.2.7".into()],
    };
    check(
        &from(client),
        &bytes("83 44 c0000207 44 0a000001 82 68 31302e302e302e32 69 3139322e302e322e37"),
    );
    let of_socket = Client {
        chain: vec![UNREADABLE.into()],
        ..Client::default()
    };
    check(
        &from(of_socket),
        &bytes("83 f6 f6 81 6a 756e7265616461626c65"),
    );
    let v6 = Client {
        address: address("::1"),
        ..Client::default()
    };
    check(
        &from(v6),
        &bytes("83 50 00000000000000000000000000000001 f6 80"),
    );
}

#[test]
fn the_chain_is_limited() {
    let with = |chain: Vec<Arc<str>>| Client {
        chain,
        ..Client::default()
    };
    let entry = |bytes: usize| Arc::from("f".repeat(bytes));
    for (client, fits) in [
        (
            with(vec![entry(CHAIN_ENTRY_MAX_BYTES); CHAIN_MAX_ENTRIES]),
            true,
        ),
        (with(vec![entry(1); CHAIN_MAX_ENTRIES + 1]), false),
        (with(vec![entry(CHAIN_ENTRY_MAX_BYTES + 1)]), false),
        (with(vec![entry(0)]), false),
    ] {
        assert_eq!(client.is_within_limits(), fits, "{client:?}");
        let entry = from(client);
        let decoded = Entry::decode(&entry.encode());
        assert_eq!(decoded.is_ok(), fits, "{entry:?}");
        if let Err(error) = decoded {
            let expected = format!(
                "a chain of at most {CHAIN_MAX_ENTRIES} texts of 1 to {CHAIN_ENTRY_MAX_BYTES} bytes"
            );
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }
}

#[test]
fn what_is_no_client_is_refused() {
    Entry::decode(&hex(&bytes("83 f6 f6 80"))).unwrap();
    for (name, client) in [
        ("none", "f6"),
        ("no item", ""),
        ("two items", "82 f6 f6"),
        ("four items", "84 f6 f6 80 80"),
        ("an address as text", "83 69 3139322e302e322e37 f6 80"),
        ("an address of five bytes", "83 45 0000000000 f6 80"),
        (
            "a mapped address",
            "83 50 00000000000000000000ffff c0000201 f6 80",
        ),
        ("no chain", "83 f6 f6 f6"),
        ("a chain of bytes", "83 f6 f6 81 41 61"),
        ("more entries than bytes", "83 f6 f6 9b ffffffffffffffff"),
        ("something behind it", "83 f6 f6 80 00"),
    ] {
        assert!(Entry::decode(&hex(&bytes(client))).is_err(), "{name}");
    }
    // The item count of one layout with the number of another.
    let client = bytes("83 f6 f6 80");
    assert!(Entry::decode(&hex(&client.replacen("8e 02 03", "8e 02 02", 1))).is_err());
    assert!(Entry::decode(&hex(&client.replacen("8e 02 03", "8d 02 03", 1))).is_err());
}
