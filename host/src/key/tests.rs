//! The life of a key as a whole: whatever is done in whatever order, nothing lives longer than was
//! said, what is over stays over, and nobody gets more than two usable keys out of one.

use proptest::collection::vec;
use proptest::prelude::*;

use super::edit::{Edit, EditError};
use super::event::KeyEventKind;
use super::grant::Implications;
use super::rotation::Rotation;
use super::state::{Change, State};
use super::*;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const ISSUED: i64 = 1_795_000_000_000;

fn at(day: i64) -> Timestamp {
    Timestamp::from_millis(ISSUED + day * DAY_MS)
}

fn key() -> KeyRecord {
    KeyRecord {
        id: "k7Qp2mXw9LaR".parse().unwrap(),
        version: 1,
        owner: "sync".into(),
        environment: Environment::Live,
        lifecycle: Lifecycle::Active,
        issued_at: at(0),
        not_before: None,
        rotate_by: Some(at(60)),
        expires_at: Some(at(90)),
        grace_until: None,
        scopes: ["inventory:read".into(), "orders:write".into()].into(),
        read_only: false,
        allowed_networks: None,
        labels: BTreeMap::new(),
    }
}

/// A record in each state, on day 10.
fn in_state(state: State) -> (KeyRecord, bool) {
    let mut key = key();
    let mut is_unused = false;
    match state {
        State::Pending => is_unused = true,
        State::Active => {}
        State::Deprecated => {
            key.lifecycle = Lifecycle::Deprecated;
            key.grace_until = Some(at(20));
        }
        State::Suspended => key.lifecycle = Lifecycle::Suspended,
        State::Expired => key.expires_at = Some(at(10)),
        State::Superseded => {
            key.lifecycle = Lifecycle::Deprecated;
            key.grace_until = Some(at(10));
        }
        State::Revoked => key.lifecycle = Lifecycle::Revoked,
    }
    (key, is_unused)
}

#[test]
fn every_state_is_told_and_its_edges_are_half_open() {
    for state in State::ALL {
        let (key, is_unused) = in_state(state);
        assert_eq!(State::of(&key, is_unused, at(10)), state);
    }
    let end = at(90);
    let before = Timestamp::from_millis(end.millis() - 1);
    assert_eq!(State::of(&key(), false, before), State::Active);
    assert_eq!(State::of(&key(), false, end), State::Expired);
    let future = KeyRecord {
        not_before: Some(at(5)),
        ..key()
    };
    assert_eq!(State::of(&future, false, at(4)), State::Pending);
    assert_eq!(State::of(&future, false, at(5)), State::Active);
    // What ends first says what it is; a suspension stops no clock.
    let (mut deprecated, _) = in_state(State::Deprecated);
    deprecated.lifecycle = Lifecycle::Suspended;
    assert_eq!(State::of(&deprecated, false, at(19)), State::Suspended);
    assert_eq!(State::of(&deprecated, false, at(20)), State::Superseded);
    deprecated.expires_at = Some(at(20));
    assert_eq!(State::of(&deprecated, false, at(20)), State::Expired);
    deprecated.lifecycle = Lifecycle::Revoked;
    assert_eq!(State::of(&deprecated, false, at(0)), State::Revoked);
}

/// The table, written down a second time.
#[test]
fn changes_are_legal_in_these_states_only() {
    use State::{Active, Deprecated, Pending, Suspended};
    for (change, legal) in [
        (Change::Activate, &[Pending][..]),
        (Change::ReplaceSecret, &[Pending]),
        (Change::Rotate, &[Active]),
        (Change::Suspend, &[Pending, Active, Deprecated]),
        (Change::Resume, &[Suspended]),
        (Change::Mask, &[Pending, Active, Deprecated, Suspended]),
        (Change::Shorten, &[Pending, Active, Deprecated, Suspended]),
        (Change::EndGrace, &[Deprecated]),
        (Change::Edit, &[Pending, Active, Deprecated, Suspended]),
        (Change::Revoke, &[Pending, Active, Deprecated, Suspended]),
    ] {
        for state in State::ALL {
            let refused = state.check(change).err();
            assert_eq!(
                refused.is_none(),
                legal.contains(&state),
                "{change:?} {state:?}"
            );
            if let Some(refused) = refused {
                assert_eq!((refused.state, refused.change), (state, change));
                assert_eq!(
                    refused.to_string().contains("is final"),
                    state.is_terminal()
                );
            }
        }
    }
}

#[test]
fn a_suspended_key_becomes_what_it_was() {
    for state in [State::Pending, State::Active, State::Deprecated] {
        let (key, is_unused) = in_state(state);
        let (suspended, kind) = Edit::Suspend.apply(&key, state).unwrap();
        assert_eq!(kind, KeyEventKind::Suspended);
        assert_eq!(State::of(&suspended, is_unused, at(10)), State::Suspended);
        let (resumed, _) = Edit::Resume.apply(&suspended, State::Suspended).unwrap();
        assert_eq!(State::of(&resumed, is_unused, at(10)), state);
        assert_eq!(resumed.version, key.version + 2);
    }
}

#[test]
fn an_expiry_moves_earlier_and_never_later() {
    let key = key();
    let shorten = |end| Edit::Shorten(end).apply(&key, State::Active);
    assert_eq!(shorten(at(30)).unwrap().0.expires_at, Some(at(30)));
    assert_eq!(shorten(at(90)), Err(EditError::Nothing));
    let expires_at = at(90);
    let later = Timestamp::from_millis(expires_at.millis() + 1);
    assert_eq!(shorten(later), Err(EditError::ExpiryLocked { expires_at }));
    let issued_at = at(0);
    assert_eq!(shorten(at(0)), Err(EditError::BeforeIssue { issued_at }));
    // A key without an end gets one.
    let endless = KeyRecord {
        expires_at: None,
        ..key
    };
    let (ended, _) = Edit::Shorten(at(500))
        .apply(&endless, State::Active)
        .unwrap();
    assert_eq!(ended.expires_at, Some(at(500)));
    let (deprecated, _) = in_state(State::Deprecated);
    let longer = Edit::EndGrace(at(21)).apply(&deprecated, State::Deprecated);
    let grace_until = at(20);
    assert_eq!(longer, Err(EditError::GraceLocked { grace_until }));
}

#[test]
fn scopes_are_narrower_or_wider() {
    let key = key();
    let kind = |scopes: &[&str]| {
        let scopes = scopes.iter().map(ToString::to_string).collect();
        let applied = granting(scopes).apply(&key, State::Active);
        applied.map(|it| it.1)
    };
    let (narrowed, widened) = (KeyEventKind::ScopesNarrowed, KeyEventKind::ScopesWidened);
    assert_eq!(kind(&["inventory:read"]), Ok(narrowed));
    assert_eq!(kind(&["orders:read"]), Ok(narrowed));
    assert_eq!(kind(&["orders:delete"]), Ok(widened));
    assert_eq!(kind(&["inventory:read", "orders:*"]), Ok(widened));
    assert_eq!(
        kind(&["inventory:read", "orders:write"]),
        Err(EditError::Nothing)
    );
    assert_eq!(kind(&[]), Err(EditError::Scopes));
    assert_eq!(kind(&["a"]), Err(EditError::Scope("a".to_owned())));
    // Where writing does not imply reading, to read is more.
    let more = Edit::Scopes {
        grants: vec!["orders:read".to_owned()],
        implications: Implications::default(),
    };
    let (_, kind) = more.apply(&key, State::Active).unwrap();
    assert_eq!(kind, widened);
}

fn granting(grants: Vec<String>) -> Edit {
    let implications = Implications::standard();
    Edit::Scopes {
        grants,
        implications,
    }
}

#[test]
fn a_successor_inherits_and_is_bounded() {
    let rotation = Rotation {
        grace_ms: 7 * DAY_MS as u64,
        lifetime_max_ms: 30 * DAY_MS as u64,
        force: false,
    };
    let id = "000000000001".parse().unwrap();
    let (old, new) = rotation.apply((&key(), State::Active), id, at(10)).unwrap();
    assert_eq!(old.lifecycle, Lifecycle::Deprecated);
    assert_eq!(
        (old.version, old.grace_until, old.expires_at),
        (2, Some(at(17)), Some(at(90)))
    );
    assert_eq!((new.id, new.version, new.issued_at), (id, 1, at(10)));
    assert_eq!(
        (new.expires_at, new.rotate_by),
        (Some(at(40)), Some(at(40)))
    );
    assert_eq!((&new.scopes, &new.owner), (&key().scopes, &key().owner));
    // A grace period never outlives the key.
    let (old, _) = rotation.apply((&key(), State::Active), id, at(88)).unwrap();
    assert_eq!(old.grace_until, Some(at(90)));
    // A shorter life than is allowed stays as short.
    let long = Rotation {
        lifetime_max_ms: 900 * DAY_MS as u64,
        grace_ms: 0,
        force: false,
    };
    let (old, new) = long.apply((&key(), State::Active), id, at(10)).unwrap();
    assert_eq!(
        (new.expires_at, new.rotate_by),
        (Some(at(100)), Some(at(70)))
    );
    assert_eq!(State::of(&old, false, at(10)), State::Superseded);
    for state in State::ALL.into_iter().filter(|it| *it != State::Active) {
        let (key, _) = in_state(state);
        assert!(
            rotation.apply((&key, state), id, at(10)).is_err(),
            "{state:?}"
        );
    }
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        Just(Edit::Activate),
        Just(Edit::Suspend),
        Just(Edit::Resume),
        any::<bool>().prop_map(Edit::Mask),
        (-5_i64..120).prop_map(|day| Edit::Shorten(at(day))),
        (-5_i64..120).prop_map(|day| Edit::EndGrace(at(day))),
        vec("[a-c]:(read|write|[*])", 0..3).prop_map(granting),
        Just(Edit::Networks(Some(Vec::new()))),
        Just(Edit::Revoke),
    ]
}

proptest! {
    /// Anything in any order, while time goes on.
    #[test]
    fn nothing_lives_longer_and_what_is_over_stays_over(
        start in 0..State::ALL.len(),
        steps in vec((edits(), 0_i64..10), 1..30),
    ) {
        let (mut key, mut is_unused) = in_state(State::ALL[start]);
        let mut day = 10;
        for (edit, days) in steps {
            day += days;
            let state = State::of(&key, is_unused, at(day));
            match edit.apply(&key, state) {
                Ok((next, _)) => {
                    prop_assert!(!state.is_terminal(), "{edit:?} in {state:?}");
                    prop_assert_eq!(next.version, key.version + 1);
                    prop_assert_eq!((next.id, next.issued_at), (key.id, key.issued_at));
                    prop_assert!(next.expires_at <= key.expires_at);
                    if key.grace_until.is_some() {
                        prop_assert!(next.grace_until <= key.grace_until);
                    }
                    is_unused &= edit != Edit::Activate;
                    key = next;
                }
                Err(_) => prop_assert_eq!(State::of(&key, is_unused, at(day)), state),
            }
            if state.is_terminal() {
                prop_assert_eq!(State::of(&key, is_unused, at(day + 1)), state);
            }
        }
    }
}
