//! A service that has keyward in it, as its users meet it: the example for axum, a real process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::lifecycle::issue;
use crate::util::Folder;

/// How long anything may take on a machine that is busy, in seconds.
const PATIENCE_SECONDS: u64 = 60;

/// The example, ended with the test.
struct Example {
    child: Child,
    address: String,
}

impl Example {
    fn start(folder: &Folder) -> Self {
        let tests = std::env::current_exe().unwrap();
        let built = tests.parent().and_then(|deps| deps.parent()).unwrap();
        let mut child = Command::new(built.join("examples/axum"))
            .args(["keyward.toml", "127.0.0.1:0"])
            .current_dir(folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cargo build -p keyward --example axum` builds it, as `cargo test` does");
        let mut line = String::new();
        let told = child.stdout.take().unwrap();
        BufReader::new(told).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening at ");
        let address = address.unwrap().to_owned();
        Self { child, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        let patience = Duration::from_secs(PATIENCE_SECONDS);
        stream.set_read_timeout(Some(patience)).unwrap();
        stream
    }

    /// Sends a request, of which the answer is to be read.
    fn send(&self, path: &str, credential: &str) -> TcpStream {
        let mut stream = self.connect();
        let head = [
            &format!("GET {path} HTTP/1.1"),
            "Host: api.example.com",
            "Connection: close",
            &format!("X-API-Key: {credential}"),
        ];
        write!(stream, "{}\r\n\r\n", head.join("\r\n")).unwrap();
        stream
    }

    /// The status and the rest of an answer.
    fn ask(&self, path: &str, credential: &str) -> (u16, String) {
        let mut answer = String::new();
        self.send(path, credential)
            .read_to_string(&mut answer)
            .unwrap();
        let status = answer.split(' ').nth(1).unwrap();
        (status.parse().unwrap(), answer)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn an_open_stream_closes_when_its_key_is_suspended() {
    let folder = Folder::quickstart_with_database();
    let (credential, key) = issue(&folder);
    let example = Example::start(&folder);

    let (status, answer) = example.ask("/inventory/42", &credential);
    assert_eq!(status, 200);
    assert!(answer.ends_with("42, for sync\n"), "{answer}");
    assert_eq!(example.ask("/other", &credential).0, 403);
    assert_eq!(example.ask("/inventory/42", "kw_live_x").0, 401);

    let mut stream = BufReader::new(example.send("/inventory/live", &credential));
    let mut line = String::new();
    while line.trim_end() != "line 1" {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "it has ended");
    }
    let suspend = ["key", "suspend", &key, "--reason", "seen elsewhere"];
    folder.run(&suspend).exit(0);
    // It ends in good order: with the last, empty chunk.
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
    assert_eq!(example.ask("/inventory/42", &credential).0, 401);
}
