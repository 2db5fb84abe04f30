//! Tests of files that are not, or no longer, as keyward wrote them.

use super::*;
use crate::key::edit::Edit;

/// A registry with three keys, after somebody ran SQL on it.
fn edited(sql: &str) -> (TempDir, SqliteRegistry) {
    let (folder, path) = folder();
    let mut registry = open(&path);
    registry.import(keys(&[1, 2, 3]), change()).unwrap();
    let editor = Connection::open(&path).unwrap();
    editor
        .execute_batch(&format!("PRAGMA ignore_check_constraints = 1; {sql}"))
        .unwrap();
    (folder, registry)
}

#[test]
fn an_edited_row_is_refused_and_named() {
    let edits = [
        ("UPDATE key SET version = 2", "column `version`"),
        ("UPDATE key SET version = -1", "column `version`"),
        ("UPDATE key SET owner = 'mallory'", "column `owner`"),
        (
            "UPDATE key SET owner = CAST(x'ff' AS TEXT)",
            "column `owner`",
        ),
        ("UPDATE key SET lifecycle = 'revoked'", "column `lifecycle`"),
        ("UPDATE key SET lifecycle = 'undead'", "column `lifecycle`"),
        ("UPDATE key SET expires_at = NULL", "column `expires_at`"),
        (
            "UPDATE key SET expires_at = expires_at + 1",
            "column `expires_at`",
        ),
        ("UPDATE key SET record = '{}'", "not a key record"),
        (
            "UPDATE key SET record = replace(record, 'T', ' T')",
            "a key record that cannot be",
        ),
        (
            "UPDATE key SET record = replace(record, ':read', ':READ')",
            "`scopes[0]`",
        ),
        ("UPDATE key SET record = record || ' '", "canonical form"),
        (
            "UPDATE key SET record = replace(record, '\"version\":1', '\"version\":0')",
            "version",
        ),
        (
            "UPDATE key SET record = CAST(x'7bff' AS TEXT)",
            "invalid utf-8",
        ),
        (
            "UPDATE key SET record = CAST(zeroblob(300000) AS TEXT)",
            "one that is too long",
        ),
        (
            "UPDATE key SET record = CAST(zeroblob(200000) AS TEXT)",
            "not a key record",
        ),
        ("UPDATE key SET secret_sha256 = x'00'", "has not 32 bytes"),
        (
            "UPDATE key SET secret_sha256 = zeroblob(33)",
            "has not 32 bytes",
        ),
        (
            "UPDATE key SET secret_sha256 = zeroblob(100000000)",
            "has not 32 bytes",
        ),
    ];
    for (edit, problem) in edits {
        let (_folder, registry) = edited(&format!("{edit} WHERE id = '000000000002'"));
        let named = |error: &SqliteError| match error {
            SqliteError::Row { id, problem: found } => {
                assert_eq!(id, "000000000002", "{edit}");
                assert!(found.contains(problem), "{edit}: {found}");
            }
            other => panic!("{edit}: {other}"),
        };
        named(&registry.load().unwrap_err());
        named(&registry.get(&"000000000002".parse().unwrap()).unwrap_err());
        assert!(
            registry
                .get(&"000000000001".parse().unwrap())
                .unwrap()
                .is_some()
        );
    }
}

#[test]
fn a_row_under_another_id_is_refused() {
    for (id, shown) in [
        ("'000000000009'", "000000000009"),
        ("'x' || char(27) || char(10)", "x\\u{1b}\\n"),
        ("CAST(x'ff' AS TEXT)", "\u{fffd}"),
    ] {
        let sql =
            format!("PRAGMA foreign_keys = 0; UPDATE key SET id = {id} WHERE id = '000000000002'");
        let (_folder, registry) = edited(&sql);
        let error = registry.load().unwrap_err();
        assert!(
            matches!(&error, SqliteError::Row { id, .. } if id == shown),
            "{error}"
        );
    }
}

#[test]
fn a_table_that_is_missing_or_another_is_an_error() {
    for sql in [
        "PRAGMA foreign_keys = 0; DROP TABLE key",
        "PRAGMA foreign_keys = 0; DROP TABLE key; CREATE TABLE key (id)",
        "PRAGMA foreign_keys = 0; ALTER TABLE key RENAME COLUMN record TO r",
    ] {
        let (_folder, mut registry) = edited(sql);
        assert!(
            matches!(registry.load().unwrap_err(), SqliteError::Other(_)),
            "{sql}"
        );
        assert!(registry.import(keys(&[9]), change()).is_err(), "{sql}");
    }
    // Untyped columns can hold anything.
    let (_folder, registry) = edited(
        "PRAGMA foreign_keys = 0; DROP TABLE key;
         CREATE TABLE key (id, version, owner, lifecycle, expires_at, record, secret_sha256);
         INSERT INTO key VALUES (1.5, 'v', x'00', NULL, 'e', 7, 'text')",
    );
    let error = registry.load().unwrap_err();
    assert!(
        matches!(&error, SqliteError::Row { id, .. } if id.is_empty()),
        "{error}"
    );
}

#[test]
fn other_peoples_files_are_refused_and_left_alone() {
    let mark = file::APPLICATION_ID;
    let newer = format!("PRAGMA application_id = {mark}; PRAGMA user_version = 3");
    let impossible = format!("PRAGMA application_id = {mark}; PRAGMA user_version = -1");
    for (sql, message) in [
        (
            "CREATE TABLE photo (id)",
            "another program's database (mark 0)",
        ),
        (
            "PRAGMA application_id = 7",
            "another program's database (mark 7)",
        ),
        (
            "PRAGMA user_version = 1",
            "another program's database (mark 0)",
        ),
        (&newer, "has schema version 3, not 2; use a newer keyward"),
        (&impossible, "damaged: there is no schema version -1"),
    ] {
        let (_folder, path) = folder();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(&path).unwrap();
        for open in [SqliteRegistry::open, SqliteRegistry::open_existing] {
            let error = open(&path, KeyOptions::default()).unwrap_err();
            assert!(error.to_string().contains(message), "{sql}: {error}");
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{sql}");
    }
    let (_folder, path) = folder();
    fs::write(
        &path,
        "not a database, and long enough to be looked at as one. ".repeat(100),
    )
    .unwrap();
    for open in [SqliteRegistry::open, SqliteRegistry::open_existing] {
        let error = open(&path, KeyOptions::default()).unwrap_err();
        assert!(matches!(error, SqliteError::NotADatabase), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_or_empty_is_made_by_open_alone() {
    let (folder, path) = folder();
    let open_existing = |path: &Path| SqliteRegistry::open_existing(path, KeyOptions::default());
    assert!(matches!(
        open_existing(&path).unwrap_err(),
        SqliteError::Missing
    ));
    assert!(!path.exists());
    fs::write(&path, "").unwrap();
    assert!(matches!(
        open_existing(&path).unwrap_err(),
        SqliteError::Empty
    ));
    assert_eq!(ids(&open(&path)), [""; 0]);
    assert!(open_existing(&path).is_ok());

    let nowhere = folder.path().join("no/such/folder/keyward.db");
    let error = SqliteRegistry::open(&nowhere, KeyOptions::default()).unwrap_err();
    assert!(matches!(error, SqliteError::Create(_)), "{error}");
    for open in [SqliteRegistry::open, SqliteRegistry::open_existing] {
        let error = open(folder.path(), KeyOptions::default()).unwrap_err();
        assert!(matches!(error, SqliteError::CannotOpen), "{error}");
    }
    // Not a URI: a file of this name, in the folder.
    let odd = folder.path().join("file:keyward.db?mode=memory");
    open(&odd);
    assert!(odd.exists());
}

#[test]
fn a_damaged_file_is_an_error() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    registry
        .import(keys(&(0..500).collect::<Vec<_>>()), change())
        .unwrap();
    drop(registry);
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > 100_000);
    bytes[4096..60_000].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let registry = open(&path);
    let error = registry.load().unwrap_err();
    assert!(matches!(error, SqliteError::Corrupt(_)), "{error}");
}

#[test]
fn a_file_that_another_process_holds_is_locked_for_writing_only() {
    let (_folder, path) = folder();
    let (mut registry, mut other) = (open(&path), open(&path));
    registry.import(keys(&[1]), change()).unwrap();
    registry
        .connection
        .busy_timeout(std::time::Duration::ZERO)
        .unwrap();
    let held = other
        .connection
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    for error in [
        registry.import(keys(&[2]), change()).unwrap_err(),
        registry
            .issue(&new_key(), change(), &mut operating_system())
            .unwrap_err(),
    ] {
        assert!(matches!(error, SqliteError::Locked), "{error}");
    }
    assert_eq!(registry.load().unwrap().len(), 1);
    drop(held);
    assert_eq!(registry.import(keys(&[2]), change()).unwrap(), 1);
}

#[test]
fn a_file_that_may_only_be_read_says_so() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    registry.import(keys(&[1]), change()).unwrap();
    registry
        .connection
        .pragma_update(None, "query_only", true)
        .unwrap();
    let error = registry.import(keys(&[2]), change()).unwrap_err();
    assert!(matches!(error, SqliteError::ReadOnly), "{error}");
    assert_eq!(ids(&registry).len(), 1);
}

#[test]
fn an_event_that_cannot_be_written_undoes_its_change() {
    let (_folder, mut registry) = edited(
        "CREATE TRIGGER full BEFORE INSERT ON key_event WHEN NEW.sequence = 2
         BEGIN SELECT RAISE(ABORT, 'no room'); END",
    );
    assert!(registry.import(keys(&[4, 5, 6]), change()).is_err());
    assert_eq!((ids(&registry).len(), events(&registry).len()), (3, 1));
}

fn by(actor: &'static str, ms: i64) -> By<'static> {
    By {
        at: Timestamp::from_millis(NOW + ms),
        actor: Some(actor),
        user: Some(actor),
        reason: Some("a test"),
    }
}

fn key(number: u32) -> KeyId {
    format!("{number:012}").parse().unwrap()
}

fn run(registry: &SqliteRegistry, sql: &str) {
    let path = registry.connection.path().unwrap();
    let editor = Connection::open(path).unwrap();
    editor
        .execute_batch(&format!("PRAGMA foreign_keys = 0; {sql}"))
        .unwrap();
}

#[test]
fn an_outcome_that_was_edited_lifts_no_order() {
    for outcome in ["open", "replaced", "confirmed"] {
        let (_folder, mut registry) = edited("");
        let (order, _) = registry
            .order_revocation(key(1), 1_000, by("ann", 1))
            .unwrap();
        let sql = format!("UPDATE revocation_order SET outcome = '{outcome}'");
        run(&registry, &sql);
        let resumed = registry.edit(key(1), &Edit::Resume, by("ann", 2));
        assert!(matches!(resumed, Err(SqliteError::OrderOpen { .. })));
        let again = registry.order_revocation(key(1), 1_000, by("ann", 2));
        assert!(matches!(again, Err(SqliteError::OrderOpen { .. })));
        let now = by("ann", 2).at;
        assert_eq!(
            registry.open_orders(now).unwrap(),
            std::slice::from_ref(&order)
        );
        let confirmed = registry.confirm_revocation(order.digest(), by("ben", 3));
        assert_eq!(confirmed.unwrap().record.lifecycle, Lifecycle::Revoked);
        // Once confirmed it stays so.
        run(&registry, "UPDATE revocation_order SET outcome = 'open'");
        let again = registry.confirm_revocation(order.digest(), by("ben", 4));
        assert!(matches!(again, Err(SqliteError::NoOrder(_))));
    }
}

#[test]
fn orders_that_are_not_those_of_the_events_are_noticed() {
    let edits = [
        "DELETE FROM revocation_order WHERE at = (SELECT max(at) FROM revocation_order)",
        "DELETE FROM revocation_order WHERE at = (SELECT min(at) FROM revocation_order)",
        "UPDATE revocation_order SET expires_at = 0",
        "UPDATE revocation_order SET requester = 'ben', requester_user = 'ben'",
        "UPDATE revocation_order SET digest = randomblob(32)",
        "UPDATE revocation_order SET key_id = '000000000002'
             WHERE at = (SELECT min(at) FROM revocation_order)",
        "UPDATE key_event SET entry = x'00' WHERE kind = 'revocation-ordered'",
    ];
    for sql in edits {
        let (_folder, mut registry) = edited("");
        registry
            .order_revocation(key(1), 1_000, by("ann", 1))
            .unwrap();
        let ordered = registry.order_revocation(key(1), 1_000, by("ann", 2_000));
        let (order, _) = ordered.unwrap();
        run(&registry, sql);
        let edited = |error: SqliteError| matches!(error, SqliteError::EditedOrders(_));
        let resumed = registry.edit(key(1), &Edit::Resume, by("ann", 2_001));
        assert!(edited(resumed.unwrap_err()), "{sql}");
        let again = registry.order_revocation(key(1), 1_000, by("ann", 2_001));
        assert!(edited(again.unwrap_err()), "{sql}");
        let confirmed = registry.confirm_revocation(order.digest(), by("ben", 2_001));
        let error = confirmed.unwrap_err();
        let is_gone = matches!(error, SqliteError::NoOrder(_));
        assert!(is_gone || edited(error), "{sql}");
        // What takes away needs no order.
        registry
            .revoke_in_emergency(key(1), by("ann", 2_002))
            .unwrap();
    }
}

#[test]
fn a_key_that_was_revoked_has_no_order_to_confirm() {
    let (_folder, mut registry) = edited("");
    let (order, _) = registry
        .order_revocation(key(1), 1_000, by("ann", 1))
        .unwrap();
    registry.revoke_in_emergency(key(1), by("ann", 2)).unwrap();
    assert_eq!(registry.open_orders(by("ann", 3).at).unwrap(), []);
    let resumed = registry.edit(key(1), &Edit::Resume, by("ann", 3));
    let error = resumed.unwrap_err();
    assert!(matches!(error, SqliteError::Edit { .. }), "{error}");
    let confirmed = registry.confirm_revocation(order.digest(), by("ben", 3));
    assert!(matches!(confirmed, Err(SqliteError::NoOrder(_))));
    let nothing = |finding| panic!("{finding}");
    registry
        .check::<SqliteError>(by("ann", 3).at, nothing)
        .unwrap();
}

/// There is one place to look, which is checked event by event.
#[test]
fn an_emergency_is_its_event_and_nothing_else() {
    let (_folder, mut registry) = edited("");
    registry.revoke_in_emergency(key(1), by("ann", 1)).unwrap();
    let plan = format!("EXPLAIN QUERY PLAN {}", order::SELECT_EMERGENCY);
    let plan: String = registry
        .connection
        .query_row(&plan, [], |row| row.get("detail"))
        .unwrap();
    assert!(plan.contains("key_event_emergency"), "{plan}");
    // A column that says otherwise is noticed, as far as it is read.
    run(
        &registry,
        "UPDATE key_event SET kind = 'emergency-reviewed' WHERE kind = 'imported'",
    );
    let error = registry
        .revoke_in_emergency(key(2), by("ann", 2))
        .unwrap_err();
    assert!(matches!(error, SqliteError::Unreviewed { .. }), "{error}");
    run(
        &registry,
        "UPDATE key_event SET entry = (SELECT entry FROM key_event WHERE sequence = 1)
         WHERE kind = 'revoked-in-emergency'",
    );
    for error in [
        registry
            .revoke_in_emergency(key(2), by("ann", 2))
            .unwrap_err(),
        registry.review_emergency(key(1), by("ben", 2)).unwrap_err(),
    ] {
        assert!(matches!(error, SqliteError::Corrupt(_)), "{error}");
    }
}

#[test]
fn a_file_with_a_trigger_or_a_view_is_not_opened() {
    let codes = [
        (
            "CREATE TRIGGER undo AFTER UPDATE ON key
             BEGIN DELETE FROM key_event WHERE sequence > 1; END",
            "a trigger `undo`",
        ),
        ("CREATE VIEW extra AS SELECT 1", "a view `extra`"),
    ];
    for (sql, expected) in codes {
        let (folder, registry) = edited(sql);
        drop(registry);
        let path = folder.path().join("keyward.db");
        for open in [
            SqliteRegistry::open,
            SqliteRegistry::open_existing,
            SqliteRegistry::open_to_restrict,
        ] {
            let error = open(&path, KeyOptions::default()).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, SqliteError::ForeignCode { .. }), "{text}");
            assert!(text.contains(expected), "{text}");
        }
    }
}

#[test]
fn a_change_whose_event_is_swallowed_is_not_made() {
    let (_folder, mut registry) =
        edited("CREATE TRIGGER swallow BEFORE INSERT ON key_event BEGIN SELECT RAISE(IGNORE); END");
    let error = registry
        .edit(key(1), &Edit::Suspend, by("ann", 1))
        .unwrap_err();
    assert!(matches!(error, SqliteError::Corrupt(_)), "{error}");
    let record = registry.get(&key(1)).unwrap().unwrap();
    assert_eq!((record.version, record.lifecycle), (1, Lifecycle::Active));
}

/// A key may have been resumed behind its order, and reading fails as writing does.
#[test]
fn errors_say_nothing_that_may_not_be_so() {
    let (_folder, mut registry) = edited("");
    let (order, _) = registry
        .order_revocation(key(1), 1_000, by("ann", 1))
        .unwrap();
    registry
        .edit(key(1), &Edit::Resume, by("ann", 1_001))
        .unwrap();
    let confirmed = registry.confirm_revocation(order.digest(), by("ben", 1_002));
    let text = confirmed.unwrap_err().to_string();
    assert!(text.contains("order it again"), "{text}");
    assert!(!text.contains("suspended"), "{text}");
    let text = SqliteError::Io("disk".to_owned()).to_string();
    assert!(text.contains("if this was a change"), "{text}");
}
