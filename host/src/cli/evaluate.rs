//! `keyward evaluate`: decides access requests from a file, in order, in constant memory.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum, ValueHint};

use super::{Failure, Status, open, output, say};
use crate::authorizer::Authorizer;
use crate::clock;
use crate::decision::{Decision, Permission};
use crate::log::AppendErrorKind;
use crate::request::AccessRequest;
use crate::request::lines::{LineError, RequestReader, WipedReader};

/// Arguments of `keyward evaluate`.
#[derive(Args, Debug)]
pub(super) struct EvaluateArgs {
    /// Access requests as JSON Lines; `-`: standard input
    #[arg(value_hint = ValueHint::FilePath)]
    requests: PathBuf,
    /// By default a table on a terminal, and JSON Lines elsewhere
    #[arg(long, value_enum)]
    format: Option<Format>,
}

/// How decisions are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person
    Table,
    /// JSON Lines
    Json,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward evaluate requests.jsonl
  keyward evaluate --format json requests.jsonl | jq .reason
  zcat requests.jsonl.gz | keyward evaluate -

A line of requests.jsonl:
  {\"id\":\"r1\",\"time\":\"2026-11-23T10:00:00Z\",\"key\":\"k7Qp2mXw9LaR\",\"method\":\"GET\",
   \"host\":\"api.example.com\",\"path\":\"/inventory/42\",\"source\":\"203.0.113.9\"}
`credential` instead of `key` presents a whole key; `keyward init` writes more examples.";

/// What was decided so far.
#[derive(Default)]
struct Counts {
    allowed: u64,
    denied: u64,
    unrecorded: u64,
    bad_lines: u64,
    /// Of all policies together.
    evaluations: u64,
    reused: u64,
}

/// How many lines lie between two words on progress.
const PROGRESS_LINES: u64 = 20_000;
/// How often a slow disk is waited for at the end, a second or so each time.
const SYNC_TRIES_MAX: u32 = 60;
/// How many bad lines are shown; the rest are only counted.
const BAD_LINES_SHOWN_MAX: u64 = 1_000;

/// Runs the command.
pub(super) fn run(config: &Path, args: &EvaluateArgs) -> Result<Status, Failure> {
    let config = open::config(config)?;
    // Before anything is opened or recorded: a wrong file name changes nothing.
    let input: Box<dyn BufRead> = if args.requests.as_os_str() == "-" {
        Box::new(WipedReader::new(io::stdin().lock()))
    } else {
        if args.requests.is_dir() {
            let folder = args.requests.display();
            return Err(Failure::usage(anyhow!(
                "`{folder}` is a folder; name a file of requests"
            )));
        }
        let file = File::open(&args.requests)
            .with_context(|| format!("the requests `{}` cannot be read", args.requests.display()))
            .map_err(Failure::Usage)?;
        Box::new(WipedReader::new(file))
    };
    let (authorizer, keys) = open::authorizer(&config)?;
    let terminal = io::stdout().is_terminal();
    let format = args.format.unwrap_or(if terminal {
        Format::Table
    } else {
        Format::Json
    });
    let out = anstream::AutoStream::auto(io::stdout().lock());
    let mut shown = Shown {
        out: BufWriter::new(out),
        format,
        flush_each: terminal,
    };
    let counts = evaluate(&authorizer, input, &mut shown)?;
    sync(&authorizer)?;
    if let Some(mut follower) = keys.follower
        && let Err(error) = authorizer.follow(&mut follower)
    {
        let error = anyhow!(error);
        say(format_args!(
            "which successors were used for the first time is not noted: {error:#}"
        ));
    }
    let switched_off = switched_off(&authorizer);
    let ended = open::end(authorizer.close());
    let status = finish(&counts, &switched_off, &mut shown)?;
    ended.map(|()| status)
}

fn evaluate<W: Write>(
    authorizer: &Authorizer,
    input: impl BufRead,
    shown: &mut Shown<W>,
) -> Result<Counts, Failure> {
    let mut counts = Counts::default();
    let progress = io::stderr().is_terminal() && !shown.flush_each;
    shown.heading().map_err(Failure::output)?;
    for (number, request) in RequestReader::new(input, clock::now) {
        match request {
            Ok(request) => {
                let decision = authorizer.decide(&request);
                counts.count(&decision);
                shown
                    .decision(&request, &decision, authorizer)
                    .map_err(Failure::output)?;
            }
            Err(error) => {
                counts.bad_lines += 1;
                if counts.bad_lines <= BAD_LINES_SHOWN_MAX {
                    say(format_args!("line {number}: {error}"));
                }
                if let LineError::Read(_) = error {
                    break;
                }
            }
        }
        if progress && number % PROGRESS_LINES == 0 {
            say(format_args!("{number} lines"));
        }
    }
    shown.out.flush().map_err(Failure::output)?;
    Ok(counts)
}

/// The policies that a check has found to know more than they asked.
fn switched_off(authorizer: &Authorizer) -> Vec<Arc<str>> {
    let rules = authorizer.rules();
    let policies = rules.policies.policies().iter();
    policies
        .zip(rules.policies.reuse_counts())
        .filter(|(_, counts)| counts.is_off)
        .map(|(policy, _)| Arc::clone(&policy.spec().name))
        .collect()
}

/// Makes everything durable. Nobody waits for an answer any more, so that a slow disk gets the time
/// that it needs.
fn sync(authorizer: &Authorizer) -> Result<(), Failure> {
    let mut tries = 1;
    loop {
        match authorizer.sync() {
            Err(error) if error.kind() == AppendErrorKind::Timeout && tries < SYNC_TRIES_MAX => {
                tries += 1;
            }
            other => {
                let failed = |error| Failure::storage(anyhow!("the log is not safe: {error}"));
                return other.map_err(failed);
            }
        }
    }
}

fn finish<W: Write>(
    counts: &Counts,
    switched_off: &[Arc<str>],
    shown: &mut Shown<W>,
) -> Result<Status, Failure> {
    let Counts {
        allowed,
        denied,
        unrecorded,
        bad_lines,
        evaluations,
        reused,
    } = counts;
    let total = allowed + denied;
    let mut summary = format!("{total} requests: {allowed} allowed, {denied} denied");
    if *reused > 0 {
        summary.push_str(&format!("; {reused} of {evaluations} evaluations reused"));
    }
    if shown.format == Format::Table {
        writeln!(shown.out, "{summary}")
            .and_then(|()| shown.out.flush())
            .map_err(Failure::output)?;
    } else {
        say(&summary);
    }
    for name in switched_off {
        say(format_args!(
            "policy `{name}` did not answer the same facts in the same way; nothing of it was reused \
             from then on"
        ));
    }
    if *unrecorded > 0 {
        let text = "decisions could not be recorded and are denials; see whether the disk is full";
        return Err(Failure::storage(anyhow!("{unrecorded} {text}")));
    }
    if *bad_lines > 0 {
        say(format_args!(
            "{bad_lines} lines are no access requests and were not decided"
        ));
        return Ok(Status::DidNotHold);
    }
    Ok(Status::Done)
}

impl Counts {
    fn count(&mut self, decision: &Decision) {
        match decision.permission() {
            Permission::Allow => self.allowed += 1,
            Permission::Deny => self.denied += 1,
        }
        self.unrecorded += u64::from(decision.receipt().is_none());
        for evaluated in &*decision.record().evaluations {
            self.evaluations += 1;
            self.reused += u64::from(evaluated.is_reused);
        }
    }
}

/// Where decisions are shown, and how.
struct Shown<W: Write> {
    out: BufWriter<W>,
    format: Format,
    flush_each: bool,
}

impl<W: Write> Shown<W> {
    fn heading(&mut self) -> io::Result<()> {
        if self.format == Format::Table {
            output::write_heading(&mut self.out)?;
        }
        Ok(())
    }

    fn decision(
        &mut self,
        request: &AccessRequest,
        decision: &Decision,
        authorizer: &Authorizer,
    ) -> io::Result<()> {
        let policies = &authorizer.rules().policies;
        match self.format {
            Format::Table => {
                output::write_row(&mut self.out, (request, decision), policies)?;
            }
            Format::Json => output::write_json(&mut self.out, decision, policies)?,
        }
        if self.flush_each {
            self.out.flush()
        } else {
            Ok(())
        }
    }
}
