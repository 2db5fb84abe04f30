//! Each row of the specification's table, what each row asks, and how long each verdict holds.

use std::collections::BTreeSet;

use keyward_policy::testing::{self, FakeRequest, Question, summary};

use super::*;

/// The fake request's time of decision.
const NOW: &str = "2026-11-23T10:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn policy(settings: &str) -> RotationPolicy {
    keyward_policy::configure(settings).unwrap()
}

fn decide(settings: &str, request: &FakeRequest) -> String {
    summary(&testing::decide(&policy(settings), request).unwrap())
}

/// Issued ten days ago for ninety, and far from every instant that matters.
fn key() -> FakeRequest {
    FakeRequest::new()
        .key_expires_at(now().plus_days(80))
        .key_rotate_by(now().plus_days(70))
}

fn deprecated(grace_until: impl Into<Option<Timestamp>>) -> FakeRequest {
    key()
        .key_lifecycle(Lifecycle::Deprecated)
        .key_grace_until(grace_until)
}

fn one_ms_before(instant: Timestamp) -> Timestamp {
    Timestamp::from_millis(instant.millis() - 1)
}

#[test]
fn the_descriptor_and_its_defaults_are_sound() {
    assert_eq!(
        testing::check_descriptor(&RotationPolicy::DESCRIPTOR),
        Ok(())
    );
    let defaults = serde_json::to_value(Settings::default()).unwrap();
    assert_eq!(
        defaults,
        testing::schema_defaults(&RotationPolicy::DESCRIPTOR)
    );
    assert_eq!(policy("{}"), policy(&defaults.to_string()));
    let codes: Vec<_> = REASONS.iter().map(|reason| reason.code()).collect();
    let rows = [
        "not-yet-valid",
        "no-expiry",
        "lifetime-exceeded",
        "expired",
        "grace-ended",
        "overdue",
        "in-grace",
        "overdue-warned",
        "due",
        "current",
    ];
    assert_eq!(codes, rows.map(|row| format!("rotation.{row}")));
}

#[test]
fn a_key_is_not_valid_before_its_time() {
    let request = key().key_not_before(now());
    assert!(decide("{}", &request).starts_with("allow"));
    let request = request
        .at(one_ms_before(now()))
        .key_issued_at(now().minus_days(1000));
    assert_eq!(
        decide("{}", &request),
        "deny rotation.not-yet-valid not_before=2026-11-23T10:00:00Z"
    );
    assert_eq!(
        request.asked(),
        ["key-not-before", "reached 2026-11-23T10:00:00Z: no"]
    );
}

#[test]
fn a_key_needs_an_expiry_unless_told_otherwise() {
    let request = key()
        .key_expires_at(None)
        .key_lifecycle(Lifecycle::Deprecated);
    assert_eq!(
        decide("{}", &request),
        "deny rotation.no-expiry | key-not-compliant"
    );
    assert_eq!(request.asked(), ["key-not-before", "key-expires-at"]);
    let optional = r#"{"require_expiry": false}"#;
    let in_grace = "allow rotation.in-grace | deprecated-key-used";
    assert_eq!(decide(optional, &request), in_grace);
    let request = request.key_lifecycle(Lifecycle::Active);
    assert_eq!(decide(optional, &request), "allow rotation.current");
    let request = request
        .key_rotate_by(None)
        .key_issued_at(now().minus_days(83));
    let due = "2026-11-30T10:00:00Z";
    let expected = format!("allow rotation.due due={due} stage=7 | rotation-due stage=7 due={due}");
    assert_eq!(decide(optional, &request), expected);
}

#[test]
fn a_life_may_be_as_long_as_allowed_and_no_longer() {
    let issued = now().minus_days(10);
    let request = key()
        .key_issued_at(issued)
        .key_expires_at(issued.plus_days(90));
    assert!(decide("{}", &request).starts_with("allow"));
    let too_long = Timestamp::from_millis(issued.plus_days(90).millis() + 1);
    // Also when it has expired: the row comes first.
    for at in [now(), too_long] {
        let request = request.clone().key_expires_at(too_long).at(at);
        let expected = "deny rotation.lifetime-exceeded max_lifetime_days=90 | key-not-compliant";
        assert_eq!(decide("{}", &request), expected);
        assert_eq!(
            request.asked(),
            ["key-not-before", "key-expires-at", "key-issued-at"]
        );
    }
    let longer = r#"{"max_lifetime_days": 91}"#;
    assert!(decide(longer, &request.key_expires_at(too_long)).starts_with("allow"));
}

#[test]
fn a_key_expires_at_its_expiry() {
    let request = deprecated(now().minus_days(1)).key_expires_at(now());
    assert_eq!(
        decide("{}", &request),
        "deny rotation.expired expires_at=2026-11-23T10:00:00Z"
    );
    let asked = [
        "key-not-before",
        "key-expires-at",
        "key-issued-at",
        "reached 2026-11-23T10:00:00Z: yes",
    ];
    assert_eq!(request.asked(), asked);
    let request = key().key_expires_at(now()).at(one_ms_before(now()));
    assert!(decide("{}", &request).starts_with("allow rotation.due"));
}

#[test]
fn a_deprecated_key_works_until_its_grace_ends() {
    let in_grace = "allow rotation.in-grace | deprecated-key-used";
    let ended = "deny rotation.grace-ended grace_until=2026-11-23T10:00:00Z | deprecated-key-used";
    let request = deprecated(now());
    assert_eq!(decide("{}", &request), ended);
    let asked = [
        "key-not-before",
        "key-expires-at",
        "key-issued-at",
        "reached 2027-02-11T10:00:00Z: no",
        "key-lifecycle",
        "key-grace-until",
        "reached 2026-11-23T10:00:00Z: yes",
    ];
    assert_eq!(request.asked(), asked);
    assert_eq!(decide("{}", &request.at(one_ms_before(now()))), in_grace);
    // Without an end of its own, grace lasts until the key expires.
    let request = deprecated(None).at(one_ms_before(now().plus_days(80)));
    assert_eq!(decide("{}", &request), in_grace);
    let request = request.at(now().plus_days(80));
    assert!(decide("{}", &request).starts_with("deny rotation.expired"));
    // On an active key it means nothing.
    let request = key().key_grace_until(now());
    assert_eq!(decide("{}", &request), "allow rotation.current");
    assert!(!request.asked().contains(&"key-grace-until".to_owned()));
}

#[test]
fn an_overdue_key_is_refused_or_reported() {
    let signal = "rotation-due stage=overdue due=2026-11-23T10:00:00Z";
    let rotate_by = "rotate_by=2026-11-23T10:00:00Z";
    let deny = r#"{"on_overdue": "deny"}"#;
    let refused = format!("deny rotation.overdue {rotate_by} | {signal}");
    let reported = format!("allow rotation.overdue-warned {rotate_by} | {signal}");
    // By its own instant, or ninety days after it was issued.
    let issued = now().minus_days(90);
    let wide = r#""max_lifetime_days": 91"#;
    for request in [
        key().key_rotate_by(now()),
        key()
            .key_rotate_by(None)
            .key_issued_at(issued)
            .key_expires_at(issued.plus_days(91)),
    ] {
        assert_eq!(decide(&format!("{{{wide}}}"), &request), reported);
        assert_eq!(
            decide(&format!(r#"{{{wide}, "on_overdue": "deny"}}"#), &request),
            refused
        );
    }
    let before = key().key_rotate_by(now()).at(one_ms_before(now()));
    assert!(decide(deny, &before).starts_with("allow rotation.due "));
}

#[test]
fn overdue_and_deprecated_are_told_apart_in_the_tables_order() {
    let deny = r#"{"on_overdue": "deny"}"#;
    let in_grace = "allow rotation.in-grace | deprecated-key-used";
    let request = deprecated(now().plus_days(3)).key_rotate_by(now().minus_days(1));
    assert_eq!(decide("{}", &request), in_grace);
    assert!(!request.asked().contains(&"key-rotate-by".to_owned()));
    assert_eq!(
        decide(deny, &request),
        "deny rotation.overdue rotate_by=2026-11-22T10:00:00Z \
         | rotation-due stage=overdue due=2026-11-22T10:00:00Z",
    );
    assert_eq!(
        decide(deny, &request.key_rotate_by(now().plus_days(5))),
        in_grace
    );
    // `due` is the earlier of the two also when grace ends after it, and an expiry before it.
    let request = key()
        .key_rotate_by(now())
        .key_expires_at(now().plus_days(2))
        .at(now());
    assert!(decide("{}", &request).ends_with("due=2026-11-23T10:00:00Z"));
}

#[test]
fn notice_comes_in_stages_before_the_earlier_instant() {
    for (days_left, stage) in [
        (61, None),
        (60, Some(60)),
        (59, Some(60)),
        (30, Some(30)),
        (14, Some(14)),
        (7, Some(7)),
        (2, Some(7)),
        (1, Some(1)),
    ] {
        let end = now().plus_days(days_left);
        let later = now().plus_days(70);
        for request in [
            key().key_rotate_by(end).key_expires_at(later),
            key().key_rotate_by(later).key_expires_at(end),
        ] {
            let expected = stage.map_or("allow rotation.current".to_owned(), |stage| {
                format!("allow rotation.due due={end} stage={stage} | rotation-due stage={stage} due={end}")
            });
            assert_eq!(decide("{}", &request), expected, "{days_left} days left");
            // One millisecond earlier, the stage before.
            if stage == Some(days_left) {
                let before = decide("{}", &request.at(one_ms_before(now())));
                assert!(!before.contains(&format!("stage={days_left} ")), "{before}");
            }
        }
    }
}

#[test]
fn a_stage_is_asked_for_on_both_sides_and_no_further() {
    let request = key().key_rotate_by(now().plus_days(20));
    let settings = r#"{"notice_days": [7, 30, 1, 30, 14, 60]}"#;
    assert!(decide(settings, &request).contains("stage=30"));
    let asked = [
        "key-not-before",
        "key-expires-at",
        "key-issued-at",
        "reached 2027-02-11T10:00:00Z: no",
        "key-lifecycle",
        "key-rotate-by",
        "reached 2026-12-13T10:00:00Z: no",
        "reached 2026-10-14T10:00:00Z: yes",
        "reached 2026-11-13T10:00:00Z: yes",
        "reached 2026-11-29T10:00:00Z: no",
    ];
    assert_eq!(request.asked(), asked);
    assert_eq!(
        decide(r#"{"notice_days": []}"#, &request),
        "allow rotation.current"
    );
}

/// The boundary of every answer is in the trace: at each instant asked about, and one millisecond
/// before it, the verdict is that of every other time with the same answers; and the clock is never
/// read.
#[test]
fn a_verdict_holds_exactly_until_the_next_instant_it_asked_about() {
    let settings = [
        "{}",
        r#"{"on_overdue": "deny"}"#,
        r#"{"require_expiry": false, "notice_days": [3, 1], "max_lifetime_days": 30}"#,
    ];
    let day = |day: Option<u32>| day.map(|day| now().plus_days(day));
    let mut codes = BTreeSet::new();
    for settings in settings {
        let policy = policy(settings);
        for case in 0..4_u32.pow(4) * 2 {
            let pick = |place: u32, days: [Option<u32>; 4]| {
                day(days[(case / 4_u32.pow(place) % 4) as usize])
            };
            let lifecycle = if case % 2 == 0 {
                Lifecycle::Active
            } else {
                Lifecycle::Deprecated
            };
            let request = FakeRequest::new()
                .key_issued_at(now())
                .key_lifecycle(lifecycle)
                .key_not_before(pick(0, [None, Some(0), Some(2), Some(50)]))
                .key_rotate_by(pick(1, [None, Some(1), Some(29), Some(80)]))
                .key_expires_at(pick(2, [None, Some(10), Some(30), Some(90)]))
                .key_grace_until(pick(3, [None, Some(3), Some(20), Some(40)]));
            let mut at = now();
            // Follow the trace from one instant to the next until nothing is left to come.
            for _ in 0..40 {
                let here = request.clone().at(at);
                let verdict = testing::decide(&policy, &here).unwrap();
                codes.insert(verdict.reason.as_ref().unwrap().code());
                let next = here
                    .questions()
                    .into_iter()
                    .filter_map(|question| match question {
                        Question::Reached(instant, false) => Some(instant),
                        Question::Plain("now") => panic!("the clock was read"),
                        _ => None,
                    });
                let Some(next) = next.min() else { break };
                assert!(next > at);
                for still in [
                    one_ms_before(next),
                    Timestamp::from_millis(i64::midpoint(at.millis(), next.millis())),
                ] {
                    let later = request.clone().at(still.max(at));
                    assert_eq!(testing::decide(&policy, &later).unwrap(), verdict);
                    assert_eq!(later.questions(), here.questions());
                }
                at = next;
            }
        }
    }
    assert_eq!(codes.len(), REASONS.len(), "{codes:?}");
}

#[test]
fn hostile_instants_are_answered_and_never_trap() {
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX].map(Timestamp::from_millis);
    let settings = [
        "{}".to_owned(),
        format!(
            r#"{{"require_expiry": false, "max_lifetime_days": {max}, "rotation_period_days": {max},
                "notice_days": [{max}, 0], "on_overdue": "deny"}}"#,
            max = u32::MAX,
        ),
    ];
    for settings in &settings {
        let policy = policy(settings);
        for issued in ends {
            for end in ends {
                for at in ends {
                    let request = FakeRequest::new().at(at).key_issued_at(issued);
                    for request in [
                        request.clone().key_expires_at(end),
                        request.clone().key_rotate_by(end),
                        request
                            .clone()
                            .key_not_before(end)
                            .key_expires_at(end)
                            .key_rotate_by(end),
                        request
                            .key_lifecycle(Lifecycle::Deprecated)
                            .key_grace_until(end),
                    ] {
                        assert!(testing::decide(&policy, &request).is_ok());
                    }
                }
            }
        }
    }
    let request = key().key_issued_at(ends[0]).key_expires_at(ends[5]);
    assert!(decide("{}", &request).starts_with("deny rotation.lifetime-exceeded"));
}

#[test]
fn settings_of_another_shape_are_an_error_at_their_place() {
    for (settings, path) in [
        (r#"{"on_overdue": "ignore"}"#, "/on_overdue"),
        (r#"{"notice_days": [1, -1]}"#, "/notice_days/1"),
        (r#"{"max_lifetime_days": 1.5}"#, "/max_lifetime_days"),
        (r#"{"max_lifetime": 1}"#, ""),
    ] {
        let errors = keyward_policy::configure::<RotationPolicy>(settings).unwrap_err();
        assert_eq!(
            errors.iter().map(SettingError::path).collect::<Vec<_>>(),
            [path]
        );
    }
}
