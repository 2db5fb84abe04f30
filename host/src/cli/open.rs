//! From a configuration to an authorizer: modules, settings, keys, routes and the log.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};

use super::input::Input;
use super::{Failure, say};
use crate::authorizer::Authorizer;
use crate::clock;
use crate::config::policy::{Builtin, ModuleSource, PolicyConfig};
use crate::config::{Config, LogConfig, RegistryConfig, RegistrySource};
use crate::credential::random::{Randomness as _, operating_system};
use crate::decision::id::IdSource;
use crate::digest::Digest;
use crate::governance::follow::Follower;
use crate::governance::recorded::{RecordError, Told};
use crate::key::json::{
    CheckedKey, KEY_TOML_MAX_BYTES, KeyOptions, LineProblems, read_keys, read_toml,
};
use crate::log::{
    KeyFileError, Log, LogError, LogOptions, NO_POLICY_SET, Published, Publishing, Witnesses,
    has_begun, read_key_file,
};
use crate::policy::{
    ENGINE, Engine, EngineError, LoadError, MODULE_MAX_BYTES, Policy, PolicySet, PolicySpec,
};
use crate::registry::Registry;
use crate::registry::lease::Lease;
use crate::registry::memory::MemoryRegistry;
use crate::registry::sqlite::SqliteRegistry;
use crate::request::lines::WipedReader;
use crate::rules::Rules;
use crate::tlog::key::{KeyType, Signer};
use crate::tlog::policy::{POLICY_MAX_BYTES, Policy as TlogPolicy};
use crate::witness::HttpCourier;

/// Reads a configuration.
pub(super) fn config(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(Failure::usage)
}

/// The wasm engine, with the user's own cache of compiled code, or without one and a word on why.
pub(super) fn engine() -> Result<Engine, EngineError> {
    match Engine::new(cache_folder().as_deref()) {
        Err(error @ EngineError::Cache(_)) => {
            say(format_args!("{error}"));
            Engine::new(None)
        }
        other => other,
    }
}

/// `keyward` in the user's cache folder (XDG Base Directory Specification); `None`: no cache.
fn cache_folder() -> Option<PathBuf> {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
    };
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("keyward"))
}

/// Where keys come from, for as long as a host runs.
pub(super) struct KeySource {
    /// What follows a database.
    pub(super) follower: Option<Follower>,
    /// The keys of a file, to be replaced.
    pub(super) declared: Option<Arc<MemoryRegistry>>,
}

/// Everything that a configuration asks for, ready to decide what a file asks: each line of it has
/// its entry. No decision is made on a change that the log does not know, nor on a registry that is
/// not the one it knows.
pub(super) fn authorizer(config: &Config) -> Result<(Authorizer, KeySource), Failure> {
    // What is decided here is decided on the keys that there were when it began.
    let (authorizer, keys) = host(config, u64::MAX)?;
    Ok((authorizer.with_unknown_keys_per_second(None), keys))
}

/// Everything that a configuration asks for, ready to decide what a network asks, on a registry
/// that is followed.
pub(super) fn host(config: &Config, staleness_ms: u64) -> Result<(Authorizer, KeySource), Failure> {
    let (policies, log) = policies_and_log(config)?;
    let (keys, source) = match &config.registry.source {
        RegistrySource::Database(path) => {
            let lease = Lease::new(staleness_ms, clock::boot_ms);
            // It is opened on a full disk too: a host that denies everything still takes over what
            // is suspended.
            let opened = SqliteRegistry::open_to_restrict(path, key_options(&config.registry));
            let folder = config.log.path.clone();
            let begin = |registry| Follower::begin(registry, (&log, folder), clock::now, lease);
            let (follower, told) = opened
                .map_err(RecordError::from)
                .and_then(begin)
                .with_context(|| format!("registry `{}`", path.display()))
                .map_err(Failure::Storage)?;
            warn_of_other_log(config, told);
            let keys = follower.keys();
            let source = KeySource {
                follower: Some(follower),
                declared: None,
            };
            (keys, source)
        }
        RegistrySource::JsonLines(_) | RegistrySource::Toml(_) => {
            let keys = Arc::new(registry(&config.registry)?);
            let source = KeySource {
                follower: None,
                declared: Some(Arc::clone(&keys)),
            };
            (keys, source)
        }
    };
    Ok((assemble(config, Box::new(keys), (policies, log))?, source))
}

fn policies_and_log(config: &Config) -> Result<(PolicySet, Log), Failure> {
    let engine = engine().map_err(Failure::usage)?;
    let policies = policies(&config.policies, &engine)
        .map_err(|problems| {
            Failure::usage(anyhow!(
                "the policies do not load:\n{}",
                problems.join("\n")
            ))
        })?
        .with_reuse(config.reuse);
    let log = log(config, policies.digest())?;
    Ok((policies, log))
}

fn assemble(
    config: &Config,
    registry: Box<dyn Registry>,
    (policies, log): (PolicySet, Log),
) -> Result<Authorizer, Failure> {
    let mut random = [0; 10];
    operating_system()
        .fill(&mut random)
        .map_err(Failure::storage)?;
    let rules = Rules {
        routes: config.routes.clone(),
        policies,
    };
    Authorizer::new(registry, rules, (log, IdSource::new(random)))
        .map_err(|error| Failure::storage(anyhow!("the log takes nothing: {error}")))
}

/// How a host that has ended leaves its log.
pub(super) fn end(published: Published) -> Result<(), Failure> {
    if let Some(unwitnessed) = published.unwitnessed {
        say(unwitnessed);
    }
    let size = published.size;
    published.problem.map_or(Ok(()), |problem| {
        Err(Failure::storage(anyhow!(
            "the log is signed up to entry {size} only: {problem}; the next host that writes it \
             signs the rest"
        )))
    })
}

/// Loads every policy, or says what is wrong with each that does not load.
pub(super) fn policies(
    configured: &[PolicyConfig],
    engine: &Engine,
) -> Result<PolicySet, Vec<String>> {
    let mut loaded = Vec::new();
    let mut problems = Vec::new();
    for policy in configured {
        match module(policy).and_then(|module| load(policy, module, engine)) {
            Ok(policy) => loaded.push(policy),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() {
        PolicySet::new(loaded).map_err(|error| vec![error.to_string()])
    } else {
        Err(problems)
    }
}

fn load(policy: &PolicyConfig, module: Arc<[u8]>, engine: &Engine) -> Result<Policy, Vec<String>> {
    let spec = PolicySpec {
        name: Arc::clone(&policy.name),
        mode: policy.mode,
        module,
        settings: Arc::clone(policy.settings_json()),
        limits: policy.limits,
    };
    Policy::load(engine, spec).map_err(|error| match error {
        LoadError::Settings(problems) => problems
            .iter()
            .map(|problem| {
                let position = policy.locate(&problem.pointer);
                let place = format!("{}:{position}", policy.file().display());
                match problem.pointer.as_str() {
                    "" => format!("{place}: policy `{}`: {}", policy.name, problem.message),
                    pointer => format!(
                        "{place}: policy `{}`: setting `{pointer}`: {}",
                        policy.name, problem.message
                    ),
                }
            })
            .collect(),
        error => vec![at(policy, &error)],
    })
}

/// A module's bytes: one that is built in, or a file.
fn module(policy: &PolicyConfig) -> Result<Arc<[u8]>, Vec<String>> {
    let bytes: Arc<[u8]> = match &policy.module {
        ModuleSource::Builtin(builtin) => builtin_module(*builtin).into(),
        ModuleSource::File(path) => read_module(path)
            .map_err(|error| vec![at(policy, &format!("the module cannot be read: {error:#}"))])?,
    };
    let digest = Digest::of(&bytes);
    match policy.sha256 {
        Some(pinned) if pinned != digest => {
            let text = format!("the module has the digest {digest}, and `sha256` pins {pinned}");
            Err(vec![at(policy, &text)])
        }
        _ => Ok(bytes),
    }
}

fn read_module(path: &Path) -> anyhow::Result<Arc<[u8]>> {
    let bytes = read_limited(path, MODULE_MAX_BYTES);
    Ok(bytes
        .with_context(|| format!("`{}`", path.display()))?
        .into())
}

/// The canonical component of a module that is built in.
pub(super) const fn builtin_module(builtin: Builtin) -> &'static [u8] {
    match builtin {
        Builtin::Ip => keyward_policies::IP,
        Builtin::Rate => keyward_policies::RATE,
        Builtin::Rotation => keyward_policies::ROTATION,
        Builtin::Scope => keyward_policies::SCOPE,
    }
}

fn at(policy: &PolicyConfig, error: &dyn std::fmt::Display) -> String {
    let place = format!("{}:{}", policy.file().display(), policy.position());
    format!("{place}: policy `{}`: {error}", policy.name)
}

/// Says that the log is not the one that the registry knew.
pub(super) fn warn_of_other_log(config: &Config, told: Told) {
    if let Some(index) = told.other_log {
        say(format_args!(
            "warning: the registry knew a log `{}` with key events up to entry {index}, and this one \
             does not have them there: that log was deleted or restored from an older copy; \
             nobody had signed it",
            config.log.origin
        ));
    }
}

/// The keys of a configuration, in memory.
pub(super) fn registry(config: &RegistryConfig) -> Result<MemoryRegistry, Failure> {
    match &config.source {
        RegistrySource::Database(path) => SqliteRegistry::open_existing(path, key_options(config))
            .and_then(|registry| registry.load())
            .with_context(|| format!("registry `{}`", path.display()))
            .map_err(Failure::Storage),
        RegistrySource::JsonLines(_) | RegistrySource::Toml(_) => {
            MemoryRegistry::new(declared_keys(config)?).map_err(Failure::usage)
        }
    }
}

/// The keys that a file declares; none where a database keeps them.
pub(super) fn declared_keys(config: &RegistryConfig) -> Result<Vec<CheckedKey>, Failure> {
    match &config.source {
        RegistrySource::Database(_) => Ok(Vec::new()),
        RegistrySource::JsonLines(path) => key_file(path, key_options(config)),
        RegistrySource::Toml(path) => key_toml(path, key_options(config)),
    }
}

/// What an operator has switched on for keys.
pub(super) const fn key_options(config: &RegistryConfig) -> KeyOptions {
    KeyOptions {
        allow_any_network: config.allow_any_network,
    }
}

/// Reads keys from a file of JSON Lines, whole or not at all.
pub(super) fn key_file(path: &Path, options: KeyOptions) -> Result<Vec<CheckedKey>, Failure> {
    let file = Input::open(path)
        .with_context(|| format!("the keys `{}` cannot be read", path.display()))
        .map_err(Failure::Usage)?;
    read_keys(WipedReader::new(file), options).map_err(|problems| bad_keys(path, &problems))
}

/// Reads keys from a TOML file, whole or not at all.
pub(super) fn key_toml(path: &Path, options: KeyOptions) -> Result<Vec<CheckedKey>, Failure> {
    let mut text = String::new();
    // One byte over the limit is enough to be refused.
    let limit = (KEY_TOML_MAX_BYTES as u64).saturating_add(1);
    Input::open(path)
        .and_then(|file| file.take(limit).read_to_string(&mut text))
        .with_context(|| format!("the keys `{}` cannot be read", path.display()))
        .map_err(Failure::Usage)?;
    read_toml(&text, options).map_err(|problems| bad_keys(path, &problems))
}

fn bad_keys(path: &Path, problems: &LineProblems) -> Failure {
    Failure::usage(anyhow!(
        "the keys `{}` are refused as a whole:\n{problems}",
        path.display()
    ))
}

/// Who signs the log's checkpoints: nobody where the key file is neither named nor there.
pub(super) fn publishing(config: &LogConfig) -> Result<Option<Publishing>, Failure> {
    let is_absent = std::fs::symlink_metadata(&config.key)
        .is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if !config.is_key_required && is_absent {
        return Ok(None);
    }
    signed_by(config, signers(config)?).map(Some)
}

/// How a log is published that these keys sign.
pub(super) fn signed_by(config: &LogConfig, signers: Vec<Signer>) -> Result<Publishing, Failure> {
    let is_used = |signer: &Signer| {
        config.has_ml_dsa || signer.verifier().key_type() != KeyType::MlDsa44Cosignature
    };
    Ok(Publishing {
        signers: signers.into_iter().filter(is_used).collect(),
        interval_ms: config.checkpoint_interval_ms,
        clock: clock::now,
        witnesses: witnesses(config)?,
    })
}

/// Whom to ask to cosign.
fn witnesses(config: &LogConfig) -> Result<Option<Witnesses>, Failure> {
    let Some(path) = &config.witnesses else {
        return Ok(None);
    };
    let policy = tlog_policy(path)?;
    if policy
        .witnesses()
        .iter()
        .all(|witness| witness.url.is_none())
    {
        return Err(Failure::usage(anyhow!(
            "the witnesses `{}`: no line `witness <name> <vkey> <url>` says where to ask one",
            path.display()
        )));
    }
    Ok(Some(Witnesses {
        policy: Arc::new(policy),
        courier: Arc::new(HttpCourier::default()),
    }))
}

/// Reads a tlog-policy.
pub(super) fn tlog_policy(path: &Path) -> Result<TlogPolicy, Failure> {
    let bytes = read_limited(path, POLICY_MAX_BYTES)
        .with_context(|| format!("the policy `{}` cannot be read", path.display()))
        .map_err(Failure::Usage)?;
    TlogPolicy::parse(&bytes)
        .map_err(|error| Failure::usage(anyhow!("the policy `{}`: {error}", path.display())))
}

/// The bytes of a file, one more than the limit at most: what parses them refuses that.
pub(super) fn read_limited(path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = (limit as u64).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The keys of the log's key file.
pub(super) fn signers(config: &LogConfig) -> Result<Vec<Signer>, Failure> {
    let next = next_key(config);
    if next.exists() {
        return Err(Failure::usage(anyhow!(
            "`{}` is there: a rotation of the log's key was cut off; `keyward log rotate-key` ends it",
            next.display()
        )));
    }
    read_signers(&config.key)
}

/// Where a key is that is about to replace the log's.
pub(super) fn next_key(config: &LogConfig) -> PathBuf {
    config.key.with_added_extension("next")
}

/// The keys of a key file.
pub(super) fn read_signers(path: &Path) -> Result<Vec<Signer>, Failure> {
    let key = path.display();
    match read_key_file(path) {
        Ok(signers) => Ok(signers),
        Err(KeyFileError::Io(error)) if error.kind() == ErrorKind::NotFound => {
            Err(Failure::usage(anyhow!(
                "the log's key `{key}` is not there; make it with `keyward log init`, or restore it \
                 where the log was signed before"
            )))
        }
        Err(error) => Err(Failure::usage(anyhow!("the log's key `{key}`: {error}"))),
    }
}

fn log(config: &Config, policy_set: Digest) -> Result<Log, Failure> {
    signed_log(config, policy_set, publishing(&config.log)?)
}

/// Opens the log of a configuration for a command that decides nothing.
pub(super) fn kept_log(config: &Config) -> Result<Log, Failure> {
    signed_log(config, NO_POLICY_SET, publishing(&config.log)?)
}

/// Opens the log of a configuration, signed by any keys. One that nobody signs is created by who
/// first writes it; the folder of one that is signed can only have been lost.
pub(super) fn signed_log(
    config: &Config,
    policy_set: Digest,
    publishing: Option<Publishing>,
) -> Result<Log, Failure> {
    let options = options(config, policy_set, publishing);
    let (path, now) = (&config.log.path, clock::now());
    let is_signed = options.publishing.is_some();
    let opened = has_begun(path).and_then(|has_begun| match (has_begun, is_signed) {
        (true, _) => Log::open(path, options, now),
        (false, false) => Log::create(path, options, now),
        (false, true) => Err(LogError::NotBegun),
    });
    opened
        .with_context(|| format!("log folder `{}`", path.display()))
        .map_err(|error| match error.downcast_ref() {
            Some(LogError::NotBegun) => Failure::storage(anyhow!(
                "{error:#}; its key `{}` is there, and `keyward log init`, which makes the key, also \
                 creates the log: to begin another one, move `{}` and `{}` away and give it \
                 another `origin`",
                config.log.key.display(),
                config.log.key.display(),
                super::log::policy_path(&config.log.key).display(),
            )),
            _ => Failure::Storage(error),
        })
}

/// Creates the log of a configuration, signed, unless it has begun.
pub(super) fn create_log(config: &Config, signers: Vec<Signer>) -> Result<(), Failure> {
    let path = &config.log.path;
    let context = || format!("log folder `{}`", path.display());
    if has_begun(path)
        .with_context(context)
        .map_err(Failure::Storage)?
    {
        return Ok(());
    }
    let publishing = Some(signed_by(&config.log, signers)?);
    let options = options(config, NO_POLICY_SET, publishing);
    let log = Log::create(path, options, clock::now());
    let closed = log.with_context(context).map_err(Failure::Storage)?.close();
    closed.problem.map_or(Ok(()), |problem| {
        Err(Failure::storage(anyhow!("{}: {problem}", context())))
    })
}

fn options(config: &Config, policy_set: Digest, publishing: Option<Publishing>) -> LogOptions {
    LogOptions {
        origin: config.log.origin.to_string(),
        durability: config.log.durability,
        sync_interval_ms: config.log.sync_interval_ms,
        keyward_version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: ENGINE.to_owned(),
        policy_set,
        publishing,
        ..LogOptions::default()
    }
}
