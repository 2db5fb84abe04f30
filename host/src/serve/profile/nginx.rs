//! The profile of nginx's `auth_request` and of ingress-nginx. nginx adds nothing by itself; its
//! configuration sets `X-Original-Method` and `X-Original-URI`, ingress-nginx `X-Original-URL`,
//! which is absolute. The host is that of the URL, and otherwise `Host`.

use super::{
    Asked, CheckSettings, Head, Malformed, Original, Profile, client_of, host_of, one, one_text,
    split_target,
};

/// The headers that the gateway sets.
pub(super) const OWN: [&str; 8] = [
    "x-auth-request-redirect",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-sent-from",
];

pub(super) fn read(head: Head<'_>, settings: &CheckSettings) -> Result<Asked, Malformed> {
    let method = one_text(head.headers, "x-original-method")?;
    let uri = one(head.headers, "x-original-uri")?;
    let url = one(head.headers, "x-original-url")?;
    if let (Some(uri), Some(url)) = (uri, url)
        && split_target(uri)?.1 != split_target(url)?.1
    {
        return Err(Malformed("`X-Original-URI` and `X-Original-URL` disagree"));
    }
    let target = url
        .or(uri)
        .ok_or(Malformed("`X-Original-URI` is missing"))?;
    // The `Host` of a call with a whole URL is that of the check service.
    let is_whole = url.is_some() && split_target(target)?.0.is_some();
    let original = Original {
        profile: Profile::Nginx,
        method: method.ok_or(Malformed("`X-Original-Method` is missing"))?,
        host: if is_whole { None } else { host_of(head)? },
        target,
    };
    settings.asked(&original, head.headers, client_of(head, settings))
}
