//! The check service as a gateway meets it: the real process, over real sockets.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::lifecycle::issue;
use crate::util::Folder;

/// How long anything may take on a machine that is busy, in seconds.
const PATIENCE_SECONDS: u64 = 60;

/// A service that runs, and is ended with the test.
pub(crate) struct Service {
    child: Child,
    /// Where it listens over TCP.
    pub(crate) address: String,
    told: BufReader<std::process::ChildStderr>,
}

impl Service {
    /// Starts it, and waits until it is ready.
    pub(crate) fn start(folder: &Folder) -> Self {
        let service = Self::listening(folder);
        service.wait_until("/readyz", 200);
        service
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn listening(folder: &Folder) -> Self {
        Self::of(folder.command(&["serve", "--log-format", "json"]))
    }

    /// Starts one that may have so many files open, and waits until it is ready.
    pub(crate) fn with_files(folder: &Folder, files: u32) -> Self {
        let serve = folder.command(&["serve", "--log-format", "json"]);
        let mut shell = std::process::Command::new("sh");
        let limited = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        shell.args(["-c", &limited]).arg(serve.get_program());
        shell.args(serve.get_args());
        for (name, value) in serve.get_envs() {
            value.map(|value| shell.env(name, value));
        }
        shell.current_dir(serve.get_current_dir().unwrap());
        let service = Self::of(shell);
        service.wait_until("/readyz", 200);
        service
    }

    fn of(mut command: std::process::Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut address = String::new();
        while address.is_empty() {
            let mut line = String::new();
            assert!(told.read_line(&mut line).unwrap() > 0, "it does not listen");
            address = listening(&line).unwrap_or_default();
        }
        Self {
            child,
            address,
            told,
        }
    }

    /// Sends a request of HTTP/1.1 and reads its answer.
    pub(crate) fn ask(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let stream = TcpStream::connect(&self.address).unwrap();
        Answer::to(stream, path, headers)
    }

    /// A check of the forward profile.
    pub(crate) fn check(&self, credential: &str, method: &str, uri: &str) -> Answer {
        self.ask("/check/forward", &forward(credential, method, uri))
    }

    fn wait_until(&self, path: &str, status: u16) {
        let tries = PATIENCE_SECONDS * 20;
        let is_there = (0..tries).any(|_| {
            thread::sleep(Duration::from_millis(50));
            self.ask(path, &[]).status == status
        });
        assert!(is_there, "{path} is never {status}");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// Ends it in good order, and returns what it told.
    pub(crate) fn end(mut self) -> String {
        self.signal("-TERM");
        let status = self.child.wait().unwrap();
        let mut told = String::new();
        self.told.read_to_string(&mut told).unwrap();
        assert!(status.success(), "{status}: {told}");
        told
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn listening(line: &str) -> Option<String> {
    let told: Value = serde_json::from_str(line).ok()?;
    let address = told["fields"]["address"].as_str()?;
    (!address.starts_with("unix:")).then(|| address.to_owned())
}

pub(crate) fn forward<'a>(
    credential: &'a str,
    method: &'a str,
    uri: &'a str,
) -> [(&'a str, &'a str); 4] {
    [
        ("X-API-Key", credential),
        ("X-Forwarded-Method", method),
        ("X-Forwarded-Host", "api.example.com"),
        ("X-Forwarded-Uri", uri),
    ]
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Sends a request over a stream, which is closed after the answer.
    pub(crate) fn to(stream: impl Read + Write, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::try_to(stream, path, headers).expect("an answer")
    }

    /// As [`Answer::to`]; `None`: there is none.
    pub(crate) fn try_to(
        mut stream: impl Read + Write,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<Self> {
        let mut text = format!("GET {path} HTTP/1.1\r\nHost: keyward\r\nConnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes()).ok()?;
        let mut answer = String::new();
        // TLS may be ended without a word.
        let _whole = stream.read_to_string(&mut answer);
        answer.starts_with("HTTP/").then(|| Self::read(&answer))
    }

    pub(crate) fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no answer: {text:?}")),
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }
}

/// A folder with a registry in a database and a service on a free port and a socket.
pub(crate) fn folder() -> Folder {
    let folder = Folder::quickstart_with_database();
    add_server(&folder, "allow_loopback = true\n");
    folder
}

pub(crate) fn add_server(folder: &Folder, more: &str) {
    let server = "\n[server]\nlisten = [\"127.0.0.1:0\", \"unix:kw.sock\"]\n";
    let toml = folder.read("keyward.toml");
    let toml = toml.split("\n[server]").next().unwrap().to_owned();
    folder.write("keyward.toml", toml + server + more);
}

/// The decisions in the log.
fn decisions(folder: &Folder) -> Vec<Value> {
    let log = folder.run(&["log", "cat", "log"]).exit(0).json();
    let is_decision = |entry: &Value| entry["type"] == "decision";
    log.into_iter().filter(is_decision).collect()
}

/// The decisions in the log, by their reasons.
pub(crate) fn reasons(folder: &Folder) -> Vec<String> {
    let reason = |it: &Value| it["reason"].as_str().unwrap().to_owned();
    decisions(folder).iter().map(reason).collect()
}

#[test]
fn a_gateway_is_answered_and_every_answer_is_recorded() {
    let folder = folder();
    let (credential, id) = issue(&folder);
    let service = Service::start(&folder);
    let allowed = service.check(&credential, "GET", "/inventory/42?x=1");
    assert_eq!(
        (allowed.status, allowed.body.as_str()),
        (200, ""),
        "{allowed:?}"
    );
    assert_eq!(allowed.header("cache-control"), Some("no-store"));
    assert_eq!(
        allowed.header("x-keyward-key-id"),
        Some(&*id.to_ascii_lowercase())
    );
    for name in ["subject", "scopes", "decision", "warning"] {
        assert!(
            allowed.header(&format!("x-keyward-{name}")).is_some(),
            "{allowed:?}"
        );
    }
    let missing = service.ask(
        "/check/forward",
        &forward(&credential, "GET", "/inventory/42")[1..],
    );
    assert_eq!(missing.status, 401);
    assert!(
        missing
            .header("www-authenticate")
            .unwrap()
            .contains("bearer")
    );
    let unmapped = service.check(&credential, "GET", "/elsewhere");
    assert_eq!(unmapped.status, 403);
    let decision: Value = serde_json::from_str(&unmapped.body).unwrap();
    assert!(
        unmapped.body.len() <= 1024 && !unmapped.body.contains("unmapped"),
        "{unmapped:?}"
    );
    // What a gateway leaves out denies, and is recorded.
    let less = service.ask("/check/forward", &[("X-API-Key", &credential)]);
    assert_eq!(less.status, 403);
    let ambiguous = service.check(&credential, "GET", "/inventory/..%2f42");
    assert_eq!(ambiguous.status, 403);
    // Nothing else is asked here.
    assert_eq!(service.ask("/", &[]).status, 404);
    assert_eq!(service.ask("/check/other", &[]).status, 404);
    let metrics = service.ask("/metrics", &[]);
    let counted = "keyward_checks_total{profile=\"forward\",effect=\"allow\",\
                   http_response_status_code=\"200\"} 1";
    assert!(metrics.body.contains(counted), "{metrics:?}");
    let told = service.end();
    assert!(
        !told.contains(&credential) && told.contains("ending"),
        "{told}"
    );
    assert_eq!(
        reasons(&folder),
        [
            "scope.granted",
            "key.missing",
            "scope.unmapped",
            "request.malformed",
            "request.path-ambiguous"
        ]
    );
    let log = folder.run(&["log", "cat", "log"]).exit(0).out;
    assert!(log.contains(decision["decision"].as_str().unwrap()));
    folder.run(&["replay", "log"]).exit(0);
}

/// Also that of a check which could not be read, or is no request.
#[test]
fn an_entry_says_where_its_request_came_from() {
    let folder = folder();
    add_server(
        &folder,
        "allow_loopback = true\ntrusted_proxies = [\"127.0.0.0/8\"]\n",
    );
    let (credential, _) = issue(&folder);
    let service = Service::start(&folder);
    let from = ("X-Forwarded-For", "198.51.100.9, 203.0.113.7, 127.0.0.2");
    let mut headers = forward(&credential, "GET", "/inventory/42").to_vec();
    assert_eq!(service.ask("/check/forward", &headers).status, 200);
    headers.push(from);
    assert_eq!(service.ask("/check/forward", &headers).status, 200);
    assert_eq!(service.ask("/check/forward", &[from]).status, 403);
    // A part of it is what no request may have.
    let host = [("X-Forwarded-Host", "no host"), ("X-Forwarded-Uri", "/")];
    let host = [&host[..], &[from, ("X-Forwarded-Method", "GET")]].concat();
    assert_eq!(service.ask("/check/forward", &host).status, 403);
    let unreadable = [("X-Forwarded-For", "kw_live_secret, 127.0.0.2")];
    let near = UnixStream::connect(folder.file("kw.sock")).unwrap();
    let unreadable = [&headers[..4], &unreadable].concat();
    let answer = Answer::to(near, "/check/forward", &unreadable);
    assert_eq!(answer.status, 200, "{answer:?}");
    service.end();
    let clients: Vec<_> = decisions(&folder)
        .iter()
        .map(|it| it["client"].clone())
        .collect();
    let read = json!({
        "address": "203.0.113.7",
        "peer": "127.0.0.1",
        "chain": ["127.0.0.2", "203.0.113.7"],
    });
    let expected = [
        json!({ "address": "127.0.0.1", "peer": "127.0.0.1", "chain": [] }),
        read.clone(),
        read.clone(),
        read,
        json!({ "address": null, "peer": null, "chain": ["127.0.0.2", "unreadable"] }),
    ];
    assert_eq!(clients, expected);
    let ids = decisions(&folder);
    let explain = |at: usize| {
        let id = ids[at]["decision"].as_str().unwrap();
        folder.run(&["explain", id]).exit(0).out
    };
    let line = "  client    203.0.113.7, peer 127.0.0.1, chain 127.0.0.2, 203.0.113.7\n";
    assert!(explain(1).contains(line), "{}", explain(1));
    let line = "  client    unknown, peer without an address, chain 127.0.0.2, unreadable\n";
    assert!(explain(4).contains(line), "{}", explain(4));
    folder.run(&["replay", "log"]).exit(0);
}

#[test]
fn only_callers_that_are_known_may_ask() {
    let folder = folder();
    let (credential, _) = issue(&folder);
    add_server(&folder, "caller_secret = \"caller.secret\"\n");
    let secret = "0123456789abcdef0123456789abcdef";
    folder.write("caller.secret", "short\n");
    let weak = folder.run(&["serve"]).exit(2);
    assert!(weak.err.contains("32 to 512"), "{weak:?}");
    folder.write("caller.secret", format!("{secret}\n"));
    let service = Service::start(&folder);
    let headers = forward(&credential, "GET", "/inventory/42");
    let refused = service.ask("/check/forward", &headers);
    assert_eq!(refused.status, 403);
    assert!(
        refused.header("x-keyward-decision").is_none(),
        "{refused:?}"
    );
    assert_eq!(service.ask("/metrics", &[]).status, 403);
    assert_eq!(service.ask("/healthz", &[]).status, 200);
    let mut known = headers.to_vec();
    known.push(("X-Keyward-Caller", secret));
    assert_eq!(service.ask("/check/forward", &known).status, 200);
    // Whoever may use the socket may ask.
    let near = UnixStream::connect(folder.file("kw.sock")).unwrap();
    assert_eq!(Answer::to(near, "/check/forward", &headers).status, 200);
    service.end();
    assert_eq!(reasons(&folder), ["scope.granted", "scope.granted"]);
    assert!(!folder.file("kw.sock").exists());
    // Without anybody who may call there is no service, and without [server] neither.
    let toml = folder.read("keyward.toml");
    let toml = toml.replace("caller_secret = \"caller.secret\"\n", "");
    folder.write("keyward.toml", toml.replace(", \"unix:kw.sock\"", ""));
    let nobody = folder.run(&["serve"]).exit(2);
    assert!(nobody.err.contains("nobody may call"), "{nobody:?}");
    let toml = toml.split("\n[server]").next().unwrap().to_owned();
    folder.write("keyward.toml", toml);
    let nowhere = folder.run(&["serve"]).exit(2);
    assert!(nowhere.err.contains("[server]"), "{nowhere:?}");
}

#[test]
fn a_change_of_a_key_or_of_the_rules_is_soon_in_force() {
    let folder = folder();
    let (credential, id) = issue(&folder);
    let service = Service::start(&folder);
    let status = |uri| service.check(&credential, "GET", uri).status;
    let becomes = |uri, expected| {
        let tries = PATIENCE_SECONDS * 20;
        let is_so = (0..tries).any(|_| {
            thread::sleep(Duration::from_millis(50));
            status(uri) == expected
        });
        assert!(is_so, "{uri} is never {expected}");
    };
    assert_eq!((status("/inventory/1"), status("/new/1")), (200, 403));
    folder
        .run(&["key", "suspend", &id, "--reason", "a test"])
        .exit(0);
    becomes("/inventory/1", 401);
    folder
        .run(&["key", "resume", &id, "--reason", "a test"])
        .exit(0);
    becomes("/inventory/1", 200);
    // A file that is wrong changes nothing; one that is right is taken without a signal.
    let toml = folder.read("keyward.toml");
    folder.write("keyward.toml", toml.replace("[[route]]", "[[rout]]"));
    thread::sleep(Duration::from_millis(2_500));
    assert_eq!(status("/inventory/1"), 200);
    let route = "[[route]]\nmethod = \"GET\"\npath = \"/new/{id}\"\nscope = \"inventory:read\"\n";
    folder.write(
        "keyward.toml",
        toml.replacen("[[route]]", &format!("{route}\n[[route]]"), 1),
    );
    becomes("/new/1", 200);
    folder.write("keyward.toml", &toml);
    service.signal("-HUP");
    becomes("/new/1", 403);
    folder
        .run(&["key", "revoke", &id, "--reason", "a test", "--emergency"])
        .exit(0);
    becomes("/inventory/1", 401);
    let told = service.end();
    assert!(told.contains("the configuration is not taken"), "{told}");
    folder.run(&["log", "verify"]);
    folder.run(&["registry", "check"]).exit(0);
    folder.run(&["replay", "log"]).exit(0);
}

#[test]
fn a_slow_or_odd_client_is_its_own_loss() {
    let folder = folder();
    let (credential, _) = issue(&folder);
    let service = Service::start(&folder);
    // Heads that never end, held open.
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(&service.address).unwrap();
            stream
                .write_all(b"GET /check/forward HTTP/1.1\r\nX-A: ")
                .unwrap();
            stream
        })
        .collect();
    let send = |text: &[u8]| {
        let mut stream = TcpStream::connect(&service.address).unwrap();
        // It may be closed before all is sent.
        let _sent = stream.write_all(text);
        let mut answer = Vec::new();
        let _read = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        answer
            .split(' ')
            .nth(1)
            .and_then(|it| it.parse::<u16>().ok())
    };
    let large = format!(
        "GET /check/forward HTTP/1.1\r\nX-A: {}\r\n\r\n",
        "a".repeat(200_000)
    );
    assert!(matches!(send(large.as_bytes()), Some(431) | None));
    let many = "X-A: b\r\n".repeat(1_000);
    let many = format!("GET /check/forward HTTP/1.1\r\n{many}\r\n");
    assert!(matches!(send(many.as_bytes()), Some(431) | None));
    assert!(matches!(
        send(b"\x00\x01\x02 nonsense\r\n\r\n"),
        Some(400) | None
    ));
    let body = "POST /check/forward HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                Content-Length: 1000000\r\n\r\n";
    let body = format!("{body}{}", "b".repeat(1_000_000));
    assert!(matches!(send(body.as_bytes()), Some(413) | None));
    // The preface of HTTP/2, and nothing that it could mean.
    assert_eq!(
        send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        None
    );
    for _ in 0..20 {
        assert_eq!(
            service.check(&credential, "GET", "/inventory/1").status,
            200
        );
    }
    drop(slow);
    service.end();
}

#[test]
fn what_was_begun_is_answered_when_the_service_ends() {
    let folder = folder();
    let (credential, _) = issue(&folder);
    let service = Service::start(&folder);
    let address = service.address.clone();
    let askers: Vec<_> = (0..4)
        .map(|_| {
            let (address, credential) = (address.clone(), credential.clone());
            thread::spawn(move || {
                let mut answered = 0_usize;
                // Until nobody listens any more.
                while let Ok(stream) = TcpStream::connect(&address) {
                    let headers = forward(&credential, "GET", "/inventory/1");
                    let mut text =
                        "GET /check/forward HTTP/1.1\r\nHost: k\r\nConnection: close\r\n"
                            .to_owned();
                    for (name, value) in headers {
                        text.push_str(&format!("{name}: {value}\r\n"));
                    }
                    text.push_str("\r\n");
                    let mut stream = stream;
                    let sent = stream.write_all(text.as_bytes());
                    let mut answer = String::new();
                    let read = stream.read_to_string(&mut answer);
                    if sent.is_ok() && read.is_ok() && !answer.is_empty() {
                        assert_eq!(Answer::read(&answer).status, 200);
                        answered += 1;
                    }
                }
                answered
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(500));
    service.end();
    let answered: usize = askers.into_iter().map(|it| it.join().unwrap()).sum();
    let recorded = reasons(&folder).len();
    assert!(
        answered > 0 && answered <= recorded,
        "{answered} of {recorded}"
    );
    assert!(recorded <= answered + 4, "{answered} of {recorded}");
}
