//! What an examination came to, as a person or a program reads it.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::output::{ALLOW, DENY, FAINT, NOTE, clip};
use super::judge::{Outcome, Row};
use crate::shown::without_credentials;

/// How many findings of a probe a table shows.
const FINDINGS_SHOWN_MAX: usize = 8;
/// The longest text of a finding, in characters.
const FINDING_MAX_CHARS: usize = 200;

#[derive(Serialize)]
struct RowJson<'a> {
    probe: &'a str,
    outcome: &'a str,
    what: &'a str,
    sent: usize,
    findings: Vec<FindingJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remark: Option<&'a str>,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    outcome: &'a str,
    request: String,
    what: String,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::NotChecked => "not checked",
            Self::Note => "note",
            Self::Fail => "FAIL",
        }
    }

    const fn as_json(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::NotChecked => "not-checked",
            Self::Note => "note",
            Self::Fail => "fail",
        }
    }
}

/// What was sent, or came from the network, in one line and without a credential.
fn quoted(text: &str) -> String {
    clip(&without_credentials(text), FINDING_MAX_CHARS)
}

/// JSON Lines, one for each probe.
pub(super) fn json(rows: &[Row]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for row in rows {
        let findings = row.findings.iter().map(|finding| FindingJson {
            outcome: finding.outcome.as_json(),
            request: quoted(&finding.case),
            what: quoted(&finding.what),
        });
        text += &serde_json::to_string(&RowJson {
            probe: row.id,
            outcome: row.outcome.as_json(),
            what: row.what,
            sent: row.sent,
            findings: findings.collect(),
            remark: row.remark.as_deref(),
        })?;
        text.push('\n');
    }
    Ok(text)
}

/// A table, with what was found below each row.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    for row in rows {
        let style = match row.outcome {
            Outcome::Pass => ALLOW,
            Outcome::Fail => DENY,
            Outcome::Note => NOTE,
            Outcome::NotChecked => FAINT,
        };
        let outcome = row.outcome.as_str();
        let _ = write!(
            text,
            "{:<16} {style}{outcome:<12}{style:#}{}",
            row.id, row.what
        );
        let _ = match row.sent {
            0 => writeln!(text),
            1 => writeln!(text, " {FAINT}(1 request){FAINT:#}"),
            sent => writeln!(text, " {FAINT}({sent} requests){FAINT:#}"),
        };
        for finding in row.findings.iter().take(FINDINGS_SHOWN_MAX) {
            let (case, what) = (quoted(&finding.case), quoted(&finding.what));
            let _ = writeln!(text, "  {style}{case}: {what}{style:#}");
        }
        let rest = row.findings.len().saturating_sub(FINDINGS_SHOWN_MAX);
        if rest > 0 {
            let _ = writeln!(text, "  and {rest} more, which --format json shows");
        }
        if let Some(remark) = &row.remark {
            let _ = writeln!(text, "  {remark}");
        }
    }
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let sent: usize = rows.iter().map(|row| row.sent).sum();
    let _ = writeln!(
        text,
        "\n{sent} requests: {} passed, {} failed, {} to think about, {} not checked",
        count(Outcome::Pass),
        count(Outcome::Fail),
        count(Outcome::Note),
        count(Outcome::NotChecked),
    );
    text
}
