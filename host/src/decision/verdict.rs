//! What one policy answers: a verdict, or the fault that stands in for one.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use smol_str::SmolStr;

use super::Combined;
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
    pub code: SmolStr,
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
    /// Asked afresh, it did not answer as in the trace that its answer was reused from.
    Unrepeatable,
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

/// One policy's part in one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// What it asked, and what came of it. Shared with the other decisions that it was reused for.
    pub evaluation: Arc<Evaluation>,
    /// Whether it was made before, for another request of the key: every question of its trace
    /// would have been answered the same for this one.
    pub is_reused: bool,
}

/// The evaluations of one decision: one for each policy of the set, in its order, or none. They
/// cannot be changed, so that decisions share them, with what they come to and their form in a
/// record.
#[derive(Clone, Default)]
pub struct Evaluations(Option<Arc<Together>>);

struct Together {
    each: Box<[Evaluated]>,
    combined: OnceLock<Combined>,
    encoded: OnceLock<Box<[u8]>>,
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
    pub const ALL: [Self; 9] = [
        Self::Contract,
        Self::Deadline,
        Self::Declared,
        Self::OutOfFuel,
        Self::OutOfMemory,
        Self::TooManyQuestions,
        Self::Trap,
        Self::VerdictTooLarge,
        Self::Unrepeatable,
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
            Self::Unrepeatable => "unrepeatable",
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

impl Evaluated {
    /// An evaluation that was made for the decision that it is part of.
    #[must_use]
    pub fn afresh(evaluation: Evaluation) -> Self {
        Self {
            evaluation: Arc::new(evaluation),
            is_reused: false,
        }
    }
}

impl Evaluations {
    /// What they come to, which `combine` finds when nobody has before.
    pub(crate) fn combined(&self, combine: impl FnOnce(&[Evaluated]) -> Combined) -> Combined {
        match &self.0 {
            Some(together) => {
                let combined = || combine(&together.each);
                together.combined.get_or_init(combined).clone()
            }
            None => combine(&[]),
        }
    }

    /// Their form in a record, which `encode` makes when nobody has before; `None` when there are
    /// none.
    pub(crate) fn encoded(&self, encode: impl FnOnce(&[Evaluated]) -> Vec<u8>) -> Option<&[u8]> {
        let together = self.0.as_ref()?;
        let encoded = || encode(&together.each).into();
        Some(together.encoded.get_or_init(encoded))
    }
}

impl From<Vec<Evaluated>> for Evaluations {
    fn from(each: Vec<Evaluated>) -> Self {
        Self((!each.is_empty()).then(|| {
            Arc::new(Together {
                each: each.into(),
                combined: OnceLock::new(),
                encoded: OnceLock::new(),
            })
        }))
    }
}

impl Deref for Evaluations {
    type Target = [Evaluated];

    fn deref(&self) -> &[Evaluated] {
        self.0.as_ref().map_or(&[], |together| &together.each)
    }
}

impl PartialEq for Evaluations {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Evaluations {}

impl fmt::Debug for Evaluations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
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
