//! Answers, by property.

use proptest::prelude::*;

use super::*;
use crate::credential::IssuedSecret;
use crate::serve::profile::{CheckSettings, Head};

fn any_lifecycle() -> impl Strategy<Value = Lifecycle> {
    prop::sample::select(vec![Lifecycle::Active, Lifecycle::Deprecated])
}

proptest! {
    #[test]
    fn an_allow_is_complete_whatever_the_key_is(
        owner in "\\PC{0,64}",
        scopes in proptest::collection::vec("\\PC{0,40}", 0..128),
        lifecycle in any_lifecycle(),
        times: [Option<i64>; 3],
        announce: bool,
        profile in prop::sample::select(ALL.to_vec()),
    ) {
        let [expires_at, rotate_by, grace_until] = times.map(|it| it.map(Timestamp::from_millis));
        let key = KeyRecord {
            owner: owner.into(),
            scopes: scopes.iter().map(|scope| scope.as_str().into()).collect(),
            lifecycle, expires_at, rotate_by, grace_until,
            ..key()
        };
        let answers = Answers { announce, ..Answers::default() };
        let answer = answers.of_record(&allowed(), Some(&key), &Origin::of(profile));
        prop_assert_eq!(answer.status, StatusCode::OK);
        prop_assert!(answer.body.is_empty());
        for name in FOR_UPSTREAM {
            prop_assert_eq!(answer.headers.get_all(name).iter().count(), 1);
        }
        for (name, value) in &answer.headers {
            let bytes = value.as_bytes();
            let visible = bytes.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
            prop_assert!(visible && bytes.len() <= SCOPES_MAX_BYTES, "{name}: {value:?}");
        }
    }

    #[test]
    fn a_denial_is_one_of_four_whatever_the_policy_says(
        reason in "\\PC{0,40}",
        required in "\\PC{0,300}",
        wait in "\\PC{0,12}",
        profile in prop::sample::select(ALL.to_vec()),
    ) {
        let params = [("required", &*required), ("retry-after", &*wait)];
        let answer = denied(profile, &record(&reason, &params, &params));
        prop_assert!([401, 403, 429, 503].contains(&answer.status.as_u16()));
        prop_assert!(answer.body.len() <= BODY_MAX_BYTES);
        prop_assert!(serde_json::from_slice::<Value>(&answer.body).is_ok());
    }

    #[test]
    fn no_answer_holds_the_secret(
        start: u8,
        reason in prop::sample::select(TABLE.to_vec()),
        place in prop::sample::select(vec![Some(Place::Bearer), Some(Place::Key), None]),
        profile in prop::sample::select(ALL.to_vec()),
    ) {
        let id = "k7Qp2mXw9LaR".parse().unwrap();
        let mut next = start;
        let mut counted = |bytes: &mut [u8]| {
            bytes.fill_with(|| {
                next = next.wrapping_add(41);
                next
            });
            Ok(())
        };
        let issued = IssuedSecret::generate(
            Environment::Live, id, &mut counted,
        ).unwrap();
        let mut headers = HeaderMap::new();
        let (name, value) = match place {
            Some(Place::Bearer) => ("authorization", format!("Bearer {}", issued.expose())),
            _ => ("x-api-key", issued.expose().to_owned()),
        };
        headers.insert(name, value.parse().unwrap());
        headers.insert("x_keyward_subject", "boss".parse().unwrap());
        for (name, value) in [("x-forwarded-uri", "/a"), ("x-forwarded-method", "GET"), ("x-forwarded-host", "h")] {
            headers.insert(name, value.parse().unwrap());
        }
        let asked = CheckSettings::default()
            .read(Head {
                method: &http::Method::GET,
                uri: &http::Uri::from_static("/check/forward"),
                headers: &headers,
                peer: None,
            })
            .unwrap()
            .unwrap();
        let mut record = record(reason.0, &[], &[]);
        if reason.1 == "allow" {
            record.permission = Permission::Allow;
        }
        let origin = Origin { profile, ..asked.origin.clone() };
        let answer = Answers::default().of_record(&record, Some(&key()), &origin);
        let all = format!("{asked:?} {:?} {} {:?}", answer.headers, String::from_utf8_lossy(&answer.body), asked.headers);
        let secret = issued.expose().rsplit('_').nth(1).unwrap();
        prop_assert_eq!(secret.len(), 32);
        prop_assert!(!all.contains(secret));
    }
}
