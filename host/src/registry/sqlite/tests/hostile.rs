//! Tests of files that are not, or no longer, as keyward wrote them.

use super::*;

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
