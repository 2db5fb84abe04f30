//! `keyward serve`: the check service for gateways.

mod keys;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::anyhow;
use arc_swap::ArcSwap;
use clap::{Args, ValueEnum};
use parking_lot::Mutex;
use tracing_subscriber::filter::LevelFilter;

use super::{Failure, Status, open, print};
use crate::authorizer::Authorizer;
use crate::clock;
use crate::config::policy::ModuleSource;
use crate::config::{Config, RegistrySource};
use crate::governance::rules::KeyRules;
use crate::registry::memory::MemoryRegistry;
use crate::rules::Rules;
use crate::serve::{Hooks, RuleSource, openapi, run as serve};

use keys::Keys;

/// Arguments of `keyward serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// How the service tells of itself, on standard error
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
    /// Print the OpenAPI document of the Admin API, and serve nothing
    #[arg(long)]
    openapi: bool,
}

/// How the service tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For a person
    Text,
    /// JSON Lines
    Json,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward serve
  curl -i http://127.0.0.1:8180/check/forward -H 'X-API-Key: kw_live_...' \\
    -H 'X-Forwarded-Method: GET' -H 'X-Forwarded-Host: api.example.com' \\
    -H 'X-Forwarded-Uri: /inventory/42'

Where it listens, and who may call it, [server] in the configuration says. SIGHUP, or a change of
the configuration, makes it read routes and policies anew; SIGTERM ends it in good order.";

/// Runs the command.
pub(super) fn run(path: &Path, args: &ServeArgs) -> Result<Status, Failure> {
    if args.openapi {
        return print(&openapi());
    }
    let config = open::config(path)?;
    let Some(server) = &config.server else {
        return Err(Failure::usage(anyhow!(
            "`{}` has no [server], so that nobody could call; write\n\n[server]\nlisten = \
             [\"127.0.0.1:8180\"]\nallow_loopback = true\n\nor `caller_secret` in place of \
             `allow_loopback`, for callers on other machines",
            config.file.display()
        )));
    };
    begin_telling(args.log_format);
    let (authorizer, keys) = open::host(&config, server.max_staleness_ms)?;
    let rules = Arc::new(ArcSwap::from_pointee(config.key_rules()));
    let hooks = Hooks {
        keys: Some(Arc::new(Keys::new(&config, Arc::clone(&rules)))),
        clock: clock::now,
        durability: config.log.durability,
        follower: keys.follower,
        source: Box::new(ConfigFile {
            path: path.to_owned(),
            files: Mutex::new(Files::of(&config)),
            declared: keys.declared,
            rules,
        }),
    };
    let published = serve(server, authorizer, hooks).map_err(Failure::usage)?;
    open::end(published).map(|()| Status::Done)
}

/// The configuration, read anew when it has changed.
struct ConfigFile {
    path: PathBuf,
    files: Mutex<Files>,
    /// The keys that a file declares, which are read anew too.
    declared: Option<Arc<MemoryRegistry>>,
    /// What the Admin API goes by.
    rules: Arc<ArcSwap<KeyRules>>,
}

impl RuleSource for ConfigFile {
    fn has_changed(&self) -> bool {
        self.files.lock().have_changed(&self.path)
    }

    /// Takes over the routes, the policies, the declared keys and the principals. The rest needs
    /// another start.
    fn reload(&self, authorizer: &Authorizer) -> Result<(), String> {
        let config = open::config(&self.path).map_err(told)?;
        let engine = open::engine().map_err(|error| error.to_string())?;
        let policies = open::policies(&config.policies, &engine);
        let policies = policies.map_err(|problems| problems.join("\n"))?;
        // Everything is read before anything is in force.
        let declared = self.declared.as_ref();
        let keys = declared.map(|keys| Ok((keys, open::registry(&config.registry)?)));
        let keys = keys.transpose().map_err(told)?;
        let key_rules = config.key_rules();
        let rules = Rules {
            routes: config.routes,
            policies: policies.with_reuse(config.reuse),
        };
        let reloaded = authorizer.reload(rules, clock::now());
        reloaded.map_err(|error| error.to_string())?;
        if let Some((declared, keys)) = keys {
            declared.replace(keys);
        }
        self.rules.store(Arc::new(key_rules));
        Ok(())
    }
}

fn told(failure: Failure) -> String {
    match failure {
        Failure::Usage(error) | Failure::Storage(error) => format!("{error:#}"),
        Failure::Closed => String::new(),
    }
}

/// What the rules were made from, by what their files look like.
struct Files(Vec<(PathBuf, Option<Look>)>);

/// When a file was changed, and how long it is.
type Look = (SystemTime, u64);

impl Files {
    fn of(config: &Config) -> Self {
        let keys = match &config.registry.source {
            RegistrySource::Database(_) => None,
            RegistrySource::JsonLines(path) | RegistrySource::Toml(path) => Some(path.clone()),
        };
        let modules = config.policies.iter().filter_map(|it| match &it.module {
            ModuleSource::File(path) => Some(path.clone()),
            ModuleSource::Builtin(_) => None,
        });
        let paths = std::iter::once(config.file.to_path_buf());
        let paths = paths.chain(keys).chain(modules);
        Self(paths.map(|path| (path.clone(), look(&path))).collect())
    }

    /// Whether one of them is another than before. What the configuration names may be others then.
    fn have_changed(&mut self, config: &Path) -> bool {
        if self.0.iter().all(|(path, before)| look(path) == *before) {
            return false;
        }
        match Config::load(config) {
            Ok(config) => *self = Self::of(&config),
            Err(_) => self.0.iter_mut().for_each(|(path, it)| *it = look(path)),
        }
        true
    }
}

fn look(path: &Path) -> Option<Look> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.modified().ok()?, file.len()))
}

/// Lets the service tell of itself.
fn begin_telling(format: LogFormat) {
    let told = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::INFO)
        .with_writer(std::io::stderr)
        .with_target(false);
    let _already = match format {
        LogFormat::Text => told.try_init(),
        LogFormat::Json => told.json().try_init(),
    };
}
