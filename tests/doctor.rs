//! `keyward doctor gateway` between a gateway of the test and the upstream that the command is: one
//! that lets everything past, and one that lets nothing.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::lifecycle::issue;
use crate::util::{Folder, Ran};

/// What the gateway lets past.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Nothing.
    Tight,
    /// Requests with the key, and all that is odd about them.
    Leaky,
    /// Everything.
    Open,
}

/// A gateway with its keys: one that may GET `/public/x`, one that may not, and one that may from
/// 203.0.113.9.
struct Gateway {
    manner: Manner,
    keys: [(String, String); 3],
    upstream: SocketAddr,
}

const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
const UNAUTHORIZED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
const BAD: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
/// What keyward answers to a gateway.
const OF_KEYWARD: &str = "HTTP/1.1 200 OK\r\nX-Keyward-Key-Id: a\r\nContent-Length: 0\r\n\r\n";

impl Gateway {
    fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let gateway = Arc::new(self);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let gateway = Arc::clone(&gateway);
                thread::spawn(move || gateway.serve(stream.unwrap()));
            }
        });
        address
    }

    fn serve(&self, mut client: TcpStream) {
        let mut raw = Vec::new();
        while !raw.windows(4).any(|window| window == b"\r\n\r\n") {
            let mut part = [0; 65536];
            match client.read(&mut part) {
                Ok(read) if read > 0 => raw.extend_from_slice(&part[..read]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&raw).into_owned();
        let refused = match self.manner {
            Manner::Tight => self.tight(&text),
            Manner::Leaky => self.leaky(&text),
            Manner::Open => None,
        };
        let answer = refused.map_or_else(|| self.pass_on(&text), |it| it.as_bytes().to_vec());
        // A client may be gone.
        let _sent = client.write_all(&answer);
    }

    /// What a gateway answers that takes nothing but what it knows.
    fn tight(&self, text: &str) -> Option<&'static str> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap();
        let fields: Vec<_> = lines
            .map(|line| line.split_once(": ").unwrap_or((line, "")))
            .collect();
        let known = [
            "Host",
            "X-Doctor",
            "X-API-Key",
            "Authorization",
            "Connection",
        ];
        let is_known = fields.iter().all(|(name, value)| {
            known.contains(name) && (*name != "Connection" || *value == "close")
        });
        let hosts = fields.iter().filter(|(name, _)| *name == "Host").count();
        if !is_known || hosts != 1 || !body.is_empty() || head.contains('\0') {
            return Some(BAD);
        }
        let credentials: Vec<_> = fields
            .iter()
            .filter(|(name, _)| matches!(*name, "X-API-Key" | "Authorization"))
            .map(|(_, value)| value.trim_start_matches("Bearer "))
            .collect();
        match self.keys.iter().position(|(key, _)| credentials == [key]) {
            None => Some(UNAUTHORIZED),
            Some(0) if first == "GET /public/x HTTP/1.1" => None,
            Some(_) => Some(FORBIDDEN),
        }
    }

    /// What one answers that looks for the key somewhere, and at the path as it came.
    fn leaky(&self, text: &str) -> Option<&'static str> {
        let target = text.split(' ').nth(1).unwrap();
        if text.starts_with("CONNECT ") || target == "/check/forward" {
            return Some(OF_KEYWARD);
        }
        let claimed = text
            .split("X-Original-URI: ")
            .nth(1)
            .and_then(|it| it.split("\r\n").next());
        let is_allowed = claimed.unwrap_or(target).starts_with("/public/x");
        let is_near = text.contains("X-Forwarded-For: 203.0.113.9");
        match self.keys.iter().position(|(key, _)| text.contains(&**key)) {
            _ if text.starts_with("OPTIONS ") => None,
            None => Some(UNAUTHORIZED),
            Some(0) if is_allowed || target.contains("other.test") => None,
            Some(2) if is_allowed && is_near => None,
            Some(_) => Some(FORBIDDEN),
        }
    }

    /// The upstream's answer.
    fn pass_on(&self, text: &str) -> Vec<u8> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines: Vec<_> = head.split("\r\n").map(str::to_owned).collect();
        if self.manner != Manner::Open {
            let names = ["Key-Id", "Subject", "Scopes", "Decision", "Warning"];
            let id = &self.keys[0].1;
            lines.extend(names.map(|name| format!("X-Keyward-{name}: {id}")));
        }
        if self.manner == Manner::Tight {
            let is_credential =
                |line: &String| line.starts_with("X-API-Key") || line.starts_with("Authorization");
            lines.retain(|line| !is_credential(line));
        }
        // What `Connection` names is for the next hop alone.
        let named = head.split("Connection: close, ").nth(1).unwrap_or_default();
        let named = named
            .split("\r\n")
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let is_named = |line: &String| {
            let name = line
                .split(':')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            name.starts_with("x-keyward") && named.contains(&name)
        };
        lines.retain(|line| !is_named(line));
        let mut upstream = TcpStream::connect(self.upstream).unwrap();
        upstream
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let passed = format!("{}\r\n\r\n{body}", lines.join("\r\n"));
        let _sent = upstream.write_all(passed.as_bytes());
        let mut answer = Vec::new();
        // One that is kept open ends with the time.
        let _read = upstream.read_to_end(&mut answer);
        answer
    }
}

/// A folder with the keys, a gateway that treats them so, and the address for the upstream.
fn set_up(manner: Manner) -> (Folder, SocketAddr, SocketAddr) {
    let folder = Folder::quickstart_with_database();
    let keys = [(); 3].map(|()| issue(&folder));
    for ((key, _), name) in keys.iter().zip(["key", "denied", "elsewhere"]) {
        folder.write(name, key);
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = free.local_addr().unwrap();
    drop(free);
    let gateway = Gateway {
        manner,
        keys,
        upstream,
    };
    (folder, gateway.start(), upstream)
}

fn examine(folder: &Folder, gateway: SocketAddr, more: &[&str]) -> Ran {
    let gateway = gateway.to_string();
    let url = "http://api.example.com/public/x";
    let args = [
        "doctor",
        "gateway",
        url,
        "--connect",
        &gateway,
        "--credential-file",
        "key",
    ];
    let ran = folder.run(&[&args[..], more].concat());
    let key = folder.read("key");
    assert!(
        !ran.out.contains(&key) && !ran.err.contains(&key),
        "{ran:?}"
    );
    ran
}

/// The report by probe.
fn outcomes(ran: &Ran) -> BTreeMap<String, String> {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    ran.json()
        .iter()
        .map(|row| (text(row, "probe"), text(row, "outcome")))
        .collect()
}

fn with_outcome<'a>(found: &'a BTreeMap<String, String>, outcome: &str) -> Vec<&'a str> {
    let rows = found.iter().filter(|(_, it)| *it == outcome);
    rows.map(|(probe, _)| &**probe).collect()
}

const ALL: [&str; 8] = [
    "--denied-credential-file",
    "denied",
    "--denied-path",
    "/admin",
    "--elsewhere-credential-file",
    "elsewhere",
    "--elsewhere-address",
    "203.0.113.9",
];

#[test]
fn what_gets_past_a_gateway_is_reported() {
    let (folder, gateway, upstream) = set_up(Manner::Leaky);
    let upstream = upstream.to_string();
    let ran = examine(
        &folder,
        gateway,
        &[&ALL[..], &["--echo", &upstream]].concat(),
    );
    let found = outcomes(&ran.exit(1));
    let failed = [
        "aliases",
        "check-service",
        "client-address",
        "connection",
        "forged-names",
        "methods",
        "odd-lines",
        "path-headers",
        "paths",
        "tunnel",
        "two-credentials",
        "two-hosts",
        "two-lengths",
    ];
    assert_eq!(with_outcome(&found, "fail"), failed);
    assert_eq!(
        with_outcome(&found, "note"),
        ["credential", "h2c-upgrade", "overrides"]
    );
    assert_eq!(with_outcome(&found, "pass"), ["baseline"]);
    let table = examine(
        &folder,
        gateway,
        &["--echo", &upstream, "--format", "table"],
    )
    .exit(1);
    assert!(table.out.contains("aliases          FAIL"), "{}", table.out);
    assert!(
        table
            .out
            .contains("X_Keyward_Subject: reached the upstream with"),
        "{}",
        table.out
    );
}

#[test]
fn a_gateway_that_lets_nothing_past_passes() {
    let (folder, gateway, upstream) = set_up(Manner::Tight);
    let upstream = upstream.to_string();
    let ran = examine(
        &folder,
        gateway,
        &[&ALL[..], &["--echo", &upstream]].concat(),
    );
    let found = outcomes(&ran.exit(0));
    assert_eq!(with_outcome(&found, "not-checked"), ["http2"]);
    assert_eq!(with_outcome(&found, "pass").len(), found.len() - 1);
}

#[test]
fn a_gateway_that_asks_nobody_fails_before_anything_odd_is_sent() {
    let (folder, gateway, upstream) = set_up(Manner::Open);
    let ran = examine(&folder, gateway, &["--echo", &upstream.to_string()]).exit(1);
    let rows = ran.json();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(
        rows[0]["findings"].to_string().contains("without a key"),
        "{rows:?}"
    );
}

#[test]
fn an_examination_says_what_is_wrong_with_its_set_up() {
    let (folder, gateway, upstream) = set_up(Manner::Tight);
    // Nobody is there whom it could pass anything on to, and nobody listens at all.
    let (nobody, closed) = (upstream.to_string(), upstream);
    let ran = examine(&folder, closed, &[]).exit(2);
    assert!(ran.err.contains("takes no connection"), "{ran:?}");
    let ran = examine(&folder, gateway, &["--echo", &gateway.to_string()]).exit(2);
    assert!(ran.err.contains("end what listens there"), "{ran:?}");
    let ran = examine(
        &folder,
        gateway,
        &["--denied-path", "/public", "--echo", &nobody],
    )
    .exit(2);
    assert!(ran.err.contains("stands below"), "{ran:?}");
    folder.write("key", folder.read("denied"));
    let ran = examine(&folder, gateway, &["--echo", &nobody]).exit(2);
    assert!(
        ran.err.contains("403: the key may not GET this path"),
        "{ran:?}"
    );
}
