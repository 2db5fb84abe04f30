//! What can be wrong with a configuration file: every problem, each with its place.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::address::AddressError;
use crate::digest::DigestError;
use crate::governance::principal::PRINCIPALS_MAX;
use crate::key::event::ACTOR_MAX_BYTES;
use crate::route::RouteProblem;
use crate::timestamp::TimestampError;

use super::source::{Position, Source};
use super::suggest::hint;
use crate::log::ORIGIN_MAX_BYTES;

use super::{
    CONFIG_MAX_BYTES, KEY_PARTS_MAX, POLICY_NAME_MAX_BYTES, SETTINGS_DEPTH_MAX, TEXT_MAX_BYTES,
};

/// The most problems that are reported at once; the others are counted.
pub const PROBLEMS_MAX: usize = 100;

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// What is wrong: at least one problem, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub left_out: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: Arc<Path>,
    /// Where in it; `None`: it is about the file as a whole.
    pub position: Option<Position>,
    /// What is wrong.
    pub error: ConfigError,
}

/// The kinds of problems.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not a scope that a request can need.
    #[error("`{0}` is not a scope; write `resource:action` without wildcards")]
    CatalogueScope(String),
    /// Not a grant.
    #[error("`{0}` is not a grant; write `resource:action`, for example `inventory.*:read`")]
    Grant(String),
    /// Keys of which only one may stand.
    #[error("[registry] has both `path` and `keys`; keep one of them")]
    BothRegistries,
    /// Not a number in the range.
    #[error("`{key}` is out of bounds; it can be from {least} to {most}")]
    Bounds {
        /// The key.
        key: String,
        /// The smallest value.
        least: u64,
        /// The largest value.
        most: u64,
    },
    /// A word that is none of a few.
    #[error("`{key}` cannot be `{found}`; write one of {known}{}", hint(*.nearest))]
    Choice {
        /// The key.
        key: &'static str,
        /// What stands there.
        found: String,
        /// What can stand there.
        known: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// Not the name of a header.
    #[error("this is not the name of a header; one is letters, digits and `-`")]
    HeaderName,
    /// Not a place to listen at.
    #[error("`listen` holds `ADDRESS:PORT`, for example `127.0.0.1:8180`, or `unix:PATH`")]
    Listen,
    /// Not a network.
    #[error(transparent)]
    Network(AddressError),
    /// A service that nobody may call.
    #[error(
        "nobody may call this [server]: write `caller_secret`, `allow_loopback = true`, a \
         `client_ca` under [server.tls], or `unix:PATH` in `listen`"
    )]
    NoCaller,
    /// A `sha256` that is none.
    #[error("`sha256` is {0}")]
    Digest(DigestError),
    /// A dotted key that no file needs.
    #[error("a dotted key has more than {KEY_PARTS_MAX} parts")]
    KeyParts,
    /// A file of keys of unknown format.
    #[error("`keys` has to name a file that ends in `.jsonl` or `.toml`")]
    KeysFormat,
    /// A key that has to stand there.
    #[error("`{key}` is missing in {section}")]
    Missing {
        /// The key.
        key: &'static str,
        /// The table that lacks it.
        section: &'static str,
    },
    /// A table that has to stand there.
    #[error("{0} is missing")]
    MissingSection(&'static str),
    /// A module from a place that policies are not loaded from.
    #[error("`{0}` is neither `builtin:` nor a path; policies are not loaded from elsewhere")]
    ModuleScheme(String),
    /// No policy that could allow anything.
    #[error("no [[policy]] is in mode `enforce`, so that every request would be denied")]
    NoEnforcingPolicy,
    /// Neither kind of registry.
    #[error("[registry] needs `path`, a database, or `keys`, a file of keys")]
    NoRegistry,
    /// Not UTF-8.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// An origin that a checkpoint cannot hold.
    #[error(
        "`origin` names the log for ever: 1 to {ORIGIN_MAX_BYTES} visible ASCII \
         characters without `+` and `://`, for example `keyward.example/gateway-1`"
    )]
    Origin,
    /// A policy's name that is none.
    #[error(
        "`{0}` is not a name for a policy; one is at most {POLICY_NAME_MAX_BYTES} of a-z, 0-9, `_` \
         and `-`, and starts with a letter or digit"
    )]
    PolicyName(String),
    /// Two policies of the same name.
    #[error("another [[policy]] is named `{0}` already")]
    PolicyNameTwice(String),
    /// The file cannot be read.
    #[error(
        "the file cannot be read: {0}; name another with --config, or make one with `keyward init`"
    )]
    Read(io::ErrorKind),
    /// A route that cannot stand in the table.
    #[error(transparent)]
    Route(#[from] RouteProblem),
    /// Settings deeper than any policy needs.
    #[error("settings are nested deeper than {SETTINGS_DEPTH_MAX} levels")]
    SettingDepth,
    /// A float in settings.
    #[error("`{0}` is a float; settings have none, since their bits differ between machines")]
    SettingFloat(String),
    /// An integer in settings that JSON readers do not agree on.
    #[error("`{0}` is out of bounds; an integer in settings can be from -(2^53-1) to 2^53-1")]
    SettingInteger(String),
    /// A time in settings that is none of keyward's.
    #[error("`{0}` is {1}")]
    SettingTime(String, TimestampError),
    /// A principal's name that is too long for key events.
    #[error("the name of a principal has at most {ACTOR_MAX_BYTES} bytes")]
    PrincipalName,
    /// Two principals with one name, or of one user.
    #[error("another [[principal]] is `{0}` already")]
    PrincipalTwice(String),
    /// More than anybody has.
    #[error("more than {PRINCIPALS_MAX} [[principal]]s")]
    TooManyPrincipals,
    /// A time that is none.
    #[error("`{key}` is {error}")]
    Time {
        /// The key.
        key: &'static str,
        /// Why it is none.
        error: TimestampError,
    },
    /// Not TOML.
    #[error("{0}")]
    Syntax(String),
    /// A text that is empty, too long or has control or format characters.
    #[error(
        "`{0}` has to be a text of 1 to {TEXT_MAX_BYTES} bytes without control or format characters"
    )]
    Text(&'static str),
    /// A file beyond the limit.
    #[error("the file is longer than {CONFIG_MAX_BYTES} bytes")]
    TooLarge,
    /// More tables of a kind than may be.
    #[error("there are more than {most} {section}")]
    TooMany {
        /// The table.
        section: &'static str,
        /// How many may be.
        most: usize,
    },
    /// A value of another type.
    #[error("`{key}` has to be {expected}, not {found}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A key that has no meaning there.
    #[error("unknown key `{key}` in {section}{}", hint(*.nearest))]
    UnknownKey {
        /// The key.
        key: String,
        /// The table that has it.
        section: &'static str,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
}

/// Collects problems while a file is read.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<(usize, ConfigError)>);

impl Problems {
    /// Notes a problem at a byte of the file.
    pub(super) fn note(&mut self, offset: usize, error: ConfigError) {
        self.0.push((offset, error));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems with their places, in the order of the file.
    pub(super) fn finish(mut self, source: &Source) -> ConfigErrors {
        self.0.sort_by_key(|(offset, _)| *offset);
        let left_out = self.0.len().saturating_sub(PROBLEMS_MAX);
        let located = |(offset, error)| Problem {
            file: Arc::clone(&source.file),
            position: Some(source.position(offset)),
            error,
        };
        let problems = self.0.into_iter().take(PROBLEMS_MAX).map(located).collect();
        ConfigErrors { problems, left_out }
    }
}

impl ConfigErrors {
    /// One problem with the file as a whole.
    pub(super) fn of_file(file: &Path, error: ConfigError) -> Self {
        let problem = Problem {
            file: file.into(),
            position: None,
            error,
        };
        Self {
            problems: vec![problem],
            left_out: 0,
        }
    }
}

impl fmt::Display for Problem {
    /// As compilers write it: `keyward.toml:12:5: …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(position) = self.position {
            write!(f, "{position}:")?;
        }
        write!(f, " {}", self.error)
    }
}

impl fmt::Display for ConfigErrors {
    /// One problem a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        if self.left_out > 0 {
            write!(f, "\nand {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl std::error::Error for ConfigErrors {}
