//! A verdict on one line, for a test to compare.

use crate::{Effect, Param, Verdict};

/// The verdict as text: effect, reason with its parameters, then each signal (` | `) and each
/// obligation (` ! `, or ` ? ` for advice).
///
/// ```
/// # use keyward_policy::{Verdict, reasons, signals, testing::summary};
/// # reasons! { REASONS: LATE "demo.late" { text: "after {hour} h", remedy: "come earlier" } }
/// # signals! { SIGNALS: ODD_HOUR "odd-hour" }
/// let verdict = Verdict::deny(LATE.with("hour", 18)).signal(ODD_HOUR.with("day", "Friday"));
/// assert_eq!(summary(&verdict), "deny demo.late hour=18 | odd-hour day=Friday");
/// assert_eq!(summary(&Verdict::abstain()), "abstain");
/// ```
#[must_use]
pub fn summary(verdict: &Verdict) -> String {
    let effect = match verdict.effect {
        Effect::Abstain => "abstain",
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    };
    let mut parts = vec![effect.to_owned()];
    if let Some(reason) = &verdict.reason {
        parts.push(named(reason.code(), reason.params()));
    }
    for signal in &verdict.signals {
        parts.push(format!("| {}", named(signal.name(), signal.params())));
    }
    for obligation in &verdict.obligations {
        let mark = if obligation.required() { '!' } else { '?' };
        parts.push(format!(
            "{mark} {}",
            named(obligation.name(), obligation.params())
        ));
    }
    parts.join(" ")
}

fn named(name: &str, params: &[Param]) -> String {
    let mut text = name.to_owned();
    for (name, value) in params {
        text.push_str(&format!(" {name}={value}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::obligations! { OBLIGATIONS: WATERMARK "watermark" }

    #[test]
    fn obligations_and_advice_are_told_apart() {
        let verdict = Verdict::abstain()
            .obligation(WATERMARK.with("with", "owner"))
            .obligation(OBLIGATIONS[0].advice());
        assert_eq!(
            summary(&verdict),
            "abstain ! watermark with=owner ? watermark"
        );
    }
}
