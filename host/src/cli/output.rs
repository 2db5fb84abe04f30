//! Decisions as a person or a program reads them: a table, or JSON Lines.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use rustix::fs::{FileType, fstat, stat};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::decision::verdict::{Effect, Fault, Obligation, Outcome, Params, Signal};
use crate::decision::{Decision, DecisionId, Mode, Permission};
use crate::key::KeyId;
use crate::policy::PolicySet;
use crate::request::AccessRequest;
use crate::shown::{is_misleading, without_credentials};
use crate::timestamp::Timestamp;

/// Green.
/// The longest message to a person, in characters: a hundred problems and more.
const MESSAGE_MAX_CHARS: usize = 64 * 1024;

pub(super) const ALLOW: Style = AnsiColor::Green.on_default();
/// Red and bold.
pub(super) const DENY: Style = AnsiColor::Red.on_default().bold();
/// Yellow: worth a look.
pub(super) const NOTE: Style = AnsiColor::Yellow.on_default();
/// Faint: less important.
pub(super) const FAINT: Style = Style::new().dimmed();

/// One decision as JSON; the format of `evaluate --format json`.
#[derive(Serialize)]
struct DecisionJson<'a> {
    request: Option<&'a str>,
    decision: DecisionId,
    time: Timestamp,
    effect: &'a str,
    reason: &'a str,
    key: Option<&'a str>,
    policies: Vec<PolicyJson<'a>>,
    index: Option<u64>,
}

#[derive(Serialize)]
struct PolicyJson<'a> {
    name: &'a str,
    effect: &'a str,
    reason: Option<&'a str>,
    #[serde(serialize_with = "params")]
    params: &'a Params,
    signals: Vec<SignalJson<'a>>,
    obligations: Vec<ObligationJson<'a>>,
    mode: Mode,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<FaultJson<'a>>,
}

#[derive(Serialize)]
struct SignalJson<'a> {
    name: &'a str,
    #[serde(serialize_with = "params")]
    params: &'a Params,
}

#[derive(Serialize)]
struct ObligationJson<'a> {
    name: &'a str,
    #[serde(serialize_with = "params")]
    params: &'a Params,
    required: bool,
}

#[derive(Serialize)]
struct FaultJson<'a> {
    kind: &'a str,
    detail: &'a str,
}

fn params<S: Serializer>(params: &&Params, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(params.len()))?;
    for (name, value) in *params {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

/// Whether what is printed is lost: standard output is the null device, which is also opened at the
/// start in place of one that is closed.
pub(super) fn is_discarded() -> bool {
    let (Ok(out), Ok(null)) = (fstat(io::stdout()), stat("/dev/null")) else {
        return true;
    };
    let is_device = FileType::from_raw_mode(out.st_mode) == FileType::CharacterDevice;
    is_device && out.st_rdev == null.st_rdev
}

/// Writes a decision as one line of JSON.
pub(super) fn write_json(
    out: &mut impl Write,
    decision: &Decision,
    policies: &PolicySet,
) -> io::Result<()> {
    let record = decision.record();
    let rows = policies.policies().iter().zip(&*record.evaluations);
    let json = DecisionJson {
        request: record.request.as_deref(),
        decision: record.id,
        time: record.time,
        effect: record.permission.as_str(),
        reason: &record.reason,
        key: record.key.as_ref().map(KeyId::as_str),
        policies: rows
            .map(|(policy, evaluated)| {
                let spec = policy.spec();
                policy_json(&spec.name, spec.mode, &evaluated.evaluation.outcome)
            })
            .collect(),
        index: decision.receipt().map(|receipt| receipt.index()),
    };
    serde_json::to_writer(&mut *out, &json)?;
    out.write_all(b"\n")
}

static NO_PARAMS: Params = Params::new();

fn policy_json<'a>(name: &'a str, mode: Mode, outcome: &'a Outcome) -> PolicyJson<'a> {
    let signal = |s: &'a Signal| SignalJson {
        name: &s.name,
        params: &s.params,
    };
    let obligation = |o: &'a Obligation| ObligationJson {
        name: &o.name,
        params: &o.params,
        required: o.required,
    };
    match outcome {
        Outcome::Fault(Fault { kind, detail }) => PolicyJson {
            name,
            effect: "fault",
            reason: Some("policy.failed"),
            params: &NO_PARAMS,
            signals: Vec::new(),
            obligations: Vec::new(),
            mode,
            fault: Some(FaultJson {
                kind: kind.as_str(),
                detail,
            }),
        },
        Outcome::Verdict(verdict) => PolicyJson {
            name,
            effect: verdict.effect.as_str(),
            reason: verdict.reason.as_ref().map(|reason| &*reason.code),
            params: verdict
                .reason
                .as_ref()
                .map_or(&NO_PARAMS, |reason| &reason.params),
            signals: verdict.signals.iter().map(signal).collect(),
            obligations: verdict.obligations.iter().map(obligation).collect(),
            mode,
            fault: None,
        },
    }
}

/// Writes the table's heading.
pub(super) fn write_heading(out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{FAINT}{:<24} {:<6} {:<12} {:<30} {:<16} WHY{FAINT:#}",
        "TIME", "EFFECT", "KEY", "REQUEST", "FROM"
    )
}

/// Writes a decision as one row of the table.
pub(super) fn write_row(
    out: &mut impl Write,
    (request, decision): (&AccessRequest, &Decision),
    policies: &PolicySet,
) -> io::Result<()> {
    let record = decision.record();
    let style = effect_style(record.permission);
    let method = request.method();
    let operation = request.path().map_or_else(
        |refusal| format!("{method} (path: {})", refusal.as_str()),
        |path| format!("{method} {}", path.text()),
    );
    let source = request
        .source()
        .map_or_else(|| "unknown".to_owned(), |source| source.to_string());
    write!(
        out,
        "{:<24} {style}{:<6}{style:#} {:<12} {:<30} {:<16} {}",
        record.time.to_string(),
        record.permission.as_str(),
        record.key.as_ref().map_or("-", KeyId::as_str),
        clip(&operation, 30),
        source,
        clip(&record.reason, 60),
    )?;
    for (policy, evaluated) in policies.policies().iter().zip(&*record.evaluations) {
        write_notes(
            out,
            &policy.spec().name,
            policy.spec().mode,
            &evaluated.evaluation.outcome,
        )?;
    }
    writeln!(out)
}

/// Writes what a policy raised, how it failed, and what it would have done were it not in shadow.
fn write_notes(
    out: &mut impl Write,
    policy: &str,
    mode: Mode,
    outcome: &Outcome,
) -> io::Result<()> {
    match outcome {
        Outcome::Fault(fault) => {
            write!(out, "  {NOTE}! {policy}: {}{NOTE:#}", fault.kind.as_str())?;
        }
        Outcome::Verdict(verdict) => {
            if mode == Mode::Shadow && verdict.effect == Effect::Deny {
                let reason = verdict.reason.as_ref().map_or("", |reason| &*reason.code);
                write!(out, "  {NOTE}~ {policy}: {}{NOTE:#}", clip(reason, 60))?;
            }
            for signal in &verdict.signals {
                let stage = signal.params.iter().find(|(name, _)| name == "stage");
                let stage =
                    stage.map_or_else(String::new, |(_, stage)| format!(" {}", clip(stage, 16)));
                write!(out, "  {NOTE}! {}{stage}{NOTE:#}", signal.name)?;
            }
        }
    }
    Ok(())
}

/// The colour of an effect.
pub(super) const fn effect_style(permission: Permission) -> Style {
    match permission {
        Permission::Allow => ALLOW,
        Permission::Deny => DENY,
    }
}

/// Text of at most `columns` characters on one line that cannot move the cursor: an ellipsis stands
/// for what is cut off, and control characters are escaped.
pub(super) fn clip(text: &str, columns: usize) -> String {
    let text = printable(text).replace('\n', "\\n");
    if text.chars().count() <= columns {
        return text;
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A message to a person: of what it quotes, no credential is shown, and no more than fits.
pub(super) fn message(text: &str) -> String {
    let text = without_credentials(text);
    match text.char_indices().nth(MESSAGE_MAX_CHARS) {
        None => printable(&text),
        Some((end, _)) => printable(text.get(..end).unwrap_or_default()) + "…",
    }
}

/// Text that cannot control a terminal: all control characters but the line feed are escaped, and
/// those that reorder the text around them.
pub(super) fn printable(text: &str) -> String {
    let is_harmless = |c: char| c == '\n' || !is_misleading(c);
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmless(character) {
            printable.push(character);
        } else {
            printable.extend(character.escape_unicode());
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_and_escapes() {
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abcd", 3), "ab…");
        assert_eq!(clip("a\u{1b}[2J", 20), "a\\u{1b}[2J");
        assert_eq!(clip("\u{202e}x", 20), "\\u{202e}x");
    }
}
