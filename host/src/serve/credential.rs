//! The credential of a request, among its headers.
//!
//! It stands in one place: `Authorization: Bearer …` or a header of its own, and in the query only
//! where the operator says so. Whoever sends more than one, in whatever form, has none: which of
//! them counts is never guessed. An `Authorization` of another scheme, `Basic` for example, is
//! meant for somebody else and neither a credential nor in the way of one.

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::credential::{Credential, Presented};

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const BEARER: &[u8] = b"bearer";

/// Where a credential may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialHeaders {
    /// The header in which it follows the word `Bearer`; by default `Authorization`.
    pub bearer: Option<HeaderName>,
    /// The header in which it stands alone; by default `X-API-Key`.
    pub key: Option<HeaderName>,
    /// The parameter of the original request's query, compared as written, without decoding; by
    /// default none: what stands in a URL stands in the logs of everything on its way.
    pub query: Option<String>,
}

/// Where a credential was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// [`CredentialHeaders::bearer`].
    Bearer,
    /// [`CredentialHeaders::key`].
    Key,
    /// [`CredentialHeaders::query`].
    Query,
}

impl Default for CredentialHeaders {
    fn default() -> Self {
        Self {
            bearer: Some(AUTHORIZATION),
            key: Some(X_API_KEY.clone()),
            query: None,
        }
    }
}

impl CredentialHeaders {
    /// The credential of a request, and where it was found when that is one place. Its secret is
    /// hashed here. `target` is the original request's, with its query.
    #[must_use]
    pub fn read(&self, headers: &HeaderMap, target: &[u8]) -> (Presented, Option<Place>) {
        let lines = |name: &Option<HeaderName>, read: fn(&[u8]) -> Option<Presented>| {
            let mut lines = headers.get_all(name.as_ref()?).iter();
            let first = lines.next().map(HeaderValue::as_bytes)?;
            match lines.next() {
                Some(_) => Some(Presented::Ambiguous),
                None => read(first),
            }
        };
        let found = [
            (Place::Bearer, lines(&self.bearer, bearer)),
            (Place::Key, lines(&self.key, |value| Some(alone(value)))),
            (Place::Query, self.in_query(target)),
        ];
        let mut found = found
            .into_iter()
            .filter_map(|(place, presented)| Some((presented?, Some(place))));
        match (found.next(), found.next()) {
            (None, _) => (Presented::None, None),
            (Some(one), None) => one,
            (Some(_), Some(_)) => (Presented::Ambiguous, None),
        }
    }

    /// Whether a header may hold a credential, and so goes no further.
    #[must_use]
    pub fn is_one_of(&self, name: &HeaderName) -> bool {
        self.bearer.as_ref() == Some(name) || self.key.as_ref() == Some(name)
    }

    fn in_query(&self, target: &[u8]) -> Option<Presented> {
        let name = self.query.as_ref()?.as_bytes();
        let query = target.splitn(2, |byte| *byte == b'?').nth(1)?;
        let mut values = query.split(|byte| *byte == b'&').filter_map(|pair| {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let is_it = parts.next() == Some(name);
            is_it.then(|| parts.next().unwrap_or_default())
        });
        let first = values.next()?;
        Some(match values.next() {
            Some(_) => Presented::Ambiguous,
            None => alone(first),
        })
    }
}

/// What follows `Bearer`; `None` for another scheme. Schemes are compared without case (RFC 9110
/// §11.1).
fn bearer(value: &[u8]) -> Option<Presented> {
    match after_bearer(value) {
        Some(token) => Some(alone(token)),
        None => {
            // Two headers that somebody has joined to one.
            let mut parts = value.split(|byte| *byte == b',').skip(1);
            let is_bearer = |part: &[u8]| after_bearer(part.trim_ascii_start()).is_some();
            parts.any(is_bearer).then_some(Presented::Ambiguous)
        }
    }
}

fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(BEARER.len())?;
    let is_it = scheme.eq_ignore_ascii_case(BEARER) && matches!(rest, [] | [b' ' | b'\t', ..]);
    is_it.then(|| rest.trim_ascii_start())
}

/// A credential that stands alone. None has a comma: two headers were joined to one.
fn alone(value: &[u8]) -> Presented {
    if value.contains(&b',') {
        return Presented::Ambiguous;
    }
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| Credential::parse(text).ok())
        .map_or(Presented::Malformed, Presented::Credential)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Environment;
    use proptest::prelude::*;

    const ONE: &str = "kw_live_k7Qp2mXw9LaR_0123456789abcdefghijABCDEFGHIJ01_2se4Vx";

    /// What is presented, in a word, and where.
    fn read(lines: &[(&str, &[u8])], target: &str, names: &CredentialHeaders) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let (presented, place) = names.read(&headers, target.as_bytes());
        let presented = match presented {
            Presented::None => "none",
            Presented::Ambiguous => "ambiguous",
            Presented::Malformed => "malformed",
            Presented::Credential(it) if it.environment() == Environment::Live => "one",
            Presented::Credential(_) | Presented::KeyId(_) => "another",
        };
        place.map_or_else(|| presented.into(), |it| format!("{presented} {it:?}"))
    }

    fn check(lines: &[(&str, &str)], expected: &str) {
        let lines: Vec<_> = lines
            .iter()
            .map(|(name, it)| (*name, it.as_bytes()))
            .collect();
        let names = CredentialHeaders::default();
        assert_eq!(read(&lines, "/?api_key=x", &names), expected, "{lines:?}");
    }

    #[test]
    fn one_credential_in_one_place_counts() {
        let bearer = |scheme: &str| format!("{scheme}{ONE}");
        check(&[], "none");
        for scheme in ["Bearer ", "bearer ", "BEARER   "] {
            check(&[("authorization", &bearer(scheme))], "one Bearer");
        }
        check(&[("x-api-key", ONE)], "one Key");
        check(
            &[("x-api-key", ONE), ("authorization", "Basic dTpw")],
            "one Key",
        );
        check(
            &[("x-api-key", ONE), ("authorization", "Digest a=b, c=\"d\"")],
            "one Key",
        );
        check(&[("authorization", "Basic dTpw")], "none");
        check(&[("authorization", "")], "none");
        check(&[("authorization", &bearer("Bearers "))], "none");
        check(&[("authorization", ONE)], "none");
        check(
            &[("api-key", ONE), ("cookie", ONE), ("x_api_key", ONE)],
            "none",
        );
    }

    #[test]
    fn two_are_none_in_whatever_form() {
        let bearer = format!("Bearer {ONE}");
        let other = "kw_live_000000000000_0123456789abcdefghijABCDEFGHIJ01_000000";
        for lines in [
            &[("authorization", bearer.as_str()), ("x-api-key", ONE)][..],
            &[("authorization", &bearer), ("x-api-key", "")],
            &[("authorization", &bearer), ("authorization", &bearer)],
            &[("authorization", "Basic dTpw"), ("authorization", &bearer)],
            &[("x-api-key", ONE), ("x-api-key", ONE)],
            &[("x-api-key", ONE), ("x-api-key", "")],
            &[("x-api-key", &format!("{ONE},{other}"))],
            &[("x-api-key", &format!("{ONE}, {other}"))],
            &[("x-api-key", ","), ("authorization", "Basic dTpw")],
            &[("authorization", &format!("Bearer {ONE},{ONE}"))],
            &[("authorization", &format!("Bearer {ONE}, Bearer {ONE}"))],
            &[("authorization", &format!("Bearer {ONE}, Basic dTpw"))],
            &[("authorization", &format!("Basic dTpw,Bearer {ONE}"))],
            &[
                ("authorization", &format!("Basic dTpw, bearer {ONE}")),
                ("x-api-key", ONE),
            ],
        ] {
            let lines: Vec<_> = lines
                .iter()
                .map(|(name, it)| (*name, it.as_bytes()))
                .collect();
            let read = read(&lines, "/", &CredentialHeaders::default());
            assert!(read.starts_with("ambiguous"), "{lines:?}: {read}");
        }
    }

    #[test]
    fn what_is_no_credential_is_malformed() {
        for value in [
            "Bearer",
            "Bearer ",
            "bearer x",
            "Bearer\tx",
            "Bearer Bearer",
        ] {
            check(&[("authorization", value)], "malformed Bearer");
        }
        check(
            &[("authorization", &format!("Bearer {ONE}\t"))],
            "malformed Bearer",
        );
        for value in [
            "",
            "x",
            &format!("Bearer {ONE}"),
            &format!("{ONE}\u{e9}"),
            &format!("\"{ONE}\""),
        ] {
            check(&[("x-api-key", value)], "malformed Key");
        }
        let lines: &[(&str, &[u8])] = &[("x-api-key", b"kw_live_\xff\xfe")];
        assert_eq!(
            read(lines, "/", &CredentialHeaders::default()),
            "malformed Key"
        );
    }

    #[test]
    fn the_query_is_read_only_where_the_operator_says_so() {
        let names = CredentialHeaders {
            query: Some("api_key".into()),
            ..CredentialHeaders::default()
        };
        let bearer = format!("Bearer {ONE}");
        let header: &[(&str, &[u8])] = &[("authorization", bearer.as_bytes())];
        for (lines, query, expected) in [
            (&[][..], "a=b", "none"),
            (&[], "api_keys=x&xapi_key=y", "none"),
            (&[], &format!("api_key={ONE}"), "one Query"),
            (&[], &format!("a=b&api_key={ONE}&c"), "one Query"),
            (&[], "api_key", "malformed Query"),
            (&[], "api_key=", "malformed Query"),
            (
                &[],
                &format!("api_key={ONE}&api_key={ONE}"),
                "ambiguous Query",
            ),
            (header, &format!("api_key={ONE}"), "ambiguous"),
            (header, "api_key=", "ambiguous"),
            (header, "a=b", "one Bearer"),
        ] {
            assert_eq!(
                read(lines, &format!("/a?{query}"), &names),
                expected,
                "{query}"
            );
        }
        assert_eq!(read(&[], &format!("/api_key={ONE}"), &names), "none");
        let target = format!("/a?api_key={ONE}");
        assert_eq!(read(&[], &target, &CredentialHeaders::default()), "none");
    }

    #[test]
    fn names_can_be_chosen() {
        let names = CredentialHeaders {
            bearer: None,
            key: Some(HeaderName::from_static("apikey")),
            query: None,
        };
        let bearer = format!("Bearer {ONE}");
        assert_eq!(
            read(&[("authorization", bearer.as_bytes())], "/", &names),
            "none"
        );
        assert_eq!(read(&[("x-api-key", ONE.as_bytes())], "/", &names), "none");
        assert_eq!(read(&[("apikey", ONE.as_bytes())], "/", &names), "one Key");
    }

    proptest! {
        #[test]
        fn whatever_is_sent_twice_is_none(
            first in proptest::collection::vec(32_u8..127, 0..80),
            second in proptest::collection::vec(128_u8..=255, 0..8),
            is_key: bool,
        ) {
            let name = if is_key { "x-api-key" } else { "authorization" };
            let lines: &[(&str, &[u8])] = &[(name, &first), (name, &second)];
            let read = read(lines, "/", &CredentialHeaders::default());
            prop_assert!(read.starts_with("ambiguous"), "{read}");
        }
    }
}
