//! Bytes to entries. The bytes may come from anywhere: every length is held against the bytes that
//! are left, nothing recurses, and nothing is allocated ahead of what has been read.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use minicbor::Decoder;
use minicbor::data::Type;

use crate::address::{Address, Network};
use crate::client::Client;
use crate::decision::trace::{Answer, Question, Trace};
use crate::decision::verdict::{
    Evaluated, Evaluation, Evaluations, Fault, Obligation, Outcome, Params, Reason, Signal, Verdict,
};
use crate::decision::{DecisionId, DecisionRecord};
use crate::digest::Digest;
use crate::key::KeyId;
use crate::key::event::{ACTOR_MAX_BYTES, KeyEvent, REASON_MAX_BYTES, Subject, USER_MAX_BYTES};
use crate::timestamp::Timestamp;

use super::codes::{self, Answers, asked, value};
use super::{
    Boot, Coalesced, Entry, EntryError, LOG_KEYS_MAX, LogKey, Outage, RETENTION_POLICY_MAX_BYTES,
    REVOCATION_MAX_BYTES, Recovery, Reload, Retention, Revocation,
};

/// Reads one entry that fills `bytes`, and says in which layout it is. Whether it is in canonical
/// form is the caller's to check.
pub(super) fn entry(bytes: &[u8]) -> Result<(Entry, u64), EntryError> {
    let mut cbor = Cbor {
        decoder: Decoder::new(bytes),
        total_bytes: bytes.len(),
    };
    let items = cbor.count("an array")?;
    let kind = cbor.number("the type of an entry")?;
    let layout = cbor.number("the layout of an entry")?;
    let expected_items = match (kind, layout) {
        (codes::BOOT, codes::LAYOUT) => 9,
        (codes::RECOVERY | codes::RELOAD | codes::OUTAGE | codes::LOG_KEY, codes::LAYOUT) => 5,
        (codes::RETENTION | codes::COALESCED, codes::LAYOUT) => 6,
        (codes::KEY_EVENT, codes::LAYOUT) => 11,
        (codes::REVOCATION, codes::LAYOUT) => 4,
        (codes::DECISION, codes::DECISION_LAYOUT_1) => 12,
        (codes::DECISION, codes::DECISION_LAYOUT) => 13,
        (codes::DECISION, codes::DECISION_LAYOUT_CLIENT) => 14,
        (
            codes::BOOT
            | codes::RECOVERY
            | codes::DECISION
            | codes::RELOAD
            | codes::OUTAGE
            | codes::LOG_KEY
            | codes::RETENTION
            | codes::KEY_EVENT
            | codes::COALESCED
            | codes::REVOCATION,
            other,
        ) => {
            return Err(EntryError::UnknownVersion(other));
        }
        (other, _) => return Err(EntryError::UnknownType(other)),
    };
    if items != expected_items {
        return Err(EntryError::Malformed {
            offset: 0,
            expected: "an array of the type's length",
        });
    }
    let entry = match kind {
        codes::BOOT => Entry::Boot(cbor.boot()?),
        codes::RECOVERY => Entry::Recovery(cbor.recovery()?),
        codes::RELOAD => Entry::Reload(cbor.reload()?),
        codes::OUTAGE => Entry::Outage(cbor.outage()?),
        codes::LOG_KEY => Entry::LogKey(cbor.log_key()?),
        codes::RETENTION => Entry::Retention(cbor.retention()?),
        codes::KEY_EVENT => Entry::KeyEvent(cbor.key_event()?),
        codes::COALESCED => Entry::Coalesced(cbor.coalesced()?),
        codes::REVOCATION => Entry::Revocation(cbor.revocation()?),
        _ => Entry::Decision(cbor.decision(layout)?),
    };
    if cbor.decoder.position() == bytes.len() {
        Ok((entry, layout))
    } else {
        Err(EntryError::NotCanonical)
    }
}

/// The decoder with the shapes of the grammar.
struct Cbor<'b> {
    decoder: Decoder<'b>,
    total_bytes: usize,
}

impl<'b> Cbor<'b> {
    fn boot(&mut self) -> Result<Boot, EntryError> {
        Ok(Boot {
            time: self.instant()?,
            origin: self.text()?.to_owned(),
            durability: self.code("a durability", codes::durability_of)?,
            sync_interval_ms: self.number("a number of milliseconds")?,
            keyward_version: self.text()?.to_owned(),
            engine: self.text()?.to_owned(),
            policy_set: self.digest()?,
        })
    }

    fn recovery(&mut self) -> Result<Recovery, EntryError> {
        Ok(Recovery {
            time: self.instant()?,
            dropped_bytes: self.number("a number of bytes")?,
            segment: self.number("an index")?,
        })
    }

    fn log_key(&mut self) -> Result<LogKey, EntryError> {
        Ok(LogKey {
            time: self.instant()?,
            previous: self.keys()?,
            keys: self.keys()?,
        })
    }

    fn keys(&mut self) -> Result<Vec<String>, EntryError> {
        let offset = self.decoder.position();
        let keys = self.list(|cbor| cbor.text().map(str::to_owned))?;
        if keys.is_empty() || keys.len() > LOG_KEYS_MAX {
            let expected = "1 or 2 keys";
            return Err(EntryError::Malformed { offset, expected });
        }
        Ok(keys)
    }

    fn outage(&mut self) -> Result<Outage, EntryError> {
        Ok(Outage {
            from: self.instant()?,
            to: self.instant()?,
            refused: self.number("how many were refused")?,
        })
    }

    fn retention(&mut self) -> Result<Retention, EntryError> {
        let (time, below, before) = (self.instant()?, self.number("an index")?, self.instant()?);
        let offset = self.decoder.position();
        let policy = self.text()?.to_owned();
        if !(1..=RETENTION_POLICY_MAX_BYTES).contains(&policy.len()) {
            let expected = "a policy of 1 to 4096 bytes";
            return Err(EntryError::Malformed { offset, expected });
        }
        Ok(Retention {
            time,
            below,
            before,
            policy,
        })
    }

    fn key_event(&mut self) -> Result<KeyEvent, EntryError> {
        Ok(KeyEvent {
            time: self.instant()?,
            sequence: self.number("a number of a key event")?,
            previous: self.or_null(Self::digest)?,
            kind: self.code("a kind of key event", codes::key_event_of)?,
            subject: self.subject()?,
            actor: self.or_null(|cbor| cbor.limited_text(ACTOR_MAX_BYTES))?,
            user: self.or_null(|cbor| cbor.limited_text(USER_MAX_BYTES))?,
            reason: self.or_null(|cbor| cbor.limited_text(REASON_MAX_BYTES))?,
            order: self.or_null(Self::digest)?,
        })
    }

    fn subject(&mut self) -> Result<Subject, EntryError> {
        let offset = self.decoder.position();
        let items = self.count("what a key event is about")?;
        match (self.number("a kind of subject")?, items) {
            (codes::SUBJECT_KEY, 8) => Ok(Subject::Key {
                id: self.key_id()?,
                version: self.number("a version")?,
                before: self.or_null(Self::digest)?,
                after: self.digest()?,
                state: self.code("a state", codes::state_of)?,
                other: self.or_null(Self::key_id)?,
                secret: self.or_null(Self::digest)?,
            }),
            (codes::SUBJECT_KEYS, 3) => Ok(Subject::Keys {
                count: self.number("how many keys")?,
                digest: self.digest()?,
            }),
            (codes::SUBJECT_NOTHING, 2) => Ok(Subject::Nothing {
                id: self.or_null(Self::key_id)?,
            }),
            _ => Err(EntryError::Malformed {
                offset,
                expected: "what a key event is about",
            }),
        }
    }

    /// A text of at least one byte.
    fn limited_text(&mut self, most: usize) -> Result<Arc<str>, EntryError> {
        let offset = self.decoder.position();
        let text = self.shared_text()?;
        if (1..=most).contains(&text.len()) {
            Ok(text)
        } else {
            let expected = "a text within its limits";
            Err(EntryError::Malformed { offset, expected })
        }
    }

    fn coalesced(&mut self) -> Result<Coalesced, EntryError> {
        Ok(Coalesced {
            from: self.instant()?,
            to: self.instant()?,
            reason: self.text()?.into(),
            count: self.number("how many were denied")?,
        })
    }

    fn revocation(&mut self) -> Result<Revocation, EntryError> {
        let time = self.instant()?;
        let offset = self.decoder.position();
        let expected = "a certified revocation";
        let cose = self.decoder.bytes();
        match cose.map_err(|_| EntryError::Malformed { offset, expected })? {
            cose if (1..=REVOCATION_MAX_BYTES).contains(&cose.len()) => Ok(Revocation {
                time,
                cose: cose.to_owned(),
            }),
            _ => Err(EntryError::Malformed { offset, expected }),
        }
    }

    fn reload(&mut self) -> Result<Reload, EntryError> {
        Ok(Reload {
            time: self.instant()?,
            previous: self.digest()?,
            policy_set: self.digest()?,
        })
    }

    fn decision(&mut self, layout: u64) -> Result<DecisionRecord, EntryError> {
        let mut decision = DecisionRecord {
            id: DecisionId(u128::from_be_bytes(
                self.fixed("a decision id of 16 bytes")?,
            )),
            time: self.instant()?,
            request: self.or_null(Self::shared_text)?,
            key: self.or_null(Self::key_id)?,
            key_record: self.or_null(Self::digest)?,
            policy_set: self.digest()?,
            permission: self.code("a permission", codes::permission_of)?,
            reason: self.text()?.into(),
            detail: self.or_null(Self::shared_text)?,
            evaluations: Evaluations::default(),
            client: None,
        };
        let reused = if layout == codes::DECISION_LAYOUT_1 {
            Vec::new()
        } else {
            self.list(|cbor| cbor.number("the place of an evaluation"))?
        };
        let mut evaluations = self.list(|cbor| cbor.evaluation().map(Evaluated::afresh))?;
        // A place that is there twice, out of order or behind the end does not come back when the
        // entry is encoded again, and so is refused.
        for place in reused {
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            if let Some(evaluated) = evaluations.get_mut(place) {
                evaluated.is_reused = true;
            }
        }
        decision.evaluations = evaluations.into();
        if layout == codes::DECISION_LAYOUT_CLIENT {
            decision.client = Some(Arc::new(self.client()?));
        }
        Ok(decision)
    }

    fn client(&mut self) -> Result<Client, EntryError> {
        self.array_of(3, "where a request came from")?;
        let address = self.or_null(Self::address)?;
        let peer = self.or_null(Self::address)?;
        let offset = self.decoder.position();
        let chain = self.list(Self::shared_text)?;
        let client = Client {
            peer,
            address,
            chain,
        };
        if client.is_within_limits() {
            Ok(client)
        } else {
            let expected = "a chain of at most 32 texts of 1 to 45 bytes";
            Err(EntryError::Malformed { offset, expected })
        }
    }

    fn evaluation(&mut self) -> Result<Evaluation, EntryError> {
        self.array_of(3, "an evaluation")?;
        Ok(Evaluation {
            outcome: self.outcome()?,
            trace: Trace {
                steps: self.list(Self::step)?,
            },
            fuel: self.number("an amount of fuel")?,
        })
    }

    fn outcome(&mut self) -> Result<Outcome, EntryError> {
        let offset = self.decoder.position();
        let items = self.count("an outcome")?;
        match (self.number("the kind of an outcome")?, items) {
            (codes::OUTCOME_VERDICT, 5) => Ok(Outcome::Verdict(Verdict {
                effect: self.code("an effect", codes::effect_of)?,
                reason: self.or_null(Self::reason)?,
                signals: self.list(Self::signal)?,
                obligations: self.list(Self::obligation)?,
            })),
            (codes::OUTCOME_FAULT, 3) => Ok(Outcome::Fault(Fault {
                kind: self.code("a kind of fault", codes::fault_of)?,
                detail: self.text()?.to_owned(),
            })),
            _ => Err(EntryError::Malformed {
                offset,
                expected: "a verdict or a fault",
            }),
        }
    }

    fn reason(&mut self) -> Result<Reason, EntryError> {
        self.array_of(2, "a reason")?;
        Ok(Reason {
            code: self.text()?.into(),
            params: self.params()?,
        })
    }

    fn signal(&mut self) -> Result<Signal, EntryError> {
        self.array_of(2, "a signal")?;
        Ok(Signal {
            name: self.text()?.to_owned(),
            params: self.params()?,
        })
    }

    fn obligation(&mut self) -> Result<Obligation, EntryError> {
        self.array_of(3, "an obligation")?;
        Ok(Obligation {
            name: self.text()?.to_owned(),
            params: self.params()?,
            required: self.flag()?,
        })
    }

    fn params(&mut self) -> Result<Params, EntryError> {
        self.list(|cbor| {
            cbor.array_of(2, "a parameter")?;
            Ok((cbor.text()?.to_owned(), cbor.text()?.to_owned()))
        })
    }

    fn step(&mut self) -> Result<(Question, Answer), EntryError> {
        self.array_of(2, "a question and its answer")?;
        let question = self.question()?;
        let answer = self.answer(&question)?;
        Ok((question, answer))
    }

    fn question(&mut self) -> Result<Question, EntryError> {
        if self
            .decoder
            .datatype()
            .is_ok_and(|next| next != Type::Array)
        {
            return self.code("a question without argument", codes::plain_question);
        }
        self.array_of(2, "a question with its argument")?;
        let offset = self.decoder.position();
        let expected = "a question with an argument";
        Ok(match self.number(expected)? {
            asked::ATTRIBUTE => Question::Attribute(self.shared_text()?),
            asked::HEADER => Question::Header(self.shared_text()?),
            asked::KEY_LABEL => Question::KeyLabel(self.shared_text()?),
            asked::REACHED => Question::Reached(self.instant()?),
            _ => return Err(EntryError::Malformed { offset, expected }),
        })
    }

    fn answer(&mut self, question: &Question) -> Result<Answer, EntryError> {
        let (answers, may_be_absent) = codes::answers(question);
        if may_be_absent && self.is_null() {
            self.null()?;
            return Ok(Answer::Absent);
        }
        Ok(match answers {
            Answers::Address => Answer::Address(self.address()?),
            Answers::Flag => Answer::Flag(self.flag()?),
            Answers::Instant => Answer::Instant(self.instant()?),
            Answers::Lifecycle => Answer::Lifecycle(self.code("a lifecycle", codes::lifecycle_of)?),
            Answers::Networks => Answer::Networks(self.list(Self::network)?.into()),
            Answers::Text => Answer::Text(self.shared_text()?),
            Answers::Texts => Answer::Texts(self.list(Self::shared_text)?.into()),
            Answers::Value => self.value()?,
        })
    }

    /// The value of an attribute, with its kind before it.
    fn value(&mut self) -> Result<Answer, EntryError> {
        self.array_of(2, "a value with its kind")?;
        let offset = self.decoder.position();
        Ok(match self.number("the kind of a value")? {
            value::TEXT => Answer::Text(self.shared_text()?),
            value::INTEGER => Answer::Integer(self.integer("an integer")?),
            value::FLAG => Answer::Flag(self.flag()?),
            value::INSTANT => Answer::Instant(self.instant()?),
            value::ADDRESS => Answer::Address(self.address()?),
            value::TEXTS => Answer::Texts(self.list(Self::shared_text)?.into()),
            _ => {
                return Err(EntryError::Malformed {
                    offset,
                    expected: "the kind of a value",
                });
            }
        })
    }

    fn network(&mut self) -> Result<Network, EntryError> {
        self.array_of(2, "a network")?;
        let address = self.address()?;
        let offset = self.decoder.position();
        let malformed = || EntryError::Malformed {
            offset,
            expected: "the prefix of a network",
        };
        let prefix = u8::try_from(self.number("a prefix length")?).map_err(|_| malformed())?;
        Network::new(address.ip(), prefix).map_err(|_| malformed())
    }

    fn address(&mut self) -> Result<Address, EntryError> {
        let offset = self.decoder.position();
        let malformed = EntryError::Malformed {
            offset,
            expected: "an address of 4 or 16 bytes",
        };
        let Ok(bytes) = self.decoder.bytes() else {
            return Err(malformed);
        };
        if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
            return Ok(Address::new(Ipv4Addr::from(v4).into()));
        }
        <[u8; 16]>::try_from(bytes)
            .map(|v6| Address::new(Ipv6Addr::from(v6).into()))
            .map_err(|_| malformed)
    }

    fn digest(&mut self) -> Result<Digest, EntryError> {
        self.fixed("a digest of 32 bytes").map(Digest::from_bytes)
    }

    fn instant(&mut self) -> Result<Timestamp, EntryError> {
        self.integer("an instant").map(Timestamp::from_millis)
    }

    fn shared_text(&mut self) -> Result<Arc<str>, EntryError> {
        self.text().map(Arc::from)
    }

    fn key_id(&mut self) -> Result<KeyId, EntryError> {
        let offset = self.decoder.position();
        self.text()?.parse().map_err(|_| EntryError::Malformed {
            offset,
            expected: "a key id",
        })
    }

    /// A number that stands for a name.
    fn code<T>(
        &mut self,
        expected: &'static str,
        name: impl Fn(u64) -> Option<T>,
    ) -> Result<T, EntryError> {
        let offset = self.decoder.position();
        name(self.number(expected)?).ok_or(EntryError::Malformed { offset, expected })
    }

    fn or_null<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, EntryError>,
    ) -> Result<Option<T>, EntryError> {
        if self.is_null() {
            self.null().map(|()| None)
        } else {
            read(self).map(Some)
        }
    }

    fn list<T>(
        &mut self,
        one: impl Fn(&mut Self) -> Result<T, EntryError>,
    ) -> Result<Vec<T>, EntryError> {
        let items = self.count("an array")?;
        (0..items).map(|_| one(self)).collect()
    }

    fn array_of(&mut self, items: u64, expected: &'static str) -> Result<(), EntryError> {
        let offset = self.decoder.position();
        if self.count(expected)? == items {
            Ok(())
        } else {
            Err(EntryError::Malformed { offset, expected })
        }
    }

    /// The number of items of an array. Each takes at least a byte, so that a number larger than
    /// the bytes left is a lie, found before anything is made of it.
    fn count(&mut self, expected: &'static str) -> Result<u64, EntryError> {
        let offset = self.decoder.position();
        let items = self.decoder.array().ok().flatten();
        let left = self.total_bytes.saturating_sub(self.decoder.position());
        items
            .filter(|items| usize::try_from(*items).is_ok_and(|items| items <= left))
            .ok_or(EntryError::Malformed { offset, expected })
    }

    fn fixed<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], EntryError> {
        let offset = self.decoder.position();
        let bytes = self
            .decoder
            .bytes()
            .ok()
            .and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or(EntryError::Malformed { offset, expected })
    }

    fn number(&mut self, expected: &'static str) -> Result<u64, EntryError> {
        let offset = self.decoder.position();
        self.decoder
            .u64()
            .map_err(|_| EntryError::Malformed { offset, expected })
    }

    fn integer(&mut self, expected: &'static str) -> Result<i64, EntryError> {
        let offset = self.decoder.position();
        self.decoder
            .i64()
            .map_err(|_| EntryError::Malformed { offset, expected })
    }

    fn text(&mut self) -> Result<&'b str, EntryError> {
        let offset = self.decoder.position();
        self.decoder.str().map_err(|_| EntryError::Malformed {
            offset,
            expected: "a text",
        })
    }

    fn flag(&mut self) -> Result<bool, EntryError> {
        let offset = self.decoder.position();
        self.decoder.bool().map_err(|_| EntryError::Malformed {
            offset,
            expected: "a boolean",
        })
    }

    fn is_null(&self) -> bool {
        self.decoder.datatype().is_ok_and(|next| next == Type::Null)
    }

    fn null(&mut self) -> Result<(), EntryError> {
        let offset = self.decoder.position();
        self.decoder.null().map_err(|_| EntryError::Malformed {
            offset,
            expected: "null",
        })
    }
}
