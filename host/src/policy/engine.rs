//! The wasm engine: one configuration, chosen for replay first and for fresh instances second.
//!
//! Deterministic: fuel, canonical NaNs, deterministic relaxed SIMD, no threads. Cheap to
//! instantiate: linear memory is plain heap memory, bounds are checked in the code, nothing is
//! mapped or protected. A thread advances the epoch, so that a deadline stands behind the fuel.

mod cache;

use std::fmt;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{Cache, CacheConfig, Config};

/// The engine's name and version, as records and manifests state it. Fuel is compared in a replay
/// only when both sides state the same.
pub const ENGINE: &str = "wasmtime 48.0.8";

/// How often the epoch advances, in milliseconds: the resolution of deadlines.
pub(super) const EPOCH_TICK_MS: u64 = 10;
/// Stack of one call into a component, in bytes.
const WASM_STACK_MAX_BYTES: usize = 256 << 10;

/// A wasm engine, shared by all policies of a process.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    cache: Option<Cache>,
    _ticker: Arc<Ticker>,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The cache folder cannot be made, or somebody else can change what is in it.
    #[error("the cache folder of compiled policies is not used: {0}")]
    Cache(String),
    /// This machine cannot run it.
    #[error("the wasm engine cannot start: {0}")]
    Start(String),
}

impl Engine {
    /// An engine. With a cache folder, which is made where there is none, compiled code is kept
    /// there by the digests of module and engine, so that a module is compiled once. Whoever may
    /// write to that folder may run code as this process: one that others can change is refused.
    ///
    /// # Errors
    /// [`EngineError`] when the machine or the cache folder cannot be used.
    pub fn new(cache_folder: Option<&Path>) -> Result<Self, EngineError> {
        let fail = |error: wasmtime::Error| EngineError::Start(format!("{error:#}"));
        let cache = cache_folder
            .map(|folder| {
                let folder = cache::secure(folder).map_err(EngineError::Cache)?;
                Cache::new(CacheConfig::new().with_directory(folder).clone())
                    .map_err(|error| EngineError::Cache(format!("{error:#}")))
            })
            .transpose()?;
        let wasm = wasmtime::Engine::new(&config(cache.clone())).map_err(fail)?;
        let ticker = Ticker::start(&wasm).map_err(|error| EngineError::Start(error.to_string()))?;
        Ok(Self {
            wasm,
            cache,
            _ticker: Arc::new(ticker),
        })
    }

    /// How many modules it has taken from its cache, and how many it had to compile although it has
    /// one.
    #[must_use]
    pub fn cache_counts(&self) -> (usize, usize) {
        let counts = |cache: &Cache| (cache.cache_hits(), cache.cache_misses());
        self.cache.as_ref().map_or((0, 0), counts)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({ENGINE})")
    }
}

fn config(cache: Option<Cache>) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_MAX_BYTES)
        .wasm_backtrace_max_frames(None::<NonZeroUsize>)
        // A policy has nothing to be concurrent with, and every call would be dearer.
        .concurrency_support(false)
        // Plain heap memory: a fresh instance costs microseconds, not page faults.
        .signals_based_traps(false)
        .memory_reservation(0)
        .memory_guard_size(0)
        .memory_reservation_for_growth(0)
        .memory_init_cow(false)
        .cache(cache);
    config
}

/// The thread that advances the epoch. It ends when the last engine handle is dropped.
struct Ticker {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: &wasmtime::Engine) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let engine = engine.weak();
        let tick = move || {
            while let Err(RecvTimeoutError::Timeout) =
                stopped.recv_timeout(Duration::from_millis(EPOCH_TICK_MS))
            {
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("keyward-epoch".to_owned())
            .spawn(tick)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread only waits and counts; it cannot have panicked, and if it had, the
            // engine is going away all the same.
            drop(thread.join());
        }
    }
}
