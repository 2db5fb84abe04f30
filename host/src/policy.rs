//! Policies: sandboxed components that are asked one request at a time.
//!
//! A [`PolicySet`] is an ordered list of [`Policy`]s; a policy is a module (a wasm component) with
//! settings, a name and limits. [`Policy::evaluate`] runs it in an instance of its own, which
//! starts from the configured snapshot, gets that one call and is dropped. What it asks goes
//! through [`Answers`] and is noted in the trace, so that the same answers give the same verdict
//! and the same fuel, here and in every replay.
//!
//! Out of scope: where modules and settings come from, what becomes of a verdict, and any log.

mod budget;
mod component;
mod descriptor;
mod engine;
mod fault;
mod interface;
mod reuse;
mod settings;
mod snapshot;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use budget::Limits;
pub use component::MODULE_MAX_BYTES;
pub use descriptor::{AttributeNeed, Descriptor, ReasonTemplate};
pub use engine::{ENGINE, Engine, EngineError};
pub use interface::Answers;
pub use reuse::{
    CHECK_EXPECTED_COST, CHECK_RARER_MAX, REUSE_MAX_BYTES, REUSE_MIN_BYTES, ReuseCounts,
    ReuseOptions,
};
pub use settings::SettingProblem;

use crate::decision::Mode;
use crate::decision::trace::Answer;
use crate::decision::verdict::{Evaluated, Evaluation, Evaluations, Fault, FaultKind, Outcome};
use crate::digest::Digest;
use crate::facts::FactsView;
use crate::usage;
use reuse::{Reusable, Reuse};

/// What a policy is made from.
#[derive(Clone, Debug)]
pub struct PolicySpec {
    /// Unique in its set.
    pub name: Arc<str>,
    /// Whether its verdict counts.
    pub mode: Mode,
    /// The component's bytes, at most [`MODULE_MAX_BYTES`].
    pub module: Arc<[u8]>,
    /// Canonical JSON (RFC 8785) of an object.
    pub settings: Arc<str>,
    /// What one evaluation may use.
    pub limits: Limits,
}

/// A module with settings, a name and limits, ready to be evaluated from any thread.
pub struct Policy {
    spec: PolicySpec,
    engine: Engine,
    descriptor: Descriptor,
    needs: Arc<BTreeSet<Arc<str>>>,
    compiled: component::Compiled,
    module_digest: Digest,
    snapshot: Option<Digest>,
}

/// An ordered list of policies, named by the digest of its manifest.
#[derive(Debug)]
pub struct PolicySet {
    policies: Vec<Policy>,
    manifest: Arc<[u8]>,
    digest: Digest,
    reuse: Reuse,
    needs_usage: bool,
}

/// Why a policy does not load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The descriptor, or its settings schema, breaks the contract.
    #[error("what the module says of itself is not acceptable: {0}")]
    Descriptor(String),
    /// A call that a load makes ended in a fault.
    #[error("`{call}` failed: {fault}{}", advice(.fault.kind))]
    Failed {
        /// `describe` or `configure`.
        call: &'static str,
        /// How it failed.
        fault: Fault,
    },
    /// A limit is out of [`Limits::LEAST`] to [`Limits::MOST`].
    #[error("its limits are out of bounds")]
    Limits,
    /// It imports more than the policy interface.
    #[error(
        "it imports {}; a policy may import `keyward:policy/request` and `keyward:policy/log` only",
        quoted(.0)
    )]
    Imports(Vec<String>),
    /// It does not fit the interface `keyward:policy@0.1.0`.
    #[error("it does not fit the interface `keyward:policy@0.1.0`: {0}")]
    Interface(String),
    /// Not a component that this engine can compile.
    #[error("the module cannot be used: {0}")]
    Module(String),
    /// The settings are refused, by the schema or by the policy itself.
    #[error("its settings are refused: {}", listed(.0))]
    Settings(Vec<SettingProblem>),
}

/// Why policies do not make a set.
#[derive(Debug, thiserror::Error)]
pub enum PolicySetError {
    /// There is none, and what no policy allows is denied.
    #[error("a policy set needs at least one policy")]
    Empty,
    /// The manifest cannot be written, which no loaded policy causes.
    #[error("the manifest of the policy set cannot be written")]
    Manifest(#[from] serde_json::Error),
}

/// What a policy set's digest covers: everything but the engine that decides a verdict. Kept with
/// the log, so that a replay needs nothing else.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The engine that the set was loaded on; fuel and snapshots are compared only on the same.
    pub engine: String,
    /// The policies, in the order of the set.
    pub policies: Vec<ManifestPolicy>,
}

/// One policy of a [`Manifest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestPolicy {
    /// Unique in the set.
    pub name: Arc<str>,
    /// `enforce` or `shadow`.
    pub mode: Mode,
    /// The digest of the component.
    pub module: Digest,
    /// The settings: an object.
    pub settings: serde_json::Value,
    /// Its budgets.
    pub limits: Limits,
    /// The digest of the configured snapshot; `None` when it could not be snapshotted.
    pub snapshot: Option<Digest>,
    /// What the policy says of itself.
    pub descriptor: Descriptor,
}

impl Policy {
    /// Loads a policy: checks the component, its imports, its descriptor and the settings, and
    /// snapshots it configured.
    ///
    /// # Errors
    /// [`LoadError`] says which check failed.
    pub fn load(engine: &Engine, spec: PolicySpec) -> Result<Self, LoadError> {
        let loaded = component::load(engine, &spec)?;
        Ok(Self {
            engine: engine.clone(),
            needs: component::needs(&loaded.descriptor),
            descriptor: loaded.descriptor,
            compiled: loaded.compiled,
            module_digest: Digest::of(&spec.module),
            snapshot: loaded.snapshot,
            spec,
        })
    }

    /// What it was made from.
    #[must_use]
    pub const fn spec(&self) -> &PolicySpec {
        &self.spec
    }

    /// What it says of itself.
    #[must_use]
    pub const fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The digest of its component.
    #[must_use]
    pub const fn module_digest(&self) -> Digest {
        self.module_digest
    }

    /// The digest of its configured snapshot; `None` when each instance is configured anew.
    #[must_use]
    pub const fn snapshot(&self) -> Option<Digest> {
        self.snapshot
    }

    /// Evaluates it once, in a fresh instance. Never fails: what goes wrong is a fault.
    ///
    /// The calling thread needs 512 KiB of stack: half of it is the policy's own limit, which the
    /// thread has to have.
    #[must_use]
    pub fn evaluate(&self, answers: Box<dyn Answers>) -> Evaluation {
        let limits = &self.spec.limits;
        let mut state = interface::State::new(limits, Arc::clone(&self.needs));
        state.answer_by(answers);
        let mut store = self.compiled.store(&self.engine, limits, state);
        let result = self
            .check_needs(store.data_mut())
            .and_then(|()| self.call(&mut store));
        // Where a call that ends early leaves the fuel is the engine's affair.
        let left = result
            .as_ref()
            .map_or(Some(limits.fuel), |_| store.get_fuel().ok());
        let fuel = limits.fuel.saturating_sub(left.unwrap_or(0));
        let outcome = result
            .map_err(|error| fault::fault_of(&error))
            .and_then(|answer| match answer {
                Ok(verdict) => self.descriptor.check_verdict(verdict, limits),
                Err(declared) => Err(descriptor::declared_fault(&declared)),
            })
            .map_or_else(Outcome::Fault, Outcome::Verdict);
        Evaluation {
            outcome,
            trace: store.into_data().into_trace(),
            fuel,
        }
    }

    /// A required attribute without a value denies before the policy is called.
    fn check_needs(&self, state: &mut interface::State) -> wasmtime::Result<()> {
        for need in self.descriptor.needs.iter().filter(|need| need.required) {
            if state.ask_attribute(&need.name)? == Answer::Absent {
                let text = format!("it needs the attribute `{}`, which has no value", need.name);
                return Err(fault::Stop::Contract(text).into());
            }
        }
        Ok(())
    }

    fn call(&self, store: &mut wasmtime::Store<interface::State>) -> wasmtime::Result<Answered> {
        let world = self.compiled.pre.instantiate(&mut *store)?;
        if self.snapshot.is_none() {
            let configured = component::call_configure(&world, store, &self.spec.settings)?;
            configured.map_err(|_| {
                fault::Stop::Contract("refused settings that it had accepted".to_owned())
            })?;
        }
        store.data_mut().open();
        component::set_fuel(store, self.spec.limits.fuel);
        // In a call the guest passes either a name or the verdict; twice the budget leaves room for
        // the lists that hold the text.
        let hostcall_bytes = self
            .spec
            .limits
            .verdict_bytes
            .saturating_mul(2)
            .max(64 << 10);
        store.set_hostcall_fuel(usize::try_from(hostcall_bytes).unwrap_or(usize::MAX));
        world.keyward_policy_decide().call_evaluate(store)
    }
}

/// What `evaluate` returns when it returns.
type Answered = Result<
    interface::bindings::keyward::policy::types::Verdict,
    interface::bindings::keyward::policy::types::Fault,
>;

impl PolicySet {
    /// A set of loaded policies, in order: at least one. It reuses as [`ReuseOptions::default`]
    /// says.
    ///
    /// # Errors
    /// [`PolicySetError`] when there is none.
    pub fn new(policies: Vec<Policy>) -> Result<Self, PolicySetError> {
        if policies.is_empty() {
            return Err(PolicySetError::Empty);
        }
        let policy = |policy: &Policy| -> Result<ManifestPolicy, serde_json::Error> {
            Ok(ManifestPolicy {
                name: Arc::clone(&policy.spec.name),
                mode: policy.spec.mode,
                module: policy.module_digest,
                settings: serde_json::from_str(&policy.spec.settings)?,
                limits: policy.spec.limits,
                snapshot: policy.snapshot,
                descriptor: policy.descriptor.clone(),
            })
        };
        let manifest = Manifest {
            engine: ENGINE.to_owned(),
            policies: policies.iter().map(policy).collect::<Result<_, _>>()?,
        };
        let manifest = serde_json_canonicalizer::to_vec(&manifest)?;
        let is_usage = |name: &Arc<str>| name.starts_with(usage::PREFIX);
        Ok(Self {
            needs_usage: (policies.iter()).any(|policy| policy.needs.iter().any(is_usage)),
            reuse: reuse(&policies, ReuseOptions::default()),
            policies,
            digest: Digest::of(&manifest),
            manifest: manifest.into(),
        })
    }

    /// The same set with other options of reuse, and nothing in its memory.
    #[must_use]
    pub fn with_reuse(self, options: ReuseOptions) -> Self {
        Self {
            reuse: reuse(&self.policies, options),
            ..self
        }
    }

    /// The policies, in order.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Whether a policy, one in mode `shadow` included, may ask how often a key is used.
    #[must_use]
    pub const fn needs_usage(&self) -> bool {
        self.needs_usage
    }

    /// One evaluation for each policy, in order, also after a denial: a decision explains itself in
    /// full. What was evaluated for the same key with the same answers is reused; the result is
    /// the same either way.
    #[must_use]
    pub fn evaluate(&self, facts: FactsView<'_>) -> Evaluations {
        self.reuse.evaluate(facts, &self.policies, Policy::evaluate)
    }

    /// Lets go of everything that could be reused.
    pub fn forget(&self) {
        self.reuse.forget();
    }

    /// What was reused of each policy, in order, since the set was made.
    #[must_use]
    pub fn reuse_counts(&self) -> Vec<ReuseCounts> {
        self.reuse.counts()
    }

    /// What came of each policy, with whether it counts: what [`crate::decision::combine`] takes.
    pub fn outcomes<'a>(
        &'a self,
        evaluations: &'a [Evaluated],
    ) -> impl Iterator<Item = (Mode, &'a Outcome)> {
        let outcomes = evaluations.iter().map(|it| &it.evaluation.outcome);
        self.policies
            .iter()
            .map(|policy| policy.spec.mode)
            .zip(outcomes)
    }

    /// The canonical JSON (RFC 8785) of its [`Manifest`].
    #[must_use]
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The digest of the manifest, which names the set.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }
}

fn reuse(policies: &[Policy], options: ReuseOptions) -> Reuse {
    let reusable = |policy: &Policy| Reusable {
        needs: Arc::clone(&policy.needs),
        module_bytes: policy.compiled.bytes,
        fuel: policy.spec.limits.fuel,
    };
    Reuse::new(policies.iter().map(reusable), options)
}

/// What a component is, without settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// What it says of itself.
    pub descriptor: Descriptor,
    /// The functions that it imports, each with its interface: all that it can ever ask.
    pub imports: Vec<String>,
}

/// Reads what a component says of itself and what it imports, after checking that it may be loaded
/// at all.
///
/// # Errors
/// [`LoadError`] says which check failed.
pub fn inspect(engine: &Engine, module: &[u8]) -> Result<Inspection, LoadError> {
    component::inspect(engine, module)
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.spec.name)
            .field("module", &self.module_digest)
            .field("snapshot", &self.snapshot)
            .finish_non_exhaustive()
    }
}

/// Which limit to raise when a load goes over it.
const fn advice(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::OutOfFuel => "; raise `configure_fuel` in its limits",
        FaultKind::OutOfMemory => "; raise `memory_mib` in its limits",
        FaultKind::Deadline => "; raise `deadline_ms` in its limits",
        _ => "",
    }
}

/// `` `a`, `b` ``.
fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `/a: wrong; /b: wrong`.
fn listed(problems: &[SettingProblem]) -> String {
    let problem = |problem: &SettingProblem| match problem.pointer.as_str() {
        "" => problem.message.clone(),
        pointer => format!("`{pointer}`: {}", problem.message),
    };
    problems.iter().map(problem).collect::<Vec<_>>().join("; ")
}
