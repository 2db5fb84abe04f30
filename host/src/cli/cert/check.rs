//! `keyward cert check`: what somebody does who was given a certificate or a statement.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueHint};

use super::super::log::{PolicyFile, signed_text};
use super::super::output::{clip, printable};
use super::super::{Failure, Status, complain, open, print, say};
use super::PublicKey;
use crate::governance::certificate::{self, Certificate, ReasonClaim};
use crate::governance::statement::{STATEMENT_MAX_BYTES, Statement};
use crate::tlog::key::Verifier;
use crate::tlog::policy::{Accepted, Policy};
use crate::tlog::proof::PROOF_MAX_BYTES;

/// Arguments of `keyward cert check`.
#[derive(Args, Debug)]
pub(in crate::cli) struct CheckArgs {
    /// The certificate of a revocation, or the statement that nothing was allowed
    #[arg(value_hint = ValueHint::FilePath)]
    file: PathBuf,
    #[command(flatten)]
    policy: PolicyFile,
    #[command(flatten)]
    key: PublicKey,
    /// For a statement: the log folder, or a copy of it, in which it is looked up again
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    log: Option<PathBuf>,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward cert check k7Qp2mXw9LaR.tlog-proof --policy log.policy --key governance.pub
  keyward cert check k7Qp2mXw9LaR.no-allow --policy log.policy --key governance.pub --log copy

Exit status: 0 it holds; 1 it does not, and the message says which link is broken.";

/// The longest text of somebody else that is shown, in characters.
const SHOWN_MAX_CHARS: usize = 1_024;
/// How a statement begins: the tag of a COSE_Sign1. A proof is text.
const STATEMENT_START: u8 = 0xd2;

/// Runs the command.
pub(super) fn run(config: &Path, args: &CheckArgs) -> Result<Status, Failure> {
    let policy = args.policy.read(config)?;
    let keys = args.key.read(config)?;
    let most = PROOF_MAX_BYTES.max(STATEMENT_MAX_BYTES);
    let bytes = open::read_limited(&args.file, most)
        .with_context(|| format!("`{}` cannot be read", args.file.display()))
        .map_err(Failure::Usage)?;
    if let Some(log) = args.log.as_deref().filter(|log| !log.is_dir()) {
        return Err(Failure::usage(anyhow!(
            "there is no log folder `{}`",
            log.display()
        )));
    }
    let checked = if bytes.first() == Some(&STATEMENT_START) {
        statement(&bytes, (&policy, &keys), args.log.as_deref())
    } else if args.log.is_some() {
        return Err(Failure::usage(anyhow!(
            "--log is for statements; a certificate proves itself"
        )));
    } else {
        certificate::check(&bytes, &policy, &keys)
            .map(|(certificate, accepted)| certificate_text(&certificate, &accepted))
            .map_err(anyhow::Error::new)
    };
    match checked {
        Ok(text) => print(&printable(&text)),
        Err(error) => {
            complain(&anyhow!(
                "`{}` does not hold: {error:#}",
                args.file.display()
            ));
            Ok(Status::DidNotHold)
        }
    }
}

fn certificate_text(certificate: &Certificate, accepted: &Accepted<'_>) -> String {
    let claims = &certificate.claims;
    if claims.is_allowed_after() {
        say("warning: something was allowed with the key after it was revoked");
    }
    let someone = |name: &Option<String>| match name {
        Some(name) => format!("`{}`", clip(name, SHOWN_MAX_CHARS)),
        None => "somebody".to_owned(),
    };
    let mut text = format!(
        "key {} was revoked at {} by {}\n",
        claims.key,
        claims.revoked_at,
        someone(&claims.by)
    );
    // Writing to a string does not fail.
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<14} {value}");
    };
    line(
        "reason",
        match &claims.reason {
            Some(reason) => reason_text(reason),
            None => "not said".to_owned(),
        },
    );
    line("record", claims.key_record.to_string());
    line(
        "order",
        match &claims.order {
            None => "none: in an emergency".to_owned(),
            Some(order) => {
                let at = order.at.map_or_else(String::new, |at| format!(" at {at}"));
                format!("{} by {}{at}", order.digest, someone(&order.by))
            }
        },
    );
    line("revoked in", format!("entry {}", claims.event));
    line(
        "last allowed",
        match claims.last_allowed {
            None => format!("never, from entry {} on", claims.read_from),
            Some(it) => format!("entry {} at {}, leaf {}", it.index, it.time, it.leaf),
        },
    );
    line(
        "first denied",
        match claims.first_denied {
            None => "none until it was certified".to_owned(),
            Some(it) => format!("entry {} at {}", it.index, it.time),
        },
    );
    line(
        "certified",
        format!("entry {} at {}", certificate.index, certificate.issued_at),
    );
    line("by", by(&certificate.key));
    text.push_str(&signed_text(&certificate.checkpoint, accepted));
    text
}

/// A reason; of one that was cut, that it was.
fn reason_text(reason: &ReasonClaim) -> String {
    let text = clip(&reason.text, SHOWN_MAX_CHARS);
    match &reason.whole {
        None => text,
        Some(whole) => format!("{text}… (the log has the whole, SHA-256 {whole})"),
    }
}

fn statement(
    bytes: &[u8],
    (policy, keys): (&Policy, &[Verifier]),
    log: Option<&Path>,
) -> anyhow::Result<String> {
    let (statement, accepted) = Statement::check(bytes, policy, keys)?;
    if let Some(log) = log {
        statement
            .check_content(log)
            .with_context(|| format!("log folder `{}`", log.display()))?;
    }
    let claims = &statement.claims;
    let head = claims.checkpoint.checkpoint().head();
    let mut text = format!(
        "key {}: {} decisions in entries {} to {}, and nothing was allowed\n",
        claims.key,
        claims.decisions,
        claims.from,
        head.size.saturating_sub(1)
    );
    let _ = writeln!(text, "  stated         at {}", claims.issued_at);
    let _ = writeln!(text, "  by             {}", by(&statement.key));
    let content = match log {
        Some(_) => "the log bears it out",
        None => "not looked up in the log; that needs --log",
    };
    let _ = writeln!(text, "  content        {content}");
    text.push_str(&signed_text(&claims.checkpoint, &accepted));
    Ok(text)
}

fn by(key: &Verifier) -> String {
    format!("{} (Ed25519, key {:08x})", key.name(), key.key_id())
}
