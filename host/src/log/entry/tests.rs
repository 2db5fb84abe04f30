//! The codec: any entry comes back, any bytes are refused or are the one form of an entry, and the
//! bytes of known entries never change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::address::{Address, Network};
use crate::client::Client;
use crate::decision::trace::{Answer, Question, Trace};
use crate::decision::verdict::{
    Effect, Evaluated, Evaluation, Evaluations, Fault, FaultKind, Obligation, Outcome, Params,
    Reason, Signal, Verdict,
};
use crate::decision::{DecisionId, Permission};
use crate::key::event::{KeyEventKind, Subject};
use crate::key::state::State;
use crate::key::{KeyId, Lifecycle};

mod client;
mod golden;

proptest! {
    #[test]
    fn every_entry_comes_back(entry in entry()) {
        let bytes = entry.encode();
        prop_assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn a_decision_is_appended_to_what_the_buffer_holds(decision in decision()) {
        let mut buffer = b"before".to_vec();
        encode_decision_into(&decision, &mut buffer);
        prop_assert_eq!(&buffer[6..], Entry::Decision(decision).encode());
    }

    #[test]
    fn any_bytes_are_refused_or_the_one_form_of_an_entry(bytes in vec(any::<u8>(), 0..200)) {
        check_any(&bytes)?;
    }

    /// Random bytes hardly ever get past the first item; changed entries do.
    #[test]
    fn any_change_of_an_entry_is_refused_or_another_entry(
        entry in entry(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = entry.encode();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        check_any(&bytes)?;
        let changed = bytes != entry.encode();
        prop_assert!(!changed || Entry::decode(&bytes) != Ok(entry));
    }
}

/// Bytes that decode encode to themselves.
fn check_any(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(entry) = Entry::decode(bytes) {
        prop_assert_eq!(entry.encode(), bytes);
    }
    Ok(())
}

fn entry() -> impl Strategy<Value = Entry> {
    let recovery = (instant(), any::<u64>(), any::<u64>()).prop_map(|(time, bytes, segment)| {
        Entry::Recovery(Recovery {
            time,
            dropped_bytes: bytes,
            segment,
        })
    });
    let reload = (instant(), digest(), digest()).prop_map(|(time, previous, policy_set)| {
        Entry::Reload(Reload {
            time,
            previous,
            policy_set,
        })
    });
    let outage = (instant(), instant(), any::<u64>())
        .prop_map(|(from, to, refused)| Entry::Outage(Outage { from, to, refused }));
    let coalesced = (instant(), instant(), text(), any::<u64>());
    let coalesced = coalesced.prop_map(|(from, to, reason, count)| {
        Entry::Coalesced(Coalesced {
            from,
            to,
            reason: reason.as_ref().into(),
            count,
        })
    });
    let decision = decision().prop_map(Entry::Decision);
    let keys = || vec(".{0,20}", 1..=LOG_KEYS_MAX);
    let log_key = (instant(), keys(), keys()).prop_map(|(time, previous, keys)| {
        Entry::LogKey(LogKey {
            time,
            previous,
            keys,
        })
    });
    let policy = ".{1,20}";
    let retention =
        (instant(), any::<u64>(), instant(), policy).prop_map(|(time, below, before, policy)| {
            Entry::Retention(Retention {
                time,
                below,
                before,
                policy,
            })
        });
    prop_oneof![
        1 => boot(),
        1 => coalesced,
        2 => key_event(),
        1 => log_key,
        1 => outage,
        1 => recovery,
        1 => reload,
        1 => retention,
        1 => revocation(),
        6 => decision,
    ]
}

fn boot() -> impl Strategy<Value = Entry> {
    (
        instant(),
        ".{0,20}",
        any::<bool>(),
        any::<u64>(),
        ".{0,9}",
        ".{0,9}",
        digest(),
    )
        .prop_map(
            |(time, origin, durable, sync_interval_ms, version, engine, policy_set)| {
                Entry::Boot(Boot {
                    time,
                    origin,
                    durability: if durable {
                        Durability::Durable
                    } else {
                        Durability::Written
                    },
                    sync_interval_ms,
                    keyward_version: version,
                    engine,
                    policy_set,
                })
            },
        )
}

fn revocation() -> impl Strategy<Value = Entry> {
    let cose = vec(any::<u8>(), 1..40);
    (instant(), cose).prop_map(|(time, cose)| Entry::Revocation(Revocation { time, cose }))
}

fn key_event() -> impl Strategy<Value = Entry> {
    let key = || "[0-9A-Za-z]{12}".prop_map(|id| -> KeyId { id.parse().unwrap() });
    let change = (
        any::<u64>(),
        option::of(digest()),
        digest(),
        proptest::sample::select(State::ALL.to_vec()),
        option::of(key()),
        option::of(digest()),
    );
    let one = (key(), change).prop_map(|(id, (version, before, after, state, other, secret))| {
        Subject::Key {
            id,
            version,
            before,
            after,
            state,
            other,
            secret,
        }
    });
    let many = (any::<u64>(), digest()).prop_map(|(count, digest)| Subject::Keys { count, digest });
    let none = option::of(key()).prop_map(|id| Subject::Nothing { id });
    let kind = proptest::sample::select(KeyEventKind::ALL.to_vec());
    let said = || option::of(".{1,20}".prop_map(Arc::from));
    (
        (instant(), any::<u64>(), option::of(digest()), kind),
        prop_oneof![2 => one, 1 => many, 1 => none],
        (said(), said(), said(), option::of(digest())),
    )
        .prop_map(
            |((time, sequence, previous, kind), subject, (actor, user, reason, order))| {
                Entry::KeyEvent(KeyEvent {
                    time,
                    sequence,
                    previous,
                    kind,
                    subject,
                    actor,
                    user,
                    reason,
                    order,
                })
            },
        )
}

fn decision() -> impl Strategy<Value = DecisionRecord> {
    let key = "[0-9A-Za-z]{12}".prop_map(|id| id.parse().unwrap());
    let names = (
        option::of(text()),
        option::of(key),
        text(),
        option::of(text()),
    );
    let digests = (option::of(digest()), digest());
    let rest = (any::<bool>(), vec(evaluated(), 0..4), option::of(client()));
    (any::<u128>(), instant(), names, digests, rest).prop_map(
        |(
            id,
            time,
            (request, key, reason, detail),
            (key_record, policy_set),
            (allow, rest, client),
        )| {
            DecisionRecord {
                id: DecisionId(id),
                time,
                request,
                key,
                key_record,
                policy_set,
                permission: if allow {
                    Permission::Allow
                } else {
                    Permission::Deny
                },
                reason: reason.as_ref().into(),
                detail,
                evaluations: rest.into(),
                client: client.map(Arc::new),
            }
        },
    )
}

fn client() -> impl Strategy<Value = Client> {
    let entry = prop_oneof![
        address().prop_map(|address| address.to_string().into()),
        ".{1,9}".prop_map(Arc::from),
    ];
    let chain = vec(entry, 0..4);
    (option::of(address()), option::of(address()), chain).prop_map(|(peer, address, chain)| {
        Client {
            peer,
            address,
            chain,
        }
    })
}

fn evaluated() -> impl Strategy<Value = Evaluated> {
    (evaluation(), any::<bool>()).prop_map(|(evaluation, is_reused)| Evaluated {
        evaluation: Arc::new(evaluation),
        is_reused,
    })
}

fn evaluation() -> impl Strategy<Value = Evaluation> {
    let fault = (prop::sample::select(FaultKind::ALL.to_vec()), ".{0,20}")
        .prop_map(|(kind, detail)| Outcome::Fault(Fault { kind, detail }));
    let outcome = prop_oneof![3 => verdict().prop_map(Outcome::Verdict), 1 => fault];
    (outcome, vec(step(), 0..8), any::<u64>()).prop_map(|(outcome, steps, fuel)| Evaluation {
        outcome,
        trace: Trace { steps },
        fuel,
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let effect = prop::sample::select(vec![Effect::Abstain, Effect::Allow, Effect::Deny]);
    let reason = (text(), params()).prop_map(|(code, params)| Reason {
        code: code.as_ref().into(),
        params,
    });
    let signal = (".{0,12}", params()).prop_map(|(name, params)| Signal { name, params });
    let obligation =
        (".{0,12}", params(), any::<bool>()).prop_map(|(name, params, required)| Obligation {
            name,
            params,
            required,
        });
    (
        effect,
        option::of(reason),
        vec(signal, 0..3),
        vec(obligation, 0..3),
    )
        .prop_map(|(effect, reason, signals, obligations)| Verdict {
            effect,
            reason,
            signals,
            obligations,
        })
}

fn params() -> impl Strategy<Value = Params> {
    vec((".{0,8}", ".{0,40}"), 0..3)
}

/// A question with an answer that it can have.
fn step() -> impl Strategy<Value = (Question, Answer)> {
    prop_oneof![
        (
            prop_oneof![2 => question_with_text(), 1 => Just(Question::Host)],
            text()
        )
            .prop_map(|(question, value)| match question {
                Question::Header(_) => (question, Answer::Texts([value].into())),
                other => (other, Answer::Text(value)),
            }),
        (maybe_absent(), any::<bool>()).prop_map(|(step, absent)| match step {
            (question, _) if absent => (question, Answer::Absent),
            step => step,
        }),
        always_there(),
    ]
}

fn question_with_text() -> impl Strategy<Value = Question> {
    prop_oneof![
        text().prop_map(Question::Attribute),
        text().prop_map(Question::Header),
        text().prop_map(Question::KeyLabel),
    ]
}

fn maybe_absent() -> impl Strategy<Value = (Question, Answer)> {
    let attribute = (text(), value()).prop_map(|(name, value)| (Question::Attribute(name), value));
    let label =
        (text(), text()).prop_map(|(name, value)| (Question::KeyLabel(name), Answer::Text(value)));
    let instants = vec![
        Question::KeyExpiresAt,
        Question::KeyGraceUntil,
        Question::KeyNotBefore,
        Question::KeyRotateBy,
    ];
    prop_oneof![
        attribute,
        label,
        (prop::sample::select(instants), instant())
            .prop_map(|(question, instant)| (question, Answer::Instant(instant))),
        text().prop_map(|scope| (Question::RequiredScope, Answer::Text(scope))),
        address().prop_map(|address| (Question::SourceAddress, Answer::Address(address))),
        vec(network(), 0..4)
            .prop_map(|list| (Question::KeyAllowedNetworks, Answer::Networks(list.into()))),
    ]
}

fn always_there() -> impl Strategy<Value = (Question, Answer)> {
    let names = vec![
        Question::Host,
        Question::KeyId,
        Question::KeyOwner,
        Question::Method,
        Question::Path,
    ];
    let lives = vec![Lifecycle::Active, Lifecycle::Deprecated];
    prop_oneof![
        (prop::sample::select(names), text())
            .prop_map(|(question, text)| (question, Answer::Text(text))),
        (text(), texts()).prop_map(|(name, texts)| (Question::Header(name), Answer::Texts(texts))),
        texts().prop_map(|scopes| (Question::KeyScopes, Answer::Texts(scopes))),
        instant().prop_map(|instant| (Question::KeyIssuedAt, Answer::Instant(instant))),
        instant().prop_map(|instant| (Question::Now, Answer::Instant(instant))),
        prop::sample::select(lives).prop_map(|l| (Question::KeyLifecycle, Answer::Lifecycle(l))),
        any::<bool>().prop_map(|flag| (Question::KeyReadOnly, Answer::Flag(flag))),
        (instant(), any::<bool>())
            .prop_map(|(instant, flag)| (Question::Reached(instant), Answer::Flag(flag))),
    ]
}

/// The value of an attribute.
fn value() -> impl Strategy<Value = Answer> {
    prop_oneof![
        text().prop_map(Answer::Text),
        any::<i64>().prop_map(Answer::Integer),
        any::<bool>().prop_map(Answer::Flag),
        instant().prop_map(Answer::Instant),
        address().prop_map(Answer::Address),
        texts().prop_map(Answer::Texts),
    ]
}

fn text() -> impl Strategy<Value = Arc<str>> {
    ".{0,24}".prop_map(Arc::from)
}

fn texts() -> impl Strategy<Value = Arc<[Arc<str>]>> {
    vec(text(), 0..4).prop_map(Arc::from)
}

fn instant() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn address() -> impl Strategy<Value = Address> {
    ip().prop_map(Address::new)
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
        any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
    ]
}

fn network() -> impl Strategy<Value = Network> {
    (ip(), 0..=128_u8).prop_filter_map("a prefix within the address", |(ip, prefix)| {
        Network::new(ip, prefix)
            .or_else(|error| match error {
                crate::address::AddressError::HostBits { meant, .. } => Ok(meant),
                other => Err(other),
            })
            .ok()
    })
}
