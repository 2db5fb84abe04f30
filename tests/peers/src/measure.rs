//! Measuring: every row in every round, so that what the machine does meanwhile hits all of them.
//!
//! A sample is the processor time of this thread, which another process on the machine does not
//! lengthen; single calls and two threads are measured in real time.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::peer::{Answer, Row};
use crate::workload::{Expected, Request};

/// The shortest sample. A row that decides all requests faster than this does so several times.
const SAMPLE_MIN: Duration = Duration::from_millis(50);

/// How often each thread decides all requests, so that making the thread counts little.
pub(crate) const THREAD_PASSES: usize = 20;
/// How often when decisions are recorded, which takes longer and fills a disk.
pub(crate) const THREAD_PASSES_RECORDED: usize = 2;

/// What was measured of a row.
pub(crate) struct Measured {
    /// Nanoseconds per decision, one for each round, sorted.
    rounds_ns: Vec<f64>,
    /// Nanoseconds of single calls, of all rounds, sorted.
    calls_ns: Vec<u32>,
    samples_passes: usize,
}

/// Measures all rows.
pub(crate) fn measure(rows: &mut [Row], rounds: usize) -> Vec<Measured> {
    let mut measured: Vec<Measured> = rows.iter_mut().map(Measured::calibrated).collect();
    for _ in 0..rounds {
        for (row, measured) in rows.iter_mut().zip(&mut measured) {
            measured.sample(row);
            measured.calls(row);
        }
    }
    for measured in &mut measured {
        measured.rounds_ns.sort_unstable_by(f64::total_cmp);
        measured.calls_ns.sort_unstable();
    }
    measured
}

/// How many times the decisions of one thread two threads make, which decide all requests, one of
/// them from the middle on, so that they are rarely at the same key: the median of the rounds.
pub(crate) fn two_threads<T: Sync>(
    requests: &[T],
    (rounds, passes): (usize, usize),
    decide: impl Fn(&T) -> Answer + Sync,
) -> f64 {
    let (first, second) = requests.split_at(requests.len() / 2);
    let pass = |first: &[T], second: &[T]| {
        for _ in 0..passes {
            for request in first.iter().chain(second) {
                black_box(decide(black_box(request)));
            }
        }
    };
    let round = |_| {
        let one = time(|| pass(first, second));
        let two = time(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| pass(first, second));
                scope.spawn(|| pass(second, first));
            });
        });
        2.0 * one.as_secs_f64() / two.as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..rounds).map(round).collect();
    ratios.sort_unstable_by(f64::total_cmp);
    ratios[rounds / 2]
}

/// Whether a row decides every request as expected.
///
/// # Errors
/// The first request that it decides otherwise.
pub(crate) fn check(row: &mut Row, expected: &[Expected]) -> Result<(), String> {
    for (request, expected) in row.requests.iter().zip(expected) {
        let answer = row.peer.decide(request);
        let (effect, reason) = (answer.effect(), answer.reason());
        if effect != expected.effect || reason != expected.reason {
            return Err(format!(
                "`{}` decides {} as {effect} {reason}, expected is {} {}",
                row.name, request.id, expected.effect, expected.reason
            ));
        }
    }
    Ok(())
}

impl Measured {
    fn calibrated(row: &mut Row) -> Self {
        row.peer.pass(&row.requests);
        let pass = processor_time(|| row.peer.pass(&row.requests)).max(Duration::from_micros(1));
        let passes = SAMPLE_MIN.as_micros() / pass.as_micros() + 1;
        Self {
            rounds_ns: Vec::new(),
            calls_ns: Vec::new(),
            samples_passes: usize::try_from(passes).unwrap(),
        }
    }

    fn sample(&mut self, row: &mut Row) {
        let sample = processor_time(|| {
            for _ in 0..self.samples_passes {
                row.peer.pass(&row.requests);
            }
        });
        let decisions = u32::try_from(self.samples_passes * row.requests.len()).unwrap();
        self.rounds_ns
            .push(sample.as_secs_f64() * 1e9 / f64::from(decisions));
    }

    fn calls(&mut self, row: &mut Row) {
        for request in &*row.requests {
            let request: &Request = black_box(request);
            let call = time(|| drop(black_box(row.peer.decide(request))));
            self.calls_ns
                .push(u32::try_from(call.as_nanos()).unwrap_or(u32::MAX));
        }
    }

    /// The median of the rounds.
    pub(crate) fn median_ns(&self) -> f64 {
        self.rounds_ns[self.rounds_ns.len() / 2]
    }

    /// The fastest and the slowest round.
    pub(crate) fn spread_ns(&self) -> (f64, f64) {
        (self.rounds_ns[0], self.rounds_ns[self.rounds_ns.len() - 1])
    }

    /// How long the fastest `percent` of the single calls took at most.
    pub(crate) fn percentile_ns(&self, percent: usize) -> f64 {
        let at = (self.calls_ns.len() * percent / 100).min(self.calls_ns.len() - 1);
        f64::from(self.calls_ns[at])
    }
}

fn processor_time(run: impl FnOnce()) -> Duration {
    let now = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let start = now();
    run();
    now().saturating_sub(start)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is what reads the clock"
)]
fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}
