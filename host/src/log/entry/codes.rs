//! The numbers that stand for names in an entry. Frozen: a number is never changed or reused, a new
//! name takes the next free one.
//!
//! Each direction is a match of its own, so that the compiler asks for the number of a new variant;
//! a test holds the two directions together.

use crate::decision::Permission;
use crate::decision::trace::Question;
use crate::decision::verdict::{Effect, FaultKind};
use crate::key::Lifecycle;
use crate::key::event::KeyEventKind;
use crate::key::state::State;
use crate::log::Durability;

/// The types of entries: the first item of each.
pub(super) const BOOT: u64 = 0;
/// See [`BOOT`].
pub(super) const RECOVERY: u64 = 1;
/// See [`BOOT`].
pub(super) const DECISION: u64 = 2;
/// See [`BOOT`].
pub(super) const RELOAD: u64 = 3;
/// See [`BOOT`].
pub(super) const OUTAGE: u64 = 4;
/// See [`BOOT`].
pub(super) const LOG_KEY: u64 = 5;
/// See [`BOOT`].
pub(super) const RETENTION: u64 = 6;
/// See [`BOOT`].
pub(super) const KEY_EVENT: u64 = 8;
pub(super) const COALESCED: u64 = 7;
/// See [`BOOT`].
pub(super) const REVOCATION: u64 = 9;

/// The layout of the types that have only had one: the second item of each.
pub(super) const LAYOUT: u64 = 1;
/// The layout in which decisions are written: the second item of each.
pub(super) const DECISION_LAYOUT: u64 = 2;
/// The layout of decisions that say where the request came from, and are otherwise the same.
pub(super) const DECISION_LAYOUT_CLIENT: u64 = 3;
/// The layout of decisions before verdicts were reused. It does not say which were.
pub(super) const DECISION_LAYOUT_1: u64 = 1;

/// An outcome's first item.
pub(super) const OUTCOME_VERDICT: u64 = 0;
/// See [`OUTCOME_VERDICT`].
pub(super) const OUTCOME_FAULT: u64 = 1;

/// A key event's subject: its first item.
pub(super) const SUBJECT_KEY: u64 = 0;
/// See [`SUBJECT_KEY`].
pub(super) const SUBJECT_KEYS: u64 = 1;
/// See [`SUBJECT_KEY`].
pub(super) const SUBJECT_NOTHING: u64 = 2;

/// The kinds of an attribute's value: the one answer whose kind its question leaves open.
pub(super) mod value {
    pub(in super::super) const TEXT: u64 = 0;
    pub(in super::super) const INTEGER: u64 = 1;
    pub(in super::super) const FLAG: u64 = 2;
    pub(in super::super) const INSTANT: u64 = 3;
    pub(in super::super) const ADDRESS: u64 = 4;
    pub(in super::super) const TEXTS: u64 = 5;
}

/// What a question can be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    Address,
    Flag,
    Instant,
    Lifecycle,
    Networks,
    Text,
    Texts,
    /// Any of [`value`], and tagged with it.
    Value,
}

/// The questions that have an argument.
pub(super) mod asked {
    pub(in super::super) const ATTRIBUTE: u64 = 0;
    pub(in super::super) const HEADER: u64 = 1;
    pub(in super::super) const KEY_LABEL: u64 = 8;
    pub(in super::super) const REACHED: u64 = 18;
}

pub(super) const fn question(question: &Question) -> u64 {
    match question {
        Question::Attribute(_) => asked::ATTRIBUTE,
        Question::Header(_) => asked::HEADER,
        Question::Host => 2,
        Question::KeyAllowedNetworks => 3,
        Question::KeyExpiresAt => 4,
        Question::KeyGraceUntil => 5,
        Question::KeyId => 6,
        Question::KeyIssuedAt => 7,
        Question::KeyLabel(_) => asked::KEY_LABEL,
        Question::KeyLifecycle => 9,
        Question::KeyNotBefore => 10,
        Question::KeyOwner => 11,
        Question::KeyReadOnly => 12,
        Question::KeyRotateBy => 13,
        Question::KeyScopes => 14,
        Question::Method => 15,
        Question::Now => 16,
        Question::Path => 17,
        Question::Reached(_) => asked::REACHED,
        Question::RequiredScope => 19,
        Question::SourceAddress => 20,
    }
}

/// The question without argument that has this number.
pub(super) const fn plain_question(code: u64) -> Option<Question> {
    Some(match code {
        2 => Question::Host,
        3 => Question::KeyAllowedNetworks,
        4 => Question::KeyExpiresAt,
        5 => Question::KeyGraceUntil,
        6 => Question::KeyId,
        7 => Question::KeyIssuedAt,
        9 => Question::KeyLifecycle,
        10 => Question::KeyNotBefore,
        11 => Question::KeyOwner,
        12 => Question::KeyReadOnly,
        13 => Question::KeyRotateBy,
        14 => Question::KeyScopes,
        15 => Question::Method,
        16 => Question::Now,
        17 => Question::Path,
        19 => Question::RequiredScope,
        20 => Question::SourceAddress,
        _ => return None,
    })
}

/// What answers a question can have, and whether `Absent` is one of them.
pub(super) const fn answers(question: &Question) -> (Answers, bool) {
    match question {
        Question::Attribute(_) => (Answers::Value, true),
        Question::Header(_) | Question::KeyScopes => (Answers::Texts, false),
        Question::KeyAllowedNetworks => (Answers::Networks, true),
        Question::KeyIssuedAt | Question::Now => (Answers::Instant, false),
        Question::KeyExpiresAt
        | Question::KeyGraceUntil
        | Question::KeyNotBefore
        | Question::KeyRotateBy => (Answers::Instant, true),
        Question::KeyLabel(_) | Question::RequiredScope => (Answers::Text, true),
        Question::KeyLifecycle => (Answers::Lifecycle, false),
        Question::KeyReadOnly | Question::Reached(_) => (Answers::Flag, false),
        Question::Host
        | Question::KeyId
        | Question::KeyOwner
        | Question::Method
        | Question::Path => (Answers::Text, false),
        Question::SourceAddress => (Answers::Address, true),
    }
}

pub(super) const fn permission(permission: Permission) -> u64 {
    match permission {
        Permission::Deny => 0,
        Permission::Allow => 1,
    }
}

pub(super) const fn permission_of(code: u64) -> Option<Permission> {
    match code {
        0 => Some(Permission::Deny),
        1 => Some(Permission::Allow),
        _ => None,
    }
}

pub(super) const fn effect(effect: Effect) -> u64 {
    match effect {
        Effect::Abstain => 0,
        Effect::Allow => 1,
        Effect::Deny => 2,
    }
}

pub(super) const fn effect_of(code: u64) -> Option<Effect> {
    match code {
        0 => Some(Effect::Abstain),
        1 => Some(Effect::Allow),
        2 => Some(Effect::Deny),
        _ => None,
    }
}

pub(super) const fn fault(kind: FaultKind) -> u64 {
    match kind {
        FaultKind::Contract => 0,
        FaultKind::Deadline => 1,
        FaultKind::Declared => 2,
        FaultKind::OutOfFuel => 3,
        FaultKind::OutOfMemory => 4,
        FaultKind::TooManyQuestions => 5,
        FaultKind::Trap => 6,
        FaultKind::VerdictTooLarge => 7,
        FaultKind::Unrepeatable => 8,
    }
}

pub(super) const fn fault_of(code: u64) -> Option<FaultKind> {
    match code {
        0 => Some(FaultKind::Contract),
        1 => Some(FaultKind::Deadline),
        2 => Some(FaultKind::Declared),
        3 => Some(FaultKind::OutOfFuel),
        4 => Some(FaultKind::OutOfMemory),
        5 => Some(FaultKind::TooManyQuestions),
        6 => Some(FaultKind::Trap),
        7 => Some(FaultKind::VerdictTooLarge),
        8 => Some(FaultKind::Unrepeatable),
        _ => None,
    }
}

pub(super) const fn lifecycle(lifecycle: Lifecycle) -> u64 {
    match lifecycle {
        Lifecycle::Active => 0,
        Lifecycle::Deprecated => 1,
        Lifecycle::Suspended => 2,
        Lifecycle::Revoked => 3,
    }
}

pub(super) const fn lifecycle_of(code: u64) -> Option<Lifecycle> {
    match code {
        0 => Some(Lifecycle::Active),
        1 => Some(Lifecycle::Deprecated),
        2 => Some(Lifecycle::Suspended),
        3 => Some(Lifecycle::Revoked),
        _ => None,
    }
}

pub(super) const fn durability(durability: Durability) -> u64 {
    match durability {
        Durability::Written => 0,
        Durability::Durable => 1,
    }
}

pub(super) const fn durability_of(code: u64) -> Option<Durability> {
    match code {
        0 => Some(Durability::Written),
        1 => Some(Durability::Durable),
        _ => None,
    }
}

pub(super) const fn state(state: State) -> u64 {
    match state {
        State::Pending => 0,
        State::Active => 1,
        State::Deprecated => 2,
        State::Suspended => 3,
        State::Expired => 4,
        State::Superseded => 5,
        State::Revoked => 6,
    }
}

pub(super) fn state_of(code: u64) -> Option<State> {
    State::ALL.into_iter().find(|it| state(*it) == code)
}

pub(super) const fn key_event(kind: KeyEventKind) -> u64 {
    match kind {
        KeyEventKind::Issued => 0,
        KeyEventKind::Imported => 1,
        KeyEventKind::Activated => 2,
        KeyEventKind::Rotated => 3,
        KeyEventKind::Succeeded => 4,
        KeyEventKind::SecretReplaced => 5,
        KeyEventKind::Suspended => 6,
        KeyEventKind::Resumed => 7,
        KeyEventKind::Masked => 8,
        KeyEventKind::Unmasked => 9,
        KeyEventKind::ExpiryShortened => 10,
        KeyEventKind::ScopesNarrowed => 11,
        KeyEventKind::ScopesWidened => 12,
        KeyEventKind::NetworksChanged => 13,
        KeyEventKind::GraceEnded => 14,
        KeyEventKind::RevocationOrdered => 15,
        KeyEventKind::Revoked => 16,
        KeyEventKind::RevokedInEmergency => 17,
        KeyEventKind::EmergencyReviewed => 18,
        KeyEventKind::Refused => 19,
    }
}

pub(super) fn key_event_of(code: u64) -> Option<KeyEventKind> {
    KeyEventKind::ALL
        .into_iter()
        .find(|it| key_event(*it) == code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    /// Every number below 1,000 that has a name gives that name's number back, and there are as
    /// many of them as there are names.
    fn check<T: Copy + Debug>(
        names: usize,
        code: impl Fn(T) -> u64,
        of: impl Fn(u64) -> Option<T>,
    ) {
        let known: Vec<_> = (0..1000)
            .filter_map(|n| of(n).map(|name| (n, name)))
            .collect();
        assert_eq!(known.len(), names, "{known:?}");
        for (number, name) in known {
            assert_eq!(code(name), number, "{name:?}");
        }
    }

    #[test]
    fn numbers_and_names_are_one_to_one() {
        check(2, permission, permission_of);
        check(3, effect, effect_of);
        check(FaultKind::ALL.len(), fault, fault_of);
        check(4, lifecycle, lifecycle_of);
        check(2, durability, durability_of);
    }

    #[test]
    fn fault_numbers_follow_the_order_of_all() {
        for (number, kind) in (0..).zip(FaultKind::ALL) {
            assert_eq!(fault(kind), number);
        }
    }

    #[test]
    fn questions_without_argument_are_one_to_one_with_their_numbers() {
        let plain: Vec<_> = (0..1000)
            .filter_map(|n| plain_question(n).map(|q| (n, q)))
            .collect();
        assert_eq!(plain.len(), 17);
        for (number, name) in &plain {
            assert_eq!(question(name), *number, "{name}");
        }
        let with_argument = [
            Question::Attribute("".into()),
            Question::Header("".into()),
            Question::KeyLabel("".into()),
            Question::Reached(crate::timestamp::Timestamp::from_millis(0)),
        ];
        for (name, number) in with_argument.iter().zip([0, 1, 8, 18]) {
            assert_eq!(question(name), number, "{name}");
            assert_eq!(plain_question(number), None, "{name}");
        }
    }
}
