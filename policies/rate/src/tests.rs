//! What is denied, how long it is to wait, and what each verdict asks.

use keyward_policy::testing::{self, FakeRequest, summary};
use keyward_policy::{Effect, Fault};

use super::*;

fn policy(settings: &str) -> RatePolicy {
    keyward_policy::configure(settings).unwrap()
}

fn per_minute(requests: u32) -> RatePolicy {
    policy(&format!(
        r#"{{"limits":[{{"requests":{requests},"per":"1m"}}]}}"#
    ))
}

fn used<const N: usize>(counts: [(&str, i64); N]) -> FakeRequest {
    counts
        .iter()
        .fold(FakeRequest::new(), |request, (span, count)| {
            request.attribute(&format!("usage.requests-{span}"), Value::Integer(*count))
        })
}

#[test]
fn the_descriptor_is_sound() {
    assert_eq!(testing::check_descriptor(&RatePolicy::DESCRIPTOR), Ok(()));
    let schema: serde_json::Value =
        serde_json::from_str(RatePolicy::DESCRIPTOR.settings_schema).unwrap();
    let limit = &schema["properties"]["limits"]["items"]["properties"];
    let names = Span::ALL.map(|span| span.to_string());
    assert_eq!(limit["per"]["enum"], serde_json::json!(names));
    assert_eq!(limit["requests"]["maximum"], REQUESTS_MAX);
    for (span, need) in Span::ALL.into_iter().zip(RatePolicy::DESCRIPTOR.needs) {
        assert_eq!(need.name, format!("usage.requests-{span}"));
        assert_eq!(need.name, span.attribute());
        let settings = format!(r#"{{"limits":[{{"requests":1,"per":"{span}"}}]}}"#);
        assert_eq!(policy(&settings).limits[0].per, span);
    }
}

#[test]
fn up_to_the_limit_it_abstains_and_above_it_denies() {
    for (requests, effect) in [
        (1, Effect::Abstain),
        (600, Effect::Abstain),
        (601, Effect::Deny),
    ] {
        let request = used([("1m", requests), ("50s", 0)]);
        let verdict = testing::decide(&per_minute(600), &request).unwrap();
        assert_eq!(verdict.effect, effect, "{requests}");
    }
    let request = used([("1m", 600)]);
    let verdict = testing::decide(&per_minute(600), &request);
    assert_eq!(verdict, Ok(Verdict::abstain()));
    assert_eq!(request.asked(), ["attribute usage.requests-1m"]);
}

#[test]
fn the_wait_is_as_long_as_it_takes_for_enough_to_leave_the_window() {
    let counts = |counts: [i64; 6]| {
        let spans = ["10s", "20s", "30s", "40s", "50s", "1m"];
        used(std::array::from_fn::<_, 6, _>(|n| (spans[n], counts[n])))
    };
    for (requests, wait, asked) in [
        // In 50 seconds there were 9, so that in 10 seconds there is room for one more.
        ([1, 2, 3, 4, 9, 11], 10, 2),
        ([1, 2, 3, 9, 10, 11], 20, 3),
        ([9, 10, 10, 10, 10, 11], 50, 6),
        // All came in the last ten seconds.
        ([11, 11, 11, 11, 11, 11], 61, 6),
    ] {
        let request = counts(requests);
        let verdict = testing::decide(&per_minute(10), &request).unwrap();
        let expected = format!(
            "deny rate.limited requests=11 per=1m limit=10 window=60 retry-after={wait} | \
             rate-limited limit=10 window=60 retry-after={wait}"
        );
        assert_eq!(summary(&verdict), expected);
        assert_eq!(request.asked().len(), asked);
    }
    // One a minute: everything else has to be gone.
    let verdict = testing::decide(&per_minute(1), &counts([1, 1, 1, 1, 1, 2])).unwrap();
    assert_eq!(verdict.reason.unwrap().param("retry-after"), Some("61"));
}

#[test]
fn every_span_waits_within_its_own_window() {
    for span in Span::ALL {
        let settings = format!(r#"{{"limits":[{{"requests":1,"per":"{span}"}}]}}"#);
        let all = Span::ALL.map(|span| (span.to_string(), 9));
        let request = (all.iter()).fold(FakeRequest::new(), |request, (span, count)| {
            request.attribute(&format!("usage.requests-{span}"), Value::Integer(*count))
        });
        let verdict = testing::decide(&policy(&settings), &request).unwrap();
        let wait: u32 = verdict
            .reason
            .unwrap()
            .param("retry-after")
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(wait, span.seconds() + span.part_seconds(), "{span}");
        let longest = span.part_seconds() * 60;
        assert_eq!(
            request.asked().len(),
            (6 * span.seconds() / longest) as usize
        );
    }
}

#[test]
fn of_several_limits_all_hold_and_the_longest_wait_is_told() {
    let policy = policy(
        r#"{"limits":[{"requests":2,"per":"10s"},{"requests":5,"per":"1m"},{"requests":9,"per":"1h"}]}"#,
    );
    let request = used([("10s", 3), ("50s", 4), ("40s", 3), ("1m", 6), ("1h", 9)]);
    let verdict = testing::decide(&policy, &request).unwrap();
    let expected = "deny rate.limited requests=3 per=10s limit=2 window=10 retry-after=11 | \
                    rate-limited limit=2 window=10 retry-after=11 | \
                    rate-limited limit=5 window=60 retry-after=10";
    assert_eq!(summary(&verdict), expected);
}

#[test]
fn a_label_sets_the_limit_of_a_key() {
    let policy = policy(r#"{"limits":[{"requests":5,"per":"1m","label":"rate-1m"}]}"#);
    let request = used([("1m", 6), ("50s", 0)]);
    for (label, effect) in [
        ("5", Effect::Deny),
        ("6", Effect::Abstain),
        ("0006", Effect::Abstain),
        ("1000000000", Effect::Abstain),
    ] {
        let request = request.clone().key_label("rate-1m", label);
        let verdict = testing::decide(&policy, &request).unwrap();
        assert_eq!(verdict.effect, effect, "{label}");
    }
    for label in [
        "",
        "0",
        "+9",
        "-9",
        "9.0",
        "9 ",
        "1000000001",
        "99999999999",
        "many",
        "\u{669}",
    ] {
        let request = request.clone().key_label("rate-1m", label);
        let verdict = testing::decide(&policy, &request).unwrap();
        let expected = "deny rate.label-malformed label=rate-1m | key-not-compliant";
        assert_eq!(summary(&verdict), expected, "{label}");
    }
    let verdict = testing::decide(&policy, &request).unwrap();
    assert_eq!(verdict.effect, Effect::Deny);
}

#[test]
fn without_a_count_nothing_is_decided() {
    let fault = Err(Fault::new("the host counts no requests"));
    for request in [
        FakeRequest::new(),
        used([("1m", -1)]),
        FakeRequest::new().attribute("usage.requests-1m", Value::Text("3".to_owned())),
        // Over the limit, and no word on how long.
        used([("1m", 601)]),
    ] {
        assert_eq!(per_minute(600).evaluate(&request), fault);
    }
    let request = used([("1m", i64::MAX), ("50s", 0)]);
    assert_eq!(
        per_minute(REQUESTS_MAX).evaluate(&request).unwrap().effect,
        Effect::Deny
    );
}

#[test]
fn two_limits_for_one_span_are_refused() {
    let settings = r#"{"limits":[{"requests":5,"per":"1m"},{"requests":6,"per":"1h"},{"requests":7,"per":"1m"}]}"#;
    let errors = keyward_policy::configure::<RatePolicy>(settings).unwrap_err();
    let expected = SettingError::at(&["limits", "2", "per"], "another limit is per 1m");
    assert_eq!(errors, [expected]);
    for settings in ["{}", r#"{"limits":[{"requests":5,"per":"2m"}]}"#] {
        assert!(
            keyward_policy::configure::<RatePolicy>(settings).is_err(),
            "{settings}"
        );
    }
}
