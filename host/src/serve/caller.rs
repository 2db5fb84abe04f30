//! Who may call: what forwards whose address is believed, and an open check service would tell
//! anybody which keys there are.

use http::HeaderMap;
use subtle::ConstantTimeEq as _;

use crate::address::Address;
use crate::digest::Digest;

/// The header with the secret of callers.
pub(super) const CALLER_HEADER: &str = "x-keyward-caller";
/// The shortest secret of callers, in bytes.
pub(super) const SECRET_MIN_BYTES: usize = 32;
/// The longest secret of callers, in bytes.
pub(super) const SECRET_MAX_BYTES: usize = 512;

/// How a caller is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Channel {
    /// From where; `None`: a Unix socket, whose permissions say who may use it.
    pub(super) peer: Option<Address>,
    /// It has shown a certificate that was checked.
    pub(super) has_certificate: bool,
    /// What it sends cannot be read on the way.
    pub(super) is_private: bool,
}

impl Channel {
    /// A caller at an address, or at a Unix socket, who has shown no certificate.
    pub(super) fn new(peer: Option<Address>) -> Self {
        Self {
            peer,
            has_certificate: false,
            is_private: peer.is_none_or(|peer| peer.ip().is_loopback()),
        }
    }
}

/// Who may call.
#[derive(Clone, Debug)]
pub(super) struct Callers {
    /// The digest of the secret.
    pub(super) secret: Option<Digest>,
    /// Whether whoever is on this machine needs none.
    pub(super) allow_loopback: bool,
}

impl Callers {
    /// Whether a caller may ask for a check.
    pub(super) fn admits(&self, channel: Channel, headers: &HeaderMap) -> bool {
        let is_near = match channel.peer {
            None => true,
            Some(peer) => self.allow_loopback && peer.ip().is_loopback(),
        };
        is_near || channel.has_certificate || self.knows(headers)
    }

    /// Whether the secret was presented, once.
    fn knows(&self, headers: &HeaderMap) -> bool {
        let mut presented = headers.get_all(CALLER_HEADER).iter();
        match (&self.secret, presented.next(), presented.next()) {
            (Some(secret), Some(presented), None) => {
                let presented = Digest::of(presented.as_bytes());
                presented.as_bytes().ct_eq(secret.as_bytes()).into()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn channel(peer: Option<&str>) -> Channel {
        Channel::new(peer.map(|it| it.parse().unwrap()))
    }

    fn with(secrets: &[&'static str]) -> HeaderMap {
        let values = secrets.iter().map(|it| HeaderValue::from_static(it));
        values
            .map(|it| (http::HeaderName::from_static(CALLER_HEADER), it))
            .collect()
    }

    #[test]
    fn a_socket_a_certificate_or_the_secret_admits() {
        let near = Callers {
            secret: None,
            allow_loopback: true,
        };
        let far = Callers {
            secret: Some(Digest::of(SECRET.as_bytes())),
            allow_loopback: false,
        };
        let nothing = HeaderMap::new();
        for (callers, peer, headers, expected) in [
            (&near, None, &nothing, true),
            (&near, Some("127.0.0.9"), &nothing, true),
            (&near, Some("::1"), &nothing, true),
            (&near, Some("203.0.113.9"), &nothing, false),
            (&near, Some("203.0.113.9"), &with(&[SECRET]), false),
            (&far, None, &nothing, true),
            (&far, Some("127.0.0.1"), &nothing, false),
            (&far, Some("127.0.0.1"), &with(&[SECRET]), true),
            (&far, Some("203.0.113.9"), &with(&[SECRET]), true),
            (&far, Some("203.0.113.9"), &with(&[SECRET, SECRET]), false),
            (&far, Some("203.0.113.9"), &with(&["0123"]), false),
            (&far, Some("203.0.113.9"), &with(&[""]), false),
        ] {
            assert_eq!(
                callers.admits(channel(peer), headers),
                expected,
                "{peer:?} {headers:?}"
            );
        }
        let certified = Channel {
            has_certificate: true,
            ..channel(Some("203.0.113.9"))
        };
        assert!(near.admits(certified, &nothing));
    }

    #[test]
    fn what_leaves_the_machine_in_clear_is_not_private() {
        for (peer, expected) in [
            (None, true),
            (Some("127.0.0.9"), true),
            (Some("::1"), true),
            (Some("::ffff:127.0.0.1"), true),
            (Some("203.0.113.9"), false),
            (Some("10.0.0.1"), false),
        ] {
            assert_eq!(channel(peer).is_private, expected, "{peer:?}");
        }
    }
}
