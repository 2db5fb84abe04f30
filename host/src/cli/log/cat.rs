//! `keyward log cat`: entries as JSON Lines, for people and pipes. The log itself is CBOR; what is
//! shown here is not what is signed.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueHint};
use serde_json::{Map, Value, json};

use super::{Failure, Status, log_folder};
use crate::client::Client;
use crate::decision::DecisionRecord;
use crate::decision::verdict::{Evaluated, Outcome, Params};
use crate::governance::certificate::RevocationClaims;
use crate::key::KeyId;
use crate::key::event::{KeyEvent, Subject};
use crate::log::{Durability, Entry, LogReader};

/// Arguments of `keyward log cat`.
#[derive(Args, Debug)]
pub(in crate::cli) struct CatArgs {
    /// The log folder, or a copy of what it publishes; by default that of the configuration
    #[arg(value_hint = ValueHint::DirPath)]
    log: Option<PathBuf>,
    /// The first entry to show
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    from: u64,
    /// How many entries to show at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    count: u64,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  keyward log cat | jq 'select(.effect == \"deny\") | .reason' | sort | uniq -c
  keyward log cat --from 4 --count 1 log";

/// Runs the command.
pub(super) fn run(config: &Path, args: &CatArgs) -> Result<Status, Failure> {
    let folder = log_folder(args.log.as_deref(), config)?;
    let shown = args.from..args.from.saturating_add(args.count);
    let mut out = BufWriter::new(io::stdout().lock());
    let context = || format!("log folder `{}`", folder.display());
    let reader = LogReader::open(&folder);
    let reader = reader.with_context(context).map_err(Failure::Storage)?;
    for entry in reader.entries() {
        let (index, bytes) = entry.with_context(context).map_err(Failure::Storage)?;
        if index >= shown.end {
            break;
        }
        if index >= shown.start {
            let line = entry_line(index, &bytes);
            out.write_all(line.as_bytes()).map_err(Failure::output)?;
        }
    }
    out.flush().map_err(Failure::output)?;
    Ok(Status::Done)
}

/// An entry as one line of JSON. One that this version cannot read is shown as what it is.
pub(super) fn entry_line(index: u64, bytes: &[u8]) -> String {
    let mut line = match Entry::decode(bytes) {
        Ok(entry) => entry_json(&entry),
        Err(error) => json!({ "type": "unreadable", "error": error.to_string() }),
    };
    if let Value::Object(members) = &mut line {
        members.insert("index".to_owned(), index.into());
    }
    format!("{line}\n")
}

fn entry_json(entry: &Entry) -> Value {
    match entry {
        Entry::Boot(boot) => json!({
            "type": "boot",
            "time": boot.time,
            "origin": boot.origin,
            "durability": match boot.durability {
                Durability::Written => "written",
                Durability::Durable => "durable",
            },
            "sync_interval_ms": boot.sync_interval_ms,
            "keyward_version": boot.keyward_version,
            "engine": boot.engine,
            "policy_set": boot.policy_set,
        }),
        Entry::Decision(decision) => decision_json(decision),
        Entry::Coalesced(coalesced) => json!({
            "type": "coalesced",
            "from": coalesced.from,
            "to": coalesced.to,
            "reason": coalesced.reason.as_str(),
            "count": coalesced.count,
        }),
        Entry::LogKey(log_key) => json!({
            "type": "log-key",
            "time": log_key.time,
            "previous": log_key.previous,
            "keys": log_key.keys,
        }),
        Entry::Outage(outage) => json!({
            "type": "outage",
            "from": outage.from,
            "to": outage.to,
            "refused": outage.refused,
        }),
        Entry::Recovery(recovery) => json!({
            "type": "recovery",
            "time": recovery.time,
            "dropped_bytes": recovery.dropped_bytes,
            "segment": recovery.segment,
        }),
        Entry::Reload(reload) => json!({
            "type": "reload",
            "time": reload.time,
            "previous": reload.previous,
            "policy_set": reload.policy_set,
        }),
        Entry::KeyEvent(event) => key_event_json(event),
        Entry::Revocation(revocation) => json!({
            "type": "revocation",
            "time": revocation.time,
            "claims": RevocationClaims::unverified(&revocation.cose).as_ref().map(claims_json),
            "cose": STANDARD.encode(&revocation.cose),
        }),
        Entry::Retention(retention) => json!({
            "type": "retention",
            "time": retention.time,
            "below": retention.below,
            "before": retention.before,
            "policy": retention.policy,
        }),
    }
}

/// What governance says of a revocation, as JSON.
fn claims_json(claims: &RevocationClaims) -> Value {
    json!({
        "origin": claims.origin,
        "key": claims.key,
        "key_record": claims.key_record,
        "revoked_at": claims.revoked_at,
        "by": claims.by,
        "reason": claims.reason.as_ref().map(|it| &it.text),
        "reason_sha256": claims.reason.as_ref().and_then(|it| it.whole),
        "order": claims.order.as_ref().map(|it| json!({
            "digest": it.digest,
            "at": it.at,
            "by": it.by,
        })),
        "event": claims.event,
        "read_from": claims.read_from,
        "last_allowed": claims.last_allowed.map(|it| json!({
            "index": it.index,
            "time": it.time,
            "leaf": it.leaf,
        })),
        "first_denied": claims.first_denied.map(|it| json!({
            "index": it.index,
            "time": it.time,
        })),
    })
}

/// A key event as JSON.
pub(in crate::cli) fn key_event_json(event: &KeyEvent) -> Value {
    let mut line = json!({
        "type": "key-event",
        "time": event.time,
        "sequence": event.sequence,
        "kind": event.kind.as_str(),
        "actor": event.actor,
        "user": event.user,
        "reason": event.reason,
        "order": event.order,
    });
    let subject = match &event.subject {
        Subject::Key {
            id,
            version,
            before,
            after,
            state,
            other,
            secret,
        } => json!({
            "key": id,
            "version": version,
            "before": before,
            "after": after,
            "state": state.as_str(),
            "other": other,
            "secret_commitment": secret,
        }),
        Subject::Keys { count, digest } => json!({ "count": count, "digest": digest }),
        Subject::Nothing { id } => json!({ "key": id }),
    };
    if let (Value::Object(line), Value::Object(subject)) = (&mut line, subject) {
        line.extend(subject);
    }
    line
}

pub(in crate::cli) fn decision_json(decision: &DecisionRecord) -> Value {
    let evaluations: Vec<Value> = decision.evaluations.iter().map(evaluation_json).collect();
    json!({
        "type": "decision",
        "decision": decision.id,
        "time": decision.time,
        "request": decision.request,
        "key": decision.key.as_ref().map(KeyId::as_str),
        "key_record": decision.key_record,
        "policy_set": decision.policy_set,
        "effect": decision.permission.as_str(),
        "reason": decision.reason.as_str(),
        "detail": decision.detail,
        "evaluations": evaluations,
        "client": decision.client.as_deref().map(client_json),
    })
}

fn client_json(client: &Client) -> Value {
    let chain: Vec<&str> = client.chain.iter().map(|entry| &**entry).collect();
    json!({ "address": client.address, "peer": client.peer, "chain": chain })
}

fn evaluation_json(evaluated: &Evaluated) -> Value {
    let evaluation = &evaluated.evaluation;
    let asked: Vec<Value> = (evaluation.trace.steps.iter())
        .map(|(question, answer)| json!([question.to_string(), answer.to_string()]))
        .collect();
    let mut json = match &evaluation.outcome {
        Outcome::Fault(fault) => json!({
            "effect": "fault",
            "fault": { "kind": fault.kind.as_str(), "detail": fault.detail },
        }),
        Outcome::Verdict(verdict) => {
            let reason = verdict.reason.as_ref();
            let signals = verdict.signals.iter();
            let obligations = verdict.obligations.iter();
            json!({
                "effect": verdict.effect.as_str(),
                "reason": reason.map(|reason| reason.code.as_str()),
                "params": reason.map(|reason| params(&reason.params)),
                "signals": signals
                    .map(|it| json!({ "name": it.name, "params": params(&it.params) }))
                    .collect::<Vec<_>>(),
                "obligations": obligations
                    .map(|it| json!({
                        "name": it.name,
                        "params": params(&it.params),
                        "required": it.required,
                    }))
                    .collect::<Vec<_>>(),
            })
        }
    };
    if let Value::Object(members) = &mut json {
        members.insert("asked".to_owned(), asked.into());
        members.insert("fuel".to_owned(), evaluation.fuel.into());
        members.insert("is_reused".to_owned(), evaluated.is_reused.into());
    }
    json
}

fn params(params: &Params) -> Map<String, Value> {
    let params = params.iter().cloned();
    params.map(|(name, value)| (name, value.into())).collect()
}
