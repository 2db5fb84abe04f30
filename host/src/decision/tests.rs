//! The rule of combining, row by row.

use super::verdict::{Fault, FaultKind, Reason, Verdict};
use super::*;

fn verdict(effect: Effect, code: &str) -> Outcome {
    let reason = (!code.is_empty()).then(|| Reason {
        code: code.into(),
        params: Vec::new(),
    });
    Outcome::Verdict(Verdict {
        effect,
        reason,
        signals: Vec::new(),
        obligations: Vec::new(),
    })
}

fn fault() -> Outcome {
    Outcome::Fault(Fault::new(FaultKind::Trap, "unreachable"))
}

/// Combines enforcing and shadow policies and compares permission, reason and who decided.
fn check(policies: &[(Mode, Outcome)], expected: (Permission, &str, Option<usize>)) {
    let combined = combine(policies.iter().map(|(mode, outcome)| (*mode, outcome)));
    let (permission, reason, decided_by) = expected;
    assert_eq!(
        combined,
        Combined {
            permission,
            reason: reason.into(),
            decided_by
        },
        "{policies:?}"
    );
}

#[test]
fn deny_overrides_and_the_first_decides() {
    use Effect as E;
    use Mode::{Enforce, Shadow};
    use Permission::{Allow, Deny};
    let none = (Deny, "policy.none-allowed", None);
    check(&[], none);
    check(&[(Enforce, verdict(E::Abstain, ""))], none);
    check(&[(Enforce, verdict(E::Allow, "a"))], (Allow, "a", Some(0)));
    check(
        &[(Enforce, verdict(E::Allow, ""))],
        (Allow, "policy.allowed", Some(0)),
    );
    check(
        &[
            (Enforce, verdict(E::Abstain, "x")),
            (Enforce, verdict(E::Allow, "b")),
        ],
        (Allow, "b", Some(1)),
    );
    check(
        &[
            (Enforce, verdict(E::Allow, "a")),
            (Enforce, verdict(E::Deny, "d1")),
            (Enforce, verdict(E::Deny, "d2")),
        ],
        (Deny, "d1", Some(1)),
    );
    check(
        &[(Enforce, verdict(E::Allow, "a")), (Enforce, fault())],
        (Deny, "policy.failed", Some(1)),
    );
    check(
        &[(Enforce, verdict(E::Deny, "d")), (Enforce, fault())],
        (Deny, "d", Some(0)),
    );
    check(
        &[
            (Shadow, verdict(E::Deny, "d")),
            (Shadow, fault()),
            (Enforce, verdict(E::Allow, "a")),
        ],
        (Allow, "a", Some(2)),
    );
    check(&[(Shadow, verdict(E::Allow, "a"))], none);
}
