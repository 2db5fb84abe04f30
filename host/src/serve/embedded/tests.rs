//! The check of a request that is not one of `tower`.

use http::Request;

use super::super::layer::tests::{key, secret};
use super::super::tests::{NOW, authorizer};
use super::*;
use crate::decision::DecisionRecord;
use crate::registry::memory::MemoryRegistry;

struct Checked {
    check: EmbeddedCheck,
    _folder: tempfile::TempDir,
}

impl Checked {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let registry = MemoryRegistry::new(vec![key("active")]).unwrap();
        let authorizer = authorizer(folder.path(), Box::new(registry));
        let check = EmbeddedCheck::new(Arc::new(authorizer), EmbeddedOptions::new(|| NOW));
        Self {
            check,
            _folder: folder,
        }
    }
}

/// `GET /inventory/42` with a key that may.
fn head() -> Parts {
    let request = Request::get("/inventory/42")
        .header("host", "api.example.com")
        .header("x-api-key", secret().expose())
        .header("x-forwarded-for", "198.51.100.7");
    request.body(()).unwrap().into_parts().0
}

#[test]
fn the_target_that_goes_upstream_is_the_one_that_is_decided_on() {
    let checked = Checked::new();
    let peer = Peer::At("203.0.113.9".parse().unwrap());
    for (status, target) in [
        (200, &b"/inventory/43?a=b"[..]),
        (200, b"http://api.example.com/inventory/43"),
        (200, b"HTTP://API.example.com:80/inventory/43"),
        (403, b"http://other.example/inventory/43"),
        (403, b"http://api.example.com?a=b"),
        (403, b"/other"),
        // No text, of which a `Uri` could only say something else.
        (403, b"/inventory/\xff"),
        (403, b"*"),
        (403, b""),
    ] {
        let checked = checked.check.check_target(&head(), target, peer);
        let got = checked.map_or_else(|answer| answer.status.as_u16(), |_| 200);
        assert_eq!(got, status, "{}", target.escape_ascii());
    }
    assert!(checked.check.check(&head(), peer).is_ok());
}

#[test]
fn a_forwarding_header_counts_where_the_peer_is_trusted() {
    let checked = Checked::new();
    let client = |peer| {
        let (allowed, _) = checked.check.check(&head(), peer).unwrap();
        let record: &DecisionRecord = allowed.decision.record();
        record.client.clone().unwrap().address
    };
    let address = |text: &str| Some(text.parse::<Address>().unwrap());
    let peer = Peer::At("203.0.113.9".parse().unwrap());
    assert_eq!(client(peer), address("203.0.113.9"));
    assert_eq!(client(Peer::Unix), address("198.51.100.7"));
    assert_eq!(client(Peer::Unknown), None);
}
