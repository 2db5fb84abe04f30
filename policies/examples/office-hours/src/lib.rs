//! `example:office-hours`, a custom policy that is small enough to read in one sitting.
//!
//! A key labelled `hours=office` belongs to a person at a desk, not to a machine. This policy
//! denies it outside working hours: by default before 08:00 and from 18:00 on, UTC, and on Saturday
//! and Sunday. Every other key is none of its business.
//!
//! ```toml
//! [[policy]]
//! name = "office-hours"
//! module = "office-hours.wasm"
//! [policy.settings]
//! from_hour = 7
//! to_hour = 19
//! ```
//!
//! Three things to take from it:
//!
//! - **Restrict by abstaining.** Within working hours it abstains rather than allows: whether the
//!   key may do what it asks is for other policies to say. A set of which every policy abstains
//!   denies.
//! - **Ask late.** The label comes first. For a key without it the trace holds that one question,
//!   and the verdict may be reused for as long as the key's record stays the same.
//! - **Know what `now` costs.** The weekday needs the clock itself, so a verdict for an office key
//!   is never reused and every such request runs the component. A policy that compares the time
//!   with instants it knows beforehand, such as an expiry, asks `reached`, and may be reused.

use keyward_policy::{Descriptor, Fault, Policy, Request, SettingError, Verdict};
use serde::Deserialize;

keyward_policy::reasons! { REASONS:
    CLOSED "office-hours.closed" {
        text: "the key is for working days, {from_hour}:00 to {to_hour}:00 UTC, and it is {now}",
        remedy: "come back in working hours, or ask for a key of its own for an unattended job",
    }
}

keyward_policy::signals! { SIGNALS: OUT_OF_HOURS "out-of-hours" }

/// The settings; `settings.schema.json` documents and bounds them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct OfficeHours {
    from_hour: u8,
    to_hour: u8,
}

impl Default for OfficeHours {
    fn default() -> Self {
        Self {
            from_hour: 8,
            to_hour: 18,
        }
    }
}

impl Policy for OfficeHours {
    type Settings = Self;

    const DESCRIPTOR: Descriptor = Descriptor {
        name: "example:office-hours",
        version: env!("CARGO_PKG_VERSION"),
        summary: "Denies keys labelled `hours=office` outside working hours",
        reasons: REASONS,
        signals: SIGNALS,
        settings_schema: include_str!("../settings.schema.json"),
        ..Descriptor::EMPTY
    };

    fn configure(settings: Self) -> Result<Self, Vec<SettingError>> {
        // The schema bounds each hour; that one comes before the other, it cannot say.
        if settings.from_hour < settings.to_hour {
            Ok(settings)
        } else {
            let message = format!(
                "write an hour after `from_hour`, which is {}",
                settings.from_hour
            );
            Err(vec![SettingError::at(&["to_hour"], message)])
        }
    }

    fn evaluate(&self, request: &impl Request) -> Result<Verdict, Fault> {
        if request.key_label("hours").as_deref() != Some("office") {
            return Ok(Verdict::abstain());
        }
        let now = request.now();
        let clock = now.civil();
        let weekday = (1..=5).contains(&clock.weekday);
        let open = (i64::from(self.from_hour)..i64::from(self.to_hour)).contains(&clock.hour);
        if weekday && open {
            return Ok(Verdict::abstain());
        }
        let closed = CLOSED
            .with("from_hour", self.from_hour)
            .with("to_hour", self.to_hour)
            .with("now", now);
        Ok(Verdict::deny(closed).signal(OUT_OF_HOURS))
    }
}

keyward_policy::export!(OfficeHours);

#[cfg(test)]
mod tests {
    use keyward_policy::Effect;
    use keyward_policy::testing::{self, FakeRequest};

    use super::*;

    fn at(now: &str) -> FakeRequest {
        FakeRequest::new()
            .at(now.parse().unwrap())
            .key_label("hours", "office")
    }

    #[test]
    fn the_descriptor_and_its_defaults_are_sound() {
        assert_eq!(testing::check_descriptor(&OfficeHours::DESCRIPTOR), Ok(()));
        let defaults = serde_json::to_value(OfficeHours::default()).unwrap();
        assert_eq!(defaults, testing::schema_defaults(&OfficeHours::DESCRIPTOR));
        assert_eq!(keyward_policy::configure("{}"), Ok(OfficeHours::default()));
    }

    #[test]
    fn an_office_key_is_denied_outside_working_hours() {
        let policy = OfficeHours::default();
        for (now, effect) in [
            ("2026-11-23T08:00:00Z", Effect::Abstain), // a Monday
            ("2026-11-23T07:59:59.999Z", Effect::Deny),
            ("2026-11-27T17:59:59.999Z", Effect::Abstain), // a Friday
            ("2026-11-27T18:00:00Z", Effect::Deny),
            ("2026-11-28T12:00:00Z", Effect::Deny), // a Saturday
            ("2026-11-29T12:00:00Z", Effect::Deny), // a Sunday
        ] {
            let verdict = testing::decide(&policy, &at(now)).unwrap();
            assert_eq!(verdict.effect, effect, "{now}");
            assert_eq!(
                verdict.signals.len(),
                usize::from(effect == Effect::Deny),
                "{now}"
            );
        }
    }

    #[test]
    fn any_other_key_is_not_its_business_and_costs_one_question() {
        let night = at("2026-11-28T03:00:00Z");
        for request in [night.clone().key_label("hours", "any"), FakeRequest::new()] {
            let verdict = testing::decide(&OfficeHours::default(), &request);
            assert_eq!(verdict, Ok(Verdict::abstain()));
            assert_eq!(request.asked(), ["key-label hours"]);
        }
        let verdict = testing::decide(&OfficeHours::default(), &night).unwrap();
        assert_eq!(night.asked(), ["key-label hours", "now"]);
        assert_eq!(
            verdict.reason.unwrap().param("now"),
            Some("2026-11-28T03:00:00Z")
        );
    }

    #[test]
    fn the_hours_can_be_set_but_not_reversed() {
        let policy: OfficeHours =
            keyward_policy::configure(r#"{"from_hour": 0, "to_hour": 24}"#).unwrap();
        let last = at("2026-11-23T23:59:59.999Z");
        assert_eq!(testing::decide(&policy, &last), Ok(Verdict::abstain()));
        let settings = r#"{"from_hour": 18, "to_hour": 18}"#;
        let errors = keyward_policy::configure::<OfficeHours>(settings).unwrap_err();
        let message = "write an hour after `from_hour`, which is 18";
        assert_eq!(errors, [SettingError::at(&["to_hour"], message)]);
    }
}
