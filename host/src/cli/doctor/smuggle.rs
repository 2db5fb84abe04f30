//! Requests that end where one server says and not where another does, and lines that one server
//! takes for a header and another does not.

use super::kit::{Draft, Expect, Kit, MARK, Probe};

/// What stands in the mark of a request that is hidden in another.
pub(super) const HIDDEN: &str = "hidden";

/// The probes.
pub(super) fn probes(kit: &mut Kit) -> Vec<Probe> {
    vec![bodies(kit), lines(kit), hosts(kit)]
}

fn bodies(kit: &mut Kit) -> Probe {
    let mut cases = Vec::new();
    for (shown, lines) in BODIES {
        let hidden = hidden(kit);
        let size = format!("{:x}", hidden.len());
        // As one body by its length, or as no chunk with a request behind it; and the other way.
        let after_chunks = format!("0\r\n\r\n{hidden}");
        let in_chunk = format!("{size}\r\n{hidden}\r\n0\r\n\r\n");
        let short = size.len().saturating_add(2).to_string();
        let long = after_chunks.len().to_string();
        for (body, length) in [(after_chunks, long), (in_chunk, short)] {
            let mut draft = kit.keyed().shown(shown);
            for line in *lines {
                draft = draft.line(&line.replace("LENGTH", &length));
            }
            draft.lingers = true;
            draft.body = body;
            cases.push(kit.case(draft));
        }
    }
    Probe {
        id: "two-lengths",
        what: "a request hidden in another by two statements of its length",
        advice: "Refuse requests with two lengths, or a Transfer-Encoding that is not `chunked`: a \
                 newer version of the gateway does, as a rule.",
        expect: Expect::Decided,
        cases,
        untested: None,
    }
}

/// Two statements about where a body ends; `LENGTH` stands for a length.
const BODIES: &[(&str, &[&str])] = &[
    (
        "Content-Length and Transfer-Encoding",
        &["Content-Length: LENGTH", "Transfer-Encoding: chunked"],
    ),
    (
        "Transfer-Encoding and Content-Length",
        &["Transfer-Encoding: chunked", "Content-Length: LENGTH"],
    ),
    (
        "Content-Length and `Transfer-Encoding: xchunked`",
        &["Content-Length: LENGTH", "Transfer-Encoding: xchunked"],
    ),
    (
        "Content-Length and `Transfer-Encoding : chunked`",
        &["Content-Length: LENGTH", "Transfer-Encoding : chunked"],
    ),
    (
        "Content-Length and a tab before `chunked`",
        &["Content-Length: LENGTH", "Transfer-Encoding:\tchunked"],
    ),
    (
        "Content-Length and a control character before `chunked`",
        &["Content-Length: LENGTH", "Transfer-Encoding: \u{b}chunked"],
    ),
    (
        "Content-Length and `Transfer-Encoding: chunked, identity`",
        &[
            "Content-Length: LENGTH",
            "Transfer-Encoding: chunked, identity",
        ],
    ),
    (
        "Content-Length and Transfer_Encoding",
        &["Content-Length: LENGTH", "Transfer_Encoding: chunked"],
    ),
    (
        "Content-Length and Transfer-Encoding on the line before",
        &[
            "Content-Length: LENGTH",
            "X-Before: a",
            " Transfer-Encoding: chunked",
        ],
    ),
    (
        "two Content-Length, 0 first",
        &["Content-Length: 0", "Content-Length: LENGTH"],
    ),
    (
        "two Content-Length, 0 last",
        &["Content-Length: LENGTH", "Content-Length: 0"],
    ),
    ("Content-Length with a list", &["Content-Length: 0, LENGTH"]),
    ("Content-Length with a sign", &["Content-Length: +LENGTH"]),
];

/// A request of its own, without a key, for the number that the next case gets.
fn hidden(kit: &Kit) -> String {
    let mark = kit.mark(kit.next);
    let target = kit.denied.as_ref().unwrap_or(&kit.allowed);
    format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\n{MARK}: {mark}{HIDDEN}\r\nConnection: close\r\n\r\n",
        kit.authority
    )
}

fn lines(kit: &mut Kit) -> Probe {
    let forged = format!("X-Keyward-Subject: {}", kit.forged());
    let odd = |line: String, shown: &str| -> Draft { kit.keyed().line(&line).shown(shown) };
    let drafts = [
        odd(forged.replacen(':', " :", 1), "a space before the colon"),
        odd(forged.replacen(':', "\t:", 1), "a tab before the colon"),
        odd(
            format!("X-Before: a\r\n {forged}"),
            "a line that goes on the one before",
        ),
        odd(format!("X-Before: a\n{forged}"), "a bare LF"),
        odd(format!("X-Before: a\r{forged}"), "a bare CR"),
        odd(format!("X-Before: a\0\r\n{forged}"), "a NUL"),
        odd(
            format!("X-Before: a\r\n\t{forged}"),
            "a line with a tab first",
        ),
        odd(format!(": a\r\n{forged}"), "a header without a name"),
        odd(format!("X-Before\r\n{forged}"), "a header without a colon"),
        odd(
            format!("\u{b}{forged}"),
            "a control character before the name",
        ),
        odd(
            format!("\u{a0}{forged}"),
            "a space of Unicode before the name",
        ),
    ];
    Probe {
        id: "odd-lines",
        what: "identity headers in lines that servers read differently",
        advice: "Refuse what is no header, or have a newer version of the gateway do so.",
        expect: Expect::Decided,
        cases: drafts.into_iter().map(|draft| kit.case(draft)).collect(),
        untested: None,
    }
}

fn hosts(kit: &mut Kit) -> Probe {
    let mut absolute = kit.keyed().shown("another host in the target");
    absolute.target = format!("http://other.test{}", kit.allowed);
    let drafts = [
        kit.keyed().with("Host", "other.test").shown("Host twice"),
        kit.keyed()
            .line("Host : other.test")
            .shown("Host twice, with a space before the colon"),
        absolute,
    ];
    Probe {
        id: "two-hosts",
        what: "two hosts in one request",
        advice: "Refuse them: keyward may have decided about the other one.",
        expect: Expect::Decided,
        cases: drafts.into_iter().map(|draft| kit.case(draft)).collect(),
        untested: None,
    }
}
