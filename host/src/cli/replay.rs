//! `keyward replay`: evaluates a log again and says what matches.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum, ValueHint};
use serde::Serialize;

use super::output::{ALLOW, DENY, NOTE, clip};
use super::{Failure, Status, log_folder, open, pruned_text, say};
use crate::audit::replay::{Difference, Finding, Replay, Replayed};
use crate::log::LogReader;

/// Arguments of `keyward replay`.
#[derive(Args, Debug)]
pub(super) struct ReplayArgs {
    /// The log folder; by default that of the configuration
    #[arg(value_hint = ValueHint::DirPath)]
    log: Option<PathBuf>,
    /// `table` shows what does not match, `json` every decision
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// How findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a person: only what does not match, and a summary
    Table,
    /// JSON Lines: one for each decision
    Json,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward replay log                   from the log folder alone: no registry, no configuration
  keyward replay --format json log     one line for each decision

Exit status: 0 everything matches; 1 something does not match or cannot be replayed.";

/// The longest text of a difference that is shown, in characters.
const SHOWN_MAX_CHARS: usize = 2_000;

#[derive(Default)]
struct Counts {
    matches: u64,
    mismatches: u64,
    unreplayable: u64,
    /// Of all, those that the host denied before any policy.
    refused: u64,
    first: Option<u64>,
    last: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    decision: String,
    finding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreplayable: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    differences: &'a [Difference],
}

/// Runs the command.
pub(super) fn run(config: &Path, args: &ReplayArgs) -> Result<Status, Failure> {
    let folder = log_folder(args.log.as_deref(), config)?;
    let reader = LogReader::open(&folder)
        .with_context(|| format!("log folder `{}`", folder.display()))
        .map_err(Failure::Storage)?;
    let engine = open::engine().map_err(Failure::usage)?;
    let mut out = io::BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()));
    let mut counts = Counts::default();
    // Whoever reads may stop; what the log is worth does not depend on it, so the status has to
    // say.
    let mut closed = false;
    for replayed in Replay::new(&reader, engine) {
        let replayed = match replayed {
            Ok(replayed) => replayed,
            Err(error) => {
                if !closed && !is_closed(out.flush())? {
                    summarise(&counts, &mut out)?;
                }
                let context = format!("log folder `{}`", folder.display());
                return Err(Failure::Storage(anyhow::Error::new(error).context(context)));
            }
        };
        counts.count(&replayed);
        if !closed {
            closed = is_closed(show(&mut out, args.format, &replayed))?;
        }
    }
    closed = closed || is_closed(out.flush())?;
    if let Some(pruned) = pruned_text(&reader) {
        say(format_args!("not replayed: {pruned}"));
    }
    if let Some(tail) = reader.torn_tail() {
        say(format_args!(
            "the last {} bytes of the log are torn or damaged: an unfinished record, or more",
            tail.bytes
        ));
    }
    if args.format == Format::Json {
        say(counts.text());
    } else if !closed {
        summarise(&counts, &mut out)?;
    }
    let holds = counts.mismatches == 0 && counts.unreplayable == 0;
    Ok(if holds {
        Status::Done
    } else {
        Status::DidNotHold
    })
}

fn show(out: &mut impl Write, format: Format, replayed: &Replayed) -> io::Result<()> {
    let Replayed {
        index,
        record,
        finding,
    } = replayed;
    if format == Format::Json {
        let (name, unreplayable, differences) = match finding {
            Finding::Match => ("match", None, &[][..]),
            Finding::Mismatch(differences) => ("mismatch", None, &differences[..]),
            Finding::Unreplayable(reason) => ("unreplayable", Some(reason.as_str()), &[][..]),
        };
        let decision = record.id.to_string();
        let line = Line {
            index: *index,
            decision,
            finding: name,
            unreplayable,
            differences,
        };
        serde_json::to_writer(&mut *out, &line)?;
        return writeln!(out);
    }
    match finding {
        Finding::Match => Ok(()),
        Finding::Mismatch(differences) => {
            writeln!(
                out,
                "{DENY}mismatch{DENY:#} at index {index}, decision {}",
                record.id
            )?;
            differences.iter().try_for_each(|difference| {
                // What a log holds may have been written to deceive whoever reads it.
                let [field, recorded, replayed] = [
                    &difference.field,
                    &difference.recorded,
                    &difference.replayed,
                ]
                .map(|text| clip(text, SHOWN_MAX_CHARS));
                writeln!(
                    out,
                    "  {field}\n    recorded  {recorded}\n    replayed  {replayed}"
                )
            })
        }
        Finding::Unreplayable(reason) => writeln!(
            out,
            "{NOTE}unreplayable{NOTE:#} at index {index}, decision {}: {}",
            record.id,
            clip(reason, SHOWN_MAX_CHARS)
        ),
    }
}

/// Prints the summary, to whoever is still there.
fn summarise(counts: &Counts, out: &mut impl Write) -> Result<(), Failure> {
    let style = if counts.mismatches + counts.unreplayable == 0 {
        ALLOW
    } else {
        DENY
    };
    let text = counts.text();
    is_closed(writeln!(out, "{style}{text}{style:#}").and_then(|()| out.flush()))?;
    Ok(())
}

impl Counts {
    fn count(&mut self, replayed: &Replayed) {
        match replayed.finding {
            Finding::Match => self.matches += 1,
            Finding::Mismatch(_) => self.mismatches += 1,
            Finding::Unreplayable(_) => self.unreplayable += 1,
        }
        self.refused += u64::from(replayed.record.evaluations.is_empty());
        self.first.get_or_insert(replayed.index);
        self.last = replayed.index;
    }

    fn text(&self) -> String {
        let Self {
            matches,
            mismatches,
            unreplayable,
            refused,
            first,
            last,
        } = self;
        let total = matches + mismatches + unreplayable;
        let range = first.map_or_else(String::new, |first| format!(", indexes {first} to {last}"));
        format!(
            "{total} decisions{range}: {matches} match, {mismatches} mismatch, \
             {unreplayable} unreplayable ({refused} refused before any policy)"
        )
    }
}

/// Whether the reader of our output has stopped.
fn is_closed(written: io::Result<()>) -> Result<bool, Failure> {
    match written.map_err(Failure::output) {
        Ok(()) => Ok(false),
        Err(Failure::Closed) => Ok(true),
        Err(error) => Err(error),
    }
}
