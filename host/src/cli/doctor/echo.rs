//! The upstream while a gateway is examined: it notes the head of every request, byte for byte, and
//! answers 200.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::head::{Framing, HEAD_MAX_BYTES, Head, head_end};

/// How many connections there are at once; others are closed.
const CONNECTIONS_MAX: usize = 256;
/// How many heads are kept; what comes behind them is answered and not looked at.
const HEADS_MAX: usize = 10_000;
/// The longest body that is read, in bytes.
const BODY_MAX_BYTES: usize = 1024 * 1024;
/// How long a gateway may keep a connection without a request, in seconds.
const IDLE_MAX_SECONDS: u64 = 60;

/// The upstream. It ends with the process.
#[derive(Debug)]
pub(super) struct Echo {
    seen: Arc<Mutex<Vec<Head>>>,
    address: SocketAddr,
}

impl Echo {
    /// Listens at an address and port.
    ///
    /// # Errors
    /// When that is not possible.
    pub(super) fn listen(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        thread::Builder::new().spawn(move || accept(&listener, &noted))?;
        Ok(Self { seen, address })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has reached it so far.
    pub(super) fn seen(&self) -> Vec<Head> {
        self.seen.lock().clone()
    }
}

fn accept(listener: &TcpListener, seen: &Arc<Mutex<Vec<Head>>>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Out of descriptors, as a rule; some may be given back.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        if open.fetch_add(1, Ordering::AcqRel) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::AcqRel);
            continue;
        }
        let (seen, count) = (Arc::clone(seen), Arc::clone(&open));
        let begun = thread::Builder::new().spawn(move || {
            // A gateway that goes away is no news.
            let _ended = serve(stream, &seen);
            count.fetch_sub(1, Ordering::AcqRel);
        });
        if begun.is_err() {
            open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn serve(stream: TcpStream, seen: &Mutex<Vec<Head>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(IDLE_MAX_SECONDS)))?;
    stream.set_write_timeout(Some(Duration::from_secs(IDLE_MAX_SECONDS)))?;
    let mut gateway = Gateway {
        stream,
        raw: Vec::new(),
    };
    loop {
        let head = gateway.head()?;
        let (framing, is_head) = (head.framing(), head.method() == "HEAD");
        let closes = head
            .field("connection")
            .is_some_and(|it| it.eq_ignore_ascii_case("close"));
        // Behind a head that can be read in two ways nobody knows where the next one begins.
        let is_last = closes || framing.is_err() || head.text().contains(" HTTP/1.0\r\n");
        {
            let mut seen = seen.lock();
            if seen.len() < HEADS_MAX {
                seen.push(head);
            }
        }
        match framing {
            Ok(Framing::Length(bytes)) => gateway.skip(bytes)?,
            Ok(Framing::Chunked) => gateway.skip_chunks()?,
            Err(_) => {}
        }
        let connection = if is_last { "close" } else { "keep-alive" };
        let body = if is_head { "" } else { "ok\n" };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n\
             Content-Length: 3\r\nConnection: {connection}\r\n\r\n{body}"
        );
        gateway.stream.write_all(answer.as_bytes())?;
        if is_last {
            return Ok(());
        }
    }
}

/// A gateway's connection, and what was read from it and not used yet.
struct Gateway {
    stream: TcpStream,
    raw: Vec<u8>,
}

impl Gateway {
    fn head(&mut self) -> io::Result<Head> {
        loop {
            if let Some(end) = head_end(&self.raw) {
                let head: Vec<u8> = self.raw.drain(..end).collect();
                return Ok(Head::new(&head));
            }
            self.more(HEAD_MAX_BYTES)?;
        }
    }

    fn skip(&mut self, bytes: usize) -> io::Result<()> {
        if bytes > BODY_MAX_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        while self.raw.len() < bytes {
            self.more(BODY_MAX_BYTES)?;
        }
        self.raw.drain(..bytes);
        Ok(())
    }

    fn skip_chunks(&mut self) -> io::Result<()> {
        let mut total = 0_usize;
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16);
            let size = size.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            if size == 0 {
                break;
            }
            total = total.saturating_add(size);
            if total > BODY_MAX_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.skip(size)?;
            self.line()?;
        }
        while !self.line()?.is_empty() {}
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.raw.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.raw.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more(HEAD_MAX_BYTES)?;
        }
    }

    /// Reads on, unless `max_bytes` are there already.
    fn more(&mut self, max_bytes: usize) -> io::Result<()> {
        let mut part = [0; 4096];
        let read = self.stream.read(&mut part)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.raw.len() > max_bytes {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.raw
            .extend_from_slice(part.get(..read).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_each_head_as_it_came_and_no_body() {
        let echo = Echo::listen("127.0.0.1:0").unwrap();
        let mut gateway = TcpStream::connect(echo.address()).unwrap();
        let first = "POST /a HTTP/1.1\r\nX_Odd: \u{e9}\r\nContent-Length: 4\r\n\r\n";
        let second = "POST /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let third = "HEAD /c HTTP/1.1\r\nConnection: close\r\n\r\n";
        let sent = format!("{first}GET {second}3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\n{third}");
        gateway.write_all(sent.as_bytes()).unwrap();
        let mut answers = String::new();
        gateway.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
        assert_eq!(answers.matches("ok\n").count(), 2, "{answers}");
        let seen: Vec<_> = echo
            .seen()
            .iter()
            .map(|head| head.text().to_owned())
            .collect();
        assert_eq!(
            seen,
            [&*first.replace('\u{e9}', "\u{c3}\u{a9}"), second, third]
        );
    }

    #[test]
    fn what_may_be_two_requests_ends_the_connection() {
        let echo = Echo::listen("127.0.0.1:0").unwrap();
        let mut gateway = TcpStream::connect(echo.address()).unwrap();
        let head = "GET /a HTTP/1.1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n";
        gateway
            .write_all(format!("{head}0\r\n\r\nGET ").as_bytes())
            .unwrap();
        let mut answer = Vec::new();
        // It may be reset, with bytes unread.
        let _read = gateway.read_to_end(&mut answer);
        assert_eq!(echo.seen().len(), 1);
    }
}
