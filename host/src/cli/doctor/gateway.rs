//! `keyward doctor gateway`: sends an operator's own gateway what attackers send, and reports what
//! got past it. With `--echo` the command is the upstream too, and sees what reaches one.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum, ValueHint};
use zeroize::Zeroizing;

use super::super::{Failure, Status, print, say};
use super::baseline;
use super::echo::Echo;
use super::head::Head;
use super::judge::{Known, Outcome, Row, judge};
use super::kit::{Case, Expect, Kit, Probe};
use super::raw::{Line, Reply};
use super::report;
use super::site::{Site, check_path};
use crate::credential::{CREDENTIAL_BYTES, Credential};

/// Where the credential is when no file is named.
const CREDENTIAL_VARIABLE: &str = "KEYWARD_CREDENTIAL";
/// How long what is still under way has to reach the upstream at the end, in milliseconds.
const SETTLE_MS: u64 = 500;

/// Arguments of `keyward doctor gateway`.
#[derive(Args, Debug)]
pub(in crate::cli) struct GatewayArgs {
    /// A path behind the gateway that the key may GET, such as http://api.example.com/public/x
    url: String,
    /// Be the upstream at this address and port, to which the gateway passes the path on
    #[arg(long, value_name = "ADDRESS")]
    echo: Option<String>,
    /// A file with the key's credential; by default the environment's KEYWARD_CREDENTIAL
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    credential_file: Option<PathBuf>,
    /// A path that the same key may not GET
    #[arg(long, value_name = "PATH")]
    denied_path: Option<String>,
    /// A file with the credential of a key that may not GET the path
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    denied_credential_file: Option<PathBuf>,
    /// A file with the credential of a key that may GET it, and not from this machine
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(requires = "elsewhere_address")]
    elsewhere_credential_file: Option<PathBuf>,
    /// An address from which that key may be used
    #[arg(long, value_name = "IP", requires = "elsewhere_credential_file")]
    elsewhere_address: Option<IpAddr>,
    /// The header for the credential
    #[arg(long, value_name = "NAME", default_value = "X-API-Key")]
    credential_header: String,
    /// Connect to this address and port instead of the URL's
    #[arg(long, value_name = "ADDRESS")]
    connect: Option<String>,
    /// PEM certificates that may sign the gateway's; by default those of the web
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ca: Option<PathBuf>,
    /// By default a table on a terminal, and JSON Lines elsewhere
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// How the report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person
    Table,
    /// JSON Lines, one for each probe
    Json,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward doctor gateway http://api.example.com/public/x --connect 127.0.0.1:8000 \\
    --echo 127.0.0.1:8080 --credential-file key --denied-path /admin
  keyward doctor gateway https://api.example.com/public/x --credential-file key

Run it against a gateway of yours only. Point one route of it at the address of --echo first: this
command is the upstream then, and sees what would have reached yours. Without --echo it sees answers
alone, and leaves out what they do not show. It sends GET and other requests that change nothing.

Exit status: 0 nothing got past; 1 something did; 2 usage, or the set-up is not as it has to be.";

/// A gateway, the way to it, and what reaches the upstream behind it.
pub(super) struct Examination {
    pub(super) kit: Kit,
    pub(super) echo: Option<Echo>,
    line: Line,
}

impl Examination {
    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When the gateway takes no connection.
    pub(super) fn ask(&self, case: &Case) -> Result<Reply, String> {
        let asked = self.line.ask(&case.bytes, case.lingers);
        asked.map_err(|error| format!("the gateway takes no connection: {error}"))
    }

    /// What has reached the upstream of a request so far.
    pub(super) fn heads_of(&self, case: &Case) -> Vec<Head> {
        let mark = self.kit.mark(case.number);
        let mut seen = self.echo.as_ref().map(Echo::seen).unwrap_or_default();
        seen.retain(|head| head.text().contains(&mark));
        seen
    }
}

/// Runs the command.
pub(super) fn run(args: &GatewayArgs) -> Result<Status, Failure> {
    let mut examined = prepare(args).map_err(Failure::Usage)?;
    let denied = args.denied_credential_file.as_deref();
    let denied = denied
        .map(credential_of)
        .transpose()
        .map_err(Failure::Usage)?;
    let base = baseline::begin(&mut examined, denied.as_ref());
    let base = base.map_err(|text| Failure::usage(anyhow!(text)))?;
    let mut rows = vec![base.row];
    if rows.iter().all(|row| row.outcome != Outcome::Fail) {
        let probes = probes(&mut examined);
        let count: usize = probes.iter().map(|probe| probe.cases.len()).sum();
        say(format_args!(
            "sending {count} requests to {}, marked `X-Doctor: {}-…`: GET, methods that change \
             nothing, and one POST to keyward's own path",
            args.url, examined.kit.nonce
        ));
        let replies = send(&examined, &probes);
        thread::sleep(Duration::from_millis(SETTLE_MS));
        let heads = examined.echo.as_ref().map(Echo::seen);
        let known = Known {
            kit: &examined.kit,
            heads: heads.as_deref(),
            identity: &base.identity,
        };
        let judged = probes.iter().zip(&replies);
        rows.extend(judged.map(|(probe, replies)| judge(probe, replies, &known)));
        let why = "this command speaks HTTP/1.1 only";
        rows.push(Row::not_checked(
            "http2",
            "the same over HTTP/2",
            why.to_owned(),
        ));
        tell_of_others(&examined, &heads.unwrap_or_default());
    }
    let is_person = io::stdout().is_terminal();
    let format = args.format.unwrap_or(if is_person {
        Format::Table
    } else {
        Format::Json
    });
    print(&match format {
        Format::Table => report::table(&rows),
        Format::Json => report::json(&rows).map_err(Failure::storage)?,
    })?;
    let failed = rows.iter().any(|row| row.outcome == Outcome::Fail);
    Ok(if failed {
        Status::DidNotHold
    } else {
        Status::Done
    })
}

fn prepare(args: &GatewayArgs) -> anyhow::Result<Examination> {
    let site: Site = args
        .url
        .parse()
        .map_err(|error: String| anyhow!(error))
        .context("the URL")?;
    let credential = match (&args.credential_file, std::env::var(CREDENTIAL_VARIABLE)) {
        (Some(path), _) => credential_of(path)?,
        (None, Ok(text)) => checked(&Zeroizing::new(text)).context(CREDENTIAL_VARIABLE)?,
        (None, Err(_)) => {
            return Err(anyhow!(
                "there is no credential: name a file with --credential-file, or set {CREDENTIAL_VARIABLE}"
            ));
        }
    };
    if let Some(denied) = &args.denied_path {
        check_path(denied)
            .map_err(|error| anyhow!(error))
            .context("--denied-path")?;
        let below = format!("{}/", denied.trim_end_matches('/'));
        if format!("{}/", site.path).starts_with(&below) {
            return Err(anyhow!(
                "`{}` stands below the denied path `{denied}`",
                site.path
            ));
        }
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !args.credential_header.bytes().all(is_token) || args.credential_header.is_empty() {
        return Err(anyhow!("the name of a header has letters, digits and `-`"));
    }
    let elsewhere = match (&args.elsewhere_credential_file, args.elsewhere_address) {
        (Some(path), Some(address)) => Some((credential_of(path)?, address.to_string())),
        _ => None,
    };
    let line = Line::to(&site, args.connect.as_deref(), args.ca.as_deref());
    let line = line.map_err(|error| anyhow!(error))?;
    let echo = args.echo.as_deref().map(|address| {
        let context = || format!("cannot be the upstream at `{address}`; end what listens there");
        Echo::listen(address).with_context(context)
    });
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).map_err(|error| anyhow!("no randomness: {error}"))?;
    let kit = Kit {
        authority: site.authority,
        allowed: site.path,
        denied: args.denied_path.clone(),
        header: args.credential_header.clone(),
        credential,
        elsewhere,
        nonce: format!("{:016x}", u64::from_le_bytes(nonce)),
        next: 1,
    };
    Ok(Examination {
        kit,
        echo: echo.transpose()?,
        line,
    })
}

/// The credential in a file, alone on its first line.
fn credential_of(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let shown = || format!("the credential `{}`", path.display());
    let mut text = Zeroizing::new(String::new());
    let file = File::open(path).with_context(shown)?;
    let max_bytes = u64::try_from(CREDENTIAL_BYTES.saturating_mul(2))?;
    file.take(max_bytes)
        .read_to_string(&mut text)
        .with_context(shown)?;
    checked(&text).with_context(shown)
}

fn checked(text: &str) -> anyhow::Result<Zeroizing<String>> {
    let text = Zeroizing::new(text.trim().to_owned());
    Credential::parse(&text)?;
    Ok(text)
}

/// All probes; those that only the upstream could judge are not sent where nobody looks there.
fn probes(examined: &mut Examination) -> Vec<Probe> {
    let mut probes = examined.kit.probes();
    if examined.echo.is_none() {
        for probe in &mut probes {
            if matches!(probe.expect, Expect::Decided | Expect::Stripped) {
                probe.untested = Some("needs --echo: only an upstream sees it".to_owned());
                probe.cases.clear();
            }
        }
    }
    probes
}

fn send(examined: &Examination, probes: &[Probe]) -> Vec<Vec<Result<Reply, String>>> {
    let answers = |probe: &Probe| probe.cases.iter().map(|case| examined.ask(case)).collect();
    probes.iter().map(answers).collect()
}

/// Says how much reached the upstream that was not sent from here: it was answered like the rest.
fn tell_of_others(examined: &Examination, heads: &[Head]) {
    let is_other = |head: &&Head| !head.text().contains(&examined.kit.nonce);
    let others = heads.iter().filter(is_other).count();
    if others > 0 {
        say(format_args!(
            "{others} requests of others reached the upstream, and were answered 200"
        ));
    }
}
