//! Requests to a gateway as bytes, which no client library would send, over TCP or TLS, with a
//! limit on time and length of everything.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, version};

use super::head::head_end;
use super::site::Site;
use crate::clock;

/// How long a connection may take to be made, in milliseconds.
const CONNECT_MAX_MS: u64 = 3_000;
/// How long an answer may take, with everything before it, in milliseconds.
const ANSWER_MAX_MS: u64 = 5_000;
/// How long a connection is kept after an answer, for what may come behind it, in milliseconds.
const LINGER_MS: u64 = 300;
/// The most that is read of an answer, in bytes.
const ANSWER_MAX_BYTES: usize = 64 * 1024;

/// The way to a gateway.
#[derive(Clone)]
pub(super) struct Line {
    address: SocketAddr,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// What the client got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// 0: the connection ended, or the time, without an answer.
    pub(super) status: u16,
    /// Head and body, as far as they were read.
    pub(super) text: String,
}

impl Line {
    /// The way to a site: to `connect` where it is given, an address and port, else to its host.
    /// `ca` is a PEM file with the authorities that sign its certificate, in place of the usual
    /// ones.
    ///
    /// # Errors
    /// What is wrong with either, for whoever called the command.
    pub(super) fn to(
        site: &Site,
        connect: Option<&str>,
        ca: Option<&Path>,
    ) -> Result<Self, String> {
        let place = connect.map_or_else(|| site.place(), str::to_owned);
        let resolved = place.to_socket_addrs().map(|mut found| found.next());
        let address = match resolved {
            Ok(Some(address)) => address,
            Ok(None) => return Err(format!("`{place}` has no address")),
            Err(error) => return Err(format!("`{place}` is no address and port: {error}")),
        };
        let tls = if site.is_tls {
            let name = ServerName::try_from(site.host.clone());
            let name = name.map_err(|_| format!("no certificate can name `{}`", site.host))?;
            Some((Arc::new(client_config(ca)?), name))
        } else {
            None
        };
        Ok(Self { address, tls })
    }

    /// Sends bytes on a connection of their own, and reads the answer. With `lingers` the
    /// connection is kept for a moment after it.
    ///
    /// # Errors
    /// When there is no connection. One that ends is a [`Reply`] without status.
    pub(super) fn ask(&self, request: &[u8], lingers: bool) -> io::Result<Reply> {
        let wait = Duration::from_millis(CONNECT_MAX_MS);
        let tcp = TcpStream::connect_timeout(&self.address, wait)?;
        tcp.set_nodelay(true)?;
        tcp.set_write_timeout(Some(Duration::from_millis(ANSWER_MAX_MS)))?;
        // It shares the socket, and so its limits.
        let socket = tcp.try_clone()?;
        match &self.tls {
            None => Ok(answer(tcp, &socket, (request, lingers))),
            Some((config, name)) => {
                let connection = ClientConnection::new(Arc::clone(config), name.clone());
                let mut connection = connection.map_err(io::Error::other)?;
                let mut tcp = tcp;
                socket.set_read_timeout(Some(Duration::from_millis(ANSWER_MAX_MS)))?;
                while connection.is_handshaking() {
                    connection.complete_io(&mut tcp)?;
                }
                let stream = StreamOwned::new(connection, tcp);
                Ok(answer(stream, &socket, (request, lingers)))
            }
        }
    }
}

fn client_config(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let shown = path.display();
            let unfit = |error: &dyn Display| format!("`{shown}` has no certificate: {error}");
            let read = CertificateDer::pem_file_iter(path).map_err(|error| unfit(&error))?;
            for certificate in read {
                let certificate = certificate.map_err(|error| unfit(&error))?;
                roots.add(certificate).map_err(|error| unfit(&error))?;
            }
            if roots.is_empty() {
                return Err(unfit(&"the file has no PEM block of one"));
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&version::TLS13, &version::TLS12])
        .map_err(|error| error.to_string())?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn answer(
    mut stream: impl Read + Write,
    socket: &TcpStream,
    (request, lingers): (&[u8], bool),
) -> Reply {
    // It may be answered before all of it was read.
    let _sent = stream.write_all(request).and_then(|()| stream.flush());
    let is_head = request.starts_with(b"HEAD ");
    let mut raw = Vec::new();
    let mut end_ms = clock::boot_ms().saturating_add(ANSWER_MAX_MS);
    let mut is_answered = false;
    while raw.len() < ANSWER_MAX_BYTES {
        if !is_answered && is_complete(&raw, is_head) {
            is_answered = true;
            if !lingers {
                break;
            }
            end_ms = end_ms.min(clock::boot_ms().saturating_add(LINGER_MS));
        }
        let left_ms = end_ms.saturating_sub(clock::boot_ms());
        let limit = Some(Duration::from_millis(left_ms.max(1)));
        let mut part = [0; 4096];
        if left_ms == 0 || socket.set_read_timeout(limit).is_err() {
            break;
        }
        match stream.read(&mut part) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(read) => raw.extend_from_slice(part.get(..read).unwrap_or_default()),
        }
    }
    Reply {
        status: status(final_answer(&raw)),
        text: String::from_utf8_lossy(final_answer(&raw)).into_owned(),
    }
}

/// Without the answers of class 1 that come before the one that counts; 101 is one that counts.
fn final_answer(raw: &[u8]) -> &[u8] {
    let mut rest = raw;
    while let Some(end) = head_end(rest)
        && (100..200).contains(&status(rest))
        && status(rest) != 101
    {
        rest = rest.get(end..).unwrap_or_default();
    }
    rest
}

fn status(raw: &[u8]) -> u16 {
    let line = raw.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    match (words.next(), words.next()) {
        (Some("HTTP/1.1" | "HTTP/1.0"), Some(code)) => code.trim().parse().unwrap_or(0),
        _ => 0,
    }
}

/// Whether an answer is there with all of its body. One that ends with the connection never is.
fn is_complete(raw: &[u8], is_head: bool) -> bool {
    let raw = final_answer(raw);
    let Some(end) = head_end(raw) else {
        return false;
    };
    if is_head || matches!(status(raw), 101 | 204 | 304) {
        return true;
    }
    let (head, body) = raw.split_at_checked(end).unwrap_or_default();
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let field = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    if let Some(length) = field("content-length:").and_then(|it| it.parse::<usize>().ok()) {
        return body.len() >= length;
    }
    let is_chunked = field("transfer-encoding:").is_some_and(|it| it.ends_with("chunked"));
    is_chunked && (body.starts_with(b"0\r\n\r\n") || body.ends_with(b"\r\n0\r\n\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_body() {
        let complete = |raw: &str| is_complete(raw.as_bytes(), false);
        assert!(complete("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        assert!(!complete("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"));
        assert!(is_complete(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            true
        ));
        assert!(complete(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
        ));
        assert!(!complete(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        ));
        assert!(!complete("HTTP/1.1 200 OK\r\n\r\nuntil the end"));
        assert!(!complete("HTTP/1.1 100 Continue\r\n\r\n"));
        assert!(complete(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
        ));
        assert!(complete("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    }

    #[test]
    fn a_status_is_read_or_is_none() {
        for (raw, expected) in [
            ("HTTP/1.1 401 Unauthorized\r\n\r\n", 401),
            ("HTTP/1.0 200\r\n\r\n", 200),
            ("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 403 F\r\n\r\n", 403),
            ("HTTP/2 200\r\n\r\n", 0),
            ("nonsense", 0),
            ("", 0),
        ] {
            assert_eq!(status(final_answer(raw.as_bytes())), expected, "{raw:?}");
        }
    }
}
