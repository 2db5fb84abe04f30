//! `keyward.toml`: what a host is made of, read once and checked in full.
//!
//! Every problem is found in one reading, each with its line and column. Nothing is opened but the
//! file itself: whether modules load and paths exist is for those who use them to say.

pub mod governance;
mod implications;
mod limits;
pub mod policy;
pub mod problem;
mod section;
pub mod server;
mod settings;
pub mod source;
pub(crate) mod suggest;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::lexer::TokenKind;

use crate::governance::control::{CONTROL_SCOPES, SELF_ROTATE};
use crate::governance::principal::Principal;
use crate::governance::rules::KeyRules;
use crate::key::catalogue::Catalogue;
use crate::key::grant::Implications;
use crate::key::json::KeyOptions;
use crate::log::{
    CHECKPOINT_INTERVAL_DEFAULT_MS, CHECKPOINT_INTERVAL_MAX_MS, Durability, is_origin,
};
use crate::policy::{Limits, REUSE_MAX_BYTES, ReuseOptions};
use crate::route::{Route, RouteError, RouteProblem, RouteTable};
use crate::timestamp::{DAY_MS, Timestamp};

use governance::GovernanceConfig;
use policy::PolicyConfig;
use problem::{ConfigError, ConfigErrors, Problems};
use section::{Bounds, Section, note_type, read_text};
use server::ServerConfig;
use source::Source;

/// The longest configuration file, in bytes.
pub const CONFIG_MAX_BYTES: usize = 1024 * 1024;
/// The longest text of a key, in bytes; settings are free.
pub const TEXT_MAX_BYTES: usize = 4_096;
/// The most policies of a set.
pub const POLICIES_MAX: usize = 64;
/// The longest name of a policy, in bytes.
pub const POLICY_NAME_MAX_BYTES: usize = 64;
/// The most parts of a dotted key.
pub const KEY_PARTS_MAX: usize = 16;
/// The most days that entries of the log are kept by a policy: a hundred years.
pub const KEEP_MAX_DAYS: u64 = 36_500;
/// How deep settings may be nested.
pub const SETTINGS_DEPTH_MAX: usize = 32;

/// A whole `keyward.toml`. Every path in it is resolved: relative to the file, not to the process.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from.
    pub file: Arc<Path>,
    /// `[registry]`.
    pub registry: RegistryConfig,
    /// `[log]`.
    pub log: LogConfig,
    /// `[governance]`.
    pub governance: GovernanceConfig,
    /// Every `[[principal]]`; none: whoever may write the registry may change keys.
    pub principals: Vec<Principal>,
    /// `[limits]`: the defaults of every policy.
    pub limits: Limits,
    /// `[reuse]`: how much is reused, and how closely that is watched.
    pub reuse: ReuseOptions,
    /// Every `[[route]]`, in order.
    pub routes: RouteTable,
    /// Every `[[policy]]`, in order: 1 to [`POLICIES_MAX`], at least one in mode `enforce`.
    pub policies: Vec<PolicyConfig>,
    /// `[server]`; `None`: this configuration serves nobody.
    pub server: Option<ServerConfig>,
}

/// `[registry]`: where keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryConfig {
    /// What keeps them.
    pub source: RegistrySource,
    /// Whether a key may be allowed from every network (`/0`).
    pub allow_any_network: bool,
}

/// What keeps the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrySource {
    /// `path`: a database that keyward writes.
    Database(PathBuf),
    /// `keys`: a file of JSON Lines that keyward only reads.
    JsonLines(PathBuf),
    /// `keys`: a file of TOML, each key a `[[key]]`, that keyward only reads.
    Toml(PathBuf),
}

/// `[log]`: where decisions are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The folder.
    pub path: PathBuf,
    /// The log's name in every checkpoint.
    pub origin: Arc<str>,
    /// When a decision is answered.
    pub durability: Durability,
    /// The most that a power cut may lose, in ms: 1 to 10,000, by default 50.
    pub sync_interval_ms: u64,
    /// The file with the keys that sign its checkpoints; by default `log.key`.
    pub key: PathBuf,
    /// Whether the configuration names that file: it has to be there then. By default a log is
    /// signed as soon as it is.
    pub is_key_required: bool,
    /// Whether checkpoints have an ML-DSA-44 signature beside the Ed25519 one.
    pub has_ml_dsa: bool,
    /// The tlog-policy file that names the witnesses to ask, those with a URL; `None`: none.
    pub witnesses: Option<PathBuf>,
    /// How often a checkpoint is made when there is something new, in ms: 1 to 60,000, by default
    /// 1,000.
    pub checkpoint_interval_ms: u64,
    /// How long entries are kept; `None`: for ever.
    pub retention: Option<RetentionConfig>,
}

/// `[log.retention]`: how long the log's entries are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    /// How many days: 1 to [`KEEP_MAX_DAYS`].
    pub keep_days: u64,
    /// The policy that says so, in its author's words, which the log records.
    pub policy: Arc<str>,
}

impl RetentionConfig {
    /// Entries older than this need not be kept.
    #[must_use]
    pub fn before(&self, now: Timestamp) -> Timestamp {
        let keep_ms = self.keep_days.saturating_mul(24 * 60 * 60 * 1_000);
        now.before_ms(keep_ms)
    }
}

impl Config {
    /// The file with the key that signs as governance.
    #[must_use]
    pub fn governance_key(&self) -> PathBuf {
        let named = self.governance.key.clone();
        named.unwrap_or_else(|| self.log.key.with_file_name(governance::KEY_FILE))
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigErrors`]: the file cannot be read, or everything that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::parse(&read_file(path)?, path)
    }

    /// The scopes that there are: those that routes require, those of `[governance]`, and where it
    /// says which there are at all, those of keyward's own that are of use.
    #[must_use]
    pub fn catalogue(&self) -> Catalogue {
        let routes = self.routes.scopes();
        let catalogue = Catalogue::new(routes.chain(&self.governance.scopes).cloned());
        let has_admin = self.server.as_ref().is_some_and(|it| it.admin);
        let control = CONTROL_SCOPES.into_iter().filter(|_| has_admin);
        let own = Some(SELF_ROTATE).filter(|_| self.governance.self_rotation);
        let own: Vec<_> = control.chain(own).map(Arc::from).collect();
        catalogue.with(&own)
    }

    /// The rules that changes of keys are checked by.
    #[must_use]
    pub fn key_rules(&self) -> KeyRules {
        let governance = &self.governance;
        let grace_ms = governance.self_rotation_grace_days.saturating_mul(DAY_MS);
        KeyRules {
            principals: self.principals.clone(),
            catalogue: self.catalogue(),
            implications: self.implications(),
            max_lifetime_days: governance.max_lifetime_days,
            order_ms: governance.order_hours.saturating_mul(60 * 60 * 1_000),
            self_rotation_grace_ms: governance.self_rotation.then_some(grace_ms),
            options: KeyOptions {
                allow_any_network: self.registry.allow_any_network,
            },
        }
    }

    /// Which action implies another when grants are compared: what the policies agree on that have
    /// a setting `implies`; nothing where there is none of them.
    #[must_use]
    pub fn implications(&self) -> Implications {
        implications::of(&self.policies)
    }

    /// Checks a text as if it stood in the file `path`, which is not opened.
    ///
    /// # Errors
    /// [`ConfigErrors`]: everything that is wrong. What is not TOML is reported alone, since the
    /// rest cannot be told from it.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigErrors> {
        let (parts, errors) = ConfigParts::parse(text, path);
        match (parts.whole(path), errors) {
            (Some(config), None) => Ok(config),
            (_, Some(errors)) => Err(errors),
            // What is missing was noted.
            (None, None) => Err(ConfigErrors::of_file(path, ConfigError::TooLarge)),
        }
    }
}

/// What of a file could be read, for those who want to report more than its first layer of
/// problems.
#[derive(Clone, Debug, Default)]
pub struct ConfigParts {
    /// `[registry]`.
    pub registry: Option<RegistryConfig>,
    /// `[log]`.
    pub log: Option<LogConfig>,
    limits: Limits,
    reuse: ReuseOptions,
    routes: Option<RouteTable>,
    /// Every `[[policy]]` that could be read.
    pub policies: Vec<PolicyConfig>,
    governance: GovernanceConfig,
    principals: Vec<Principal>,
    server: Option<ServerConfig>,
}

impl ConfigParts {
    /// Reads a file as far as it can be read.
    #[must_use]
    pub fn load(path: &Path) -> (Self, Option<ConfigErrors>) {
        match read_file(path) {
            Ok(text) => Self::parse(&text, path),
            Err(errors) => (Self::default(), Some(errors)),
        }
    }

    fn whole(self, path: &Path) -> Option<Config> {
        Some(Config {
            file: path.into(),
            registry: self.registry?,
            log: self.log?,
            limits: self.limits,
            reuse: self.reuse,
            routes: self.routes?,
            policies: self.policies,
            governance: self.governance,
            principals: self.principals,
            server: self.server,
        })
    }

    fn parse(text: &str, path: &Path) -> (Self, Option<ConfigErrors>) {
        if text.len() > CONFIG_MAX_BYTES {
            let errors = ConfigErrors::of_file(path, ConfigError::TooLarge);
            return (Self::default(), Some(errors));
        }
        let source = Source::new(text, path);
        let mut problems = Problems::default();
        if let Some(offset) = long_key(source.text(), KEY_PARTS_MAX) {
            problems.note(offset, ConfigError::KeyParts);
            return (Self::default(), Some(problems.finish(&source)));
        }
        let (root, errors) = DeTable::parse_recoverable(source.text());
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            problems.note(offset, ConfigError::Syntax(error.message().to_owned()));
        }
        // What is not TOML is reported alone, since the rest cannot be told from it.
        let parts = if problems.is_empty() {
            read_root(root.get_ref(), &source, &mut problems)
        } else {
            Self::default()
        };
        let errors = (!problems.is_empty()).then(|| problems.finish(&source));
        (parts, errors)
    }
}

/// Where a dotted key has too many parts. The parser bounds the depth of inline tables and the
/// parts of each key, but not their product, and its trees are dropped by recursion: a file of 12
/// KiB would overflow the stack. Its own lexer finds such a key before there is a tree.
pub(crate) fn long_key(text: &str, parts_max: usize) -> Option<usize> {
    let mut dots = 0_usize;
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot if dots.saturating_add(1) >= parts_max => {
                return Some(token.span().start());
            }
            TokenKind::Dot => dots = dots.saturating_add(1),
            TokenKind::Atom
            | TokenKind::BasicString
            | TokenKind::LiteralString
            | TokenKind::MlBasicString
            | TokenKind::MlLiteralString
            | TokenKind::Whitespace => {}
            _ => dots = 0,
        }
    }
    None
}

/// The text of a file within its limit.
fn read_file(path: &Path) -> Result<String, ConfigErrors> {
    let whole = |error| ConfigErrors::of_file(path, error);
    let read = |error: std::io::Error| whole(ConfigError::Read(error.kind()));
    let mut bytes = Vec::new();
    let limit = u64::try_from(CONFIG_MAX_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    File::open(path)
        .map_err(read)?
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(read)?;
    if bytes.len() > CONFIG_MAX_BYTES {
        return Err(whole(ConfigError::TooLarge));
    }
    String::from_utf8(bytes).map_err(|_| whole(ConfigError::NotUtf8))
}

/// Reads the whole file; a part is missing only if a problem was noted.
fn read_root(root: &DeTable<'_>, source: &Source, problems: &mut Problems) -> ConfigParts {
    let mut root = Section::new(root, "the file", 0);
    let registry = match root.section("registry", "[registry]", problems) {
        Some(section) => read_registry(section, &source.file, problems),
        None => note_absent(&mut root, "registry", "[registry]", problems),
    };
    let log = match root.section("log", "[log]", problems) {
        Some(section) => read_log(section, &source.file, problems),
        None => note_absent(&mut root, "log", "[log]", problems),
    };
    let limits = match root.section("limits", "[limits]", problems) {
        Some(section) => limits::read(Limits::default(), section, problems),
        None => Limits::default(),
    };
    let reuse = match root.section("reuse", "[reuse]", problems) {
        Some(section) => read_reuse(section, problems),
        None => ReuseOptions::default(),
    };
    let routes = read_routes(root.sections("route", "[[route]]", problems), problems);
    let policies = root.sections("policy", "[[policy]]", problems);
    let policies = policy::read(policies, limits, source, problems);
    let governance = root.section("governance", "[governance]", problems);
    let governance = governance.map(|section| governance::read(section, &source.file, problems));
    let principals = root.sections("principal", "[[principal]]", problems);
    let principals = governance::read_principals(principals, problems);
    let server = root.section("server", "[server]", problems);
    let server = server.map(|section| server::read(section, &source.file, problems));
    root.finish(problems);
    ConfigParts {
        registry,
        log,
        limits,
        reuse,
        routes,
        policies,
        governance: governance.unwrap_or_default(),
        principals,
        server,
    }
}

/// Notes that a table is not there, unless something else stands in its place.
fn note_absent<T>(
    root: &mut Section<'_, '_>,
    key: &'static str,
    name: &'static str,
    problems: &mut Problems,
) -> Option<T> {
    if root.value(key).is_none() {
        problems.note(0, ConfigError::MissingSection(name));
    }
    None
}

fn read_registry(
    mut section: Section<'_, '_>,
    file: &Path,
    problems: &mut Problems,
) -> Option<RegistryConfig> {
    let is_given = |section: &mut Section<'_, '_>, key| section.value(key).is_some();
    let has_path = is_given(&mut section, "path");
    let has_keys = is_given(&mut section, "keys");
    let path = section.text("path", problems);
    let keys = section.text("keys", problems);
    let allow_any_network = section.flag("allow_any_network", problems);
    if has_path && has_keys {
        problems.note(section.offset(), ConfigError::BothRegistries);
    } else if !has_path && !has_keys {
        problems.note(section.offset(), ConfigError::NoRegistry);
    }
    section.finish(problems);
    let source = match (path, keys) {
        (Some(path), _) => RegistrySource::Database(beside(file, path.value)),
        (None, keys) => {
            let keys = keys?;
            let path = beside(file, keys.value);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("jsonl") => RegistrySource::JsonLines(path),
                Some("toml") => RegistrySource::Toml(path),
                _ => {
                    problems.note(keys.offset, ConfigError::KeysFormat);
                    return None;
                }
            }
        }
    };
    Some(RegistryConfig {
        source,
        allow_any_network,
    })
}

fn read_log(
    mut section: Section<'_, '_>,
    file: &Path,
    problems: &mut Problems,
) -> Option<LogConfig> {
    const DURABILITIES: [(&str, Durability); 2] = [
        ("written", Durability::Written),
        ("durable", Durability::Durable),
    ];
    const SYNC_INTERVAL: Bounds = Bounds {
        key: "sync_interval_ms",
        least: 1,
        most: 10_000,
    };
    const SIGNATURES: [(&str, bool); 2] = [("ed25519+ml-dsa-44", true), ("ed25519", false)];
    const CHECKPOINT_INTERVAL: Bounds = Bounds {
        key: "checkpoint_interval_ms",
        least: 1,
        most: CHECKPOINT_INTERVAL_MAX_MS,
    };
    let path = section.required_text("path", problems);
    let origin = section.required_text("origin", problems);
    let key = section.text("key", problems);
    let witnesses = section.text("witnesses", problems);
    let has_ml_dsa = section.choice("signatures", &SIGNATURES, problems);
    let default = CHECKPOINT_INTERVAL_DEFAULT_MS;
    let checkpoint_interval_ms = section.number(CHECKPOINT_INTERVAL, default, problems);
    let durability = section.choice("durability", &DURABILITIES, problems);
    let sync_interval_ms = section.number(SYNC_INTERVAL, 50, problems);
    let retention = section.section("retention", "[log.retention]", problems);
    let retention = retention.and_then(|section| read_retention(section, problems));
    section.finish(problems);
    let origin = origin.filter(|origin| {
        let is_sound = is_origin(origin.value);
        if !is_sound {
            problems.note(origin.offset, ConfigError::Origin);
        }
        is_sound
    });
    Some(LogConfig {
        path: beside(file, path?.value),
        origin: origin?.value.into(),
        durability: durability?,
        sync_interval_ms,
        key: beside(file, key.map_or("log.key", |key| key.value)),
        is_key_required: key.is_some(),
        has_ml_dsa: has_ml_dsa?,
        witnesses: witnesses.map(|file_name| beside(file, file_name.value)),
        checkpoint_interval_ms,
        retention,
    })
}

fn read_retention(
    mut section: Section<'_, '_>,
    problems: &mut Problems,
) -> Option<RetentionConfig> {
    const KEEP: Bounds = Bounds {
        key: "keep_days",
        least: 1,
        most: KEEP_MAX_DAYS,
    };
    let keep_days = section
        .required("keep_days", problems)
        .map(|_| section.number(KEEP, KEEP_MAX_DAYS, problems));
    let policy = section.required_text("policy", problems);
    section.finish(problems);
    Some(RetentionConfig {
        keep_days: keep_days?,
        policy: policy?.value.into(),
    })
}

fn read_reuse(mut section: Section<'_, '_>, problems: &mut Problems) -> ReuseOptions {
    const MEMORY: Bounds = Bounds {
        key: "memory_mib",
        least: 0,
        most: REUSE_MAX_BYTES >> 20,
    };
    const CHECK_EVERY: Bounds = Bounds {
        key: "check_every",
        least: 0,
        most: 1_000_000_000,
    };
    let default = ReuseOptions::default();
    let options = ReuseOptions {
        memory_bytes: section.number(MEMORY, default.memory_bytes >> 20, problems) << 20,
        check_every: section.number(CHECK_EVERY, default.check_every, problems),
    };
    section.finish(problems);
    options
}

/// Reads and compiles every `[[route]]`.
fn read_routes(sections: Vec<Section<'_, '_>>, problems: &mut Problems) -> Option<RouteTable> {
    let mut routes = Vec::new();
    // Of each route: its number in the file, and where its keys stand.
    let mut places = Vec::new();
    for (number, mut section) in sections.into_iter().enumerate() {
        let methods = section
            .required("method", problems)
            .and_then(|value| read_methods(value, problems).map(|it| (it, value.span().start)));
        let has_host = section.value("host").is_some();
        let host = section.text("host", problems);
        let path = section.required_text("path", problems);
        let scope = section.required_text("scope", problems);
        let allow_parameters = section.flag("allow_parameters", problems);
        section.finish(problems);
        // Without a host that cannot be read, it would be another route.
        let is_whole = has_host == host.is_some();
        if let (Some((methods, method_offset)), Some(path), Some(scope), true) =
            (methods, path, scope, is_whole)
        {
            let keys = [
                ("method", method_offset),
                ("host", host.map_or(path.offset, |host| host.offset)),
                ("path", path.offset),
                ("scope", scope.offset),
            ];
            places.push((number, keys));
            routes.push(Route {
                methods,
                host: host.map(|host| host.value.to_owned()),
                path: path.value.to_owned(),
                scope: scope.value.to_owned(),
                allow_parameters,
            });
        }
    }
    let errors = match RouteTable::new(&routes) {
        Ok(table) => return Some(table),
        Err(errors) => errors.0,
    };
    for RouteError { route, mut problem } in errors {
        if let RouteProblem::Unreachable(earlier) = &mut problem {
            *earlier = places.get(*earlier).map_or(*earlier, |(number, _)| *number);
        }
        let mut keys = places.get(route).into_iter().flat_map(|(_, keys)| keys);
        let offset = keys
            .find(|(key, _)| *key == problem.key())
            .map_or(0, |(_, offset)| *offset);
        problems.note(offset, problem.into());
    }
    None
}

/// One method, or a list of them.
fn read_methods(value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Vec<String>> {
    let items = match value.get_ref() {
        DeValue::String(_) => {
            return read_text("method", value, problems).map(|text| vec![text.value.to_owned()]);
        }
        DeValue::Array(items) => items,
        _ => {
            note_type("method", "a string or a list of strings", value, problems);
            return None;
        }
    };
    let read = |item| read_text("method", item, problems).map(|text| text.value.to_owned());
    items.iter().map(read).collect()
}

/// A path of the file, relative to the folder that the file is in.
fn beside(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

#[cfg(test)]
mod tests;
