//! Tests of the migration of files of schema version 1, which are made here with its own SQL.

use super::*;

/// The schema of version 1, as it was.
const SCHEMA_1: &str = "
CREATE TABLE key (
    id TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL CHECK (version >= 1),
    owner TEXT NOT NULL,
    lifecycle TEXT NOT NULL
        CHECK (lifecycle IN ('active', 'deprecated', 'suspended', 'revoked')),
    expires_at INTEGER,
    record TEXT NOT NULL,
    secret_sha256 BLOB CHECK (length(secret_sha256) = 32)
) STRICT;
CREATE TABLE key_event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id TEXT NOT NULL REFERENCES key (id),
    version INTEGER NOT NULL CHECK (version >= 1),
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT,
    detail TEXT NOT NULL,
    UNIQUE (key_id, version)
) STRICT;
PRAGMA application_id = 0x6b777264;
PRAGMA user_version = 1;
PRAGMA journal_mode = wal;
";

/// A file of version 1: an import of three keys, an issue, the time before it, another import.
fn version_1() -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(SCHEMA_1).unwrap();
    let rows = [
        (1, NOW, "imported", Some("ann")),
        (2, NOW, "imported", Some("ann")),
        (5, NOW, "imported", Some("ann")),
        (4, NOW - 1_000_000, "issued", None),
        (3, NOW + 5, "imported", Some("")),
        (6, NOW + 5, "imported", Some("bob")),
        (0, NOW + 5, "imported", Some("bob")),
    ];
    for (id, at, kind, actor) in rows {
        let key = keys(&[id]).remove(0);
        let record = key.record();
        old.execute(
            "INSERT INTO key VALUES (?1, 1, ?2, 'active', ?3, ?4, ?5)",
            rusqlite::params![
                record.id.as_str(),
                &*record.owner,
                record.expires_at.map(Timestamp::millis),
                record.to_canonical_json(),
                key.secret().map(|it| it.as_bytes().as_slice()),
            ],
        )
        .unwrap();
        let detail = format!("{{\"record_sha256\":\"{}\"}}", record.digest());
        old.execute(
            "INSERT INTO key_event (key_id, version, at, kind, actor, detail)
             VALUES (?1, 1, ?2, ?3, ?4, ?5)",
            rusqlite::params![record.id.as_str(), at, kind, actor, detail],
        )
        .unwrap();
    }
    (folder, path)
}

fn migrate(path: &Path) -> Result<Option<Migrated>, SqliteError> {
    SqliteRegistry::migrate(path, Timestamp::from_millis(NOW + 10))
}

#[test]
fn version_1_becomes_a_chain_of_events_and_stays_beside() {
    let (_folder, path) = version_1();
    for open in [SqliteRegistry::open, SqliteRegistry::open_existing] {
        let error = open(&path, KeyOptions::default()).unwrap_err();
        assert!(
            error.to_string().contains("keyward registry migrate"),
            "{error}"
        );
    }
    let migrated = migrate(&path).unwrap().unwrap();
    assert_eq!((migrated.checked.keys, migrated.checked.events), (7, 5));
    assert_eq!(migrate(&path).unwrap(), None);
    let registry = open(&path);
    let told: Vec<_> = events(&registry)
        .into_iter()
        .map(|event| {
            let count = match event.subject {
                Subject::Keys { count, .. } => count,
                _ => 1,
            };
            let ms = event.time.millis() - NOW;
            (
                event.kind.as_str(),
                count,
                ms,
                event.actor.map(|it| it.to_string()),
            )
        })
        .collect();
    let bob = Some("bob".to_owned());
    let expected = [
        ("imported", 3, 0, Some("ann".to_owned())),
        ("issued", 1, -1_000_000, None),
        ("imported", 1, 5, None),
        ("imported", 1, 5, bob.clone()),
        ("imported", 1, 5, bob),
    ];
    assert_eq!(told, expected);
    let mut exported = Vec::new();
    registry
        .export(|key| {
            exported.push(serde_json::to_string(&key).unwrap());
            Ok::<_, SqliteError>(())
        })
        .unwrap();
    let same: Vec<_> = keys(&[0, 1, 2, 3, 4, 5, 6])
        .iter()
        .map(|key| serde_json::to_string(&key.to_file()).unwrap())
        .collect();
    assert_eq!(exported, same);
    // The old file is what it was, and can be migrated again.
    let again = path.with_file_name("again.db");
    fs::copy(&migrated.kept, &again).unwrap();
    assert_eq!(migrate(&again).unwrap().unwrap().checked, migrated.checked);
    // The schema is that of a new file.
    let schema = |path: &Path| {
        let connection = Connection::open(path).unwrap();
        let sql = "SELECT name || ifnull(sql, '') FROM sqlite_schema
                   WHERE name <> 'sqlite_sequence' ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let lines = statement.query_map([], |row| row.get::<_, String>(0));
        lines.unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let new = path.with_file_name("new.db");
    drop(open(&new));
    assert_eq!(schema(&path), schema(&new));
}

#[test]
fn a_kept_file_is_not_written_over() {
    let (_folder, path) = version_1();
    let kept = kept_path(&path);
    fs::write(&kept, "precious").unwrap();
    let error = migrate(&path).unwrap_err();
    assert!(matches!(error, SqliteError::CopyExists(_)), "{error}");
    assert_eq!(fs::read(&kept).unwrap(), b"precious");
    // Nothing was changed; it works once the way is clear.
    fs::remove_file(&kept).unwrap();
    assert!(migrate(&path).unwrap().is_some());
}

#[test]
fn what_does_not_add_up_is_not_migrated() {
    for (sql, problem) in [
        (
            "UPDATE key_event SET detail = '{}' WHERE seq = 2",
            "`000000000002` is not what its event",
        ),
        (
            "UPDATE key_event SET kind = 'x' WHERE seq = 2",
            "`000000000002` has an event of no known",
        ),
        (
            "DELETE FROM key_event WHERE seq = 2",
            "keys without an event",
        ),
        (
            "PRAGMA foreign_keys = 0; DELETE FROM key WHERE id = '000000000002'",
            "events without a key",
        ),
        (
            "UPDATE key SET owner = 'x' WHERE id = '000000000002'",
            "`owner` is not what its record",
        ),
        (
            "INSERT INTO key_event (key_id, version, at, kind, detail)
             SELECT key_id, 2, at, kind, detail FROM key_event WHERE seq = 2",
            "`000000000002` has two events",
        ),
    ] {
        let (_folder, path) = version_1();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let error = migrate(&path).unwrap_err();
        assert!(error.to_string().contains(problem), "{sql}: {error}");
        assert!(!kept_path(&path).exists());
        let error = SqliteRegistry::open(&path, KeyOptions::default()).unwrap_err();
        assert!(matches!(error, SqliteError::Older), "{error}");
    }
}

#[test]
fn a_file_with_a_trigger_is_not_migrated() {
    let (_folder, path) = version_1();
    let sql = "CREATE TRIGGER undo AFTER INSERT ON key_event BEGIN SELECT 1; END";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let error = migrate(&path).unwrap_err();
    assert!(matches!(error, SqliteError::ForeignCode { .. }), "{error}");
    assert!(!kept_path(&path).exists());
}
