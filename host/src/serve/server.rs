//! The life of a service: it listens, follows what changes, and ends when it is told to, with every
//! decision that was begun.

use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::admin::{Admin, KeySource};
use super::caller::{Callers, SECRET_MAX_BYTES, SECRET_MIN_BYTES};
use super::check::Checks;
use super::connection::Connections;
use super::decide::{Decider, THREADS_MAX};
use super::listen::Listener;
use super::places::Places;
use super::tls::{self, TlsError};
use crate::authorizer::Authorizer;
use crate::config::server::{Listen, ServerConfig};
use crate::digest::Digest;
use crate::governance::follow::Follower;
use crate::log::{Durability, Published};
use crate::timestamp::Timestamp;

/// How many connections are open at once, at most.
pub(super) const CONNECTIONS_MAX: usize = 16_384;
/// How many open files are not for connections, at most.
const FILES_KEPT: u64 = 512;
/// How long connections may take to end when the service does, in seconds.
const SHUTDOWN_MAX_SECONDS: u64 = 10;
/// How often the registry is asked for what has changed, in ms.
const FOLLOW_INTERVAL_MS: u64 = 200;
/// How often the configuration is looked at, in ms.
const CONFIG_INTERVAL_MS: u64 = 1_000;
/// How long nothing is accepted when the operating system gives no more connections, in ms.
const ACCEPT_PAUSE_MS: u64 = 100;

/// What a service is given by whoever starts it.
pub struct Hooks {
    /// The time of requests.
    pub clock: fn() -> Timestamp,
    /// Whether an answer waits for the disk.
    pub durability: Durability,
    /// What follows the registry; `None`: it does not change by itself.
    pub follower: Option<Follower>,
    /// What the rules are made from.
    pub source: Box<dyn RuleSource>,
    /// What the Admin API knows keys by; `None`: there is none.
    pub keys: Option<Arc<dyn KeySource>>,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks")
            .field("durability", &self.durability)
            .field("follower", &self.follower)
            .finish_non_exhaustive()
    }
}

/// What an authorizer's rules are made from.
pub trait RuleSource: Send + Sync {
    /// Whether it may have changed since this was last asked.
    fn has_changed(&self) -> bool;

    /// Reads it anew, and makes the authorizer decide by it.
    ///
    /// # Errors
    /// Why it is not taken; what was in force still is.
    fn reload(&self, authorizer: &Authorizer) -> Result<(), String>;
}

/// Why a service did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A place cannot be listened at.
    #[error("cannot listen at {0}")]
    Listen(Listen, #[source] io::Error),
    /// The secret of callers cannot be read.
    #[error("`{0}` cannot be read")]
    Secret(PathBuf, #[source] io::Error),
    /// The secret of callers is none.
    #[error(
        "`{0}` has to hold one secret of {SECRET_MIN_BYTES} to {SECRET_MAX_BYTES} visible ASCII \
         characters, for example from `openssl rand -hex 32`"
    )]
    WeakSecret(PathBuf),
    /// No TLS.
    #[error("no TLS: {0}")]
    Tls(#[from] TlsError),
    /// The operating system gives no threads.
    #[error("the service cannot run")]
    Runtime(#[source] io::Error),
}

/// Serves until SIGTERM or SIGINT, then ends what was begun and closes the log.
///
/// # Errors
/// [`ServeError`]: it has not begun.
pub fn run(
    config: &ServerConfig,
    authorizer: Authorizer,
    hooks: Hooks,
) -> Result<Published, ServeError> {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let callers = Callers {
        secret: config.caller_secret.as_ref().map(read_secret).transpose()?,
        allow_loopback: config.allow_loopback,
    };
    let tls = config.tls.as_ref().map(tls::load).transpose()?;
    let runtime = Builder::new_multi_thread()
        // One more than decide where requests are read: see `decide`.
        .worker_threads(cores.saturating_add(1))
        .max_blocking_threads(THREADS_MAX.saturating_add(cores))
        .thread_name("keyward-serve")
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let authorizer = Arc::new(authorizer);
    let here = match hooks.durability {
        Durability::Written => cores,
        Durability::Durable => 0,
    };
    let deadline = Duration::from_millis(config.deadline_ms);
    let decider = Decider::new(Arc::clone(&authorizer), deadline, here);
    let admin = hooks.keys.clone();
    let admin = admin.map(|keys| Admin::new(config.admin, keys));
    let checks = Checks::new(config, (callers, decider), hooks.clock).with_admin(admin);
    let checks = Arc::new(checks);
    let service = Service {
        connections: Connections::new(Arc::clone(&checks), tls.map(TlsAcceptor::from)),
        checks,
    };
    let ended = runtime.block_on(service.run(&config.listen, hooks));
    // A thread that hangs in a decision is not waited for.
    runtime.shutdown_timeout(Duration::from_secs(SHUTDOWN_MAX_SECONDS));
    ended?;
    Ok(close(authorizer))
}

/// Closes the log, or makes it durable where a thread still has it.
fn close(authorizer: Arc<Authorizer>) -> Published {
    match Arc::try_unwrap(authorizer) {
        Ok(authorizer) => authorizer.close(),
        Err(shared) => {
            let _late = shared.sync();
            Published::default()
        }
    }
}

struct Service {
    connections: Connections,
    checks: Arc<Checks>,
}

impl Service {
    async fn run(self, places: &[Listen], mut hooks: Hooks) -> Result<(), ServeError> {
        let mut listeners = Vec::new();
        for place in places {
            let bound = Listener::bind(place).await;
            let named = bound.and_then(|listener| Ok((listener.place()?, listener)));
            listeners.push(named.map_err(|error| ServeError::Listen(place.clone(), error))?);
        }
        let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Runtime)?;
        let following = hooks.follower.take().map(|follower| self.follow(follower));
        let (stop, stopped) = watch::channel(false);
        let graceful = Arc::new(GracefulShutdown::new());
        let mut accepting = JoinSet::new();
        let places = Places::new(
            places_max(),
            self.checks.metrics().connections_evicted.clone(),
        );
        let tidying = tokio::spawn(Arc::clone(&places).tidy());
        for (place, listener) in listeners {
            tracing::info!(address = %place, "listening");
            let connections = self.connections.clone();
            let (checks, places) = (Arc::clone(&self.checks), Arc::clone(&places));
            let graceful = Arc::clone(&graceful);
            let mut stopped = stopped.clone();
            accepting.spawn(async move {
                let accept = accept(&listener, connections, (checks, places), &graceful);
                tokio::select! {
                    () = accept => {}
                    _ = stopped.changed() => {}
                }
            });
        }
        let reloading = tokio::spawn(reload(Arc::clone(&self.checks), hooks.source.into()));
        self.checks.set_ready(true);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
        self.checks.set_ready(false);
        let _nobody = stop.send(true);
        while accepting.join_next().await.is_some() {}
        reloading.abort();
        tidying.abort();
        let limit = Duration::from_secs(SHUTDOWN_MAX_SECONDS);
        if let Ok(graceful) = Arc::try_unwrap(graceful) {
            let _forced = tokio::time::timeout(limit, graceful.shutdown()).await;
        }
        drop(following);
        Ok(())
    }

    /// Follows the registry on a thread of its own, for it reads a disk.
    fn follow(&self, mut follower: Follower) -> Following {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let authorizer = Arc::clone(self.checks.authorizer());
        let thread = thread::spawn(move || {
            let mut is_failing = false;
            // Once more in the end: what was changed here is in the log.
            loop {
                let is_last = stopped.load(Ordering::Acquire);
                match authorizer.follow(&mut follower) {
                    Ok(changes) => {
                        if changes > 0 {
                            tracing::info!(changes, "the registry has changed");
                        }
                        is_failing = false;
                    }
                    // Said once; the lease runs out by itself.
                    Err(error) if !is_failing => {
                        is_failing = true;
                        tracing::error!(%error, "the registry is not followed");
                    }
                    Err(_) => {}
                }
                if is_last {
                    break;
                }
                thread::sleep(Duration::from_millis(FOLLOW_INTERVAL_MS));
            }
        });
        Following {
            stop,
            thread: Some(thread),
        }
    }
}

/// The thread that follows the registry; ended when dropped.
struct Following {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// How many connections there may be: fewer where the process may open fewer files, of which some
/// are for the log, the registry and the configuration.
fn places_max() -> usize {
    let mut limits = getrlimit(Resource::Nofile);
    limits.current = limits.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limits) {
        tracing::warn!(%error, "the limit of open files is not raised");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let kept = (files / 2).min(FILES_KEPT);
    let left = usize::try_from(files.saturating_sub(kept)).unwrap_or(usize::MAX);
    if left < CONNECTIONS_MAX {
        tracing::warn!(
            connections = left,
            files,
            "few files may be open; raise `ulimit -n`"
        );
    }
    left.min(CONNECTIONS_MAX)
}

/// A connection in the metrics, until dropped.
struct Counted(Arc<Checks>);

impl Counted {
    fn new(checks: Arc<Checks>) -> Self {
        checks.metrics().connections.inc();
        Self(checks)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.metrics().connections.dec();
    }
}

async fn accept(
    listener: &Listener,
    connections: Connections,
    (checks, places): (Arc<Checks>, Arc<Places>),
    graceful: &GracefulShutdown,
) {
    let metrics = checks.metrics();
    loop {
        match listener.accept().await {
            Ok(incoming) => {
                let Some(place) = places.take() else {
                    metrics.connections_refused.inc();
                    continue;
                };
                let connected = Arc::clone(place.connected());
                let counted = Counted::new(Arc::clone(&checks));
                let (connections, watcher) = (connections.clone(), graceful.watcher());
                let task = tokio::spawn(async move {
                    connections.serve(incoming, place, watcher).await;
                    drop(counted);
                });
                connected.is_served_by(task.abort_handle());
            }
            // Somebody did not wait.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_PAUSE_MS)).await;
            }
        }
    }
}

/// Reloads on SIGHUP, and when the configuration has changed.
async fn reload(checks: Arc<Checks>, source: Arc<dyn RuleSource>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else {
        return;
    };
    loop {
        let look = tokio::time::sleep(Duration::from_millis(CONFIG_INTERVAL_MS));
        let is_asked = tokio::select! {
            _ = hangup.recv() => true,
            () = look => false,
        };
        let (source, checks) = (Arc::clone(&source), Arc::clone(&checks));
        let reloaded = tokio::task::spawn_blocking(move || {
            if !source.has_changed() && !is_asked {
                return;
            }
            let reloaded = source.reload(checks.authorizer());
            checks.metrics().reloaded(reloaded.is_ok());
            match reloaded {
                Ok(()) => tracing::info!("the configuration is in force"),
                Err(why) => tracing::error!(%why, "the configuration is not taken"),
            }
        });
        let _ended = reloaded.await;
    }
}

fn read_secret(path: &PathBuf) -> Result<Digest, ServeError> {
    let text = std::fs::read(path).map_err(|error| ServeError::Secret(path.clone(), error))?;
    let secret = text.trim_ascii();
    let is_sound = (SECRET_MIN_BYTES..=SECRET_MAX_BYTES).contains(&secret.len())
        && secret.iter().all(u8::is_ascii_graphic);
    if is_sound {
        Ok(Digest::of(secret))
    } else {
        Err(ServeError::WeakSecret(path.clone()))
    }
}
