//! What one evaluation may use. Every limit has a default and can be set for each policy.

use serde::{Deserialize, Serialize};
use wasmtime::ResourceLimiter;

use super::fault::Stop;

/// The budgets of one policy, each from [`Limits::LEAST`] to [`Limits::MOST`]. Fuel, memory,
/// questions and sizes are deterministic, so that going over one replays; the deadline is the
/// host's own and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Fuel for one `evaluate`, in the engine's units: about one for each wasm instruction.
    pub fuel: u64,
    /// Fuel for `describe` and for `configure`, each, instantiation included; one more for each
    /// byte of the module, which making an instance copies.
    pub configure_fuel: u64,
    /// Linear memory of one instance, in bytes, all its memories together.
    pub memory_bytes: u64,
    /// Questions of one `evaluate`.
    pub questions: u32,
    /// Bytes of arguments and answers in one `evaluate`.
    pub answers_bytes: u64,
    /// Bytes of text in one verdict.
    pub verdict_bytes: u64,
    /// Signals of one verdict.
    pub signals: u32,
    /// Obligations of one verdict.
    pub obligations: u32,
    /// Wall-clock time of one `evaluate`, in milliseconds.
    pub deadline_ms: u64,
}

impl Limits {
    /// The least of each.
    pub const LEAST: Self = Self {
        fuel: 1_000,
        configure_fuel: 1_000,
        memory_bytes: 1 << 20,
        questions: 1,
        answers_bytes: 1 << 10,
        verdict_bytes: 1 << 10,
        signals: 0,
        obligations: 0,
        deadline_ms: 1,
    };
    /// The most of each. A log that claims more is not replayed with it.
    pub const MOST: Self = Self {
        fuel: 1_000_000_000,
        configure_fuel: 100_000_000_000,
        memory_bytes: 1 << 30,
        questions: 100_000,
        answers_bytes: 16 << 20,
        verdict_bytes: 1 << 20,
        signals: 256,
        obligations: 256,
        deadline_ms: 60_000,
    };

    /// Whether each is from [`LEAST`](Self::LEAST) to [`MOST`](Self::MOST).
    #[must_use]
    pub fn are_in_bounds(&self) -> bool {
        let numbers = |limits: &Self| {
            [
                limits.fuel,
                limits.configure_fuel,
                limits.memory_bytes,
                limits.questions.into(),
                limits.answers_bytes,
                limits.verdict_bytes,
                limits.signals.into(),
                limits.obligations.into(),
                limits.deadline_ms,
            ]
        };
        let bounds = numbers(&Self::LEAST).into_iter().zip(numbers(&Self::MOST));
        numbers(self)
            .into_iter()
            .zip(bounds)
            .all(|(it, (least, most))| (least..=most).contains(&it))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 1_000_000,
            configure_fuel: 10_000_000,
            memory_bytes: 32 << 20,
            questions: 1_000,
            answers_bytes: 64 << 10,
            verdict_bytes: 16 << 10,
            signals: 8,
            obligations: 8,
            deadline_ms: 1_000,
        }
    }
}

/// Core instances, memories and tables that one component may have.
const CORE_INSTANCES_MAX: usize = 64;
/// Elements of all tables together.
const TABLE_ELEMENTS_MAX: usize = 65_536;

/// What an instance has taken so far. The engine asks before anything grows.
#[derive(Debug)]
pub(super) struct Meter {
    memory_left_bytes: u64,
    table_elements_left: usize,
}

impl Meter {
    pub(super) const fn new(limits: &Limits) -> Self {
        Self {
            memory_left_bytes: limits.memory_bytes,
            table_elements_left: TABLE_ELEMENTS_MAX,
        }
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = u64::try_from(desired.saturating_sub(current))?;
        self.memory_left_bytes = self
            .memory_left_bytes
            .checked_sub(growth)
            .ok_or(Stop::OutOfMemory)?;
        Ok(true)
    }

    /// Without this a policy would be told that the machine is out of memory, and could answer by
    /// it: another machine would answer otherwise.
    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(Stop::OutOfMemory.into())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current);
        self.table_elements_left = self
            .table_elements_left
            .checked_sub(growth)
            .ok_or(Stop::OutOfMemory)?;
        Ok(true)
    }

    fn instances(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        CORE_INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        CORE_INSTANCES_MAX
    }
}
