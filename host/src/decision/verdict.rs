//! What one policy answers: a verdict, or the fault that stands in for one.

use std::fmt;

use serde::Serialize;

use super::trace::Trace;

/// Names and values that fill a reason's text or describe a signal. Names are unique.
pub type Params = Vec<(String, String)>;

/// What a verdict does to the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Not this policy's to decide.
    Abstain,
    /// This policy has nothing against it, and grants.
    Allow,
    /// Refused; no other policy can outvote it.
    Deny,
}

/// Why: one of the codes that the policy's descriptor declares, and the values for its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A code of the descriptor, for example `scope.missing`. Stable: never renamed or reused.
    pub code: String,
    /// Values for the text's placeholders.
    pub params: Params,
}

/// Something that governance should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// A name that the descriptor declares, for example `rotation-due`.
    pub name: String,
    /// What governance needs to act on it.
    pub params: Params,
}

/// Something that the gateway has to do besides allowing or denying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligation {
    /// A name that the descriptor declares.
    pub name: String,
    /// What the gateway needs to carry it out.
    pub params: Params,
    /// Whether a gateway that cannot carry it out has to deny.
    pub required: bool,
}

/// A policy's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What it does to the decision.
    pub effect: Effect,
    /// Why; a `Deny` always has one.
    pub reason: Option<Reason>,
    /// What governance should know.
    pub signals: Vec<Signal>,
    /// What the gateway has to do.
    pub obligations: Vec<Obligation>,
}

/// How a policy failed to answer. The names are those of the record and of the JSON output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The answer, or the call, breaks the contract of `keyward:policy`.
    Contract,
    /// The host's own clock ended it. The one kind that a replay cannot repeat.
    Deadline,
    /// The policy itself said that it cannot decide.
    Declared,
    /// Its fuel was used up.
    OutOfFuel,
    /// It asked for more memory than its budget.
    OutOfMemory,
    /// It asked more questions, or for more bytes of answers, than its budget.
    TooManyQuestions,
    /// It trapped: an unreachable, a bad access, a stack overflow.
    Trap,
    /// Its answer was larger than the budget.
    VerdictTooLarge,
}

/// No verdict. The decision denies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How it failed.
    pub kind: FaultKind,
    /// What exactly, for a person and for comparison in a replay. Never a secret, and made by the
    /// host alone but for the code and parameters of a declared fault.
    pub detail: String,
}

/// What came of one evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It failed.
    Fault(Fault),
    /// It answered.
    Verdict(Verdict),
}

/// One evaluation of one policy, in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// What came of it.
    pub outcome: Outcome,
    /// What it asked, and what it was told.
    pub trace: Trace,
    /// The fuel that it used, in the engine's units; 0 when the call ended early. Deterministic for
    /// one engine version.
    pub fuel: u64,
}

impl Effect {
    /// The name in files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abstain => "abstain",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl FaultKind {
    /// Every kind, in the order of their codes in the record.
    pub const ALL: [Self; 8] = [
        Self::Contract,
        Self::Deadline,
        Self::Declared,
        Self::OutOfFuel,
        Self::OutOfMemory,
        Self::TooManyQuestions,
        Self::Trap,
        Self::VerdictTooLarge,
    ];

    /// The name in files and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Deadline => "deadline",
            Self::Declared => "declared",
            Self::OutOfFuel => "out-of-fuel",
            Self::OutOfMemory => "out-of-memory",
            Self::TooManyQuestions => "too-many-questions",
            Self::Trap => "trap",
            Self::VerdictTooLarge => "verdict-too-large",
        }
    }
}

impl Fault {
    /// A fault of a kind, with what happened.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)
    }
}

impl Outcome {
    /// The verdict, if there is one.
    #[must_use]
    pub const fn verdict(&self) -> Option<&Verdict> {
        match self {
            Self::Verdict(verdict) => Some(verdict),
            Self::Fault(_) => None,
        }
    }
}
