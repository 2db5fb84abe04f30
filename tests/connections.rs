//! What many, slow or silent connections do to those who ask: nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::lifecycle::issue;
use crate::serve::{Service, folder};

/// How long anything may take on a machine that is busy, in seconds.
const PATIENCE_SECONDS: u64 = 60;
/// How many files the service may have open; half of them are for connections.
const FILES: u32 = 160;

fn connect(service: &Service) -> TcpStream {
    let stream = TcpStream::connect(&service.address).unwrap();
    let limit = Duration::from_secs(PATIENCE_SECONDS);
    stream.set_read_timeout(Some(limit)).unwrap();
    stream
}

/// Asks and keeps the connection.
fn ask(stream: &mut TcpStream) {
    let request = b"GET /healthz HTTP/1.1\r\nHost: keyward\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "it was closed");
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

fn connection_with(service: &Service, begin: &[u8]) -> TcpStream {
    let mut stream = connect(service);
    stream.write_all(begin).unwrap();
    stream
}

#[test]
fn those_who_ask_find_a_place_among_many_who_do_not() {
    let folder = folder();
    let (credential, _) = issue(&folder);
    let service = Service::with_files(&folder, FILES);
    let mut kept = connect(&service);
    ask(&mut kept);
    let begun: [&[u8]; 5] = [
        b"",
        b"GET / HTTP/1.1\r\nHost: key",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"PRI * HT",
        b"\x16\x03\x01",
    ];
    let mut idle = Vec::new();
    for round in 0..60 {
        idle.extend(begun.iter().map(|begin| connection_with(&service, begin)));
        if round % 4 == 0 {
            let answer = service.check(&credential, "GET", "/inventory/42");
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    ask(&mut kept);
    let metrics = service.ask("/metrics", &[]).body;
    assert!(metrics.contains("connections_refused_total 0"), "{metrics}");
    let evicted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("keyward_connections_evicted_total "));
    let evicted: u32 = evicted.unwrap().parse().unwrap();
    assert!((100..=300).contains(&evicted), "{metrics}");
    drop(idle);
    service.end();
}

#[test]
fn a_head_that_comes_slowly_is_not_waited_for() {
    let folder = folder();
    issue(&folder);
    let service = Service::start(&folder);
    let mut kept = connect(&service);
    ask(&mut kept);
    let mut slow = connect(&service);
    let limit = Duration::from_millis(500);
    slow.set_read_timeout(Some(limit)).unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nX-Slow: ")
        .unwrap();
    let closed = (0..PATIENCE_SECONDS * 2).find(|_| {
        // A byte every half second, so that it is never silent.
        let is_closed = slow.write_all(b"x").is_err();
        is_closed || matches!(slow.read(&mut [0]), Ok(0))
    });
    let half_seconds = closed.expect("it was closed");
    assert!(
        half_seconds >= 16,
        "closed after {half_seconds} half seconds"
    );
    // Silence between two requests is no fault.
    ask(&mut kept);
}
