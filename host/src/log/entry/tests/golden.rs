//! Known entries and their bytes, and bytes that are no entries and why.

use super::*;

/// The bytes of a hex text with spaces.
pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
        .collect()
}

#[track_caller]
pub(super) fn check(entry: &Entry, bytes: &str) {
    let written: String = entry
        .encode()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(written, bytes.replace([' ', '\n'], ""));
    assert_eq!(Entry::decode(&hex(bytes)).as_ref(), Ok(entry));
}

fn ones() -> Digest {
    Digest::from_bytes([0x11; 32])
}

pub(super) const ONES: &str =
    "5820 1111111111111111111111111111111111111111111111111111111111111111";

#[test]
fn a_boot_has_these_bytes_for_ever() {
    let boot = Boot {
        time: Timestamp::from_millis(1_795_428_000_000),
        origin: "keyward.example/a".to_owned(),
        durability: Durability::Durable,
        sync_interval_ms: 50,
        keyward_version: "0.1.0".to_owned(),
        engine: "wasmtime 48".to_owned(),
        policy_set: ones(),
    };
    check(
        &Entry::Boot(boot),
        &format!(
            "89 00 01 1b000001a207d92100 71 6b6579776172642e6578616d706c652f61 01 1832
             65 302e312e30 6b 7761736d74696d65203438 {ONES}"
        ),
    );
}

#[test]
fn a_recovery_has_these_bytes_for_ever() {
    let recovery = Recovery {
        time: Timestamp::from_millis(-1),
        dropped_bytes: 300,
        segment: 70_000,
    };
    check(&Entry::Recovery(recovery), "85 01 01 20 19012c 1a00011170");
}

/// A host that has no key denies without asking a policy.
#[test]
fn the_smallest_decision_has_these_bytes_for_ever() {
    check(
        &Entry::Decision(small_decision()),
        &format!(
            "8d 02 02 50 00000000000000000000000000000007 00 f6 f6 f6 {ONES} 00
             6b 6b65792e6d697373696e67 f6 80 80"
        ),
    );
}

/// Decisions in the layout before verdicts were reused are read for ever, and are none of today's.
#[test]
fn decisions_of_the_first_layout_are_read() {
    for (decision, text) in [
        (
            small_decision(),
            format!(
                "8c 02 01 50 00000000000000000000000000000007 00 f6 f6 f6 {ONES} 00
                 6b 6b65792e6d697373696e67 f6 80"
            ),
        ),
        (
            full_decision([false; 2]),
            format!(
                "8c 02 01 50 00000000000000000000000000000007 00 62 7231
                 6c 6b37517032 6d5877394c6152 {ONES} {ONES} 01 62 6f6b 61 64 {}",
                evaluations()
            ),
        ),
    ] {
        let entry = Entry::Decision(decision);
        assert_eq!(Entry::decode(&hex(&text)), Ok(entry.clone()));
        assert_ne!(entry.encode(), hex(&text));
    }
}

pub(super) fn small_decision() -> DecisionRecord {
    DecisionRecord {
        id: DecisionId(7),
        time: Timestamp::from_millis(0),
        request: None,
        key: None,
        key_record: None,
        policy_set: ones(),
        permission: Permission::Deny,
        reason: "key.missing".into(),
        detail: None,
        evaluations: Evaluations::default(),
        client: None,
    }
}

#[test]
fn a_full_decision_has_these_bytes_for_ever() {
    check(
        &Entry::Decision(full_decision([false, true])),
        &format!(
            "8d 02 02 50 00000000000000000000000000000007 00 62 7231 6c 6b37517032 6d5877394c6152
             {ONES} {ONES} 01 62 6f6b 61 64 81 01 {}",
            evaluations()
        ),
    );
}

#[test]
fn the_places_of_reused_evaluations_have_one_form() {
    for (reused, is_sound) in [
        ("80", true),
        ("81 00", true),
        ("82 00 01", true),
        ("82 01 00", false),
        ("82 01 01", false),
        ("81 02", false),
        ("81 1bffffffffffffffff", false),
        ("81 20", false),
        ("9f 00 ff", false),
    ] {
        let text = format!(
            "8d 02 02 50 00000000000000000000000000000007 00 62 7231 6c 6b37517032 6d5877394c6152
             {ONES} {ONES} 01 62 6f6b 61 64 {reused} {}",
            evaluations()
        );
        assert_eq!(Entry::decode(&hex(&text)).is_ok(), is_sound, "{reused}");
    }
}

#[test]
fn a_reload_has_these_bytes_for_ever() {
    let reload = Reload {
        time: Timestamp::from_millis(10),
        previous: Digest::from_bytes([0; 32]),
        policy_set: ones(),
    };
    let zeros = format!("5820 {}", "00".repeat(32));
    check(
        &Entry::Reload(reload),
        &format!("85 03 01 0a {zeros} {ONES}"),
    );
}

#[test]
fn a_log_key_has_these_bytes_for_ever() {
    let log_key = LogKey {
        time: Timestamp::from_millis(10),
        previous: vec!["a".to_owned(), "b".to_owned()],
        keys: vec!["c".to_owned()],
    };
    check(
        &Entry::LogKey(log_key),
        "85 05 01 0a 82 61 61 61 62 81 61 63",
    );
}

#[test]
fn an_outage_has_these_bytes_for_ever() {
    let outage = Outage {
        from: Timestamp::from_millis(10),
        to: Timestamp::from_millis(11),
        refused: 12,
    };
    check(&Entry::Outage(outage), "85 04 01 0a 0b 0c");
}

#[test]
fn coalesced_denials_have_these_bytes_for_ever() {
    let coalesced = Coalesced {
        from: Timestamp::from_millis(10),
        to: Timestamp::from_millis(11),
        reason: "key.unknown".into(),
        count: 1_000,
    };
    let reason = "6b 6b65792e756e6b6e6f776e";
    check(
        &Entry::Coalesced(coalesced),
        &format!("86 07 01 0a 0b {reason} 1903e8"),
    );
}

#[test]
fn a_revocation_has_these_bytes_for_ever() {
    let revocation = |size| {
        Entry::Revocation(Revocation {
            time: Timestamp::from_millis(10),
            cose: vec![0xd2; size],
        })
    };
    check(&revocation(3), "84 09 01 0a 43 d2d2d2");
    for size in [0, REVOCATION_MAX_BYTES + 1] {
        assert!(Entry::decode(&revocation(size).encode()).is_err(), "{size}");
    }
}

/// The bytes of the evaluations of [`full_decision`].
#[test]
fn a_retention_has_these_bytes_for_ever() {
    let retention = Retention {
        time: Timestamp::from_millis(10),
        below: 768,
        before: Timestamp::from_millis(-1),
        policy: "400 days".to_owned(),
    };
    check(
        &Entry::Retention(retention),
        "86 06 01 0a 19 0300 20 68 3430302064617973",
    );
}

#[test]
fn key_events_have_these_bytes_for_ever() {
    let id: KeyId = "k7Qp2mXw9LaR".parse().unwrap();
    let event = |kind, subject| KeyEvent {
        time: Timestamp::from_millis(10),
        sequence: 2,
        previous: Some(ones()),
        kind,
        subject,
        actor: Some("amira".into()),
        user: Some("ann1".into()),
        reason: None,
        order: None,
    };
    let head = format!("8b 08 01 0a 02 {ONES}");
    let tail = "65 616d697261 64 616e6e31 f6 f6";
    let subject = Subject::Key {
        id,
        version: 3,
        before: Some(ones()),
        after: ones(),
        state: State::Deprecated,
        other: Some(id),
        secret: Some(ones()),
    };
    let hex_id = "6c 6b37517032 6d5877394c6152";
    check(
        &Entry::KeyEvent(event(KeyEventKind::Rotated, subject)),
        &format!("{head} 03 88 00 {hex_id} 03 {ONES} {ONES} 02 {hex_id} {ONES} {tail}"),
    );
    let subject = Subject::Keys {
        count: 1_000_000,
        digest: ones(),
    };
    check(
        &Entry::KeyEvent(event(KeyEventKind::Imported, subject)),
        &format!("{head} 01 83 01 1a 000f4240 {ONES} {tail}"),
    );
    let subject = Subject::Nothing { id: None };
    check(
        &Entry::KeyEvent(event(KeyEventKind::Refused, subject)),
        &format!("{head} 13 82 02 f6 {tail}"),
    );
}

fn evaluations() -> String {
    format!(
        "82
           83 85 00 01 82 62 6f6b 81 82 61 70 61 76 81 82 61 73 80 81 83 61 6f
              81 82 61 70 61 76 f5 {STEPS} 191746
           83 83 01 03 61 66 80 00"
    )
}

/// A verdict and a fault, either of them reused or not.
fn full_decision(reused: [bool; 2]) -> DecisionRecord {
    let params = vec![("p".to_owned(), "v".to_owned())];
    let verdict = Verdict {
        effect: Effect::Allow,
        reason: Some(Reason {
            code: "ok".into(),
            params: params.clone(),
        }),
        signals: vec![Signal {
            name: "s".to_owned(),
            params: Vec::new(),
        }],
        obligations: vec![Obligation {
            name: "o".to_owned(),
            params,
            required: true,
        }],
    };
    let evaluation = |outcome, steps, fuel, is_reused| Evaluated {
        evaluation: Arc::new(Evaluation {
            outcome,
            trace: Trace { steps },
            fuel,
        }),
        is_reused,
    };
    DecisionRecord {
        request: Some("r1".into()),
        key: Some("k7Qp2mXw9LaR".parse().unwrap()),
        key_record: Some(ones()),
        permission: Permission::Allow,
        reason: "ok".into(),
        detail: Some("d".into()),
        evaluations: vec![
            evaluation(Outcome::Verdict(verdict), steps(), 5958, reused[0]),
            evaluation(
                Outcome::Fault(Fault::new(FaultKind::OutOfFuel, "f")),
                Vec::new(),
                0,
                reused[1],
            ),
        ]
        .into(),
        ..small_decision()
    }
}

/// Every question once or more, with every kind of answer.
fn steps() -> Vec<(Question, Answer)> {
    let address = |text: &str| Answer::Address(text.parse().unwrap());
    let instant = Timestamp::from_millis(10);
    let attribute = |value| (Question::Attribute("a".into()), value);
    vec![
        attribute(Answer::Absent),
        attribute(Answer::Text("t".into())),
        attribute(Answer::Integer(-5)),
        attribute(Answer::Flag(false)),
        attribute(Answer::Instant(instant)),
        attribute(address("192.0.2.1")),
        attribute(Answer::Texts(["x".into()].into())),
        (Question::Header("h".into()), Answer::Texts([].into())),
        (Question::Host, Answer::Text("e".into())),
        (
            Question::KeyAllowedNetworks,
            Answer::Networks(["10.0.0.0/8".parse().unwrap()].into()),
        ),
        (Question::KeyExpiresAt, Answer::Instant(instant)),
        (Question::KeyGraceUntil, Answer::Absent),
        (Question::KeyId, Answer::Text("k".into())),
        (Question::KeyIssuedAt, Answer::Instant(instant)),
        (Question::KeyLabel("l".into()), Answer::Absent),
        (
            Question::KeyLifecycle,
            Answer::Lifecycle(Lifecycle::Deprecated),
        ),
        (Question::KeyNotBefore, Answer::Absent),
        (Question::KeyOwner, Answer::Text("o".into())),
        (Question::KeyReadOnly, Answer::Flag(true)),
        (Question::KeyRotateBy, Answer::Absent),
        (Question::KeyScopes, Answer::Texts(["a:b".into()].into())),
        (Question::Method, Answer::Text("GET".into())),
        (Question::Now, Answer::Instant(instant)),
        (Question::Path, Answer::Text("/".into())),
        (Question::Reached(instant), Answer::Flag(true)),
        (Question::RequiredScope, Answer::Absent),
        (Question::SourceAddress, address("::1")),
    ]
}

const STEPS: &str = "98 1b
    82 82 00 61 61 f6
    82 82 00 61 61 82 00 61 74
    82 82 00 61 61 82 01 24
    82 82 00 61 61 82 02 f4
    82 82 00 61 61 82 03 0a
    82 82 00 61 61 82 04 44 c0000201
    82 82 00 61 61 82 05 81 61 78
    82 82 01 61 68 80
    82 02 61 65
    82 03 81 82 44 0a000000 08
    82 04 0a
    82 05 f6
    82 06 61 6b
    82 07 0a
    82 82 08 61 6c f6
    82 09 01
    82 0a f6
    82 0b 61 6f
    82 0c f5
    82 0d f6
    82 0e 81 63 613a62
    82 0f 63 474554
    82 10 0a
    82 11 61 2f
    82 82 12 0a f5
    82 13 f6
    82 14 50 00000000000000000000000000000001";

#[test]
fn what_is_not_an_entry_is_refused() {
    use EntryError as E;
    let malformed = |offset, expected| E::Malformed { offset, expected };
    for (name, bytes, error) in [
        ("nothing", "", malformed(0, "an array")),
        ("not an array", "00", malformed(0, "an array")),
        ("a map", "a10001", malformed(0, "an array")),
        (
            "an indefinite array",
            "9f 01 01 20 00 00 ff",
            malformed(0, "an array"),
        ),
        (
            "more items than bytes",
            "9b ffffffffffffffff 01 01",
            malformed(0, "an array"),
        ),
        ("an unknown type", "81 1701", E::UnknownType(23)),
        (
            "an unknown layout",
            "85 01 02 00 00 00",
            E::UnknownVersion(2),
        ),
        (
            "too few items",
            "84 01 01 00 00",
            malformed(0, "an array of the type's length"),
        ),
        (
            "cut off",
            "85 01 01 20 1901",
            malformed(4, "a number of bytes"),
        ),
        (
            "a float",
            "85 01 01 20 f93c00 00",
            malformed(4, "a number of bytes"),
        ),
        ("a tag", "85 01 01 c1 00 00 00", malformed(3, "an instant")),
        (
            "a negative size",
            "85 01 01 20 20 00",
            malformed(4, "a number of bytes"),
        ),
        (
            "an instant out of range",
            "85 01 01 1bffffffffffffffff 00 00",
            malformed(3, "an instant"),
        ),
        (
            "a number in too many bytes",
            "85 01 01 20 1805 00",
            E::NotCanonical,
        ),
        (
            "an array length in too many bytes",
            "98 05 01 01 20 05 00",
            E::NotCanonical,
        ),
        (
            "something behind it",
            "85 01 01 20 05 00 00",
            E::NotCanonical,
        ),
    ] {
        assert_eq!(Entry::decode(&hex(bytes)), Err(error), "{name}");
    }
}

/// A decision with one step, whose bytes are given.
fn with_step(step: &str) -> Vec<u8> {
    hex(&format!(
        "8c 02 01 50 00000000000000000000000000000007 00 f6 f6 f6 {ONES} 00 60 f6
         81 83 83 01 00 60 81 82 {step} 00"
    ))
}

#[test]
fn answers_that_a_question_cannot_have_are_refused() {
    Entry::decode(&with_step("02 61 65")).unwrap();
    for (name, step) in [
        ("host absent", "02 f6"),
        ("host a flag", "02 f5"),
        ("host a byte string", "02 41 65"),
        ("host not UTF-8", "02 61 ff"),
        ("scopes absent", "0e f6"),
        ("an unknown question", "15 f6"),
        ("an attribute without a name", "00 f6"),
        ("a question without argument given one", "82 02 61 61 61 65"),
        ("an unknown value", "82 00 61 61 82 06 00"),
        ("a value without its kind", "82 00 61 61 61 61"),
        ("a lifecycle that there is not", "09 04"),
        ("an address of five bytes", "14 45 0000000000"),
        (
            "a mapped address",
            "14 50 00000000000000000000ffff c0000201",
        ),
        ("host bits", "03 81 82 44 0a000001 08"),
        ("a prefix too long", "03 81 82 44 0a000000 1821"),
        ("undefined for null", "13 f7"),
        ("an indefinite text", "02 7f 61 65 ff"),
    ] {
        assert!(Entry::decode(&with_step(step)).is_err(), "{name}");
    }
}

#[test]
fn an_answer_that_its_question_cannot_have_is_never_read_as_another_kind() {
    for (question, answer) in [
        (Question::Host, Answer::Flag(true)),
        (Question::Host, Answer::Absent),
        (
            Question::Attribute("a".into()),
            Answer::Lifecycle(Lifecycle::Active),
        ),
        (Question::Attribute("a".into()), Answer::Networks([].into())),
        (
            Question::Attribute("a".into()),
            Answer::Networks(["::/0".parse().unwrap()].into()),
        ),
    ] {
        let outcome = Outcome::Fault(Fault::new(FaultKind::Trap, ""));
        let trace = Trace {
            steps: vec![(question, answer)],
        };
        let evaluations = vec![Evaluated::afresh(Evaluation {
            outcome,
            trace,
            fuel: 0,
        })]
        .into();
        let entry = Entry::Decision(DecisionRecord {
            evaluations,
            ..small_decision()
        });
        assert!(Entry::decode(&entry.encode()).is_err(), "{entry:?}");
    }
}

#[test]
fn the_size_is_limited_before_anything_is_read() {
    let bytes = vec![0; ENTRY_MAX_BYTES + 1];
    assert_eq!(
        Entry::decode(&bytes),
        Err(EntryError::TooLarge {
            bytes: ENTRY_MAX_BYTES + 1
        })
    );
    let reason = "x".repeat(ENTRY_MAX_BYTES).into();
    let large = Entry::Decision(DecisionRecord {
        reason,
        ..small_decision()
    });
    let bytes = large.encode();
    assert_eq!(
        Entry::decode(&bytes),
        Err(EntryError::TooLarge { bytes: bytes.len() })
    );
}

/// As many items as fit, each as small as can be: the most memory that an entry can ask for.
#[test]
fn the_most_items_that_fit_are_read() {
    let reason = Reason {
        code: "".into(),
        params: vec![(String::new(), String::new()); 21_000],
    };
    let verdict = Verdict {
        effect: Effect::Deny,
        reason: Some(reason),
        signals: Vec::new(),
        obligations: Vec::new(),
    };
    let outcome = Outcome::Verdict(verdict);
    let evaluations = vec![Evaluated::afresh(Evaluation {
        outcome,
        trace: Trace::default(),
        fuel: 0,
    })]
    .into();
    let entry = Entry::Decision(DecisionRecord {
        evaluations,
        ..small_decision()
    });
    assert_eq!(Entry::decode(&entry.encode()), Ok(entry));
}
