//! A policy's settings: canonical JSON (RFC 8785) for the policy, and the way back from a JSON
//! pointer (RFC 6901) to the place in the file, for the policy's own complaints.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};
use toml::value::Datetime;

use crate::timestamp::{Timestamp, TimestampError};

use super::SETTINGS_DEPTH_MAX;
use super::problem::{ConfigError, Problems};
use crate::shown::shown;

/// The largest integer that every reader of JSON takes for the same number.
const INTEGER_MAX: i64 = (1 << 53) - 1;

/// Settings as read from the file.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) json: Arc<str>,
    spot: Arc<Spot>,
}

/// Where a value stands, and where those in it stand.
#[derive(Debug)]
struct Spot {
    /// The byte at which it begins: its key's for a member of a table.
    offset: usize,
    below: Below,
}

#[derive(Debug)]
enum Below {
    List(Vec<Spot>),
    Nothing,
    Table(BTreeMap<String, Spot>),
}

impl Settings {
    /// No settings; every pointer leads to the header of the policy.
    pub(super) fn none(offset: usize) -> Self {
        Self {
            json: "{}".into(),
            spot: Arc::new(Spot {
                offset,
                below: Below::Nothing,
            }),
        }
    }

    /// Reads a `[policy.settings]` table that begins at a byte.
    pub(super) fn read(table: &DeTable<'_>, offset: usize, problems: &mut Problems) -> Self {
        let mut reader = Reader { problems, depth: 0 };
        let (json, below) = reader.table(table);
        // Without floats and with text keys there is nothing that cannot be written.
        let json = serde_json_canonicalizer::to_string(&json).unwrap_or_default();
        Self {
            json: json.into(),
            spot: Arc::new(Spot { offset, below }),
        }
    }

    /// The byte at which the value of a JSON pointer stands, or else the nearest one around it.
    pub(super) fn offset_of(&self, pointer: &str) -> usize {
        let mut spot = &*self.spot;
        for token in pointer.split('/').skip(1) {
            let below = match &spot.below {
                Below::Table(members) => members.get(&token.replace("~1", "/").replace("~0", "~")),
                Below::List(items) => token.parse().ok().and_then(|at: usize| items.get(at)),
                Below::Nothing => None,
            };
            match below {
                Some(below) => spot = below,
                None => break,
            }
        }
        spot.offset
    }
}

/// Turns TOML into JSON. The depth is bounded, so that it may call itself.
struct Reader<'p> {
    problems: &'p mut Problems,
    depth: usize,
}

impl Reader<'_> {
    fn table(&mut self, table: &DeTable<'_>) -> (Value, Below) {
        let mut json = Map::new();
        let mut spots = BTreeMap::new();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let (value, below) = self.value(&name, value);
            json.insert(name.clone(), value);
            spots.insert(
                name,
                Spot {
                    offset: key.span().start,
                    below,
                },
            );
        }
        (Value::Object(json), Below::Table(spots))
    }

    fn list(&mut self, key: &str, items: &DeArray<'_>) -> (Value, Below) {
        let mut json = Vec::new();
        let mut spots = Vec::new();
        for item in items.iter() {
            let (value, below) = self.value(key, item);
            json.push(value);
            spots.push(Spot {
                offset: item.span().start,
                below,
            });
        }
        (Value::Array(json), Below::List(spots))
    }

    fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> (Value, Below) {
        if self.depth >= SETTINGS_DEPTH_MAX {
            self.problems
                .note(value.span().start, ConfigError::SettingDepth);
            return (Value::Null, Below::Nothing);
        }
        self.depth = self.depth.saturating_add(1);
        let read = match value.get_ref() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(items) => self.list(key, items),
            scalar => {
                let value = read_scalar(key, scalar).unwrap_or_else(|error| {
                    self.problems.note(value.span().start, error);
                    Value::Null
                });
                (value, Below::Nothing)
            }
        };
        self.depth = self.depth.saturating_sub(1);
        read
    }
}

/// A value that holds no other.
fn read_scalar(key: &str, value: &DeValue<'_>) -> Result<Value, ConfigError> {
    match value {
        DeValue::String(text) => Ok(Value::String(text.to_string())),
        DeValue::Boolean(flag) => Ok(Value::Bool(*flag)),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|integer| (-INTEGER_MAX..=INTEGER_MAX).contains(integer))
            .map(Value::from)
            .ok_or_else(|| ConfigError::SettingInteger(shown(key))),
        DeValue::Datetime(time) => match read_time(time) {
            Ok(time) => Ok(Value::String(time.to_string())),
            Err(error) => Err(ConfigError::SettingTime(shown(key), error)),
        },
        // Tables and lists are not scalars and never get here.
        DeValue::Float(_) | DeValue::Array(_) | DeValue::Table(_) => {
            Err(ConfigError::SettingFloat(shown(key)))
        }
    }
}

/// An instant in UTC. TOML also has times without an offset, which name no instant, and lets the
/// seconds be left out.
fn read_time(time: &Datetime) -> Result<Timestamp, TimestampError> {
    let mut time = *time;
    if let Some(time) = &mut time.time {
        time.second.get_or_insert(0);
    }
    Timestamp::parse(&time.to_string())
}

#[cfg(test)]
mod tests;
