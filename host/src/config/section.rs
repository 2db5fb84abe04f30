//! A table of the file as it is read key by key: whoever reads a key makes it known, and the keys
//! that nobody read are the unknown ones.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::TEXT_MAX_BYTES;
use super::problem::{ConfigError, Problems};
use super::suggest::nearest;
use crate::shown::{is_misleading, shown};

/// A value, and the byte of the file at which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) offset: usize,
}

/// A number that may stand under a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) key: &'static str,
    pub(super) least: u64,
    pub(super) most: u64,
}

/// A table being read.
pub(super) struct Section<'t, 'i> {
    table: &'t DeTable<'i>,
    name: &'static str,
    offset: usize,
    known: Vec<&'static str>,
}

impl<'t, 'i> Section<'t, 'i> {
    /// A table, its name in errors and the byte at which its header begins.
    pub(super) const fn new(table: &'t DeTable<'i>, name: &'static str, offset: usize) -> Self {
        Self {
            table,
            name,
            offset,
            known: Vec::new(),
        }
    }

    /// The byte of the file at which the table's header begins.
    pub(super) const fn offset(&self) -> usize {
        self.offset
    }

    /// The table itself, for one whose keys are free.
    pub(super) const fn table(&self) -> &'t DeTable<'i> {
        self.table
    }

    /// A value of any type.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// A value of any type, noted as missing if it is.
    pub(super) fn required(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<&'t Spanned<DeValue<'i>>> {
        let value = self.value(key);
        if value.is_none() {
            problems.note(
                self.offset,
                ConfigError::Missing {
                    key,
                    section: self.name,
                },
            );
        }
        value
    }

    /// A text of 1 to [`TEXT_MAX_BYTES`] bytes without control or format characters.
    pub(super) fn text(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<At<&'t str>> {
        let value = self.value(key)?;
        read_text(key, value, problems)
    }

    /// A text that has to be there.
    pub(super) fn required_text(
        &mut self,
        key: &'static str,
        problems: &mut Problems,
    ) -> Option<At<&'t str>> {
        let value = self.required(key, problems)?;
        read_text(key, value, problems)
    }

    /// Yes or no; no when absent.
    pub(super) fn flag(&mut self, key: &'static str, problems: &mut Problems) -> bool {
        let Some(value) = self.value(key) else {
            return false;
        };
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            note_type(key, "true or false", value, problems);
        }
        flag.unwrap_or_default()
    }

    /// A number within its bounds; the default when absent.
    pub(super) fn number(&mut self, bounds: Bounds, default: u64, problems: &mut Problems) -> u64 {
        let Bounds { key, least, most } = bounds;
        let Some(value) = self.value(key) else {
            return default;
        };
        let Some(integer) = value.get_ref().as_integer() else {
            note_type(key, "an integer", value, problems);
            return default;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        number
            .filter(|number| (least..=most).contains(number))
            .unwrap_or_else(|| {
                let error = ConfigError::Bounds {
                    key: key.to_owned(),
                    least,
                    most,
                };
                problems.note(value.span().start, error);
                default
            })
    }

    /// One word of a few; the first when absent.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&'static str, T)],
        problems: &mut Problems,
    ) -> Option<T> {
        let Some(value) = self.value(key) else {
            return known.first().map(|(_, it)| *it);
        };
        let text = read_text(key, value, problems)?;
        let found = known.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            problems.note(
                text.offset,
                not_one_of(key, text.value, known.iter().map(|it| it.0)),
            );
        }
        found.map(|(_, it)| *it)
    }

    /// A table below this one.
    pub(super) fn section(
        &mut self,
        key: &'static str,
        name: &'static str,
        problems: &mut Problems,
    ) -> Option<Self> {
        let value = self.value(key)?;
        let table = value.get_ref().as_table();
        if table.is_none() {
            note_type(key, "a table", value, problems);
        }
        table.map(|table| Self::new(table, name, value.span().start))
    }

    /// Tables below this one, written `[[key]]`.
    pub(super) fn sections(
        &mut self,
        key: &'static str,
        name: &'static str,
        problems: &mut Problems,
    ) -> Vec<Self> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(items) = value.get_ref().as_array() else {
            note_type(
                key,
                "a list of tables, each under its own [[…]]",
                value,
                problems,
            );
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in items.iter() {
            match item.get_ref().as_table() {
                Some(table) => sections.push(Self::new(table, name, item.span().start)),
                None => note_type(
                    key,
                    "a list of tables, each under its own [[…]]",
                    item,
                    problems,
                ),
            }
        }
        sections
    }

    /// Ends the reading: every key that was not read is unknown.
    pub(super) fn finish(self, problems: &mut Problems) {
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !self.known.contains(&name) {
                let error = ConfigError::UnknownKey {
                    key: shown(name),
                    section: self.name,
                    nearest: nearest(name, self.known.iter().copied()),
                };
                problems.note(key.span().start, error);
            }
        }
    }
}

/// A text, checked like every text of the file.
pub(super) fn read_text<'t>(
    key: &'static str,
    value: &'t Spanned<DeValue<'_>>,
    problems: &mut Problems,
) -> Option<At<&'t str>> {
    let Some(text) = value.get_ref().as_str() else {
        note_type(key, "a string", value, problems);
        return None;
    };
    let offset = value.span().start;
    let is_sound = (1..=TEXT_MAX_BYTES).contains(&text.len()) && !text.chars().any(is_misleading);
    if !is_sound {
        problems.note(offset, ConfigError::Text(key));
    }
    is_sound.then_some(At {
        value: text,
        offset,
    })
}

/// Notes that a value is of another type.
pub(super) fn note_type(
    key: &'static str,
    expected: &'static str,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems,
) {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    problems.note(
        value.span().start,
        ConfigError::Type {
            key,
            expected,
            found,
        },
    );
}

/// The error for a word that is none of a few.
pub(super) fn not_one_of(
    key: &'static str,
    found: &str,
    known: impl Iterator<Item = &'static str> + Clone,
) -> ConfigError {
    let words: Vec<_> = known.clone().map(|word| format!("`{word}`")).collect();
    ConfigError::Choice {
        key,
        found: shown(found),
        known: words.join(", "),
        nearest: nearest(found, known),
    }
}
