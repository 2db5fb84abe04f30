//! Server-sent events of the end of keys, from the real process.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::lifecycle::issue;
use crate::serve::{Service, add_server, folder};
use crate::util::text;

/// How long anything may take on a machine that is busy, in seconds.
const PATIENCE_SECONDS: u64 = 60;

/// What was sent of a stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    fn of(service: &Service, key: &str) -> Self {
        let mut stream = TcpStream::connect(&service.address).unwrap();
        let limit = Duration::from_secs(PATIENCE_SECONDS);
        stream.set_read_timeout(Some(limit)).unwrap();
        write!(
            stream,
            "GET /events/keys/{key} HTTP/1.1\r\nHost: keyward\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        Self(BufReader::new(stream))
    }

    /// The data of the next event, which has this name.
    fn next(&mut self, name: &str) -> Value {
        let event = format!("event: {name}");
        let mut line = String::new();
        let mut is_named = false;
        loop {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "no `{event}`");
            is_named |= line.trim_end() == event;
            if let Some(data) = line.strip_prefix("data: ").filter(|_| is_named) {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    /// The lines up to an empty one, behind the head and the sizes of chunks.
    fn lines(&mut self) -> Vec<String> {
        let is_told = |line: &String| {
            ["event: ", "id: ", "data: "]
                .iter()
                .any(|it| line.starts_with(it))
        };
        let lines = (&mut self.0).lines().map(Result::unwrap);
        let told = lines.skip_while(|line| !is_told(line));
        told.take_while(|line| !line.is_empty()).collect()
    }

    /// Everything up to the end in good order: with the last, empty chunk.
    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
        rest
    }
}

#[test]
fn subscribers_hear_that_their_key_ends_and_others_hear_nothing() {
    let folder = folder();
    let (_, suspended) = issue(&folder);
    let (_, revoked) = issue(&folder);
    let (_, other) = issue(&folder);
    let service = Service::start(&folder);
    let [mut first, mut second, mut third] =
        [&suspended, &revoked, &other].map(|key| Events::of(&service, key));
    for (events, key) in [
        (&mut first, &suspended),
        (&mut second, &revoked),
        (&mut third, &other),
    ] {
        assert_eq!(events.next("held")["key"], **key);
    }

    let reason = ["--reason", "seen elsewhere"];
    let suspend = [&["key", "suspend", &suspended], &reason[..]].concat();
    folder.run(&suspend).exit(0);
    let told = first.next("ended");
    assert_eq!(
        (&told["key"], &told["cause"]),
        (&suspended.as_str().into(), &"suspended".into())
    );
    first.rest();
    let revoke = [&["key", "revoke", &revoked, "--emergency"], &reason[..]].concat();
    folder.run(&revoke).exit(0);
    assert_eq!(second.next("ended")["cause"], "revoked");
    second.rest();

    // Who comes back after that is told to stay away, and who asks for the first time is told.
    let path = format!("/events/keys/{revoked}");
    assert_eq!(
        service.ask(&path, &[("Last-Event-ID", "ended")]).status,
        204
    );
    let again = service.ask(&path, &[]);
    assert_eq!(again.status, 200);
    assert!(again.body.contains("event: ended"), "{}", again.body);
    assert_eq!(service.ask("/events/keys/000000000000", &[]).status, 404);
    let metrics = service.ask("/metrics", &[]);
    assert!(
        metrics.body.contains("keyward_event_streams 1"),
        "{}",
        metrics.body
    );

    // A stream does not keep the service from ending, and says nothing of its key then.
    service.end();
    assert!(!third.rest().contains("event: ended"));
}

#[test]
fn events_look_as_the_manual_shows_them() {
    let folder = folder();
    let (_, key) = issue(&folder);
    let service = Service::start(&folder);
    let mut events = Events::of(&service, &key);
    let mut seen = events.lines();
    folder
        .run(&["key", "suspend", &key, "--reason", "a test"])
        .exit(0);
    seen.extend(events.lines());
    let manual = text("host/docs/gateway.md");
    let (_, shown) = manual.split_once("```text\nevent: held").unwrap();
    let (shown, _) = shown.split_once("\n```").unwrap();
    let shown = format!("event: held{shown}");
    let shown: Vec<_> = shown.lines().filter(|line| !line.is_empty()).collect();
    // Ids and times are others.
    let values = regex::Regex::new(r#":"([0-9A-Za-z]{12}|20[0-9T:.-]+Z)""#).unwrap();
    let plain = |line: &str| values.replace_all(line, ":…").into_owned();
    let seen: Vec<_> = seen.iter().map(|line| plain(line)).collect();
    let shown: Vec<_> = shown.into_iter().map(plain).collect();
    assert_eq!(seen, shown);
}

#[test]
fn only_callers_that_are_known_hear_of_keys() {
    let folder = folder();
    let (_, key) = issue(&folder);
    let secret = "s".repeat(32);
    folder.write("caller.secret", &secret);
    add_server(&folder, "caller_secret = \"caller.secret\"\n");
    let service = Service::start(&folder);
    let path = format!("/events/keys/{key}");
    assert_eq!(service.ask(&path, &[]).status, 403);
    let answer = service.ask(
        "/events/keys/000000000000",
        &[("X-Keyward-Caller", &secret)],
    );
    assert_eq!(answer.status, 404);
}
