//! What a policy answers: a verdict with its reason, signals and obligations, or a fault.

use std::fmt;

use crate::descriptor::{ObligationName, ReasonTemplate, SignalName};

/// A name and a value that fill a reason's text or describe a signal or an obligation.
pub type Param = (&'static str, String);

/// What a verdict does to the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Not this policy's to decide.
    Abstain,
    /// The policy grants the use.
    Allow,
    /// Refused; no other policy can outvote it.
    Deny,
}

/// A policy's answer.
///
/// ```
/// # use keyward_policy::{Effect, Verdict, reasons, signals};
/// reasons! { REASONS: LATE "demo.late" { text: "after {hour} h", remedy: "come earlier" } }
/// signals! { SIGNALS: ODD_HOUR "odd-hour" }
///
/// let verdict = Verdict::deny(LATE.with("hour", 18)).signal(ODD_HOUR);
/// assert_eq!(verdict.effect, Effect::Deny);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// What it does to the decision.
    pub effect: Effect,
    /// Why. An allow and a deny always have one.
    pub reason: Option<Reason>,
    /// What governance should know. The host accepts at most [`Verdict::SIGNALS_MAX`].
    pub signals: Vec<Signal>,
    /// What the gateway has to do. The host accepts at most [`Verdict::OBLIGATIONS_MAX`].
    pub obligations: Vec<Obligation>,
}

/// Why: a declared code, and the values for its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    // INVARIANT: the code of a template; so only a declared one reaches a verdict.
    code: &'static str,
    params: Vec<Param>,
}

/// Something that governance should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    // INVARIANT: as for `Reason`.
    name: &'static str,
    params: Vec<Param>,
}

/// Something that the gateway has to do besides allowing or denying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligation {
    // INVARIANT: as for `Reason`.
    name: &'static str,
    params: Vec<Param>,
    required: bool,
}

/// The policy cannot decide; the host denies and records it. For what a policy cannot foresee: a
/// use that it means to refuse is a deny.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    code: &'static str,
    params: Vec<Param>,
}

impl Verdict {
    /// How many signals the host accepts in one verdict; with more the evaluation has failed.
    pub const SIGNALS_MAX: usize = 8;
    /// How many obligations the host accepts in one verdict; with more the evaluation has failed.
    pub const OBLIGATIONS_MAX: usize = 8;

    /// Not this policy's to decide. When every policy of a set abstains, the host denies.
    pub const fn abstain() -> Self {
        Self {
            effect: Effect::Abstain,
            reason: None,
            signals: Vec::new(),
            obligations: Vec::new(),
        }
    }

    /// Grants the use, unless another policy denies it.
    pub fn allow(reason: impl Into<Reason>) -> Self {
        Self {
            effect: Effect::Allow,
            reason: Some(reason.into()),
            ..Self::abstain()
        }
    }

    /// Refuses the use, whatever other policies say.
    pub fn deny(reason: impl Into<Reason>) -> Self {
        Self {
            effect: Effect::Deny,
            reason: Some(reason.into()),
            ..Self::abstain()
        }
    }

    /// Raises a signal.
    pub fn signal(mut self, signal: impl Into<Signal>) -> Self {
        self.signals.push(signal.into());
        self
    }

    /// Imposes an obligation.
    pub fn obligation(mut self, obligation: impl Into<Obligation>) -> Self {
        self.obligations.push(obligation.into());
        self
    }
}

impl ReasonTemplate {
    /// This reason with a value for the placeholder `{name}` of its text.
    #[must_use]
    pub fn with(self, name: &'static str, value: impl ToString) -> Reason {
        Reason::from(self).with(name, value)
    }
}

impl SignalName {
    /// This signal with a parameter.
    #[must_use]
    pub fn with(self, name: &'static str, value: impl ToString) -> Signal {
        Signal::from(self).with(name, value)
    }
}

impl ObligationName {
    /// This obligation with a parameter.
    #[must_use]
    pub fn with(self, name: &'static str, value: impl ToString) -> Obligation {
        Obligation::from(self).with(name, value)
    }

    /// This obligation as advice: a gateway that cannot carry it out may go on.
    #[must_use]
    pub fn advice(self) -> Obligation {
        Obligation::from(self).advice()
    }
}

/// The parameters that reasons, signals, obligations and faults have alike.
macro_rules! parameters {
    ($($type:ident)*) => {$(
        impl $type {
            /// The same with one more parameter. Names are unique.
            #[must_use]
            pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
                self.params.push((name, value.to_string()));
                self
            }

            /// The parameters, in the order they were added.
            #[must_use]
            pub fn params(&self) -> &[Param] {
                &self.params
            }

            /// The parameters themselves.
            #[cfg(target_arch = "wasm32")]
            pub(crate) fn into_params(self) -> Vec<Param> {
                self.params
            }

            /// The value of a parameter.
            #[must_use]
            pub fn param(&self, name: &str) -> Option<&str> {
                self.params.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
            }
        }
    )*};
}

parameters! { Reason Signal Obligation Fault }

impl Reason {
    /// The declared code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }
}

impl Signal {
    /// The declared name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

impl Obligation {
    /// The declared name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The same as advice: a gateway that cannot carry it out may go on.
    #[must_use]
    pub fn advice(self) -> Self {
        Self {
            required: false,
            ..self
        }
    }

    /// Whether a gateway that cannot carry it out has to deny.
    #[must_use]
    pub const fn required(&self) -> bool {
        self.required
    }
}

impl Fault {
    /// A fault of the policy's own making.
    #[must_use]
    pub const fn new(code: &'static str) -> Self {
        Self {
            code,
            params: Vec::new(),
        }
    }

    /// What kind of fault.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code)?;
        self.params
            .iter()
            .try_for_each(|(name, value)| write!(f, ", {name} `{value}`"))
    }
}

impl std::error::Error for Fault {}

impl From<ReasonTemplate> for Reason {
    fn from(template: ReasonTemplate) -> Self {
        Self {
            code: template.code(),
            params: Vec::new(),
        }
    }
}

impl From<SignalName> for Signal {
    fn from(name: SignalName) -> Self {
        Self {
            name: name.as_str(),
            params: Vec::new(),
        }
    }
}

impl From<ObligationName> for Obligation {
    /// Required, unless it is made [`advice`](Obligation::advice).
    fn from(name: ObligationName) -> Self {
        Self {
            name: name.as_str(),
            params: Vec::new(),
            required: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::reasons! { REASONS:
        LATE "demo.late" { text: "after {hour} h on {day}", remedy: "come earlier" }
        FINE "demo.fine" { text: "in time", remedy: "nothing to do" }
    }
    crate::signals! { SIGNALS: ODD_HOUR "odd-hour" }
    crate::obligations! { OBLIGATIONS: WATERMARK "watermark" SLOW_DOWN "slow-down" }

    #[test]
    fn the_lists_hold_what_was_declared_in_order() {
        assert_eq!(REASONS, [LATE, FINE]);
        assert_eq!((LATE.code(), LATE.remedy()), ("demo.late", "come earlier"));
        assert_eq!(SIGNALS, [ODD_HOUR]);
        assert_eq!(OBLIGATIONS, [WATERMARK, SLOW_DOWN]);
    }

    #[test]
    fn a_verdict_carries_what_was_said() {
        let verdict = Verdict::deny(LATE.with("hour", 18).with("day", "Friday"))
            .signal(ODD_HOUR.with("hour", 19))
            .signal(ODD_HOUR)
            .obligation(WATERMARK)
            .obligation(SLOW_DOWN.with("by", "half").advice());
        let reason = verdict.reason.clone().unwrap();
        assert_eq!(verdict.effect, Effect::Deny);
        assert_eq!(reason.code(), "demo.late");
        assert_eq!(
            reason.params(),
            [("hour", "18".to_owned()), ("day", "Friday".to_owned())]
        );
        assert_eq!(
            (reason.param("day"), reason.param("night")),
            (Some("Friday"), None)
        );
        assert_eq!(
            verdict.signals,
            [ODD_HOUR.with("hour", 19), ODD_HOUR.into()]
        );
        let required: Vec<_> = verdict
            .obligations
            .iter()
            .map(|o| (o.name(), o.required()))
            .collect();
        assert_eq!(required, [("watermark", true), ("slow-down", false)]);
        assert_eq!(SLOW_DOWN.advice().params(), []);
    }

    #[test]
    fn allow_and_abstain_are_what_they_say() {
        let allow = Verdict::allow(FINE);
        assert_eq!(
            (allow.effect, allow.reason.unwrap().code()),
            (Effect::Allow, "demo.fine")
        );
        let abstain = Verdict::abstain();
        assert_eq!((abstain.effect, abstain.reason), (Effect::Abstain, None));
    }

    #[test]
    fn a_fault_names_itself_and_its_parameters() {
        let fault = Fault::new("demo.stuck").with("at", "noon");
        assert_eq!(fault.to_string(), "demo.stuck, at `noon`");
        assert_eq!(fault.code(), "demo.stuck");
    }
}
