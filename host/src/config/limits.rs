//! What one policy may use: fuel, memory, questions, answers and the size of its verdict.

use super::problem::Problems;
use super::section::{Bounds, Section};

/// The budget of one policy. Every number has a default and bounds; units are in the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fuel of one evaluation, in the engine's units: 1,000 to 10^9, by default 10^6.
    pub fuel: u64,
    /// Fuel of one configuration, in the engine's units: 1,000 to 10^11, by default 10^7.
    pub configure_fuel: u64,
    /// Linear memory, in MiB: 1 to 1,024, by default 32.
    pub memory_mib: u64,
    /// Questions of one evaluation: 1 to 100,000, by default 1,000.
    pub questions: u64,
    /// All answers of one evaluation, in KiB: 1 to 16,384, by default 64.
    pub answers_kib: u64,
    /// A verdict, in KiB: 1 to 1,024, by default 16.
    pub verdict_kib: u64,
    /// Signals of a verdict: 0 to 256, by default 8.
    pub signals: u64,
    /// Obligations of a verdict: 0 to 256, by default 8.
    pub obligations: u64,
    /// The time after which the host ends an evaluation, whatever its fuel, in ms: 1 to 60,000, by
    /// default 1,000. It stands behind the fuel and is never the one to strike first.
    pub deadline_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel: 1_000_000,
            configure_fuel: 10_000_000,
            memory_mib: 32,
            questions: 1_000,
            answers_kib: 64,
            verdict_kib: 16,
            signals: 8,
            obligations: 8,
            deadline_ms: 1_000,
        }
    }
}

impl Limits {
    /// Reads `[limits]` or `[policy.limits]`; what is not there is as in `self`.
    pub(super) fn read(self, mut section: Section<'_, '_>, problems: &mut Problems) -> Self {
        let mut read = |key, least, most, default| {
            section.number(Bounds { key, least, most }, default, problems)
        };
        let limits = Self {
            fuel: read("fuel", 1_000, 1_000_000_000, self.fuel),
            configure_fuel: read(
                "configure_fuel",
                1_000,
                100_000_000_000,
                self.configure_fuel,
            ),
            memory_mib: read("memory_mib", 1, 1_024, self.memory_mib),
            questions: read("questions", 1, 100_000, self.questions),
            answers_kib: read("answers_kib", 1, 16_384, self.answers_kib),
            verdict_kib: read("verdict_kib", 1, 1_024, self.verdict_kib),
            signals: read("signals", 0, 256, self.signals),
            obligations: read("obligations", 0, 256, self.obligations),
            deadline_ms: read("deadline_ms", 1, 60_000, self.deadline_ms),
        };
        section.finish(problems);
        limits
    }
}
