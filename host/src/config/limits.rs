//! `[limits]` and `[policy.limits]`: what one policy may use, in a file's units.

use crate::policy::Limits;

use super::problem::Problems;
use super::section::{Bounds, Section};

/// Reads a table of limits; what is not there is as in `defaults`. Memory is in MiB, answers and
/// verdict are in KiB.
pub(super) fn read(
    defaults: Limits,
    mut section: Section<'_, '_>,
    problems: &mut Problems,
) -> Limits {
    let (least, most) = (Limits::LEAST, Limits::MOST);
    let mut read = |key, unit: u32, [least, most, default]: [u64; 3]| {
        let bounds = Bounds {
            key,
            least: least >> unit,
            most: most >> unit,
        };
        section.number(bounds, default >> unit, problems) << unit
    };
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let limits = Limits {
        fuel: read("fuel", 0, [least.fuel, most.fuel, defaults.fuel]),
        configure_fuel: read(
            "configure_fuel",
            0,
            [
                least.configure_fuel,
                most.configure_fuel,
                defaults.configure_fuel,
            ],
        ),
        memory_bytes: read(
            "memory_mib",
            20,
            [least.memory_bytes, most.memory_bytes, defaults.memory_bytes],
        ),
        questions: small(read(
            "questions",
            0,
            [least.questions, most.questions, defaults.questions].map(u64::from),
        )),
        answers_bytes: read(
            "answers_kib",
            10,
            [
                least.answers_bytes,
                most.answers_bytes,
                defaults.answers_bytes,
            ],
        ),
        verdict_bytes: read(
            "verdict_kib",
            10,
            [
                least.verdict_bytes,
                most.verdict_bytes,
                defaults.verdict_bytes,
            ],
        ),
        signals: small(read(
            "signals",
            0,
            [least.signals, most.signals, defaults.signals].map(u64::from),
        )),
        obligations: small(read(
            "obligations",
            0,
            [least.obligations, most.obligations, defaults.obligations].map(u64::from),
        )),
        deadline_ms: read(
            "deadline_ms",
            0,
            [least.deadline_ms, most.deadline_ms, defaults.deadline_ms],
        ),
    };
    section.finish(problems);
    limits
}
