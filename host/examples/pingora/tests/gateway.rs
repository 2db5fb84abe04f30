//! The example as its users meet it: a real process between clients and an upstream that notes what
//! reaches it.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use keyward::clock::now;
use keyward::credential::IssuedSecret;
use keyward::credential::random::operating_system;
use keyward::key::Environment;
use keyward::timestamp::{DAY_MS, Timestamp};
use tempfile::TempDir;

/// How long anything may take on a machine that is busy, in seconds.
const PATIENCE_SECONDS: u64 = 60;
/// How often something is tried that takes its time, in ms.
const AGAIN_EVERY_MS: u64 = 100;

const CONFIG: &str = r#"
[registry]
keys = "keys.jsonl"

[log]
path = "log"
origin = "keyward.example/pingora"

[[route]]
method = ["GET", "HEAD"]
host = "api.example.com"
path = "/inventory/{item}"
scope = "inventory:read"

[[route]]
method = "POST"
host = "api.example.com"
path = "/inventory/{item}"
scope = "inventory:write"

[[policy]]
name = "scope"
module = "builtin:scope"

[[policy]]
name = "ip"
module = "builtin:ip"

[[policy]]
name = "rate"
module = "builtin:rate"
[policy.settings]
limits = [{ requests = 1_000, per = "1m", label = "requests-per-minute" }]

[server]
allow_loopback = true
trusted_proxies = ["127.0.0.1/32"]
"#;

/// A key of the file.
struct Key {
    secret: IssuedSecret,
    line: String,
}

impl Key {
    /// A key with some members of its own.
    fn new(id: &str, members: &str) -> Self {
        let id = id.parse().unwrap();
        let secret = IssuedSecret::generate(Environment::Live, id, &mut operating_system());
        let secret = secret.unwrap();
        let (issued, ends) = (now().before_ms(DAY_MS), now().millis() + 7 * 86_400_000);
        let line = format!(
            r#"{{"id":"{id}","owner":"sync","scopes":["inventory:read"],"issued_at":"{issued}",
            "expires_at":"{}","secret_sha256":"{}"{members}}}"#,
            Timestamp::from_millis(ends),
            secret.digest(),
        );
        Self {
            secret,
            line: line.replace('\n', "") + "\n",
        }
    }

    /// The header with the credential.
    fn header(&self) -> String {
        format!("X-API-Key: {}", self.secret.expose())
    }
}

/// The gateway, ended with the test.
struct Gateway {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
    /// The heads of requests that reached the upstream.
    passed: Receiver<String>,
}

impl Gateway {
    fn start(keys: &[&Key]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keyward.toml"), CONFIG).unwrap();
        let (upstream, passed) = upstream();
        // The port is free until somebody else takes it in the next moments.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let file: String = keys.iter().map(|key| &*key.line).collect();
        std::fs::write(folder.path().join("keys.jsonl"), file).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_keyward-pingora"))
            .args(["keyward.toml", &address.to_string(), &upstream.to_string()])
            .current_dir(folder.path())
            .spawn()
            .unwrap();
        let mut gateway = Self {
            child,
            address,
            folder,
            passed,
        };
        gateway.eventually("it listens", |it| {
            assert_eq!(it.child.try_wait().unwrap(), None);
            TcpStream::connect(it.address).is_ok()
        });
        gateway
    }

    /// Replaces the file of keys at once.
    fn write_keys(&self, file: &str) {
        let new = self.folder.path().join("keys.new");
        std::fs::write(&new, file).unwrap();
        std::fs::rename(new, self.folder.path().join("keys.jsonl")).unwrap();
    }

    /// Sends a request, and returns the answer's status and all of it.
    fn send(&self, request_line: &[u8], headers: &[&str]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let patience = Duration::from_secs(PATIENCE_SECONDS);
        stream.set_read_timeout(Some(patience)).unwrap();
        let mut head = [request_line, b" HTTP/1.1\r\n"].concat();
        for header in headers {
            head.extend([header.as_bytes(), b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        stream.write_all(&head).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_else(|| {
            panic!("{} has no answer", request_line.escape_ascii());
        });
        (status.parse().unwrap(), answer)
    }

    /// The answer to `GET /inventory/42`.
    fn read(&self, headers: &[&str]) -> (u16, String) {
        let always = ["Host: api.example.com", "Connection: close"];
        self.send(b"GET /inventory/42", &[&always, headers].concat())
    }

    fn eventually(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        for _ in 0..PATIENCE_SECONDS * 1_000 / AGAIN_EVERY_MS {
            if is_so(self) {
                return;
            }
            thread::sleep(Duration::from_millis(AGAIN_EVERY_MS));
        }
        panic!("never: {what}");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// An upstream that notes the heads of requests, without bodies.
fn upstream() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (note, passed) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let answer =
                b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
            reader.get_mut().write_all(answer).unwrap();
            if note.send(head).is_err() {
                return;
            }
        }
    });
    (address, passed)
}

/// A head of the upstream: its first line, and the headers in order, their names in lower case.
fn parsed(head: &str) -> (&str, Vec<(String, &str)>) {
    let (first, rest) = head.trim_end().split_once("\r\n").unwrap();
    let header = |line| {
        let (name, value) = str::split_once(line, ": ").unwrap();
        (name.to_ascii_lowercase(), value)
    };
    let mut headers: Vec<_> = rest.split("\r\n").map(header).collect();
    headers.sort_unstable();
    (first, headers)
}

/// All on one gateway: the start, which compiles the policies, takes longest.
#[test]
fn only_what_is_allowed_reaches_the_upstream() {
    let key = Key::new("k7Qp2mXw9LaR", "");
    let hurried = Key::new("Hurried00001", r#","labels":{"requests-per-minute":"2"}"#);
    let at_home = Key::new("Warehouse001", r#","allowed_networks":["203.0.113.0/24"]"#);
    let mut gateway = Gateway::start(&[&key, &hurried, &at_home]);
    what_is_allowed_says_whose_it_is(&gateway, &key);
    what_is_denied_is_answered(&gateway, &key);
    a_path_with_two_readings_is_refused(&gateway, &key);
    who_asks_too_often_is_told_when_to_come_back(&gateway, &hurried);
    a_forwarding_header_counts_as_far_as_it_is_trusted(&gateway, &at_home);
    a_key_that_is_revoked_is_refused(&mut gateway, &key);
}

fn what_is_allowed_says_whose_it_is(gateway: &Gateway, key: &Key) {
    let (status, answer) = gateway.send(
        b"GET /inventory/42?a=b",
        &[
            "Host: api.example.com",
            // What a client calls a header of the connection is taken away before ours are set.
            "Connection: close, X-Keyward-Subject",
            &key.header(),
            "X-Keyward-Subject: root",
            "X-Keyward-Subject: admin",
            "X_Keyward_Subject: root",
            "X.Keyward.Scopes: *:*",
            "X-Keyward_Key.Id: other",
            "X-Keyward-Later: root",
            "Accept: text/plain",
        ],
    );
    assert_eq!(status, 200, "{answer}");
    assert!(answer.ends_with("\r\n\r\nhello\n"), "{answer}");
    let answer = answer.to_ascii_lowercase();
    assert!(answer.contains("\r\nkeyward-key-expires: 20"), "{answer}");
    assert!(!answer.contains("\r\nx-keyward-"), "{answer}");

    let head = gateway.passed.recv().unwrap();
    let (first, headers) = parsed(&head);
    assert_eq!(first, "GET /inventory/42?a=b HTTP/1.1");
    let names: Vec<_> = headers.iter().map(|(name, _)| &**name).collect();
    assert_eq!(
        names,
        [
            "accept",
            "host",
            "x-keyward-decision",
            "x-keyward-key-id",
            "x-keyward-scopes",
            "x-keyward-subject",
            "x-keyward-warning",
        ]
    );
    for expected in [
        ("x-keyward-key-id".to_owned(), "k7Qp2mXw9LaR"),
        ("x-keyward-scopes".to_owned(), "inventory:read"),
        ("x-keyward-subject".to_owned(), "sync"),
    ] {
        assert!(headers.contains(&expected), "{headers:?}");
    }
}

fn what_is_denied_is_answered(gateway: &Gateway, key: &Key) {
    let credential = key.header();

    let (status, answer) = gateway.read(&[]);
    assert_eq!(status, 401);
    let head = answer.to_ascii_lowercase();
    for line in [
        "www-authenticate: bearer realm=\"keyward\"",
        "content-type: application/problem+json",
        "cache-control: no-store",
    ] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{answer}");
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(body.starts_with("{\"decision\""), "{answer}");
    let length = format!("content-length: {}", body.len());
    assert!(head.to_ascii_lowercase().contains(&length), "{answer}");

    assert_eq!(gateway.read(&["X-API-Key: kw_live_x"]).0, 401);
    assert_eq!(gateway.read(&[&credential, &credential]).0, 401);

    let host = "Host: api.example.com";
    let (status, answer) = gateway.send(
        b"POST /inventory/42",
        &[host, &credential, "Content-Length: 0"],
    );
    assert_eq!(status, 403);
    let scope = "error=\"insufficient_scope\", scope=\"inventory:write\"";
    assert!(answer.contains(scope), "{answer}");
    let (status, answer) = gateway.send(b"HEAD /other", &[host, &credential]);
    assert_eq!(status, 403);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(gateway.passed.try_recv().is_err());
}

/// Two servers may read such a path differently.
fn a_path_with_two_readings_is_refused(gateway: &Gateway, key: &Key) {
    let (host, credential) = ("Host: api.example.com", key.header());
    for (status, target) in [
        (403, &b"/inventory/%2e%2e/42"[..]),
        (403, b"/inventory/..;/42"),
        (403, b"/inventory/a%2fb"),
        (403, b"/inventory/a%252fb"),
        (403, b"//inventory/42"),
        (403, b"/inventory/42\\"),
        // These pingora refuses by itself.
        (400, b"/inventory/\xff"),
        (400, b"http://other.example/inventory/42"),
    ] {
        let (got, answer) = gateway.send(&[b"GET ", target].concat(), &[host, &credential]);
        assert_eq!(got, status, "{}: {answer}", target.escape_ascii());
    }
    assert!(gateway.passed.try_recv().is_err());
}

fn who_asks_too_often_is_told_when_to_come_back(gateway: &Gateway, hurried: &Key) {
    assert_eq!(gateway.read(&[&hurried.header()]).0, 200);
    assert_eq!(gateway.read(&[&hurried.header()]).0, 200);
    let (status, answer) = gateway.read(&[&hurried.header()]);
    assert_eq!(status, 429, "{answer}");
    let head = answer.to_ascii_lowercase();
    assert!(head.contains("\r\nretry-after: "), "{answer}");
    assert!(
        head.contains("\r\nratelimit-policy: \"key\";q=2;w=60\r\n"),
        "{answer}"
    );
}

fn a_forwarding_header_counts_as_far_as_it_is_trusted(gateway: &Gateway, at_home: &Key) {
    for (status, forwarded) in [
        (403, "X-Other: -"),
        (200, "X-Forwarded-For: 203.0.113.9"),
        (403, "X-Forwarded-For: 203.0.113.9, 198.51.100.7"),
        (403, "Forwarded: for=203.0.113.9"),
    ] {
        let (got, answer) = gateway.read(&[&at_home.header(), forwarded]);
        assert_eq!(got, status, "{forwarded}: {answer}");
    }
}

fn a_key_that_is_revoked_is_refused(gateway: &mut Gateway, key: &Key) {
    let revoked = "{\"lifecycle\":\"revoked\",\"id\"";
    let revoked = key.line.replace("{\"id\"", revoked);
    let credential = key.header();
    assert_eq!(gateway.read(&[&credential]).0, 200);
    gateway.write_keys(&revoked);
    gateway.eventually("it is refused", |it| it.read(&[&credential]).0 == 401);

    gateway.write_keys(&key.line);
    gateway.eventually("it is allowed", |it| it.read(&[&credential]).0 == 200);
    // Without keys to go by there are no decisions.
    gateway.write_keys("{");
    gateway.eventually("nothing is decided", |it| it.read(&[&credential]).0 == 503);
}
