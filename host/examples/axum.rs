//! A service with keyward in it: axum, and a layer in front of it that only what is allowed passes.
//!
//! ```sh
//! keyward init demo && cd demo
//! # in keyward.toml, under [registry]: path = "keyward.db" in place of keys = …
//! keyward key issue --owner me --scope inventory:read --expires-in-days 7
//! cargo run --example axum -- keyward.toml 127.0.0.1:8080
//! curl -N http://127.0.0.1:8080/inventory/live -H 'X-API-Key: kw_live_…'
//! ```
//!
//! `/inventory/live` sends a line a second until its key ends: revoke the key, and it closes.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to a person"
)]

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::stream;
use keyward::authorizer::Authorizer;
use keyward::clock::{boot_ms, now};
use keyward::config::{Config, RegistrySource};
use keyward::credential::random::{Randomness as _, operating_system};
use keyward::decision::Mode;
use keyward::decision::id::IdSource;
use keyward::governance::follow::Follower;
use keyward::key::json::KeyOptions;
use keyward::log::{Log, LogOptions, has_begun};
use keyward::policy::{ENGINE, Engine, Limits, Policy, PolicySet, PolicySpec};
use keyward::registry::lease::Lease;
use keyward::registry::sqlite::SqliteRegistry;
use keyward::registry::watch::KeyWatch;
use keyward::rules::Rules;
use keyward::serve::embedded::{Allowed, EmbeddedCheck, EmbeddedOptions, Peer};
use keyward::serve::layer::AuthorizeLayer;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// A line of a body; making one does not fail.
type Line = Result<Bytes, Infallible>;

/// How old the view of the keys may be before everything is denied, in ms.
const STALENESS_MAX_MS: u64 = 5_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(config), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: axum keyward.toml 127.0.0.1:8080".into());
    };
    let (authorizer, follower) = authorizer(&Config::load(config.as_ref())?)?;
    let authorizer = Arc::new(authorizer);
    follow(Arc::clone(&authorizer), follower);
    let check = EmbeddedCheck::new(authorizer, EmbeddedOptions::new(now));
    let layer = AuthorizeLayer::new(check, |extensions| {
        match extensions.get::<ConnectInfo<SocketAddr>>() {
            Some(ConnectInfo(address)) => Peer::At(address.ip()),
            None => Peer::Unknown,
        }
    });
    let service = Router::new()
        .route("/inventory/live", get(live))
        .route("/inventory/{item}", get(item))
        .layer(layer)
        .into_make_service_with_connect_info::<SocketAddr>();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening at {}", listener.local_addr()?);
        axum::serve(listener, service).await
    })?;
    Ok(())
}

/// One item, for whoever may read it.
async fn item(Path(item): Path<String>, Extension(allowed): Extension<Allowed>) -> String {
    format!("{item}, for {}\n", allowed.key.record().owner)
}

/// A line a second, until the key ends.
async fn live(Extension(allowed): Extension<Allowed>) -> Body {
    let Some(watch) = allowed.watch() else {
        return Body::empty();
    };
    Body::from_stream(stream::unfold((watch, 0), line))
}

/// The next line; `None`: the key has ended, by itself or by somebody else.
async fn line((mut watch, count): (KeyWatch, u64)) -> Option<(Line, (KeyWatch, u64))> {
    let left_ms = watch.ends_at().map_or(u64::MAX, |end| end.ms_since(now()));
    if left_ms == 0 {
        return None;
    }
    tokio::select! {
        _ended = &mut watch => None,
        () = sleep(Duration::from_millis(left_ms.min(1_000))) => {
            let line = Bytes::from(format!("line {count}\n"));
            Some((Ok(line), (watch, count.saturating_add(1))))
        }
    }
}

/// What decides, and what follows the keys. Of the configuration, only where keys and log are, and
/// the routes are used; the policies are chosen here.
fn authorizer(config: &Config) -> Result<(Authorizer, Follower), Box<dyn Error>> {
    let scope = PolicySpec {
        name: "scope".into(),
        mode: Mode::Enforce,
        module: keyward_policies::SCOPE.into(),
        settings: "{}".into(),
        limits: Limits::default(),
    };
    let policies = PolicySet::new(vec![Policy::load(&Engine::new(None)?, scope)?])?;
    let options = LogOptions {
        origin: config.log.origin.to_string(),
        engine: ENGINE.to_owned(),
        policy_set: policies.digest(),
        ..LogOptions::default()
    };
    let folder = &config.log.path;
    let log = if has_begun(folder)? {
        Log::open(folder, options, now())?
    } else {
        Log::create(folder, options, now())?
    };
    let RegistrySource::Database(path) = &config.registry.source else {
        return Err(
            "the keys are in a file; write `path = \"keyward.db\"` under [registry]".into(),
        );
    };
    let registry = SqliteRegistry::open_existing(path, KeyOptions::default())?;
    let lease = Lease::new(STALENESS_MAX_MS, boot_ms);
    let (follower, _told) = Follower::begin(registry, (&log, folder.clone()), now, lease)?;
    let rules = Rules {
        routes: config.routes.clone(),
        policies,
    };
    let mut random = [0; 10];
    operating_system().fill(&mut random)?;
    let keys = Box::new(follower.keys());
    let authorizer = Authorizer::new(keys, rules, (log, IdSource::new(random)))?;
    Ok((authorizer, follower))
}

/// Takes over what others change in the registry, five times a second.
fn follow(authorizer: Arc<Authorizer>, mut follower: Follower) {
    thread::spawn(move || {
        loop {
            if let Err(error) = authorizer.follow(&mut follower) {
                eprintln!("the registry is not followed: {error}");
            }
            thread::sleep(Duration::from_millis(200));
        }
    });
}
