//! `keyward explain`: why a decision was what it was, for a person.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueHint};

use super::output::{FAINT, NOTE, clip, effect_style};
use super::{Failure, Status, log_folder, print, pruned_text, say};
use crate::address::Address;
use crate::audit::explain::{Explanation, PolicyExplanation, explain};
use crate::audit::find_decision;
use crate::client::Client;
use crate::decision::{DecisionId, DecisionRecord};
use crate::key::KeyId;
use crate::log::LogReader;

/// Arguments of `keyward explain`.
#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    /// A decision's id, or the id of its request (then the last decision of that request)
    #[arg(value_name = "DECISION")]
    wanted: String,
    /// The log folder; by default that of the configuration
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    log: Option<PathBuf>,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward explain q04                            by the request's own id
  keyward explain 01M83XJ880E5T6NSVVM4JFGJ6Q     by the decision's id
  keyward explain --log /evidence/log q04        from a copy of a log folder";

/// The longest text of an answer that is shown, in characters.
const ANSWER_MAX_CHARS: usize = 400;

/// Runs the command.
pub(super) fn run(config: &Path, args: &ExplainArgs) -> Result<Status, Failure> {
    let folder = log_folder(args.log.as_deref(), config)?;
    let reader = LogReader::open(&folder)
        .with_context(|| format!("log folder `{}`", folder.display()))
        .map_err(Failure::Storage)?;
    let id: Option<DecisionId> = args.wanted.parse().ok();
    // A decision's own id first: anyone may name a request like an earlier decision.
    let by_id = |record: &DecisionRecord| Some(record.id) == id;
    let by_request = |record: &DecisionRecord| record.request.as_deref() == Some(&*args.wanted);
    let mut found = None;
    if id.is_some() {
        found = find_decision(&reader, by_id).map_err(Failure::storage)?;
    }
    if found.is_none() {
        found = find_decision(&reader, by_request).map_err(Failure::storage)?;
    }
    let (index, record) = found.ok_or_else(|| {
        Failure::usage(anyhow!(
            "the log folder `{}` has no decision, and no decision of a request, `{}`{}",
            folder.display(),
            args.wanted,
            pruned_text(&reader).map_or_else(String::new, |it| format!("; {it}"))
        ))
    })?;
    let explanation = explain(&reader, &record);
    print(&text(index, &record, &explanation))?;
    for missing in &explanation.missing {
        say(format_args!("not in the log folder, or damaged: {missing}"));
    }
    Ok(if explanation.missing.is_empty() {
        Status::Done
    } else {
        Status::DidNotHold
    })
}

fn text(index: u64, record: &DecisionRecord, explanation: &Explanation) -> String {
    let style = effect_style(record.permission);
    let mut text = String::new();
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let effect = record.permission.as_str();
    let (reason, why) = (
        clip(&record.reason, 80),
        clip(&explanation.text, ANSWER_MAX_CHARS),
    );
    let why = if why.is_empty() {
        why
    } else {
        format!(": {why}")
    };
    line(format!("{style}{effect}{style:#} {reason}{why}"));
    if let Some(remedy) = &explanation.remedy {
        line(format!("what to do: {}", clip(remedy, ANSWER_MAX_CHARS)));
    }
    line(String::new());
    line(format!("  decision  {} at index {index}", record.id));
    if let Some(request) = &record.request {
        line(format!("  request   {}", clip(request, ANSWER_MAX_CHARS)));
    }
    line(format!("  time      {}", record.time));
    line(format!("  key       {}", key(record, explanation)));
    if let Some(client) = &record.client {
        line(format!("  client    {}", client_text(client)));
    }
    if let Some(detail) = &record.detail {
        line(format!("  detail    {}", clip(detail, ANSWER_MAX_CHARS)));
    }
    for policy in &explanation.policies {
        line(format!("\n{}", policy_text(policy)));
    }
    text
}

fn key(record: &DecisionRecord, explanation: &Explanation) -> String {
    let presented = record.key.as_ref().map_or("none presented", KeyId::as_str);
    let Some(key) = &explanation.key else {
        return clip(presented, ANSWER_MAX_CHARS);
    };
    let end = key
        .expires_at
        .map_or_else(|| "never ends".to_owned(), |end| format!("ends {end}"));
    format!(
        "{} of {}, {}, {end}",
        clip(presented, 80),
        clip(&key.owner, 80),
        key.lifecycle.as_str()
    )
}

/// The address, and what it was read from.
fn client_text(client: &Client) -> String {
    let shown = |address: Option<Address>, none: &str| {
        address.map_or_else(|| none.to_owned(), |address| address.to_string())
    };
    let mut text = shown(client.address, "unknown");
    let _ = write!(text, ", peer {}", shown(client.peer, "without an address"));
    if !client.chain.is_empty() {
        let _ = write!(text, ", chain {}", client.chain.join(", "));
    }
    clip(&text, ANSWER_MAX_CHARS)
}

fn policy_text(policy: &PolicyExplanation) -> String {
    let (title, reason) = (clip(&policy.title, 200), clip(&policy.reason, 80));
    let mut text = format!("{title}: {} {reason}", policy.effect)
        .trim_end()
        .to_owned();
    if policy.decided {
        text.push_str("   <- decided");
    } else if policy.shadow {
        text.push_str("   (shadow: changes nothing)");
    }
    // Writing to a string does not fail.
    if !policy.text.is_empty() {
        let _ = write!(text, "\n  {}", clip(&policy.text, ANSWER_MAX_CHARS));
    }
    for (question, answer) in &policy.steps {
        let (question, answer) = (clip(question, 80), clip(answer, ANSWER_MAX_CHARS));
        let _ = write!(text, "\n  {FAINT}asked{FAINT:#} {question:<40} {answer}");
    }
    for note in &policy.notes {
        let _ = write!(text, "\n  {NOTE}{}{NOTE:#}", clip(note, ANSWER_MAX_CHARS));
    }
    let reused = if policy.reused {
        ", evaluated for an earlier request with the same answers"
    } else {
        ""
    };
    let _ = write!(text, "\n  {FAINT}fuel {}{reused}{FAINT:#}", policy.fuel);
    text
}
