//! From `keyward.toml` to an authorizer, and keys that follow their file.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use keyward::authorizer::Authorizer;
use keyward::clock::{boot_ms, now};
use keyward::config::policy::{Builtin, ModuleSource, PolicyConfig};
use keyward::config::{Config, RegistrySource};
use keyward::credential::random::{Randomness as _, operating_system};
use keyward::decision::id::IdSource;
use keyward::key::json::{KeyOptions, read_keys};
use keyward::log::{Log, LogOptions, has_begun};
use keyward::policy::{ENGINE, Engine, Policy, PolicySet, PolicySpec};
use keyward::registry::lease::Lease;
use keyward::registry::memory::MemoryRegistry;
use keyward::rules::Rules;

/// How old the view of the keys may be before everything is denied, in ms.
const STALENESS_MAX_MS: u64 = 5_000;
/// How often the file of keys is looked at, in ms.
const LOOK_EVERY_MS: u64 = 200;

/// The keys of a file, in memory.
pub(crate) struct Keys {
    file: PathBuf,
    text: Vec<u8>,
    memory: Arc<MemoryRegistry>,
    lease: Arc<Lease>,
}

/// What decides, as the configuration says, and the keys that it decides on.
pub(crate) fn authorizer(config: &Config) -> Result<(Authorizer, Keys), Box<dyn Error>> {
    let engine = Engine::new(None)?;
    let policies = config.policies.iter().map(|it| policy(it, &engine));
    let policies = PolicySet::new(policies.collect::<Result<_, _>>()?)?.with_reuse(config.reuse);
    let options = LogOptions {
        origin: config.log.origin.to_string(),
        engine: ENGINE.to_owned(),
        policy_set: policies.digest(),
        durability: config.log.durability,
        ..LogOptions::default()
    };
    let folder = &config.log.path;
    let log = if has_begun(folder)? {
        Log::open(folder, options, now())?
    } else {
        Log::create(folder, options, now())?
    };
    let RegistrySource::JsonLines(file) = &config.registry.source else {
        return Err("write `keys = \"keys.jsonl\"` under [registry]".into());
    };
    let keys = Keys::open(file)?;
    let rules = Rules {
        routes: config.routes.clone(),
        policies,
    };
    let mut random = [0; 10];
    operating_system().fill(&mut random)?;
    let registry = Box::new(Arc::clone(&keys.memory));
    let authorizer = Authorizer::new(registry, rules, (log, IdSource::new(random)))?;
    Ok((authorizer, keys))
}

fn policy(config: &PolicyConfig, engine: &Engine) -> Result<Policy, Box<dyn Error>> {
    let module = match &config.module {
        ModuleSource::Builtin(Builtin::Ip) => keyward_policies::IP,
        ModuleSource::Builtin(Builtin::Rate) => keyward_policies::RATE,
        ModuleSource::Builtin(Builtin::Rotation) => keyward_policies::ROTATION,
        ModuleSource::Builtin(Builtin::Scope) => keyward_policies::SCOPE,
        ModuleSource::File(_) => return Err("this example has the built-in policies only".into()),
    };
    let spec = PolicySpec {
        name: Arc::clone(&config.name),
        mode: config.mode,
        module: module.into(),
        settings: Arc::clone(config.settings_json()),
        limits: config.limits,
    };
    Ok(Policy::load(engine, spec)?)
}

/// Takes over what changes in the file of keys, five times a second. A file that cannot be read
/// changes nothing, and denies everything once that has lasted.
pub(crate) fn follow(mut keys: Keys) {
    thread::spawn(move || {
        let mut told = None;
        loop {
            let problem = keys.look().err().map(|error| error.to_string());
            if let Some(problem) = problem.as_ref().filter(|_| problem != told) {
                eprintln!("`{}` is not followed: {problem}", keys.file.display());
            }
            told = problem;
            thread::sleep(Duration::from_millis(LOOK_EVERY_MS));
        }
    });
}

impl Keys {
    fn open(file: &Path) -> Result<Self, Box<dyn Error>> {
        let lease = Arc::new(Lease::new(STALENESS_MAX_MS, boot_ms));
        let none = MemoryRegistry::new(Vec::new())?.with_lease(Arc::clone(&lease));
        let mut keys = Self {
            file: file.to_owned(),
            text: Vec::new(),
            memory: Arc::new(none),
            lease,
        };
        keys.look()?;
        Ok(keys)
    }

    fn look(&mut self) -> Result<(), Box<dyn Error>> {
        let seen_ms = self.lease.now_ms();
        let text = std::fs::read(&self.file)?;
        if text != self.text {
            let keys = read_keys(&*text, KeyOptions::default())?;
            self.memory.replace(MemoryRegistry::new(keys)?);
            self.text = text;
        }
        self.lease.renew(seen_ms);
        Ok(())
    }
}
