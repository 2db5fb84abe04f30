//! The profile of Traefik's ForwardAuth, Caddy's `forward_auth`, APISIX's `forward-auth` and of
//! anyone who writes a client: everything in `X-Forwarded-*`.

use super::{Asked, CheckSettings, Head, Malformed, Original, Profile, client_of, one, one_text};

/// The headers that the gateway sets.
pub(super) const OWN: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-uri",
];

pub(super) fn read(head: Head<'_>, settings: &CheckSettings) -> Result<Asked, Malformed> {
    let method = one_text(head.headers, "x-forwarded-method")?;
    let target = one(head.headers, "x-forwarded-uri")?;
    let original = Original {
        profile: Profile::Forward,
        method: method.ok_or(Malformed("`X-Forwarded-Method` is missing"))?,
        host: one_text(head.headers, "x-forwarded-host")?,
        target: target.ok_or(Malformed("`X-Forwarded-Uri` is missing"))?,
    };
    settings.asked(&original, head.headers, client_of(head, settings))
}
