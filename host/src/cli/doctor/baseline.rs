//! What has to hold before anything odd is sent: the key opens the path, and nothing else does.

use zeroize::Zeroizing;

use super::gateway::Examination;
use super::head::{Head, Identity};
use super::judge::{Finding, Outcome, Row, header_of};
use super::kit::{Case, Draft};
use super::probe::IDENTITY;
use super::raw::Reply;
use crate::credential::Credential;

/// Its line of the report.
const ABOUT: (&str, &str, &str) = (
    "baseline",
    "the key opens the path, nothing else does, and the upstream is told whose key it is",
    "Nothing else was tried. See the configuration for your gateway in the manual, gateways.md.",
);

/// What the examination rests on.
pub(super) struct Baseline {
    /// What the upstream is told of the key; empty where nobody looks there.
    pub(super) identity: Identity,
    pub(super) row: Row,
}

/// The examination, and what was found so far.
struct Base<'a> {
    examined: &'a mut Examination,
    findings: Vec<Finding>,
    sent: usize,
}

/// Sends what has to be allowed and what has to be refused.
///
/// # Errors
/// What is wrong with the set-up, so that nothing can be said about the gateway.
pub(super) fn begin(
    examined: &mut Examination,
    denied_credential: Option<&Zeroizing<String>>,
) -> Result<Baseline, String> {
    let mut base = Base {
        examined,
        findings: Vec::new(),
        sent: 0,
    };
    let identity = base.allowed()?;
    base.refused(Draft::shown, "without a key")?;
    let header = base.examined.kit.header.clone();
    let wrong = base.wrong_credential();
    base.refused(
        |plain, shown| plain.with(&header, &wrong).shown(shown),
        "with a wrong key",
    )?;
    if let Some(key) = denied_credential {
        base.refused(
            |plain, shown| plain.with(&header, key).shown(shown),
            "with the denied key",
        )?;
    }
    if let Some(denied) = base.examined.kit.denied.clone() {
        let mut draft = base
            .examined
            .kit
            .keyed()
            .shown("the denied path, with the key");
        draft.target = denied;
        base.none_reaches(draft)?;
    }
    base.elsewhere()?;
    let mut row = Row::of(ABOUT, base.sent, base.findings);
    if row.outcome == Outcome::Note {
        row.remark = Some("Not wrong in itself; see whether it is what you want.".to_owned());
    }
    Ok(Baseline { identity, row })
}

impl Base<'_> {
    fn ask(&mut self, draft: Draft) -> Result<(Case, Reply, Vec<Head>), String> {
        let case = self.examined.kit.case(draft);
        self.sent = self.sent.saturating_add(1);
        let reply = self.examined.ask(&case)?;
        let heads = self.examined.heads_of(&case);
        Ok((case, reply, heads))
    }

    fn find(&mut self, outcome: Outcome, case: &str, what: String) {
        let case = case.to_owned();
        self.findings.push(Finding {
            case,
            what,
            outcome,
        });
    }

    fn allowed(&mut self) -> Result<Identity, String> {
        let draft = self.examined.kit.keyed().shown("with the key");
        let (case, reply, heads) = self.ask(draft)?;
        if !(200..300).contains(&reply.status) {
            return Err(refusal(reply.status, self.examined.echo.is_some()));
        }
        let Some(echo) = &self.examined.echo else {
            return Ok(Identity::new());
        };
        let address = echo.address();
        let is_http2 = echo.seen().iter().any(|head| head.method() == "PRI");
        let Some(head) = heads.first() else {
            let hint = if is_http2 {
                "somebody speaks HTTP/2 there: have the gateway speak HTTP/1.1 to it"
            } else {
                "point the route of this path at it, and have it answer nothing from a cache"
            };
            return Err(format!(
                "the gateway answered {}, and nothing reached {address}: {hint}",
                reply.status
            ));
        };
        if let Err(what) = head.framing() {
            self.find(
                Outcome::Fail,
                &case.shown,
                format!("reached the upstream with {what}"),
            );
        }
        let identity = head.identity();
        self.is_told(&identity);
        Ok(identity)
    }

    fn is_told(&mut self, identity: &Identity) {
        let shown = "what the upstream is told";
        for (name, values) in identity.iter().filter(|(_, values)| values.len() > 1) {
            self.find(
                Outcome::Fail,
                shown,
                format!("{} {} times", header_of(name), values.len()),
            );
        }
        let own = Credential::parse(&self.examined.kit.credential);
        let own = own
            .map(|key| key.key_id().as_str().to_owned())
            .unwrap_or_default();
        if let Some(told) = identity
            .get("key-id")
            .filter(|told| **told != [own.clone()])
        {
            let told = told.join(", ");
            self.find(
                Outcome::Fail,
                shown,
                format!("X-Keyward-Key-Id is `{told}`, not `{own}`"),
            );
        }
        let suffix = |name: &&str| name.trim_start_matches("X-Keyward-").to_ascii_lowercase();
        let missing = IDENTITY
            .iter()
            .filter(|name| !identity.contains_key(&suffix(name)));
        let missing: Vec<_> = missing.copied().collect();
        if !missing.is_empty() {
            self.find(Outcome::Note, shown, format!("not {}", missing.join(", ")));
        }
    }

    /// Something that keyward has to refuse with 401 or 403.
    fn refused(&mut self, draft: impl Fn(Draft, &str) -> Draft, shown: &str) -> Result<(), String> {
        let draft = draft(self.examined.kit.plain(), shown);
        let status = self.none_reaches(draft)?;
        if !matches!(status, 401 | 403) && !(200..300).contains(&status) {
            self.find(
                Outcome::Note,
                shown,
                format!("answered {status}, not 401 or 403"),
            );
        }
        Ok(())
    }

    fn none_reaches(&mut self, draft: Draft) -> Result<u16, String> {
        let (case, reply, heads) = self.ask(draft)?;
        if !heads.is_empty() {
            self.find(
                Outcome::Fail,
                &case.shown,
                "reached the upstream".to_owned(),
            );
        } else if (200..300).contains(&reply.status) {
            self.find(
                Outcome::Fail,
                &case.shown,
                format!("answered {}", reply.status),
            );
        }
        Ok(reply.status)
    }

    /// A credential with one character of its secret changed.
    fn wrong_credential(&self) -> Zeroizing<String> {
        let changed = |(at, letter)| match (at, letter) {
            (30, 'a') => 'b',
            (30, _) => 'a',
            (_, letter) => letter,
        };
        Zeroizing::new(
            self.examined
                .kit
                .credential
                .chars()
                .enumerate()
                .map(changed)
                .collect(),
        )
    }

    /// The key that may not be used from here has to be one that keyward knows.
    fn elsewhere(&mut self) -> Result<(), String> {
        let Some((key, _)) = self.examined.kit.elsewhere.clone() else {
            return Ok(());
        };
        let header = self.examined.kit.header.clone();
        let draft = self.examined.kit.plain().with(&header, &key);
        let (_, reply, heads) = self.ask(draft)?;
        if reply.status == 403 && heads.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the key of --elsewhere-credential-file is answered {} from here, and has to be \
             answered 403: one that is valid, may GET the path, and may not be used from this \
             machine",
            reply.status
        ))
    }
}

/// What is wrong with the set-up when the key does not open the path.
fn refusal(status: u16, has_echo: bool) -> String {
    let hint = match status {
        0 => "it is not a gateway that speaks HTTP/1.1, or too slow",
        401 => "keyward does not take the key, or does not get it; `keyward explain` says why",
        403 => "the key may not GET this path; `keyward explain` says why",
        404 => "the gateway has no route for it: see the path, and --connect for another host",
        429 => "the key has used up what it may; wait, or take another",
        500..=599 if has_echo => "the gateway does not reach keyward, or not this command",
        500..=599 => "the gateway does not reach keyward, or not the upstream",
        _ => "it has to be 200",
    };
    format!("the gateway answers the key with {status}: {hint}")
}
