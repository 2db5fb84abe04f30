//! What became of what was sent, and whether that is as it should be.

use super::head::{Head, Identity};
use super::kit::{Case, Expect, Kit, Probe};
use super::paths::reading_as;
use super::raw::Reply;
use super::smuggle::HIDDEN;

/// What came of a probe, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// Nothing got past.
    Pass,
    /// It could not be looked at.
    NotChecked,
    /// Nothing got past keyward, and there is something to think about.
    Note,
    /// Something got past.
    Fail,
}

/// One request of which there is something to say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was odd about the request.
    pub(super) case: String,
    /// What became of it.
    pub(super) what: String,
    pub(super) outcome: Outcome,
}

/// A line of the report.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    pub(super) outcome: Outcome,
    /// How many requests were sent.
    pub(super) sent: usize,
    pub(super) findings: Vec<Finding>,
    /// Why it was not checked, or what to do.
    pub(super) remark: Option<String>,
}

impl Row {
    pub(super) fn of(
        (id, what, advice): (&'static str, &'static str, &'static str),
        sent: usize,
        findings: Vec<Finding>,
    ) -> Self {
        let outcomes = findings.iter().map(|finding| finding.outcome);
        let outcome = outcomes.max().unwrap_or(Outcome::Pass);
        let remark = (outcome > Outcome::NotChecked).then(|| advice.to_owned());
        Self {
            id,
            what,
            outcome,
            sent,
            findings,
            remark,
        }
    }

    pub(super) fn not_checked(id: &'static str, what: &'static str, why: String) -> Self {
        let (outcome, findings) = (Outcome::NotChecked, Vec::new());
        Self {
            id,
            what,
            outcome,
            sent: 0,
            findings,
            remark: Some(why),
        }
    }
}

/// What is known when everything was sent.
pub(super) struct Known<'a> {
    pub(super) kit: &'a Kit,
    /// What reached the upstream; `None`: nobody looked there.
    pub(super) heads: Option<&'a [Head]>,
    /// What the upstream is told of the key.
    pub(super) identity: &'a Identity,
}

/// Judges a probe by the answers to its cases, in their order.
pub(super) fn judge(probe: &Probe, replies: &[Result<Reply, String>], known: &Known<'_>) -> Row {
    if let Some(why) = &probe.untested {
        return Row::not_checked(probe.id, probe.what, why.clone());
    }
    let mut findings = Vec::new();
    for (case, reply) in probe.cases.iter().zip(replies) {
        let finding = |(outcome, what)| Finding {
            case: case.shown.clone(),
            what,
            outcome,
        };
        let found = match reply {
            Err(error) => vec![(Outcome::NotChecked, format!("not sent: {error}"))],
            Ok(reply) => of_case((probe.expect, case), reply, known),
        };
        findings.extend(found.into_iter().map(finding));
    }
    Row::of(
        (probe.id, probe.what, probe.advice),
        probe.cases.len(),
        findings,
    )
}

fn of_case(
    (expect, case): (Expect, &Case),
    reply: &Reply,
    known: &Known<'_>,
) -> Vec<(Outcome, String)> {
    let heads = known.heads_of(case);
    let mut found = Vec::new();
    for head in &heads {
        let wrong = match expect {
            Expect::Refused | Expect::Closed => Some(reached(head)),
            Expect::NotKeyward => None,
            Expect::Decided | Expect::Stripped => known.wrong_with(head, case),
        };
        found.extend(wrong.map(|what| (Outcome::Fail, what)));
        if expect == Expect::Stripped && head.field(&case.shown).is_some_and(|it| !it.is_empty()) {
            found.push((Outcome::Note, "reaches the upstream".to_owned()));
        }
    }
    let is_success = (200..300).contains(&reply.status) || reply.status == 101;
    let answered = format!("answered {}", reply.status);
    match expect {
        Expect::Closed if is_success && heads.is_empty() => found.push((Outcome::Fail, answered)),
        Expect::Refused if is_success && heads.is_empty() => found.push(match known.heads {
            None => (Outcome::Fail, answered),
            Some(_) => (
                Outcome::Note,
                format!("{answered} by something else than the upstream"),
            ),
        }),
        Expect::NotKeyward if heads.is_empty() && is_of_keyward(reply) => {
            found.push((Outcome::Fail, format!("{answered} by keyward")));
        }
        _ => {}
    }
    found
}

impl Known<'_> {
    /// What reached the upstream of one request.
    pub(super) fn heads_of(&self, case: &Case) -> Vec<&Head> {
        let mark = self.kit.mark(case.number);
        let heads = self.heads.unwrap_or_default().iter();
        heads.filter(|head| head.text().contains(&mark)).collect()
    }

    /// What is wrong with what reached the upstream as an allowed request.
    fn wrong_with(&self, head: &Head, case: &Case) -> Option<String> {
        if head
            .text()
            .contains(&format!("{}{HIDDEN}", self.kit.mark(case.number)))
        {
            return Some("the hidden request reached the upstream as one of its own".to_owned());
        }
        if let Err(what) = head.framing() {
            return Some(format!("reached the upstream with {what}"));
        }
        if let Some(what) = differing(self.identity, &head.identity()) {
            return Some(format!("reached the upstream with {what}"));
        }
        let denied = self.kit.denied.as_deref();
        if let Some(path) = denied.and_then(|denied| reading_as(head.target(), denied)) {
            return Some(format!("{}, which can be read as `{path}`", reached(head)));
        }
        let is_same = head.method().eq_ignore_ascii_case(&case.method);
        (!is_same).then(|| reached(head))
    }
}

fn reached(head: &Head) -> String {
    format!(
        "reached the upstream as `{} {}`",
        head.method(),
        head.target()
    )
}

/// Where what the upstream is told is not what it was told before. The decision's id is another
/// each time, and a warning may begin.
fn differing(expected: &Identity, told: &Identity) -> Option<String> {
    for (name, values) in told {
        let header = header_of(name);
        match (expected.get(name), &**values) {
            (None, _) => return Some(format!("`{header}: {}`", values.join(", "))),
            (Some(_), [_, _, ..]) => {
                return Some(format!(
                    "`{header}` {} times: {}",
                    values.len(),
                    values.join(", ")
                ));
            }
            (Some(_), [value]) if is_of_one_time(name) && !value.contains("forged") => {}
            (Some(expected), values) if expected != values => {
                return Some(format!("`{header}: {}`", values.join(", ")));
            }
            _ => {}
        }
    }
    let missing = expected.keys().find(|name| !told.contains_key(*name))?;
    Some(format!("no `{}`", header_of(missing)))
}

/// Whether a header differs from one decision to the next.
fn is_of_one_time(name: &str) -> bool {
    matches!(name, "decision" | "warning")
}

/// The header behind a folded name, as keyward writes it.
pub(super) fn header_of(name: &str) -> String {
    let written = |word: &str| {
        let (first, rest) = word.split_at_checked(1).unwrap_or_default();
        format!("-{}{rest}", first.to_ascii_uppercase())
    };
    let words: String = name.split('-').map(written).collect();
    format!("X-Keyward{words}")
}

/// Whether an answer is what only keyward says, and says to gateways alone.
fn is_of_keyward(reply: &Reply) -> bool {
    let text = reply.text.to_ascii_lowercase();
    let is_allow = text.contains("\nx-keyward-key-id:");
    let is_success = reply.status == 200;
    let is_metrics = is_success && text.contains("keyward_checks");
    let is_authzen = is_success && text.contains("\"decision_id\"");
    let is_ready = is_success && text.ends_with("\r\n\r\nready\n");
    is_allow || is_metrics || is_authzen || is_ready
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn kit() -> Kit {
        Kit {
            authority: "api.example.com".to_owned(),
            allowed: "/public/x".to_owned(),
            denied: Some("/admin".to_owned()),
            header: "X-API-Key".to_owned(),
            credential: Zeroizing::new("kw_test_secret".to_owned()),
            elsewhere: None,
            nonce: "n0".to_owned(),
            next: 1,
        }
    }

    fn row(expect: Expect, status: u16, heads: Option<&[&str]>) -> Outcome {
        let mut kit = kit();
        let draft = kit.keyed().shown("X-API-Key");
        let cases = vec![kit.case(draft)];
        let probe = Probe {
            id: "a",
            what: "b",
            advice: "c",
            expect,
            cases,
            untested: None,
        };
        let to_head = |text: &&str| Head::new(format!("{text}X-Doctor: n0-1.\r\n\r\n").as_bytes());
        let heads: Option<Vec<_>> = heads.map(|heads| heads.iter().map(to_head).collect());
        let identity = Head::new(HONEST.as_bytes()).identity();
        let known = Known {
            kit: &kit,
            heads: heads.as_deref(),
            identity: &identity,
        };
        let text = format!("HTTP/1.1 {status} X\r\n\r\n");
        judge(&probe, &[Ok(Reply { status, text })], &known).outcome
    }

    const HONEST: &str = "GET /public/x HTTP/1.1\r\nX-Keyward-Subject: a\r\n\
                          X-Keyward-Decision: 1\r\n";

    #[test]
    fn what_reaches_the_upstream_decides() {
        use Outcome::{Fail, Note, Pass};
        let with = |line: &str| format!("{HONEST}{line}\r\n");
        assert_eq!(row(Expect::Refused, 401, Some(&[])), Pass);
        assert_eq!(row(Expect::Refused, 401, Some(&[HONEST])), Fail);
        assert_eq!(row(Expect::Refused, 200, Some(&[])), Note);
        assert_eq!(row(Expect::Refused, 200, None), Fail);
        assert_eq!(row(Expect::Refused, 0, None), Pass);
        assert_eq!(row(Expect::Closed, 200, Some(&[])), Fail);
        assert_eq!(row(Expect::Closed, 405, Some(&[])), Pass);
        assert_eq!(row(Expect::Decided, 400, Some(&[])), Pass);
        assert_eq!(row(Expect::Decided, 200, Some(&[HONEST])), Pass);
        assert_eq!(
            row(
                Expect::Decided,
                200,
                Some(&[HONEST, &with("X_Keyward_Subject: b")])
            ),
            Fail
        );
        for (from, to) in [
            ("Subject: a", "Subject: b"),
            ("X-Keyward-Subject: a\r\n", ""),
            ("Decision: 1", "Decision: forged-n0"),
            ("/public/x", "/public/../admin"),
            ("/public/x", "/admin"),
            ("GET", "DELETE"),
        ] {
            let head = HONEST.replace(from, to);
            assert_eq!(row(Expect::Decided, 200, Some(&[&head])), Fail, "{head}");
        }
        for line in [
            "X-Keyward-Subject: a",
            "x.keyward.scopes: a",
            "X-Keyward-Subject : a",
            "X: a\rY: b",
            "Content-Length: 1\r\nTransfer-Encoding: chunked",
            "X-Doctor: n0-1.hidden",
        ] {
            assert_eq!(
                row(Expect::Decided, 200, Some(&[&with(line)])),
                Fail,
                "{line}"
            );
        }
        assert_eq!(
            row(
                Expect::Decided,
                200,
                Some(&[&HONEST.replace("n: 1", "n: 2")])
            ),
            Pass
        );
        assert_eq!(row(Expect::Stripped, 200, Some(&[HONEST])), Pass);
        assert_eq!(
            row(Expect::Stripped, 200, Some(&[&with("X-API-Key: a")])),
            Note
        );
        assert_eq!(
            row(Expect::Stripped, 200, Some(&[&with("X-API-Key:")])),
            Pass
        );
    }

    #[test]
    fn a_header_is_named_as_keyward_writes_it() {
        assert_eq!(header_of("key-id"), "X-Keyward-Key-Id");
        assert_eq!(header_of("\u{e9}-"), "X-Keyward--");
    }

    #[test]
    fn keyward_is_known_by_what_it_says_to_gateways() {
        let reply = |status, text: &str| Reply {
            status,
            text: text.to_owned(),
        };
        let allow = "HTTP/1.1 200 OK\r\nX-Keyward-Key-Id: a\r\n\r\n";
        let metrics = "HTTP/1.1 200 OK\r\n\r\nkeyward_checks_total 1";
        let authzen = "HTTP/1.1 200 OK\r\n\r\n{\"decision\":false,\"context\":{\"decision_id\":1}}";
        let ready = "HTTP/1.1 200 OK\r\n\r\nready\n";
        for text in [allow, metrics, authzen, ready] {
            assert!(is_of_keyward(&reply(200, text)), "{text}");
        }
        let denial = "HTTP/1.1 403 F\r\nX-Keyward-Decision: 1\r\n\r\n{\"decision\":\"1\"}";
        assert!(!is_of_keyward(&reply(403, denial)));
        assert!(!is_of_keyward(&reply(200, "HTTP/1.1 200 OK\r\n\r\nok\n")));
    }
}
