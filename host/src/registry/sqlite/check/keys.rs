//! The keys: each row is the key that its record says, as its events made it; and lineages.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension as _, Row};

use super::{Check, Place, event_of, prepare, text};
use crate::digest::{Digest, DigestWriter};
use crate::key::KeyId;
use crate::key::event::{KeyEvent, KeyEventKind, Subject, import_line, secret_commitment};
use crate::key::state::State;
use crate::registry::sqlite::row::{Held, held_of};
use crate::registry::sqlite::{SqliteError, row};

/// How many imports are compared in one pass over the keys; each takes some 150 bytes.
const IMPORTS_PER_PASS: i64 = 10_000;
/// How many keys of one lineage may be usable: the newest, and the one before in its grace period.
const USABLE_MAX: u32 = 2;

const SELECT_KEYS: &str = concat!(
    "SELECT ",
    row::columns!(),
    ", predecessor, is_unused, first_event FROM key ORDER BY id"
);
const SELECT_KEY: &str = concat!(
    "SELECT ",
    row::columns!(),
    ", predecessor, is_unused, first_event FROM key WHERE id = ?1"
);
/// The newest key of each lineage.
const SELECT_NEWEST: &str = concat!(
    "SELECT ",
    row::columns!(),
    ", predecessor, is_unused, first_event FROM key AS newest
     WHERE predecessor IS NOT NULL
         AND NOT EXISTS (SELECT 1 FROM key WHERE key.predecessor = newest.id)"
);

/// What the events of a key say of it.
#[derive(Default)]
struct Life {
    /// The record that it had at first, where that was an event of this key alone or can be seen
    /// from the next.
    first: Option<Digest>,
    /// Its version and the record's digest, at last.
    last: Option<(u64, Digest)>,
    /// The commitment to its secret, at last; `None`: it has no event of its own.
    secret: Option<Option<Digest>>,
    is_activated: bool,
    /// The event of its own that made it.
    made: Option<KeyEvent>,
    problem: Option<String>,
}

/// Imports: how many keys each has to have, and the lines of those that were found.
type Imports = BTreeMap<i64, (u64, Digest, u64, DigestWriter)>;

impl<E: From<SqliteError>> Check<'_, E> {
    /// Checks every key, and that the imports brought exactly the keys that they tell of.
    pub(super) fn keys(&mut self) -> Result<(), E> {
        let mut from = 0;
        let mut is_first_pass = true;
        loop {
            let mut imports = self.imports(&mut from)?;
            if imports.is_empty() && !is_first_pass {
                return Ok(());
            }
            self.pass(&mut imports, is_first_pass)?;
            for (sequence, (count, digest, found, lines)) in imports {
                if found != count {
                    let problem = format!("it brought {count} keys, and {found} are there");
                    self.report(Place::Event(sequence), problem)?;
                } else if lines.finish() != digest {
                    let problem = "the keys that it brought are not those that are there";
                    self.report(Place::Event(sequence), problem)?;
                }
            }
            is_first_pass = false;
        }
    }

    fn pass(&mut self, imports: &mut Imports, is_first: bool) -> Result<(), E> {
        let connection = self.connection;
        let mut statement = prepare(connection, SELECT_KEYS)?;
        let mut rows = statement.query([]).map_err(SqliteError::from)?;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            let (held, first_event) = match with_first(row) {
                Ok(held) => held,
                Err(SqliteError::Row { id, problem }) => {
                    if is_first {
                        self.report(Place::Key(id), problem)?;
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let life = self.life(&held)?;
            if is_first {
                self.checked.keys = self.checked.keys.saturating_add(1);
                self.key(&held, first_event, &life)?;
            }
            if let Some((_, _, found, lines)) = imports.get_mut(&first_event) {
                let record = held.record();
                let first = life.first.unwrap_or_else(|| record.digest());
                *found = found.saturating_add(1);
                let line = import_line(&record.id, &first, held.key.secret());
                lines.write(line.as_bytes());
            }
        }
        Ok(())
    }

    /// One key beside its events.
    fn key(&mut self, held: &Held, first_event: i64, life: &Life) -> Result<(), E> {
        let record = held.record();
        let place = || Place::from(&record.id);
        if let Some(problem) = &life.problem {
            self.report(place(), problem.as_str())?;
        }
        let (version, digest) = life.last.unwrap_or((1, record.digest()));
        if (version, digest) != (record.version, record.digest()) {
            let problem = "its record is not the one that its last event led to";
            self.report(place(), problem)?;
        }
        let secret = held.key.secret().map(secret_commitment);
        if life.secret.is_some_and(|committed| committed != secret) {
            let problem = "the digest of its secret is not the one that its events commit to";
            self.report(place(), problem)?;
        }
        if held.is_unused != (held.predecessor.is_some() && !life.is_activated) {
            self.report(place(), "its column `is_unused` is not what its events say")?;
        }
        let is_made = match &life.made {
            None => {
                held.predecessor.is_none()
                    && self.kind_of(first_event)?.as_deref()
                        == Some(KeyEventKind::Imported.as_str())
            }
            Some(event) => {
                let kind = match held.predecessor {
                    None => KeyEventKind::Issued,
                    Some(_) => KeyEventKind::Succeeded,
                };
                let other = match &event.subject {
                    Subject::Key { other, .. } => *other,
                    _ => None,
                };
                u64::try_from(first_event) == Ok(event.sequence)
                    && event.kind == kind
                    && other == held.predecessor
            }
        };
        if !is_made {
            let problem = format!("event {first_event} did not make it, or not so");
            self.report(place(), problem)?;
        }
        if let Some(older) = held.predecessor
            && let Some((_, before)) = self.held(&older)?
            && before >= first_event
        {
            let problem = format!("it succeeds `{older}`, which is not older");
            self.report(place(), problem)?;
        }
        Ok(())
    }

    /// No lineage has more usable keys than two.
    pub(super) fn lineages(&mut self) -> Result<(), E> {
        let connection = self.connection;
        let mut statement = prepare(connection, SELECT_NEWEST)?;
        let mut rows = statement.query([]).map_err(SqliteError::from)?;
        while let Some(row) = rows.next().map_err(SqliteError::from)? {
            // What is no key is told already.
            let Ok((mut held, mut first)) = with_first(row) else {
                continue;
            };
            let newest = held.record().id;
            let mut usable = 0_u32;
            loop {
                let state = State::of(held.record(), held.is_unused, self.now);
                let is_usable = matches!(state, State::Pending | State::Active | State::Deprecated);
                usable = usable.saturating_add(u32::from(is_usable));
                let Some(older) = held.predecessor else { break };
                match self.held(&older)? {
                    // Ever older, so there is no circle.
                    Some((older, before)) if before < first => (held, first) = (older, before),
                    _ => break,
                }
            }
            if usable > USABLE_MAX {
                let problem = format!("{usable} keys of its lineage are usable at once");
                self.report(Place::from(&newest), problem)?;
            }
        }
        Ok(())
    }

    /// A key, and the event that made it.
    fn held(&self, id: &KeyId) -> Result<Option<(Held, i64)>, SqliteError> {
        let mut statement = self.connection.prepare_cached(SELECT_KEY)?;
        let held = statement.query_row([id.as_str()], |row| Ok(with_first(row)));
        match held.optional()?.transpose() {
            // What is no key is told already.
            Err(SqliteError::Row { .. }) => Ok(None),
            held => held,
        }
    }

    /// What the events of a key say.
    fn life(&self, held: &Held) -> Result<Life, SqliteError> {
        let id = held.record().id;
        let sql = "SELECT entry FROM key_event WHERE key_id = ?1 ORDER BY sequence";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([id.as_str()])?;
        let mut life = Life::default();
        while let Some(row) = rows.next()? {
            // What is no event is told already.
            if let Some((event, _)) = event_of(row.get_ref(0)?) {
                life.take(event);
            }
        }
        Ok(life)
    }

    /// The next imports.
    fn imports(&self, from: &mut i64) -> Result<Imports, SqliteError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, entry FROM key_event WHERE kind = 'imported' AND sequence > ?1
             ORDER BY sequence LIMIT ?2",
        )?;
        let mut rows = statement.query([*from, IMPORTS_PER_PASS])?;
        let mut imports = Imports::new();
        while let Some(row) = rows.next()? {
            *from = row.get(0)?;
            if let Some((event, _)) = event_of(row.get_ref(1)?)
                && let Subject::Keys { count, digest } = event.subject
            {
                imports.insert(*from, (count, digest, 0, DigestWriter::default()));
            }
        }
        Ok(imports)
    }
}

impl Life {
    fn take(&mut self, event: KeyEvent) {
        let Subject::Key {
            version,
            before,
            after,
            secret,
            ..
        } = event.subject
        else {
            return;
        };
        let sequence = event.sequence;
        let continues = match (before, self.last) {
            (None, None) => version == 1,
            (None, Some(_)) => false,
            // The first change of an imported key.
            (Some(_), None) => version == 2 || before == Some(after),
            // An order may leave a key that is suspended already as it is.
            (Some(before), Some((old, digest))) => {
                before == digest
                    && (version == old.saturating_add(1) || (version == old && after == digest))
            }
        };
        if !continues && self.problem.is_none() {
            let problem = format!("event {sequence} does not continue the one before");
            self.problem = Some(problem);
        }
        let is_kept = self.secret.is_none_or(|committed| committed == secret);
        if !is_kept && event.kind != KeyEventKind::SecretReplaced && self.problem.is_none() {
            let problem = format!("event {sequence} commits to another secret than the one before");
            self.problem = Some(problem);
        }
        self.secret = Some(secret);
        self.first = self.first.or(before).or(Some(after));
        self.last = Some((version, after));
        self.is_activated |= event.kind == KeyEventKind::Activated;
        if before.is_none() {
            self.made.get_or_insert(event);
        }
    }
}

/// A key and the event that made it, of a row that has both.
fn with_first(row: &Row<'_>) -> Result<(Held, i64), SqliteError> {
    let id = text(row.get_ref(0)?);
    let first = row.get(9).map_err(|_| SqliteError::Row {
        id,
        problem: "its column `first_event` is not a number".to_owned(),
    })?;
    Ok((held_of(row)?, first))
}
