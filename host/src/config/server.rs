//! `[server]`: where the check service listens, who may call it, and whom it believes.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::beside;
use super::problem::{ConfigError, Problems};
use super::section::{At, Bounds, Section, note_type, read_text};
use crate::address::Network;
use crate::route::authority::is_header_name;

/// How many places a service listens at, at most.
pub const LISTEN_MAX: usize = 16;
/// How many networks of proxies there can be.
pub const TRUSTED_PROXIES_MAX: usize = 1_024;
/// How long a check may take unless `deadline_ms` says otherwise, in ms: less than the 200 ms that
/// Envoy waits.
pub const DEADLINE_DEFAULT_MS: u64 = 100;
/// How old the view of the registry may be unless `max_staleness_ms` says otherwise, in ms.
pub const STALENESS_DEFAULT_MS: u64 = 5_000;
/// Where the service listens unless `listen` says otherwise.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:8180";

/// `[server]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where it listens: 1 to [`LISTEN_MAX`].
    pub listen: Vec<Listen>,
    /// How long a check may take, in ms: 1 to 60,000.
    pub deadline_ms: u64,
    /// How old the view of the registry may be, in ms: 100 to 600,000. No decision is an allow on
    /// an older one.
    pub max_staleness_ms: u64,
    /// The proxies whose forwarding header is believed.
    pub trusted_proxies: Vec<Network>,
    /// The one header that says whom a proxy forwards for.
    pub forwarded_header: Arc<str>,
    /// The header that holds a credential, beside `Authorization: Bearer`.
    pub credential_header: Arc<str>,
    /// The query parameter that holds a credential; `None`: none does.
    pub credential_query: Option<Arc<str>>,
    /// The file with the secret that callers present; `None`: they have none.
    pub caller_secret: Option<PathBuf>,
    /// Whether whoever calls from this machine needs no secret.
    pub allow_loopback: bool,
    /// Whether answers say when the key ends as `Deprecation` and `Sunset`.
    pub announce_sunset: bool,
    /// Whether keys are kept here too, over the Admin API.
    pub admin: bool,
    /// TLS on every TCP address; `None`: none.
    pub tls: Option<TlsConfig>,
}

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// `unix:PATH`, a socket that its owner and group may use.
    Unix(PathBuf),
}

/// `[server.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
    /// Who signs the certificates of callers, in PEM; `None`: callers show none.
    pub client_ca: Option<PathBuf>,
}

impl fmt::Display for Listen {
    /// As a configuration writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: LISTEN_DEFAULT
                .parse()
                .map(Listen::Tcp)
                .into_iter()
                .collect(),
            deadline_ms: DEADLINE_DEFAULT_MS,
            max_staleness_ms: STALENESS_DEFAULT_MS,
            trusted_proxies: Vec::new(),
            forwarded_header: "x-forwarded-for".into(),
            credential_header: "x-api-key".into(),
            credential_query: None,
            caller_secret: None,
            allow_loopback: false,
            announce_sunset: false,
            admin: false,
            tls: None,
        }
    }
}

pub(super) fn read(
    mut section: Section<'_, '_>,
    file: &Path,
    problems: &mut Problems,
) -> ServerConfig {
    const DEADLINE: Bounds = Bounds {
        key: "deadline_ms",
        least: 1,
        most: 60_000,
    };
    const STALENESS: Bounds = Bounds {
        key: "max_staleness_ms",
        least: 100,
        most: 600_000,
    };
    let default = ServerConfig::default();
    let header = |it: Option<At<&str>>, default, problems: &mut Problems| match it {
        Some(name) if is_header_name(name.value) => name.value.to_ascii_lowercase().into(),
        Some(name) => {
            problems.note(name.offset, ConfigError::HeaderName);
            default
        }
        None => default,
    };
    let forwarded = section.text("forwarded_header", problems);
    let credential = section.text("credential_header", problems);
    let server = ServerConfig {
        listen: read_listen(&mut section, file, problems).unwrap_or(default.listen),
        deadline_ms: section.number(DEADLINE, DEADLINE_DEFAULT_MS, problems),
        max_staleness_ms: section.number(STALENESS, STALENESS_DEFAULT_MS, problems),
        trusted_proxies: read_proxies(&mut section, problems),
        forwarded_header: header(forwarded, default.forwarded_header, problems),
        credential_header: header(credential, default.credential_header, problems),
        credential_query: section
            .text("credential_query", problems)
            .map(|name| name.value.into()),
        caller_secret: section
            .text("caller_secret", problems)
            .map(|path| beside(file, path.value)),
        allow_loopback: section.flag("allow_loopback", problems),
        announce_sunset: section.flag("announce_sunset", problems),
        admin: section.flag("admin", problems),
        tls: section
            .section("tls", "[server.tls]", problems)
            .and_then(|section| read_tls(section, file, problems)),
    };
    let offset = section.offset();
    section.finish(problems);
    if !server.admits_anybody() {
        problems.note(offset, ConfigError::NoCaller);
    }
    server
}

impl ServerConfig {
    /// Whether there is somebody who may call it.
    fn admits_anybody(&self) -> bool {
        let has_unix = self.listen.iter().any(|it| matches!(it, Listen::Unix(_)));
        let has_clients = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        has_unix || has_clients || self.allow_loopback || self.caller_secret.is_some()
    }
}

fn read_tls(
    mut section: Section<'_, '_>,
    file: &Path,
    problems: &mut Problems,
) -> Option<TlsConfig> {
    let certificate = section.required_text("certificate", problems);
    let key = section.required_text("key", problems);
    let client_ca = section.text("client_ca", problems);
    section.finish(problems);
    Some(TlsConfig {
        certificate: beside(file, certificate?.value),
        key: beside(file, key?.value),
        client_ca: client_ca.map(|path| beside(file, path.value)),
    })
}

fn read_listen(
    section: &mut Section<'_, '_>,
    file: &Path,
    problems: &mut Problems,
) -> Option<Vec<Listen>> {
    let texts = read_texts(section, ("listen", LISTEN_MAX), problems)?;
    let mut listen = Vec::new();
    for text in texts {
        match text.value.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => listen.push(Listen::Unix(beside(file, path))),
            _ => match text.value.parse() {
                Ok(address) => listen.push(Listen::Tcp(address)),
                Err(_) => problems.note(text.offset, ConfigError::Listen),
            },
        }
    }
    if listen.is_empty() {
        problems.note(section.offset(), ConfigError::Listen);
    }
    Some(listen)
}

fn read_proxies(section: &mut Section<'_, '_>, problems: &mut Problems) -> Vec<Network> {
    let texts = read_texts(section, ("trusted_proxies", TRUSTED_PROXIES_MAX), problems);
    let mut networks = Vec::new();
    for text in texts.into_iter().flatten() {
        match text.value.parse() {
            Ok(network) => networks.push(network),
            Err(error) => problems.note(text.offset, ConfigError::Network(error)),
        }
    }
    networks
}

/// A list of texts; `None` when it is not there.
fn read_texts<'t>(
    section: &mut Section<'t, '_>,
    (key, most): (&'static str, usize),
    problems: &mut Problems,
) -> Option<Vec<At<&'t str>>> {
    let value = section.value(key)?;
    let Some(items) = value.get_ref().as_array() else {
        note_type(key, "a list of strings", value, problems);
        return None;
    };
    if items.len() > most {
        let error = ConfigError::TooMany { section: key, most };
        problems.note(value.span().start, error);
        return None;
    }
    let texts = items.iter().map(|item| read_text(key, item, problems));
    Some(texts.flatten().collect())
}
