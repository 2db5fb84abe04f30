//! Tests of the registry file: what is kept, what is refused, and what somebody else did to it.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::credential::random::{RandomnessError, operating_system};
use crate::credential::{Credential, Presented};
use crate::digest::Digest;
use crate::key::event::{KeyEvent, secret_commitment};
use crate::key::json::read_keys;
use crate::key::state::State;
use crate::log::Entry;
use crate::registry::gate;

mod change;
mod check;
mod hostile;
mod migrate;

const NOW: i64 = 1_795_000_000_000;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.db");
    (folder, path)
}

fn open(path: &Path) -> SqliteRegistry {
    SqliteRegistry::open(path, KeyOptions::default()).unwrap()
}

fn change() -> By<'static> {
    By {
        at: Timestamp::from_millis(NOW),
        actor: Some("amira"),
        user: Some("ann1"),
        reason: None,
    }
}

fn new_key() -> NewKey {
    NewKey {
        owner: "inventory-sync".to_owned(),
        environment: Environment::Live,
        scopes: vec!["inventory:read".to_owned(), "orders.*:write".to_owned()],
        expires_at: Timestamp::from_millis(NOW + 86_400_000),
        not_before: None,
        rotate_by: None,
        allowed_networks: Some(vec!["203.0.113.0/24".parse().unwrap()]),
        read_only: true,
        labels: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
    }
}

/// Keys with these ids, the odd ones with a secret.
fn keys(ids: &[u32]) -> Vec<CheckedKey> {
    let lines: Vec<_> = ids
        .iter()
        .map(|id| {
            let secret = (id % 2 == 1).then(|| format!("{id:064x}"));
            json!({
                "id": format!("{id:012}"), "owner": format!("owner-{id}"),
                "issued_at": "2026-11-01T00:00:00Z", "expires_at": "2027-01-01T00:00:00Z",
                "scopes": ["inventory:read"], "secret_sha256": secret,
            })
            .to_string()
        })
        .collect();
    read_keys(lines.join("\n").as_bytes(), KeyOptions::default()).unwrap()
}

fn ids(registry: &SqliteRegistry) -> Vec<String> {
    let mut ids = Vec::new();
    registry
        .list(|record| {
            ids.push(record.id.to_string());
            Ok::<_, SqliteError>(())
        })
        .unwrap();
    ids
}

/// The events in order; each names the one before.
fn events(registry: &SqliteRegistry) -> Vec<KeyEvent> {
    let mut events = Vec::new();
    let mut previous = None;
    while let Some(stored) = registry.event_after(events.len() as u64).unwrap() {
        let Ok(Entry::KeyEvent(event)) = Entry::decode(&stored.entry) else {
            panic!("not a key event");
        };
        assert_eq!(event.sequence, stored.sequence);
        assert_eq!(event.previous, previous);
        previous = Some(Digest::of(&stored.entry));
        events.push(event);
    }
    events
}

#[test]
fn an_issued_key_is_there_after_reopening_and_opens_the_gate() {
    let (_folder, path) = folder();
    let (record, secret) = open(&path)
        .issue(&new_key(), change(), &mut operating_system())
        .unwrap();
    assert_eq!(record.version, 1);
    assert_eq!(record.issued_at.millis(), NOW);
    assert_eq!(record.lifecycle, Lifecycle::Active);
    assert_eq!(record.expires_at, Some(new_key().expires_at));
    assert!(record.read_only);

    let registry = SqliteRegistry::open_existing(&path, KeyOptions::default()).unwrap();
    assert_eq!(registry.get(&record.id).unwrap().unwrap(), record);
    assert_eq!(
        registry.get(&"000000000000".parse().unwrap()).unwrap(),
        None
    );
    let memory = registry.load().unwrap();
    let credential = Credential::parse(secret.expose()).unwrap();
    let entry = gate(&Presented::Credential(credential), &memory).unwrap();
    assert_eq!(**entry.record(), record);
    assert_eq!(entry.digest(), record.digest());
}

#[test]
fn the_secret_is_not_in_the_files() {
    let (folder, path) = folder();
    let mut registry = open(&path);
    let (record, secret) = registry
        .issue(&new_key(), change(), &mut operating_system())
        .unwrap();
    let mut found_id = false;
    for file in fs::read_dir(folder.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let has = |text: &str| {
            bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        assert!(!has(secret.expose().get(21..53).unwrap()));
        found_id |= has(record.id.as_str());
    }
    assert!(found_id, "the search finds nothing at all");
}

#[test]
fn every_change_leaves_its_event() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    let (record, secret) = registry
        .issue(&new_key(), change(), &mut operating_system())
        .unwrap();
    let commitment = secret_commitment(&secret.digest());
    let later = By {
        at: Timestamp::from_millis(NOW + 1),
        actor: None,
        user: None,
        reason: None,
    };
    assert_eq!(registry.import(keys(&[2, 1]), later).unwrap(), 2);
    let events = events(&registry);
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].kind, KeyEventKind::Issued);
    assert_eq!(events[0].time.millis(), NOW);
    assert_eq!(events[0].actor.as_deref(), Some("amira"));
    let issued = Subject::Key {
        id: record.id,
        version: 1,
        before: None,
        after: record.digest(),
        state: State::Active,
        other: None,
        secret: Some(commitment),
    };
    assert_eq!(events[0].subject, issued);
    let lines: String = ["000000000001", "000000000002"]
        .map(|id| {
            let record = registry.get(&id.parse().unwrap()).unwrap().unwrap();
            // Every second one has a secret.
            let secret = id
                .ends_with('1')
                .then(|| format!("{:064x}", 1).parse::<Digest>());
            let secret = secret.map(|it| secret_commitment(&it.unwrap()).to_string());
            let secret = secret.unwrap_or_else(|| "-".to_owned());
            format!("{id} {} {secret}\n", record.digest())
        })
        .concat();
    let imported = Subject::Keys {
        count: 2,
        digest: Digest::of(lines.as_bytes()),
    };
    assert_eq!(events[1].kind, KeyEventKind::Imported);
    assert_eq!(events[1].time.millis(), NOW + 1);
    assert_eq!(events[1].subject, imported);
}

/// Spoils a key; what the refusal says of it.
type Spoiler = (fn(&mut NewKey), &'static str);

#[test]
fn issue_refuses_what_import_would() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    let spoilers: [Spoiler; 7] = [
        (
            |new| new.scopes.push("a:".to_owned()),
            "`scopes[2]`: `a:` is not",
        ),
        (|new| new.owner.clear(), "`owner`: must not be empty"),
        (
            |new| new.owner = "o".repeat(257),
            "`owner`: longer than 256 bytes",
        ),
        (
            |new| new.expires_at = Timestamp::from_millis(NOW),
            "`expires_at`: not after",
        ),
        (
            |new| new.expires_at = Timestamp::from_millis(i64::MAX),
            "`expires_at`: `",
        ),
        (
            |new| new.rotate_by = Some(Timestamp::from_millis(i64::MIN)),
            "`rotate_by`: `",
        ),
        (
            |new| new.allowed_networks = Some(vec!["::/0".parse().unwrap()]),
            "`allowed_networks[0]`",
        ),
    ];
    for (spoil, message) in spoilers {
        let mut new = new_key();
        spoil(&mut new);
        let error = registry
            .issue(&new, change(), &mut operating_system())
            .unwrap_err();
        let message = format!("the key cannot be issued: {message}");
        assert!(error.to_string().starts_with(&message), "{error}");
    }
    assert_eq!((ids(&registry).len(), events(&registry).len()), (0, 0));
}

#[test]
fn issue_needs_a_scope() {
    let (_folder, path) = folder();
    let new = NewKey {
        scopes: Vec::new(),
        ..new_key()
    };
    let error = open(&path)
        .issue(&new, change(), &mut operating_system())
        .unwrap_err();
    assert!(matches!(error, SqliteError::NoScope), "{error}");
}

#[test]
fn a_network_of_every_address_is_let_in_by_option_and_read_by_everybody() {
    let (_folder, path) = folder();
    let options = KeyOptions {
        allow_any_network: true,
    };
    let mut lenient = SqliteRegistry::open(&path, options).unwrap();
    let any = "0.0.0.0/0".parse().unwrap();
    let new = NewKey {
        allowed_networks: Some(vec![any]),
        ..new_key()
    };
    lenient
        .issue(&new, change(), &mut operating_system())
        .unwrap();
    assert_eq!(ids(&open(&path)).len(), 1);
}

#[test]
fn who_makes_a_change_can_be_shown() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    for (actor, good) in [
        ("a".repeat(256), true),
        ("a".repeat(257), false),
        ("a\u{1b}[2J".to_owned(), false),
        ("nna\u{202e}".to_owned(), false),
        ("a\u{200b}".to_owned(), false),
        ("a\u{2028}".to_owned(), false),
    ] {
        let change = By {
            actor: Some(&actor),
            ..change()
        };
        let issued = registry.issue(&new_key(), change, &mut operating_system());
        assert_eq!(issued.is_ok(), good, "{actor:?}");
        let imported = registry.import(keys(&[actor.len().try_into().unwrap()]), change);
        assert_eq!(imported.is_ok(), good, "{actor:?}");
    }
}

#[test]
fn an_id_that_is_taken_is_drawn_again_and_not_for_ever() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    // Each draw gives one character only; the fourth and later differ from the first three.
    let mut draws = 0_u8;
    let mut repeating = |bytes: &mut [u8]| {
        bytes.fill([1, 1, 1, 1, 2, 2][usize::from(draws.min(5))]);
        draws += 1;
        Ok(())
    };
    let (first, _) = registry
        .issue(&new_key(), change(), &mut repeating)
        .unwrap();
    let (second, _) = registry
        .issue(&new_key(), change(), &mut repeating)
        .unwrap();
    assert_eq!(
        (first.id.as_str(), second.id.as_str()),
        ("111111111111", "222222222222")
    );
    assert_eq!(draws, 6);

    let mut stuck = |bytes: &mut [u8]| {
        bytes.fill(1);
        Ok(())
    };
    let error = registry
        .issue(&new_key(), change(), &mut stuck)
        .unwrap_err();
    assert!(matches!(error, SqliteError::NoFreeId), "{error}");
    let mut dry = |_: &mut [u8]| Err(RandomnessError::Unavailable("none".to_owned()));
    let error = registry.issue(&new_key(), change(), &mut dry).unwrap_err();
    assert!(matches!(error, SqliteError::Randomness(_)), "{error}");
    assert_eq!((ids(&registry).len(), events(&registry).len()), (2, 2));
}

#[test]
fn an_export_imports_as_the_same_keys() {
    let ((_folder, path), (_other_folder, other_path)) = (folder(), folder());
    let mut registry = open(&path);
    registry
        .issue(&new_key(), change(), &mut operating_system())
        .unwrap();
    registry.import(keys(&[3, 1, 2]), change()).unwrap();
    let export = |registry: &SqliteRegistry| {
        let mut lines = String::new();
        registry
            .export(|file| {
                lines.push_str(&serde_json::to_string(&file).unwrap());
                lines.push('\n');
                Ok::<_, SqliteError>(())
            })
            .unwrap();
        lines
    };
    let exported = export(&registry);
    let mut other = open(&other_path);
    let read = read_keys(exported.as_bytes(), KeyOptions::default()).unwrap();
    assert_eq!(other.import(read, change()).unwrap(), 4);
    assert_eq!(export(&other), exported);
    assert_eq!(exported.matches("\"secret_sha256\":\"").count(), 3);
    assert!(ids(&other).is_sorted());
}

#[test]
fn an_import_is_all_or_nothing_and_names_the_keys_that_are_there() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    registry.import(keys(&[7, 5]), change()).unwrap();
    // The check beforehand says the same, in the order of the file.
    let check = |ids: &[u32]| registry.check_import(&keys(ids), change().at);
    assert!(check(&[9, 1]).is_ok());
    assert_eq!(
        check(&[9, 7, 1, 5]).unwrap_err().to_string(),
        "keys that exist already: `000000000007`, `000000000005`; nothing was imported"
    );
    let error = registry.import(keys(&[9, 7, 1, 5]), change()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "keys that exist already: `000000000005`, `000000000007`; nothing was imported"
    );
    let error = registry
        .import(
            keys(&[2, 3]).into_iter().chain(keys(&[2])).collect(),
            change(),
        )
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "key `000000000002` is there twice; leave one out"
    );
    assert_eq!(ids(&registry), ["000000000005", "000000000007"]);
    assert_eq!(events(&registry).len(), 1);

    let many: Vec<_> = (100..300).collect();
    registry.import(keys(&many), change()).unwrap();
    let error = registry.import(keys(&many), change()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`000000000199` and 100 more; nothing"),
        "{error}"
    );
    assert_eq!(registry.import(Vec::new(), change()).unwrap(), 0);
}

#[test]
fn a_listing_ends_with_the_first_error_of_its_reader() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    registry.import(keys(&[1, 2, 3]), change()).unwrap();
    let mut seen = 0;
    let result: Result<(), SqliteError> = registry.list(|_| {
        seen += 1;
        if seen == 2 {
            Err(SqliteError::Full)
        } else {
            Ok(())
        }
    });
    assert!(matches!(result, Err(SqliteError::Full)));
    assert_eq!(seen, 2);
}

#[test]
fn a_connection_has_the_settings_that_the_promises_need() {
    let (_folder, path) = folder();
    let registry = open(&path);
    let text = |name: &str| {
        let sql = format!("PRAGMA {name}");
        registry
            .connection
            .query_row(&sql, [], |row| row.get::<_, rusqlite::types::Value>(0))
            .unwrap()
    };
    for (name, value) in [
        ("synchronous", 2),
        ("foreign_keys", 1),
        ("trusted_schema", 0),
        ("busy_timeout", 5000),
    ] {
        assert_eq!(text(name), rusqlite::types::Value::Integer(value), "{name}");
    }
    assert_eq!(
        text("journal_mode"),
        rusqlite::types::Value::Text("wal".to_owned())
    );
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, path) = folder();
    let mut registry = open(&path);
    registry.import(keys(&[1]), change()).unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(
            file.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{file:?}"
        );
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort_unstable();
    let beside = ["-reserve", "-shm", "-wal"].map(|end| format!("keyward.db{end}"));
    assert_eq!(
        names.split_first(),
        Some((&"keyward.db".to_owned(), &beside[..]))
    );
}

#[test]
fn the_reserve_is_kept_and_given_back_to_what_takes_away_alone() {
    let (_folder, path) = folder();
    let mut registry = open(&path);
    registry.import(keys(&[1]), change()).unwrap();
    let reserve = path.with_file_name("keyward.db-reserve");
    let length = || fs::metadata(&reserve).unwrap().len();
    assert_eq!(length(), RESERVE_BYTES);
    let full = |registry: &mut SqliteRegistry, kind, times| {
        let mut left = times;
        registry.change(change(), |change| {
            change
                .events
                .append(kind, Subject::Nothing { id: None }, (None, None))?;
            // Where the disk is full for so many attempts, the last of them ends well.
            left -= 1;
            match left {
                0 => Ok(()),
                _ => Err(SqliteError::Full),
            }
        })
    };
    // No event is told of an attempt that failed.
    full(&mut registry, KeyEventKind::Suspended, 3).unwrap();
    assert_eq!(length(), RESERVE_BYTES - (2 << 18));
    assert_eq!(registry.last_event().unwrap(), 2);
    // What gives is refused at once, and an end comes also to what takes away.
    full(&mut registry, KeyEventKind::Resumed, 2).unwrap_err();
    assert_eq!(length(), RESERVE_BYTES - (2 << 18));
    full(&mut registry, KeyEventKind::Suspended, 1_000).unwrap_err();
    assert_eq!((length(), registry.last_event().unwrap()), (0, 2));
    drop(open(&path));
    assert_eq!(length(), RESERVE_BYTES);
}
