//! The schema: every table and index is there as keyward made it, and nothing else.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{Check, Place, prepare, text};
use crate::registry::sqlite::SqliteError;
use crate::registry::sqlite::file::SCHEMA;

/// What SQLite has left in a file that was migrated: version 1 counted its events with it.
const SEQUENCE: [&str; 3] = [
    "table",
    "sqlite_sequence",
    "CREATE TABLE sqlite_sequence(name,seq)",
];

/// Something in a schema: its type and name, and its SQL; of what SQLite made by itself, nothing.
type Object = ((String, String), String);

impl<E: From<SqliteError>> Check<'_, E> {
    pub(super) fn schema(&mut self) -> Result<(), E> {
        let mut ours = made()?;
        for (object, sql) in objects(self.connection)? {
            let (kind, name) = &object;
            let problem = match ours.remove(&object) {
                Some(made) if made == sql => continue,
                Some(_) => format!("its {kind} `{name}` is not as keyward makes it"),
                None if [kind.as_str(), name.as_str(), sql.as_str()] == SEQUENCE => continue,
                None => format!("its {kind} `{name}` is none of keyward's"),
            };
            self.report(Place::File, problem)?;
        }
        for (kind, name) in ours.into_keys() {
            self.report(Place::File, format!("there is no {kind} `{name}`"))?;
        }
        Ok(())
    }
}

/// What keyward makes.
fn made() -> Result<BTreeMap<(String, String), String>, SqliteError> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(SCHEMA)?;
    Ok(objects(&connection)?.into_iter().collect())
}

fn objects(connection: &Connection) -> Result<Vec<Object>, SqliteError> {
    let mut statement = prepare(connection, "SELECT type, name, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| {
        let object = (text(row.get_ref(0)?), text(row.get_ref(1)?));
        let sql = row.get::<_, Option<String>>(2)?;
        Ok((object, sql.unwrap_or_default()))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
