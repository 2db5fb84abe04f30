//! Changes of keys: each with its event, in one transaction, and none that the rules do not allow.

use std::sync::Barrier;
use std::thread;

use super::*;
use crate::key::edit::{Edit, EditError};
use crate::key::grant::Implications;
use crate::key::rotation::Rotation;

const DAY_MS: i64 = 86_400_000;
const ROTATION: Rotation = Rotation {
    grace_ms: 3_600_000,
    lifetime_max_ms: 90 * 86_400_000,
    force: false,
};

fn by(actor: &'static str) -> By<'static> {
    By {
        at: Timestamp::from_millis(NOW),
        actor: Some(actor),
        user: Some(actor),
        reason: Some("a test"),
    }
}

fn later(ms: i64) -> By<'static> {
    By {
        at: Timestamp::from_millis(NOW + ms),
        ..by("amira")
    }
}

/// A registry with one key of a life of 30 days.
fn one_key() -> (TempDir, SqliteRegistry, KeyId) {
    let (folder, path) = folder();
    let mut registry = open(&path);
    let new = NewKey {
        expires_at: Timestamp::from_millis(NOW + 30 * DAY_MS),
        ..new_key()
    };
    let (record, _) = registry
        .issue(&new, by("amira"), &mut operating_system())
        .unwrap();
    (folder, registry, record.id)
}

fn kinds(registry: &SqliteRegistry) -> Vec<KeyEventKind> {
    events(registry).iter().map(|it| it.kind).collect()
}

fn rotate(registry: &mut SqliteRegistry, id: KeyId, ms: i64) -> Result<Rotated, SqliteError> {
    registry.rotate((id, ROTATION), later(ms), &mut operating_system())
}

fn gate_of(registry: &SqliteRegistry, secret: &IssuedSecret) -> Result<KeyId, &'static str> {
    let memory = registry.load().unwrap();
    let credential = Credential::parse(secret.expose()).unwrap();
    gate(&Presented::Credential(credential), &memory)
        .map(|entry| entry.record().id)
        .map_err(|refusal| refusal.reason)
}

#[test]
fn a_change_is_the_next_version_and_its_event() {
    let (_folder, mut registry, id) = one_key();
    let before = registry.get(&id).unwrap().unwrap();
    let changed = registry.edit(id, &Edit::Suspend, later(1)).unwrap();
    let after = registry.get(&id).unwrap().unwrap();
    assert_eq!(changed.record, after);
    assert_eq!((after.version, after.lifecycle), (2, Lifecycle::Suspended));
    let expected = Subject::Key {
        id,
        version: 2,
        before: Some(before.digest()),
        after: after.digest(),
        state: State::Suspended,
        other: None,
        secret: events(&registry)[0].subject.secret(),
    };
    assert_eq!(changed.event.subject, expected);
    assert_eq!(changed.event.reason.as_deref(), Some("a test"));
    assert_eq!(events(&registry)[1], changed.event);
    let stored = registry.event_after(1).unwrap().unwrap();
    assert_eq!(stored.record, Some(after.to_canonical_json()));
    // What is refused changes nothing.
    let error = registry.edit(id, &Edit::Suspend, later(2)).unwrap_err();
    assert!(error.to_string().contains("it is suspended"), "{error}");
    let nobody = "000000000000".parse().unwrap();
    let error = registry.edit(nobody, &Edit::Suspend, later(2)).unwrap_err();
    assert!(matches!(error, SqliteError::NoKey(_)));
    assert_eq!(
        (events(&registry).len(), registry.get(&id).unwrap()),
        (2, Some(after))
    );
}

#[test]
fn an_attempt_at_a_longer_life_is_an_error_and_an_event() {
    let (_folder, mut registry, id) = one_key();
    let before = registry.get(&id).unwrap();
    let longer = Edit::Shorten(Timestamp::from_millis(NOW + 31 * DAY_MS));
    let error = registry.edit(id, &longer, later(1)).unwrap_err();
    assert!(matches!(
        error,
        SqliteError::Edit {
            error: EditError::ExpiryLocked { .. },
            ..
        }
    ));
    assert_eq!(registry.get(&id).unwrap(), before);
    let event = events(&registry).pop().unwrap();
    assert_eq!(event.kind, KeyEventKind::Refused);
    assert_eq!(event.subject, Subject::Nothing { id: Some(id) });
    let reason = event.reason.unwrap();
    assert!(
        reason.starts_with("a longer life was asked for"),
        "{reason}"
    );
}

#[test]
fn a_rotation_that_is_repeated_gives_another_secret_until_the_first_use() {
    let (_folder, mut registry, id) = one_key();
    let first = rotate(&mut registry, id, 1).unwrap();
    assert!(!first.is_repeat);
    assert_eq!(
        first.old.grace_until,
        Some(Timestamp::from_millis(NOW + 1 + 3_600_000))
    );
    let second = rotate(&mut registry, id, 2).unwrap();
    assert!(second.is_repeat);
    assert_eq!(second.successor.id, first.successor.id);
    // The old key is left alone, and the lost secret is void.
    assert_eq!(second.old, first.old);
    assert_eq!(gate_of(&registry, &first.secret), Err("key.unknown"));
    assert_eq!(gate_of(&registry, &second.secret), Ok(first.successor.id));
    assert_eq!(
        kinds(&registry)[1..],
        [
            KeyEventKind::Rotated,
            KeyEventKind::Succeeded,
            KeyEventKind::SecretReplaced
        ]
    );
    // Once it is used there are two usable keys, and no third.
    let successor = first.successor.id;
    registry.edit(successor, &Edit::Activate, later(3)).unwrap();
    for key in [id, successor] {
        let error = rotate(&mut registry, key, 4).unwrap_err();
        assert!(
            error.to_string().contains("rotation-in-progress"),
            "{error}"
        );
    }
    assert_eq!(gate_of(&registry, &second.secret), Ok(successor));
    // When the grace period is over, the successor can be rotated.
    let third = rotate(&mut registry, successor, 2 * 3_600_000).unwrap();
    assert!(!third.is_repeat);
}

#[test]
fn force_ends_the_older_grace_period() {
    let (_folder, mut registry, id) = one_key();
    let successor = rotate(&mut registry, id, 1).unwrap().successor.id;
    registry.edit(successor, &Edit::Activate, later(2)).unwrap();
    let forced = Rotation {
        force: true,
        ..ROTATION
    };
    let third = registry
        .rotate((successor, forced), later(3), &mut operating_system())
        .unwrap();
    let now = Timestamp::from_millis(NOW + 3);
    let state = |id| registry.state(&id, now).unwrap().unwrap().0;
    assert_eq!(state(id), State::Superseded);
    assert_eq!(state(successor), State::Deprecated);
    assert_eq!(state(third.successor.id), State::Pending);
}

#[test]
fn a_leaked_key_ends_at_once_and_its_rotation_can_be_repeated() {
    let (_folder, mut registry, id) = one_key();
    let leaked = Rotation {
        grace_ms: 0,
        ..ROTATION
    };
    for attempt in 0..2 {
        let rotated = registry
            .rotate((id, leaked), later(1 + attempt), &mut operating_system())
            .unwrap();
        assert_eq!(rotated.is_repeat, attempt > 0);
        let state = registry.state(&id, later(1).at).unwrap().unwrap().0;
        assert_eq!(state, State::Superseded);
    }
}

#[test]
fn a_revocation_is_ordered_by_one_and_confirmed_by_another() {
    let (_folder, mut registry, id) = one_key();
    let (order, changed) = registry.order_revocation(id, 1_000, by("amira")).unwrap();
    assert_eq!(changed.record.lifecycle, Lifecycle::Suspended);
    assert_eq!(changed.event.order, Some(order.digest()));
    assert_eq!(
        registry.open_orders(order.at).unwrap(),
        std::slice::from_ref(&order)
    );
    let digest = order.digest();
    let error = registry
        .confirm_revocation(digest, by("amira"))
        .unwrap_err();
    assert!(matches!(error, SqliteError::OwnOrder(_)));
    let nobody = By {
        actor: None,
        ..by("")
    };
    assert!(registry.confirm_revocation(digest, nobody).is_err());
    // A name that a configuration gives to the same user is nobody else, and neither is another
    // user under the same name.
    for (actor, user) in [("ben", "amira"), ("amira", "ben")] {
        let renamed = By {
            actor: Some(actor),
            ..by(user)
        };
        let error = registry.confirm_revocation(digest, renamed).unwrap_err();
        assert!(matches!(error, SqliteError::OwnOrder(_)), "{actor}");
    }
    let other = Digest::of(b"another order");
    let error = registry.confirm_revocation(other, by("ben")).unwrap_err();
    assert!(matches!(error, SqliteError::NoOrder(_)));
    let late = By {
        at: order.expires_at,
        ..by("ben")
    };
    let error = registry.confirm_revocation(digest, late).unwrap_err();
    assert!(matches!(error, SqliteError::OrderExpired(_)));
    let revoked = registry.confirm_revocation(digest, by("ben")).unwrap();
    assert_eq!(revoked.record.lifecycle, Lifecycle::Revoked);
    assert_eq!(revoked.event.order, Some(digest));
    assert_eq!(registry.open_orders(order.at).unwrap(), []);
    // It is confirmed once, and final.
    assert!(registry.confirm_revocation(digest, by("ben")).is_err());
    assert!(registry.edit(id, &Edit::Resume, by("ben")).is_err());
    assert_eq!(
        kinds(&registry)[1..],
        [KeyEventKind::RevocationOrdered, KeyEventKind::Revoked]
    );
}

#[test]
fn an_order_that_was_changed_afterwards_confirms_nothing() {
    let (folder, mut registry, id) = one_key();
    let (order, _) = registry.order_revocation(id, 1_000, by("amira")).unwrap();
    let editor = Connection::open(folder.path().join("keyward.db")).unwrap();
    editor
        .execute("UPDATE revocation_order SET requester = 'mallory'", [])
        .unwrap();
    let confirmed = registry.confirm_revocation(order.digest(), by("amira"));
    assert!(matches!(confirmed, Err(SqliteError::EditedOrders(key)) if key == id));
}

/// While it can be confirmed, it is neither undone nor displaced.
#[test]
fn an_open_order_stands() {
    let (_folder, mut registry, id) = one_key();
    let (first, _) = registry.order_revocation(id, 1_000, later(1)).unwrap();
    let again = registry.order_revocation(id, 1_000, later(2));
    assert!(matches!(again, Err(SqliteError::OrderOpen { .. })));
    let resumed = registry.edit(id, &Edit::Resume, later(3));
    assert!(matches!(resumed, Err(SqliteError::OrderOpen { .. })));
    // Afterwards it can be ordered again, or resumed.
    let (second, changed) = registry.order_revocation(id, 1_000, later(1_001)).unwrap();
    assert_eq!(changed.record.version, 2, "it was suspended already");
    let ben = |ms| By {
        actor: Some("ben"),
        user: Some("ben"),
        ..later(ms)
    };
    assert!(
        registry
            .confirm_revocation(first.digest(), ben(1_002))
            .is_err()
    );
    registry.edit(id, &Edit::Resume, later(2_001)).unwrap();
    assert!(
        registry
            .confirm_revocation(second.digest(), ben(2_001))
            .is_err()
    );
}

#[test]
fn an_emergency_has_to_be_reviewed_before_the_next() {
    let (_folder, mut registry, id) = one_key();
    registry.import(keys(&[1, 2]), later(1)).unwrap();
    let [second, third] = ["000000000001", "000000000002"].map(|id| id.parse().unwrap());
    registry.revoke_in_emergency(id, later(2)).unwrap();
    for key in [second, third] {
        let error = registry.revoke_in_emergency(key, later(3)).unwrap_err();
        assert!(matches!(error, SqliteError::Unreviewed { .. }), "{error}");
    }
    let error = registry.review_emergency(id, later(4)).unwrap_err();
    assert!(matches!(error, SqliteError::OwnEmergency(_)));
    let renamed = By {
        actor: Some("ben"),
        ..later(4)
    };
    let error = registry.review_emergency(id, renamed).unwrap_err();
    assert!(matches!(error, SqliteError::OwnEmergency(_)));
    let ben = By {
        actor: Some("ben"),
        user: Some("ben"),
        ..later(4)
    };
    let error = registry.review_emergency(second, ben).unwrap_err();
    assert!(matches!(error, SqliteError::NoEmergency(_)));
    registry.review_emergency(id, ben).unwrap();
    assert!(registry.review_emergency(id, ben).is_err());
    registry.revoke_in_emergency(second, later(5)).unwrap();
    let no_reason = By {
        reason: None,
        ..later(6)
    };
    let error = registry.revoke_in_emergency(third, no_reason).unwrap_err();
    assert!(matches!(error, SqliteError::NoReason));
}

#[test]
fn a_clock_that_goes_backwards_is_noticed() {
    let (_folder, mut registry, id) = one_key();
    registry.edit(id, &Edit::Mask(false), later(0)).unwrap();
    // A little: the time of events never goes back.
    let a_little = later(-CLOCK_BEHIND_MAX_MS);
    let changed = registry.edit(id, &Edit::Mask(true), a_little).unwrap();
    assert_eq!(changed.event.time.millis(), NOW);
    let long_ago = later(-CLOCK_BEHIND_MAX_MS - 1);
    let error = registry.edit(id, &Edit::Mask(false), long_ago).unwrap_err();
    assert!(matches!(error, SqliteError::ClockBehind { .. }), "{error}");
    // What takes away is done all the same, at the time of the last change.
    let changed = registry.edit(id, &Edit::Suspend, long_ago).unwrap();
    assert_eq!(changed.event.time.millis(), NOW);
    registry.revoke_in_emergency(id, long_ago).unwrap();
}

/// Whoever is refused, with a clock of their own making, holds nobody up.
#[test]
fn a_refusal_does_not_set_the_clock() {
    let (_folder, mut registry, id) = one_key();
    registry
        .note_refusal(Some(id), later(3_650 * DAY_MS))
        .unwrap();
    let changed = registry.edit(id, &Edit::Mask(false), later(1)).unwrap();
    assert_eq!(changed.event.time.millis(), NOW + 1);
}

#[test]
fn a_rehearsal_leaves_nothing() {
    let (_folder, mut registry, id) = one_key();
    let (record, seen) = (registry.get(&id).unwrap(), events(&registry));
    let longer = Edit::Shorten(Timestamp::from_millis(NOW + 31 * DAY_MS));
    registry.rehearse(|registry| {
        let changed = registry.edit(id, &Edit::Suspend, later(1)).unwrap();
        assert_eq!(changed.record.version, 2);
        // Each is by itself.
        registry.edit(id, &Edit::Mask(false), later(1)).unwrap();
        registry.revoke_in_emergency(id, later(1)).unwrap();
        // It stands in no history.
        let refused = registry.edit(id, &longer, later(1)).unwrap_err();
        assert!(refused.to_string().contains("its expiry is locked"));
    });
    assert_eq!(registry.get(&id).unwrap(), record);
    assert_eq!(events(&registry), seen);
    registry.edit(id, &longer, later(1)).unwrap_err();
    registry.edit(id, &Edit::Suspend, later(1)).unwrap();
    assert_eq!(events(&registry).len(), seen.len() + 2);
}

#[test]
fn a_row_that_was_edited_is_not_made_legitimate() {
    let (folder, mut registry, id) = one_key();
    let editor = Connection::open(folder.path().join("keyward.db")).unwrap();
    editor
        .execute(
            "UPDATE key SET record = replace(record, 'inventory:read', '*:*')",
            [],
        )
        .unwrap();
    let scopes = Edit::Scopes {
        grants: vec!["a:b".to_owned()],
        implications: Implications::default(),
    };
    for edit in [Edit::Mask(false), scopes] {
        let error = registry.edit(id, &edit, later(1)).unwrap_err();
        assert!(matches!(error, SqliteError::Edited(_)), "{error}");
    }
    assert!(matches!(
        rotate(&mut registry, id, 1),
        Err(SqliteError::Edited(_))
    ));
    // It can be cut off.
    registry.revoke_in_emergency(id, later(2)).unwrap();
}

/// Somebody who may write the file puts in the digest of a secret that they know.
#[test]
fn a_secret_that_was_put_in_is_noticed_at_the_next_change() {
    let (folder, mut registry, id) = one_key();
    let editor = Connection::open(folder.path().join("keyward.db")).unwrap();
    let put = |digest: &[u8]| {
        let sql = "UPDATE key SET secret_sha256 = ?2 WHERE id = ?1";
        assert_eq!(editor.execute(sql, (id.as_str(), digest)), Ok(1));
    };
    let committed = events(&registry)[0].subject.secret();
    let own = *registry.key(&id).unwrap().unwrap().0.secret().unwrap();
    assert_eq!(committed, Some(secret_commitment(&own)));
    put(Digest::of(b"known").as_bytes());
    // It can be cut off, and that makes nothing legitimate.
    registry.edit(id, &Edit::Suspend, later(1)).unwrap();
    let scopes = Edit::Scopes {
        grants: vec!["a:b".to_owned()],
        implications: Implications::default(),
    };
    for edit in [Edit::Resume, scopes] {
        let error = registry.edit(id, &edit, later(2)).unwrap_err();
        assert!(matches!(error, SqliteError::Edited(_)), "{error}");
    }
    let rotated = rotate(&mut registry, id, 2);
    assert!(matches!(rotated, Err(SqliteError::Edited(_))));
    put(own.as_bytes());
    registry.edit(id, &Edit::Resume, later(3)).unwrap();
    // A successor has one of its own, and another when it is replaced.
    let first = rotate(&mut registry, id, 4).unwrap();
    let second = rotate(&mut registry, id, 5).unwrap();
    let all = events(&registry);
    let last: Vec<_> = all
        .iter()
        .rev()
        .take(3)
        .map(|it| it.subject.secret())
        .collect();
    let [first, second] = [first, second].map(|it| Some(secret_commitment(&it.secret.digest())));
    assert_eq!(last, [second, first, committed]);
}

/// What was imported has no event of its own; the first change of it says what it was.
#[test]
fn an_imported_key_commits_with_its_first_change() {
    let (folder, mut registry, _) = one_key();
    registry.import(keys(&[1]), later(1)).unwrap();
    let id = "000000000001".parse().unwrap();
    registry.edit(id, &Edit::Mask(true), later(2)).unwrap();
    let editor = Connection::open(folder.path().join("keyward.db")).unwrap();
    let sql = "UPDATE key SET secret_sha256 = NULL WHERE id = '000000000001'";
    editor.execute(sql, []).unwrap();
    let error = registry.edit(id, &Edit::Mask(false), later(3)).unwrap_err();
    assert!(matches!(error, SqliteError::Edited(_)), "{error}");
}

#[test]
fn a_superseded_key_names_the_one_that_took_over() {
    let (_folder, mut registry, id) = one_key();
    let rotated = rotate(&mut registry, id, 1).unwrap();
    let successor = rotated.successor.id;
    registry.edit(successor, &Edit::Activate, later(2)).unwrap();
    let error = rotate(&mut registry, id, 3).unwrap_err().to_string();
    assert!(error.contains("is still usable until"), "{error}");
    let error = rotate(&mut registry, id, 3_600_001).unwrap_err();
    let expected = format!("its successor is key `{successor}`; rotate that one");
    assert!(error.to_string().contains(&expected), "{error}");
    assert!(error.is_refusal());
}

#[test]
fn a_revoked_key_is_not_rotated() {
    let (_folder, mut registry, id) = one_key();
    rotate(&mut registry, id, 1).unwrap();
    registry.revoke_in_emergency(id, later(2)).unwrap();
    let error = rotate(&mut registry, id, 3).unwrap_err();
    assert!(error.to_string().contains("it is revoked"), "{error}");
}

#[test]
fn what_is_issued_in_the_future_is_not_imported() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    let early = By {
        at: Timestamp::from_millis(0),
        ..by("amira")
    };
    let error = registry.import(keys(&[1]), early).unwrap_err();
    assert!(matches!(error, SqliteError::IssuedLater(_)), "{error}");
    assert!(ids(&registry).is_empty());
}

/// Two operators at once: each change is made on what the one before left, or refused.
#[test]
fn operators_at_once_do_not_lose_each_others_changes() {
    let (folder, registry, id) = one_key();
    drop(registry);
    let path = folder.path().join("keyward.db");
    let barrier = Barrier::new(4);
    let results: Vec<_> = thread::scope(|scope| {
        let started: Vec<_> = (0..4)
            .map(|operator| {
                let (path, barrier) = (&path, &barrier);
                scope.spawn(move || {
                    let mut registry = open(path);
                    barrier.wait();
                    (0..25)
                        .map(|_| match operator {
                            0 => rotate(&mut registry, id, 1).map(drop),
                            1 => registry.edit(id, &Edit::Mask(false), later(1)).map(drop),
                            2 => registry.edit(id, &Edit::Mask(true), later(1)).map(drop),
                            _ => {
                                let ordered = registry.order_revocation(id, 10_000, later(1));
                                ordered.map(drop)
                            }
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        started
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    let registry = open(&path);
    // Every success left at least one event, and nothing else did.
    let events = events(&registry);
    let made = results.iter().filter(|it| it.is_ok()).count();
    assert!(events.len() > made);
    let mut version = 0;
    let mut digest = None;
    let mut usable = 1;
    for event in events {
        if let Subject::Key {
            id: of,
            version: next,
            before,
            after,
            ..
        } = event.subject
            && of == id
        {
            assert_eq!(before, digest, "built on another version");
            assert!(next == version + 1 || before == Some(after));
            (version, digest) = (next, Some(after));
        }
        usable += usize::from(event.kind == KeyEventKind::Succeeded);
    }
    assert!(usable <= 2);
    assert_eq!(
        registry.get(&id).unwrap().unwrap().digest(),
        digest.unwrap()
    );
    for refused in results.into_iter().filter_map(Result::err) {
        assert!(
            matches!(
                refused,
                SqliteError::Edit { .. }
                    | SqliteError::RotationInProgress { .. }
                    | SqliteError::OrderOpen { .. }
            ),
            "{refused}"
        );
    }
}
