//! The host's side of `keyward:policy`: the functions that a policy may call.
//!
//! Each call of `request` is a [`Question`]. It is counted, answered, and noted in the trace, in
//! that order. Nothing else crosses: there is no clock, no randomness, no file, no network. Calls
//! of
//! `log` go nowhere, so that nothing can depend on them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, Lift, Linker, LinkerInstance, Lower, WasmStr};

use super::budget::{Limits, Meter};
use super::fault::Stop;
use crate::address::Network;
use crate::decision::trace::{Answer, Question, Trace};
use crate::facts::Facts;
use crate::key::Lifecycle;
use crate::timestamp::Timestamp;

/// Types and exports of the world, generated from `wit/`.
pub(super) mod bindings {
    wasmtime::component::bindgen!({ world: "policy", path: "../wit", imports: { default: trappable } });
}
use bindings::keyward::policy::{log, types as wit};

/// Who answers a policy's questions: the live request and key record, or, in a replay, the record.
pub trait Answers: Send {
    /// Answers one question. Called once for each call of the policy, in order.
    ///
    /// # Errors
    /// When there is no answer: a replay whose record holds no such question. The evaluation ends
    /// with a contract fault of this text.
    fn answer(&mut self, question: &Question) -> Result<Answer, String>;
}

impl Answers for Arc<Facts> {
    fn answer(&mut self, question: &Question) -> Result<Answer, String> {
        Ok(Facts::answer(self, question))
    }
}

/// What an instance's store holds: who answers, what was asked, what is left of the budgets.
pub(super) struct State {
    answers: Option<Box<dyn Answers>>,
    /// Whether the policy may ask: only in `evaluate`, not in `describe` and `configure`.
    is_open: bool,
    needs: Arc<BTreeSet<Arc<str>>>,
    trace: Trace,
    questions_left: u32,
    answers_left_bytes: u64,
    pub(super) meter: Meter,
}

/// The longest name of a header, label or attribute that may be asked for.
const NAME_MAX_BYTES: usize = 256;

impl State {
    pub(super) fn new(limits: &Limits, needs: Arc<BTreeSet<Arc<str>>>) -> Self {
        Self {
            answers: None,
            is_open: false,
            needs,
            trace: Trace::default(),
            questions_left: limits.questions,
            answers_left_bytes: limits.answers_bytes,
            meter: Meter::new(limits),
        }
    }

    /// Says who answers. The policy may not ask yet.
    pub(super) fn answer_by(&mut self, answers: Box<dyn Answers>) {
        self.answers = Some(answers);
    }

    /// From here on, the policy may ask.
    pub(super) const fn open(&mut self) {
        self.is_open = true;
    }

    /// Asks for an attribute on the policy's behalf: counted and noted like its own questions.
    pub(super) fn ask_attribute(&mut self, name: &Arc<str>) -> Result<Answer, Stop> {
        self.ask(Question::Attribute(Arc::clone(name)))
    }

    /// A question of the policy's own.
    fn guest_asks(&mut self, question: Question) -> Result<Answer, Stop> {
        if !self.is_open {
            let name = question.name();
            return Err(Stop::Contract(format!(
                "called `{name}` outside `evaluate`"
            )));
        }
        self.ask(question)
    }

    pub(super) fn into_trace(self) -> Trace {
        self.trace
    }

    fn ask(&mut self, question: Question) -> Result<Answer, Stop> {
        let answers = self
            .answers
            .as_mut()
            .ok_or_else(|| Stop::Contract("nobody answers".to_owned()))?;
        self.questions_left = self
            .questions_left
            .checked_sub(1)
            .ok_or(Stop::TooManyQuestions(
                "asked more questions than its budget",
            ))?;
        let mut answer = answers.answer(&question).map_err(Stop::Contract)?;
        if matches!(&question, Question::Attribute(name) if !self.needs.contains(name)) {
            answer = Answer::Absent;
        }
        let bytes = question.argument_bytes() + answer.size_bytes();
        // Noted also when it goes over the budget: the replay has to be told the same to find the
        // same.
        self.trace.steps.push((question, answer.clone()));
        self.answers_left_bytes =
            self.answers_left_bytes
                .checked_sub(bytes)
                .ok_or(Stop::TooManyQuestions(
                    "was given more bytes of answers than its budget",
                ))?;
        Ok(answer)
    }
}

type Store<'a> = StoreContextMut<'a, State>;

/// Defines `request` and `log` for components to import.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut functions = linker.instance("keyward:policy/request@0.1.0")?;
    let request = &mut functions;
    request.func_wrap("reached", |mut store: Store<'_>, (instant,): (i64,)| {
        let question = Question::Reached(Timestamp::from_millis(instant));
        Ok((flag(&store.data_mut().guest_asks(question)?)?,))
    })?;
    plain(request, "now", || Question::Now, instant)?;
    plain(
        request,
        "source-address",
        || Question::SourceAddress,
        address,
    )?;
    plain(request, "method", || Question::Method, text)?;
    plain(request, "host", || Question::Host, text)?;
    plain(request, "path", || Question::Path, text)?;
    named(request, "header", Question::Header, texts)?;
    plain(
        request,
        "required-scope",
        || Question::RequiredScope,
        optional_text,
    )?;
    named(request, "attribute", Question::Attribute, value)?;
    add_key_functions(request)?;

    // The message stays in the guest: it is neither copied nor looked at.
    let mut log = linker.instance("keyward:policy/log@0.1.0")?;
    log.func_wrap(
        "write",
        |_: Store<'_>, (_, _): (log::Level, WasmStr)| Ok(()),
    )
}

/// The functions of `request` that are about the key.
fn add_key_functions(request: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    plain(request, "key-id", || Question::KeyId, text)?;
    plain(request, "key-owner", || Question::KeyOwner, text)?;
    plain(
        request,
        "key-lifecycle",
        || Question::KeyLifecycle,
        lifecycle,
    )?;
    plain(request, "key-issued-at", || Question::KeyIssuedAt, instant)?;
    plain(
        request,
        "key-not-before",
        || Question::KeyNotBefore,
        optional_instant,
    )?;
    plain(
        request,
        "key-rotate-by",
        || Question::KeyRotateBy,
        optional_instant,
    )?;
    plain(
        request,
        "key-expires-at",
        || Question::KeyExpiresAt,
        optional_instant,
    )?;
    plain(
        request,
        "key-grace-until",
        || Question::KeyGraceUntil,
        optional_instant,
    )?;
    plain(request, "key-scopes", || Question::KeyScopes, texts)?;
    plain(request, "key-read-only", || Question::KeyReadOnly, flag)?;
    plain(
        request,
        "key-allowed-networks",
        || Question::KeyAllowedNetworks,
        networks,
    )?;
    named(request, "key-label", Question::KeyLabel, optional_text)
}

/// Defines a function without arguments.
fn plain<R: 'static>(
    instance: &mut LinkerInstance<'_, State>,
    name: &str,
    question: fn() -> Question,
    read: fn(&Answer) -> Result<R, Stop>,
) -> wasmtime::Result<()>
where
    (R,): ComponentNamedList + Lower,
{
    instance.func_wrap(name, move |mut store: Store<'_>, (): ()| {
        Ok((read(&store.data_mut().guest_asks(question())?)?,))
    })
}

/// Defines a function of a name.
fn named<R: 'static>(
    instance: &mut LinkerInstance<'_, State>,
    name: &str,
    question: fn(Arc<str>) -> Question,
    read: fn(&Answer) -> Result<R, Stop>,
) -> wasmtime::Result<()>
where
    (R,): ComponentNamedList + Lower,
    (WasmStr,): Lift,
{
    instance.func_wrap(name, move |mut store: Store<'_>, (name,): (WasmStr,)| {
        let name = {
            let name = name.to_str(&store)?;
            if name.len() > NAME_MAX_BYTES {
                let bytes = name.len();
                let text =
                    format!("asked for a name of {bytes} bytes; the most is {NAME_MAX_BYTES}");
                return Err(Stop::Contract(text).into());
            }
            Arc::from(&*name)
        };
        Ok((read(&store.data_mut().guest_asks(question(name))?)?,))
    })
}

/// An answer of another kind than its question's. Only a damaged record can hold one.
fn mismatch<T>() -> Result<T, Stop> {
    Err(Stop::Contract(
        "the recorded answer is not of its question's kind".to_owned(),
    ))
}

fn flag(answer: &Answer) -> Result<bool, Stop> {
    match answer {
        Answer::Flag(flag) => Ok(*flag),
        _ => mismatch(),
    }
}

fn instant(answer: &Answer) -> Result<i64, Stop> {
    match answer {
        Answer::Instant(instant) => Ok(instant.millis()),
        _ => mismatch(),
    }
}

fn optional_instant(answer: &Answer) -> Result<Option<i64>, Stop> {
    match answer {
        Answer::Absent => Ok(None),
        other => instant(other).map(Some),
    }
}

fn text(answer: &Answer) -> Result<Arc<str>, Stop> {
    match answer {
        Answer::Text(text) => Ok(Arc::clone(text)),
        _ => mismatch(),
    }
}

fn optional_text(answer: &Answer) -> Result<Option<Arc<str>>, Stop> {
    match answer {
        Answer::Absent => Ok(None),
        other => text(other).map(Some),
    }
}

fn texts(answer: &Answer) -> Result<Arc<[Arc<str>]>, Stop> {
    match answer {
        Answer::Texts(texts) => Ok(Arc::clone(texts)),
        _ => mismatch(),
    }
}

fn lifecycle(answer: &Answer) -> Result<wit::Lifecycle, Stop> {
    match answer {
        Answer::Lifecycle(Lifecycle::Active) => Ok(wit::Lifecycle::Active),
        Answer::Lifecycle(Lifecycle::Deprecated) => Ok(wit::Lifecycle::Deprecated),
        _ => mismatch(),
    }
}

fn address(answer: &Answer) -> Result<Option<wit::IpAddress>, Stop> {
    match answer {
        Answer::Absent => Ok(None),
        Answer::Address(address) => Ok(Some(wit_address(address.ip()))),
        _ => mismatch(),
    }
}

fn networks(answer: &Answer) -> Result<Option<Vec<wit::Network>>, Stop> {
    let wit_network = |network: &Network| wit::Network {
        address: wit_address(network.address().ip()),
        prefix_length: network.prefix_length(),
    };
    match answer {
        Answer::Absent => Ok(None),
        Answer::Networks(networks) => Ok(Some(networks.iter().map(wit_network).collect())),
        _ => mismatch(),
    }
}

fn value(answer: &Answer) -> Result<Option<wit::Value>, Stop> {
    Ok(Some(match answer {
        Answer::Absent => return Ok(None),
        Answer::Address(address) => wit::Value::Address(wit_address(address.ip())),
        Answer::Flag(flag) => wit::Value::Boolean(*flag),
        Answer::Instant(instant) => wit::Value::Instant(instant.millis()),
        Answer::Integer(integer) => wit::Value::Integer(*integer),
        Answer::Text(text) => wit::Value::Text(text.as_ref().to_owned()),
        Answer::Texts(texts) => {
            wit::Value::Texts(texts.iter().map(|text| text.as_ref().to_owned()).collect())
        }
        Answer::Lifecycle(_) | Answer::Networks(_) => return mismatch(),
    }))
}

/// High half first, as the WIT has it.
fn wit_address(address: IpAddr) -> wit::IpAddress {
    match address {
        IpAddr::V4(v4) => wit::IpAddress::V4(v4.to_bits()),
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h] = v6.segments().map(u64::from);
            let half = |a, b, c, d| a << 48 | b << 32 | c << 16 | d;
            wit::IpAddress::V6((half(a, b, c, d), half(e, f, g, h)))
        }
    }
}
