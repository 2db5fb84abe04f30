//! The head of a request as it reached the upstream, read as generously as the most careless of
//! upstreams would.

use std::collections::BTreeMap;

/// The longest head that is read, in bytes.
pub(super) const HEAD_MAX_BYTES: usize = 64 * 1024;
/// What the names of keyward's headers begin with, once they are folded.
const PREFIX: &str = "x-keyward-";

/// Values by the names that they stand under, folded, without `x-keyward-`.
pub(super) type Identity = BTreeMap<String, Vec<String>>;

/// Where a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Behind so many bytes of a body.
    Length(usize),
    /// Behind the last chunk.
    Chunked,
}

/// A head, each byte a character.
#[derive(Clone, Debug)]
pub(super) struct Head {
    text: String,
}

impl Head {
    /// Keeps a head, from its first line to the empty one.
    pub(super) fn new(raw: &[u8]) -> Self {
        let text = raw.iter().map(|byte| char::from(*byte)).collect();
        Self { text }
    }

    /// All of it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        // Some upstreams end a line at a bare CR or LF.
        self.text
            .split(['\r', '\n'])
            .filter(|line| !line.is_empty())
    }

    /// The method.
    pub(super) fn method(&self) -> &str {
        let line = self.lines().next().unwrap_or_default();
        line.split(' ').next().unwrap_or_default()
    }

    /// The target, whatever characters it has.
    pub(super) fn target(&self) -> &str {
        let line = self.lines().next().unwrap_or_default();
        let rest = line.split_once(' ').map_or("", |(_, rest)| rest);
        rest.rsplit_once(" HTTP/")
            .map_or(rest, |(target, _)| target)
    }

    /// Names and values; also of what a strict reader takes for the rest of a line before.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.trim(), value.trim()))
    }

    /// The value of the first header with this name, in any case.
    pub(super) fn field(&self, wanted: &str) -> Option<&str> {
        let mut fields = self.fields();
        fields.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value))
    }

    fn values<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a str> {
        let is_wanted = move |(name, _): &(&str, &str)| name.eq_ignore_ascii_case(wanted);
        self.fields().filter(is_wanted).map(|(_, value)| value)
    }

    /// What an upstream could take for keyward's word: upstreams that make variables of names read
    /// `X_Keyward_Subject`, `X.Keyward.Subject` and the like as the same.
    pub(super) fn identity(&self) -> Identity {
        let mut identity = Identity::new();
        for (name, value) in self.fields() {
            let folded = folded(name);
            if let Some(name) = folded.strip_prefix(PREFIX) {
                let values = identity.entry(name.to_owned()).or_default();
                values.push(value.to_owned());
            }
        }
        identity
    }

    /// Where the request ends, and which host it is for.
    ///
    /// # Errors
    /// What two readers could read differently.
    pub(super) fn framing(&self) -> Result<Framing, &'static str> {
        self.is_sound()?;
        let lengths: Vec<&str> = self.values("content-length").collect();
        let codings: Vec<&str> = self.values("transfer-encoding").collect();
        match (&*lengths, &*codings) {
            ([], []) => Ok(Framing::Length(0)),
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = length
                    .parse()
                    .map_err(|_| "a Content-Length out of bounds")?;
                Ok(Framing::Length(length))
            }
            ([_], []) => Err("a Content-Length that is no number"),
            ([_, _, ..], _) => Err("more than one Content-Length"),
            ([_], _) => Err("Content-Length and Transfer-Encoding"),
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            ([], _) => Err("a Transfer-Encoding that is not `chunked` alone"),
        }
    }

    fn is_sound(&self) -> Result<(), &'static str> {
        let lines = self.text.replace("\r\n", "\n");
        if lines.contains('\r') {
            return Err("a bare CR");
        }
        for line in lines.split('\n').skip(1).filter(|line| !line.is_empty()) {
            let Some((name, _)) = line.split_once(':') else {
                return Err("a line without a colon");
            };
            if line.starts_with([' ', '\t']) {
                return Err("a line that goes on the line before");
            }
            if name.is_empty() || name.ends_with([' ', '\t']) {
                return Err("a space before a colon, or nothing");
            }
        }
        let mut hosts = self.values("host");
        let (host, more) = (hosts.next(), hosts.next());
        let target = self.target().split_once("://").map(|(_, rest)| rest);
        let named = target.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        let differs = |named: &str| host.is_some_and(|it| !it.eq_ignore_ascii_case(named));
        if more.is_some() || named.is_some_and(differs) {
            return Err("two hosts");
        }
        Ok(())
    }
}

/// A name as the most careless of upstreams compares it.
fn folded(name: &str) -> String {
    let fold = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    name.chars().map(fold).collect()
}

/// Where a head ends in what was read so far, behind its empty line.
pub(super) fn head_end(raw: &[u8]) -> Option<usize> {
    let ends = |end: &[u8]| {
        let at = raw.windows(end.len()).position(|window| window == end);
        at.map(|at| at.saturating_add(end.len()))
    };
    [ends(b"\n\r\n"), ends(b"\n\n")].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::new(text.as_bytes())
    }

    #[test]
    fn every_spelling_of_an_identity_is_found() {
        let read = head(
            "GET /a HTTP/1.1\r\nX-Keyward-Subject: a\r\nx_keyward_subject: b\r\n\
             X.Keyward!Subject : c\r\nX-A: 1\r\n X-Keyward-Subject: d\r\n\
             X-B: 1\rX-Keyward-Subject: e\nX-Keyward-Subject:f\r\nX-Keywards: g\r\n\r\n",
        );
        let expected = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec();
        assert_eq!(read.identity(), [("subject".to_owned(), expected)].into());
    }

    #[test]
    fn a_target_is_kept_as_it_came() {
        for (line, method, target) in [
            ("GET /a b HTTP/1.1", "GET", "/a b"),
            ("get http://a/b?c HTTP/1.1", "get", "http://a/b?c"),
            ("GET /a", "GET", "/a"),
            ("", "", ""),
            ("GET /\u{e9} HTTP/1.0", "GET", "/\u{c3}\u{a9}"),
        ] {
            let read = head(&format!("{line}\r\n\r\n"));
            assert_eq!((read.method(), read.target()), (method, target));
        }
    }

    #[test]
    fn what_two_readers_read_differently_is_told() {
        for (lines, expected) in [
            ("", Ok(Framing::Length(0))),
            ("Content-Length: 7\r\n", Ok(Framing::Length(7))),
            ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
            ("Host: a\r\nX: 1\r\n", Ok(Framing::Length(0))),
            ("Content-Length: +7\r\n", Err("no number")),
            ("Content-Length: 7, 7\r\n", Err("no number")),
            (
                "Content-Length: 99999999999999999999999\r\n",
                Err("out of bounds"),
            ),
            (
                "Content-Length: 7\r\ncontent-length: 7\r\n",
                Err("more than one"),
            ),
            (
                "Content-Length: 7\r\nTransfer-Encoding: x\r\n",
                Err("and Transfer"),
            ),
            ("Transfer-Encoding: gzip, chunked\r\n", Err("alone")),
            ("Transfer-Encoding : chunked\r\n", Err("before a colon")),
            ("X: 1\r\n\tY: 2\r\n", Err("goes on")),
            ("X: 1\rY: 2\r\n", Err("bare CR")),
            ("X\r\n", Err("without a colon")),
            (": 1\r\n", Err("nothing")),
            ("Host: a\r\nHost: a\r\n", Err("two hosts")),
        ] {
            let framing = head(&format!("GET / HTTP/1.1\r\n{lines}\r\n")).framing();
            match (framing, expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{lines:?}"),
                (Err(read), Err(part)) => assert!(read.contains(part), "{lines:?}: {read}"),
                other => panic!("{lines:?}: {other:?}"),
            }
        }
        let absolute = "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(head(absolute).framing(), Err("two hosts"));
        assert!(head(&absolute.replace("//b/", "//A?x=/")).framing().is_ok());
    }

    #[test]
    fn a_head_ends_behind_its_empty_line() {
        for (raw, end) in [
            ("GET / HTTP/1.1\r\n\r\nbody", Some(18)),
            ("GET / HTTP/1.1\n\nbody", Some(16)),
            ("GET / HTTP/1.1\n\r\nbody\n\n", Some(17)),
            ("GET / HTTP/1.1\r\n", None),
            ("", None),
        ] {
            assert_eq!(head_end(raw.as_bytes()), end, "{raw:?}");
        }
    }
}
