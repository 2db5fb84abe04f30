//! How a call into a component can end other than by returning, and what fault that is.

use wasmtime::Trap;

use crate::decision::verdict::{Fault, FaultKind};

/// What the host ends a call with. Everything else that ends one is a trap of the engine.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stop {
    /// The memory or table budget is used up.
    #[error("asked for more memory than its budget")]
    OutOfMemory,
    /// The budget of questions or of their answers is used up.
    #[error("{0}")]
    TooManyQuestions(&'static str),
    /// The call breaks the contract.
    #[error("{0}")]
    Contract(String),
}

/// The fault that an engine error stands for. The detail is the host's own wording, the same on
/// every machine, so that a replay can compare it.
pub(super) fn fault_of(error: &wasmtime::Error) -> Fault {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        let kind = match stop {
            Stop::OutOfMemory => FaultKind::OutOfMemory,
            Stop::TooManyQuestions(_) => FaultKind::TooManyQuestions,
            Stop::Contract(_) => FaultKind::Contract,
        };
        return Fault::new(kind, stop.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Fault::new(FaultKind::OutOfFuel, "its fuel was used up"),
        Some(Trap::Interrupt) => Fault::new(FaultKind::Deadline, "the host's deadline ended it"),
        Some(trap) => Fault::new(FaultKind::Trap, words_of(*trap)),
        None if error
            .chain()
            .any(|cause| cause.to_string().contains(HOSTCALL_FUEL)) =>
        {
            Fault::new(
                FaultKind::VerdictTooLarge,
                "passed more data to the host than its budget",
            )
        }
        // What is left is the canonical ABI refusing what the guest returned: bad UTF-8, a
        // pointer out of bounds, a discriminant that does not exist.
        None => Fault::new(FaultKind::Contract, "returned bad data"),
    }
}

/// A trap in words of our own: those of the engine may change with its version, and records are
/// compared for years.
const fn words_of(trap: Trap) -> &'static str {
    match trap {
        Trap::StackOverflow => "call stack exhausted",
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => "memory access out of bounds",
        Trap::TableOutOfBounds => "table access out of bounds",
        Trap::IndirectCallToNull | Trap::BadSignature => "indirect call of no such function",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "integer division by zero",
        Trap::BadConversionToInteger => "bad conversion to integer",
        Trap::UnreachableCodeReached => "unreachable",
        _ => "trapped",
    }
}

/// What the engine says when a guest passes more data than `Store::set_hostcall_fuel` allows.
const HOSTCALL_FUEL: &str = "fuel allocated for hostcalls";
