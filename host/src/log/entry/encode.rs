//! Entries to bytes. The decision is the hot path: it appends to a buffer that the caller keeps.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use minicbor::Encoder;
use minicbor::encode::Error;

use crate::address::{Address, Network};
use crate::client::Client;
use crate::decision::DecisionRecord;
use crate::decision::trace::{Answer, Question};
use crate::decision::verdict::{
    Evaluated, Evaluation, Evaluations, Outcome, Params, Reason, Verdict,
};
use crate::digest::Digest;
use crate::key::KeyId;
use crate::key::event::{KeyEvent, Subject};
use crate::timestamp::Timestamp;

use super::codes::{self, value};
use super::{Boot, Coalesced, LogKey, Outage, Recovery, Reload, Retention, Revocation};

/// Appends a decision's entry to a buffer: the bytes of [`super::Entry::encode`] without a copy of
/// the record and, with a buffer that is used again, without an allocation.
pub fn encode_decision_into(decision: &DecisionRecord, out: &mut Vec<u8>) {
    decision_in(decision_layout(decision), decision, out);
}

/// The layout in which a decision is written.
pub(super) const fn decision_layout(decision: &DecisionRecord) -> u64 {
    match decision.client {
        Some(_) => codes::DECISION_LAYOUT_CLIENT,
        None => codes::DECISION_LAYOUT,
    }
}

/// A decision in one of the layouts that it has had.
pub(super) fn decision_in(layout: u64, decision: &DecisionRecord, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.decision(layout, decision));
}

pub(super) fn boot(boot: &Boot, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.boot(boot));
}

pub(super) fn recovery(recovery: &Recovery, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.recovery(recovery));
}

pub(super) fn reload(reload: &Reload, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.reload(reload));
}

pub(super) fn log_key(log_key: &LogKey, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.log_key(log_key));
}

pub(super) fn outage(outage: &Outage, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.outage(outage));
}

pub(super) fn retention(retention: &Retention, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.retention(retention));
}

pub(super) fn key_event(event: &KeyEvent, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.key_event(event));
}

pub(super) fn coalesced(coalesced: &Coalesced, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.coalesced(coalesced));
}

pub(super) fn revocation(revocation: &Revocation, out: &mut Vec<u8>) {
    finish(out, |cbor| cbor.revocation(revocation));
}

/// Writing to a vector cannot fail. Should the encoder ever report that it did, nothing is left in
/// the buffer rather than half an entry: the log refuses an empty one.
fn finish(out: &mut Vec<u8>, write: impl FnOnce(&mut Cbor<'_>) -> Written) {
    if write(&mut Cbor(Encoder::new(&mut *out))).is_err() {
        out.clear();
    }
}

type Written = Result<(), Error<Infallible>>;

/// The encoder with the shapes of the grammar.
struct Cbor<'a>(Encoder<&'a mut Vec<u8>>);

impl Cbor<'_> {
    fn boot(&mut self, boot: &Boot) -> Written {
        self.open(9, codes::BOOT, codes::LAYOUT)?;
        self.instant(boot.time)?;
        self.0.str(&boot.origin)?;
        self.0.u64(codes::durability(boot.durability))?;
        self.0.u64(boot.sync_interval_ms)?;
        self.0.str(&boot.keyward_version)?;
        self.0.str(&boot.engine)?;
        self.0.bytes(boot.policy_set.as_bytes())?;
        Ok(())
    }

    fn recovery(&mut self, recovery: &Recovery) -> Written {
        self.open(5, codes::RECOVERY, codes::LAYOUT)?;
        self.instant(recovery.time)?;
        self.0.u64(recovery.dropped_bytes)?;
        self.0.u64(recovery.segment)?;
        Ok(())
    }

    fn log_key(&mut self, log_key: &LogKey) -> Written {
        self.open(5, codes::LOG_KEY, codes::LAYOUT)?;
        self.instant(log_key.time)?;
        for keys in [&log_key.previous, &log_key.keys] {
            self.0
                .array(u64::try_from(keys.len()).unwrap_or(u64::MAX))?;
            for key in keys {
                self.0.str(key)?;
            }
        }
        Ok(())
    }

    fn outage(&mut self, outage: &Outage) -> Written {
        self.open(5, codes::OUTAGE, codes::LAYOUT)?;
        self.instant(outage.from)?;
        self.instant(outage.to)?;
        self.0.u64(outage.refused)?;
        Ok(())
    }

    fn coalesced(&mut self, coalesced: &Coalesced) -> Written {
        self.open(6, codes::COALESCED, codes::LAYOUT)?;
        self.instant(coalesced.from)?;
        self.instant(coalesced.to)?;
        self.0.str(&coalesced.reason)?;
        self.0.u64(coalesced.count)?;
        Ok(())
    }

    fn reload(&mut self, reload: &Reload) -> Written {
        self.open(5, codes::RELOAD, codes::LAYOUT)?;
        self.instant(reload.time)?;
        self.0.bytes(reload.previous.as_bytes())?;
        self.0.bytes(reload.policy_set.as_bytes())?;
        Ok(())
    }

    fn revocation(&mut self, revocation: &Revocation) -> Written {
        self.open(4, codes::REVOCATION, codes::LAYOUT)?;
        self.instant(revocation.time)?;
        self.0.bytes(&revocation.cose)?;
        Ok(())
    }

    fn retention(&mut self, retention: &Retention) -> Written {
        self.open(6, codes::RETENTION, codes::LAYOUT)?;
        self.instant(retention.time)?;
        self.0.u64(retention.below)?;
        self.instant(retention.before)?;
        self.0.str(&retention.policy)?;
        Ok(())
    }

    fn key_event(&mut self, event: &KeyEvent) -> Written {
        self.open(11, codes::KEY_EVENT, codes::LAYOUT)?;
        self.instant(event.time)?;
        self.0.u64(event.sequence)?;
        self.digest_or_null(event.previous.as_ref())?;
        self.0.u64(codes::key_event(event.kind))?;
        match &event.subject {
            Subject::Key {
                id,
                version,
                before,
                after,
                state,
                other,
                secret,
            } => {
                self.0.array(8)?.u64(codes::SUBJECT_KEY)?;
                self.0.str(id.as_str())?.u64(*version)?;
                self.digest_or_null(before.as_ref())?;
                self.0.bytes(after.as_bytes())?.u64(codes::state(*state))?;
                self.text_or_null(other.as_ref().map(KeyId::as_str))?;
                self.digest_or_null(secret.as_ref())?;
            }
            Subject::Keys { count, digest } => {
                self.0.array(3)?.u64(codes::SUBJECT_KEYS)?;
                self.0.u64(*count)?.bytes(digest.as_bytes())?;
            }
            Subject::Nothing { id } => {
                self.0.array(2)?.u64(codes::SUBJECT_NOTHING)?;
                self.text_or_null(id.as_ref().map(KeyId::as_str))?;
            }
        }
        self.text_or_null(event.actor.as_deref())?;
        self.text_or_null(event.user.as_deref())?;
        self.text_or_null(event.reason.as_deref())?;
        self.digest_or_null(event.order.as_ref())
    }

    fn decision(&mut self, layout: u64, decision: &DecisionRecord) -> Written {
        let says_reused = layout != codes::DECISION_LAYOUT_1;
        let client = decision.client.as_deref();
        let client = client.filter(|_| layout == codes::DECISION_LAYOUT_CLIENT);
        let items = 12 + u64::from(says_reused) + u64::from(client.is_some());
        self.open(items, codes::DECISION, layout)?;
        self.0.bytes(&decision.id.0.to_be_bytes())?;
        self.instant(decision.time)?;
        self.text_or_null(decision.request.as_deref())?;
        self.text_or_null(decision.key.as_ref().map(KeyId::as_str))?;
        self.digest_or_null(decision.key_record.as_ref())?;
        self.0.bytes(decision.policy_set.as_bytes())?;
        self.0.u64(codes::permission(decision.permission))?;
        self.0.str(&decision.reason)?;
        self.text_or_null(decision.detail.as_deref())?;
        if says_reused {
            self.reused(&decision.evaluations)?;
        }
        self.evaluations(&decision.evaluations)?;
        client.map_or(Ok(()), |client| self.client(client))
    }

    fn client(&mut self, client: &Client) -> Written {
        self.0.array(3)?;
        self.address_or_null(client.address)?;
        self.address_or_null(client.peer)?;
        self.texts(&client.chain)
    }

    /// Which of some evaluations were reused, by their places.
    fn reused(&mut self, evaluations: &[Evaluated]) -> Written {
        let reused = || {
            evaluations
                .iter()
                .zip(0_u64..)
                .filter(|(it, _)| it.is_reused)
        };
        self.0
            .array(u64::try_from(reused().count()).unwrap_or(u64::MAX))?;
        for (_, place) in reused() {
            self.0.u64(place)?;
        }
        Ok(())
    }

    /// The head of an entry: how many items it has, its type and its layout.
    fn open(&mut self, items: u64, kind: u64, layout: u64) -> Written {
        self.0.array(items)?.u64(kind)?.u64(layout)?;
        Ok(())
    }

    /// What is reused as a whole is encoded once.
    fn evaluations(&mut self, evaluations: &Evaluations) -> Written {
        let encode = |evaluations: &[Evaluated]| {
            let mut bytes = Vec::new();
            finish(&mut bytes, |cbor| cbor.each(evaluations));
            bytes
        };
        if evaluations.iter().all(|it| it.is_reused)
            && let Some(bytes) = evaluations.encoded(encode)
        {
            self.0.writer_mut().extend_from_slice(bytes);
            return Ok(());
        }
        self.each(evaluations)
    }

    fn each(&mut self, evaluations: &[Evaluated]) -> Written {
        self.list(evaluations, |cbor, it| cbor.evaluation(&it.evaluation))
    }

    fn evaluation(&mut self, evaluation: &Evaluation) -> Written {
        self.0.array(3)?;
        match &evaluation.outcome {
            Outcome::Verdict(verdict) => self.verdict(verdict)?,
            Outcome::Fault(fault) => {
                self.0.array(3)?.u64(codes::OUTCOME_FAULT)?;
                self.0.u64(codes::fault(fault.kind))?.str(&fault.detail)?;
            }
        }
        self.list(&evaluation.trace.steps, |cbor, (question, answer)| {
            cbor.0.array(2)?;
            cbor.question(question)?;
            cbor.answer(question, answer)
        })?;
        self.0.u64(evaluation.fuel)?;
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Written {
        self.0
            .array(5)?
            .u64(codes::OUTCOME_VERDICT)?
            .u64(codes::effect(verdict.effect))?;
        match &verdict.reason {
            Some(Reason { code, params }) => self.named(2, code, params)?,
            None => {
                self.0.null()?;
            }
        }
        self.list(&verdict.signals, |cbor, signal| {
            cbor.named(2, &signal.name, &signal.params)
        })?;
        self.list(&verdict.obligations, |cbor, obligation| {
            cbor.named(3, &obligation.name, &obligation.params)?;
            cbor.0.bool(obligation.required)?;
            Ok(())
        })
    }

    /// An array that opens with a name and its parameters.
    fn named(&mut self, items: u64, name: &str, params: &Params) -> Written {
        self.0.array(items)?.str(name)?;
        self.list(params, |cbor, (name, value)| {
            cbor.0.array(2)?.str(name)?.str(value)?;
            Ok(())
        })
    }

    /// A number, or a number and an argument.
    fn question(&mut self, question: &Question) -> Written {
        let code = codes::question(question);
        match question {
            Question::Attribute(name) | Question::Header(name) | Question::KeyLabel(name) => {
                self.0.array(2)?.u64(code)?.str(name)?;
            }
            Question::Reached(instant) => {
                self.0.array(2)?.u64(code)?;
                self.instant(*instant)?;
            }
            _ => {
                self.0.u64(code)?;
            }
        }
        Ok(())
    }

    fn answer(&mut self, question: &Question, answer: &Answer) -> Written {
        if matches!(question, Question::Attribute(_))
            && let Some(kind) = value_kind(answer)
        {
            self.0.array(2)?.u64(kind)?;
        }
        match answer {
            Answer::Absent => {
                self.0.null()?;
            }
            Answer::Address(address) => self.address(*address)?,
            Answer::Flag(flag) => {
                self.0.bool(*flag)?;
            }
            Answer::Instant(instant) => self.instant(*instant)?,
            Answer::Integer(integer) => {
                self.0.i64(*integer)?;
            }
            Answer::Lifecycle(lifecycle) => {
                self.0.u64(codes::lifecycle(*lifecycle))?;
            }
            Answer::Networks(networks) => self.list(networks, Self::network)?,
            Answer::Text(text) => {
                self.0.str(text)?;
            }
            Answer::Texts(texts) => self.texts(texts)?,
        }
        Ok(())
    }

    fn network(&mut self, network: &Network) -> Written {
        self.0.array(2)?;
        self.address(network.address())?;
        self.0.u8(network.prefix_length())?;
        Ok(())
    }

    /// 4 or 16 bytes.
    fn address(&mut self, address: Address) -> Written {
        match address.ip() {
            IpAddr::V4(v4) => self.0.bytes(&v4.octets())?,
            IpAddr::V6(v6) => self.0.bytes(&v6.octets())?,
        };
        Ok(())
    }

    fn address_or_null(&mut self, address: Option<Address>) -> Written {
        match address {
            Some(address) => self.address(address),
            None => self.0.null().map(|_| ()),
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn instant(&mut self, instant: Timestamp) -> Written {
        self.0.i64(instant.millis())?;
        Ok(())
    }

    fn digest_or_null(&mut self, digest: Option<&Digest>) -> Written {
        match digest {
            Some(digest) => self.0.bytes(digest.as_bytes())?,
            None => self.0.null()?,
        };
        Ok(())
    }

    fn text_or_null(&mut self, text: Option<&str>) -> Written {
        match text {
            Some(text) => self.0.str(text)?,
            None => self.0.null()?,
        };
        Ok(())
    }

    fn texts(&mut self, texts: &[Arc<str>]) -> Written {
        self.list(texts, |cbor, text| cbor.0.str(text).map(|_| ()))
    }

    fn list<T>(&mut self, items: &[T], one: impl Fn(&mut Self, &T) -> Written) -> Written {
        self.0
            .array(u64::try_from(items.len()).unwrap_or(u64::MAX))?;
        items.iter().try_for_each(|item| one(self, item))
    }
}

/// The tag of an attribute's value; `None` for what stands without one: an absent value, and what
/// no attribute can be, which the decoder then refuses.
const fn value_kind(answer: &Answer) -> Option<u64> {
    match answer {
        Answer::Absent | Answer::Lifecycle(_) | Answer::Networks(_) => None,
        Answer::Address(_) => Some(value::ADDRESS),
        Answer::Flag(_) => Some(value::FLAG),
        Answer::Instant(_) => Some(value::INSTANT),
        Answer::Integer(_) => Some(value::INTEGER),
        Answer::Text(_) => Some(value::TEXT),
        Answer::Texts(_) => Some(value::TEXTS),
    }
}
