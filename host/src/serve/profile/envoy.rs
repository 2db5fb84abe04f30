//! The profile of Envoy's ext_authz over HTTP: the call is the original request itself, method,
//! host and path, behind the prefix. Envoy hands over only the headers that it is told to.

use super::{Asked, CheckSettings, Head, Malformed, Original, Profile, client_of, host_of};

/// What the names of Envoy's own headers begin with.
pub(super) const OWN_PREFIX: &str = "x-envoy-";
/// Others that it sets.
pub(super) const OWN: [&str; 2] = ["x-forwarded-for", "x-forwarded-proto"];

/// `path` is what follows the prefix.
pub(super) fn read(
    head: Head<'_>,
    path: &str,
    settings: &CheckSettings,
) -> Result<Asked, Malformed> {
    if path.is_empty() {
        return Err(Malformed(
            "no path follows `/check/envoy`; set it as `path_prefix`",
        ));
    }
    let mut target = path.as_bytes().to_vec();
    if let Some(query) = head.uri.query() {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    let original = Original {
        profile: Profile::Envoy,
        method: head.method.as_str(),
        host: host_of(head)?,
        target: &target,
    };
    settings.asked(&original, head.headers, client_of(head, settings))
}
