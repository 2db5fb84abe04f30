//! Tests of the check of a registry file, and of copies of it: everything that somebody can change
//! in it is named, and what is right is not.

use std::fmt::Write as _;

use super::*;
use crate::key::edit::Edit;
use crate::key::rotation::Rotation;

const DAY_MS: u64 = 86_400_000;

fn by(actor: &'static str, ms: i64) -> By<'static> {
    By {
        at: Timestamp::from_millis(NOW + ms),
        actor: Some(actor),
        user: Some(actor),
        reason: Some("because"),
    }
}

/// What the check finds at a time, a line for each.
fn findings_at(registry: &SqliteRegistry, ms: i64) -> String {
    let mut found = String::new();
    let now = Timestamp::from_millis(NOW + ms);
    let checked = registry
        .check(now, |finding| {
            writeln!(found, "{finding}").unwrap();
            Ok::<_, SqliteError>(())
        })
        .unwrap();
    assert_eq!(checked.findings, found.lines().count() as u64);
    found
}

fn findings(registry: &SqliteRegistry) -> String {
    findings_at(registry, 100)
}

/// A registry in which everything was done once: two imports, an issue, a rotation, edits, an order
/// that is confirmed, one that is open, an emergency, a refusal. Keys 1, 2, 3, 7 are imported.
fn full() -> (TempDir, PathBuf, SqliteRegistry) {
    let (folder, path) = folder();
    let mut registry = open(&path);
    let id = |n: u32| format!("{n:012}").parse::<KeyId>().unwrap();
    let mut random = operating_system();
    registry.import(keys(&[1, 2, 3]), change()).unwrap();
    registry.import(keys(&[7]), change()).unwrap();
    let (issued, _) = registry
        .issue(&new_key(), by("ann", 1), &mut random)
        .unwrap();
    let rotation = Rotation {
        grace_ms: DAY_MS,
        lifetime_max_ms: 90 * DAY_MS,
        force: false,
    };
    for ms in [2, 3] {
        let done = registry.rotate((issued.id, rotation), by("ann", ms), &mut random);
        assert_eq!(done.unwrap().is_repeat, ms == 3);
    }
    let mask = Edit::Mask(true);
    registry.edit(id(1), &mask, by("ann", 4)).unwrap();
    registry.edit(id(1), &Edit::Suspend, by("ann", 5)).unwrap();
    for key in [1, 2] {
        let ordered = registry.order_revocation(id(key), DAY_MS, by("ann", 6));
        let (order, _) = ordered.unwrap();
        if key == 2 {
            let confirmed = registry.confirm_revocation(order.digest(), by("bob", 7));
            confirmed.unwrap();
        }
    }
    registry.revoke_in_emergency(id(3), by("ann", 8)).unwrap();
    registry.review_emergency(id(3), by("bob", 9)).unwrap();
    registry.note_refusal(Some(id(7)), by("eve", 10)).unwrap();
    registry.note_refusal(Some(id(9)), by("eve", 10)).unwrap();
    registry.note_refusal(None, by("eve", 10)).unwrap();
    (folder, path, registry)
}

#[test]
fn nothing_is_wrong_with_what_keyward_wrote() {
    let (_folder, path, registry) = full();
    assert_eq!(findings(&registry), "");
    let now = Timestamp::from_millis(NOW + 100);
    let nothing = |_| Ok::<_, SqliteError>(());
    let checked = registry.check(now, nothing).unwrap();
    assert_eq!((checked.keys, checked.events), (6, 16));
    drop(registry);
    assert_eq!(findings_at(&open(&path), 400 * DAY_MS as i64), "");
}

/// What somebody does to the file, and what the check then says; nothing: it cannot know.
const SPOILERS: [(&str, &str); 41] = [
    (
        "UPDATE key SET owner = 'x' WHERE id = '000000000002'",
        "key `000000000002`: its column",
    ),
    ("DELETE FROM key_event WHERE sequence = 16", ""),
    (
        "DELETE FROM key_event WHERE sequence = 15",
        "key event 16: the event before it is 14",
    ),
    (
        "DELETE FROM key_event WHERE sequence = 1",
        "key event 2: the event before it is 0",
    ),
    (
        "UPDATE key_event SET at = at + 1 WHERE sequence = 3",
        "key event 3: its column `at`",
    ),
    (
        "UPDATE key_event SET kind = 'masked' WHERE sequence = 3",
        "key event 3: its column `kind`",
    ),
    (
        "UPDATE key_event SET key_id = NULL WHERE sequence = 3",
        "key event 3: its column `key_id`",
    ),
    (
        "UPDATE key_event SET record = NULL WHERE sequence = 3",
        "key event 3: its record",
    ),
    (
        "UPDATE key_event SET record = '{}' WHERE sequence = 1",
        "key event 1: its record",
    ),
    (
        "UPDATE key_event SET entry = x'00' WHERE sequence = 4",
        "key event 4: its entry is not",
    ),
    (
        "UPDATE key_event SET entry = zeroblob(70000) WHERE sequence = 4",
        "key event 4: its entry",
    ),
    (
        "UPDATE key_event SET entry = (SELECT entry FROM key_event WHERE sequence = 5) WHERE sequence = 4",
        "key event 4: it does not name the event before it",
    ),
    (
        "DELETE FROM key WHERE id = '000000000007'",
        "key event 2: it brought 1 keys, and 0 are there",
    ),
    (
        "UPDATE key SET record = replace(record, 'owner-7', 'owner-8'), owner = 'owner-8' WHERE id = '000000000007'",
        "key event 2: the keys that it brought are not those",
    ),
    (
        "UPDATE key SET record = replace(record, 'read_only\":true', 'read_only\":false') WHERE id = '000000000001'",
        "key `000000000001`: its record is not the one that its last event led to",
    ),
    (
        "UPDATE key SET first_event = 2 WHERE id = '000000000001'",
        "key event 1: it brought 3 keys, and 2",
    ),
    (
        "UPDATE key SET first_event = 3 WHERE id = '000000000007'",
        "key `000000000007`: event 3 did not make it",
    ),
    (
        "UPDATE key SET is_unused = 0 WHERE is_unused",
        "its column `is_unused` is not what",
    ),
    (
        "UPDATE key SET predecessor = '000000000007' WHERE predecessor IS NOT NULL",
        "did not make it, or not so",
    ),
    (
        "UPDATE key SET predecessor = (SELECT id FROM key WHERE is_unused) WHERE first_event = 3",
        "which is not older",
    ),
    (
        "UPDATE revocation_order SET reason = 'other' WHERE outcome = 'open'",
        "it has another digest",
    ),
    (
        "UPDATE revocation_order SET outcome = 'open'",
        "its outcome is not what the events say",
    ),
    (
        "UPDATE revocation_order SET outcome = 'replaced' WHERE outcome = 'open'",
        "its outcome is not what the events say",
    ),
    (
        "UPDATE key_event SET kind = 'revoked' WHERE kind = 'revoked-in-emergency'",
        "its column `kind`",
    ),
    (
        "DELETE FROM key_event WHERE kind = 'revoked-in-emergency'",
        "it reviews no emergency",
    ),
    (
        "CREATE TABLE photo (id)",
        "registry file: its table `photo` is none of keyward's",
    ),
    (
        "CREATE INDEX extra ON key (owner)",
        "registry file: its index `extra` is none of keyward's",
    ),
    (
        "CREATE VIEW extra AS SELECT 1",
        "registry file: its view `extra` is none of keyward's",
    ),
    (
        "CREATE TRIGGER extra AFTER UPDATE ON key BEGIN SELECT 1; END",
        "registry file: its trigger `extra` is none of keyward's",
    ),
    (
        "DROP INDEX key_event_emergency",
        "registry file: there is no index `key_event_emergency`",
    ),
    (
        "ALTER TABLE key ADD COLUMN x TEXT",
        "registry file: its table `key` is not as keyward makes it",
    ),
    (
        "UPDATE revocation_order SET outcome = 'confirmed'",
        "its outcome is not what the events say",
    ),
    (
        "DELETE FROM revocation_order WHERE outcome = 'open'",
        "the order that it tells of",
    ),
    (
        "UPDATE key SET predecessor = '00000000000x' WHERE is_unused",
        "names a `key` that is not there",
    ),
    (
        "UPDATE key SET version = 0 WHERE id = '000000000007'",
        "registry file: CHECK constraint failed",
    ),
    (
        "UPDATE key SET secret_sha256 = randomblob(32) WHERE first_event = 3",
        "the digest of its secret is not the one that its events commit to",
    ),
    (
        "UPDATE key SET secret_sha256 = NULL WHERE first_event = 3",
        "the digest of its secret is not the one that its events commit to",
    ),
    (
        "UPDATE key SET secret_sha256 = randomblob(32) WHERE is_unused",
        "the digest of its secret is not the one that its events commit to",
    ),
    (
        "UPDATE key SET secret_sha256 = randomblob(32) WHERE id = '000000000001'",
        "key `000000000001`: the digest of its secret is not the one",
    ),
    (
        "UPDATE key SET secret_sha256 = randomblob(32) WHERE id = '000000000007'",
        "key event 2: the keys that it brought are not those",
    ),
    (
        "UPDATE revocation_order SET requester_user = 'bob' WHERE outcome = 'open'",
        "it has another digest",
    ),
];

#[test]
fn whatever_is_changed_in_the_file_is_named() {
    for (sql, expected) in SPOILERS {
        let (_folder, path, registry) = full();
        let editor = Connection::open(&path).unwrap();
        editor
            .execute_batch(&format!(
                "PRAGMA foreign_keys = 0; PRAGMA ignore_check_constraints = 1; {sql}"
            ))
            .unwrap();
        let found = findings(&registry);
        assert!(found.contains(expected), "{sql}: {found}");
        // The end can be cut off; only the log knows.
        assert_eq!(found.is_empty(), expected.is_empty(), "{sql}: {found}");
    }
}

#[test]
fn an_emergency_that_was_followed_by_another_unreviewed_is_named() {
    let (_folder, path, mut registry) = full();
    let second = "000000000007".parse().unwrap();
    registry.revoke_in_emergency(second, by("ann", 11)).unwrap();
    assert_eq!(findings(&registry), "");
    let editor = Connection::open(path).unwrap();
    let sql = "DELETE FROM key_event WHERE kind = 'emergency-reviewed'";
    editor.execute_batch(sql).unwrap();
    let found = findings(&registry);
    let expected = "key event 17: nobody had reviewed the emergency before it\n";
    assert!(found.contains(expected), "{found}");
}

#[test]
fn three_usable_keys_of_a_lineage_are_named() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    registry.import(keys(&[1, 2, 3]), change()).unwrap();
    let editor = Connection::open(&path).unwrap();
    let succeed = "PRAGMA foreign_keys = 0;
        UPDATE key SET predecessor = '000000000001', first_event = 2 WHERE id = '000000000002';
        UPDATE key SET predecessor = '000000000002', first_event = 3 WHERE id = '000000000003';";
    editor.execute_batch(succeed).unwrap();
    let found = findings(&registry);
    let expected = "key `000000000003`: 3 keys of its lineage are usable at once\n";
    assert!(found.contains(expected), "{found}");
    // A circle is found too, and does not go on for ever.
    let circle = "UPDATE key SET predecessor = '000000000003' WHERE id = '000000000001'";
    editor.execute_batch(circle).unwrap();
    let found = findings(&registry);
    let expected = "key `000000000001`: it succeeds `000000000003`, which is not older";
    assert!(found.contains(expected), "{found}");
}

#[test]
fn damage_is_found() {
    let (_folder, path, registry) = full();
    drop(registry);
    let mut bytes = fs::read(&path).unwrap();
    let index = Connection::open(&path)
        .unwrap()
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'key_event_key'",
            [],
            |row| row.get::<_, u32>(0),
        )
        .unwrap();
    // One entry of the index less.
    bytes[(index as usize - 1) * 4096 + 4] -= 1;
    fs::write(&path, bytes).unwrap();
    let found = findings(&open(&path));
    assert!(found.starts_with("registry file: "), "{found}");
    let copy = path.with_extension("copy");
    let now = Timestamp::from_millis(NOW);
    let error = open(&path).backup(&copy, now).unwrap_err();
    assert!(matches!(error, SqliteError::Wrong { .. }), "{error}");
    assert!(!copy.exists());
}

#[test]
fn a_copy_is_a_registry_of_its_own_and_replaces_nothing() {
    let (folder, path, registry) = full();
    let now = Timestamp::from_millis(NOW + 100);
    let copy = folder.path().join("copy.db");
    let checked = registry.backup(&copy, now).unwrap();
    assert_eq!((checked.keys, checked.events), (6, 16));
    assert_eq!(ids(&open(&copy)), ids(&registry));
    let before = fs::read(&copy).unwrap();
    let error = registry.backup(&copy, now).unwrap_err();
    assert!(matches!(error, SqliteError::CopyExists(_)), "{error}");
    assert_eq!(fs::read(&copy).unwrap(), before);
    // What is wrong has no copy.
    Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE key_event SET at = 0 WHERE sequence = 3")
        .unwrap();
    let other = folder.path().join("other.db");
    let error = registry.backup(&other, now).unwrap_err();
    assert!(
        error.to_string().contains("key event 3: its column `at`"),
        "{error}"
    );
    let names = fs::read_dir(folder.path()).unwrap();
    let left = names.filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        let name = name.to_str().unwrap();
        name.contains("other") || name.contains("tmp")
    });
    assert_eq!(left.count(), 0);
}

/// A leaked key has often been rotated already.
#[test]
fn a_deprecated_key_is_suspended_and_revoked_as_any_other() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    let mut random = operating_system();
    let rotation = Rotation {
        grace_ms: DAY_MS,
        lifetime_max_ms: 90 * DAY_MS,
        force: false,
    };
    let (key, _) = registry
        .issue(&new_key(), by("ann", 0), &mut random)
        .unwrap();
    let mut rotate = |registry: &mut SqliteRegistry, id, ms| {
        registry.rotate((id, rotation), by("ann", ms), &mut random)
    };
    let next = rotate(&mut registry, key.id, 1).unwrap().successor.id;
    registry.edit(next, &Edit::Activate, by("ann", 2)).unwrap();
    registry.edit(key.id, &Edit::Suspend, by("ann", 3)).unwrap();
    // It could be resumed: a third usable key.
    let error = rotate(&mut registry, next, 4).unwrap_err();
    assert!(
        matches!(error, SqliteError::RotationInProgress { .. }),
        "{error}"
    );
    registry.edit(key.id, &Edit::Resume, by("ann", 5)).unwrap();
    registry.revoke_in_emergency(key.id, by("ann", 6)).unwrap();
    rotate(&mut registry, next, 7).unwrap();
    assert_eq!(findings(&registry), "");
}
