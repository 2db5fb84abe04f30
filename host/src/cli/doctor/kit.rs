//! Requests to be: what they are made of, and what is expected of them.

use zeroize::Zeroizing;

/// The header by which a request is known again. Nothing of `keyward` is in its name: gateways
/// take such headers away.
pub(super) const MARK: &str = "X-Doctor";

/// What may become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Nothing reaches the upstream.
    Refused,
    /// The same, and no answer of success either.
    Closed,
    /// What reaches the upstream is what keyward has allowed, with what keyward says of it.
    Decided,
    /// The same; and it is worth a word when the header that was sent is there.
    Stripped,
    /// It is not keyward that answers.
    NotKeyward,
}

/// One thing to try, in several requests.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) id: &'static str,
    /// What is tried.
    pub(super) what: &'static str,
    /// What to do where something got past.
    pub(super) advice: &'static str,
    pub(super) expect: Expect,
    pub(super) cases: Vec<Case>,
    /// Why nothing is sent.
    pub(super) untested: Option<String>,
}

/// One request.
#[derive(Debug)]
pub(super) struct Case {
    /// It stands in [`MARK`], so that it is known again.
    pub(super) number: usize,
    /// What is odd about it, without credential.
    pub(super) shown: String,
    pub(super) method: String,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// What comes behind the answer is waited for.
    pub(super) lingers: bool,
}

/// A request to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) shown: String,
    pub(super) method: String,
    pub(super) target: String,
    pub(super) lines: Vec<String>,
    pub(super) body: String,
    pub(super) lingers: bool,
}

impl Draft {
    /// With a header.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name}: {value}"));
        self
    }

    /// With a line of the head as it is.
    pub(super) fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Called so in the report.
    pub(super) fn shown(mut self, text: &str) -> Self {
        text.clone_into(&mut self.shown);
        self
    }

    /// For another target.
    pub(super) fn to(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// With another method.
    pub(super) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }
}

/// Two paths, keys, and what requests are known by again.
pub(super) struct Kit {
    pub(super) authority: String,
    pub(super) allowed: String,
    pub(super) denied: Option<String>,
    /// The header of the credential.
    pub(super) header: String,
    pub(super) credential: Zeroizing<String>,
    /// A credential that may not be used from here, and an address from which it may.
    pub(super) elsewhere: Option<(Zeroizing<String>, String)>,
    pub(super) nonce: String,
    pub(super) next: usize,
}

impl Kit {
    /// A request for the allowed path without a credential.
    pub(super) fn plain(&self) -> Draft {
        Draft {
            method: "GET".to_owned(),
            target: self.allowed.clone(),
            ..Draft::default()
        }
    }

    /// The same with the credential.
    pub(super) fn keyed(&self) -> Draft {
        self.plain().with(&self.header, &self.credential)
    }

    /// What a forged header says.
    pub(super) fn forged(&self) -> String {
        format!("forged-{}", self.nonce)
    }

    /// How a request is known again.
    pub(super) fn mark(&self, number: usize) -> String {
        format!("{}-{number}.", self.nonce)
    }

    /// Makes the bytes of a request.
    pub(super) fn case(&mut self, draft: Draft) -> Case {
        let number = self.next;
        self.next = number.saturating_add(1);
        let mut text = Zeroizing::new(format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n{MARK}: {}\r\n",
            draft.method,
            draft.target,
            self.authority,
            self.mark(number)
        ));
        for line in &draft.lines {
            text.push_str(line);
            text.push_str("\r\n");
        }
        if !draft
            .lines
            .iter()
            .any(|line| line.starts_with("Connection:"))
        {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        text.push_str(&draft.body);
        Case {
            number,
            shown: draft.shown,
            method: draft.method,
            bytes: Zeroizing::new(text.as_bytes().to_vec()),
            lingers: draft.lingers,
        }
    }

    /// The same for several.
    pub(super) fn cases(&mut self, drafts: impl IntoIterator<Item = Draft>) -> Vec<Case> {
        drafts.into_iter().map(|draft| self.case(draft)).collect()
    }
}
