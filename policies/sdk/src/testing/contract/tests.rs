//! Each rule of the contract, kept and broken.

use super::*;
use crate::{
    AttributeNeed, Fault, NoSettings, ObligationName, ReasonTemplate, Request, SettingError,
    SignalName,
};

mod declared {
    //! What the policy under test declares.
    crate::reasons! { REASONS:
        LATE "demo.late" { text: "after {hour} h", remedy: "come earlier" }
    }
    crate::signals! { SIGNALS: ODD_HOUR "odd-hour" }
    crate::obligations! { OBLIGATIONS: WATERMARK "watermark" }

    pub(super) const ALL: super::Descriptor = super::Descriptor {
        name: "demo:clock",
        version: "1.2.3",
        summary: "Knows the hour",
        needs: &[super::AttributeNeed {
            name: "geo.country",
            required: false,
        }],
        reasons: REASONS,
        signals: SIGNALS,
        obligations: OBLIGATIONS,
        settings_schema: r#"{"type": "object", "properties": {
            "a": {"type": "integer", "default": 7}, "b": {"type": "string"}}}"#,
    };
    pub(super) const LATE_REASON: super::ReasonTemplate = LATE;
    pub(super) const ODD_HOUR_SIGNAL: super::SignalName = ODD_HOUR;
    pub(super) const WATERMARK_OBLIGATION: super::ObligationName = WATERMARK;
}
use declared::{ALL, LATE_REASON, ODD_HOUR_SIGNAL, WATERMARK_OBLIGATION};

const OTHER_REASON: ReasonTemplate = ReasonTemplate::declared("demo.other", "other", "none");
const OTHER_SIGNAL: SignalName = SignalName::declared("other-signal");
const OTHER_OBLIGATION: ObligationName = ObligationName::declared("other-obligation");

type Answer = fn(&dyn Request) -> Result<Verdict, Fault>;

struct Scripted(Answer);

impl Policy for Scripted {
    type Settings = NoSettings;
    const DESCRIPTOR: Descriptor = ALL;

    fn configure(_: NoSettings) -> Result<Self, Vec<SettingError>> {
        Ok(Self(|_| Ok(Verdict::abstain())))
    }

    fn evaluate(&self, request: &impl Request) -> Result<Verdict, Fault> {
        (self.0)(request)
    }
}

fn late() -> Verdict {
    Verdict::deny(LATE_REASON.with("hour", 18))
}

#[test]
fn a_verdict_within_the_contract_is_returned() {
    let policy = Scripted(|request| {
        request.attribute("geo.country");
        let verdict = (0..8).fold(late(), |verdict, _| verdict.signal(ODD_HOUR_SIGNAL));
        Ok((0..8).fold(verdict, |verdict, _| {
            verdict.obligation(WATERMARK_OBLIGATION)
        }))
    });
    let request = FakeRequest::new();
    let verdict = decide(&policy, &request).unwrap();
    assert_eq!((verdict.signals.len(), verdict.obligations.len()), (8, 8));
    assert_eq!(decide(&policy, &request), Ok(verdict));
    assert_eq!(request.asked(), ["attribute geo.country"]);
    let configured = crate::configure::<Scripted>("{}").unwrap();
    assert_eq!(decide(&configured, &request), Ok(Verdict::abstain()));
}

#[test]
fn every_breach_is_named() {
    let cases: [(Answer, &str); 10] = [
        (
            |_| Err(Fault::new("stuck").with("at", 3)),
            "fault stuck, at `3`",
        ),
        (
            |_| Ok(Verdict::allow(OTHER_REASON)),
            "reason `demo.other` is not declared",
        ),
        (
            |_| Ok(Verdict::allow(LATE_REASON)),
            "reason `demo.late` has no value for `hour`",
        ),
        (
            |_| Ok(late().signal(OTHER_SIGNAL)),
            "signal `other-signal` is not declared",
        ),
        (
            |_| Ok(late().obligation(OTHER_OBLIGATION)),
            "obligation `other-obligation` is not declared",
        ),
        (
            |_| Ok((0..9).fold(late(), |v, _| v.signal(ODD_HOUR_SIGNAL))),
            "more than 8 signals",
        ),
        (
            |_| Ok((0..9).fold(late(), |v, _| v.obligation(WATERMARK_OBLIGATION))),
            "more than 8 obligations",
        ),
        (
            |_| Ok(late().signal(ODD_HOUR_SIGNAL.with("a", 1).with("a", 2))),
            "parameter `a` is given twice",
        ),
        (
            |_| Ok(late().signal(ODD_HOUR_SIGNAL.with("a", "x".repeat(VERDICT_MAX_BYTES)))),
            "more than 16384 bytes of parameters",
        ),
        (
            |request| {
                request.attribute("usage.requests-1h");
                Ok(late())
            },
            "attribute `usage.requests-1h` is not listed in the descriptor's needs",
        ),
    ];
    for (answer, breach) in cases {
        let breaches = decide(&Scripted(answer), &FakeRequest::new()).unwrap_err();
        assert_eq!(breaches, [breach]);
    }
}

#[test]
fn a_sound_descriptor_passes() {
    for descriptor in [
        ALL,
        Descriptor {
            settings_schema: "",
            ..ALL
        },
        Descriptor {
            version: "1.0.0-rc.1",
            ..ALL
        },
    ] {
        assert_eq!(check_descriptor(&descriptor), Ok(()));
    }
}

#[test]
fn a_descriptor_says_who_it_is() {
    let schema = "the settings schema is not a JSON Schema of an object";
    for (descriptor, wrong) in [
        (
            Descriptor {
                name: "clock",
                ..ALL
            },
            "name `clock` is not `namespace:name`",
        ),
        (
            Descriptor {
                name: "a:b:",
                ..ALL
            },
            "name `a:b:` is not `namespace:name`",
        ),
        (
            Descriptor {
                version: "1.0",
                ..ALL
            },
            "version `1.0` is not three numbers",
        ),
        (
            Descriptor {
                version: "1.0.0.x",
                ..ALL
            },
            "version `1.0.0.x` is not three numbers",
        ),
        (Descriptor { summary: "", ..ALL }, "the summary is empty"),
        (
            Descriptor {
                settings_schema: "[]",
                ..ALL
            },
            schema,
        ),
        (
            Descriptor {
                settings_schema: "{",
                ..ALL
            },
            schema,
        ),
    ] {
        assert_eq!(check_descriptor(&descriptor).unwrap_err(), [wrong]);
    }
}

#[test]
fn a_descriptor_declares_each_thing_once_and_in_full() {
    const EMPTY: ReasonTemplate = ReasonTemplate::declared("Demo late", "", "");
    const NEED: AttributeNeed = AttributeNeed {
        name: "geo.country",
        required: true,
    };
    let empty = [
        "code `Demo late` is not words joined by dots",
        "the text of `Demo late` is empty",
        "the remedy of `Demo late` is empty",
    ];
    let twice = Descriptor {
        reasons: &[LATE_REASON; 2],
        ..ALL
    };
    let signals = Descriptor {
        signals: &[ODD_HOUR_SIGNAL; 2],
        ..ALL
    };
    let obligations = Descriptor {
        obligations: &[OTHER_OBLIGATION; 2],
        ..ALL
    };
    for (descriptor, wrong) in [
        (
            Descriptor {
                reasons: &[EMPTY],
                ..ALL
            },
            &empty[..],
        ),
        (twice, &["`demo.late` is declared twice"]),
        (signals, &["`odd-hour` is declared twice"]),
        (obligations, &["`other-obligation` is declared twice"]),
        (
            Descriptor {
                needs: &[NEED; 2],
                ..ALL
            },
            &["`geo.country` is declared twice"],
        ),
    ] {
        assert_eq!(check_descriptor(&descriptor).unwrap_err(), wrong);
    }
}

#[test]
fn defaults_are_those_of_the_schema() {
    assert_eq!(schema_defaults(&ALL), serde_json::json!({"a": 7}));
    assert_eq!(schema_defaults(&Descriptor::EMPTY), serde_json::json!({}));
}
